/* The oneDNN backend's own structs, shared by its files.
 *
 * A plan is a list of steps; a step is a function over resolved addresses. Values live in an arena
 * of the backend (one for all plans, of which only one runs at a time, and one for all side plans),
 * in the caller's buffers, or in the weight store. Convolutions and linear layers are oneDNN
 * primitives whose weights were reordered ahead; the rest are kernels of kernels.h.
 */
#ifndef CN_BACKEND_CPU_ONEDNN_PRIV_H
#define CN_BACKEND_CPU_ONEDNN_PRIV_H

#include "backend/cpu/cpu_common.h"
#include "backend/cpu/kernels.h"
#include "base/strmap.h"

#include <oneapi/dnnl/dnnl.h>

struct onednn_backend {
    struct cn_backend base;
    dnnl_engine_t engine;
    dnnl_stream_t stream[2]; /* of plans in the main arena, and of concurrent ones */
    struct cn_backend_opts opts;
    struct cpu_workspace ws;
    float *between; /* onednn_low_rank.c: memory of a step that adds adapters */
    _Atomic size_t between_bytes;
};

/* One parameter, in a form in which plans want it: packed for one of the library's kernels, or
 * transformed for ours. */
struct onednn_packed {
    dnnl_memory_desc_t md; /* of memory */
    dnnl_memory_t memory;
    float *transformed; /* instead of memory: winograd_kernel.h */
    size_t bytes;
    int users; /* steps of plans that hold it */
    struct onednn_packed *next;
};

struct onednn_param {
    float *plain; /* row-major copy, NULL until wanted */
    size_t plain_bytes;
    struct onednn_packed *packed;
    /* The same choice in every plan: direct, the library's kernel, or ours where it has none. */
    enum { WINOGRAD_UNDECIDED, WINOGRAD_NO, WINOGRAD_YES, WINOGRAD_OWN } winograd;
    bool layout_fixed; /* every plan is offered this layout first; where it does not do, the plan
                          takes what oneDNN likes best */
    dnnl_memory_desc_t layout;
};

struct onednn_weights {
    struct cn_weights base;
    struct onednn_backend *backend;
    struct cn_param_source source;
    struct cn_strmap map; /* name -> onednn_param */
    size_t bytes;
    size_t winograd_used; /* of the budget */
};

/* Where a value is while a plan runs. */
struct onednn_place {
    enum { AT_ARENA, AT_INPUT, AT_PARAM } kind;
    int index;     /* AT_INPUT: which buffer */
    size_t offset; /* bytes from the arena's begin, or from the buffer's */
    int64_t block; /* feature maps: channels that lie together (kernels.h) */
    bool view;     /* its bytes are its input's: there is no step */
};

struct onednn_step;
struct onednn_plan;
struct onednn_low_rank;
typedef int (*onednn_run_fn)(struct onednn_plan *p, struct onednn_step *s);

enum { STEP_ARGS = 8 };

struct onednn_step {
    onednn_run_fn run;
    enum cn_op op;
    struct cn_node node;  /* inputs and attributes */
    cn_val out;
    /* primitives only */
    dnnl_primitive_t primitive, before, after; /* before and after: reorders of source and result */
    dnnl_exec_arg_t arg[STEP_ARGS];
    int n_args;
    dnnl_memory_t src, dst, bias, scratch; /* handles are set when the step runs */
    dnnl_memory_t src_tmp, dst_tmp;        /* between reorder and primitive, in scratch */
    size_t src_tmp_at, dst_tmp_at, scratch_at;
    /* weights that a buffer holds are packed in every run */
    dnnl_primitive_t pack;
    dnnl_memory_t given, packed;
    size_t packed_at;
    size_t scratch_bytes; /* all scratch of the step */
    struct onednn_param *param[3]; /* gamma, beta; weight, bias; table, position */
    dnnl_primitive_t bare; /* a linear layer without its activation, for runs with adapters */
    dnnl_memory_t bare_scratch;
    struct onednn_low_rank *low_rank; /* onednn_low_rank.c: kernels for what adapters add */
    struct onednn_packed *held;    /* constant weights; NULL: none */
    char label[48];
    int64_t ns; /* profile: time spent */
    int64_t runs;
    int64_t adapters_ns, adapters_runs; /* and what adapters added to it took */
};

