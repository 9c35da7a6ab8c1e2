/* Samplers without reference data: what must hold for all of them. test_golden.c compares their
 * trajectories with diffusers. */
#include "base/base.h"

#include "diffusion/sampler.h"

#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { N = 16 };

static const struct cn_schedule_config sd15 = {
    .train_steps = 1000,
    .beta_start = 0.00085,
    .beta_end = 0.012,
    .beta_schedule = CN_BETA_SCALED_LINEAR,
    .steps_offset = 1,
};

static struct cn_sampler_state *make(const struct cn_schedule_config *c,
                                     const struct cn_sampler_opts *o)
{
    struct cn_sampler_state *s;
    struct cn_err err = CN_ERR_INIT;

    if (cn_sampler_new(c, o, N, &s, &err) < 0)
        fail_msg("%s %d steps: %s", cn_enum_sampler.name[o->kind], o->steps, err.msg);
    return s;
}

/* A bounded answer, as of a network that knows nothing. */
static void any_network(const float *x, float t, float *ret)
{
    for (int i = 0; i < N; i++)
        ret[i] = sinf(x[i] + t / 100 + (float)i);
}

/* The perfect network for one picture x0 in VP coordinates: what it must say so that x is a mixture
 * of x0 and noise. */
static void perfect_network(const struct cn_schedule_config *c, const float *abar, const float *x0,
                            const float *in, float t, float *ret)
{
    int low = CN_MIN((int)t, c->train_steps - 1), high = CN_MIN(low + 1, c->train_steps - 1);
    double w = (double)t - low;
    double a = (double)abar[low], b = (double)abar[high];
    double sigma = (1 - w) * sqrt((1 - a) / a) + w * sqrt((1 - b) / b); /* linear, as diffusers */
    double signal = 1 / sqrt(sigma * sigma + 1), noise = sigma * signal;

    for (int i = 0; i < N; i++) {
        double eps = ((double)in[i] - signal * (double)x0[i]) / noise;

        if (c->prediction == CN_PREDICT_V)
            eps = signal * eps - noise * (double)x0[i];
        ret[i] = (float)eps;
    }
}

/* Whoever is asked always for the same picture must arrive there: exactly where the last noise
 * level is 0, within the last level's noise otherwise (DDIM and PNDM end at abar_0). */
static double arrive(const struct cn_schedule_config *c, const struct cn_sampler_opts *o)
{
    struct cn_sampler_state *s = make(c, o), *ahead = make(c, o); /* ahead never moves */
    float *abar = malloc((size_t)c->train_steps * sizeof(*abar));
    float x0[N], x[N], in[N], out[N], seen[N];
    struct cn_noise z;
    double worst = 0;

    assert_int_equal(cn_schedule_abar(c, false, abar, NULL), CN_OK);
    cn_noise_init(&z, CN_RNG_CPU, 5);
    cn_noise_normal(&z, N, x0);
    cn_noise_normal(&z, N, in);
    cn_sampler_add_noise(s, x0, in, x);
    while (!cn_sampler_done(s)) {
        cn_sampler_scale_input(s, x, in);
        assert_true(cn_sampler_timestep_at(ahead, cn_sampler_call(s)) == cn_sampler_timestep(s));
        perfect_network(c, abar, x0, in, cn_sampler_timestep(s), out);
        cn_sampler_x0(s, x, out, seen);
        for (int i = 0; i < N; i++)
            assert_true(fabsf(seen[i] - x0[i]) < 0.02f);
        assert_int_equal(cn_sampler_advance(s, x, out, &z), CN_OK);
    }
    for (int i = 0; i < N; i++)
        worst = fmax(worst, fabs((double)x[i] - (double)x0[i]));
    cn_sampler_free(s);
    cn_sampler_free(ahead);
    free(abar);
    return worst;
}

