package routersim

import (
	"strconv"
	"strings"
)

// match evaluates query words (facts.md §1 "Commands"): a stack of truths, one
// pushed by each test, combined by ?# operators, AND-ed in the end.
func match(v view, query []string) bool {
	var stack []bool
	pop := func() bool {
		if len(stack) == 0 {
			return false
		}
		b := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		return b
	}
	for _, q := range query {
		if ops, ok := strings.CutPrefix(q, "#"); ok {
			for _, op := range ops {
				switch op {
				case '|':
					a, b := pop(), pop()
					stack = append(stack, a || b)
				case '&':
					a, b := pop(), pop()
					stack = append(stack, a && b)
				case '!':
					stack = append(stack, !pop())
				case '.':
					if len(stack) > 0 {
						stack = append(stack, stack[len(stack)-1])
					}
				}
			}
			continue
		}
		stack = append(stack, test(v, q))
	}
	for _, b := range stack {
		if !b {
			return false
		}
	}
	return true
}

func test(v view, q string) bool {
	if name, ok := strings.CutPrefix(q, "-"); ok {
		_, has := v[name]
		return !has
	}
	op := byte('=')
	if q != "" && strings.IndexByte("<>=", q[0]) >= 0 {
		op, q = q[0], q[1:]
	}
	name, want, valued := strings.Cut(q, "=")
	got, has := v[name]
	if !valued {
		return has
	}
	switch op {
	case '<', '>':
		a, errA := strconv.ParseInt(got, 10, 64)
		b, errB := strconv.ParseInt(want, 10, 64)
		if errA == nil && errB == nil {
			return op == '<' && a < b || op == '>' && a > b
		}
		return op == '<' && got < want || op == '>' && got > want
	}
	// "yes" and "no" are how a client may write what reads true and false.
	return has && (got == want || got == normal("", want))
}
