/* config.json of text encoders (transformers' names and defaults). */
#include "base/base.h"
#include "checkpoint/config.h"
#include "checkpoint/checkpoint_priv.h"

#include <limits.h>
#include <string.h>

/* What transformers writes. What is free belongs to training, to other tasks, or to the way a model
 * is called, which is ours to choose. */
static const struct cn_rule text_rules[] = {
    {.key = "model_type"},
    {.key = "vocab_size"},
    {.key = "hidden_size"},
    {.key = "intermediate_size"},
    {.key = "num_hidden_layers"},
    {.key = "num_attention_heads"},
    {.key = "max_position_embeddings"},
    {.key = "layer_norm_eps"},
    {.key = "hidden_act"},
    {.key = "use_attention_mask", .kind = CN_RULE_NONE},
    {.key = "pruned_heads", .kind = CN_RULE_NONE},
    {.key = "quantization_config", .kind = CN_RULE_NONE},
    {.key = "is_decoder", .kind = CN_RULE_NONE},
    {.key = "is_encoder_decoder", .kind = CN_RULE_NONE},
    {.key = "add_cross_attention", .kind = CN_RULE_NONE},
    {.key = "rope_scaling", .kind = CN_RULE_NONE},
    {.key = "bos_token_id", .kind = CN_RULE_OPTIONAL},
    {.key = "eos_token_id", .kind = CN_RULE_OPTIONAL},
    {.key = "pad_token_id", .kind = CN_RULE_OPTIONAL},
    {.key = "projection_dim", .kind = CN_RULE_OPTIONAL},
#define FREE(name) {.key = name, .kind = CN_RULE_FREE}
    FREE("architectures"), FREE("attention_dropout"), FREE("dropout"), FREE("initializer_factor"),
    FREE("initializer_range"), FREE("torch_dtype"), FREE("dtype"), FREE("transformers_version"),
    FREE("gradient_checkpointing"), FREE("attn_implementation"), FREE("logit_scale_init_value"),
    FREE("output_attentions"), FREE("output_hidden_states"), FREE("output_scores"),
    FREE("return_dict"), FREE("return_dict_in_generate"), FREE("torchscript"), FREE("use_bfloat16"),
    FREE("use_cache"), FREE("tie_word_embeddings"), FREE("tie_encoder_decoder"),
    FREE("chunk_size_feed_forward"), FREE("cross_attention_hidden_size"), FREE("tokenizer_class"),
    FREE("prefix"), FREE("sep_token_id"), FREE("decoder_start_token_id"), FREE("finetuning_task"),
    FREE("id2label"), FREE("label2id"), FREE("problem_type"), FREE("num_labels"),
    FREE("task_specific_params"), FREE("tf_legacy_loss"), FREE("max_length"), FREE("min_length"),
    FREE("do_sample"), FREE("early_stopping"), FREE("num_beams"), FREE("num_beam_groups"),
    FREE("diversity_penalty"), FREE("temperature"), FREE("top_k"), FREE("top_p"), FREE("typical_p"),
    FREE("repetition_penalty"), FREE("length_penalty"), FREE("no_repeat_ngram_size"),
    FREE("encoder_no_repeat_ngram_size"), FREE("bad_words_ids"), FREE("num_return_sequences"),
    FREE("forced_bos_token_id"), FREE("forced_eos_token_id"), FREE("remove_invalid_values"),
    FREE("exponential_decay_length_penalty"), FREE("suppress_tokens"),
    FREE("begin_suppress_tokens"),
#undef FREE
};

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
    cn_conf_rules(f, text_rules, CN_LEN(text_rules));
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
    cn_conf_rules(f, rules, CN_LEN(rules));
}
