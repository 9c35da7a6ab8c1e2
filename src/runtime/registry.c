/* Which models there are: found by scanning directories, named by their file names. */
#include "base/base.h"
#include "runtime/runtime.h"
#include "base/file.h"
#include "runtime/file_name.h"
#include "runtime/inspect.h"
#include "model/vae.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cn_model *cn_runtime_find(const struct cn_runtime *rt, const char *name)
{
    for (int i = 0; i < rt->n_models; i++)
        if (strcmp(rt->model[i]->name, name) == 0)
            return rt->model[i];
    return NULL;
}

int cn_runtime_add(struct cn_runtime *rt, const char *path, struct cn_err *err)
{
    char *name = cn_file_name(path);
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
    cn_embeddings_release(&rt->embeddings);
    rt->model = NULL;
    rt->n_models = 0;
}
