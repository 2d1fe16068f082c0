#!/bin/sh
# Measures, prints, asserts nothing: times belong to a machine, not to a test.
#   BENCH="radius kill" make bench   only these parts
#   QUICK=1 make bench               shorter, for a look
# Parts: locks sync box faults parts, and those of internal/bench.
set -eu
cd "$(dirname "$0")/.."
wanted=${BENCH:-}
wants() { [ -z "$wanted" ] || case " $wanted " in *" $1 "*) ;; *) return 1 ;; esac; }

if wants locks; then
	echo "== press Lock → enforced, whole system on this machine (targets: accepted → enforced median 25 ms, p99 150 ms; long line p99 1.5 s)"
	bin/iwas-demo bench
	echo "== first Access-Request after a lock's commit, under login load (target: none let in)"
	seen=$(go test -count=1 -run TestTheFirstRequestAfterALockIsRejected -v ./agent -locks 10000) || { echo "$seen"; exit 1; }
	echo "$seen" | grep "locks with"
fi
if wants sync; then
	echo "== facts up: fresh ones, a million after days in the dark (target: 20,000/s), a site with nothing to say, a broker's restart"
	go test -count=1 -run '^$' -bench 'FactToCloud|DaysDark|IdleSite|ThousandAgents' -benchtime 1x -timeout 30m ./internal/e2e ./cloud/broker | grep '^   ' || true
fi
if wants box; then
	echo "== the box with 10,000 guests known and 200 online, nobody at it for a minute; then the status command and page"
	go test -count=1 -run '^$' -bench TheBox -benchtime 1x -timeout 10m ./internal/e2e | grep '^   ' || true
fi
if wants faults; then
	echo "== faults of programs, disks, lines and backups, then both sides held against each other"
	faults=1000
	[ -z "${QUICK:-}" ] || faults=34
	seen=$(go test -count=1 -timeout 90m -run '^TestBothSidesAgreeAfterEveryFault$' -v ./internal/chaos -faults $faults -sites 3) || { echo "$seen"; exit 1; }
	echo "$seen" | grep -v "over after" | sed -n 's/^ *[a-z]*_test.go:[0-9]*: /   /p'
fi
if wants parts; then
	echo "== parts"
	go test -run '^$' -bench . -benchmem ./agent/radius ./agent/store ./internal/wire ./internal/radload | grep '^Benchmark' || true
	echo "== a new address-list, until every entry is read back (target: 5,000 at 1 ms in 10 s; throttled, which takes two minutes, within 1.1 times commands x cost)"
	go test -run '^$' -bench Lists -benchtime 1x ./agent/router | grep '^Benchmark' || true
fi
radius=""
for part in $wanted; do
	case "$part" in locks | sync | box | faults | parts) ;; *) radius="$radius $part" ;; esac
done
if [ -z "$wanted" ] || [ -n "$radius" ]; then
	tools=$(mktemp -d)
	trap 'rm -rf "$tools"' EXIT
	build() { CGO_ENABLED=0 go build -trimpath -buildvcs=false "$@"; }
	build -o "$tools/" ./internal/bench/iwas-bench ./agent/store/fill
	build -tags e2e -o "$tools/iwas-agent-e2e" ./agent
	# Mounts of our own go with us, whatever ends us.
	own=""
	[ "$(id -u)" != 0 ] || own="unshare --mount --propagation private"
	# shellcheck disable=SC2086
	$own "$tools/iwas-bench" run -agent bin/iwas-agent -test-agent "$tools/iwas-agent-e2e" -fill "$tools/fill" ${QUICK:+-quick} $radius
fi
