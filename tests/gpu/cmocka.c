/* Runs the tests of a program: see cmocka.h. */
#include "tests/gpu/cmocka.h"

jmp_buf gpu_test_end;

int gpu_run_tests(const struct CMUnitTest *test, size_t n)
{
    volatile int failed = 0;

    for (volatile size_t i = 0; i < n; i++) {
        void *state = NULL;
        int end = setjmp(gpu_test_end);

        if (end == 0)
            test[i].run(&state);
        failed += end != 0;
        printf("%s %s\n", end == 0 ? "ok    " : "not ok", test[i].name);
        fflush(stdout);
    }
    return failed;
}
