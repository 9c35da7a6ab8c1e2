/* checkpoint: models in all their forms, opened and looked into. */
#include "base/base.h"
#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors.h"
#include "model/expect.h"
#include "runtime/inspect.h"
#include "make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static const char unet_json[] =
    "{\"_class_name\":\"UNet2DConditionModel\",\"in_channels\":4,\"out_channels\":4,"
    "\"block_out_channels\":[32,64,64],\"layers_per_block\":1,\"cross_attention_dim\":48,"
    "\"down_block_types\":[\"CrossAttnDownBlock2D\",\"CrossAttnDownBlock2D\",\"DownBlock2D\"],"
    "\"up_block_types\":[\"UpBlock2D\",\"CrossAttnUpBlock2D\",\"CrossAttnUpBlock2D\"],"
    "\"attention_head_dim\":8,\"sample_size\":64}";
static const char control_json[] =
    "{\"_class_name\":\"ControlNetModel\",\"in_channels\":4,\"block_out_channels\":[32,64,64],"
    "\"layers_per_block\":1,\"cross_attention_dim\":48,\"attention_head_dim\":8,"
    "\"down_block_types\":[\"CrossAttnDownBlock2D\",\"CrossAttnDownBlock2D\",\"DownBlock2D\"],"
    "\"conditioning_embedding_out_channels\":[8,12,16]}";
static const char vae_json[] =
    "{\"_class_name\":\"AutoencoderKL\",\"block_out_channels\":[32,64],"
    "\"down_block_types\":[\"DownEncoderBlock2D\",\"DownEncoderBlock2D\"],"
    "\"up_block_types\":[\"UpDecoderBlock2D\",\"UpDecoderBlock2D\"]}";
static const char text_json[] =
    "{\"vocab_size\":100,\"hidden_size\":48,\"num_hidden_layers\":2,\"num_attention_heads\":1,"
    "\"intermediate_size\":80,\"bos_token_id\":98,\"eos_token_id\":99,\"pad_token_id\":99}";
static const char schedule_json[] =
    "{\"_class_name\":\"PNDMScheduler\",\"beta_start\":0.00085,\"beta_end\":0.012,"
    "\"beta_schedule\":\"scaled_linear\",\"steps_offset\":1,\"skip_prk_steps\":true}";
static const char index_json[] = "{\"_class_name\":\"StableDiffusionPipeline\",\"unet\":["
                                 "\"diffusers\",\"UNet2DConditionModel\"],"
                                 "\"vae\":[\"diffusers\",\"AutoencoderKL\"],\"text_encoder\":["
                                 "\"transformers\",\"CLIPTextModel\"],"
                                 "\"safety_checker\":[null,null]}";

static const char two_index_json[] = "{\"unet\":[\"a\",\"UNet2DConditionModel\"],"
                                     "\"vae\":[\"a\",\"AutoencoderKL\"],"
                                     "\"text_encoder\":[\"a\",\"CLIPTextModel\"],"
                                     "\"text_encoder_2\":[\"a\",\"CLIPTextModelWithProjection\"],"
                                     "\"tokenizer_2\":[\"a\",\"CLIPTokenizer\"]}";

/* Writes the tensors that `expect` names to a file. */
static void write_net(const char *path, void (*expect)(struct make *m))
{
    struct make m;

    make_init(&m);
    expect(&m);
    make_write(&m, path);
    make_release(&m);
}

static void unet_tensors(struct make *m)
{
    m->comp = CN_COMP_UNET;
    cn_expect_unet(&tiny_unet, make_expected, m);
}

static void vae_tensors(struct make *m)
{
    m->comp = CN_COMP_VAE;
    cn_expect_vae(&tiny_vae, make_expected, m);
}

static void text_tensors(struct make *m)
{
    m->comp = CN_COMP_TEXT;
    cn_expect_text(&tiny_text, make_expected, m);
}

static void control_tensors(struct make *m)
{
    m->comp = CN_COMP_CONTROL;
    cn_expect_control(&tiny_control, make_expected, m);
}

/* All of them under LDM names, in one file. */
static void ldm_tensors(struct make *m)
{
    m->prefix = cn_ldm_prefix[CN_COMP_UNET];
    m->ldm = &tiny_layout;
    unet_tensors(m);
    m->prefix = cn_ldm_prefix[CN_COMP_VAE];
    m->ldm = &tiny_vae_layout;
    vae_tensors(m);
    m->prefix = cn_ldm_prefix[CN_COMP_TEXT];
    text_tensors(m);
    make_add(m, "cond_stage_model.transformer.text_model.embeddings.position_ids", CN_I64, 2,
             (const int64_t[]){1, 77});
    make_add(m, "alphas_cumprod", CN_F32, 1, (const int64_t[]){1000});
    make_add(m, "model_ema.decay", CN_F32, 0, NULL);
}