struct onednn_plan {
    struct cn_plan base;
    struct onednn_backend *backend;
    struct cpu_arena *arena; /* values of the running plan, then scratch */
    dnnl_stream_t stream;
    struct onednn_weights *weights;
    struct cn_graph *g; /* fused */
    struct onednn_place *place;
    struct onednn_step *step;
    int n_steps;
    size_t step_cap, values_bytes, scratch_bytes;
    struct cn_buffer *const *in, *const *out; /* while running */
};

/* onednn_status.c: of what runs, whose caller says what it was: CN_EDEVMEM when memory is short,
 * else CN_EDEVICE. */
int onednn_code(dnnl_status_t status);

/* onednn_status.c: "what failed: status" as CN_EDEVICE, or CN_EDEVMEM when memory is short; 0 for
 * success. */
int onednn_check(dnnl_status_t status, const char *what, struct cn_err *err);

/* onednn_places.c: where values are. */
/* The layout that a native buffer of this shape has, and that convolutions prefer. */
int64_t onednn_native_block(const struct cn_shape *s);
/* Whether a node's kernel knows the logical layout only. */
bool onednn_is_plain(const struct cn_node *n);
/* Fills p->place and p->values_bytes. */
void onednn_choose_places(struct onednn_plan *p);
size_t onednn_align(size_t bytes); /* up to what kernels like */
/* Of a value that is no constant parameter. */
float *onednn_address(const struct onednn_plan *p, cn_val v);
struct cn_fmap onednn_fmap(const struct onednn_plan *p, cn_val v);
/* Behind the values: scratch memory of the step that runs. */
unsigned char *onednn_scratch(const struct onednn_plan *p);

/* onednn_weights.c: finds or fetches. The param stays the store's. */
int onednn_param_get(struct onednn_weights *w, const struct cn_graph *g, cn_val v,
                     struct onednn_param **ret, struct cn_err *err);
/* A row-major copy in F32: of one that has a buffer, nothing is fetched. */
int onednn_param_plain(struct onednn_weights *w, const struct cn_graph *g, cn_val v,
                       struct onednn_param **ret, struct cn_err *err);
/* Packs as md wants; plain_md describes the row-major file layout. The form is held for the caller
 * until onednn_packed_release(). */
int onednn_param_packed(struct onednn_weights *w, const struct cn_graph *g, cn_val v,
                        const dnnl_memory_desc_t *md, const dnnl_memory_desc_t *plain_md,
                        struct onednn_packed **ret, struct cn_err *err);
/* The same for our own kernel of Winograd's algorithm. */
int onednn_param_transformed(struct onednn_weights *w, const struct cn_graph *g, cn_val v,
                             struct onednn_packed **ret, struct cn_err *err);
void onednn_packed_release(struct onednn_packed *k); /* NULL: does nothing */
int onednn_weights_new(struct cn_backend *b, const struct cn_param_source *source,
                       struct cn_weights **ret, struct cn_err *err);
void onednn_weights_free(struct cn_weights *w);
size_t onednn_weights_bytes(const struct cn_weights *w);
size_t onednn_weights_trim(struct cn_weights *w);

/* winograd.c: decides which convolutions of g use Winograd, once for each weight. */
void onednn_choose_winograd(struct onednn_weights *w, const struct cn_graph *g);

