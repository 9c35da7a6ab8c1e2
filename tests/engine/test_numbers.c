/* Numbers that are none: wherever a NaN or an infinity comes from, it is an error that names its
 * place, and never a picture.
 *
 * The models are copies of tests/data/models in which values of single tensors were changed.
 */
#include "base/base.h"
#include "base/buf.h"
#include "base/dtype.h"
#include "base/file.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "image/codec.h"

#include <limits.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char folder[64];
static const char *models = "tests/data/models";

/* ---- models with other values ---- */

/* folder/NAME becomes a copy of tests/data/models/NAME. */
static void copy_model(const char *name)
{
    char *command = cn_xprintf("rm -rf %s/%s && cp -rL %s/%s %s/ && chmod -R u+w %s", folder, name,
                               models, name, folder, folder);

    assert_int_equal(system(command), 0);
    free(command);
}

/* The number behind `key`, or the one that so many commas follow it. */
static size_t number_after(const char *text, const char *key, size_t skip)
{
    const char *p = strstr(text, key);

    assert_non_null(p);
    for (p += strlen(key); skip > 0; skip--)
        p = strchr(p, ',') + 1;
    return (size_t)strtoull(p, NULL, 10);
}

/* Every value x of one tensor of folder/FILE becomes x * factor + plus. */
static void change(const char *file, const char *tensor, float factor, float plus)
{
    char *path = cn_xprintf("%s/%s", folder, file), *key = cn_xprintf("\"%s\":", tensor), *at;
    size_t from, to, n;
    uint64_t head;
    enum cn_dtype t;
    struct cn_buf b;
    char *text;
    float *x;

    cn_buf_init(&b, 16u << 20);
    assert_int_equal(cn_file_read(path, &b, NULL), CN_OK);
    memcpy(&head, b.data, sizeof(head));
    text = cn_xprintf("%.*s", (int)head, (const char *)b.data + 8);
    at = strstr(text, key);
    assert_non_null(at);
    *strchr(at, '}') = '\0';
    t = strstr(at, "\"F16\"") ? CN_F16 : CN_F32;
    from = number_after(at, "\"data_offsets\":[", 0);
    to = number_after(at, "\"data_offsets\":[", 1);
    n = (to - from) / cn_dtype_size(t);
    x = calloc(n, sizeof(*x));
    cn_to_f32(x, b.data + 8 + head + from, t, n);
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] * factor + plus;
    cn_from_f32(b.data + 8 + head + from, x, t, n);
    assert_int_equal(cn_file_write(path, b.data, b.len, NULL), CN_OK);
    free(x);
    free(text);
    free(key);
    free(path);
    cn_buf_release(&b);
}

#define VAE     "tiny/vae/diffusion_pytorch_model.safetensors"
#define UNET    "tiny/unet/diffusion_pytorch_model.safetensors"
#define CONTROL "tiny-control-a/diffusion_pytorch_model.safetensors"

/* ---- jobs ---- */

struct job {
    struct cn_spec spec;
    struct cn_image picture;
    int pictures, steps;
    bool over;
    int rc;
    struct cn_err err;
};

static int keep(void *ctx, const struct cn_engine_image *m, struct cn_err *err)
{
    struct job *j = ctx;

    j->pictures++;
    cn_image_release(&j->picture); /* the last one is kept */
    if (cn_image_init(&j->picture, m->image->w, m->image->h, m->image->c, err) < 0)
        return CN_ENOMEM;
    memcpy(j->picture.px, m->image->px, cn_image_bytes(m->image));
    return CN_OK;
}

static void count_step(void *ctx, int image, int step, int steps)
{
    struct job *j = ctx;

    (void)image;
    (void)steps;
    j->steps = step;
}

static void end(void *ctx, int rc, const struct cn_err *err)
{
    struct job *j = ctx;

    j->over = true;
    j->rc = rc;
    j->err = *err;
}

static void add_control(struct cn_spec *s, const char *model, double from)
{
    struct cn_spec_control *c = cn_spec_add_control(s);
    struct cn_image img = CN_IMAGE_NONE;
    struct cn_buf file;

    assert_int_equal(cn_image_init(&img, 24, 24, 3, NULL), CN_OK);
    memset(img.px, 90, cn_image_bytes(&img));
    cn_buf_init(&file, 1u << 20);
    assert_int_equal(cn_png_encode(&img, NULL, 0, CN_PNG_LEVEL, &file, NULL), CN_OK);
    cn_image_release(&img);
    free(c->model);
    c->model = cn_xstrdup(model);
    c->start = from;
    c->image.data = cn_buf_steal(&file, &c->image.len);
}

