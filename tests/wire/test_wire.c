/* wire: frames, job descriptions and messages keep what they carry and refuse what is broken. */
#include "base/base.h"
#include "base/mem.h"
#include "wire/frame.h"
#include "wire/message.h"
#include "wire/pack.h"
#include "wire/spec.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct cn_blob blob(const char *text)
{
    struct cn_blob b = {(unsigned char *)cn_xstrdup(text), strlen(text)};

    return b;
}

/* A description in which no field has its default. */
static void full_spec(struct cn_spec *s)
{
    cn_spec_init(s);
    free(s->model);
    free(s->prompt);
    free(s->negative_prompt);
    s->model = cn_xstrdup("emoji");
    s->prompt = cn_xstrdup("ein roter Apfel \xf0\x9f\x8d\x8e");
    s->negative_prompt = cn_xstrdup("blurry");
    s->prompt_syntax = CN_PROMPT_A1111;
    s->width = 136;
    s->height = 72;
    s->steps = 7;
    s->guidance_scale = 3.25;
    s->guidance_rescale = 0.75;
    s->decoder = CN_DECODER_TAESD;
    s->pag_scale = 3;
    s->pag_adaptive_scale = 0.25;
    s->mask_alpha = CN_MASK_TRANSPARENT;
    s->subseed = 12;
    s->has_subseed = true;
    s->subseed_strength = 0.5;
    s->seed_width = 64;
    s->seed_height = 72;
    s->mask_fill = CN_FILL_NOTHING;
    s->mask_only = true;
    s->mask_padding = 32;
    s->picture_rules = CN_MAP_A1111;
    s->adapter[0] = (struct cn_spec_adapter){
        .name = cn_xstrdup("detail"), .strength = 0.5, .has_text = true, .text_strength = -1};
    s->n_adapters = 1;
    s->hires = (struct cn_spec_hires){.on = true,
                                      .scale = 1.5,
                                      .width = 272,
                                      .height = 144,
                                      .steps = 5,
                                      .strength = 0.25,
                                      .upscaler = CN_UP_LATENT_NEAREST,
                                      .sampler = CN_EULER,
                                      .schedule = CN_SCHEDULE_AYS,
                                      .prompt = cn_xstrdup("a large apple"),
                                      .guidance_scale = 2.5,
                                      .has_guidance = true};
    s->sampler = CN_UNIPC;
    s->schedule = CN_KARRAS;
    s->spacing = CN_TRAILING;
    s->rng = CN_RNG_CUDA;
    s->eta = 0.5;
    s->has_guidance = true;
    s->seed = UINT64_C(0xfedcba9876543210);
    s->has_seed = true;
    s->n = 3;
    s->clip_skip = 2;
    s->init_image = blob("init");
    s->mask = blob("mask");
    s->depth = blob("depth");
    s->denoise = 0.125;
    s->format = CN_WEBP;
    s->quality = 55;
    s->preview_every = 4;
    s->priority = -3;
    s->timeout_s = 17;
    free(s->vae);
    s->vae = cn_xstrdup("mse");
    s->sizes = (struct cn_spec_sizes){512, 640, 3, 4, 1024, 768};
    s->zero_negative = false;
    for (int i = 0; i < 2; i++) {
        struct cn_spec_control *c = cn_spec_add_control(s);

        free(c->model);
        free(c->annotator);
        c->model = cn_xstrdup("emoji-canny");
        c->annotator = cn_xstrdup("canny");
        c->image = blob(i == 0 ? "edge one" : "edge two");
        c->strength = 0.75;
        c->start = 0.1;
        c->end = 0.9;
        c->branch = CN_BRANCH_COND;
        c->weights = CN_W_CUSTOM;
        c->n_weights = CN_CONTROL_LEVELS;
        for (int k = 0; k < CN_CONTROL_LEVELS; k++)
            c->weight[k] = i + k / 16.0;
        c->resize = CN_PAD;
        c->window = CN_WINDOW_A1111;
        c->passes = CN_PASSES_SECOND;
        c->only_image = i + 1;
    }
}

static void job_bytes(struct cn_buf *b, uint64_t id)
{
    struct cn_spec s;

    full_spec(&s);
    cn_buf_init(b, 1 << 20);
    assert_int_equal(cn_msg_put_job(b, id, &s, NULL), CN_OK);
    cn_spec_release(&s);
}

