/* Names of tensors in single files (LDM, OpenCLIP) and in diffusers directories, both ways, so
 * that everybody above knows one spelling. The tables are those of diffusers'
 * loaders/single_file_utils.py in other words. */
#include "base/base.h"
#include "checkpoint/names.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const cn_ldm_prefix[CN_COMP_COUNT] = {
    [CN_COMP_TEXT] = "cond_stage_model.transformer.",
    [CN_COMP_TEXT_2] = "conditioner.embedders.1.model.",
    [CN_COMP_UNET] = "model.diffusion_model.",
    [CN_COMP_VAE] = "first_stage_model.",
    [CN_COMP_CONTROL] = "control_model.",
};

/* One row per renamed part: LDM, diffusers. */
struct row {
    const char *word[2];
};

enum side { LDM, DIFFUSERS };

static const struct row top_rows[] = {
    {{"time_embed.0", "time_embedding.linear_1"}},
    {{"time_embed.2", "time_embedding.linear_2"}},
    {{"time_embed.cond_proj", "time_embedding.cond_proj"}},
    {{"label_emb.0.0", "add_embedding.linear_1"}},
    {{"label_emb.0.2", "add_embedding.linear_2"}},
    {{"input_blocks.0.0", "conv_in"}},
    {{"out.0", "conv_norm_out"}},
    {{"out.2", "conv_out"}},
    {{"middle_block_out.0", "controlnet_mid_block"}},
};

static const struct row res_rows[] = {
    {{"in_layers.0", "norm1"}},          {{"in_layers.2", "conv1"}},
    {{"emb_layers.1", "time_emb_proj"}}, {{"out_layers.0", "norm2"}},
    {{"out_layers.3", "conv2"}},         {{"skip_connection", "conv_shortcut"}},
};

static const struct row transformer_rows[] = {
    {{"norm", "norm"}},
    {{"proj_in", "proj_in"}},
    {{"proj_out", "proj_out"}},
    {{"transformer_blocks", "transformer_blocks"}},
};

static const struct row vae_res_rows[] = {
    {{"norm1", "norm1"}},
    {{"conv1", "conv1"}},
    {{"norm2", "norm2"}},
    {{"conv2", "conv2"}},
    {{"nin_shortcut", "conv_shortcut"}},
};

static const struct row vae_attention_rows[] = {
    {{"norm", "group_norm"}},   {{"q", "to_q"}}, {{"k", "to_k"}}, {{"v", "to_v"}},
    {{"proj_out", "to_out.0"}},
};

static const struct row vae_rows[] = {
    {{"conv_in", "conv_in"}},
    {{"conv_out", "conv_out"}},
    {{"norm_out", "conv_norm_out"}},
};

static const struct row openclip_rows[] = {
    {{"ln_1", "layer_norm1"}},
    {{"ln_2", "layer_norm2"}},
    {{"mlp.c_fc", "mlp.fc1"}},
    {{"mlp.c_proj", "mlp.fc2"}},
    {{"attn.out_proj", "self_attn.out_proj"}},
};

/* A name being taken apart and put together. */
struct job {
    const struct cn_layout *l;
    const char *in;
    char *out;
    size_t size;
};

static bool emit(struct job *j, const char *fmt, ...) CN_PRINTF(2, 3);

static bool emit(struct job *j, const char *fmt, ...)
{
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(j->out, j->size, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= j->size)
        return false;
    j->out += n;
    j->size -= (size_t)n;
    return true;
}

/* Past word when the input begins with it. */
static bool eat(struct job *j, const char *word)
{
    size_t n = strlen(word);

    if (strncmp(j->in, word, n) != 0)
        return false;
    j->in += n;
    return true;
}

/* Past "12." when the input begins so. */
static bool eat_number(struct job *j, int *ret)
{
    size_t n = strspn(j->in, "0123456789");

    if (n == 0 || n > 4 || j->in[n] != '.' || (n > 1 && j->in[0] == '0'))
        return false;
    *ret = atoi(j->in);
    j->in += n + 1;
    return true;
}

