/* Reading the events of a job for a request that waits for its pictures or its end. */
#include "base/base.h"
#include "http/routes/submit_priv.h"

bool cn_submit_next_event(struct cn_submit_ctx *c, int *ret_image)
{
    struct cn_job_event e;

    while (!c->ended && cn_watch_next(c->watch, &e)) {
        if (e.kind == CN_EVENT_IMAGE && e.index < c->n) {
            *ret_image = e.index;
            return true;
        }
        if (e.kind != CN_EVENT_DONE)
            continue;
        c->ended = true;
        c->state = e.state;
        c->err = e.err;
        cn_warnings_add_all(&c->warnings, e.warnings);
    }
    return c->ended;
}