static struct cn_frame only_frame(struct cn_frame_decoder *d, const struct cn_buf *b)
{
    struct cn_frame f;

    cn_frame_decoder_init(d);
    assert_int_equal(cn_frame_feed(d, b->data, b->len, NULL), CN_OK);
    assert_int_equal(cn_frame_next(d, &f, NULL), 1);
    return f;
}

static void a_job_survives_the_wire(void **state)
{
    struct cn_frame_decoder d;
    struct cn_buf b, again;
    struct cn_spec s;
    struct cn_frame f;
    uint64_t id;

    (void)state;
    job_bytes(&b, 77);
    f = only_frame(&d, &b);
    assert_int_equal(f.type, CN_FRAME_JOB);
    assert_int_equal(cn_msg_get_job(&f, &id, &s, NULL), CN_OK);
    assert_int_equal(id, 77);
    assert_string_equal(s.model, "emoji");
    assert_int_equal(s.n_controls, 2);
    assert_string_equal(s.control[1].annotator, "canny");
    assert_memory_equal(s.control[1].image.data, "edge two", 8);
    assert_true(s.control[1].weight[12] == 1 + 12 / 16.0);
    assert_true(s.seed == UINT64_C(0xfedcba9876543210));
    /* Every field: what was read writes the same bytes. */
    cn_buf_init(&again, 1 << 20);
    assert_int_equal(cn_msg_put_job(&again, 77, &s, NULL), CN_OK);
    assert_int_equal(again.len, b.len);
    assert_memory_equal(again.data, b.data, b.len);
    cn_buf_release(&again);
    cn_spec_release(&s);
    cn_frame_decoder_release(&d);
    cn_buf_release(&b);
}

/* What versions before wrote is read as it was meant; what a later one may write is refused, and
 * the job can still be named. */
