/* Runs small graphs on backends with inputs and parameters that follow from their names, so that
 * two backends, and a naive computation, see the same numbers.
 *
 * A failure ends the cmocka test. One thread.
 *
 *     struct op_result r;
 *     op_run("reference", g, &r);
 *     op_result_release(&r);
 */
#ifndef CN_TESTS_OP_RUN_H
#define CN_TESTS_OP_RUN_H

#include "backend/backend.h"
#include "tensor/graph.h"

/* All outputs of a graph, one after the other. */
struct op_result {
    float *data;
    size_t count;
};

/* n numbers of mean 0 and variance about scale^2, the same for the same name. */
void op_fill(float *x, size_t n, const char *name, double scale);

/* What input or parameter v of g holds: F32, or I32 for token ids. free() it. */
void *op_data(const struct cn_graph *g, cn_val v) CN_MUST_USE;

/* A source that makes the parameters that g declares. ctx of the result is g. */
struct cn_param_source op_source(const struct cn_graph *g);

/* The backends that a test program is about: those of the build, or the one that it was compiled
 * for (OP_BACKEND). NULL-terminated. */
const char *const *op_backends(void);
/* CN_QUICK is set: a part of a long test is enough. */
bool op_quick(void);
/* How op_run() opens a backend: the defaults, but F32. Tests may change it. */
extern struct cn_backend_opts op_opts;

/* Whether the backend says at once that it has no kernel for something in g. */
bool op_refuses(const char *backend, const struct cn_graph *g);

/* Opens the backend (a device stays open for the next call), compiles, runs, closes. Twice on the
 * same plan, first with zeroed inputs, so that nothing may be left over from a run. */
void op_run(const char *backend, const struct cn_graph *g, struct op_result *ret);
void op_result_release(struct op_result *r);

/* A backend with the parameters of one graph, for tests that make plans and buffers themselves. */
struct op_session {
    struct cn_backend *b;
    struct cn_weights *w;
    struct cn_param_source source;
};

void op_session_open(struct op_session *s, const char *backend, const struct cn_graph *params,
                     const struct cn_backend_opts *opts);
void op_session_close(struct op_session *s);
/* A plan in the backend's own type. */
struct cn_plan *op_compile(struct op_session *s, const struct cn_graph *g) CN_MUST_USE;
struct cn_buffer *op_buffer(struct op_session *s, const struct cn_graph *g,
                            const struct cn_io *io) CN_MUST_USE;
/* Runs a plan of one input and one output of g. */
void op_run_once(struct op_session *s, struct cn_plan *p, const struct cn_graph *g,
                 struct op_result *ret);
/* How tests that make plans themselves open a backend. */
extern const struct cn_backend_opts op_plan_opts;
struct op_result op_read(const struct cn_buffer *buf, const struct cn_shape *shape);
/* Calls check once per backend that the program is about. */
void op_each_backend(void (*check)(const char *backend));

/* A convolution of 3x3 with padding, and a small network on [1, 16, size, size]. */
cn_val op_conv3(struct cn_graph *g, cn_val x, const char *weight, int out);
struct cn_graph *op_sized_graph(int size) CN_MUST_USE;

/* ||x - y|| / ||y|| */
double op_distance(const struct op_result *x, const struct op_result *y);

/* Multiplications and additions of one run; for ops without any, elements written. */
double op_flops(const struct cn_graph *g);

/* Makes every input and output native; token ids, timesteps and parameters always come from the
 * host. */
void op_make_native(struct cn_graph *g);

/* Makes every intermediate value an output: nothing can fuse then. */
void op_expose_all(struct cn_graph *g);

#endif
