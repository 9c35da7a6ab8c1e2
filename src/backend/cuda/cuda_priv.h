/* The CUDA backend's own structs, shared by its files.
 *
 * A plan is a list of steps; a step enqueues work on a stream over tensors. Tensors lie in the
 * arena of their queue, in the caller's buffers or in a weight store; feature maps are NHWC
 * everywhere on the device except in buffers of the host's layout. Values have the element type of
 * their plan (F16, BF16 or F32), so networks of different types share a backend; what a graph
 * itself declares of 16 bits keeps its type in every plan. All sums are carried in F32.
 *
 * There are two queues: what plans with CN_PLAN_CONCURRENT do, and the rest. Each has its stream,
 * its cuDNN handle, its arena and its pinned staging memory, so that a second thread may run side
 * plans. A buffer belongs to the queue that used it last; another queue waits for that one on the
 * device, never on the host. The weights, the choices of algorithms and compiling belong to the
 * owning thread alone; the pool and the list of plans have locks, because a queue that gave its
 * arena back takes one again when a plan runs. */
#ifndef CN_BACKEND_CUDA_CUDA_PRIV_H
#define CN_BACKEND_CUDA_CUDA_PRIV_H

#include "backend/backend_priv.h"
#include "base/strmap.h"
#include "kernels/cnk_types.h"

#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
    CUDA_MAIN,
    CUDA_CONCURRENT,
    CUDA_QUEUES,
    CUDA_ALIGN = 256, /* of every tensor: what the fastest kernels ask for */
    CUDA_GRAPHS = 4,  /* captured graphs that a plan keeps, one for each set of buffers */
    CUDA_STAGE_BYTES = 16 << 20, /* pinned, of a queue; a picture of 512 x 512 in F32 is 3 MiB */
    CUDA_KEY = 160,
    CUDA_TYPES = 3,         /* F32, F16, BF16: in which values are stored */
    CUDA_MAX_CHOICES = 4096 /* of algorithms, that are remembered */
};

struct cuda_backend;

/* Memory that no buffer holds at the moment, by size. */
struct cuda_block {
    void *data;
    size_t bytes;
};

struct cuda_pool {
    pthread_mutex_t lock; /* a second thread takes the arena of its queue from here */
    struct cuda_block *idle;
    int n_idle;
    size_t cap;
    size_t used, kept; /* bytes handed out; bytes idle */
    size_t arenas;     /* of those handed out: working memory that plans share */
};

struct cuda_queue {
    struct cuda_backend *b;
    int id;
    pthread_mutex_t lock; /* held while a thread enqueues, stages or replaces the arena */
    cudaStream_t stream;
    cudaStream_t recorder; /* only captured, never run: others may use `stream` meanwhile */
    cudnnHandle_t dnn;
    cudaStream_t dnn_stream; /* the one that dnn was given last */
    cudaEvent_t mark;        /* what another queue waits for */
    unsigned char *stage;    /* pinned ring */
    size_t stage_at;
    unsigned char *arena;
    size_t arena_bytes;
    unsigned arena_age; /* counts replacements: captured graphs know the old addresses */
};

struct cuda_plan;
struct cuda_deferred;

struct cuda_backend {
    struct cn_backend base;
    struct cn_backend_opts opts;
    int device;
    cublasLtHandle_t blas;
    struct cuda_queue queue[CUDA_QUEUES];
    struct cuda_pool pool;
    pthread_mutex_t plans_lock;
    struct cuda_plan *plans; /* all of them: their captured graphs go when memory is short */
    struct cn_strmap choice; /* key -> struct cuda_choice: what was timed, here or before */
    struct cuda_dnn *dnn;    /* cuDNN's plans, those that steps use */
    char *choice_file;       /* NULL: nowhere to keep it */
    cudaEvent_t time[2];
    pthread_mutex_t deferred_lock;  /* of the three below */
    struct cuda_deferred *deferred; /* of calls that cannot return a failure: each thread's first */
    int n_deferred;
    size_t deferred_cap;
    atomic_bool lost;      /* the device's state is gone: nothing works any more */
    char device_text[160]; /* device and libraries: what choices of algorithms are good for */
    bool no_sdpa;          /* cuDNN did not take an attention that it should */
    char about[384];       /* that, and what goes slower than it should */
};

/* ---- errors.c ---- */

/* 0, or what happened as an error: CN_EDEVMEM when memory is short, CN_EDEVICE when the device is
 * lost, CN_EINTERNAL when the call was wrong. */
