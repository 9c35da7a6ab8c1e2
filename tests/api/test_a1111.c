/* api: what clients of the web UI and of OpenAI send, to descriptions; names; errors. */
#include "base/base.h"
#include "api/a1111.h"
#include "api/a1111_names.h"
#include "api/openai.h"
#include "api/request.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const struct cn_limits limits = CN_LIMITS_DEFAULTS;

typedef int (*reader_fn)(struct cn_api_input *in, struct cn_spec *ret, struct cn_err *err);

static int read_with(reader_fn read, const char *json, struct cn_spec *s,
                     struct cn_api_beside *beside, struct cn_err *err)
{
    struct cn_api_input in = {.json = json,
                              .json_len = strlen(json),
                              .limits = &limits,
                              .max_image = 1 << 20,
                              .max_total = 2 << 20,
                              .beside = beside};

    *err = (struct cn_err)CN_ERR_INIT;
    memset(beside, 0, sizeof(*beside));
    return read(&in, s, err);
}

static void samplers(void **state)
{
    static const struct {
        const char *name, *schedule; /* NULL: none at the end of the name */
        int sampler;                 /* -1: there is none */
    } cases[] = {
        {"Euler a", NULL, CN_EULER_A},
        {"euler A", NULL, CN_EULER_A},
        {"DPM++ 2M Karras", "karras", CN_DPMPP_2M},
        {"DPM++ 2M SDE Exponential", "exponential", CN_DPMPP_2M_SDE},
        {"DPM++ 2M SDE Heun", NULL, CN_DPMPP_2M_SDE_HEUN},
        {"DPM++ 2M SDE Heun Karras", "karras", CN_DPMPP_2M_SDE_HEUN},
        {"DPM2 a Karras", "karras", CN_DPM2_A},
        {"Euler SGM Uniform", "sgm_uniform", CN_EULER},
        {"k_euler_ancestral", NULL, CN_EULER_A},
        {"dpmpp_2m", NULL, CN_DPMPP_2M},
        {"PLMS", NULL, CN_PNDM},
        {"Euler b", NULL, -1},
        {"Karras", NULL, -1},
        {"", NULL, -1},
    };
    const struct cn_a1111_schedule *schedule;

    (void)state;
    for (size_t i = 0; i < CN_LEN(cases); i++) {
        const struct cn_a1111_sampler *s = cn_a1111_sampler_find(cases[i].name, &schedule);

        assert_int_equal(s == NULL ? -1 : (int)s->sampler, cases[i].sampler);
        if (cases[i].schedule == NULL)
            assert_null(schedule);
        else
            assert_string_equal(schedule->name, cases[i].schedule);
    }
    for (int k = 0; k < CN_SAMPLER_COUNT; k++) /* each has a name there */
        assert_int_equal(cn_a1111_sampler_of((enum cn_sampler)k)->sampler, k);
}

/* The weight of a level and branch at a step, by the extension's rules, to the control's fields. */
static void modes_windows_and_sizes(void **state)
{
    static const char *const modes[] = {"0",
                                        "1",
                                        "2",
                                        "\"Balanced\"",
                                        "\"My prompt is more important\"",
                                        "\"ControlNet is more important\""};
    static const struct {
        double start, end;
        int first, last; /* of 20 steps, inclusive */
    } windows[] = {{0, 0.5, 0, 10}, {0.2, 0.8, 4, 16}, {0.25, 0.75, 5, 15}, {0, 1, 0, 19}};
    struct cn_api_beside b;
    struct cn_err err;
    struct cn_spec s;
    char json[512];

    (void)state;
    for (size_t m = 0; m < CN_LEN(modes); m++)
        for (size_t w = 0; w < CN_LEN(windows); w++) {
            const struct cn_spec_control *c = &s.control[0];
            int mode = (int)m % 3;

            snprintf(json, sizeof(json),
                     "{\"alwayson_scripts\":{\"ControlNet\":{\"args\":[{\"model\":\"c [0a1b2c3d]\","
                     "\"image\":\"ZWRnZQ==\",\"control_mode\":%s,\"resize_mode\":%d,"
                     "\"weight\":0.5,\"guidance_start\":%g,\"guidance_end\":%g}]}}}",
                     modes[m], mode, windows[w].start, windows[w].end);
            assert_int_equal(read_with(cn_api_read_txt2img, json, &s, &b, &err), CN_OK);
            assert_int_equal(s.n_controls, 1);
            assert_string_equal(c->model, "c");
            assert_true(c->strength == 0.5);
            assert_int_equal(c->weights, mode == 0 ? CN_W_UNIFORM : CN_W_SOFT);
            assert_int_equal(c->branch, mode == 2 ? CN_BRANCH_COND : CN_BRANCH_BOTH);
            assert_int_equal(c->resize, mode == 0 ? CN_STRETCH : mode == 1 ? CN_CROP : CN_PAD);
            for (int i = 0; i < 20; i++)
                assert_int_equal(cn_spec_in_window(c, i, 20),
                                 i >= windows[w].first && i <= windows[w].last);
            cn_spec_release(&s);
            cn_api_beside_release(&b);
        }
}