/* The rest of the name must begin with a word of one side: writes it with that of the other. */
static bool finish_name(struct job *j, const struct row *rows, size_t n, enum side from)
{
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(rows[i].word[from]);

        if (strncmp(j->in, rows[i].word[from], len) == 0 && j->in[len] == '.')
            return emit(j, "%s%s", rows[i].word[1 - from], j->in + len);
    }
    return false;
}

static bool finish_res(struct job *j, enum side from)
{
    return finish_name(j, res_rows, CN_LEN(res_rows), from);
}

static bool finish_transformer(struct job *j, enum side from)
{
    return finish_name(j, transformer_rows, CN_LEN(transformer_rows), from);
}

/* input_blocks.i.k., i from 1 */
static bool input_from_ldm(struct job *j)
{
    int i, k, per = j->l->layers + 1;

    if (!eat_number(j, &i) || i < 1 || !eat_number(j, &k))
        return false;
    if ((i - 1) / per >= j->l->levels)
        return false;
    if (!emit(j, "down_blocks.%d.", (i - 1) / per))
        return false;
    i = (i - 1) % per;
    if (i == j->l->layers)
        return k == 0 && eat(j, "op.") && emit(j, "downsamplers.0.conv.%s", j->in);
    if (k == 0)
        return emit(j, "resnets.%d.", i) && finish_res(j, LDM);
    return k == 1 && emit(j, "attentions.%d.", i) && finish_transformer(j, LDM);
}

static bool middle_from_ldm(struct job *j)
{
    int k;

    if (!eat_number(j, &k) || k > 2)
        return false;
    if (k == 1)
        return emit(j, "mid_block.attentions.0.") && finish_transformer(j, LDM);
    return emit(j, "mid_block.resnets.%d.", k / 2) && finish_res(j, LDM);
}

static bool output_from_ldm(struct job *j)
{
    int i, k, per = j->l->layers + 1;

    if (!eat_number(j, &i) || !eat_number(j, &k) || i / per >= j->l->levels)
        return false;
    if (!emit(j, "up_blocks.%d.", i / per))
        return false;
    if (k == 0)
        return emit(j, "resnets.%d.", i % per) && finish_res(j, LDM);
    if (i % per == j->l->layers && eat(j, "conv."))
        return emit(j, "upsamplers.0.conv.%s", j->in);
    return k == 1 && emit(j, "attentions.%d.", i % per) && finish_transformer(j, LDM);
}

static bool hint_from_ldm(struct job *j)
{
    int i, last = 2 * (j->l->hint_convs - 1);

    if (!eat_number(j, &i) || i % 2 != 0 || i > last)
        return false;
    if (i == 0 || i == last)
        return emit(j, "controlnet_cond_embedding.%s.%s", i ? "conv_out" : "conv_in", j->in);
    return emit(j, "controlnet_cond_embedding.blocks.%d.%s", i / 2 - 1, j->in);
}

static bool unet_from_ldm(struct job *j)
{
    int i;

    if (finish_name(j, top_rows, CN_LEN(top_rows), LDM))
        return true;
    if (eat(j, "input_blocks."))
        return input_from_ldm(j);
    if (eat(j, "middle_block."))
        return middle_from_ldm(j);
    if (eat(j, "output_blocks."))
        return output_from_ldm(j);
    if (eat(j, "input_hint_block."))
        return hint_from_ldm(j);
    return eat(j, "zero_convs.") && eat_number(j, &i) && eat(j, "0.") &&
           emit(j, "controlnet_down_blocks.%d.%s", i, j->in);
}

static bool down_to_ldm(struct job *j)
{
    int b, i;

    if (!eat_number(j, &b) || b >= j->l->levels)
        return false;
    if (eat(j, "downsamplers.0.conv."))
        return emit(j, "input_blocks.%d.0.op.%s", (b + 1) * (j->l->layers + 1), j->in);
    if (eat(j, "resnets."))
        return eat_number(j, &i) && i < j->l->layers &&
               emit(j, "input_blocks.%d.0.", 1 + b * (j->l->layers + 1) + i) &&
               finish_res(j, DIFFUSERS);
    return eat(j, "attentions.") && eat_number(j, &i) && i < j->l->layers &&
           emit(j, "input_blocks.%d.1.", 1 + b * (j->l->layers + 1) + i) &&
           finish_transformer(j, DIFFUSERS);
}

