/* Schedules: reference sequences of diffusers 0.35 for SD 1.5 (beta 0.00085 to 0.012, scaled
 * linear, 1000 timesteps, steps_offset 1), and what must hold for every legal combination. */
#include "base/base.h"

#include "diffusion/curve.h"
#include "diffusion/schedule.h"

#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const struct cn_schedule_config sd15 = {
    .train_steps = 1000,
    .beta_start = 0.00085,
    .beta_end = 0.012,
    .beta_schedule = CN_BETA_SCALED_LINEAR,
    .steps_offset = 1,
};

static struct cn_timetable make(enum cn_sampler kind, enum cn_schedule schedule,
                                enum cn_spacing spacing, int steps)
{
    struct cn_sampler_opts o = {kind, schedule, spacing, steps, 1, 0};
    struct cn_timetable t;

    assert_int_equal(cn_timetable_init(&t, &sd15, &o, NULL), CN_OK);
    return t;
}

static void check_timesteps(enum cn_sampler kind, enum cn_schedule schedule,
                            enum cn_spacing spacing, int steps, const float *expect, int n)
{
    struct cn_timetable t = make(kind, schedule, spacing, steps);

    assert_int_equal(t.calls, n);
    for (int i = 0; i < n; i++)
        /* the fractional ones come from float32 logarithms in diffusers, from double ones here */
        if (fabsf(t.timestep[i] - expect[i]) > 0.003f)
            fail_msg("timestep %d is %.4f, not %.4f", i, (double)t.timestep[i], (double)expect[i]);
    cn_timetable_release(&t);
}

#define CHECK_TIMESTEPS(kind, schedule, spacing, steps, ...)                                       \
    do {                                                                                           \
        static const float expect[] = {__VA_ARGS__};                                               \
        check_timesteps(kind, schedule, spacing, steps, expect, (int)CN_LEN(expect));              \
    } while (0)

static void test_timesteps(void **state)
{
    (void)state;
    CHECK_TIMESTEPS(CN_DDIM, CN_SCHEDULE_DEFAULT, CN_LEADING, 20, 951, 901, 851, 801, 751, 701, 651,
                    601, 551, 501, 451, 401, 351, 301, 251, 201, 151, 101, 51, 1);
    CHECK_TIMESTEPS(CN_DDIM, CN_SCHEDULE_DEFAULT, CN_TRAILING, 4, 999, 749, 499, 249);
    CHECK_TIMESTEPS(CN_DDIM, CN_SCHEDULE_DEFAULT, CN_LINSPACE, 5, 999, 749, 500, 250, 0);
    CHECK_TIMESTEPS(CN_PNDM, CN_SCHEDULE_DEFAULT, CN_LEADING, 4, 751, 501, 501, 251, 1);
    CHECK_TIMESTEPS(CN_PNDM, CN_SCHEDULE_DEFAULT, CN_LEADING, 1, 1);
    CHECK_TIMESTEPS(CN_EULER, CN_SCHEDULE_DEFAULT, CN_LINSPACE, 5, 999, 749.25f, 499.5f, 249.75f,
                    0);
    CHECK_TIMESTEPS(CN_HEUN, CN_SCHEDULE_DEFAULT, CN_LEADING, 3, 667, 334, 334, 1, 1);
    CHECK_TIMESTEPS(CN_DPMPP_2M, CN_SCHEDULE_DEFAULT, CN_LINSPACE, 20, 999, 949, 899, 849, 799, 749,
                    699, 649, 599, 549, 500, 450, 400, 350, 300, 250, 200, 150, 100, 50);
    CHECK_TIMESTEPS(CN_UNIPC, CN_SCHEDULE_DEFAULT, CN_LEADING, 3, 751, 501, 251);
    CHECK_TIMESTEPS(CN_LCM, CN_SCHEDULE_DEFAULT, CN_LEADING, 4, 999, 759, 499, 259);
    CHECK_TIMESTEPS(CN_LCM, CN_SCHEDULE_DEFAULT, CN_TRAILING, 8, 999, 879, 759, 639, 499, 379, 259,
                    139);
}

