package routersim

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// flow is a packet as the firewall's rules see it.
type flow struct {
	in, out  string // interfaces; out is "" for the router itself
	port     string // port of the bridge it came in by
	src, dst netip.Addr
	mac      string // of who sent it
	proto    string
	sport    int
	dport    int
	state    string // new, established, related, invalid, untracked
	auth     bool   // its sender is logged in at the HotSpot, or need not
	guest    bool   // its sender is a client of a HotSpot
}

// Verdict is what became of a packet.
type Verdict struct {
	Passes     bool
	By         string // the rule that decided, or why there was none
	Fasttracks bool   // its connection leaves the rules, queues and the HotSpot behind (facts.md §11)
}

const maxJumps = 32 // from chain to chain; a loop ends there

// judge runs a packet through raw, then input or forward. With own, it is for the
// router itself.
func (s *Sim) judge(f *flow, own bool) (Verdict, error) {
	six := ""
	if f.src.Is6() {
		six = "v6"
	}
	chain := "forward"
	if own {
		chain = "input"
	}
	v, decided, err := s.walk("ip"+six+"/firewall/raw", "prerouting", f, 0)
	if err != nil || decided && !v.Passes {
		return v, err
	}
	if f.guest && six == "" {
		if v, decided := s.hotspotRules(f, own); decided {
			return v, nil
		}
	}
	w, decided, err := s.walk("ip"+six+"/firewall/filter", chain, f, 0)
	if !decided {
		w = Verdict{Passes: true, By: "the end of chain " + chain, Fasttracks: w.Fasttracks}
	}
	return w, err
}

// hotspotRules are the rules a HotSpot server puts before all others
// (facts.md §3): its own pages for everybody, nothing else but the walled garden
// for who is not logged in.
func (s *Sim) hotspotRules(f *flow, own bool) (Verdict, bool) {
	if own {
		if v, decided, err := s.walk("ip/firewall/filter", "pre-hs-input", f, 0); err == nil && decided {
			return v, true
		}
		if f.proto == "udp" && f.dport == 64872 || f.proto == "tcp" && f.dport >= 64872 && f.dport <= 64875 {
			return Verdict{Passes: true, By: "the HotSpot's chain hs-input"}, true
		}
		// DNS and HTTP to the router are redirected to these.
		if f.dport == 53 || f.proto == "tcp" && f.dport == 80 && !f.auth {
			return Verdict{Passes: true, By: "the HotSpot's chain hs-input, after a redirect"}, true
		}
	}
	if f.auth || f.proto == "icmp" || s.gardened(f.dst) {
		return Verdict{}, false
	}
	return Verdict{By: "the HotSpot's chain hs-unauth"}, true
}

// walk goes through a chain in order. decided is false at its end, and after
// "return".
func (s *Sim) walk(table, chain string, f *flow, depth int) (v Verdict, decided bool, err error) {
	if depth > maxJumps {
		return v, false, fmt.Errorf("%s: chain %s jumps in a circle", table, chain)
	}
	fast := false
	for _, r := range s.menus[table].rows {
		if r.get("chain") != chain || r.is("disabled") || r.is("invalid") {
			continue
		}
		hit, err := s.matches(r, f)
		if err != nil {
			return v, false, fmt.Errorf("%s %s: %w", table, formatID(r.id), err)
		}
		if !hit {
			continue
		}
		name := table + " " + formatID(r.id)
		if c := r.get("comment"); c != "" {
			name += " (" + c + ")"
		}
		switch r.get("action") {
		case "accept":
			return Verdict{Passes: true, By: name, Fasttracks: fast}, true, nil
		case "drop", "reject", "tarpit":
			return Verdict{By: name}, true, nil
		case "fasttrack-connection":
			fast = true // and goes on
		case "return":
			return Verdict{Fasttracks: fast}, false, nil
		case "jump":
			w, decided, err := s.walk(table, r.get("jump-target"), f, depth+1)
			fast = fast || w.Fasttracks
			if err != nil || decided {
				w.Fasttracks = fast && w.Passes
				return w, decided, err
			}
		}
	}
	return Verdict{Fasttracks: fast}, false, nil
}

// notMatchers are keys of a rule that match nothing.
var notMatchers = strings.Fields("action chain comment disabled dynamic invalid log log-prefix bytes packets jump-target reject-with address-list address-list-timeout hw-offload to-addresses to-ports")

