/* Ctrl-C and kill: noted, and seen by the engine between two steps. */
#include "base/base.h"
#include "cli/cli.h"

#include <signal.h>

static volatile sig_atomic_t caught;

static void note(int sig)
{
    caught = sig;
}

void cn_cli_catch_signals(void)
{
    struct sigaction a = {.sa_handler = note};

    sigemptyset(&a.sa_mask);
    a.sa_flags = SA_RESTART | (int)SA_RESETHAND;
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
}

int cn_cli_signal(void)
{
    return (int)caught;
}
