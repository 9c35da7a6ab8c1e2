/* The kinds of files, by a table that is gone through from the top: the first row that fits wins,
 * so that what is special stands before what is general. Kinds that are no models of ours are here
 * so that they can be named, not read. */
#include "base/base.h"
#include "checkpoint/classify.h"

#include <stdio.h>
#include <string.h>

enum match { HAS, BEGINS, ENDS, INSIDE };

struct sign {
    enum match match;
    const char *text; /* NULL: none more */
};

enum { SIGNS = 2 };

struct rule {
    enum cn_file_kind kind;
    const char *noun;
    struct sign sign[SIGNS]; /* all must be there */
};

static const struct rule rules[] = {
    {CN_FILE_CONTROL_LORA, "a Control-LoRA", {{HAS, "lora_controlnet"}}},
    {CN_FILE_LLLITE, "a ControlNet-LLLite", {{BEGINS, "lllite_unet"}}},
    {CN_FILE_LLLITE, "a ControlNet-LLLite", {{BEGINS, "lllite_dit"}}},
    {CN_FILE_IP_ADAPTER,
     "an IP-Adapter FaceID",
     {{BEGINS, "ip_adapter."}, {ENDS, "lora.down.weight"}}},
    {CN_FILE_IP_ADAPTER, "an IP-Adapter", {{BEGINS, "ip_adapter."}}},
    {CN_FILE_IP_ADAPTER, "an IP-Adapter", {{BEGINS, "image_proj."}}},
    {CN_FILE_NO_UNET, "a PhotoMaker", {{BEGINS, "id_encoder."}}},
    {CN_FILE_NO_UNET, "a PuLID", {{BEGINS, "pulid_ca."}}},
    {CN_FILE_LORA, "a LoRA for Flux", {{INSIDE, "lora_"}, {INSIDE, "single_transformer_blocks"}}},
    {CN_FILE_LORA, "a LoRA for Flux", {{INSIDE, "lora_"}, {INSIDE, "double_blocks"}}},
    {CN_FILE_LORA, "a LoRA for SD 3", {{INSIDE, "lora_"}, {INSIDE, "joint_blocks"}}},
    {CN_FILE_LORA, "a LoRA for Qwen-Image", {{INSIDE, "lora_"}, {INSIDE, "0.img_mod."}}},
    {CN_FILE_LORA, "a LoRA for Wan", {{INSIDE, "lora_"}, {INSIDE, "blocks.0.cross_attn."}}},
    {CN_FILE_LORA, "a LoRA for Wan", {{INSIDE, "lora_"}, {INSIDE, "blocks_0_cross_attn_"}}},
    {CN_FILE_LORA, "a LoRA", {{ENDS, "lora_up.weight"}}},
    {CN_FILE_LORA, "a LoRA", {{ENDS, "lora_down.weight"}}},
    {CN_FILE_LORA, "a LoRA", {{ENDS, "lora_A.weight"}}},
    {CN_FILE_LORA, "a LoRA", {{ENDS, "lora_A.default.weight"}}},
    {CN_FILE_LORA, "a LoRA", {{ENDS, "lora.down.weight"}}},
    {CN_FILE_LORA, "a LoRA", {{INSIDE, "lora_linear_layer."}}},
    {CN_FILE_LORA, "a LoRA", {{ENDS, "_lora.down.weight"}}},
    {CN_FILE_LORA, "a LoHa", {{INSIDE, ".hada_w"}}},
    {CN_FILE_LORA, "a LoKr", {{INSIDE, ".lokr_w"}}},
    {CN_FILE_LORA, "an OFT adapter", {{INSIDE, ".oft_"}}},
    {CN_FILE_LORA, "a GLoRA", {{ENDS, ".a1.weight"}}},
    {CN_FILE_LORA, "an (IA)3 adapter", {{ENDS, ".on_input"}}},
    {CN_FILE_LORA, "a full-weight difference (LyCORIS)", {{ENDS, ".diff"}}},
    {CN_FILE_LORA, "a full-weight difference (LyCORIS)", {{ENDS, ".diff_b"}}},
    {CN_FILE_LORA, "a DoRA", {{ENDS, ".dora_scale"}}},
    {CN_FILE_LORA, "a LyCORIS adapter", {{ENDS, ".w_norm"}}},
    {CN_FILE_EMBEDDING, "a textual inversion", {{HAS, "emb_params"}}},
    {CN_FILE_EMBEDDING, "a textual inversion", {{HAS, "clip_l"}}},
    {CN_FILE_EMBEDDING, "a textual inversion", {{HAS, "clip_g"}}},
    {CN_FILE_EMBEDDING, "a textual inversion", {{BEGINS, "string_to_param"}}},
    {CN_FILE_CONTROL_UNION,
     "a union ControlNet",
     {{HAS, "task_embedding"}, {HAS, "controlnet_cond_embedding.conv_in.weight"}}},
    {CN_FILE_NO_UNET,
     "a ControlNet for Flux",
     {{BEGINS, "controlnet_blocks."}, {HAS, "controlnet_x_embedder.weight"}}},
    {CN_FILE_NO_UNET,
     "a ControlNet for SD 3",
     {{BEGINS, "controlnet_blocks."}, {BEGINS, "pos_embed"}}},
    {CN_FILE_NO_UNET, "a ControlNet for another kind of model", {{BEGINS, "controlnet_blocks."}}},
    {CN_FILE_NO_UNET,
     "a SparseCtrl network (AnimateDiff)",
     {{BEGINS, "controlnet_down_blocks."}, {INSIDE, "motion_modules."}}},
    {CN_FILE_NO_UNET, "a BrushNet", {{BEGINS, "brushnet_down_blocks."}}},
    {CN_FILE_CONTROLNET,
     "a ControlNet together with a base model",
     {{BEGINS, "control_model."}, {HAS, "model.diffusion_model.input_blocks.0.0.weight"}}},
    {CN_FILE_CONTROLNET, "a ControlNet", {{BEGINS, "control_model."}}},
    {CN_FILE_CONTROLNET, "a ControlNet", {{HAS, "input_hint_block.0.weight"}}},
    {CN_FILE_CONTROLNET, "a ControlNet", {{HAS, "zero_convs.0.0.weight"}}},
    {CN_FILE_CONTROLNET, "a ControlNet", {{HAS, "controlnet_cond_embedding.conv_in.weight"}}},
    {CN_FILE_T2I_ADAPTER, "a T2I-Adapter", {{BEGINS, "adapter.body.0."}}},
    {CN_FILE_T2I_ADAPTER, "a T2I-Adapter", {{HAS, "body.0.in_conv.weight"}}},
    {CN_FILE_T2I_ADAPTER,
     "a T2I-Adapter",
     {{HAS, "conv_in.weight"}, {HAS, "body.0.block1.weight"}}},
    {CN_FILE_NO_UNET, "a Zero123 model", {{BEGINS, "cc_projection."}}},
    {CN_FILE_NO_UNET, "a video model (SVD)", {{INSIDE, ".time_stack."}}},
    {CN_FILE_BASE, "a base model", {{HAS, "model.diffusion_model.input_blocks.0.0.weight"}}},
    {CN_FILE_BASE, "a base model", {{BEGINS, "conditioner.embedders."}}},
    {CN_FILE_BASE, "an average (EMA) of a base model's weights", {{BEGINS, "model_ema.diffusion"}}},
    {CN_FILE_NO_UNET, "a UNet of Kandinsky", {{BEGINS, "encoder_hid_proj.image_embeds."}}},
    {CN_FILE_NO_UNET,
     "a UNet of Kolors",
     {{HAS, "encoder_hid_proj.weight"}, {BEGINS, "add_embedding."}}},
    {CN_FILE_NO_UNET, "a UNet of DeepFloyd IF", {{HAS, "encoder_hid_proj.weight"}}},
    {CN_FILE_UNET, "a UNet", {{HAS, "input_blocks.0.0.weight"}}},
    {CN_FILE_UNET, "a UNet", {{HAS, "conv_in.weight"}, {HAS, "time_embedding.linear_1.weight"}}},
    {CN_FILE_NO_UNET, "a motion module (AnimateDiff)", {{INSIDE, "motion_modules."}}},
    {CN_FILE_NO_UNET, "a hypernetwork", {{BEGINS, "768."}, {INSIDE, ".linear."}}},
    {CN_FILE_NO_UNET, "a hypernetwork", {{BEGINS, "1024."}, {INSIDE, ".linear."}}},
    {CN_FILE_NO_UNET, "a Stable Cascade model", {{INSIDE, "clip_txt_mapper."}}},
    {CN_FILE_NO_UNET, "a Stable Cascade model", {{INSIDE, "clip_txt_pooled_mapper."}}},
    {CN_FILE_NO_UNET, "a Stable Cascade model", {{INSIDE, "effnet_mapper."}}},
    {CN_FILE_NO_UNET, "the autoencoder of Stable Cascade", {{INSIDE, "vquantizer.codebook."}}},
    {CN_FILE_NO_UNET, "a Qwen-Image model", {{INSIDE, "transformer_blocks.0.img_mod."}}},
    {CN_FILE_NO_UNET, "a HunyuanVideo model", {{INSIDE, "individual_token_refiner."}}},
    {CN_FILE_NO_UNET, "a Hunyuan-DiT model", {{INSIDE, "blocks.0.default_modulation."}}},
    {CN_FILE_NO_UNET, "a Chroma model", {{INSIDE, "distilled_guidance_layer."}}},
    {CN_FILE_NO_UNET, "a HiDream model", {{INSIDE, "double_stream_blocks."}}},
    {CN_FILE_NO_UNET,
     "a Wan video model",
     {{INSIDE, "blocks.0.cross_attn."}, {INSIDE, "patch_embedding."}}},
    {CN_FILE_NO_UNET,
     "a Wan video model",
     {{INSIDE, "condition_embedder."}, {INSIDE, "patch_embedding."}}},
    {CN_FILE_NO_UNET,
     "a Wan video model",
     {{ENDS, "head.modulation"}, {INSIDE, "patch_embedding."}}},
    {CN_FILE_NO_UNET, "a CogVideoX model", {{INSIDE, "patch_embed.text_proj."}}},
    {CN_FILE_NO_UNET, "a Mochi video model", {{INSIDE, "t5_yproj."}}},
    {CN_FILE_NO_UNET, "a Cosmos model", {{INSIDE, "blocks.block0."}}},
    {CN_FILE_NO_UNET, "an LTX video model", {{INSIDE, "patchify_proj."}}},
    {CN_FILE_NO_UNET, "an AuraFlow model", {{INSIDE, "double_layers.0."}}},
    {CN_FILE_NO_UNET, "a Sana model", {{INSIDE, ".conv_inverted."}}},
    {CN_FILE_NO_UNET,
     "a PixArt model",
     {{INSIDE, "t_block.1."}, {INSIDE, "blocks.0.scale_shift_table"}}},
    {CN_FILE_NO_UNET,
     "a PixArt model",
     {{INSIDE, "adaln_single."}, {INSIDE, "pos_embed.proj."}}},
    {CN_FILE_NO_UNET, "a Lumina or Z-Image model", {{INSIDE, "cap_embedder."}}},
    {CN_FILE_NO_UNET, "an SD 3 model", {{INSIDE, "joint_blocks."}}},
    {CN_FILE_NO_UNET, "a Flux model", {{INSIDE, "double_blocks."}}},
    {CN_FILE_NO_UNET, "a Flux or SD 3 model", {{INSIDE, "transformer_blocks.0.attn.add_q_proj"}}},
    {CN_FILE_NO_UNET, "a diffusion transformer", {{INSIDE, "adaLN_modulation"}}},
    {CN_FILE_NO_UNET, "a diffusion transformer", {{INSIDE, "adaln_single"}}},
    {CN_FILE_NO_UNET,
     "a T5 text encoder",
     {{BEGINS, "blocks.0.pos_embedding."}, {HAS, "token_embedding.weight"}}},
    {CN_FILE_NO_UNET, "a language model", {{INSIDE, "model.layers.0.self_attn."}}},
    {CN_FILE_NO_UNET, "a T5 text encoder", {{INSIDE, "encoder.block.0.layer.0.SelfAttention"}}},
    {CN_FILE_NO_UNET,
     "an autoencoder for video (Wan, Qwen-Image)",
     {{INSIDE, "decoder.head.0.gamma"}}},
    {CN_FILE_NO_UNET, "an autoencoder for video", {{INSIDE, "decoder.conv_in.conv.weight"}}},
    {CN_FILE_VAE, "an asymmetric autoencoder", {{INSIDE, "decoder.condition_encoder."}}},
    {CN_FILE_VAE, "an autoencoder (VAE)", {{ENDS, "decoder.up.0.block.0.norm1.weight"}}},
    {CN_FILE_VAE, "an autoencoder (VAE)", {{ENDS, "decoder.up_blocks.0.resnets.0.norm1.weight"}}},
    {CN_FILE_VAE, "an autoencoder (VAE)", {{ENDS, "encoder.conv_in.weight"}}},
    {CN_FILE_TAESD, "a tiny autoencoder (TAESD)", {{HAS, "decoder.layers.0.weight"}}},
    {CN_FILE_TAESD, "a tiny autoencoder (TAESD)", {{HAS, "encoder.layers.0.weight"}}},
    {CN_FILE_TAESD,
     "a tiny autoencoder for video (TAEHV)",
     {{HAS, "encoder.0.weight"}, {HAS, "decoder.1.weight"}}},
    {CN_FILE_TAESD,
     "a tiny autoencoder (TAESD)",
     {{HAS, "decoder.1.weight"}, {HAS, "decoder.3.conv.0.weight"}}},
    {CN_FILE_NO_UNET, "a network for previews", {{HAS, "conv8.weight"}, {HAS, "conv1.weight"}}},
    {CN_FILE_NO_UNET, "a safety checker", {{HAS, "concept_embeds"}}},
    {CN_FILE_TEXT, "a text encoder", {{INSIDE, "text_model.encoder.layers.0."}}},
    {CN_FILE_IMAGE_ENCODER, "a CLIP image encoder", {{BEGINS, "vision_model."}}},
    {CN_FILE_IMAGE_ENCODER, "a CLIP image encoder", {{BEGINS, "visual."}}},
    {CN_FILE_TEXT, "a text encoder", {{BEGINS, "encoder.layers.0.self_attn."}}},
    {CN_FILE_TEXT, "a text encoder", {{INSIDE, "transformer.resblocks.0."}}},
    {CN_FILE_ANNOTATOR, "a Segment Anything network", {{BEGINS, "mask_decoder."}}},
    {CN_FILE_ANNOTATOR, "a depth network (Depth-Anything, DPT)", {{BEGINS, "neck.fusion_stage."}}},
    {CN_FILE_IMAGE_ENCODER, "a DINOv2 image encoder", {{HAS, "embeddings.cls_token"}}},
    {CN_FILE_ANNOTATOR,
     "a Depth-Anything network",
     {{BEGINS, "pretrained."}, {BEGINS, "depth_head."}}},
    {CN_FILE_ANNOTATOR, "an HED network", {{HAS, "block1.projection.weight"}}},
    {CN_FILE_ANNOTATOR, "a line art network", {{HAS, "model0.1.weight"}}},
    {CN_FILE_ANNOTATOR, "an OpenPose network", {{INSIDE, "conv5_5_CPM_L1"}}},
    {CN_FILE_ANNOTATOR, "an OpenPose network", {{INSIDE, "Mconv1_stage2"}}},
    {CN_FILE_ANNOTATOR, "an M-LSD network", {{HAS, "block15.conv1.0.weight"}}},
    {CN_FILE_ANNOTATOR, "a PiDiNet network", {{INSIDE, "block1_1.conv1."}}},
    {CN_FILE_ANNOTATOR, "a MiDaS network", {{BEGINS, "scratch.refinenet"}}},
    {CN_FILE_UPSCALER, "a face restorer (GFPGAN)", {{INSIDE, "stylegan_decoder."}}},
    {CN_FILE_UPSCALER, "a face restorer (CodeFormer)", {{INSIDE, "fuse_convs_dict."}}},
    {CN_FILE_UPSCALER, "an upscaler (ESRGAN)", {{INSIDE, "RDB1.conv1.0.weight"}}},
    {CN_FILE_UPSCALER, "an upscaler (ESRGAN)", {{INSIDE, "body.0.rdb1."}}},
    {CN_FILE_UPSCALER, "an upscaler", {{INSIDE, "RDB1.conv1.weight"}}},
    {CN_FILE_UPSCALER, "an upscaler", {{HAS, "params.body.0.weight"}}},
    {CN_FILE_UPSCALER, "an upscaler", {{HAS, "params_ema.conv_first.weight"}}},
    {CN_FILE_UPSCALER, "an upscaler", {{HAS, "params.conv_first.weight"}}},
    {CN_FILE_UPSCALER, "an upscaler", {{HAS, "conv_first.weight"}}},
    {CN_FILE_UPSCALER, "an upscaler", {{HAS, "body.1.weight"}}},
};

