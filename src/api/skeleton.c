/* Scanner of JSON bodies. It finds strings and counts structure; whether the rest is JSON is for
 * jansson to say. */
#include "base/base.h"
#include "api/skeleton.h"
#include "base/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct scan {
    struct cn_skeleton *sk;
    const char *p, *end;
    int depth, structure;
    unsigned char plain[256];
    struct cn_err *err;
};

/* 1: may stand in base64 or in the head of a data URL. */
static void fill_class(unsigned char table[256])
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "+/=:;,.-_";

    memset(table, 0, 256);
    for (const char *c = plain; *c != '\0'; c++)
        table[(unsigned char)*c] = 1;
}

/* p is behind the opening quote. Returns the closing quote, or NULL when there is none. */
static const char *string_end(const unsigned char table[256], const char *p, const char *end,
                              bool *ret_plain)
{
    *ret_plain = true;
    for (; p < end; p++) {
        if (table[(unsigned char)*p])
            continue;
        if (*p == '"')
            return p;
        if (*p == '\\' && p + 1 < end) {
            *ret_plain = *ret_plain && p[1] == '/';
            p++;
        } else {
            *ret_plain = false;
        }
    }
    return NULL;
}

static int put(struct scan *s, const char *text, size_t len)
{
    int rc = cn_buf_add(&s->sk->text, text, len, NULL);

    if (rc == CN_OK)
        return CN_OK;
    if (rc == CN_ENOMEM)
        return cn_fail(s->err, rc, "no memory for the JSON text");
    return cn_fail(s->err, CN_ETOOBIG, "the JSON text without its images is over %d bytes",
                   CN_JSON_MAX_TEXT);
}

static int take_string(struct scan *s)
{
    const char *start = s->p + 1;
    bool plain;
    const char *close = string_end(s->plain, start, s->end, &plain);
    struct cn_skeleton *sk = s->sk;
    char name[64];

    if (close == NULL)
        return cn_fail(s->err, CN_EFORMAT, "the JSON text ends inside a string");
    s->p = close + 1;
    if (close - start <= (plain ? CN_JSON_LONG_BASE64 : CN_JSON_LONG_STRING))
        return put(s, start - 1, (size_t)(close - start) + 2);
    if (sk->n == CN_JSON_MAX_SLOTS)
        return cn_fail(s->err, CN_ETOOBIG, "more than %d long strings in the JSON text", sk->n);
    if (sk->n == 0) {
        cn_random_hex(sk->prefix, 32);
        memcpy(sk->prefix + 32, "-", 2);
    }
    sk->slot[sk->n] = (struct cn_slice){start, (size_t)(close - start)};
    snprintf(name, sizeof(name), "\"%s%d\"", sk->prefix, sk->n++);
    return put(s, name, strlen(name));
}

static int count(struct scan *s, char c)
{
    if (c == '[' || c == '{')
        s->depth++;
    else if (c == ']' || c == '}')
        s->depth--;
    if (s->depth > CN_JSON_MAX_DEPTH)
        return cn_fail(s->err, CN_ETOOBIG, "the JSON text is nested deeper than %d levels",
                       CN_JSON_MAX_DEPTH);
    if (strchr("[]{},:", c) != NULL && ++s->structure > CN_JSON_MAX_STRUCTURE)
        return cn_fail(s->err, CN_ETOOBIG, "the JSON text has more than %d brackets and commas",
                       CN_JSON_MAX_STRUCTURE);
    return CN_OK;
}

static int scan(struct scan *s)
{
    int rc;

    while (s->p < s->end) {
        const char *from = s->p;

        if (*s->p == '"') {
            if ((rc = take_string(s)) < 0)
                return rc;
            continue;
        }
        while (s->p < s->end && *s->p != '"') {
            if (*s->p == '\0')
                return cn_fail(s->err, CN_EFORMAT, "the JSON text contains a NUL byte");
            if ((rc = count(s, *s->p++)) < 0)
                return rc;
        }
        if ((rc = put(s, from, (size_t)(s->p - from))) < 0)
            return rc;
    }
    return CN_OK;
}

int cn_skeleton_make(struct cn_skeleton *sk, const char *body, size_t len, struct cn_err *err)
{
    struct scan s = {.sk = sk, .p = body, .end = body + len, .err = err};
    int rc;

    fill_class(s.plain);
    memset(sk, 0, sizeof(*sk));
    cn_buf_init(&sk->text, CN_JSON_MAX_TEXT);
    rc = scan(&s);
    if (rc < 0)
        cn_skeleton_release(sk);
    return rc;
}

const struct cn_slice *cn_skeleton_slot(const struct cn_skeleton *sk, const char *string)
{
    size_t n = strlen(sk->prefix);
    long i;

    if (sk->n == 0 || strncmp(string, sk->prefix, n) != 0)
        return NULL;
    i = strtol(string + n, NULL, 10);
    return i >= 0 && i < sk->n ? &sk->slot[i] : NULL;
}

void cn_skeleton_release(struct cn_skeleton *sk)
{
    cn_buf_release(&sk->text);
    sk->n = 0;
}
