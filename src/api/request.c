/* Request reader: tables of members, one reader per type. */
#include "base/base.h"
#include "api/request.h"
#include "api/skeleton.h"
#include "base/base64.h"
#include "base/mem.h"
#include "base/text.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct reader {
    struct cn_api_input *in;
    const struct cn_skeleton *sk;
    struct cn_spec *spec;
    size_t total; /* bytes of the images so far */
    struct cn_err *err;
};

/* A member: what it is called, how it is read, where it goes. */
struct member {
    const char *name;
    int (*read)(struct reader *r, const json_t *v, const char *where, void *target,
                const struct cn_enum *e);
    size_t offset;
    const struct cn_enum *e;
};

static const char *type_name(const json_t *v)
{
    static const char *const name[] = {"an object", "a list",    "a string",  "an integer",
                                       "a number",  "a boolean", "a boolean", "null"};

    return name[json_typeof(v)];
}

static int wrong_type(struct reader *r, const json_t *v, const char *where, const char *expected)
{
    return cn_fail_at(r->err, CN_EINVAL, where, "expected %s, got %s", expected, type_name(v));
}

/* ---- one reader per type ---- */

static int read_text(struct reader *r, const json_t *v, const char *where, void *target,
                     const struct cn_enum *e)
{
    char **text = target;
    const struct cn_slice *slot;

    (void)e;
    if (!json_is_string(v))
        return wrong_type(r, v, where, "a string");
    slot = cn_skeleton_slot(r->sk, json_string_value(v));
    if (slot != NULL)
        return cn_fail_at(r->err, CN_ETOOBIG, where, "%zu bytes of text are too long", slot->len);
    free(*text);
    *text = cn_xstrdup(json_string_value(v));
    return CN_OK;
}

static int read_int(struct reader *r, const json_t *v, const char *where, void *target,
                    const struct cn_enum *e)
{
    double d;

    (void)e;
    if (!json_is_number(v))
        return wrong_type(r, v, where, "an integer");
    d = json_number_value(v);
    if (d != floor(d))
        return cn_fail_at(r->err, CN_EINVAL, where, "expected an integer, got %g", d);
    if (d < -1e9 || d > 1e9)
        return cn_fail_at(r->err, CN_EINVAL, where, "%g is out of range", d);
    *(int *)target = (int)d;
    return CN_OK;
}

static int read_real(struct reader *r, const json_t *v, const char *where, void *target,
                     const struct cn_enum *e)
{
    (void)e;
    if (!json_is_number(v))
        return wrong_type(r, v, where, "a number");
    *(double *)target = json_number_value(v);
    return CN_OK;
}

/* Its absence means the model's own value, which a number in the description cannot say. */
static int read_guidance(struct reader *r, const json_t *v, const char *where, void *target,
                         const struct cn_enum *e)
{
    (void)target;
    r->spec->has_guidance = true;
    return read_real(r, v, where, &r->spec->guidance_scale, e);
}

static int read_enum(struct reader *r, const json_t *v, const char *where, void *target,
                     const struct cn_enum *e)
{
    char list[320];
    int i;

    cn_enum_list(e, list, sizeof(list));
    if (!json_is_string(v))
        return cn_fail_at(r->err, CN_EINVAL, where, "expected a string (%s), got %s", list,
                          type_name(v));
    i = cn_enum_find(e, json_string_value(v));
    if (i < 0)
        return cn_fail_at(r->err, CN_EINVAL, where, "there is no %s \"%.60s\": expected %s",
                          e->kind, json_string_value(v), list);
    *(int *)target = i; /* an enum of ours is an int here: checked below */
    return CN_OK;
}

_Static_assert(sizeof(enum cn_sampler) == sizeof(int), "enums are stored as int");

