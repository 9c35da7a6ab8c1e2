/* checkpoint: what configuration files may say and what is refused by name. */
#include "base/base.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/spec.h"
#include "checkpoint/checkpoint_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static const char path[] = "test_config.json.tmp";

static void put(const char *json)
{
    assert_int_equal(cn_file_write(path, json, strlen(json), NULL), CN_OK);
}

/* A UNet's configuration with one more line. */
static int unet_with(const char *line, struct cn_unet_config *u, struct cn_err *err)
{
    char *json =
        cn_xprintf("{\"_class_name\":\"UNet2DConditionModel\",\"_diffusers_version\":\"0.6.0\","
                   "\"cross_attention_dim\":768%s%s}",
                   line[0] ? "," : "", line);
    int rc;

    put(json);
    rc = cn_conf_unet(path, u, err);
    free(json);
    unlink(path);
    return rc;
}

static void absent_keys_have_the_class_defaults(void **state)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_unet_config u;

    (void)state;
    assert_int_equal(unet_with("", &u, &err), CN_OK);
    assert_int_equal(u.blocks, 4);
    assert_int_equal(u.channels[3], 1280);
    assert_int_equal(u.layers_per_block, 2);
    assert_int_equal(u.heads[2], 8);
    assert_int_equal(u.norm_groups, 32);
    assert_true(u.flip_sin_to_cos && u.down_attention[2] && !u.down_attention[3]);
    assert_true(!u.up_attention[0] && u.up_attention[1]);
}

static void known_variants_are_read(void **state)
{
    static const char *const good[] = {
        "\"attention_head_dim\":[5,10,20,20],\"use_linear_projection\":true",
        "\"num_attention_heads\":[5,10,20,20],\"attention_head_dim\":7",
        "\"transformer_layers_per_block\":[1,2,3,4]",
        "\"layers_per_block\":[2,2,2,2]",
        "\"upcast_attention\":true",
        "\"class_embed_type\":null,\"only_cross_attention\":false",
        "\"decay\":0.9999,\"inv_gamma\":1.0,\"power\":0.75,\"optimization_step\":5",
        "\"some_new_feature\":null,\"another_one\":false,\"_name\":\"x\"",
        "\"time_embedding_dim\":1280",
        "\"norm_num_groups\":32.0",
        "\"only_cross_attention\":[false,false,false,false],\"cross_attention_norm\":null",
        "\"act_fn\":\"swish\",\"mid_block_scale_factor\":1.0",
        "\"sample_size\":[64,96]",
        "\"flip_sin_to_cos\":null,\"sample_size\":null,\"time_embedding_dim\":null",
    };
    struct cn_unet_config u;

    (void)state;
    for (size_t i = 0; i < CN_LEN(good); i++) {
        struct cn_err err = CN_ERR_INIT;

        if (unet_with(good[i], &u, &err) < 0)
            fail_msg("%s: %s", good[i], err.msg);
    }
    assert_int_equal(unet_with(good[1], &u, NULL), CN_OK);
    assert_int_equal(u.heads[1], 10);
    assert_int_equal(unet_with(good[2], &u, NULL), CN_OK);
    assert_int_equal(u.transformer_layers[3], 4);
    assert_int_equal(unet_with("\"addition_embed_type\":\"text_time\","
                               "\"addition_time_embed_dim\":256,"
                               "\"projection_class_embeddings_input_dim\":2816,"
                               "\"transformer_layers_per_block\":[0,0,2,10]",
                               &u, NULL),
                     CN_OK);
    assert_true(u.add_dim == 2816 && u.add_time_dim == 256);
    assert_true(u.transformer_layers[0] == 0 && u.transformer_layers[3] == 10);
    assert_int_equal(unet_with(good[12], &u, NULL), CN_OK);
    assert_true(u.sample_height == 64 && u.sample_width == 96);
    assert_int_equal(unet_with(good[13], &u, NULL), CN_OK);
    assert_false(u.flip_sin_to_cos); /* in Python null is false, and not the default */
}

