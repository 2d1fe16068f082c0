package console

import (
	"slices"

	"iwas/internal/hotspot"
)

// right is one thing a role may or may not do.
type right string

const (
	seeSites    right = "see sites"
	seeGuests   right = "see guests"
	lockGuests  right = "lock and unlock guests"
	sell        right = "add guests"
	giveTime    right = "give guests more time"
	setSpeed    right = "change guests' speed"
	seePlans    right = "see plans"
	changePlans right = "change plans"
	seeBoxes    right = "see boxes"
	runBoxes    right = "enrol and revoke boxes"
	addSites    right = "add sites"

	seeGrants    right = "see address-lists"
	seeSales     right = "see sales"
	changeGrants right = "change address-lists"

	seeRouters    right = "see routers' set-ups"
	changeRouters right = "change routers' set-ups"
	seeCommands   right = "see what was asked of a site"

	beSignedIn right = "be signed in"
)

// rightsOf says what each role may do (reference/ux.md §3.3). A technician
// sees guests masked; see masked.
var rightsOf = map[hotspot.Role][]right{
	hotspot.Owner:      {beSignedIn, seeSites, seeGuests, lockGuests, sell, seeSales, giveTime, setSpeed, seePlans, changePlans, seeBoxes, runBoxes, addSites, seeGrants, changeGrants, seeRouters, changeRouters, seeCommands},
	hotspot.Manager:    {beSignedIn, seeSites, seeGuests, lockGuests, sell, seeSales, giveTime, setSpeed, seePlans, changePlans, seeBoxes, seeGrants, changeGrants, seeRouters, seeCommands},
	hotspot.Cashier:    {beSignedIn, seeSites, seeGuests, lockGuests, sell, seeSales, giveTime, seePlans},
	hotspot.Technician: {beSignedIn, seeSites, seeGuests, seeBoxes, runBoxes, seeGrants, changeGrants, seeRouters, changeRouters, seeCommands},
}

// routes is the one table of who may ask for what. A page or an operation that
// is not in it cannot be registered.
var routes = map[string]right{
	"GET /{$}":                      seeSites,
	"GET /live":                     seeSites,
	"GET /sites/new":                addSites,
	"POST /sites":                   addSites,
	"GET /sites/{site}":             seeGuests,
	"GET /sites/{site}/live":        seeGuests,
	"GET /sites/{site}/guests/new":  sell,
	"POST /sites/{site}/guests":     sell,
	"GET /sites/{site}/box":         seeBoxes,
	"GET /sites/{site}/box/live":    seeBoxes,
	"POST /sites/{site}/box/codes":  runBoxes,
	"POST /agents/{agent}/confirm":  runBoxes,
	"POST /agents/{agent}/revoke":   runBoxes,
	"GET /guests/{account}":         seeGuests,
	"GET /guests/{account}/live":    seeGuests,
	"POST /guests/{account}/lock":   lockGuests,
	"POST /guests/{account}/unlock": lockGuests,
	"POST /guests/{account}/extend": giveTime,
	"POST /guests/{account}/speed":  setSpeed,
	"GET /plans":                    seePlans,
	"POST /plans":                   changePlans,
	"POST /signout":                 beSignedIn,

	"POST /guests/{account}/devices/{mac}/lock":   lockGuests,
	"POST /guests/{account}/devices/{mac}/unlock": lockGuests,

	"POST /sites/{site}/box/codes/{code}/revoke": runBoxes,

	"GET /sites/{site}/why":                    seeGuests,
	"GET /api/v1/sites/{site}/why":             seeGuests,
	"GET /sites/{site}/sales":                  seeSales,
	"GET /sites/{site}/grants":                 seeGrants,
	"GET /sites/{site}/grants/live":            seeGrants,
	"POST /sites/{site}/grants":                changeGrants,
	"POST /sites/{site}/grants/{grant}/remove": changeGrants,

	"POST /guests/{account}/kick":                      lockGuests,
	"GET /sites/{site}/routers/{router}":               seeRouters,
	"GET /sites/{site}/routers/{router}/live":          seeRouters,
	"POST /sites/{site}/routers/{router}/setup":        changeRouters,
	"POST /sites/{site}/routers/{router}/setup/remove": changeRouters,
	"POST /sites/{site}/routers/{router}/commands":     changeRouters,

	"GET /api/v1/sites/{site}/commands":                   seeCommands,
	"GET /api/v1/sites/{site}/commands/{command}":         seeCommands,
	"POST /api/v1/accounts/{id}/kick":                     lockGuests,
	"GET /api/v1/sites/{site}/routers":                    seeRouters,
	"GET /api/v1/sites/{site}/routers/{router}":           seeRouters,
	"PUT /api/v1/sites/{site}/routers/{router}/setup":     changeRouters,
	"DELETE /api/v1/sites/{site}/routers/{router}/setup":  changeRouters,
	"POST /api/v1/sites/{site}/routers/{router}/commands": changeRouters,

	"GET /api/v1/me":                            beSignedIn,
	"GET /api/v1/sites":                         seeSites,
	"POST /api/v1/sites":                        addSites,
	"GET /api/v1/sites/{site}":                  seeSites,
	"GET /api/v1/sites/{site}/accounts":         seeGuests,
	"POST /api/v1/sites/{site}/accounts":        sell,
	"GET /api/v1/sites/{site}/sessions":         seeGuests,
	"GET /api/v1/sites/{site}/agents":           seeBoxes,
	"POST /api/v1/sites/{site}/enrolment-codes": runBoxes,

	"GET /api/v1/sites/{site}/enrolment-codes":           seeBoxes,
	"DELETE /api/v1/sites/{site}/enrolment-codes/{code}": runBoxes,

	"POST /api/v1/agents/{id}/confirm":  runBoxes,
	"POST /api/v1/agents/{id}/revoke":   runBoxes,
	"GET /api/v1/accounts/{id}":         seeGuests,
	"POST /api/v1/accounts/{id}/lock":   lockGuests,
	"POST /api/v1/accounts/{id}/unlock": lockGuests,
	"POST /api/v1/accounts/{id}/extend": giveTime,
	"POST /api/v1/accounts/{id}/speed":  setSpeed,
	"GET /api/v1/plans":                 seePlans,
	"POST /api/v1/plans":                changePlans,

	"GET /api/v1/sites/{site}/sales":             seeSales,
	"GET /api/v1/sites/{site}/grants":            seeGrants,
	"POST /api/v1/sites/{site}/grants":           changeGrants,
	"DELETE /api/v1/sites/{site}/grants/{grant}": changeGrants,

	"GET /api/v1/accounts/{id}/devices":               seeGuests,
	"POST /api/v1/accounts/{id}/devices/{mac}/lock":   lockGuests,
	"POST /api/v1/accounts/{id}/devices/{mac}/unlock": lockGuests,
}

// may reports whether the operator has the right. An unknown role has none.
func may(op hotspot.Operator, r right) bool { return slices.Contains(rightsOf[op.Role], r) }

// masked reports whether the operator sees guests without what identifies or
// admits them: names, codes, addresses and notes.
func masked(op hotspot.Operator) bool { return !may(op, lockGuests) }

// rightFor returns the right a route needs; it panics for one not in the table.
func rightFor(pattern string) right {
	r, ok := routes[pattern]
	if !ok {
		panic("console: route without a right: " + pattern)
	}
	return r
}

// mask hides the middle of a name or code: "K7········". One character of a
// short one stays.
func mask(name string) string {
	runes := []rune(name)
	keep := min(2, len(runes)/3)
	return string(runes[:keep]) + "······"
}
