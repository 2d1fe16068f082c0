package console

import (
	"errors"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/text/currency"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// plansBody is the list of plans and the form for one more.
type plansBody struct {
	Plans  []planRow
	Change bool
	Form   map[string]string
	Wrong  map[string]string
	Days   []dayField
	More   bool // something of the folded part was given
}

// dayField is one day of the week in the form.
type dayField struct{ Name, Label string }

type planRow struct {
	Plan  hotspot.Plan
	Words []string
}

var planFields = []string{"name", "price", "currency", "time", "unit", "clock", "days", "up", "down", "gigabytes", "devices",
	"mon", "tue", "wed", "thu", "fri", "sat", "sun", "from", "until", "swap", "reconnect", "slow_up", "slow_down", "rate", "idle", "lists", "lists_by_api"}

// weekFields are the fields of the days, in the order of the week.
var weekFields = planFields[slices.Index(planFields, "mon"):slices.Index(planFields, "from")]

func (s *Server) plans(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	form := map[string]string{"unit": "h", "clock": string(hotspot.Continuous), "devices": "1", "swap": string(hotspot.SwapRefuse)}
	sites, err := s.Store.Sites(r.Context(), op.Organization)
	if err != nil {
		return err
	}
	if len(sites) > 0 {
		form["currency"] = sites[0].Site.Currency
	}
	return s.showPlans(w, r, op, http.StatusOK, plansBody{Form: form}, nil)
}

func (s *Server) showPlans(w http.ResponseWriter, r *http.Request, op hotspot.Operator, status int, b plansBody, alert *webui.Alert) error {
	plans, err := s.Store.Plans(r.Context(), op.Organization)
	if err != nil {
		return err
	}
	for _, p := range plans {
		b.Plans = append(b.Plans, planRow{p, limitWords(p.Limits)})
	}
	b.Change = may(op, changePlans)
	for _, f := range planFields { // templates refuse keys that are not there
		b.Form[f] = b.Form[f] + ""
		b.More = b.More || b.Form[f] != "" && slices.Index(planFields, f) >= slices.Index(planFields, "mon") && (f != "swap" || b.Form[f] != string(hotspot.SwapRefuse))
	}
	for _, f := range weekFields {
		b.Days = append(b.Days, dayField{f, strings.ToUpper(f[:1]) + f[1:]})
	}
	if b.Wrong == nil {
		b.Wrong = map[string]string{}
	}
	p := shell(op, "Plans", "/plans")
	p.Clock, p.Body, p.Alert = s.clock(""), b, alert
	s.render(w, r, status, "plans", p)
	return nil
}

func (s *Server) addPlan(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	b := plansBody{Form: formValues(r, planFields...), Wrong: map[string]string{}}
	plan, wrong := planOfForm(b.Form)
	for field, err := range wrong {
		b.Wrong[field] = err.Error()
	}
	if len(wrong) > 0 {
		return s.showPlans(w, r, op, http.StatusBadRequest, b, nil)
	}
	if _, err := s.Store.CreatePlan(r.Context(), op, plan); err != nil {
		if fault.Is(err, fault.Invalid) || fault.Is(err, fault.Conflict) {
			return s.showPlans(w, r, op, statusOf(err), b, alertOf("No plan was added", err))
		}
		return err
	}
	http.Redirect(w, r, "/plans", http.StatusSeeOther)
	return nil
}

var units = map[string]time.Duration{"min": time.Minute, "h": time.Hour, "d": 24 * time.Hour}

// planOfForm reads the plan form; empty numbers mean no limit.
func planOfForm(f map[string]string) (hotspot.Plan, map[string]error) {
	wrong := map[string]error{}
	number := func(field string, most float64) float64 {
		if f[field] == "" {
			return 0
		}
		v, err := strconv.ParseFloat(strings.Replace(f[field], ",", ".", 1), 64)
		if err != nil || !(v >= 0 && v <= most) {
			wrong[field] = errors.New("give a number from 0 to " + strconv.FormatFloat(most, 'f', -1, 64) + ", or leave it empty for no limit")
			return 0
		}
		return v
	}
	p := hotspot.Plan{Name: f["name"]}
	unit, ok := units[f["unit"]]
	if !ok {
		wrong["time"] = errors.New("choose minutes, hours or days")
	}
	p.Time = time.Duration(number("time", 100_000)*float64(unit) + .5).Round(time.Second)
	p.Clock = hotspot.Clock(f["clock"])
	p.Validity = time.Duration(number("days", 3650) * float64(24*time.Hour)).Round(time.Second)
	megabits := func(field string) hotspot.Rate { return hotspot.Rate(math.Round(number(field, 100_000)*1000)) * 1000 }
	p.Rate.Max = hotspot.Pair[hotspot.Rate]{Upload: megabits("up"), Download: megabits("down")}
	p.SlowRate.Max = hotspot.Pair[hotspot.Rate]{Upload: megabits("slow_up"), Download: megabits("slow_down")}
	if f["rate"] != "" {
		if !p.Rate.IsZero() {
			wrong["rate"] = errors.New("give the speed here or above, not twice")
		} else if r, err := hotspot.ParseRateLimit(f["rate"]); err != nil {
			wrong["rate"] = err
		} else {
			p.Rate = r
		}
	}
	p.Swap = hotspot.DeviceSwap(f["swap"])
	p.Reconnect = f["reconnect"] != ""
	p.IdleTimeout = time.Duration(number("idle", 100_000) * float64(time.Minute)).Round(time.Second)
	p.AddressLists = strings.FieldsFunc(f["lists"], func(r rune) bool { return r == ',' || r == ' ' })
	p.ListsByAPI = f["lists_by_api"] != ""
	if hours, err := hoursOfForm(f); err != nil {
		wrong["hours"] = err
	} else {
		p.Hours = hours
	}
	p.Total = hotspot.Octets(math.Round(number("gigabytes", 1_000_000) * 1e9))
	p.Devices = int(number("devices", 100))
	if m, err := parseMoney(f["price"], strings.ToUpper(f["currency"])); err != nil {
		wrong["price"] = err
	} else {
		p.Price = m
	}
	for field, err := range checkPlan(p) {
		if wrong[field] == nil {
			wrong[field] = err
		}
	}
	return p, wrong
}

// hoursOfForm reads the days and the one span of the form; nothing given is
// always. Days without times are whole days, times without days are every day.
func hoursOfForm(f map[string]string) (hotspot.Hours, error) {
	var days []string
	for _, day := range weekFields {
		if f[day] != "" {
			days = append(days, day)
		}
	}
	from, until := f["from"], f["until"]
	switch {
	case len(days) == 0 && from == "" && until == "":
		return nil, nil
	case from == "" && until == "":
		from, until = "00:00", "24:00"
	case from == "" || until == "":
		return nil, errors.New("give both times, from and until, or neither")
	}
	if len(days) == 0 {
		days = []string{"mon-sun"}
	}
	if until == "00:00" {
		until = "24:00" // a clock shows midnight so
	}
	return hotspot.ParseHours([]string{strings.Join(days, ",") + " " + from + "-" + until})
}

// checkPlan returns what is wrong with a plan, by field.
func checkPlan(p hotspot.Plan) map[string]error {
	wrong := map[string]error{}
	if n := utf8.RuneCountInString(p.Name); n == 0 || n > 60 || !printable(p.Name) {
		wrong["name"] = errors.New("give the plan a name of 1 to 60 characters")
	}
	if p.Clock != hotspot.Continuous && p.Clock != hotspot.Metered {
		wrong["clock"] = errors.New("choose how the time runs: continuous or metered")
	}
	if (p.Rate.Max.Upload == 0) != (p.Rate.Max.Download == 0) {
		wrong["up"] = errors.New("give both speeds or neither")
	}
	if p.Devices < 0 || p.Devices > 100 {
		wrong["devices"] = errors.New("give 1 to 100 devices at once")
	}
	if p.Price.Minor < 0 {
		wrong["price"] = errors.New("a price is not below nothing")
	}
	if p.Price.Minor != 0 && !isCurrency(p.Price.Currency) {
		wrong["price"] = errors.New("give the three letters of a currency, such as EUR")
	}
	if p.Time < 0 || p.Validity < 0 || p.IdleTimeout < 0 {
		wrong["time"] = errors.New("a time is not below nothing")
	}
	maps.Copy(wrong, p.Limits.Validate())
	return wrong
}

// parseMoney reads "2.50" or "2,50" in a currency as its minor units, without
// ever going through binary fractions.
func parseMoney(s, code string) (hotspot.Money, error) {
	m := hotspot.Money{Currency: code}
	if s == "" {
		return m, nil
	}
	if !isCurrency(code) {
		return m, errors.New("give the three letters of a currency, such as EUR")
	}
	whole, part, _ := strings.Cut(strings.Replace(s, ",", ".", 1), ".")
	digits := m.Digits()
	if len(part) > digits || len(whole) > 12 {
		return m, errors.New(code + " has " + strconv.Itoa(digits) + " digits after the point")
	}
	v, err := strconv.ParseUint(whole+part+strings.Repeat("0", digits-len(part)), 10, 63)
	if err != nil {
		return m, errors.New("give an amount such as 2.50")
	}
	m.Minor = int64(v)
	return m, nil
}

func isCurrency(code string) bool {
	_, err := currency.ParseISO(code)
	return err == nil
}

// knownZone refuses names that time.LoadLocation does not know, and those that
// mean this machine's own zone.
func knownZone(name string) error {
	if _, err := time.LoadLocation(name); err != nil || name == "" || strings.EqualFold(name, "local") {
		return errors.New("give a time zone by its IANA name, such as Europe/Berlin")
	}
	return nil
}