static void kinds_and_versions_of_jobs(void **state)
{
    struct cn_err err = CN_ERR_INIT;
    unsigned char *old;
    struct cn_spec s;
    struct cn_frame f;
    struct cn_buf b;
    uint64_t id = 0;

    (void)state;
    job_bytes(&b, 77);
    old = cn_xmalloc(b.len);
    memcpy(old, b.data + CN_FRAME_HEAD, 9);
    memcpy(old + 9, b.data + CN_FRAME_HEAD + 10, b.len - CN_FRAME_HEAD - 10);
    old[8] = 1;
    f = (struct cn_frame){CN_FRAME_JOB, old, b.len - CN_FRAME_HEAD - 1};
    assert_int_equal(cn_msg_get_job(&f, &id, &s, NULL), CN_EFORMAT); /* no rules of windows yet */
    /* nor the syntax of prompts, nor what came after it */
    f.len -= 42 + 34 + 35 + 9 + 16 + 29 + 8 + 25 + 42;
    assert_int_equal(cn_msg_get_job(&f, &id, &s, NULL), CN_OK);
    assert_int_equal(s.control[1].window, CN_WINDOW_DIFFUSERS);
    assert_int_equal(s.kind, CN_KIND_DRAW);
    assert_int_equal(s.prompt_syntax, CN_PROMPT_PLAIN);
    assert_string_equal(s.model, "emoji");
    assert_int_equal(s.control[1].resize, CN_PAD);
    cn_spec_release(&s);
    free(old);

    b.data[CN_FRAME_HEAD + 8] = 2;
    f = (struct cn_frame){CN_FRAME_JOB, b.data + CN_FRAME_HEAD,
                          b.len - CN_FRAME_HEAD - 42 - 34 - 35 - 9 - 16 - 29 - 8 - 25 - 42};
    assert_int_equal(cn_msg_get_job(&f, &id, &s, NULL), CN_OK);
    assert_int_equal(s.prompt_syntax, CN_PROMPT_PLAIN);
    assert_int_equal(s.control[1].resize, CN_PAD);
    cn_spec_release(&s);

    b.data[CN_FRAME_HEAD + 8] = 3;
    f.len += 2;
    assert_int_equal(cn_msg_get_job(&f, &id, &s, NULL), CN_OK);
    assert_int_equal(s.prompt_syntax, CN_PROMPT_PLAIN);
    assert_int_equal(s.control[1].resize, CN_PAD);
    cn_spec_release(&s);

    b.data[CN_FRAME_HEAD + 8] = 4;
    f.len += 1;
    assert_int_equal(cn_msg_get_job(&f, &id, &s, NULL), CN_OK);
    assert_int_equal(s.prompt_syntax, CN_PROMPT_A1111);
    assert_true(s.guidance_rescale == 0);
    cn_spec_release(&s);

    b.data[CN_FRAME_HEAD + 8] = 5;
    f.len += 8;
    assert_int_equal(cn_msg_get_job(&f, &id, &s, NULL), CN_OK);
    assert_true(s.guidance_rescale == 0.75);
    assert_false(s.hires.on);
    cn_spec_release(&s);

    b.data[CN_FRAME_HEAD + 8] = 6;
    f.len += 30;
    assert_int_equal(cn_msg_get_job(&f, &id, &s, NULL), CN_OK);
    assert_true(s.hires.on);
    assert_int_equal(s.decoder, CN_DECODER_VAE);
    cn_spec_release(&s);

    b.data[CN_FRAME_HEAD + 8] = 7;
    f.len += 1;
    assert_int_equal(cn_msg_get_job(&f, &id, &s, NULL), CN_OK);
    assert_int_equal(s.decoder, CN_DECODER_TAESD);
    assert_true(s.hires.sampler == CN_HIRES_SAME && s.hires.schedule == CN_HIRES_SAME);
    assert_null(s.hires.prompt);
    assert_false(s.hires.has_guidance);
    cn_spec_release(&s);

    b.data[CN_FRAME_HEAD + 8] = 8;
    f.len += 34;
    assert_int_equal(cn_msg_get_job(&f, &id, &s, NULL), CN_OK);
    assert_false(s.paste_back || s.metadata || s.mask_invert || s.control[1].return_map);
    cn_spec_release(&s);

    b.data[CN_FRAME_HEAD + 8] = 9;
    f.len += 35;
    assert_int_equal(cn_msg_get_job(&f, &id, &s, NULL), CN_OK);
    assert_int_equal(s.depth.len, 0);
    cn_spec_release(&s);

    b.data[CN_FRAME_HEAD + 8] = 10;
    f.len += 9;
    assert_int_equal(cn_msg_get_job(&f, &id, &s, NULL), CN_OK);
    assert_true(s.depth.len == 5 && s.pag_scale == 0);
    cn_spec_release(&s);

    b.data[CN_FRAME_HEAD + 8] = 11;
    f.len += 16;
    assert_int_equal(cn_msg_get_job(&f, &id, &s, NULL), CN_OK);
    assert_true(s.pag_scale == 3 && s.n_adapters == 0);
    cn_spec_release(&s);

    b.data[CN_FRAME_HEAD + 8] = 12;
    f.len += 29;
    assert_int_equal(cn_msg_get_job(&f, &id, &s, NULL), CN_OK);
    assert_true(s.n_adapters == 1 && s.vae[0] == '\0');
    cn_spec_release(&s);

    b.data[CN_FRAME_HEAD + 8] = 13;
    f.len += 7;
    assert_int_equal(cn_msg_get_job(&f, &id, &s, NULL), CN_OK);
    assert_true(strcmp(s.vae, "mse") == 0 && s.mask_alpha == CN_MASK_AUTO);
    cn_spec_release(&s);

    b.data[CN_FRAME_HEAD + 8] = 14;
    f.len += 1;
    assert_int_equal(cn_msg_get_job(&f, &id, &s, NULL), CN_OK);
    assert_true(s.mask_alpha == CN_MASK_TRANSPARENT && !cn_spec_has_sizes(&s) && s.zero_negative);
    cn_spec_release(&s);

    b.data[CN_FRAME_HEAD + 8] = 15;
    f.len += 25;
    assert_int_equal(cn_msg_get_job(&f, &id, &s, NULL), CN_OK);
    assert_true(cn_spec_has_sizes(&s) && !s.mask_only && s.subseed_strength == 0);
    cn_spec_release(&s);

    b.data[CN_FRAME_HEAD + 8] = CN_WIRE_SPEC_VERSION;
    f = (struct cn_frame){CN_FRAME_JOB, b.data + CN_FRAME_HEAD, b.len - CN_FRAME_HEAD};
    assert_int_equal(cn_msg_get_job(&f, &id, &s, NULL), CN_OK);
    assert_int_equal(s.prompt_syntax, CN_PROMPT_A1111);
    assert_true(s.guidance_rescale == 0.75);
    assert_int_equal(s.decoder, CN_DECODER_TAESD);
    assert_true(s.hires.on && s.hires.scale == 1.5 && s.hires.strength == 0.25);
    assert_int_equal(s.hires.width, 272);
    assert_int_equal(s.hires.height, 144);
    assert_int_equal(s.hires.steps, 5);
    assert_int_equal(s.hires.upscaler, CN_UP_LATENT_NEAREST);
    assert_true(s.hires.sampler == CN_EULER && s.hires.schedule == CN_SCHEDULE_AYS);
    assert_string_equal(s.hires.prompt, "a large apple");
    assert_null(s.hires.negative_prompt);
    assert_true(s.hires.has_guidance && s.hires.guidance_scale == 2.5);
    assert_true(s.depth.len == 5 && memcmp(s.depth.data, "depth", 5) == 0);
    assert_int_equal(s.mask_alpha, CN_MASK_TRANSPARENT);
    assert_true(s.pag_scale == 3 && s.pag_adaptive_scale == 0.25);
    assert_true(s.has_subseed && s.subseed == 12 && s.subseed_strength == 0.5);
    assert_true(s.seed_width == 64 && s.seed_height == 72);
    assert_true(s.mask_fill == CN_FILL_NOTHING && s.mask_only && s.mask_padding == 32);
    assert_int_equal(s.picture_rules, CN_MAP_A1111);
    assert_int_equal(s.control[1].passes, CN_PASSES_SECOND);
    assert_int_equal(s.control[1].only_image, 2);
    assert_string_equal(s.vae, "mse");
    assert_int_equal(s.n_adapters, 1);
    assert_string_equal(s.adapter[0].name, "detail");
    assert_true(s.adapter[0].strength == 0.5 && s.adapter[0].text_strength == -1);
    cn_spec_release(&s);
    b.data[CN_FRAME_HEAD + 9] = CN_JOB_KIND_COUNT;
    assert_int_equal(cn_msg_get_job(&f, &id, &s, &err), CN_EINVAL);
    assert_int_equal(id, 77);
    assert_string_equal(err.where, "/kind");
    assert_non_null(strstr(err.msg, "does not know this kind"));
    err.code = 0;
    b.data[CN_FRAME_HEAD + 8] = CN_WIRE_SPEC_VERSION + 1;
    assert_int_equal(cn_msg_get_job(&f, &id, &s, &err), CN_EFORMAT);
    assert_non_null(strstr(err.msg, "unknown version"));
    cn_buf_release(&b);
}

