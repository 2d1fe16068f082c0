package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

const (
	commandsOpen = 32                  // of one site; more are refused
	commandsKept = 30 * 24 * time.Hour // after they ended
	commandFirst = 2 * time.Second     // until it is sent again, doubling
	commandMost  = 10 * time.Second    // up to this
	// graceToBegin is how long after its time an answer of the site may still come
	// before the command counts as unknown, and graceToEnd that of one being carried
	// out: an application takes up to two minutes and its way back another.
	graceToBegin  = 30 * time.Second
	graceToEnd    = 5 * time.Minute
	commandsHeard = 64 // of one hello
)

// AddCommand keeps a command for a site, with its audit. It is sent after that.
func (db *DB) AddCommand(ctx context.Context, actor hotspot.Operator, c hotspot.Command, ttl time.Duration) (made hotspot.Command, err error) {
	err = db.write(ctx, "add command", func(t *tx) error {
		made = c
		var agent string
		found, err := t.one(`SELECT COALESCE((SELECT a.id FROM agent a WHERE a.site = s.id AND a.confirmed_at > 0 AND a.retired_at = 0), '') FROM site s WHERE s.id = $1 AND s.organization = $2`,
			[]any{string(c.Site), string(actor.Organization)}, &agent)
		switch {
		case err != nil:
			return err
		case !found:
			return notFound("site", string(c.Site))
		case agent == "":
			return fault.New(fault.Conflict, "store: the site has no box", nil).WithCode("", "Enrol a box for the site, and confirm it.")
		}
		var open int
		if _, err := t.one(`SELECT COUNT(*) FROM command WHERE site = $1 AND ended_at = 0`, []any{string(c.Site)}, &open); err != nil {
			return err
		}
		if open >= commandsOpen {
			return fault.New(fault.Conflict, fmt.Sprintf("store: %d commands of this site are on their way already", open), nil).WithCode("", "Wait until they are over.")
		}
		if err := t.exec(`DELETE FROM command WHERE site = $1 AND ended_at > 0 AND ended_at < $2`, string(c.Site), ms(t.now.Add(-commandsKept))); err != nil {
			return err
		}
		made.ID, made.By, made.State = hotspot.NewID(t.now), nameOf(actor), hotspot.CommandQueued
		made.AskedAt, made.ExpiresAt = t.now.UTC().Truncate(time.Millisecond), t.now.Add(ttl).UTC().Truncate(time.Millisecond)
		if err := t.exec(`INSERT INTO command (site, id, kind, subject, body, asked_by, asked_at, expires_at, state, answered, next_at, tries, sent_at, ended_at, code, detail, next_step, result)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'queued', 0, 0, 0, 0, 0, '', '', '', '')`,
			string(c.Site), made.ID, c.Kind, c.Subject, c.Body, made.By, ms(made.AskedAt), ms(made.ExpiresAt)); err != nil {
			return err
		}
		return t.audit(actor, c.Site, "command."+c.Kind, c.Subject, nil, map[string]any{"command": made.ID, "body": json.RawMessage(c.Body)})
	})
	return made, err
}

// DueCommands takes the commands that are to be sent now, and notes that they are:
// several processes that ask at once get each command once. Those that nobody can
// answer any more end; sites are those concerned.
func (db *DB) DueCommands(ctx context.Context) (due []wire.DueCommand, ended []hotspot.SiteID, err error) {
	var waiting int
	err = db.read(ctx, "look for commands", func(t *tx) error {
		_, err := t.one(`SELECT COUNT(*) FROM command WHERE ended_at = 0 AND next_at <= $1`, []any{ms(t.now)}, &waiting)
		return err
	})
	if err != nil || waiting == 0 {
		return nil, nil, err // the usual case costs one look
	}
	err = db.write(ctx, "take commands to send", func(t *tx) error {
		due = nil
		if ended, err = t.endCommands(); err != nil {
			return err
		}
		due, err = t.takeCommands()
		return err
	})
	return due, ended, err
}

// endCommands ends those whose time is over. What was never sent had no effect; of
// what was sent only the site knows.
func (t *tx) endCommands() (sites []hotspot.SiteID, err error) {
	for _, q := range []struct {
		state      hotspot.CommandState
		code, text string
		next, was  string
		late       time.Duration
	}{
		{hotspot.CommandExpired, "CLD-301", "the site was not there in time; nothing was done", "Ask again once the site is online.", "queued", 0},
		{hotspot.CommandUnknown, "CLD-303", "it was sent, and the site has not answered", "The site says what became of it when it is back.", "sent", graceToBegin},
		{hotspot.CommandUnknown, "CLD-303", "the site began it and has not said how it ended", "The site says what became of it when it is back.", "delivered", graceToEnd},
	} {
		err := t.each(`UPDATE command SET state = $1, code = $2, detail = $3, next_step = $4, ended_at = $5 WHERE ended_at = 0 AND state = $6 AND expires_at < $7 RETURNING site`,
			[]any{string(q.state), q.code, q.text, q.next, ms(t.now), q.was, ms(t.now.Add(-q.late))}, func(scan func(...any) error) error {
				var site hotspot.SiteID
				err := scan(&site)
				sites = append(sites, site)
				return err
			})
		if err != nil {
			return sites, err
		}
	}
	return sites, nil
}

