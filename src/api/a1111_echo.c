/* The "parameters" of an answer: the request as it was understood to be written, with the web UI's
 * defaults for what it left out, and without what is large. */
#include "base/base.h"
#include "api/a1111_priv.h"
#include "base/json.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { ECHO_STRING = 4096 /* bytes: what is longer is an image, or no text that anybody misses */ };

static json_t *without_images(const struct cn_reader *r, const json_t *v)
{
    json_t *ret, *item;
    const char *name;
    size_t i;

    switch (json_typeof(v)) {
    case JSON_OBJECT:
        ret = json_object();
        json_object_foreach((json_t *)v, name, item)
            json_object_set_new(ret, name, without_images(r, item));
        return ret;
    case JSON_ARRAY:
        ret = json_array();
        json_array_foreach(v, i, item) json_array_append_new(ret, without_images(r, item));
        return ret;
    case JSON_STRING:
        if (cn_skeleton_slot(r->sk, json_string_value(v)) != NULL ||
            json_string_length(v) > ECHO_STRING)
            return json_null();
        return json_deep_copy(v);
    default:
        return json_deep_copy(v);
    }
}

/* Fields that are images, however short. */
static void drop(json_t *o)
{
    static const char *const images[] = {"init_images", "mask", "latent_mask", "firstpass_image"};

    for (size_t i = 0; i < CN_LEN(images); i++)
        if (json_object_get(o, images[i]) != NULL)
            json_object_set_new(o, images[i], json_null());
}

char *cn_a1111_echo(const struct cn_reader *r, const char *preset, const json_t *root)
{
    json_t *o = cn_json_load(preset, strlen(preset), 0, NULL), *given = without_images(r, root);
    char *text;

    if (o != NULL && given != NULL)
        json_object_update(o, given);
    if (o != NULL)
        drop(o);
    text = o == NULL ? NULL : json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_decref(given);
    json_decref(o);
    return text;
}

void cn_a1111_strip_hash(char *name)
{
    static const char *const suffixes[] = {".safetensors", ".ckpt", ".pt", ".pth"};
    size_t n = strlen(name);

    if (n > 3 && name[n - 1] == ']') {
        char *open = strrchr(name, '[');
        char *p = open == NULL ? NULL : open + 1;

        while (p != NULL && isxdigit((unsigned char)*p))
            p++;
        if (open != NULL && open > name && open[-1] == ' ' && p == name + n - 1)
            open[-1] = '\0';
    }
    n = strlen(name);
    for (size_t i = 0; i < CN_LEN(suffixes); i++) {
        size_t k = strlen(suffixes[i]);

        if (n > k && strcmp(name + n - k, suffixes[i]) == 0) {
            name[n - k] = '\0';
            return;
        }
    }
}
