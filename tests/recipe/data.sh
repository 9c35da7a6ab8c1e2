#!/bin/sh
# 77 means skipped.
command -v python3 >/dev/null || exit 77
srcdir=${srcdir:-.}
export srcdir
exec python3 -B "$srcdir/tests/recipe/test_data.py"