// takeCommands notes what is about to be sent, before it is: what is "queued" was
// sent by nobody.
func (t *tx) takeCommands() (due []wire.DueCommand, err error) {
	var tries []int64
	err = t.each(`SELECT c.site, c.id, c.kind, c.body, c.asked_at, c.expires_at, c.tries, a.id FROM command c
		JOIN agent a ON a.site = c.site AND a.confirmed_at > 0 AND a.retired_at = 0
		JOIN site_status st ON st.site = c.site AND st.presence = 'online' AND st.heard_at > $2
		WHERE c.ended_at = 0 AND c.next_at <= $1 AND c.expires_at > $1 ORDER BY c.id LIMIT 500`, []any{ms(t.now), ms(t.now.Add(-silentAfter))}, func(scan func(...any) error) error {
		d := wire.DueCommand{Command: wire.Command{V: wire.Version, Time: t.now}}
		var body string
		var asked, expires, tried int64
		err := scan(&d.Site, &d.Command.ID, &d.Command.Kind, &body, &asked, &expires, &tried, &d.Agent)
		d.Command.Body, d.Command.IssuedAt = json.RawMessage(body), at(asked)
		d.Command.TTL = max(1, expires-ms(t.now)) // what is left: the site counts it from receipt
		due, tries = append(due, d), append(tries, tried)
		return err
	})
	kept := due[:0]
	for i, d := range due {
		if err != nil {
			return nil, err
		}
		wait := min(commandFirst<<min(tries[i], 8), commandMost)
		var n int64
		n, err = t.touched(`UPDATE command SET state = CASE WHEN state = 'queued' THEN 'sent' ELSE state END, sent_at = CASE WHEN sent_at = 0 THEN $3 ELSE sent_at END,
			next_at = $4, tries = tries + 1 WHERE site = $1 AND id = $2 AND ended_at = 0 AND next_at <= $3`,
			string(d.Site), d.Command.ID, ms(t.now), ms(t.now.Add(wait)))
		if n > 0 {
			kept = append(kept, d)
		}
	}
	return kept, err
}

// ApplyCommands takes in what a hello says of commands, and what it does not say,
// and reports whether any of it was news.
func (db *DB) ApplyCommands(ctx context.Context, agent hotspot.AgentID, h wire.Hello) (news bool, err error) {
	h.Commands = h.Commands[:min(len(h.Commands), commandsHeard)]
	if len(h.Commands) == 0 {
		lost := 0
		err := db.read(ctx, "look for lost commands", func(t *tx) error {
			_, err := t.one(`SELECT COUNT(*) FROM command c JOIN agent a ON a.site = c.site WHERE a.id = $1 AND c.ended_at = 0 AND c.state = 'delivered' AND c.expires_at < $2`, []any{string(agent), ms(t.now)}, &lost)
			return err
		})
		if err != nil || lost == 0 {
			return false, err // the usual case costs one look
		}
	}
	err = db.write(ctx, "answers to commands", func(t *tx) error {
		news = false
		site, err := t.agentInForce(agent, "")
		if err != nil {
			return err
		}
		for _, r := range h.Commands {
			was, err := t.commandResult(site, r)
			var bad *unreadable
			if errors.As(err, &bad) {
				continue // its event is set aside with its bytes
			}
			if err != nil {
				return err
			}
			news = news || was
		}
		lost, err := t.lostCommands(site, h)
		news = news || lost
		return err
	})
	return news, err
}