/* ---- questions to a file ---- */

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);

    return n >= m && strcmp(s + n - m, end) == 0;
}

static bool fits(const struct sign *s, const char *name)
{
    switch (s->match) {
    case BEGINS:
        return strncmp(name, s->text, strlen(s->text)) == 0;
    case ENDS:
        return ends_with(name, s->text);
    case INSIDE:
        return strstr(name, s->text) != NULL;
    default:
        return strcmp(name, s->text) == 0;
    }
}

/* The first tensor (by name) that has a sign; false. */
static bool find(const struct cn_tensor_file *f, enum match match, const char *text,
                 struct cn_tensor_view *ret)
{
    struct sign s = {match, text};

    if (match == HAS)
        return cn_tensor_file_view(f, text, ret);
    for (size_t i = 0; i < cn_tensor_file_count(f); i++) {
        cn_tensor_file_at(f, i, ret);
        if (fits(&s, ret->name))
            return true;
    }
    return false;
}

static bool has(const struct cn_tensor_file *f, enum match match, const char *text)
{
    struct cn_tensor_view v;

    return find(f, match, text, &v);
}

static bool rule_fits(const struct cn_tensor_file *f, const struct rule *r)
{
    for (int i = 0; i < SIGNS && r->sign[i].text != NULL; i++)
        if (!has(f, r->sign[i].match, r->sign[i].text))
            return false;
    return true;
}