int cuda_check(struct cuda_backend *b, cudaError_t e, const char *what, struct cn_err *err);
int cuda_check_blas(struct cuda_backend *b, cublasStatus_t s, const char *what, struct cn_err *err);
int cuda_check_dnn(struct cuda_backend *b, cudnnStatus_t s, const char *what, struct cn_err *err);
/* Makes the device the calling thread's: first thing in every call from outside. */
int cuda_enter(struct cuda_backend *b, struct cn_err *err);
int cuda_bind_thread(struct cuda_backend *b, struct cn_err *err); /* whatever was selected before */
/* CN_EDEVICE once the device is lost; a failure of this thread that could not be returned when it
 * happened; else 0. */
int cuda_take_error(struct cuda_backend *b, struct cn_err *err);
void cuda_defer_error(struct cuda_backend *b, const struct cn_err *err);

/* ---- graphs.c ---- */

size_t cuda_graph_addresses(const struct cuda_plan *p); /* of inputs and outputs, how many */
/* The slot for this run's buffers; *ret_new: it was not known, and now is. */
struct cuda_graph *cuda_graph_find(struct cuda_plan *p, bool *ret_new);
void cuda_plan_drop_graphs(struct cuda_plan *p);
void cuda_graphs_drop(struct cuda_backend *b); /* of all plans */

/* ---- memory.c ---- */

int cuda_alloc(struct cuda_backend *b, size_t bytes, const char *what, void **ret,
               struct cn_err *err);
void cuda_free(struct cuda_backend *b, void *data, size_t bytes); /* to the pool; NULL is fine */
void cuda_pool_trim(struct cuda_backend *b);                      /* back to the device */
size_t cuda_pool_bytes(struct cuda_backend *b);                   /* idle blocks and arenas */
void cuda_pool_count_arena(struct cuda_backend *b, size_t before, size_t after);

/* ---- queue.c ---- */

int cuda_queue_open(struct cuda_backend *b, int id, struct cn_err *err);
void cuda_queue_close(struct cuda_queue *q);
int cuda_queue_wait(struct cuda_queue *q, struct cn_err *err); /* until it is idle; q locked */
/* Makes q wait, on the device, for all that was enqueued on other until now. */
int cuda_queue_follow(struct cuda_queue *q, struct cuda_queue *other, struct cn_err *err);
/* The arena, at least so large; q not locked. Any thread that may run plans of q. */
int cuda_queue_reserve(struct cuda_queue *q, size_t bytes, struct cn_err *err);
/* The same, and locks q when it succeeds: nobody takes the arena away until it is unlocked. */
int cuda_queue_lock_with(struct cuda_queue *q, size_t bytes, struct cn_err *err);
/* Gives the arena to the pool, unless the queue is in use. Owning thread. */
void cuda_queue_release_arena(struct cuda_queue *q);

/* ---- transfer.c ---- */

/* Between host and device through pinned memory; q locked. The host's memory is free on return. */
int cuda_upload(struct cuda_queue *q, void *device, const void *host, size_t bytes,
                struct cn_err *err);
int cuda_download(struct cuda_queue *q, void *host, const void *device, size_t bytes,
                  struct cn_err *err);
/* n elements of F32 as type t, at dst. */
void cuda_pack(void *dst, const float *src, enum cn_dtype t, size_t n);

/* ---- buffer.c ---- */

struct cuda_buffer {
    struct cn_buffer base;
    struct cuda_backend *b;
    struct cn_shape shape;
    enum cn_dtype type; /* of its elements */
    bool native;
    size_t elements, bytes;
    void *data;
    struct cuda_queue *queue; /* that used it last */
    int32_t id_min, id_max;   /* of the token ids written last */
};

int cuda_buffer_new(struct cn_backend *b, const struct cn_value *value, int flags,
                    struct cn_buffer **ret, struct cn_err *err);
void cuda_buffer_free(struct cn_buffer *buf);
void cuda_buffer_write(struct cn_buffer *buf, const void *host);
void cuda_buffer_read(const struct cn_buffer *buf, void *host);
void cuda_buffer_copy_rows(struct cn_buffer *dst, int64_t dst_row, const struct cn_buffer *src,
                           int64_t src_row, int64_t n);
size_t cuda_buffer_bytes(const struct cn_buffer *buf);
/* Gives the buffer to q: what q enqueues next comes after its last use. */
int cuda_buffer_take(struct cuda_buffer *buf, struct cuda_queue *q, struct cn_err *err);

/* ---- weights.c ---- */

enum cuda_weight_layout {
    CUDA_W_ROWMAJOR, /* as the file has it */
    CUDA_W_OHWI,     /* a filter, channels last: [co, kh, kw, ci] */
    CUDA_W_LAYOUTS
};

