#!/bin/sh
. "${srcdir:-.}/tests/engine/golden.sh"
modules "$top/models/emoji" "$top/models/emoji-canny" "$top/models/emoji-scribble"
end