/* onednn_primitive.c: what steps over primitives are made of. */
/* A feature map in blocks of b channels; 0: any layout. */
void onednn_describe(dnnl_memory_desc_t *md, const struct cn_shape *s, int64_t b);
bool onednn_implemented_by(dnnl_primitive_desc_t pd, const char *word);
/* Scratch memory from our arena, and the result multiplied by factor. */
dnnl_primitive_attr_t onednn_attributes(float factor);
/* Scratch memory from our arena; the result is added to what stands in its place. */
dnnl_primitive_attr_t onednn_sum_attributes(bool sum);
/* A reorder, which adds to what stands in its place when `sum` says so; and its execution. */
int onednn_make_reorder(struct onednn_backend *b, const dnnl_memory_desc_t *from,
                        const dnnl_memory_desc_t *to, bool sum, dnnl_primitive_t *ret,
                        struct cn_err *err);
int onednn_execute_reorder(struct onednn_plan *p, dnnl_primitive_t r, dnnl_memory_t from,
                           dnnl_memory_t to);
/* Copies from one layout to another, and waits. */
int onednn_reorder(struct onednn_plan *p, dnnl_memory_t from, dnnl_memory_t to, struct cn_err *err);
int onednn_memory(struct onednn_backend *b, const dnnl_memory_desc_t *md, dnnl_memory_t *ret,
                  struct cn_err *err);
void onednn_arg(struct onednn_step *s, int arg, dnnl_memory_t m);

/* onednn_low_rank.c: adds what the run's adapters add to the result of step s, then activates what
 * was bare. CN_EDEVMEM, CN_EDEVICE */
int onednn_adapt(struct onednn_plan *p, struct onednn_step *s, struct cn_err *err);
void onednn_low_rank_free(struct onednn_low_rank *l);
void onednn_packed_factor_free(void *packed);

/* onednn_values.c: POOL, RESIZE, MATMUL, CONV_TRANSPOSE. CN_ENOTFOUND: the library has no good
 * kernel. */
int onednn_values_init(struct onednn_plan *p, struct onednn_step *s, struct cn_err *err);

/* onednn_primitive.c. The fix functions choose a parameter's layout by its first use. */
void onednn_conv_fix_layout(struct onednn_plan *p, const struct onednn_step *s);
void onednn_linear_fix_layout(struct onednn_plan *p, const struct onednn_step *s);
/* winograd_step.c: whether our kernel computes the convolution s, whose weights are w, in this
 * plan; it depends on the size alone. */
bool onednn_wants_winograd(const struct onednn_plan *p, const struct onednn_step *s,
                           const struct onednn_param *w);
int onednn_winograd_init(struct onednn_plan *p, struct onednn_step *s, struct cn_err *err);

int onednn_conv_init(struct onednn_plan *p, struct onednn_step *s, struct cn_err *err);
int onednn_linear_init(struct onednn_plan *p, struct onednn_step *s, struct cn_err *err);
void onednn_primitive_release(struct onednn_step *s);
/* The kernel that Winograd's algorithm would be for node i of g, between maps in blocks of 16
 * channels. CN_ENOTFOUND: this machine or size has none; CN_ETOOBIG: its working memory is beyond
 * the bound. */
int onednn_winograd_pd(struct onednn_backend *b, const struct cn_graph *g, int i,
                       dnnl_primitive_desc_t *ret);

/* onednn_ops.c: everything else; fills run, params and scratch_bytes. */
int onednn_op_init(struct onednn_plan *p, struct onednn_step *s, struct cn_err *err);

/* onednn_plan.c */
void onednn_fix_layouts(struct cn_weights *w, const struct cn_graph *g);
int onednn_compile(struct cn_backend *b, const struct cn_graph *g, struct cn_weights *w,
                   enum cn_dtype dtype, int flags, struct cn_plan **ret, struct cn_err *err);
void onednn_plan_free(struct cn_plan *p);
int onednn_run(struct cn_plan *p, struct cn_buffer *const *in, struct cn_buffer *const *out,
               struct cn_err *err);
size_t onednn_arena_bytes(const struct cn_plan *p);
char *onednn_profile(const struct cn_plan *p);

#endif
