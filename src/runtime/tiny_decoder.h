/* A tiny autoencoder's decoder (TAESD) from a file of its own: how it is built is read from its
 * tensors. Owning worker. */
#ifndef CN_RUNTIME_TINY_DECODER_H
#define CN_RUNTIME_TINY_DECODER_H

#include "model/taesd.h"
#include "runtime/network.h"

struct cn_tiny_decoder;

/* CN_EFORMAT, naming file and tensor, when it is no such decoder. */
int cn_tiny_decoder_open(const char *path, struct cn_tiny_decoder **ret, struct cn_err *err);
void cn_tiny_decoder_free(struct cn_tiny_decoder *d);
/* Does it know the latents of this autoencoder? d may be NULL. */
bool cn_tiny_decoder_fits(const struct cn_tiny_decoder *d, const struct cn_vae_config *vae);
const struct cn_taesd_config *cn_tiny_decoder_config(const struct cn_tiny_decoder *d);
/* h x w of a latent. flags: CN_PLAN_CONCURRENT or 0 */
int cn_tiny_decoder_plan(struct cn_tiny_decoder *d, struct cn_backend *backend, int h, int w,
                         int flags, struct cn_plan_entry **ret, struct cn_err *err);
/* Weights and plans, unless a plan is pinned. NULL is fine. */
void cn_tiny_decoder_unload(struct cn_tiny_decoder *d);
size_t cn_tiny_decoder_bytes(const struct cn_tiny_decoder *d);

#endif
