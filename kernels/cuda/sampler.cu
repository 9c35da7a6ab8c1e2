/* Guidance, the sampler's update and the network's next input, in one launch for all pictures in
 * progress. Twin: cnk_ref_update; the mapping from samplers to numbers is in cnk_types.h.
 *
 * Grid (pieces of a latent, lanes), blocks of 256, one element per thread and step. A latent is
 * 64 KiB: the launch, not the arithmetic, is what this saves. */
#include "kernels/cuda/cuda_priv.cuh"

namespace
{

enum { BLOCK = 256 };

struct tensors {
    float *x, *h;
    const float *z;
};

/* Bit i: some result needs input i. Everything else is not read. */
__device__ unsigned inputs_used(const struct cnk_lane &lane)
{
    unsigned used = 0;

    for (int o = 0; o < CNK_LANE_OUT; o++)
        for (int i = 0; i < CNK_LANE_IN; i++)
            if (lane.m[o][i] != 0.0f)
                used |= 1u << i;
    return used;
}

/* Bit o: result o is not its own old value. x is input 0, history k is input 3 + k. */
__device__ unsigned results_changed(const struct cnk_lane &lane)
{
    unsigned changed = 0;

    for (int o = 0; o < CNK_LANE_OUT; o++)
        for (int i = 0; i < CNK_LANE_IN; i++)
            if (lane.m[o][i] != (i == (o == 0 ? 0 : 2 + o) ? 1.0f : 0.0f))
                changed |= 1u << o;
    return changed;
}

/* Inputs without weight may be NaN, where another result needs them. */
__device__ __forceinline__ float combine(const float *m, const float *value)
{
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < CNK_LANE_IN; i++)
        if (m[i] != 0.0f)
            sum += m[i] * value[i];
    return sum;
}

template <class E, class N>
__global__ void update_kernel(tensors s, const E *e, N *in, const struct cnk_lane *lanes,
                              struct cnk_update a)
{
    const struct cnk_lane lane = lanes[blockIdx.y];
    size_t count = (size_t)a.pixels * a.c, row = (size_t)blockIdx.y * count;
    unsigned used, changed;

    if (lane.row < 0)
        return;
    used = inputs_used(lane) | 1u;
    changed = results_changed(lane);
    for (size_t i = (size_t)blockIdx.x * BLOCK + threadIdx.x; i < count;
         i += (size_t)gridDim.x * BLOCK) {
        size_t p = i / (unsigned)a.c, k = i - p * (unsigned)a.c;
        float value[CNK_LANE_IN] = {};

        value[0] = s.x[row + i];
        if (used & 2u) {
            value[1] = cnk_float(e[((size_t)lane.row * a.pixels + p) * a.e_stride + k]);
            if (lane.row_uncond >= 0) {
                float without =
                    cnk_float(e[((size_t)lane.row_uncond * a.pixels + p) * a.e_stride + k]);

                value[1] = without + lane.guidance * (value[1] - without);
            }
        }
        if (used & 4u)
            value[2] = s.z[row + i];
#pragma unroll
        for (int j = 0; j < CNK_HISTORY; j++)
            if (used & (8u << j))
                value[3 + j] = s.h[row * CNK_HISTORY + j * count + i];
#pragma unroll
        for (int o = 1; o < CNK_LANE_OUT; o++)
            if (changed & (1u << o))
                s.h[row * CNK_HISTORY + (o - 1) * count + i] = combine(lane.m[o], value);
        float x = changed & 1u ? combine(lane.m[0], value) : value[0];

        if (changed & 1u)
            s.x[row + i] = x;
        if (in != NULL) {
            N seen = cnk_to<N>(x * lane.in_scale);

            in[((size_t)lane.row * a.pixels + p) * a.in_stride + k] = seen;
            if (lane.row_uncond >= 0)
                in[((size_t)lane.row_uncond * a.pixels + p) * a.in_stride + k] = seen;
        }
    }
}

template <class E, class N>
int update(const tensors &s, const void *e, void *in, const struct cnk_lane *lanes,
           const struct cnk_update *a, struct CUstream_st *stream)
{
    dim3 grid(cnk_blocks((uint64_t)a->pixels * (uint64_t)a->c, BLOCK), (unsigned)a->lanes);

    return cnk_launch(update_kernel<E, N>, grid, BLOCK, 0, stream, s, (const E *)e, (N *)in, lanes,
                      *a);
}

} /* namespace */

int cnk_update(float *x, float *h, const float *z, enum cn_dtype edt, const void *e,
               enum cn_dtype idt, void *in, const struct cnk_lane *lanes,
               const struct cnk_update *a, struct CUstream_st *stream)
{
    tensors s = {x, h, z};

    if (a->lanes <= 0 || a->pixels <= 0 || a->c <= 0)
        return 0;
    if (a->lanes > 65535 || a->e_stride < a->c || (in != NULL && a->in_stride < a->c))
        return cudaErrorInvalidValue;
    return CNK_DISPATCH2(edt, idt, update, s, e, in, lanes, a, stream);
}
