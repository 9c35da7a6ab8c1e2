/* Guidance and sampler update of kernels/cuda against the twin. That tables of numbers describe the
 * samplers of src/diffusion is shown by test_lanes.c. */
#include "base/base.h"

#include "tests/kernels/case.h"

enum { LANES = 4, ROWS = 7 };

struct arg {
    float *x, *h;
    const float *z;
    enum cn_dtype edt;
    const void *e;
    void *in;
    const struct cnk_lane *lanes;
    struct cnk_update a;
};

static int launch(struct test_case *t, void *arg)
{
    struct arg *u = arg;

    return cnk_update(u->x, u->h, u->z, u->edt, u->e, t->dt, u->in, u->lanes, &u->a, NULL);
}

/* A lane with guidance, one without, an empty one, and one that only copies. */
static void fill_lanes(struct cnk_lane *lanes)
{
    static const int rows[LANES][2] = {{5, 2}, {0, -1}, {-1, 3}, {1, 6}};

    memset(lanes, 0, LANES * sizeof(*lanes));
    for (int l = 0; l < LANES; l++) {
        lanes[l].row = rows[l][0];
        lanes[l].row_uncond = rows[l][1];
        lanes[l].guidance = 1.5f + (float)l;
        lanes[l].in_scale = 0.25f + (float)l;
        for (int o = 0; o < CNK_LANE_OUT; o++)
            for (int i = 0; i < CNK_LANE_IN; i++)
                lanes[l].m[o][i] = (float)(case_uniform() * 2 - 1);
    }
    memset(lanes[3].m, 0, sizeof(lanes[3].m));
    lanes[3].m[0][0] = 1.0f;
    for (int k = 0; k < CNK_HISTORY; k++)
        lanes[3].m[1 + k][3 + k] = 1.0f;
}

static void update(enum cn_dtype edt, enum cn_dtype idt, struct cnk_update a)
{
    size_t count = (size_t)a.pixels * (size_t)a.c, history = LANES * CNK_HISTORY * count;
    size_t answers = (size_t)(ROWS * a.pixels * a.e_stride);
    size_t inputs = (size_t)(ROWS * a.pixels * a.in_stride);
    struct cnk_lane lanes[LANES];
    struct arg arg = {.edt = edt, .a = a};
    float *x, *h, *z, *e, *in;
    struct test_case t;

    case_begin(&t, idt, a.c % 2 != 0 ? CASE_ALL_OFF & ~0x1f : 0);
    fill_lanes(lanes);
    arg.lanes = case_bytes(&t, lanes, sizeof(lanes));
    arg.x = case_f32(&t, LANES * count, &x);
    arg.h = case_f32(&t, history, &h);
    arg.z = case_f32(&t, LANES * count, &z);
    arg.e = case_input_as(&t, edt, answers, &e);
    arg.in = case_input(&t, inputs, &in);
    cnk_ref_update(x, h, z, e, in, lanes, &a);
    case_run(&t, launch, &arg);
    case_close_as(&t, "update, latent", arg.x, CN_F32, x, LANES * count);
    case_close_as(&t, "update, history", arg.h, CN_F32, h, history);
    case_close(&t, "update, next input", arg.in, in, inputs);
    /* the empty lane, and the one that copies */
    case_exact_as(&t, "update, untouched", arg.x + 2 * count, CN_F32, x + 2 * count, 2 * count);
    case_exact_as(&t, "update, untouched", arg.h + 2 * CNK_HISTORY * count, CN_F32,
                  h + 2 * CNK_HISTORY * count, 2 * CNK_HISTORY * count);
    case_end(&t);
}

static void test_update(void **state)
{
    (void)state;
    for (int d = 0; d < 3; d++)
        for (int e = 0; e < 3; e++) {
            update(case_types[d], case_types[e], (struct cnk_update){LANES, 1, 1, 1, 1});
            update(case_types[d], case_types[e], (struct cnk_update){LANES, 33, 4, 8, 9});
            update(case_types[d], case_types[e], (struct cnk_update){LANES, 65, 3, 3, 4});
            update(case_types[d], case_types[e], (struct cnk_update){LANES, 100, 4, 4, 4});
        }
}

