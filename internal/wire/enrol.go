package wire

import "time"

// Enrolment runs over HTTPS, since a new box has no certificate for MQTT yet.
// Paths below the cloud's agents door.
const (
	PathEnrol = "/agents/v1/enrol" // POST EnrolRequest → EnrolReply
	PathLook  = "/agents/v1/look"  // POST EnrolRequest without CSR → EnrolOffer; does not spend the code
)

// EnrolRequest asks for an identity. Request is an id made once per attempt by
// the box: the same id gets the same answer, so a lost reply makes no twin.
type EnrolRequest struct {
	V       int       `json:"v"`
	Code    string    `json:"code"`               // as typed; case and dashes do not matter
	Request string    `json:"request,omitempty"`  // idempotency id
	CSR     string    `json:"csr,omitempty"`      // PEM; the subject in it is ignored
	SealKey string    `json:"seal_key,omitempty"` // base64, for secrets inside documents
	Version string    `json:"version"`            // of the agent program
	Host    string    `json:"host"`               // host name, for people
	At      time.Time `json:"at"`                 // the box's clock
}

// EnrolOffer says what a code is for, to be confirmed by the person at the box.
type EnrolOffer struct {
	Organization string    `json:"organization"`
	Site         string    `json:"site"`
	SiteID       string    `json:"site_id"`
	ExpiresAt    time.Time `json:"expires_at"`
	Time         time.Time `json:"time"` // the cloud's clock
}

// EnrolReply is the identity.
type EnrolReply struct {
	Agent        string    `json:"agent"` // CN of the certificate, and the place in topics
	SiteID       string    `json:"site_id"`
	Site         string    `json:"site"`
	Organization string    `json:"organization"`
	Certificate  string    `json:"certificate"`  // PEM chain
	MQTTURL      string    `json:"mqtt_url"`     // tls://host:port
	MQTTCA       string    `json:"mqtt_ca"`      // PEM
	SealKey      string    `json:"seal_key"`     // the cloud's, for secrets inside events
	CheckNumber  string    `json:"check_number"` // shown on both sides, compared by a person
	Confirmed    bool      `json:"confirmed"`    // false: no state comes down and no event counts until a person confirms
	Time         time.Time `json:"time"`
}

// Problem is an error answer (RFC 9457) with our catalogue code.
type Problem struct {
	Type   string `json:"type,omitempty"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	Code   string `json:"code,omitempty"`
	Next   string `json:"next,omitempty"` // what to do
}