static int read_seed(struct reader *r, const json_t *v, const char *where, void *target,
                     const struct cn_enum *e)
{
    (void)target;
    (void)e;
    if (!json_is_number(v) || json_number_value(v) != floor(json_number_value(v)))
        return wrong_type(r, v, where, "an integer");
    if (json_number_value(v) < 0)
        return cn_fail_at(r->err, CN_EINVAL, where,
                          "%.0f is negative: leave the seed out to have one drawn",
                          json_number_value(v));
    if (json_is_integer(v))
        r->spec->seed = (uint64_t)json_integer_value(v);
    else if (json_real_value(v) <= 9007199254740992.0) /* what a double tells exactly */
        r->spec->seed = (uint64_t)json_real_value(v);
    else
        return cn_fail_at(r->err, CN_EINVAL, where, "must be an integer between 0 and 2^63-1");
    r->spec->has_seed = true;
    return CN_OK;
}

/* ---- images ---- */

/* One small part may be named many times: what it becomes in memory has a limit as well. */
static int count_bytes(struct reader *r, size_t len, const char *where)
{
    if (len > r->in->max_total - r->total)
        return cn_fail_at(r->err, CN_ETOOBIG, where, "the images have more than %zu bytes in all",
                          r->in->max_total);
    r->total += len;
    return CN_OK;
}

static int copy_part(struct reader *r, const char *name, const char *where, struct cn_blob *blob)
{
    for (int i = 0; i < r->in->n_parts; i++) {
        struct cn_api_part *part = &r->in->part[i];

        if (strcmp(part->name, name) != 0)
            continue;
        part->used = true;
        if (part->len == 0)
            return cn_fail_at(r->err, CN_EINVAL, where, "part \"%.60s\" is empty", name);
        if (part->len > r->in->max_image)
            return cn_fail_at(r->err, CN_ETOOBIG, where, "%zu bytes: at most %zu are accepted",
                              part->len, r->in->max_image);
        if (count_bytes(r, part->len, where) < 0)
            return r->err->code;
        blob->data = cn_try_alloc(part->len);
        if (blob->data == NULL)
            return cn_fail_at(r->err, CN_ENOMEM, where, "no memory for an image");
        memcpy(blob->data, part->data, part->len);
        blob->len = part->len;
        return CN_OK;
    }
    return cn_fail_at(r->err, CN_EINVAL, where, "the request has no part \"%.60s\"", name);
}

/* A picture that was uploaded before; the job gets its own copy. */
static int fetch_input(struct reader *r, const char *id, const char *where, struct cn_blob *blob)
{
    struct cn_err why = CN_ERR_INIT;
    struct cn_buf b;
    int rc;

    if (r->in->fetch == NULL)
        return cn_fail_at(r->err, CN_EINVAL, where, "this server keeps no inputs");
    cn_buf_init(&b, r->in->max_image);
    rc = r->in->fetch(r->in->arg, id, &b, &why);
    if (rc < 0)
        cn_fail_at(r->err, rc == CN_ENOTFOUND ? CN_EINVAL : rc, where, "%s", why.msg);
    else if ((rc = count_bytes(r, b.len, where)) == CN_OK)
        blob->data = cn_buf_steal(&b, &blob->len);
    cn_buf_release(&b);
    return rc < 0 ? r->err->code : CN_OK;
}

/* Skips "data:image/png;base64,"; false when it is a data URL of another encoding. */
static bool skip_data_url(struct cn_slice *s)
{
    static const char mark[] = ";base64,";
    const char *p;

    if (s->len < 5 || memcmp(s->data, "data:", 5) != 0)
        return true;
    p = memmem(s->data, CN_MIN(s->len, (size_t)100), mark, strlen(mark));
    if (p == NULL)
        return false;
    p += strlen(mark);
    s->len -= (size_t)(p - s->data);
    s->data = p;
    return true;
}

/* "http://", "file://" and so on. In base64 there is no colon. */
static bool is_url(struct cn_slice s)
{
    return memmem(s.data, CN_MIN(s.len, (size_t)32), "://", 3) != NULL;
}

static int decode_image(struct reader *r, struct cn_slice text, const char *where,
                        struct cn_blob *blob)
{
    struct cn_err why = CN_ERR_INIT;
    int rc;

