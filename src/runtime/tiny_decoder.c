/* TAESD's decoder from its file. */
#include "base/base.h"
#include "runtime/tiny_decoder.h"
#include "model/vae.h"
#include "base/mem.h"
#include "checkpoint/tensor_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cn_tiny_decoder {
    struct cn_tensor_file *file;
    struct cn_taesd_config config;
    struct cn_param_source params;
    struct cn_network net;
};

static int get(void *ctx, const char *name, struct cn_param_data *ret, struct cn_err *err)
{
    struct cn_tiny_decoder *d = ctx;
    struct cn_tensor_view v;
    int rc = cn_tensor_file_find(d->file, name, &v, err);

    if (rc < 0)
        return rc;
    *ret = (struct cn_param_data){.dtype = v.dtype, .bytes = v.bytes};
    if (v.rank > CN_GRAPH_RANK)
        return cn_fail(err, CN_EFORMAT, "tensor \"%s\" in \"%s\" has %d dimensions", v.name, v.file,
                       v.rank);
    ret->shape.rank = v.rank;
    memcpy(ret->shape.dim, v.dim, (size_t)v.rank * sizeof(v.dim[0]));
    ret->data = ret->owned = cn_try_alloc(v.bytes);
    if (ret->owned == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for tensor \"%s\"", v.name);
    rc = cn_view_read(&v, ret->owned, err);
    if (rc < 0)
        free(ret->owned);
    return rc;
}

static void done(void *ctx, const char *name, struct cn_param_data *data)
{
    (void)ctx;
    (void)name;
    free(data->owned);
    data->owned = NULL;
}

static bool has(const struct cn_tiny_decoder *d, int layer, const char *what)
{
    char name[64];

    snprintf(name, sizeof(name), "decoder.layers.%d.%s", layer, what);
    return cn_tensor_file_has(d->file, name);
}

static int refuse(const struct cn_tiny_decoder *d, int layer, struct cn_err *err)
{
    return cn_fail(err, CN_EFORMAT, "\"%s\" is no decoder of TAESD: layer %d is none of its own",
                   cn_tensor_file_path(d->file), layer);
}

/* A convolution and an activation; then levels of blocks, each with an upsampling, which has no
 * tensors, and a convolution; the last one without upsampling. */
static int find_config(struct cn_tiny_decoder *d, struct cn_err *err)
{
    struct cn_taesd_config *c = &d->config;
    struct cn_tensor_view v;
    int layer = 2, rc = cn_tensor_file_find(d->file, "decoder.layers.0.weight", &v, err);

    if (rc < 0)
        return rc;
    if (v.rank != 4 || v.dim[0] > 4096 || v.dim[1] > 64)
        return refuse(d, 0, err);
    c->channels = (int)v.dim[0];
    c->latent_channels = (int)v.dim[1];
    for (;;) {
        if (c->levels == CN_TAESD_LEVELS)
            return refuse(d, layer, err);
        while (has(d, layer, "conv.0.weight")) {
            c->blocks[c->levels]++;
            layer++;
        }
        c->levels++;
        if (has(d, layer, "weight"))
            return CN_OK;
        if (!has(d, layer + 1, "weight"))
            return refuse(d, layer + 1, err);
        layer += 2;
    }
}

int cn_tiny_decoder_open(const char *path, struct cn_tiny_decoder **ret, struct cn_err *err)
{
    struct cn_tiny_decoder *d = cn_xcalloc(1, sizeof(*d));
    int rc = cn_tensor_file_open(path, &d->file, err);

    if (rc == CN_OK)
        rc = find_config(d, err);
    if (rc < 0) {
        cn_tiny_decoder_free(d);
        return rc;
    }
    d->params = (struct cn_param_source){.ctx = d, .get = get, .done = done};
    *ret = d;
    return CN_OK;
}

void cn_tiny_decoder_free(struct cn_tiny_decoder *d)
{
    if (d == NULL)
        return;
    cn_network_close(&d->net);
    cn_tensor_file_close(d->file);
    free(d);
}

bool cn_tiny_decoder_fits(const struct cn_tiny_decoder *d, const struct cn_vae_config *vae)
{
    const struct cn_taesd_config *c = d != NULL ? cn_tiny_decoder_config(d) : NULL;

    return c != NULL && c->latent_channels == vae->latent_channels &&
           cn_taesd_factor(c) == cn_vae_factor(vae);
}

const struct cn_taesd_config *cn_tiny_decoder_config(const struct cn_tiny_decoder *d)
{
    return &d->config;
}

struct size {
    const struct cn_taesd_config *c;
    int h, w;
};

static struct cn_graph *build(const void *arg)
{
    const struct size *s = arg;

    return cn_taesd_decoder_graph(s->c, s->h, s->w);
}

int cn_tiny_decoder_plan(struct cn_tiny_decoder *d, struct cn_backend *backend, int h, int w,
                         int flags, struct cn_plan_entry **ret, struct cn_err *err)
{
    struct size s = {&d->config, h, w};
    char key[64];
    int rc = cn_network_open_params(&d->net, backend, &d->params, err);

    if (rc < 0)
        return rc;
    snprintf(key, sizeof(key), "decode %dx%d%s", w, h, flags & CN_PLAN_CONCURRENT ? " beside" : "");
    return cn_network_plan(&d->net, key, flags, build, &s, ret, err);
}

void cn_tiny_decoder_unload(struct cn_tiny_decoder *d)
{
    if (d == NULL)
        return;
    for (int i = 0; i < CN_MAX_PLANS; i++)
        if (d->net.slot[i].entry.pins > 0) /* a picture is with it */
            return;
    cn_network_close(&d->net);
}

size_t cn_tiny_decoder_bytes(const struct cn_tiny_decoder *d)
{
    return d != NULL ? cn_network_bytes(&d->net) : 0;
}
