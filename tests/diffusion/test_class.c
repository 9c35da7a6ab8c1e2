/* What each class of sampler makes of a model's scheduler_config.json. Values are diffusers 0.35's;
 * test_golden.c compares whole trajectories. */
#include "base/base.h"

#include "diffusion/sampler.h"
#include "diffusion/schedule.h"

#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static const struct cn_schedule_config sd15 = {
    .train_steps = 1000,
    .beta_start = 0.00085,
    .beta_end = 0.012,
    .beta_schedule = CN_BETA_SCALED_LINEAR,
    .steps_offset = 1,
};

static struct cn_timetable make(const struct cn_schedule_config *c, enum cn_sampler kind, int steps)
{
    struct cn_sampler_opts o = {.kind = kind, .steps = steps, .denoise = 1};
    struct cn_timetable t;
    struct cn_err err = CN_ERR_INIT;

    if (cn_timetable_init(&t, c, &o, &err) < 0)
        fail_msg("%s", err.msg);
    return t;
}

/* A file of which nothing but the number of timesteps is known. */
static void absent_keys_are_those_of_the_class_in_use(void **state)
{
    static const struct {
        enum cn_sampler kind;
        double start, end;
        enum cn_beta betas;
        bool one, clip, prk;
    } row[] = {
        {CN_DDIM, 0.0001, 0.02, CN_BETA_LINEAR, true, true, false},
        {CN_PNDM, 0.0001, 0.02, CN_BETA_LINEAR, false, false, true},
        {CN_LCM, 0.00085, 0.012, CN_BETA_SCALED_LINEAR, true, false, false},
        {CN_HEUN, 0.00085, 0.012, CN_BETA_LINEAR, false, false, false},
        {CN_EULER, 0.0001, 0.02, CN_BETA_LINEAR, false, false, false},
        {CN_DPMPP_2M, 0.0001, 0.02, CN_BETA_LINEAR, false, false, false},
    };
    struct cn_schedule_config c = sd15;

    (void)state;
    c.absent = CN_KEY_BETA_START | CN_KEY_BETA_END | CN_KEY_BETA_SCHEDULE | CN_KEY_ALPHA_TO_ONE |
               CN_KEY_CLIP_SAMPLE | CN_KEY_SKIP_PRK;
    for (size_t i = 0; i < CN_LEN(row); i++) {
        struct cn_timetable t = make(&c, row[i].kind, 10);

        assert_true(t.config.beta_start == row[i].start && t.config.beta_end == row[i].end);
        assert_int_equal(t.config.beta_schedule, row[i].betas);
        assert_int_equal(t.final_abar == 1, row[i].one);
        assert_int_equal(t.config.clip_sample, row[i].clip);
        assert_int_equal(t.config.prk_steps, row[i].prk);
        cn_timetable_release(&t);
    }
}

/* default follows the file where the class has the key; a request's own schedule comes first. */
static void the_file_chooses_the_curve(void **state)
{
    static const struct {
        enum cn_file_sigmas sigmas;
        enum cn_schedule schedule;
    } row[] = {
        {CN_SIGMAS_KARRAS, CN_KARRAS},
        {CN_SIGMAS_EXPONENTIAL, CN_EXPONENTIAL},
        {CN_SIGMAS_BETA, CN_SCHEDULE_BETA},
        {CN_SIGMAS_OF_TIMESTEPS, CN_SCHEDULE_DEFAULT},
    };
    static const enum cn_sampler reads[] = {CN_EULER, CN_HEUN, CN_DPMPP_2M, CN_DPMPP_2M_SDE,
                                            CN_UNIPC};
    struct cn_schedule_config c = sd15;

    (void)state;
    for (size_t i = 0; i < CN_LEN(row); i++) {
        c.solver.sigmas = row[i].sigmas;
        for (size_t k = 0; k < CN_LEN(reads); k++) {
            struct cn_sampler_opts o = {reads[k], row[i].schedule, CN_SPACING_MODEL, 12, 1, 0};
            struct cn_timetable t = make(&c, reads[k], 12), asked;

            assert_int_equal(cn_timetable_init(&asked, &sd15, &o, NULL), CN_OK);
            assert_int_equal(t.schedule, row[i].schedule);
            assert_memory_equal(t.sigma, asked.sigma, (size_t)(t.calls + 1) * sizeof(float));
            assert_memory_equal(t.timestep, asked.timestep, (size_t)t.calls * sizeof(float));
            cn_timetable_release(&t);
            o.schedule = CN_SCHEDULE_SIMPLE;
            cn_timetable_release(&asked);
            assert_int_equal(cn_timetable_init(&t, &c, &o, NULL), CN_OK);
            assert_int_equal(t.schedule, CN_SCHEDULE_SIMPLE);
            cn_timetable_release(&t);
        }
        /* EulerAncestralDiscreteScheduler and the samplers of timesteps have no such key */
        struct cn_timetable t = make(&c, CN_EULER_A, 12);
        assert_int_equal(t.schedule, CN_SCHEDULE_DEFAULT);
        cn_timetable_release(&t);
    }
}

