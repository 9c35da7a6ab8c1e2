/* Products on cuBLASLt: linear layers, 1x1 convolutions, attention of wide heads.
 *
 * cuBLASLt counts in columns: a row-major y [rows, out] is its matrix [out, rows]. So w comes first
 * and transposed, the bias runs along its rows as it wants, and the residual is its C (beta 1). */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ALGORITHMS = 8,
    WORKSPACE = 32 << 20 /* what NVIDIA recommends for Hopper */
};

static cudaDataType_t data_type(enum cn_dtype t)
{
    return t == CN_F16 ? CUDA_R_16F : t == CN_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

void cuda_gemm_free(struct cuda_gemm *m)
{
    if (m == NULL)
        return;
    if (m->desc != NULL)
        (void)cublasLtMatmulDescDestroy(m->desc);
    if (m->a != NULL)
        (void)cublasLtMatrixLayoutDestroy(m->a);
    if (m->b != NULL)
        (void)cublasLtMatrixLayoutDestroy(m->b);
    if (m->d != NULL)
        (void)cublasLtMatrixLayoutDestroy(m->d);
    free(m);
}

static int set_desc(struct cuda_backend *b, cublasLtMatmulDesc_t desc,
                    cublasLtMatmulDescAttributes_t name, const void *value, size_t size,
                    struct cn_err *err)
{
    return cuda_check_blas(b, cublasLtMatmulDescSetAttribute(desc, name, value, size),
                           "describe a product", err);
}

static int make_desc(struct cuda_backend *b, const struct cuda_gemm_size *z, struct cuda_gemm *m,
                     struct cn_err *err)
{
    cublasOperation_t a = z->w_as_is ? CUBLAS_OP_N : CUBLAS_OP_T, transpose = CUBLAS_OP_T;
    cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    cudaDataType_t bias_type = data_type(z->result);
    int rc = cuda_check_blas(b, cublasLtMatmulDescCreate(&m->desc, CUBLAS_COMPUTE_32F, CUDA_R_32F),
                             "describe a product", err);

    if (rc == CN_OK)
        rc = set_desc(b, m->desc, CUBLASLT_MATMUL_DESC_TRANSA, &a, sizeof(a), err);
    if (rc == CN_OK && z->x_transposed)
        rc = set_desc(b, m->desc, CUBLASLT_MATMUL_DESC_TRANSB, &transpose, sizeof(transpose), err);
    if (rc < 0 || z->bias == NULL)
        return rc;
    if ((rc = set_desc(b, m->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof(epilogue),
                       err)) < 0 ||
        (rc = set_desc(b, m->desc, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &bias_type,
                       sizeof(bias_type), err)) < 0)
        return rc;
    return set_desc(b, m->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &z->bias, sizeof(z->bias), err);
}

static int make_layout(struct cuda_backend *b, enum cn_dtype t, int64_t rows, int64_t columns,
                       int64_t ld, int64_t batch, int64_t stride, cublasLtMatrixLayout_t *ret,
                       struct cn_err *err)
{
    int32_t count = (int32_t)batch;
    int rc = cuda_check_blas(
        b, cublasLtMatrixLayoutCreate(ret, data_type(t), (uint64_t)rows, (uint64_t)columns, ld),
        "describe a matrix", err);

    if (rc < 0 || batch == 1)
        return rc;
    rc = cuda_check_blas(b,
                         cublasLtMatrixLayoutSetAttribute(*ret, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT,
                                                          &count, sizeof(count)),
                         "describe a matrix", err);
    if (rc < 0)
        return rc;
    return cuda_check_blas(
        b,
        cublasLtMatrixLayoutSetAttribute(*ret, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride,
                                         sizeof(stride)),
        "describe a matrix", err);
}

static int make_layouts(struct cuda_backend *b, const struct cuda_gemm_size *z, struct cuda_gemm *m,
                        struct cn_err *err)
{
    int64_t w_rows = z->w_as_is ? z->out : z->k, w_columns = z->w_as_is ? z->k : z->out;
    int rc = make_layout(b, z->in, w_rows, w_columns, z->ld_w, z->batch, z->stride_w, &m->a, err);

    if (rc == CN_OK)
        rc = make_layout(b, z->in, z->x_transposed ? z->rows : z->k,
                         z->x_transposed ? z->k : z->rows, z->ld_x, z->batch, z->stride_x, &m->b,
                         err);
    if (rc == CN_OK)
        rc = make_layout(b, z->result, z->out, z->rows, z->ld_y, z->batch, z->stride_y, &m->d, err);
    return rc;
}

/* ---- the choice of an algorithm ---- */

struct trial {
    struct cuda_queue *q;
    const struct cuda_gemm *m;
    const cublasLtMatmulAlgo_t *algo;
    size_t workspace_bytes;
    void *x, *w, *y, *workspace;
    float beta;
};

static int enqueue_product(struct cuda_backend *b, const struct cuda_gemm *m,
                           const cublasLtMatmulAlgo_t *algo, float alpha, const void *x,
                           const void *w, float beta, const void *c, void *y, void *workspace,
                           size_t bytes, cudaStream_t stream, struct cn_err *err)
{
    return cuda_check_blas(b,
                           cublasLtMatmul(b->blas, m->desc, &alpha, w, m->a, x, m->b, &beta, c,
                                          m->d, y, m->d, algo, workspace, bytes, stream),
                           "multiply", err);
}

static int run_trial(void *ctx, struct cn_err *err)
{
    struct trial *t = ctx;

    return enqueue_product(t->q->b, t->m, t->algo, 1.0f, t->x, t->w, t->beta, t->y, t->y,
                           t->workspace, t->workspace_bytes, t->q->stream, err);
}

static int ask_heuristics(struct cuda_backend *b, const struct cuda_gemm *m,
                          cublasLtMatmulHeuristicResult_t *ret, int *ret_n, struct cn_err *err)
{
    /* What one row of a batch begins at may be aligned to 16 bytes only; the default is 256. */
    static const cublasLtMatmulPreferenceAttributes_t alignment[] = {
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES};
    cublasLtMatmulPreference_t preference = NULL;
    uint64_t most = WORKSPACE;
    uint32_t bytes = 16;
    int rc =
        cuda_check_blas(b, cublasLtMatmulPreferenceCreate(&preference), "ask for algorithms", err);

    if (rc == CN_OK)
        rc = cuda_check_blas(
            b,
            cublasLtMatmulPreferenceSetAttribute(
                preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof(most)),
            "ask for algorithms", err);
    for (size_t i = 0; i < CN_LEN(alignment) && rc == CN_OK; i++)
        rc = cuda_check_blas(
            b,
            cublasLtMatmulPreferenceSetAttribute(preference, alignment[i], &bytes, sizeof(bytes)),
            "ask for algorithms", err);
    if (rc == CN_OK)
        rc =
            cuda_check_blas(b,
                            cublasLtMatmulAlgoGetHeuristic(b->blas, m->desc, m->a, m->b, m->d, m->d,
                                                           preference, ALGORITHMS, ret, ret_n),
                            "find an algorithm for a product", err);
    if (preference != NULL)
        (void)cublasLtMatmulPreferenceDestroy(preference);
    return rc;
}

static size_t matrix_bytes(int64_t rows, int64_t ld, int64_t batch, int64_t stride, enum cn_dtype t)
{
    return (size_t)(rows * ld + (batch - 1) * stride) * cn_dtype_size(t);
}

/* The fastest of found; its index. What cannot be timed for want of memory goes by the heuristics.
 */
static int time_algorithms(struct cuda_queue *q, const struct cuda_gemm_size *z,
                           struct cuda_gemm *m, const cublasLtMatmulHeuristicResult_t *found, int n,
                           int *ret, struct cn_err *err)
{
    struct cuda_backend *b = q->b;
    struct trial t = {.q = q, .m = m, .beta = z->residual ? 1.0f : 0.0f};
    size_t x =
        matrix_bytes(z->x_transposed ? z->k : z->rows, z->ld_x, z->batch, z->stride_x, z->in);
    size_t w = matrix_bytes(z->w_as_is ? z->k : z->out, z->ld_w, z->batch, z->stride_w, z->in);
    size_t y = matrix_bytes(z->rows, z->ld_y, z->batch, z->stride_y, z->result);
    struct cn_err why = CN_ERR_INIT;
    float best = 0;
    int rc = CN_OK;

    *ret = -1;
    if (cuda_alloc(b, x, "a trial", &t.x, &why) == CN_OK &&
        cuda_alloc(b, w, "a trial", &t.w, &why) == CN_OK &&
        cuda_alloc(b, y, "a trial", &t.y, &why) == CN_OK &&
        cuda_alloc(b, WORKSPACE, "a trial", &t.workspace, &why) == CN_OK)
        for (int i = 0; i < n && rc != CN_EDEVICE; i++) {
            float ms;

            t.algo = &found[i].algo;
            t.workspace_bytes = found[i].workspaceSize;
            why = (struct cn_err)CN_ERR_INIT;
            rc = cuda_tune_time(q, run_trial, &t, &ms, &why);
            if (rc == CN_OK && (*ret < 0 || ms < best)) {
                *ret = i;
                best = ms;
            }
        }
    cuda_free(b, t.x, x);
    cuda_free(b, t.w, w);
    cuda_free(b, t.y, y);
    cuda_free(b, t.workspace, WORKSPACE);
    if (why.code == CN_EDEVICE)
        return cn_fail(err, CN_EDEVICE, "%s", why.msg);
    return CN_OK;
}

/* An algorithm is 64 bytes that cuBLASLt takes back in the same version; hexadecimal. */
static void write_algo(const struct cuda_gemm *m, char *text, size_t size)
{
    const unsigned char *p = (const unsigned char *)&m->algo;
    size_t at = (size_t)snprintf(text, size, "%zu ", m->workspace);

    for (size_t i = 0; i < sizeof(m->algo) && at + 2 < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%02x", p[i]);
}

/* Whether the kept algorithm still does: cuBLASLt checks it. */
static bool read_algo(struct cuda_backend *b, struct cuda_gemm *m, const char *text)
{
    unsigned char *p = (unsigned char *)&m->algo;
    cublasLtMatmulHeuristicResult_t r;
    unsigned byte;
    int at = 0;

    if (text == NULL || sscanf(text, "%zu %n", &m->workspace, &at) != 1 ||
        strlen(text + at) != 2 * sizeof(m->algo))
        return false;
    for (size_t i = 0; i < sizeof(m->algo); i++) {
        if (sscanf(text + at + 2 * i, "%2x", &byte) != 1)
            return false;
        p[i] = (unsigned char)byte;
    }
    if (cublasLtMatmulAlgoCheck(b->blas, m->desc, m->a, m->b, m->d, m->d, &m->algo, &r) !=
            CUBLAS_STATUS_SUCCESS ||
        r.workspaceSize > WORKSPACE)
        return false;
    m->workspace = r.workspaceSize;
    return true;
}

static void problem_key(const struct cuda_gemm_size *z, char *key)
{
    snprintf(key, CUDA_KEY,
             "gemm %s-%s %lldx%lldx%lld batch %lld ld %lld %lld %lld stride %lld %lld %lld%s%s%s%s",
             cn_dtype_name(z->in), cn_dtype_name(z->result), (long long)z->rows, (long long)z->k,
             (long long)z->out, (long long)z->batch, (long long)z->ld_x, (long long)z->ld_w,
             (long long)z->ld_y, (long long)z->stride_x, (long long)z->stride_w,
             (long long)z->stride_y, z->w_as_is ? " as is" : "",
             z->x_transposed ? " x transposed" : "", z->bias != NULL ? " bias" : "",
             z->residual ? " residual" : "");
}

static int choose_algorithm(struct cuda_plan *p, const struct cuda_gemm_size *z,
                            struct cuda_gemm *m, struct cn_err *err)
{
    struct cuda_backend *b = p->b;
    cublasLtMatmulHeuristicResult_t found[ALGORITHMS];
    char key[CUDA_KEY], text[160];
    int n = 0, best = -1, rc;

    problem_key(z, key);
    if (p->timed && read_algo(b, m, cuda_tune_find(b, key)))
        return CN_OK;
    if ((rc = ask_heuristics(b, m, found, &n, err)) < 0)
        return rc;
    if (n == 0)
        return cn_fail(err, CN_EINTERNAL, "cuBLASLt has no algorithm for %s", key);
    if (p->timed && (rc = time_algorithms(p->q, z, m, found, n, &best, err)) < 0)
        return rc;
    m->algo = found[CN_MAX(best, 0)].algo;
    m->workspace = found[CN_MAX(best, 0)].workspaceSize;
    write_algo(m, text, sizeof(text));
    if (best >= 0)
        cuda_tune_keep(b, key, text);
    return CN_OK;
}

int cuda_gemm_new(struct cuda_plan *p, const struct cuda_gemm_size *z, struct cuda_gemm **ret,
                  struct cn_err *err)
{
    struct cuda_gemm *m = cn_xcalloc(1, sizeof(*m));
    int rc = make_desc(p->b, z, m, err);

    if (rc == CN_OK)
        rc = make_layouts(p->b, z, m, err);
    if (rc == CN_OK)
        rc = choose_algorithm(p, z, m, err);
    if (rc < 0) {
        cuda_gemm_free(m);
        return rc;
    }
    *ret = m;
    return CN_OK;
}

int cuda_gemm_run(struct cuda_plan *p, const struct cuda_gemm *m, float alpha, const void *x,
                  const void *w, const void *residual, void *y, void *workspace,
                  cudaStream_t stream, struct cn_err *err)
{
    return enqueue_product(p->b, m, &m->algo, alpha, x, w, residual != NULL ? 1.0f : 0.0f,
                           residual != NULL ? residual : y, y, workspace, m->workspace, stream,
                           err);
}
