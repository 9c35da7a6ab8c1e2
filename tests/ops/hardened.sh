#!/bin/sh
# What make install installs is hardened (hardened.py).
command -v python3 >/dev/null && command -v readelf >/dev/null || exit 77
exec python3 "${srcdir:-.}/tests/ops/hardened.py" controlnetd controlnet controlnet-worker controlnet-decoder
