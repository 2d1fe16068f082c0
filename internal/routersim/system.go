package routersim

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Scripts, the scheduler, files, the clock and services: what a router does by
// itself, and what it keeps of its configuration.

// scriptPolicies are what a script or a scheduler may do if nobody says otherwise.
const scriptPolicies = "ftp,reboot,read,write,policy,test,password,sniff,sensitive,romon"

const (
	fileLimit = 60 << 10 // of contents written at once; facts.md §1
	readLimit = 32768    // of one /file/read; facts.md §9
)

func (s *Sim) systemShapes() map[string]shape {
	policy := "list " + strings.Join(policies, " ")
	return map[string]shape{
		"system/script": {needs: []string{"name"}, once: []string{"name"}, taken: nameUsed,
			fresh:  keys("dont-require-permissions=false invalid=false policy=" + scriptPolicies + " run-count=0 source="),
			values: map[string]string{"dont-require-permissions": yesNo, "policy": policy}},
		"system/scheduler": {needs: []string{"name"}, once: []string{"name"}, taken: nameUsed, finish: s.finishScheduler,
			fresh:  keys("disabled=false interval=0s on-event= policy=" + scriptPolicies + " run-count=0"),
			values: map[string]string{"disabled": yesNo, "interval": "<time>", "policy": policy}},
		"system/clock": {values: map[string]string{"time-zone-autodetect": yesNo}, finish: s.finishClock},
		"file":         {needs: []string{"name"}, once: []string{"name"}, taken: "file with such name already exists", finish: s.finishFile, hidden: hideContents},
		"certificate": {once: []string{"name"}, taken: "certificate with such name already exists", finish: nameCertificate,
			fresh: keys("days-valid=365 digest-algorithm=sha256 key-size=2048 key-type=rsa key-usage=digital-signature,key-encipherment,data-encipherment,key-cert-sign,crl-sign,tls-server,tls-client private-key=false trusted=false"),
			values: map[string]string{"trusted": yesNo, "days-valid": "<1..65535>", "digest-algorithm": "md5 sha1 sha256 sha384 sha512",
				"key-size":  "1024 1536 2048 4096 8192 prime256v1 secp384r1 secp521r1",
				"key-usage": "list digital-signature content-commitment key-encipherment data-encipherment key-agreement key-cert-sign crl-sign encipher-only decipher-only tls-server tls-client code-sign email-protect timestamp ocsp-sign dvcs"}},
	}
}

// finishClock sets the time as a person does; it runs on from there.
func (s *Sim) finishClock(_ *menu, r *row) error {
	zone := time.UTC
	if name := r.get("time-zone-name"); name != "manual" {
		var err error
		if zone, err = time.LoadLocation(name); err != nil {
			return trapf(1, "input does not match any value of time-zone-name")
		}
	}
	date, clock, _ := strings.Cut(s.format(s.now().In(zone)), " ")
	newDate, dated := r.props["date"]
	newClock, timed := r.props["time"]
	delete(r.props, "date")
	delete(r.props, "time")
	if !dated && !timed {
		return nil
	}
	if dated {
		date = newDate
	}
	if timed {
		clock = newClock
	}
	t, err := parseStamp(date + " " + clock)
	if err != nil {
		return trapf(1, "invalid value for argument time")
	}
	at := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, zone) // a person sets what clocks there show
	s.ahead = time.Until(at)
	return nil
}

// now is the router's clock.
func (s *Sim) now() time.Time { return time.Now().Add(s.knobs.ClockAhead + s.ahead) }

func (s *Sim) clock() []view {
	zone := s.menus["system/clock"].rows[0]
	at := s.now().UTC()
	if l, err := time.LoadLocation(zone.get("time-zone-name")); err == nil {
		at = at.In(l)
	}
	date, clock, _ := strings.Cut(s.format(at), " ")
	return []view{{"time": clock, "date": date, "time-zone-name": zone.get("time-zone-name"), "time-zone-autodetect": zone.get("time-zone-autodetect"),
		"gmt-offset": at.Format("-07:00"), "dst-active": strconv.FormatBool(at.IsDST())}}
}

// stamp writes a time as this version does: ISO since 7.10.
func (s *Sim) stamp(t time.Time) string { return s.format(t.UTC()) }

func (s *Sim) format(t time.Time) string {
	if atLeast(s.c.Version, 7, 10) {
		return t.Format(time.DateTime)
	}
	return strings.ToLower(t.Format("Jan/02/2006 15:04:05"))
}

