/* "NAME.yaml" next to NAME.safetensors: the configuration of latent diffusion's own programs, which
 * AUTOMATIC1111's web UI looks for there (v1-inference.yaml, v2-inference-v.yaml, cldm_v15.yaml).
 * What shapes do not say is taken from it; what they do say must agree; what is neither must be
 * known to change nothing. */
#include "base/base.h"
#include "base/mem.h"
#include "checkpoint/checkpoint_priv.h"
#include "checkpoint/yaml.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* One key's value on its way to the checkpoint. */
struct entry {
    struct cn_checkpoint *c;
    struct cn_unet_config *u; /* of the UNet, or of the ControlNet where there is none */
    const char *path, *key, *value;
    struct cn_err *err;
};

static int bad(const struct entry *e, const char *what)
{
    return cn_fail(e->err, CN_EINVAL, "\"%s\": \"%.100s\": %s (value %.60s)", e->path, e->key, what,
                   e->value);
}

/* ---- values ---- */

static int read_real(const struct entry *e, double min, double max, double *ret)
{
    char *end;
    double x = strtod(e->value, &end);

    if (end == e->value || *end != '\0' || !isfinite(x) || x < min || x > max)
        return bad(e, "not a number in its range");
    *ret = x;
    return CN_OK;
}

static int read_int(const struct entry *e, int min, int max, int *ret)
{
    double x = 0;
    int rc = read_real(e, min, max, &x);

    if (rc == CN_OK && x != (int)x)
        return bad(e, "not a whole number");
    if (rc == CN_OK)
        *ret = (int)x;
    return rc;
}

static bool is_true(const struct entry *e)
{
    return strcasecmp(e->value, "true") == 0;
}

static bool is_off(const struct entry *e)
{
    return e->value[0] == '\0' || strcasecmp(e->value, "false") == 0 ||
           strcasecmp(e->value, "null") == 0 || strcmp(e->value, "~") == 0;
}

static int read_bool(const struct entry *e, bool *ret)
{
    if (!is_true(e) && !is_off(e))
        return bad(e, "neither true nor false");
    *ret = is_true(e);
    return CN_OK;
}

/* The last word of a Python name. */
static const char *class_of(const struct entry *e)
{
    const char *dot = strrchr(e->value, '.');

    return dot != NULL ? dot + 1 : e->value;
}

static int one_of(const struct entry *e, const char *word, const char *const *words)
{
    for (; *words != NULL; words++)
        if (strcmp(word, *words) == 0)
            return CN_OK;
    return bad(e, "not supported");
}

/* ---- keys ---- */

static int model_class(const struct entry *e)
{
    static const char *const words[] = {"LatentDiffusion", "LatentInpaintDiffusion",
                                        "LatentDepth2ImageDiffusion", "ControlLDM", NULL};

    return one_of(e, class_of(e), words);
}

static int unet_class(const struct entry *e)
{
    static const char *const words[] = {"UNetModel", "ControlledUnetModel", "ControlledUNetModel",
                                        NULL};

    return one_of(e, class_of(e), words);
}

static int vae_class(const struct entry *e)
{
    return one_of(e, class_of(e), (const char *const[]){"AutoencoderKL", NULL});
}

static int text_class(const struct entry *e)
{
    return one_of(e, class_of(e),
                  (const char *const[]){"FrozenCLIPEmbedder", "FrozenOpenCLIPEmbedder", NULL});
}

/* OpenCLIP's encoder is read before its last layer, CLIP's after it. */
static int text_layer(const struct entry *e)
{
    if (!e->c->comp[CN_COMP_TEXT].present)
        return CN_OK;
    return one_of(e, e->value,
                  (const char *const[]){e->c->openclip[0] ? "penultimate" : "last", NULL});
}

static int conditioning(const struct entry *e)
{
    return one_of(e, e->value, (const char *const[]){"crossattn", "hybrid", NULL});
}

static int linear_start(const struct entry *e)
{
    return read_real(e, 0, 1, &e->c->schedule.beta_start);
}

static int linear_end(const struct entry *e)
{
    return read_real(e, 0, 1, &e->c->schedule.beta_end);
}

static int timesteps(const struct entry *e)
{
    return read_int(e, 2, 100000, &e->c->schedule.train_steps);
}

