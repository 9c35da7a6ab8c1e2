/* The autoencoder in bands of rows against the same at once: networks by themselves, and pictures
 * of an engine that is told to save memory. */
#include "base/base.h"
#include "tests/engine/crowd.h"
#include "base/mem.h"
#include "model/vae.h"
#include "runtime/kept_rows.h"
#include "runtime/plans.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* A model of tests/data/models on a backend of one thread. */
struct loaded {
    struct cn_runtime rt;
    struct cn_model *m;
};

static void load(struct loaded *l, const char *name)
{
    struct cn_backend_opts opts = CN_BACKEND_DEFAULTS;
    struct cn_err err = CN_ERR_INIT;
    const char *srcdir = getenv("srcdir");
    char *models = cn_xprintf("%s/tests/data/models", srcdir ? srcdir : ".");

    *l = (struct loaded){{0}, NULL};
    opts.threads = 1;
    if (cn_backend_open("cpu", &opts, &l->rt.backend, &err) < 0 ||
        cn_runtime_scan(&l->rt, models, &err) < 0)
        fail_msg("%s", err.msg);
    l->m = cn_runtime_find(&l->rt, name);
    assert_int_equal(cn_model_open(l->m, l->rt.backend, &err), CN_OK);
    free(models);
}

static void unload(struct loaded *l)
{
    cn_runtime_release(&l->rt);
    cn_backend_close(l->rt.backend);
}

static float *values(size_t n, float size)
{
    float *x = cn_xcalloc(n, sizeof(*x));
    uint32_t r = 1;

    for (size_t i = 0; i < n; i++) {
        r = r * 1664525u + 1013904223u;
        x[i] = ((float)(r >> 8) / (float)(1 << 24) * 2 - 1) * size;
    }
    return x;
}

static void run_bands(struct cn_bands *b, const float *in, float *out, bool *finite)
{
    struct cn_err err = CN_ERR_INIT;
    int rc = cn_bands_write(b, in, &err);

    while (rc == CN_OK && (rc = cn_bands_next(b, &err)) > 0)
        rc = cn_bands_run(b, &err);
    if (rc < 0)
        fail_msg("%s", err.msg);
    *finite = !cn_bands_not_finite(b);
    cn_bands_read(b, out);
    assert_true(cn_bands_peak_bytes(b) > 0);
    cn_bands_free(b);
}

/* The largest difference, as a share of the largest value. */
static double distance(const float *a, const float *b, size_t n)
{
    double most = 0, size = 0;

    for (size_t i = 0; i < n; i++) {
        most = fmax(most, fabs((double)a[i] - b[i]));
        size = fmax(size, fabs((double)a[i]));
    }
    return most / size;
}

/* h x w of a latent. */
static void compare(struct loaded *l, int h, int w, bool decode, enum cn_dtype store, double most)
{
    int factor = cn_vae_factor(cn_checkpoint_vae(l->m->checkpoint));
    size_t cells = (size_t)h * (size_t)w, pixels = 3 * cells * (size_t)(factor * factor);
    size_t n_in = decode ? 4 * cells : pixels, n_out = decode ? pixels : 8 * cells;
    struct cn_bands_opts opts = CN_BANDS_DEFAULTS;
    float *in = values(n_in, 1), *whole = values(n_out, 0), *split = values(n_out, 0);
    struct cn_plan_entry *p;
    struct cn_bands *b;
    bool finite;

    opts.store = store;
    opts.band_bytes = 1; /* 8 rows at a time */
    if (decode) {
        assert_int_equal(cn_plan_for_decoder(l->m, h, w, 0, &p, NULL), CN_OK);
        assert_int_equal(cn_bands_for_decoder(l->m, h, w, &opts, &b, NULL), CN_OK);
    } else {
        assert_int_equal(cn_plan_for_encoder(l->m, h * factor, w * factor, &p, NULL), CN_OK);
        assert_int_equal(cn_bands_for_encoder(l->m, h * factor, w * factor, &opts, &b, NULL),
                         CN_OK);
    }
    assert_int_equal(cn_plan_run_host(p, in, whole, NULL), CN_OK);
    run_bands(b, in, split, &finite);
    assert_true(finite);
    if (distance(whole, split, n_out) > most)
        fail_msg("%d x %d, %s: %g away", w, h, decode ? "decoder" : "encoder",
                 distance(whole, split, n_out));
    free(in);
    free(whole);
    free(split);
}

static void bands_are_the_whole(void **state)
{
    static const char *const models[] = {"tiny", "tiny2", "tiny9"};

    (void)state;
    for (size_t i = 0; i < CN_LEN(models); i++) {
        struct loaded l;

        load(&l, models[i]);
        for (int decode = 0; decode < 2; decode++) {
            compare(&l, 12, 10, decode, CN_F32, 2e-5);
            compare(&l, 7, 9, decode, CN_F32, 2e-5); /* the last band is not as high */
            compare(&l, 1, 3, decode, CN_F32, 2e-5);
            compare(&l, 12, 10, decode, CN_F16, 1e-2);
        }
        unload(&l);
    }
}