// parseStamp reads a time in either form.
func parseStamp(text string) (time.Time, error) {
	t, err := time.Parse(time.DateTime, text)
	if err != nil {
		t, err = time.Parse("Jan/02/2006 15:04:05", strings.ToUpper(text[:min(1, len(text))])+text[min(1, len(text)):])
	}
	return t, err
}

// finishFile completes a row of /file. Its contents are in the row: a read shows
// those of short files.
func (s *Sim) finishFile(m *menu, r *row) error {
	if r.get("type") == "" {
		r.props["type"] = fileType(r.get("name"))
	}
	if len(r.get("contents")) > fileLimit && !r.big {
		return trapf(4, "failure: contents too long")
	}
	r.props["size"] = itoa(len(r.get("contents")))
	r.props["last-modified"] = s.stamp(s.now())
	return nil
}

func fileType(name string) string {
	switch {
	case strings.HasSuffix(name, ".rsc"):
		return "script"
	case strings.HasSuffix(name, ".backup"):
		return "backup"
	case strings.HasSuffix(name, ".txt"):
		return ".txt file"
	}
	return "file"
}

// keep makes or replaces a file of the router's own. The caller holds the lock.
func (s *Sim) keep(name, contents string, saved map[string][]*row) {
	m := s.menus["file"]
	m.rows = slices.DeleteFunc(m.rows, func(r *row) bool { return r.get("name") == name })
	r := &row{id: s.id(), big: true, saved: saved, props: map[string]string{"name": name, "contents": contents}}
	_ = s.finishFile(m, r) // refuses contents that a person writes
	m.rows = append(m.rows, r)
}

// hideContents: a read shows the contents of short text files only (facts.md §9).
func hideContents(v view) {
	if v["type"] == "backup" || len(v["contents"]) > 4<<10 {
		delete(v, "contents")
	}
}

// readFile is /file/read: one piece of a file.
func (s *Sim) readFile(m *menu, args map[string]string) ([]view, error) {
	if err := m.check("read", args); err != nil {
		return nil, err
	}
	r := m.find(args["file"])
	if r == nil {
		return nil, errNoItem
	}
	from, _ := strconv.Atoi(args["offset"])
	size := readLimit
	if text := args["chunk-size"]; text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 || n > readLimit {
			return nil, trapf(1, "value of chunk-size out of range (1..%d)", readLimit)
		}
		size = n
	}
	text := r.get("contents")
	from = min(max(from, 0), len(text))
	return []view{{"data": text[from:min(from+size, len(text))]}}, nil
}

// backup is /system/backup/save: everything that is stored, in a file.
func (s *Sim) backup(m *menu, args map[string]string) error {
	if err := m.check("save", args); err != nil {
		return err
	}
	name := args["name"]
	if name == "" {
		date := strings.NewReplacer("-", "", ":", "", " ", "-").Replace(s.stamp(s.now()))
		name = s.menus["system/identity"].rows[0].get("name") + "-" + date
	}
	saved := map[string][]*row{}
	sum := sha256.New()
	for _, path := range s.paths {
		if path == "file" || path == "log" {
			continue
		}
		for _, r := range s.menus[path].rows {
			if !r.dynamic {
				saved[path] = append(saved[path], r.clone())
				for _, k := range slices.Sorted(maps.Keys(r.props)) {
					sum.Write([]byte(path + " " + k + "=" + r.props[k] + "\n"))
				}
			}
		}
	}
	s.keep(strings.TrimSuffix(name, ".backup")+".backup", hex.EncodeToString(sum.Sum(nil)), saved)
	return nil
}

// restore is /system/backup/load: everything as it was saved, then a reboot.
func (s *Sim) restore(m *menu, args map[string]string) error {
	if err := m.check("load", args); err != nil {
		return err
	}
	files := s.menus["file"]
	r := files.find(args["name"])
	if r == nil {
		r = files.find(args["name"] + ".backup")
	}
	if r == nil || r.saved == nil {
		return trapf(1, "input does not match any value of name")
	}
	for _, path := range s.paths {
		if path == "file" || path == "log" {
			continue
		}
		s.menus[path].rows = nil
		for _, old := range r.saved[path] {
			s.menus[path].rows = append(s.menus[path].rows, old.clone())
		}
	}
	s.restart()
	return nil
}

// restart reboots in order, soon: whoever asked for it hears that it was heard.
func (s *Sim) restart() {
	s.run(func() {
		time.Sleep(20 * time.Millisecond) // the answer leaves first
		s.reboot(true, 0)
	})
}

func (r *row) clone() *row {
	next := *r
	next.props = maps.Clone(r.props)
	return &next
}
