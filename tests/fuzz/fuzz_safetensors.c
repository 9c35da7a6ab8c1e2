/* safetensors files: whatever is accepted must lie within the bytes and be found again. */
#include "base/base.h"
#include "checkpoint/names.h"
#include "checkpoint/tensor_file.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* A name that maps must map back to itself. */
static void round_trip(const char *name)
{
    static const struct cn_layout l = {
        .levels = 4, .layers = 2, .hint_convs = 8, .up_attention = {false, true, true, true}};
    char other[256], back[256];

    for (int c = 0; c < CN_COMP_COUNT; c++) {
        enum cn_component comp = (enum cn_component)c;

        if (cn_name_to_ldm(comp, &l, name, other, sizeof(other)) &&
            cn_name_from_ldm(comp, &l, other, back, sizeof(back)))
            CN_ASSERT(strcmp(back, name) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct cn_tensor_file *st;
    struct cn_err err = CN_ERR_INIT;
    size_t total = 0;
    const char *key, *value;

    if (cn_tensor_file_parse("fuzz", data, len, &st, &err) < 0) {
        CN_ASSERT(err.code < 0 && err.msg[0] != '\0');
        return 0;
    }
    for (size_t i = 0; i < cn_tensor_file_count(st); i++) {
        struct cn_tensor_view v, w;
        const uint8_t *p;
        char shape[64];
        int rc;

        cn_tensor_file_at(st, i, &v);
        p = v.data;
        CN_ASSERT(p >= data + 8 && p + cn_view_stored(&v) <= data + len);
        CN_ASSERT(v.dtype == CN_DTYPE_COUNT ||
                  cn_view_elements(&v) * cn_dtype_size(v.dtype) == v.bytes);
        rc = cn_tensor_file_find(st, v.name, &w, NULL);
        CN_ASSERT(rc == (v.dtype == CN_DTYPE_COUNT ? CN_EFORMAT : CN_OK));
        cn_view_shape(&v, shape, sizeof(shape));
        round_trip(v.name);
        total += cn_view_stored(&v);
    }
    CN_ASSERT(total < len);
    for (size_t i = 0; i < cn_tensor_file_metadata_count(st); i++) {
        cn_tensor_file_metadata_at(st, i, &key, &value);
        CN_ASSERT(cn_tensor_file_metadata(st, key) == value);
    }
    cn_tensor_file_close(st);
    return 0;
}
