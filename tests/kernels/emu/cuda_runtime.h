/* What kernels/cuda uses of CUDA's header of the same name, for the C++ compiler. See emu.h. */
#ifndef TESTS_KERNELS_EMU_CUDA_RUNTIME_H
#define TESTS_KERNELS_EMU_CUDA_RUNTIME_H

#include "tests/kernels/emu/emu.h"

#include <cmath>
#include <cstring>
#include <math.h>
#include <tuple>

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)

/* One array per block and place in the source, as __shared__ gives. */
#define CNK_SHARED(type, name, count)                                                              \
    static const char name##_key = 0;                                                              \
    type *name = static_cast<type *>(emu_shared(&name##_key, sizeof(type) * (count), #name))
#define CNK_DYNAMIC_SHARED(name) unsigned char *name = emu_dynamic_shared()
#define CNK_INDEX_LIMIT emu_index_limit

struct uint3 {
    unsigned x, y, z;
};

struct alignas(16) uint4 {
    unsigned x, y, z, w;
};

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned a = 1, unsigned b = 1, unsigned c = 1) : x(a), y(b), z(c) {}
};

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorLaunchFailure = 719
};

struct cudaLaunchConfig_t {
    dim3 gridDim, blockDim;
    size_t dynamicSmemBytes;
    struct CUstream_st *stream;
};

extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;

void *emu_shared(const void *key, size_t bytes, const char *name);
unsigned char *emu_dynamic_shared();
void emu_barrier(const char *file, int line);

enum emu_warp_op { EMU_XOR, EMU_DOWN, EMU_UP, EMU_INDEX, EMU_MEET };
/* value: 8 bytes, replaced by what the op brings */
void emu_warp(enum emu_warp_op op, unsigned mask, void *value, int operand, const char *file,
              int line);

template <class T>
T emu_shuffle(enum emu_warp_op op, unsigned mask, T x, int operand, const char *file, int line)
{
    static_assert(sizeof(T) <= 8, "a shuffle moves up to 8 bytes");
    unsigned char bytes[8] = {};

    memcpy(bytes, &x, sizeof(T));
    emu_warp(op, mask, bytes, operand, file, line);
    memcpy(&x, bytes, sizeof(T));
    return x;
}

#define __syncthreads() emu_barrier(__FILE__, __LINE__)
#define __syncwarp(...) emu_shuffle(EMU_MEET, ~0u, 0, 0, __FILE__, __LINE__)
#define __shfl_xor_sync(mask, x, lane) emu_shuffle(EMU_XOR, mask, x, lane, __FILE__, __LINE__)
#define __shfl_down_sync(mask, x, n) emu_shuffle(EMU_DOWN, mask, x, n, __FILE__, __LINE__)
#define __shfl_up_sync(mask, x, n) emu_shuffle(EMU_UP, mask, x, n, __FILE__, __LINE__)
#define __shfl_sync(mask, x, lane) emu_shuffle(EMU_INDEX, mask, x, lane, __FILE__, __LINE__)

template <class T> T atomicAdd(T *p, T x)
{
    T old = *p;

    *p = old + x;
    return old;
}

/* ---- launches ---- */

struct emu_launch {
    cudaLaunchConfig_t config;
    virtual void thread() const = 0;
    virtual ~emu_launch() {}
};

template <class... P> struct emu_call : emu_launch {
    void (*kernel)(P...);
    std::tuple<P...> argument;

    emu_call(void (*k)(P...), P... a) : kernel(k), argument(a...) {}
    void thread() const override { std::apply(kernel, argument); }
};

cudaError_t emu_submit(struct emu_launch *launch);

template <class... P, class... A>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t *config, void (*kernel)(P...),
                               A... argument)
{
    emu_launch *launch = new emu_call<P...>(kernel, argument...);

    launch->config = *config;
    return emu_submit(launch);
}

#endif
