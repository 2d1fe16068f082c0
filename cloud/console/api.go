package console

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"iwas/internal/buildinfo"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

// maxAPIBody bounds a request body of the API, in bytes.
const maxAPIBody = 16 << 10

// problem is an error answer of the API (RFC 9457), with the code of the
// condition catalogue where there is one and the next step for a person.
type problem struct {
	Type   string          `json:"type" doc:"Always about:blank; the code tells problems apart."`
	Title  string          `json:"title" doc:"The HTTP status in words."`
	Status int             `json:"status" doc:"The HTTP status."`
	Detail string          `json:"detail,omitempty" doc:"What happened."`
	Code   string          `json:"code,omitempty" doc:"Stable code of the kind of trouble, or of the condition catalogue."`
	Next   string          `json:"next,omitempty" doc:"What to do now."`
	Errors []problemDetail `json:"errors,omitempty" doc:"Each fault of the input."`
}

type problemDetail struct {
	Location string `json:"location,omitempty" doc:"Where: body.plan, query.limit."`
	Message  string `json:"message" doc:"What is wrong there."`
}

// Error makes a problem an error that huma answers with.
func (p *problem) Error() string { return p.Detail }

// GetStatus is the HTTP status (huma.StatusError).
func (p *problem) GetStatus() int { return p.Status }

// ContentType is that of RFC 9457 §3.
func (p *problem) ContentType(string) string { return "application/problem+json" }

// newProblem makes what huma itself finds wrong into one of ours. Values of the
// request are left out of the answer: they may be passwords.
func newProblem(status int, msg string, errs ...error) huma.StatusError {
	p := &problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: msg}
	for _, err := range errs {
		var d huma.ErrorDetailer
		if errors.As(err, &d) {
			det := d.ErrorDetail()
			p.Errors = append(p.Errors, problemDetail{det.Location, det.Message})
		} else if err != nil {
			p.Errors = append(p.Errors, problemDetail{"", err.Error()})
		}
	}
	switch {
	case status >= 500:
		p.Detail, p.Errors = "something went wrong on our side; it has been logged", nil
		p.Code = fault.Internal.String()
	case status == http.StatusRequestEntityTooLarge:
		p.Code, p.Next = fault.Invalid.String(), "Send a smaller body."
	case status < 500:
		p.Code, p.Next = fault.Invalid.String(), "Correct what errors names; /api/openapi.json describes every field."
	}
	return p
}

// problemOf makes an answer of an error by its kind.
func (s *Server) problemOf(err error) error {
	status := statusOf(err)
	if status >= 500 {
		s.Log.Error("console: API request failed", "err", err)
	}
	code := fault.Code(err)
	if code == "" {
		code = fault.KindOf(err).String()
	}
	return &problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: why(err), Code: code, Next: fault.Hint(err)}
}

func writeProblem(w http.ResponseWriter, status int, detail, next string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	// The reader has gone if this fails: nobody is left to tell.
	_ = json.NewEncoder(w).Encode(&problem{Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail,
		Code: fault.NotFound.String(), Next: next})
}

type operatorKey struct{}

// callerOf returns who asks; the middleware put it there.
func callerOf(ctx context.Context) hotspot.Operator {
	op, _ := ctx.Value(operatorKey{}).(hotspot.Operator)
	return op
}

func (s *Server) api(mux *http.ServeMux) {
	huma.NewError = newProblem // huma has no other place for it
	c := huma.DefaultConfig("IWAS", buildinfo.Version())
	c.Info.Description = "Sites, guests, plans and the lock of IWAS. Figures carry their age: data_age_s is how long ago the site recorded them, whatever its clock shows. " +
		"Upload is what guests sent, download what they received."
	c.OpenAPIPath, c.DocsPath, c.SchemasPath, c.CreateHooks = "/api/openapi", "", "", nil
	c.RejectUnknownQueryParameters = true
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token":   {Type: "http", Scheme: "bearer", Description: "An API token: iwas_…"},
		"session": {Type: "apiKey", In: "cookie", Name: s.cookieName(), Description: "The console's sign-in."},
	}
	c.Security = []map[string][]string{{"token": {}}, {"session": {}}}
	api := humago.New(mux, c)
	api.UseMiddleware(func(ctx huma.Context, next func(huma.Context)) { s.admit(api, ctx, next) })
	s.siteOperations(api)
	s.accountOperations(api)
	s.deviceOperations(api)
	s.boxOperations(api)
	s.grantOperations(api)
	s.saleOperations(api)
	s.whyOperations(api)
	s.commandOperations(api)
	s.routerOperations(api)
}

// admit lets a caller through who has the right of the operation.
func (s *Server) admit(api huma.API, ctx huma.Context, next func(huma.Context)) {
	r, _ := humago.Unwrap(ctx)
	need := rightFor(ctx.Operation().Method + " " + ctx.Operation().Path)
	op, err := s.caller(r)
	if err == nil && !may(op, need) {
		err = denied(op, need)
	}
	if err == nil {
		next(huma.WithValue(ctx, operatorKey{}, op))
		return
	}
	answer := s.problemOf(err).(*problem)
	if answer.Status == http.StatusUnauthorized {
		ctx.SetHeader("WWW-Authenticate", `Bearer realm="iwas"`)
	}
	ctx.SetHeader("Content-Type", "application/problem+json")
	ctx.SetStatus(answer.Status)
	// The reader has gone if this fails: nobody is left to tell.
	_ = json.NewEncoder(ctx.BodyWriter()).Encode(answer)
}

// operation describes one route of the API; its right must be in routes.
func operation(pattern, id, summary string, status int) huma.Operation {
	method, path, _ := strings.Cut(pattern, " ")
	rightFor(pattern)
	return huma.Operation{Method: method, Path: path, OperationID: id, Summary: summary, DefaultStatus: status, MaxBodyBytes: maxAPIBody,
		Errors: []int{400, 401, 403, 404, 409, 422, 503}, Tags: []string{strings.Split(path, "/")[3]}}
}

// answer is a response with a JSON body.
type answer[T any] struct{ Body T }

// list is one page of a list.
type list[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty" doc:"Pass as after to get the next page; absent on the last."`
}

// register adds an operation whose handler's errors become problems.
func register[I, O any](s *Server, api huma.API, op huma.Operation, h func(context.Context, hotspot.Operator, *I) (O, error)) {
	huma.Register(api, op, func(ctx context.Context, in *I) (*answer[O], error) {
		out, err := h(ctx, callerOf(ctx), in)
		if err != nil {
			return nil, s.problemOf(err)
		}
		return &answer[O]{out}, nil
	})
}
