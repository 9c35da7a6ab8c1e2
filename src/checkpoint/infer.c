/* The configuration of single files, from the shapes of their tensors. Shapes do not say
 * everything: heads, norm groups and the kind of prediction follow the family (model SD 1.x:
 * context width 768; SD 2.x: 1024; SDXL: rows are told sizes and pooled text), and a file
 * "<model>.json" next to the model may correct them. */
#include "base/base.h"
#include "base/spec.h"
#include "checkpoint/checkpoint_priv.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SD2_CONTEXT = 1024, BIG_G_WIDTH = 1280, SD_GROUPS = 32, CLIP_VOCAB = 49408 };

/* Questions to one component; the first error sticks. */
struct ask {
    const struct cn_checkpoint *c;
    enum cn_component comp;
    struct cn_err *err;
    int rc;
};

static const struct cn_tensor_view *get(struct ask *a, const char *fmt, va_list ap, char name[160])
{
    vsnprintf(name, 160, fmt, ap);
    return cn_checkpoint_get(a->c, a->comp, name);
}

static bool has(struct ask *a, const char *fmt, ...) CN_PRINTF(2, 3);

static bool has(struct ask *a, const char *fmt, ...)
{
    char name[160];
    va_list ap;
    bool ret;

    va_start(ap, fmt);
    ret = get(a, fmt, ap, name) != NULL;
    va_end(ap);
    return ret;
}

/* Dimension `axis` of a tensor that must be there and have it. */
static int dim(struct ask *a, int axis, const char *fmt, ...) CN_PRINTF(3, 4);

static int dim(struct ask *a, int axis, const char *fmt, ...)
{
    const struct cn_tensor_view *v;
    char name[160];
    va_list ap;

    va_start(ap, fmt);
    v = get(a, fmt, ap, name);
    va_end(ap);
    if (v != NULL && v->rank > axis && v->dim[axis] >= 1 && v->dim[axis] <= 1 << 22)
        return (int)v->dim[axis];
    if (a->rc == CN_OK && v == NULL)
        a->rc = cn_fail(a->err, CN_ENOTFOUND, "\"%s\": the %s has no tensor \"%s\"", a->c->path,
                        cn_component_name(a->comp), name);
    else if (a->rc == CN_OK)
        a->rc = cn_fail(a->err, CN_EFORMAT, "\"%s\": tensor \"%s\" has an impossible shape",
                        v->file, v->name);
    return 1;
}

/* How many of a list there are; 0 to 64. */
static int count_tensors(struct ask *a, const char *before, const char *after)
{
    int n = 0;

    while (n < 64 && has(a, "%s%d%s", before, n, after))
        n++;
    return n;
}

static int count_blocks(struct ask *a, const char *before, const char *after)
{
    int n = count_tensors(a, before, after);

    if ((n < 1 || n > CN_MAX_BLOCKS) && a->rc == CN_OK)
        a->rc = cn_fail(a->err, CN_EFORMAT, "\"%s\": the %s has %d levels, 1 to %d are supported",
                        a->c->path, cn_component_name(a->comp), n, CN_MAX_BLOCKS);
    return CN_MIN(CN_MAX(n, 1), (int)CN_MAX_BLOCKS);
}

/* Of its level, or of the middle block at the lowest one where that has none of its own. */
static void infer_attention(struct ask *a, struct cn_unet_config *u, int b)
{
    bool last = b == u->blocks - 1;
    const char *where = last ? "mid_block.attentions.0.transformer_blocks." : NULL;
    char text[80];

    u->down_attention[b] = has(a, "down_blocks.%d.attentions.0.norm.weight", b);
    u->up_attention[b] = a->comp == CN_COMP_UNET
                             ? has(a, "up_blocks.%d.attentions.0.norm.weight", b)
                             : has(a, "down_blocks.%d.attentions.0.norm.weight", u->blocks - 1 - b);
    if (u->down_attention[b] || where == NULL) {
        snprintf(text, sizeof(text), "down_blocks.%d.attentions.0.transformer_blocks.", b);
        where = text;
    }
    u->transformer_layers[b] = count_tensors(a, where, ".norm1.weight");
    if (!u->down_attention[b] && !(last && has(a, "mid_block.attentions.0.norm.weight")))
        u->transformer_layers[b] = CN_MAX(u->transformer_layers[b], 1); /* of nothing */
    u->heads[b] = 8;
    if (u->cross_attention_dim == SD2_CONTEXT || u->add_dim > 0)
        u->heads[b] = CN_MAX(u->channels[b] / 64, 1);
}

