#!/bin/bash
# Runs every fuzz target for a short time; FUZZTIME says how long each.
set -euo pipefail
cd "$(dirname "$0")/.."
said=$(mktemp)
trap 'rm -f "$said"' EXIT
# ended reports whether a run failed by nothing but the end of its time: go test
# then says so of its own context, and has no input to show.
ended() { grep -qx ' *context deadline exceeded' "$said" && ! grep -q -e 'Failing input' -e 'panic' "$said"; }
for dir in $(git ls-files '*_test.go' | xargs grep -l '^func Fuzz' | xargs -n1 dirname | sort -u); do
	for target in $(grep -ho '^func Fuzz[A-Za-z0-9_]*' "$dir"/*_test.go | sed 's/^func //' | sort -u); do
		echo "== $dir $target"
		go test -vet=off -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-5s}" "./$dir" 2>&1 | tee "$said" || ended
	done
done
