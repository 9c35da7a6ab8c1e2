/* What the layers are called, also by those who do not stand behind them. */
#include "base/base.h"
#include "decoding/wall.h"

#include <stdio.h>

static const char *const name[] = {"limits", "landlock", "seccomp"}; /* of each bit */

void cn_wall_describe(unsigned layers, char *text, size_t size)
{
    size_t at = 0;

    snprintf(text, size, "none");
    for (size_t i = 0; i < CN_LEN(name); i++)
        if ((layers & 1u << i) != 0 && at < size)
            at += (size_t)snprintf(text + at, size - at, "%s%s", at > 0 ? ", " : "", name[i]);
}