// lostCommands ends what the site once began and knows nothing of any more: its
// database was put back to before that. A hello tells so by what it leaves out, where
// all its events are here: what is being carried out it would name, and an answer would
// have come. Within its time a command goes out again instead, and is answered anew.
func (t *tx) lostCommands(site hotspot.SiteID, h wire.Hello) (news bool, err error) {
	running := map[string]bool{}
	for _, r := range h.Commands {
		running[r.ID] = r.State == wire.CommandRunning
	}
	var through int64
	_, err = t.one(`SELECT through FROM event_mark WHERE site = $1 AND epoch = $2`, []any{string(site), text200(h.Epoch)}, &through)
	if err != nil || through < h.LastSeq || len(h.Commands) >= wire.CommandsTold {
		return false, err
	}
	var lost []string
	err = t.each(`SELECT id FROM command WHERE site = $1 AND ended_at = 0 AND state = 'delivered' AND expires_at < $2`, []any{string(site), ms(t.now)}, func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		if !running[id] {
			lost = append(lost, id)
		}
		return err
	})
	for _, id := range lost {
		if err == nil {
			err = t.exec(`UPDATE command SET state = 'unknown', code = 'CLD-303', detail = $3, next_step = $4, ended_at = $5 WHERE site = $1 AND id = $2`, string(site), id,
				"the site began it and knows nothing of it any more; its database was put back to an earlier one", "Look how things are before you ask again.", ms(t.now))
		}
	}
	return len(lost) > 0 && err == nil, err
}

// commandResult takes in what a site says of a command. The first answer counts;
// one of a command this database does not know was asked by another.
func (t *tx) commandResult(site hotspot.SiteID, r wire.CommandResult) (news bool, err error) {
	states := map[string]hotspot.CommandState{wire.CommandDone: hotspot.CommandExecuted, wire.CommandFailed: hotspot.CommandFailed, wire.CommandRejected: hotspot.CommandRejected,
		wire.CommandExpired: hotspot.CommandExpired, wire.CommandUnknown: hotspot.CommandUnknown}
	if !name(r.ID, maxEventID) {
		return false, unreadablef("the result of a command without an id")
	}
	if len(r.Body) > wire.ResultBytes {
		return false, unreadablef("the result of a command of %d octets", len(r.Body))
	}
	if !storable(r.Body) {
		return false, unreadablef("the result of a command is not text without NUL")
	}
	if r.State == wire.CommandRunning {
		n, err := t.touched(`UPDATE command SET state = 'delivered' WHERE site = $1 AND id = $2 AND ended_at = 0 AND state <> 'delivered'`, string(site), r.ID)
		return n > 0, err
	}
	state, ok := states[r.State]
	if !ok {
		state = hotspot.CommandUnknown // one that a later build tells apart
	}
	n, err := t.touched(`UPDATE command SET state = $3, answered = 1, code = $4, detail = $5, next_step = $6, result = $7, ended_at = $8 WHERE site = $1 AND id = $2 AND answered = 0`,
		string(site), r.ID, string(state), text200(r.Code), textOf(r.Detail, 2000), textOf(r.Next, 2000), string(r.Body), ms(t.now))
	return n > 0, err
}

const commandColumns = `c.site, c.id, c.kind, c.subject, c.body, c.asked_by, c.asked_at, c.expires_at, c.state, c.sent_at, c.ended_at, c.code, c.detail, c.next_step, c.result`

func scanCommand(scan func(...any) error) (c hotspot.Command, err error) {
	var asked, expires, sent, ended int64
	err = scan(&c.Site, &c.ID, &c.Kind, &c.Subject, &c.Body, &c.By, &asked, &expires, &c.State, &sent, &ended, &c.Code, &c.Detail, &c.Next, &c.Result)
	c.AskedAt, c.ExpiresAt, c.SentAt, c.EndedAt = at(asked), at(expires), at(sent), at(ended)
	return c, err
}

// Commands returns a site's newest commands, the newest first; subject, when not "",
// is the router or the account.
func (db *DB) Commands(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID, subject string, limit int) (out []hotspot.Command, err error) {
	err = db.read(ctx, "commands", func(t *tx) error {
		out = nil
		return t.each(`SELECT `+commandColumns+` FROM command c JOIN site s ON s.id = c.site WHERE c.site = $1 AND s.organization = $2 AND ($3 = '' OR c.subject = $3) ORDER BY c.id DESC LIMIT $4`,
			[]any{string(site), string(org), subject, min(max(limit, 1), 100)}, func(scan func(...any) error) error {
				c, err := scanCommand(scan)
				out = append(out, c)
				return err
			})
	})
	return out, err
}

// Command returns one command of a site; kind NotFound for none.
func (db *DB) Command(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID, id string) (c hotspot.Command, err error) {
	err = db.read(ctx, "command", func(t *tx) error {
		found := false
		err := t.each(`SELECT `+commandColumns+` FROM command c JOIN site s ON s.id = c.site WHERE c.site = $1 AND c.id = $2 AND s.organization = $3`,
			[]any{string(site), id, string(org)}, func(scan func(...any) error) error {
				found = true
				var err error
				c, err = scanCommand(scan)
				return err
			})
		if err == nil && !found {
			err = notFound("command", id)
		}
		return err
	})
	return c, err
}