/* What is linear there is so in the roots of beta. */
static int beta_schedule(const struct entry *e)
{
    static const char *const words[] = {"linear", "sqrt_linear", "cosine", NULL};
    static const enum cn_beta meaning[] = {CN_BETA_SCALED_LINEAR, CN_BETA_LINEAR, CN_BETA_COSINE};

    for (int i = 0; words[i] != NULL; i++)
        if (strcmp(e->value, words[i]) == 0) {
            e->c->schedule.beta_schedule = meaning[i];
            return CN_OK;
        }
    return bad(e, "not supported");
}

static int parameterization(const struct entry *e)
{
    int rc = one_of(e, e->value, (const char *const[]){"eps", "v", NULL});

    if (rc == CN_OK)
        e->c->schedule.prediction = e->value[0] == 'v' ? CN_PREDICT_V : CN_PREDICT_EPSILON;
    return rc;
}

/* A file without such weights has none to use. */
static int use_ema(const struct entry *e)
{
    bool yes = false;
    int rc = read_bool(e, &yes);

    if (rc == CN_OK && yes && e->c->average.count > 0)
        e->c->weights = CN_EMA_YES;
    return rc;
}

static int scale_factor(const struct entry *e)
{
    return read_real(e, 1e-6, 1e6, &e->c->vae.scaling_factor);
}

static int global_pool(const struct entry *e)
{
    return read_bool(e, &e->c->control.global_pool);
}

static int num_heads(const struct entry *e)
{
    int n = 0, rc = read_int(e, -1, 16384, &n);

    for (int i = 0; rc == CN_OK && n > 0 && i < e->u->blocks; i++)
        e->u->heads[i] = n;
    return rc;
}

static int head_channels(const struct entry *e)
{
    int n = 0, rc = read_int(e, -1, 16384, &n);

    for (int i = 0; rc == CN_OK && n > 0 && i < e->u->blocks; i++) {
        if (e->u->channels[i] % n != 0)
            return bad(e, "the channels do not divide by it");
        e->u->heads[i] = e->u->channels[i] / n;
    }
    return rc;
}

/* ---- keys that repeat what shapes say ---- */

static int agrees(const struct entry *e, int have)
{
    char what[80];
    int n = 0, rc = read_int(e, 0, 1 << 20, &n);

    snprintf(what, sizeof(what), "the tensors say %d", have);
    return rc == CN_OK && n != have ? bad(e, what) : rc;
}

static int in_channels(const struct entry *e)
{
    return agrees(e, e->u->in_channels);
}

static int out_channels(const struct entry *e)
{
    return e->u == &e->c->unet ? agrees(e, e->u->out_channels) : CN_OK;
}

static int model_channels(const struct entry *e)
{
    return agrees(e, e->u->channels[0]);
}

static int context_dim(const struct entry *e)
{
    return agrees(e, e->u->cross_attention_dim);
}

static int res_blocks(const struct entry *e)
{
    return agrees(e, e->u->layers_per_block);
}

static int linear_transformer(const struct entry *e)
{
    bool yes = false;
    int rc = read_bool(e, &yes);

    if (rc == CN_OK && yes != e->u->linear_projection)
        return bad(e, "the tensors say otherwise");
    return rc;
}

static int must_be_off(const struct entry *e)
{
    return is_off(e) ? CN_OK : bad(e, "not supported");
}

static int must_be_on(const struct entry *e)
{
    return is_true(e) ? CN_OK : bad(e, "not supported");
}

static int free_value(const struct entry *e)
{
    (void)e;
    return CN_OK;
}

/* Below "model."; a name that ends with a point stands for all keys below it. The first that fits
 * counts. What is free concerns training, memory, or names of a program's own, or is said by the
 * shapes of tensors. */
