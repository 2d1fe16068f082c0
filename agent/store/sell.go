package store

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

const (
	plansBound    = 500  // made on site
	vouchersBound = 1000 // sold at once
	foundBound    = 100
	nameBound     = 64  // of a user, octets: RADIUS would take 253, no keyboard should
	passwordBound = 128 // octets (RFC 2865 §5.2)
	// codeLength tells codes made on site from those of the console, which have eight
	// characters: the two sides never make the same.
	codeLength = 9
)

// Plans returns what can be sold here, by name: the cloud's plans, and those made here.
func (db *DB) Plans(ctx context.Context) (plans []hotspot.Plan, err error) {
	err = db.query(ctx, "read plans", `SELECT id, body FROM document WHERE kind = 'plan' AND in_force = 1
		UNION ALL SELECT id, body FROM made WHERE kind = 'plan' AND document = 0 ORDER BY 1`, nil, func(scan func(...any) error) error {
		var id string
		var body []byte
		if err := scan(&id, &body); err != nil {
			return err
		}
		var b wire.PlanDoc
		if err := json.Unmarshal(body, &b); err != nil {
			return fault.New(fault.Damaged, "store: plan "+id, err)
		}
		limits, err := b.Limits.Limits()
		if err != nil {
			return fault.New(fault.Damaged, "store: plan "+id, err)
		}
		plans = append(plans, hotspot.Plan{ID: hotspot.PlanID(id), Name: b.Name, Price: hotspot.Money{Minor: b.PriceMinor, Currency: b.Currency}, Limits: limits})
		return nil
	})
	return plans, err
}

// PlanNamed returns the plan of an id or a name; kind NotFound for none.
func (db *DB) PlanNamed(ctx context.Context, name string) (hotspot.Plan, error) {
	plans, err := db.Plans(ctx)
	if err != nil {
		return hotspot.Plan{}, err
	}
	name = strings.TrimSpace(name)
	for _, same := range []func(hotspot.Plan) bool{
		func(p hotspot.Plan) bool { return string(p.ID) == name },
		func(p hotspot.Plan) bool { return p.Name == name },
		func(p hotspot.Plan) bool { return strings.EqualFold(p.Name, name) },
	} {
		for _, p := range plans {
			if same(p) {
				return p, nil
			}
		}
	}
	return hotspot.Plan{}, fault.New(fault.NotFound, fmt.Sprintf("store: there is no plan %q", name), nil).
		WithCode("", "`iwas-agent plan list` shows the plans there are.")
}

// SetPlan makes a plan, or changes the one of its id, while this site has no cloud:
// where it has one, plans are made in the console. Passes already sold stay as they are.
func (db *DB) SetPlan(ctx context.Context, p hotspot.Plan, by hotspot.Staff) (hotspot.Plan, error) {
	p.Name = words(p.Name)
	if err := checkPlan(p); err != nil {
		return p, err
	}
	doc := wire.PlanDoc{Name: p.Name, PriceMinor: p.Price.Minor, Currency: p.Price.Currency, Limits: wire.FromLimits(p.Limits)}
	body, err := json.Marshal(doc)
	if err != nil {
		return p, fault.New(fault.Internal, "store: encode plan", err)
	}
	asked := []string{"plan", string(p.ID), string(body)}
	if again, err := db.repeats(ctx, by, asked); err != nil {
		return p, err
	} else if again {
		return db.PlanNamed(ctx, p.Name)
	}
	plans, err := db.Plans(ctx)
	if err != nil {
		return p, err
	}
	for _, other := range plans {
		if other.ID != p.ID && strings.EqualFold(other.Name, p.Name) {
			return p, fault.New(fault.Conflict, "store: there is a plan "+other.Name+" already", nil).WithCode("", "Change that one: iwas-agent plan set.")
		}
	}
	if len(plans) >= plansBound {
		return p, fault.New(fault.Conflict, fmt.Sprintf("store: there are %d plans, which is as many as there can be", len(plans)), nil).WithCode("", "Remove some first.")
	}
	err = db.act(ctx, by, asked, func(t *tx) error {
		if err := t.ownPlans(); err != nil {
			return err
		}
		if p.ID == "" {
			p.ID = hotspot.PlanID(hotspot.NewID(t.now))
		}
		event, err := t.eventID(wire.EventPlanMade, wire.PlanMade{ID: p.ID, PlanDoc: doc, Who: wire.FromStaff(staff(by))})
		if err != nil {
			return err
		}
		return t.make(document{Doc: wire.Doc{Kind: wire.DocPlan, ID: string(p.ID), Body: body}}, "", event, false)
	})
	return p, err
}