static void what_we_cannot_do_is_refused_by_name(void **state)
{
    static const char *const bad[][2] = {
        {"\"class_embed_type\":\"timestep\"", "class_embed_type"},
        {"\"resnet_time_scale_shift\":\"scale_shift\"", "resnet_time_scale_shift"},
        {"\"dual_cross_attention\":true", "dual_cross_attention"},
        {"\"only_cross_attention\":true", "only_cross_attention"},
        {"\"only_cross_attention\":[true,false,false,false]", "only_cross_attention"},
        {"\"addition_embed_type\":\"text_time\"", "projection_class_embeddings_input_dim"},
        {"\"addition_embed_type\":\"text_time\",\"projection_class_embeddings_input_dim\":2816",
         "addition_time_embed_dim"},
        {"\"projection_class_embeddings_input_dim\":2816", "projection_class_embeddings_input_dim"},
        {"\"addition_embed_type\":\"image\"", "addition_embed_type"},
        {"\"encoder_hid_dim\":4096", "encoder_hid_dim"},
        {"\"act_fn\":\"gelu\"", "act_fn"},
        {"\"act_fn\":[\"silu\",\"mish\"]", "act_fn"},
        {"\"mid_block_type\":null", "mid_block_type"},
        {"\"norm_num_groups\":null", "norm_num_groups"},
        {"\"layers_per_block\":null", "layers_per_block"},
        {"\"downsample_padding\":0", "downsample_padding"},
        {"\"mid_block_only_cross_attention\":true", "mid_block_only_cross_attention"},
        {"\"quantization_config\":{\"load_in_8bit\":true}", "quantization_config"},
        {"\"sample_size\":[64]", "sample_size"},
        {"\"sample_size\":[64,64,64]", "sample_size"},
        {"\"mid_block_type\":\"UNetMidBlock2DSimpleCrossAttn\"", "mid_block_type"},
        {"\"conv_in_kernel\":5", "conv_in_kernel"},
        {"\"center_input_sample\":true", "center_input_sample"},
        {"\"time_embedding_type\":\"fourier\"", "time_embedding_type"},
        {"\"some_new_feature\":7", "some_new_feature"},
        {"\"down_block_types\":[\"AttnDownBlock2D\",\"DownBlock2D\",\"DownBlock2D\","
         "\"DownBlock2D\"]",
         "AttnDownBlock2D"},
        {"\"down_block_types\":[\"DownBlock2D\"]", "not a list of 4"},
        {"\"block_out_channels\":[]", "block_out_channels"},
        {"\"block_out_channels\":[320,\"a\",1,2]", "block_out_channels"},
        {"\"block_out_channels\":[320,640,1280,99999999]", "block_out_channels"},
        {"\"block_out_channels\":[1,2,3,4,5,6,7]", "block_out_channels"},
        {"\"layers_per_block\":[1,2,2,2]", "different values per block"},
        {"\"attention_head_dim\":7", "7 heads"},
        {"\"attention_head_dim\":[1,2]", "2 numbers for 4 blocks"},
        {"\"norm_num_groups\":33", "norm_num_groups"},
        {"\"in_channels\":0", "in_channels"},
        {"\"in_channels\":4.5", "in_channels"},
        {"\"in_channels\":\"4\"", "in_channels"},
        {"\"flip_sin_to_cos\":\"yes\"", "flip_sin_to_cos"},
        {"\"time_embedding_dim\":100", "time_embedding_dim"},
        {"\"transformer_layers_per_block\":[[1,1],1,1,1]", "transformer_layers_per_block"},
    };
    struct cn_unet_config u;

    (void)state;
    for (size_t i = 0; i < CN_LEN(bad); i++) {
        struct cn_err err = CN_ERR_INIT;

        if (unet_with(bad[i][0], &u, &err) != CN_EINVAL)
            fail_msg("%s was accepted", bad[i][0]);
        if (strstr(err.msg, bad[i][1]) == NULL || strstr(err.msg, path) == NULL)
            fail_msg("%s: says \"%s\"", bad[i][0], err.msg);
    }
}

static void broken_json_is_refused(void **state)
{
    static const char *const bad[] = {"", "{", "[]", "3", "{\"a\":1,\"a\":2}", "{\"a\":\"\xff\"}"};
    struct cn_unet_config u;

    (void)state;
    for (size_t i = 0; i < CN_LEN(bad); i++) {
        put(bad[i]);
        assert_int_equal(cn_conf_unet(path, &u, NULL), CN_EFORMAT);
    }
    unlink(path);
    assert_int_equal(cn_conf_unet(path, &u, NULL), CN_ENOTFOUND);
}