static void test_perfect_network(void **state)
{
    (void)state;
    for (int kind = 0; kind < CN_SAMPLER_COUNT; kind++)
        for (int v = 0; v < 2; v++)
            for (int denoise = 1; denoise <= 2; denoise++) {
                struct cn_schedule_config c = sd15;
                struct cn_sampler_opts o = {.kind = (enum cn_sampler)kind,
                                            .spacing = CN_LEADING,
                                            .steps = 20,
                                            .denoise = 1.0 / denoise};
                /* PNDM's improved start repeats a step from img2img's second timestep, and so ends
                 * one step early: diffusers does the same */
                bool ends_noisy = kind == CN_DDIM || kind == CN_PNDM || kind == CN_LCM ||
                                  kind == CN_DEIS || kind == CN_TCD;

                c.prediction = v != 0 ? CN_PREDICT_V : CN_PREDICT_EPSILON;
                double worst = arrive(&c, &o);
                if (worst > (ends_noisy ? kind == CN_PNDM ? 0.7 : 0.15 : 1e-4))
                    fail_msg("%s misses by %g", cn_enum_sampler.name[kind], worst);
            }
}

/* Draws exactly as often as diffusers: afterwards the generator stands where it should. */
static void check_draws(enum cn_sampler kind, double eta, int expect)
{
    struct cn_sampler_opts o = {.kind = kind, .steps = 6, .denoise = 1, .eta = eta};
    struct cn_sampler_state *s = make(&sd15, &o);
    struct cn_noise used, counted;
    float x[N] = {0}, out[N] = {0}, a[N], b[N];

    assert_true(cn_sampler_is_random(s) == (expect > 0));
    cn_noise_init(&used, CN_RNG_CPU, 1);
    cn_noise_init(&counted, CN_RNG_CPU, 1);
    while (!cn_sampler_done(s))
        assert_int_equal(cn_sampler_advance(s, x, out, &used), CN_OK);
    for (int i = 0; i < expect; i++)
        cn_noise_normal(&counted, N, b);
    cn_noise_normal(&used, N, a);
    cn_noise_normal(&counted, N, b);
    assert_memory_equal(a, b, sizeof(a));
    cn_sampler_free(s);
}

static void test_draws(void **state)
{
    (void)state;
    check_draws(CN_DDIM, 0, 0);
    check_draws(CN_DDIM, 0.5, 6);
    check_draws(CN_EULER, 0.5, 0);
    check_draws(CN_EULER_A, 0, 6);
    check_draws(CN_DPMPP_2M, 0, 0);
    check_draws(CN_DPMPP_2M_SDE, 0, 6);
    check_draws(CN_UNIPC, 0, 0);
    check_draws(CN_HEUN, 0, 0);
    check_draws(CN_PNDM, 0, 0);
    check_draws(CN_LCM, 0, 5);
    check_draws(CN_TCD, 0, 5);
    check_draws(CN_DPMPP_SDE, 0, 10);
    check_draws(CN_DPMPP_2M_SDE_HEUN, 0, 6);
    check_draws(CN_DPMPP_3M_SDE, 0, 5);
    check_draws(CN_DPMPP_2S_A, 0, 5);
    check_draws(CN_DPM2, 0, 0);
    check_draws(CN_DPM2_A, 0, 5);
    check_draws(CN_LMS, 0, 0);
    check_draws(CN_HEUNPP2, 0, 0);
    check_draws(CN_DEIS, 0, 0);
    check_draws(CN_RESTART, 0, 0); /* of less than 20 steps */
    check_draws(CN_EULER_CFGPP, 0, 0);
}