// RemovePlan ends the sale of a plan. Passes already sold stay as they are.
func (db *DB) RemovePlan(ctx context.Context, id hotspot.PlanID, by hotspot.Staff) error {
	return db.do(ctx, func(t *tx) error {
		if err := t.ownPlans(); err != nil {
			return err
		}
		n, err := t.exec("remove plan", "DELETE FROM made WHERE kind = 'plan' AND id = ?", string(id))
		if err != nil {
			return err
		}
		if n == 0 {
			return fault.New(fault.NotFound, "store: there is no plan "+string(id)+" made here", nil).WithCode("", "`iwas-agent plan list` shows the plans there are.")
		}
		return t.event(wire.EventPlanRemoved, wire.PlanRemoved{ID: id, Who: wire.FromStaff(staff(by))})
	})
}

// ownPlans refuses to touch plans where a cloud owns them.
func (t *tx) ownPlans() error {
	if t.mark.lineage == "" {
		return nil
	}
	return fault.New(fault.Conflict, "store: this site has a cloud, where its plans are made", nil).
		WithCode("", "Make or change the plan in the console. While the cloud is away, sell one of the plans that are here.")
}

func checkPlan(p hotspot.Plan) error {
	bad := func(format string, args ...any) error {
		return fault.New(fault.Invalid, "store: plan: "+fmt.Sprintf(format, args...), nil).WithCode("", "See iwas-agent plan add --help.")
	}
	switch {
	case p.Name == "":
		return bad("it needs a name")
	case p.Price.Minor < 0 || p.Price.Minor > 0 && len(p.Price.Currency) != 3:
		return bad("a price needs a currency, such as EUR, and is not below zero")
	case p.Limits.Time < 0 || p.Limits.Validity < 0 || p.Limits.Devices < 0:
		return bad("times and devices are not below zero")
	}
	for field, err := range p.Limits.Validate() {
		return bad("%s: %v", field, err)
	}
	if _, err := wire.FromLimits(p.Limits).Limits(); err != nil {
		return bad("%v", err)
	}
	return nil
}

// SaleAsk is what somebody at the counter sells.
type SaleAsk struct {
	Plan     string           // id or name
	To       string           // a guest there is; "" makes an account
	User     string           // name of the account to make; "" makes vouchers
	Password hotspot.Password // of User; "" makes one up
	Count    int              // of vouchers; 0 is one
	Note     string
	By       hotspot.Staff
	Shown    *hotspot.Money // the price of one that they read before; nil: none was shown
	Test     bool           // a throw-away of a self-test: no sale, and nobody is told
}

// Sold is a sale with what to hand to the guest.
type Sold struct {
	hotspot.Sale
	Password   hotspot.Password // of a user made with it
	Limits     hotspot.Limits   // of the pass, as it was sold
	ValidUntil time.Time        // zero: no end, or the cloud says it
}

