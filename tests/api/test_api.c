/* api: JSON in, description or problem out; results out. No sockets. */
#include "base/base.h"
#include "api/problem.h"
#include "api/request.h"
#include "api/result.h"
#include "base/base64.h"
#include "api/skeleton.h"
#include "base/mem.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const struct cn_limits limits = CN_LIMITS_DEFAULTS;

static int read_text(const char *json, struct cn_spec *s, struct cn_err *err)
{
    struct cn_api_input in = {.json = json,
                              .json_len = strlen(json),
                              .limits = &limits,
                              .max_image = 1 << 20,
                              .max_total = 2 << 20};

    *err = (struct cn_err)CN_ERR_INIT;
    return cn_api_read_images(&in, s, err);
}

static void an_empty_request_has_the_defaults(void **state)
{
    struct cn_err err;
    struct cn_spec s, preset;

    (void)state;
    cn_spec_init(&preset);
    assert_int_equal(read_text(" {} ", &s, &err), CN_OK);
    assert_int_equal(s.steps, preset.steps);
    assert_int_equal(s.sampler, preset.sampler);
    assert_true(s.guidance_scale == preset.guidance_scale);
    assert_false(s.has_seed);
    assert_string_equal(s.model, "");
    cn_spec_release(&s);
    cn_spec_release(&preset);
}

static void every_field_is_read(void **state)
{
    static const char json[] =
        "{\"model\":\"m\",\"prompt\":\"p \\u00fc\",\"negative_prompt\":\"q\",\"width\":64,"
        "\"height\":128.0,\"steps\":7,\"guidance_scale\":3,\"sampler\":\"euler_a\","
        "\"schedule\":\"karras\",\"spacing\":\"trailing\",\"rng\":\"cuda\",\"eta\":0.5,"
        "\"guidance_rescale\":0.7,"
        "\"seed\":9007199254740993,\"n\":2,\"clip_skip\":1,"
        "\"prompt_syntax\":\"a1111\",\"init_image\":\"aW5pdA==\","
        "\"mask\":\"data:image/png;base64,bWFzaw==\",\"denoise\":0.25,\"format\":\"webp\","
        "\"quality\":80,\"preview_every\":5,\"priority\":-2,\"timeout_s\":9,\"controls\":[{"
        "\"model\":\"c\",\"image\":\"ZWRnZQ==\",\"annotator\":\"canny\",\"strength\":0.5,"
        "\"start\":0.1,\"end\":0.9,\"branch\":\"cond\",\"weights\":\"soft\",\"resize\":\"pad\"},{"
        "\"model\":\"d\",\"image\":\"ZA==\",\"weights\":[0,1,2,3,4,5,6,7,8,9,10,11,12.5]}]}";
    struct cn_err err;
    struct cn_spec s;

    (void)state;
    assert_int_equal(read_text(json, &s, &err), CN_OK);
    assert_string_equal(s.model, "m");
    assert_string_equal(s.prompt, "p \xc3\xbc");
    assert_string_equal(s.negative_prompt, "q");
    assert_int_equal(s.width, 64);
    assert_int_equal(s.height, 128);
    assert_int_equal(s.steps, 7);
    assert_true(s.guidance_scale == 3);
    assert_true(s.guidance_rescale == 0.7);
    assert_int_equal(s.sampler, CN_EULER_A);
    assert_int_equal(s.schedule, CN_KARRAS);
    assert_int_equal(s.spacing, CN_TRAILING);
    assert_int_equal(s.rng, CN_RNG_CUDA);
    assert_true(s.eta == 0.5);
    assert_true(s.has_seed && s.seed == UINT64_C(9007199254740993));
    assert_int_equal(s.n, 2);
    assert_int_equal(s.clip_skip, 1);
    assert_int_equal(s.prompt_syntax, CN_PROMPT_A1111);
    assert_memory_equal(s.init_image.data, "init", 4);
    assert_memory_equal(s.mask.data, "mask", 4);
    assert_true(s.denoise == 0.25);
    assert_int_equal(s.format, CN_WEBP);
    assert_int_equal(s.quality, 80);
    assert_int_equal(s.preview_every, 5);
    assert_int_equal(s.priority, -2);
    assert_int_equal(s.timeout_s, 9);
    assert_int_equal(s.n_controls, 2);
    assert_string_equal(s.control[0].model, "c");
    assert_memory_equal(s.control[0].image.data, "edge", 4);
    assert_string_equal(s.control[0].annotator, "canny");
    assert_true(s.control[0].strength == 0.5 && s.control[0].start == 0.1 &&
                s.control[0].end == 0.9);
    assert_int_equal(s.control[0].branch, CN_BRANCH_COND);
    assert_int_equal(s.control[0].weights, CN_W_SOFT);
    assert_int_equal(s.control[0].resize, CN_PAD);
    assert_int_equal(s.control[1].weights, CN_W_CUSTOM);
    assert_true(s.control[1].weight[12] == 12.5);
    assert_int_equal(s.control[1].n_weights, 13);
    cn_spec_release(&s);
}

