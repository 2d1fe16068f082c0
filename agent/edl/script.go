package edl

import (
	"fmt"
	"strings"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/routeros"
	"iwas/internal/secret"
)

// Script is what a router needs to fetch lists by itself.
type Script struct {
	URL      string // https://host:port of the listener
	Key      secret.Value
	Lists    []string
	Interval time.Duration
}

// Policy is what the scheduler must be allowed: the router's device-mode must
// allow scheduler and fetch too (facts.md §9). Some versions ask for ftp to fetch, and
// all to remove the file.
const Policy = "ftp,read,write,test"

// OnEvent is the text that a scheduler of the router runs every interval. Each
// list is fetched and imported by itself; a fetch that fails leaves the entries
// as they are. The file goes at once: it holds nothing that a restart needs.
func (s Script) OnEvent() (string, error) {
	var b strings.Builder
	for _, list := range s.Lists {
		if err := hotspot.CheckListName(list); err != nil {
			return "", err
		}
		file := "iwas-" + list + ".rsc"
		fmt.Fprintf(&b, `:do {/tool/fetch url="%s/edl/%s.rsc" http-header-field="Authorization: Bearer %s" check-certificate=yes-without-crl output=file dst-path="%s"; /import file-name="%s"} on-error={:log warning "IWAS: the address-list %s was not fetched"}; :do {/file/remove [find name="%s"]} on-error={};`+"\n",
			s.URL, list, s.Key.Reveal(), file, file, list, file)
	}
	return b.String(), nil
}

// Commands are what a technician pastes: the authority's certificate is imported
// from a file of that name first.
func (s Script) Commands(authorityFile string) (string, error) {
	event, err := s.OnEvent()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("/certificate/import file-name=%s passphrase=\"\"\n/system/scheduler/add name=iwas-lists interval=%s policy=%s comment=\"IWAS address-lists\" on-event=%s\n",
		authorityFile, routeros.FormatDuration(s.Interval), Policy, literal(event)), nil
}

// literal writes a text as a RouterOS string.
func literal(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "\n", `\n`).Replace(s) + `"`
}