    if (!skip_data_url(&text))
        return cn_fail_at(r->err, CN_EINVAL, where, "the data URL is not in base64");
    if (is_url(text))
        return cn_fail_at(r->err, CN_EINVAL, where,
                          "pictures are not fetched from URLs: send base64, a data URL, part:NAME "
                          "or input:ID");
    rc = cn_base64_decode(text.data, text.len, r->in->max_image, &blob->data, &blob->len, &why);
    if (rc < 0)
        return cn_fail_at(r->err, rc, where, "%s", why.msg);
    if (blob->len == 0)
        return cn_fail_at(r->err, CN_EINVAL, where, "the image is empty");
    return count_bytes(r, blob->len, where);
}

/* One escape of a JSON string at p: its character, and the escape's length in *ret; -1: it is none,
 * or its character is not ASCII. */
static int unescape(const char *p, const char *end, size_t *ret)
{
    static const char from[] = "/\"\\bfnrt", to[] = "/\"\\\b\f\n\r\t";
    unsigned char byte[2];
    char hex[5] = "";
    const char *at;

    if (end - p < 2)
        return -1;
    *ret = 2;
    if (p[1] != 'u') {
        at = p[1] == '\0' ? NULL : strchr(from, p[1]);
        return at == NULL ? -1 : to[at - from];
    }
    *ret = 6;
    if (end - p < 6)
        return -1;
    memcpy(hex, p + 2, 4);
    return cn_hex_decode(hex, byte, 2) && byte[0] == 0 && byte[1] < 0x80 ? byte[1] : -1;
}

/* A long string is taken out of the JSON as it stands there. What its escapes mean must not depend
 * on its length, so one that has some is read here as the parser reads short ones. */
static int decode_long(struct reader *r, struct cn_slice raw, const char *where,
                       struct cn_blob *blob)
{
    const char *p = raw.data, *end = raw.data + raw.len;
    char *text;
    size_t n = 0, len = 1;
    int c = 0, rc;

    if (memchr(raw.data, '\\', raw.len) == NULL)
        return decode_image(r, raw, where, blob);
    text = cn_try_alloc(raw.len);
    if (text == NULL)
        return cn_fail_at(r->err, CN_ENOMEM, where, "no memory for an image");
    for (; p < end && c >= 0; p += len) {
        len = 1;
        c = *p == '\\' ? unescape(p, end, &len) : (unsigned char)*p;
        text[n++] = (char)c;
    }
    if (c < 0)
        rc = cn_fail_at(r->err, CN_EFORMAT, where,
                        "not base64: an escape at character %zu that is none of it",
                        (size_t)(p - len - raw.data));
    else
        rc = decode_image(r, (struct cn_slice){text, n}, where, blob);
    free(text);
    return rc;
}

static int read_image(struct reader *r, const json_t *v, const char *where, void *target,
                      const struct cn_enum *e)
{
    const char *s = json_string_value(v);
    const struct cn_slice *slot;

    (void)e;
    if (s == NULL)
        return wrong_type(r, v, where,
                          "an image: a string of base64, \"part:NAME\" or \"input:ID\"");
    if (strncmp(s, "part:", 5) == 0)
        return copy_part(r, s + 5, where, target);
    if (strncmp(s, "input:", 6) == 0)
        return fetch_input(r, s + 6, where, target);
    slot = cn_skeleton_slot(r->sk, s);
    if (slot != NULL)
        return decode_long(r, *slot, where, target);
    return decode_image(r, (struct cn_slice){s, strlen(s)}, where, target);
}

/* ---- controls ---- */

