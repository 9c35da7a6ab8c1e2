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
}

static void what_we_cannot_do_is_refused_by_name(void **state)
{
    static const char *const bad[][2] = {
        {"\"class_embed_type\":\"timestep\"", "class_embed_type"},
        {"\"resnet_time_scale_shift\":\"scale_shift\"", "resnet_time_scale_shift"},
        {"\"dual_cross_attention\":true", "dual_cross_attention"},
        {"\"only_cross_attention\":true", "only_cross_attention"},
        {"\"only_cross_attention\":[true,false,false,false]", "only_cross_attention"},
        {"\"addition_embed_type\":\"text_time\"", "SDXL"},
        {"\"addition_embed_type\":\"image\"", "addition_embed_type"},
        {"\"encoder_hid_dim\":4096", "encoder_hid_dim"},
        {"\"act_fn\":\"gelu\"", "act_fn"},
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
    assert_true(s.set_alpha_to_one && s.rescale_zero_snr);
    assert_int_equal(s.prediction, CN_PREDICT_V);
    assert_int_equal(s.spacing, CN_TRAILING);
    put("{}");
    assert_int_equal(cn_conf_schedule(path, &s, &err), CN_OK);
    assert_true(!s.set_alpha_to_one && s.spacing == CN_SPACING_MODEL && s.train_steps == 1000);
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
        cmocka_unit_test(autoencoders_and_text_encoders_are_read),
        cmocka_unit_test(controlnets_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
