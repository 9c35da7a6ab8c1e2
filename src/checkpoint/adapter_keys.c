/* Names of an adapter's tensors: which part of the model, which layer of it, and what the tensor is
 * there. Everything is compared with '_' for '.', because kohya's names do not tell them apart. */
#include "base/base.h"
#include "checkpoint/adapter_priv.h"

#include <stdio.h>
#include <string.h>

struct ending {
    const char *text;
    enum cn_adapter_form form;
    enum cn_adapter_role role;
};

/* The first that fits counts. */
static const struct ending endings[] = {
    {".lora_up.weight", CN_ADAPTER_LORA, CN_ROLE_UP},
    {".lora_down.weight", CN_ADAPTER_LORA, CN_ROLE_DOWN},
    {".lora_mid.weight", CN_ADAPTER_LORA, CN_ROLE_MID},
    {".lora_A.weight", CN_ADAPTER_LORA, CN_ROLE_DOWN},
    {".lora_B.weight", CN_ADAPTER_LORA, CN_ROLE_UP},
    {".lora_A.default.weight", CN_ADAPTER_LORA, CN_ROLE_DOWN},
    {".lora_B.default.weight", CN_ADAPTER_LORA, CN_ROLE_UP},
    {".lora_A.default_0.weight", CN_ADAPTER_LORA, CN_ROLE_DOWN},
    {".lora_B.default_0.weight", CN_ADAPTER_LORA, CN_ROLE_UP},
    {".lora.down.weight", CN_ADAPTER_LORA, CN_ROLE_DOWN},
    {".lora.up.weight", CN_ADAPTER_LORA, CN_ROLE_UP},
    {".lora_linear_layer.down.weight", CN_ADAPTER_LORA, CN_ROLE_DOWN},
    {".lora_linear_layer.up.weight", CN_ADAPTER_LORA, CN_ROLE_UP},
    {"_lora.down.weight", CN_ADAPTER_LORA, CN_ROLE_DOWN},
    {"_lora.up.weight", CN_ADAPTER_LORA, CN_ROLE_UP},
    {".hada_w1_a", CN_ADAPTER_LOHA, CN_ROLE_W1_A},
    {".hada_w1_b", CN_ADAPTER_LOHA, CN_ROLE_W1_B},
    {".hada_w2_a", CN_ADAPTER_LOHA, CN_ROLE_W2_A},
    {".hada_w2_b", CN_ADAPTER_LOHA, CN_ROLE_W2_B},
    {".hada_t1", CN_ADAPTER_LOHA, CN_ROLE_T1},
    {".hada_t2", CN_ADAPTER_LOHA, CN_ROLE_T2},
    {".lokr_w1", CN_ADAPTER_LOKR, CN_ROLE_W1},
    {".lokr_w1_a", CN_ADAPTER_LOKR, CN_ROLE_W1_A},
    {".lokr_w1_b", CN_ADAPTER_LOKR, CN_ROLE_W1_B},
    {".lokr_w2", CN_ADAPTER_LOKR, CN_ROLE_W2},
    {".lokr_w2_a", CN_ADAPTER_LOKR, CN_ROLE_W2_A},
    {".lokr_w2_b", CN_ADAPTER_LOKR, CN_ROLE_W2_B},
    {".lokr_t2", CN_ADAPTER_LOKR, CN_ROLE_T2},
    {".oft_blocks", CN_ADAPTER_OFT, CN_ROLE_BLOCKS},
    {".oft_diag", CN_ADAPTER_OFT, CN_ROLE_DIAG},
    {".rescale", CN_ADAPTER_OFT, CN_ROLE_RESCALE},
    {".a1.weight", CN_ADAPTER_GLORA, CN_ROLE_A1},
    {".a2.weight", CN_ADAPTER_GLORA, CN_ROLE_A2},
    {".b1.weight", CN_ADAPTER_GLORA, CN_ROLE_B1},
    {".b2.weight", CN_ADAPTER_GLORA, CN_ROLE_B2},
    {".diff", CN_ADAPTER_FULL, CN_ROLE_DIFF},
    {".diff_b", CN_ADAPTER_FULL, CN_ROLE_DIFF_BIAS},
    {".w_norm", CN_ADAPTER_FULL, CN_ROLE_DIFF},
    {".b_norm", CN_ADAPTER_FULL, CN_ROLE_DIFF_BIAS},
    {".alpha", CN_ADAPTER_FORM_COUNT, CN_ROLE_ALPHA},
    {".scale", CN_ADAPTER_FORM_COUNT, CN_ROLE_SCALE},
    {".dora_scale", CN_ADAPTER_FORM_COUNT, CN_ROLE_MAGNITUDE},
    {".magnitude", CN_ADAPTER_FORM_COUNT, CN_ROLE_MAGNITUDE},
    {".lora_magnitude_vector", CN_ADAPTER_FORM_COUNT, CN_ROLE_MAGNITUDE},
    {".lora_magnitude_vector.weight", CN_ADAPTER_FORM_COUNT, CN_ROLE_MAGNITUDE},
    {".lora_magnitude_vector.default", CN_ADAPTER_FORM_COUNT, CN_ROLE_MAGNITUDE},
    {".lora_magnitude_vector.default.weight", CN_ADAPTER_FORM_COUNT, CN_ROLE_MAGNITUDE},
    {".on_input", CN_ADAPTER_IA3, CN_ROLE_ON_INPUT},
    {".weight", CN_ADAPTER_IA3, CN_ROLE_SCALES}, /* the vector of (IA)3; after all other weights */
};

