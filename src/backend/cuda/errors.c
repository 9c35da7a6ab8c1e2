/* Errors of CUDA, cuBLASLt and cuDNN as ours, failures that are reported later, and which device a
 * thread talks to.
 *
 * Which errors leave the device usable: cuda_runtime_api.h says of most that "the process must be
 * terminated and relaunched". Only what the list below names is harmless; everything else that a
 * call reports, in its own name or from work enqueued before, means that the device is lost.
 */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"
#include "base/mem.h"

static int lose(struct cuda_backend *b, struct cn_err *err, const char *what, const char *name,
                const char *text)
{
    atomic_store(&b->lost, true);
    return cn_fail(err, CN_EDEVICE, "the device failed: %s: %s (%s)", what, name, text);
}

int cuda_check(struct cuda_backend *b, cudaError_t e, const char *what, struct cn_err *err)
{
    if (e == cudaSuccess)
        return CN_OK;
    switch (e) {
    case cudaErrorMemoryAllocation:
        (void)cudaGetLastError(); /* or the next kernel's launch would report it */
        return cn_fail(err, CN_EDEVMEM, "no device memory to %s", what);
    case cudaErrorInvalidValue:
    case cudaErrorInvalidConfiguration:
    case cudaErrorInvalidDeviceFunction:
    case cudaErrorNotSupported:
    case cudaErrorLaunchOutOfResources:
    case cudaErrorNoKernelImageForDevice:
    case cudaErrorStreamCaptureUnsupported: /* something in a plan cannot be captured */
    case cudaErrorStreamCaptureInvalidated:
    case cudaErrorStreamCaptureUnjoined:
    case cudaErrorStreamCaptureUnmatched:
    case cudaErrorStreamCaptureMerge:
    case cudaErrorStreamCaptureImplicit:
    case cudaErrorStreamCaptureIsolation:
    case cudaErrorStreamCaptureWrongThread:
    case cudaErrorGraphExecUpdateFailure:
        (void)cudaGetLastError();
        return cn_fail(err, CN_EINTERNAL, "cannot %s: %s (%s)", what, cudaGetErrorName(e),
                       cudaGetErrorString(e));
    default:
        return lose(b, err, what, cudaGetErrorName(e), cudaGetErrorString(e));
    }
}

/* A library that says that something did not run may have seen the device's error or its own. */
static int check_device(struct cuda_backend *b, const char *what, const char *status,
                        struct cn_err *err)
{
    cudaError_t e = cudaPeekAtLastError();

    if (e == cudaSuccess)
        return lose(b, err, what, status, "work did not run");
    return cuda_check(b, e, what, err);
}

int cuda_check_blas(struct cuda_backend *b, cublasStatus_t s, const char *what, struct cn_err *err)
{
    const char *name = cublasLtGetStatusName(s);

    switch (s) {
    case CUBLAS_STATUS_SUCCESS:
        return CN_OK;
    case CUBLAS_STATUS_ALLOC_FAILED:
        (void)cudaGetLastError();
        return cn_fail(err, CN_EDEVMEM, "no device memory to %s", what);
    case CUBLAS_STATUS_EXECUTION_FAILED:
    case CUBLAS_STATUS_MAPPING_ERROR:
    case CUBLAS_STATUS_INTERNAL_ERROR:
        return check_device(b, what, name, err);
    default:
        return cn_fail(err, CN_EINTERNAL, "cannot %s: cuBLASLt says %s", what, name);
    }
}

int cuda_check_dnn(struct cuda_backend *b, cudnnStatus_t s, const char *what, struct cn_err *err)
{
    char text[160] = "";

    if (s == CUDNN_STATUS_SUCCESS)
        return CN_OK;
    if (s == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ||
        s == CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED) {
        (void)cudaGetLastError();
        return cn_fail(err, CN_EDEVMEM, "no device memory to %s", what);
    }
    if (CUDNN_STATUS_CATEGORY(s) == CUDNN_STATUS_CATEGORY(CUDNN_STATUS_EXECUTION_FAILED))
        return check_device(b, what, cudnnGetErrorString(s), err);
    cudnnGetLastErrorString(text, sizeof(text));
    return cn_fail(err, CN_EINTERNAL, "cannot %s: cuDNN says %s: %s", what, cudnnGetErrorString(s),
                   text);
}

/* ---- the device of a thread ---- */

/* CUDA's current device belongs to the host's thread and begins as 0: launches into a stream of
 * another device fail. Whatever enters the backend selects its device first. Nobody else in these
 * programs changes it, so what was selected last is known here without asking CUDA. */
static _Thread_local int selected_device = -1;

int cuda_bind_thread(struct cuda_backend *b, struct cn_err *err)
{
    int rc = cuda_check(b, cudaSetDevice(b->device), "use the device", err);

    selected_device = rc == CN_OK ? b->device : -1;
    return rc;
}

int cuda_enter(struct cuda_backend *b, struct cn_err *err)
{
    return selected_device == b->device ? CN_OK : cuda_bind_thread(b, err);
}

/* ---- failures that are reported later ---- */

/* Each thread has its own: the one that asks is the one whose call failed, and its job is at fault,
 * not that of whoever asks first. */
struct cuda_deferred {
    pthread_t thread;
    struct cn_err err;
};

void cuda_defer_error(struct cuda_backend *b, const struct cn_err *err)
{
    bool known = false;

    pthread_mutex_lock(&b->deferred_lock);
    for (int i = 0; i < b->n_deferred; i++)
        known = known || pthread_equal(b->deferred[i].thread, pthread_self());
    if (!known) { /* the first failure is what went wrong, the others follow from it */
        b->deferred =
            cn_grow(b->deferred, (size_t)b->n_deferred, &b->deferred_cap, sizeof(*b->deferred));
        b->deferred[b->n_deferred++] = (struct cuda_deferred){pthread_self(), *err};
    }
    pthread_mutex_unlock(&b->deferred_lock);
}

static struct cn_err take_deferred(struct cuda_backend *b)
{
    struct cn_err err = CN_ERR_INIT;

    pthread_mutex_lock(&b->deferred_lock);
    for (int i = 0; i < b->n_deferred; i++)
        if (pthread_equal(b->deferred[i].thread, pthread_self())) {
            err = b->deferred[i].err;
            b->deferred[i] = b->deferred[--b->n_deferred];
            break;
        }
    pthread_mutex_unlock(&b->deferred_lock);
    return err;
}

int cuda_take_error(struct cuda_backend *b, struct cn_err *err)
{
    struct cn_err deferred = take_deferred(b);

    if (deferred.code < 0)
        return cn_fail(err, deferred.code, "%s", deferred.msg);
    if (atomic_load(&b->lost))
        return cn_fail(err, CN_EDEVICE, "the device failed earlier");
    return CN_OK;
}
