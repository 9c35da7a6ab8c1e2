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
