/* job: one worker process and its signs of life. The program starts itself as that worker, which
 * takes a little of what it is sent whenever the test wakes it, and says nothing but hello. */
#include "base/base.h"
#include "job/process.h"
#include "base/mem.h"
#include "wire/message.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include <cmocka.h>

enum { FD = 3, JOB = 20 << 20, SIP = 1 << 20, SIPS = 12 };

/* ---- the worker ---- */

static void say_hello(void)
{
    struct cn_msg_hello hello = {.pid = (int)getpid(), .capacity = 1, .lanes = 1};
    struct cn_buf b;

    cn_buf_init(&b, 1 << 16);
    if (cn_msg_put_hello(&b, &hello, NULL) < 0 || write(FD, b.data, b.len) < (ssize_t)b.len)
        _exit(1);
    cn_buf_release(&b);
}

static int sip(void)
{
    char *cup = cn_xmalloc(SIP);

    prctl(PR_SET_PDEATHSIG, SIGKILL); /* a failed test leaves nothing behind */
    say_hello();
    for (;;) {
        raise(SIGSTOP); /* until the test wants more */
        for (ssize_t n, left = SIP; left > 0; left -= n)
            if ((n = read(FD, cup, (size_t)left)) <= 0)
                _exit(0);
    }
}

/* ---- the test ---- */

static uv_loop_t loop;
static int hellos, downs;
static enum cn_process_cause why;

static void on_hello(void *arg, struct cn_msg_hello *hello)
{
    (void)arg;
    (void)hello;
    hellos++;
}

static void on_ready(void *arg)
{
    (void)arg;
}

static void on_frame(void *arg, const struct cn_frame *f)
{
    (void)arg;
    (void)f;
}

static void on_down(void *arg, enum cn_process_cause cause, const char *text)
{
    (void)arg;
    (void)text;
    downs++;
    why = cause;
}

/* Without work for the loop there is nothing to wait for but the worker. */
static void turn(void)
{
    uv_run(&loop, UV_RUN_NOWAIT);
    usleep(1000);
}

static bool is_stopped(int pid)
{
    char path[40], state = '?';
    FILE *f;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    f = fopen(path, "r");
    if (f != NULL && fscanf(f, "%*d (%*[^)]) %c", &state) != 1)
        state = '?';
    if (f != NULL)
        fclose(f);
    return state == 'T';
}

/* The worker takes some bytes and stands still again. */
static void let_sip(int pid)
{
    assert_int_equal(kill(pid, SIGCONT), 0);
    do
        turn();
    while (!is_stopped(pid));
}

static void send_job(struct cn_process *p)
{
    struct cn_spec spec;
    struct cn_buf b;

    cn_spec_init(&spec);
    spec.init_image.data = cn_xcalloc(1, JOB);
    spec.init_image.len = JOB;
    cn_buf_init(&b, CN_FRAME_MAX);
    assert_int_equal(cn_msg_put_job(&b, 1, &spec, NULL), CN_OK);
    cn_process_send(p, &b);
    cn_buf_release(&b);
    cn_spec_release(&spec);
}

/* Who takes bytes is alive, however long it needs for them; who takes none is not. */
static void a_worker_that_takes_a_large_job_slowly_lives(void **state)
{
    static const char *const args[] = {NULL};
    struct cn_process_options o = {.loop = &loop,
                                   .program = "/proc/self/exe",
                                   .args = args,
                                   .start_timeout_s = 3600,
                                   .ping_ms = 0, /* each tick is one */
                                   .on_hello = on_hello,
                                   .on_ready = on_ready,
                                   .on_frame = on_frame,
                                   .on_down = on_down};
    struct cn_process *p;
    int pid;

    (void)state;
    uv_loop_init(&loop);
    p = cn_process_new(&o);
    cn_process_start(p);
    pid = cn_process_pid(p);
    while (hellos == 0 || !is_stopped(pid))
        turn();
    send_job(p);
    for (int i = 0; i < SIPS; i++) {
        let_sip(pid);
        for (int k = 0; k < 2; k++)
            cn_process_tick(p);
        turn();
        assert_int_equal(downs, 0);
        assert_string_equal(cn_process_trouble(p), "");
    }
    for (int k = 0; k < 4; k++)
        cn_process_tick(p);
    while (downs == 0)
        turn();
    assert_int_equal(why, CN_CAUSE_HANG);
    cn_process_stop(p);
    while (!cn_process_gone(p))
        turn();
    cn_process_free(p);
    while (uv_loop_close(&loop) != 0)
        turn();
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_worker_that_takes_a_large_job_slowly_lives),
    };

    if (argc > 1 && strcmp(argv[1], "--fd") == 0)
        return sip();
    signal(SIGPIPE, SIG_IGN); /* as the daemon does */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
