/* Other ends that hang up are told once, also those that had done so before anybody listened; bytes
 * that come are none of it. */
#include "base/base.h"
#include "http/core/hangup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

static void told(void *data)
{
    ++*(int *)data;
}

static void turn(uv_loop_t *loop)
{
    for (int i = 0; i < 3; i++)
        uv_run(loop, UV_RUN_NOWAIT);
}

static void each_is_told_once(void **state)
{
    enum { N = 100, EARLY = 3 };
    int pair[N][2], count[N] = {0};
    struct cn_hangup h;
    uv_loop_t loop;

    (void)state;
    uv_loop_init(&loop);
    cn_hangup_open(&h, &loop, told);
    for (int i = 0; i < N; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair[i]), 0);
        if (i < EARLY)
            close(pair[i][1]);
        assert_true(cn_hangup_add(&h, pair[i][0], &count[i]));
    }
    turn(&loop);
    for (int i = 0; i < N; i++)
        assert_int_equal(count[i], i < EARLY);
    for (int i = EARLY; i < N; i++)
        assert_int_equal(write(pair[i][1], "x", 1), 1);
    turn(&loop);
    assert_int_equal(count[EARLY], 0);
    cn_hangup_remove(&h, pair[N - 1][0]);
    for (int i = EARLY; i < N; i++)
        if (i % 2) /* half of it counts: who says no more takes no more */
            shutdown(pair[i][1], SHUT_WR);
        else
            close(pair[i][1]);
    turn(&loop);
    turn(&loop);
    for (int i = 0; i < N; i++)
        assert_int_equal(count[i], i < N - 1);
    cn_hangup_close(&h);
    cn_hangup_close(&h);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(cn_hangup_is_closed(&h));
    assert_int_equal(uv_loop_close(&loop), 0);
    for (int i = 0; i < N; i++) {
        close(pair[i][0]);
        if (i >= EARLY && i % 2)
            close(pair[i][1]);
    }
}

static void nobody_hears_without_descriptors(void **state)
{
    struct rlimit old, none;
    struct cn_hangup h;
    uv_loop_t loop;
    int count = 0;

    (void)state;
    uv_loop_init(&loop);
    getrlimit(RLIMIT_NOFILE, &old);
    none = (struct rlimit){0, old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &none);
    cn_hangup_open(&h, &loop, told);
    setrlimit(RLIMIT_NOFILE, &old);
    assert_false(cn_hangup_add(&h, 0, &count));
    cn_hangup_remove(&h, 0);
    cn_hangup_close(&h);
    assert_true(cn_hangup_is_closed(&h));
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_is_told_once),
        cmocka_unit_test(nobody_hears_without_descriptors),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
