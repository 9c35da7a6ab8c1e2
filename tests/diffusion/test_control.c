/* Control weights, windows, guidance, and the inpainting rule. */
#include "base/base.h"

#include "diffusion/control.h"
#include "diffusion/inpaint.h"
#include "diffusion/upscale.h"

#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static struct cn_spec_control plain(void)
{
    return (struct cn_spec_control){.model = (char *)"edges", .strength = 1, .end = 1};
}

static void test_uniform(void **state)
{
    struct cn_spec_control c = plain();
    float w[13];

    (void)state;
    c.strength = 0.5;
    cn_control_weights(&c, CN_ROW_COND, 13, NULL, w);
    for (int i = 0; i < 13; i++)
        assert_true(w[i] == 0.5f);
    cn_control_weights(&c, CN_ROW_UNCOND, 13, NULL, w);
    assert_true(w[0] == 0.5f);
    c.branch = CN_BRANCH_COND;
    cn_control_weights(&c, CN_ROW_UNCOND, 13, NULL, w);
    for (int i = 0; i < 13; i++)
        assert_true(w[i] == 0);
    cn_control_weights(&c, CN_ROW_COND, 13, NULL, w);
    assert_true(w[12] == 0.5f);
}

/* ControlNet's guess mode prints these thirteen */
static void test_soft(void **state)
{
    static const float expect[13] = {.09941f, .12050f, .14606f, .17705f, .21460f, .26012f, .31530f,
                                     .38218f, .46325f, .56152f, .68062f, .82500f, 1.0f};
    struct cn_spec_control c = plain();
    float w[13];

    (void)state;
    c.weights = CN_W_SOFT;
    cn_control_weights(&c, CN_ROW_COND, 13, NULL, w);
    for (int i = 0; i < 13; i++)
        assert_true(fabsf(w[i] - expect[i]) < 1e-5f);
    cn_control_weights(&c, CN_ROW_COND, 3, NULL, w); /* a small network: same rule from the end */
    assert_true(w[2] == 1 && fabsf(w[0] - 0.680625f) < 1e-6f);
}

/* 64 / h_i at 512 pixels, and the same weights at every other size */
static void test_resolution(void **state)
{
    static const int at512[13] = {64, 64, 64, 32, 32, 32, 16, 16, 16, 8, 8, 8, 8};
    static const int at256[13] = {32, 32, 32, 16, 16, 16, 8, 8, 8, 4, 4, 4, 4};
    static const float expect[13] = {1, 1, 1, 2, 2, 2, 4, 4, 4, 8, 8, 8, 8};
    struct cn_spec_control c = plain();
    float w[13];

    (void)state;
    c.weights = CN_W_RESOLUTION;
    cn_control_weights(&c, CN_ROW_COND, 13, at512, w);
    assert_memory_equal(w, expect, sizeof(w));
    cn_control_weights(&c, CN_ROW_COND, 13, at256, w);
    assert_memory_equal(w, expect, sizeof(w));
}

static void test_custom(void **state)
{
    struct cn_spec_control c = plain();
    struct cn_err err = CN_ERR_INIT;
    float w[3];

    (void)state;
    c.weights = CN_W_CUSTOM;
    c.strength = 2;
    c.n_weights = 3;
    c.weight[0] = 0.25;
    c.weight[1] = -1;
    assert_int_equal(cn_control_check(&c, 4, 3, &err), CN_OK);
    cn_control_weights(&c, CN_ROW_COND, 3, NULL, w);
    assert_true(w[0] == 0.5f && w[1] == -2 && w[2] == 0);
    assert_int_equal(cn_control_check(&c, 4, 13, &err), CN_EINVAL);
    assert_string_equal(err.where, "/controls/4/weights");
    assert_string_equal(err.msg, "3 numbers were given and \"edges\" has 13 levels: "
                                 "one for each is needed");
    c.weights = CN_W_SOFT;
    assert_int_equal(cn_control_check(&c, 4, 13, NULL), CN_OK);
}

static int count_inside(enum cn_window window, double start, double end, int calls)
{
    struct cn_spec_control c = plain();
    int n = 0;

    c.window = window;
    c.start = start;
    c.end = end;
    for (int i = 0; i < calls; i++)
        n += cn_spec_in_window(&c, i, calls);
    return n;
}

/* diffusers: start <= i/N and (i+1)/N <= end. */
static void test_window(void **state)
{
    static const struct {
        double start, end;
        int calls, inside;
    } row[] = {{0, 1, 20, 20},    {0, 0.5, 20, 10},    {0.5, 1, 20, 10},  {0.3, 0.7, 10, 4},
               {0.1, 0.2, 10, 1}, {0.01, 0.04, 10, 0}, {0, 0.01, 10, 0},  {0, 0.99, 10, 9},
               {0, 0.33, 7, 2},   {0.33, 1, 7, 4},     {0, 1.0 / 3, 3, 1}};
    struct cn_spec_control c = plain();

    (void)state;
    for (size_t i = 0; i < CN_LEN(row); i++)
        assert_int_equal(count_inside(CN_WINDOW_DIFFUSERS, row[i].start, row[i].end, row[i].calls),
                         row[i].inside);
    c.end = 0.5;
    assert_true(cn_control_active(&c, CN_DDIM, 9, 20));
    assert_false(cn_control_active(&c, CN_DDIM, 10, 20));
}

/* The pipelines' own words: 1.0 - float(i / N < start or (i + 1) / N > end). */
static void test_window_as_diffusers(void **state)
{
    struct cn_spec_control c = plain();

    (void)state;
    for (int n = 1; n <= 60; n++)
        for (int from = 0; from < 100; from += 3)
            for (int to = from + 1; to <= 100; to += 3)
                for (int i = 0; i < n; i++) {
                    c.start = from / 100.0;
                    c.end = to / 100.0;
                    bool outside = (double)i / n < c.start || (double)(i + 1) / n > c.end;
                    assert_int_equal(cn_spec_in_window(&c, i, n), !outside);
                }
}

