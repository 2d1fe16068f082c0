package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// CheckNumber returns the six digits that the box and the console show at an
// enrolment, for a person to compare: of the agent's id and its public key
// (PKIX, DER). A box that got somebody else's identity shows another number.
func CheckNumber(publicKey []byte, agent string) string {
	s := sha256.New()
	fmt.Fprintf(s, "iwas check number|%s|", agent)
	s.Write(publicKey)
	return fmt.Sprintf("%06d", binary.BigEndian.Uint64(s.Sum(nil))%1_000_000)
}