static void schedules_are_read(void **state)
{
    struct cn_schedule_config s;
    struct cn_err err = CN_ERR_INIT;

    (void)state;
    put("{\"_class_name\":\"DDIMScheduler\",\"beta_schedule\":\"scaled_linear\","
        "\"prediction_type\":\"v_prediction\",\"timestep_spacing\":\"trailing\","
        "\"rescale_betas_zero_snr\":true,\"clip_sample\":false}");
    assert_int_equal(cn_conf_schedule(path, &s, &err), CN_OK);
    assert_true(s.rescale_zero_snr && !s.clip_sample);
    assert_int_equal(s.absent, CN_KEY_BETA_START | CN_KEY_BETA_END | CN_KEY_ALPHA_TO_ONE |
                                   CN_KEY_SKIP_PRK); /* the sampler's class decides */
    assert_int_equal(s.prediction, CN_PREDICT_V);
    assert_int_equal(s.spacing, CN_TRAILING);
    put("{}");
    assert_int_equal(cn_conf_schedule(path, &s, &err), CN_OK);
    assert_true(s.spacing == CN_SPACING_MODEL && s.train_steps == 1000);
    assert_true(s.absent & CN_KEY_ALPHA_TO_ONE && s.absent & CN_KEY_CLIP_SAMPLE);
    put("{\"prediction_type\":\"sample\"}");
    assert_int_equal(cn_conf_schedule(path, &s, NULL), CN_EINVAL);
    put("{\"beta_schedule\":\"sigmoid\"}");
    assert_int_equal(cn_conf_schedule(path, &s, NULL), CN_EINVAL);
    put("{\"timestep_spacing\":\"model\"}");
    assert_int_equal(cn_conf_schedule(path, &s, NULL), CN_EINVAL);
    put("{\"thresholding\":true}");
    assert_int_equal(cn_conf_schedule(path, &s, NULL), CN_EINVAL);
    unlink(path);
}

/* What a file of each kind must not say: all are refused by the name of the key. */
static void nothing_is_passed_over_in_silence(void **state)
{
    static const char *const schedules[][2] = {
        {"{\"_class_name\":\"FlowMatchEulerDiscreteScheduler\",\"shift\":3}", "_class_name"},
        {"{\"_class_name\":\"EDMEulerScheduler\"}", "_class_name"},
        {"{\"_class_name\":\"DDIMSchedulerOfMine\"}", "_class_name"},
        {"{\"some_new_setting\":3}", "some_new_setting"},
        {"{\"use_dynamic_shifting\":true}", "use_dynamic_shifting"},
        {"{\"trained_betas\":[0.1,0.2]}", "trained_betas"},
        {"{\"beta_start\":null}", "beta_start"},
        {"{\"timestep_spacing\":null}", "timestep_spacing"},
    };
    static const char *const texts[][2] = {
        {"{\"some_new_setting\":3}", "some_new_setting"},
        {"{\"pruned_heads\":{\"1\":[0]}}", "pruned_heads"},
        {"{\"quantization_config\":{\"bits\":4}}", "quantization_config"},
        {"{\"use_attention_mask\":true}", "use_attention_mask"},
        {"{\"hidden_act\":\"gelu_new\"}", "hidden_act"},
        {"{\"hidden_act\":null}", "hidden_act"},
    };
    static const char *const vaes[][2] = {
        {"{\"some_new_setting\":3}", "some_new_setting"},
        {"{\"act_fn\":\"mish\"}", "act_fn"},
        {"{\"latents_std\":[1,1,1,1]}", "latents_std"},
        {"{\"scaling_factor\":null}", "scaling_factor"},
    };
    struct cn_schedule_config s;
    struct cn_text_config t;
    struct cn_vae_config v;

    (void)state;
    for (size_t i = 0; i < CN_LEN(schedules) + CN_LEN(texts) + CN_LEN(vaes); i++) {
        const char *const *row = i < CN_LEN(schedules) ? schedules[i]
                                 : i - CN_LEN(schedules) < CN_LEN(texts)
                                     ? texts[i - CN_LEN(schedules)]
                                     : vaes[i - CN_LEN(schedules) - CN_LEN(texts)];
        struct cn_err err = CN_ERR_INIT;
        int rc;

        put(row[0]);
        if (i < CN_LEN(schedules))
            rc = cn_conf_schedule(path, &s, &err);
        else if (i - CN_LEN(schedules) < CN_LEN(texts))
            rc = cn_conf_text(path, false, &t, &err);
        else
            rc = cn_conf_vae(path, &v, &err);
        if (rc != CN_EINVAL || strstr(err.msg, row[1]) == NULL)
            fail_msg("%s: %d \"%s\"", row[0], rc, err.msg);
    }
    put("{\"use_quant_conv\":null}"); /* false, as Python has it */
    assert_int_equal(cn_conf_vae(path, &v, NULL), CN_OK);
    assert_false(v.use_quant_conv);
    put("{\"clip_sample\":null}");
    assert_int_equal(cn_conf_schedule(path, &s, NULL), CN_OK);
    assert_true(!s.clip_sample && !(s.absent & CN_KEY_CLIP_SAMPLE));
    unlink(path);
}

