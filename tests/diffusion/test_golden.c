/* Noise and trajectories against torch and diffusers (tools/goldens writes the data).
 *
 * Noise: every bit. Trajectories: the network is the analytic function that the generator uses, so
 * a case needs no weights; tolerances are relative to each latent's largest value. Measured with
 * diffusers 0.35.2 and torch 2.15: worst case 1e-6, DPM2 a 7e-6. Bits cannot agree, because that
 * torch's float32 square root is one bit off for 18 % of its arguments.
 */
#include "base/base.h"

#include "checkpoint/checkpoint_priv.h"
#include "diffusion/sampler.h"

#include "golden.h"

#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#define TOLERANCE 1e-5

static uint64_t fnv64(const void *data, size_t size)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < size; i++)
        h = (h ^ ((const unsigned char *)data)[i]) * UINT64_C(0x100000001b3);
    return h;
}

static void check_bits(json_t *list, const float *x)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        uint32_t bits;

        memcpy(&bits, &x[i], sizeof(bits));
        assert_int_equal(bits, strtoul(json_string_value(json_array_get(list, i)), NULL, 16));
    }
}

static void check_draw(struct cn_noise *z, json_t *draw)
{
    size_t n = (size_t)json_integer_value(json_object_get(draw, "n"));
    json_t *last = json_object_get(draw, "last");
    float *x = malloc(n * sizeof(*x));
    char hash[17];

    cn_noise_normal(z, n, x);
    check_bits(json_object_get(draw, "first"), x);
    check_bits(last, x + n - json_array_size(last));
    snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)fnv64(x, n * sizeof(*x)));
    assert_string_equal(hash, json_string_value(json_object_get(draw, "fnv64")));
    free(x);
}

static void test_noise(void **state)
{
    struct golden g;
    json_t *entry, *draw;
    size_t i, k;

    (void)state;
    assert_true(golden_open(&g, "noise"));
    json_array_foreach(json_object_get(g.json, "cases"), i, entry)
    {
        struct cn_noise z;
        const char *seed = json_string_value(json_object_get(entry, "seed"));

        cn_noise_init(&z, CN_RNG_CPU, strtoull(seed, NULL, 10));
        json_array_foreach(json_object_get(entry, "draws"), k, draw) check_draw(&z, draw);
    }
    golden_close(&g);
}

/* What the generator has in place of a network. */
static void network(size_t n, const float *x, float t, float *ret)
{
    double wave = cos((double)t / 200);

    for (size_t i = 0; i < n; i++)
        ret[i] =
            (float)(0.3 * tanh((double)x[i]) + 0.1 * (double)x[i] * wave + 0.05 * sin((double)i));
}

struct one {
    int kind; /* enum cn_sampler */
    struct golden *g;
    const char *name;
    size_t n; /* elements of a latent */
    double worst;
};

/* Largest difference relative to the largest value. */
static double distance(const float *a, const float *b, size_t n)
{
    double difference = 0, size = 1e-30;

    for (size_t i = 0; i < n; i++) {
        difference = fmax(difference, fabs((double)a[i] - (double)b[i]));
        size = fmax(size, fabs((double)b[i]));
    }
    return difference / size;
}

static float *tensor(const struct one *c, const char *what)
{
    char name[128];
    size_t n;

    snprintf(name, sizeof(name), "%s/%s", c->name, what);
    const float *found = golden_floats(c->g, name, &n);
    if (found == NULL)
        return NULL;
    float *copy = malloc(n * sizeof(*copy));
    memcpy(copy, found, n * sizeof(*copy));
    return copy;
}

static const char *text(json_t *entry, const char *key)
{
    return json_string_value(json_object_get(entry, key));
}

/* The case's scheduler_config.json: betas, and the settings of the sampler. */
static struct cn_schedule_config configuration(json_t *entry, json_t *betas)
{
    static const char path[] = "test_golden.json.tmp";
    json_t *file = json_pack("{ss sb sb sb}", "prediction_type", text(entry, "prediction"),
                             "clip_sample", 0, "set_alpha_to_one", 0, "skip_prk_steps", 1);
    struct cn_schedule_config config;
    struct cn_err err = CN_ERR_INIT;

    json_object_update(file, betas);
    json_object_update(file, json_object_get(entry, "settings"));
    assert_int_equal(json_dump_file(file, path, 0), 0);
    json_decref(file);
    if (cn_conf_schedule(path, &config, &err) < 0)
        fail_msg("%s", err.msg);
    unlink(path);
    return config;
}

