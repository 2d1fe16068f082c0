// Package fault gives errors a kind, so that each edge (RADIUS, MQTT, HTTP, a
// supervised task) knows what to do with one without reading its text.
// A refused login is not a fault; it is a hotspot.Verdict.
package fault

import "errors"

// Kind says what sort of trouble an error is. style: see the table in
// ARCHITECTURE.md "Faults".
type Kind int

const (
	// Internal is a defect of ours, and the default.
	Internal Kind = iota
	// Invalid is input that breaks its own rules.
	Invalid
	// Forged is input that fails its proof: secret, authenticator, signature.
	Forged
	// NotFound names something that does not exist.
	NotFound
	// Conflict contradicts what is already there, or repeats it.
	Conflict
	// Denied is a person or machine without the right.
	Denied
	// Unavailable is a part that does not answer now; asking again may help.
	Unavailable
	// Damaged is stored data that cannot be trusted.
	Damaged
)

// String returns the kind's name as used in logs and counters.
func (k Kind) String() string {
	return [...]string{"internal", "invalid", "forged", "not_found", "conflict", "denied", "unavailable", "damaged"}[k]
}

// Error is an error with a kind. Op says what was tried: "store: open session".
// Code, when set, is a code of the condition catalogue; Hint is the next step
// for a person.
type Error struct {
	Kind Kind
	Op   string
	Code string
	Hint string
	Err  error
}

// Error prints op and cause. The hint is for whoever shows the error.
func (e *Error) Error() string {
	switch {
	case e.Err == nil:
		return e.Op
	case e.Op == "":
		return e.Err.Error()
	}
	return e.Op + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// New returns an error of the kind. err may be nil.
func New(kind Kind, op string, err error) *Error { return &Error{Kind: kind, Op: op, Err: err} }

// WithCode sets the catalogue code and the next step, and returns e.
func (e *Error) WithCode(code, hint string) *Error {
	e.Code, e.Hint = code, hint
	return e
}

// KindOf returns the kind of the outermost fault in err's chain, or Internal.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// Is reports whether err has the kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// Hint returns the next step of the outermost fault that has one, or "".
func Hint(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}

// Code returns the catalogue code of the outermost fault that has one, or "".
func Code(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Code != "" {
			return e.Code
		}
		err = e.Err
	}
	return ""
}
