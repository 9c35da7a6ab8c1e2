/* config.json of UNets, ControlNets and autoencoders. Defaults are those of the diffusers classes:
 * a key that the file lacks means what the class would make of it. */
#include "base/base.h"
#include "checkpoint/config.h"
#include "checkpoint/checkpoint_priv.h"

#include <string.h>

enum { MAX_CHANNELS = 16384, MAX_LAYERS = 64 };

/* Keys that UNets and ControlNets share. Everything that changes the network and is not read
 * below stands here with the one value that we implement. */
static const struct cn_rule unet_rules[] = {
    {.key = "in_channels"},
    {.key = "out_channels"},
    {.key = "sample_size", .kind = CN_RULE_OPTIONAL},
    {.key = "block_out_channels"},
    {.key = "down_block_types"},
    {.key = "up_block_types"},
    {.key = "layers_per_block"},
    {.key = "attention_head_dim"},
    {.key = "num_attention_heads", .kind = CN_RULE_OPTIONAL},
    {.key = "transformer_layers_per_block"},
    {.key = "cross_attention_dim"},
    {.key = "norm_num_groups"},
    {.key = "norm_eps"},
    {.key = "use_linear_projection", .kind = CN_RULE_OPTIONAL},
    {.key = "flip_sin_to_cos", .kind = CN_RULE_OPTIONAL},
    {.key = "freq_shift"},
    {.key = "time_cond_proj_dim", .kind = CN_RULE_OPTIONAL},
    {.key = "time_embedding_dim", .kind = CN_RULE_OPTIONAL},
    {.key = "addition_embed_type", .kind = CN_RULE_OPTIONAL},
    {.key = "addition_time_embed_dim", .kind = CN_RULE_OPTIONAL},
    {.key = "projection_class_embeddings_input_dim", .kind = CN_RULE_OPTIONAL},
    {.key = "conditioning_channels"},
    {.key = "conditioning_embedding_out_channels", .kind = CN_RULE_OPTIONAL},
    {.key = "controlnet_conditioning_channel_order"},
    {.key = "global_pool_conditions", .kind = CN_RULE_OPTIONAL},
    {.key = "upcast_attention", .kind = CN_RULE_FREE}, /* scores are always summed in fp32 here */
    {.key = "dropout", .kind = CN_RULE_FREE},          /* training */
    /* parts of features that are refused below */
    {.key = "addition_embed_type_num_heads", .kind = CN_RULE_FREE},
    /* traces of training averages, which diffusers' EMAModel leaves in the file */
    {.key = "decay", .kind = CN_RULE_FREE},
    {.key = "min_decay", .kind = CN_RULE_FREE},
    {.key = "inv_gamma", .kind = CN_RULE_FREE},
    {.key = "power", .kind = CN_RULE_FREE},
    {.key = "optimization_step", .kind = CN_RULE_FREE},
    {.key = "update_after_step", .kind = CN_RULE_FREE},
    {.key = "use_ema_warmup", .kind = CN_RULE_FREE},
    {.key = "act_fn", .kind = CN_RULE_STRING, .string = "silu", .other = "swish"},
    {.key = "mid_block_type", .kind = CN_RULE_STRING, .string = "UNetMidBlock2DCrossAttn"},
    {.key = "resnet_time_scale_shift", .kind = CN_RULE_STRING, .string = "default"},
    {.key = "time_embedding_type", .kind = CN_RULE_STRING, .string = "positional"},
    {.key = "attention_type", .kind = CN_RULE_STRING, .string = "default"},
    {.key = "downsample_padding", .kind = CN_RULE_NUMBER, .number = 1},
    {.key = "mid_block_scale_factor", .kind = CN_RULE_NUMBER, .number = 1},
    {.key = "resnet_out_scale_factor", .kind = CN_RULE_NUMBER, .number = 1},
    {.key = "conv_in_kernel", .kind = CN_RULE_NUMBER, .number = 3},
    {.key = "conv_out_kernel", .kind = CN_RULE_NUMBER, .number = 3},
    {.key = "class_embed_type", .kind = CN_RULE_NONE},
    {.key = "num_class_embeds", .kind = CN_RULE_NONE},
    {.key = "class_embeddings_concat", .kind = CN_RULE_NONE},
    {.key = "encoder_hid_dim", .kind = CN_RULE_NONE},
    {.key = "encoder_hid_dim_type", .kind = CN_RULE_NONE},
    {.key = "dual_cross_attention", .kind = CN_RULE_NONE},
    {.key = "only_cross_attention", .kind = CN_RULE_NONE},
    {.key = "mid_block_only_cross_attention", .kind = CN_RULE_NONE},
    {.key = "cross_attention_norm", .kind = CN_RULE_NONE},
    {.key = "center_input_sample", .kind = CN_RULE_NONE},
    {.key = "resnet_skip_time_act", .kind = CN_RULE_NONE},
    {.key = "reverse_transformer_layers_per_block", .kind = CN_RULE_NONE},
    {.key = "time_embedding_act_fn", .kind = CN_RULE_NONE},
    {.key = "timestep_post_act", .kind = CN_RULE_NONE},
    {.key = "quantization_config", .kind = CN_RULE_NONE},
};

