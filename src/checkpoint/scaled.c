/* Scaled floats of 8 bits, as ComfyUI writes them: beside "X.weight" a number "X.scale_weight" (or
 * "X.weight_scale") that it is to be multiplied by, perhaps one for the layer's input, which is for
 * arithmetic in 8 bits, and for the whole network a mark, "scaled_fp8". */
#include "base/base.h"
#include "checkpoint/checkpoint_priv.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_NAME = 256 };

static const char *const scales[] = {".scale_weight", ".weight_scale"};
static const char *const others[] = {".scale_input", ".input_scale", ".comfy_quant"};

/* "X" + end for a name "X" + own; false when it is too long or does not end so. */
static bool sibling(const char *name, const char *own, const char *end, char text[MAX_NAME])
{
    size_t n = strlen(name), m = strlen(own);

    if (!cn_ends_with(name, own) || n - m + strlen(end) >= MAX_NAME)
        return false;
    snprintf(text, MAX_NAME, "%.*s%s", (int)(n - m), name, end);
    return true;
}

static bool belongs_to_weight(const struct cn_tensor_view *v, const char *end)
{
    char weight[MAX_NAME];

    return sibling(v->name, end, ".weight", weight) && cn_tensor_file_has(v->in, weight);
}

bool cn_scaled_is_mark(const struct cn_tensor_view *v)
{
    for (size_t i = 0; i < CN_LEN(scales); i++)
        if (belongs_to_weight(v, scales[i]))
            return true;
    for (size_t i = 0; i < CN_LEN(others); i++)
        if (belongs_to_weight(v, others[i]))
            return true;
    return strcmp(v->name, "scaled_fp8") == 0 || cn_ends_with(v->name, ".scaled_fp8");
}

static int read_scale(const struct cn_tensor_view *v, float *ret, struct cn_err *err)
{
    unsigned char raw[8];
    int rc;

    if (v->dtype > CN_F64 || cn_view_elements(v) != 1) /* integers come after the floats */
        return cn_fail(err, CN_EFORMAT,
                       "\"%s\": tensor \"%.100s\": only a scale of one number is supported",
                       v->file, v->name);
    if ((rc = cn_view_read(v, raw, err)) < 0)
        return rc;
    cn_to_f32(ret, raw, v->dtype, 1);
    if (!isfinite(*ret) || *ret == 0)
        return cn_fail(err, CN_EFORMAT, "\"%s\": tensor \"%.100s\": %g is no scale", v->file,
                       v->name, (double)*ret);
    return CN_OK;
}

int cn_scaled_apply(struct cn_tensor_view *v, struct cn_err *err)
{
    char name[MAX_NAME];

    for (size_t i = 0; i < CN_LEN(scales); i++) {
        struct cn_tensor_view scale;
        float x;
        int rc;

        if (!sibling(v->name, ".weight", scales[i], name) ||
            !cn_tensor_file_view(v->in, name, &scale))
            continue;
        rc = read_scale(&scale, &x, err);
        return rc < 0 ? rc : cn_view_scale(v, x, err);
    }
    return CN_OK;
}
