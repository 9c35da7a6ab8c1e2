/* Executing the running program anew, with a variable in its environment that libraries read before
 * main() begins. */
#include "base/base.h"
#include "base/reexec.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

void cn_reexec_with(const char *name, const char *value, char **argv)
{
    if (getenv(name) == NULL && setenv(name, value, 1) == 0)
        execv("/proc/self/exe", argv);
    prctl(PR_SET_NAME, program_invocation_short_name); /* lists of processes would say "exe" */
}