/* What has no weight is not looked at: histories that were never written, noise and answers that
 * are not there. */
static void test_unused(void **state)
{
    enum { PIXELS = 31, COUNT = PIXELS * 4 };
    struct cnk_lane lane = {.row = 0, .row_uncond = -1, .in_scale = 1.0f};
    struct arg arg = {.edt = CN_F16, .a = {1, PIXELS, 4, 4, 4}};
    float *x, *want;
    struct test_case t;

    (void)state;
    case_begin(&t, CN_F32, 0);
    lane.m[0][0] = 0.5f; /* x' = x / 2 */
    lane.m[1][0] = 2.0f; /* h0' = 2 x */
    lane.m[2][4] = 1.0f; /* h1' = h1, which is NaN */
    lane.m[3][5] = 3.0f; /* h2' = 3 h2, too */
    arg.lanes = case_bytes(&t, &lane, sizeof(lane));
    arg.x = case_f32(&t, COUNT, &x);
    arg.h = case_bytes(&t, NULL, CNK_HISTORY * COUNT * sizeof(float));
    want = case_floats(&t, COUNT);
    case_run(&t, launch, &arg);
    for (int i = 0; i < COUNT; i++)
        want[i] = x[i] / 2;
    case_exact_as(&t, "update, halved", arg.x, CN_F32, want, COUNT);
    for (int i = 0; i < COUNT; i++)
        want[i] = x[i] * 2;
    case_exact_as(&t, "update, doubled", arg.h, CN_F32, want, COUNT);
    for (int i = COUNT; i < 3 * COUNT; i++)
        assert_true(isnan(arg.h[i]));
    case_end(&t);
}

/* One number alone: every input reaches every result. */
static void test_single(void **state)
{
    enum { PIXELS = 9, COUNT = PIXELS * 4 };

    (void)state;
    for (int k = 0; k < CNK_LANE_OUT * CNK_LANE_IN; k++) {
        struct cnk_lane lane = {.row = 1, .row_uncond = 0, .guidance = 7.5f, .in_scale = 1.0f};
        struct arg arg = {.edt = CN_F32, .a = {1, PIXELS, 4, 4, 4}};
        float *x, *h, *z, *e;
        struct test_case t;

        case_begin(&t, CN_F32, 0);
        lane.m[k / CNK_LANE_IN][k % CNK_LANE_IN] = 0.5f;
        arg.lanes = case_bytes(&t, &lane, sizeof(lane));
        arg.x = case_f32(&t, COUNT, &x);
        arg.h = case_f32(&t, CNK_HISTORY * COUNT, &h);
        arg.z = case_f32(&t, COUNT, &z);
        arg.e = case_input(&t, 2 * COUNT, &e);
        cnk_ref_update(x, h, z, e, NULL, &lane, &arg.a);
        case_run(&t, launch, &arg);
        case_close_as(&t, "update, latent", arg.x, CN_F32, x, COUNT);
        case_close_as(&t, "update, history", arg.h, CN_F32, h, CNK_HISTORY * COUNT);
        case_end(&t);
    }
}

static void test_refused(void **state)
{
    struct cnk_lane lane = {.row = 0, .row_uncond = -1};
    struct arg narrow = {.lanes = &lane, .a = {1, 4, 4, 3, 4}};
    struct arg empty = {.lanes = &lane, .a = {0, 4, 4, 4, 4}};
    struct test_case t;

    (void)state;
    case_begin(&t, CN_F32, 0);
    case_refused(&t, launch, &narrow, 1);
    case_refused(&t, launch, &empty, 0);
    case_end(&t);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_update),
        cmocka_unit_test(test_unused),
        cmocka_unit_test(test_single),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, case_report);
}
