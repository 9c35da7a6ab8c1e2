#!/bin/sh
# 200 slow readers of one kept job of 16 pictures of 2048 x 2048.
exec timeout 1800 "${srcdir:-.}/tests/e2e/readers.sh"
