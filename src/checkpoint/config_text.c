/* config.json of text encoders (transformers' names and defaults), and scheduler_config.json, the
 * noise schedule that a model was trained with. */
#include "base/base.h"
#include "base/spec.h"
#include "checkpoint/config.h"
#include "checkpoint/checkpoint_priv.h"

#include <limits.h>
#include <string.h>

static void read_act(struct cn_conf *f, struct cn_text_config *t)
{
    const char *act = cn_conf_string(f, "hidden_act", NULL);

    if (act == NULL)
        return;
    t->act = strcmp(act, "gelu") == 0 ? CN_GELU : CN_QUICK_GELU;
    if (t->act == CN_QUICK_GELU && strcmp(act, "quick_gelu") != 0)
        cn_conf_bad(f, "hidden_act", "\"%.40s\" is neither quick_gelu nor gelu", act);
}

static void read_text(struct cn_conf *f, struct cn_text_config *t)
{
    const char *type = cn_conf_string(f, "model_type", "clip_text_model");

    if (strcmp(type, "clip_text_model") != 0)
        cn_conf_bad(f, "model_type", "\"%.60s\" instead of \"clip_text_model\"", type);
    t->vocab_size = (int)cn_conf_int(f, "vocab_size", 49408, 1, 1 << 22);
    t->hidden_size = (int)cn_conf_int(f, "hidden_size", 512, 1, 1 << 14);
    t->intermediate_size = (int)cn_conf_int(f, "intermediate_size", 2048, 1, 1 << 16);
    t->layers = (int)cn_conf_int(f, "num_hidden_layers", 12, 1, 256);
    t->heads = (int)cn_conf_int(f, "num_attention_heads", 8, 1, 256);
    t->max_position = (int)cn_conf_int(f, "max_position_embeddings", 77, 1, 1 << 14);
    t->layer_norm_eps = cn_conf_real(f, "layer_norm_eps", 1e-5, 0, 1);
    t->bos_token = (int)cn_conf_int(f, "bos_token_id", 49406, 0, INT_MAX);
    t->eos_token = (int)cn_conf_int(f, "eos_token_id", 49407, 0, INT_MAX);
    t->pad_token = (int)cn_conf_int(f, "pad_token_id", 1, 0, INT_MAX);
    t->act = CN_QUICK_GELU;
    read_act(f, t);
    if (cn_conf_bool(f, "use_attention_mask", false))
        cn_conf_bad(f, "use_attention_mask", "not supported");
}

int cn_check_text(const char *path, const struct cn_text_config *t, struct cn_err *err)
{
    if (t->layers < 1)
        return cn_fail(err, CN_EINVAL, "\"%s\": num_hidden_layers is 0", path);
    if (t->hidden_size % t->heads != 0)
        return cn_fail(err, CN_EINVAL,
                       "\"%s\": num_attention_heads: hidden_size %d does not divide into %d heads",
                       path, t->hidden_size, t->heads);
    return CN_OK;
}

int cn_conf_text(const char *path, bool projects, struct cn_text_config *ret, struct cn_err *err)
{
    struct cn_text_config t = {0};
    struct cn_conf f;
    int rc = cn_conf_open(&f, path, err);

    if (rc < 0)
        return rc;
    read_text(&f, &t);
    if (projects)
        t.projection = (int)cn_conf_int(&f, "projection_dim", 512, 1, 1 << 14);
    rc = f.rc;
    cn_conf_close(&f);
    if (rc == CN_OK)
        rc = cn_check_text(path, &t, err);
    if (rc == CN_OK)
        *ret = t;
    return rc;
}

static void read_prediction(struct cn_conf *f, struct cn_schedule_config *s)
{
    const char *p = cn_conf_string(f, "prediction_type", NULL);

    if (p == NULL)
        return;
    s->prediction = strcmp(p, "v_prediction") == 0 ? CN_PREDICT_V : CN_PREDICT_EPSILON;
    if (s->prediction == CN_PREDICT_EPSILON && strcmp(p, "epsilon") != 0)
        cn_conf_bad(f, "prediction_type", "\"%.40s\" is neither epsilon nor v_prediction", p);
}

