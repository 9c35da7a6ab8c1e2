#!/bin/sh
. "${srcdir:-.}/tests/cli/run.sh"
