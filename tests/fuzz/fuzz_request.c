/* A JSON request: what is accepted must be in range, survive the wire, and be printable again; what
 * is refused must say why. */
#include "base/base.h"
#include "api/request.h"
#include "base/buf.h"
#include "wire/message.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct cn_limits limits = CN_LIMITS_DEFAULTS;
    struct cn_api_part part[1] = {
        {.name = "edge", .data = (const unsigned char *)"PNG", .len = 3, .used = true}};
    struct cn_api_beside beside = {.webhook = {NULL, NULL}};
    struct cn_api_input in = {.json = (const char *)data,
                              .json_len = len,
                              .part = part,
                              .n_parts = 1,
                              .limits = &limits,
                              .max_image = 1 << 20,
                              .max_total = 2 << 20,
                              .beside = &beside};
    struct cn_err err = CN_ERR_INIT;
    struct cn_spec s, again;
    struct cn_frame f = {.type = CN_FRAME_JOB};
    struct cn_buf b;
    uint64_t id;

    if (cn_api_read_jobs(&in, &s, &err) < 0) {
        CN_ASSERT(err.code < 0 && err.msg[0] != '\0');
        CN_ASSERT(err.where[0] == '\0' || err.where[0] == '/');
        CN_ASSERT(beside.webhook.url == NULL && beside.webhook.context == NULL);
        return 0;
    }
    CN_ASSERT(cn_spec_check(&s, &limits, NULL) == CN_OK);
    cn_buf_init(&b, 64 << 20);
    CN_ASSERT(cn_msg_put_job(&b, 1, &s, NULL) == CN_OK);
    f.data = b.data + CN_FRAME_HEAD;
    f.len = b.len - CN_FRAME_HEAD;
    CN_ASSERT(cn_msg_get_job(&f, &id, &again, NULL) == CN_OK);
    CN_ASSERT(cn_spec_check(&again, &limits, NULL) == CN_OK);
    cn_api_beside_release(&beside);
    cn_spec_release(&again);
    cn_spec_release(&s);
    cn_buf_release(&b);
    return 0;
}
