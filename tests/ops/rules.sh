#!/bin/sh
# The recording rules and the alerts: promtool understands them, and each alert fires when it should.
set -eu
src=${srcdir:-.}
command -v promtool >/dev/null || {
    echo "promtool is not here (Debian: prometheus)"
    exit 77
}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cp "$src"/etc/prometheus/*.yml "$src/tests/ops/alerts_test.yml" "$tmp"
cd "$tmp"
promtool check rules rules.yml alerts.yml
promtool test rules alerts_test.yml
