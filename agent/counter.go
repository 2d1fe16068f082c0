package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"iwas/agent/statuspage"
	"iwas/agent/store"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

// peerKey is where a request's context has the user at the other end of the socket.
type peerKey struct{}

func withPeer(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, peerKey{}, peerOf(c))
}

// staffOf is who asks: the user the kernel names, and with as the person they say
// they sit at the counter for. said is what the command says by itself, which counts
// only where the system does not know, and where root asks for somebody (sudo).
func staffOf(ctx context.Context, as, said string) hotspot.Staff {
	name, _ := ctx.Value(peerKey{}).(string)
	if name == "" || name == "root" && said != "" {
		name = said
	}
	if as = strings.TrimSpace(as); as != "" {
		name = as + " by " + name
	}
	return hotspot.Staff{Name: name, Role: hotspot.Technician, At: hotspot.AtCommand}
}

// doTo does one thing to a guest, whether a command or the page of the counter asks.
func doTo(ctx context.Context, db *store.DB, what string, in accountAsk, by hotspot.Staff) error {
	switch what {
	case statuspage.ActLock:
		return db.Lock(ctx, in.Name, in.Reason, by)
	case statuspage.ActUnlock:
		return db.Unlock(ctx, in.Name, in.Reason, by)
	case statuspage.ActPause:
		return db.Pause(ctx, in.Name, in.Reason, by)
	case statuspage.ActResume:
		return db.Resume(ctx, in.Name, by)
	case statuspage.ActKick:
		_, err := db.KickHere(ctx, in.Name, by)
		return err
	case statuspage.ActExtend:
		return db.Extend(ctx, in.Name, time.Duration(in.Seconds)*time.Second, by, in.Reason)
	}
	return fault.New(fault.Invalid, fmt.Sprintf("%q is nothing that can be done to a guest", what), nil)
}

// counter adds what staff do at the counter to the door for commands.
func (c *control) counter(mux *http.ServeMux) {
	act := func(what string, wait bool, do func(context.Context, accountAsk, hotspot.Staff) error) {
		mux.HandleFunc("POST /v1/account/"+what, func(w http.ResponseWriter, r *http.Request) {
			c.answer(w, r, wait, func(ctx context.Context, in accountAsk) error { return do(ctx, in, staffOf(ctx, in.As, in.By)) })
		})
	}
	for what, wait := range map[string]bool{statuspage.ActLock: true, statuspage.ActUnlock: false, statuspage.ActPause: true, statuspage.ActResume: false, statuspage.ActKick: true, statuspage.ActExtend: true} {
		act(what, wait, func(ctx context.Context, in accountAsk, by hotspot.Staff) error { return doTo(ctx, c.db, what, in, by) })
	}
	mux.HandleFunc("POST /v1/account/find", func(w http.ResponseWriter, r *http.Request) { reply(w, r, c.find) })
	mux.HandleFunc("POST /v1/account/why", func(w http.ResponseWriter, r *http.Request) { reply(w, r, c.why) })
	mux.HandleFunc("POST /v1/account/sell", func(w http.ResponseWriter, r *http.Request) { reply(w, r, c.sell) })
	mux.HandleFunc("POST /v1/account/remove-test", func(w http.ResponseWriter, r *http.Request) { reply(w, r, c.removeTest) })
	mux.HandleFunc("POST /v1/sales", func(w http.ResponseWriter, r *http.Request) { reply(w, r, c.sales) })
	mux.HandleFunc("POST /v1/plan/list", func(w http.ResponseWriter, r *http.Request) { reply(w, r, c.plans) })
	mux.HandleFunc("POST /v1/plan/put", func(w http.ResponseWriter, r *http.Request) { reply(w, r, c.putPlan) })
	mux.HandleFunc("POST /v1/plan/remove", func(w http.ResponseWriter, r *http.Request) { reply(w, r, c.removePlan) })
}

type findAsk struct {
	Text  string `json:"text"`
	Limit int    `json:"limit,omitempty"`
}

type foundAnswer struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	Note   string `json:"note,omitempty"`
	Plan   string `json:"plan,omitempty"`
	Locked bool   `json:"locked"`
	Paused bool   `json:"paused"`
	Online int    `json:"online"` // devices
}

type foundAnswers struct {
	Guests []foundAnswer `json:"guests"`
}