// Sell gives a guest a pass at the plan's price and limits of now: a guest there is,
// a new user, or whoever holds one of the new vouchers. It is in force when it returns.
func (db *DB) Sell(ctx context.Context, a SaleAsk) (sold []Sold, err error) {
	asked := a.asked()
	again, err := db.repeats(ctx, a.By, asked)
	if err != nil {
		return nil, err
	}
	if again { // before anything is judged anew: the plan may be another by now, and the sale is made
		return db.SoldBy(ctx, a.By.Form)
	}
	plan, err := db.PlanNamed(ctx, a.Plan)
	if err != nil {
		return nil, err
	}
	if a.Shown != nil && *a.Shown != plan.Price {
		return nil, fault.New(fault.Conflict, fmt.Sprintf("store: %s costs %s now, and %s was shown", plan.Name, plan.Price, *a.Shown), nil).
			WithCode(CodePriceChanged, "Tell the guest the price of now, and sell again if it is right.")
	}
	if err := checkSale(&a); err != nil {
		return nil, err
	}
	var to *hotspot.Account
	if a.To != "" {
		f, err := db.named(ctx, a.To)
		if err != nil {
			return nil, err
		}
		to = f.account
	}
	err = db.act(ctx, a.By, asked, func(t *tx) error {
		sold = nil
		return t.atomically(func() error { // all of them or none
			for range a.Count {
				s, err := t.sell(plan, a, to)
				if err != nil {
					return err
				}
				sold = append(sold, s)
			}
			return t.tellPasswords()
		})
	})
	switch {
	case err != nil:
		return nil, err
	case sold == nil: // the same form came a moment before
		return db.SoldBy(ctx, a.By.Form)
	}
	return sold, nil
}

// CodePriceChanged is the refusal of a sale at another price than was shown.
const CodePriceChanged = "SYS-127"

// asked is what a form of the counter asks for.
func (a SaleAsk) asked() []string {
	return []string{"sell", a.Plan, a.To, a.User, a.Password.Reveal(), fmt.Sprint(a.Count), a.Note}
}

func checkSale(a *SaleAsk) error {
	bad := func(text, next string) error {
		return fault.New(fault.Invalid, "store: sell: "+text, nil).WithCode("", next)
	}
	a.Note, a.By = words(a.Note), staff(a.By)
	if a.Count == 0 {
		a.Count = 1
	}
	switch {
	case a.Count < 1 || a.Count > vouchersBound:
		return bad(fmt.Sprintf("%d vouchers at once", a.Count), fmt.Sprintf("Sell 1 to %d.", vouchersBound))
	case a.Count > 1 && (a.To != "" || a.User != ""):
		return bad("only vouchers are sold many at once", "Leave the count out.")
	case a.To != "" && a.User != "":
		return bad("either to a guest there is or to a new one", "Name one of them.")
	case a.User != words(a.User) || len(a.User) > nameBound:
		return bad(fmt.Sprintf("a user name has 1 to %d octets, without blanks at its ends", nameBound), "Choose another name.")
	case len(a.Password) > passwordBound || a.Password.Reveal() != words(a.Password.Reveal()):
		return bad(fmt.Sprintf("a password has at most %d octets, without blanks at its ends", passwordBound), "Choose another password.")
	}
	return nil
}