static const struct cn_rule vae_rules[] = {
    {.key = "in_channels"},
    {.key = "out_channels"},
    {.key = "latent_channels"},
    {.key = "block_out_channels"},
    {.key = "down_block_types"},
    {.key = "up_block_types"},
    {.key = "layers_per_block"},
    {.key = "norm_num_groups"},
    {.key = "sample_size", .kind = CN_RULE_FREE}, /* pictures have the size of the request */
    {.key = "scaling_factor"},
    {.key = "shift_factor", .kind = CN_RULE_OPTIONAL},
    {.key = "use_quant_conv", .kind = CN_RULE_OPTIONAL},
    {.key = "use_post_quant_conv", .kind = CN_RULE_OPTIONAL},
    {.key = "mid_block_add_attention", .kind = CN_RULE_OPTIONAL},
    {.key = "force_upcast", .kind = CN_RULE_FREE}, /* the backend chooses its precision */
    {.key = "act_fn", .kind = CN_RULE_STRING, .string = "silu", .other = "swish"},
    {.key = "latents_mean", .kind = CN_RULE_NONE},
    {.key = "latents_std", .kind = CN_RULE_NONE},
    {.key = "quantization_config", .kind = CN_RULE_NONE},
};

static void need_class(struct cn_conf *f, const char *name)
{
    const char *class = cn_conf_string(f, "_class_name", name);

    if (strcmp(class, name) != 0)
        cn_conf_bad(f, "_class_name", "\"%.60s\" instead of \"%s\"", class, name);
}

static int read_channels(struct cn_conf *f, int *ret, const int *otherwise, int n_otherwise)
{
    int n = cn_conf_ints(f, "block_out_channels", ret, CN_MAX_BLOCKS, 1, MAX_CHANNELS);

    if (n > 0)
        return n;
    memcpy(ret, otherwise, (size_t)n_otherwise * sizeof(int));
    return n_otherwise;
}

/* One number, or a list of equal ones. */
static int read_uniform(struct cn_conf *f, const char *key, int n, int otherwise, long limit)
{
    int each[CN_MAX_BLOCKS];

    if (!cn_conf_each(f, key, each, n, 1, limit) || f->rc < 0)
        return otherwise;
    for (int i = 1; i < n; i++)
        if (each[i] != each[0])
            cn_conf_bad(f, key, "different values per block are not supported");
    return each[0];
}

static int read_groups(struct cn_conf *f)
{
    return (int)cn_conf_int(f, "norm_num_groups", 32, 1, MAX_CHANNELS);
}

/* One number for both sides, or [height, width]. */
static void read_sample_size(struct cn_conf *f, struct cn_unet_config *u)
{
    int side[2] = {u->sample_height, u->sample_width}, n;

    if (!cn_conf_is_list(f, "sample_size")) {
        u->sample_height = (int)cn_conf_int(f, "sample_size", side[0], 0, 4096);
        u->sample_width = (int)cn_conf_int(f, "sample_size", side[1], 0, 4096);
        return;
    }
    n = cn_conf_ints(f, "sample_size", side, 2, 1, 4096);
    if (n == 1)
        cn_conf_bad(f, "sample_size", "one number in a list of height and width");
    u->sample_height = side[0];
    u->sample_width = side[1];
}

static void fill(int *each, int n, int value)
{
    for (int i = 0; i < n; i++)
        each[i] = value;
}

