#!/bin/sh
. "${srcdir:-.}/tests/engine/golden.sh"
modules "$data/models/tiny2" "$data/models/tiny2-control"
end
