package routersim

import (
	"slices"
	"strconv"
	"strings"
)

// match evaluates query words (facts.md §1 "Commands"): a stack of truths, one
// pushed by each test, worked on by ?# operations, AND-ed in the end.
func match(v view, query []string) bool {
	var stack []bool
	for _, q := range query {
		if ops, ok := strings.CutPrefix(q, "#"); ok {
			stack = operate(stack, ops)
		} else {
			stack = append(stack, test(v, q))
		}
	}
	return !slices.Contains(stack, false)
}

// operate runs one ?# word from left to right. A number is an index into the
// stack, 0 the top: before another operation it pushes a copy of that truth, at
// the end of the word it replaces the whole stack with it. A dot after a number
// only ends the number; after anything else it pushes a copy of the top.
func operate(stack []bool, ops string) []bool {
	at := func(i int) bool { return i < len(stack) && stack[len(stack)-1-i] }
	pop := func() bool {
		top := at(0)
		stack = stack[:max(len(stack)-1, 0)]
		return top
	}
	for i := 0; i < len(ops); i++ {
		digits := i
		for i < len(ops) && ops[i] >= '0' && ops[i] <= '9' {
			i++
		}
		if digits < i {
			n, err := strconv.Atoi(ops[digits:i])
			if err != nil {
				n = len(stack) // beyond the stack: false
			}
			if i == len(ops) {
				return []bool{at(n)}
			}
			stack = append(stack, at(n))
			if ops[i] == '.' {
				continue
			}
		}
		switch ops[i] {
		case '|':
			a, b := pop(), pop()
			stack = append(stack, a || b)
		case '&':
			a, b := pop(), pop()
			stack = append(stack, a && b)
		case '!':
			stack = append(stack, !pop())
		case '.':
			stack = append(stack, at(0))
		}
	}
	return stack
}

// test is one word: name (has), -name (lacks), [=]name=value, <name=value,
// >name=value.
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
	if !valued || !has {
		return has
	}
	switch op {
	case '<':
		return less(got, want)
	case '>':
		return less(want, got)
	}
	// "yes" and "no" are how a client may write what reads true and false.
	return got == want || got == normal(want)
}

// less compares numbers, lengths of time, else text.
func less(a, b string) bool {
	if x, err := strconv.ParseInt(a, 10, 64); err == nil {
		if y, err := strconv.ParseInt(b, 10, 64); err == nil {
			return x < y
		}
	}
	if x, err := parseDuration(a); err == nil {
		if y, err := parseDuration(b); err == nil {
			return x < y
		}
	}
	return a < b
}