int cuda_weights_new(struct cn_backend *b, const struct cn_param_source *source,
                     struct cn_weights **ret, struct cn_err *err);
void cuda_weights_free(struct cn_weights *w);
size_t cuda_weights_bytes(const struct cn_weights *w);
/* Notes the size of g; cuda_weights_at_own_size() tells graphs of that size (any number of rows)
 * from others of the same name. Graphs that were never noted are at their own size. */
void cuda_weights_fix_layouts(struct cn_weights *w, const struct cn_graph *g);
bool cuda_weights_at_own_size(const struct cn_weights *w, const struct cn_graph *g);
/* Parameter v of g on the device in that layout and type: found, or fetched, converted, uploaded.
 * Plans of different types hold copies of their own. */
int cuda_param(struct cn_weights *w, const struct cn_graph *g, cn_val v,
               enum cuda_weight_layout layout, enum cn_dtype type, const void **ret,
               struct cn_err *err);
/* A filter with zeros around it: [co, k + margin[0] + margin[2], k + margin[1] + margin[3], ci];
 * margins in the order top, left, bottom, right. */
int cuda_param_padded(struct cn_weights *w, const struct cn_graph *g, cn_val v, const int margin[4],
                      enum cn_dtype type, const void **ret, struct cn_err *err);

/* ---- tune.c ---- */

/* What was found fastest for one problem on this device with these library versions. */
struct cuda_choice {
    char text[160]; /* for gemm.c: the algorithm; for dnn.c: engine and place in its list */
};

void cuda_tune_open(struct cuda_backend *b);
void cuda_tune_close(struct cuda_backend *b);
const char *cuda_tune_find(const struct cuda_backend *b, const char *key); /* or NULL */
void cuda_tune_keep(struct cuda_backend *b, const char *key, const char *text);
typedef int (*cuda_trial_fn)(void *ctx, struct cn_err *err); /* enqueues one run on the queue */
/* Milliseconds of one run, the fastest of a few. */
int cuda_tune_time(struct cuda_queue *q, cuda_trial_fn trial, void *ctx, float *ret,
                   struct cn_err *err);

/* ---- dnn.c: operation graphs of cuDNN ---- */

/* An operation graph being built; the first failure stays in err, and nothing is done after it. */
struct cuda_dnn_build {
    struct cuda_backend *b;
    struct cuda_queue *q;
    enum cn_dtype type; /* of its tensors: which engines are exact enough */
    bool timed;         /* engines are tried; otherwise cuDNN's first proposal is taken */
    struct cn_err *err;
    int rc;
    cudnnBackendDescriptor_t part[32]; /* everything made: destroyed at the end */
    int n_parts;
    cudnnBackendDescriptor_t op[4];
    int n_ops;
};

struct cuda_dnn_io {
    int64_t uid;
    size_t bytes;      /* 0: by value */
    const void *value; /* by value: where it is on the host */
};

/* A finished execution plan, shared by all steps with the same problem on the same queue; it goes
 * with the last of them. */
struct cuda_dnn {
    char *key;
    int refs;
    struct cuda_dnn *next;
    cudnnBackendDescriptor_t plan, config;
    size_t workspace;
    int n_io;
    struct cuda_dnn_io io[8];
    float value; /* what a by-value tensor points at */
};

cudnnBackendDescriptor_t cuda_dnn_new(struct cuda_dnn_build *d, cudnnBackendDescriptorType_t t);
void cuda_dnn_set(struct cuda_dnn_build *d, cudnnBackendDescriptor_t p,
                  cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t t, int64_t n,
                  const void *value);
void cuda_dnn_finalize(struct cuda_dnn_build *d, cudnnBackendDescriptor_t p, const char *what);
enum { CUDA_DNN_VIRTUAL = 1, CUDA_DNN_VALUE = 2 };
cudnnBackendDescriptor_t cuda_dnn_tensor(struct cuda_dnn_build *d, int64_t uid, cudnnDataType_t t,
                                         const int64_t dim[4], const int64_t stride[4], int flags);
void cuda_dnn_release(struct cuda_dnn_build *d);
cudnnDataType_t cuda_dnn_type(enum cn_dtype t);
/* The fastest execution plan for the operations of d: kept under key, or timed and then kept. */
int cuda_dnn_choose(struct cuda_dnn_build *d, const char *key, const struct cuda_dnn_io *io,
                    int n_io, struct cuda_dnn **ret);
