/* controlnetd --check-store: the check of the job store, for a person at a terminal. */
#include "base/base.h"
#include "front/store_cli.h"
#include "store/check.h"

#include <stdio.h>

static void say(void *arg, bool trouble, const char *text)
{
    (void)arg;
    printf("%s%s\n", trouble ? "TROUBLE: " : "", text);
}

int cn_store_cli_check(const char *dir, struct cn_err *err)
{
    int n;

    if (dir[0] == '\0')
        return cn_fail(err, CN_ENOTFOUND, "store.dir is empty: nothing is kept");
    n = cn_store_check(dir, say, NULL, err);
    if (n < 0)
        return n;
    if (n > 0)
        return cn_fail(err, CN_EFORMAT, "\"%s\" is not whole: %d troubles", dir, n);
    printf("the store \"%s\" is whole\n", dir);
    return CN_OK;
}
