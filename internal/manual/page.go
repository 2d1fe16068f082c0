package manual

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"iwas/internal/buildinfo"
)

// section is that of commands for whoever keeps a system.
const section = "8"

// tree writes the page of a command and those of the commands below it.
func tree(c *cobra.Command, at time.Time, dir string) error {
	c.InitDefaultHelpCmd()
	c.InitDefaultHelpFlag()
	name := filepath.Join(dir, dashed(c)+"."+section)
	if err := os.WriteFile(name, []byte(page(c, at)), 0o644); err != nil {
		return err
	}
	for _, sub := range shown(c) {
		if err := tree(sub, at, dir); err != nil {
			return err
		}
	}
	return nil
}

// shown are the commands below c that a person is told of.
func shown(c *cobra.Command) (out []*cobra.Command) {
	for _, sub := range c.Commands() {
		if sub.IsAvailableCommand() && !sub.IsAdditionalHelpTopicCommand() {
			out = append(out, sub)
		}
	}
	return out
}

func dashed(c *cobra.Command) string { return strings.ReplaceAll(c.CommandPath(), " ", "-") }

// page is one page in the macros of man(7).
func page(c *cobra.Command, at time.Time) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH %s %s %s %s IWAS\n.nh\n.ad l\n", quoted(strings.ToUpper(dashed(c))), section, quoted(at.UTC().Format(time.DateOnly)), quoted("IWAS "+buildinfo.Version()))
	fmt.Fprintf(&b, ".SH NAME\n%s \\- %s\n", plain(dashed(c)), plain(c.Short))
	fmt.Fprintf(&b, ".SH SYNOPSIS\n.B %s\n", quoted(c.UseLine()))
	long := c.Long
	if long == "" {
		long = c.Short
	}
	b.WriteString(".SH DESCRIPTION\n" + body(long))
	flags(&b, "OPTIONS", c.NonInheritedFlags())
	flags(&b, "OPTIONS OF EVERY COMMAND", c.InheritedFlags())
	if c.Example != "" {
		b.WriteString(".SH EXAMPLES\n.nf\n" + plain(c.Example) + "\n.fi\n")
	}
	var see []string
	if c.HasParent() {
		see = append(see, reference(c.Parent()))
	}
	for _, sub := range shown(c) {
		see = append(see, reference(sub))
	}
	if len(see) > 0 {
		b.WriteString(".SH SEE ALSO\n" + strings.Join(see, ",\n") + "\n")
	}
	return b.String()
}

func reference(c *cobra.Command) string { return `\fB` + plain(dashed(c)) + `\fP(` + section + `)` }

func flags(b *strings.Builder, title string, set *pflag.FlagSet) {
	if !set.HasAvailableFlags() {
		return
	}
	b.WriteString(".SH " + title + "\n")
	set.VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Deprecated != "" {
			return
		}
		names := `\fB` + plain("--"+f.Name) + `\fP`
		if f.Shorthand != "" {
			names = `\fB` + plain("-"+f.Shorthand) + `\fP, ` + names
		}
		kind, usage := pflag.UnquoteUsage(f)
		if kind != "" {
			names += ` \fI` + plain(kind) + `\fP`
		}
		if unset := f.DefValue == "" || f.DefValue == "false" || f.DefValue == "0" || f.DefValue == "[]" || f.DefValue == "0s"; !unset {
			usage += " (" + f.DefValue + " if not given)"
		}
		fmt.Fprintf(b, ".TP\n%s\n%s\n", names, plain(usage))
	})
}

// body is text of paragraphs. Lines that are set in are shown as they are.
func body(text string) string {
	var b strings.Builder
	asIs := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		in := strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")
		if in != asIs && line != "" {
			b.WriteString(map[bool]string{true: ".nf\n", false: ".fi\n"}[in])
			asIs = in
		}
		if line == "" {
			b.WriteString(".PP\n")
			continue
		}
		b.WriteString(plain(line) + "\n")
	}
	if asIs {
		b.WriteString(".fi\n")
	}
	return b.String()
}

// plain is text that troff takes for nothing else. A hyphen is what people copy.
func plain(text string) string {
	lines := strings.Split(strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text), "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

// quoted is one argument of a macro.
func quoted(text string) string {
	return `"` + strings.ReplaceAll(plain(text), `"`, `\(dq`) + `"`
}