static void write_pipeline(const char *dir)
{
    char path[256];

    make_dir("%s", dir);
    make_dir("%s/unet", dir);
    make_dir("%s/vae", dir);
    make_dir("%s/text_encoder", dir);
    make_dir("%s/scheduler", dir);
    make_dir("%s/tokenizer", dir);
    make_text(index_json, "%s/model_index.json", dir);
    make_text(unet_json, "%s/unet/config.json", dir);
    make_text(vae_json, "%s/vae/config.json", dir);
    make_text(text_json, "%s/text_encoder/config.json", dir);
    make_text(schedule_json, "%s/scheduler/scheduler_config.json", dir);
    snprintf(path, sizeof(path), "%s/unet/diffusion_pytorch_model.safetensors", dir);
    write_net(path, unet_tensors);
    snprintf(path, sizeof(path), "%s/vae/diffusion_pytorch_model.fp16.safetensors", dir);
    write_net(path, vae_tensors);
    snprintf(path, sizeof(path), "%s/text_encoder/model.safetensors", dir);
    write_net(path, text_tensors);
}

static struct cn_checkpoint *open_ok(const char *path)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_checkpoint *c = NULL;

    if (cn_checkpoint_open(path, &c, &err) < 0)
        fail_msg("%s", err.msg);
    return c;
}

static void open_fails(const char *path, int code, const char *says)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_checkpoint *c;

    if (cn_checkpoint_open(path, &c, &err) >= 0)
        fail_msg("\"%s\" was opened, but \"%s\" was expected", path, says);
    if (strstr(err.msg, says) == NULL || err.code != code)
        fail_msg("says \"%s\" (%s), not \"%s\"", err.msg, cn_code_name(err.code), says);
}

static void print_finding(void *ctx, const struct cn_finding *f)
{
    (void)ctx;
    fprintf(stderr, "%s: %s: %s (%s, needs %s)\n", cn_component_name(f->comp),
            cn_finding_name(f->kind), f->name, f->have, f->need);
}

static void is_complete(const struct cn_checkpoint *c)
{
    struct cn_inspect r;

    cn_inspect_checkpoint(c, print_finding, NULL, &r);
    for (int i = 0; i < CN_COMP_COUNT; i++)
        for (int k = 0; k < CN_FINDING_COUNT; k++)
            assert_int_equal(r.part[i].findings[k], 0);
}

static void same_unet(const struct cn_unet_config *a, const struct cn_unet_config *b)
{
    assert_int_equal(a->in_channels, b->in_channels);
    assert_int_equal(a->out_channels, b->out_channels);
    assert_int_equal(a->blocks, b->blocks);
    assert_int_equal(a->layers_per_block, b->layers_per_block);
    assert_int_equal(a->cross_attention_dim, b->cross_attention_dim);
    assert_int_equal(a->norm_groups, b->norm_groups);
    assert_int_equal(a->linear_projection, b->linear_projection);
    for (int i = 0; i < a->blocks; i++) {
        assert_int_equal(a->channels[i], b->channels[i]);
        assert_int_equal(a->heads[i], b->heads[i]);
        assert_int_equal(a->down_attention[i], b->down_attention[i]);
        assert_int_equal(a->up_attention[i], b->up_attention[i]);
        assert_int_equal(a->transformer_layers[i], b->transformer_layers[i]);
    }
}

static void is_the_tiny_model(const struct cn_checkpoint *c)
{
    assert_true(cn_checkpoint_has(c, CN_COMP_TEXT) && cn_checkpoint_has(c, CN_COMP_UNET) &&
                cn_checkpoint_has(c, CN_COMP_VAE));
    is_complete(c);
    same_unet(cn_checkpoint_unet(c), &tiny_unet);
    assert_memory_equal(cn_checkpoint_vae(c)->channels, tiny_vae.channels, sizeof(int) * 2);
    assert_int_equal(cn_checkpoint_vae(c)->blocks, 2);
    assert_int_equal(cn_checkpoint_vae(c)->latent_channels, 4);
    assert_int_equal(cn_checkpoint_vae(c)->layers_per_block, 1);
    assert_true(cn_checkpoint_vae(c)->mid_attention && cn_checkpoint_vae(c)->use_quant_conv);
    assert_int_equal(cn_checkpoint_text(c, 0)->hidden_size, 48);
    assert_int_equal(cn_checkpoint_text(c, 0)->layers, 2);
    assert_int_equal(cn_checkpoint_text(c, 0)->heads, 1);
    assert_int_equal(cn_checkpoint_text(c, 0)->eos_token, 99);
    assert_int_equal(cn_checkpoint_schedule(c)->beta_schedule, CN_BETA_SCALED_LINEAR);
    assert_int_equal(cn_checkpoint_schedule(c)->steps_offset, 1);
    assert_int_equal(cn_checkpoint_schedule(c)->prediction, CN_PREDICT_EPSILON);
}