static void read_beta(struct cn_conf *f, struct cn_schedule_config *s)
{
    const char *b = cn_conf_string(f, "beta_schedule", NULL);

    s->beta_start = cn_conf_real(f, "beta_start", s->beta_start, 0, 1);
    s->beta_end = cn_conf_real(f, "beta_end", s->beta_end, 0, 1);
    if (b == NULL)
        return;
    if (strcmp(b, "linear") == 0)
        s->beta_schedule = CN_BETA_LINEAR;
    else if (strcmp(b, "scaled_linear") == 0)
        s->beta_schedule = CN_BETA_SCALED_LINEAR;
    else if (strcmp(b, "squaredcos_cap_v2") == 0)
        s->beta_schedule = CN_BETA_COSINE;
    else
        cn_conf_bad(f, "beta_schedule", "\"%.40s\" is not supported", b);
}

static void read_schedule(struct cn_conf *f, struct cn_schedule_config *s)
{
    static const struct cn_rule rules[] = {
        {.key = "trained_betas", .kind = CN_RULE_NONE},
        {.key = "thresholding", .kind = CN_RULE_NONE},
        {.key = "clip_sample", .kind = CN_RULE_NONE},
        {.key = "skip_prk_steps", .kind = CN_RULE_TRUE},
    };
    const char *spacing = cn_conf_string(f, "timestep_spacing", NULL);

    s->train_steps = (int)cn_conf_int(f, "num_train_timesteps", s->train_steps, 2, 100000);
    read_beta(f, s);
    read_prediction(f, s);
    s->spacing = spacing ? cn_enum_find(&cn_enum_spacing, spacing) : s->spacing;
    if (spacing != NULL && s->spacing <= CN_SPACING_MODEL)
        cn_conf_bad(f, "timestep_spacing", "\"%.40s\" is not leading, trailing or linspace",
                    spacing);
    s->steps_offset = (int)cn_conf_int(f, "steps_offset", s->steps_offset, 0, 1000);
    s->set_alpha_to_one = cn_conf_bool(f, "set_alpha_to_one", s->set_alpha_to_one);
    s->rescale_zero_snr = cn_conf_bool(f, "rescale_betas_zero_snr", s->rescale_zero_snr);
    cn_conf_rules(f, rules, CN_LEN(rules), false);
}

int cn_conf_schedule(const char *path, struct cn_schedule_config *ret, struct cn_err *err)
{
    /* The defaults that all the classes share. */
    struct cn_schedule_config s = {.train_steps = 1000,
                                   .beta_start = 0.0001,
                                   .beta_end = 0.02,
                                   .beta_schedule = CN_BETA_LINEAR,
                                   .spacing = CN_SPACING_MODEL};
    struct cn_conf f;
    int rc = cn_conf_open(&f, path, err);

    if (rc < 0)
        return rc;
    /* Absent, the DDIM class means true and all others false. */
    s.set_alpha_to_one = strcmp(cn_conf_string(&f, "_class_name", ""), "DDIMScheduler") == 0;
    read_schedule(&f, &s);
    rc = f.rc;
    cn_conf_close(&f);
    if (rc == CN_OK)
        *ret = s;
    return rc;
}

void cn_conf_amend_schedule(struct cn_conf *f, struct cn_schedule_config *s)
{
    static const struct cn_rule rules[] = {
        {.key = "num_train_timesteps"},
        {.key = "beta_start"},
        {.key = "beta_end"},
        {.key = "beta_schedule"},
        {.key = "prediction_type"},
        {.key = "timestep_spacing"},
        {.key = "steps_offset"},
        {.key = "set_alpha_to_one"},
        {.key = "rescale_betas_zero_snr"},
    };

    read_schedule(f, s);
    cn_conf_rules(f, rules, CN_LEN(rules), true);
}

void cn_conf_amend_text(struct cn_conf *f, struct cn_text_config *t)
{
    static const struct cn_rule rules[] = {{.key = "num_attention_heads"},
                                           {.key = "hidden_act"},
                                           {.key = "layer_norm_eps"},
                                           {.key = "pad_token_id"}};

    t->heads = (int)cn_conf_int(f, "num_attention_heads", t->heads, 1, 256);
    t->layer_norm_eps = cn_conf_real(f, "layer_norm_eps", t->layer_norm_eps, 0, 1);
    t->pad_token = (int)cn_conf_int(f, "pad_token_id", t->pad_token, 0, t->vocab_size - 1);
    read_act(f, t);
    cn_conf_rules(f, rules, CN_LEN(rules), true);
}
