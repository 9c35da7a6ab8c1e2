/* What only a whole model tells, whatever its form: which layers of its text encoders the UNet
 * reads, what makes the pooled text, the scale of its latents. Parts were opened one by one,
 * perhaps from files that know nothing of each other. */
#include "base/base.h"
#include "checkpoint/checkpoint_priv.h"

#include <stdio.h>
#include <string.h>

static const enum cn_component pooling = (enum cn_component)(CN_COMP_TEXT + CN_POOLING_TEXT);

/* SD 2's encoder, in OpenCLIP's layout, has a last layer that is never run: the component does not
 * have it. (diffusers' export of it does not either.) */
static void drop_last_layer(struct cn_checkpoint *c)
{
    struct cn_component_tensors *k = &c->comp[CN_COMP_TEXT];
    char prefix[64];
    size_t n = 0;

    c->text[0].layers = CN_MAX(c->text[0].layers - 1, 1);
    snprintf(prefix, sizeof(prefix), "text_model.encoder.layers.%d.", c->text[0].layers);
    for (size_t i = 0; i < k->count; i++)
        if (strncmp(k->view[i].name, prefix, strlen(prefix)) != 0)
            k->view[n++] = k->view[i];
    k->count = n;
}

/* The second encoder makes the pooled text. */
static int settle_projection(struct cn_checkpoint *c, struct cn_err *err)
{
    static const char name[] = "text_projection.weight";
    const struct cn_tensor_view *v = cn_checkpoint_get(c, pooling, name);
    int rc = CN_OK;

    if (v == NULL && c->projection[CN_POOLING_TEXT].name != NULL) {
        cn_checkpoint_add(c, pooling, name, &c->projection[CN_POOLING_TEXT]);
        rc = cn_checkpoint_sort(c, pooling, err);
        v = cn_checkpoint_get(c, pooling, name);
    }
    if (rc == CN_OK && v != NULL && v->rank == 2 && v->dim[0] <= 1 << 16 &&
        c->text[CN_POOLING_TEXT].projection == 0)
        c->text[CN_POOLING_TEXT].projection = (int)v->dim[0];
    return rc;
}

/* What shapes do not tell of the vector beside the time: how much of it is the pooled text. */
static void settle_added(struct cn_checkpoint *c)
{
    struct cn_unet_config *u = &c->unet;
    int sizes = u->add_dim - c->text[CN_POOLING_TEXT].projection;

    if (u->add_dim == 0 || u->add_time_dim > 0)
        return;
    u->add_time_dim = 256;
    if (c->text[CN_POOLING_TEXT].projection > 0 && sizes > 0 && sizes % CN_ADD_NUMBERS == 0)
        u->add_time_dim = sizes / CN_ADD_NUMBERS;
}

int cn_checkpoint_settle(struct cn_checkpoint *c, struct cn_err *err)
{
    bool two = c->comp[CN_COMP_TEXT_2].present;
    int rc = CN_OK;

    /* SDXL's UNet takes both encoders before their last layers, without the final norm. */
    for (int i = 0; i < CN_MAX_TEXTS; i++)
        c->text[i].penultimate = two;
    if (two)
        rc = settle_projection(c, err);
    else if (c->comp[CN_COMP_TEXT].present && c->openclip[0])
        drop_last_layer(c);
    settle_added(c);
    if (c->kind == CN_CKPT_FILE) /* as diffusers' pipeline has it where nothing else is said */
        c->zeroes_empty = two;
    if (c->unet.add_dim > 0 && c->guidance == 0) /* likewise */
        c->guidance = 5;
    if (c->vae.scaling_factor == 0)
        c->vae.scaling_factor = c->unet.add_dim > 0 ? 0.13025 : 0.18215;
    return rc;
}
