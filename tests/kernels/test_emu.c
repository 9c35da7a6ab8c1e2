/* The emulator itself: it finds the mistakes of bad_kernels.cc, and computes as a device would. */
#include "base/base.h"

#include "tests/kernels/bad_kernels.h"
#include "tests/kernels/case.h"

#include "base/dtype.h"

#include <sys/wait.h>
#include <unistd.h>

static struct {
    float *x, *y;
} m;

static int set_up(void **state)
{
    (void)state;
    m.x = emu_alloc(64 * sizeof(float), 0);
    m.y = emu_alloc(1024 * sizeof(float), 0);
    for (int i = 0; i < 64; i++)
        m.x[i] = (float)i;
    emu_set_order(EMU_FORWARD, 1);
    emu_clear();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    emu_free(m.x);
    emu_free(m.y);
    emu_set_order(EMU_FORWARD, 1);
    return 0;
}

/* In how many of the orders y [64] is not y[i] = x[want(i)]. */
static int wrong_orders(int (*launch)(float *, const float *, int), int barrier, bool reversed)
{
    int wrong = 0;

    for (int o = 0; o < 3; o++) {
        bool right = true;

        emu_set_order((enum emu_order)o, 5);
        assert_int_equal(launch(m.y, m.x, barrier), 0);
        for (int i = 0; i < 64; i++)
            right = right && m.y[i] == m.x[reversed ? 63 - i : (i + 2) % 64];
        wrong += !right;
    }
    return wrong;
}

static void test_missing_barrier(void **state)
{
    (void)state;
    assert_int_equal(wrong_orders(bad_reverse, 1, true), 0);
    assert_int_equal(wrong_orders(bad_rotate, 1, false), 0);
    assert_true(wrong_orders(bad_reverse, 0, true) > 0);
    assert_true(wrong_orders(bad_rotate, 0, false) > 0);
    assert_null(emu_error());
}

static void must_say(int rc, const char *what)
{
    if (rc != 719 || emu_error() == NULL || strstr(emu_error(), what) == NULL)
        fail_msg("%d, \"%s\" instead of \"%s\"", rc, emu_error() ? emu_error() : "", what);
    emu_clear();
}

static void test_divergence(void **state)
{
    (void)state;
    for (int o = 0; o < 3; o++) {
        emu_set_order((enum emu_order)o, 5);
        must_say(bad_divergent(m.y, 63), "divergence");
        must_say(bad_divergent(m.y, 1), "divergence");
        must_say(bad_two_barriers(m.y), "different barriers");
        must_say(bad_early_exit(m.y, 31), "");
        must_say(bad_outside_mask(m.y), "not in the mask");
        must_say(bad_half_warp(m.y), "does not exist");
        /* and goes on as if nothing had been */
        assert_int_equal(bad_divergent(m.y, 0) + bad_divergent(m.y, 64), 0);
        assert_int_equal(bad_early_exit(m.y, 32), 0);
        assert_true(m.y[0] == 32.0f && m.y[31] == 32.0f);
    }
    assert_null(emu_error());
}