static void test_karras_timesteps(void **state)
{
    (void)state;
    CHECK_TIMESTEPS(CN_EULER, CN_KARRAS, CN_LINSPACE, 20, 999, 961.733f, 921.042f, 876.314f,
                    826.790f, 771.552f, 709.529f, 639.614f, 560.975f, 473.748f, 380.131f, 285.316f,
                    197.079f, 123.394f, 69.256f, 34.697f, 15.481f, 5.992f, 1.783f, 0);
    CHECK_TIMESTEPS(CN_DPMPP_2M, CN_KARRAS, CN_LEADING, 20, 999, 962, 921, 876, 827, 772, 710, 640,
                    561, 474, 380, 285, 197, 123, 69, 35, 15, 6, 2, 0);
}

static void check_sigmas(struct cn_timetable t, const float *expect, int n)
{
    assert_int_equal(t.calls + 1, n);
    for (int i = 0; i < n; i++)
        if (fabsf(t.sigma[i] - expect[i]) > 6e-5f)
            fail_msg("sigma %d is %.5f, not %.5f", i, (double)t.sigma[i], (double)expect[i]);
    cn_timetable_release(&t);
}

static void test_sigmas(void **state)
{
    static const float linspace[] = {14.6146f, 10.7468f, 8.0815f, 6.2049f, 4.8557f, 3.8654f,
                                     3.1238f,  2.5572f,  2.1157f, 1.7648f, 1.4806f, 1.2458f,
                                     1.0481f,  .8784f,   .7297f,  .5964f,  .4736f,  .3555f,
                                     .2322f,   .0292f,   0};
    static const float leading[] = {11.0283f, 8.3907f, 6.5064f, 5.1344f, 4.1167f, 3.3478f, 2.7562f,
                                    2.2929f,  1.9234f, 1.6237f, 1.3762f, 1.1682f, .9904f,  .8357f,
                                    .6984f,   .5741f,  .4583f,  .3462f,  .2281f,  .0413f,  0};
    static const float karras[] = {14.6146f, 11.7254f, 9.3402f, 7.3836f, 5.7894f, 4.4998f, 3.4647f,
                                   2.6408f,  1.9909f,  1.4832f, 1.0908f, .7909f,  .5647f,  .3964f,
                                   .2730f,   .1842f,   .1213f,  .0779f,  .0485f,  .0292f,  0};

    (void)state;
    check_sigmas(make(CN_EULER, CN_SCHEDULE_DEFAULT, CN_LINSPACE, 20), linspace, 21);
    check_sigmas(make(CN_EULER_A, CN_SCHEDULE_DEFAULT, CN_LEADING, 20), leading, 21);
    check_sigmas(make(CN_EULER_A, CN_KARRAS, CN_LINSPACE, 20), karras, 21);
    check_sigmas(make(CN_UNIPC, CN_KARRAS, CN_TRAILING, 20), karras, 21);
}

