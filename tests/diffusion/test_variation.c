/* Noise between two seeds, and noise of another size, against the rules as they are written. */
#include "base/base.h"

#include "diffusion/variation.h"

#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

enum { C = 4, H = 6, W = 5, N = C * H * W };

static void draw(uint64_t seed, size_t n, float *ret)
{
    struct cn_noise z;

    cn_noise_init(&z, CN_RNG_CPU, seed);
    cn_noise_normal(&z, n, ret);
}

static void vary(uint64_t seed, struct cn_variation v, float *ret)
{
    struct cn_noise z;

    cn_noise_init(&z, CN_RNG_CPU, seed);
    assert_int_equal(cn_variation_noise(&z, &v, C, H, W, ret, NULL), CN_OK);
}

/* sin((1-t)w)/sin(w) a + sin(tw)/sin(w) b of each column; w is the angle between its columns. */
static void is_spherical(void **state)
{
    float a[N], b[N], out[N];

    (void)state;
    draw(5, N, a);
    draw(9, N, b);
    vary(5, (struct cn_variation){.strength = 0.25, .subseed = 9}, out);
    for (int k = 0; k < C; k++)
        for (int x = 0; x < W; x++) {
            double aa = 0, bb = 0, ab = 0, angle;

            for (int y = 0; y < H; y++) {
                int i = (k * H + y) * W + x;

                aa += (double)a[i] * (double)a[i];
                bb += (double)b[i] * (double)b[i];
                ab += (double)a[i] * (double)b[i];
            }
            angle = acos(ab / sqrt(aa * bb));
            for (int y = 0; y < H; y++) {
                int i = (k * H + y) * W + x;
                double want = sin(0.75 * angle) * (double)a[i] + sin(0.25 * angle) * (double)b[i];

                assert_true(fabs((double)out[i] - want / sin(angle)) < 1e-5);
            }
        }
}

static void ends_are_the_seeds(void **state)
{
    float a[N], out[N];

    (void)state;
    draw(5, N, a);
    vary(5, (struct cn_variation){.subseed = 9}, out);
    assert_memory_equal(out, a, sizeof(a));
    vary(5, (struct cn_variation){.strength = 0.5, .subseed = 5}, out); /* linear, of equals */
    for (int i = 0; i < N; i++)
        assert_true(fabsf(out[i] - a[i]) < 1e-6f);
    draw(9, N, a);
    vary(5, (struct cn_variation){.strength = 1, .subseed = 9}, out);
    for (int i = 0; i < N; i++)
        assert_true(fabsf(out[i] - a[i]) < 1e-5f);
}

/* from_h, from_w; where it lies, what of it is there: dx = (W - from_w) // 2 and so on. */
static void other_sizes_lie_in_the_middle(void **state)
{
    static const struct {
        int from_h, from_w, top, left, from_y, from_x, h, w;
    } row[] = {{4, 3, 1, 1, 0, 0, 4, 3}, {6, 2, 0, 1, 0, 0, 6, 2}, {10, 9, 0, 0, 2, 2, 6, 5},
               {9, 5, 0, 0, 2, 0, 5, 5}, {2, 8, 2, 0, 0, 2, 2, 4}, {6, 5, 0, 0, 0, 0, 6, 5}};
    float whole[N], from[C * 100], out[N];

    (void)state;
    draw(5, N, whole);
    for (size_t r = 0; r < CN_LEN(row); r++) {
        draw(5, (size_t)(C * row[r].from_h * row[r].from_w), from);
        vary(5, (struct cn_variation){.from_h = row[r].from_h, .from_w = row[r].from_w}, out);
        for (int i = 0; i < N; i++) {
            int k = i / (H * W), y = i / W % H - row[r].top, x = i % W - row[r].left;
            bool inside = y >= 0 && y < row[r].h && x >= 0 && x < row[r].w;
            int at = (k * row[r].from_h + row[r].from_y + y) * row[r].from_w + row[r].from_x + x;

            assert_true(out[i] == (inside ? from[at] : whole[i]));
        }
    }
}

/* What later steps draw is what they would have drawn. */
static void the_generator_goes_on(void **state)
{
    const struct cn_variation v = {.strength = 0.3, .subseed = 1, .from_h = 3, .from_w = 3};
    struct cn_noise plain, varied;
    float a[N], b[N];

    (void)state;
    cn_noise_init(&plain, CN_RNG_CUDA, 5);
    cn_noise_init(&varied, CN_RNG_CUDA, 5);
    cn_noise_normal(&plain, N, a);
    assert_int_equal(cn_variation_noise(&varied, &v, C, H, W, b, NULL), CN_OK);
    cn_noise_normal(&plain, N, a);
    cn_noise_normal(&varied, N, b);
    assert_memory_equal(a, b, sizeof(a));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_spherical),
        cmocka_unit_test(ends_are_the_seeds),
        cmocka_unit_test(other_sizes_lie_in_the_middle),
        cmocka_unit_test(the_generator_goes_on),
    };

    return cmocka_run_group_tests_name("variation", tests, NULL, NULL);
}
