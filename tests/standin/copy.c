/* Copies on streams, and how products see elements of 16 bits. */
#include "base/base.h"
#include "tests/standin/standin_priv.h"
#include "base/dtype.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* ---- copies ---- */

struct copy {
    void *to;
    const void *from;
    size_t bytes;
    int value;
};

static int run_copy(void *ctx)
{
    struct copy *c = ctx;

    memcpy(c->to, c->from, c->bytes);
    return cudaSuccess;
}

static int run_set(void *ctx)
{
    struct copy *c = ctx;

    memset(c->to, c->value, c->bytes);
    return cudaSuccess;
}

static struct copy *new_copy(void *to, const void *from, size_t bytes, int value)
{
    struct copy *c = cn_xmalloc(sizeof(*c));

    *c = (struct copy){to, from, bytes, value};
    return c;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, enum cudaMemcpyKind kind,
                            cudaStream_t s)
{
    int device = standin_device_of(s); /* need not be current: only copies are so forgiving */

    STANDIN_ENTER(cudaMemcpyAsync);
    standin_now.copies++;
    if (!standin_inside(to, bytes, kind == cudaMemcpyDeviceToHost ? STANDIN_PINNED : device,
                        "copy to") ||
        !standin_inside(from, bytes, kind == cudaMemcpyHostToDevice ? STANDIN_PINNED : device,
                        "copy from"))
        STANDIN_LEAVE(cudaErrorInvalidValue);
    STANDIN_LEAVE(standin_submit(s, run_copy, free, new_copy(to, from, bytes, 0)));
}

cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t s)
{
    STANDIN_ENTER(cudaMemsetAsync);
    if (!standin_may_launch(standin_device_of(s)))
        STANDIN_LEAVE(cudaErrorInvalidResourceHandle);
    if (!standin_on_device(to, bytes, standin_device_of(s), "set"))
        STANDIN_LEAVE(cudaErrorInvalidValue);
    STANDIN_LEAVE(standin_submit(s, run_set, free, new_copy(to, NULL, bytes, value)));
}

/* ---- elements ---- */

double standin_load(const void *p, enum standin_type t, int64_t i)
{
    if (t == STANDIN_F32)
        return ((const float *)p)[i];
    return t == STANDIN_F16 ? cn_f16_to_f32(((const uint16_t *)p)[i])
                            : cn_bf16_to_f32(((const uint16_t *)p)[i]);
}

void standin_store(void *p, enum standin_type t, int64_t i, double x)
{
    if (t == STANDIN_F32)
        ((float *)p)[i] = (float)x;
    else
        ((uint16_t *)p)[i] = t == STANDIN_F16 ? cn_f32_to_f16((float)x) : cn_f32_to_bf16((float)x);
}

size_t standin_size(enum standin_type t)
{
    return t == STANDIN_F32 ? 4 : 2;
}
