package wire

import (
	"errors"
	"fmt"
	"time"

	"iwas/internal/hotspot"
)

// GrantDoc is the body of a grant document; its id is the grant's, also of one
// made on site. It never changes: another time is another grant.
type GrantDoc struct {
	List    string    `json:"list"`
	Address string    `json:"address"` // 203.0.113.7, 203.0.113.0/24, 2001:db8::7/128
	Until   time.Time `json:"until,omitzero"`
	Comment string    `json:"comment,omitempty"`
	By      string    `json:"by,omitempty"`
	At      time.Time `json:"at"` // made, by the clock of the machine where it was
}

// FromGrant is the bridge from the vocabulary to the wire.
func FromGrant(g hotspot.Grant) GrantDoc {
	return GrantDoc{List: g.List, Address: hotspot.FormatListAddress(g.Address), Until: g.Until.UTC(), Comment: g.Comment, By: g.By, At: g.MadeAt.UTC()}
}

// Grant reads the body back. It fails on a list or an address that cannot be
// one, and without an end.
func (b GrantDoc) Grant(id hotspot.GrantID) (hotspot.Grant, error) {
	g := hotspot.Grant{ID: id, List: b.List, Until: b.Until, Comment: b.Comment, By: b.By, MadeAt: b.At}
	if err := hotspot.CheckListName(b.List); err != nil {
		return g, err
	}
	var err error
	if g.Address, err = hotspot.ParseListAddress(b.Address); err != nil {
		return g, err
	}
	if b.Until.IsZero() {
		return g, errors.New("a grant without an end")
	}
	return g, nil
}

// GrantMade is the body of grant.made. It may come again for the same grant, with
// the end that a site without a right date could not name at first.
type GrantMade struct {
	ID hotspot.GrantID `json:"id"`
	GrantDoc
	// LeftS is what was left when the event was made, in seconds; it says the end
	// where Until is the zero time.
	LeftS int64 `json:"left_s"`
}

// Grant reads the body back; Until is zero where the site could not name it.
func (b GrantMade) Grant() (hotspot.Grant, error) {
	if b.LeftS < 0 || b.LeftS > int64(hotspot.LongestGrant/time.Second) {
		return hotspot.Grant{}, fmt.Errorf("a grant for %d seconds", b.LeftS)
	}
	doc, undated := b.GrantDoc, b.Until.IsZero()
	if undated {
		doc.Until = b.At.Add(time.Second) // any: it is taken out again
	}
	g, err := doc.Grant(b.ID)
	if undated {
		g.Until = time.Time{}
	}
	if b.ID == "" {
		err = errors.Join(err, errors.New("a grant without an id"))
	}
	g.Left = time.Duration(b.LeftS) * time.Second
	return g, err
}

// GrantRemoved is the body of grant.removed.
type GrantRemoved struct {
	ID hotspot.GrantID `json:"id"`
	By string          `json:"by,omitempty"`
}

// GrantSettled is the body of grant.settled: what became of grants, many at
// once. What a build does not know as a state counts as in_list.
type GrantSettled struct {
	State hotspot.GrantState `json:"state"` // "", in_list, foreign, served
	IDs   []hotspot.GrantID  `json:"ids"`
}