// sell makes one sale.
func (t *tx) sell(plan hotspot.Plan, a SaleAsk, to *hotspot.Account) (s Sold, err error) {
	s.Sale = hotspot.Sale{ID: hotspot.SaleID(hotspot.NewID(t.now)), At: t.now.UTC().Truncate(time.Millisecond), By: a.By, Plan: plan.ID, PlanName: plan.Name,
		Price: plan.Price, Pass: hotspot.PassID(hotspot.NewID(t.now)), New: to == nil, OnSite: true}
	b := wire.SaleMade{ID: s.ID, Pass: s.Pass, PriceMinor: plan.Price.Minor, Currency: plan.Price.Currency, Who: wire.FromStaff(a.By)}
	var account document
	if to != nil {
		s.Account, s.Username = to.ID, to.Username
		var there bool
		if _, err := t.row("look for the guest", "SELECT EXISTS (SELECT 1 FROM account WHERE id = ?)", []any{s.Account}, &there); err != nil {
			return s, err
		}
		if !there {
			return s, fault.New(fault.Conflict, "store: "+s.Username+" was removed just now", nil).WithCode("", "Sell a voucher instead.")
		}
	} else {
		if account, err = t.newAccount(a, &s); err != nil {
			return s, err
		}
		b.New = &wire.AccountDoc{Kind: hotspot.Voucher, Username: s.Username, Note: a.Note}
		if a.User != "" {
			b.New.Kind = hotspot.User
		}
	}
	b.Account, b.Username = s.Account, s.Username
	b.PassDoc = wire.PassDoc{Account: s.Account, Plan: plan.ID, PlanName: plan.Name, Limits: wire.FromLimits(plan.Limits)}
	if t.db.o.DateTrusted() { // else the end of its validity is the cloud's to say
		b.PassDoc.SoldAt = s.At
		if v := plan.Limits.Validity; v > 0 {
			b.PassDoc.ValidUntil = s.At.Add(v)
		}
	}
	s.Limits, s.ValidUntil = plan.Limits, b.PassDoc.ValidUntil
	event := ""
	if !a.Test {
		if event, err = t.keepSale(b, s.At, a.By.Form); err != nil {
			return s, err
		}
	}
	if to == nil {
		if err := t.make(account, s.ID, event, a.User != "" && !a.Test); err != nil {
			return s, err
		}
	}
	body, err := json.Marshal(b.PassDoc)
	if err != nil {
		return s, fault.New(fault.Internal, "store: encode pass", err)
	}
	return s, t.make(document{Doc: wire.Doc{Kind: wire.DocPass, ID: string(s.Pass), Body: body}}, s.ID, event, false)
}

func (t *tx) keepSale(b wire.SaleMade, at time.Time, form string) (event string, err error) {
	body, err := json.Marshal(b)
	if err != nil {
		return "", fault.New(fault.Internal, "store: encode sale", err)
	}
	if _, err := t.exec("store sale", "INSERT INTO sale (id, at, body, form) VALUES (?, ?, ?, ?)", string(b.ID), millis(at), string(body), form); err != nil {
		return "", err
	}
	return t.eventID(wire.EventSaleMade, json.RawMessage(body))
}

// newAccount names the account that a sale makes.
func (t *tx) newAccount(a SaleAsk, s *Sold) (d document, err error) {
	doc := wire.AccountDoc{Kind: hotspot.Voucher, Note: a.Note}
	s.Account = hotspot.AccountID(hotspot.NewID(t.now))
	if a.User != "" {
		doc.Kind, doc.Username, s.Password = hotspot.User, a.User, a.Password
		if s.Password == "" {
			s.Password = hotspot.Password(secret.Random(8).Reveal())
		}
		doc.Password = "-" // it is in the vault; a document without any is not one of a user
		d.vault = t.db.vault.Seal(s.Password.Reveal(), string(s.Account))
	}
	for try := 0; ; try++ {
		if a.User == "" {
			doc.Username = secret.Code(codeLength)
		}
		var taken bool
		_, err := t.row("look for the name", "SELECT EXISTS (SELECT 1 FROM account WHERE login_key IN (?, ?))",
			[]any{hotspot.LoginKey(doc.Kind, doc.Username), hotspot.LoginKey(hotspot.Voucher, doc.Username)}, &taken)
		if err != nil {
			return d, err
		}
		if !taken {
			break
		}
		if a.User != "" || try > 20 {
			return d, fault.New(fault.Conflict, "store: "+doc.Username+" exists already", nil).WithCode("", "Choose another name, or sell to the guest who has it.")
		}
	}
	s.Username = doc.Username
	body, err := json.Marshal(doc)
	if err != nil {
		return d, fault.New(fault.Internal, "store: encode account", err)
	}
	d.Doc = wire.Doc{Kind: wire.DocAccount, ID: string(s.Account), Body: body}
	return d, nil
}

// isTest reports whether an account is the throw-away of a self-test.
func (t *tx) isTest(account hotspot.AccountID) (test bool, err error) {
	_, err = t.row("look for a test", "SELECT EXISTS (SELECT 1 FROM made WHERE kind = 'account' AND id = ? AND event = '')", []any{account}, &test)
	return test, err
}

