/* Device buffers of one network of a batcher, by the number of rows. */
#include "base/base.h"
#include "engine/batch_priv.h"

#include <stdlib.h>
#include <string.h>

static void set_clear(struct cn_net_buffers *b)
{
    if (b->rows == 0)
        return;
    cn_row_batch_release(&b->inputs);
    cn_buffer_free(b->sample);
    cn_buffer_free(b->latent);
    cn_buffer_free(b->out);
    cn_buffer_free(b->perturbed);
    for (int i = 0; i < CN_MAX_CONTROLS; i++) {
        struct cn_added *a = &b->added[i];

        cn_buffer_free(a->weights);
        for (int k = 0; k < a->levels; k++)
            cn_buffer_free(a->residual[k]);
        free(a->residual);
    }
    memset(b, 0, sizeof(*b));
}

static size_t set_bytes(const struct cn_net_buffers *b)
{
    size_t sum = 0;

    if (b->rows == 0)
        return 0;
    sum = cn_row_batch_bytes(&b->inputs) + cn_buffer_bytes(b->sample);
    if (b->latent != NULL)
        sum += cn_buffer_bytes(b->latent);
    if (b->out != NULL)
        sum += cn_buffer_bytes(b->out);
    if (b->perturbed != NULL)
        sum += cn_buffer_bytes(b->perturbed);
    for (int i = 0; i < CN_MAX_CONTROLS; i++) {
        if (b->added[i].weights != NULL)
            sum += cn_buffer_bytes(b->added[i].weights);
        for (int k = 0; k < b->added[i].levels; k++)
            sum += cn_buffer_bytes(b->added[i].residual[k]);
    }
    return sum;
}

static int new_floats(struct cn_engine *e, struct cn_shape shape, int flags, struct cn_buffer **ret,
                      struct cn_err *err)
{
    struct cn_value v = {.dtype = CN_F32, .shape = shape};

    return cn_buffer_new(e->rt.backend, &v, CN_DTYPE_COUNT, flags, ret, err);
}

int cn_batcher_new_residuals(struct cn_engine *e, const struct cn_batcher *g,
                             const struct cn_batcher_net *net, int rows, struct cn_added *ret,
                             struct cn_err *err)
{
    struct cn_step_size z = {.n = rows, .h = g->h, .w = g->w, .s = g->tokens};
    int rc = CN_OK;

    ret->residual = cn_xcalloc((size_t)net->levels, sizeof(struct cn_buffer *));
    for (; ret->levels < net->levels && rc == CN_OK; ret->levels++)
        rc = new_floats(e, cn_control_shape(net->of.config, &z, ret->levels), CN_IO_NATIVE,
                        &ret->residual[ret->levels], err);
    return rc;
}

/* What only the UNet has. */
static int new_unet_buffers(struct cn_engine *e, const struct cn_batcher *g,
                            struct cn_net_buffers *b, struct cn_err *err)
{
    const struct cn_unet_config *c = g->unet.of.config;
    int rc = new_floats(e, cn_shape4(b->rows, c->out_channels, g->h, g->w), 0, &b->out, err);

    if (rc == CN_OK)
        rc = new_floats(e, cn_shape2(b->rows, 1), 0, &b->perturbed, err);
    if (rc == CN_OK && c->in_channels != g->channels && g->n_controls > 0)
        rc = new_floats(e, cn_shape4(b->rows, g->channels, g->h, g->w), 0, &b->latent, err);
    for (int i = 0; i < g->n_controls && rc == CN_OK; i++) {
        rc = cn_batcher_new_residuals(e, g, &g->control[i], b->rows, &b->added[i], err);
        if (rc == CN_OK)
            rc = new_floats(e, cn_shape2(b->rows, g->control[i].levels), 0, &b->added[i].weights,
                            err);
    }
    return rc;
}

static int make_set(struct cn_engine *e, const struct cn_batcher *g,
                    const struct cn_batcher_net *net, struct cn_net_buffers *b, struct cn_err *err)
{
    int channels = net->of.config->in_channels;
    int rc = cn_row_batch_init(&b->inputs, e->rt.backend, &net->kind, b->rows, err);

    if (rc == CN_OK)
        rc = new_floats(e, cn_shape4(b->rows, channels, g->h, g->w), 0, &b->sample, err);
    if (rc == CN_OK && net->control == NULL)
        rc = new_unet_buffers(e, g, b, err);
    return rc;
}

int cn_batcher_find_set(struct cn_engine *e, struct cn_batcher *g, struct cn_batcher_net *net,
                        int rows, struct cn_net_buffers **ret, struct cn_err *err)
{
    struct cn_net_buffers *b = &net->set[0];
    int rc = CN_OK;

    for (int i = 0; i < CN_MAX_SETS && b->rows != rows; i++)
        if (net->set[i].rows == rows || net->set[i].used < b->used)
            b = &net->set[i];
    if (b->rows != rows) {
        set_clear(b);
        b->rows = rows;
        rc = make_set(e, g, net, b, err);
    }
    if (rc < 0) {
        set_clear(b);
        return rc;
    }
    b->used = g->used = ++e->clock;
    *ret = b;
    return CN_OK;
}

void cn_batcher_net_clear(struct cn_batcher_net *net)
{
    for (int i = 0; i < CN_MAX_SETS; i++)
        set_clear(&net->set[i]);
}

size_t cn_batcher_net_bytes(const struct cn_batcher_net *net)
{
    size_t sum = 0;

    for (int i = 0; i < CN_MAX_SETS; i++)
        sum += set_bytes(&net->set[i]);
    return sum;
}