static void a_warning_survives_the_wire(void **state)
{
    struct cn_msg_warning in = {7, {CN_WARN_NO_EFFECT, "/eta", "only \xc3\xbc"}}, out;
    struct cn_frame_decoder d;
    struct cn_frame f;
    struct cn_buf b;

    (void)state;
    cn_buf_init(&b, 1 << 16);
    assert_int_equal(cn_msg_put_warning(&b, &in, NULL), CN_OK);
    f = only_frame(&d, &b);
    assert_int_equal(f.type, CN_FRAME_WARNING);
    assert_int_equal(cn_msg_get_warning(&f, &out, NULL), CN_OK);
    assert_true(out.id == 7 && out.warning.code == CN_WARN_NO_EFFECT);
    assert_string_equal(out.warning.where, "/eta");
    assert_string_equal(out.warning.text, in.warning.text);
    for (size_t len = 0; len < f.len; len++) {
        struct cn_frame cut = {f.type, f.data, len};

        assert_int_equal(cn_msg_get_warning(&cut, &out, NULL), CN_EFORMAT);
    }
    b.data[CN_FRAME_HEAD + 8] = CN_WARNING_COUNT;
    f = (struct cn_frame){CN_FRAME_WARNING, b.data + CN_FRAME_HEAD, b.len - CN_FRAME_HEAD};
    assert_int_equal(cn_msg_get_warning(&f, &out, NULL), CN_EFORMAT);
    cn_frame_decoder_release(&d);
    cn_buf_release(&b);
}

