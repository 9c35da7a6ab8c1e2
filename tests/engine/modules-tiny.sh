#!/bin/sh
. "${srcdir:-.}/tests/engine/golden.sh"
modules "$data/models/tiny" "$data/models/tiny-control-a" "$data/models/tiny-control-b"
end