static bool up_to_ldm(struct job *j)
{
    int b, i, per = j->l->layers + 1;

    if (!eat_number(j, &b) || b >= j->l->levels)
        return false;
    if (eat(j, "upsamplers.0.conv."))
        return emit(j, "output_blocks.%d.%d.conv.%s", b * per + j->l->layers,
                    j->l->up_attention[b] ? 2 : 1, j->in);
    if (eat(j, "resnets."))
        return eat_number(j, &i) && i < per && emit(j, "output_blocks.%d.0.", b * per + i) &&
               finish_res(j, DIFFUSERS);
    return eat(j, "attentions.") && eat_number(j, &i) && i < per &&
           emit(j, "output_blocks.%d.1.", b * per + i) && finish_transformer(j, DIFFUSERS);
}

static bool hint_to_ldm(struct job *j)
{
    int i;

    if (eat(j, "conv_in."))
        return emit(j, "input_hint_block.0.%s", j->in);
    if (eat(j, "conv_out."))
        return emit(j, "input_hint_block.%d.%s", 2 * (j->l->hint_convs - 1), j->in);
    return eat(j, "blocks.") && eat_number(j, &i) && i < j->l->hint_convs - 2 &&
           emit(j, "input_hint_block.%d.%s", 2 * (i + 1), j->in);
}

static bool unet_to_ldm(struct job *j)
{
    int i;

    if (finish_name(j, top_rows, CN_LEN(top_rows), DIFFUSERS))
        return true;
    if (eat(j, "down_blocks."))
        return down_to_ldm(j);
    if (eat(j, "up_blocks."))
        return up_to_ldm(j);
    if (eat(j, "mid_block.attentions.0."))
        return emit(j, "middle_block.1.") && finish_transformer(j, DIFFUSERS);
    if (eat(j, "mid_block.resnets."))
        return eat_number(j, &i) && i < 2 && emit(j, "middle_block.%d.", 2 * i) &&
               finish_res(j, DIFFUSERS);
    if (eat(j, "controlnet_cond_embedding."))
        return hint_to_ldm(j);
    return eat(j, "controlnet_down_blocks.") && eat_number(j, &i) &&
           emit(j, "zero_convs.%d.0.%s", i, j->in);
}

static bool vae_mid_from_ldm(struct job *j)
{
    if (eat(j, "attn_1."))
        return emit(j, "mid_block.attentions.0.") &&
               finish_name(j, vae_attention_rows, CN_LEN(vae_attention_rows), LDM);
    if (!emit(j, "mid_block.resnets.%d.", strncmp(j->in, "block_2.", 8) == 0))
        return false;
    return (eat(j, "block_1.") || eat(j, "block_2.")) &&
           finish_name(j, vae_res_rows, CN_LEN(vae_res_rows), LDM);
}

static bool vae_half_from_ldm(struct job *j, bool decoder)
{
    int b, i;

    if (!emit(j, decoder ? "decoder." : "encoder."))
        return false;
    if (eat(j, "mid."))
        return vae_mid_from_ldm(j);
    if (!eat(j, decoder ? "up." : "down."))
        return finish_name(j, vae_rows, CN_LEN(vae_rows), LDM);
    if (!eat_number(j, &b) || b >= j->l->levels)
        return false;
    if (!emit(j, "%s_blocks.%d.", decoder ? "up" : "down", decoder ? j->l->levels - 1 - b : b))
        return false;
    if (eat(j, decoder ? "upsample." : "downsample."))
        return emit(j, "%ssamplers.0.%s", decoder ? "up" : "down", j->in);
    return eat(j, "block.") && eat_number(j, &i) && emit(j, "resnets.%d.", i) &&
           finish_name(j, vae_res_rows, CN_LEN(vae_res_rows), LDM);
}

