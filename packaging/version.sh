#!/bin/sh
# Prints the version of this tree: the newest tag, commits since, the commit. Before the
# first tag all commits count, as if v0.0.0 were the beginning.
set -eu
cd "$(dirname "$0")/.."
if v=$(git describe --tags --match 'v[0-9]*' --dirty 2>/dev/null); then
	echo "$v"
	exit 0
fi
if ! commit=$(git rev-parse --short=10 HEAD 2>/dev/null); then
	echo dev # no repository
	exit 0
fi
dirty=""
[ -z "$(git status --porcelain --untracked-files=no)" ] || dirty=-dirty
echo "v0.0.0-$(git rev-list --count HEAD)-g$commit$dirty"