/* Dimension `axis` of the first tensor with a sign; 0: none. */
static int64_t dim(const struct cn_tensor_file *f, enum match match, const char *text, int axis)
{
    struct cn_tensor_view v;

    return find(f, match, text, &v) && v.rank > axis ? v.dim[axis] : 0;
}

/* ---- families ---- */

static enum cn_family family_of_width(int64_t width)
{
    return width == 768    ? CN_FAMILY_SD1
           : width == 1024 ? CN_FAMILY_SD2
           : width == 2048 ? CN_FAMILY_SDXL
           : width == 1280 ? CN_FAMILY_SDXL_REFINER
                           : CN_FAMILY_NONE;
}

/* UNets and ControlNets: by what they are told besides the text, and by the width of the text. */
static enum cn_family family_of_unet(const struct cn_tensor_file *f)
{
    int64_t width = dim(f, ENDS, "attn2.to_k.weight", 1);
    int64_t more = dim(f, ENDS, "label_emb.0.0.weight", 1);

    if (more == 0)
        more = dim(f, ENDS, "add_embedding.linear_1.weight", 1);
    if (more == 0)
        return family_of_width(width);
    return more == 2816    ? CN_FAMILY_SDXL
           : more == 2560  ? CN_FAMILY_SDXL_REFINER
           : width == 1024 ? CN_FAMILY_UNCLIP
                           : family_of_width(width);
}

