/* Attention, by the shape of its heads:
 *
 *   cuDNN's SDPA   16 bits, no mask, d a multiple of 8 up to 256: the UNet's 40, 80 and 160
 *   two products   16 bits, no mask, wider: the VAE's 512; narrower only where cuDNN did not take
 *                  it. Scores are F32 in scratch memory, one row of the batch at a time; they are
 *                  scaled by the first product
 *   own kernel     the rest: CLIP's causal mask, odd sizes, F32
 */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"
#include "kernels/cnk.h"

#include <stdio.h>
#include <string.h>

/* Scratch memory that two products may take where they are the way around cuDNN. */
#define SCORES ((size_t)256 << 20)

enum { UID_Q = 1, UID_K, UID_V, UID_Y, UID_SCALE };

struct attention_sizes {
    int64_t n, s, t, heads, d; /* d: of one head */
};

static struct attention_sizes attention_sizes(const struct cuda_plan *p, const struct cuda_step *s)
{
    const struct cn_shape *q = &p->g->value[s->node.in[0]].shape;
    const struct cn_shape *k = &p->g->value[s->node.in[1]].shape;
    int64_t heads = s->node.attr.heads;

    return (struct attention_sizes){q->dim[0], q->dim[1], k->dim[1], heads, q->dim[2] / heads};
}

/* Which of the three ways it is can be a factor of ten: --profile shows it. */
static void label(struct cuda_step *s, const struct attention_sizes *z, const char *way)
{
    snprintf(s->label, sizeof(s->label), "attention %lldx%lld %lldx%lld %s", (long long)z->s,
             (long long)z->t, (long long)z->heads, (long long)z->d, way);
}

/* ---- own kernel ---- */

static int run_kernel(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                      struct cn_err *err)
{
    struct attention_sizes z = attention_sizes(p, s);
    int width = (int)(z.heads * z.d);
    struct cnk_strided_attention a = {.n = (int)z.n,
                                      .s = (int)z.s,
                                      .t = (int)z.t,
                                      .heads = (int)z.heads,
                                      .dh = (int)z.d,
                                      .scale = s->node.attr.alpha,
                                      .causal = s->node.attr.causal,
                                      .q_stride = width,
                                      .k_stride = width,
                                      .v_stride = width,
                                      .y_stride = width};

    return cuda_check(p->b,
                      (cudaError_t)cnk_attention(
                          s->type, cuda_address(p, s->out), cuda_address(p, s->in[0]),
                          cuda_address(p, s->in[1]), cuda_address(p, s->in[2]), &a, stream),
                      "launch attention", err);
}

/* ---- two products ---- */

static unsigned char *element_at(const struct cuda_plan *p, const struct cuda_step *s, int tensor,
                                 int64_t elements)
{
    return (unsigned char *)cuda_address(p, tensor) + (size_t)elements * cn_dtype_size(s->type);
}

/* Scratch: scores [heads, s, t] F32, the same as weights in the backend's type, workspace. */
static int run_products(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                        struct cn_err *err)
{
    struct attention_sizes z = attention_sizes(p, s);
    size_t scores = (size_t)(z.heads * z.s * z.t);
    float *score = cuda_address(p, s->scratch);
    unsigned char *weight = (unsigned char *)(score + scores);
    void *workspace =
        weight + (scores * cn_dtype_size(s->type) + CUDA_ALIGN - 1) / CUDA_ALIGN * CUDA_ALIGN;
    int rc = CN_OK;

    for (int64_t i = 0; i < z.n && rc == CN_OK; i++) {
        int64_t q = i * z.s * z.heads * z.d, k = i * z.t * z.heads * z.d;

        rc = cuda_gemm_run(p, s->gemm[0], s->node.attr.alpha, element_at(p, s, s->in[0], q),
                           element_at(p, s, s->in[1], k), NULL, score, workspace, stream, err);
        if (rc == CN_OK)
            rc = cuda_check(p->b,
                            (cudaError_t)cnk_softmax(s->type, weight, CN_F32, score,
                                                     (size_t)(z.heads * z.s), (int)z.t, 1.0f,
                                                     stream),
                            "launch softmax", err);
        if (rc == CN_OK)
            rc = cuda_gemm_run(p, s->gemm[1], 1.0f, weight, element_at(p, s, s->in[2], k), NULL,
                               element_at(p, s, s->out, q), workspace, stream, err);
    }
    return rc;
}

static size_t score_bytes(const struct cuda_step *s, const struct attention_sizes *z)
{
    return (size_t)(z->heads * z->s * z->t) * (sizeof(float) + cn_dtype_size(s->type));
}

static int init_products(struct cuda_plan *p, struct cuda_step *s, struct cn_err *err)
{
    struct attention_sizes z = attention_sizes(p, s);
    enum cn_dtype t = s->type;
    int64_t width = z.heads * z.d;
    /* scores [s, t] = q [s, d] k [t, d]^T; y [s, d] = weights [s, t] v [t, d]; heads: the batch */
    struct cuda_gemm_size first = {.rows = z.s,
                                   .k = z.d,
                                   .out = z.t,
                                   .batch = z.heads,
                                   .ld_x = width,
                                   .ld_w = width,
                                   .ld_y = z.t,
                                   .stride_x = z.d,
                                   .stride_w = z.d,
                                   .stride_y = z.s * z.t,
                                   .in = t,
                                   .result = CN_F32};
    struct cuda_gemm_size second = {.rows = z.s,
                                    .k = z.t,
                                    .out = z.d,
                                    .batch = z.heads,
                                    .ld_x = z.t,
                                    .ld_w = width,
                                    .ld_y = width,
                                    .stride_x = z.s * z.t,
                                    .stride_w = z.d,
                                    .stride_y = z.d,
                                    .w_as_is = true,
                                    .in = t,
                                    .result = t};
    int rc = cuda_gemm_new(p, &first, &s->gemm[0], err);

    if (rc == CN_OK)
        rc = cuda_gemm_new(p, &second, &s->gemm[1], err);
    if (rc < 0)
        return rc;
    label(s, &z, "products");
    s->run = run_products;
    s->scratch = cuda_tensor_new(p, score_bytes(s, &z) + 2 * CUDA_ALIGN +
                                        CN_MAX(s->gemm[0]->workspace, s->gemm[1]->workspace));
    return CN_OK;
}

