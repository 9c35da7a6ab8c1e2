/* checkpoint: what lies in folders of models is named rightly, by files of a few tensors. */
#include "base/base.h"
#include "checkpoint/classify.h"
#include "checkpoint/safetensors.h"
#include "make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct tensor {
    const char *name; /* NULL: none more */
    int rank;
    int64_t dim[4];
};

#define UNET "model.diffusion_model."
#define UNET_IN(c)                                                                                 \
    {                                                                                              \
        UNET "input_blocks.0.0.weight", 4,                                                         \
        {                                                                                          \
            320, c, 3, 3                                                                           \
        }                                                                                          \
    }
#define TEXT_OF(p, w)                                                                              \
    {                                                                                              \
        p "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", 2,                            \
        {                                                                                          \
            320, w                                                                                 \
        }                                                                                          \
    }
#define ANY(n)                                                                                     \
    {                                                                                              \
        n, 1,                                                                                      \
        {                                                                                          \
            4                                                                                      \
        }                                                                                          \
    }

static const struct {
    enum cn_file_kind kind;
    const char *what;
    struct tensor tensor[4];
} cases[] = {
    {CN_FILE_BASE, "a base model of SD 1.x", {UNET_IN(4), TEXT_OF(UNET, 768)}},
    {CN_FILE_BASE, "a base model of SD 2.x", {UNET_IN(4), TEXT_OF(UNET, 1024)}},
    {CN_FILE_BASE, "an inpainting model of SD 1.x", {UNET_IN(9), TEXT_OF(UNET, 768)}},
    {CN_FILE_BASE, "an InstructPix2Pix model of SD 1.x", {UNET_IN(8), TEXT_OF(UNET, 768)}},
    {CN_FILE_BASE, "a depth-to-image model of SD 2.x", {UNET_IN(5), TEXT_OF(UNET, 1024)}},
    {CN_FILE_BASE,
     "a base model of SDXL",
     {UNET_IN(4), TEXT_OF(UNET, 2048), {UNET "label_emb.0.0.weight", 2, {1280, 2816}}}},
    {CN_FILE_BASE,
     "a base model of SDXL's refiner",
     {UNET_IN(4),
      TEXT_OF(UNET, 1280),
      {UNET "label_emb.0.0.weight", 2, {1536, 2560}},
      ANY("conditioner.embedders.0.model.ln_final.weight")}},
    {CN_FILE_BASE,
     "a base model of SD 2.1 unCLIP",
     {UNET_IN(4), TEXT_OF(UNET, 1024), {UNET "label_emb.0.0.weight", 2, {1280, 2048}}}},
    {CN_FILE_BASE, "a base model of SDXL", {ANY("conditioner.embedders.0.transformer.x")}},
    {CN_FILE_BASE,
     "an average (EMA) of a base model's weights",
     {ANY("model_ema.diffusion_modelinput_blocks00weight")}},
    {CN_FILE_UNET,
     "a UNet of SD 1.x",
     {{"input_blocks.0.0.weight", 4, {320, 4, 3, 3}}, TEXT_OF("", 768)}},
    {CN_FILE_UNET,
     "a UNet of SDXL",
     {{"conv_in.weight", 4, {320, 4, 3, 3}},
      ANY("time_embedding.linear_1.weight"),
      {"add_embedding.linear_1.weight", 2, {1280, 2816}}}},
    {CN_FILE_UNET,
     "an inpainting UNet of SD 1.x",
     {{"conv_in.weight", 4, {320, 9, 3, 3}},
      ANY("time_embedding.linear_1.weight"),
      {"down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight", 2, {320, 768}}}},
    {CN_FILE_UNET,
     "a depth-to-image UNet of SD 2.x",
     {{"input_blocks.0.0.weight", 4, {320, 5, 3, 3}}, TEXT_OF("", 1024)}},
    {CN_FILE_NO_UNET,
     "a video model (SVD)",
     {UNET_IN(8), ANY(UNET "input_blocks.1.0.time_stack.in_layers.0.weight")}},
    {CN_FILE_NO_UNET,
     "a motion module (AnimateDiff)",
     {ANY("down_blocks.0.motion_modules.0.temporal_transformer.norm.weight")}},
    {CN_FILE_NO_UNET, "a hypernetwork", {{"768.0.linear.0.weight", 2, {1536, 768}}}},
    {CN_FILE_NO_UNET,
     "a safety checker",
     {ANY("concept_embeds"), ANY("vision_model.vision_model.embeddings.class_embedding")}},
    {CN_FILE_TEXT,
     "the text encoder CLIP ViT-L (SD 1.x)",
     {ANY("text_model.encoder.layers.0.mlp.fc1.weight"),
      ANY("vision_model.encoder.layers.0.mlp.fc1.weight"),
      {"text_model.embeddings.token_embedding.weight", 2, {10, 768}}}},
    {CN_FILE_TAESD, "a tiny autoencoder (TAESD)", {{"1.weight", 4, {64, 16, 3, 3}}, ANY("1.bias")}},
    {CN_FILE_VAE,
     "an autoencoder (VAE)",
     {{"decoder.conv_in.weight", 4, {512, 4, 3, 3}}, ANY("encoder.conv_in.weight")}},
    {CN_FILE_VAE,
     "an autoencoder (VAE)",
     {ANY("first_stage_model.decoder.up.0.block.0.norm1.weight")}},
    {CN_FILE_VAE, "an autoencoder (VAE)", {ANY("decoder.up_blocks.0.resnets.0.norm1.weight")}},
    {CN_FILE_VAE,
     "an autoencoder of SD 3 or Flux",
     {{"decoder.conv_in.weight", 4, {512, 16, 3, 3}}, ANY("encoder.conv_in.weight")}},
    {CN_FILE_VAE,
     "an asymmetric autoencoder",
     {ANY("decoder.condition_encoder.layers.0.weight"), ANY("encoder.conv_in.weight")}},
    {CN_FILE_TAESD, "a tiny autoencoder (TAESD)", {{"decoder.layers.0.weight", 4, {64, 4, 3, 3}}}},
    {CN_FILE_TAESD, "a tiny autoencoder (TAESD)", {{"1.weight", 4, {64, 4, 3, 3}}, ANY("1.bias")}},
    {CN_FILE_TAESD, "a tiny autoencoder (TAESD)", {{"0.weight", 4, {64, 3, 3, 3}}, ANY("0.bias")}},
    {CN_FILE_TEXT,
     "the text encoder CLIP ViT-L (SD 1.x)",
     {ANY("text_model.encoder.layers.0.mlp.fc1.weight"),
      {"text_model.embeddings.token_embedding.weight", 2, {10, 768}}}},
    {CN_FILE_TEXT,
     "the text encoder OpenCLIP ViT-H (SD 2.x)",
     {ANY("transformer.resblocks.0.ln_1.weight"), {"token_embedding.weight", 2, {10, 1024}}}},
    {CN_FILE_CONTROLNET,
     "a ControlNet for SD 1.x",
     {ANY("control_model.input_hint_block.0.weight"), TEXT_OF("control_model.", 768)}},
    {CN_FILE_CONTROLNET,
     "a ControlNet for SD 2.x",
     {ANY("input_hint_block.0.weight"), TEXT_OF("", 1024)}},
    {CN_FILE_CONTROLNET,
     "a ControlNet for SDXL",
     {ANY("controlnet_cond_embedding.conv_in.weight"),
      {"add_embedding.linear_1.weight", 2, {1280, 2816}}}},
    {CN_FILE_CONTROLNET,
     "a ControlNet together with a base model for SD 1.x",
     {ANY("control_model.input_hint_block.0.weight"), UNET_IN(4), TEXT_OF(UNET, 768)}},
    {CN_FILE_CONTROL_UNION,
     "a union ControlNet for SDXL",
     {ANY("controlnet_cond_embedding.conv_in.weight"),
      {"task_embedding", 2, {6, 320}},
      {"add_embedding.linear_1.weight", 2, {1280, 2816}}}},
    {CN_FILE_CONTROL_LORA,
     "a Control-LoRA for SDXL",
     {ANY("lora_controlnet"), ANY("input_hint_block.0.weight")}},
    {CN_FILE_LLLITE,
     "a ControlNet-LLLite for SDXL",
     {ANY("lllite_unet_input_blocks_7_1_transformer_blocks_2_attn1_to_q.down.0.weight")}},
    {CN_FILE_T2I_ADAPTER,
     "a T2I-Adapter for SD 1.x",
     {ANY("adapter.body.0.resnets.0.block1.bias")}},
    {CN_FILE_T2I_ADAPTER,
     "a T2I-Adapter for SDXL",
     {{"conv_in.weight", 4, {320, 768, 3, 3}}, ANY("body.0.block1.weight")}},
    {CN_FILE_IP_ADAPTER,
     "an IP-Adapter for SD 1.x",
     {ANY("image_proj.norm.bias"), {"ip_adapter.1.to_k_ip.weight", 2, {320, 768}}}},
    {CN_FILE_IP_ADAPTER,
     "an IP-Adapter FaceID for SDXL",
     {ANY("ip_adapter.0.to_q_lora.down.weight"), {"ip_adapter.1.to_k_ip.weight", 2, {640, 2048}}}},
    {CN_FILE_LORA,
     "a LoRA for SD 1.x",
     {ANY("lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight"),
      {"lora_unet_x_transformer_blocks_0_attn2_to_k.lora_down.weight", 2, {8, 768}}}},
    {CN_FILE_LORA,
     "a LoRA for SDXL",
     {ANY("lora_unet_input_blocks_4_1_proj_in.lora_down.weight"),
      ANY("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight")}},
    {CN_FILE_LORA,
     "a LoRA for SD 2.x",
     {{"unet.x.transformer_blocks.0.attn2.to_k.lora_A.weight", 2, {8, 1024}}}},
    {CN_FILE_LORA,
     "a LoRA for SD 1.x",
     {{"unet.x.attn2.processor.to_k_lora.down.weight", 2, {4, 768}}}},
    {CN_FILE_LORA, "a LoHa", {ANY("lora_unet_x.hada_w1_a")}},
    {CN_FILE_LORA, "a LoKr", {ANY("lora_unet_x.lokr_w1")}},
    {CN_FILE_LORA, "a full-weight difference (LyCORIS)", {ANY("lora_unet_x.diff")}},
    {CN_FILE_EMBEDDING, "a textual inversion for SD 1.x", {{"emb_params", 2, {4, 768}}}},
    {CN_FILE_EMBEDDING,
     "a textual inversion for SDXL",
     {{"clip_l", 2, {2, 768}}, {"clip_g", 2, {2, 1280}}}},
    {CN_FILE_EMBEDDING, "a textual inversion for SD 2.x", {{"<cat-toy>", 1, {1024}}}},
    {CN_FILE_EMBEDDING,
     "a textual inversion for SD 1.x",
     {{"string_to_param.*", 2, {1, 768}}, {"string_to_token.*", 0, {0}}}},
    {CN_FILE_IMAGE_ENCODER,
     "a CLIP image encoder",
     {ANY("vision_model.encoder.layers.0.mlp.fc1.weight")}},
    {CN_FILE_ANNOTATOR,
     "a Depth-Anything network",
     {ANY("pretrained.cls_token"), ANY("depth_head.projects.0.weight")}},
    {CN_FILE_ANNOTATOR, "an HED network", {ANY("block1.projection.weight"), ANY("norm")}},
    {CN_FILE_ANNOTATOR, "a line art network", {ANY("model0.1.weight")}},
    {CN_FILE_ANNOTATOR, "an OpenPose network", {ANY("conv5_5_CPM_L1.weight")}},
    {CN_FILE_UPSCALER, "an upscaler (ESRGAN)", {ANY("model.1.sub.0.RDB1.conv1.0.weight")}},
    {CN_FILE_UPSCALER, "an upscaler (ESRGAN)", {ANY("params_ema.body.0.rdb1.conv1.weight")}},
    {CN_FILE_NO_UNET, "a Flux model", {ANY("double_blocks.0.img_mod.lin.weight")}},
    {CN_FILE_NO_UNET,
     "an SD 3 model",
     {ANY("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight")}},
    {CN_FILE_NO_UNET, "a T5 text encoder", {ANY("encoder.block.0.layer.0.SelfAttention.k.weight")}},
    {CN_FILE_UNKNOWN, "", {ANY("something.else")}},
    {CN_FILE_UNKNOWN, "", {{"fc.weight", 2, {10, 768}}, ANY("fc.bias")}},
};