/* One that is left out is another thing than an empty one, for models whose pipeline has it so. */
static void sizes_and_empty_negative_prompts_are_read(void **state)
{
    static const struct {
        const char *json;
        bool zero;
    } prompts[] = {{"{}", true},
                   {"{\"negative_prompt\":null}", true},
                   {"{\"negative_prompt\":\"\"}", false},
                   {"{\"negative_prompt\":\"\",\"zero_negative\":true}", true},
                   {"{\"zero_negative\":false}", false}};
    struct cn_err err;
    struct cn_spec s;

    (void)state;
    for (size_t i = 0; i < CN_LEN(prompts); i++) {
        assert_int_equal(read_text(prompts[i].json, &s, &err), CN_OK);
        assert_int_equal(s.zero_negative, prompts[i].zero);
        assert_false(cn_spec_has_sizes(&s));
        cn_spec_release(&s);
    }
    assert_int_equal(read_text("{\"original_size\":{\"width\":1,\"height\":2},\"crop\":{\"top\":4,"
                               "\"left\":3},\"target_size\":{\"width\":5,\"height\":6}}",
                               &s, &err),
                     CN_OK);
    assert_true(s.sizes.original_width == 1 && s.sizes.original_height == 2);
    assert_true(s.sizes.crop_left == 3 && s.sizes.crop_top == 4);
    assert_true(s.sizes.target_width == 5 && s.sizes.target_height == 6);
    cn_spec_release(&s);
}

static int read_with_webhook(const char *json, struct cn_api_beside *beside, struct cn_err *err)
{
    struct cn_api_input in = {.json = json,
                              .json_len = strlen(json),
                              .limits = &limits,
                              .max_image = 1 << 20,
                              .max_total = 2 << 20,
                              .beside = beside};
    struct cn_spec s;
    int rc;

    *err = (struct cn_err)CN_ERR_INIT;
    if ((rc = cn_api_read_jobs(&in, &s, err)) == CN_OK)
        cn_spec_release(&s);
    return rc;
}

static void a_webhook_goes_beside_the_description(void **state)
{
    static const char *const bad[][2] = {
        {"{\"webhook\":{}}", "/webhook/url"},
        {"{\"webhook\":{\"url\":null,\"context\":\"c\"}}", "/webhook/url"},
        {"{\"webhook\":{\"url\":1}}", "/webhook/url"},
        {"{\"webhook\":\"u\"}", "/webhook"},
        {"{\"webhook\":{\"url\":\"u\",\"context\":{}}}", "/webhook/context"},
        {"{\"webhook\":{\"url\":\"u\",\"event\":1}}", "/webhook/event"},
        {"{\"webhook\":{\"url\":\"u\"},\"steps\":\"x\"}", "/steps"},
    };
    struct cn_api_beside b = {.webhook = {NULL, NULL}};
    struct cn_api_webhook *w = &b.webhook;
    struct cn_err err;
    struct cn_spec s;

    (void)state;
    for (size_t i = 0; i < CN_LEN(bad); i++) {
        assert_true(read_with_webhook(bad[i][0], &b, &err) < 0);
        assert_string_equal(err.where, bad[i][1]);
        assert_true(w->url == NULL && w->context == NULL);
    }
    assert_int_equal(read_with_webhook("{\"webhook\":null}", &b, &err), CN_OK);
    assert_null(w->url);
    assert_int_equal(read_with_webhook("{\"webhook\":{\"url\":\"u\",\"context\":\"c\"}}", &b, &err),
                     CN_OK);
    assert_string_equal(w->url, "u");
    assert_string_equal(w->context, "c");
    cn_api_beside_release(&b);
    assert_true(read_text("{\"webhook\":{\"url\":\"u\"}}", &s, &err) < 0);
    assert_string_equal(err.where, "/webhook");
}