static void a_cut_job_is_refused_everywhere(void **state)
{
    struct cn_buf b;

    (void)state;
    job_bytes(&b, 1);
    for (size_t len = 0; len < b.len - CN_FRAME_HEAD; len++) {
        /* A copy of exactly len bytes, so that a sanitizer sees reads behind the end. */
        unsigned char *cut = malloc(len + 1);
        struct cn_frame f = {CN_FRAME_JOB, cut, len};
        struct cn_err err = CN_ERR_INIT;
        struct cn_spec s;
        uint64_t id;

        memcpy(cut, b.data + CN_FRAME_HEAD, len);
        assert_int_equal(cn_msg_get_job(&f, &id, &s, &err), CN_EFORMAT);
        free(cut);
    }
    cn_buf_release(&b);
}

static void frames_come_out_of_any_cut(void **state)
{
    struct cn_buf b;
    struct cn_frame f;

    (void)state;
    cn_buf_init(&b, 1 << 16);
    for (uint64_t i = 0; i < 5; i++)
        assert_int_equal(cn_msg_put_number(&b, CN_FRAME_PING, i, NULL), CN_OK);
    for (size_t piece = 1; piece < b.len; piece++) {
        struct cn_frame_decoder d;
        uint64_t next = 0, got;

        cn_frame_decoder_init(&d);
        for (size_t at = 0; at < b.len; at += piece) {
            cn_frame_feed(&d, b.data + at, CN_MIN(piece, b.len - at), NULL);
            while (cn_frame_next(&d, &f, NULL) > 0) {
                assert_int_equal(cn_msg_get_number(&f, &got, NULL), CN_OK);
                assert_int_equal(got, next);
                next++;
            }
        }
        assert_int_equal(next, 5);
        cn_frame_decoder_release(&d);
    }
    cn_buf_release(&b);
}

static void bad_heads_are_refused(void **state)
{
    static const struct {
        unsigned char head[8];
        int code;
    } bad[] = {
        {{0, 0, 0, 0, 0, 0, 0, 0}, CN_EFORMAT},   {{99, 0, 0, 0, 0, 0, 0, 0}, CN_EFORMAT},
        {{34, 1, 0, 0, 0, 0, 0, 0}, CN_EFORMAT},  {{34, 0, 1, 0, 8, 0, 0, 0}, CN_EFORMAT},
        {{34, 0, 0, 0, 1, 0, 0, 16}, CN_ETOOBIG}, {{34, 0, 0, 0, 255, 255, 255, 255}, CN_ETOOBIG},
    };

    (void)state;
    for (size_t i = 0; i < CN_LEN(bad); i++) {
        struct cn_frame_decoder d;
        struct cn_frame f;

        cn_frame_decoder_init(&d);
        cn_frame_feed(&d, bad[i].head, 8, NULL);
        assert_int_equal(cn_frame_next(&d, &f, NULL), bad[i].code);
        cn_frame_decoder_release(&d);
    }
}

static void hello_keeps_the_models(void **state)
{
    struct cn_model_info model[2] = {
        {.name = "emoji",
         .family = "tiny",
         .width = 128,
         .height = 128,
         .multiple = 8,
         .is_default = true,
         .parameters = 1234567,
         .bytes = UINT64_C(5) << 32},
        {.name = "emoji-canny", .kind = CN_MODEL_CONTROLNET, .annotator = "canny"}};
    struct cn_embedding_info embedding = {
        .name = "badhand", .token = "<bad>", .vectors = 2, .width = 768, .broken = "no"};
    struct cn_msg_hello in = {.pid = 42,
                              .capacity = 4,
                              .lanes = 2,
                              .backend = "cpu",
                              .device = "2 cores",
                              .build = "0.1.0",
                              .n_models = 2,
                              .model = model,
                              .n_embeddings = 1,
                              .embedding = &embedding},
                        out;
    struct cn_frame_decoder d;
    struct cn_frame f;
    struct cn_buf b;

    (void)state;
    cn_buf_init(&b, 1 << 16);
    assert_int_equal(cn_msg_put_hello(&b, &in, NULL), CN_OK);
    f = only_frame(&d, &b);
    assert_int_equal(cn_msg_get_hello(&f, &out, NULL), CN_OK);
    assert_int_equal(out.capacity, 4);
    assert_int_equal(out.n_models, 2);
    assert_true(out.model[0].is_default);
    assert_true(out.model[0].bytes == UINT64_C(5) << 32);
    assert_string_equal(out.model[1].annotator, "canny");
    assert_int_equal(out.n_embeddings, 1);
    assert_memory_equal(out.embedding, &embedding, sizeof(embedding));
    cn_msg_hello_release(&out);
    /* Another version, another magic: refused with words. */
    struct cn_err err = CN_ERR_INIT;
    unsigned char copy[512];

    memcpy(copy, f.data, f.len);
    copy[4] = 9;
    f.data = copy;
    assert_int_equal(cn_msg_get_hello(&f, &out, &err), CN_EFORMAT);
    assert_non_null(strstr(err.msg, "version"));
    cn_frame_decoder_release(&d);
    cn_buf_release(&b);
}

