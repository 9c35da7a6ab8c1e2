/* Each layer of the wall by itself: one must hold where another cannot be had. */
#include "base/base.h"
#include "decoding/wall.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { NO_LAYER = 77 };

/* What a child sees behind one layer: 0 when all is as it should be, else where it is not. */
typedef int (*look_fn)(void);

static int behind(enum cn_wall_layer layer, look_fn look)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        if (cn_wall_raise(layer) != layer)
            _exit(NO_LAYER);
        syscall(SYS_exit_group, look()); /* not _exit(): sanitizers do more there */
    }
    assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == NO_LAYER)
        skip();
    return status;
}

static int look_at_files(void)
{
    int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC);

    if (fd >= 0 || errno != EACCES)
        return 1;
    if (open("/dev/null", O_WRONLY | O_CLOEXEC) >= 0 || mkdir("/tmp/wall", 0700) == 0)
        return 2;
    execl("/bin/true", "true", (char *)NULL);
    return errno == EACCES ? 0 : 3;
}

static void test_files(void **state)
{
    (void)state;
    assert_int_equal(behind(CN_WALL_FILES, look_at_files), 0);
}

static int look_at_limits(void)
{
    struct rlimit l;

    if (getrlimit(RLIMIT_CORE, &l) != 0 || l.rlim_max != 0)
        return 1;
    if (getrlimit(RLIMIT_NPROC, &l) != 0 || l.rlim_max != 0)
        return 2;
    if (getrlimit(RLIMIT_CPU, &l) != 0 || l.rlim_cur != CN_WALL_CPU_S)
        return 3;
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    if (mmap(NULL, CN_WALL_MEMORY, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
        return 4;
#endif
    for (int i = 0; i < 16; i++)
        if (dup(0) < 0)
            return 0;
    return 5;
}

static void test_limits(void **state)
{
    (void)state;
    assert_int_equal(behind(CN_WALL_LIMITS, look_at_limits), 0);
}

static int open_a_file(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC) >= 0 ? 1 : 2;
}

static int open_a_socket(void)
{
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) >= 0 ? 1 : 2;
}

static int signal_another(void)
{
    return kill(getppid(), 0);
}

static int allocate(void)
{
    char *p = malloc(32 << 20);

    if (p == NULL)
        return 1;
    memset(p, 1, 32 << 20);
    free(p);
    return 0;
}

static void test_calls(void **state)
{
    static const look_fn bad[] = {open_a_file, open_a_socket, signal_another};

    (void)state;
    assert_int_equal(behind(CN_WALL_CALLS, allocate), 0);
    for (size_t i = 0; i < CN_LEN(bad); i++) {
        int status = behind(CN_WALL_CALLS, bad[i]);

        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
    }
}

static void test_names(void **state)
{
    char text[64];

    (void)state;
    cn_wall_describe(CN_WALL_ALL, text, sizeof(text));
    assert_string_equal(text, "limits, landlock, seccomp");
    cn_wall_describe(CN_WALL_FILES, text, sizeof(text));
    assert_string_equal(text, "landlock");
    cn_wall_describe(0, text, sizeof(text));
    assert_string_equal(text, "none");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_files), cmocka_unit_test(test_limits),
                                       cmocka_unit_test(test_calls), cmocka_unit_test(test_names)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
