/* An open checkpoint as others see it: asked for its tensors and configurations. */
#include "base/base.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/checkpoint_priv.h"

#include <stdlib.h>
#include <string.h>

void cn_checkpoint_close(struct cn_checkpoint *c)
{
    if (c == NULL)
        return;
    for (int i = 0; i < CN_COMP_COUNT; i++) {
        free(c->comp[i].view);
        free(c->wish[i]);
        cn_checkpoint_close(c->donor[i]);
    }
    free(c->average.view);
    for (size_t i = 0; i < c->files; i++)
        cn_tensor_file_close(c->file[i]);
    free(c->file);
    cn_arena_release(&c->arena);
    for (int i = 0; i < CN_MAX_TEXTS; i++)
        free(c->tokenizer[i]);
    free(c->path);
    free(c);
}

bool cn_checkpoint_is_current(const struct cn_checkpoint *c)
{
    for (size_t i = 0; i < c->files; i++)
        if (!cn_tensor_file_is_current(c->file[i]))
            return false;
    for (int i = 0; i < CN_COMP_COUNT; i++)
        if (c->donor[i] != NULL && !cn_checkpoint_is_current(c->donor[i]))
            return false;
    return true;
}

const char *cn_checkpoint_path(const struct cn_checkpoint *c)
{
    return c->path;
}

enum cn_checkpoint_kind cn_checkpoint_kind(const struct cn_checkpoint *c)
{
    return c->kind;
}

bool cn_checkpoint_has(const struct cn_checkpoint *c, enum cn_component comp)
{
    return c->comp[comp].present;
}

/* The file of a component for messages; the checkpoint's path when it has several or none. */
static const char *file_of(const struct cn_checkpoint *c, enum cn_component comp)
{
    const struct cn_component_tensors *k = &c->comp[comp];

    return k->count > 0 ? k->view[0].file : c->path;
}

int cn_checkpoint_find(const struct cn_checkpoint *c, enum cn_component comp, const char *name,
                       struct cn_tensor_view *ret, struct cn_err *err)
{
    const struct cn_tensor_view *v = cn_checkpoint_get(c, comp, name);

    if (!c->comp[comp].present)
        return cn_fail(err, CN_ENOTFOUND, "\"%s\" has no %s", c->path, cn_component_name(comp));
    if (v == NULL)
        return cn_fail(err, CN_ENOTFOUND, "the %s has no tensor \"%s\" in \"%s\"",
                       cn_component_name(comp), name, file_of(c, comp));
    if (v->dtype == CN_DTYPE_COUNT)
        return cn_fail(err, CN_EFORMAT,
                       "tensor \"%s\" in \"%s\" has the type %s, which is not "
                       "supported",
                       name, v->file, v->type);
    *ret = *v;
    return CN_OK;
}

size_t cn_checkpoint_count(const struct cn_checkpoint *c, enum cn_component comp)
{
    return c->comp[comp].count;
}

void cn_checkpoint_at(const struct cn_checkpoint *c, enum cn_component comp, size_t i,
                      struct cn_tensor_view *ret)
{
    CN_ASSERT(i < c->comp[comp].count);
    *ret = c->comp[comp].view[i];
}

const struct cn_text_config *cn_checkpoint_text(const struct cn_checkpoint *c, int i)
{
    return i < CN_MAX_TEXTS && c->comp[CN_COMP_TEXT + i].present ? &c->text[i] : NULL;
}

const struct cn_unet_config *cn_checkpoint_unet(const struct cn_checkpoint *c)
{
    return c->comp[CN_COMP_UNET].present ? &c->unet : NULL;
}

const struct cn_vae_config *cn_checkpoint_vae(const struct cn_checkpoint *c)
{
    return c->comp[CN_COMP_VAE].present ? &c->vae : NULL;
}

const struct cn_control_config *cn_checkpoint_control(const struct cn_checkpoint *c)
{
    return c->comp[CN_COMP_CONTROL].present ? &c->control : NULL;
}

const struct cn_schedule_config *cn_checkpoint_schedule(const struct cn_checkpoint *c)
{
    return c->comp[CN_COMP_UNET].present ? &c->schedule : NULL;
}

enum cn_average cn_checkpoint_average(const struct cn_checkpoint *c)
{
    if (c->uses_average)
        return CN_AVERAGE_USED;
    return c->average.count > 0 ? CN_AVERAGE_UNUSED : CN_AVERAGE_NONE;
}

static const char *const ema_names[CN_EMA_COUNT] = {"model", "yes", "no"};
const struct cn_enum cn_enum_ema = {"ema", ema_names, CN_EMA_COUNT};

double cn_checkpoint_guidance(const struct cn_checkpoint *c)
{
    return c->guidance;
}

const char *cn_checkpoint_tokenizer(const struct cn_checkpoint *c, int i)
{
    return c->tokenizer[i];
}

bool cn_checkpoint_zeroes_empty(const struct cn_checkpoint *c)
{
    return c->zeroes_empty;
}

bool cn_checkpoint_is_difference(const struct cn_checkpoint *c)
{
    return c->difference;
}

static int mismatch(struct cn_err *err, const char *what, int control, int unet)
{
    return cn_fail(err, CN_EINVAL,
                   "the ControlNet is for another model family: %s is %d, the model has %d", what,
                   control, unet);
}

int cn_control_matches(const struct cn_control_config *control, const struct cn_unet_config *unet,
                       struct cn_err *err)
{
    const struct cn_unet_config *c = &control->unet;

    if (c->add_dim != unet->add_dim)
        return mismatch(err, "the width of pooled text and sizes", c->add_dim, unet->add_dim);
    if (c->cross_attention_dim != 0 && c->cross_attention_dim != unet->cross_attention_dim)
        return mismatch(err, "cross_attention_dim", c->cross_attention_dim,
                        unet->cross_attention_dim);
    if (c->blocks != unet->blocks)
        return mismatch(err, "the number of blocks", c->blocks, unet->blocks);
    if (c->layers_per_block != unet->layers_per_block)
        return mismatch(err, "layers_per_block", c->layers_per_block, unet->layers_per_block);
    for (int i = 0; i < c->blocks; i++) {
        if (c->channels[i] != unet->channels[i])
            return mismatch(err, "block_out_channels", c->channels[i], unet->channels[i]);
    }
    /* An inpainting UNet sees 9 channels, of which a ControlNet gets the 4 latent ones. */
    if (c->in_channels != unet->in_channels && c->in_channels != unet->out_channels)
        return mismatch(err, "in_channels", c->in_channels, unet->in_channels);
    return CN_OK;
}
