// Package access is who may reach the status page and who they are: the people of
// this box with their passwords, their sign-ins, the certificate of the door to
// the network, and whose connections that door takes. It knows no page and no
// database: signing in must work when the database does not.
package access

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"iwas/internal/fault"
	"iwas/internal/secret"
	"iwas/internal/webui"
)

// Role is what a person may do on this box.
type Role string

// Roles.
const (
	Technician Role = "technician" // looks after box and router
	Cashier    Role = "cashier"    // sells, locks and unlocks
)

// ParseRole reads a role.
func ParseRole(s string) (Role, error) {
	if r := Role(s); r == Technician || r == Cashier {
		return r, nil
	}
	return "", fault.New(fault.Invalid, fmt.Sprintf("%q is not a role", s), nil).WithCode("", "Give technician or cashier.")
}

// Person is who is signed in. The zero value is nobody.
type Person struct {
	Name string
	Role Role
}

// Is reports whether the person has one of the roles; of none at all, whether it
// is anybody.
func (p Person) Is(roles ...Role) bool {
	return p.Name != "" && (len(roles) == 0 || slices.Contains(roles, p.Role))
}

// CodePeople is the condition of a file of people that cannot be used.
const CodePeople = "SYS-120"

const (
	peopleMost    = 64 // people of one box
	nameMost      = 64 // characters
	passwordLeast = 10 // characters
)

// People are those who may sign in: a file beside the database, read anew when it
// changes, so that a password set beside the running service counts at once.
type People struct {
	File string

	mu   sync.Mutex
	from fs.FileInfo // guarded by mu: the file that all was read from
	all  []entry     // guarded by mu
}

// entry is a person in the file.
type entry struct {
	Name  string    `json:"name"`
	Role  Role      `json:"role"`
	Hash  string    `json:"argon2id"`
	SetAt time.Time `json:"set_at"` // by this box's clock
}

// book is the file.
type book struct {
	Version int     `json:"version"`
	People  []entry `json:"people"`
}

// read returns the people; a file that is not there is nobody.
func (p *People) read() ([]entry, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	st, err := os.Stat(p.File)
	if errors.Is(err, fs.ErrNotExist) {
		p.from, p.all = nil, nil
		return nil, nil
	}
	if err == nil && p.from != nil && os.SameFile(st, p.from) && st.ModTime().Equal(p.from.ModTime()) && st.Size() == p.from.Size() {
		return p.all, nil
	}
	var b []byte
	if err == nil {
		b, err = os.ReadFile(p.File)
	}
	if err != nil {
		return nil, fault.New(fault.Unavailable, "read who may sign in", err).WithCode(CodePeople, "Let the service's user own the file: chown iwas-agent "+p.File)
	}
	var in book
	if err = json.Unmarshal(b, &in); err == nil && in.Version != 1 {
		err = fmt.Errorf("it is of version %d, and this program reads 1", in.Version)
	}
	if err != nil {
		return nil, fault.New(fault.Damaged, "read who may sign in: "+p.File, err).
			WithCode(CodePeople, "Remove the file and set the passwords anew: iwas-agent password set")
	}
	p.from, p.all = st, in.People
	return p.all, nil
}

func find(all []entry, name string) int {
	name = strings.TrimSpace(name)
	return slices.IndexFunc(all, func(e entry) bool { return strings.EqualFold(e.Name, name) })
}

// Known is a person in a list.
type Known struct {
	Name  string    `json:"name"`
	Role  Role      `json:"role"`
	SetAt time.Time `json:"password_set_at"`
}

// List returns who may sign in, by name.
func (p *People) List() ([]Known, error) {
	all, err := p.read()
	out := make([]Known, 0, len(all))
	for _, e := range all {
		out = append(out, Known{e.Name, e.Role, e.SetAt})
	}
	slices.SortFunc(out, func(a, b Known) int { return cmp.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)) })
	return out, err
}

// Set gives a person a password; one who is not there yet is made. An empty role
// keeps theirs, or is Technician.
func (p *People) Set(ctx context.Context, name string, role Role, password secret.Value, now time.Time) (Person, error) {
	name = strings.TrimSpace(name)
	if err := checkName(name); err != nil {
		return Person{}, err
	}
	if n := len([]rune(password.Reveal())); n < passwordLeast {
		return Person{}, fault.New(fault.Invalid, fmt.Sprintf("the password has %d characters", n), nil).
			WithCode("", fmt.Sprintf("Take %d or more; a few words are easier to keep in mind than signs. --generate makes one.", passwordLeast))
	}
	hash, err := webui.HashPassword(ctx, password.Reveal())
	if err != nil {
		return Person{}, err
	}
	all, err := p.read()
	if err != nil {
		return Person{}, err
	}
	all = slices.Clone(all)
	i := find(all, name)
	if i < 0 {
		if len(all) >= peopleMost {
			return Person{}, fault.New(fault.Invalid, fmt.Sprintf("%d people may sign in already", peopleMost), nil).WithCode("", "Remove who left: iwas-agent password remove NAME")
		}
		i, all = len(all), append(all, entry{Name: name, Role: Technician})
	}
	all[i].Hash, all[i].SetAt, all[i].Role = hash, now.UTC(), cmp.Or(role, all[i].Role)
	return Person{all[i].Name, all[i].Role}, p.write(all)
}

// Remove takes a person's right to sign in away.
func (p *People) Remove(name string) error {
	all, err := p.read()
	if err != nil {
		return err
	}
	i := find(all, name)
	if i < 0 {
		return fault.New(fault.NotFound, fmt.Sprintf("nobody here is called %q", name), nil).WithCode("", "Who there is: iwas-agent password list")
	}
	return p.write(slices.Delete(slices.Clone(all), i, i+1))
}

func (p *People) write(all []entry) error {
	b, err := json.MarshalIndent(book{1, all}, "", "  ")
	if err != nil {
		return err
	}
	if err := secret.WriteFile(p.File, append(b, '\n')); err != nil {
		return fault.New(fault.Unavailable, "keep who may sign in", err)
	}
	return nil
}

// checkName refuses what cannot be typed or would deceive who reads it.
func checkName(name string) error {
	bad := strings.ContainsFunc(name, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune(" .-_'@", r)
	})
	if n := len([]rune(name)); n == 0 || n > nameMost || bad {
		return fault.New(fault.Invalid, fmt.Sprintf("%q is no name to sign in with", name), nil).
			WithCode("", "Take letters, digits, spaces and . - _ ' @, at most 64.")
	}
	return nil
}
