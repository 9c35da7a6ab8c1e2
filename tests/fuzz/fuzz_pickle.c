/* Files of torch.save(), in both forms: whatever is accepted must lie within the bytes, be found
 * again and be read. */
#include "base/base.h"
#include "checkpoint/tensor_file.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void read_view(const struct cn_tensor_view *v, size_t len)
{
    unsigned char *p;

    CN_ASSERT(cn_view_stored(v) <= len);
    p = malloc(v->bytes + 1);
    CN_ASSERT(p != NULL && cn_view_read(v, p, NULL) == CN_OK);
    free(p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct cn_tensor_file *f;
    struct cn_err err = CN_ERR_INIT;
    const char *key, *value;

    if (cn_tensor_file_parse("fuzz", data, len, &f, &err) < 0) {
        CN_ASSERT(err.code < 0 && err.msg[0] != '\0');
        return 0;
    }
    for (size_t i = 0; i < cn_tensor_file_count(f); i++) {
        struct cn_tensor_view v, w;
        int rc;

        cn_tensor_file_at(f, i, &v);
        CN_ASSERT(v.dtype == CN_DTYPE_COUNT ||
                  cn_view_elements(&v) * cn_dtype_size(v.dtype) == v.bytes);
        rc = cn_tensor_file_find(f, v.name, &w, NULL);
        CN_ASSERT(rc == (v.dtype == CN_DTYPE_COUNT ? CN_EFORMAT : CN_OK));
        read_view(&v, len);
        if (v.rank > 0 && v.dim[0] > 0) {
            cn_view_rows(&v, v.dim[0] - 1, 1);
            read_view(&v, len);
        }
    }
    for (size_t i = 0; i < cn_tensor_file_metadata_count(f); i++) {
        cn_tensor_file_metadata_at(f, i, &key, &value);
        CN_ASSERT(cn_tensor_file_metadata(f, key) != NULL);
    }
    cn_tensor_file_close(f);
    return 0;
}