static void small_messages_survive(void **state)
{
    struct cn_msg_progress progress = {9, CN_STAGE_UNET, 1, 3, 20, 23, 40};
    struct cn_msg_image image = {9, 2, {5, CN_JPEG, 64, 32, 4}, (const unsigned char *)"JPEG"};
    struct cn_msg_done done = {.id = 9, .ms = {1, 2, 3}};
    struct cn_msg_failed failed = {.id = 9};
    struct cn_msg_gauges gauges = {.n = 1, .gauge = {{"resident_bytes", 1e9}}};
    struct cn_msg_state st = {CN_WORKER_BROKEN, "no models"};
    struct cn_frame_decoder d;
    struct cn_frame f;
    struct cn_buf b;

    (void)state;
    cn_fail_at(&failed.err, CN_EFORMAT, "/controls/0/image", "not a PNG");
    cn_buf_init(&b, 1 << 16);
    assert_int_equal(cn_msg_put_progress(&b, &progress, NULL), CN_OK);
    assert_int_equal(cn_msg_put_image(&b, &image, NULL), CN_OK);
    assert_int_equal(cn_msg_put_done(&b, &done, NULL), CN_OK);
    assert_int_equal(cn_msg_put_failed(&b, &failed, NULL), CN_OK);
    assert_int_equal(cn_msg_put_gauges(&b, &gauges, NULL), CN_OK);
    assert_int_equal(cn_msg_put_state(&b, &st, NULL), CN_OK);
    memset(&progress, 0, sizeof(progress));
    memset(&image, 0, sizeof(image));
    memset(&done, 0, sizeof(done));
    memset(&failed, 0, sizeof(failed));
    memset(&gauges, 0, sizeof(gauges));
    memset(&st, 0, sizeof(st));
    f = only_frame(&d, &b);
    assert_int_equal(cn_msg_get_progress(&f, &progress, NULL), CN_OK);
    assert_int_equal(cn_frame_next(&d, &f, NULL), 1);
    assert_int_equal(cn_msg_get_image(&f, &image, NULL), CN_OK);
    assert_int_equal(image.meta.bytes, 4);
    assert_int_equal(cn_frame_next(&d, &f, NULL), 1);
    assert_int_equal(cn_msg_get_done(&f, &done, NULL), CN_OK);
    assert_int_equal(cn_frame_next(&d, &f, NULL), 1);
    assert_int_equal(cn_msg_get_failed(&f, &failed, NULL), CN_OK);
    assert_int_equal(cn_frame_next(&d, &f, NULL), 1);
    assert_int_equal(cn_msg_get_gauges(&f, &gauges, NULL), CN_OK);
    assert_int_equal(cn_frame_next(&d, &f, NULL), 1);
    assert_int_equal(cn_msg_get_state(&f, &st, NULL), CN_OK);
    assert_int_equal(cn_frame_next(&d, &f, NULL), 0);
    assert_int_equal(progress.stage, CN_STAGE_UNET);
    assert_int_equal(progress.steps, 20);
    assert_int_equal(progress.done, 23);
    assert_int_equal(progress.total, 40);
    assert_int_equal(image.meta.format, CN_JPEG);
    assert_true(done.ms[2] == 3);
    assert_int_equal(failed.err.code, CN_EFORMAT);
    assert_string_equal(failed.err.where, "/controls/0/image");
    assert_string_equal(gauges.gauge[0].name, "resident_bytes");
    assert_string_equal(st.text, "no models");
    cn_frame_decoder_release(&d);
    cn_buf_release(&b);
}