static int read_weights(struct reader *r, const json_t *v, const char *where, void *target,
                        const struct cn_enum *e)
{
    static const char expected[] = "\"uniform\", \"soft\", \"resolution\" or a list of numbers, "
                                   "one for each level (13 in SD 1.5)";
    struct cn_spec_control *c = target;
    const char *word = json_string_value(v);
    char at[96];

    (void)e;
    if (word != NULL) {
        int i = cn_enum_find(&cn_enum_weights, word);

        if (i < 0 || i == CN_W_CUSTOM)
            return cn_fail_at(r->err, CN_EINVAL, where,
                              "there are no weights \"%.60s\": expected %s", word, expected);
        c->weights = (enum cn_weighting)i;
        return CN_OK;
    }
    if (!json_is_array(v))
        return wrong_type(r, v, where, expected);
    if (json_array_size(v) == 0 || json_array_size(v) > CN_CONTROL_LEVELS)
        return cn_fail_at(r->err, CN_EINVAL, where, "%zu numbers: expected 1 to %d",
                          json_array_size(v), CN_CONTROL_LEVELS);
    c->weights = CN_W_CUSTOM;
    c->n_weights = (int)json_array_size(v);
    for (size_t i = 0; i < json_array_size(v); i++) {
        snprintf(at, sizeof(at), "%s/%zu", where, i);
        if (read_real(r, json_array_get(v, i), at, &c->weight[i], NULL) < 0)
            return r->err->code;
    }
    return CN_OK;
}

#define IN_CONTROL(field) offsetof(struct cn_spec_control, field)

static const struct member control_members[] = {
    {"model", read_text, IN_CONTROL(model), NULL},
    {"image", read_image, IN_CONTROL(image), NULL},
    {"annotator", read_text, IN_CONTROL(annotator), NULL},
    {"strength", read_real, IN_CONTROL(strength), NULL},
    {"start", read_real, IN_CONTROL(start), NULL},
    {"end", read_real, IN_CONTROL(end), NULL},
    {"branch", read_enum, IN_CONTROL(branch), &cn_enum_branch},
    {"weights", read_weights, 0, NULL},
    {"resize", read_enum, IN_CONTROL(resize), &cn_enum_resize},
};

static const struct member *find_member(const struct member *m, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(m[i].name, name) == 0)
            return &m[i];
    return NULL;
}

/* "/controls/0" + "/" + the name with RFC 6901 escapes, cut to the buffer. */
static void pointer(char *out, size_t size, const char *base, const char *name)
{
    size_t at = (size_t)snprintf(out, size, "%s/", base);

    for (; *name != '\0' && at + 3 < size; name++) {
        if (*name == '~' || *name == '/') {
            out[at++] = '~';
            out[at++] = *name == '~' ? '0' : '1';
        } else {
            out[at++] = *name;
        }
    }
    out[at] = '\0';
}

static int read_members(struct reader *r, const json_t *object, const struct member *m, size_t n,
                        const char *base, void *target)
{
    const char *name;
    json_t *v;
    char where[80];

    json_object_foreach((json_t *)object, name, v)
    {
        const struct member *found = find_member(m, n, name);

        pointer(where, sizeof(where), base, name);
        if (found == NULL)
            return cn_fail_at(r->err, CN_EINVAL, where, "there is no such field");
        if (json_is_null(v))
            continue;
        if (json_is_string(v) && strlen(json_string_value(v)) != json_string_length(v))
            return cn_fail_at(r->err, CN_EINVAL, where,
                              "the text contains a NUL character (\\u0000)");
        if (found->read(r, v, where, (char *)target + found->offset, found->e) < 0)
            return r->err->code;
    }
    return CN_OK;
}

static int read_controls(struct reader *r, const json_t *v, const char *where, void *target,
                         const struct cn_enum *e)
{
    char at[48];

    (void)target;
    (void)e;
    if (!json_is_array(v))
        return wrong_type(r, v, where, "a list");
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *item = json_array_get(v, i);
        struct cn_spec_control *c;

        snprintf(at, sizeof(at), "%s/%zu", where, i);
        if (!json_is_object(item))
            return wrong_type(r, item, at, "an object");
        c = cn_spec_add_control(r->spec);
        if (c == NULL)
            return cn_fail_at(r->err, CN_EINVAL, where, "%zu controls: at most %d are accepted",
                              json_array_size(v), r->in->limits->max_controls);
        if (read_members(r, item, control_members, CN_LEN(control_members), at, c) < 0)
            return r->err->code;
    }
    return CN_OK;
}

