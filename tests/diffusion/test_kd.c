/* Samplers by numbers: a network that is known, every draw of noise 1, and where two samples end.
 *
 * The values were computed in double with k-diffusion and the programs around it, and with
 * diffusers 0.35 for DEIS and TCD, whose tables are float32. */
#include "base/base.h"

#include "diffusion/sampler_priv.h"
#include "diffusion/schedule_priv.h"

#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { N = 2, STEPS = 6 };

static const struct cn_schedule_config sd15 = {
    .train_steps = 1000,
    .beta_start = 0.00085,
    .beta_end = 0.012,
    .beta_schedule = CN_BETA_SCALED_LINEAR,
    .steps_offset = 1,
};

static const float ones[N] = {1, 1};

static struct cn_sampler_state *make(const struct cn_schedule_config *c,
                                     const struct cn_sampler_opts *o)
{
    struct cn_sampler_state *s;
    struct cn_err err = CN_ERR_INIT;

    if (cn_sampler_new(c, o, N, &s, &err) < 0)
        fail_msg("%s: %s", cn_enum_sampler.name[o->kind], err.msg);
    return s;
}

/* Puts the six steps of the check values in place of the schedule's. */
static void set_levels(struct cn_sampler_state *s)
{
    static const double level[STEPS + 1] = {14.6146, 7, 3, 1.5, 0.7, 0.2, 0};
    struct cn_visit v[STEPS + 1], work[2 * STEPS + 3];
    float *table = malloc(sizeof(*table) * (size_t)s->t.train_steps);

    for (int i = 0; i < s->t.train_steps; i++)
        table[i] = sqrtf((1 - s->t.abar[i]) / s->t.abar[i]);
    for (int i = 0; i <= STEPS; i++)
        v[i] = (struct cn_visit){level[i], 0};
    s->t.calls = 0;
    cn_timetable_follow(&s->t, s->kind, v, STEPS, table, work);
    free(table);
}

/* The answer (epsilon) that means the picture tanh((X + shift) / sqrt(1 + sigma^2)); x in the
 * sampler's own coordinates. */
static void toy(const struct cn_sampler_state *s, const float *x, double shift, float *out)
{
    double sigma = (double)s->t.sigma[s->at], root = sqrt(1 + sigma * sigma);
    double scale = s->method->mix == cn_sampler_mix_dpm ? root : 1;

    for (int i = 0; i < N; i++) {
        double X = (double)x[i] * scale;

        out[i] = (float)((X - tanh((X + shift) / root)) / sigma);
    }
}

static void run_toy(struct cn_sampler_state *s, float *x)
{
    float out[N], uncond[N];

    if (s->method->mix == cn_sampler_mix_dpm)
        for (int i = 0; i < N; i++)
            x[i] /= sqrtf(1 + s->t.sigma[0] * s->t.sigma[0]);
    while (!cn_sampler_done(s)) {
        toy(s, x, 0, out);
        if (s->kind == CN_EULER_CFGPP) {
            memcpy(uncond, out, sizeof(out));
            toy(s, x, 1, out);
            for (int i = 0; i < N; i++)
                out[i] = uncond[i] + 0.6f * (out[i] - uncond[i]);
            s->uncond = uncond;
        }
        s->method->advance(s, x, out, ones);
        s->at++;
    }
}

static void expect(const struct cn_sampler_state *s, const float *x, double a, double b,
                   double tolerance)
{
    if (fabs((double)x[0] - a) > tolerance || fabs((double)x[1] - b) > tolerance)
        fail_msg("%s ends at %.8f and %.8f, not at %.8f and %.8f", cn_enum_sampler.name[s->kind],
                 (double)x[0], (double)x[1], a, b);
}

static void samplers_end_where_they_should(void **state)
{
    static const struct {
        enum cn_sampler kind;
        double a, b;
        int calls;
    } row[] = {
        {CN_EULER, 0.76269199, -0.46723139, 6},
        {CN_HEUN, 0.72357021, -0.48740577, 11},
        {CN_DPM2, 0.74554998, -0.49298718, 11},
        {CN_LMS, 0.73724488, -0.47898047, 6},
        {CN_HEUNPP2, 0.76271353, -0.47303436, 15},
        {CN_DPMPP_2M, 0.76476598, -0.50059587, 6},
        {CN_EULER_A, 0.83313491, 0.82775641, 6},
        {CN_DPM2_A, 0.72000097, 0.71312510, 11},
        {CN_DPMPP_2S_A, 0.80565027, 0.79992876, 11},
        {CN_DPMPP_SDE, 0.82401860, 0.82131430, 11},
        {CN_DPMPP_2M_SDE, 0.83065478, 0.83062956, 6},
        {CN_DPMPP_2M_SDE_HEUN, 0.82957944, 0.83045578, 6},
        {CN_DPMPP_3M_SDE, 0.81962525, 0.80667078, 6},
        {CN_EULER_CFGPP, 0.90356867, 0.63687594, 6},
    };

    (void)state;
    for (size_t i = 0; i < CN_LEN(row); i++) {
        struct cn_sampler_opts o = {.kind = row[i].kind, .steps = STEPS, .denoise = 1};
        struct cn_sampler_state *s = make(&sd15, &o);
        float x[N] = {14.6146f, -5};

        set_levels(s);
        assert_int_equal(cn_sampler_calls(s), row[i].calls);
        run_toy(s, x);
        expect(s, x, row[i].a, row[i].b, 3e-6);
        cn_sampler_free(s);
    }
}

