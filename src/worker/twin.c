/* Asking a program whether it finds a device, and being that program. */
#include "base/base.h"
#include "base/mem.h"
#include "worker/twin.h"

#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int worker_probe(const struct cn_engine_opts *opts)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_engine *e;

    if (cn_engine_new(opts, &e, &err) < 0) {
        fprintf(stderr, "controlnet-worker: %s\n", err.msg);
        return 1;
    }
    printf("%s %s\n", cn_engine_backend(e), cn_engine_device(e));
    cn_engine_free(e);
    return 0;
}

/* Runs "TWIN --backend cuda --probe"; true when it finds a device. What it says is not for this
 * program's output: that it is not installed, or its libraries are not, is no fault. */
static bool finds_device(char *twin)
{
    char *const args[] = {twin, "--backend", "cuda", "--probe", NULL};
    posix_spawn_file_actions_t quiet;
    int status = 0;
    pid_t child;
    bool found;

    posix_spawn_file_actions_init(&quiet);
    posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&quiet, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    found = posix_spawn(&child, twin, &quiet, NULL, args, environ) == 0 &&
            waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    posix_spawn_file_actions_destroy(&quiet);
    return found;
}

void worker_become_twin(char **argv)
{
    char self[512];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *twin;

    if (n <= 0)
        return;
    self[n] = '\0';
    twin = cn_xprintf("%s-cuda", self);
    if (access(twin, X_OK) == 0 && finds_device(twin))
        execv(twin, argv);
    free(twin);
}