static void read_attention(struct cn_conf *f, struct cn_unet_config *u)
{
    int n = u->blocks;

    /* Absent, the classes say cross attention everywhere but at the lowest resolution. */
    for (int i = 0; i < n; i++) {
        u->down_attention[i] = i < n - 1;
        u->up_attention[i] = i > 0;
    }
    cn_conf_kinds(f, "down_block_types", u->down_attention, n, "CrossAttnDownBlock2D",
                  "DownBlock2D");
    cn_conf_kinds(f, "up_block_types", u->up_attention, n, "CrossAttnUpBlock2D", "UpBlock2D");
    u->mid_attention = true;
    /* attention_head_dim is the number of heads: diffusers' own naming accident. */
    fill(u->heads, n, 8);
    fill(u->transformer_layers, n, 1);
    if (!cn_conf_each(f, "num_attention_heads", u->heads, n, 1, MAX_CHANNELS))
        cn_conf_each(f, "attention_head_dim", u->heads, n, 1, MAX_CHANNELS);
    cn_conf_each(f, "transformer_layers_per_block", u->transformer_layers, n, 0, MAX_LAYERS);
    u->cross_attention_dim = read_uniform(f, "cross_attention_dim", n, 1280, MAX_CHANNELS);
}

/* What a row is told beside its time. */
static void read_added(struct cn_conf *f, struct cn_unet_config *u)
{
    const char *kind = cn_conf_string(f, "addition_embed_type", "");

    if (strcmp(kind, "text_time") == 0) {
        u->add_dim = (int)cn_conf_int(f, "projection_class_embeddings_input_dim", 0, 1, 1 << 16);
        u->add_time_dim = (int)cn_conf_int(f, "addition_time_embed_dim", 0, 2, MAX_CHANNELS);
        if (u->add_dim == 0)
            cn_conf_bad(f, "projection_class_embeddings_input_dim", "\"text_time\" needs it");
        if (u->add_time_dim == 0)
            cn_conf_bad(f, "addition_time_embed_dim", "\"text_time\" needs it");
        return;
    }
    if (kind[0] != '\0')
        cn_conf_bad(f, "addition_embed_type", "\"%.40s\" is not supported", kind);
    if (cn_conf_has(f, "projection_class_embeddings_input_dim"))
        cn_conf_bad(f, "projection_class_embeddings_input_dim",
                    "not without \"addition_embed_type\": \"text_time\"");
}

static void read_unet(struct cn_conf *f, struct cn_unet_config *u)
{
    static const int sd[] = {320, 640, 1280, 1280};

    read_added(f, u);
    u->blocks = read_channels(f, u->channels, sd, CN_LEN(sd));
    u->in_channels = (int)cn_conf_int(f, "in_channels", 4, 1, MAX_CHANNELS);
    u->out_channels = (int)cn_conf_int(f, "out_channels", 4, 1, MAX_CHANNELS);
    read_sample_size(f, u);
    u->layers_per_block = read_uniform(f, "layers_per_block", u->blocks, 2, MAX_LAYERS);
    read_attention(f, u);
    u->norm_groups = read_groups(f);
    u->norm_eps = cn_conf_real(f, "norm_eps", 1e-5, 0, 1);
    u->linear_projection = cn_conf_bool(f, "use_linear_projection", false);
    u->flip_sin_to_cos = cn_conf_bool(f, "flip_sin_to_cos", true);
    u->freq_shift = (int)cn_conf_int(f, "freq_shift", 0, 0, 1);
    u->time_cond_proj_dim = (int)cn_conf_int(f, "time_cond_proj_dim", 0, 0, MAX_CHANNELS);
    if (cn_conf_int(f, "time_embedding_dim", 4 * u->channels[0], 1, 1 << 20) != 4 * u->channels[0])
        cn_conf_bad(f, "time_embedding_dim", "not 4 times the first of block_out_channels");
    cn_conf_rules(f, unet_rules, CN_LEN(unet_rules));
}

int cn_conf_unet(const char *path, struct cn_unet_config *ret, struct cn_err *err)
{
    struct cn_unet_config u = {0};
    struct cn_conf f;
    int rc = cn_conf_open(&f, path, err);

    if (rc < 0)
        return rc;
    need_class(&f, "UNet2DConditionModel");
    read_unet(&f, &u);
    rc = f.rc;
    cn_conf_close(&f);
    if (rc == CN_OK)
        rc = cn_check_unet(path, &u, err);
    if (rc == CN_OK)
        *ret = u;
    return rc;
}

