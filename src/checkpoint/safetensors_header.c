/* The JSON header of a safetensors file, by a scanner of our own.
 *
 * A general JSON reader would build a tree first: a header of 16 MiB becomes a gigabyte. This one
 * keeps 120 bytes per tensor and the names, and accepts exactly the two shapes that the format
 * has: name -> {dtype, shape, data_offsets} and __metadata__ -> {string: string}.
 */
#include "base/base.h"
#include "base/utf8.h"
#include "checkpoint/tensor_file_priv.h"

#include <stdlib.h>
#include <string.h>

struct scan {
    const unsigned char *begin, *p, *end;
    char *out; /* where the next string goes */
    const char *path;
    const char *name; /* of the tensor that is being read, or NULL */
    struct cn_err *err;
};

static int bad(struct scan *s, const char *what)
{
    size_t at = (size_t)(s->p - s->begin) + 8;

    if (s->name != NULL)
        return cn_fail(s->err, CN_EFORMAT, "\"%s\": header, tensor \"%.120s\": %s (byte %zu)",
                       s->path, s->name, what, at);
    return cn_fail(s->err, CN_EFORMAT, "\"%s\": header: %s (byte %zu)", s->path, what, at);
}

static void skip_space(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
        s->p++;
}

/* True, and past it, when the next token is c. */
static bool take(struct scan *s, char c)
{
    skip_space(s);
    if (s->p == s->end || *s->p != (unsigned char)c)
        return false;
    s->p++;
    return true;
}

static int hex4(struct scan *s, uint32_t *ret)
{
    uint32_t v = 0;

    if (s->end - s->p < 4)
        return bad(s, "a string does not end");
    for (int i = 0; i < 4; i++) {
        unsigned c = s->p[i] | 0x20u, d;

        if (s->p[i] >= '0' && s->p[i] <= '9')
            d = s->p[i] - '0';
        else if (c >= 'a' && c <= 'f')
            d = c - 'a' + 10;
        else
            return bad(s, "a \\u escape without four hexadecimal digits");
        v = v << 4 | d;
    }
    s->p += 4;
    *ret = v;
    return CN_OK;
}

/* After "\u": one UTF-16 unit, or two that form a pair. */
static int unicode_escape(struct scan *s)
{
    uint32_t cp, low;
    int rc = hex4(s, &cp);

    if (rc < 0)
        return rc;
    if (cp >= 0xd800 && cp <= 0xdbff) {
        if (s->end - s->p < 2 || s->p[0] != '\\' || s->p[1] != 'u')
            return bad(s, "half of a surrogate pair");
        s->p += 2;
        rc = hex4(s, &low);
        if (rc < 0)
            return rc;
        if (low < 0xdc00 || low > 0xdfff)
            return bad(s, "half of a surrogate pair");
        cp = 0x10000 + ((cp - 0xd800) << 10) + (low - 0xdc00);
    } else if (cp >= 0xdc00 && cp <= 0xdfff) {
        return bad(s, "half of a surrogate pair");
    }
    if (cp == 0)
        return bad(s, "a string with a NUL");
    s->out += cn_utf8_put(s->out, cp);
    return CN_OK;
}

/* After the backslash. */
static int escape(struct scan *s)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *f;

    if (s->p == s->end)
        return bad(s, "a string does not end");
    if (*s->p == 'u') {
        s->p++;
        return unicode_escape(s);
    }
    f = *s->p != 0 ? strchr(from, *s->p) : NULL;
    if (f == NULL)
        return bad(s, "an unknown escape in a string");
    *s->out++ = to[f - from];
    s->p++;
    return CN_OK;
}

/* A string, unescaped and NUL-terminated at s->out. It is never longer than its source: quotes
 * pay for the NUL, escapes shrink. */
static int scan_string(struct scan *s, const char **ret)
{
    char *start = s->out;

    if (!take(s, '"'))
        return bad(s, "a string was expected");
    while (s->p < s->end && *s->p != '"') {
        if (*s->p < 0x20)
            return bad(s, "a control character in a string");
        if (*s->p == '\\') {
            int rc;

            s->p++;
            rc = escape(s);
            if (rc < 0)
                return rc;
        } else {
            *s->out++ = (char)*s->p++;
        }
    }
    if (s->p == s->end)
        return bad(s, "a string does not end");
    s->p++;
    *s->out++ = '\0';
    *ret = start;
    return CN_OK;
}

