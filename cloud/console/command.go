package console

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
	"iwas/internal/wire"
)

// How long a command may wait for its site. What a person waits for is for now; a
// way back may come a little later.
const (
	commandLife  = time.Minute
	rollbackLife = 5 * time.Minute
)

// commandsShown is how many of a router's commands its page lists.
const commandsShown = 20

// routerCommands are the kinds a person may ask for about a router, by the short name.
var routerCommands = map[string]wire.CommandKind{
	"check": wire.CommandRouterCheck, "plan": wire.CommandRouterPlan, "apply": wire.CommandRouterApply, "confirm": wire.CommandRouterConfirm, "rollback": wire.CommandRouterRollback,
}

// command has one kept and sent, once for each key that is not "".
func (s *Server) command(ctx context.Context, op hotspot.Operator, c hotspot.Command, key string) (hotspot.Command, error) {
	if _, err := s.Store.Site(ctx, op.Organization, c.Site); err != nil {
		return hotspot.Command{}, err
	}
	life := commandLife
	if c.Kind == string(wire.CommandRouterRollback) {
		life = rollbackLife
	}
	if key == "" {
		return s.Fleet.Ask(ctx, op, c, life)
	}
	body := sha256.Sum256([]byte(c.Kind + "\x00" + c.Subject + "\x00" + c.Body))
	made, _, err := s.once(ctx, op.ID+"\x00command\x00"+string(c.Site)+"\x00"+key, body, func() (created, error) {
		m, err := s.Fleet.Ask(ctx, op, c, life)
		return created{command: m}, err
	})
	return made.command, err
}

// routerCommand asks for something about a router, by the short name of the kind.
func (s *Server) routerCommand(ctx context.Context, op hotspot.Operator, site hotspot.SiteID, nas, kind, plan, key string) (hotspot.Command, error) {
	k, ok := routerCommands[kind]
	if !ok {
		return hotspot.Command{}, invalid("command", map[string]error{"kind": errors.New("give check, plan, apply, confirm or rollback")})
	}
	if kind == "apply" && plan == "" {
		return hotspot.Command{}, fault.New(fault.Invalid, "apply needs the plan that was read", nil).WithCode("", "Ask for a plan, read it, and give its key.")
	}
	body, err := json.Marshal(wire.RouterCommand{NAS: hotspot.NASID(nas), Plan: plan})
	if err != nil {
		return hotspot.Command{}, err
	}
	return s.command(ctx, op, hotspot.Command{Site: site, Kind: string(k), Subject: nas, Body: string(body)}, key)
}

// kick ends an account's sessions once.
func (s *Server) kick(ctx context.Context, op hotspot.Operator, account hotspot.AccountID, key string) (hotspot.Command, error) {
	g, err := s.Store.Guest(ctx, op.Organization, account)
	if err != nil {
		return hotspot.Command{}, err
	}
	body, err := json.Marshal(wire.KickBody{Account: account})
	if err != nil {
		return hotspot.Command{}, err
	}
	return s.command(ctx, op, hotspot.Command{Site: g.Site, Kind: string(wire.CommandKick), Subject: string(account), Body: string(body)}, key)
}

// commandNames word what was asked for.
var commandNames = map[string]string{
	string(wire.CommandKick): "End sessions", string(wire.CommandRouterCheck): "Check", string(wire.CommandRouterPlan): "Plan", string(wire.CommandRouterApply): "Apply",
	string(wire.CommandRouterConfirm): "Confirm", string(wire.CommandRouterRollback): "Roll back",
}

// commandView is a command on a page.
type commandView struct {
	ID, Name, By       string
	State              webui.Badge
	At, Ended          time.Time
	Code, Detail, Next string
	Open               bool
}

// Said is what became of it and what to do now, as sentences.
func (v commandView) Said() string {
	if v.Detail == "" || v.Next == "" {
		return v.Detail + v.Next
	}
	return strings.TrimSuffix(v.Detail, ".") + ". " + v.Next
}

func viewCommand(c hotspot.Command, st hotspot.SiteStatus) commandView {
	return commandView{ID: c.ID, Name: orElse(commandNames[c.Kind], c.Kind), By: c.By, State: commandBadge(c.State, st), At: c.AskedAt, Ended: c.EndedAt,
		Code: c.Code, Detail: c.Detail, Next: c.Next, Open: !c.State.Over()}
}

func commandBadge(s hotspot.CommandState, st hotspot.SiteStatus) webui.Badge {
	switch s {
	case hotspot.CommandQueued:
		if st.Presence != hotspot.Online {
			return webui.Badge{Tone: webui.Warn, Icon: "clock", Text: "Waits for the site"}
		}
		return webui.Badge{Tone: webui.Warn, Icon: "clock", Text: "On its way"}
	case hotspot.CommandSent:
		return webui.Badge{Tone: webui.Warn, Icon: "clock", Text: "Sent"}
	case hotspot.CommandDelivered:
		return webui.Badge{Tone: webui.Warn, Icon: "clock", Text: "At work"}
	case hotspot.CommandExecuted:
		return webui.Badge{Tone: webui.Good, Icon: "circle-check", Text: "Done"}
	case hotspot.CommandRejected:
		return webui.Badge{Tone: webui.Warn, Icon: "info", Text: "Refused by the box"}
	case hotspot.CommandExpired:
		return webui.Badge{Tone: webui.Calm, Icon: "clock", Text: "Expired, not done"}
	case hotspot.CommandUnknown:
		return webui.Badge{Tone: webui.Warn, Icon: "triangle-alert", Text: "Not known"}
	}
	return webui.Badge{Tone: webui.Bad, Icon: "circle-x", Text: "Failed"}
}

