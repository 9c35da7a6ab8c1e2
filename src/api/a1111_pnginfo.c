/* POST /sdapi/v1/png-info: what a picture says of how it was made (modules/infotext_utils.py,
 * parse_generation_parameters). */
#include "base/base.h"
#include "api/a1111.h"
#include "api/a1111_priv.h"
#include "api/json_priv.h"
#include "base/json.h"
#include "base/mem.h"
#include "image/codec.h"
#include "image/metadata.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Reads the image of the request into the description's init_image. */
static int read_picture(struct cn_reader *r, const json_t *v, const char *where, void *target,
                        const struct cn_enum *e)
{
    (void)target;
    return cn_read_image(r, v, where, &r->spec->init_image, e);
}

static int read_root(struct cn_reader *r, const json_t *root)
{
    static const struct cn_member members[] = {{"image", read_picture, 0, NULL}};

    r->is_loose = true;
    if (cn_read_members(r, root, members, CN_LEN(members), "", NULL) < 0)
        return r->err->code;
    if (r->spec->init_image.len == 0)
        return cn_fail_at(r->err, CN_EINVAL, "/image", "it is missing");
    return CN_OK;
}

/* ---- the last line: Key: value, Key: "value with, commas" ---- */

static void add(json_t **o, const char *key, size_t key_len, const char *value, size_t len)
{
    char *name = cn_try_alloc(key_len + 1);
    json_t *v = NULL;

    if (name == NULL) {
        json_decref(*o);
        *o = NULL;
        return;
    }
    memcpy(name, key, key_len);
    name[key_len] = '\0';
    if (len > 1 && value[0] == '"')
        v = cn_json_load(value, len, JSON_DECODE_ANY, NULL);
    cn_json_set(o, name, v != NULL ? v : json_stringn(value, len));
    free(name);
}

/* Past the value at p: up to a comma that is not in quotes. */
static const char *value_end(const char *p)
{
    bool quoted = *p == '"';

    for (p += quoted; *p != '\0' && (quoted ? *p != '"' : *p != ','); p++)
        if (quoted && *p == '\\' && p[1] != '\0')
            p++;
    return p + (quoted && *p == '"');
}

static void parse_pairs(json_t **o, const char *p)
{
    while (*p != '\0') {
        const char *colon = strchr(p, ':'), *end;

        if (colon == NULL)
            return;
        while (*p == ' ')
            p++;
        end = colon + 1 + strspn(colon + 1, " ");
        add(o, p, (size_t)(colon - p), end, (size_t)(value_end(end) - end));
        p = value_end(end);
        p += strspn(p, ", ");
    }
}

static void put_text(json_t **o, const char *key, const char *text, size_t len)
{
    while (len > 0 && isspace((unsigned char)text[len - 1]))
        len--;
    cn_json_set(o, key, json_stringn(text, len));
}

static json_t *parse(const char *info)
{
    static const char mark[] = "Negative prompt:";
    const char *last = strrchr(info, '\n'), *negative;
    json_t *o = json_object();
    size_t len;

    last = last == NULL ? info : last + 1;
    len = (size_t)(last - info);
    if (strncmp(last, "Steps: ", 7) == 0)
        parse_pairs(&o, last);
    else
        len = strlen(info);
    negative = strncmp(info, mark, strlen(mark)) == 0 ? info : NULL;
    for (const char *p = info; negative == NULL && (p = strchr(p, '\n')) != NULL; p++)
        if (strncmp(p + 1, mark, strlen(mark)) == 0)
            negative = p + 1;
    if (negative != NULL && negative < info + len) {
        const char *text = negative + strlen(mark);

        text += *text == ' ';
        put_text(&o, "Negative prompt", text, (size_t)(info + len - text));
        len = (size_t)(negative - info);
    }
    put_text(&o, "Prompt", info, len);
    return o;
}

/* info: NULL when the picture says nothing. t: what else a PNG says. */
static int put(const char *info, const struct cn_png_texts *t, struct cn_buf *out,
               struct cn_err *err)
{
    json_t *items = json_object();
    int rc;

    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->item[i].key, "parameters") != 0)
            cn_json_set(&items, t->item[i].key, json_string(t->item[i].text));
    rc = cn_json_put_take(out,
                          json_pack("{ss so so}", "info", info == NULL ? "" : info, "items", items,
                                    "parameters", info == NULL ? json_object() : parse(info)),
                          err);
    return rc == CN_OK ? cn_buf_adds(out, "\n", err) : rc;
}

int cn_a1111_png_info(struct cn_api_input *in, struct cn_buf *out, struct cn_err *err)
{
    struct cn_png_texts texts = {NULL, 0};
    struct cn_err why = CN_ERR_INIT;
    struct cn_spec s;
    char *info;
    int rc = cn_reader_run(in, read_root, &s, err);

    if (rc < 0)
        return rc;
    info = cn_metadata_read(s.init_image.data, s.init_image.len);
    if (cn_png_read_text(s.init_image.data, s.init_image.len, &texts, &why) < 0 &&
        why.code == CN_ENOMEM)
        rc = cn_fail(err, CN_ENOMEM, "no memory for the picture's text");
    else
        rc = put(info, &texts, out, err); /* a file that is no PNG has no other texts */
    free(info);
    cn_png_texts_release(&texts);
    cn_spec_release(&s);
    return rc;
}
