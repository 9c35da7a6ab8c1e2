/* A picture of a job on its way to an answer. Loop thread only.
 *
 *     cn_picture_ask(&p, q, job, id, k, wake, arg);        -- wake(arg), unless p.done already
 *     if (p.err.code == 0) source = cn_picture_source(&p, q, 0, p.file.size);
 *     cn_picture_drop(&p);                                  -- at any time
 */
#ifndef CN_HTTP_ROUTES_PICTURE_H
#define CN_HTTP_ROUTES_PICTURE_H

#include "base/base.h"
#include "http/core/request.h"
#include "job/jobs.h"

struct cn_picture {
    bool done;
    struct cn_jobs_read *read; /* NULL: nothing is asked */
    struct cn_image_file file; /* when done, and err.code is 0 */
    struct cn_err err;
    void (*wake)(void *arg);
    void *arg;
};

const char *cn_media_of(enum cn_format format);

/* job (may be NULL): where the picture may lie in memory. Otherwise the service is asked, as the
 * request may see it. */
void cn_picture_ask(struct cn_picture *p, struct cn_request *q, struct cn_job *job, const char *id,
                    int k, void (*wake)(void *arg), void *arg);

/* len bytes of it from first: the file's descriptor, or the bytes by reference, counted for their
 * job in the account of what is on its way out. Takes what p holds. */
struct cn_source *cn_picture_source(struct cn_picture *p, struct cn_request *q, uint64_t first,
                                    uint64_t len);

void cn_picture_drop(struct cn_picture *p);

#endif