/* The text's width is the number of columns of a low-rank pair's first half; what else tells is the
 * second text encoder and deep transformers. */
static enum cn_family family_of_lora(const struct cn_tensor_file *f)
{
    static const char *const sdxl[] = {"lora_te2_", "text_encoder_2.", "_transformer_blocks_2_",
                                       ".transformer_blocks.2."};
    static const char *const down[] = {
        "attn2_to_k.lora_down.weight", "attn2.to_k.lora_A.weight",
        "attn2.to_k.lora.down.weight", "attn2.processor.to_k_lora.down.weight",
        "attn2_to_k.hada_w1_b",        "attn2.to_k.lora_down.weight"};

    for (size_t i = 0; i < CN_LEN(sdxl); i++)
        if (has(f, INSIDE, sdxl[i]))
            return CN_FAMILY_SDXL;
    for (size_t i = 0; i < CN_LEN(down); i++)
        if (has(f, ENDS, down[i]))
            return family_of_width(dim(f, ENDS, down[i], 1));
    if (has(f, BEGINS, "lora_te1_"))
        return CN_FAMILY_SDXL;
    return family_of_width(dim(f, ENDS, "self_attn_q_proj.lora_down.weight", 1));
}

static enum cn_family family_of_embedding(const struct cn_tensor_file *f)
{
    struct cn_tensor_view v;

