#!/bin/sh
# Installs the real peers the tests talk to (RADIUS, MQTT, SQL, a browser) and
# the C compiler the race detector needs; with "packages", what the packages are
# tested with instead. Does nothing when all are there.
# No daemon is started by the installation: a policy-rc.d forbids it, since
# FreeRADIUS's would take port 1812 and PostgreSQL's 5432.
set -eu

need=""
have() { command -v "$1" >/dev/null 2>&1 || [ -x "/usr/sbin/$1" ]; }
want() { have "$1" || need="$need $2"; }
if [ "${1:-}" = packages ]; then
	want mmdebstrap mmdebstrap
	want sqlite3 sqlite3
	want curl curl
	want caddy caddy
	want lintian lintian
	want qemu-aarch64-static qemu-user-static
	want rpm rpm
	want unzip unzip
	want gpg gpg
	want ip iproute2
	want systemd-analyze systemd
	want pgrep procps
	want radclient freeradius-utils
	want strace strace
else
	want radclient freeradius-utils
	want freeradius freeradius
	[ -e /usr/lib/freeradius/rlm_sql_postgresql.so ] || need="$need freeradius-postgresql"
	want sqlite3 sqlite3
	want mkfs.ext4 e2fsprogs
	want mosquitto mosquitto
	want chromium chromium
	want gcc gcc
	want strace strace
	want curl curl
	[ -e /usr/include/stdio.h ] || need="$need libc6-dev"
	ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || need="$need postgresql"
fi
[ -z "$need" ] && exit 0

command -v apt-get >/dev/null 2>&1 || {
	echo "these tests need:$need; this machine has no apt-get, so install them by hand" >&2
	exit 1
}
sudo=""
[ "$(id -u)" = 0 ] || sudo="sudo"

echo "installing what the tests talk to:$need" >&2
policy=/usr/sbin/policy-rc.d
made=""
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' | $sudo tee "$policy" >/dev/null
	$sudo chmod 0755 "$policy"
	made=1
fi
cleanup() { [ -z "$made" ] || $sudo rm -f "$policy"; }
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
if ! { $sudo apt-get update -q && $sudo apt-get install -o DPkg::Lock::Timeout=300 -q -y --no-install-recommends $need; } >"$log" 2>&1; then
	cat "$log" >&2
	echo "installing$need failed; the lines above say why" >&2
	exit 1
fi
rm -f "$log"