static void every_kind_is_named(void **state)
{
    char *folder = make_folder(), *path = cn_xprintf("%s/x.safetensors", folder);

    (void)state;
    for (size_t i = 0; i < CN_LEN(cases); i++) {
        struct cn_err err = CN_ERR_INIT;
        struct cn_tensor_file *f;
        struct cn_file_class k;
        struct make m;

        make_init(&m);
        for (int n = 0; n < 4 && cases[i].tensor[n].name != NULL; n++)
            make_add(&m, cases[i].tensor[n].name, CN_F16, cases[i].tensor[n].rank,
                     cases[i].tensor[n].dim);
        make_write(&m, path);
        make_release(&m);
        if (cn_tensor_file_open(path, &f, &err) < 0)
            fail_msg("%s", err.msg);
        cn_tensor_file_classify(f, &k);
        if (k.kind != cases[i].kind || strcmp(k.what, cases[i].what) != 0)
            fail_msg("case %zu, %s: \"%s\" (%s) instead of \"%s\"", i, cases[i].tensor[0].name,
                     k.what, cn_file_kind_name(k.kind), cases[i].what);
        assert_int_not_equal(cn_file_kind_name(k.kind)[0], '?');
        assert_int_not_equal(cn_family_name(k.family)[0], '?');
        cn_tensor_file_close(f);
    }
    free(path);
    make_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
