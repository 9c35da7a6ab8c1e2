/* Generators: reference values, sizes, independence of images. The bits of many more values are
 * compared in test_golden.c. */
#include "base/base.h"

#include "diffusion/noise.h"

#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void check_near(const float *x, const float *expect, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (fabsf(x[i] - expect[i]) > 1.5e-6f)
            fail_msg("value %zu is %.7g, not %.7g", i, (double)x[i], (double)expect[i]);
}

/* torch.manual_seed(seed); torch.randn(n): printed by torch 2.15, six decimals */
static void test_torch_cpu(void **state)
{
    static const float few[] = {1.540996f, -0.293429f, -2.178789f, 0.568431f};
    static const float twenty[] = {-1.125840f, -1.152360f, -0.250579f, -0.433879f, 0.598839f,
                                   -1.555095f, -0.341360f, 1.853006f,  0.468096f,  -0.157712f,
                                   1.443660f,  0.266049f,  1.389366f,  1.586334f,  0.946298f,
                                   -0.843677f, 0.931827f,  1.259009f,  2.004981f,  0.053737f};
    static const float last[] = {-1.040714f, 0.090784f, -1.366470f, -1.078208f};
    static float x[16384];
    struct cn_noise z;

    (void)state;
    cn_noise_init(&z, CN_RNG_CPU, 0);
    cn_noise_normal(&z, 4, x);
    check_near(x, few, CN_LEN(few));
    cn_noise_init(&z, CN_RNG_CPU, 0);
    cn_noise_normal(&z, 20, x);
    check_near(x, twenty, CN_LEN(twenty));
    cn_noise_init(&z, CN_RNG_CPU, 0);
    cn_noise_normal(&z, CN_LEN(x), x);
    check_near(x + CN_LEN(x) - 4, last, CN_LEN(last));
}

/* Two values of seed 0 to the bit, from torch 2.15: without them a -ffp-contract or a libm that
 * differs in the last bit would pass the test above. */
static void test_bits(void **state)
{
    static const uint32_t expect[] = {0xbf901b85, 0xbf93808a, 0xbe804bd6, 0xbede255d,
                                      0x3f594515, 0x3f312783, 0xbea1cc6d, 0xc0075fc1};
    struct cn_noise z;
    float x[16];

    (void)state;
    cn_noise_init(&z, CN_RNG_CPU, 0);
    cn_noise_normal(&z, 16, x);
    assert_memory_equal(x, expect, sizeof(expect));
}

static void test_high_seed_bits(void **state)
{
    struct cn_noise a, b;
    float x[32], y[32];

    (void)state;
    cn_noise_init(&a, CN_RNG_CPU, 5);
    cn_noise_init(&b, CN_RNG_CPU, (UINT64_C(1) << 32) + 5);
    cn_noise_normal(&a, 32, x);
    cn_noise_normal(&b, 32, y);
    assert_memory_equal(x, y, sizeof(x)); /* torch's CPU generator ignores them */
    cn_noise_init(&a, CN_RNG_CUDA, 5);
    cn_noise_init(&b, CN_RNG_CUDA, (UINT64_C(1) << 32) + 5);
    cn_noise_normal(&a, 32, x);
    cn_noise_normal(&b, 32, y);
    assert_memory_not_equal(x, y, sizeof(x)); /* its CUDA one does not */
}

static void test_torch_cuda(void **state)
{
    static const float first[] = {-0.924663f, -0.425344f, -2.643846f, 0.145184f,
                                  -0.120867f, -0.579726f, -0.622851f, -0.328387f,
                                  -1.074542f, -0.363144f, -1.671051f, 2.265505f};
    static const float second[] = {0.180826f, -0.552263f, 0.923813f, -0.734970f};
    static const float other[] = {0.578641f, -0.524756f, -0.291904f, 0.014014f};
    struct cn_noise z;
    float x[12];

    (void)state;
    cn_noise_init(&z, CN_RNG_CUDA, 0);
    cn_noise_normal(&z, 12, x);
    check_near(x, first, CN_LEN(first));
    cn_noise_normal(&z, 4, x);
    check_near(x, second, CN_LEN(second));
    cn_noise_init(&z, CN_RNG_CUDA, 12345);
    cn_noise_normal(&z, 4, x);
    check_near(x, other, CN_LEN(other));
}

/* Every length writes exactly that many finite values, also 0. */
static void test_lengths(void **state)
{
    (void)state;
    for (int kind = 0; kind < CN_RNG_COUNT; kind++) {
        struct cn_noise z;

        cn_noise_init(&z, (enum cn_rng)kind, 99);
        for (size_t n = 0; n < 70; n++) {
            float *x = malloc((n + 1) * sizeof(*x));

            x[n] = 1234;
            cn_noise_normal(&z, n, x);
            assert_true(x[n] == 1234);
            for (size_t i = 0; i < n; i++)
                assert_true(isfinite(x[i]) && fabsf(x[i]) < 8);
            free(x);
        }
    }
}

static void test_moments(void **state)
{
    enum { N = 200000 };
    float *x = malloc(N * sizeof(*x));

    (void)state;
    for (int kind = 0; kind < CN_RNG_COUNT; kind++) {
        struct cn_noise z;
        double sum = 0, squares = 0;

        cn_noise_init(&z, (enum cn_rng)kind, 3);
        cn_noise_normal(&z, N, x);
        for (int i = 0; i < N; i++) {
            sum += (double)x[i];
            squares += (double)x[i] * (double)x[i];
        }
        assert_true(fabs(sum / N) < 0.01); /* 4.5 standard errors */
        assert_true(fabs(squares / N - 1) < 0.015);
    }
    free(x);
}

static void test_uniform(void **state)
{
    struct cn_noise z;
    float x[1000];

    (void)state;
    cn_noise_init(&z, CN_RNG_CPU, 0);
    cn_noise_uniform(&z, CN_LEN(x), x);
    /* torch.manual_seed(0); torch.rand(2) */
    assert_true(fabsf(x[0] - 0.4962566f) < 1e-7f && fabsf(x[1] - 0.7682218f) < 1e-7f);
    for (size_t i = 0; i < CN_LEN(x); i++)
        assert_true(x[i] >= 0 && x[i] < 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_torch_cpu),      cmocka_unit_test(test_bits),
        cmocka_unit_test(test_high_seed_bits), cmocka_unit_test(test_torch_cuda),
        cmocka_unit_test(test_lengths),        cmocka_unit_test(test_moments),
        cmocka_unit_test(test_uniform),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