/* model_index.json with these members beside the parts of every model. */
static int index_with(const char *more, struct cn_pipeline_config *ret, struct cn_err *err)
{
    char *json = cn_xprintf("{\"unet\":[\"diffusers\",\"UNet2DConditionModel\"],"
                            "\"vae\":[\"diffusers\",\"AutoencoderKL\"]%s%s}",
                            more[0] ? "," : "", more);
    struct cn_conf f;
    int rc;

    put(json);
    rc = cn_conf_open(&f, path, err);
    assert_int_equal(rc, CN_OK);
    cn_conf_pipeline(&f, ret);
    rc = f.rc;
    cn_conf_close(&f);
    free(json);
    unlink(path);
    return rc;
}

static void pipelines_are_read(void **state)
{
#define TEXT "\"text_encoder\":[\"transformers\",\"CLIPTextModel\"]"
    static const char *const good[] = {
        TEXT,
        TEXT ",\"_class_name\":\"StableDiffusionControlNetImg2ImgPipeline\"",
        TEXT ",\"_class_name\":\"LatentConsistencyModelPipeline\"",
        TEXT ",\"_class_name\":\"StableDiffusionControlNetPAGPipeline\"",
        TEXT ",\"_class_name\":\"StableDiffusionDepth2ImgPipeline\",\"depth_estimator\":"
             "[\"transformers\",\"DPTForDepthEstimation\"]",
        TEXT ",\"requires_safety_checker\":true,\"safety_checker\":[\"stable_diffusion\","
             "\"StableDiffusionSafetyChecker\"],\"feature_extractor\":[\"transformers\","
             "\"CLIPFeatureExtractor\"],\"adapter\":[null,null],\"prior\":null",
        "\"text_encoder\":[\"transformers\",\"CLIPTextModelWithProjection\"],\"tokenizer\":"
        "[\"transformers\",\"CLIPTokenizerFast\"],\"some\":false,\"_mine\":5",
    };
    static const char *const bad[][2] = {
        {"", "text_encoder"},
        {"\"text_encoder\":[\"transformers\",\"T5EncoderModel\"]", "text_encoder"},
        {TEXT ",\"adapter\":[\"diffusers\",\"T2IAdapter\"]", "adapter"},
        {TEXT ",\"tokenizer\":[\"transformers\",\"T5Tokenizer\"]", "tokenizer"},
        {TEXT ",\"some_setting\":5", "some_setting"},
        {TEXT ",\"_class_name\":\"StableDiffusionInstructPix2PixPipeline\"", "_class_name"},
        {TEXT ",\"_class_name\":\"KandinskyPipeline\"", "_class_name"},
        {TEXT ",\"transformer\":[\"diffusers\",\"SD3Transformer2DModel\"]", "transformer"},
    };
    struct cn_pipeline_config p;

    (void)state;
    for (size_t i = 0; i < CN_LEN(good); i++) {
        struct cn_err err = CN_ERR_INIT;

        if (index_with(good[i], &p, &err) < 0)
            fail_msg("%s: %s", good[i], err.msg);
    }
    for (size_t i = 0; i < CN_LEN(bad); i++) {
        struct cn_err err = CN_ERR_INIT;

        if (index_with(bad[i][0], &p, &err) != CN_EINVAL || !strstr(err.msg, bad[i][1]))
            fail_msg("%s: \"%s\"", bad[i][0], err.msg);
    }
#undef TEXT
}

