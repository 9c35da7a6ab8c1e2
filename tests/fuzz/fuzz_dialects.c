/* Requests of the web UI's and of OpenAI's clients. The first line of an input says what reads the
 * rest: a body of JSON, or with "form" the fields "name=value" of a form, a line each. What is
 * accepted must be in range and survive the wire; what is refused must say why. */
#include "base/base.h"
#include "api/a1111.h"
#include "api/openai.h"
#include "api/request.h"
#include "base/buf.h"
#include "base/mem.h"
#include "wire/message.h"

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { PARTS_MAX = 16 };

typedef int (*reader_fn)(struct cn_api_input *in, struct cn_spec *ret, struct cn_err *err);

static const struct cn_limits limits = CN_LIMITS_DEFAULTS;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

/* The message goes to the client in an object of the dialect. */
static void refused(const struct cn_err *err)
{
    struct cn_problem problem = {.type = "about:blank",
                                 .title = "Bad Request",
                                 .status = 400,
                                 .detail = err->msg,
                                 .pointer = err->where};

    CN_ASSERT(err->code < 0 && err->msg[0] != '\0');
    CN_ASSERT(err->where[0] == '\0' || err->where[0] == '/');
    for (int i = 0; i < 2; i++) {
        struct cn_buf out;
        json_t *root;

        cn_buf_init(&out, 1 << 20);
        (i == 0 ? cn_a1111_put_problem : cn_openai_put_problem)(&problem, &out);
        root = json_loadb((const char *)out.data, out.len, 0, NULL);
        CN_ASSERT(json_is_object(root));
        json_decref(root);
        cn_buf_release(&out);
    }
}

static void accepted(const struct cn_spec *s)
{
    struct cn_frame f = {.type = CN_FRAME_JOB};
    struct cn_spec again;
    struct cn_buf b;
    uint64_t id;

    CN_ASSERT(cn_spec_check(s, &limits, NULL) == CN_OK);
    cn_buf_init(&b, 64 << 20);
    CN_ASSERT(cn_msg_put_job(&b, 1, s, NULL) == CN_OK);
    f.data = b.data + CN_FRAME_HEAD;
    f.len = b.len - CN_FRAME_HEAD;
    CN_ASSERT(cn_msg_get_job(&f, &id, &again, NULL) == CN_OK);
    CN_ASSERT(cn_spec_check(&again, &limits, NULL) == CN_OK);
    cn_spec_release(&again);
    cn_buf_release(&b);
}

static void read_request(reader_fn read, struct cn_api_input *in)
{
    struct cn_api_beside beside = {.partial_images = -1};
    struct cn_err err = CN_ERR_INIT;
    struct cn_spec s;

    in->beside = &beside;
    if (read(in, &s, &err) < 0) {
        refused(&err);
        CN_ASSERT(beside.echo == NULL);
        return;
    }
    accepted(&s);
    cn_api_beside_release(&beside);
    cn_spec_release(&s);
}

static void read_form(reader_fn read, struct cn_api_input *in, const uint8_t *data, size_t len)
{
    struct cn_api_part part[PARTS_MAX];
    char *copy = cn_xcalloc(len + 1, 1), *line = copy, *next, *value;

    memcpy(copy, data, len);
    in->json = NULL;
    in->part = part;
    for (; line != NULL && in->n_parts < PARTS_MAX; line = next) {
        next = strchr(line, '\n');
        if (next != NULL)
            *next++ = '\0';
        value = strchr(line, '=');
        if (value == NULL)
            continue;
        *value++ = '\0';
        part[in->n_parts++] =
            (struct cn_api_part){line, (const unsigned char *)value, strlen(value), false};
    }
    read_request(read, in);
    free(copy);
}

static void read_settings(struct cn_api_input *in)
{
    struct cn_a1111_settings o = CN_A1111_SETTINGS_DEFAULTS;
    struct cn_api_beside beside = {.echo = NULL};
    struct cn_err err = CN_ERR_INIT;

    in->beside = &beside;
    if (cn_a1111_settings_read(in, &o, &err) < 0)
        refused(&err);
    cn_api_beside_release(&beside);
}

static void read_picture(struct cn_api_input *in)
{
    struct cn_api_beside beside = {.echo = NULL};
    struct cn_err err = CN_ERR_INIT;
    struct cn_buf out;

    in->beside = &beside;
    cn_buf_init(&out, 64 << 20);
    if (cn_a1111_png_info(in, &out, &err) < 0)
        refused(&err);
    cn_buf_release(&out);
    cn_api_beside_release(&beside);
}

static void read_task(const struct cn_api_input *in)
{
    struct cn_err err = CN_ERR_INIT;
    char task[64];
    bool preview;

    if (cn_a1111_read_task(in->json, in->json_len, task, sizeof(task), &preview, &err) < 0)
        refused(&err);
}

static bool is(const uint8_t *data, size_t len, const char *word)
{
    return len == strlen(word) && memcmp(data, word, len) == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct {
        const char *name;
        reader_fn read;
    } readers[] = {{"txt2img", cn_api_read_txt2img}, {"img2img", cn_api_read_img2img},
                   {"detect", cn_api_read_detect},   {"overrides", cn_api_read_overrides},
                   {"edit", cn_api_read_edit},       {"generation", cn_api_read_generation}};
    const uint8_t *end = len == 0 ? NULL : memchr(data, '\n', CN_MIN(len, (size_t)32));
    size_t head = end == NULL ? 0 : (size_t)(end - data);
    struct cn_api_input in = {.limits = &limits, .max_image = 1 << 20, .max_total = 2 << 20};

    if (end == NULL)
        return 0;
    in.json = (const char *)end + 1;
    in.json_len = len - head - 1;
    if (is(data, head, "options"))
        read_settings(&in);
    else if (is(data, head, "png-info"))
        read_picture(&in);
    else if (is(data, head, "progress"))
        read_task(&in);
    else if (is(data, head, "form edit"))
        read_form(cn_api_read_edit, &in, end + 1, in.json_len);
    else if (is(data, head, "form generation"))
        read_form(cn_api_read_generation, &in, end + 1, in.json_len);
    for (size_t i = 0; i < CN_LEN(readers); i++)
        if (is(data, head, readers[i].name))
            read_request(readers[i].read, &in);
    return 0;
}
