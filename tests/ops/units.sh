#!/bin/sh
# The systemd units: they are understood, and they shut the daemon in. systemd-analyze's exposure goes
# from 0 to 10; the units of well-kept daemons have 1.2 (redis-server) to 9.6 (nginx).
set -eu
limit=15 # 1.5, in tenths
src=${srcdir:-.}
command -v systemd-analyze >/dev/null || {
    echo "systemd-analyze is not here (Debian: systemd)"
    exit 77
}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# exposure NAME FILE...: the unit made of these files, in tenths.
exposure() {
    mkdir "$tmp/$1"
    unit=$tmp/$1/controlnetd.service
    shift
    cat "$@" >"$unit"
    systemd-analyze security --offline=yes --threshold=$limit --no-pager "$unit" >"$tmp/table" || {
        cat "$tmp/table"
        echo "more exposed than $limit tenths"
        exit 1
    }
    tail -n 1 "$tmp/table"
}

exposure cpu systemd/controlnetd.service
exposure nvidia systemd/controlnetd.service "$src/systemd/nvidia.conf"

# What verify says of a unit, without the complaints about what is only there once it is installed.
mkdir "$tmp/verify"
sed 's|^ExecStart=.*|ExecStart=/bin/true|' systemd/controlnetd.service >"$tmp/verify/controlnetd.service"
cp "$src"/systemd/*.socket "$tmp/verify"
systemd-analyze verify --man=no "$tmp"/verify/* >"$tmp/said" 2>&1 || :
if grep -E '/verify/[^:]*:[0-9]+:|Unknown|Failed to parse|invalid' "$tmp/said"; then
    echo "systemd does not understand a unit"
    exit 1
fi

# Nobody's restarts, and no full disk, may end the service for good: no limit to its starts, and a
# pause between those it makes by itself. (What systemd does with a limit: the sixth "systemctl
# restart" in its interval fails, and the socket with it.)
value() { sed -n "s/^$1=//p" systemd/controlnetd.service; }
[ "$(value StartLimitIntervalSec)" = 0 ] && [ -z "$(value StartLimitBurst)" ] || {
    echo "there is a limit to starts"
    exit 1
}
[ "$(value Restart)" = on-failure ] && [ "$(value RestartSec | tr -d s)" -ge 1 ] || {
    echo "a daemon that fails is not started again, or without a pause"
    exit 1
}
if grep -h -E '^[A-Z][A-Za-z]*=.*' "$src"/systemd/*.socket | grep -E '^(StartLimit|TriggerLimit)'; then
    echo "a socket has a limit of its own"
    exit 1
fi
if grep -q '^LoadCredential=' systemd/controlnetd.service; then
    echo "a credential does not change with a reload"
    exit 1
fi

# The decoder of pictures gets all of its wall inside of the unit's.
if command -v python3 >/dev/null; then
    outside=$(./controlnet-decoder --check) || :
    inside=$(python3 "$src/tests/ops/unit_calls.py" systemd/controlnetd.service |
        tests/ops/under-filter ./controlnet-decoder --check) || :
    [ -n "$inside" ] && [ "$inside" = "$outside" ] || {
        echo "the unit takes something from the decoder's wall: \"$inside\", without it \"$outside\""
        exit 1
    }
fi