/* Values of the programs that users compare with (k-diffusion, AUTOMATIC1111, ComfyUI), SD 1.5. */
static void test_curves(void **state)
{
    static const float sgm[] = {14.6146f, 10.9073f, 8.3072f, 6.4477f, 5.0924f};
    static const float sgm_end[] = {.3437f, .2255f, 0};
    static const float simple[] = {14.6146f, 10.9042f, 8.3028f, 6.4430f};
    static const float simple_end[] = {.3417f, .2230f, 0};
    static const float normal[] = {14.6146f, 10.7468f, 8.0815f};
    static const float polyexponential[] = {14.6146f, 7.3249f, 3.6712f, 1.84f,  .9222f, .4622f,
                                            .2317f,   .1161f,  .0582f,  .0292f, 0};
    static const float kl[] = {14.6146f, 6.9957f, 4.5650f, 3.3594f};
    static const float kl_end[] = {.1032f, .0292f};
    static const float timesteps[] = {14.6146f, 11.5428f, 7.3718f, 4.3728f, 2.6152f, 1.6183f,
                                      1.0273f,  .6549f,   .3955f,  .1991f,  0};
    static const float beta[] = {14.6146f, 13.9278f, 12.491f, 10.5976f, 8.4424f, 6.2014f,
                                 4.0462f,  2.1528f,  .716f,   .0292f,   0};
    static const float ays[] = {14.615f, 9.5217f, 6.3012f, 4.8f,   3.7179f, 3.0781f, 2.5489f,
                                2.1115f, 1.7703f, 1.511f,  1.266f, 1.0413f, .8514f,  .6934f,
                                .5441f,  .4202f,  .2658f,  .1599f, .0694f,  .029f,   0};
    static const float ays11[] = {14.615f, 6.475f, 3.861f, 2.697f, 1.886f, 1.396f,
                                  .963f,   .652f,  .399f,  .152f,  .029f,  0};
    static const struct {
        enum cn_schedule schedule;
        int steps, from, n;
        const float *sigma;
    } row[] = {
#define ROW(schedule, steps, from, list) {schedule, steps, from, (int)CN_LEN(list), list}
        ROW(CN_SCHEDULE_SGM_UNIFORM, 20, 0, sgm),
        ROW(CN_SCHEDULE_SGM_UNIFORM, 20, 18, sgm_end),
        ROW(CN_SCHEDULE_SIMPLE, 20, 0, simple),
        ROW(CN_SCHEDULE_SIMPLE, 20, 18, simple_end),
        ROW(CN_SCHEDULE_NORMAL, 20, 0, normal),
        ROW(CN_SCHEDULE_POLYEXPONENTIAL, 10, 0, polyexponential),
        ROW(CN_EXPONENTIAL, 10, 0, polyexponential),
        ROW(CN_SCHEDULE_KL_OPTIMAL, 20, 0, kl),
        ROW(CN_SCHEDULE_KL_OPTIMAL, 20, 19, kl_end),
        ROW(CN_SCHEDULE_BETA_TIMESTEPS, 10, 0, timesteps),
        ROW(CN_SCHEDULE_BETA, 10, 0, beta),
        ROW(CN_SCHEDULE_AYS, 20, 0, ays),
        ROW(CN_SCHEDULE_AYS, 11, 0, ays11),
#undef ROW
    };

    (void)state;
    for (size_t k = 0; k < CN_LEN(row); k++) {
        struct cn_timetable t = make(CN_EULER, row[k].schedule, CN_LINSPACE, row[k].steps);

        for (int i = 0; i < row[k].n; i++)
            if (fabsf(t.sigma[row[k].from + i] - row[k].sigma[i]) > 6e-5f)
                fail_msg("%s: sigma %d is %.5f, not %.5f", cn_enum_schedule.name[row[k].schedule],
                         row[k].from + i, (double)t.sigma[row[k].from + i],
                         (double)row[k].sigma[i]);
        assert_int_equal(t.calls, row[k].steps);
        cn_timetable_release(&t);
    }
    CHECK_TIMESTEPS(CN_DPMPP_2M, CN_SCHEDULE_BETA_TIMESTEPS, CN_LEADING, 10, 999, 959, 876, 765,
                    637, 500, 362, 234, 123, 40);
    CHECK_TIMESTEPS(CN_EULER, CN_SCHEDULE_SGM_UNIFORM, CN_LEADING, 4, 999, 749.25f, 499.5f,
                    249.75f);
    CHECK_TIMESTEPS(CN_EULER_A, CN_SCHEDULE_SIMPLE, CN_LEADING, 4, 999, 749, 499, 249);
}

/* scipy.stats.beta.ppf(p, 0.6, 0.6) */
static void test_beta_quantile(void **state)
{
    static const double row[][2] = {{.05, .01255446}, {.1, .03958441},  {.25, .17568038},
                                    {.5, .5},         {.75, .82431962}, {.9, .96041559},
                                    {.95, .98744554}, {0, 0},           {1, 1}};

    (void)state;
    for (size_t i = 0; i < CN_LEN(row); i++)
        assert_true(fabs(cn_curve_beta_quantile(row[i][0]) - row[i][1]) < 5e-9);
}