/* data[i] belongs to io[i]; by-value ones are filled in. */
int cuda_dnn_run(struct cuda_queue *q, const struct cuda_dnn *p, void *const *data, void *workspace,
                 cudaStream_t stream, struct cn_err *err);
void cuda_dnn_unref(struct cuda_backend *b, struct cuda_dnn *p); /* NULL is fine */

/* ---- plans: lower.c makes them, run.c runs them ---- */

enum cuda_place { CUDA_ARENA, CUDA_INPUT, CUDA_OUTPUT, CUDA_CONSTANT, CUDA_VIEW };

struct cuda_tensor {
    enum cuda_place place;
    int index;        /* INPUT, OUTPUT: which buffer */
    int base;         /* VIEW: the tensor that it is a part of, */
    size_t offset;    /* from there; ARENA: from the arena's begin */
    const void *data; /* CONSTANT: a parameter in the weight store */
    size_t bytes;
    int from, to; /* steps that write it first and read it last */
};

/* How a value of rank 4 lies: row-major as the graph counts, or channels last. */
enum cuda_layout { CUDA_FLAT, CUDA_LAST, CUDA_LAYOUTS };

struct cuda_step;
/* Enqueues the step on stream s, which is q's stream or its recorder. */
typedef int (*cuda_step_fn)(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                            struct cn_err *err);

/* One product on cuBLASLt: d = alpha a b + beta c (+ bias), in its column-major terms. */
struct cuda_gemm {
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, d;
    cublasLtMatmulAlgo_t algo;
    size_t workspace;
};

struct cuda_step {
    cuda_step_fn run;
    struct cn_node node;     /* operation and attributes */
    cn_val val;              /* whose shape the result has; negative: none */
    enum cn_dtype type;      /* of result and operands */
    enum cn_dtype from;      /* of a conversion: what it reads */
    enum cuda_layout layout; /* of result and main operands of rank 4 */
    int in[CN_MAX_IN];       /* tensors; negative: none */
    int out, scratch;        /* tensors */
    struct cuda_gemm *gemm[2];
    struct cuda_dnn *dnn;
    int64_t size[6]; /* what the step's function wants to know */
    char label[48];
    double ms; /* profile */
    int runs;
};

/* A plan's steps as a captured graph for one set of buffers. */
struct cuda_graph {
    void **address; /* of all inputs and outputs; NULL: unused slot */
    unsigned arena_age;
    cudaGraphExec_t exec; /* NULL: seen once, run step by step */
    long used;
};

/* The tensors that hold a value, by form; negative: not (yet). */
struct cuda_forms {
    int tensor[CUDA_LAYOUTS][CUDA_TYPES];
    int ids; /* of I32: as the host gave them */
};

struct cuda_plan {
    struct cn_plan base;
    struct cuda_backend *b;
    struct cuda_queue *q;
    struct cn_weights *w;
    struct cn_graph *g; /* fused */
    enum cn_dtype type; /* of real values, but those that the graph declares itself */
    struct cuda_tensor *tensor;
    struct cuda_step *step;
    int n_tensors, n_steps;
    size_t tensor_cap, step_cap, arena_bytes;
    bool timed; /* algorithms are chosen by timing them: the network is at its own size */
    struct cuda_forms *form; /* per value */
    struct cuda_graph graph[CUDA_GRAPHS];
    bool not_captured; /* capturing failed: it is not tried again */
    long clock;
    void **address;     /* of the buffers of this run: inputs, outputs */
    cudaEvent_t *event; /* profile: n_steps + 1 */
    struct cuda_plan *next;
};

int cuda_plan_compile(struct cn_backend *b, const struct cn_graph *g, struct cn_weights *w,
                      enum cn_dtype dtype, int flags, struct cn_plan **ret, struct cn_err *err);
void cuda_plan_free(struct cn_plan *p);
int cuda_plan_run(struct cn_plan *p, struct cn_buffer *const *in, struct cn_buffer *const *out,
                  struct cn_err *err);
size_t cuda_plan_arena_bytes(const struct cn_plan *p);
char *cuda_plan_profile(const struct cn_plan *p);

/* ---- plan.c ---- */

