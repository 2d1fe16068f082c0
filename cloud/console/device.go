package console

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// devicesView is what a guest's page says and offers of devices: a lock of an
// account does not stop the same phone with another voucher.
type devicesView struct {
	Own     bool // the guest is a device: its lock is of the device itself
	Private bool // one of them has a changing address
	Rows    []deviceRow
}

// deviceRow is one device seen with a guest.
type deviceRow struct {
	Path    string // of its forms, without lock or unlock; "" for who sees it masked
	MAC     string
	Private bool
	Seen    time.Time
	State   webui.Badge
	Locked  bool
	Reason  string            // of the lock in force
	Account hotspot.AccountID // its own, "" for none
	AskWhy  bool              // a reason must be typed: there is none to take over
}

// viewDevices words the devices of a guest.
func (s *Server) viewDevices(ctx context.Context, op hotspot.Operator, g hotspot.Guest, st hotspot.SiteStatus, c webui.Clock) (devicesView, error) {
	v := devicesView{Own: g.Account.Kind == hotspot.Device}
	if v.Own {
		m, _ := hotspot.ParseMAC(g.Account.Username)
		v.Private = m.Private()
		return v, nil
	}
	devices, err := s.Store.Devices(ctx, op.Organization, g.Account.ID)
	if err != nil {
		return v, err
	}
	for _, d := range devices {
		row := deviceRow{MAC: d.MAC.String(), Private: d.MAC.Private(), Seen: d.SeenAt, Account: d.Account, Locked: d.Locked(),
			State: webui.Badge{Tone: webui.Calm, Icon: "user", Text: "Not locked"}}
		if masked(op) {
			row.MAC = d.MAC.Masked()
		} else {
			row.Path = "/guests/" + string(g.Account.ID) + "/devices/" + d.MAC.String()
		}
		if d.Online {
			row.State = webui.Badge{Tone: webui.Good, Icon: "wifi", Text: "Online"}
		}
		if d.Locked() {
			row.State = viewLock(d.Lock, st, c).Badge
			row.Reason = d.Lock.Lock.Reason
		}
		row.AskWhy = op.Role == hotspot.Cashier && (row.Locked || takenOver(g, "") == "")
		v.Private = v.Private || row.Private
		v.Rows = append(v.Rows, row)
	}
	return v, nil
}

// takenOver is the reason a device of the guest is locked for: the one given, or
// that of the guest's own lock.
func takenOver(g hotspot.Guest, given string) string {
	if given == "" && g.Lock.Lock != nil {
		return g.Lock.Lock.Reason
	}
	return given
}

var errNoMAC = errors.New("the address of the device must be a MAC, such as AA:BB:CC:DD:EE:FF")

// deviceOf checks the address of a route about a device of a guest.
func (s *Server) deviceOf(ctx context.Context, op hotspot.Operator, account, mac string) (hotspot.Guest, hotspot.MAC, error) {
	// The store limits every answer to the organization: this refuses an account
	// of somebody else before anything is changed.
	g, err := s.Store.Guest(ctx, op.Organization, hotspot.AccountID(account))
	if err != nil {
		return g, hotspot.MAC{}, err
	}
	m, ok := hotspot.ParseMAC(mac)
	if !ok {
		return g, m, fault.New(fault.Invalid, "find device", errNoMAC)
	}
	return g, m, nil
}

// lockDevice locks a device that was on with a guest, and returns the account
// that is the device.
func (s *Server) lockDevice(ctx context.Context, op hotspot.Operator, account, mac, reason string) (hotspot.Guest, error) {
	g, m, err := s.deviceOf(ctx, op, account, mac)
	if err != nil {
		return hotspot.Guest{}, err
	}
	reason = takenOver(g, reason)
	if err := checkReason(op, reason); err != nil {
		return hotspot.Guest{}, err
	}
	return s.Fleet.LockDevice(ctx, op, g.Account.ID, m, reason)
}

// unlockDevice lifts the lock of a device that was on with a guest.
func (s *Server) unlockDevice(ctx context.Context, op hotspot.Operator, account, mac, reason string) (hotspot.Guest, error) {
	g, m, err := s.deviceOf(ctx, op, account, mac)
	if err != nil {
		return hotspot.Guest{}, err
	}
	if err := checkReason(op, reason); err != nil {
		return hotspot.Guest{}, err
	}
	devices, err := s.Store.Devices(ctx, op.Organization, g.Account.ID)
	if err != nil {
		return hotspot.Guest{}, err
	}
	i := slices.IndexFunc(devices, func(d hotspot.SeenDevice) bool { return d.MAC == m })
	switch {
	case i < 0:
		return hotspot.Guest{}, fault.New(fault.NotFound, "no device "+m.String()+" was seen with this account lately", nil).
			WithCode("", "Choose one of the devices seen with it, or unlock the device's own account.")
	case devices[i].Account == "":
		return hotspot.Guest{}, fault.New(fault.Conflict, "the device "+m.String()+" is not locked", nil)
	}
	return s.Fleet.Unlock(ctx, op, devices[i].Account, reason)
}

