package hotspot

import (
	"fmt"
	"strings"
	"time"
)

// SaleID names one sale, made in the console or at a site's counter.
type SaleID string

// Where somebody on site asked for something.
const (
	AtPage    = "page"
	AtCommand = "command"
)

// Staff is who did something on site: a person of the box, not of the cloud.
type Staff struct {
	Name string
	Role Role   // Cashier or Technician; "" is not known
	At   string // AtPage or AtCommand
	// Form is the token of the form they asked with: sent again it is the same act,
	// not another. "" is asked anew each time.
	Form string
}

// String is for people: "maria (cashier)".
func (s Staff) String() string {
	if s.Role == "" {
		return s.Name
	}
	return fmt.Sprintf("%s (%s)", s.Name, s.Role)
}

// Sale is a pass that somebody bought, at the price it had then.
type Sale struct {
	ID       SaleID
	Site     SiteID // "" on site, where there is one
	At       time.Time
	By       Staff
	Plan     PlanID
	PlanName string
	Price    Money
	Account  AccountID
	Username string
	Pass     PassID
	New      bool   // the account was made with it
	OnSite   bool   // sold there, not in the console
	Remark   string // what became of it that people must know; "" for nothing
}

// String writes an amount as people do: "EUR 5.00". Without a currency it is the
// bare amount.
func (m Money) String() string {
	digits := m.Digits()
	text := fmt.Sprintf("%0*d", digits+1, m.Minor)
	if digits > 0 {
		text = text[:len(text)-digits] + "." + text[len(text)-digits:]
	}
	return strings.TrimSpace(m.Currency + " " + text)
}

// Digits is how many decimals the currency has (ISO 4217): 2 for EUR, 0 for JPY, 3 for
// KWD. Nearly all have two, and so has one that is not known.
func (m Money) Digits() int {
	switch m.Currency {
	case "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF":
		return 0
	case "BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND":
		return 3
	}
	return 2
}

// ParseMoney reads an amount such as 5, 5.50 or 1200 in a currency.
func ParseMoney(amount, currency string) (Money, error) {
	m := Money{Currency: strings.ToUpper(strings.TrimSpace(currency))}
	if len(m.Currency) != 3 || strings.Trim(m.Currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		return m, fmt.Errorf("%q is not a currency such as EUR", currency)
	}
	whole, part, _ := strings.Cut(strings.TrimSpace(amount), ".")
	if digits := m.Digits(); len(part) > digits {
		return m, fmt.Errorf("%q has more decimals than %s, which has %d", amount, m.Currency, digits)
	}
	part += strings.Repeat("0", m.Digits()-len(part))
	if whole == "" || len(whole) > 12 || strings.Trim(whole+part, "0123456789") != "" {
		return m, fmt.Errorf("%q is not an amount such as 5 or 5.50", amount)
	}
	for _, c := range whole + part {
		m.Minor = m.Minor*10 + int64(c-'0')
	}
	return m, nil
}