    if (has(f, HAS, "clip_g"))
        return CN_FAMILY_SDXL;
    for (size_t i = 0; i < cn_tensor_file_count(f); i++) {
        cn_tensor_file_at(f, i, &v);
        if (v.rank > 0 && v.dim[v.rank - 1] >= 768)
            return family_of_width(v.dim[v.rank - 1]);
    }
    return CN_FAMILY_NONE;
}

static enum cn_family find_family(const struct cn_tensor_file *f, enum cn_file_kind kind)
{
    enum cn_family family;

    switch (kind) {
    case CN_FILE_BASE:
        family = family_of_unet(f);
        return family == CN_FAMILY_NONE && has(f, BEGINS, "conditioner.embedders.") ? CN_FAMILY_SDXL
                                                                                    : family;
    case CN_FILE_UNET:
    case CN_FILE_CONTROLNET:
    case CN_FILE_CONTROL_UNION:
        return family_of_unet(f);
    case CN_FILE_CONTROL_LORA:
        return has(f, HAS, "input_blocks.11.0.in_layers.0.weight") ? CN_FAMILY_SD1 : CN_FAMILY_SDXL;
    case CN_FILE_LLLITE:
        return has(f, INSIDE, "transformer_blocks_2_") ? CN_FAMILY_SDXL : CN_FAMILY_NONE;
    case CN_FILE_IP_ADAPTER:
        return family_of_width(dim(f, ENDS, "1.to_k_ip.weight", 1));
    case CN_FILE_T2I_ADAPTER:
        return dim(f, ENDS, "conv_in.weight", 1) >= 256 ? CN_FAMILY_SDXL : CN_FAMILY_SD1;
    case CN_FILE_LORA:
        return family_of_lora(f);
    case CN_FILE_EMBEDDING:
        return family_of_embedding(f);
    default:
        return CN_FAMILY_NONE;
    }
}