static void pipelines_are_opened(void **state)
{
    char *folder = make_folder(), *dir = cn_xprintf("%s/model/", folder);
    struct cn_err err = CN_ERR_INIT;
    struct cn_checkpoint *c;
    struct cn_tensor_view v;

    (void)state;
    write_pipeline(dir);
    c = open_ok(dir);
    assert_int_equal(cn_checkpoint_kind(c), CN_CKPT_PIPELINE);
    is_the_tiny_model(c);
    assert_non_null(strstr(cn_checkpoint_tokenizer(c, 0), "/model/tokenizer"));
    assert_int_equal(cn_checkpoint_find(c, CN_COMP_UNET, "conv_in.weight", &v, &err), CN_OK);
    assert_int_equal(v.rank, 4);
    assert_int_equal(v.dim[0], 32);
    assert_int_equal(cn_checkpoint_find(c, CN_COMP_UNET, "conv_in.wait", &v, &err), CN_ENOTFOUND);
    assert_non_null(strstr(err.msg, "\"conv_in.wait\""));
    assert_non_null(strstr(err.msg, "diffusion_pytorch_model.safetensors"));
    assert_int_equal(cn_checkpoint_find(c, CN_COMP_CONTROL, "x", &v, NULL), CN_ENOTFOUND);
    assert_null(cn_checkpoint_control(c));
    cn_checkpoint_close(c);
    free(dir);
    make_remove(folder);
}

static void shards_are_put_together(void **state)
{
    char *folder = make_folder(), *dir = cn_xprintf("%s/model", folder), path[256];
    char *json = cn_xprintf("{\"metadata\":{},\"weight_map\":{");
    struct make m;

    (void)state;
    write_pipeline(dir);
    make_init(&m);
    unet_tensors(&m);
    for (size_t i = 0; i < m.n; i++) {
        char *more = cn_xprintf("%s%s\"%s\":\"part-%d.safetensors\"", json, i ? "," : "",
                                m.view[i].name, i < m.n / 2 ? 1 : 2);

        free(json);
        json = more;
    }
    snprintf(path, sizeof(path), "%s/unet/part-1.safetensors", dir);
    assert_int_equal(cn_safetensors_write(path, m.view, m.n / 2, NULL, NULL), CN_OK);
    snprintf(path, sizeof(path), "%s/unet/part-2.safetensors", dir);
    assert_int_equal(cn_safetensors_write(path, m.view + m.n / 2, m.n - m.n / 2, NULL, NULL),
                     CN_OK);
    snprintf(path, sizeof(path), "%s/unet/diffusion_pytorch_model.safetensors", dir);
    unlink(path);
    make_text(cn_arena_printf(&m.arena, "%s}}", json),
              "%s/unet/diffusion_pytorch_model.safetensors.index.json", dir);
    {
        struct cn_checkpoint *c = open_ok(dir);

        is_the_tiny_model(c);
        cn_checkpoint_close(c);
    }
    make_text("{\"weight_map\":{\"a\":\"part-1.safetensors\"}}",
              "%s/unet/diffusion_pytorch_model.safetensors.index.json", dir);
    open_fails(dir, CN_ENOTFOUND, "no tensor \"a\"");
    make_text("{\"weight_map\":{\"a\":\"../x.safetensors\"}}",
              "%s/unet/diffusion_pytorch_model.safetensors.index.json", dir);
    open_fails(dir, CN_EFORMAT, "is not the name of a file of weights next to it");
    make_text("{}", "%s/unet/diffusion_pytorch_model.safetensors.index.json", dir);
    open_fails(dir, CN_EFORMAT, "weight_map");
    free(json);
    make_release(&m);
    free(dir);
    make_remove(folder);
}

