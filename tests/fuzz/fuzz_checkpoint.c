/* Single-file models: opening, inferring, inspecting. The input is written to a file first. */
#include "base/base.h"
#include "checkpoint/checkpoint.h"
#include "runtime/inspect.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static const char path[] = "fuzz-checkpoint.safetensors";

static void look(void *ctx, const struct cn_finding *f)
{
    struct cn_tensor_view v;

    if (f->kind == CN_FINDING_MISSING)
        CN_ASSERT(cn_checkpoint_find(ctx, f->comp, f->name, &v, NULL) == CN_ENOTFOUND);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct cn_checkpoint *c;
    struct cn_inspect r;
    struct cn_err err = CN_ERR_INIT;
    FILE *f = fopen(path, "wb");

    if (f == NULL || fwrite(data, 1, len, f) != len || fclose(f) != 0)
        return 0;
    if (cn_checkpoint_open(path, &c, &err) == CN_OK) {
        cn_inspect_checkpoint(c, look, c, &r);
        if (cn_checkpoint_control(c) != NULL && cn_checkpoint_unet(c) != NULL)
            cn_control_matches(cn_checkpoint_control(c), cn_checkpoint_unet(c), &err);
        cn_checkpoint_close(c);
    } else {
        CN_ASSERT(err.msg[0] != '\0');
    }
    unlink(path);
    return 0;
}