func (s *Server) kickGuest(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	account := hotspot.AccountID(r.PathValue("account"))
	if _, err := s.kick(r.Context(), op, account, clip(r.PostFormValue("once"), 100)); err != nil {
		if fault.Is(err, fault.NotFound) {
			return err
		}
		return s.notChanged(w, r, op, "Sessions not ended", err)
	}
	http.Redirect(w, r, "/guests/"+string(account), http.StatusSeeOther)
	return nil
}

// newestKick is what became of the newest kick of a guest, nil if there was none.
func (s *Server) newestKick(ctx context.Context, op hotspot.Operator, st hotspot.SiteStatus, account hotspot.AccountID) (*commandView, error) {
	all, err := s.Store.Commands(ctx, op.Organization, st.Site.ID, string(account), 1)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	v := viewCommand(all[0], st)
	return &v, nil
}

// apiCommand is a command in the API.
type apiCommand struct {
	ID        string     `json:"id"`
	Kind      string     `json:"kind" doc:"kick, router.check, router.plan, router.apply, router.confirm or router.rollback."`
	Subject   string     `json:"subject" doc:"The router or the account it is about."`
	By        string     `json:"by" doc:"Who asked."`
	AskedAt   *time.Time `json:"asked_at"`
	ExpiresAt *time.Time `json:"expires_at" doc:"The site does not begin it after this."`
	State     string     `json:"state" enum:"queued,sent,delivered,executed,failed,rejected,expired,unknown" doc:"queued: the site is not there. delivered: being carried out. rejected and expired: nothing was done. unknown: the site may still answer."`
	EndedAt   *time.Time `json:"ended_at,omitempty"`
	Code      string     `json:"code,omitempty" doc:"Of the condition catalogue."`
	Detail    string     `json:"detail,omitempty"`
	Next      string     `json:"next,omitempty" doc:"What to do now."`

	Plan        *wire.PlanResult  `json:"plan,omitempty" doc:"Of router.plan: steps in words and as commands of RouterOS, what stops it, and the key that apply takes; cut says how many steps were left out because the message would be too long."`
	Check       *wire.CheckResult `json:"check,omitempty" doc:"Of router.check: every point looked at, with its code, cause, next step and a command to paste where it is not ok."`
	Application *wire.ApplyResult `json:"application,omitempty" doc:"Of the other commands about a router: how the application stands, and how many seconds were left to confirm when it was told."`
}

func toAPICommand(c hotspot.Command) apiCommand {
	a := apiCommand{ID: c.ID, Kind: c.Kind, Subject: c.Subject, By: c.By, AskedAt: moment(c.AskedAt), ExpiresAt: moment(c.ExpiresAt), State: string(c.State), EndedAt: moment(c.EndedAt),
		Code: c.Code, Detail: c.Detail, Next: c.Next}
	if c.Result == "" {
		return a
	}
	// What a later build says and this one cannot read is left out.
	switch wire.CommandKind(c.Kind) {
	case wire.CommandRouterPlan:
		a.Plan = read[wire.PlanResult](c.Result)
	case wire.CommandRouterCheck:
		a.Check = read[wire.CheckResult](c.Result)
	default:
		a.Application = read[wire.ApplyResult](c.Result)
	}
	return a
}

func read[T any](text string) *T {
	v := new(T)
	if json.Unmarshal([]byte(text), v) != nil {
		return nil
	}
	return v
}

type commandsInput struct {
	SiteInput
	Subject string `query:"subject" maxLength:"64" doc:"A router or an account; absent: all."`
	Limit   int    `query:"limit" minimum:"1" maximum:"100" default:"20"`
}

type commandInput struct {
	SiteInput
	Command string `path:"command" maxLength:"64"`
}

type kickInput struct {
	AccountInput
	Key string `header:"Idempotency-Key" maxLength:"100" doc:"A repeat with the same key gets the first command instead of a second."`
}

func (s *Server) commandOperations(api huma.API) {
	register(s, api, operation("GET /api/v1/sites/{site}/commands", "list-commands", "What was asked of a site once, the newest first", http.StatusOK),
		func(ctx context.Context, op hotspot.Operator, in *commandsInput) (list[apiCommand], error) {
			if _, err := s.Store.Site(ctx, op.Organization, hotspot.SiteID(in.Site)); err != nil {
				return list[apiCommand]{}, err
			}
			all, err := s.Store.Commands(ctx, op.Organization, hotspot.SiteID(in.Site), in.Subject, in.Limit)
			return listOf(all, "", toAPICommand), err
		})
	register(s, api, operation("GET /api/v1/sites/{site}/commands/{command}", "get-command", "What became of a command", http.StatusOK),
		func(ctx context.Context, op hotspot.Operator, in *commandInput) (apiCommand, error) {
			c, err := s.Store.Command(ctx, op.Organization, hotspot.SiteID(in.Site), in.Command)
			return toAPICommand(c), err
		})
	register(s, api, operation("POST /api/v1/accounts/{id}/kick", "kick-account", "End a guest's sessions once; nothing keeps the guest from coming back", http.StatusAccepted),
		func(ctx context.Context, op hotspot.Operator, in *kickInput) (apiCommand, error) {
			c, err := s.kick(ctx, op, hotspot.AccountID(in.Account), in.Key)
			return toAPICommand(c), err
		})
}
