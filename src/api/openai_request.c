/* POST /v1/images/generations and /v1/images/edits as OpenAI's clients send them, as tables of
 * members: theirs, and those of ours that have no other place. */
#include "base/base.h"
#include "api/reader_priv.h"
#include "base/escape.h"
#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_N = 10, MAX_PARTIAL = 3, FORM_MAX = 1 << 17 };

struct request {
    bool stream, has_denoise, has_steps;
    int partial_images, compression;
    char *response_format, *size, *background;
};

/* ---- members that are more than a value ---- */

/* Two names of one number: a request may have both when they say the same. */
static int agree(struct cn_reader *r, const char *where, bool is_second, double first, double v)
{
    if (!is_second || v == first)
        return CN_OK;
    return cn_fail_at(r->err, CN_EINVAL, where, "is %g here and %g under its other name", v, first);
}

static int read_seed(struct cn_reader *r, const json_t *v, const char *where, void *target,
                     const struct cn_enum *e)
{
    double d = -1;

    (void)target;
    if (cn_read_real(r, v, where, &d, e) < 0)
        return r->err->code;
    if (d == -1)
        return CN_OK; /* drawn */
    if (d < 0 || d != floor(d) || d > 9007199254740992.0 ||
        (json_is_integer(v) && json_integer_value(v) > INT64_C(9007199254740992)))
        return cn_fail_at(r->err, CN_EINVAL, where, "must be an integer between 0 and 2^53");
    r->spec->seed = (uint64_t)d;
    r->spec->has_seed = true;
    return CN_OK;
}

static int read_guidance(struct cn_reader *r, const json_t *v, const char *where, void *target,
                         const struct cn_enum *e)
{
    const double first = r->spec->guidance_scale;
    const bool is_second = r->spec->has_guidance;

    (void)target;
    r->spec->has_guidance = true;
    if (cn_read_real(r, v, where, &r->spec->guidance_scale, e) < 0)
        return r->err->code;
    return agree(r, where, is_second, first, r->spec->guidance_scale);
}

static int read_denoise(struct cn_reader *r, const json_t *v, const char *where, void *target,
                        const struct cn_enum *e)
{
    struct request *a = target;
    const double first = r->spec->denoise;
    const bool is_second = a->has_denoise;

    a->has_denoise = true;
    if (cn_read_real(r, v, where, &r->spec->denoise, e) < 0)
        return r->err->code;
    return agree(r, where, is_second, first, r->spec->denoise);
}

static int read_steps(struct cn_reader *r, const json_t *v, const char *where, void *target,
                      const struct cn_enum *e)
{
    struct request *a = target;
    const int first = r->spec->steps;
    const bool is_second = a->has_steps;

    a->has_steps = true;
    if (cn_read_int(r, v, where, &r->spec->steps, e) < 0)
        return r->err->code;
    return agree(r, where, is_second, first, r->spec->steps);
}

/* One, or a list whose first one counts. */
static int read_first_image(struct cn_reader *r, const json_t *v, const char *where, void *target,
                            const struct cn_enum *e)
{
    const json_t *first = json_is_array(v) ? json_array_get(v, 0) : v;

    (void)target;
    if (json_is_array(v) && json_array_size(v) > 1)
        cn_reader_warn(r, where, "only the first of %zu images is used", json_array_size(v));
    if (first == NULL)
        return cn_fail_at(r->err, CN_EINVAL, where, "the list is empty");
    return cn_read_image(r, first, where, &r->spec->init_image, e);
}

static int read_mask(struct cn_reader *r, const json_t *v, const char *where, void *target,
                     const struct cn_enum *e)
{
    (void)target;
    return cn_read_image(r, v, where, &r->spec->mask, e);
}

/* Their own models' names are what programs send that know no other: the server's model. */
static int read_model(struct cn_reader *r, const json_t *v, const char *where, void *target,
                      const struct cn_enum *e)
{
    static const char *const theirs[] = {"dall-e-", "gpt-image-", "chatgpt-image"};

    (void)target;
    if (cn_read_text(r, v, where, &r->spec->model, e) < 0)
        return r->err->code;
    for (size_t i = 0; i < CN_LEN(theirs); i++)
        if (strncmp(r->spec->model, theirs[i], strlen(theirs[i])) == 0)
            r->spec->model[0] = '\0';
    return CN_OK;
}

/* The description's own members, whose readers need no more than their place. */
#define OF_SPEC(name, call)                                                                        \
    static int read_##name(struct cn_reader *r, const json_t *v, const char *where, void *target,  \
                           const struct cn_enum *e)                                                \
    {                                                                                              \
        (void)target;                                                                              \
        return call;                                                                               \
    }

OF_SPEC(prompt, cn_read_text(r, v, where, &r->spec->prompt, e))
OF_SPEC(negative, (r->spec->zero_negative = false,
                   cn_read_text(r, v, where, &r->spec->negative_prompt, e)))