/* Near its ends the beta curve stands still: a timestep met twice is one step. */
static void test_beta_steps_are_distinct(void **state)
{
    struct cn_timetable t = make(CN_EULER, CN_SCHEDULE_BETA_TIMESTEPS, CN_LINSPACE, 300);

    (void)state;
    assert_true(t.steps < 300 && t.calls == t.steps);
    for (int i = 0; i < t.calls; i++)
        assert_true(t.sigma[i + 1] < t.sigma[i]);
    cn_timetable_release(&t);
}

static void test_initial_noise(void **state)
{
    struct cn_timetable t = make(CN_EULER, CN_SCHEDULE_DEFAULT, CN_LEADING, 20);

    (void)state;
    assert_true(fabsf(t.init_sigma - 11.073576f) < 1e-5f);
    cn_timetable_release(&t);
    t = make(CN_HEUN, CN_SCHEDULE_DEFAULT, CN_TRAILING, 20);
    assert_true(fabsf(t.init_sigma - 14.614641f) < 1e-5f);
    cn_timetable_release(&t);
    t = make(CN_DPMPP_2M, CN_SCHEDULE_DEFAULT, CN_LEADING, 20);
    assert_true(t.init_sigma == 1);
    cn_timetable_release(&t);
}

/* alphas_cumprod of diffusers, to the bit: a sum over all bits and three entries. */
static void test_abar(void **state)
{
    static const struct {
        enum cn_beta beta;
        double start, end;
        uint32_t sum, at499;
    } row[] = {
        {CN_BETA_SCALED_LINEAR, 0.00085, 0.012, 0x003f1c39, 0x3e8e2ab0},
        {CN_BETA_LINEAR, 0.0001, 0.02, 0x65508604, 0x3da0f258},
        {CN_BETA_COSINE, 0, 0, 0xf9c1e31e, 0x3efcd90d},
    };
    static float abar[1000];

    (void)state;
    for (size_t k = 0; k < CN_LEN(row); k++) {
        struct cn_schedule_config c = sd15;
        uint32_t bits[1000], sum = 0;

        c.beta_schedule = row[k].beta;
        c.beta_start = row[k].start;
        c.beta_end = row[k].end;
        assert_int_equal(cn_schedule_abar(&c, true, abar, NULL), CN_OK);
        memcpy(bits, abar, sizeof(bits));
        for (int i = 0; i < 1000; i++)
            sum += bits[i];
        assert_int_equal(bits[499], row[k].at499);
        assert_int_equal(sum, row[k].sum);
    }
}

static void test_zero_snr(void **state)
{
    struct cn_schedule_config c = sd15;
    struct cn_sampler_opts o = CN_SAMPLER_OPTS_DEFAULTS;
    static float plain[1000], zero[1000];
    struct cn_timetable t;

    (void)state;
    c.rescale_zero_snr = true;
    assert_int_equal(cn_schedule_abar(&c, false, plain, NULL), CN_OK);
    assert_int_equal(cn_schedule_abar(&c, true, zero, NULL), CN_OK);
    assert_true(plain[999] > 0.004f && zero[999] == 0);
    assert_true(fabsf(plain[0] - zero[0]) < 1e-6f);
    /* s = sqrt(abar); (s_t - s_T) s_0 / (s_0 - s_T) */
    double s0 = sqrt((double)plain[0]), sT = sqrt((double)plain[999]), s = sqrt((double)plain[500]);
    assert_true(fabs(sqrt((double)zero[500]) - (s - sT) * s0 / (s0 - sT)) < 1e-6);

    o.spacing = CN_TRAILING;
    assert_int_equal(cn_timetable_init(&t, &c, &o, NULL), CN_OK);
    assert_true(fabsf(t.sigma[0] - 4096) < 0.001f); /* abar clamped to 2^-24 */
    cn_timetable_release(&t);
}

