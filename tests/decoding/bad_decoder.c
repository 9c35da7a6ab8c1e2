/* A decoder that does what an attacker's code in it would: what, is said by the first bytes of the
 * "picture". Everything else it decodes like the real one. Behind the same wall.
 *
 * crash, abort, loop, sleep, memory, exit, close; system calls: open, socket, fork, exec, kill,
 * stop, code, print; nonsense on its socket: answer-*. "remember" says how
 * many it has read before, and which process it is.
 */
#include "base/base.h"
#include "decoding/message.h"
#include "decoding/serve.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static void do_crash(void)
{
    signal(SIGSEGV, SIG_DFL); /* a sanitizer has a handler */
    raise(SIGSEGV);
}

static void do_loop(void)
{
    for (volatile unsigned i = 0;; i = i + 1) /* a sanitizer would report an overflow */
        ;
}

static void do_sleep(void)
{
    pthread_mutex_t m = PTHREAD_MUTEX_INITIALIZER;

    pthread_mutex_lock(&m);
    pthread_mutex_lock(&m);
}

static void do_exit(void)
{
    _exit(3);
}

static void do_open(void)
{
    open("/etc/passwd", O_RDONLY | O_CLOEXEC);
}

static void do_socket(void)
{
    socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

static void do_fork(void)
{
    if (fork() == 0)
        _exit(0);
}

static void do_exec(void)
{
    execl("/bin/true", "true", (char *)NULL);
}

static void do_kill(void)
{
    kill(getppid(), SIGKILL);
}

static void do_stop(void)
{
    kill(getpid(), SIGSTOP);
}

static void do_code(void)
{
    mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void do_print(void)
{
    if (write(STDOUT_FILENO, "x", 1) == 1)
        _exit(4);
}

static void answer(const struct cn_decoding_reply *r, size_t size)
{
    send(CN_DECODING_FD, r, size, MSG_NOSIGNAL);
}

static void do_answer_short(void)
{
    answer(&(struct cn_decoding_reply){.type = CN_DECODING_REPLY}, 8);
}

static void do_answer_type(void)
{
    answer(&(struct cn_decoding_reply){.type = 7, .w = 1, .h = 1, .c = 3},
           sizeof(struct cn_decoding_reply));
}

static void do_answer_size(void)
{
    answer(&(struct cn_decoding_reply){.type = CN_DECODING_REPLY, .w = 4097, .h = 1, .c = 3},
           sizeof(struct cn_decoding_reply));
}

static void do_answer_negative(void)
{
    answer(&(struct cn_decoding_reply){.type = CN_DECODING_REPLY, .w = -1, .h = -1, .c = 3},
           sizeof(struct cn_decoding_reply));
}

static void do_answer_channels(void)
{
    answer(&(struct cn_decoding_reply){.type = CN_DECODING_REPLY, .w = 1, .h = 1, .c = 5},
           sizeof(struct cn_decoding_reply));
}

static void do_answer_code(void)
{
    answer(&(struct cn_decoding_reply){.type = CN_DECODING_REPLY, .rc = CN_EDEVICE},
           sizeof(struct cn_decoding_reply));
}

static void do_answer_text(void)
{
    struct cn_decoding_reply r = {.type = CN_DECODING_REPLY, .rc = CN_EFORMAT};

    memset(r.msg, '\n', sizeof(r.msg));
    answer(&r, sizeof(r));
}

/* Closes its socket and goes on. */
static void do_close(void)
{
    close(CN_DECODING_FD);
    do_loop();
}

static const struct deed {
    const char *name;
    void (*deed)(void);
} deed[] = {
    {"crash", do_crash},
    {"abort", abort},
    {"loop", do_loop},
    {"sleep", do_sleep},
    {"exit", do_exit},
    {"close", do_close},
    {"open", do_open},
    {"socket", do_socket},
    {"fork", do_fork},
    {"exec", do_exec},
    {"kill", do_kill},
    {"stop", do_stop},
    {"code", do_code},
    {"print", do_print},
    {"answer-short", do_answer_short},
    {"answer-type", do_answer_type},
    {"answer-size", do_answer_size},
    {"answer-negative", do_answer_negative},
    {"answer-channels", do_answer_channels},
    {"answer-code", do_answer_code},
    {"answer-text", do_answer_text},
};

/* Memory without end, all of it used. */
static int take_memory(struct cn_err *err)
{
    enum { PIECE = 16 << 20 };
    size_t taken = 0;
    void *p;

    while ((p = mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) !=
           MAP_FAILED) {
        memset(p, 1, PIECE);
        taken += PIECE;
    }
    return cn_fail(err, CN_ENOMEM, "no memory after %zu MiB", taken >> 20);
}

/* As taken-over code would keep something for the next picture. */
static int remember(struct cn_err *err)
{
    static int seen;

    return cn_fail(err, CN_EFORMAT, "%d seen before by %d", seen++, (int)getpid());
}

static int decode(const void *data, size_t len, const struct cn_image_limits *limits,
                  struct cn_image *ret, struct cn_err *err)
{
    for (size_t i = 0; i < CN_LEN(deed); i++)
        if (len == strlen(deed[i].name) && memcmp(data, deed[i].name, len) == 0) {
            deed[i].deed();
            return cn_fail(err, CN_EFORMAT, "it was let through");
        }
    if (len == 6 && memcmp(data, "memory", 6) == 0)
        return take_memory(err);
    if (len == 8 && memcmp(data, "remember", 8) == 0)
        return remember(err);
    return cn_image_decode(data, len, limits, ret, err);
}

int main(void)
{
    _exit(cn_decoding_serve(CN_DECODING_FD, decode) == CN_OK ? 0 : 1);
}
