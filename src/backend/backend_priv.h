/* What the files of src/backend share: the table of functions that a backend fills.
 *
 * struct cn_backend, cn_weights, cn_plan and cn_buffer of an implementation start with the base
 * structs below, so that backend.c can dispatch.
 */
#ifndef CN_BACKEND_BACKEND_PRIV_H
#define CN_BACKEND_BACKEND_PRIV_H

#include "backend/backend.h"

struct cn_backend_ops {
    const char *name;
    bool device; /* it needs a device of its own */
    int (*open)(const struct cn_backend_opts *opts, struct cn_backend **ret, struct cn_err *err);
    void (*close)(struct cn_backend *b);
    const char *(*about)(const struct cn_backend *b);               /* NULL: "" */
    int (*check)(struct cn_backend *b, struct cn_err *err);         /* NULL: nothing fails late */
    size_t (*bytes)(const struct cn_backend *b);
    size_t (*trim)(struct cn_backend *b); /* NULL: nothing can go */
    int (*weights_new)(struct cn_backend *b, const struct cn_param_source *source,
                       struct cn_weights **ret, struct cn_err *err);
    void (*weights_free)(struct cn_weights *w);
    size_t (*weights_bytes)(const struct cn_weights *w);
    size_t (*weights_trim)(struct cn_weights *w); /* NULL: there is one copy of each */
    void (*weights_fix_layouts)(struct cn_weights *w, const struct cn_graph *g); /* may be NULL */
    /* NULL: every node; otherwise why it has no kernel for node i of g, NULL when it has one */
    const char *(*refuses)(const struct cn_graph *g, int i);
    /* dtype is one that caps.stores has */
    int (*compile)(struct cn_backend *b, const struct cn_graph *g, struct cn_weights *w,
                   enum cn_dtype dtype, int flags, struct cn_plan **ret, struct cn_err *err);
    /* NULL: it has no low-rank factors */
    int (*factors_new)(struct cn_backend *b, struct cn_factors **ret, struct cn_err *err);
    int (*factors_add)(struct cn_factors *f, const struct cn_factor *x, struct cn_err *err);
    void (*factors_free)(struct cn_factors *f);
    size_t (*factors_bytes)(const struct cn_factors *f);
    void (*plan_free)(struct cn_plan *p);
    int (*run)(struct cn_plan *p, struct cn_buffer *const *in, struct cn_buffer *const *out,
               struct cn_err *err);
    size_t (*arena_bytes)(const struct cn_plan *p);
    char *(*profile)(const struct cn_plan *p);
    /* value->dtype is what the buffer stores */
    int (*buffer_new)(struct cn_backend *b, const struct cn_value *value, int flags,
                      struct cn_buffer **ret, struct cn_err *err);
    void (*buffer_free)(struct cn_buffer *buf);
    void (*buffer_write)(struct cn_buffer *buf, const void *host);
    void (*buffer_read)(const struct cn_buffer *buf, void *host);
    /* n rows, checked already */
    void (*buffer_copy_rows)(struct cn_buffer *dst, int64_t dst_row, const struct cn_buffer *src,
                             int64_t src_row, int64_t n);
    size_t (*buffer_bytes)(const struct cn_buffer *buf);
};

struct cn_backend {
    const struct cn_backend_ops *ops;
    struct cn_backend_caps caps; /* open() fills it */
};

struct cn_weights {
    const struct cn_backend_ops *ops;
    struct cn_weights *under; /* of the same backend, or NULL; backend.c fills in both */
    const struct cn_param_source *over;
};

/* Who holds a parameter: w, or what lies under it. */
static inline struct cn_weights *cn_weights_holder(struct cn_weights *w, const char *name)
{
    return w->under != NULL && !w->over->changes(w->over->ctx, name) ? w->under : w;
}

struct cn_factors {
    const struct cn_backend_ops *ops;
};

struct cn_plan {
    const struct cn_backend_ops *ops;
    const struct cn_row_adapter *adapter; /* of the run: backend.c fills in both */
    int n_adapters;
};

/* Filled by backend.c, but ops. */
struct cn_buffer {
    const struct cn_backend_ops *ops;
    enum cn_dtype dtype; /* what it stores */
    bool native;
    struct cn_shape shape;
};

extern const struct cn_backend_ops cn_backend_reference, cn_backend_onednn, cn_backend_cuda;

/* list.c: what the program was linked with, best first; NULL-terminated, names beside them. */
extern const struct cn_backend_ops *const cn_backends[];

/* Whether a value is a number of the network, kept in whatever type its plan says. */
static inline bool cn_dtype_is_real(enum cn_dtype t)
{
    return t == CN_F32 || t == CN_F16 || t == CN_BF16;
}

/* What value v is stored in, in a plan of type t; native: not an input or output that the host
 * sees. */
enum cn_dtype cn_stored_dtype(const struct cn_value *v, bool native, enum cn_dtype t);

/* Whether buffers are what a plan of g in type t takes as these inputs or outputs. */
bool cn_buffers_fit(const struct cn_graph *g, const struct cn_io *io, int n, enum cn_dtype t,
                    struct cn_buffer *const *list);

/* What one step of a plan has cost so far. */
struct cn_step_profile {
    const char *label;
    double ms;
    int64_t runs;
};

/* The text of cn_plan_profile: steps of one label together, in the order of their first. */
char *cn_profile_text(const struct cn_step_profile *step, int n) CN_MUST_USE;

/* Fetches a parameter as the graph declares it: shape checked (dimensions of size 1 ignored),
 * message with name and both shapes. */
int cn_param_fetch(const struct cn_param_source *source, const struct cn_graph *g, cn_val v,
                   struct cn_param_data *ret, struct cn_err *err);

#endif
