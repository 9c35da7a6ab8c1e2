/* POST /sdapi/v1/png-info of a PNG that has the input as its text: whatever that says, the answer
 * is JSON with the whole text in it. */
#include "base/base.h"
#include "api/a1111.h"
#include "api/request.h"
#include "base/base64.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "image/codec.h"

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* The body of a request. False: PNG does not have such a text. */
static bool write_body(const char *text, struct cn_buf *body)
{
    struct cn_png_text t = {"parameters", text};
    uint8_t black[3] = {0};
    struct cn_image img = {.px = black, .w = 1, .h = 1, .c = 3};
    struct cn_buf png;
    bool ok;

    cn_buf_init(&png, 4 << 20);
    ok = cn_png_encode(&img, &t, 1, CN_PNG_LEVEL, &png, NULL) == CN_OK;
    if (ok) {
        cn_buf_adds(body, "{\"image\":\"", NULL);
        cn_base64_encode(body, png.data, png.len, NULL);
        cn_buf_adds(body, "\"}", NULL);
    }
    cn_buf_release(&png);
    return ok;
}

static void check(const struct cn_buf *body, const char *text)
{
    static const struct cn_limits limits = CN_LIMITS_DEFAULTS;
    struct cn_api_beside beside = {.echo = NULL};
    struct cn_api_input in = {.json = (const char *)body->data,
                              .json_len = body->len,
                              .limits = &limits,
                              .max_image = 8 << 20,
                              .max_total = 8 << 20,
                              .beside = &beside};
    struct cn_buf out;
    json_t *root;
    const char *info;

    cn_buf_init(&out, 64 << 20);
    CN_ASSERT(cn_a1111_png_info(&in, &out, NULL) == CN_OK);
    root = json_loadb((const char *)out.data, out.len, 0, NULL);
    CN_ASSERT(json_is_object(json_object_get(root, "parameters")));
    info = json_string_value(json_object_get(root, "info"));
    CN_ASSERT(info != NULL && strcmp(info, text) == 0);
    json_decref(root);
    cn_buf_release(&out);
    cn_api_beside_release(&beside);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char *text = cn_xcalloc(len + 1, 1);
    struct cn_buf body;

    memcpy(text, data, len);
    cn_buf_init(&body, 16 << 20);
    if (cn_utf8_check(text, strlen(text)) == strlen(text) && write_body(text, &body))
        check(&body, text);
    cn_buf_release(&body);
    free(text);
    return 0;
}
