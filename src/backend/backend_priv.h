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
    int (*open)(const struct cn_backend_opts *opts, struct cn_backend **ret, struct cn_err *err);
    void (*close)(struct cn_backend *b);
    const char *(*about)(const struct cn_backend *b);               /* NULL: "" */
    int (*check)(struct cn_backend *b, struct cn_err *err);         /* NULL: nothing fails late */
    size_t (*bytes)(const struct cn_backend *b);
    int (*weights_new)(struct cn_backend *b, const struct cn_param_source *source,
                       struct cn_weights **ret, struct cn_err *err);
    void (*weights_free)(struct cn_weights *w);
    size_t (*weights_bytes)(const struct cn_weights *w);
    void (*weights_fix_layouts)(struct cn_weights *w, const struct cn_graph *g); /* may be NULL */
    int (*compile)(struct cn_backend *b, const struct cn_graph *g, struct cn_weights *w,
                   int flags, struct cn_plan **ret, struct cn_err *err);
    void (*plan_free)(struct cn_plan *p);
    int (*run)(struct cn_plan *p, struct cn_buffer *const *in, struct cn_buffer *const *out,
               struct cn_err *err);
    size_t (*arena_bytes)(const struct cn_plan *p);
    char *(*profile)(const struct cn_plan *p);
    int (*buffer_new)(struct cn_backend *b, const struct cn_value *value, int flags,
                      struct cn_buffer **ret, struct cn_err *err);
    void (*buffer_free)(struct cn_buffer *buf);
    void (*buffer_write)(struct cn_buffer *buf, const void *host);
    void (*buffer_read)(const struct cn_buffer *buf, void *host);
    void (*buffer_zero)(struct cn_buffer *buf);
    /* n rows, checked already */
    void (*buffer_copy_rows)(struct cn_buffer *dst, int64_t dst_row, const struct cn_buffer *src,
                             int64_t src_row, int64_t n);
    size_t (*buffer_bytes)(const struct cn_buffer *buf);
};

struct cn_backend {
    const struct cn_backend_ops *ops;
};

struct cn_weights {
    const struct cn_backend_ops *ops;
};

struct cn_plan {
    const struct cn_backend_ops *ops;
};

struct cn_buffer {
    const struct cn_backend_ops *ops;
    enum cn_dtype dtype;
    struct cn_shape shape;
};

extern const struct cn_backend_ops cn_backend_reference, cn_backend_onednn, cn_backend_cuda;

/* list.c: what the program was linked with, best first; NULL-terminated, names beside them. */
extern const struct cn_backend_ops *const cn_backends[];

/* Fetches a parameter as the graph declares it: shape checked (dimensions of size 1 ignored),
 * message with name and both shapes. */
int cn_param_fetch(const struct cn_param_source *source, const struct cn_graph *g, cn_val v,
                   struct cn_param_data *ret, struct cn_err *err);

#endif