static void run(const struct cn_schedule_config *c, const struct cn_sampler_opts *o)
{
    struct cn_sampler_state *s;
    struct cn_noise z;
    struct cn_err err = CN_ERR_INIT;
    float x[N], in[N], out[N], kept[N];

    if (cn_sampler_new(c, o, N, &s, &err) < 0) {
        assert_int_equal(err.code, CN_EINVAL);
        assert_true(err.where[0] == '/');
        return;
    }
    cn_noise_init(&z, CN_RNG_CPU, 11);
    cn_noise_normal(&z, N, x);
    for (int i = 0; i < N; i++)
        x[i] *= cn_sampler_init_sigma(s);
    while (!cn_sampler_done(s)) {
        cn_sampler_scale_input(s, x, in);
        any_network(in, cn_sampler_timestep(s), out);
        assert_int_equal(cn_sampler_advance(s, x, out, &z), CN_OK);
        cn_sampler_add_noise(s, in, out, kept);
        for (int i = 0; i < N; i++)
            if (!isfinite(x[i]) || !isfinite(kept[i]))
                fail_msg("%s %s %s, %d steps, call %d: not finite", cn_enum_sampler.name[o->kind],
                         cn_enum_schedule.name[o->schedule], cn_enum_spacing.name[o->spacing],
                         o->steps, cn_sampler_call(s));
    }
    assert_memory_equal(kept, in, sizeof(kept)); /* after the last call: clean */
    assert_int_equal(cn_sampler_advance(s, x, out, &z), CN_EINTERNAL);
    cn_sampler_free(s);
}

/* Numbers of steps: the small ones, those where numpy counts one too many, and the ends. */
static const int steps_tried[] = {1,  2,  3,  4,  5,  6,   7,   10,  13,  16,  20,  25,
                                  30, 49, 50, 51, 61, 103, 333, 500, 501, 999, 1000};

/* One of so many combinations is run: all where CN_WHOLE says so. */
static unsigned tried, of_which = 31;

static void run_all(const struct cn_schedule_config *c, struct cn_sampler_opts o)
{
    static const double denoise[] = {1, 0.75, 0.3, 0.01};
    static const double eta[] = {0, 1};

    for (size_t i = 0; i < CN_LEN(steps_tried); i++)
        for (size_t d = 0; d < (steps_tried[i] < 100 ? CN_LEN(denoise) : 1); d++)
            for (size_t e = 0; e < (o.kind == CN_DDIM ? CN_LEN(eta) : 1); e++) {
                o.steps = steps_tried[i];
                o.denoise = denoise[d];
                o.eta = eta[e];
                if (tried++ % of_which == 0)
                    run(c, &o);
            }
}

/* Never a NaN, for everything a request and a model file can combine. */
static void test_always_finite(void **state)
{
    const char *whole = getenv("CN_WHOLE");

    (void)state;
    if (whole != NULL && atoi(whole) != 0)
        of_which = 1;
    for (int kind = 0; kind < CN_SAMPLER_COUNT; kind++)
        for (int schedule = 0; schedule < CN_SCHEDULE_COUNT; schedule++)
            for (int spacing = 1; spacing < CN_SPACING_COUNT; spacing++)
                for (int model = 0; model < 8; model++) {
                    struct cn_schedule_config c = sd15;
                    struct cn_sampler_opts o = {.kind = (enum cn_sampler)kind,
                                                .schedule = (enum cn_schedule)schedule,
                                                .spacing = (enum cn_spacing)spacing};

                    c.prediction = (model & 1) != 0 ? CN_PREDICT_V : CN_PREDICT_EPSILON;
                    c.rescale_zero_snr = (model & 2) != 0;
                    c.beta_schedule = (model & 4) != 0 ? CN_BETA_COSINE : CN_BETA_SCALED_LINEAR;
                    c.set_alpha_to_one = (model & 4) != 0;
                    run_all(&c, o);
                }
}

