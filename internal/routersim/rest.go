package routersim

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// serveREST is the REST door over HTTPS, on the same commands as the API
// (facts.md §2): values are strings, a singleton is a bare object.
func (s *Sim) serveREST() {
	if s.rest == nil {
		return
	}
	var http1 http.Protocols // RouterOS speaks no other
	http1.SetHTTP1(true)
	srv := &http.Server{Handler: http.HandlerFunc(s.handleREST), Protocols: &http1, ReadHeaderTimeout: 5 * time.Second, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		TLSConfig: s.tlsOf("www-ssl")}
	s.serve(srv, false, func() error { return srv.ServeTLS(gate{s.rest, s}, "", "") })
}

func (s *Sim) handleREST(w http.ResponseWriter, r *http.Request) {
	if s.broken() {
		cut(w)
		return
	}
	user, password, ok := r.BasicAuth()
	if !ok || !s.checkUser(user, password, "rest-api", peerOf(r)) {
		s.note("system,error,critical", "login failure for user "+user+" from "+hostOf(r.RemoteAddr)+" via rest-api")
		restError(w, http.StatusUnauthorized, "Unauthorized", "")
		return
	}
	// The literal path: an escaped asterisk is no id (facts.md §2).
	path, ok := strings.CutPrefix(strings.Trim(r.URL.EscapedPath(), "/"), "rest/")
	if !ok {
		restError(w, http.StatusBadRequest, "Bad Request", "no such command or directory")
		return
	}
	if strings.Contains(path, "%2A") || strings.Contains(path, "%2a") {
		restError(w, http.StatusBadRequest, "Bad Request", "missing or invalid resource identifier")
		return
	}
	args, query, err := restBody(w, r)
	if err != nil {
		restError(w, http.StatusBadRequest, "Bad Request", err.Error())
		return
	}
	proplist := args[".proplist"]
	delete(args, ".proplist")
	s.mu.Lock()
	_, isMenu := s.menus[path]
	s.mu.Unlock()
	menuPath, last := path, ""
	if i := strings.LastIndex(path, "/"); !isMenu && i > 0 {
		menuPath, last = path[:i], path[i+1:]
	} else if !isMenu && s.rootCommand(path) {
		menuPath, last = "", path
	}
	s.charge()
	switch s.stall(menuPath, s.longestCall(), r.Context().Done()) {
	case left:
		cut(w)
		return
	case late:
		restError(w, http.StatusBadRequest, "Bad Request", "Session closed")
		return
	}
	call := restCall{menu: menuPath, last: last, args: args, query: query, proplist: proplist}
	if last == "monitor" && r.Method == http.MethodPost {
		s.restMonitor(w, r, user, call)
		return
	}
	s.restMethod(w, r.Method, user, call)
}

// rootCommand reports whether a word is a command of no menu, such as export.
func (s *Sim) rootCommand(word string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.menus[""].verbs[word]
	return ok
}

type restCall struct {
	menu, last, proplist string
	args                 map[string]string
	query                []string
}

