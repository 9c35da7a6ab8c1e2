/* Which backends a program has. Compiled twice: what is for NVIDIA devices links the second one, so
 * that the other programs do not need their libraries. */
#include "base/base.h"
#include "backend/backend_priv.h"

const struct cn_backend_ops *const cn_backends[] = {
#ifdef CN_WITH_CUDA
    &cn_backend_cuda,
#endif
#ifdef HAVE_ONEDNN
    &cn_backend_onednn,
#endif
    &cn_backend_reference,
    NULL,
};

static const char *const names[] = {
#ifdef CN_WITH_CUDA
    "cuda",
#endif
#ifdef HAVE_ONEDNN
    "onednn",
#endif
    "reference",
    NULL,
};

const char *const *cn_backend_list(void)
{
    return names;
}