static void wrong_fields_are_named(void **state)
{
#define C(members) "{\"controls\":[{\"model\":\"c\",\"image\":\"ZA==\"," members "}]}"
    static const struct {
        const char *json, *where, *msg;
    } row[] = {
        {"{\"model\":1}", "/model", "expected a string, got an integer"},
        {"{\"prompt\":true}", "/prompt", "expected a string, got a boolean"},
        {"{\"negative_prompt\":[]}", "/negative_prompt", "expected a string, got a list"},
        {"{\"width\":\"64\"}", "/width", "expected an integer, got a string"},
        {"{\"width\":63}", "/width", "63 is not a multiple of 8"},
        {"{\"width\":1e300}", "/width", "1e+300 is out of range"},
        {"{\"height\":-8}", "/height", "-8 is out of range"},
        {"{\"steps\":20.5}", "/steps", "expected an integer, got 20.5"},
        {"{\"steps\":1000000000000}", "/steps", "out of range"},
        {"{\"steps\":151}", "/steps", "1 to 150"},
        {"{\"guidance_scale\":\"7\"}", "/guidance_scale", "expected a number, got a string"},
        {"{\"guidance_scale\":101}", "/guidance_scale", "0 to 100"},
        {"{\"sampler\":\"dmp\"}", "/sampler", "there is no sampler \"dmp\": expected ddim, euler"},
        {"{\"sampler\":3}", "/sampler", "expected a string (ddim"},
        {"{\"schedule\":\"x\"}", "/schedule", "kl_optimal or ays"},
        {"{\"spacing\":\"x\"}", "/spacing", "linspace"},
        {"{\"rng\":\"x\"}", "/rng", "cpu or cuda"},
        {"{\"eta\":2}", "/eta", "0 to 1"},
        {"{\"seed\":-1}", "/seed", "leave the seed out"},
        {"{\"seed\":1.5}", "/seed", "expected an integer, got a number"},
        {"{\"seed\":\"1\"}", "/seed", "expected an integer, got a string"},
        {"{\"n\":0}", "/n", "1 to 16"},
        {"{\"prompt_syntax\":\"x\"}", "/prompt_syntax", "plain or a1111"},
        {"{\"decoder\":\"x\"}", "/decoder", "vae or taesd"},
        {"{\"hires\":2}", "/hires", "an object"},
        {"{\"hires\":{\"upscaler\":\"x\"}}", "/hires/upscaler", "latent, latent_nearest"},
        {"{\"hires\":{\"scale\":0.5}}", "/hires/scale", "1 to 8"},
        {"{\"hires\":{\"width\":64}}", "/hires/height", "together"},
        {"{\"hires\":{\"scale\":2,\"width\":64,\"height\":64}}", "/hires/scale", "alone"},
        {"{\"hires\":{\"scale\":2,\"width\":64}}", "/hires/scale", "together"},
        {"{\"width\":64,\"height\":64,\"hires\":{\"width\":64,\"height\":56}}", "/hires",
         "the second pass would be 64 x 56: no side may be smaller than in the first, which is 64"},
        {"{\"width\":512,\"height\":128,\"hires\":{\"scale\":8}}", "/hires",
         "the second pass would be 4096 x 1024: sides of at most 2048"},
        {"{\"hires\":{\"sampler\":\"x\"}}", "/hires/sampler", "ddim"},
        {"{\"hires\":{\"schedule\":1}}", "/hires/schedule", "a string"},
        {"{\"hires\":{\"prompt\":1}}", "/hires/prompt", "a string"},
        {"{\"hires\":{\"guidance_scale\":-1}}", "/hires/guidance_scale", "0 to 100"},
        {"{\"hires\":{\"size\":64}}", "/hires/size", "no such field"},
        {"{\"hires\":{},\"init_image\":\"aW5pdA==\"}", "/hires", "init_image"},
        {"{\"clip_skip\":33}", "/clip_skip", "0 to 32"},
        {"{\"original_size\":512}", "/original_size", "an object"},
        {"{\"original_size\":{\"width\":512}}", "/original_size", "come together"},
        {"{\"target_size\":{\"width\":512,\"height\":0}}", "/target_size/height", "1 to 65536"},
        {"{\"crop\":{\"left\":-1}}", "/crop/left", "0 to 65536"},
        {"{\"crop\":{\"right\":1}}", "/crop/right", "no such field"},
        {"{\"init_image\":7}", "/init_image", "expected an image"},
        {"{\"init_image\":\"\"}", "/init_image", "empty"},
        {"{\"init_image\":\"part:x\"}", "/init_image", "no part \"x\""},
        {"{\"init_image\":\"A\"}", "/init_image", "not base64"},
        {"{\"init_image\":\"data:image/png,x\"}", "/init_image", "not in base64"},
        {"{\"init_image\":\"http://a.example/x.png\"}", "/init_image", "not fetched from URLs"},
        {"{\"init_image\":\"ZA==\",\"mask\":\"file:///x\"}", "/mask", "not fetched from URLs"},
        {"{\"mask\":\"ZA==\"}", "/mask", "init_image"},
        {"{\"denoise\":0}", "/denoise", "above 0"},
        {"{\"format\":\"gif\"}", "/format", "png, jpeg or webp"},
        {"{\"quality\":0}", "/quality", "1 to 100"},
        {"{\"preview_every\":-1}", "/preview_every", "0 to"},
        {"{\"priority\":11}", "/priority", "-10 to 10"},
        {"{\"timeout_s\":-1}", "/timeout_s", "0 to"},
        {"{\"controls\":{}}", "/controls", "expected a list, got an object"},
        {"{\"controls\":[7]}", "/controls/0", "expected an object, got an integer"},
        {"{\"controls\":[{}]}", "/controls/0/model", "required"},
        {"{\"controls\":[{\"model\":\"c\"}]}", "/controls/0/image", "required"},
        {C("\"strength\":3"), "/controls/0/strength", "0 to 2"},
        {C("\"start\":0.5,\"end\":0.5"), "/controls/0/start", "not below"},
        {C("\"end\":\"1\""), "/controls/0/end", "expected a number"},
        {C("\"branch\":\"uncond\""), "/controls/0/branch", "both or cond"},
        {C("\"weights\":\"custom\""), "/controls/0/weights", "list of numbers"},
        {C("\"weights\":7"), "/controls/0/weights", "got an integer"},
        {C("\"weights\":[]"), "/controls/0/weights", "0 numbers: expected 1 to 13"},
        {C("\"weights\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1]"), "/controls/0/weights", "14 numbers"},
        {C("\"weights\":[1,1,1,1,1,1,1,1,1,1,1,1,\"x\"]"), "/controls/0/weights/12",
         "got a string"},
        {C("\"weights\":[1,1,1,1,1,1,1,1,1,1,1,1,101]"), "/controls/0/weights", "100"},
        {C("\"resize\":\"fit\""), "/controls/0/resize", "stretch, crop or pad"},
        {C("\"annotator\":[]"), "/controls/0/annotator", "expected a string"},
        {C("\"what\":1"), "/controls/0/what", "no such field"},
        {"{\"a/b~\":1}", "/a~1b~0", "no such field"},
        {"{\"prompt\":\"a\\u0000b\"}", "/prompt", "NUL"},
        {"{\"sampler\":\"ddim\\u0000\"}", "/sampler", "NUL"},
        {"{\"controls\":[{\"model\":\"\\u0000\"}]}", "/controls/0/model", "NUL"},
    };
#undef C

    (void)state;
    for (size_t i = 0; i < CN_LEN(row); i++) {
        struct cn_err err;
        struct cn_spec s;

        assert_true(read_text(row[i].json, &s, &err) < 0);
        assert_string_equal(err.where, row[i].where);
        if (strstr(err.msg, row[i].msg) == NULL)
            fail_msg("%s: \"%s\" does not contain \"%s\"", row[i].json, err.msg, row[i].msg);
    }
}

