// Package wire is the contract between iwas-agent and iwas-cloud: topics,
// messages, their sizes and their hash. Protocol types only; it opens no
// connection and keeps no state. testdata/v1 holds golden messages.
//
// MQTT is a pipe (QoS 0, clean sessions): correctness lives in the cursors
// carried here. See DESIGN.md in this folder.
package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"iwas/internal/hotspot"
)

// Version is the contract version this build speaks. Add a line, never edit one.
//   - 1: 2026-11-24: events, hello, presence, ack, state, commands
//   - 1: 2026-11-28: LimitsBody.Hours, SlowRate and DeviceSwap, which older agents ignore
//   - 1: 2026-11-28: session.changed and account.adjusted, PassDoc.Adjusted, SessionBody.Rate, LimitsBody.Reconnect
//   - 1: 2026-11-28: LockProof.Seq in hello, absent from older agents
//   - 1: 2026-11-28: LockKept.MAC
//   - 1: 2026-11-28: document grant, which older agents keep without force; grant.made, grant.removed and grant.settled; LimitsBody.ListsByAPI
//   - 1: 2026-11-28: Hello.Routers, absent from older agents
//   - 1: 2026-11-28: RouterHealth.Volts, absent from older agents
//   - 1: 2026-11-28: document router, which older agents keep without force; commands router.*, CommandResult.Next and Body, Hello.Commands, RouterHealth.Setup
//   - 1: 2026-11-28: Batch.Boot, absent from older agents; Ack.Copy, which they ignore; Signed, RenewRequest and Outage over HTTPS
//   - 1: 2026-11-28: Gap.Last 0, which is not known; an older cloud keeps it as it is
//   - 1: 2026-11-28: LeaveRequest over HTTPS, which an older cloud answers by 404
//   - 1: 2026-11-28: Hello.Staged, absent from older agents; State.Through, After, Ask and Whole, sent only to agents that say it
//   - 1: 2026-11-29: login.refused, which an older cloud sets aside
const Version = 1

// OldestVersion is the oldest contract version this build still understands.
const OldestVersion = 1

// Channel is the last part of a topic.
type Channel string

const (
	UpEvents     Channel = "up/events"
	UpHello      Channel = "up/hello"
	UpPresence   Channel = "up/presence"
	DownAck      Channel = "down/ack"
	DownState    Channel = "down/state"
	DownCommands Channel = "down/commands"
)

const prefix = "iwas/v1/agents/"

// Topic returns the topic of one agent's channel. With agent "+" it is the
// filter of all agents.
func Topic(agent hotspot.AgentID, c Channel) string {
	return prefix + string(agent) + "/" + string(c)
}

// ParseTopic takes a topic apart. It refuses anything that Topic cannot have made.
func ParseTopic(topic string) (hotspot.AgentID, Channel, error) {
	rest, ok := strings.CutPrefix(topic, prefix)
	agent, channel, found := strings.Cut(rest, "/")
	if !ok || !found || !ValidAgentID(agent) {
		return "", "", fmt.Errorf("topic %q is not one of ours", topic)
	}
	switch c := Channel(channel); c {
	case UpEvents, UpHello, UpPresence, DownAck, DownState, DownCommands:
		return hotspot.AgentID(agent), c, nil
	}
	return "", "", fmt.Errorf("topic %q has no known channel", topic)
}

