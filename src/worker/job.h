/* A job's callbacks: what the engine tells of it becomes frames. Any of the engine's threads.
 *
 *     cn_engine_begin(engine, cn_worker_spec(job), &cb, &err)   with   cb = worker_job_hooks(job)
 */
#ifndef CN_WORKER_JOB_H
#define CN_WORKER_JOB_H

#include "engine/engine.h"
#include "worker/loop.h"

struct cn_engine_cb worker_job_hooks(struct cn_worker_job *job);

#endif