static void what_is_no_json_is_refused_without_a_place(void **state)
{
    static const char *const bad[] = {"",
                                      "{",
                                      "}",
                                      "[]",
                                      "7",
                                      "\"x\"",
                                      "null",
                                      "{\"a\":1,}",
                                      "{\"prompt\":\"a\",\"prompt\":\"b\"}",
                                      "{} {}",
                                      "{'a':1}",
                                      "{\"prompt\":\"\\ud800\"}",
                                      "{\"prompt\":\"\xff\"}",
                                      "{\"steps\":NaN}",
                                      "{\"steps\":1e999}",
                                      "{\"prompt\":\"x",
                                      "{\"prompt\":\"x\\"};

    (void)state;
    for (size_t i = 0; i < CN_LEN(bad); i++) {
        struct cn_err err;
        struct cn_spec s;

        assert_int_equal(read_text(bad[i], &s, &err), CN_EFORMAT);
        assert_string_equal(err.where, "");
    }
}

static void long_images_leave_the_json(void **state)
{
    size_t n = 40000;
    char *json = cn_xmalloc(2 * n + 200);
    struct cn_skeleton sk;
    struct cn_err err;
    struct cn_spec s;
    char *p = json;

    (void)state;
    p += sprintf(p, "{\"init_image\":\"data:image\\/png;base64,");
    for (size_t i = 0; i < n; i += 4)
        p += sprintf(p, i % 400 == 0 ? "AA\\/A" : "AAAA");
    sprintf(p, "\",\"prompt\":\"x\"}");
    assert_int_equal(cn_skeleton_make(&sk, json, strlen(json), NULL), CN_OK);
    assert_int_equal(sk.n, 1);
    assert_true(sk.text.len < 200);
    assert_null(cn_skeleton_slot(&sk, "0"));
    cn_skeleton_release(&sk);
    assert_int_equal(read_text(json, &s, &err), CN_OK);
    assert_int_equal(s.init_image.len, n / 4 * 3);
    cn_spec_release(&s);
    /* A text that looks like base64 is too long for a text, and no image either. */
    memcpy(json, "{\"prompt\": \"", 12);
    memset(json + 12, 'A', n);
    strcpy(json + 12 + n, "\"}");
    assert_int_equal(read_text(json, &s, &err), CN_ETOOBIG);
    assert_string_equal(err.where, "/prompt");
    free(json);
}

