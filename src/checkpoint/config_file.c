/* Configuration files of models: JSON objects whose keys are read with a type and a range each, so
 * that every reader above gets a good value or an error that names file and key. */
#include "base/base.h"
#include "base/buf.h"
#include "base/json.h"
#include "checkpoint/checkpoint_priv.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Python writes infinity as no JSON does ("lambda_min_clipped": -Infinity, in every file of
 * diffusers' DPMSolverMultistepScheduler): outside strings it becomes 1e308, in place. */
static void write_infinity_out(unsigned char *text, size_t len)
{
    static const char word[] = "Infinity", number[] = "1.0e+308";
    const size_t n = sizeof(word) - 1;
    bool quoted = false;

    for (size_t i = 0; i < len; i++) {
        if (text[i] == '"')
            quoted = !quoted;
        else if (quoted && text[i] == '\\')
            i++;
        else if (!quoted && len - i >= n && memcmp(text + i, word, n) == 0)
            memcpy(text + i, number, n);
    }
}

int cn_conf_open(struct cn_conf *f, const char *path, struct cn_err *err)
{
    struct cn_buf b;
    json_error_t je;
    int rc;

    *f = (struct cn_conf){.err = err};
    cn_buf_init(&b, CN_MAX_CONF);
    rc = cn_file_read(path, &b, err);
    if (rc == CN_OK) {
        write_infinity_out(b.data, b.len);
        f->root = cn_json_load((const char *)b.data, b.len, JSON_REJECT_DUPLICATES, &je);
        if (f->root == NULL)
            rc = cn_json_fail(&je, path, err);
        else if (!json_is_object(f->root))
            rc = cn_fail(err, CN_EFORMAT, "\"%s\": not a JSON object", path);
    }
    cn_buf_release(&b);
    if (rc < 0) {
        json_decref(f->root);
        f->root = NULL;
        return rc;
    }
    f->path = cn_xstrdup(path);
    return CN_OK;
}

void cn_conf_close(struct cn_conf *f)
{
    json_decref(f->root);
    free(f->path);
    *f = (struct cn_conf){0};
}

void cn_conf_bad(struct cn_conf *f, const char *key, const char *fmt, ...)
{
    char text[200];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (f->rc == CN_OK)
        f->rc = cn_fail(f->err, CN_EINVAL, "\"%s\": \"%.60s\": %s", f->path, key, text);
}

/* The value of key; NULL when absent or null. */
static json_t *get_key(const struct cn_conf *f, const char *key)
{
    json_t *v = json_object_get(f->root, key);

    return json_is_null(v) ? NULL : v;
}

/* The value as text, cut to fit a message. */
static void show(const json_t *v, char *text, size_t size)
{
    char *s = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);

    snprintf(text, size, "%.60s", s ? s : "?");
    free(s);
}

bool cn_conf_has(const struct cn_conf *f, const char *key)
{
    return get_key(f, key) != NULL;
}

bool cn_conf_part(struct cn_conf *f, const char *key, struct cn_conf *ret)
{
    json_t *v = get_key(f, key);

    if (v != NULL && !json_is_object(v))
        cn_conf_bad(f, key, "not an object");
    *ret = (struct cn_conf){.root = v, .path = f->path, .err = f->err};
    return json_is_object(v);
}

static bool whole(const json_t *v, long min, long max, int *ret)
{
    json_int_t i;

    if (json_is_real(v) && json_real_value(v) == floor(json_real_value(v)) &&
        fabs(json_real_value(v)) < 1e15)
        i = (json_int_t)json_real_value(v);
    else if (json_is_integer(v))
        i = json_integer_value(v);
    else
        return false;
    if (i < min || i > max)
        return false;
    *ret = (int)i;
    return true;
}

long cn_conf_int(struct cn_conf *f, const char *key, long otherwise, long min, long max)
{
    json_t *v = get_key(f, key);
    char text[80];
    int i;

    if (v == NULL)
        return otherwise;
    if (whole(v, min, max, &i))
        return i;
    show(v, text, sizeof(text));
    cn_conf_bad(f, key, "%s is not a whole number from %ld to %ld", text, min, max);
    return otherwise;
}

double cn_conf_real(struct cn_conf *f, const char *key, double otherwise, double min, double max)
{
    json_t *v = get_key(f, key);
    char text[80];

    if (v == NULL)
        return otherwise;
    if (json_is_number(v) && json_number_value(v) >= min && json_number_value(v) <= max)
        return json_number_value(v);
    show(v, text, sizeof(text));
    cn_conf_bad(f, key, "%s is not a number from %g to %g", text, min, max);
    return otherwise;
}

