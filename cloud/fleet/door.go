package fleet

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// Bounds of the door.
const (
	maxRequest = 64 << 10         // octets of a body
	clockLimit = 10 * time.Minute // between a box's clock and ours; beyond, its certificate would not work
)

// Door returns what boxes talk to over HTTPS: before they have a certificate, to
// look at an enrolment code and to spend it; later, with the signature of their
// key, to renew the certificate and to say why MQTT does not get through.
func (f *Fleet) Door() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+wire.PathLook, f.code(func(ctx context.Context, hash []byte, _ wire.EnrolRequest) (any, error) {
		offer, err := f.o.Store.Offer(ctx, hash)
		offer.Time = f.now()
		return offer, err
	}))
	mux.HandleFunc("POST "+wire.PathEnrol, f.code(func(ctx context.Context, hash []byte, r wire.EnrolRequest) (any, error) {
		return f.enrol(ctx, hash, r)
	}))
	mux.HandleFunc("POST "+wire.PathRenew, signed(f, wire.PathRenew, f.renew))
	mux.HandleFunc("POST "+wire.PathOutage, signed(f, wire.PathOutage, f.outage))
	mux.HandleFunc("POST "+wire.PathLeave, signed(f, wire.PathLeave, f.leave))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		problem(w, http.StatusNotFound, wire.Problem{Title: "Nothing is here",
			Detail: "This door is for boxes that enrol. The console is at another address."})
	})
	return mux
}

// code reads a request, guards against guessing, and answers what do returns.
func (f *Fleet) code(do func(context.Context, []byte, wire.EnrolRequest) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var q wire.EnrolRequest
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest)).Decode(&q)
		if err == nil {
			err = wire.CheckVersion(q.V)
		}
		if err != nil {
			f.refuse(w, fault.New(fault.Invalid, "fleet: request", err))
			return
		}
		from := address(r)
		g := f.guards.of(from)
		g.mu.Lock()
		defer g.mu.Unlock()
		wait := g.wait(f.now())
		if wait == 0 {
			if wait, err = g.count(r.Context(), f.o.Store, f.now(), 0); err != nil {
				f.refuse(w, err)
				return
			}
		}
		if wait > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
			f.refuse(w, fault.New(fault.Unavailable, fmt.Sprintf("wait %s before the next try", wait.Round(time.Second)), nil).
				WithCode("CLD-205", "Wait 15 minutes, then type the code slowly, or paste it."))
			return
		}
		answer, err := f.judge(r.Context(), q, do)
		if fault.Code(err) == codeUnknown {
			g.wrong.AllowN(f.now(), 1)
			if _, cerr := g.count(r.Context(), f.o.Store, f.now(), 1); cerr != nil {
				f.o.Log.Error("fleet: wrong enrolment code counted here only", "err", cerr)
			}
			f.o.Log.Warn("fleet: wrong enrolment code", "from", from, "host", clip(q.Host), "code", codeUnknown)
			f.guessed(r.Context(), g.key)
		}
		if err != nil {
			f.refuse(w, err)
			return
		}
		reply(w, http.StatusOK, "application/json", answer)
	}
}

const codeUnknown = "CLD-201"

// guessed tells the sites with an open code that somebody tries others.
func (f *Fleet) guessed(ctx context.Context, from netip.Prefix) {
	sites, err := f.o.Store.NoteWrongCode(ctx, masked(from))
	if err != nil {
		f.o.Log.Error("fleet: wrong enrolment code not counted", "err", err)
	}
	for _, site := range sites {
		f.o.Notify(site)
	}
}

// masked is where somebody is without saying who: an IPv4 address without its
// last number.
func masked(from netip.Prefix) string {
	if from.Addr().Is4() {
		if p, err := from.Addr().Prefix(24); err == nil {
			return p.String()
		}
	}
	if !from.IsValid() {
		return ""
	}
	return from.String()
}

// judge looks at the clock before the code: a clock this wrong is the one thing
// a person must mend first.
func (f *Fleet) judge(ctx context.Context, q wire.EnrolRequest, do func(context.Context, []byte, wire.EnrolRequest) (any, error)) (any, error) {
	if off := q.At.Sub(f.now()); off.Abs() > clockLimit {
		return nil, fault.New(fault.Invalid, fmt.Sprintf("the box says it is %s, here it is %s", q.At.UTC().Format(time.RFC3339), f.now().Format(time.RFC3339)), nil).
			WithCode("CLD-204", "Set the date of this box, then run the same command again: the code is not lost.")
	}
	code := normalCode(q.Code)
	if len(code) != codeLength {
		return nil, fault.New(fault.NotFound, fmt.Sprintf("a code has %d characters, this one has %d", codeLength, len(code)), nil).
			WithCode(codeUnknown, "Check the code letter by letter against the console.")
	}
	return do(ctx, f.o.CA.codeHash(code), q)
}