static void messages_of_serving_survive(void **state)
{
    struct cn_msg_preview preview = {9, 1, 4, CN_JPEG, 64, 32, (const unsigned char *)"JPEG", 4};
    struct cn_msg_beat beat = {7, 4, 12.5};
    struct cn_msg_model model = {"emoji", CN_MODEL_BROKEN, 77, "its UNet is caf\xe9 short"};
    struct cn_msg_manage manage = {5, CN_MANAGE_UNLOAD, "emoji"};
    struct cn_msg_managed good = {.number = 5}, bad = {.number = 6};
    struct cn_frame_decoder d;
    struct cn_frame f;
    struct cn_buf b;

    (void)state;
    cn_fail(&bad.err, CN_EBUSY, "it is in use");
    cn_buf_init(&b, 1 << 16);
    assert_int_equal(cn_msg_put_preview(&b, &preview, NULL), CN_OK);
    assert_int_equal(cn_msg_put_beat(&b, &beat, NULL), CN_OK);
    assert_int_equal(cn_msg_put_model(&b, &model, NULL), CN_OK);
    assert_int_equal(cn_msg_put_manage(&b, &manage, NULL), CN_OK);
    assert_int_equal(cn_msg_put_managed(&b, &good, NULL), CN_OK);
    assert_int_equal(cn_msg_put_managed(&b, &bad, NULL), CN_OK);
    memset(&preview, 0, sizeof(preview));
    memset(&beat, 0, sizeof(beat));
    memset(&model, 0, sizeof(model));
    memset(&manage, 0, sizeof(manage));
    memset(&good, 0xff, sizeof(good));
    memset(&bad, 0, sizeof(bad));
    f = only_frame(&d, &b);
    assert_int_equal(cn_msg_get_preview(&f, &preview, NULL), CN_OK);
    assert_memory_equal(preview.data, "JPEG", 4);
    assert_int_equal(cn_frame_next(&d, &f, NULL), 1);
    assert_int_equal(cn_msg_get_beat(&f, &beat, NULL), CN_OK);
    assert_int_equal(cn_frame_next(&d, &f, NULL), 1);
    assert_int_equal(cn_msg_get_model(&f, &model, NULL), CN_OK);
    assert_int_equal(cn_frame_next(&d, &f, NULL), 1);
    assert_int_equal(cn_msg_get_manage(&f, &manage, NULL), CN_OK);
    assert_int_equal(cn_frame_next(&d, &f, NULL), 1);
    assert_int_equal(cn_msg_get_managed(&f, &good, NULL), CN_OK);
    assert_int_equal(cn_frame_next(&d, &f, NULL), 1);
    assert_int_equal(cn_msg_get_managed(&f, &bad, NULL), CN_OK);
    assert_int_equal(cn_frame_next(&d, &f, NULL), 0);
    assert_int_equal(preview.index, 1);
    assert_int_equal(preview.step, 4);
    assert_int_equal(beat.lanes, 7);
    assert_int_equal(beat.images, 4);
    assert_true(beat.ms == 12.5);
    assert_int_equal(model.state, CN_MODEL_BROKEN);
    assert_true(model.bytes == 77);
    assert_string_equal(model.text, "its UNet is caf? short"); /* a byte that is no UTF-8 */
    assert_int_equal(manage.action, CN_MANAGE_UNLOAD);
    assert_string_equal(manage.name, "emoji");
    assert_int_equal(good.err.code, CN_OK);
    assert_int_equal(bad.err.code, CN_EBUSY);
    assert_string_equal(bad.err.msg, "it is in use");
    cn_frame_decoder_release(&d);
    cn_buf_release(&b);
}