// ValidAgentID reports whether s can be an agent's id: 8 to 40 lower-case
// letters and digits, so that it needs no quoting in a topic or a certificate.
func ValidAgentID(s string) bool {
	if len(s) < 8 || len(s) > 40 {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// Event is one fact of a site's log. Its sequence number is Batch.First plus
// its place in the batch.
type Event struct {
	ID   string          `json:"id"`   // from birth, unique per site for ever, also across renumbering
	Kind EventKind       `json:"kind"` // unknown kinds are kept by the cloud as poison, the cursor moves on
	At   time.Time       `json:"at"`   // by the site's clock; order is by sequence, never by time
	Body json.RawMessage `json:"body,omitempty"`
}

// Batch carries events up. One batch is in flight per site.
type Batch struct {
	V      int           `json:"v"`
	Epoch  string        `json:"epoch"` // of the site's log; random, made with the store
	First  int64         `json:"first"` // sequence of Events[0]; sequences start at 1
	Chain  string        `json:"chain"` // chain value after event First-1; "" when First is 1
	At     time.Time     `json:"at"`    // sending time by the site's clock
	Boot   string        `json:"boot,omitempty"`
	Events []EventOnWire `json:"events"`
}

// EventOnWire is Event; the alias names its place in a batch.
type EventOnWire = Event

// Ack answers a batch, and a hello whose cursor differs from the cloud's.
type Ack struct {
	V       int       `json:"v"`
	Epoch   string    `json:"epoch"`
	Through int64     `json:"through"`         // stored through, cumulative
	First   int64     `json:"first"`           // Batch.First it answers; 0 when it answers a hello
	Fork    bool      `json:"fork,omitempty"`  // the chain does not continue ours: mint a new epoch
	Chain   string    `json:"chain,omitempty"` // with Fork: our chain value after Through
	Copy    string    `json:"copy,omitempty"`  // boot of a second copy of this box: that run is refused until enrolled again; no Epoch then
	Time    time.Time `json:"time"`            // the cloud's clock
}

// Hello says where an agent stands.
type Hello struct {
	V            int         `json:"v"`
	Version      string      `json:"version"` // of the agent program
	Boot         string      `json:"boot"`    // id of this run of the program
	Epoch        string      `json:"epoch"`
	LastSeq      int64       `json:"last_seq"`
	AckedSeq     int64       `json:"acked_seq"` // highest ack received
	Lineage      string      `json:"lineage"`   // of the state held; "" when none was ever received
	Revision     int64       `json:"revision"`
	Hash         string      `json:"hash"`                   // of the document set held
	NotInForce   []DocRef    `json:"not_in_force,omitempty"` // documents stored that could not be applied
	At           time.Time   `json:"at"`                     // the agent's clock
	ClockTrusted bool        `json:"clock_trusted"`
	RouterSeenAt time.Time   `json:"router_seen_at,omitzero"` // last successful round trip to the router
	Conditions   []Condition `json:"conditions,omitempty"`
	Sessions     int         `json:"sessions"`         // open now
	Proofs       []LockProof `json:"proofs,omitempty"` // not yet acknowledged; their events repeat them without effect

	// Staged says how far a snapshot has come. Absent: the agent takes one in
	// numbered parts only, all at once.
	Staged *Staged `json:"staged,omitempty"`

	Routers []RouterHealth `json:"routers,omitempty"` // those with an API; at most MaxRouters

	// Commands are what became of commands, as far as not acknowledged: those being
	// carried out (state running), and results whose event repeats them without
	// effect, the newest CommandsTold of each. A result that is long comes by its event
	// alone. A command that is not running, with all events there and no answer among
	// them, is one the site knows nothing of.
	Commands []CommandResult `json:"commands,omitempty"`
}

// CommandsTold bounds the commands at work that a hello names, and so the results.
const CommandsTold = 20

// Staged is how far a snapshot has come: the next window begins behind it.
type Staged struct {
	Snapshot string `json:"snapshot,omitempty"` // "" is none
	Through  string `json:"through,omitempty"`  // of the newest piece kept; "" in numbered parts
	Whole    bool   `json:"whole,omitempty"`    // all is there and is being brought into force: nothing is missing but time
}

// Condition is an open health condition.
type Condition struct {
	Code     string    `json:"code"`
	Severity string    `json:"severity"`
	Text     string    `json:"text"`
	Since    time.Time `json:"since"`
}

// Presence is retained, and the last will.
type Presence struct {
	V      int              `json:"v"`
	State  hotspot.Presence `json:"state"` // online, stopped, lost
	Boot   string           `json:"boot"`
	Conn   int64            `json:"conn"` // counts connections of this boot; an older will is ignored
	Reason string           `json:"reason,omitempty"`
	At     time.Time        `json:"at"`
}

// DocKind names the sort of a document.
type DocKind string

const (
	DocSite    DocKind = "site"
	DocPlan    DocKind = "plan"
	DocAccount DocKind = "account"
	DocPass    DocKind = "pass"
	DocLock    DocKind = "lock"
	DocGrant   DocKind = "grant"
	DocRouter  DocKind = "router" // set-up of a router; its id is that of the NAS
)

// DocRef names a document.
type DocRef struct {
	Kind DocKind `json:"kind"`
	ID   string  `json:"id"`
}

// Doc is one document of the set a site should hold. Body is hashed and stored
// as the bytes that came; kinds and fields a build does not know are kept.
type Doc struct {
	Kind DocKind         `json:"kind"`
	ID   string          `json:"id"`
	Rev  int64           `json:"rev"` // revision that wrote it
	Body json.RawMessage `json:"body"`
}

// State carries documents down: a delta, or one part of a snapshot.
type State struct {
	V        int      `json:"v"`
	Lineage  string   `json:"lineage"`
	Snapshot string   `json:"snapshot,omitempty"` // id of a snapshot; "" for a delta
	Part     int      `json:"part,omitempty"`     // 1 to Parts, of a snapshot
	Parts    int      `json:"parts,omitempty"`
	From     int64    `json:"from"` // delta: revision it starts from; snapshot: 0
	To       int64    `json:"to"`   // revision held once applied
	Docs     []Doc    `json:"docs,omitempty"`
	Gone     []DocRef `json:"gone,omitempty"` // tombstones

	// Through marks a piece of a snapshot that comes in windows (Hello.Staged): the
	// place it leads to, in the cloud's own notation. "" is a numbered part, or a delta.
	Through string `json:"through,omitempty"`
	After   string `json:"after,omitempty"` // Through of the piece before; "" in the first
	Ask     bool   `json:"ask,omitempty"`   // the last of a window: say hello once it is kept
	Whole   bool   `json:"whole,omitempty"` // the last of all: To and Hash are of the set that the pieces make

	Hash string    `json:"hash"` // of the whole set at To
	Time time.Time `json:"time"` // the cloud's clock
	// Seen names, of a snapshot, the site's events whose effects are in it: what one
	// of them made and the snapshot lacks is no more. Absent, and from clouds before
	// 2026-11-28: nobody knows, and what was made on site stays.
	Seen *Seen `json:"seen,omitempty"`
}

// Limits of messages, checked before decoding.
const (
	MaxMessage  = 1 << 20   // octets on the wire
	MaxInflated = 8 << 20   // octets after zstd
	MaxEvents   = 500       // in one batch
	BatchBytes  = 256 << 10 // of event bodies, before compression
	PartBytes   = 128 << 10 // of documents in one snapshot part
	Window      = 16        // pieces of a snapshot on their way before a hello asks for more
	ResultBytes = 48 << 10  // of the body of one command's result; what is longer is cut, and says so
)

// ErrVersion is returned for a message of a contract version this build does
// not understand.
var ErrVersion = errors.New("contract version not understood")

// CheckVersion refuses versions outside OldestVersion..Version. A newer minor
// content under the same version is fine: unknown fields are ignored.
func CheckVersion(v int) error {
	if v < OldestVersion || v > Version {
		return fmt.Errorf("%w: %d, this build speaks %d to %d", ErrVersion, v, OldestVersion, Version)
	}
	return nil
}