// lockWith locks a guest and, if asked to, every device seen with them.
func (s *Server) lockWith(devices bool) changeLock {
	return func(ctx context.Context, op hotspot.Operator, account hotspot.AccountID, reason string) (hotspot.Guest, error) {
		g, err := s.Fleet.Lock(ctx, op, account, reason)
		if err != nil || !devices || g.Account.Kind == hotspot.Device {
			return g, err
		}
		seen, err := s.Store.Devices(ctx, op.Organization, account)
		for _, d := range seen {
			if _, failed := s.Fleet.LockDevice(ctx, op, account, d.MAC, reason); failed != nil {
				err = errors.Join(err, failed)
			}
		}
		return g, err
	}
}

func (s *Server) lockGuestDevice(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	return s.changeDevice(w, r, op, "Device not locked", s.lockDevice)
}

func (s *Server) unlockGuestDevice(w http.ResponseWriter, r *http.Request, op hotspot.Operator) error {
	return s.changeDevice(w, r, op, "Device not unlocked", s.unlockDevice)
}

// changeDevice does it, then goes back to the guest's page, which shows how far
// it is.
func (s *Server) changeDevice(w http.ResponseWriter, r *http.Request, op hotspot.Operator, failed string,
	do func(context.Context, hotspot.Operator, string, string, string) (hotspot.Guest, error)) error {
	account := r.PathValue("account")
	if _, err := do(r.Context(), op, account, r.PathValue("mac"), reasonOf(r)); err != nil {
		if fault.Is(err, fault.NotFound) {
			return err
		}
		return s.notChanged(w, r, op, failed, err)
	}
	http.Redirect(w, r, "/guests/"+account, http.StatusSeeOther)
	return nil
}

// apiDevice is a device seen with an account.
type apiDevice struct {
	MAC        string     `json:"mac" doc:"Masked for roles that may not lock guests."`
	PrivateMAC bool       `json:"private_mac" doc:"The device changes its address; locked under this one, it can come back as new."`
	SeenAt     *time.Time `json:"seen_at,omitempty" doc:"Its last accounting record with the account, by the site's clock."`
	Online     bool       `json:"online" doc:"With the account, as far as the site has reported."`
	Account    string     `json:"account,omitempty" doc:"Account of kind device with this MAC at the site; absent if there is none."`
	Lock       apiLock    `json:"lock" doc:"Of the device itself: off whatever it logs in with."`
}

func toAPIDevice(d hotspot.SeenDevice, hide bool) apiDevice {
	a := apiDevice{MAC: d.MAC.String(), PrivateMAC: d.MAC.Private(), SeenAt: moment(d.SeenAt), Online: d.Online, Account: string(d.Account), Lock: toAPILock(d.Lock)}
	if hide {
		a.MAC = d.MAC.Masked()
	}
	return a
}

type deviceInput struct {
	AccountInput
	MAC  string `path:"mac" maxLength:"17" doc:"Of a device seen with the account, in any spelling."`
	Body *struct {
		Reason string `json:"reason,omitempty" maxLength:"200" doc:"For your records. Locking takes over the reason of the account's lock when absent; otherwise a cashier must give one."`
	}
}

func (in *deviceInput) reason() string {
	if in.Body == nil {
		return ""
	}
	return clip(in.Body.Reason, maxReason)
}

func (s *Server) deviceOperations(api huma.API) {
	register(s, api, operation("GET /api/v1/accounts/{id}/devices", "list-account-devices", "Devices seen with a guest, each with its own lock; those seen last first, at most 20", http.StatusOK),
		func(ctx context.Context, op hotspot.Operator, in *AccountInput) (list[apiDevice], error) {
			devices, err := s.Store.Devices(ctx, op.Organization, hotspot.AccountID(in.Account))
			return listOf(devices, "", func(d hotspot.SeenDevice) apiDevice { return toAPIDevice(d, masked(op)) }), err
		})
	change := func(do func(context.Context, hotspot.Operator, string, string, string) (hotspot.Guest, error)) func(context.Context, hotspot.Operator, *deviceInput) (apiAccount, error) {
		return func(ctx context.Context, op hotspot.Operator, in *deviceInput) (apiAccount, error) {
			g, err := do(ctx, op, in.Account, in.MAC, in.reason())
			return toAPIAccount(g, s.now(), false), err
		}
	}
	register(s, api, operation("POST /api/v1/accounts/{id}/devices/{mac}/lock", "lock-account-device",
		"Lock a device seen with a guest out, whatever it logs in with; answers the account that is the device, without a pass where it is made for this", http.StatusOK), change(s.lockDevice))
	register(s, api, operation("POST /api/v1/accounts/{id}/devices/{mac}/unlock", "unlock-account-device", "Let a device in again", http.StatusOK), change(s.unlockDevice))
}