static struct cn_solver_config solver_of(const char *json)
{
    struct cn_schedule_config s;
    struct cn_err err = CN_ERR_INIT;

    put(json);
    if (cn_conf_schedule(path, &s, &err) < 0)
        fail_msg("%s: %s", json, err.msg);
    return s.solver;
}

/* scheduler_config.json as diffusers saves a DPMSolverMultistepScheduler: with an infinity that is
 * no JSON. */
static void settings_of_samplers_are_read(void **state)
{
    struct cn_solver_config s = solver_of(
        "{\"_class_name\":\"DPMSolverMultistepScheduler\",\"algorithm_type\":"
        "\"sde-dpmsolver++\",\"disable_corrector\":[],\"dynamic_thresholding_ratio\":0.995,"
        "\"euler_at_final\":true,\"final_sigmas_type\":\"sigma_min\",\"flow_shift\":1.0,"
        "\"lambda_min_clipped\":-Infinity,\"lower_order_final\":true,\"_note\":\"to "
        "-Infinity \\\" -Infinity\",\"solver_order\":3,\"solver_p\":null,\"solver_type\":"
        "\"heun\",\"time_shift_type\":\"exponential\",\"use_karras_sigmas\":true,"
        "\"use_lu_lambdas\":false,\"variance_type\":null}");

    (void)state;
    assert_int_equal(s.sigmas, CN_SIGMAS_KARRAS);
    assert_int_equal(s.order, 3);
    assert_int_equal(s.type, CN_SOLVER_HEUN);
    assert_true(s.ends_at_sigma_min && s.euler_at_final && !s.full_order_final);
    assert_true(s.clips_lambda && s.lambda_min < -1e307 && !s.lu_lambdas);
    assert_int_equal(s.undone, 1u << CN_UNDONE_THIRD_ORDER); /* which is UniPC's */
    assert_int_equal(solver_of("{\"use_exponential_sigmas\":true}").sigmas, CN_SIGMAS_EXPONENTIAL);
    assert_int_equal(solver_of("{\"use_beta_sigmas\":true}").sigmas, CN_SIGMAS_BETA);
    assert_int_equal(solver_of("{\"solver_type\":\"bh1\"}").type, CN_SOLVER_BH1);
    s = solver_of("{\"original_inference_steps\":100,\"timestep_scaling\":5,\"sigma_min\":0.1,"
                  "\"clip_sample\":true,\"clip_sample_range\":2,\"solver_type\":\"bh2\"}");
    assert_true(s.original_steps == 100 && s.timestep_scaling == 5 && s.sigma_min == 0.1);
    assert_true(s.clip_range == 2 && s.type == CN_SOLVER_USUAL);
    unlink(path);
}

static void what_only_some_samplers_refuse_is_kept(void **state)
{
    static const struct {
        const char *json;
        enum cn_undone what;
    } row[] = {
        {"{\"algorithm_type\":\"dpmsolver\"}", CN_UNDONE_ALGORITHM},
        {"{\"use_flow_sigmas\":true}", CN_UNDONE_FLOW},
        {"{\"interpolation_type\":\"log_linear\"}", CN_UNDONE_INTERPOLATION},
        {"{\"timestep_type\":\"continuous\",\"prediction_type\":\"v_prediction\"}",
         CN_UNDONE_CONTINUOUS},
        {"{\"disable_corrector\":[0]}", CN_UNDONE_CORRECTOR},
        {"{\"predict_x0\":false}", CN_UNDONE_PREDICT_X0},
        {"{\"solver_p\":{}}", CN_UNDONE_SOLVER_P},
        {"{\"variance_type\":\"learned\"}", CN_UNDONE_VARIANCE},
        {"{\"lower_order_final\":false}", CN_UNDONE_FULL_ORDER},
    };
    static const char *const bad[] = {
        "{\"use_karras_sigmas\":true,\"use_beta_sigmas\":true}",
        "{\"solver_order\":4}",
        "{\"solver_type\":\"rk4\"}",
        "{\"final_sigmas_type\":\"one\"}",
        "{\"algorithm_type\":\"other\"}",
        "{\"clip_sample\":1}",
    };
    struct cn_schedule_config s;

    (void)state;
    for (size_t i = 0; i < CN_LEN(row); i++)
        assert_int_equal(solver_of(row[i].json).undone, 1u << row[i].what);
    assert_int_equal(solver_of("{\"timestep_type\":\"continuous\"}").undone, 0); /* as there */
    for (size_t i = 0; i < CN_LEN(bad); i++) {
        put(bad[i]);
        assert_int_equal(cn_conf_schedule(path, &s, NULL), CN_EINVAL);
    }
    unlink(path);
}

