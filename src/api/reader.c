/* The readers of typed members, and what goes over an object by its table. */
#include "base/base.h"
#include "api/reader_priv.h"
#include "base/json.h"
#include "base/mem.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *cn_json_type_name(const json_t *v)
{
    static const char *const name[] = {"an object", "a list",    "a string",  "an integer",
                                       "a number",  "a boolean", "a boolean", "null"};

    return name[json_typeof(v)];
}

int cn_read_wrong_type(struct cn_reader *r, const json_t *v, const char *where,
                       const char *expected)
{
    return cn_fail_at(r->err, CN_EINVAL, where, "expected %s, got %s", expected,
                      cn_json_type_name(v));
}

void cn_reader_warn(struct cn_reader *r, const char *where, const char *fmt, ...)
{
    char text[CN_WARNING_TEXT];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    cn_warnings_add(&r->in->beside->warnings, CN_WARN_NO_EFFECT, where, "%s", text);
}

/* ---- one reader per type ---- */

/* The number of v, which a loose reader also takes as a string or a boolean. False: it is none. */
static bool number_of(const struct cn_reader *r, const json_t *v, double *ret)
{
    const char *s = json_string_value(v);
    char *end;

    if (json_is_number(v)) {
        *ret = json_number_value(v);
        return true;
    }
    if (!r->is_loose)
        return false;
    if (json_is_boolean(v)) {
        *ret = json_is_true(v);
        return true;
    }
    if (s == NULL || strspn(s, "0123456789+-.eE ") != strlen(s))
        return false;
    *ret = strtod(s, &end);
    return end != s && *end == '\0' && isfinite(*ret);
}

/* "" stands for a value that is not there. */
static bool is_left_out(const struct cn_reader *r, const json_t *v)
{
    return r->is_loose && json_is_string(v) && json_string_length(v) == 0;
}

int cn_read_text(struct cn_reader *r, const json_t *v, const char *where, void *target,
                 const struct cn_enum *e)
{
    char **text = target;
    const struct cn_slice *slot;

    (void)e;
    if (!json_is_string(v))
        return cn_read_wrong_type(r, v, where, "a string");
    slot = cn_skeleton_slot(r->sk, json_string_value(v));
    if (slot != NULL)
        return cn_fail_at(r->err, CN_ETOOBIG, where, "%zu bytes of text are too long", slot->len);
    free(*text);
    *text = cn_xstrdup(json_string_value(v));
    return CN_OK;
}

int cn_read_int(struct cn_reader *r, const json_t *v, const char *where, void *target,
                const struct cn_enum *e)
{
    double d;

    (void)e;
    if (is_left_out(r, v))
        return CN_OK;
    if (!number_of(r, v, &d))
        return cn_read_wrong_type(r, v, where, "an integer");
    if (d != floor(d))
        return cn_fail_at(r->err, CN_EINVAL, where, "expected an integer, got %g", d);
    if (d < -1e9 || d > 1e9)
        return cn_fail_at(r->err, CN_EINVAL, where, "%g is out of range", d);
    *(int *)target = (int)d;
    return CN_OK;
}

int cn_read_real(struct cn_reader *r, const json_t *v, const char *where, void *target,
                 const struct cn_enum *e)
{
    double d;

    (void)e;
    if (is_left_out(r, v))
        return CN_OK;
    if (!number_of(r, v, &d))
        return cn_read_wrong_type(r, v, where, "a number");
    *(double *)target = d;
    return CN_OK;
}

int cn_read_bool(struct cn_reader *r, const json_t *v, const char *where, void *target,
                 const struct cn_enum *e)
{
    static const char *const words[] = {"false", "true", "off", "on", "no", "yes"};
    double d;

    (void)e;
    if (is_left_out(r, v))
        return CN_OK;
    if (json_is_boolean(v)) {
        *(bool *)target = json_is_true(v);
        return CN_OK;
    }
    if (!r->is_loose)
        return cn_read_wrong_type(r, v, where, "a boolean");
    for (size_t i = 0; json_is_string(v) && i < CN_LEN(words); i++)
        if (strcasecmp(json_string_value(v), words[i]) == 0) {
            *(bool *)target = i % 2;
            return CN_OK;
        }
    if (!number_of(r, v, &d) || (d != 0 && d != 1))
        return cn_read_wrong_type(r, v, where, "a boolean");
    *(bool *)target = d != 0;
    return CN_OK;
}

int cn_read_nothing(struct cn_reader *r, const json_t *v, const char *where, void *target,
                    const struct cn_enum *e)
{
    (void)r;
    (void)v;
    (void)where;
    (void)target;
    (void)e;
    return CN_OK;
}