static void test_img2img_cut(void **state)
{
    struct cn_sampler_opts o = {.kind = CN_DDIM, .steps = 20, .denoise = 0.75};
    struct cn_sampler_state *s = make(&sd15, &o);
    struct cn_err err = CN_ERR_INIT;

    (void)state;
    assert_int_equal(cn_sampler_calls(s), 15);
    assert_int_equal(cn_sampler_call(s), 0);
    assert_true(cn_sampler_timestep(s) == 701);
    cn_sampler_free(s);
    o.kind = CN_HEUN;
    s = make(&sd15, &o);
    assert_int_equal(cn_sampler_calls(s), 29);
    cn_sampler_free(s);
    o.kind = CN_PNDM;
    s = make(&sd15, &o);
    assert_int_equal(cn_sampler_calls(s), 16);
    cn_sampler_free(s);
    static const struct {
        enum cn_sampler kind;
        int calls;
    } cut[] = {{CN_DPM2, 29},    {CN_DPMPP_SDE, 29}, {CN_DPMPP_2S_A, 29}, {CN_HEUNPP2, 42},
               {CN_RESTART, 29}, {CN_LMS, 15},       {CN_DEIS, 15},       {CN_TCD, 15}};
    for (size_t i = 0; i < CN_LEN(cut); i++) {
        o.kind = cut[i].kind;
        s = make(&sd15, &o);
        assert_int_equal(cn_sampler_calls(s), cut[i].calls);
        cn_sampler_free(s);
    }
    o.kind = CN_PNDM;
    o.denoise = 0.04;
    assert_int_equal(cn_sampler_new(&sd15, &o, N, &s, &err), CN_EINVAL);
    assert_string_equal(err.where, "/denoise");
    assert_string_equal(err.msg, "0.04 of 20 steps is less than one step: use at least 25 steps");
}

/* Noise levels: x0 + sigma z for Euler, sqrt(abar) x0 + sqrt(1 - abar) z for the others. */
static void test_noise_at(void **state)
{
    struct cn_sampler_opts o = CN_SAMPLER_OPTS_DEFAULTS;
    struct cn_sampler_state *s;
    float x0[N], z[N], ret[N];

    (void)state;
    o.kind = CN_EULER;
    s = make(&sd15, &o);
    for (int i = 0; i < N; i++) {
        x0[i] = 1;
        z[i] = (float)i;
    }
    cn_sampler_add_noise(s, x0, z, ret);
    assert_true(fabsf(ret[2] - (1 + 2 * 14.614641f)) < 1e-4f);
    cn_sampler_noise_at(s, 20, x0, z, ret);
    assert_memory_equal(ret, x0, sizeof(ret));
    cn_sampler_free(s);
    o.kind = CN_DDIM;
    o.spacing = CN_LINSPACE;
    s = make(&sd15, &o);
    cn_sampler_noise_at(s, 0, x0, z, ret);
    assert_true(fabs((double)ret[3] - (sqrt(0.0046600983) + 3 * sqrt(1 - 0.0046600983))) < 1e-6);
    cn_sampler_free(s);
}

static void test_refusals(void **state)
{
    struct cn_schedule_config c = sd15;
    struct cn_sampler_opts o = {.kind = CN_LCM, .steps = 4, .denoise = 1};
    struct cn_sampler_state *s = NULL;
    struct cn_err err = CN_ERR_INIT;
    float x[N] = {0};

    (void)state;
    c.rescale_zero_snr = true;
    assert_int_equal(cn_sampler_new(&c, &o, N, &s, &err), CN_EINVAL);
    assert_string_equal(err.where, "/sampler");
    o.kind = (enum cn_sampler)77;
    assert_int_equal(cn_sampler_new(&c, &o, N, &s, NULL), CN_EINVAL);
    o.kind = CN_EULER;
    o.denoise = NAN;
    assert_int_equal(cn_sampler_new(&c, &o, N, &s, NULL), CN_EINVAL);
    o.denoise = 1;
    assert_int_equal(cn_sampler_new(&c, &o, SIZE_MAX / 2, &s, NULL), CN_OK); /* needs no memory */
    cn_sampler_free(s);
    s = NULL;
    o.kind = CN_PNDM;
    assert_int_equal(cn_sampler_new(&c, &o, SIZE_MAX / 2, &s, NULL), CN_ENOMEM);
    assert_null(s);
    o.kind = CN_EULER_A;
    s = make(&c, &o);
    assert_int_equal(cn_sampler_advance(s, x, x, NULL), CN_EINTERNAL);
    assert_int_equal(cn_sampler_call(s), 0);
    cn_sampler_free(s);
    cn_sampler_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_perfect_network), cmocka_unit_test(test_draws),
        cmocka_unit_test(test_always_finite),   cmocka_unit_test(test_img2img_cut),
        cmocka_unit_test(test_noise_at),        cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
