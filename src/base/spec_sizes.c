/* Sizes that a model is told of its picture. */
#include "base/base.h"
#include "base/spec.h"

enum { MAX_TOLD = 65536 };

bool cn_spec_has_sizes(const struct cn_spec *s)
{
    const struct cn_spec_sizes *z = &s->sizes;

    return z->original_width != 0 || z->original_height != 0 || z->crop_left != 0 ||
           z->crop_top != 0 || z->target_width != 0 || z->target_height != 0;
}

static int check(const char *where, int v, int least, struct cn_err *err)
{
    if (v >= least && v <= MAX_TOLD)
        return CN_OK;
    return cn_fail_at(err, CN_EINVAL, where, "%d is out of range: %d to %d are accepted", v, least,
                      MAX_TOLD);
}

/* Both sides, or none: then it is the picture's own. */
static int check_pair(const char *where_width, int width, const char *where_height, int height,
                      struct cn_err *err)
{
    int rc;

    if (width == 0 && height == 0)
        return CN_OK;
    rc = check(where_width, width, 1, err);
    return rc < 0 ? rc : check(where_height, height, 1, err);
}

int cn_spec_sizes_check(const struct cn_spec *s, struct cn_err *err)
{
    const struct cn_spec_sizes *z = &s->sizes;
    int rc;

    if ((rc = check_pair("/original_size/width", z->original_width, "/original_size/height",
                         z->original_height, err)) < 0 ||
        (rc = check_pair("/target_size/width", z->target_width, "/target_size/height",
                         z->target_height, err)) < 0 ||
        (rc = check("/crop/left", z->crop_left, 0, err)) < 0)
        return rc;
    return check("/crop/top", z->crop_top, 0, err);
}