static void bombs_are_cut(void **state)
{
    static const char *const piece[] = {"[", "{},", "1,", "\"a\":0,", "\"x y\","};
    size_t size = 300000;

    (void)state;
    for (size_t i = 0; i < CN_LEN(piece); i++) {
        char *text = cn_xmalloc(size + 1);
        size_t n = strlen(piece[i]);
        struct cn_err err;
        struct cn_spec s;

        for (size_t at = 0; at < size; at++)
            text[at] = piece[i][at % n];
        text[0] = '[';
        text[size] = '\0';
        assert_int_equal(read_text(text, &s, &err), CN_ETOOBIG);
        free(text);
    }
}

static void parts_are_found_by_name(void **state)
{
    static const char json[] =
        "{\"init_image\":\"part:a\",\"controls\":[{\"model\":\"c\",\"image\":\"part:a\"}]}";
    struct cn_api_part part[2] = {{.name = "a", .data = (const unsigned char *)"1234", .len = 4},
                                  {.name = "b", .data = (const unsigned char *)"x", .len = 1}};
    struct cn_api_input in = {.json = json,
                              .json_len = strlen(json),
                              .part = part,
                              .n_parts = 1,
                              .limits = &limits,
                              .max_image = 4,
                              .max_total = 8};
    struct cn_err err = CN_ERR_INIT;
    struct cn_spec s;

    (void)state;
    assert_int_equal(cn_api_read_images(&in, &s, &err), CN_OK);
    assert_memory_equal(s.control[0].image.data, "1234", 4);
    assert_ptr_not_equal(s.control[0].image.data, s.init_image.data);
    cn_spec_release(&s);
    in.n_parts = 2;
    assert_int_equal(cn_api_read_images(&in, &s, &err), CN_EINVAL);
    assert_non_null(strstr(err.msg, "\"b\" is not named"));
    err.code = 0;
    in.n_parts = 1;
    in.max_image = 3;
    assert_int_equal(cn_api_read_images(&in, &s, &err), CN_ETOOBIG);
    assert_string_equal(err.where, "/init_image");
    err.code = 0;
    in.max_image = 4;
    in.max_total = 7; /* named twice, it counts twice */
    assert_int_equal(cn_api_read_images(&in, &s, &err), CN_ETOOBIG);
    assert_string_equal(err.where, "/controls/0/image");
}

