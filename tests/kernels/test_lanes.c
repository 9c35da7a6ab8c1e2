/* struct cnk_lane describes every sampler of src/diffusion at every call: pictures of all samplers,
 * epsilon and v models, go through their trajectories in the same launches, with guidance, and
 * follow cn_sampler_advance.
 *
 * The numbers of a lane are asked of the sampler itself. It is linear, so one advance of vectors
 * that are 1 in one input and 0 in the others gives them. */
#include "base/base.h"

#include "tests/kernels/case.h"

#include "diffusion/control.h"
#include "diffusion/sampler_priv.h"

enum { PIXELS = 3, CHANNELS = 4, N = PIXELS * CHANNELS, LANES = 2 * CN_SAMPLER_COUNT };

static const float guidance = 7.5f;

/* Which of the sampler's arrays are the lane's histories before call number `call`; -1: none is. */
static void histories(enum cn_sampler kind, int call, int ret[CNK_HISTORY])
{
    static const int of[CN_SAMPLER_COUNT][CNK_HISTORY] = {
        [CN_DDIM] = {-1, -1, -1},       [CN_EULER] = {-1, -1, -1}, [CN_EULER_A] = {-1, -1, -1},
        [CN_LCM] = {-1, -1, -1},        [CN_HEUN] = {0, 1, -1},    [CN_DPMPP_2M] = {0, -1, -1},
        [CN_DPMPP_2M_SDE] = {0, -1, -1}, [CN_UNIPC] = {0, 1, 3},    [CN_PNDM] = {0, 1, 2},
    };
    static const int pndm_saved[CNK_HISTORY] = {0, 4, -1};

    memcpy(ret, kind == CN_PNDM && call == 1 ? pndm_saved : of[kind], sizeof(pndm_saved));
}

/* One picture: the sampler on the host, and a twin whose vectors are the inputs of the table. */
struct picture {
    struct cn_sampler_state *host, *probe;
    struct cn_noise noise;
    float x[N], e_with[N], e_without[N];
};

static void read_lane(struct picture *p, struct cnk_lane *lane)
{
    struct cn_sampler_state *s = p->probe;
    int call = cn_sampler_call(s), slot[CNK_HISTORY];
    float x[CNK_LANE_IN] = {1}, e[CNK_LANE_IN] = {0, 1}, z[CNK_LANE_IN] = {0, 0, 1};
    float one[CNK_LANE_IN] = {1};

    memset(s->block, 0, (size_t)s->method->buffers * CNK_LANE_IN * sizeof(float));
    histories(s->kind, call, slot);
    for (int k = 0; k < CNK_HISTORY; k++)
        if (slot[k] >= 0)
            s->buf[slot[k]][3 + k] = 1.0f;
    s->method->advance(s, x, e, z);
    s->at++;
    memcpy(lane->m[0], x, sizeof(x));
    histories(s->kind, call + 1, slot);
    for (int k = 0; k < CNK_HISTORY; k++)
        if (slot[k] >= 0)
            memcpy(lane->m[1 + k], s->buf[slot[k]], sizeof(x));
        else
            lane->m[1 + k][3 + k] = 1.0f;
    if (!cn_sampler_done(s))
        cn_sampler_scale_input(s, one, one);
    lane->in_scale = one[0];
}

static void begin(struct picture *p, int lane)
{
    static const struct cn_schedule_config config = {.train_steps = 1000,
                                                     .beta_start = 0.00085,
                                                     .beta_end = 0.012,
                                                     .beta_schedule = CN_BETA_SCALED_LINEAR,
                                                     .steps_offset = 1};
    struct cn_schedule_config c = config;
    struct cn_sampler_opts o = CN_SAMPLER_OPTS_DEFAULTS;

    o.kind = (enum cn_sampler)(lane / 2);
    o.steps = 4 + lane % 5;
    o.eta = lane % 2;
    c.prediction = lane % 2 != 0 ? CN_PREDICT_V : CN_PREDICT_EPSILON;
    assert_int_equal(cn_sampler_new(&c, &o, N, &p->host, NULL), 0);
    assert_int_equal(cn_sampler_new(&c, &o, CNK_LANE_IN, &p->probe, NULL), 0);
    cn_noise_init(&p->noise, CN_RNG_CPU, (uint64_t)lane);
    cn_noise_normal(&p->noise, N, p->x);
    for (int i = 0; i < N; i++)
        p->x[i] *= cn_sampler_init_sigma(p->host);
}

