/* Tells when the directories of models have changed and are quiet again: a file that is being
 * copied is not told before it is complete, as far as one can see that from outside (nothing has
 * changed for a while). By inotify; directories inside of them are looked at as well, and one that
 * is not there yet is seen when it comes, if the directory above it is there. What happens behind a
 * symbolic link to a file, or on another machine that shares the disk, is not seen.
 *
 * DESIGN. A thread of its own, which calls changed(); nothing else is shared. A change may be told
 * that is none, and after a change that came too fast for the kernel's list all is told as changed.
 * Where something changes all the time, and where the system does not let us watch everything, it
 * is told every CN_WATCH_PATIENCE_S.
 *
 *     if (cn_model_watch_start(dirs, n, 2, changed, arg, &watch, &full, &err) < 0) ...
 *     cn_model_watch_stop(watch);       -- changed() is not called any more
 */
#ifndef CN_MODEL_WATCH_H
#define CN_MODEL_WATCH_H

#include "base/base.h"

enum { CN_WATCH_PATIENCE_S = 600 };

struct cn_model_watch;

/* dir: n of them, which outlive the watch. *ret_full: not all of it can be watched (the system's
 * fs.inotify.max_user_watches). */
int cn_model_watch_start(const char *const *dir, int n, int quiet_s, void (*changed)(void *arg),
                         void *arg, struct cn_model_watch **ret, bool *ret_full,
                         struct cn_err *err);
void cn_model_watch_stop(struct cn_model_watch *w); /* NULL is fine */

#endif