// RemoveTest takes the throw-away of a self-test away again.
func (db *DB) RemoveTest(ctx context.Context, s hotspot.Sale) error {
	return db.do(ctx, func(t *tx) error {
		test, err := t.isTest(s.Account)
		if err != nil || !test {
			return err
		}
		for _, ref := range []wire.DocRef{{Kind: wire.DocLock, ID: string(s.Account)}, {Kind: wire.DocPass, ID: string(s.Pass)}, {Kind: wire.DocAccount, ID: string(s.Account)}} {
			if err := t.remove(ref, false); err != nil {
				return err
			}
		}
		return nil
	})
}

// Sales returns what was sold here since a time, the newest first.
func (db *DB) Sales(ctx context.Context, since time.Time, limit int) (sales []hotspot.Sale, err error) {
	err = db.query(ctx, "read sales", "SELECT at, body FROM sale WHERE at >= ? ORDER BY n DESC LIMIT ?", []any{millis(since), limit}, func(scan func(...any) error) error {
		var at int64
		var body string
		if err := scan(&at, &body); err != nil {
			return err
		}
		_, sale, err := readSale(at, body)
		sales = append(sales, sale)
		return err
	})
	return sales, err
}

func readSale(at int64, body string) (b wire.SaleMade, s hotspot.Sale, err error) {
	if err := json.Unmarshal([]byte(body), &b); err != nil {
		return b, s, fault.New(fault.Damaged, "store: a sale", err)
	}
	return b, hotspot.Sale{ID: b.ID, At: fromMillis(at), By: b.Staff(), Plan: b.PassDoc.Plan, PlanName: b.PassDoc.PlanName,
		Price: hotspot.Money{Minor: b.PriceMinor, Currency: b.Currency}, Account: b.Account, Username: b.Username, Pass: b.Pass, New: b.New != nil, OnSite: true}, nil
}

// Found is a guest that a search came upon.
type Found struct {
	hotspot.Account
	Locked, Paused bool
	Online         int // devices
	PlanName       string
}

// Find returns the guests whose name, code or note has the text in it, or who are
// online with a MAC that does; of a whole MAC, in any spelling, also those who were.
// Without a text they are the newest.
func (db *DB) Find(ctx context.Context, text string, limit int) (found []Found, err error) {
	escape := strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)
	like := "%" + escape.Replace(strings.TrimSpace(text)) + "%"
	var mac string
	if m, ok := hotspot.ParseMAC(strings.TrimSpace(text)); ok {
		mac = m.String()
	}
	key := "%" + escape.Replace(hotspot.LoginKey(hotspot.Voucher, strings.TrimSpace(text))) + "%"
	err = db.query(ctx, "find guests", `SELECT a.id, a.kind, a.username, a.note, l.account IS NOT NULL, COALESCE(l.pause, 0),
			(SELECT COUNT(*) FROM session s WHERE s.account = a.id AND s.state <> 'closed'),
			COALESCE((SELECT plan_name FROM pass p WHERE p.account = a.id ORDER BY sold_at DESC, id DESC LIMIT 1), '')
		FROM account a LEFT JOIN lock l ON l.account = a.id
		WHERE a.username LIKE ? ESCAPE '\' OR a.note LIKE ? ESCAPE '\' OR a.kind = 'voucher' AND a.login_key LIKE ? ESCAPE '\'
			OR a.id IN (SELECT account FROM session WHERE state <> 'closed' AND mac LIKE ? ESCAPE '\')
			OR ? <> '' AND (a.kind = 'device' AND a.login_key = ? OR a.id IN (SELECT account FROM session WHERE mac = ?))
		ORDER BY a.id DESC LIMIT ?`, []any{like, like, key, like, mac, hotspot.LoginKey(hotspot.Device, mac), mac, min(max(limit, 1), foundBound)}, func(scan func(...any) error) error {
		var f Found
		err := scan(&f.ID, &f.Kind, &f.Username, &f.Note, &f.Locked, &f.Paused, &f.Online, &f.PlanName)
		f.Locked = f.Locked && !f.Paused
		found = append(found, f)
		return err
	})
	return found, err
}
