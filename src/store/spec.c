/* A job's description as rows: small for tables and lists, whole for the worker. Any thread. */
#include "base/base.h"
#include "store/store_priv.h"
#include "wire/spec.h"

#include <string.h>

enum { LENS_BYTES = 8 * CN_SPEC_FILES_MAX };

#define PAYLOAD_MAX ((size_t)256 << 20)
#define LIGHT_MAX   ((size_t)4 << 20)

int cn_store_pack(const struct cn_spec *s, struct cn_buf *light, struct cn_buf *lens,
                  size_t *ret_payload, struct cn_err *err)
{
    struct cn_pack lp = {.buf = light, .err = err}, np = {.buf = lens, .err = err};
    struct cn_spec copy = *s; /* borrows all strings */
    struct cn_blob *file;
    size_t bytes = 0;

    cn_buf_init(light, LIGHT_MAX);
    cn_buf_init(lens, LENS_BYTES);
    for (int k = 0; (file = cn_spec_file(&copy, k)) != NULL; k++) {
        cn_put_u64(&np, file->len);
        bytes += file->len;
        *file = (struct cn_blob){NULL, 0};
    }
    cn_wire_put_spec(&lp, &copy);
    if (lp.rc < 0 || np.rc < 0)
        return CN_MIN(lp.rc, np.rc);
    if (bytes > PAYLOAD_MAX - light->len)
        return cn_fail(err, CN_ETOOBIG, "images of %zu bytes cannot be kept: at most %zu are",
                       bytes, PAYLOAD_MAX);
    *ret_payload = bytes > 0 ? light->len + bytes : 0;
    return CN_OK;
}

int cn_store_pack_payload(const struct cn_spec *s, size_t size, struct cn_buf *payload,
                          struct cn_err *err)
{
    struct cn_pack p = {.buf = payload, .err = err};
    unsigned char *room;

    cn_buf_init(payload, size);
    if (cn_buf_reserve(payload, size, &room, err) < 0)
        return CN_ENOMEM;
    cn_buf_clear(payload);
    cn_wire_put_spec(&p, s);
    CN_ASSERT(p.rc < 0 || payload->len == size);
    return p.rc;
}

bool cn_store_unpack(const void *light, size_t n, const void *lens, size_t n_lens,
                     struct cn_spec *ret)
{
    struct cn_unpack u = {.p = light, .left = n}, lu = {.p = lens, .left = n_lens};
    struct cn_blob *file;
    bool sound = true;

    if (cn_wire_get_spec(&u, ret) < 0)
        return false;
    for (int k = 0; (file = cn_spec_file(ret, k)) != NULL; k++)
        if (file->data == NULL && lu.left > 0) { /* rows of earlier versions have fewer lengths */
            file->len = (size_t)cn_get_u64(&lu);
            sound = sound && file->len <= PAYLOAD_MAX;
        }
    if (!sound || cn_unpack_end(&u, "job", NULL) < 0 || (n_lens > 0 && lu.rc < 0)) {
        cn_spec_release(ret);
        return false;
    }
    return true;
}