static void job_init(struct job *j, uint64_t seed)
{
    struct cn_spec *s = &j->spec;

    *j = (struct job){.rc = 1};
    cn_spec_init(s);
    free(s->model);
    s->model = cn_xstrdup("tiny");
    free(s->prompt);
    s->prompt = cn_xstrdup("a tree");
    s->width = s->height = 24;
    s->steps = 12;
    s->seed = seed;
    s->has_seed = true;
}

static void job_release(struct job *j)
{
    cn_spec_release(&j->spec);
    cn_image_release(&j->picture);
}

static struct cn_engine *open_engine(const char *backend, enum cn_dtype dtype)
{
    struct cn_engine_opts opts = CN_ENGINE_DEFAULTS;
    struct cn_engine *e;

    opts.backend = backend;
    opts.threads = 1;
    opts.dtype = dtype;
    opts.mix_controls = true;
    if (cn_engine_new(&opts, &e, NULL) < 0)
        return NULL; /* built without it */
    assert_int_equal(cn_engine_scan(e, folder, NULL), CN_OK);
    return e;
}

static void begin(struct cn_engine *e, struct job *j)
{
    struct cn_engine_cb cb = {.ctx = j, .image = keep, .progress = count_step, .end = end};

    assert_int_equal(cn_engine_begin(e, &j->spec, &cb, NULL), CN_OK);
}

static void run(struct cn_engine *e, struct job *j)
{
    begin(e, j);
    while (!j->over) {
        cn_engine_wait(e);
        assert_int_equal(cn_engine_step(e, NULL), CN_OK);
    }
}

static const char *const backends[] = {"reference", "onednn"};

/* The job of this seed fails with the words in its message, and there is no picture. */
static void expect_failure(int code, bool control, const char *word, const char *more)
{
    for (size_t i = 0; i < CN_LEN(backends); i++) {
        struct cn_engine *e = open_engine(backends[i], CN_DTYPE_COUNT);
        struct job j;

        if (e == NULL)
            continue;
        job_init(&j, 1);
        if (control)
            add_control(&j.spec, "tiny-control-a", 0);
        run(e, &j);
        assert_int_equal(j.rc, code);
        assert_int_equal(j.pictures, 0);
        if (strstr(j.err.msg, word) == NULL || strstr(j.err.msg, more) == NULL)
            fail_msg("\"%s\" does not name %s and %s", j.err.msg, word, more);
        job_release(&j);
        cn_engine_free(e);
    }
}

/* ---- parameters ---- */

static void parameters_that_are_none_are_named(void **state)
{
    static const struct {
        const char *file, *tensor;
        float plus;
    } cases[] = {
        {"tiny/text_encoder/model.safetensors", "text_model.final_layer_norm.bias", NAN},
        {UNET, "conv_out.bias", INFINITY},
        {UNET, "time_embedding.linear_1.weight", NAN},
        {VAE, "decoder.conv_out.bias", NAN},
        {CONTROL, "controlnet_mid_block.weight", -INFINITY},
    };

    (void)state;
    for (size_t i = 0; i < CN_LEN(cases); i++) {
        copy_model("tiny");
        copy_model("tiny-control-a");
        change(cases[i].file, cases[i].tensor, 1, cases[i].plus);
        expect_failure(CN_EFORMAT, true, cases[i].tensor, "not numbers");
    }
}

/* ---- the decoder ---- */

/* Finite parameters, infinite pixels, in every type that there is. */
static void pixels_that_are_none_are_no_picture(void **state)
{
    (void)state;
    copy_model("tiny");
    copy_model("tiny-control-a");
    change(VAE, "decoder.conv_norm_out.bias", 0, 1e38f);
    change(VAE, "decoder.conv_out.weight", 0, 1e38f);
    expect_failure(CN_EINTERNAL, false, "autoencoder of model \"tiny\"", "not numbers");
}

static double difference(const struct job *a, const struct job *b)
{
    double sum = 0;
    size_t n = cn_image_bytes(&a->picture);

    assert_int_equal(n, cn_image_bytes(&b->picture));
    for (size_t i = 0; i < n; i++)
        sum += fabs((double)a->picture.px[i] - b->picture.px[i]);
    return sum / (double)n;
}