/* The ControlNet extension: outside when i/N < start or i/N > end; both ends are inside. */
static void test_window_as_a1111(void **state)
{
    (void)state;
    assert_int_equal(count_inside(CN_WINDOW_A1111, 0, 0.5, 20), 11);
    assert_int_equal(count_inside(CN_WINDOW_A1111, 0, 1, 20), 20);
    assert_int_equal(count_inside(CN_WINDOW_A1111, 0.3, 0.7, 10), 5);
    assert_int_equal(count_inside(CN_WINDOW_A1111, 0.5, 0.5, 10), 1);
    assert_int_equal(count_inside(CN_WINDOW_A1111, 0, 0.01, 10), 1);
}

/* Its windows are of steps: of 20 steps of two calls, the last has one, those up to number 10. */
static void test_window_of_steps(void **state)
{
    struct cn_spec_control c = plain();

    (void)state;
    c.window = CN_WINDOW_A1111;
    c.end = 0.5;
    for (int call = 0; call < 39; call++)
        assert_int_equal(cn_control_active(&c, CN_HEUN, call, 39), call / 2 <= 10);
    for (int call = 0; call < 20; call++)
        assert_int_equal(cn_control_active(&c, CN_EULER, call, 20), call <= 10);
    c.window = CN_WINDOW_DIFFUSERS;
    for (int call = 0; call < 39; call++)
        assert_int_equal(cn_control_active(&c, CN_HEUN, call, 39), (call + 1) / 39.0 <= 0.5);
}

static void test_active(void **state)
{
    struct cn_spec_control c = plain();

    (void)state;
    assert_true(cn_control_active(&c, CN_DDIM, 0, 1));
    c.strength = 0;
    assert_false(cn_control_active(&c, CN_DDIM, 0, 1));
    c = plain();
    c.weights = CN_W_CUSTOM;
    c.n_weights = 13;
    assert_false(cn_control_active(&c, CN_DDIM, 0, 1));
    c.weight[12] = 0.1;
    assert_true(cn_control_active(&c, CN_DDIM, 0, 1));
}

static void test_guidance(void **state)
{
    const float u[3] = {1, -2, 0.5f}, k[3] = {2, 2, 0.5f};
    float out[3];

    (void)state;
    cn_guidance(3, u, k, 7.5f, out);
    assert_true(out[0] == 8.5f && out[1] == 28 && out[2] == 0.5f);
    cn_guidance(3, u, k, 0, out);
    assert_memory_equal(out, u, sizeof(out));
    memcpy(out, u, sizeof(out));
    cn_guidance(3, out, k, 1, out);
    assert_memory_equal(out, k, sizeof(out));
}

static void test_guidance_rescale(void **state)
{
    const float k[4] = {1, 3, 1, 3}; /* deviation 1 (times a constant that cancels), mean 2 */
    float out[4] = {-3, 5, -3, 5};   /* 4 */

    (void)state;
    cn_guidance_rescale(4, k, 0, out);
    assert_true(out[0] == -3 && out[1] == 5);
    cn_guidance_rescale(4, k, 0.5f, out); /* halfway to a quarter */
    assert_true(out[0] == -3 * 0.625f && out[1] == 5 * 0.625f && out[2] == out[0]);
    for (int i = 0; i < 4; i++)
        out[i] = 7;
    cn_guidance_rescale(4, k, 1, out);
    assert_true(out[0] == 7 && out[3] == 7);
}

static void test_mask(void **state)
{
    /* 4 x 2 pixels to 2 x 1: nearest takes the upper left of each block */
    const float pixels[8] = {0.5f, 0, 0.49f, 1, 1, 1, 1, 1};
    const float kept[4] = {10, 20, 30, 40};
    float mask[2], x[4] = {1, 2, 3, 4};

    (void)state;
    cn_inpaint_mask(pixels, 4, 2, 2, 1, mask);
    assert_true(mask[0] == 1 && mask[1] == 0);
    cn_inpaint_blend(2, 2, mask, kept, x);
    assert_true(x[0] == 1 && x[1] == 20 && x[2] == 3 && x[3] == 40);
}

/* torch.nn.functional.interpolate(mode="bicubic", align_corners=False), both sides smaller. */
static void test_stretch(void **state)
{
    static const float want[6] = {37.2882f, 67.0938f, 43.5938f, 53.4062f, 29.9062f, 59.7118f};
    const struct cn_latent_size from = {1, 4, 5}, to = {1, 2, 3};
    float x[20], y[6];

    (void)state;
    for (int i = 0; i < 20; i++)
        x[i] = (float)(i * 37 % 101);
    cn_latent_stretch(CN_UP_LATENT_BICUBIC, x, &from, y, &to);
    for (int i = 0; i < 6; i++)
        assert_true(fabsf(y[i] - want[i]) < 1e-3f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uniform),         cmocka_unit_test(test_soft),
        cmocka_unit_test(test_resolution),      cmocka_unit_test(test_custom),
        cmocka_unit_test(test_window),          cmocka_unit_test(test_window_as_diffusers),
        cmocka_unit_test(test_window_as_a1111), cmocka_unit_test(test_window_of_steps),
        cmocka_unit_test(test_active),
        cmocka_unit_test(test_guidance),
        cmocka_unit_test(test_guidance_rescale),
        cmocka_unit_test(test_mask),
        cmocka_unit_test(test_stretch),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