static void missing_things_are_named(void **state)
{
    char *folder = make_folder(), *dir = cn_xprintf("%s/model", folder), path[256];

    (void)state;
    open_fails(folder, CN_ENOTFOUND, "neither model_index.json");
    write_pipeline(dir);
    snprintf(path, sizeof(path), "%s/unet/diffusion_pytorch_model.safetensors", dir);
    unlink(path);
    open_fails(dir, CN_ENOTFOUND, "has no weights");
    make_text("x", "%s/unet/diffusion_pytorch_model.bin", dir);
    open_fails(dir, CN_EFORMAT, "unet/diffusion_pytorch_model.bin");
    make_text("{\"unet\":[\"diffusers\",\"UNet2DConditionModel\"]}", "%s/model_index.json", dir);
    open_fails(dir, CN_EINVAL, "\"vae\"");
    snprintf(path, sizeof(path), "%s/nothing.safetensors", folder);
    open_fails(path, CN_ENOTFOUND, "nothing.safetensors");
    make_text("\x80\x02" "cos\nsystem\n.", "%s/old.ckpt", folder);
    snprintf(path, sizeof(path), "%s/old.ckpt", folder);
    open_fails(path, CN_EFORMAT, "it names \"os.system\"");
    free(dir);
    make_remove(folder);
}

/* A second text encoder is a part like others; the networks of SDXL are refused by name. */
/* Of which file the UNet's tensors are. */
static bool unet_is_of(const char *dir, const char *ending)
{
    struct cn_checkpoint *c = open_ok(dir);
    struct cn_tensor_view v;
    bool yes;

    assert_int_equal(cn_checkpoint_find(c, CN_COMP_UNET, "conv_in.weight", &v, NULL), CN_OK);
    yes = strstr(v.file, ending) != NULL;
    cn_checkpoint_close(c);
    return yes;
}

static void weights_without_average_are_chosen(void **state)
{
    static const char plain[] = ".non_ema.safetensors";
    char *folder = make_folder(), *dir = cn_xprintf("%s/m", folder);
    char *json = cn_xprintf("%.*s,\"_ema\":false}", (int)strlen(index_json) - 1, index_json);
    char *usual = cn_xprintf("%s/unet/diffusion_pytorch_model.safetensors", dir);
    char *other = cn_xprintf("%s/unet/diffusion_pytorch_model%s", dir, plain);

    (void)state;
    write_pipeline(dir);
    write_net(other, unet_tensors);
    assert_false(unet_is_of(dir, plain));
    make_text(json, "%s/model_index.json", dir);
    assert_true(unet_is_of(dir, plain));
    unlink(other);
    open_fails(dir, CN_ENOTFOUND, "non_ema");
    make_text(index_json, "%s/model_index.json", dir);
    rename(usual, other);
    assert_true(unet_is_of(dir, plain)); /* when there is nothing else */
    free(json);
    free(usual);
    free(other);
    free(dir);
    make_remove(folder);
}

static void a_second_text_encoder_is_read(void **state)
{
    char *folder = make_folder(), *dir = cn_xprintf("%s/model", folder);
    char *path = cn_xprintf("%s/text_encoder_2/model.safetensors", dir);
    struct cn_checkpoint *c;

    (void)state;
    write_pipeline(dir);
    make_text(two_index_json, "%s/model_index.json", dir);
    open_fails(dir, CN_ENOTFOUND, "text_encoder_2/config.json");
    make_dir("%s/text_encoder_2", dir);
    make_text(text_json, "%s/text_encoder_2/config.json", dir);
    write_net(path, text_tensors);
    make_dir("%s/tokenizer_2", dir);
    c = open_ok(dir);
    assert_true(cn_checkpoint_has(c, CN_COMP_TEXT_2));
    assert_int_equal(cn_checkpoint_count(c, CN_COMP_TEXT_2), cn_checkpoint_count(c, CN_COMP_TEXT));
    assert_non_null(strstr(cn_checkpoint_tokenizer(c, 1), "/model/tokenizer_2"));
    for (int i = 0; i < CN_MAX_TEXTS; i++)
        assert_true(cn_checkpoint_text(c, i)->penultimate);
    assert_int_equal(cn_checkpoint_text(c, 0)->projection, 0);
    assert_int_equal(cn_checkpoint_text(c, 1)->projection, 512);
    assert_null(cn_checkpoint_text(c, 2));
    assert_true(cn_checkpoint_zeroes_empty(c));
    cn_checkpoint_close(c);
    make_text("{\"addition_embed_type\":\"text_time\"}", "%s/unet/config.json", dir);
    open_fails(dir, CN_EINVAL, "\"projection_class_embeddings_input_dim\": \"text_time\" needs it");
    make_text("{\"unet\":[\"a\",\"UNet2DConditionModel\"],\"vae\":[\"a\",\"AutoencoderKL\"],"
              "\"text_encoder\":[\"a\",\"CLIPTextModel\"],\"text_encoder_2\":[\"a\",\"T5\"]}",
              "%s/model_index.json", dir);
    open_fails(dir, CN_EINVAL, "\"T5\" instead of \"CLIPTextModelWithProjection\"");
    free(path);
    free(dir);
    make_remove(folder);
}