static void autoencoders_and_text_encoders_are_read(void **state)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_vae_config v;
    struct cn_text_config t;

    (void)state;
    put("{\"_class_name\":\"AutoencoderKL\",\"block_out_channels\":[128,256],"
        "\"down_block_types\":[\"DownEncoderBlock2D\",\"DownEncoderBlock2D\"],"
        "\"scaling_factor\":0.2,\"shift_factor\":null,\"latents_mean\":null,\"force_upcast\":"
        "true}");
    assert_int_equal(cn_conf_vae(path, &v, &err), CN_OK);
    assert_int_equal(v.blocks, 2);
    assert_true(v.use_quant_conv && v.mid_attention && v.scaling_factor == 0.2);
    put("{\"_class_name\":\"AutoencoderTiny\"}");
    assert_int_equal(cn_conf_vae(path, &v, NULL), CN_EINVAL);
    put("{\"latents_mean\":[0,0,0,0]}");
    assert_int_equal(cn_conf_vae(path, &v, NULL), CN_EINVAL);
    put("{\"hidden_size\":768,\"num_attention_heads\":12,\"hidden_act\":\"gelu\",\"top_k\":50}");
    assert_int_equal(cn_conf_text(path, false, &t, &err), CN_OK);
    assert_int_equal(t.act, CN_GELU);
    assert_int_equal(t.max_position, 77);
    put("{\"hidden_act\":\"relu\"}");
    assert_int_equal(cn_conf_text(path, false, &t, NULL), CN_EINVAL);
    put("{\"model_type\":\"t5\"}");
    assert_int_equal(cn_conf_text(path, false, &t, NULL), CN_EINVAL);
    put("{\"num_attention_heads\":7}");
    assert_int_equal(cn_conf_text(path, false, &t, NULL), CN_EINVAL);
    unlink(path);
}

static void controlnets_are_read(void **state)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_control_config c;

    (void)state;
    put("{\"_class_name\":\"ControlNetModel\",\"controlnet_conditioning_channel_order\":\"bgr\","
        "\"global_pool_conditions\":true,\"conditioning_channels\":6}");
    assert_int_equal(cn_conf_control(path, &c, &err), CN_OK);
    assert_true(c.bgr && c.global_pool && c.hint_channels == 6 && c.hint_blocks == 4);
    assert_int_equal(c.hint_out[3], 256);
    put("{\"controlnet_conditioning_channel_order\":\"grb\"}");
    assert_int_equal(cn_conf_control(path, &c, NULL), CN_EINVAL);
    put("{\"_class_name\":\"UNet2DConditionModel\"}");
    assert_int_equal(cn_conf_control(path, &c, NULL), CN_EINVAL);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_keys_have_the_class_defaults),
        cmocka_unit_test(known_variants_are_read),
        cmocka_unit_test(what_we_cannot_do_is_refused_by_name),
        cmocka_unit_test(broken_json_is_refused),
        cmocka_unit_test(schedules_are_read),
        cmocka_unit_test(nothing_is_passed_over_in_silence),
        cmocka_unit_test(pipelines_are_read),
        cmocka_unit_test(settings_of_samplers_are_read),
        cmocka_unit_test(what_only_some_samplers_refuse_is_kept),
        cmocka_unit_test(autoencoders_and_text_encoders_are_read),
        cmocka_unit_test(controlnets_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
