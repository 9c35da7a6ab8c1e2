/* Ctrl-C and kill: noted, and seen by the engine between two steps.
 *
 * DESIGN. SIGINT and SIGTERM are blocked in every thread, and one thread waits for them with
 * sigwait(). No handler ever runs on a computing thread: kernels that oneDNN 2.6 generates use the
 * stack pointer as a general register, and the frame of a handler then lands in the heap (measured
 * with a timer signal every millisecond: "corrupted size vs. prev_size" within a second, or a wrong
 * picture; none with the signal blocked or on a stack of its own).
 */
#include "base/base.h"
#include "cli/cli.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

static atomic_int caught;

static void *wait_for_signals(void *set)
{
    int sig;

    while (sigwait(set, &sig) == 0)
        if (atomic_exchange(&caught, sig) != 0)
            _exit(128 + sig); /* the second one does not wait for the end of the step */
    return NULL;
}

void cn_cli_catch_signals(void)
{
    static sigset_t set;
    pthread_t thread;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    if (pthread_create(&thread, NULL, wait_for_signals, &set) != 0)
        pthread_sigmask(SIG_UNBLOCK, &set, NULL); /* then they end the process, as by default */
    else
        pthread_detach(thread);
}

int cn_cli_signal(void)
{
    return atomic_load(&caught);
}