static void single_files_are_understood(void **state)
{
    char *folder = make_folder(), *path = cn_xprintf("%s/m.safetensors", folder);
    struct cn_checkpoint *c;

    (void)state;
    write_net(path, ldm_tensors);
    c = open_ok(path);
    assert_int_equal(cn_checkpoint_kind(c), CN_CKPT_FILE);
    assert_null(cn_checkpoint_tokenizer(c, 0));
    is_the_tiny_model(c);
    assert_int_equal(cn_checkpoint_schedule(c)->spacing, 0); /* CN_SPACING_MODEL */
    cn_checkpoint_close(c);

    make_text("{\"unet\":{\"attention_head_dim\":[4,8,16],\"norm_num_groups\":16},"
              "\"scheduler\":{\"prediction_type\":\"v_prediction\"},"
              "\"vae\":{\"scaling_factor\":0.5},\"text_encoder\":{\"num_attention_heads\":2}}",
              "%s.json", path);
    c = open_ok(path);
    assert_int_equal(cn_checkpoint_unet(c)->heads[0], 4);
    assert_int_equal(cn_checkpoint_unet(c)->heads[2], 16);
    assert_int_equal(cn_checkpoint_unet(c)->norm_groups, 16);
    assert_int_equal(cn_checkpoint_schedule(c)->prediction, CN_PREDICT_V);
    assert_true(cn_checkpoint_vae(c)->scaling_factor == 0.5);
    assert_int_equal(cn_checkpoint_text(c, 0)->heads, 2);
    cn_checkpoint_close(c);
    make_text("{\"unet\":{\"block_out_channels\":[1]}}", "%s.json", path);
    open_fails(path, CN_EINVAL, "\"block_out_channels\": an unknown setting");
    make_text("{\"controlnet\":{\"norm_eps\":1e-5}}", "%s.json", path);
    open_fails(path, CN_EINVAL, "no such component");
    make_text("{\"unet\":{\"attention_head_dim\":5}}", "%s.json", path);
    open_fails(path, CN_EINVAL, "do not divide into 5 heads");
    free(path);
    make_remove(folder);
}

static void prefixed_control(struct make *m)
{
    m->prefix = "control_model.";
    m->ldm = &tiny_layout;
    control_tensors(m);
}

static void bare_control(struct make *m)
{
    m->ldm = &tiny_layout;
    control_tensors(m);
}

static void difference_control(struct make *m)
{
    prefixed_control(m);
    make_add(m, "difference", CN_F32, 0, NULL);
    m->n--;
    m->view[0] = m->view[m->n]; /* one tensor, conv_in.weight, is left out */
}

static void controlnets_come_in_four_forms(void **state)
{
    static void (*const form[])(struct make *) = {prefixed_control, bare_control, control_tensors,
                                                  difference_control};
    char *folder = make_folder(), *path = cn_xprintf("%s/c.safetensors", folder);
    struct cn_checkpoint *c;

    (void)state;
    for (size_t i = 0; i < CN_LEN(form); i++) {
        write_net(path, form[i]);
        c = open_ok(path);
        assert_true(cn_checkpoint_has(c, CN_COMP_CONTROL));
        assert_false(cn_checkpoint_has(c, CN_COMP_UNET));
        assert_int_equal(cn_checkpoint_is_difference(c), i == 3);
        if (i < 3) {
            is_complete(c);
            same_unet(&cn_checkpoint_control(c)->unet, &tiny_control.unet);
            assert_int_equal(cn_checkpoint_control(c)->hint_blocks, 3);
            assert_int_equal(cn_checkpoint_control(c)->hint_channels, 3);
            assert_memory_equal(cn_checkpoint_control(c)->hint_out, tiny_control.hint_out, 12);
        }
        cn_checkpoint_close(c);
    }
    free(path);
    path = cn_xprintf("%s/diffusion_pytorch_model.safetensors", folder);
    make_text(control_json, "%s/config.json", folder);
    write_net(path, control_tensors);
    c = open_ok(folder);
    assert_int_equal(cn_checkpoint_kind(c), CN_CKPT_NETWORK_DIR);
    is_complete(c);
    same_unet(&cn_checkpoint_control(c)->unet, &tiny_control.unet);
    cn_checkpoint_close(c);
    free(path);
    make_remove(folder);
}

