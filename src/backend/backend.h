/* What a device must do: hold weights, compile graphs into plans, run them on buffers.
 *
 * Implementations: "reference" (cpu/reference.c, plain C in double, slow, the truth), "onednn"
 * (cpu/onednn*.c) and "cuda" (cuda/, in programs of their own). A backend and everything made from
 * it belong to one thread, the owning worker's. Only one plan runs at a time, so plans of one
 * backend may share their working memory.
 *
 * Concurrent plans are the exception: what is made with CN_PLAN_CONCURRENT shares no working memory
 * (and no stream) with the others, so that a second thread may decode a picture while the owner
 * goes on. Allowed on any thread: cn_plan_run of such a plan (they wait for each other), and write
 * and read of buffers that only this thread uses then. Everything else, compiling and freeing
 * concurrent plans and their buffers included, stays the owner's; nothing may be in use when it is
 * freed.
 *
 * Storage types. A real value (F32 in the graph) is kept in the type that its plan was compiled
 * for, except what the host sees: inputs and outputs without CN_IO_NATIVE are F32. A value that the
 * graph itself declares F16 or BF16 keeps that type in every plan. Arithmetic is always F32 or
 * wider.
 *
 *     struct cn_backend *b;
 *     cn_backend_open("auto", &(struct cn_backend_opts)CN_BACKEND_DEFAULTS, &b, &err);
 *     cn_weights_new(b, &source, &w, &err);            -- resident once per model
 *     cn_plan_compile(b, graph, w, CN_DTYPE_COUNT, 0, &plan, &err); -- CN_EFORMAT names a tensor
 *     cn_buffer_new(b, &graph->value[graph->input[0].val], CN_DTYPE_COUNT, graph->input[0].flags,
 *                   &in, &err);
 *     cn_buffer_write(in, pixels);
 *     cn_plan_run(plan, &in, &out, &err);
 *     cn_buffer_read(out, pixels); */
#ifndef CN_BACKEND_BACKEND_H
#define CN_BACKEND_BACKEND_H

#include "base/base.h"
#include "base/dtype.h"
#include "tensor/graph.h"

/* Bytes of one parameter as its file holds them: row-major, little-endian, any alignment. */
struct cn_param_data {
    enum cn_dtype dtype;
    struct cn_shape shape; /* as the file says; rank above 4 is squeezed */
    const void *data;
    size_t bytes;
    void *owned; /* when the source had to compute it: the taker frees data through done() */
};

/* Where a model's parameters come from. get() fails with CN_ENOTFOUND naming tensor and file.
 * done() tells that the bytes are not needed any more: packed copies have taken over. */
struct cn_param_source {
    void *ctx;
    int (*get)(void *ctx, const char *name, struct cn_param_data *ret, struct cn_err *err);
    void (*done)(void *ctx, const char *name, struct cn_param_data *data); /* may be NULL */
    /* Of a source over other weights (cn_weights_new_over): whether this parameter is its own.
     * Called wherever a parameter is looked for. NULL: all are. */
    bool (*changes)(void *ctx, const char *name);
};

struct cn_backend_opts {
    int threads;          /* 0: as many as there are processors */
    int side_threads;     /* of side plans; 0: as many as threads says */
    double winograd_ratio; /* extra memory for transformed weights, as a share of a network's own
                              fp32 bytes (at least 64 MiB): 0 switches Winograd off */
    bool profile;         /* time every step of a plan: cn_plan_profile */
    enum cn_dtype dtype;  /* of plans that ask for no type: F32, F16 or BF16. CN_DTYPE_COUNT, or one
                             that the backend cannot store: what it is best at */
    bool first_choice;    /* take what libraries propose first, without timing it */
    int device;           /* which, of several */
    const char *cache_dir; /* where choices that were timed are kept; NULL: the user's cache folder,
                              "": nowhere */
};

#define CN_BACKEND_DEFAULTS                                                                        \
    {                                                                                              \
        .threads = 0, .side_threads = 0, .winograd_ratio = 0.35, .profile = false,                 \
        .dtype = CN_DTYPE_COUNT, .device = 0, .cache_dir = NULL                                    \
    }