/* Values beyond the range of F16, but not of F32, between two layers of the decoder. The reference
 * backend stores either; two images of one job, so that the second is under way when the first one
 * fails. */
static void a_decoder_that_overflows_runs_in_a_wider_type(void **state)
{
    struct job narrow, wide;
    struct cn_engine *e;

    (void)state;
    copy_model("tiny");
    copy_model("tiny-control-a");
    change(VAE, "decoder.conv_norm_out.weight", 1e6f, 0);
    change(VAE, "decoder.conv_norm_out.bias", 1e6f, 0);
    change(VAE, "decoder.conv_out.weight", 1e-6f, 0);
    e = open_engine("reference", CN_F16);
    job_init(&narrow, 1);
    narrow.spec.n = 2;
    narrow.spec.steps = 2;
    run(e, &narrow);
    cn_engine_free(e);
    assert_int_equal(narrow.rc, CN_OK);
    assert_int_equal(narrow.pictures, 2);
    e = open_engine("reference", CN_F32);
    job_init(&wide, 2); /* the picture that is kept is the second one */
    wide.spec.steps = 2;
    run(e, &wide);
    cn_engine_free(e);
    assert_int_equal(wide.rc, CN_OK);
    assert_true(difference(&narrow, &wide) < 2);
    job_release(&narrow);
    job_release(&wide);
}

/* ---- latents ---- */

/* What runs away is stopped where it does, and not 12 steps later. */
static void a_latent_that_runs_away_is_stopped(void **state)
{
    (void)state;
    copy_model("tiny");
    copy_model("tiny-control-a");
    for (size_t i = 0; i < CN_LEN(backends); i++) {
        struct cn_engine *e = open_engine(backends[i], CN_DTYPE_COUNT);
        struct job j;

        if (e == NULL)
            continue;
        job_init(&j, 1);
        add_control(&j.spec, "tiny-control-a", 0);
        j.spec.control[0].strength = 1e38;
        j.spec.guidance_scale = 1e30;
        j.spec.steps = 40;
        run(e, &j);
        assert_int_equal(j.rc, CN_EINTERNAL);
        assert_non_null(strstr(j.err.msg, "not numbers in step "));
        assert_in_range(j.steps, 0, 20);
        job_release(&j);
        cn_engine_free(e);
    }
}

/* ---- a failure in a batch ---- */

/* Two jobs share their steps; the ControlNet of both is broken where only steps see it, and acts on
 * one of them. */
static void a_failure_in_a_batch_is_one_jobs_own(void **state)
{
    (void)state;
    copy_model("tiny");
    copy_model("tiny-control-a");
    change(CONTROL, "controlnet_mid_block.weight", 1, NAN);
    for (size_t i = 0; i < CN_LEN(backends); i++) {
        struct cn_engine *e = open_engine(backends[i], CN_DTYPE_COUNT);
        struct job good, bad;

        if (e == NULL)
            continue;
        job_init(&good, 1);
        add_control(&good.spec, "tiny-control-a", 0.99); /* its window never opens */
        job_init(&bad, 2);
        add_control(&bad.spec, "tiny-control-a", 0.5);
        begin(e, &good);
        begin(e, &bad);
        while (!good.over || !bad.over) {
            cn_engine_wait(e);
            assert_int_equal(cn_engine_step(e, NULL), CN_OK);
        }
        assert_int_equal(bad.rc, CN_EFORMAT);
        assert_int_equal(good.rc, CN_OK);
        assert_int_equal(good.pictures, 1);
        job_release(&good);
        job_release(&bad);
        cn_engine_free(e);
    }
}

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/test_numbers.XXXXXX");
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
    char *command = cn_xprintf("rm -r %s", folder);
    int rc = system(command);

    (void)state;
    free(command);
    return rc;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_that_are_none_are_named),
        cmocka_unit_test(pixels_that_are_none_are_no_picture),
        cmocka_unit_test(a_decoder_that_overflows_runs_in_a_wider_type),
        cmocka_unit_test(a_latent_that_runs_away_is_stopped),
        cmocka_unit_test(a_failure_in_a_batch_is_one_jobs_own),
    };
    const char *src = getenv("srcdir");

    if (src != NULL)
        models = cn_xprintf("%s/tests/data/models", src);
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
