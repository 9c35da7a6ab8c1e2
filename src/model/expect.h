/* What a network of a given configuration consists of: every tensor's name and shape, as the graphs
 * that model/ emits use them, and the layers to which an adapter may attach.
 *
 * The names are diffusers', the shapes those of its files (1x1 convolutions have rank 4). Used to
 * say what a file lacks, and to build models of random weights for tests. Any thread.
 *
 *     static void print(void *ctx, const char *name, int rank, const int64_t *dim) { ... }
 *     cn_expect_unet(cn_checkpoint_unet(c), print, NULL);
 */
#ifndef CN_MODEL_EXPECT_H
#define CN_MODEL_EXPECT_H

#include "base/base.h"
#include "checkpoint/config.h"

/* name and dim live for the call only */
typedef void (*cn_expect_fn)(void *ctx, const char *name, int rank, const int64_t *dim);

void cn_expect_text(const struct cn_text_config *t, cn_expect_fn fn, void *ctx);
void cn_expect_unet(const struct cn_unet_config *u, cn_expect_fn fn, void *ctx);
void cn_expect_vae(const struct cn_vae_config *v, cn_expect_fn fn, void *ctx);
void cn_expect_control(const struct cn_control_config *c, cn_expect_fn fn, void *ctx);

/* A layer that multiplies by a weight: where a low-rank product may be added (LoRA, Hu et al. 2021,
 * arXiv:2106.09685). */
struct cn_site {
    const char *name; /* the weight's, without ".weight"; lives for the call only */
    int out, in, k;   /* the weight is [out, in], or [out, in, k, k] */
    bool conv;        /* the latter: also of a linear layer whose weights are a 1x1 convolution's */
};

typedef void (*cn_site_fn)(void *ctx, const struct cn_site *s);

void cn_sites_text(const struct cn_text_config *t, cn_site_fn fn, void *ctx);
void cn_sites_unet(const struct cn_unet_config *u, cn_site_fn fn, void *ctx);

#endif
