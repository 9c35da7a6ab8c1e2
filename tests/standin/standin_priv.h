/* What the files of the stand-in share: the lock, faults, work on streams, device memory. */
#ifndef CN_TESTS_STANDIN_PRIV_H
#define CN_TESTS_STANDIN_PRIV_H

#include "base/base.h"
#include "tests/standin/standin.h"

#include <cuda_runtime_api.h>

#define STANDIN_FUNCTIONS(X)                                                                       \
    X(execute)                                                                                     \
    X(cudaGetDeviceCount)                                                                          \
    X(cudaSetDevice)                                                                               \
    X(cudaGetDeviceProperties)                                                                     \
    X(cudaRuntimeGetVersion) X(cudaDriverGetVersion) X(cudaMalloc) X(cudaFree) X(cudaMallocHost)   \
        X(cudaFreeHost) X(cudaStreamCreateWithFlags) X(cudaStreamDestroy) X(cudaStreamSynchronize) \
            X(cudaStreamWaitEvent) X(cudaStreamBeginCapture) X(cudaStreamEndCapture) X(            \
                cudaEventCreate) X(cudaEventCreateWithFlags) X(cudaEventDestroy)                   \
                X(cudaEventRecord) X(cudaEventSynchronize) X(cudaEventElapsedTime) X(              \
                    cudaMemcpyAsync) X(cudaMemsetAsync) X(cudaGraphInstantiate) X(cudaGraphLaunch) \
                    X(cudaGraphDestroy) X(cudaGraphExecDestroy) X(cudaMemGetInfo) X(launch)        \
                        X(cublasLtCreate) X(cublasLtDestroy) X(cublasLtMatmulDescCreate) X(        \
                            cublasLtMatmulDescSetAttribute) X(cublasLtMatrixLayoutCreate)          \
                            X(cublasLtMatrixLayoutSetAttribute) X(cublasLtMatmulPreferenceCreate)  \
                                X(cublasLtMatmulPreferenceSetAttribute)                            \
                                    X(cublasLtMatmulAlgoGetHeuristic) X(cublasLtMatmulAlgoCheck)   \
                                        X(cublasLtMatmul) X(cudnnCreate) X(cudnnDestroy)           \
                                            X(cudnnSetStream) X(cudnnBackendCreateDescriptor)      \
                                                X(cudnnBackendSetAttribute)                        \
                                                    X(cudnnBackendGetAttribute)                    \
                                                        X(cudnnBackendFinalize)                    \
                                                            X(cudnnBackendExecute)

#define STANDIN_ENUM(name) STANDIN_##name,
enum standin_function { STANDIN_FUNCTIONS(STANDIN_ENUM) STANDIN_FUNCTION_COUNT };

void standin_lock(void);
void standin_unlock(void);

/* Begin and end of a function of the runtime. */
#define STANDIN_ENTER(f)                                                                           \
    int code_;                                                                                     \
    standin_lock();                                                                                \
    code_ = standin_enter(STANDIN_##f);                                                            \
    if (code_ != 0) {                                                                              \
        standin_unlock();                                                                          \
        return (cudaError_t)code_;                                                                 \
    }
#define STANDIN_LEAVE(code) return (cudaError_t)standin_leave(code)

/* Notes the last error, unlocks; the code again. */
int standin_leave(int code);
/* Counts a call; the code that was injected for it, or 0. Locked. */
int standin_count(enum standin_function f);
/* For functions of the runtime: the injected code, or what the lost device answers; 0. Locked. */
int standin_enter(enum standin_function f);
void standin_complain(const char *fmt, ...) CN_PRINTF(1, 2);
extern struct standin_counts standin_now;
extern bool standin_no_fusion, standin_no_attention, standin_no_groups;

/* A piece of work. run() returns a cudaError_t. drop() frees what the piece owns. */
struct standin_work {
    int (*run)(void *ctx);
    void (*drop)(void *ctx);
    void *ctx;
    struct standin_work *next;
    long number;
};

/* Takes ctx in any case. 0 or a cudaError_t. Locked. */
int standin_submit(cudaStream_t stream, int (*run)(void *ctx), void (*drop)(void *ctx), void *ctx);

/* Blocks of memory: 0 or a cudaError_t. Locked. */
int standin_add_block(void **ret, size_t bytes, bool pinned);
int standin_remove_block(void *p, bool pinned);
void standin_show_memory(bool show); /* the host may look at a device's while work runs there */
size_t standin_device_bytes(void);
size_t standin_free_bytes(void); /* of the thread's device */

/* Whether bytes at p lie in one block of a device's (of pinned) memory; complains when not. Locked.
 */
enum { STANDIN_PINNED = -1, STANDIN_MAX_DEVICES = 8 };
bool standin_inside(const void *p, size_t bytes, int device, const char *what);
bool standin_on_device(const void *p, size_t bytes, int device, const char *what);

/* The calling thread's device; notes that something is made there. */
int standin_current(void);
int standin_make_here(void);
int standin_device_of(cudaStream_t s);
/* Whether work for device may be enqueued by this thread: notes the error of a launch that may not.
 * Locked. */
bool standin_may_launch(int device);

/* Elements between memory of a type and double, for products. */
enum standin_type { STANDIN_F32, STANDIN_F16, STANDIN_BF16 };
double standin_load(const void *p, enum standin_type t, int64_t i);
void standin_store(void *p, enum standin_type t, int64_t i, double x);
size_t standin_size(enum standin_type t);

#endif