OF_SPEC(n, cn_read_int(r, v, where, &r->spec->n, e))
OF_SPEC(format, cn_read_enum(r, v, where, &r->spec->format, e))
OF_SPEC(sampler, cn_read_enum(r, v, where, &r->spec->sampler, e))
OF_SPEC(schedule, cn_read_enum(r, v, where, &r->spec->schedule, e))
OF_SPEC(syntax, cn_read_enum(r, v, where, &r->spec->prompt_syntax, e))

#define IN(field) offsetof(struct request, field)
#define COMMON                                                                                     \
    {"prompt", read_prompt, 0, NULL}, {"model", read_model, 0, NULL}, {"n", read_n, 0, NULL},      \
        {"size", cn_read_text, IN(size), NULL},                                                    \
        {"response_format", cn_read_text, IN(response_format), NULL},                              \
        {"output_format", read_format, 0, &cn_enum_format},                                        \
        {"output_compression", cn_read_int, IN(compression), NULL},                                \
        {"background", cn_read_text, IN(background), NULL},                                        \
        {"stream", cn_read_bool, IN(stream), NULL},                                                \
        {"partial_images", cn_read_int, IN(partial_images), NULL},                                 \
        {"quality", cn_read_nothing, 0, NULL}, {"style", cn_read_nothing, 0, NULL},                \
        {"user", cn_read_nothing, 0, NULL}, {"moderation", cn_read_nothing, 0, NULL},              \
        {"seed", read_seed, 0, NULL}, {"steps", read_steps, 0, NULL},                              \
        {"num_inference_steps", read_steps, 0, NULL}, {"negative_prompt", read_negative, 0, NULL}, \
        {"guidance_scale", read_guidance, 0, NULL}, {"cfg_scale", read_guidance, 0, NULL},         \
        {"sampler", read_sampler, 0, &cn_enum_sampler},                                            \
        {"schedule", read_schedule, 0, &cn_enum_schedule},                                         \
        {"prompt_syntax", read_syntax, 0, &cn_enum_prompt_syntax},                                 \
    {                                                                                              \
        "controls", cn_read_controls, 0, NULL                                                      \
    }

static const struct cn_member generation_members[] = {COMMON};
static const struct cn_member edit_members[] = {
    COMMON,
    {"image", read_first_image, 0, NULL},
    {"mask", read_mask, 0, NULL},
    {"input_fidelity", cn_read_nothing, 0, NULL},
    {"strength", read_denoise, 0, NULL},
    {"denoise", read_denoise, 0, NULL},
};

/* ---- from the members to the description ---- */

static int set_size(struct cn_reader *r, const char *size)
{
    int w, h, end = 0;

    if (size[0] == '\0' || strcmp(size, "auto") == 0)
        return CN_OK;
    if (sscanf(size, "%5dx%5d%n", &w, &h, &end) != 2 || size[end] != '\0' || w < 1 || h < 1)
        return cn_fail_at(r->err, CN_EINVAL, "/size", "expected \"auto\" or \"WIDTHxHEIGHT\"");
    r->spec->width = w;
    r->spec->height = h;
    return CN_OK;
}

static int set_response(struct cn_reader *r, const struct request *a)
{
    struct cn_api_beside *b = r->in->beside;
    const char *f = a->response_format;

    if (f[0] != '\0' && strcmp(f, "url") != 0 && strcmp(f, "b64_json") != 0)
        return cn_fail_at(r->err, CN_EINVAL, "/response_format",
                          "expected \"url\" or \"b64_json\"");
    b->as_base64 = strcmp(f, "url") != 0;
    b->as_url = strcmp(f, "b64_json") != 0;
    b->partial_images = a->stream ? a->partial_images : -1;
    if (a->partial_images < 0 || a->partial_images > MAX_PARTIAL)
        return cn_fail_at(r->err, CN_EINVAL, "/partial_images",
                          "must be an integer between 0 and %d", MAX_PARTIAL);
    if (a->stream && a->partial_images > 0)
        r->spec->preview_every =
            CN_MAX((r->spec->steps + a->partial_images) / (a->partial_images + 1), 1);
    return CN_OK;
}

static int finish(struct cn_reader *r, const struct request *a)
{
    struct cn_spec *s = r->spec;

    if (s->prompt[0] == '\0')
        return cn_fail_at(r->err, CN_EINVAL, "/prompt", "it is missing, or empty");
    if (s->n < 1 || s->n > MAX_N)
        return cn_fail_at(r->err, CN_EINVAL, "/n", "must be an integer between 1 and %d", MAX_N);
    if (a->compression < 0 || a->compression > 100)
        return cn_fail_at(r->err, CN_EINVAL, "/output_compression",
                          "must be an integer between 0 and 100");
    if (strcmp(a->background, "transparent") == 0)
        return cn_fail_at(r->err, CN_EINVAL, "/background",
                          "transparent pictures are not drawn here: \"auto\" or \"opaque\"");
    if (a->background[0] != '\0' && strcmp(a->background, "auto") != 0 &&
        strcmp(a->background, "opaque") != 0)
        return cn_fail_at(r->err, CN_EINVAL, "/background", "expected \"auto\" or \"opaque\"");
    if (s->format != CN_PNG)
        s->quality = CN_MAX(a->compression, 1);
    if (set_size(r, a->size) < 0 || set_response(r, a) < 0)
        return r->err->code;
    if (s->mask.len > 0)
        s->mask_alpha = CN_MASK_TRANSPARENT;
    if (s->mask.len > 0 && !a->has_denoise)
        s->denoise = 1;
    return cn_spec_check(s, r->in->limits, r->err);
}