bool cn_conf_bool(struct cn_conf *f, const char *key, bool otherwise)
{
    json_t *v = json_object_get(f->root, key);

    if (v == NULL)
        return otherwise;
    if (!json_is_boolean(v) && !json_is_null(v))
        cn_conf_bad(f, key, "neither true nor false");
    return json_is_true(v);
}

const char *cn_conf_string(struct cn_conf *f, const char *key, const char *otherwise)
{
    json_t *v = get_key(f, key);

    if (v == NULL)
        return otherwise;
    if (!json_is_string(v)) {
        cn_conf_bad(f, key, "not a string");
        return otherwise;
    }
    return json_string_value(v);
}

int cn_conf_ints(struct cn_conf *f, const char *key, int *ret, int max, long least,
                 long limit)
{
    json_t *v = get_key(f, key);
    char text[80];

    if (v == NULL)
        return -1;
    show(v, text, sizeof(text));
    if (!json_is_array(v) || json_array_size(v) < 1 || json_array_size(v) > (size_t)max) {
        cn_conf_bad(f, key, "%s is not a list of 1 to %d numbers", text, max);
        return -1;
    }
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!whole(json_array_get(v, i), least, limit, &ret[i]))
            cn_conf_bad(f, key, "%s: not whole numbers from %ld to %ld", text, least, limit);
    return (int)json_array_size(v);
}

bool cn_conf_is_list(const struct cn_conf *f, const char *key)
{
    return json_is_array(json_object_get(f->root, key));
}

bool cn_conf_each(struct cn_conf *f, const char *key, int *ret, int n, long least, long limit)
{
    json_t *v = get_key(f, key);
    int one;

    if (v == NULL)
        return false;
    if (json_is_array(v) && json_array_size(v) != (size_t)n) {
        cn_conf_bad(f, key, "a list of %zu numbers for %d blocks", json_array_size(v), n);
    } else if (json_is_array(v)) {
        cn_conf_ints(f, key, ret, n, least, limit);
    } else {
        one = (int)cn_conf_int(f, key, least, least, limit);
        for (int i = 0; i < n; i++)
            ret[i] = one;
    }
    return true;
}

void cn_conf_kinds(struct cn_conf *f, const char *key, bool *ret, int n, const char *yes,
                   const char *no)
{
    json_t *v = get_key(f, key);

    if (v == NULL)
        return;
    if (!json_is_array(v) || json_array_size(v) != (size_t)n) {
        cn_conf_bad(f, key, "not a list of %d block types", n);
        return;
    }
    for (int i = 0; i < n; i++) {
        const char *s = json_string_value(json_array_get(v, (size_t)i));

        if (s == NULL || (strcmp(s, yes) != 0 && strcmp(s, no) != 0))
            cn_conf_bad(f, key, "the block type \"%.60s\" is not supported", s ? s : "?");
        else
            ret[i] = strcmp(s, yes) == 0;
    }
}

static bool is_nothing(const json_t *v)
{
    return json_is_null(v) || json_is_false(v) ||
           (json_is_array(v) && json_array_size(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0) ||
           (json_is_string(v) && json_string_length(v) == 0);
}

static bool obeys(const struct cn_rule *r, const json_t *v)
{
    const char *s = json_string_value(v);

    switch (r->kind) {
    case CN_RULE_READ:
        return !json_is_null(v);
    case CN_RULE_OPTIONAL:
    case CN_RULE_FREE:
        return true;
    case CN_RULE_NONE:
        return is_nothing(v);
    case CN_RULE_NUMBER:
        return json_is_number(v) && json_number_value(v) == r->number;
    case CN_RULE_STRING:
        return s != NULL &&
               (strcmp(s, r->string) == 0 || (r->other != NULL && strcmp(s, r->other) == 0));
    }
    return false;
}

/* The value, or each member of a list of them. */
static bool all_obey(const struct cn_rule *r, const json_t *v)
{
    if (!json_is_array(v) || obeys(r, v))
        return obeys(r, v);
    for (size_t i = 0; i < json_array_size(v); i++)
        if (!obeys(r, json_array_get(v, i)))
            return false;
    return json_array_size(v) > 0;
}

void cn_conf_rules(struct cn_conf *f, const struct cn_rule *rules, size_t n)
{
    const char *key;
    json_t *v;
    char text[80];

    json_object_foreach(f->root, key, v)
    {
        size_t i = 0;

        while (i < n && strcmp(rules[i].key, key) != 0)
            i++;
        if (i < n ? all_obey(&rules[i], v) : key[0] == '_' || json_is_null(v) || json_is_false(v))
            continue;
        show(v, text, sizeof(text));
        if (i < n)
            cn_conf_bad(f, key, "the value %s is not supported", text);
        else
            cn_conf_bad(f, key, "an unknown setting (value %s)", text);
    }
}
