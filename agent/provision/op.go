package provision

import (
	"context"
	"fmt"
	"strings"

	"iwas/internal/fault"
	"iwas/internal/routeros"
)

// Word is one argument, or one property to find rows by.
type Word struct {
	Key    string `json:"key"`
	Value  string `json:"value"`
	Secret bool   `json:"secret,omitempty"` // not to be shown
}

// Op is one command that changes the router. It finds its rows by what they hold
// when it runs, never by an id kept for long: ids change with a reboot (facts.md §1).
type Op struct {
	Menu string `json:"menu"`
	Verb string `json:"verb"`           // add, set, remove, move
	Find []Word `json:"find,omitempty"` // the rows meant; none for add and for menus of one row
	Args []Word `json:"args,omitempty"`
	// Before finds the row that an added or moved one goes in front of; none is the
	// end. A row of somebody else is named by its id (key ".id").
	Before []Word `json:"before,omitempty"`
}

// mask hides a secret.
const mask = "***"

// paste is the command as a person pastes it into a terminal of the router.
func (o Op) paste(secrets bool) string {
	var b strings.Builder
	b.WriteString(o.Menu + "/" + o.Verb)
	if len(o.Find) > 0 {
		b.WriteString(" " + finder(o.Find))
	}
	for _, a := range o.Args {
		v := a.Value
		if a.Secret && !secrets {
			v = mask
		}
		b.WriteString(" " + a.Key + "=" + quote(v))
	}
	if len(o.Before) > 0 {
		b.WriteString(" " + o.beforeKey() + "=" + finder(o.Before))
	}
	return b.String()
}

// script is the command as a line of a script that goes on when it fails.
func (o Op) script() string { return ":do { " + o.paste(true) + " } on-error={}\n" }

func (o Op) beforeKey() string {
	if o.Verb == "move" {
		return "destination"
	}
	return "place-before"
}

// finder names rows in the language of the console.
func finder(find []Word) string {
	if len(find) == 1 && find[0].Key == ".id" {
		return find[0].Value
	}
	var b strings.Builder
	b.WriteString("[find")
	for _, w := range find {
		b.WriteString(" " + w.Key + "=" + quote(w.Value))
	}
	b.WriteString("]")
	return b.String()
}

// quote writes a value so that the console reads it back. It takes yes and no only
// for flags, where a read says true and false (facts.md §1).
func quote(v string) string {
	v = written(v)
	if v != "" && strings.Trim(v, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.,:/!") == "" {
		return v
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`, "\n", `\n`, "\r", `\r`, "\t", `\t`).Replace(v) + `"`
}

// written is a value as it is written, from how it is read.
func written(v string) string {
	switch v {
	case "true":
		return "yes"
	case "false":
		return "no"
	}
	return v
}

// run carries the command out.
func (o Op) run(ctx context.Context, conn routeros.Conn) error {
	words := []string{o.Menu + "/" + o.Verb}
	if len(o.Find) > 0 {
		ids, err := idsOf(ctx, conn, o.Menu, o.Find)
		if err != nil {
			return err
		}
		if len(ids) == 0 {
			return fault.New(fault.NotFound, "no row of "+o.Menu+" is meant by "+finder(o.Find), nil)
		}
		words = append(words, "=.id="+strings.Join(ids, ","))
	}
	for _, a := range o.Args {
		words = append(words, "="+a.Key+"="+written(a.Value))
	}
	if len(o.Before) > 0 {
		ids, err := idsOf(ctx, conn, o.Menu, o.Before)
		if err != nil {
			return err
		}
		if len(ids) > 0 { // gone meanwhile: the end will do, and the next plan sees it
			words = append(words, "="+o.beforeKey()+"="+ids[0])
		}
	}
	_, err := conn.Run(ctx, words...)
	return err
}

// idsOf returns the ids of the rows that hold all of find, dynamic ones left out.
func idsOf(ctx context.Context, conn routeros.Conn, menu string, find []Word) ([]string, error) {
	if len(find) == 1 && find[0].Key == ".id" {
		return []string{find[0].Value}, nil
	}
	words := []string{menu + "/print"}
	for _, w := range find {
		words = append(words, "?"+w.Key+"="+w.Value)
	}
	rows, err := conn.Run(ctx, words...)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, r := range rows {
		if !flag(r["dynamic"]) {
			ids = append(ids, r[".id"])
		}
	}
	return ids, nil
}

func flag(v string) bool { return v == "true" || v == "yes" }

// String is the command without its secrets.
func (o Op) String() string { return o.paste(false) }

var _ fmt.Stringer = Op{}