// enrol spends a code for an identity.
func (f *Fleet) enrol(ctx context.Context, hash []byte, q wire.EnrolRequest) (wire.EnrolReply, error) {
	if q.Request == "" || len(q.Request) > 64 {
		return wire.EnrolReply{}, fault.New(fault.Invalid, "fleet: the request has no id of at most 64 characters", nil)
	}
	made := false
	answer, err := f.o.Store.Enrol(ctx, hash, q, func(o wire.EnrolOffer) (wire.EnrolReply, error) {
		agent := hotspot.AgentID(hotspot.NewID(f.now()))
		cert, publicKey, err := f.o.CA.SignAgent(q.CSR, agent)
		made = err == nil
		return wire.EnrolReply{Agent: string(agent), SiteID: o.SiteID, Site: o.Site, Organization: o.Organization,
			Certificate: cert, MQTTURL: f.o.MQTTURL, MQTTCA: f.brokerCA(), SealKey: f.o.SealKey.String(),
			CheckNumber: wire.CheckNumber(publicKey, string(agent)), Time: f.now()}, err
	})
	if err != nil {
		return answer, err
	}
	if made {
		f.o.Log.Info("fleet: box enrolled; it waits for a person to confirm it", "site", answer.SiteID, "agent", answer.Agent, "host", clip(q.Host))
		f.o.Notify(hotspot.SiteID(answer.SiteID))
	}
	return answer, nil
}

// normalCode drops what people add to a code: case, dashes, blanks.
func normalCode(code string) string {
	return strings.ToUpper(strings.Map(func(r rune) rune {
		if r == '-' || r == ' ' || r == '\t' || r == '\r' || r == '\n' {
			return -1
		}
		return r
	}, code))
}

// address is where a request comes from. No header is believed: nothing stands
// before this door.
func address(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr()
}

// clip shortens a stranger's text for the log, which quotes what is odd in it.
func clip(s string) string { return s[:min(len(s), 100)] }

// titles of the catalogue's codes, and their HTTP status. 4xx but 429 means that
// the same request can never succeed.
var answers = map[string]struct {
	status int
	title  string
}{
	codeUnknown: {http.StatusNotFound, "The enrolment code is not known"},
	"CLD-202":   {http.StatusGone, "The enrolment code has expired"},
	"CLD-203":   {http.StatusConflict, "The enrolment code has been used already"},
	"CLD-204":   {http.StatusBadRequest, "The clock is too wrong to enrol"},
	"CLD-205":   {http.StatusTooManyRequests, "Too many wrong enrolment codes"},
	"CLD-207":   {http.StatusGone, "The enrolment code was revoked"},
	"CLD-208":   {http.StatusForbidden, "The certificate ended too long ago"},
	"CLD-209":   {http.StatusForbidden, "The request is not signed by a box enrolled here"},
	"CLD-211":   {http.StatusTooManyRequests, "Asked too often"},
	"CLD-103":   {http.StatusForbidden, "The identity is retired"},
	"CLD-104":   {http.StatusForbidden, "A second copy of the box"},
	"CLD-110":   {http.StatusForbidden, "The box is not confirmed yet"},
}

// refuse answers an error as a problem. What is wrong inside stays inside.
func (f *Fleet) refuse(w http.ResponseWriter, err error) {
	p := wire.Problem{Code: fault.Code(err), Next: fault.Hint(err), Detail: err.Error()}
	if a, ok := answers[p.Code]; ok {
		p.Title = a.title
		problem(w, a.status, p)
		return
	}
	switch fault.KindOf(err) {
	case fault.Invalid:
		p.Title = "The request cannot be read"
		problem(w, http.StatusBadRequest, p)
	case fault.Unavailable:
		f.o.Log.Error("fleet: enrolment cannot be answered now", "err", err)
		problem(w, http.StatusServiceUnavailable, wire.Problem{Title: "The cloud cannot answer now", Next: "Run the same command again in a minute: the code is not lost."})
	default:
		f.o.Log.Error("fleet: enrolment failed", "err", err)
		problem(w, http.StatusInternalServerError, wire.Problem{Title: "Something is wrong in the cloud", Next: "Tell whoever runs the cloud: its log says more."})
	}
}

func problem(w http.ResponseWriter, status int, p wire.Problem) {
	p.Status = status
	reply(w, status, "application/problem+json", p)
}

func reply(w http.ResponseWriter, status int, contentType string, v any) {
	b, err := json.Marshal(v)
	if err != nil { // plain structs of text: cannot be
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(b) // who hung up hears nothing
}
