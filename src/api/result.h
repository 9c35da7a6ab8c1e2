/* What goes out as JSON: results, jobs and their events, the models, the names of things. Any
 * thread.
 *
 *     cn_buf_init(&buf, CN_RESULT_MAX);
 *     if (cn_result_job(job, &buf, &err) < 0) ...
 */
#ifndef CN_API_RESULT_H
#define CN_API_RESULT_H

#include "base/base.h"
#include "base/buf.h"
#include "api/problem.h"
#include "job/catalog.h"
#include "job/job.h"
#include "job/jobs.h"

#define CN_RESULT_MAX ((size_t)512 << 20)

/* A job that succeeded, with its pictures in memory. Borrowed. */
struct cn_result {
    const char *id;
    const struct cn_spec *spec;
    const struct cn_job_image *image; /* spec->n of them */
    double queue_ms, run_ms, total_ms;
    const double *stage_ms; /* CN_STAGE_COUNT of them; 0: not measured */
};

/* {id, model, images: [{…, data}], parameters, timings_ms}. */
int cn_result_write(const struct cn_result *r, struct cn_buf *out, struct cn_err *err);
int cn_result_job(const struct cn_job *job, struct cn_buf *out, struct cn_err *err);

/* What a submission is answered with: {id, state, position, eta_s, url, events}. */
int cn_result_accepted(const struct cn_job_view *v, struct cn_buf *out);

/* A job. error: what its end is for a client, NULL when it has none. full: with its parameters and
 * the times of its stages. */
int cn_result_view(const struct cn_job_view *v, const struct cn_problem *error, bool full,
                   struct cn_buf *out, struct cn_err *err);

/* One event as text/event-stream has it: id, event, data (one line of JSON) and an empty line. */
int cn_result_event(const struct cn_job_event *e, const char *job_id,
                    const struct cn_problem *error, struct cn_buf *out, struct cn_err *err);

int cn_result_models(const struct cn_dispatch *d, struct cn_buf *out, struct cn_err *err);
int cn_result_samplers(struct cn_buf *out, struct cn_err *err);
int cn_result_annotators(const struct cn_catalog *c, struct cn_buf *out, struct cn_err *err);

#endif
