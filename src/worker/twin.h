/* Which program draws: this one, or its twin for NVIDIA devices, which stands beside it as
 * controlnet-worker-cuda and links NVIDIA's libraries.
 *
 *     if (asked_for_auto && !cn_backend_has_device()) worker_become_twin(argv);
 */
#ifndef CN_WORKER_TWIN_H
#define CN_WORKER_TWIN_H

#include "engine/engine.h"

/* backend = auto is a CUDA device when one answers: then this program becomes its twin and the call
 * does not return. That is asked here and not in the daemon, because opening a driver takes longer
 * than the daemon's whole start. */
void worker_become_twin(char **argv);

/* What a twin is asked: prints which backend and device would draw. Returns an exit status: 0, or 1
 * when none answers. */
int worker_probe(const struct cn_engine_opts *opts);

#endif