func (c *control) find(ctx context.Context, in findAsk) (foundAnswers, error) {
	out := foundAnswers{Guests: []foundAnswer{}}
	found, err := c.db.Find(ctx, in.Text, max(in.Limit, 20))
	for _, f := range found {
		out.Guests = append(out.Guests, foundAnswer{Name: f.Username, Kind: string(f.Kind), Note: f.Note, Plan: f.PlanName, Locked: f.Locked, Paused: f.Paused, Online: f.Online})
	}
	return out, err
}

// sellAsk is what a command sells.
type sellAsk struct {
	Plan     string `json:"plan"`
	To       string `json:"to,omitempty"`
	User     string `json:"user,omitempty"`
	Password string `json:"password,omitempty"` // over the socket, which is this box's alone
	Count    int    `json:"count,omitempty"`
	Note     string `json:"note,omitempty"`
	By       string `json:"by,omitempty"`
	As       string `json:"as,omitempty"`
	Test     bool   `json:"test,omitempty"`
}

// saleAnswer is one sale.
type saleAnswer struct {
	ID       string    `json:"id"`
	At       time.Time `json:"at"`
	By       string    `json:"by"`
	Via      string    `json:"via,omitempty"`
	Plan     string    `json:"plan"`
	Price    string    `json:"price"` // for people
	Minor    int64     `json:"price_minor"`
	Currency string    `json:"currency,omitempty"`
	Name     string    `json:"name"` // the user name, or the voucher's code
	Password string    `json:"password,omitempty"`
	New      bool      `json:"new"` // the account was made with it

	AccountID string `json:"account_id"`
	PassID    string `json:"pass_id"`
}

type salesAnswer struct {
	Sales []saleAnswer      `json:"sales"`
	Sums  map[string]string `json:"sums"` // by currency, of what is listed; for people
}

func toSaleAnswer(s hotspot.Sale) saleAnswer {
	return saleAnswer{ID: string(s.ID), At: s.At, By: s.By.String(), Via: s.By.At, Plan: s.PlanName, Price: s.Price.String(), Minor: s.Price.Minor, Currency: s.Price.Currency,
		Name: s.Username, New: s.New, AccountID: string(s.Account), PassID: string(s.Pass)}
}

func toSalesAnswer(sales []hotspot.Sale) salesAnswer {
	out := salesAnswer{Sales: []saleAnswer{}, Sums: map[string]string{}}
	sums := map[string]hotspot.Money{}
	for _, s := range sales {
		out.Sales = append(out.Sales, toSaleAnswer(s))
		if m := s.Price; m.Minor > 0 {
			m.Minor += sums[m.Currency].Minor
			sums[m.Currency] = m
		}
	}
	for currency, m := range sums {
		out.Sums[currency] = m.String()
	}
	return out
}

func (c *control) sell(ctx context.Context, in sellAsk) (salesAnswer, error) {
	sold, err := c.db.Sell(ctx, store.SaleAsk{Plan: in.Plan, To: in.To, User: in.User, Password: hotspot.Password(in.Password), Count: in.Count, Note: in.Note,
		By: staffOf(ctx, in.As, in.By), Test: in.Test})
	if err != nil {
		return salesAnswer{}, err
	}
	sales := make([]hotspot.Sale, len(sold))
	for i, s := range sold {
		sales[i] = s.Sale
	}
	out := toSalesAnswer(sales)
	for i, s := range sold {
		out.Sales[i].Password = s.Password.Reveal()
	}
	return out, nil
}

type removeTestAsk struct {
	AccountID string `json:"account_id"`
	PassID    string `json:"pass_id"`
}

func (c *control) removeTest(ctx context.Context, in removeTestAsk) (struct{}, error) {
	return struct{}{}, c.db.RemoveTest(ctx, hotspot.Sale{Account: hotspot.AccountID(in.AccountID), Pass: hotspot.PassID(in.PassID)})
}

type salesAsk struct {
	Since time.Time `json:"since,omitzero"`
	Today bool      `json:"today,omitempty"` // since the site's day began
}

// salesShown is how many sales a command lists.
const salesShown = 1000

func (c *control) sales(ctx context.Context, in salesAsk) (salesAnswer, error) {
	if in.Today {
		in.Since = c.db.DayBegan()
	}
	sales, err := c.db.Sales(ctx, in.Since, salesShown)
	return toSalesAnswer(sales), err
}