/* ---- cuDNN ---- */

/* [n, heads, s, d] as it lies in tokens [n, s, heads d]. */
static cudnnBackendDescriptor_t token_tensor(struct cuda_dnn_build *d, int64_t uid,
                                             const struct attention_sizes *z, int64_t s)
{
    int64_t width = z->heads * z->d;

    return cuda_dnn_tensor(d, uid, cuda_dnn_type(d->type), (int64_t[]){z->n, z->heads, s, z->d},
                           (int64_t[]){s * width, z->d, width, 1}, 0);
}

static void build_sdpa(struct cuda_dnn_build *d, const struct attention_sizes *z)
{
    static const int64_t one[4] = {1, 1, 1, 1};
    cudnnBackendDescriptor_t q = token_tensor(d, UID_Q, z, z->s),
                             k = token_tensor(d, UID_K, z, z->t);
    cudnnBackendDescriptor_t v = token_tensor(d, UID_V, z, z->t),
                             y = token_tensor(d, UID_Y, z, z->s);
    cudnnBackendDescriptor_t scale =
        cuda_dnn_tensor(d, UID_SCALE, CUDNN_DATA_FLOAT, one, one, CUDA_DNN_VALUE);
    cudnnBackendDescriptor_t o = cuda_dnn_new(d, CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR);

    cuda_dnn_set(d, o, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &q);
    cuda_dnn_set(d, o, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &k);
    cuda_dnn_set(d, o, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &v);
    cuda_dnn_set(d, o, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &y);
    cuda_dnn_set(d, o, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                 &scale);
    cuda_dnn_finalize(d, o, "join attention");
    d->op[d->n_ops++] = o;
}

static int run_sdpa(struct cuda_plan *p, struct cuda_step *s, cudaStream_t stream,
                    struct cn_err *err)
{
    void *data[5] = {cuda_address(p, s->in[0]), cuda_address(p, s->in[1]),
                     cuda_address(p, s->in[2]), cuda_address(p, s->out), NULL};

    return cuda_dnn_run(p->q, s->dnn, data, cuda_scratch(p, s), stream, err);
}

static int init_sdpa(struct cuda_plan *p, struct cuda_step *s, struct cn_err *err)
{
    struct attention_sizes z = attention_sizes(p, s);
    struct cuda_dnn_build d = {
        .b = p->b, .q = p->q, .timed = p->timed, .type = s->type, .err = err};
    size_t row = (size_t)(z.n * z.heads * z.d) * cn_dtype_size(s->type);
    float scale = s->node.attr.alpha;
    struct cuda_dnn_io io[5] = {{.uid = UID_Q, .bytes = row * (size_t)z.s},
                                {.uid = UID_K, .bytes = row * (size_t)z.t},
                                {.uid = UID_V, .bytes = row * (size_t)z.t},
                                {.uid = UID_Y, .bytes = row * (size_t)z.s},
                                {.uid = UID_SCALE, .value = &scale}};
    char key[CUDA_KEY];

    snprintf(key, sizeof(key), "attention %s %lld %lldx%lld %lldx%lld scale %.9g",
             cn_dtype_name(s->type), (long long)z.n, (long long)z.s, (long long)z.t,
             (long long)z.heads, (long long)z.d, (double)scale);
    build_sdpa(&d, &z);
    cuda_dnn_choose(&d, key, io, 5, &s->dnn);
    cuda_dnn_release(&d);
    if (d.rc < 0)
        return d.rc;
    s->run = run_sdpa;
    if (s->dnn->workspace > 0)
        s->scratch = cuda_tensor_new(p, s->dnn->workspace);
    return CN_OK;
}

/* Told once, with the device: what should be fast is not, though it works. */
static void note_fallback(struct cuda_backend *b, const struct cn_err *why)
{
    if (!b->no_sdpa)
        snprintf(b->about, sizeof(b->about), "%s; attention without cuDNN: %s", b->device_text,
                 why->msg);
    b->no_sdpa = true;
}

int cuda_attention_init(struct cuda_plan *p, struct cuda_step *s, struct cn_err *err)
{
    struct attention_sizes z = attention_sizes(p, s);
    bool half = s->type != CN_F32 && !s->node.attr.causal;
    struct cn_err why = CN_ERR_INIT;
    int rc = CN_ENOTFOUND;

    label(s, &z, "cudnn");
    if (half && z.d % 8 == 0 && z.d <= 256) {
        rc = init_sdpa(p, s, &why);
        if (rc == CN_OK || rc == CN_EDEVICE || rc == CN_EDEVMEM)
            return rc < 0 ? cn_fail(err, rc, "%s", why.msg) : CN_OK;
        note_fallback(p->b, &why);
    }
    if (z.d > CNK_MAX_HEAD && s->node.attr.causal)
        return cn_fail(err, CN_EINTERNAL, "no causal attention for heads of %lld", (long long)z.d);
    if (z.d > CNK_MAX_HEAD ||
        (half && z.d % 8 == 0 && z.t % 8 == 0 && (z.d > 256 || score_bytes(s, &z) <= SCORES)))
        return init_products(p, s, err);
    label(s, &z, "kernel");
    s->run = run_kernel;
    return CN_OK;
}