static bool vae_quant(struct job *j)
{
    return (strncmp(j->in, "quant_conv.", 11) == 0 ||
            strncmp(j->in, "post_quant_conv.", 16) == 0) &&
           emit(j, "%s", j->in);
}

static bool vae_from_ldm(struct job *j)
{
    if (eat(j, "encoder."))
        return vae_half_from_ldm(j, false);
    return eat(j, "decoder.") ? vae_half_from_ldm(j, true) : vae_quant(j);
}

static bool vae_half_to_ldm(struct job *j, bool decoder)
{
    int b, i;

    if (!emit(j, decoder ? "decoder." : "encoder."))
        return false;
    if (eat(j, "mid_block.attentions.0."))
        return emit(j, "mid.attn_1.") &&
               finish_name(j, vae_attention_rows, CN_LEN(vae_attention_rows), DIFFUSERS);
    if (eat(j, "mid_block.resnets."))
        return eat_number(j, &i) && i < 2 && emit(j, "mid.block_%d.", i + 1) &&
               finish_name(j, vae_res_rows, CN_LEN(vae_res_rows), DIFFUSERS);
    if (!eat(j, decoder ? "up_blocks." : "down_blocks."))
        return finish_name(j, vae_rows, CN_LEN(vae_rows), DIFFUSERS);
    if (!eat_number(j, &b) || b >= j->l->levels)
        return false;
    if (!emit(j, "%s.%d.", decoder ? "up" : "down", decoder ? j->l->levels - 1 - b : b))
        return false;
    if (eat(j, decoder ? "upsamplers.0." : "downsamplers.0."))
        return emit(j, "%ssample.%s", decoder ? "up" : "down", j->in);
    return eat(j, "resnets.") && eat_number(j, &i) && emit(j, "block.%d.", i) &&
           finish_name(j, vae_res_rows, CN_LEN(vae_res_rows), DIFFUSERS);
}

static bool vae_to_ldm(struct job *j)
{
    if (eat(j, "encoder."))
        return vae_half_to_ldm(j, false);
    return eat(j, "decoder.") ? vae_half_to_ldm(j, true) : vae_quant(j);
}

bool cn_name_from_ldm(enum cn_component comp, const struct cn_layout *l, const char *name,
                      char *ret, size_t size)
{
    struct job j = {.l = l, .in = name, .out = ret, .size = size};

    if (comp <= CN_COMP_TEXT_2)
        return emit(&j, "%s", name);
    return comp == CN_COMP_VAE ? vae_from_ldm(&j) : unet_from_ldm(&j);
}

bool cn_name_to_ldm(enum cn_component comp, const struct cn_layout *l, const char *name, char *ret,
                    size_t size)
{
    struct job j = {.l = l, .in = name, .out = ret, .size = size};

    if (comp <= CN_COMP_TEXT_2)
        return emit(&j, "%s", name);
    return comp == CN_COMP_VAE ? vae_to_ldm(&j) : unet_to_ldm(&j);
}

bool cn_name_from_openclip(const char *name, char *ret, size_t size, bool *ret_split)
{
    struct job j = {.in = name, .out = ret, .size = size};
    int i;

    *ret_split = false;
    if (strcmp(name, "positional_embedding") == 0)
        return emit(&j, "text_model.embeddings.position_embedding.weight");
    if (strcmp(name, "token_embedding.weight") == 0)
        return emit(&j, "text_model.embeddings.token_embedding.weight");
    if (eat(&j, "ln_final."))
        return emit(&j, "text_model.final_layer_norm.%s", j.in);
    if (!eat(&j, "transformer.resblocks.") || !eat_number(&j, &i) ||
        !emit(&j, "text_model.encoder.layers.%d.", i))
        return false;
    *ret_split = eat(&j, "attn.in_proj_");
    if (*ret_split)
        return emit(&j, "self_attn.q_proj.%s", j.in);
    return finish_name(&j, openclip_rows, CN_LEN(openclip_rows), LDM);
}