/* A result with its pictures, as it is sent. */
static int write_result(const struct cn_job *job, struct cn_buf *out, struct cn_err *err)
{
    struct cn_result r = cn_result_of_job(job);
    int rc = cn_result_native.begin(&r, out, err);

    for (int i = 0; rc == CN_OK && i < job->spec.n; i++) {
        const struct cn_job_image *m = &job->image[i];

        if ((rc = cn_result_native.image(&r, &m->meta, i, i, out, err)) == CN_OK &&
            (rc = cn_base64_encode(out, m->data, m->meta.bytes, err)) == CN_OK)
            rc = cn_result_native.image_end(&r, out, err);
    }
    return rc == CN_OK ? cn_result_native.end(&r, out, err) : rc;
}

static void a_result_can_be_read_again(void **state)
{
    struct cn_err err;
    struct cn_spec s;
    struct cn_job *job;
    struct cn_buf b;
    json_t *root;

    (void)state;
    assert_int_equal(read_text("{\"prompt\":\"\\\"\xc3\xbc\\n\",\"seed\":5,\"n\":2,\"controls\":[{"
                               "\"model\":\"c\",\"image\":\"ZA==\",\"strength\":0.05,\"weights\":"
                               "[0,1,2,3,4,5,6,7,8,9,10,11,12.5]}]}",
                               &s, &err),
                     CN_OK);
    job = cn_job_new(&s);
    for (int i = 0; i < 2; i++)
        cn_job_put_image(
            job,
            &(struct cn_msg_image){
                .index = i,
                .meta = {.seed = 5 + (uint64_t)i, .width = 8, .height = 16, .bytes = 3},
                .data = (const unsigned char *)"abc"},
            NULL);
    cn_job_move(job, CN_JOB_RUNNING);
    job->stage_ms[CN_STAGE_UNET] = 12.5;
    job->stage_ms[CN_STAGE_VAE] = 1.23456;
    cn_job_move(job, CN_JOB_SUCCEEDED);
    cn_buf_init(&b, 1 << 20);
    assert_int_equal(write_result(job, &b, &err), CN_OK);
    assert_non_null(memmem(b.data, b.len, "\"strength\":0.05,", 16)); /* not with 17 digits */
    assert_non_null(memmem(b.data, b.len, ":1.235", 6));
    assert_null(memmem(b.data, b.len, ":1.2350", 7));
    root = json_loadb((char *)b.data, b.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    json_t *image = json_array_get(json_object_get(root, "images"), 1);
    json_t *p = json_object_get(root, "parameters");
    json_t *c = json_array_get(json_object_get(p, "controls"), 0);

    assert_string_equal(json_string_value(json_object_get(image, "data")), "YWJj");
    assert_int_equal(json_integer_value(json_object_get(image, "seed")), 6);
    assert_string_equal(json_string_value(json_object_get(p, "prompt")), "\"\xc3\xbc\n");
    assert_int_equal(json_array_size(json_object_get(c, "weights")), 13);
    assert_true(json_real_value(json_object_get(
                    json_object_get(json_object_get(root, "timings_ms"), "stages"), "unet")) ==
                12.5);
    json_decref(root);
    cn_buf_release(&b);
    cn_job_unref(job);
}

/* What a warning looks like, wherever there are some. */
static void check_warnings(const json_t *o)
{
    const json_t *list = json_object_get(o, "warnings");
    const json_t *first = json_array_get(list, 0);

    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(json_string_value(json_object_get(first, "code")), "no-effect");
    assert_string_equal(json_string_value(json_object_get(first, "pointer")), "/eta");
    assert_non_null(strstr(json_string_value(json_object_get(first, "detail")), "ddim"));
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 1), "code")),
                        "prompt-truncated");
}

static json_t *written(struct cn_buf *b, size_t skip)
{
    json_t *root = json_loadb((char *)b->data + skip, b->len - skip,
                              JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, NULL);

    assert_non_null(root);
    cn_buf_clear(b);
    return root;
}