/* What those who plan a backend's work must know of it. */
struct cn_backend_caps {
    bool host_memory;    /* weights and buffers are memory of this process */
    bool likes_batches;  /* the more rows share a step the better, whatever their size; otherwise
                            only small pictures gain, whose steps leave cores waiting */
    bool mixes_controls; /* it pays to run a ControlNet for rows that do not use it, when a larger
                            batch is what one gets for it */
    bool adapts_rows;    /* it has factors: cn_plan_run_adapted() */
    unsigned stores;     /* 1u << t for each type t in which plans can store real values */
    enum cn_dtype dtype; /* one of them: what CN_DTYPE_COUNT stands for */
};

/* A larger one costs more in every step than a weight of its own does once. */
enum { CN_MAX_FACTOR_RANK = 128 };

/* One layer of an adapter: low-rank factors of what is added to the layer's weight. */
struct cn_factor {
    const char *layer; /* the weight's name without ".weight" */
    int64_t out, in;   /* channels of the layer */
    int k;             /* its window is k * k; 1: a linear layer, or a 1x1 convolution */
    int64_t rank;      /* 1 to CN_MAX_FACTOR_RANK */
    float *down; /* [rank, in, k, k], from cn_try_alloc() */
    float *up;   /* [out, rank], likewise */
};

struct cn_backend;
struct cn_factors; /* those of one adapter, resident, for the plans of one network */
struct cn_weights; /* the parameters of one network, resident, shared by all its plans */
struct cn_plan;    /* a compiled graph */
struct cn_buffer;  /* an input or output of plans */

/* name: "auto", the best whose device answers; "cpu", the best that computes on the processor; or
 * one of cn_backend_list(). CN_ENOTFOUND when this build has no such backend, or when it has and
 * there is no device. */
int cn_backend_open(const char *name, const struct cn_backend_opts *opts, struct cn_backend **ret,
                    struct cn_err *err);
void cn_backend_close(struct cn_backend *b); /* after everything made from it */
const char *cn_backend_name(const struct cn_backend *b);
const struct cn_backend_caps *cn_backend_caps(const struct cn_backend *b);
/* Device and versions of libraries, for people: "NVIDIA H200 sm_90, CUDA 13000, ..."; "" when there
 * is nothing to say. */
const char *cn_backend_about(const struct cn_backend *b);
/* Reports, and forgets, the calling thread's first failure of a call that cannot return one:
 * writing, reading, copying rows. What such a read left behind is NaN. CN_EDEVICE once a device is
 * lost. Any thread. */
int cn_backend_check(struct cn_backend *b, struct cn_err *err);
size_t cn_backend_bytes(const struct cn_backend *b); /* working memory that its plans share */
/* Gives working memory back to the system; what a running concurrent plan uses stays. A plan takes
 * what it needs when it runs next, so this costs a running service time and an idle one nothing.
 * Returns how many bytes went. */
size_t cn_backend_trim(struct cn_backend *b);
/* Names of the backends in this build, best first, NULL-terminated. */
const char *const *cn_backend_list(void);
/* Whether this build has a backend for a device of its own, not for the processor. */
bool cn_backend_has_device(void);

/* The source must stay valid as long as the weights: parameters are fetched when a plan that needs
 * them is compiled. */
int cn_weights_new(struct cn_backend *b, const struct cn_param_source *source,
                   struct cn_weights **ret, struct cn_err *err);
/* Weights of which most are another network's of the same shape: what source->changes() denies is
 * looked up in `under`, and held there; the rest is fetched from the source, held here, and packed
 * as `under` decided for its own. `under` outlives them, and its layouts are fixed before. */
int cn_weights_new_over(struct cn_backend *b, const struct cn_param_source *source,
                        struct cn_weights *under, struct cn_weights **ret, struct cn_err *err);
void cn_weights_free(struct cn_weights *w); /* after the plans that use them */
/* Memory held, packed copies included; not that of `under`. */
size_t cn_weights_bytes(const struct cn_weights *w);
/* Frees the packed copies of parameters that no plan uses, but the layouts that were fixed, and one
 * of each parameter; who wants another fetches it again. Returns how many bytes went. */
