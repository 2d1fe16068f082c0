#!/bin/sh
# Measures, prints, asserts nothing: times belong to a machine, not to a test.
set -eu
cd "$(dirname "$0")/.."
echo "== press Lock → enforced, whole system on this machine (target: median 50 ms, p99 250 ms)"
bin/iwas-demo bench
echo "== first Access-Request after a lock's commit, under login load (target: none let in)"
go test -count=1 -run TestTheFirstRequestAfterALockIsRejected -v ./agent -locks 10000 | grep "locks with"
echo "== kill -9 under accounting load (target: none missing, none doubled)"
go test -count=1 -run TestKill9LosesNothing -v ./internal/e2e | grep "acknowledged"
echo "== parts"
go test -run '^$' -bench . -benchmem ./agent/radius ./agent/store ./internal/wire | grep '^Benchmark' || true
