#!/bin/sh
# The daemon with the CUDA worker on the stand-in: pictures, lost devices, no memory, no device.
command -v python3 >/dev/null || exit 77
PYTHONPATH=${srcdir:-.}/tests/e2e exec python3 "${srcdir:-.}/tests/standin/test_worker.py"
