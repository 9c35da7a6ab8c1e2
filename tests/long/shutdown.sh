#!/bin/sh
# Every request that may wait x every disk x one signal and two, each alone.
exec timeout 1800 "${srcdir:-.}/tests/e2e/shutdown.sh"