int cuda_tensor_new(struct cuda_plan *p, size_t bytes);
int cuda_constant_new(struct cuda_plan *p, const void *data);
const struct cn_shape *cuda_shape(const struct cuda_plan *p, cn_val v);
int cuda_dim(const struct cn_shape *s, int i); /* sizes_fit() has looked at it */
struct cuda_step *cuda_step_new(struct cuda_plan *p, cuda_step_fn run, const char *label);
void cuda_step_done(struct cuda_plan *p, int step); /* its tensors live until then */
size_t cuda_value_bytes(const struct cuda_plan *p, cn_val v, enum cn_dtype t);
bool cuda_is_constant(const struct cuda_plan *p, cn_val v); /* a parameter of the file */
void *cuda_address(const struct cuda_plan *p, int tensor);
void *cuda_operand(const struct cuda_plan *p, const struct cuda_step *s, int k); /* NULL: absent */
void *cuda_scratch(const struct cuda_plan *p, const struct cuda_step *s);
/* error: what a launcher of kernels/cnk.h returned. */
int cuda_check_launch(struct cuda_plan *p, const struct cuda_step *s, int error,
                      struct cn_err *err);

/* ---- forms.c ---- */

enum cn_dtype cuda_own_type(const struct cuda_plan *p, cn_val v); /* what v is computed in */
int *cuda_form(struct cuda_plan *p, cn_val v, enum cn_dtype t, enum cuda_layout layout);
/* What operations that take either should read: flat only where nothing else is there. */
enum cuda_layout cuda_usual_layout(struct cuda_plan *p, cn_val v);
/* The tensor of that form, which a step may have to make first. */
int cuda_value_tensor(struct cuda_plan *p, cn_val v, enum cn_dtype t, enum cuda_layout layout,
                      int *ret, struct cn_err *err);
void cuda_add_copy(struct cuda_plan *p, cn_val v, int from, int to);

/* ---- what fills in a step whose tensors are known ---- */

int cuda_conv_init(struct cuda_plan *p, struct cuda_step *s, struct cn_err *err);
int cuda_attention_init(struct cuda_plan *p, struct cuda_step *s, struct cn_err *err);
int cuda_op_init(struct cuda_plan *p, struct cuda_step *s, struct cn_err *err); /* ops.c */
int cuda_linear_init(struct cuda_plan *p, struct cuda_step *s, struct cn_err *err);
int cuda_matmul_init(struct cuda_plan *p, struct cuda_step *s, struct cn_err *err);
/* y [rows, out] = x [rows, k] w^T (+ bias + residual), as the step's node and tensors say. */
int cuda_product_init(struct cuda_plan *p, struct cuda_step *s, int64_t rows, int64_t k,
                      int64_t out, struct cn_err *err);
/* y = act(y + bias + residual) of a step that has written y; both may be NULL. */
int cuda_run_epilogue(struct cuda_plan *p, struct cuda_step *s, const float *bias,
                      const void *residual, cudaStream_t stream, struct cn_err *err);

/* ---- steps of rearrange.c and window.c ---- */

int cuda_run_permute(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                     struct cn_err *err);
int cuda_run_slice(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                   struct cn_err *err);
int cuda_run_unshuffle(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                       struct cn_err *err);
int cuda_run_shuffle(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                     struct cn_err *err);
int cuda_run_concat(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                    struct cn_err *err);
int cuda_run_concat_two(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                        struct cn_err *err);
int cuda_run_gather(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                    struct cn_err *err);
int cuda_run_reduce(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                    struct cn_err *err);
int cuda_run_pool(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                  struct cn_err *err);
int cuda_run_resize(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                    struct cn_err *err);
int cuda_run_pad_reflect(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                         struct cn_err *err);
int cuda_run_conv_direct(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                         struct cn_err *err); /* without bias, residual and activation */
int cuda_run_conv_transpose(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                            struct cn_err *err);

/* ---- gemm.c ---- */

/* Row-major y[batch][rows, out] = alpha x[batch][rows, k] op(w[batch]) + beta y + bias[out]:
 * op(w) is w [out, k] transposed, or w [k, out] as it is; x may be stored transposed, [k, rows].
 * ld: elements from row to row; stride: from one matrix of a batch to the next. */
struct cuda_gemm_size {
    int64_t rows, k, out, batch;
    int64_t ld_x, ld_w, ld_y;
    int64_t stride_x, stride_w, stride_y;
    bool w_as_is;             /* [k, out] */
    bool x_transposed;        /* [k, rows] */
    enum cn_dtype in, result; /* element types of x and w; of y */
    const void *bias;         /* NULL: none */
    bool residual;            /* y = ... + another matrix of y's layout */
};

int cuda_gemm_new(struct cuda_plan *p, const struct cuda_gemm_size *z, struct cuda_gemm **ret,
                  struct cn_err *err);
int cuda_gemm_run(struct cuda_plan *p, const struct cuda_gemm *m, float alpha, const void *x,
                  const void *w, const void *residual, void *y, void *workspace,
                  cudaStream_t stream, struct cn_err *err);
void cuda_gemm_free(struct cuda_gemm *m);

#endif