/* ---- the second pass ---- */

#define IN_HIRES(field) offsetof(struct cn_spec_hires, field)

static const struct member hires_members[] = {
    {"scale", read_real, IN_HIRES(scale), NULL},
    {"width", read_int, IN_HIRES(width), NULL},
    {"height", read_int, IN_HIRES(height), NULL},
    {"steps", read_int, IN_HIRES(steps), NULL},
    {"strength", read_real, IN_HIRES(strength), NULL},
    {"upscaler", read_enum, IN_HIRES(upscaler), &cn_enum_upscaler},
};

static int read_hires(struct reader *r, const json_t *v, const char *where, void *target,
                      const struct cn_enum *e)
{
    struct cn_spec_hires *h = target;

    (void)e;
    if (!json_is_object(v))
        return wrong_type(r, v, where, "an object");
    h->on = true;
    if (read_members(r, v, hires_members, CN_LEN(hires_members), where, h) < 0)
        return r->err->code;
    if ((h->width != 0 || h->height != 0) && json_is_number(json_object_get(v, "scale")))
        return cn_fail_at(r->err, CN_EINVAL, "/hires/scale",
                          "\"width\" and \"height\" come together, or \"scale\" alone");
    return CN_OK;
}

/* ---- the webhook ---- */

void cn_api_webhook_release(struct cn_api_webhook *w)
{
    free(w->url);
    free(w->context);
    *w = (struct cn_api_webhook){NULL, NULL};
}

static const struct member webhook_members[] = {
    {"url", read_text, offsetof(struct cn_api_webhook, url), NULL},
    {"context", read_text, offsetof(struct cn_api_webhook, context), NULL},
};

/* It is no part of what is drawn: it goes beside the description. */
static int read_webhook(struct reader *r, const json_t *v, const char *where, void *target,
                        const struct cn_enum *e)
{
    struct cn_api_webhook *w = r->in->webhook;

    (void)target;
    (void)e;
    if (w == NULL)
        return cn_fail_at(r->err, CN_EINVAL, where,
                          "only jobs of POST /v1/jobs have one: here the answer tells the end");
    if (!json_is_object(v))
        return wrong_type(r, v, where, "an object");
    if (read_members(r, v, webhook_members, CN_LEN(webhook_members), where, w) < 0)
        return r->err->code;
    if (w->url == NULL)
        return cn_fail_at(r->err, CN_EINVAL, "/webhook/url", "it is missing");
    if (w->context != NULL && strlen(w->context) > CN_API_CONTEXT_MAX)
        return cn_fail_at(r->err, CN_ETOOBIG, "/webhook/context",
                          "%zu bytes: at most %d are accepted", strlen(w->context),
                          CN_API_CONTEXT_MAX);
    return CN_OK;
}

/* ---- the request ---- */

#define IN_SPEC(field) offsetof(struct cn_spec, field)