/* A bounded answer, as of a network that knows nothing. */
static void answer(struct picture *p)
{
    float t = cn_sampler_timestep(p->host) / 100, seen[N];

    cn_sampler_scale_input(p->host, p->x, seen);
    for (int i = 0; i < N; i++) {
        p->e_with[i] = sinf(seen[i] + t + (float)i);
        p->e_without[i] = cosf(seen[i] * 0.7f - t);
    }
}

struct arg {
    float *x, *h, *z, *e, *in;
    struct cnk_lane *lanes;
};

static int launch(struct test_case *t, void *arg)
{
    static const struct cnk_update a = {LANES, PIXELS, CHANNELS, CHANNELS, CHANNELS};
    struct arg *u = arg;

    (void)t;
    return cnk_update(u->x, u->h, u->z, CN_F32, u->e, CN_F32, u->in, u->lanes, &a, NULL);
}

/* The next call of every picture that has one, on the host and as lanes. */
static bool prepare(struct picture *p, struct arg *a)
{
    bool any = false;

    memset(a->lanes, 0, LANES * sizeof(*a->lanes));
    for (int l = 0; l < LANES; l++) {
        struct cnk_lane *lane = &a->lanes[l];
        float out[N];

        lane->row = lane->row_uncond = -1;
        if (cn_sampler_done(p[l].host))
            continue;
        any = true;
        answer(&p[l]);
        cn_guidance(N, p[l].e_without, p[l].e_with, guidance, out);
        lane->row = 2 * l + 1;
        lane->row_uncond = 2 * l;
        lane->guidance = guidance;
        memcpy(a->e + (2 * l + 1) * N, p[l].e_with, sizeof(out));
        memcpy(a->e + 2 * l * N, p[l].e_without, sizeof(out));
        read_lane(&p[l], lane);
        assert_int_equal(cn_sampler_advance(p[l].host, p[l].x, out, &p[l].noise), 0);
        if (p[l].host->z != NULL)
            memcpy(a->z + l * N, p[l].host->z, sizeof(out));
    }
    return any;
}

/* Errors do not grow: 1e-5 of the latent after every call. */
static void compare(const struct picture *p, const struct arg *a, int call)
{
    for (int l = 0; l < LANES; l++) {
        float seen[N], size = 1.0f;

        memcpy(seen, p[l].x, sizeof(seen));
        for (int i = 0; i < N; i++)
            size = fmaxf(size, fabsf(p[l].x[i]));
        if (!cn_sampler_done(p[l].host))
            cn_sampler_scale_input(p[l].host, p[l].x, seen);
        for (int i = 0; i < N; i++) {
            double d = fabs((double)a->x[l * N + i] - p[l].x[i]) / size;
            double e = fabs((double)a->in[2 * l * N + i] - seen[i]);

            if (!(d < 1e-5) || !(e < 1e-4) || a->in[2 * l * N + i] != a->in[(2 * l + 1) * N + i])
                fail_msg("%s %s, call %d: %g instead of %g, seen %g instead of %g",
                         cn_enum_sampler.name[l / 2], l % 2 != 0 ? "v" : "epsilon", call,
                         (double)a->x[l * N + i], (double)p[l].x[i],
                         (double)a->in[2 * l * N + i], (double)seen[i]);
        }
    }
}

static void test_trajectories(void **state)
{
    static struct picture p[LANES];
    struct test_case t;
    struct arg a;
    int call = 0;

    (void)state;
    case_begin(&t, CN_F32, 0);
    a.x = case_output(&t, LANES * N);
    a.h = case_output(&t, LANES * CNK_HISTORY * N); /* NaN: nobody may read what is not there */
    a.z = case_output(&t, LANES * N);
    a.e = case_output(&t, 2 * LANES * N);
    a.in = case_output(&t, 2 * LANES * N);
    a.lanes = case_bytes(&t, NULL, LANES * sizeof(*a.lanes));
    for (int l = 0; l < LANES; l++) {
        begin(&p[l], l);
        memcpy(a.x + l * N, p[l].x, sizeof(p[l].x));
    }
    for (; prepare(p, &a); call++) {
        case_run(&t, launch, &a);
        compare(p, &a, call);
    }
    assert_true(call > 10);
    for (int l = 0; l < LANES; l++) {
        cn_sampler_free(p[l].host);
        cn_sampler_free(p[l].probe);
    }
    case_end(&t);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {cmocka_unit_test(test_trajectories)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