static void a_catalogue_survives_the_wire(void **state)
{
    struct cn_model_info model[] = {{.name = "emoji", .width = 64, .height = 64, .multiple = 8},
                                    {.name = "edges", .kind = CN_MODEL_CONTROLNET}};
    struct cn_passed_over passed[] = {{"notes.txt", "its name says so"}};
    struct cn_adapter_info adapter[] = {
        {.name = "detail", .kind = "LoRA", .rank_max = 8, .unet = true, .triggers = "a, b"}};
    struct cn_embedding_info embedding[] = {{.name = "style", .token = "<s>", .vectors = 2}};
    struct cn_msg_catalog m = {1, 2, 3, 2, model, 1, passed, 1, adapter, 1, embedding}, got;
    struct cn_frame_decoder d;
    struct cn_frame f;
    struct cn_buf b;

    (void)state;
    cn_buf_init(&b, 1 << 16);
    assert_int_equal(cn_msg_put_catalog(&b, &m, NULL), CN_OK);
    f = only_frame(&d, &b);
    for (size_t n = 0; n < f.len; n++) {
        struct cn_frame cut = {f.type, f.data, n};

        assert_int_equal(cn_msg_get_catalog(&cut, &got, NULL), CN_EFORMAT);
        assert_null(got.model);
    }
    assert_int_equal(cn_msg_get_catalog(&f, &got, NULL), CN_OK);
    assert_true(got.added == 1 && got.changed == 2 && got.removed == 3 && got.n_models == 2);
    assert_string_equal(got.model[1].name, "edges");
    assert_int_equal(got.model[1].kind, CN_MODEL_CONTROLNET);
    assert_int_equal(got.n_passed, 1);
    assert_string_equal(got.passed[0].why, "its name says so");
    assert_int_equal(got.n_embeddings, 1);
    assert_string_equal(got.embedding[0].token, "<s>");
    assert_int_equal(got.embedding[0].vectors, 2);
    cn_msg_catalog_release(&got);
    cn_frame_decoder_release(&d);
    cn_buf_release(&b);
}

static void a_preview_has_a_bound(void **state)
{
    struct cn_msg_preview m = {.id = 1, .format = CN_JPEG, .width = 8, .height = 8};
    unsigned char *big = cn_xcalloc(1, CN_WIRE_MAX_PREVIEW + 1);
    struct cn_frame_decoder d;
    struct cn_frame f;
    struct cn_buf b;

    (void)state;
    m.data = big;
    m.len = CN_WIRE_MAX_PREVIEW + 1;
    cn_buf_init(&b, 1 << 20);
    assert_int_equal(cn_msg_put_preview(&b, &m, NULL), CN_OK);
    f = only_frame(&d, &b);
    assert_int_equal(cn_msg_get_preview(&f, &m, NULL), CN_ETOOBIG);
    cn_frame_decoder_release(&d);
    cn_buf_release(&b);
    free(big);
}

static void numbers_that_are_none_are_refused(void **state)
{
    struct cn_unpack u;
    struct cn_buf b;
    struct cn_pack p = {.buf = &b};

    (void)state;
    cn_buf_init(&b, 64);
    cn_put_f64(&p, NAN);
    cn_put_str(&p, "abc");
    u = (struct cn_unpack){.p = b.data, .left = b.len};
    assert_true(cn_get_f64(&u) == 0);
    assert_int_equal(u.rc, CN_EFORMAT);
    u = (struct cn_unpack){.p = b.data + 8, .left = b.len - 8};
    free(cn_get_str(&u, 2));
    assert_int_equal(u.rc, CN_ETOOBIG);
    b.data[13] = 0;
    u = (struct cn_unpack){.p = b.data + 8, .left = b.len - 8};
    free(cn_get_str(&u, 3));
    assert_int_equal(u.rc, CN_EFORMAT);
    cn_buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_survives_the_wire),
        cmocka_unit_test(kinds_and_versions_of_jobs),
        cmocka_unit_test(a_warning_survives_the_wire),
        cmocka_unit_test(a_cut_job_is_refused_everywhere),
        cmocka_unit_test(frames_come_out_of_any_cut),
        cmocka_unit_test(bad_heads_are_refused),
        cmocka_unit_test(hello_keeps_the_models),
        cmocka_unit_test(small_messages_survive),
        cmocka_unit_test(messages_of_serving_survive),
        cmocka_unit_test(a_catalogue_survives_the_wire),
        cmocka_unit_test(a_preview_has_a_bound),
        cmocka_unit_test(numbers_that_are_none_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