static void read_order(struct cn_conf *f, struct cn_control_config *c)
{
    const char *order =
        cn_conf_string(f, "controlnet_conditioning_channel_order", c->bgr ? "bgr" : "rgb");

    c->bgr = strcmp(order, "bgr") == 0;
    if (!c->bgr && strcmp(order, "rgb") != 0)
        cn_conf_bad(f, "controlnet_conditioning_channel_order", "\"%.40s\" is neither rgb nor bgr",
                    order);
    c->global_pool = cn_conf_bool(f, "global_pool_conditions", c->global_pool);
}

static void read_hint(struct cn_conf *f, struct cn_control_config *c)
{
    static const int hint[] = {16, 32, 96, 256};

    c->hint_channels = (int)cn_conf_int(f, "conditioning_channels", 3, 1, 256);
    c->hint_blocks = cn_conf_ints(f, "conditioning_embedding_out_channels", c->hint_out,
                                  CN_MAX_HINT, 1, MAX_CHANNELS);
    if (c->hint_blocks < 1) {
        c->hint_blocks = CN_LEN(hint);
        memcpy(c->hint_out, hint, sizeof(hint));
    }
    read_order(f, c);
}

int cn_conf_control(const char *path, struct cn_control_config *ret, struct cn_err *err)
{
    struct cn_control_config c = {0};
    struct cn_conf f;
    int rc = cn_conf_open(&f, path, err);

    if (rc < 0)
        return rc;
    need_class(&f, "ControlNetModel");
    read_unet(&f, &c.unet);
    if (c.unet.time_cond_proj_dim > 0)
        cn_conf_bad(&f, "time_cond_proj_dim", "not of a ControlNet");
    read_hint(&f, &c);
    rc = f.rc;
    cn_conf_close(&f);
    if (rc == CN_OK)
        rc = cn_check_unet(path, &c.unet, err);
    if (rc == CN_OK)
        *ret = c;
    return rc;
}

static void read_vae(struct cn_conf *f, struct cn_vae_config *v)
{
    static const int one[] = {64};
    bool plain[CN_MAX_BLOCKS];

    v->in_channels = (int)cn_conf_int(f, "in_channels", 3, 1, 64);
    v->out_channels = (int)cn_conf_int(f, "out_channels", 3, 1, 64);
    v->latent_channels = (int)cn_conf_int(f, "latent_channels", 4, 1, 256);
    v->blocks = read_channels(f, v->channels, one, CN_LEN(one));
    cn_conf_kinds(f, "down_block_types", plain, v->blocks, "DownEncoderBlock2D",
                  "DownEncoderBlock2D");
    cn_conf_kinds(f, "up_block_types", plain, v->blocks, "UpDecoderBlock2D", "UpDecoderBlock2D");
    v->layers_per_block = read_uniform(f, "layers_per_block", v->blocks, 1, MAX_LAYERS);
    v->norm_groups = read_groups(f);
    v->mid_attention = cn_conf_bool(f, "mid_block_add_attention", true);
    v->use_quant_conv = cn_conf_bool(f, "use_quant_conv", true);
    v->use_post_quant_conv = cn_conf_bool(f, "use_post_quant_conv", true);
    v->scaling_factor = cn_conf_real(f, "scaling_factor", 0.18215, 1e-6, 1e6);
    v->shift_factor = cn_conf_real(f, "shift_factor", 0, -1e6, 1e6);
    cn_conf_rules(f, vae_rules, CN_LEN(vae_rules));
}

int cn_conf_vae(const char *path, struct cn_vae_config *ret, struct cn_err *err)
{
    struct cn_vae_config v = {0};
    struct cn_conf f;
    int rc = cn_conf_open(&f, path, err);

    if (rc < 0)
        return rc;
    need_class(&f, "AutoencoderKL");
    read_vae(&f, &v);
    rc = f.rc;
    cn_conf_close(&f);
    if (rc == CN_OK)
        rc = cn_check_vae(path, &v, err);
    if (rc == CN_OK)
        *ret = v;
    return rc;
}

