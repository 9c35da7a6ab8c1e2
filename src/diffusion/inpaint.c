/* Inpainting in the latent: the mask at the size of the latent, and putting back what is kept. */
#include "base/base.h"

#include "diffusion/inpaint.h"

void cn_inpaint_mask(const float *src, int src_w, int src_h, int w, int h, float *ret)
{
    for (int y = 0; y < h; y++) {
        const float *row = src + (size_t)((int64_t)y * src_h / h) * (size_t)src_w;

        for (int x = 0; x < w; x++)
            *ret++ = row[(int64_t)x * src_w / w] >= 0.5f ? 1.0f : 0.0f;
    }
}

void cn_inpaint_cover(const float *src, int src_w, int src_h, int w, int h, float *ret)
{
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++, ret++) {
            *ret = 0;
            for (int64_t v = (int64_t)y * src_h / h; v < (int64_t)(y + 1) * src_h / h; v++)
                for (int64_t u = (int64_t)x * src_w / w; u < (int64_t)(x + 1) * src_w / w; u++)
                    if (src[v * src_w + u] >= 0.5f)
                        *ret = 1;
        }
}

void cn_inpaint_blend(size_t channels, size_t pixels, const float *mask, const float *kept,
                      float *x)
{
    for (size_t c = 0; c < channels; c++, x += pixels, kept += pixels)
        for (size_t i = 0; i < pixels; i++)
            x[i] = (1.0f - mask[i]) * kept[i] + mask[i] * x[i];
}
