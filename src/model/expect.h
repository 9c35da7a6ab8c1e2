/* What a network of a given configuration consists of: every tensor's name and shape, as the graphs
 * that model/ emits use them.
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

#endif
