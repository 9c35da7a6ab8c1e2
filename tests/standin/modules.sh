#!/bin/sh
# The tiny model's networks on the CUDA backend, on the stand-in, against the reference
# implementation. Measured: F32 7e-7, F16 2e-3, BF16 1.5e-2.
data=${srcdir:-.}/tests/data
failed=0
for type in f32=1e-4 f16=1e-2 bf16=5e-2; do
    echo "# ${type%=*}"
    tests/standin/test_modules --backend cuda --dtype "${type%=*}" --bar "${type#*=}" \
        "$data/models/tiny" "$data/golden/tiny" "$data/models/tiny-control-a" || failed=1
    [ "${CN_QUICK:-0}" = 0 ] || break
done
exit $failed