static void thresholds_outside_count_as_presets(void **state)
{
    const struct cn_a1111_module *canny = cn_a1111_module_find("Canny");

    (void)state;
    assert_true(cn_a1111_slider_value(&canny->slider[0], -1) == 100);
    assert_true(cn_a1111_slider_value(&canny->slider[0], 50) == 50);
    assert_true(cn_a1111_slider_value(&canny->slider[1], 256) == 200);
    assert_int_equal(cn_a1111_resolution(-1), 512);
    assert_int_equal(cn_a1111_resolution(63), 512);
    assert_int_equal(cn_a1111_resolution(768), 768);
    assert_null(cn_a1111_module_find("depth_midas"));
    assert_string_equal(cn_a1111_module_find("")->annotator, "none");
}

/* Edges and straight lines are weighed softly there; other maps and given weights are not. */
static void lines_are_soft_in_the_second_pass(void **state)
{
    static const struct {
        const char *module, *mode, *more;
        enum cn_weighting first, second;
    } row[] = {
        {"canny", "Balanced", "", CN_W_UNIFORM, CN_W_SOFT},
        {"hough", "Balanced", "", CN_W_UNIFORM, CN_W_SOFT},
        {"scribble_xdog", "Balanced", "", CN_W_UNIFORM, CN_W_UNIFORM},
        {"canny", "ControlNet is more important", "", CN_W_SOFT, CN_W_SOFT},
        {"canny", "Balanced", ",\"advanced_weighting\":[1,1,1]", CN_W_CUSTOM, CN_W_CUSTOM},
    };

    (void)state;
    for (size_t i = 0; i < CN_LEN(row); i++) {
        struct cn_api_beside b;
        struct cn_spec s, second;
        struct cn_err err;
        char json[400];

        snprintf(json, sizeof(json),
                 "{\"enable_hr\":true,\"hr_upscaler\":\"Latent\",\"alwayson_scripts\":{"
                 "\"controlnet\":{\"args\":[{\"model\":\"c\",\"image\":\"ZWRnZQ==\","
                 "\"module\":\"%s\",\"control_mode\":\"%s\"%s}]}}}",
                 row[i].module, row[i].mode, row[i].more);
        assert_int_equal(read_with(cn_api_read_txt2img, json, &s, &b, &err), CN_OK);
        cn_spec_second(&s, &second);
        assert_int_equal(s.control[0].weights, row[i].first);
        assert_int_equal(second.control[0].weights, row[i].second);
        cn_spec_release(&s);
        cn_api_beside_release(&b);
    }
}

static void the_second_pass(void **state)
{
    struct cn_api_beside b;
    struct cn_err err;
    struct cn_spec s;

    (void)state;
    assert_int_equal(read_with(cn_api_read_txt2img,
                               "{\"enable_hr\":true,\"hr_resize_x\":768,\"width\":512,"
                               "\"height\":256,\"denoising_strength\":0.4,"
                               "\"hr_upscaler\":\"Latent (bicubic)\",\"hr_second_pass_steps\":7,"
                               "\"hr_sampler_name\":\"DDIM\",\"hr_prompt\":\"more\"}",
                               &s, &b, &err),
                     CN_OK);
    assert_true(s.hires.on);
    assert_int_equal(s.hires.width, 768);
    assert_int_equal(s.hires.height, 384);
    assert_int_equal(s.hires.steps, 7);
    assert_int_equal(s.hires.upscaler, CN_UP_LATENT_BICUBIC);
    assert_int_equal(s.hires.sampler, CN_DDIM);
    assert_string_equal(s.hires.prompt, "more");
    assert_true(fabs(s.hires.strength - 0.4) < 1e-9);
    cn_spec_release(&s);
    cn_api_beside_release(&b);
    assert_int_equal(read_with(cn_api_read_txt2img,
                               "{\"enable_hr\":true,\"hr_upscaler\":\"R-ESRGAN 4x+\"}", &s, &b,
                               &err),
                     CN_ENOTFOUND);
    assert_string_equal(err.where, "/hr_upscaler");
}

