#!/bin/sh
. "${srcdir:-.}/tests/engine/golden.sh"
images "$backends" 60 "$data"/golden/images/tinyxl/*.json
end
