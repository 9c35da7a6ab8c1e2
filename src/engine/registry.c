/* Which models there are: found by scanning directories, named by their file names. */
#include "base/base.h"
#include "engine/engine_priv.h"
#include "base/file.h"
#include "checkpoint/inspect.h"
#include "model/vae.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char suffix[] = ".safetensors";

/* models/sd15 and models/sd15.safetensors are both "sd15". */
static char *name_of(const char *path)
{
    size_t len = strlen(path);
    const char *slash;
    char *name;

    while (len > 1 && path[len - 1] == '/')
        len--;
    slash = memrchr(path, '/', len);
    slash = slash ? slash + 1 : path;
    name = cn_xprintf("%.*s", (int)(path + len - slash), slash);
    len = strlen(name);
    if (len > sizeof(suffix) - 1 && strcmp(name + len - (sizeof(suffix) - 1), suffix) == 0)
        name[len - (sizeof(suffix) - 1)] = '\0';
    return name;
}

struct cn_model *cn_engine_find(const struct cn_engine *e, const char *name)
{
    for (int i = 0; i < e->n_models; i++)
        if (strcmp(e->model[i]->name, name) == 0)
            return e->model[i];
    return NULL;
}

/* A file with an autoencoder only can be opened, but it is no model that draws. */
static int check_complete(const struct cn_model *m, struct cn_err *err)
{
    static const enum cn_component needed[] = {CN_COMP_TEXT, CN_COMP_UNET, CN_COMP_VAE};

    for (size_t i = 0; i < CN_LEN(needed); i++)
        if (!cn_checkpoint_has(m->checkpoint, needed[i]))
            return cn_fail(err, CN_EFORMAT, "\"%s\" has no %s", m->path,
                           cn_component_name(needed[i]));
    return CN_OK;
}

int cn_engine_add(struct cn_engine *e, const char *path, struct cn_err *err)
{
    struct cn_model *m = cn_xcalloc(1, sizeof(*m));
    struct cn_err why = CN_ERR_INIT;
    int rc;

    m->name = name_of(path);
    m->path = cn_xstrdup(path);
    if (cn_engine_find(e, m->name) != NULL) {
        rc = cn_fail(err, CN_EINVAL, "there are two models named \"%s\": the second is \"%s\"",
                     m->name, path);
        cn_model_free(m);
        return rc;
    }
    rc = cn_checkpoint_open(path, &m->checkpoint, &why);
    if (rc == CN_OK) {
        m->control = cn_checkpoint_has(m->checkpoint, CN_COMP_CONTROL) &&
                     !cn_checkpoint_has(m->checkpoint, CN_COMP_UNET);
        if (!m->control)
            rc = check_complete(m, &why);
    }
    if (rc < 0) {
        m->broken = cn_xstrdup(why.msg);
        if (err != NULL)
            *err = why;
    }
    e->model = cn_grow(e->model, (size_t)e->n_models, &e->models_cap, sizeof(*e->model));
    e->model[e->n_models++] = m;
    return rc;
}

static bool is_model(const char *path)
{
    char *index = cn_xprintf("%s/model_index.json", path);
    char *config = cn_xprintf("%s/config.json", path);
    size_t len = strlen(path);
    bool yes = cn_file_exists(index) || cn_file_exists(config);

    free(index);
    free(config);
    if (len > sizeof(suffix) && strcmp(path + len - (sizeof(suffix) - 1), suffix) == 0)
        yes = cn_file_exists(path);
    return yes;
}

static int visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

int cn_engine_scan(struct cn_engine *e, const char *dir, struct cn_err *err)
{
    struct dirent **list;
    int n = scandir(dir, &list, visible, alphasort);

    if (n < 0)
        return cn_fail(err, errno == ENOENT ? CN_ENOTFOUND : CN_EIO,
                       "cannot read the directory of models \"%s\": %s", dir, strerror(errno));
    for (int i = 0; i < n; i++) {
        char *path = cn_xprintf("%s/%s", dir, list[i]->d_name);

        if (is_model(path))
            cn_engine_add(e, path, NULL); /* a broken one is listed as such */
        free(path);
        free(list[i]);
    }
    free(list);
    return CN_OK;
}

int cn_engine_count(const struct cn_engine *e)
{
    return e->n_models;
}

static void count_weights(const struct cn_model *m, struct cn_engine_model *ret)
{
    for (int c = 0; c < CN_COMP_COUNT; c++)
        for (size_t i = 0; i < cn_checkpoint_count(m->checkpoint, (enum cn_component)c); i++) {
            struct cn_tensor_view v;
            uint64_t n = 1;

            cn_checkpoint_at(m->checkpoint, (enum cn_component)c, i, &v);
            for (int k = 0; k < v.rank; k++)
                n *= (uint64_t)v.dim[k];
            ret->parameters += n;
            ret->bytes += v.bytes;
        }
}