static int read_root(struct cn_reader *r, const json_t *root, const struct cn_member *m, size_t n,
                     bool is_edit)
{
    struct request a = {.compression = 100};
    int rc;

    r->takes_unknown = true;
    a.response_format = cn_xstrdup("");
    a.size = cn_xstrdup("");
    a.background = cn_xstrdup("");
    rc = cn_read_members(r, root, m, n, "", &a);
    if (rc == CN_OK && is_edit && r->spec->init_image.len == 0)
        rc = cn_fail_at(r->err, CN_EINVAL, "/image", "it is missing");
    if (rc == CN_OK)
        rc = finish(r, &a);
    free(a.response_format);
    free(a.size);
    free(a.background);
    return rc;
}

static int read_generation(struct cn_reader *r, const json_t *root)
{
    return read_root(r, root, generation_members, CN_LEN(generation_members), false);
}

static int read_edit(struct cn_reader *r, const json_t *root)
{
    return read_root(r, root, edit_members, CN_LEN(edit_members), true);
}

/* What comes as a form has every value as text. */
static int read_edit_form(struct cn_reader *r, const json_t *root)
{
    r->is_loose = true;
    return read_edit(r, root);
}

static int read_generation_form(struct cn_reader *r, const json_t *root)
{
    r->is_loose = true;
    return read_generation(r, root);
}

/* ---- forms ---- */

/* "image", "image[]", "image[0]": not the others. */
static bool is_list_of(const char *name, const char *field)
{
    size_t n = strlen(field);

    return strncmp(name, field, n) == 0 && (name[n] == '\0' || name[n] == '[');
}

/* Parts become members: text as it is, images as references to parts, which get numbers as names:
 * several may have the same one. */
static int write_form(struct cn_api_input *in, struct cn_buf *out, struct cn_err *err)
{
    static const char *const number[] = {"0", "1", "2",  "3",  "4",  "5",  "6",  "7",
                                         "8", "9", "10", "11", "12", "13", "14", "15"};
    struct cn_buf images;
    int n = 0, rc = cn_buf_adds(out, "{", err);

    cn_buf_init(&images, 1024);
    for (int i = 0; rc == CN_OK && i < in->n_parts && i < (int)CN_LEN(number); i++) {
        struct cn_api_part *part = &in->part[i];
        const char *name = part->name;

        part->name = number[i];
        part->used = true;
        if (is_list_of(name, "image")) {
            rc = cn_buf_printf(&images, err, "%s\"part:%d\"", images.len > 0 ? "," : "", i);
            continue;
        }
        cn_buf_adds(out, n++ > 0 ? "," : "", NULL);
        cn_escape_json(out, name, strlen(name), NULL);
        if (strcmp(name, "mask") == 0)
            rc = cn_buf_printf(out, err, ":\"part:%d\"", i);
        else if ((rc = cn_buf_adds(out, ":", err)) == CN_OK)
            rc = cn_escape_json(out, (const char *)part->data, part->len, err);
    }
    if (rc == CN_OK && images.len > 0)
        rc = cn_buf_printf(out, err, "%s\"image\":[%.*s]", n > 0 ? "," : "", (int)images.len,
                           (const char *)images.data);
    cn_buf_release(&images);
    return rc == CN_OK ? cn_buf_adds(out, "}", err) : rc;
}

static int run_form(struct cn_api_input *in, int (*read)(struct cn_reader *r, const json_t *root),
                    struct cn_spec *ret, struct cn_err *err)
{
    struct cn_buf text;
    int rc;

    cn_buf_init(&text, FORM_MAX);
    rc = write_form(in, &text, err);
    if (rc == CN_OK) {
        in->json = (const char *)text.data;
        in->json_len = text.len;
        rc = cn_reader_run(in, read, ret, err);
        in->json = NULL;
    }
    cn_buf_release(&text);
    return rc;
}

int cn_api_read_generation(struct cn_api_input *in, struct cn_spec *ret, struct cn_err *err)
{
    return in->json == NULL ? run_form(in, read_generation_form, ret, err)
                            : cn_reader_run(in, read_generation, ret, err);
}

int cn_api_read_edit(struct cn_api_input *in, struct cn_spec *ret, struct cn_err *err)
{
    return in->json == NULL ? run_form(in, read_edit_form, ret, err)
                            : cn_reader_run(in, read_edit, ret, err);
}
