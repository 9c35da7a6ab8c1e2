/* How far a job is, on standard error: a bar on a terminal, a line now and then otherwise.
 *
 * Any thread: images are finished, and files written, beside the steps of others. Between
 * cn_progress_pause() and cn_progress_go_on() nothing is printed by another thread.
 *
 *     struct cn_progress p;
 *     cn_progress_init(&p, quiet, pictures);
 *     cn_progress_step(&p, image, step, steps);     -- from cn_engine_cb.progress
 *     cn_progress_pause(&p);                        -- before anything else is printed
 *     cn_progress_go_on(&p);
 *     cn_progress_release(&p);
 */
#ifndef CN_CLI_PROGRESS_H
#define CN_CLI_PROGRESS_H

#include "base/base.h"

#include <pthread.h>

struct cn_progress {
    pthread_mutex_t lock;
    bool quiet, terminal;
    int images;
    int done;          /* steps of all images */
    int first;         /* of these when first_s was taken */
    double first_s;    /* when the first steps ended */
    double printed_s;  /* when the last line was printed */
};

void cn_progress_init(struct cn_progress *p, bool quiet, int images);
/* One step of an image is done; each has so many. */
void cn_progress_step(struct cn_progress *p, int steps);
void cn_progress_pause(struct cn_progress *p); /* takes the bar away */
void cn_progress_go_on(struct cn_progress *p);
void cn_progress_release(struct cn_progress *p); /* and takes the bar away */

#endif