/* Of UNets and ControlNets alike; what only one has is read by the caller. */
static void amend_net(struct cn_conf *f, struct cn_unet_config *u)
{
    if (!cn_conf_each(f, "num_attention_heads", u->heads, u->blocks, 1, MAX_CHANNELS))
        cn_conf_each(f, "attention_head_dim", u->heads, u->blocks, 1, MAX_CHANNELS);
    u->norm_groups = (int)cn_conf_int(f, "norm_num_groups", u->norm_groups, 1, MAX_CHANNELS);
    u->norm_eps = cn_conf_real(f, "norm_eps", u->norm_eps, 0, 1);
    if (u->add_dim > 0)
        u->add_time_dim = (int)cn_conf_int(f, "addition_time_embed_dim", u->add_time_dim, 2,
                                           MAX_CHANNELS);
    read_sample_size(f, u);
}

void cn_conf_amend_unet(struct cn_conf *f, struct cn_unet_config *u)
{
    static const struct cn_rule rules[] = {{.key = "num_attention_heads"},
                                           {.key = "attention_head_dim"},
                                           {.key = "norm_num_groups"},
                                           {.key = "norm_eps"},
                                           {.key = "addition_time_embed_dim"},
                                           {.key = "sample_size"}};

    amend_net(f, u);
    cn_conf_rules(f, rules, CN_LEN(rules));
}

void cn_conf_amend_control(struct cn_conf *f, struct cn_control_config *c)
{
    static const struct cn_rule rules[] = {
        {.key = "num_attention_heads"},    {.key = "attention_head_dim"},
        {.key = "norm_num_groups"},         {.key = "norm_eps"},
        {.key = "addition_time_embed_dim"}, {.key = "global_pool_conditions"},
        {.key = "controlnet_conditioning_channel_order"}};

    amend_net(f, &c->unet);
    read_order(f, c);
    cn_conf_rules(f, rules, CN_LEN(rules));
}

void cn_conf_amend_vae(struct cn_conf *f, struct cn_vae_config *v)
{
    static const struct cn_rule rules[] = {
        {.key = "norm_num_groups"}, {.key = "scaling_factor"}, {.key = "shift_factor"}};

    v->norm_groups = (int)cn_conf_int(f, "norm_num_groups", v->norm_groups, 1, MAX_CHANNELS);
    v->scaling_factor = cn_conf_real(f, "scaling_factor", v->scaling_factor, 1e-6, 1e6);
    v->shift_factor = cn_conf_real(f, "shift_factor", v->shift_factor, -1e6, 1e6);
    cn_conf_rules(f, rules, CN_LEN(rules));
}

static int check_groups(const char *path, const int *channels, int n, int groups,
                        struct cn_err *err)
{
    for (int i = 0; i < n; i++)
        if (channels[i] % groups != 0)
            return cn_fail(err, CN_EINVAL,
                           "\"%s\": block_out_channels: %d channels do not divide into "
                           "norm_num_groups = %d",
                           path, channels[i], groups);
    return CN_OK;
}

int cn_check_unet(const char *path, const struct cn_unet_config *u, struct cn_err *err)
{
    for (int i = 0; i < u->blocks; i++) {
        bool attention =
            u->down_attention[i] || u->up_attention[u->blocks - 1 - i] || i == u->blocks - 1;

        if (attention && (u->heads[i] < 1 || u->channels[i] % u->heads[i] != 0))
            return cn_fail(err, CN_EINVAL,
                           "\"%s\": attention_head_dim: %d channels do not divide into %d heads",
                           path, u->channels[i], u->heads[i]);
    }
    if (u->layers_per_block < 1)
        return cn_fail(err, CN_EINVAL, "\"%s\": layers_per_block is 0", path);
    if (u->channels[0] % 2 != 0)
        return cn_fail(err, CN_EINVAL, "\"%s\": block_out_channels: the first is odd: %d", path,
                       u->channels[0]);
    return check_groups(path, u->channels, u->blocks, u->norm_groups, err);
}

int cn_check_vae(const char *path, const struct cn_vae_config *v, struct cn_err *err)
{
    if (v->layers_per_block < 1)
        return cn_fail(err, CN_EINVAL, "\"%s\": layers_per_block is 0", path);
    return check_groups(path, v->channels, v->blocks, v->norm_groups, err);
}
