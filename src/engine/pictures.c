/* What reading a request's pictures has in common: files to pixels, and whose fault it was. */
#include "base/base.h"
#include "engine/job_priv.h"
#include "image/codec.h"

#include <stdio.h>

int cn_job_blame_field(struct cn_err *err, const char *where)
{
    if (err != NULL && err->where[0] == '\0')
        snprintf(err->where, sizeof(err->where), "%s", where);
    return err != NULL ? err->code : CN_EINVAL;
}

int cn_job_decode(const struct cn_job *j, const struct cn_blob *blob, struct cn_image *ret,
                  struct cn_err *err)
{
    const struct cn_engine_hooks *h = &j->e->opts.hooks;

    return h->decode != NULL ? h->decode(h->ctx, blob->data, blob->len, ret, err)
                             : cn_image_decode(blob->data, blob->len, NULL, ret, err);
}

bool cn_job_keeps_map(const struct cn_job *j, int i)
{
    return j->spec->kind == CN_KIND_ANNOTATE || j->control[i].spec->return_map;
}
