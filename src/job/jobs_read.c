/* Questions that are answered through a callback. */
#include "base/base.h"
#include "job/jobs.h"
#include "base/mem.h"

#include <stdlib.h>

void cn_jobs_forget(struct cn_jobs_read *read)
{
    (void)read;
}

struct cn_jobs_read *cn_jobs_look(struct cn_jobs *js, const char *tenant, const char *id,
                                  cn_looked_fn done, void *arg)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_job_view v;

    if (cn_jobs_view(js, tenant, id, &v, &err) < 0)
        done(arg, NULL, &err);
    else
        done(arg, &v, NULL);
    return NULL;
}

struct cn_jobs_read *cn_jobs_browse(struct cn_jobs *js, const char *tenant,
                                    const struct cn_jobs_query *q, cn_listed_fn done, void *arg)
{
    struct cn_jobs_page *page = cn_xcalloc(1, sizeof(*page));
    struct cn_err err = CN_ERR_INIT;

    if (cn_jobs_list(js, tenant, q, page, &err) < 0) {
        done(arg, NULL, &err);
    } else {
        done(arg, page, NULL);
        cn_jobs_page_release(page);
    }
    free(page);
    return NULL;
}

struct cn_jobs_read *cn_jobs_picture(struct cn_jobs *js, const char *tenant, const char *id, int k,
                                     cn_picture_fn done, void *arg)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_image_file f;

    if (cn_jobs_open_image(js, tenant, id, k, &f, &err) < 0)
        done(arg, NULL, &err);
    else
        done(arg, &f, NULL);
    return NULL;
}

struct cn_jobs_read *cn_jobs_follow(struct cn_jobs *js, const char *tenant, const char *id,
                                    uint64_t last_id, void (*wake)(void *arg), cn_followed_fn done,
                                    void *arg)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_watch *w;

    if (cn_jobs_watch(js, tenant, id, last_id, wake, arg, &w, &err) < 0)
        done(arg, NULL, &err);
    else
        done(arg, w, NULL);
    return NULL;
}
