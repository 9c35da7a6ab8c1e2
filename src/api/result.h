/* What goes out as JSON: a finished job, the models, the names of things. Any thread.
 *
 *     cn_buf_init(&buf, CN_RESULT_MAX);
 *     if (cn_result_job(job, &buf, &err) < 0) ...
 */
#ifndef CN_API_RESULT_H
#define CN_API_RESULT_H

#include "base/base.h"
#include "base/buf.h"
#include "job/catalog.h"
#include "job/job.h"

#define CN_RESULT_MAX ((size_t)512 << 20)

/* {id, model, images: [{…, data}], parameters, timings_ms} of a job that succeeded. */
int cn_result_job(const struct cn_job *job, struct cn_buf *out, struct cn_err *err);

int cn_result_models(const struct cn_catalog *c, struct cn_buf *out, struct cn_err *err);
int cn_result_samplers(struct cn_buf *out, struct cn_err *err);
int cn_result_annotators(const struct cn_catalog *c, struct cn_buf *out, struct cn_err *err);

#endif