static void ends_and_bounds(void **state)
{
    struct cn_schedule_config c = sd15;
    struct cn_timetable t;

    (void)state;
    c.solver.ends_at_sigma_min = true;
    t = make(&c, CN_EULER, 10);
    assert_true(fabsf(t.sigma[10] - 0.0291672f) < 1e-6f);
    cn_timetable_release(&t);
    t = make(&c, CN_HEUN, 10); /* whose class has no such key */
    assert_true(t.calls == 19 && t.sigma[19] == 0);
    cn_timetable_release(&t);
    c.solver.sigmas = CN_SIGMAS_KARRAS;
    c.solver.sigma_min = 0.1;
    c.solver.sigma_max = 10;
    t = make(&c, CN_EULER, 10);
    assert_true(fabsf(t.sigma[0] - 10) < 1e-5f && fabsf(t.sigma[9] - 0.1f) < 1e-6f);
    assert_true(fabsf(t.init_sigma - 10) < 1e-5f);
    cn_timetable_release(&t);
    t = make(&c, CN_UNIPC, 10); /* repeats its last level; has the bounds from the file alone */
    assert_true(t.sigma[10] == t.sigma[9] && fabsf(t.sigma[9] - 0.1f) < 1e-6f);
    cn_timetable_release(&t);
    t = make(&c, CN_LMS, 10); /* whose Karras curve has none */
    assert_true(fabsf(t.sigma[9] - 0.0291672f) < 1e-6f);
    cn_timetable_release(&t);
    c.solver.sigmas = CN_SIGMAS_EXPONENTIAL;
    t = make(&c, CN_LMS, 10);
    assert_true(fabsf(t.sigma[0] - 10) < 1e-5f && fabsf(t.sigma[9] - 0.1f) < 1e-6f);
    cn_timetable_release(&t);
}

/* lambda is -1.0 at timestep 682 of SD 1.5: searchsorted leaves 682 timesteps or so. */
static void lambda_min_clipped_cuts_the_timesteps(void **state)
{
    struct cn_schedule_config c = sd15;
    struct cn_timetable t;

    (void)state;
    c.solver.clips_lambda = true;
    c.solver.lambda_min = -1e308;
    t = make(&c, CN_DPMPP_2M, 10);
    assert_true(t.timestep[0] == 999);
    cn_timetable_release(&t);
    c.solver.lambda_min = -1;
    t = make(&c, CN_DPMPP_2M, 10);
    /* sigma = e */
    assert_true(t.sigma[0] <= expf(1) && t.sigma[0] > expf(1) - 0.02f);
    cn_timetable_release(&t);
    c.spacing = CN_TRAILING;
    t = make(&c, CN_DPMPP_2M, 10);
    assert_true(t.calls < 10 && t.timestep[t.calls - 1] >= 0);
    cn_timetable_release(&t);
}

