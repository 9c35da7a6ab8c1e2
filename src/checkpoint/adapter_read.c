/* What is read of an adapter's file: elements of tensors, and notes. */
#include "base/base.h"
#include "checkpoint/adapter_priv.h"

#include <stdlib.h>

int cn_adapter_read(const struct cn_tensor_view *v, float **ret, struct cn_err *err)
{
    size_t n = cn_view_elements(v), bytes;
    void *raw;
    float *x;
    int rc;

    if (v->dtype == CN_DTYPE_COUNT)
        return cn_fail(err, CN_EFORMAT, "tensor \"%s\" in \"%s\" is of type %s", v->name, v->file,
                       v->type);
    raw = cn_try_alloc(v->bytes);
    x = cn_mul_size(n, sizeof(*x), &bytes) ? cn_try_alloc(bytes) : NULL;
    if (raw == NULL || x == NULL) {
        free(raw);
        free(x);
        return cn_fail(err, CN_ENOMEM, "no memory for tensor \"%s\"", v->name);
    }
    rc = cn_view_read(v, raw, err);
    if (rc == CN_OK) {
        cn_to_f32(x, raw, v->dtype, n);
        if (!cn_all_finite(x, CN_F32, n))
            rc = cn_fail(err, CN_EFORMAT, "tensor \"%s\" in \"%s\" has values that are not numbers",
                         v->name, v->file);
    }
    free(raw);
    if (rc < 0)
        free(x);
    else
        *ret = x;
    return rc;
}

const char *cn_adapter_note(const struct cn_adapter *a, const char *key)
{
    return cn_tensor_file_metadata(a->file, key);
}