/* A whole number from 0 to INT64_MAX, written as one. */
static int scan_size(struct scan *s, uint64_t *ret)
{
    const unsigned char *start;
    uint64_t v = 0;

    skip_space(s);
    start = s->p;
    for (; s->p < s->end && *s->p >= '0' && *s->p <= '9'; s->p++) {
        unsigned d = *s->p - (unsigned)'0';

        if (v > ((uint64_t)INT64_MAX - d) / 10)
            return bad(s, "a number is too large");
        v = v * 10 + d;
    }
    if (s->p == start)
        return bad(s, "a whole number from 0 was expected");
    if (*start == '0' && s->p - start > 1)
        return bad(s, "a number begins with 0");
    if (s->p < s->end && (*s->p == '.' || *s->p == 'e' || *s->p == 'E'))
        return bad(s, "a number is not a whole one");
    *ret = v;
    return CN_OK;
}

/* "[a, b, ...]" of at most max numbers. */
static int scan_sizes(struct scan *s, uint64_t *ret, int max, int *ret_n)
{
    int n = 0;

    if (!take(s, '['))
        return bad(s, "an array was expected");
    if (!take(s, ']')) {
        do {
            int rc;

            if (n == max)
                return bad(s, max == 2 ? "data_offsets has more than 2 numbers"
                                       : "more dimensions than 8");
            rc = scan_size(s, &ret[n]);
            if (rc < 0)
                return rc;
            n++;
        } while (take(s, ','));
        if (!take(s, ']'))
            return bad(s, "an array does not end");
    }
    *ret_n = n;
    return CN_OK;
}

static int scan_dtype(struct scan *s, struct cn_tensor_entry *e)
{
    char *mark = s->out;
    const char *name;
    int rc = scan_string(s, &name);

    if (rc < 0)
        return rc;
    e->type = cn_tensor_type_find(name);
    if (e->type == NULL)
        return cn_fail(s->err, CN_EFORMAT,
                       "\"%s\": header, tensor \"%.120s\": unknown dtype \"%.40s\"", s->path,
                       s->name, name);
    s->out = mark;
    return CN_OK;
}

static int scan_shape(struct scan *s, struct cn_tensor_entry *e)
{
    uint64_t dim[CN_MAX_RANK];
    int rc = scan_sizes(s, dim, CN_MAX_RANK, &e->rank);

    for (int i = 0; rc == CN_OK && i < e->rank; i++)
        e->dim[i] = (int64_t)dim[i];
    return rc;
}

static int scan_offsets(struct scan *s, struct cn_tensor_entry *e)
{
    uint64_t at[2];
    int n, rc = scan_sizes(s, at, 2, &n);

    if (rc < 0)
        return rc;
    if (n != 2)
        return bad(s, "data_offsets has fewer than 2 numbers");
    if (at[1] < at[0])
        return bad(s, "data_offsets ends before it begins");
    e->begin = at[0];
    e->end = at[1];
    return CN_OK;
}

/* One "key": value of a tensor; *seen gathers which keys there were. */
static int scan_field(struct scan *s, struct cn_tensor_entry *e, unsigned *seen)
{
    static const struct {
        const char *key;
        int (*fn)(struct scan *s, struct cn_tensor_entry *e);
    } fields[] = {{"dtype", scan_dtype}, {"shape", scan_shape}, {"data_offsets", scan_offsets}};
    char *mark = s->out;
    const char *key;
    int rc = scan_string(s, &key);

    if (rc < 0)
        return rc;
    if (!take(s, ':'))
        return bad(s, "a colon was expected");
    s->out = mark;
    for (unsigned i = 0; i < CN_LEN(fields); i++) {
        if (strcmp(key, fields[i].key) != 0)
            continue;
        if (*seen & 1u << i)
            return bad(s, "a key is there twice");
        *seen |= 1u << i;
        return fields[i].fn(s, e);
    }
    return bad(s, "a key that is none of dtype, shape and data_offsets");
}

static int check_name(struct scan *s, const char *name)
{
    for (const char *c = name; *c != '\0'; c++)
        if ((unsigned char)*c < 0x20)
            return bad(s, "a tensor's name has a control character");
    return CN_OK;
}