static void test_spacing_rule(void **state)
{
    struct cn_schedule_config c = sd15;

    (void)state;
    assert_int_equal(cn_schedule_spacing(&c, CN_DDIM, CN_SPACING_MODEL), CN_LEADING);
    assert_int_equal(cn_schedule_spacing(&c, CN_PNDM, CN_SPACING_MODEL), CN_LEADING);
    assert_int_equal(cn_schedule_spacing(&c, CN_EULER, CN_SPACING_MODEL), CN_LINSPACE);
    assert_int_equal(cn_schedule_spacing(&c, CN_UNIPC, CN_SPACING_MODEL), CN_LINSPACE);
    c.spacing = CN_TRAILING;
    assert_int_equal(cn_schedule_spacing(&c, CN_DDIM, CN_SPACING_MODEL), CN_TRAILING);
    assert_int_equal(cn_schedule_spacing(&c, CN_DDIM, CN_LEADING), CN_LEADING);
}

/* numpy.arange(1000, 0, -1000/61) has 62 elements, and diffusers then visits timestep -1, where it
 * reads abar[-1]. 62 numbers of steps below 1000 are like that. */
static void test_trailing_61(void **state)
{
    struct cn_timetable t = make(CN_DDIM, CN_SCHEDULE_DEFAULT, CN_TRAILING, 61);

    (void)state;
    assert_int_equal(t.calls, 61);
    assert_true(t.timestep[60] == 15);
    cn_timetable_release(&t);
}

static void test_sigma_to_t(void **state)
{
    static const float table[4] = {0.1f, 0.2f, 0.4f, 0.8f};

    (void)state;
    assert_true(fabs(cn_curve_sigma_to_t(0.4, table, 4) - 2) < 1e-6);
    assert_true(fabs(cn_curve_sigma_to_t(sqrt(0.4 * 0.8), table, 4) - 2.5) < 1e-6);
    assert_true(cn_curve_sigma_to_t(0.01, table, 4) == 0);
    assert_true(cn_curve_sigma_to_t(9, table, 4) == 3);
}

/* Calls of n steps; with kl_optimal the last one ends above 0. */
static int calls_of(const struct cn_timetable *t, enum cn_sampler kind)
{
    switch (kind) {
    case CN_HEUN:
    case CN_DPM2:
    case CN_DPM2_A:
    case CN_DPMPP_2S_A:
    case CN_DPMPP_SDE:
    case CN_RESTART:
        return 2 * t->steps - (t->sigma[t->calls] == 0);
    case CN_HEUNPP2:
        return t->steps < 2 ? 1 : 3 * t->steps - 3;
    case CN_PNDM:
        return t->steps + (t->steps > 1);
    default:
        return t->steps;
    }
}

static void check_shape(const struct cn_timetable *t, enum cn_sampler kind)
{
    for (int i = 0; i < t->calls; i++) {
        assert_true(t->timestep[i] >= 0 && t->timestep[i] <= 1000);
        assert_true(t->sigma == NULL || t->sigma[i] > 0);
        if (i == 0 || kind == CN_HEUNPP2 || kind == CN_RESTART || kind == CN_DPM2_A ||
            kind == CN_DPMPP_2S_A || kind == CN_DPM2)
            continue; /* look ahead, go up again, or round every other timestep */
        assert_true(t->timestep[i] <= t->timestep[i - 1]);
        assert_true(t->sigma == NULL || t->sigma[i] <= t->sigma[i - 1]);
    }
    /* Restart has a Karras curve of its own from 20 steps on */
    if (t->sigma != NULL && !(kind == CN_RESTART && t->steps >= 20))
        assert_true((t->sigma[t->calls] > 0) ==
                    (t->schedule == CN_SCHEDULE_KL_OPTIMAL || kind == CN_DEIS));
    if (t->calls != calls_of(t, kind))
        fail_msg("%s %s: %d calls for %d steps", cn_enum_sampler.name[kind],
                 cn_enum_schedule.name[t->schedule], t->calls, t->steps);
}

/* Every sampler, schedule, spacing and number of steps: a descending table, or an error that names
 * its field. */
