/* config.json of text encoders (transformers' names and defaults). */
#include "base/base.h"
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
