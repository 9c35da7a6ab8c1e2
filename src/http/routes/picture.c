/* Pictures: found in memory or asked of the service, and sent without a copy. */
#include "base/base.h"
#include "http/routes/picture.h"
#include "http/routes/routes_priv.h"

#include <unistd.h>

const char *cn_media_of(enum cn_format format)
{
    static const char *const media[CN_FORMAT_COUNT] = {"image/png", "image/jpeg", "image/webp"};

    return media[format];
}

static void on_picture(void *arg, const struct cn_image_file *file, const struct cn_err *err)
{
    struct cn_picture *p = arg;

    p->done = true;
    p->read = NULL;
    if (file != NULL)
        p->file = *file;
    else
        p->err = *err;
    p->wake(p->arg);
}

static void nothing(void *arg)
{
    (void)arg;
}

void cn_picture_ask(struct cn_picture *p, struct cn_request *q, struct cn_job *job, const char *id,
                    int k, void (*wake)(void *arg), void *arg)
{
    struct cn_jobs_read *read;

    *p = (struct cn_picture){.file = {.fd = -1}, .wake = nothing};
    if (job != NULL && k < cn_spec_pictures(&job->spec) && job->image[k].data != NULL) {
        const struct cn_job_image *m = &job->image[k];

        p->done = true;
        p->file = (struct cn_image_file){
            .fd = -1, .data = m->data, .job = cn_job_ref(job), .meta = m->meta};
        return;
    }
    read = cn_jobs_picture(cn_jobs_of(q), cn_request_scope(q), id, k, on_picture, p);
    if (p->done)
        return;
    p->read = read;
    p->wake = wake;
    p->arg = arg;
}

static void unref_job(void *job)
{
    cn_job_unref(job);
}

struct cn_source *cn_picture_source(struct cn_picture *p, struct cn_request *q, uint64_t first,
                                    uint64_t len)
{
    struct cn_image_file f = p->file;

    p->file = (struct cn_image_file){.fd = -1};
    if (f.fd >= 0)
        return cn_source_file(q->core->o.loop, f.fd, first, len);
    return cn_source_counted(&q->core->out, f.data, f.data + first, len, unref_job, f.job);
}

void cn_picture_drop(struct cn_picture *p)
{
    if (p->read != NULL)
        cn_jobs_forget(p->read);
    p->read = NULL;
    if (p->done && p->file.fd >= 0)
        close(p->file.fd);
    if (p->done)
        cn_job_unref(p->file.job);
    p->file = (struct cn_image_file){.fd = -1};
}
