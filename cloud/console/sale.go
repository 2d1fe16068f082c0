package console

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// salesPerPage is how many sales a page shows.
const salesPerPage = 100

// salesPage is what a site sold on one of its days.
type salesPage struct {
	webui.Clock
	Status  hotspot.SiteStatus
	Day     string // 2006-01-02, of the site
	Earlier string
	Later   string // "" for today
	Sales   []saleRow
	Sums    []string
	Next    string
}

type saleRow struct {
	At     time.Time
	Name   string
	Href   string
	Plan   string
	Price  string
	By     string
	Where  string
	Remark string
}

// saleWhere words where something was sold.
var saleWhere = map[string]string{"page": "at the counter", "command": "on the box", "console": "in the console"}

// dayOf returns the day of a site that a request names, else today.
func dayOf(text string, c webui.Clock) (from, to time.Time, today bool) {
	from, err := hotspot.ParseDay(text, c.Zone)
	if err != nil || from.After(c.Now) {
		from = c.Now
	}
	from, to = hotspot.DayOf(from, c.Zone)
	return from, to, to.After(c.Now)
}

func (s *Server) sales(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	id := hotspot.SiteID(r.PathValue("site"))
	st, err := s.Store.Site(r.Context(), op.Organization, id)
	if err != nil {
		return err
	}
	p := salesPage{Clock: s.clock(st.Site.TimeZone), Status: st}
	from, to, today := dayOf(r.FormValue("day"), p.Clock)
	p.Day, p.Earlier = from.Format(time.DateOnly), from.Add(-time.Second).In(p.Zone).Format(time.DateOnly)
	if !today {
		p.Later = to.Format(time.DateOnly)
	}
	sales, sums, next, err := s.Store.Sales(r.Context(), op.Organization, id, from, to, salesPerPage, clip(r.FormValue("after"), 64))
	if err != nil {
		return err
	}
	if next != "" {
		p.Next = "/sites/" + string(id) + "/sales?" + url.Values{"day": {p.Day}, "after": {next}}.Encode()
	}
	for _, m := range sums {
		p.Sums = append(p.Sums, money(m))
	}
	for _, x := range sales {
		where := saleWhere[x.By.At]
		if where == "" {
			where = "on site"
		}
		p.Sales = append(p.Sales, saleRow{At: x.At, Name: x.Username, Href: "/guests/" + string(x.Account), Plan: x.PlanName, Price: money(x.Price), By: x.By.String(), Where: where, Remark: x.Remark})
	}
	page := shell(op, "Sales of "+st.Site.Name, "")
	page.Clock, page.Body = p.Clock, p
	s.render(w, r, http.StatusOK, "sales", page)
	return nil
}

// apiSale is a sale as the API tells it.
type apiSale struct {
	ID         string     `json:"id"`
	At         *time.Time `json:"at"`
	By         string     `json:"by" doc:"The person who sold it."`
	Role       string     `json:"role,omitempty" doc:"Their role; absent where the site does not know it."`
	Via        string     `json:"via" doc:"console; page or command of the box."`
	OnSite     bool       `json:"on_site"`
	PlanID     string     `json:"plan_id"`
	Plan       string     `json:"plan" doc:"Its name when it was sold."`
	PriceMinor int64      `json:"price_minor" doc:"In the minor unit of the currency, as it was when it was sold."`
	Currency   string     `json:"currency,omitempty"`
	Account    string     `json:"account"`
	Username   string     `json:"username" doc:"As it was when it was sold."`
	Pass       string     `json:"pass"`
	New        bool       `json:"new" doc:"The account was made with it."`
	Remark     string     `json:"remark,omitempty" doc:"What people must know of it, such as that the guest was removed meanwhile."`
}

func toAPISale(s hotspot.Sale) apiSale {
	return apiSale{ID: string(s.ID), At: moment(s.At), By: s.By.Name, Role: string(s.By.Role), Via: s.By.At, OnSite: s.OnSite, PlanID: string(s.Plan), Plan: s.PlanName,
		PriceMinor: s.Price.Minor, Currency: s.Price.Currency, Account: string(s.Account), Username: s.Username, Pass: string(s.Pass), New: s.New, Remark: s.Remark}
}

type salesInput struct {
	SiteInput
	From  time.Time `query:"from" doc:"Not before; absent is midnight of the site's day."`
	To    time.Time `query:"to" doc:"Before; absent is now."`
	Limit int       `query:"limit" minimum:"1" maximum:"1000" default:"200"`
	After string    `query:"after" maxLength:"64" doc:"Next of the page before."`
}

func (s *Server) saleOperations(api huma.API) {
	register(s, api, operation("GET /api/v1/sites/{site}/sales", "list-sales", "What a site sold, here and at its counter, the newest first", http.StatusOK),
		func(ctx context.Context, op hotspot.Operator, in *salesInput) (list[apiSale], error) {
			st, err := s.Store.Site(ctx, op.Organization, hotspot.SiteID(in.Site))
			if err != nil {
				return list[apiSale]{}, err
			}
			from, to := in.From, in.To
			if from.IsZero() {
				from, _, _ = dayOf("", s.clock(st.Site.TimeZone))
			}
			if to.IsZero() {
				to = s.now().Add(time.Second) // the last millisecond included
			}
			sales, _, next, err := s.Store.Sales(ctx, op.Organization, st.Site.ID, from, to, in.Limit, in.After)
			return listOf(sales, next, toAPISale), err
		})
}