/* Only the file's own name says that a ControlNet pools: not that of a folder it lies in. */
static void the_files_own_name_says_shuffle(void **state)
{
    static const struct {
        const char *at;
        bool pools;
    } cases[] = {
        {"shuffle/canny.safetensors", false},
        {"shuffle/control_v11e_sd15_shuffle.safetensors", true},
        {"shuffle/../shuffle.safetensors", true},
    };
    char *folder = make_folder();

    (void)state;
    make_dir("%s/shuffle", folder);
    for (size_t i = 0; i < CN_LEN(cases); i++) {
        char path[512];
        struct cn_checkpoint *c;

        snprintf(path, sizeof(path), "%s/%s", folder, cases[i].at);
        write_net(path, bare_control);
        c = open_ok(path);
        assert_int_equal(cn_checkpoint_control(c)->global_pool, cases[i].pools);
        cn_checkpoint_close(c);
    }
    make_remove(folder);
}

static void families_are_told_apart(void **state)
{
    struct cn_control_config c = tiny_control;
    struct cn_unet_config u = tiny_unet;
    struct cn_err err = CN_ERR_INIT;

    (void)state;
    assert_int_equal(cn_control_matches(&c, &u, &err), CN_OK);
    u.in_channels = 9; /* inpainting takes the same ControlNets */
    assert_int_equal(cn_control_matches(&c, &u, &err), CN_OK);
    u.cross_attention_dim = 1024;
    assert_int_equal(cn_control_matches(&c, &u, &err), CN_EINVAL);
    assert_non_null(strstr(err.msg, "cross_attention_dim is 48, the model has 1024"));
    u = tiny_unet;
    u.channels[1] = 96;
    assert_int_equal(cn_control_matches(&c, &u, NULL), CN_EINVAL);
    u = tiny_unet;
    u.layers_per_block = 2;
    assert_int_equal(cn_control_matches(&c, &u, NULL), CN_EINVAL);
}

/* Text encoders as transformers 5 names them, and tensors that belong to training. */
static void newer_names_are_understood(void **state)
{
    char *folder = make_folder(), *path = cn_xprintf("%s/m.safetensors", folder);
    struct cn_checkpoint *c;
    struct make m;

    (void)state;
    make_init(&m);
    ldm_tensors(&m);
    for (size_t i = 0; i < m.n; i++) {
        const char *at = strstr(m.view[i].name, "transformer.text_model.");

        if (at != NULL)
            m.view[i].name = cn_arena_printf(&m.arena, "cond_stage_model.transformer.%s",
                                             at + strlen("transformer.text_model."));
    }
    make_add(&m, "first_stage_model.loss.logvar", CN_F32, 0, NULL);
    make_add(&m, "model_ema.diffusion_modelinput_blocks00weight", CN_F32, 0, NULL);
    make_add(&m, "v_pred", CN_F32, 0, NULL);
    make_write(&m, path);
    make_release(&m);
    c = open_ok(path);
    is_complete(c);
    assert_int_equal(cn_checkpoint_schedule(c)->prediction, CN_PREDICT_V);
    cn_checkpoint_close(c);
    free(path);
    make_remove(folder);
}

