package store

import (
	"context"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

// leftReason is the reason of a site's silence once its box gave its identity up.
const leftReason = "left"

// LeaveAgent retires an enrolment because its box gave the identity up, whether it
// was confirmed or not. Of one that is retired already nothing changes.
func (db *DB) LeaveAgent(ctx context.Context, agent hotspot.AgentID) (site hotspot.SiteID, err error) {
	err = db.write(ctx, "agent leaves", func(t *tx) error {
		var org hotspot.OrganizationID
		var host string
		var retired int64
		found, err := t.one(`SELECT a.site, s.organization, a.host, a.retired_at FROM agent a JOIN site s ON s.id = a.site WHERE a.id = $1`,
			[]any{string(agent)}, &site, &org, &host, &retired)
		switch {
		case err != nil:
			return err
		case !found:
			return fault.New(fault.Denied, "agent "+string(agent)+" was never enrolled here", nil)
		case retired > 0:
			return nil
		}
		n, err := t.touched(`UPDATE agent SET retired_at = $2, left_at = $2 WHERE id = $1 AND retired_at = 0`, string(agent), ms(t.now))
		if err != nil || n == 0 {
			return err
		}
		if err := t.exec(`UPDATE site_status SET presence = $3, reason = $4 WHERE site = $1 AND agent = $2`,
			string(site), string(agent), string(hotspot.Lost), leftReason); err != nil {
			return err
		}
		return t.audit(hotspot.Operator{Organization: org, Name: host}, site, "agent.left", string(agent), map[string]string{"host": host}, nil)
	})
	return site, err
}