/* Width of the text, by the first block that reads it; 0: none does. */
static int infer_context(struct ask *a)
{
    static const char *const first[] = {
        "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight",
        "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight",
        "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k.weight"};

    /* SDXL has ControlNets that look at the picture alone. */
    if (has(a, "mid_block.attentions.0.norm.weight") && !has(a, "%s", first[0]))
        return 0;
    for (size_t i = 0; i < CN_LEN(first); i++)
        if (has(a, "%s", first[i]))
            return dim(a, 1, "%s", first[i]);
    return dim(a, 1, "%s", first[0]);
}

static void infer_unet(struct ask *a, struct cn_unet_config *u)
{
    const struct cn_tensor_view *proj;

    /* A difference file leaves out what training did not change. */
    u->in_channels =
        a->c->difference && !has(a, "conv_in.weight") ? 4 : dim(a, 1, "conv_in.weight");
    u->out_channels = a->comp == CN_COMP_UNET ? dim(a, 0, "conv_out.weight") : u->in_channels;
    u->blocks = count_blocks(a, "down_blocks.", ".resnets.0.conv1.weight");
    u->layers_per_block = count_tensors(a, "down_blocks.0.resnets.", ".conv1.weight");
    u->cross_attention_dim = infer_context(a);
    if (has(a, "add_embedding.linear_1.weight"))
        u->add_dim = dim(a, 1, "add_embedding.linear_1.weight");
    for (int b = 0; b < u->blocks; b++)
        u->channels[b] = dim(a, 0, "down_blocks.%d.resnets.0.conv1.weight", b);
    for (int b = 0; b < u->blocks; b++)
        infer_attention(a, u, b);
    u->mid_attention = has(a, "mid_block.attentions.0.norm.weight") || a->c->difference;
    proj = cn_checkpoint_get(a->c, a->comp, "mid_block.attentions.0.proj_in.weight");
    u->linear_projection = proj != NULL && proj->rank == 2;
    if (has(a, "time_embedding.cond_proj.weight"))
        u->time_cond_proj_dim = dim(a, 1, "time_embedding.cond_proj.weight");
    u->norm_groups = SD_GROUPS;
    u->norm_eps = 1e-5;
    u->flip_sin_to_cos = true;
    u->sample_height = u->sample_width = u->add_dim > 0 ? 128 : 64;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

static void infer_hint(struct ask *a, struct cn_control_config *c)
{
    int n = count_tensors(a, "controlnet_cond_embedding.blocks.", ".weight");

    c->hint_channels = dim(a, 1, "controlnet_cond_embedding.conv_in.weight");
    c->hint_out[0] = dim(a, 0, "controlnet_cond_embedding.conv_in.weight");
    c->hint_blocks = n / 2 + 1;
    if ((n % 2 != 0 || c->hint_blocks > CN_MAX_HINT) && a->rc == CN_OK)
        a->rc = cn_fail(a->err, CN_EFORMAT,
                        "\"%s\": a hint encoder of %d convolutions is not "
                        "supported",
                        a->c->path, n + 2);
    for (int i = 1; a->rc == CN_OK && i < c->hint_blocks; i++)
        c->hint_out[i] = dim(a, 0, "controlnet_cond_embedding.blocks.%d.weight", 2 * i - 1);
    /* "Shuffle" nets pool their outputs; only the file's own name tells, not a folder's above it.
     */
    c->global_pool = strstr(base_name(a->c->path), "shuffle") != NULL;
}

/* By the decoder, which every one has; its levels stand in the other order. */
static void infer_vae(struct ask *a, struct cn_vae_config *v)
{
    v->decoder_only = !has(a, "encoder.conv_in.weight");
    v->out_channels = dim(a, 0, "decoder.conv_out.weight");
    v->in_channels = v->decoder_only ? v->out_channels : dim(a, 1, "encoder.conv_in.weight");
    v->latent_channels = dim(a, 1, "decoder.conv_in.weight");
    v->blocks = count_blocks(a, "decoder.up_blocks.", ".resnets.0.conv1.weight");
    for (int b = 0; b < v->blocks; b++)
        v->channels[b] =
            dim(a, 0, "decoder.up_blocks.%d.resnets.0.conv1.weight", v->blocks - 1 - b);
    v->layers_per_block =
        CN_MAX(count_tensors(a, "decoder.up_blocks.0.resnets.", ".conv1.weight") - 1, 1);
    v->norm_groups = SD_GROUPS;
    v->mid_attention = has(a, "decoder.mid_block.attentions.0.to_q.weight");
    v->use_quant_conv = has(a, "quant_conv.weight");
    v->use_post_quant_conv = has(a, "post_quant_conv.weight");
    v->scaling_factor = 0; /* of the family: cn_checkpoint_settle() */
}

static void infer_text(struct ask *a, int i, struct cn_text_config *t)
{
    const char *token = "text_model.embeddings.token_embedding.weight";
    const char *position = "text_model.embeddings.position_embedding.weight";

    t->vocab_size = dim(a, 0, "%s", token);
    t->hidden_size = dim(a, 1, "%s", token);
    t->max_position = dim(a, 0, "%s", position);
    t->layers = count_tensors(a, "text_model.encoder.layers.", ".layer_norm1.weight");
    t->intermediate_size = dim(a, 0, "text_model.encoder.layers.0.mlp.fc1.weight");
    t->heads = CN_MAX(t->hidden_size / 64, 1);
    t->layer_norm_eps = 1e-5;
    /* SD 2's encoder is OpenCLIP's, with the exact GELU, and so is SDXL's second. */
    t->act = t->hidden_size == SD2_CONTEXT || t->hidden_size == BIG_G_WIDTH || i > 0 ||
                     a->c->openclip[i]
                 ? CN_GELU
                 : CN_QUICK_GELU;
    /* The two specials are CLIP's last; tokens that were added to a model come after them. */
    t->bos_token = CN_MAX(CN_MIN(t->vocab_size, (int)CLIP_VOCAB) - 2, 0);
    t->eos_token = CN_MIN(t->vocab_size, (int)CLIP_VOCAB) - 1;
    if (i > 0) /* as the configuration that was published with SDXL */
        t->eos_token = CN_OLD_EOS;
    t->pad_token = t->act == CN_GELU ? 0 : t->eos_token;
}

/* What the notes beside the tensors say, in the words of trainers and of ComfyUI. */
static const char *said_prediction(const struct cn_tensor_file *st)
{
    static const char *const keys[] = {"modelspec.prediction_type", "modelspec.predict_key"};

    for (size_t i = 0; i < CN_LEN(keys); i++) {
        const char *said = cn_tensor_file_metadata(st, keys[i]);

        if (said != NULL && (strcmp(said, "v") == 0 || strcmp(said, "epsilon") == 0))
            return said;
    }
    return NULL;
}

/* SD 2's 768 models predict v, its 512 "base" models (trained for 875,000 steps) and its
 * inpainting model noise. Newer tools mark their files with a tensor "v_pred". */
static bool predicts_v(const struct cn_checkpoint *c, const struct cn_tensor_file *st)
{
    const char *said = said_prediction(st);
    struct cn_tensor_view step;
    int64_t n = 0;

    if (said != NULL)
        return said[0] == 'v';
    if (cn_tensor_file_has(st, "v_pred"))
        return true;
    if (c->unet.cross_attention_dim != SD2_CONTEXT || c->unet.in_channels != c->unet.out_channels)
        return false;
    said = cn_tensor_file_metadata(st, "global_step"); /* a number beside pickled weights */
    if (said != NULL)
        return strcmp(said, "875000") != 0;
    if (cn_tensor_file_find(st, "global_step", &step, NULL) == CN_OK && step.dtype == CN_I64 &&
        step.bytes == 8 && cn_view_read(&step, &n, NULL) < 0)
        n = 0; /* it is not readable any more: the first weight will tell */
    return n != 875000;
}

/* Noise levels up to a latent of noise alone. */
static bool has_zero_snr(const struct cn_tensor_file *st)
{
    const char *said = cn_tensor_file_metadata(st, "ss_zero_terminal_snr");

    return cn_tensor_file_has(st, "ztsnr") ||
           (said != NULL && (strcmp(said, "True") == 0 || strcmp(said, "true") == 0));
}

/* Marks of models whose noise levels or whose answers are others altogether. */
static int refuse_marks(const struct cn_checkpoint *c, const struct cn_tensor_file *st,
                        struct cn_err *err)
{
    static const struct {
        const char *tensor, *what;
    } marks[] = {{"edm_mean", "Playground v2.5, whose latents have a mean of their own"},
                 {"edm_vpred.sigma_max", "CosXL, whose noise levels are continuous"}};

    for (size_t i = 0; c->comp[CN_COMP_UNET].present && i < CN_LEN(marks); i++)
        if (cn_tensor_file_has(st, marks[i].tensor))
            return cn_fail(err, CN_EINVAL, "\"%s\" is a model of %s (\"%s\"): not supported",
                           c->path, marks[i].what, marks[i].tensor);
    return CN_OK;
}

/* The scheduler_config.json that was published with SD 1.5, which says nothing about the spacing,
 * or with SDXL: the same model as a directory and as a file must give the same picture. The last
 * level of zero SNR is drawn from only when steps are counted from the end. */
static void infer_schedule(struct cn_checkpoint *c, const struct cn_tensor_file *st)
{
    bool zero_snr = has_zero_snr(st);

    c->schedule = (struct cn_schedule_config){
        .train_steps = 1000,
        .beta_start = 0.00085,
        .beta_end = 0.012,
        .beta_schedule = CN_BETA_SCALED_LINEAR,
        .prediction = predicts_v(c, st) ? CN_PREDICT_V : CN_PREDICT_EPSILON,
        .spacing = zero_snr              ? CN_TRAILING
                   : c->unet.add_dim > 0 ? CN_LEADING
                                         : CN_SPACING_MODEL,
        .steps_offset = 1,
        .rescale_zero_snr = zero_snr,
    };
    if (c->schedule.prediction == CN_PREDICT_V && c->unet.cross_attention_dim == SD2_CONTEXT)
        c->unet.sample_height = c->unet.sample_width = 96;
}

static int infer_component(struct cn_checkpoint *c, enum cn_component comp, struct cn_err *err)
{
    struct ask a = {.c = c, .comp = comp, .err = err};

    if (!c->comp[comp].present)
        return CN_OK;
    switch (comp) {
    case CN_COMP_TEXT:
    case CN_COMP_TEXT_2:
        infer_text(&a, (int)(comp - CN_COMP_TEXT), &c->text[comp - CN_COMP_TEXT]);
        break;
    case CN_COMP_UNET:
        infer_unet(&a, &c->unet);
        break;
    case CN_COMP_VAE:
        infer_vae(&a, &c->vae);
        break;
    default:
        infer_unet(&a, &c->control.unet);
        infer_hint(&a, &c->control);
    }
    return a.rc;
}

/* The averages of the training's weights take the place of the weights. */
static int use_average(struct cn_checkpoint *c, struct cn_err *err)
{
    struct cn_component_tensors *unet = &c->comp[CN_COMP_UNET], plain = *unet;

    if (c->average.count == 0)
        return cn_fail(err, CN_EINVAL,
                       "\"%s\" has no averages of the training's weights (model_ema)", c->path);
    if (c->average.count != plain.count)
        return cn_fail(err, CN_EFORMAT,
                       "\"%s\": there are averages (model_ema) of %zu of the unet's %zu tensors",
                       c->path, c->average.count, plain.count);
    *unet = c->average;
    c->average = plain;
    c->uses_average = true;
    return cn_checkpoint_sort(c, CN_COMP_UNET, err);
}

static int check(const struct cn_checkpoint *c, struct cn_err *err)
{
    int rc = CN_OK;

    if (c->comp[CN_COMP_UNET].present)
        rc = cn_check_unet(c->path, &c->unet, err);
    if (rc == CN_OK && c->comp[CN_COMP_CONTROL].present)
        rc = cn_check_unet(c->path, &c->control.unet, err);
    if (rc == CN_OK && c->comp[CN_COMP_VAE].present)
        rc = cn_check_vae(c->path, &c->vae, err);
    for (int i = 0; i < CN_MAX_TEXTS; i++)
        if (rc == CN_OK && c->comp[CN_COMP_TEXT + i].present)
            rc = cn_check_text(c->path, &c->text[i], err);
    return rc;
}

int cn_checkpoint_infer(struct cn_checkpoint *c, const struct cn_tensor_file *st,
                        struct cn_err *err)
{
    int rc = refuse_marks(c, st, err);

    for (int i = 0; rc == CN_OK && i < CN_COMP_COUNT; i++)
        rc = infer_component(c, (enum cn_component)i, err);
    if (rc < 0)
        return rc;
    infer_schedule(c, st);
    rc = cn_checkpoint_yaml(c, err);
    if (rc == CN_OK)
        rc = cn_checkpoint_sidecar(c, err);
    if (c->asked != CN_EMA_MODEL)
        c->weights = c->asked;
    if (rc == CN_OK && c->weights == CN_EMA_YES && c->comp[CN_COMP_UNET].present)
        rc = use_average(c, err);
    if (rc < 0)
        return rc;
    rc = check(c, err);
    if (rc < 0) {
        char *beside = cn_sidecar_path(c->path);

        cn_err_prefix(err, "the shapes do not say everything, \"%s\" can", beside);
        free(beside);
    }
    return rc;
}
