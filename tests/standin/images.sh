#!/bin/sh
# Pictures of the tiny model from beginning to end on the CUDA backend, on the stand-in. Measured:
# F32 86 dB and more, F16 57 dB, BF16 44 dB.
data=${srcdir:-.}/tests/data
failed=0
images() {
    echo "# $1"
    type=$1
    psnr=$2
    shift 2
    for case in "$@"; do
        set -- "$@" "$data/golden/images/tiny/$case.json"
        shift
    done
    tests/standin/test_images --backend cuda --dtype "$type" --min-psnr "$psnr" "$data/models" \
        "$@" || failed=1
}
images f32 60 euler-cfg7.5
if [ "${CN_QUICK:-0}" = 0 ]; then
    images f16 35 img2img-ddim
    images bf16 35 strength-0.5
fi
exit $failed
