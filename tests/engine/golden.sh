# For the scripts beside this file: networks and pictures against the reference implementation, on
# every backend of the build. Where a model is absent the test is skipped (77).
top=${srcdir:-.}
data=$top/tests/data
models=$data/models
[ ! -d "$top/models" ] || models=$models:$top/models
if grep -q '^#define HAVE_ONEDNN' config.h; then
    backends="onednn reference"
else
    backends=reference
fi
failed=0

# need FILE...: ends the test as skipped when one is absent.
need() {
    for file in "$@"; do
        [ -e "$file" ] || {
            echo "no $file"
            exit 77
        }
    done
}

# modules MODEL_DIR CONTROL_DIR...: relative error 1e-4 (the bar is in test_modules).
modules() {
    model=$1
    shift
    need "$model/model_index.json" "$data/golden/$(basename "$model")/unet.safetensors"
    for backend in $backends; do
        echo "# $model, $backend"
        tests/engine/test_modules --backend $backend "$model" \
            "$data/golden/$(basename "$model")" "$@" || failed=1
    done
}

# images BACKENDS MIN_PSNR CASE...: 60 dB tells one sampler from another, 50 dB is the promise.
images() {
    on=$1
    psnr=$2
    shift 2
    need "$1"
    [ "${CN_QUICK:-0}" = 0 ] || few "$@"
    for backend in $on; do
        echo "# $backend"
        # shellcheck disable=SC2086
        tests/engine/test_images --backend "$backend" --min-psnr "$psnr" \
            --embeddings "$data/embeddings" --adapters "$data/adapters" "$models" ${some:-"$@"} ||
            failed=1
    done
}

# few CASE...: every fourth of them, as $some.
few() {
    some=
    i=0
    for case in "$@"; do
        [ $((i % 4)) -ne 0 ] || some="$some $case"
        i=$((i + 1))
    done
}

end() {
    exit $failed
}