static void every_answer_has_warnings(void **state)
{
    struct cn_job_event e = {.kind = CN_EVENT_DONE, .id = 7, .state = CN_JOB_SUCCEEDED};
    struct cn_job_view v = {.id = "0evz88rp3613eqzzf8tq2w46dc"};
    const struct cn_warnings none = {0};
    char field[CN_WARNINGS_FIELD], small[40];
    struct cn_job *job;
    struct cn_err err;
    struct cn_spec s;
    struct cn_buf b;
    json_t *root;

    (void)state;
    assert_int_equal(read_text("{\"kind\":\"draw\",\"eta\":1}", &s, &err), CN_OK);
    assert_int_equal(s.kind, CN_KIND_DRAW);
    job = cn_job_new(&s);
    cn_warnings_add(&job->warnings, CN_WARN_PROMPT_TRUNCATED, "/prompt", "long");
    cn_job_move(job, CN_JOB_RUNNING);
    cn_job_move(job, CN_JOB_SUCCEEDED);
    cn_buf_init(&b, 1 << 20);

    v.warnings = job->warnings;
    assert_int_equal(cn_result_view(&v, false, &b, &err), CN_OK);
    root = written(&b, 0);
    assert_string_equal(json_string_value(json_object_get(root, "kind")), "draw");
    check_warnings(root);
    json_decref(root);
    assert_int_equal(cn_result_accepted(&v, &b, &err), CN_OK);
    check_warnings(root = written(&b, 0));
    json_decref(root);
    assert_int_equal(cn_result_warnings(v.id, &v.warnings, &b, &err), CN_OK);
    check_warnings(root = written(&b, 0));
    json_decref(root);
    e.warnings = &job->warnings;
    assert_int_equal(cn_result_event(&e, v.id, NULL, &b, &err), CN_OK);
    check_warnings(root = written(&b, (size_t)(strchr((char *)b.data, '{') - (char *)b.data)));
    json_decref(root);
    assert_int_equal(write_result(job, &b, &err), CN_OK);
    check_warnings(root = written(&b, 0));
    assert_string_equal(
        json_string_value(json_object_get(json_object_get(root, "parameters"), "kind")), "draw");
    json_decref(root);

    cn_warnings_field(&job->warnings, field, sizeof(field));
    assert_string_equal(field, "no-effect;pointer=\"/eta\", prompt-truncated;pointer=\"/prompt\"");
    cn_warnings_field(&job->warnings, small, sizeof(small)); /* as many as fit */
    assert_string_equal(small, "no-effect;pointer=\"/eta\"");
    cn_warnings_add(&job->warnings, CN_WARN_REDUCED, "/a\"b", "no string of a header");
    cn_warnings_field(&job->warnings, field, sizeof(field));
    assert_non_null(strstr(field, ", reduced"));
    assert_null(strstr(field, "a\"b"));
    cn_warnings_field(&none, field, sizeof(field));
    assert_string_equal(field, "");
    cn_buf_release(&b);
    cn_job_unref(job);
}

static void a_problem_is_json(void **state)
{
    struct cn_problem p = {.type = "validation",
                           .title = "T",
                           .status = 422,
                           .detail = "a \"b\" \xff",
                           .pointer = "/a~1\n",
                           .request_id = "id",
                           .retry_after_s = 7};
    struct cn_buf b;
    json_t *root;

    (void)state;
    cn_buf_init(&b, 4096);
    assert_int_equal(cn_problem_write(&p, &b, NULL), CN_OK);
    root = json_loadb((char *)b.data, b.len, 0, NULL);
    assert_non_null(root);
    assert_string_equal(json_string_value(json_object_get(root, "type")),
                        CN_PROBLEM_BASE "validation");
    assert_int_equal(json_integer_value(json_object_get(root, "retry_after")), 7);
    assert_string_equal(json_string_value(json_object_get(
                            json_array_get(json_object_get(root, "errors"), 0), "pointer")),
                        "/a~1\n");
    json_decref(root);
    cn_buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_request_has_the_defaults),
        cmocka_unit_test(every_field_is_read),
        cmocka_unit_test(sizes_and_empty_negative_prompts_are_read),
        cmocka_unit_test(a_webhook_goes_beside_the_description),
        cmocka_unit_test(wrong_fields_are_named),
        cmocka_unit_test(what_is_no_json_is_refused_without_a_place),
        cmocka_unit_test(long_images_leave_the_json),
        cmocka_unit_test(bombs_are_cut),
        cmocka_unit_test(parts_are_found_by_name),
        cmocka_unit_test(a_result_can_be_read_again),
        cmocka_unit_test(every_answer_has_warnings),
        cmocka_unit_test(a_problem_is_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