size_t cn_weights_trim(struct cn_weights *w);
/* Fixes the kernel and the packed layout that each parameter is offered first, by g: the network at
 * its own size, which is never run. No parameter is read. Called before the first plan it makes
 * results a function of the plan alone; otherwise the first plan decides, and the last bits of a
 * picture depend on which size was compiled first. */
void cn_weights_fix_layouts(struct cn_weights *w, const struct cn_graph *g);

enum cn_plan_flags {
    CN_PLAN_CONCURRENT = 1 << 0 /* may run on a second thread, beside the plans without it */
};

/* dtype: in which real values are stored, CN_DTYPE_COUNT for the backend's own. CN_EINVAL when the
 * backend cannot store it, or has no kernel for a node. flags: cn_plan_flags. The graph is not
 * needed afterwards. */
int cn_plan_compile(struct cn_backend *b, const struct cn_graph *g, struct cn_weights *w,
                    enum cn_dtype dtype, int flags, struct cn_plan **ret, struct cn_err *err);
void cn_plan_free(struct cn_plan *p);
/* in and out stand in the order of the graph's inputs and outputs, with the shapes and types that
 * the graph and the plan's type say. No buffer may be both. CN_EDEVMEM when there is no room for
 * the plan's working memory: after cn_backend_trim() it is allocated here. */
int cn_plan_run(struct cn_plan *p, struct cn_buffer *const *in, struct cn_buffer *const *out,
                struct cn_err *err);

/* Low-rank factors, held once and used by any rows of any plans (cn_graph_adapt()): only for a
 * backend whose caps.adapts_rows says so. */
int cn_factors_new(struct cn_backend *b, struct cn_factors **ret, struct cn_err *err);
/* The next entry, of a layer that has none yet; takes down and up, also on failure. */
int cn_factors_add(struct cn_factors *f, const struct cn_factor *x, struct cn_err *err);
void cn_factors_free(struct cn_factors *f); /* NULL is fine */
size_t cn_factors_bytes(const struct cn_factors *f);

/* Rows [row, row + rows) of a run get what these factors add. Several may be for one row: they
 * add up in their order. */
struct cn_row_adapter {
    int row, rows;
    struct cn_factors *factors;
    const float *strength; /* of each entry, in the order of cn_factors_add() */
};

/* cn_plan_run() with adapters: n of them, for inputs whose outermost dimension is the rows. Each is
 * computed at its own rank; layers that none of them has cost nothing. Not for concurrent plans. */
int cn_plan_run_adapted(struct cn_plan *p, struct cn_buffer *const *in,
                        struct cn_buffer *const *out, const struct cn_row_adapter *adapter, int n,
                        struct cn_err *err);
size_t cn_plan_arena_bytes(const struct cn_plan *p); /* working memory of one run */

/* One line per kind of step: op, count, milliseconds, share; "" when not profiling. free() it. */
char *cn_plan_profile(const struct cn_plan *p) CN_MUST_USE;

/* dtype: that of the plans that use it, CN_DTYPE_COUNT for the backend's own; it counts for native
 * buffers of real values. flags: CN_IO_NATIVE or 0, as the graph's input or output says; zeroed. */
int cn_buffer_new(struct cn_backend *b, const struct cn_value *value, enum cn_dtype dtype,
                  int flags, struct cn_buffer **ret, struct cn_err *err);
void cn_buffer_free(struct cn_buffer *buf);
/* Host memory, row-major logical layout, F32 (I32 for ids), whatever the buffer stores. */
void cn_buffer_write(struct cn_buffer *buf, const void *host);
void cn_buffer_read(const struct cn_buffer *buf, void *host);
/* Copies rows [src_row, src_row + n) of src to dst_row and following of dst: entries of the
 * outermost dimension. Rank and the other dimensions must agree (CN_EINVAL), as must the backend;
 * native and host layouts are converted, two native buffers must store the same type. dst and src
 * must not be the same buffer. */
int cn_buffer_copy_rows(struct cn_buffer *dst, int64_t dst_row, const struct cn_buffer *src,
                        int64_t src_row, int64_t n, struct cn_err *err);
size_t cn_buffer_bytes(const struct cn_buffer *buf);

#endif
