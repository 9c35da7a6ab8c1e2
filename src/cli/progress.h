/* How far a job is, on standard error: a bar on a terminal, a line now and then otherwise.
 *
 * One thread.
 *
 *     struct cn_progress p;
 *     cn_progress_init(&p, quiet, pictures);
 *     cn_progress_step(&p, image, step, steps);     -- from cn_engine_cb.progress
 *     cn_progress_clear(&p);                        -- before anything else is printed
 */
#ifndef CN_CLI_PROGRESS_H
#define CN_CLI_PROGRESS_H

#include "base/base.h"

struct cn_progress {
    bool quiet, terminal;
    int images;
    double step_s;     /* seconds per step, smoothed; 0: not known yet */
    double last_s;     /* when the last step ended */
    double printed_s;  /* when the last line was printed */
};

void cn_progress_init(struct cn_progress *p, bool quiet, int images);
/* step (from 1) of steps of picture `image` (from 0) is done. */
void cn_progress_step(struct cn_progress *p, int image, int step, int steps);
void cn_progress_clear(struct cn_progress *p);

#endif