int cn_read_unused(struct cn_reader *r, const json_t *v, const char *where, void *target,
                   const struct cn_enum *e)
{
    static const char *const nothing[] = {"", "0", "-1", "1", "none", "false", "automatic"};
    double d;

    (void)target;
    (void)e;
    for (size_t i = 0; json_is_string(v) && i < CN_LEN(nothing); i++)
        if (strcasecmp(json_string_value(v), nothing[i]) == 0)
            return CN_OK;
    if (number_of(r, v, &d) && (d == 0 || d == 1 || d == -1) && !json_is_true(v))
        return CN_OK;
    if (json_is_false(v) || (json_is_array(v) && json_array_size(v) == 0) ||
        (json_is_object(v) && json_object_size(v) == 0))
        return CN_OK;
    cn_reader_warn(r, where, "nothing is done with it here");
    return CN_OK;
}

int cn_read_enum(struct cn_reader *r, const json_t *v, const char *where, void *target,
                 const struct cn_enum *e)
{
    char list[320];
    int i;

    cn_enum_list(e, list, sizeof(list));
    if (!json_is_string(v))
        return cn_fail_at(r->err, CN_EINVAL, where, "expected a string (%s), got %s", list,
                          cn_json_type_name(v));
    i = cn_enum_find(e, json_string_value(v));
    if (i < 0)
        return cn_fail_at(r->err, CN_EINVAL, where, "there is no %s \"%.60s\": expected %s",
                          e->kind, json_string_value(v), list);
    *(int *)target = i; /* an enum of ours is an int here: checked below */
    return CN_OK;
}

_Static_assert(sizeof(enum cn_sampler) == sizeof(int), "enums are stored as int");

/* ---- members of an object ---- */

static const struct cn_member *find_member(const struct cn_member *m, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(m[i].name, name) == 0)
            return &m[i];
    return NULL;
}

void cn_json_pointer(char *out, size_t size, const char *base, const char *name)
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

int cn_read_members(struct cn_reader *r, const json_t *object, const struct cn_member *m, size_t n,
                    const char *base, void *target)
{
    const char *name;
    json_t *v;
    char where[80];

    json_object_foreach((json_t *)object, name, v)
    {
        const struct cn_member *found = find_member(m, n, name);

        cn_json_pointer(where, sizeof(where), base, name);
        if (found == NULL && !r->is_loose && !r->takes_unknown)
            return cn_fail_at(r->err, CN_EINVAL, where, "there is no such field");
        if (found == NULL)
            cn_reader_warn(r, where, "there is no such field");
        if (found == NULL || json_is_null(v))
            continue;
        if (json_is_string(v) && strlen(json_string_value(v)) != json_string_length(v))
            return cn_fail_at(r->err, CN_EINVAL, where,
                              "the text contains a NUL character (\\u0000)");
        if (found->read(r, v, where, (char *)target + found->offset, found->e) < 0)
            return r->err->code;
    }
    return CN_OK;
}

/* ---- the text ---- */

/* An integer that does not fit into 64 bits is no fault of the text but of its field, whose reader
 * says so: it sees a real number there. */
static int load(const struct cn_skeleton *sk, json_t **ret, struct cn_err *err)
{
    const size_t flags = JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL;
    const char *text = (const char *)sk->text.data;
    json_error_t why;

    *ret = cn_json_load(text, sk->text.len, flags, &why);
    if (*ret == NULL && json_error_code(&why) == json_error_numeric_overflow)
        *ret = cn_json_load(text, sk->text.len, flags | JSON_DECODE_INT_AS_REAL, &why);
    if (*ret != NULL)
        return CN_OK;
    if (json_error_code(&why) == json_error_out_of_memory)
        return cn_fail(err, CN_ENOMEM, "no memory for the JSON text");
    return cn_fail(err, CN_EFORMAT, "the JSON text cannot be read: %s (line %d, column %d)",
                   why.text, why.line, why.column);
}

void cn_api_beside_release(struct cn_api_beside *b)
{
    free(b->webhook.url);
    free(b->webhook.context);
    cn_warnings_release(&b->warnings);
    free(b->echo);
    memset(b, 0, sizeof(*b));
}

int cn_reader_run(struct cn_api_input *in, int (*read)(struct cn_reader *r, const json_t *root),
                  struct cn_spec *ret, struct cn_err *err)
{
    struct cn_err own = CN_ERR_INIT; /* the readers return err->code, so there must be one */
    struct cn_skeleton sk;
    struct cn_reader r = {.in = in, .sk = &sk, .spec = ret, .err = &own};
    json_t *root;
    int rc;

    if ((rc = cn_skeleton_make(&sk, in->json, in->json_len, err)) < 0)
        return rc;
    if ((rc = load(&sk, &root, err)) < 0) {
        cn_skeleton_release(&sk);
        return rc;
    }
    cn_spec_init(ret);
    if (!json_is_object(root))
        rc = cn_fail(&own, CN_EFORMAT, "expected a JSON object, got %s", cn_json_type_name(root));
    else
        rc = read(&r, root);
    if (rc < 0) {
        cn_spec_release(ret);
        if (in->beside != NULL)
            cn_api_beside_release(in->beside);
        cn_fail_at(err, rc, own.where, "%s", own.msg);
    }
    json_decref(root);
    cn_skeleton_release(&sk);
    return rc;
}
