package radius

import (
	"iwas/internal/hotspot"
)

// silences say which reason people read where a login is met with silence. A first
// request that is still at work, or an Accept that a lock overtook, is none: its
// repeat is answered.
var silences = map[dropped]hotspot.Reason{
	dropUnknownNAS:  hotspot.ReasonUnknownNAS,
	dropMABad:       hotspot.ReasonBadSecret,
	dropMAMissing:   hotspot.ReasonNotSigned,
	dropMAFellBack:  hotspot.ReasonNotSigned,
	dropProxyState:  hotspot.ReasonNotSigned,
	dropShort:       hotspot.ReasonMalformed,
	dropCode:        hotspot.ReasonMalformed,
	dropAttributes:  hotspot.ReasonMalformed,
	dropQueueFull:   hotspot.ReasonOverload,
	dropTooOld:      hotspot.ReasonOverload,
	dropUnavailable: hotspot.ReasonUnjudged,
	dropUnencodable: hotspot.ReasonUnjudged,
	dropPanic:       hotspot.ReasonUnjudged,
}

// floodRepeats is how often the same request may come again before it is told as a
// flood: RouterOS sends three times.
const floodRepeats = 10

const duplicatesMeaning = "the same request came again and again: the answers of this box do not arrive at the router (firewall, another route back), its timeout is too short, or somebody replays"

// unanswered tells of a login that was met with silence. What it says of itself is
// believed for no more than to name it.
func (s *Server) unanswered(j *job, why dropped) {
	reason, ok := silences[why]
	if !ok || !loginOn(j) {
		return
	}
	s.tell(j, claimed(j.packet), hotspot.Reject{Reason: reason, Detail: meanings[why], Times: 1})
}

// repeated tells of the n-th repeat of a request, once they are too many.
func (s *Server) repeated(j *job, n int) {
	switch {
	case j.packet[0] != codeAccessRequest || n < floodRepeats:
		return
	case n > floodRepeats:
		n = 1
	}
	s.tell(j, claimed(j.packet), hotspot.Reject{Reason: hotspot.ReasonDuplicates, Detail: duplicatesMeaning, Times: n})
}

func (s *Server) tell(j *job, who hotspot.Request, r hotspot.Reject) {
	if s.Rejected == nil {
		return
	}
	if j.nas != nil {
		r.NAS = j.nas.ID
	}
	r.At, r.Username, r.MAC, r.IP, r.Source, r.Silent = j.at, printable(who.Username), who.MAC, who.IP, j.from.Addr().Unmap().WithZone(""), true
	s.Rejected(r)
}

// loginOn reports whether a packet was to be a login: an Access-Request wherever
// it came, or what cannot be read on the port for them.
func loginOn(j *job) bool {
	kind := kindOf(j.packet)
	return kind == "access" || !j.socket.accounting && kind != "status" && kind != "accounting"
}

// claimed reads who a packet says asks, as far as it can be read at all.
func claimed(b []byte) (r hotspot.Request) {
	b, _, why := triage(b, false)
	if why != "" || b[0] != codeAccessRequest {
		return r
	}
	var where station
	for kind, v := range attributes(b) {
		if kind == typeUserName && r.Username == "" {
			r.Username = string(v)
		}
		if !malformed(kind, v) {
			where.read(kind, v)
		}
	}
	r.MAC, r.IP = where.parseMAC(), where.ip
	return r
}
