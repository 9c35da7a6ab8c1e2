#!/bin/sh
. "${srcdir:-.}/tests/e2e/run.sh"