static void restart_goes_up_again(void **state)
{
    static const float level[] = {14.6146f, 9.5582f, 6.0821f, 3.7512f, 2.2322f, 1.2741f, .6926f,
                                  .3552f,   .1698f,  2.2322f, 1.6438f, 1.1937f, .8537f,  .6003f,
                                  .4143f,   .2801f,  .185f,   .119f,   .0744f,  .0292f};
    static const struct {
        int steps, calls, draws;
        double a, b;
    } row[] = {{20, 39, 1, 0.59595700, 0.51830698}, {40, 79, 2, 0.60944372, 0.59782030}};

    (void)state;
    for (size_t i = 0; i < CN_LEN(row); i++) {
        struct cn_sampler_opts o = {
            .kind = CN_RESTART, .schedule = CN_KARRAS, .steps = row[i].steps, .denoise = 1};
        struct cn_sampler_state *s = make(&sd15, &o);
        float x[N] = {14.6146f, -5};
        int rises = 0;

        assert_int_equal(cn_sampler_calls(s), row[i].calls);
        assert_true(cn_sampler_is_random(s));
        for (int k = 0; k < row[i].calls; k++)
            rises += s->t.sigma[k + 1] > s->t.sigma[k];
        assert_int_equal(rises, row[i].draws);
        for (size_t k = 0; row[i].steps == 20 && k < CN_LEN(level); k++)
            if (fabsf(s->t.sigma[2 * k] - level[k]) > 1e-4f) /* they are cut off */
                fail_msg("level %zu is %.5f", k, (double)s->t.sigma[2 * k]);
        run_toy(s, x);
        expect(s, x, row[i].a, row[i].b, 1e-5);
        cn_sampler_free(s);
    }
}

/* epsilon(x, t) = sin(x + t / 500) */
static void follow_sine(struct cn_sampler_state *s, float *x)
{
    float out[N];

    while (!cn_sampler_done(s)) {
        for (int i = 0; i < N; i++)
            out[i] = (float)sin((double)x[i] + (double)cn_sampler_timestep(s) / 500);
        s->method->advance(s, x, out, ones);
        s->at++;
    }
}

static void deis_and_tcd_end_where_they_should(void **state)
{
    static const struct {
        enum cn_sampler kind;
        int order, steps;
        double a, b;
    } row[] = {
        {CN_DEIS, 2, 10, 7.84216, -4.70851},
        {CN_DEIS, 3, 10, 7.83751, -4.86611},
        {CN_TCD, 0, 4, 22.20915, -10.36331},
    };

    (void)state;
    for (size_t i = 0; i < CN_LEN(row); i++) {
        struct cn_schedule_config c = sd15;
        struct cn_sampler_opts o = {
            .kind = row[i].kind, .spacing = CN_LEADING, .steps = row[i].steps, .denoise = 1};
        float x[N] = {1, -0.4f};

        c.solver.order = row[i].order;
        struct cn_sampler_state *s = make(&c, &o);
        follow_sine(s, x);
        expect(s, x, row[i].a, row[i].b, 3e-4);
        cn_sampler_free(s);
    }
}

/* CFG++ without a second row is Euler. */
static void cfgpp_without_guidance_is_euler(void **state)
{
    float end[2][N];

    (void)state;
    for (int k = 0; k < 2; k++) {
        struct cn_sampler_opts o = {
            .kind = k == 0 ? CN_EULER : CN_EULER_CFGPP, .steps = 7, .denoise = 1};
        struct cn_sampler_state *s = make(&sd15, &o);
        float x[N] = {3, -2}, out[N];

        while (!cn_sampler_done(s)) {
            toy(s, x, 0, out);
            assert_int_equal(cn_sampler_advance(s, x, out, NULL), CN_OK);
        }
        memcpy(end[k], x, sizeof(x));
        cn_sampler_free(s);
    }
    for (int i = 0; i < N; i++)
        assert_true(fabsf(end[0][i] - end[1][i]) < 1e-5f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samplers_end_where_they_should),
        cmocka_unit_test(restart_goes_up_again),
        cmocka_unit_test(deis_and_tcd_end_where_they_should),
        cmocka_unit_test(cfgpp_without_guidance_is_euler),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