/* ---- the answer ---- */

static const char *const family_words[CN_FAMILY_COUNT] = {
    [CN_FAMILY_SD1] = "SD 1.x",
    [CN_FAMILY_SD2] = "SD 2.x",
    [CN_FAMILY_SDXL] = "SDXL",
    [CN_FAMILY_SDXL_REFINER] = "SDXL's refiner",
    [CN_FAMILY_UNCLIP] = "SD 2.1 unCLIP",
};

/* An inpainting UNet and others see more than the latent. */
static const char *special_noun(const struct cn_tensor_file *f, enum cn_file_kind kind,
                                const char *noun)
{
    int64_t channels;

    if (kind == CN_FILE_TEXT || kind == CN_FILE_VAE) {
        int64_t width = dim(f, ENDS, "token_embedding.weight", 1);
        int64_t latent = dim(f, ENDS, "decoder.conv_in.weight", 1);

        if (kind == CN_FILE_VAE)
            return latent == 16 ? "an autoencoder of SD 3 or Flux" : noun;
        return width == 768    ? "the text encoder CLIP ViT-L (SD 1.x)"
               : width == 1024 ? "the text encoder OpenCLIP ViT-H (SD 2.x)"
               : width == 1280 ? "the text encoder OpenCLIP bigG (SDXL)"
                               : noun;
    }
    if (kind != CN_FILE_BASE && kind != CN_FILE_UNET)
        return noun;
    channels = dim(f, ENDS, "input_blocks.0.0.weight", 1);
    if (channels == 0)
        channels = dim(f, HAS, "conv_in.weight", 1);
    if (kind == CN_FILE_BASE)
        return channels == 9   ? "an inpainting model"
               : channels == 8 ? "an InstructPix2Pix model"
               : channels == 5 ? "a depth-to-image model"
               : channels == 7 ? "an upscaling model"
                               : noun;
    return channels == 9   ? "an inpainting UNet"
           : channels == 8 ? "an InstructPix2Pix UNet"
           : channels == 5 ? "a depth-to-image UNet"
           : channels == 7 ? "an upscaling UNet"
                           : noun;
}

