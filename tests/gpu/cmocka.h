/* What the backend's tests use of cmocka, for machines that lack it: tests/gpu/Makefile puts this
 * file in the way of the real one. A failed assertion ends its test; the program goes on. */
#ifndef TESTS_GPU_CMOCKA_H
#define TESTS_GPU_CMOCKA_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*run)(void **state);
};

extern jmp_buf gpu_test_end;
int gpu_run_tests(const struct CMUnitTest *test, size_t n);

#define cmocka_unit_test(f) {#f, f}
#define cmocka_run_group_tests(tests, setup, teardown)                                             \
    gpu_run_tests(tests, sizeof(tests) / sizeof((tests)[0]))

#define fail_msg(...)                                                                              \
    do {                                                                                           \
        fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);                                            \
        fprintf(stderr, __VA_ARGS__);                                                              \
        fputc('\n', stderr);                                                                       \
        longjmp(gpu_test_end, 1);                                                                  \
    } while (0)
#define assert_true(c)                                                                             \
    do {                                                                                           \
        if (!(c))                                                                                  \
            fail_msg("%s", #c);                                                                    \
    } while (0)
#define assert_false(c)           assert_true(!(c))
#define assert_non_null(p)        assert_true((p) != NULL)
#define assert_null(p)            assert_true((p) == NULL)
#define assert_int_equal(a, b)    assert_true((long long)(a) == (long long)(b))
#define assert_int_not_equal(a, b) assert_true((long long)(a) != (long long)(b))
#define assert_in_range(x, a, b)  assert_true((x) >= (a) && (x) <= (b))
#define assert_memory_equal(a, b, n) assert_true(memcmp(a, b, n) == 0)
#define assert_string_equal(a, b) assert_true(strcmp(a, b) == 0)
#define assert_string_not_equal(a, b) assert_true(strcmp(a, b) != 0)

#endif
