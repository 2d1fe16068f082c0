package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"iwas/internal/buildinfo"
	"iwas/internal/fault"
	"iwas/internal/release"
)

// codeNoAnswer is that of a repository that cannot be asked.
const codeNoAnswer = "UPD-103"

func updateCommand(o *options) *cobra.Command {
	var check bool
	c := &cobra.Command{
		Use: "update --check", Short: "Say whether a newer version is there", Args: cobra.NoArgs,
		Long: "Asks the repository named by update_url, or what apt knows of since its last update, for the newest version. Nothing is\n" +
			"installed by this program: the system's package tools do that, and restart the service.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !check {
				return &exitError{exitUsage, fmt.Errorf("nothing is updated by this program: apt upgrade does it; iwas-agent update --check only looks")}
			}
			cfg, err := o.load(cmd)
			if err != nil {
				return err
			}
			newest, from, err := newestVersion(cmd.Context(), cfg.UpdateURL)
			if err != nil {
				return err
			}
			return sayNewest(cmd, o, newest, from)
		},
	}
	c.Flags().BoolVar(&check, "check", false, "look, and change nothing")
	return c
}

// newestVersion asks who knows, and says who that was.
func newestVersion(ctx context.Context, repository string) (version, from string, err error) {
	if repository != "" {
		version, err = newestOf(ctx, repository)
		return version, repository, err
	}
	out, err := exec.CommandContext(ctx, "apt-cache", "policy", serviceName).Output()
	if err != nil {
		return "", "", fault.New(fault.Unavailable, "there is nobody to ask for the newest version", err).WithCode(codeNoAnswer, "Set update_url in the configuration to the repository of IWAS.")
	}
	version = candidate(string(out))
	if version == "" {
		return "", "", fault.New(fault.NotFound, "apt knows no repository with iwas-agent", nil).WithCode(codeNoAnswer, "Add the repository to apt, or set update_url, then sudo apt update.")
	}
	return version, "apt", nil
}

// candidate reads what `apt-cache policy` would install.
func candidate(policy string) string {
	for line := range strings.Lines(policy) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "Candidate: "); ok && v != "(none)" {
			return upstream(v)
		}
	}
	return ""
}

// upstream is a package's version without the number of its packaging.
func upstream(version string) string {
	if i := strings.LastIndexByte(version, '-'); i > 0 {
		return version[:i]
	}
	return version
}

// debArch is how a repository names this processor.
var debArch = map[string]string{"arm": "armhf"}

const (
	updateWait = 15 * time.Second // for the repository's answer
	updateSize = 4 << 20          // octets of its list that are read; one package takes about 600
)

// newestOf reads an apt repository's list of packages. What it says is only shown:
// apt itself checks the signature before it installs.
func newestOf(ctx context.Context, repository string) (string, error) {
	arch := debArch[runtime.GOARCH]
	if arch == "" {
		arch = runtime.GOARCH
	}
	list, err := url.JoinPath(repository, "dists", "stable", "main", "binary-"+arch, "Packages")
	if err != nil {
		return "", fault.New(fault.Invalid, "update_url", err)
	}
	refuse := func(err error) error {
		return fault.New(fault.Unavailable, "the repository at "+repository+" cannot be asked", err).WithCode(codeNoAnswer, "Check the way to the internet and update_url; guests are served all the same.")
	}
	ctx, cancel := context.WithTimeout(ctx, updateWait)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, list, nil)
	if err != nil {
		return "", refuse(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", refuse(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return "", refuse(fmt.Errorf("%s answers %s", list, res.Status))
	}
	newest, err := newestIn(io.LimitReader(res.Body, updateSize))
	if err == nil && newest == "" {
		err = fmt.Errorf("%s lists no %s", list, serviceName)
	}
	if err != nil {
		return "", refuse(err)
	}
	return newest, nil
}

// newestIn reads a list of packages and returns our newest version.
func newestIn(r io.Reader) (newest string, err error) {
	ours := false
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if name, ok := strings.CutPrefix(lines.Text(), "Package: "); ok {
			ours = name == serviceName
		}
		if v, ok := strings.CutPrefix(lines.Text(), "Version: "); ok && ours {
			if v = upstream(v); newest == "" || release.Compare(newest, v) < 0 {
				newest = v
			}
		}
	}
	return newest, lines.Err()
}

func sayNewest(cmd *cobra.Command, o *options, newest, from string) error {
	ours, known := release.Package(buildinfo.Version())
	newer := known && release.Compare(ours, newest) < 0
	if o.json {
		return printJSON(cmd, map[string]any{"version": ours, "newest": newest, "newer": newer, "from": from})
	}
	switch out := cmd.OutOrStdout(); {
	case !known:
		fmt.Fprintf(out, "This build has no version (%s). The newest is %s, by %s.\n", buildinfo.Version(), newest, from)
	case newer:
		fmt.Fprintf(out, "Version %s is newer than this one, %s (asked: %s).\nNext: sudo apt update && sudo apt install --only-upgrade iwas-agent\nGuests who are online stay online; logins wait a few seconds.\n", newest, ours, from)
	default:
		fmt.Fprintf(out, "This is %s, and nothing newer is there (asked: %s).\n", ours, from)
	}
	return nil
}
