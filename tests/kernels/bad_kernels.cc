/* Kernels with one mistake each, which the emulator must find; and their sound neighbours. */
#include "kernels/cuda/cuda_priv.cuh"
#include "tests/kernels/bad_kernels.h"

namespace
{

/* y[i] = x[count - 1 - i] through shared memory. */
__global__ void reverse_kernel(float *y, const float *x, int barrier)
{
    CNK_SHARED(float, kept, 64);

    kept[threadIdx.x] = x[threadIdx.x];
    if (barrier)
        __syncthreads();
    y[threadIdx.x] = kept[63 - threadIdx.x];
}

/* Two rounds through the same shared memory: a barrier after reading, too. */
__global__ void rotate_kernel(float *y, const float *x, int barrier)
{
    CNK_SHARED(float, kept, 64);
    float value = x[threadIdx.x];

    for (int round = 0; round < 2; round++) {
        kept[threadIdx.x] = value;
        __syncthreads();
        value = kept[(threadIdx.x + 1) % 64];
        if (barrier)
            __syncthreads();
    }
    y[threadIdx.x] = value;
}

__global__ void divergent_kernel(float *y, unsigned who)
{
    y[threadIdx.x] = 1.0f;
    if (threadIdx.x < who)
        __syncthreads();
}

__global__ void two_barriers_kernel(float *y)
{
    if (threadIdx.x % 2 == 0)
        __syncthreads();
    else
        __syncthreads();
    y[threadIdx.x] = 1.0f;
}

/* The last lanes leave before the sum. */
__global__ void early_exit_kernel(float *y, unsigned who)
{
    if (threadIdx.x >= who)
        return;
    y[threadIdx.x] = cnk_warp_sum(1.0f);
}

__global__ void outside_mask_kernel(float *y)
{
    if (threadIdx.x < 16)
        y[threadIdx.x] = __shfl_xor_sync(0xffffu, 1.0f, 16);
}

__global__ void write_kernel(float *y, int at)
{
    if (threadIdx.x == 0)
        y[at] = 1.0f;
}

__global__ void write_shared_kernel(float *y, int at)
{
    CNK_SHARED(float, kept, 4);

    if (threadIdx.x == 0)
        kept[at] = 1.0f;
    y[0] = 1.0f;
}

/* Reads what it has not written. */
__global__ void unset_kernel(float *y)
{
    CNK_SHARED(float, kept, 4);

    y[0] = kept[1];
}

/* Blocks write the same element: the order of blocks shows. */
__global__ void block_race_kernel(float *y)
{
    y[0] = (float)blockIdx.x;
}

/* Order of lanes as CUDA's programming guide has it. */
__global__ void shuffles_kernel(float *y)
{
    float lane = (float)threadIdx.x;

    y[threadIdx.x] = __shfl_down_sync(0xffffffffu, lane, 3);
    y[32 + threadIdx.x] = __shfl_up_sync(0xffffffffu, lane, 3);
    y[64 + threadIdx.x] = __shfl_sync(0xffffffffu, lane, 7);
    y[96 + threadIdx.x] = __shfl_xor_sync(0xffffffffu, lane, 5);
    __syncwarp();
}

__global__ void grid_kernel(float *y)
{
    unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;

    y[block * 24 + thread] = (float)(block * 24 + thread);
}

} /* namespace */

int bad_reverse(float *y, const float *x, int barrier)
{
    return cnk_launch(reverse_kernel, 1, 64, 0, NULL, y, x, barrier);
}

int bad_rotate(float *y, const float *x, int barrier)
{
    return cnk_launch(rotate_kernel, 1, 64, 0, NULL, y, x, barrier);
}

int bad_divergent(float *y, unsigned who)
{
    return cnk_launch(divergent_kernel, 2, 64, 0, NULL, y, who);
}

int bad_two_barriers(float *y)
{
    return cnk_launch(two_barriers_kernel, 1, 64, 0, NULL, y);
}

int bad_early_exit(float *y, unsigned who)
{
    return cnk_launch(early_exit_kernel, 1, 32, 0, NULL, y, who);
}

int bad_outside_mask(float *y)
{
    return cnk_launch(outside_mask_kernel, 1, 32, 0, NULL, y);
}

int bad_half_warp(float *y)
{
    return cnk_launch(early_exit_kernel, 1, 16, 0, NULL, y, 16u);
}

int bad_write(float *y, int at)
{
    return cnk_launch(write_kernel, 1, 32, 0, NULL, y, at);
}

int bad_write_shared(float *y, int at)
{
    return cnk_launch(write_shared_kernel, 1, 32, 0, NULL, y, at);
}

int bad_unset(float *y)
{
    return cnk_launch(unset_kernel, 1, 1, 0, NULL, y);
}

int bad_block_race(float *y)
{
    return cnk_launch(block_race_kernel, 5, 1, 0, NULL, y);
}

int bad_shuffles(float *y)
{
    return cnk_launch(shuffles_kernel, 1, 32, 0, NULL, y);
}

int bad_grid(float *y)
{
    return cnk_launch(grid_kernel, dim3(2, 3, 4), dim3(4, 3, 2), 0, NULL, y);
}

int bad_sizes(float *y, unsigned blocks, unsigned threads, size_t shared)
{
    return cnk_launch(block_race_kernel, dim3(1, blocks), threads, shared, NULL, y);
}
