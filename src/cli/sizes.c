/* --original-size, --crop and --target-size: what a model is told of its picture's size. */
#include "base/base.h"
#include "cli/cli.h"

#include <stdio.h>

/* "1024x768" with its separator, and nothing behind it. */
static int read_pair(const char *option, const char *text, char between, int *first, int *second,
                     struct cn_err *err)
{
    char c = 0, rest = 0;

    if (text == NULL)
        return CN_OK;
    if (sscanf(text, "%6d%c%6d%c", first, &c, second, &rest) != 3 || c != between || *first < 0 ||
        *second < 0)
        return cn_fail(err, CN_EINVAL, "%s: \"%.60s\" is not two numbers with \"%c\" between them",
                       option, text, between);
    return CN_OK;
}

int cn_cli_read_sizes(const struct cn_cli_sizes *o, struct cn_spec_sizes *ret, struct cn_err *err)
{
    int rc;

    if ((rc = read_pair("--original-size", o->original, 'x', &ret->original_width,
                        &ret->original_height, err)) < 0 ||
        (rc = read_pair("--crop", o->crop, ',', &ret->crop_left, &ret->crop_top, err)) < 0)
        return rc;
    return read_pair("--target-size", o->target, 'x', &ret->target_width, &ret->target_height, err);
}