void cn_engine_at(const struct cn_engine *e, int i, struct cn_engine_model *ret)
{
    const struct cn_model *m = e->model[i];

    *ret = (struct cn_engine_model){
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

const char *cn_engine_default(const struct cn_engine *e)
{
    if (e->chosen != NULL)
        return e->chosen->name;
    for (int i = 0; i < e->n_models; i++)
        if (!e->model[i]->control && e->model[i]->broken == NULL)
            return e->model[i]->name;
    return NULL;
}

int cn_engine_set_default(struct cn_engine *e, const char *name, struct cn_err *err)
{
    const struct cn_model *m = cn_engine_find(e, name);

    if (m == NULL)
        return cn_fail(err, CN_ENOTFOUND, "there is no model \"%s\"", name);
    if (m->broken != NULL)
        return cn_fail(err, CN_EFORMAT, "model \"%s\" cannot be used: %s", name, m->broken);
    if (m->control)
        return cn_fail(err, CN_EINVAL, "\"%s\" is a ControlNet, not a base model", name);
    e->chosen = m;
    return CN_OK;
}

static int open_tokenizer(struct cn_model *m, struct cn_err *err)
{
    const char *dir = cn_checkpoint_tokenizer(m->checkpoint);
    const struct cn_text_config *c = cn_checkpoint_text(m->checkpoint);
    int rc;

    if (dir == NULL && cn_checkpoint_kind(m->checkpoint) == CN_CKPT_PIPELINE)
        return cn_fail(err, CN_ENOTFOUND,
                       "the tokenizer is missing: no \"%s/tokenizer/vocab.json\"", m->path);
    rc =
        dir ? cn_tokenizer_open(dir, &m->tokenizer, err) : cn_tokenizer_builtin(&m->tokenizer, err);
    if (rc < 0)
        return rc;
    if (dir == NULL)
        cn_tokenizer_set_pad(m->tokenizer, c->pad_token);
    if (cn_tokenizer_size(m->tokenizer) > c->vocab_size)
        return cn_fail(err, CN_EFORMAT,
                       "the tokenizer has %d tokens, the text encoder of \"%s\" knows %d",
                       cn_tokenizer_size(m->tokenizer), m->path, c->vocab_size);
    return CN_OK;
}

int cn_model_open(struct cn_engine *e, struct cn_model *m, struct cn_err *err)
{
    int rc;

    if (m->tokenizer == NULL && (rc = open_tokenizer(m, err)) < 0) {
        cn_tokenizer_close(m->tokenizer);
        m->tokenizer = NULL;
        return rc;
    }
    if ((rc = cn_network_open(e, &m->text, m->checkpoint, CN_COMP_TEXT, NULL, err)) < 0 ||
        (rc = cn_network_open(e, &m->unet, m->checkpoint, CN_COMP_UNET, NULL, err)) < 0)
        return rc;
    return cn_network_open(e, &m->vae, m->checkpoint, CN_COMP_VAE, NULL, err);
}

int cn_model_control(struct cn_engine *e, struct cn_model *m, const struct cn_model *base,
                     struct cn_network **ret, struct cn_err *err)
{
    const struct cn_model *key = cn_checkpoint_is_difference(m->checkpoint) ? base : NULL;
    int rc;

    for (int i = 0; i < m->n_nets; i++)
        if (m->nets[i].base == key) {
            *ret = &m->nets[i].net;
            return cn_network_open(e, *ret, m->checkpoint, CN_COMP_CONTROL,
                                   key ? key->checkpoint : NULL, err); /* its base was unloaded */
        }
    /* Sources are pointed to by their weights, so the array must not move: one block each would do
     * as well, but eight bases of one difference net are plenty. */
    if (m->nets == NULL)
        m->nets = cn_xcalloc(8, sizeof(*m->nets));
    if (m->n_nets == 8)
        return cn_fail(err, CN_EBUSY, "ControlNet \"%s\" is in use with 8 base models", m->name);
    m->nets[m->n_nets].base = key;
    rc = cn_network_open(e, &m->nets[m->n_nets].net, m->checkpoint, CN_COMP_CONTROL,
                         key ? key->checkpoint : NULL, err);
    if (rc == CN_OK)
        *ret = &m->nets[m->n_nets++].net;
    return rc;
}

void cn_model_close(struct cn_model *m)
{
    for (int i = 0; i < m->n_nets; i++)
        cn_network_close(&m->nets[i].net);
    free(m->nets);
    m->nets = NULL;
    m->n_nets = 0;
    cn_network_close(&m->text);
    cn_network_close(&m->unet);
    cn_network_close(&m->vae);
    cn_tokenizer_close(m->tokenizer);
    m->tokenizer = NULL;
}

void cn_model_free(struct cn_model *m)
{
    cn_model_close(m);
    cn_checkpoint_close(m->checkpoint);
    free(m->name);
    free(m->path);
    free(m->broken);
    free(m);
}
