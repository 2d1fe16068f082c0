package routeros

import (
	"errors"
	"fmt"
	"strings"

	"iwas/internal/fault"
)

// Codes of the condition catalogue that errors of this package carry.
const (
	CodeUnreachable        = "RTR-101"
	CodeServiceOff         = "RTR-102"
	CodeLoginRefused       = "RTR-103"
	CodeCertificateChanged = "RTR-104"
	CodeRightMissing       = "RTR-105"
	CodeDeviceMode         = "RTR-106"
	CodeNoREST             = "RTR-111"
	CodeUnexpected         = "RTR-112"
)

// Reason is what a refusal by the router means, whatever its version's words.
type Reason int

const (
	Unexplained   Reason = iota
	NoSuchItem           // the item is gone or never was
	NoSuchCommand        // the menu or command does not exist on this version
	NoRights             // the user's group lacks a policy
	BadLogin             // name or password
	NotLoggedIn          // a command before login
	Duplicate            // such an item exists already
	BadArgument          // an argument is unknown, missing, or has an impossible value
	Interrupted          // cancelled by us or by the router
	DeviceMode           // device-mode forbids it
)

// Trap is a refusal by the router: !trap, or !fatal.
type Trap struct {
	Command  string // "/ip/hotspot/active/remove"
	Message  string // as the router wrote it
	Category int    // 0..7 (facts.md §1); -1 when the router gave none
	Reason   Reason
	Fatal    bool // !fatal: the router closes the connection after it
}

// Error prints command and message.
func (t *Trap) Error() string {
	return fmt.Sprintf("the router answered %q to %s", t.Message, t.Command)
}

// ReasonOf returns the reason of the refusal in err's chain, or Unexplained.
func ReasonOf(err error) Reason {
	var t *Trap
	if errors.As(err, &t) {
		return t.Reason
	}
	return Unexplained
}

// Refused reports whether err is a refusal after which the connection can
// still be used; any other error of Run means that it is dead.
func Refused(err error) bool {
	var t *Trap
	return errors.As(err, &t) && !t.Fatal
}

// texts is the one place where RouterOS's words are read. They carry prefixes
// ("failure: ") and suffixes ("(6)") and vary by version: parts are looked for,
// in this order (facts.md §1 "Error texts").
var texts = []struct {
	part   string // lower case
	reason Reason
}{
	{"no such item", NoSuchItem},
	{"missing or invalid resource identifier", NoSuchItem},
	{"not enough permissions", NoRights},
	{"invalid user name or password", BadLogin},
	{"cannot log in", BadLogin},
	{"not logged in", NotLoggedIn},
	{"session terminated on request", Interrupted},
	{"not allowed by device-mode", DeviceMode},
	{"configuration flagged", DeviceMode},
	{"no such command", NoSuchCommand}, // also "… prefix", "… or directory (x)"
	{"bad command name", NoSuchCommand},
	{"already have", Duplicate},
	{"already exists", Duplicate},
	{"interrupted", Interrupted},
	{"unknown parameter", BadArgument},
	{"bad parameter", BadArgument},
	{"missing =", BadArgument},
	{"input does not match", BadArgument},
	{"ambiguous value", BadArgument},
	{"out of range", BadArgument},
	{"invalid value", BadArgument},
}

func reasonOf(message string) Reason {
	message = strings.ToLower(message)
	for _, t := range texts {
		if strings.Contains(message, t.part) {
			return t.reason
		}
	}
	return Unexplained
}

// fault wraps the refusal with its kind, its code and the next step.
func (t *Trap) fault() error {
	f := fault.New(fault.Internal, "", t)
	switch t.Reason {
	case NoSuchItem, NoSuchCommand:
		f.Kind = fault.NotFound
	case Duplicate:
		f.Kind = fault.Conflict
	case BadArgument:
		f.Kind = fault.Invalid
	case Interrupted:
		f.Kind = fault.Unavailable
	case NoRights:
		f.Kind = fault.Denied
		return f.WithCode(CodeRightMissing, "The service user's group lacks a right for "+t.Command+
			": on the router, /user/group/set GROUP policy=read,write,api,rest-api,test,sensitive. It counts from the next login.")
	case BadLogin, NotLoggedIn:
		f.Kind = fault.Denied
		return f.WithCode(CodeLoginRefused, "Check the service user's name and password, that /user address= allows this machine, and that the user's group has the policy api, or rest-api for https://.")
	case DeviceMode:
		f.Kind = fault.Denied
		return f.WithCode(CodeDeviceMode, "The router's device-mode forbids this: /system/device-mode/print shows it; a change needs its button or a power cut.")
	}
	return f
}