/* SD 2: 1024 wide context, linear projections, OpenCLIP's text encoder with its joined q, k, v. */
static void sd2_tensors(struct make *m)
{
    static const char *const plain[] = {"ln_1.weight", "ln_1.bias",          "ln_2.weight",
                                        "ln_2.bias",   "attn.out_proj.bias", "mlp.c_proj.bias"};
    struct cn_unet_config u = tiny_unet;
    char name[128];

    u.cross_attention_dim = 1024;
    u.linear_projection = true;
    m->prefix = cn_ldm_prefix[CN_COMP_UNET];
    m->ldm = &tiny_layout;
    m->comp = CN_COMP_UNET;
    cn_expect_unet(&u, make_expected, m);
    make_add(m, "cond_stage_model.model.token_embedding.weight", CN_F16, 2,
             (const int64_t[]){100, 1024});
    make_add(m, "cond_stage_model.model.positional_embedding", CN_F16, 2,
             (const int64_t[]){77, 1024});
    make_add(m, "cond_stage_model.model.ln_final.weight", CN_F16, 1, (const int64_t[]){1024});
    make_add(m, "cond_stage_model.model.ln_final.bias", CN_F16, 1, (const int64_t[]){1024});
    make_add(m, "cond_stage_model.model.logit_scale", CN_F32, 0, NULL);
    make_add(m, "cond_stage_model.model.text_projection", CN_F16, 2, (const int64_t[]){1024, 1024});
    for (int i = 0; i < 2; i++) {
        const char *at =
            cn_arena_printf(&m->arena, "cond_stage_model.model.transformer.resblocks.%d", i);

        for (size_t k = 0; k < CN_LEN(plain); k++) {
            snprintf(name, sizeof(name), "%s.%s", at, plain[k]);
            make_add(m, name, CN_F16, 1, (const int64_t[]){1024});
        }
        make_add(m, cn_arena_printf(&m->arena, "%s.attn.in_proj_weight", at), CN_F16, 2,
                 (const int64_t[]){3072, 1024});
        make_add(m, cn_arena_printf(&m->arena, "%s.attn.in_proj_bias", at), CN_F16, 1,
                 (const int64_t[]){3072});
        make_add(m, cn_arena_printf(&m->arena, "%s.attn.out_proj.weight", at), CN_F16, 2,
                 (const int64_t[]){1024, 1024});
        make_add(m, cn_arena_printf(&m->arena, "%s.mlp.c_fc.weight", at), CN_F16, 2,
                 (const int64_t[]){64, 1024});
        make_add(m, cn_arena_printf(&m->arena, "%s.mlp.c_fc.bias", at), CN_F16, 1,
                 (const int64_t[]){64});
        make_add(m, cn_arena_printf(&m->arena, "%s.mlp.c_proj.weight", at), CN_F16, 2,
                 (const int64_t[]){1024, 64});
    }
}

static void sd2_files_are_understood(void **state)
{
    char *folder = make_folder(), *path = cn_xprintf("%s/sd2.safetensors", folder);
    struct cn_tensor_view q, v, whole, third;
    struct cn_tensor_file *st;
    struct cn_checkpoint *c;

    (void)state;
    write_net(path, sd2_tensors);
    c = open_ok(path);
    is_complete(c);
    assert_true(cn_checkpoint_unet(c)->linear_projection);
    assert_int_equal(cn_checkpoint_unet(c)->heads[1], 1); /* 64 channels: one head of 64 */
    assert_int_equal(cn_checkpoint_schedule(c)->prediction, CN_PREDICT_V);
    assert_int_equal(cn_checkpoint_text(c, 0)->layers, 1); /* the last is never run */
    assert_int_equal(cn_checkpoint_text(c, 0)->heads, 16);
    assert_int_equal(cn_checkpoint_text(c, 0)->act, CN_GELU);
    assert_int_equal(cn_checkpoint_text(c, 0)->pad_token, 0);
    assert_int_equal(cn_tensor_file_open(path, &st, NULL), CN_OK);
    assert_int_equal(
        cn_tensor_file_find(
            st, "cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight", &whole, NULL),
        CN_OK);
    assert_int_equal(cn_checkpoint_find(c, CN_COMP_TEXT,
                                        "text_model.encoder.layers.0.self_attn.q_proj.weight", &q,
                                        NULL),
                     CN_OK);
    assert_int_equal(cn_checkpoint_find(c, CN_COMP_TEXT,
                                        "text_model.encoder.layers.0.self_attn.v_proj.weight", &v,
                                        NULL),
                     CN_OK);
    assert_int_equal(q.dim[0], 1024);
    assert_int_equal(q.bytes, whole.bytes / 3);
    third = whole;
    cn_view_rows(&third, 0, 1024);
    assert_same_bytes(&q, &third);
    third = whole;
    cn_view_rows(&third, 2048, 1024);
    assert_same_bytes(&v, &third);
    cn_tensor_file_close(st);
    cn_checkpoint_close(c);
    free(path);
    make_remove(folder);
}

static void foreign(struct make *m, const char *name)
{
    make_add(m, name, CN_F16, 1, (const int64_t[]){4});
}