static struct cn_sampler_state *open_case(json_t *entry, json_t *betas, size_t n)
{
    json_t *strength = json_object_get(entry, "strength");
    struct cn_schedule_config config = configuration(entry, betas);
    struct cn_sampler_opts opts = {
        .kind = (enum cn_sampler)cn_enum_find(&cn_enum_sampler, text(entry, "sampler")),
        .schedule = (enum cn_schedule)cn_enum_find(&cn_enum_schedule, text(entry, "schedule")),
        .spacing = (enum cn_spacing)cn_enum_find(&cn_enum_spacing, text(entry, "spacing")),
        .steps = (int)json_integer_value(json_object_get(entry, "steps")),
        .denoise = strength != NULL ? json_real_value(strength) : 1,
    };
    struct cn_sampler_state *s;

    assert_int_equal(cn_sampler_new(&config, &opts, n, &s, NULL), CN_OK);
    return s;
}

/* Draws the noise and makes the first sample; checks both. */
static float *begin(struct one *c, struct cn_sampler_state *s, struct cn_noise *z)
{
    float *noise = tensor(c, "noise"), *init = tensor(c, "init"), *start = tensor(c, "start");
    float *x = malloc(c->n * sizeof(*x));

    cn_noise_normal(z, c->n, x);
    assert_memory_equal(x, noise, c->n * sizeof(*x));
    if (start != NULL)
        cn_sampler_add_noise(s, start, noise, x);
    else
        for (size_t i = 0; i < c->n; i++)
            x[i] *= cn_sampler_init_sigma(s);
    c->worst = fmax(c->worst, distance(x, init, c->n));
    free(noise);
    free(init);
    free(start);
    return x;
}

static void follow(struct one *c, struct cn_sampler_state *s, struct cn_noise *z, float *x)
{
    float *timesteps = tensor(c, "timesteps"), *inputs = tensor(c, "inputs");
    float *latents = tensor(c, "latents");
    float *in = malloc(c->n * sizeof(*in)), *out = malloc(c->n * sizeof(*out));

    for (int call = 0; !cn_sampler_done(s); call++) {
        float t = cn_sampler_timestep(s);

        assert_int_equal(cn_sampler_call(s), call);
        /* sigma_down of DPM2 a is a float32 difference there, which cancels: the last bit of
         * torch's square root, which is not always the nearest number, moves its middle timesteps
         * by up to 1.2e-3 */
        if (!(fabsf(t - timesteps[call]) <= (c->kind == CN_DPM2_A ? 2e-3f : 1e-4f)))
            fail_msg("%s: timestep %d is %.9g, not %.9g", c->name, call, (double)t,
                     (double)timesteps[call]);
        cn_sampler_scale_input(s, x, in);
        c->worst = fmax(c->worst, distance(in, inputs + (size_t)call * c->n, c->n));
        network(c->n, in, t, out);
        assert_int_equal(cn_sampler_advance(s, x, out, z), CN_OK);
        c->worst = fmax(c->worst, distance(x, latents + (size_t)call * c->n, c->n));
    }
    free(timesteps);
    free(inputs);
    free(latents);
    free(in);
    free(out);
}

static double run_case(struct golden *g, json_t *entry)
{
    struct one c = {.g = g, .name = text(entry, "name"), .n = 24};

    c.kind = cn_enum_find(&cn_enum_sampler, text(entry, "sampler"));
    struct cn_sampler_state *s = open_case(entry, json_object_get(g->json, "betas"), c.n);
    struct cn_noise z;

    assert_int_equal(cn_sampler_calls(s), json_integer_value(json_object_get(entry, "calls")));
    cn_noise_init(&z, CN_RNG_CPU, (uint64_t)json_integer_value(json_object_get(entry, "seed")));
    float *x = begin(&c, s, &z);
    follow(&c, s, &z, x);
    free(x);
    cn_sampler_free(s);
    if (c.worst > TOLERANCE)
        fail_msg("%s: relative error %g", c.name, c.worst);
    return c.worst;
}

static void test_samplers(void **state)
{
    double worst[CN_SAMPLER_COUNT] = {0};
    struct golden g;
    json_t *entry;
    size_t i;

    (void)state;
    assert_true(golden_open(&g, "samplers"));
    json_array_foreach(json_object_get(g.json, "cases"), i, entry)
    {
        int kind = cn_enum_find(&cn_enum_sampler, text(entry, "sampler"));

        worst[kind] = fmax(worst[kind], run_case(&g, entry));
    }
    assert_true(i > 0);
    for (int k = 0; k < CN_SAMPLER_COUNT; k++)
        print_message("%-14s worst relative error %.1e\n", cn_enum_sampler.name[k], worst[k]);
    golden_close(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_noise),
        cmocka_unit_test(test_samplers),
    };
    struct golden g;
    bool there = golden_open(&g, "samplers");

    golden_close(&g);
    if (!there)
        return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