static const struct member spec_members[] = {
    {"kind", read_enum, IN_SPEC(kind), &cn_enum_job_kind},
    {"model", read_text, IN_SPEC(model), NULL},
    {"prompt", read_text, IN_SPEC(prompt), NULL},
    {"negative_prompt", read_text, IN_SPEC(negative_prompt), NULL},
    {"prompt_syntax", read_enum, IN_SPEC(prompt_syntax), &cn_enum_prompt_syntax},
    {"width", read_int, IN_SPEC(width), NULL},
    {"height", read_int, IN_SPEC(height), NULL},
    {"steps", read_int, IN_SPEC(steps), NULL},
    {"guidance_scale", read_guidance, 0, NULL},
    {"guidance_rescale", read_real, IN_SPEC(guidance_rescale), NULL},
    {"sampler", read_enum, IN_SPEC(sampler), &cn_enum_sampler},
    {"schedule", read_enum, IN_SPEC(schedule), &cn_enum_schedule},
    {"spacing", read_enum, IN_SPEC(spacing), &cn_enum_spacing},
    {"rng", read_enum, IN_SPEC(rng), &cn_enum_rng},
    {"eta", read_real, IN_SPEC(eta), NULL},
    {"seed", read_seed, 0, NULL},
    {"n", read_int, IN_SPEC(n), NULL},
    {"clip_skip", read_int, IN_SPEC(clip_skip), NULL},
    {"init_image", read_image, IN_SPEC(init_image), NULL},
    {"mask", read_image, IN_SPEC(mask), NULL},
    {"denoise", read_real, IN_SPEC(denoise), NULL},
    {"hires", read_hires, IN_SPEC(hires), NULL},
    {"decoder", read_enum, IN_SPEC(decoder), &cn_enum_decoder},
    {"format", read_enum, IN_SPEC(format), &cn_enum_format},
    {"quality", read_int, IN_SPEC(quality), NULL},
    {"preview_every", read_int, IN_SPEC(preview_every), NULL},
    {"priority", read_int, IN_SPEC(priority), NULL},
    {"timeout_s", read_int, IN_SPEC(timeout_s), NULL},
    {"controls", read_controls, 0, NULL},
    {"webhook", read_webhook, 0, NULL},
};

static int read_root(struct reader *r, const json_t *root)
{
    if (!json_is_object(root))
        return cn_fail(r->err, CN_EFORMAT, "expected a JSON object, got %s", type_name(root));
    if (read_members(r, root, spec_members, CN_LEN(spec_members), "", r->spec) < 0)
        return r->err->code;
    for (int i = 0; i < r->in->n_parts; i++)
        if (!r->in->part[i].used)
            return cn_fail(r->err, CN_EINVAL, "part \"%.60s\" is not named by the parameters",
                           r->in->part[i].name);
    return cn_spec_check(r->spec, r->in->limits, r->err);
}

/* An integer that does not fit into 64 bits is no fault of the text but of its field, whose reader
 * says so: it sees a real number there. A token for which there is no memory is a bad one to the
 * library: only errno knows. */
static int load(const struct cn_skeleton *sk, json_t **ret, struct cn_err *err)
{
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL;
    const char *text = (const char *)sk->text.data;
    json_error_t why;

    errno = 0;
    *ret = json_loadb(text, sk->text.len, flags, &why);
    if (*ret == NULL && json_error_code(&why) == json_error_numeric_overflow)
        *ret = json_loadb(text, sk->text.len, flags | JSON_DECODE_INT_AS_REAL, &why);
    if (*ret != NULL)
        return CN_OK;
    if (errno == ENOMEM || why.text[0] == '\0' ||
        json_error_code(&why) == json_error_out_of_memory)
        return cn_fail(err, CN_ENOMEM, "no memory for the JSON text");
    return cn_fail(err, CN_EFORMAT, "the JSON text cannot be read: %s (line %d, column %d)",
                   why.text, why.line, why.column);
}

int cn_api_read_images(struct cn_api_input *in, struct cn_spec *ret, struct cn_err *err)
{
    struct cn_err own = CN_ERR_INIT; /* the readers return err->code, so there must be one */
    struct cn_skeleton sk;
    struct reader r = {.in = in, .sk = &sk, .spec = ret, .err = &own};
    json_t *root;
    int rc;

    if ((rc = cn_skeleton_make(&sk, in->json, in->json_len, err)) < 0)
        return rc;
    if ((rc = load(&sk, &root, err)) < 0) {
        cn_skeleton_release(&sk);
        return rc;
    }
    cn_spec_init(ret);
    rc = read_root(&r, root);
    if (rc < 0) {
        cn_spec_release(ret);
        if (in->webhook != NULL)
            cn_api_webhook_release(in->webhook);
        cn_fail_at(err, rc, own.where, "%s", own.msg);
    }
    json_decref(root);
    cn_skeleton_release(&sk);
    return rc;
}
