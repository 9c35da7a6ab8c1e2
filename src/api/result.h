/* What goes out as JSON: results, jobs and their events, the models, the names of things. Any
 * thread.
 *
 * A result is written in pieces, so that nobody ever holds it with all its pictures: the text
 * before a picture's base64, and what stands between two of them.
 *
 *     form->begin(&r, &buf, &err);
 *     for each picture: form->image(&r, &meta, nth, index, &buf, &err), its base64, form->image_end
 *     form->end(&r, &buf, &err);
 */
#ifndef CN_API_RESULT_H
#define CN_API_RESULT_H

#include "base/base.h"
#include "base/buf.h"
#include "api/problem.h"
#include "api/problem_kind.h"
#include "api/request.h"
#include "job/catalog.h"
#include "job/job.h"
#include "job/jobs.h"

/* A job that succeeded. Borrowed. */
struct cn_result {
    const char *id;
    const struct cn_spec *spec;
    const struct cn_api_beside *beside; /* of the request that is answered; NULL: nothing */
    const struct cn_warnings *warnings;
    double queue_ms, run_ms, total_ms;
    const double *stage_ms; /* CN_STAGE_COUNT of them; 0: not measured */
};

struct cn_result cn_result_of_job(const struct cn_job *job);

/* What stands around the pictures' base64, by dialect. */
struct cn_result_form {
    int (*begin)(const struct cn_result *r, struct cn_buf *out, struct cn_err *err);
    /* nth: of those that are answered, from 0; index: of the job's pictures. */
    int (*image)(const struct cn_result *r, const struct cn_image_meta *m, int nth, int index,
                 struct cn_buf *out, struct cn_err *err);
    int (*image_end)(const struct cn_result *r, struct cn_buf *out, struct cn_err *err);
    int (*end)(const struct cn_result *r, struct cn_buf *out, struct cn_err *err);
};

/* {id, model, images: [{…, data}], parameters, warnings, timings_ms}. */
extern const struct cn_result_form cn_result_native;

/* {id, warnings}, for who gets the pictures themselves. */
int cn_result_warnings(const char *id, const struct cn_warnings *w, struct cn_buf *out,
                       struct cn_err *err);

enum { CN_WARNINGS_FIELD = 512 };

/* The same as a header field, a list of RFC 9651: prompt-truncated;pointer="/prompt", ... As many
 * as fit. */
void cn_warnings_field(const struct cn_warnings *w, char *text, size_t size);

/* What a submission is answered with: {id, state, position, eta_s, warnings, url, events}. */
int cn_result_accepted(const struct cn_job_view *v, struct cn_buf *out, struct cn_err *err);

/* The problem that a job's end is, for a state other than succeeded. */
enum cn_problem_kind cn_problem_of_end(enum cn_job_state state, const struct cn_err *err);

/* The same as a document, for events, parts and views. The texts are err's. */
struct cn_problem cn_problem_document(enum cn_job_state state, const struct cn_err *err);

/* A job, with what its end is for a client. full: with its parameters and the times of its stages.
 */
int cn_result_view(const struct cn_job_view *v, bool full, struct cn_buf *out, struct cn_err *err);

/* What a receiver of webhooks is told when a job is over: {type, timestamp, context, data}, data as
 * cn_result_view with all. The same in every attempt. */
int cn_result_told(const struct cn_job_view *v, const char *context, struct cn_buf *out,
                   struct cn_err *err);

/* One event as text/event-stream has it: id, event, data (one line of JSON) and an empty line. */
int cn_result_event(const struct cn_job_event *e, const char *job_id,
                    const struct cn_problem *error, struct cn_buf *out, struct cn_err *err);

/* One of them, for OpenAI's clients as well. */
int cn_result_model(const struct cn_dispatch *d, const char *name, struct cn_buf *out,
                    struct cn_err *err);
int cn_result_models(const struct cn_dispatch *d, struct cn_buf *out, struct cn_err *err);
int cn_result_samplers(struct cn_buf *out, struct cn_err *err);
int cn_result_adapters(const struct cn_catalog *c, struct cn_buf *out, struct cn_err *err);
int cn_result_annotators(const struct cn_catalog *c, struct cn_buf *out, struct cn_err *err);

#endif
