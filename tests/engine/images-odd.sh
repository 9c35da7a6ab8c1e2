#!/bin/sh
# Models of other kinds: depth-to-image, latent consistency.
. "${srcdir:-.}/tests/engine/golden.sh"
models=$data/odd-models
images "$backends" 60 "$data"/golden/images/odd/*.json
end
