/* cuBLASLt: descriptors are what NVIDIA's header says of them, opaque words; here they hold the
 * attributes that were set. Products are summed in double. */
#include "base/base.h"
#include "tests/standin/standin_priv.h"
#include "base/mem.h"

#include <cublasLt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct desc {
    bool transpose_a, transpose_b, bias;
    const void *bias_data;
    cudaDataType_t bias_type;
};

struct layout {
    enum standin_type type;
    int64_t rows, columns, ld, batch, stride;
};

#define ENTER(f)                                                                                   \
    int code_;                                                                                     \
    standin_lock();                                                                                \
    code_ = standin_count(STANDIN_##f);                                                            \
    if (code_ != 0) {                                                                              \
        standin_unlock();                                                                          \
        return (cublasStatus_t)code_;                                                              \
    }

#define LEAVE(status)                                                                              \
    do {                                                                                           \
        cublasStatus_t result_ = (status);                                                         \
        standin_unlock();                                                                          \
        return result_;                                                                            \
    } while (0)

static enum standin_type element(cudaDataType_t t)
{
    return t == CUDA_R_16F ? STANDIN_F16 : t == CUDA_R_16BF ? STANDIN_BF16 : STANDIN_F32;
}

const char *cublasLtGetStatusName(cublasStatus_t status)
{
    static char name[48];

    snprintf(name, sizeof(name), "status %d", (int)status);
    return name;
}

size_t cublasLtGetVersion(void)
{
    return 130000;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    ENTER(cublasLtCreate);
    *handle = cn_xcalloc(1, sizeof(int));
    *(int *)(void *)*handle = standin_make_here();
    standin_now.live_objects++;
    LEAVE(CUBLAS_STATUS_SUCCESS);
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    standin_lock();
    standin_count(STANDIN_cublasLtDestroy);
    free(handle);
    standin_now.live_objects--;
    LEAVE(CUBLAS_STATUS_SUCCESS);
}

/* The library's headers make inline wrappers of Create; these are what they call. */
static void *object(size_t bytes)
{
    standin_now.live_objects++;
    return cn_xcalloc(1, bytes);
}

static void destroy(void *p)
{
    standin_lock();
    free(p);
    standin_now.live_objects--;
    standin_unlock();
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *ret, cublasComputeType_t compute,
                                        cudaDataType_t scale)
{
    ENTER(cublasLtMatmulDescCreate);
    if (compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F)
        LEAVE(CUBLAS_STATUS_NOT_SUPPORTED);
    *ret = object(sizeof(struct desc));
    LEAVE(CUBLAS_STATUS_SUCCESS);
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t p)
{
    destroy(p);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t p,
                                              cublasLtMatmulDescAttributes_t name,
                                              const void *value, size_t size)
{
    struct desc *d = (struct desc *)(void *)p;
    cublasStatus_t s = CUBLAS_STATUS_SUCCESS;
    int word = 0;

    ENTER(cublasLtMatmulDescSetAttribute);
    if (size == sizeof(word))
        memcpy(&word, value, sizeof(word));
    if (name == CUBLASLT_MATMUL_DESC_TRANSA && size == sizeof(word))
        d->transpose_a = word == CUBLAS_OP_T;
    else if (name == CUBLASLT_MATMUL_DESC_TRANSB && size == sizeof(word))
        d->transpose_b = word == CUBLAS_OP_T;
    else if (name == CUBLASLT_MATMUL_DESC_EPILOGUE && size == sizeof(word) &&
             word == CUBLASLT_EPILOGUE_BIAS)
        d->bias = true;
    else if (name == CUBLASLT_MATMUL_DESC_BIAS_POINTER && size == sizeof(void *))
        memcpy(&d->bias_data, value, sizeof(void *));
    else if (name == CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE && size == sizeof(word))
        d->bias_type = (cudaDataType_t)word;
    else
        s = CUBLAS_STATUS_INVALID_VALUE;
    LEAVE(s);
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *ret, cudaDataType type,
                                          uint64_t rows, uint64_t columns, int64_t ld)
{
    struct layout *l;

    ENTER(cublasLtMatrixLayoutCreate);
    if (ld < (int64_t)rows)
        LEAVE(CUBLAS_STATUS_INVALID_VALUE);
    l = object(sizeof(*l));
    *l = (struct layout){element(type), (int64_t)rows, (int64_t)columns, ld, 1, 0};
    *ret = (cublasLtMatrixLayout_t)(void *)l;
    LEAVE(CUBLAS_STATUS_SUCCESS);
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t p)
{
    destroy(p);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t p,
                                                cublasLtMatrixLayoutAttribute_t name,
                                                const void *value, size_t size)
{
    struct layout *l = (struct layout *)(void *)p;
    int32_t batch;

    ENTER(cublasLtMatrixLayoutSetAttribute);
    if (name == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT && size == sizeof(batch)) {
        memcpy(&batch, value, sizeof(batch));
        l->batch = batch;
    } else if (name == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET && size == sizeof(int64_t)) {
        memcpy(&l->stride, value, sizeof(int64_t));
    } else {
        LEAVE(CUBLAS_STATUS_INVALID_VALUE);
    }
    LEAVE(CUBLAS_STATUS_SUCCESS);
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *ret)
{
    ENTER(cublasLtMatmulPreferenceCreate);
    *ret = object(sizeof(**ret));
    LEAVE(CUBLAS_STATUS_SUCCESS);
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p)
{
    destroy(p);
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
                                                    cublasLtMatmulPreferenceAttributes_t name,
                                                    const void *value, size_t size)
{
    ENTER(cublasLtMatmulPreferenceSetAttribute);
    (void)p;
    (void)value;
    LEAVE((name == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES && size == sizeof(uint64_t)) ||
                  (name >= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES &&
                   name <= CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES && size == sizeof(uint32_t))
              ? CUBLAS_STATUS_SUCCESS
              : CUBLAS_STATUS_INVALID_VALUE);
}

/* Two algorithms; the second wants a workspace. */
static cublasLtMatmulHeuristicResult_t proposal(int number)
{
    cublasLtMatmulHeuristicResult_t r = {.workspaceSize = number == 1 ? 0 : 4096,
                                         .state = CUBLAS_STATUS_SUCCESS};

    r.algo.data[0] = 0x5354414e44494e00u + (unsigned)number;
    return r;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t *ret, int *found)
{
    ENTER(cublasLtMatmulAlgoGetHeuristic);
    (void)handle, (void)desc, (void)a, (void)b, (void)c, (void)d, (void)preference;
    *found = CN_MIN(wanted, 2);
    for (int i = 0; i < *found; i++)
        ret[i] = proposal(i + 1);
    LEAVE(CUBLAS_STATUS_SUCCESS);
}

static int number_of(const cublasLtMatmulAlgo_t *algo)
{
    uint64_t n = algo != NULL ? algo->data[0] - 0x5354414e44494e00u : 0;

    return n == 1 || n == 2 ? (int)n : 0;
}

cublasStatus_t cublasLtMatmulAlgoCheck(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                       cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                       cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                       const cublasLtMatmulAlgo_t *algo,
                                       cublasLtMatmulHeuristicResult_t *ret)
{
    ENTER(cublasLtMatmulAlgoCheck);
    (void)handle, (void)desc, (void)a, (void)b, (void)c, (void)d;
    if (number_of(algo) == 0)
        LEAVE(CUBLAS_STATUS_INVALID_VALUE);
    *ret = proposal(number_of(algo));
    LEAVE(CUBLAS_STATUS_SUCCESS);
}

struct product {
    struct desc desc;
    struct layout a, b, d;
    float alpha, beta;
    const void *pa, *pb, *pc;
    void *pd;
    int device;
};

static double dot(const struct product *p, int64_t batch, int64_t i, int64_t j, int64_t k)
{
    int64_t a = batch * p->a.stride + (p->desc.transpose_a ? i * p->a.ld : i);
    int64_t step = p->desc.transpose_a ? 1 : p->a.ld, step_b = p->desc.transpose_b ? p->b.ld : 1;
    int64_t b = batch * p->b.stride + (p->desc.transpose_b ? j : j * p->b.ld);
    double sum = 0;

    for (int64_t n = 0; n < k; n++)
        sum += standin_load(p->pa, p->a.type, a + n * step) *
               standin_load(p->pb, p->b.type, b + n * step_b);
    return sum;
}

static int run_product(void *ctx)
{
    struct product *p = ctx;
    int64_t k = p->desc.transpose_b ? p->b.columns : p->b.rows;

    for (int64_t batch = 0; batch < p->d.batch; batch++) {
#pragma omp parallel for schedule(static)
        for (int64_t j = 0; j < p->d.columns; j++)
            for (int64_t i = 0; i < p->d.rows; i++) {
                int64_t at = batch * p->d.stride + j * p->d.ld + i;
                double x = p->alpha * dot(p, batch, i, j, k);

                if (p->beta != 0)
                    x += p->beta * standin_load(p->pc, p->d.type, at);
                if (p->desc.bias)
                    x += standin_load(p->desc.bias_data, element(p->desc.bias_type), i);
                standin_store(p->pd, p->d.type, at, x);
            }
    }
    return cudaSuccess;
}

static bool lies_on_device(const struct layout *l, const void *p, int device, const char *what)
{
    int64_t elements = (l->columns - 1) * l->ld + l->rows + (l->batch - 1) * l->stride;

    return standin_on_device(p, (size_t)elements * standin_size(l->type), device, what);
}

static bool fits(const struct product *p)
{
    int64_t rows = p->desc.transpose_a ? p->a.columns : p->a.rows;
    int64_t k = p->desc.transpose_a ? p->a.rows : p->a.columns;

    int64_t kb = p->desc.transpose_b ? p->b.columns : p->b.rows;
    int64_t columns = p->desc.transpose_b ? p->b.rows : p->b.columns;

    return rows == p->d.rows && k == kb && columns == p->d.columns && p->a.batch == p->d.batch &&
           p->b.batch == p->d.batch && p->a.type == p->b.type &&
           lies_on_device(&p->a, p->pa, p->device, "matrix A") &&
           lies_on_device(&p->b, p->pb, p->device, "matrix B") &&
           lies_on_device(&p->d, p->pc, p->device, "matrix C") &&
           lies_on_device(&p->d, p->pd, p->device, "matrix D") &&
           (!p->desc.bias ||
            standin_on_device(p->desc.bias_data,
                              (size_t)p->d.rows * standin_size(element(p->desc.bias_type)),
                              p->device, "bias"));
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t la, const void *b,
                              cublasLtMatrixLayout_t lb, const void *beta, const void *c,
                              cublasLtMatrixLayout_t lc, void *d, cublasLtMatrixLayout_t ld,
                              const cublasLtMatmulAlgo_t *algo, void *workspace, size_t bytes,
                              cudaStream_t stream)
{
    struct product *p;
    int device = standin_device_of(stream);

    ENTER(cublasLtMatmul);
    if (number_of(algo) == 0 || lc != ld || bytes < proposal(number_of(algo)).workspaceSize ||
        !standin_on_device(workspace, bytes, device, "workspace"))
        LEAVE(CUBLAS_STATUS_INVALID_VALUE);
    if (*(int *)(void *)handle != device || !standin_may_launch(device) ||
        cudaPeekAtLastError() >= 200)
        LEAVE(CUBLAS_STATUS_EXECUTION_FAILED);
    p = cn_xmalloc(sizeof(*p));
    *p = (struct product){.desc = *(struct desc *)(void *)desc,
                          .a = *(struct layout *)(void *)la,
                          .b = *(struct layout *)(void *)lb,
                          .d = *(struct layout *)(void *)ld,
                          .alpha = *(const float *)alpha,
                          .beta = *(const float *)beta,
                          .pa = a,
                          .pb = b,
                          .pc = c,
                          .pd = d,
                          .device = device};
    if (!fits(p)) {
        free(p);
        LEAVE(CUBLAS_STATUS_INVALID_VALUE);
    }
    standin_submit(stream, run_product, free, p);
    LEAVE(CUBLAS_STATUS_SUCCESS);
}