static void what_is_not_done_is_refused_by_key(void **state)
{
    struct cn_schedule_config c = sd15;
    struct cn_sampler_opts o = CN_SAMPLER_OPTS_DEFAULTS;
    struct cn_timetable t;
    struct cn_err err = CN_ERR_INIT;

    (void)state;
    c.solver.undone = 1u << CN_UNDONE_ALGORITHM;
    assert_int_equal(cn_timetable_init(&t, &c, &o, &err), CN_EINVAL);
    assert_string_equal(err.where, "/sampler");
    assert_non_null(strstr(err.msg, "\"algorithm_type\": \"dpmsolver\""));
    t = make(&c, CN_EULER, 10); /* its class has no algorithm_type */
    cn_timetable_release(&t);
    o.kind = CN_UNIPC;
    c.solver.undone = 1u << CN_UNDONE_PREDICT_X0;
    assert_int_equal(cn_timetable_init(&t, &c, &o, NULL), CN_EINVAL);
}

/* linear betas and zero SNR: sigmas 4096, 6538.6, 3224.5 ... */
static void euler_starts_at_the_largest_sigma(void **state)
{
    struct cn_schedule_config c = {
        .train_steps = 1000, .beta_start = 0.0015, .beta_end = 0.0195, .rescale_zero_snr = true};
    struct cn_timetable t = make(&c, CN_EULER, 333);

    (void)state;
    assert_true(t.sigma[1] > t.sigma[0]);
    assert_true(t.init_sigma == t.sigma[1]);
    cn_timetable_release(&t);
}

/* PNDM with its warm-up: 19 calls for 10 steps, none for fewer than 4. */
static void prk_steps(void **state)
{
    static const float expect[] = {901, 851, 851, 801, 801, 751, 751, 701, 701, 651,
                                   651, 601, 601, 501, 401, 301, 201, 101, 1};
    struct cn_schedule_config c = sd15;
    struct cn_sampler_opts o = {.kind = CN_PNDM, .steps = 3, .denoise = 1};
    struct cn_timetable t;
    struct cn_err err = CN_ERR_INIT;

    (void)state;
    c.prk_steps = true;
    t = make(&c, CN_PNDM, 10);
    assert_int_equal(t.calls, CN_LEN(expect));
    assert_memory_equal(t.timestep, expect, sizeof(expect));
    cn_timetable_release(&t);
    assert_int_equal(cn_timetable_init(&t, &c, &o, &err), CN_EINVAL);
    assert_string_equal(err.where, "/steps");
    assert_non_null(strstr(err.msg, "skip_prk_steps"));
}

/* clip_sample: the picture that the answers speak of stays within clip_sample_range. */
static void clip_sample_clips(void **state)
{
    static const enum cn_sampler kinds[] = {CN_DDIM, CN_LCM, CN_HEUN, CN_EULER};
    struct cn_schedule_config c = sd15;

    (void)state;
    c.clip_sample = true;
    c.solver.clip_range = 0.5;
    c.set_alpha_to_one = true;
    c.prediction = CN_PREDICT_V;
    for (size_t i = 0; i < CN_LEN(kinds); i++) {
        struct cn_sampler_opts o = {.kind = kinds[i], .steps = 1, .denoise = 1};
        struct cn_sampler_state *s;
        float x = 40, out = -40;

        assert_int_equal(cn_sampler_new(&c, &o, 1, &s, NULL), CN_OK);
        assert_int_equal(cn_sampler_advance(s, &x, &out, NULL), CN_OK);
        if (kinds[i] == CN_EULER) /* whose class has no such key */
            assert_true(x > 1);
        else if (kinds[i] != CN_DDIM) /* which goes on with the network's noise */
            assert_true(fabsf(x - 0.5f) < 1e-2f);
        cn_sampler_free(s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(absent_keys_are_those_of_the_class_in_use),
        cmocka_unit_test(the_file_chooses_the_curve),
        cmocka_unit_test(ends_and_bounds),
        cmocka_unit_test(lambda_min_clipped_cuts_the_timesteps),
        cmocka_unit_test(what_is_not_done_is_refused_by_key),
        cmocka_unit_test(euler_starts_at_the_largest_sigma),
        cmocka_unit_test(prk_steps),
        cmocka_unit_test(clip_sample_clips),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
