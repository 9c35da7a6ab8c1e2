/* A job while it is with the dispatcher: counted, with transitions that are checked. */
#include "base/base.h"
#include "job/job.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/random.h"

#include <stdlib.h>
#include <string.h>

static const char *const state_names[CN_JOB_STATE_COUNT] = {"queued", "running",   "succeeded",
                                                            "failed", "cancelled", "expired"};
const struct cn_enum cn_enum_job_state = {"state", state_names, CN_JOB_STATE_COUNT};

/* 128 bits as 26 characters of Crockford's base32 in lower case. */
static void draw_name(char name[27])
{
    static const char digit[] = "0123456789abcdefghjkmnpqrstvwxyz";
    unsigned char raw[16];
    unsigned acc = 0, bits = 0;
    size_t at = 0;

    cn_random_bytes(raw, sizeof(raw));
    for (size_t i = 0; i < sizeof(raw); i++) {
        acc = acc << 8 | raw[i];
        for (bits += 8; bits >= 5; bits -= 5)
            name[at++] = digit[acc >> (bits - 5) & 31];
    }
    name[at++] = digit[acc << (5 - bits) & 31];
    name[at] = '\0';
    CN_ASSERT(at == 26);
}

struct cn_job *cn_job_new(struct cn_spec *spec)
{
    static uint64_t last_id;
    struct cn_job *job = cn_xcalloc(1, sizeof(*job));

    job->id = ++last_id;
    job->refs = 1;
    job->attempt = 1;
    job->worker = job->last_worker = -1;
    job->spec = *spec;
    memset(spec, 0, sizeof(*spec));
    if (!job->spec.has_seed) {
        job->spec.seed = cn_random_seed();
        job->spec.has_seed = true;
    }
    if (job->spec.subseed_strength > 0 && !job->spec.has_subseed) {
        job->spec.subseed = cn_random_seed();
        job->spec.has_subseed = true;
    }
    job->image = cn_xcalloc((size_t)cn_spec_pictures(&job->spec), sizeof(*job->image));
    job->queued_ns = cn_now_ns();
    cn_spec_warn(&job->spec, &job->warnings);
    draw_name(job->name);
    return job;
}

struct cn_job *cn_job_ref(struct cn_job *job)
{
    job->refs++;
    return job;
}

static void drop_images(struct cn_job *job)
{
    int n = cn_spec_pictures(&job->spec);

    for (int i = 0; i < n; i++) {
        free(job->image[i].data);
        job->image[i] = (struct cn_job_image){0};
    }
}

void cn_job_unref(struct cn_job *job)
{
    if (job == NULL || --job->refs > 0)
        return;
    drop_images(job);
    free(job->image);
    cn_tenant_unref(job->tenant);
    cn_spec_release(&job->spec);
    cn_warnings_release(&job->warnings);
    free(job);
}

bool cn_job_final(const struct cn_job *job)
{
    return job->state >= CN_JOB_SUCCEEDED;
}

bool cn_job_may(enum cn_job_state from, enum cn_job_state to)
{
    switch (from) {
    case CN_JOB_QUEUED:
        return to == CN_JOB_RUNNING || to == CN_JOB_FAILED || to == CN_JOB_CANCELLED ||
               to == CN_JOB_EXPIRED;
    case CN_JOB_RUNNING:
        return to != CN_JOB_RUNNING;
    default:
        return false;
    }
}

void cn_job_move(struct cn_job *job, enum cn_job_state to)
{
    CN_ASSERT(cn_job_may(job->state, to));
    if (to == CN_JOB_RUNNING)
        job->started_ns = cn_now_ns();
    else if (to != CN_JOB_QUEUED)
        job->ended_ns = cn_now_ns();
    job->state = to;
}

void cn_job_forget_attempt(struct cn_job *job)
{
    drop_images(job);
    memset(job->stage_ms, 0, sizeof(job->stage_ms));
    job->progress = (struct cn_msg_progress){0};
    job->err = (struct cn_err)CN_ERR_INIT;
    job->started_ns = 0;
}

void cn_job_steps(const struct cn_job *job, int *ret_done, int *ret_total)
{
    *ret_total = job->progress.total;
    *ret_done = job->state == CN_JOB_SUCCEEDED ? job->progress.total : job->progress.done;
}

double cn_job_fraction(const struct cn_job *job)
{
    int done, total;

    if (job->state == CN_JOB_SUCCEEDED)
        return 1;
    cn_job_steps(job, &done, &total);
    return total <= 0 ? 0 : CN_MIN((double)done / total, 1);
}

int cn_job_put_image(struct cn_job *job, const struct cn_msg_image *m, struct cn_err *err)
{
    struct cn_job_image *image;
    int n = cn_spec_pictures(&job->spec);

    if (m->index >= n || job->image[m->index].meta.bytes > 0)
        return cn_fail(err, CN_EFORMAT, "the worker sent image %d of %d twice or too many",
                       m->index, n);
    if (m->meta.bytes == 0)
        return cn_fail(err, CN_EFORMAT, "the worker sent image %d empty", m->index);
    image = &job->image[m->index];
    image->data = cn_try_alloc(m->meta.bytes);
    if (image->data == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for an image of %zu bytes", m->meta.bytes);
    memcpy(image->data, m->data, m->meta.bytes);
    image->meta = m->meta;
    return CN_OK;
}

int cn_job_complete(const struct cn_job *job, struct cn_err *err)
{
    int n = cn_spec_pictures(&job->spec);

    for (int i = 0; i < n; i++)
        if (job->image[i].meta.bytes == 0)
            return cn_fail(err, CN_EINTERNAL, "the worker finished without image %d", i);
    return CN_OK;
}