static int scan_tensor(struct scan *s, struct cn_tensor_table *h, const char *name)
{
    struct cn_tensor_entry e = {.name = name};
    unsigned seen = 0;
    int rc = check_name(s, name);

    if (rc < 0)
        return rc;
    s->name = name;
    if (!take(s, '{'))
        return bad(s, "an object was expected");
    do {
        rc = scan_field(s, &e, &seen);
        if (rc < 0)
            return rc;
    } while (take(s, ','));
    if (!take(s, '}'))
        return bad(s, "a comma or the end of the object was expected");
    if (seen != 7)
        return bad(s, "dtype, shape or data_offsets is missing");
    s->name = NULL;
    return cn_tensor_table_add(h, s->path, &e, s->err);
}

static int scan_metadata(struct scan *s, struct cn_tensor_table *h)
{
    if (!take(s, '{'))
        return bad(s, "__metadata__ is not an object");
    if (take(s, '}'))
        return CN_OK;
    do {
        struct cn_tensor_pair pair;
        int rc = scan_string(s, &pair.key);

        if (rc == CN_OK && !take(s, ':'))
            rc = bad(s, "a colon was expected");
        if (rc == CN_OK)
            rc = scan_string(s, &pair.value);
        if (rc < 0)
            return rc;
        cn_tensor_table_add_pair(h, pair.key, pair.value);
    } while (take(s, ','));
    if (!take(s, '}'))
        return bad(s, "a comma or the end of __metadata__ was expected");
    return CN_OK;
}

static int scan_header(struct scan *s, struct cn_tensor_table *h)
{
    bool metadata = false;

    if (s->p == s->end || *s->p != '{')
        return bad(s, "does not begin with {");
    s->p++;
    if (!take(s, '}')) {
        do {
            const char *name;
            int rc = scan_string(s, &name);

            if (rc == CN_OK && !take(s, ':'))
                rc = bad(s, "a colon was expected");
            if (rc < 0)
                return rc;
            if (strcmp(name, "__metadata__") != 0)
                rc = scan_tensor(s, h, name);
            else if (metadata)
                rc = bad(s, "__metadata__ is there twice");
            else
                rc = scan_metadata(s, h);
            metadata |= strcmp(name, "__metadata__") == 0;
            if (rc < 0)
                return rc;
        } while (take(s, ','));
        if (!take(s, '}'))
            return bad(s, "a comma or the end of the header was expected");
    }
    skip_space(s);
    return s->p == s->end ? CN_OK : bad(s, "bytes after the end of the object");
}

static int compare_pairs(const void *a, const void *b)
{
    const struct cn_tensor_pair *const *x = a, *const *y = b;

    return strcmp((*x)->key, (*y)->key);
}

static int check_pairs(const struct cn_tensor_table *h, const char *path, struct cn_err *err)
{
    const struct cn_tensor_pair **sorted = cn_xcalloc(h->pairs, sizeof(*sorted));
    int rc = CN_OK;

    for (size_t i = 0; i < h->pairs; i++)
        sorted[i] = &h->pair[i];
    qsort(sorted, h->pairs, sizeof(*sorted), compare_pairs);
    for (size_t i = 1; rc == CN_OK && i < h->pairs; i++)
        if (strcmp(sorted[i - 1]->key, sorted[i]->key) == 0)
            rc = cn_fail(err, CN_EFORMAT,
                         "\"%s\": header: the metadata key \"%.120s\" is there twice", path,
                         sorted[i]->key);
    free(sorted);
    return rc;
}

int cn_safetensors_header(struct cn_tensor_table *h, const char *path, const unsigned char *json,
                          size_t len, struct cn_err *err)
{
    struct scan s = {.begin = json, .p = json, .end = json + len, .path = path, .err = err};
    size_t bad_at = cn_utf8_check(json, len);
    int rc;

    if (bad_at < len) {
        s.p = json + bad_at;
        return bad(&s, "not UTF-8");
    }
    h->text = malloc(len + 1);
    if (h->text == NULL)
        return cn_fail(err, CN_ENOMEM, "\"%s\": no memory for a header of %zu bytes", path, len);
    s.out = h->text;
    rc = scan_header(&s, h);
    return rc < 0 ? rc : check_pairs(h, path, err);
}