static void other_files_are_refused_by_kind(void **state)
{
    static const char *const names[][2] = {
        {"conditioner.embedders.0.transformer.x", "SDXL"},
        {"lora_unet_down_blocks_0.lora_up.weight", "LoRA"},
        {"double_blocks.0.img_mod.lin.weight", "Flux"},
        {"something.else", "neither a Stable Diffusion checkpoint nor a ControlNet"},
    };
    char *folder = make_folder(), *path = cn_xprintf("%s/x.safetensors", folder);
    struct make m;

    (void)state;
    for (size_t i = 0; i < CN_LEN(names); i++) {
        make_init(&m);
        foreign(&m, names[i][0]);
        make_write(&m, path);
        make_release(&m);
        open_fails(path, i < 3 ? CN_EINVAL : CN_EFORMAT, names[i][1]);
    }
    make_init(&m);
    ldm_tensors(&m);
    foreign(&m, "model.diffusion_model.motion_modules.0.weight");
    make_write(&m, path);
    open_fails(path, CN_EFORMAT, "motion_modules");
    make_release(&m);
    free(path);
    make_remove(folder);
}

/* Autoencoders of before diffusers 0.18, with linear attention as 1x1 convolutions. */
static void old_names_are_understood(void **state)
{
    char *folder = make_folder(), *dir = cn_xprintf("%s/model", folder), path[256];
    struct cn_checkpoint *c;
    struct cn_tensor_view v;
    struct make m;

    (void)state;
    write_pipeline(dir);
    make_init(&m);
    vae_tensors(&m);
    for (size_t i = 0; i < m.n; i++) {
        char *at = strstr(m.view[i].name, ".to_");

        if (at == NULL)
            continue;
        m.view[i].name =
            cn_arena_printf(&m.arena, "%.*s.%s.%s", (int)(at - m.view[i].name), m.view[i].name,
                            at[4] == 'q'   ? "query"
                            : at[4] == 'k' ? "key"
                            : at[4] == 'v' ? "value"
                                           : "proj_attn",
                            strrchr(at, '.') + 1);
    }
    snprintf(path, sizeof(path), "%s/vae/diffusion_pytorch_model.safetensors", dir);
    make_write(&m, path);
    make_release(&m);
    c = open_ok(dir);
    is_the_tiny_model(c);
    assert_int_equal(cn_checkpoint_find(c, CN_COMP_VAE,
                                        "encoder.mid_block.attentions.0.to_out.0.weight", &v, NULL),
                     CN_OK);
    cn_checkpoint_close(c);
    free(dir);
    make_remove(folder);
}

static void count_finding(void *ctx, const struct cn_finding *f)
{
    (void)f;
    ++*(int *)ctx;
}

static void inspection_counts(void **state)
{
    char *folder = make_folder(), *path = cn_xprintf("%s/m.safetensors", folder);
    struct cn_err err = CN_ERR_INIT;
    struct cn_inspect r;
    struct make m;
    int n = 0;

    (void)state;
    make_init(&m);
    control_tensors(&m);
    m.view[3].dim[0]--;
    m.view[3].bytes = cn_view_elements(&m.view[3]) * 2;
    m.view[4].name = "surprise.weight";
    m.view[5].name = "__metadata";
    make_write(&m, path);
    assert_int_equal(cn_checkpoint_inspect(path, count_finding, &n, &r, &err), CN_OK);
    assert_int_equal(r.part[CN_COMP_CONTROL].tensors, m.n);
    assert_int_equal(r.part[CN_COMP_CONTROL].findings[CN_FINDING_MISSING], 2);
    assert_int_equal(r.part[CN_COMP_CONTROL].findings[CN_FINDING_UNEXPECTED], 2);
    assert_int_equal(r.part[CN_COMP_CONTROL].findings[CN_FINDING_SHAPE], 1);
    assert_int_equal(n, 5);
    assert_string_equal(r.part[CN_COMP_CONTROL].type, "F16");
    assert_int_equal(r.part[CN_COMP_CONTROL].bytes, 2 * r.part[CN_COMP_CONTROL].elements);
    assert_false(r.part[CN_COMP_UNET].present);
    make_release(&m);
    free(path);
    make_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pipelines_are_opened),
        cmocka_unit_test(shards_are_put_together),
        cmocka_unit_test(missing_things_are_named),
        cmocka_unit_test(a_second_text_encoder_is_read),
        cmocka_unit_test(single_files_are_understood),
        cmocka_unit_test(controlnets_come_in_four_forms),
        cmocka_unit_test(the_files_own_name_says_shuffle),
        cmocka_unit_test(families_are_told_apart),
        cmocka_unit_test(newer_names_are_understood),
        cmocka_unit_test(sd2_files_are_understood),
        cmocka_unit_test(other_files_are_refused_by_kind),
        cmocka_unit_test(weights_without_average_are_chosen),
        cmocka_unit_test(old_names_are_understood),
        cmocka_unit_test(inspection_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