/* One tensor of one or two dimensions, as wide as the rows of a text encoder. */
static bool is_one_embedding(const struct cn_tensor_file *f)
{
    struct cn_tensor_view v;
    int64_t width;

    if (cn_tensor_file_count(f) != 1)
        return false;
    cn_tensor_file_at(f, 0, &v);
    if (v.rank < 1 || v.rank > 2)
        return false;
    width = v.dim[v.rank - 1];
    return width == 768 || width == 1024 || width == 1280;
}

/* TAESD's original files have numbers for names: 4 channels (16 for SD 3 and Flux) or 3 to 64. */
static bool is_bare_taesd(const struct cn_tensor_file *f)
{
    int64_t latent = dim(f, HAS, "1.weight", 1);

    return (dim(f, HAS, "1.weight", 0) == 64 && (latent == 4 || latent == 16)) ||
           (dim(f, HAS, "0.weight", 0) == 64 && dim(f, HAS, "0.weight", 1) == 3);
}

static void answer(const struct cn_tensor_file *f, enum cn_file_kind kind, const char *noun,
                   struct cn_file_class *ret)
{
    ret->kind = kind;
    ret->family = find_family(f, kind);
    noun = special_noun(f, kind, noun);
    if (ret->family == CN_FAMILY_NONE)
        snprintf(ret->what, sizeof(ret->what), "%s", noun);
    else
        snprintf(ret->what, sizeof(ret->what), "%s %s %s", noun,
                 kind == CN_FILE_BASE || kind == CN_FILE_UNET ? "of" : "for",
                 family_words[ret->family]);
}

void cn_tensor_file_classify(const struct cn_tensor_file *f, struct cn_file_class *ret)
{
    *ret = (struct cn_file_class){0};
    for (size_t i = 0; i < CN_LEN(rules); i++)
        if (rule_fits(f, &rules[i])) {
            answer(f, rules[i].kind, rules[i].noun, ret);
            return;
        }
    if (is_one_embedding(f))
        answer(f, CN_FILE_EMBEDDING, "a textual inversion", ret);
    else if (is_bare_taesd(f))
        answer(f, CN_FILE_TAESD, "a tiny autoencoder (TAESD)", ret);
}

const char *cn_file_kind_name(enum cn_file_kind kind)
{
    static const char *const names[CN_FILE_KIND_COUNT] = {
        [CN_FILE_UNKNOWN] = "unknown",
        [CN_FILE_BASE] = "base",
        [CN_FILE_UNET] = "unet",
        [CN_FILE_VAE] = "vae",
        [CN_FILE_TAESD] = "taesd",
        [CN_FILE_TEXT] = "text_encoder",
        [CN_FILE_CONTROLNET] = "controlnet",
        [CN_FILE_CONTROL_UNION] = "controlnet_union",
        [CN_FILE_CONTROL_LORA] = "control_lora",
        [CN_FILE_LLLITE] = "controlnet_lllite",
        [CN_FILE_T2I_ADAPTER] = "t2i_adapter",
        [CN_FILE_IP_ADAPTER] = "ip_adapter",
        [CN_FILE_LORA] = "lora",
        [CN_FILE_EMBEDDING] = "textual_inversion",
        [CN_FILE_IMAGE_ENCODER] = "image_encoder",
        [CN_FILE_ANNOTATOR] = "annotator",
        [CN_FILE_UPSCALER] = "upscaler",
        [CN_FILE_NO_UNET] = "other",
    };

    return (unsigned)kind < CN_FILE_KIND_COUNT ? names[kind] : "?";
}

const char *cn_family_name(enum cn_family family)
{
    static const char *const names[CN_FAMILY_COUNT] = {
        [CN_FAMILY_NONE] = "",
        [CN_FAMILY_SD1] = "sd1",
        [CN_FAMILY_SD2] = "sd2",
        [CN_FAMILY_SDXL] = "sdxl",
        [CN_FAMILY_SDXL_REFINER] = "sdxl_refiner",
        [CN_FAMILY_UNCLIP] = "sd2_unclip",
    };

    return (unsigned)family < CN_FAMILY_COUNT ? names[family] : "?";
}
