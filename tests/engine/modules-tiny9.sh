#!/bin/sh
. "${srcdir:-.}/tests/engine/golden.sh"
modules "$data/models/tiny9"
end