// matches reports whether a rule fits a packet. A matcher that is not understood
// here is an error: an answer would be a guess.
func (s *Sim) matches(r *row, f *flow) (bool, error) {
	for key, text := range r.props {
		if text == "" || slices.Contains(notMatchers, key) {
			continue
		}
		value, not := strings.CutPrefix(text, "!")
		hit, err := s.matcher(key, value, f)
		if err != nil {
			return false, err
		}
		if hit == not {
			return false, nil
		}
	}
	return true, nil
}

func (s *Sim) matcher(key, value string, f *flow) (bool, error) {
	switch key {
	case "src-address":
		return within4(value, f.src), nil
	case "dst-address":
		return within4(value, f.dst), nil
	case "src-address-list":
		return s.inAddressList(value, f.src), nil
	case "dst-address-list":
		return s.inAddressList(value, f.dst), nil
	case "in-interface":
		return s.isLink(value, f.in), nil
	case "out-interface":
		return s.isLink(value, f.out), nil
	case "in-interface-list":
		return s.inList(f.in, value), nil
	case "out-interface-list":
		return f.out != "" && s.inList(f.out, value), nil
	case "in-bridge-port":
		return value == f.port, nil
	case "protocol":
		return protocolName(value) == f.proto, nil
	case "src-port":
		return hasPort(value, f.sport), nil
	case "dst-port":
		return hasPort(value, f.dport), nil
	case "port":
		return hasPort(value, f.sport) || hasPort(value, f.dport), nil
	case "connection-state":
		return slices.Contains(strings.Split(value, ","), f.state), nil
	case "connection-nat-state":
		return false, nil // nothing here is translated before it is judged
	case "src-mac-address":
		return f.mac != "" && canonical(value) == canonical(f.mac), nil
	case "dst-address-type":
		return (value == "local") == s.local(f.dst), nil
	case "src-address-type":
		return (value == "local") == s.local(f.src), nil
	case "ipsec-policy":
		return strings.HasSuffix(value, "none"), nil // nothing here is encrypted
	case "hotspot":
		return hotspotMatcher(value, f), nil
	}
	return false, fmt.Errorf("the simulator does not know the matcher %s", key)
}

// hotspotMatcher takes the list of a rule's hotspot matcher; its first "!" is taken
// off already, so it is never first here.
func hotspotMatcher(value string, f *flow) bool {
	for _, one := range strings.Split(value, ",") {
		name, not := strings.CutPrefix(one, "!")
		is := map[string]bool{"auth": f.guest && f.auth, "from-client": f.guest, "local-dst": f.out == ""}[name]
		if is == not {
			return false
		}
	}
	return true
}

func within4(text string, a netip.Addr) bool {
	low, high, ok := bounds(text)
	return ok && low.Is4() == a.Is4() && a.Compare(low) >= 0 && a.Compare(high) <= 0
}

func (s *Sim) inAddressList(list string, a netip.Addr) bool {
	path := lists[0]
	if a.Is6() {
		path = lists[1]
	}
	return slices.ContainsFunc(s.menus[path].rows, func(r *row) bool {
		if r.is("disabled") || r.get("list") != list {
			return false
		}
		if name := s.names[r.get("address")]; name.IsValid() {
			return name == a
		}
		return within4(r.get("address"), a)
	})
}

func (s *Sim) isLink(value, link string) bool {
	kind := map[string]string{"all-ethernet": "ether", "all-vlan": "vlan", "all-ppp": "ppp", "all-wireless": "wlan"}[value]
	if kind != "" {
		r := s.menus["interface"].find(link)
		return r != nil && r.get("type") == kind
	}
	return value == link && link != ""
}

// protocolName writes a protocol's number as its name.
func protocolName(v string) string {
	if name := map[string]string{"1": "icmp", "6": "tcp", "17": "udp", "58": "icmpv6"}[v]; name != "" {
		return name
	}
	return v
}

func hasPort(list string, port int) bool {
	for _, part := range strings.Split(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		low, errLow := strconv.Atoi(from)
		high, errHigh := strconv.Atoi(to)
		if errLow == nil && errHigh == nil && port >= low && port <= high {
			return true
		}
	}
	return false
}