/* In a child, because AddressSanitizer ends the program. */
static bool is_found(int (*launch)(float *, int), int at)
{
    int status;
    pid_t child = fork();

    if (child == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(2);
        _exit(launch(m.y, at) == 719 && emu_error() != NULL);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

static void test_out_of_bounds(void **state)
{
    (void)state;
    assert_false(is_found(bad_write, 0));
    assert_false(is_found(bad_write, 1023));
    assert_true(is_found(bad_write, 1024));
    assert_true(is_found(bad_write, -1));
    assert_false(is_found(bad_write_shared, 3));
    assert_true(is_found(bad_write_shared, 4));
    assert_true(is_found(bad_write_shared, -1));
}

static void test_unset(void **state)
{
    (void)state;
    assert_int_equal(bad_unset(m.y), 0);
    assert_true(isnan(m.y[0]));
}

static void test_block_order(void **state)
{
    float seen[3];

    (void)state;
    for (int o = 0; o < 3; o++) {
        emu_set_order((enum emu_order)o, 3);
        assert_int_equal(bad_block_race(m.y), 0);
        seen[o] = m.y[0];
    }
    assert_true(seen[0] == 4 && seen[1] == 0);
}

static void test_shuffles(void **state)
{
    (void)state;
    for (int o = 0; o < 3; o++) {
        emu_set_order((enum emu_order)o, 9);
        assert_int_equal(bad_shuffles(m.y), 0);
        for (int i = 0; i < 32; i++) {
            assert_int_equal(m.y[i], i + 3 < 32 ? i + 3 : i);
            assert_int_equal(m.y[32 + i], i >= 3 ? i - 3 : i);
            assert_int_equal(m.y[64 + i], 7);
            assert_int_equal(m.y[96 + i], i ^ 5);
        }
    }
}

static void test_grid(void **state)
{
    (void)state;
    for (int o = 0; o < 3; o++) {
        memset(m.y, 0xff, 1024 * sizeof(float));
        emu_set_order((enum emu_order)o, 11);
        assert_int_equal(bad_grid(m.y), 0);
        for (int i = 0; i < 24 * 24; i++)
            assert_int_equal(m.y[i], i);
    }
}

static void test_sizes(void **state)
{
    (void)state;
    assert_int_equal(bad_sizes(m.y, 1, 1024, 47 * 1024), 0);
    assert_int_equal(bad_sizes(m.y, 1, 1025, 0), 9);
    assert_int_equal(bad_sizes(m.y, 1, 0, 0), 9);
    assert_int_equal(bad_sizes(m.y, 0, 1, 0), 9);
    assert_int_equal(bad_sizes(m.y, 65536, 1, 0), 9);
    assert_int_equal(bad_sizes(m.y, 1, 1, 47 * 1024 + 1), 9);
    emu_clear();
}

/* What gets a launch may run it later, and twice. */
static struct emu_launch *held;

static int hold(void *ctx, struct CUstream_st *stream, struct emu_launch *launch)
{
    (void)stream;
    assert_ptr_equal(ctx, &m);
    held = launch;
    return 0;
}

static void test_submit(void **state)
{
    (void)state;
    m.y[0] = 7;
    emu_set_submit(hold, &m);
    assert_int_equal(bad_write(m.y, 0), 0);
    emu_set_submit(NULL, NULL);
    assert_true(m.y[0] == 7);
    for (int i = 0; i < 2; i++) {
        m.y[0] = 7;
        assert_int_equal(emu_launch_run(held), 0);
        assert_true(m.y[0] == 1);
    }
    emu_launch_free(held);
}

/* Every 16-bit float through a kernel, and every neighbourhood of a rounding: the emulator's types
 * against src/base, which is tested against tables of its own. */
static void test_conversions(void **state)
{
    enum { COUNT = 1 << 16 };
    /* around half of a last place of bf16, and of an even and an odd one of f16 */
    static const uint16_t cut[] = {0x7fff, 0x8000, 0x8001, 0x0fff, 0x1000, 0x1001,
                                   0x2fff, 0x3000, 0x3001};
    uint16_t *half = emu_alloc(COUNT * 2, 0);
    float *wide = emu_alloc(COUNT * 4, 0);

    (void)state;
    for (enum cn_dtype dt = CN_F16; dt <= CN_BF16; dt++) {
        for (int i = 0; i < COUNT; i++)
            half[i] = (uint16_t)i;
        assert_int_equal(cnk_convert(CN_F32, wide, dt, half, COUNT, NULL), 0);
        for (int i = 0; i < COUNT; i++) {
            float want = dt == CN_F16 ? cn_f16_to_f32((uint16_t)i) : cn_bf16_to_f32((uint16_t)i);

            assert_true(isnan(want) ? isnan(wide[i]) : memcmp(&want, &wide[i], 4) == 0);
        }
        for (size_t step = 0; step < CN_LEN(cut); step++) {
            for (uint32_t i = 0; i < COUNT; i++) {
                uint32_t bits = i << 16 | cut[step];

                memcpy(&wide[i], &bits, 4);
            }
            assert_int_equal(cnk_convert(dt, half, CN_F32, wide, COUNT, NULL), 0);
            for (int i = 0; i < COUNT; i++) {
                uint16_t want = dt == CN_F16 ? cn_f32_to_f16(wide[i]) : cn_f32_to_bf16(wide[i]);

                if (!isnan(wide[i]))
                    assert_int_equal(half[i], want);
            }
        }
    }
    emu_free(half);
    emu_free(wide);
    assert_null(emu_error());
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_missing_barrier, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_divergence, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_out_of_bounds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_unset, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_block_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_shuffles, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_grid, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_sizes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_submit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_conversions, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