static const struct {
    const char *key;
    int (*take)(const struct entry *e);
} keys[] = {
    {"target", model_class},
    {"base_learning_rate", free_value},
    {"params.linear_start", linear_start},
    {"params.linear_end", linear_end},
    {"params.timesteps", timesteps},
    {"params.beta_schedule", beta_schedule},
    {"params.parameterization", parameterization},
    {"params.use_ema", use_ema},
    {"params.scale_factor", scale_factor},
    {"params.conditioning_key", conditioning},
    {"params.global_average_pooling", global_pool},
    {"params.only_mid_control", must_be_off},
    {"params.scale_by_std", must_be_off},
    {"params.given_betas", must_be_off},
    {"params.control_stage_config.", free_value}, /* twice what unet_config says */
    {"params.unet_config.target", unet_class},
    {"params.unet_config.params.in_channels", in_channels},
    {"params.unet_config.params.out_channels", out_channels},
    {"params.unet_config.params.model_channels", model_channels},
    {"params.unet_config.params.context_dim", context_dim},
    {"params.unet_config.params.num_res_blocks", res_blocks},
    {"params.unet_config.params.num_heads", num_heads},
    {"params.unet_config.params.num_head_channels", head_channels},
    {"params.unet_config.params.use_linear_in_transformer", linear_transformer},
    {"params.unet_config.params.use_spatial_transformer", must_be_on},
    {"params.unet_config.params.use_scale_shift_norm", must_be_off},
    {"params.unet_config.params.resblock_updown", must_be_off},
    {"params.unet_config.params.num_classes", must_be_off},
    {"params.unet_config.params.disable_self_attentions", must_be_off},
    {"params.unet_config.params.adm_in_channels", must_be_off},
    {"params.unet_config.params.channel_mult", free_value},
    {"params.unet_config.params.channel_mult.-", free_value},
    {"params.unet_config.params.attention_resolutions", free_value},
    {"params.unet_config.params.attention_resolutions.-", free_value},
    {"params.unet_config.params.transformer_depth", free_value},
    {"params.unet_config.params.image_size", free_value},
    {"params.unet_config.params.use_checkpoint", free_value},
    {"params.unet_config.params.use_fp16", free_value},
    {"params.unet_config.params.use_bf16", free_value},
    {"params.unet_config.params.legacy", free_value},
    {"params.unet_config.params.dropout", free_value},
    {"params.first_stage_config.target", vae_class},
    {"params.first_stage_config.params.", free_value},
    {"params.cond_stage_config.target", text_class},
    {"params.cond_stage_config.params.layer", text_layer},
    {"params.cond_stage_config.params.freeze", free_value},
    {"params.cond_stage_config.params.version", free_value},
    {"params.cond_stage_config.params.device", free_value},
    {"params.cond_stage_config.params", free_value}, /* {} */
    {"params.depth_stage_config.", free_value},      /* requests bring the depth map */
    {"params.scheduler_config.", free_value},        /* of the learning rate */
    {"params.concat_keys", free_value},
    {"params.concat_keys.-", free_value},
    {"params.finetune_keys", free_value},
    {"params.masked_image_key", free_value},
    {"params.log_every_t", free_value},
    {"params.first_stage_key", free_value},
    {"params.cond_stage_key", free_value},
    {"params.cond_stage_trainable", free_value},
    {"params.control_key", free_value},
    {"params.image_size", free_value},
    {"params.channels", free_value},
    {"params.monitor", free_value},
    {"params.num_timesteps_cond", free_value},
    {"params.loss_type", free_value},
    {"params.v_posterior", free_value},
    {"params.original_elbo_weight", free_value},
    {"params.l_simple_weight", free_value},
    {"params.learn_logvar", free_value},
    {"params.logvar_init", free_value},
    {"params.ucg_training.", free_value},
    {"params.unet_trainable", free_value},
    {"params.sd_locked", free_value},
    {"params.ckpt_path", free_value},
    {"params.ignore_keys", free_value},
    {"params.load_only_unet", free_value},
};

static bool fits(const char *row, const char *key)
{
    size_t n = strlen(row);

    return row[n - 1] == '.' ? strncmp(key, row, n) == 0 : strcmp(key, row) == 0;
}

/* Other sections (data, lightning) are of training. */
static int take(void *ctx, const char *key, const char *value, struct cn_err *err)
{
    struct entry e = *(struct entry *)ctx;

    if (strncmp(key, "model.", 6) != 0)
        return CN_OK;
    e.key = key;
    e.value = value;
    e.err = err;
    for (size_t i = 0; i < CN_LEN(keys); i++)
        if (fits(keys[i].key, key + 6))
            return keys[i].take(&e);
    return bad(&e, "an unknown setting");
}

int cn_checkpoint_yaml(struct cn_checkpoint *c, struct cn_err *err)
{
    char *path =
        cn_xprintf("%.*s.yaml", (int)(strlen(c->path) - cn_checkpoint_ending(c->path)), c->path);
    bool unet = c->comp[CN_COMP_UNET].present;
    struct entry e = {.c = c, .u = unet ? &c->unet : &c->control.unet, .path = path};
    int rc = CN_OK;

    if ((unet || c->comp[CN_COMP_CONTROL].present) && cn_file_exists(path))
        rc = cn_yaml_read(path, take, &e, err);
    free(path);
    return rc;
}
