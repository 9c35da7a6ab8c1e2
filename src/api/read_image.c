/* Images of a request: base64, parts of a multipart body, pictures that were uploaded before. */
#include "base/base.h"
#include "api/reader_priv.h"
#include "base/base64.h"
#include "base/mem.h"
#include "base/text.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

int cn_reader_count(struct cn_reader *r, size_t len, const char *where)
{
    if (len > r->in->max_total - r->total)
        return cn_fail_at(r->err, CN_ETOOBIG, where, "the images have more than %zu bytes in all",
                          r->in->max_total);
    r->total += len;
    return CN_OK;
}

static int copy_part(struct cn_reader *r, const char *name, const char *where, struct cn_blob *blob)
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
        if (cn_reader_count(r, part->len, where) < 0)
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
static int fetch_input(struct cn_reader *r, const char *id, const char *where, struct cn_blob *blob)
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
    else if ((rc = cn_reader_count(r, b.len, where)) == CN_OK)
        blob->data = cn_buf_steal(&b, &blob->len);
    cn_buf_release(&b);
    return rc < 0 ? r->err->code : CN_OK;
}

/* Skips "data:image/png;base64,"; false when it is a data URL of another encoding. */
static bool skip_data_url(struct cn_slice *s)
{
    static const char mark[] = ";base64,";
    const char *p;

    if (s->len < 5 || strncasecmp(s->data, "data:", 5) != 0)
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

static int decode_image(struct cn_reader *r, struct cn_slice text, const char *where,
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
    rc = cn_base64_decode_loose(text.data, text.len, r->in->max_image, &blob->data, &blob->len,
                                &why);
    if (rc < 0)
        return cn_fail_at(r->err, rc, where, "%s", why.msg);
    if (blob->len == 0)
        return cn_fail_at(r->err, CN_EINVAL, where, "the image is empty");
    return cn_reader_count(r, blob->len, where);
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
static int decode_long(struct cn_reader *r, struct cn_slice raw, const char *where,
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

int cn_read_image(struct cn_reader *r, const json_t *v, const char *where, void *target,
                  const struct cn_enum *e)
{
    const char *s = json_string_value(v);
    const struct cn_slice *slot;

    (void)e;
    if (s == NULL)
        return cn_read_wrong_type(r, v, where,
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