static void defaults_are_the_web_uis(void **state)
{
    struct cn_api_beside b;
    struct cn_err err;
    struct cn_spec s;

    (void)state;
    assert_int_equal(read_with(cn_api_read_txt2img, "{}", &s, &b, &err), CN_OK);
    assert_int_equal(s.steps, 50);
    assert_int_equal(s.width, 512);
    assert_int_equal(s.sampler, CN_EULER);
    assert_int_equal(s.schedule, CN_SCHEDULE_NORMAL);
    assert_int_equal(s.rng, CN_RNG_CUDA);
    assert_int_equal(s.prompt_syntax, CN_PROMPT_A1111);
    assert_true(s.guidance_scale == 7 && !s.has_seed);
    assert_int_equal(b.warnings.n, 0);
    assert_non_null(strstr(b.echo, "\"sampler_index\":\"Euler\""));
    cn_spec_release(&s);
    cn_api_beside_release(&b);
}

/* What SDXL's models are told; an empty negative prompt is zeros there. */
static void what_sdxl_is_told(void **state)
{
    struct cn_api_beside b;
    struct cn_err err;
    struct cn_spec s;

    (void)state;
    assert_int_equal(read_with(cn_api_read_txt2img,
                               "{\"negative_prompt\":\"\",\"override_settings\":{"
                               "\"sdxl_crop_top\":16,\"sdxl_crop_left\":8}}",
                               &s, &b, &err),
                     CN_OK);
    assert_true(s.zero_negative);
    assert_true(s.sizes.crop_left == 8 && s.sizes.crop_top == 16);
    assert_true(s.sizes.original_width == 0 && s.sizes.target_height == 0); /* its own */
    assert_int_equal(b.warnings.n, 0);
    cn_spec_release(&s);
    cn_api_beside_release(&b);
}

static void forms_of_openai(void **state)
{
    struct cn_api_part part[] = {{.name = "image[]", .data = (const void *)"one", .len = 3},
                                 {.name = "image[]", .data = (const void *)"two", .len = 3},
                                 {.name = "prompt", .data = (const void *)"a \"b\"", .len = 5},
                                 {.name = "n", .data = (const void *)"2", .len = 1},
                                 {.name = "stream", .data = (const void *)"true", .len = 4},
                                 {.name = "size", .data = (const void *)"64x128", .len = 6}};
    struct cn_api_beside b = {.no_images = false};
    struct cn_api_input in = {.part = part,
                              .n_parts = CN_LEN(part),
                              .limits = &limits,
                              .max_image = 1 << 20,
                              .max_total = 2 << 20,
                              .beside = &b};
    struct cn_err err = CN_ERR_INIT;
    struct cn_spec s;

    (void)state;
    assert_int_equal(cn_api_read_edit(&in, &s, &err), CN_OK);
    assert_string_equal(s.prompt, "a \"b\"");
    assert_int_equal(s.n, 2);
    assert_int_equal(s.height, 128);
    assert_int_equal(s.init_image.len, 3);
    assert_memory_equal(s.init_image.data, "one", 3);
    assert_int_equal(b.partial_images, 0);
    assert_true(b.as_base64 && b.as_url);
    cn_spec_release(&s);
    cn_api_beside_release(&b);
}

static void errors_name_the_clients_fields(void **state)
{
    static const struct {
        const char *pointer, *web_ui, *openai;
    } cases[] = {
        {"/guidance_scale", "cfg_scale: no", "\"param\":\"guidance_scale\""},
        {"/width", "width: no", "\"param\":\"size\""},
        {"/controls/2/strength", "alwayson_scripts.controlnet.args.2.weight: no",
         "\"param\":\"controls/2/strength\""},
        {"/init_image", "init_images: no", "\"param\":\"image\""},
        {"", "\"no", "\"param\":null"},
    };

    (void)state;
    for (size_t i = 0; i < CN_LEN(cases); i++) {
        struct cn_problem p = {.type = "validation",
                               .title = "t",
                               .status = 422,
                               .detail = "no",
                               .pointer = cases[i].pointer};
        struct cn_buf b;

        cn_buf_init(&b, 4096);
        cn_a1111_put_problem(&p, &b);
        cn_openai_put_problem(&p, &b);
        cn_buf_add(&b, "", 1, NULL);
        assert_non_null(strstr((const char *)b.data, cases[i].web_ui));
        assert_non_null(strstr((const char *)b.data, cases[i].openai));
        cn_buf_release(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samplers),
        cmocka_unit_test(modes_windows_and_sizes),
        cmocka_unit_test(thresholds_outside_count_as_presets),
        cmocka_unit_test(the_second_pass),
        cmocka_unit_test(lines_are_soft_in_the_second_pass),
        cmocka_unit_test(defaults_are_the_web_uis),
        cmocka_unit_test(what_sdxl_is_told),
        cmocka_unit_test(forms_of_openai),
        cmocka_unit_test(errors_name_the_clients_fields),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