static const struct {
    const char *text;
    enum cn_component comp;
} prefixes[] = {
    {"lora_unet_", CN_COMP_UNET},
    {"lora_te1_", CN_COMP_TEXT},
    {"lora_te2_", CN_COMP_TEXT_2},
    {"lora_te_", CN_COMP_TEXT},
    {"lycoris_", CN_COMP_UNET},
    {"unet.", CN_COMP_UNET},
    {"text_encoder.", CN_COMP_TEXT},
    {"text_encoder_2.", CN_COMP_TEXT_2},
    {"text_encoders.clip_l.transformer.", CN_COMP_TEXT},
    {"text_encoders.clip_h.transformer.", CN_COMP_TEXT},
    {"text_encoders.clip_g.transformer.", CN_COMP_TEXT_2},
    {"model.diffusion_model.", CN_COMP_UNET},
    {"diffusion_model.", CN_COMP_UNET},
};

/* Left by trainers: of sliders, of old LyCORIS, and embeddings that came along. */
static const char *const nothing[] = {"_aux.",       ".bias_indices", ".bias_values",
                                      ".bias_size",  "bundle_emb."};

/* Attentions of text encoders, as diffusers called them in 2023. */
static const char *const text_words[][2] = {{"self_attn_to_q", "self_attn_q_proj"},
                                            {"self_attn_to_k", "self_attn_k_proj"},
                                            {"self_attn_to_v", "self_attn_v_proj"},
                                            {"self_attn_to_out", "self_attn_out_proj"}};

static const char *behind(const char *name, const char *head)
{
    size_t n = strlen(head);

    return strncmp(name, head, n) == 0 ? name + n : NULL;
}

bool cn_adapter_flatten(const char *name, char *ret, size_t size)
{
    size_t n = strlen(name);

    if (n >= size)
        return false;
    for (size_t i = 0; i <= n; i++)
        ret[i] = name[i];
    for (size_t i = 0; i < n; i++)
        if (ret[i] == '.')
            ret[i] = '_';
    return true;
}

/* Puts `now` where `old` stands, when it does. */
static bool replace(char *text, size_t size, const char *old, const char *now)
{
    char *at = strstr(text, old);
    size_t n = strlen(text), from = strlen(old), to = strlen(now);

    if (at == NULL)
        return true;
    if (n - from + to >= size)
        return false;
    memmove(at + to, at + from, strlen(at + from) + 1);
    memcpy(at, now, to);
    return true;
}

/* The spelling of today. */
static bool modernize(struct cn_adapter_key *k)
{
    size_t n;

    if (!replace(k->site, sizeof(k->site), "_processor_", "_"))
        return false;
    for (size_t i = 0; i < CN_LEN(text_words) && k->comp != CN_COMP_UNET; i++)
        if (!replace(k->site, sizeof(k->site), text_words[i][0], text_words[i][1]))
            return false;
    n = strlen(k->site);
    if (n > 7 && strcmp(k->site + n - 7, "_to_out") == 0) {
        if (n + 2 >= sizeof(k->site))
            return false;
        memcpy(k->site + n, "_0", 3);
    }
    return true;
}

/* Behind what says the component. */
static const char *skip_prefix(const char *name, enum cn_component *ret)
{
    static const char peft[] = "base_model.model.";
    const char *rest = behind(name, peft);

    if (rest != NULL)
        name = rest;
    *ret = CN_COMP_COUNT;
    for (size_t i = 0; i < CN_LEN(prefixes) && *ret == CN_COMP_COUNT; i++)
        if ((rest = behind(name, prefixes[i].text)) != NULL) {
            *ret = prefixes[i].comp;
            name = rest;
        }
    rest = behind(name, peft);
    if (rest != NULL)
        name = rest;
    if (*ret == CN_COMP_COUNT) /* a file of one network */
        *ret = behind(name, "text_model.") != NULL ? CN_COMP_TEXT : CN_COMP_UNET;
    return name;
}

static const struct ending *find_ending(const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < CN_LEN(endings); i++) {
        size_t len = strlen(endings[i].text);

        if (n > len && strcmp(name + n - len, endings[i].text) == 0)
            return &endings[i];
    }
    return NULL;
}

enum cn_adapter_word cn_adapter_read_key(const char *name, struct cn_adapter_key *ret)
{
    char path[CN_ADAPTER_SITE];
    const struct ending *end;
    size_t len;

    for (size_t i = 0; i < CN_LEN(nothing); i++)
        if (strstr(name, nothing[i]) != NULL)
            return CN_KEY_NOTHING;
    name = skip_prefix(name, &ret->comp);
    end = find_ending(name);
    if (end == NULL)
        return CN_KEY_STRANGE;
    len = strlen(name) - strlen(end->text);
    if (len >= sizeof(path))
        return CN_KEY_STRANGE;
    snprintf(path, sizeof(path), "%.*s", (int)len, name);
    ret->form = end->form;
    ret->role = end->role;
    return cn_adapter_flatten(path, ret->site, sizeof(ret->site)) && modernize(ret)
               ? CN_KEY_READ
               : CN_KEY_STRANGE;
}