/* Values beyond the type in which they are kept are told, and a wider type takes them. */
static void what_does_not_fit_is_told(void **state)
{
    struct loaded l;

    (void)state;
    load(&l, "tiny");
    for (int wide = 0; wide < 2; wide++) {
        struct cn_bands_opts opts = CN_BANDS_DEFAULTS;
        float *in = values(4 * 64, 1e7f), *out = values(3 * 64 * 64, 0);
        struct cn_bands *b;
        bool finite;

        opts.store = wide ? CN_F32 : CN_F16;
        assert_int_equal(cn_bands_for_decoder(l.m, 8, 8, &opts, &b, NULL), CN_OK);
        run_bands(b, in, out, &finite);
        assert_int_equal(finite, wide);
        free(in);
        free(out);
    }
    unload(&l);
}

static void rows_come_back_and_go(void **state)
{
    enum { C = 3, H = 20, W = 5 };
    float *x = values(C * H * W, 2), y[C * 4 * W], band[C * 8 * W], scale[C], shift[C];
    const float gamma[C] = {1, 2, 3}, beta[C] = {0.5f, 0, -1};
    struct cn_kept_rows r;

    (void)state;
    cn_kept_rows_init(&r, C, H, W, CN_F32);
    for (int at = 0; at < H; at += 8) {
        int n = CN_MIN(8, H - at);

        for (int c = 0; c < C; c++)
            memcpy(band + c * n * W, x + (c * H + at) * W, (size_t)(n * W) * sizeof(float));
        assert_int_equal(cn_kept_rows_put(&r, at, n, band, NULL), CN_OK);
    }
    cn_kept_rows_get(&r, 14, 4, NULL, NULL, y); /* over the edge of two chunks */
    for (int c = 0; c < C; c++)
        assert_memory_equal(y + c * 4 * W, x + (c * H + 14) * W, 4 * W * sizeof(float));
    cn_kept_rows_norm(&r, 3, 1e-6, gamma, beta, scale, shift);
    for (int c = 0; c < C; c++) {
        double mean = 0, var = 0;

        for (int i = 0; i < H * W; i++)
            mean += x[c * H * W + i] / (double)(H * W);
        for (int i = 0; i < H * W; i++)
            var += pow(x[c * H * W + i] - mean, 2) / (H * W);
        assert_true(fabs(scale[c] - gamma[c] / sqrt(var + 1e-6)) < 1e-5);
        assert_true(fabs(shift[c] - (beta[c] - mean * scale[c])) < 1e-5);
    }
    cn_kept_rows_drop(&r, 15);
    assert_null(r.chunk[0]);
    assert_non_null(r.chunk[1]);
    cn_kept_rows_drop(&r, H);
    assert_int_equal(r.bytes, 0);
    cn_kept_rows_release(&r);
    free(x);
}

static struct crowd *frugal(void)
{
    struct crowd *c = cn_xcalloc(1, sizeof(*c));
    struct cn_engine_opts o = options(c);

    o.vae_memory = 1;
    crowd_open(c, &o);
    return c;
}

/* From a picture, so that both halves of the autoencoder run. */
static struct job *from_a_picture(struct crowd *c)
{
    struct job *j = add_job(c, 3);

    j->spec.init_image = drawing(48);
    j->spec.steps = 4;
    j->spec.n = 2;
    return j;
}

static void pictures_are_the_same(void **state)
{
    struct crowd *usual = crowd_new(), *saving = frugal();
    struct job *a = from_a_picture(usual), *b = from_a_picture(saving);

    (void)state;
    begin(a);
    run_until_over(usual);
    begin(b);
    run_until_over(saving);
    expect_ok(a);
    expect_ok(b);
    for (int i = 0; i < 2; i++)
        assert_true(psnr(&a->image[i], &b->image[i]) > 50);
    crowd_free(usual);
    crowd_free(saving);
}

static void memory_is_counted_and_given_back(void **state)
{
    struct crowd *c = frugal();
    struct job *j = add_job(c, 3), *k;
    size_t before;

    (void)state;
    begin(j);
    run_until_over(c);
    expect_ok(j);
    cn_engine_rest(c->e);
    before = cn_engine_bytes(c->e);
    k = add_job(c, 4);
    begin(k);
    while (!k->over) {
        turn(c);
        if (k->steps == k->spec.steps) /* its last step was this turn's: layers are to come */
            atomic_store(&k->cancel, true);
    }
    assert_int_equal(k->rc, CN_ECANCELED);
    for (int i = 0; i < 1000 && cn_engine_bytes(c->e) != before; i++) {
        turn(c); /* waits for the layer that runs */
        cn_engine_rest(c->e);
    }
    assert_int_equal(cn_engine_bytes(c->e), before);
    crowd_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bands_are_the_whole),
        cmocka_unit_test(what_does_not_fit_is_told),
        cmocka_unit_test(rows_come_back_and_go),
        cmocka_unit_test(pictures_are_the_same),
        cmocka_unit_test(memory_is_counted_and_given_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
