/* under-filter PROGRAM ARGS...: runs it as systemd does with SystemCallFilter= and
 * SystemCallErrorNumber=EPERM. The calls that are allowed come on standard input, one a line; those
 * that this machine does not have are skipped. */
#include "base/base.h"

#include <errno.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    char name[80];
    int n = 0;

    if (argc < 2 || ctx == NULL)
        return 2;
    while (fgets(name, sizeof(name), stdin) != NULL) {
        int call;

        name[strcspn(name, "\n")] = '\0';
        call = seccomp_syscall_resolve_name(name);
        if (call != __NR_SCMP_ERROR && seccomp_rule_add(ctx, SCMP_ACT_ALLOW, call, 0) == 0)
            n++;
    }
    if (n == 0 || seccomp_load(ctx) != 0)
        return 2;
    seccomp_release(ctx);
    execv(argv[1], argv + 1);
    fprintf(stderr, "under-filter: %s: %s\n", argv[1], strerror(errno));
    return 2;
}