static void test_all(void **state)
{
    const char *whole = getenv("CN_WHOLE");
    unsigned tried = 0, of_which = whole != NULL && atoi(whole) != 0 ? 1 : 19;

    (void)state;
    for (int kind = 0; kind < CN_SAMPLER_COUNT; kind++)
        for (int schedule = 0; schedule < CN_SCHEDULE_COUNT; schedule++)
            for (int spacing = 0; spacing < CN_SPACING_COUNT; spacing++)
                for (int steps = 1; steps <= 1000; steps += steps < 70 ? 1 : 31) {
                    struct cn_sampler_opts o = {(enum cn_sampler)kind,
                                                (enum cn_schedule)schedule,
                                                (enum cn_spacing)spacing,
                                                steps,
                                                1,
                                                0};
                    struct cn_err err = CN_ERR_INIT;
                    struct cn_timetable t;

                    if (tried++ % of_which != 0)
                        continue;
                    if (cn_timetable_init(&t, &sd15, &o, &err) < 0) {
                        assert_int_equal(err.code, CN_EINVAL);
                        assert_true(strcmp(err.where, "/steps") == 0 ||
                                    strcmp(err.where, "/schedule") == 0);
                        continue;
                    }
                    check_shape(&t, o.kind);
                    cn_timetable_release(&t);
                }
}

static void check_refused(struct cn_schedule_config c, struct cn_sampler_opts o, int code,
                          const char *where)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_timetable t;

    assert_int_equal(cn_timetable_init(&t, &c, &o, &err), code);
    assert_string_equal(err.where, where);
    assert_true(err.msg[0] != '\0');
}

static void test_refusals(void **state)
{
    struct cn_sampler_opts o = CN_SAMPLER_OPTS_DEFAULTS;
    struct cn_schedule_config c = sd15;

    (void)state;
    o.steps = 0;
    check_refused(sd15, o, CN_EINVAL, "/steps");
    o.steps = 2147483647;
    check_refused(sd15, o, CN_EINVAL, "/steps");
    o = (struct cn_sampler_opts){.kind = CN_DDIM, .schedule = CN_KARRAS, .steps = 20};
    check_refused(sd15, o, CN_EINVAL, "/schedule");
    o = (struct cn_sampler_opts){.kind = CN_LCM, .steps = 51};
    check_refused(sd15, o, CN_EINVAL, "/steps");
    o = (struct cn_sampler_opts){.kind = CN_UNIPC, .spacing = CN_LEADING, .steps = 1000};
    check_refused(sd15, o, CN_EINVAL, "/steps");
    o = (struct cn_sampler_opts){.kind = CN_LCM, .steps = 4};
    c.train_steps = 40;
    check_refused(c, o, CN_EINVAL, "/sampler");
    c.train_steps = 1;
    check_refused(c, o, CN_EFORMAT, "");
    c.train_steps = 2147483647;
    check_refused(c, o, CN_EFORMAT, "");
    c = sd15;
    c.beta_end = NAN;
    check_refused(c, o, CN_EFORMAT, "");
    c.beta_end = 0.999; /* the product underflows: no signal is left */
    c.beta_start = 0.9;
    check_refused(c, o, CN_EFORMAT, "");
    c.beta_end = c.beta_start = 1e-12; /* 1 - beta is 1 in float: no noise */
    check_refused(c, o, CN_EFORMAT, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_timesteps),
        cmocka_unit_test(test_karras_timesteps),
        cmocka_unit_test(test_sigmas),
        cmocka_unit_test(test_initial_noise),
        cmocka_unit_test(test_curves),
        cmocka_unit_test(test_beta_quantile),
        cmocka_unit_test(test_beta_steps_are_distinct),
        cmocka_unit_test(test_abar),
        cmocka_unit_test(test_zero_snr),
        cmocka_unit_test(test_spacing_rule),
        cmocka_unit_test(test_trailing_61),
        cmocka_unit_test(test_sigma_to_t),
        cmocka_unit_test(test_all),
        cmocka_unit_test(test_refusals),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