func (s *Sim) restMethod(w http.ResponseWriter, method, user string, c restCall) {
	s.mu.Lock()
	m := s.menus[c.menu]
	s.mu.Unlock()
	if m == nil {
		restError(w, http.StatusBadRequest, "Bad Request", "no such command or directory ("+firstWord(strings.ReplaceAll(c.menu, "/", " "))+")")
		return
	}
	if c.last != "" && method != http.MethodPost && !strings.HasPrefix(c.last, "*") && !s.named(user, c.menu) {
		restError(w, http.StatusBadRequest, "Bad Request", "no such command prefix")
		return
	}
	switch {
	case (method == http.MethodPatch || method == http.MethodDelete) && c.last == "", method == http.MethodPut && c.last != "":
		restError(w, http.StatusBadRequest, "Bad Request", "missing or invalid resource identifier")
		return
	}
	byID := func() map[string]string {
		c.args[".id"] = c.last
		return c.args
	}
	switch method {
	case http.MethodGet:
		query := c.query
		if c.last != "" {
			query = []string{idOrName(c.last)}
		}
		rows, _, err := s.Command(user, c.menu, "print", map[string]string{}, query)
		switch {
		case err != nil:
			restTrap(w, err)
		case c.last != "" && len(rows) == 0:
			restError(w, http.StatusNotFound, "Not Found", "")
		case c.last != "" || m.single && len(rows) == 1:
			restOK(w, http.StatusOK, only(rows[0], c.proplist))
		default:
			restOK(w, http.StatusOK, list(rows, c.proplist))
		}
	case http.MethodPut:
		_, id, err := s.Command(user, c.menu, "add", c.args, nil)
		s.restRow(w, user, c.menu, id, http.StatusCreated, err)
	case http.MethodPatch:
		_, _, err := s.Command(user, c.menu, "set", byID(), nil)
		s.restRow(w, user, c.menu, c.last, http.StatusOK, err)
	case http.MethodDelete:
		if _, _, err := s.Command(user, c.menu, "remove", byID(), nil); err != nil {
			restTrap(w, err)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case http.MethodPost:
		rows, ret, err := s.Command(user, c.menu, c.last, c.args, c.query)
		switch {
		case err != nil:
			restTrap(w, err)
		case ret != "":
			restOK(w, http.StatusOK, map[string]string{"ret": ret})
		default:
			restOK(w, http.StatusOK, list(rows, c.proplist))
		}
	default:
		restError(w, http.StatusNotImplemented, "Not Implemented", "")
	}
}

func (s *Sim) restRow(w http.ResponseWriter, user, menu, id string, status int, err error) {
	if err != nil {
		restTrap(w, err)
		return
	}
	rows, _, err := s.Command(user, menu, "print", map[string]string{}, []string{idOrName(id)})
	if err != nil || len(rows) != 1 {
		restError(w, http.StatusNotFound, "Not Found", "")
		return
	}
	restOK(w, status, rows[0])
}

// idOrName is the query for the end of a path.
func idOrName(last string) string {
	if strings.HasPrefix(last, "*") {
		return ".id=" + last
	}
	return "name=" + last
}

// named reports whether a menu's rows have names.
func (s *Sim) named(user, path string) bool {
	rows, _, err := s.Command(user, path, "print", nil, nil)
	return err == nil && len(rows) > 0 && rows[0]["name"] != "" && rows[0][".id"] != ""
}

// peerOf returns the address of who asks.
func peerOf(r *http.Request) net.Addr {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return &net.TCPAddr{} // no address is in any list
	}
	return net.TCPAddrFromAddrPort(at)
}

func hostOf(addr string) string {
	ip, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return ip
}

// restBody reads arguments from the query string and the JSON object.
func restBody(w http.ResponseWriter, r *http.Request) (args map[string]string, query []string, err error) {
	args = map[string]string{}
	for k, v := range r.URL.Query() {
		if k == ".proplist" {
			args[k] = v[0]
		} else {
			query = append(query, k+"="+v[0])
		}
	}
	if r.Method == http.MethodGet || r.ContentLength == 0 {
		return args, query, nil
	}
	var body map[string]any
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&body); err != nil {
		return nil, nil, err
	}
	for k, v := range body {
		switch v := v.(type) {
		case string:
			args[k] = v
		case bool:
			args[k] = map[bool]string{true: "true", false: "false"}[v]
		case []any:
			for _, one := range v {
				if text, ok := one.(string); ok && k == ".query" {
					query = append(query, text)
				} else if ok {
					args[k] = strings.TrimPrefix(args[k]+","+text, ",")
				}
			}
		case float64:
			args[k] = strconv.FormatFloat(v, 'f', -1, 64)
		case nil:
			args[k] = ""
		default:
			return nil, nil, errors.New("invalid value of " + k)
		}
	}
	if q, ok := args[".query"]; ok {
		query = append(query, q)
		delete(args, ".query")
	}
	return args, query, nil
}

func only(v view, proplist string) view {
	if proplist == "" {
		return v
	}
	out := view{".id": v[".id"]}
	for _, k := range strings.Split(proplist, ",") {
		if val, ok := v[k]; ok {
			out[k] = val
		}
	}
	return out
}

func list(rows []view, proplist string) []view {
	out := make([]view, 0, len(rows))
	for _, v := range rows {
		out = append(out, only(v, proplist))
	}
	return out
}

func restOK(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the caller went away
}

func restTrap(w http.ResponseWriter, err error) {
	switch {
	case strings.Contains(err.Error(), "not enough permissions"):
		restError(w, http.StatusInternalServerError, "Internal Server Error", err.Error())
	case err.Error() == "no such item":
		restError(w, http.StatusNotFound, "Not Found", "")
	default:
		restError(w, http.StatusBadRequest, "Bad Request", err.Error())
	}
}

func restError(w http.ResponseWriter, status int, message, detail string) {
	body := map[string]any{"error": status, "message": message}
	if detail != "" {
		body["detail"] = detail
	}
	restOK(w, status, body)
}
