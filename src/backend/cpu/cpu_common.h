/* What the backends for the processor share: working memory, threads, buffers in the host's order.
 *
 * Working memory is one arena for all plans, of which only one runs at a time, and one for the
 * concurrent plans, whose runs wait for each other. An arena grows to the largest plan that runs;
 * its content lives for one run; cn_backend_trim() frees it. The owner's thread compiles, trims and
 * runs; a second thread may run concurrent plans.
 */
#ifndef CN_BACKEND_CPU_CPU_COMMON_H
#define CN_BACKEND_CPU_CPU_COMMON_H

#include "backend/backend_priv.h"

#include <pthread.h>

struct cpu_arena {
    unsigned char *data;
    _Atomic size_t bytes; /* read on any thread */
    int threads;          /* of every parallel region of the plans that run in it */
};

struct cpu_workspace {
    struct cpu_arena main, concurrent;
    pthread_mutex_t lock; /* held while a concurrent plan runs: guards concurrent */
};

/* threads, side_threads: as cn_backend_opts says. */
void cpu_workspace_init(struct cpu_workspace *ws, const struct cn_backend_opts *opts);
void cpu_workspace_release(struct cpu_workspace *ws);
size_t cpu_workspace_bytes(const struct cpu_workspace *ws);
size_t cpu_workspace_trim(struct cpu_workspace *ws);

/* The arena of plans with these flags. */
struct cpu_arena *cpu_workspace_arena(struct cpu_workspace *ws, int plan_flags);
/* At compile time: the main arena grows at once, so that a plan that does not fit fails here; a
 * concurrent plan may be running, so the other arena grows when the plan runs. */
int cpu_workspace_reserve(struct cpu_workspace *ws, struct cpu_arena *a, size_t bytes,
                          struct cn_err *err);

/* Runs fn with its arena of at least `bytes` and with the arena's number of threads. */
typedef int (*cpu_run_fn)(void *ctx, struct cn_err *err);
int cpu_workspace_run(struct cpu_workspace *ws, struct cpu_arena *a, size_t bytes, cpu_run_fn fn,
                      void *ctx, struct cn_err *err);

/* Sets the number of threads of the calling thread's parallel regions; returns the old one. */
int cpu_use_threads(int n);

/* Bytes of a value that is stored in type t; false: more than a size_t can say. */
bool cpu_value_bytes(const struct cn_shape *s, enum cn_dtype t, size_t *ret);

struct cpu_buffer {
    struct cn_buffer base;
    void *data; /* base.dtype, row-major unless the backend says otherwise */
    size_t bytes;
    int64_t block; /* feature maps of the oneDNN backend: channels that lie together (kernels.h) */
};

int cpu_buffer_new(const struct cn_backend_ops *ops, const struct cn_value *value, int64_t block,
                   struct cn_buffer **ret, struct cn_err *err);
void cpu_buffer_free(struct cn_buffer *buf);
size_t cpu_buffer_bytes(const struct cn_buffer *buf);
/* In row-major order, converting to and from the type that the buffer stores. */
void cpu_buffer_write(struct cn_buffer *buf, const void *host);
void cpu_buffer_read(const struct cn_buffer *buf, void *host);
void cpu_buffer_copy_rows(struct cn_buffer *dst, int64_t dst_row, const struct cn_buffer *src,
                          int64_t src_row, int64_t n);

#endif
