/* Which models there are: found by scanning directories, named by their file names. */
#include "base/base.h"
#include "runtime/runtime.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/spec.h"
#include "base/utf8.h"
#include "runtime/inspect.h"
#include "model/vae.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Appends one character of a file's name (n bytes; 0: one byte that is no UTF-8): what cannot stand
 * in JSON, a URL or a terminal is escaped as in URLs. */
static void add_character(struct cn_buf *b, const char *s, size_t n, uint32_t cp)
{
    if (n == 0 || cp < 0x20 || cp == 0x7f)
        (void)cn_buf_printf(b, NULL, "%%%02X", (unsigned char)s[0]);
    else
        (void)cn_buf_add(b, s, n, NULL);
}

/* A name that everybody can say, for a file's name of any bytes: valid UTF-8 without control
 * characters, of less than CN_MODEL_NAME bytes. Only the escapes can make one longer than that; it
 * is cut then, and digits of a checksum keep it apart from others. */
static char *printable(const char *name)
{
    enum { TAIL = 10 }; /* "~", 8 digits, NUL */
    size_t len = strlen(name), fits = 0;
    uint32_t sum = 2166136261u; /* FNV-1a */
    struct cn_buf b;
    char *ret;

    for (size_t i = 0; i < len; i++)
        sum = (sum ^ (unsigned char)name[i]) * 16777619u;
    cn_buf_init(&b, 3 * len + 1);
    for (size_t i = 0, n; i < len; i += CN_MAX(n, (size_t)1)) {
        uint32_t cp = 0;

        n = cn_utf8_next((const unsigned char *)name + i, len - i, &cp);
        add_character(&b, name + i, n, cp);
        if (b.len <= CN_MODEL_NAME - TAIL)
            fits = b.len;
    }
    ret = b.len < CN_MODEL_NAME ? cn_xprintf("%.*s", (int)b.len, (const char *)b.data)
                                : cn_xprintf("%.*s~%08x", (int)fits, (const char *)b.data, sum);
    cn_buf_release(&b);
    return ret;
}

/* models/sd15, models/sd15.safetensors and models/sd15.ckpt are all "sd15". */
static char *name_of(const char *path)
{
    size_t len = strlen(path);
    const char *slash;
    char *name, *ret;

    while (len > 1 && path[len - 1] == '/')
        len--;
    slash = memrchr(path, '/', len);
    slash = slash ? slash + 1 : path;
    name = cn_xprintf("%.*s", (int)(path + len - slash), slash);
    name[strlen(name) - cn_checkpoint_ending(name)] = '\0';
    ret = printable(name);
    free(name);
    return ret;
}

struct cn_model *cn_runtime_find(const struct cn_runtime *rt, const char *name)
{
    for (int i = 0; i < rt->n_models; i++)
        if (strcmp(rt->model[i]->name, name) == 0)
            return rt->model[i];
    return NULL;
}

int cn_runtime_add(struct cn_runtime *rt, const char *path, struct cn_err *err)
{
    char *name = name_of(path);
    struct cn_model *m;
    int rc;

    if (cn_runtime_find(rt, name) != NULL) {
        rc = cn_fail(err, CN_EINVAL, "there are two models named \"%s\": the second is \"%s\"",
                     name, path);
        free(name);
        return rc;
    }
    rc = cn_model_new(name, path, &m, err);
    rt->model = cn_grow(rt->model, (size_t)rt->n_models, &rt->models_cap, sizeof(*rt->model));
    rt->model[rt->n_models++] = m;
    return rc;
}

static bool is_model(const char *path)
{
    char *index = cn_xprintf("%s/model_index.json", path);
    char *config = cn_xprintf("%s/config.json", path);
    bool yes = cn_file_exists(index) || cn_file_exists(config);

    free(index);
    free(config);
    if (cn_checkpoint_ending(path) > 0)
        yes = cn_file_exists(path);
    return yes;
}

static int visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

int cn_runtime_scan(struct cn_runtime *rt, const char *dir, struct cn_err *err)
{
    struct dirent **list;
    int n = scandir(dir, &list, visible, alphasort);

    if (n < 0)
        return cn_fail(err, errno == ENOENT ? CN_ENOTFOUND : CN_EIO,
                       "cannot read the directory of models \"%s\": %s", dir, strerror(errno));
    for (int i = 0; i < n; i++) {
        char *path = cn_xprintf("%s/%s", dir, list[i]->d_name);

        if (is_model(path))
            cn_runtime_add(rt, path, NULL); /* a broken one is listed as such */
        free(path);
        free(list[i]);
    }
    free(list);
    return CN_OK;
}

static void count_weights(const struct cn_model *m, struct cn_model_facts *ret)
{
    for (int c = 0; c < CN_COMP_COUNT; c++)
        for (size_t i = 0; i < cn_checkpoint_count(m->checkpoint, (enum cn_component)c); i++) {
            struct cn_tensor_view v;
            uint64_t n = 1;

            cn_checkpoint_at(m->checkpoint, (enum cn_component)c, i, &v);
            for (int k = 0; k < v.rank; k++)
                n *= (uint64_t)v.dim[k];
            ret->parameters += n;
            ret->bytes += cn_view_stored(&v);
        }
}

void cn_model_describe(const struct cn_model *m, struct cn_model_facts *ret)
{
    *ret = (struct cn_model_facts){
        .name = m->name, .path = m->path, .control = m->control, .broken = m->broken};
    if (m->broken != NULL)
        return;
    ret->loaded = cn_model_loaded(m);
    ret->resident = cn_model_bytes(m);
    count_weights(m, ret);
    if (m->control) {
        cn_unet_family(&cn_checkpoint_control(m->checkpoint)->unet, ret->family,
                       sizeof(ret->family));
        return;
    }
    if (cn_checkpoint_unet(m->checkpoint) == NULL || cn_checkpoint_vae(m->checkpoint) == NULL)
        return;
    cn_unet_family(cn_checkpoint_unet(m->checkpoint), ret->family, sizeof(ret->family));
    ret->multiple = cn_vae_factor(cn_checkpoint_vae(m->checkpoint));
    ret->guidance = cn_checkpoint_guidance(m->checkpoint);
    ret->width = ret->height = cn_checkpoint_unet(m->checkpoint)->sample_size * ret->multiple;
}

const char *cn_runtime_default(const struct cn_runtime *rt)
{
    if (rt->chosen != NULL)
        return rt->chosen->name;
    for (int i = 0; i < rt->n_models; i++)
        if (!rt->model[i]->control && rt->model[i]->broken == NULL)
            return rt->model[i]->name;
    return NULL;
}

int cn_runtime_set_default(struct cn_runtime *rt, const char *name, struct cn_err *err)
{
    const struct cn_model *m = cn_runtime_find(rt, name);

    if (m == NULL)
        return cn_fail(err, CN_ENOTFOUND, "there is no model \"%s\"", name);
    if (m->broken != NULL)
        return cn_fail(err, CN_EFORMAT, "model \"%s\" cannot be used: %s", name, m->broken);
    if (m->control)
        return cn_fail(err, CN_EINVAL, "\"%s\" is a ControlNet, not a base model", name);
    rt->chosen = m;
    return CN_OK;
}

void cn_runtime_release(struct cn_runtime *rt)
{
    for (int i = 0; i < rt->n_models; i++)
        cn_model_free(rt->model[i]);
    free(rt->model);
    rt->model = NULL;
    rt->n_models = 0;
}
