/* The plans of a model's networks, by their sizes: found in the networks' caches, or compiled.
 *
 * Owning worker. The results belong to the caches (network.h says how long they stay).
 *
 *     const struct cn_plan_entry *p;
 *     cn_plan_for_text(base, 0, 2, 77, &use, &p, err);
 */
#ifndef CN_RUNTIME_PLANS_H
#define CN_RUNTIME_PLANS_H

#include "model/text.h"
#include "model/unet.h"
#include "runtime/bands.h"
#include "runtime/model.h"

/* Time projections are made for this many steps at once, so that every step count uses one plan. */
enum { CN_TIME_ROWS = 32 };

/* A UNet, or a ControlNet. */
struct cn_denoiser {
    struct cn_network *net;
    const struct cn_unet_config *config;
    enum cn_net kind;
};

int cn_plan_for_text(struct cn_network *net, const struct cn_text_config *c, int n, int tokens,
                     const struct cn_text_use *use, struct cn_plan_entry **ret, struct cn_err *err);
int cn_plan_for_context(const struct cn_denoiser *d, int n, int tokens, struct cn_plan_entry **ret,
                        struct cn_err *err);
int cn_plan_for_time(const struct cn_denoiser *d, struct cn_plan_entry **ret, struct cn_err *err);
/* One hint of height x width pixels. */
int cn_plan_for_hint(struct cn_network *net, const struct cn_control_config *c, int height,
                     int width, struct cn_plan_entry **ret, struct cn_err *err);
int cn_plan_for_control(struct cn_network *net, const struct cn_control_config *c,
                        const struct cn_step_size *z, struct cn_plan_entry **ret,
                        struct cn_err *err);
int cn_plan_for_unet(const struct cn_denoiser *d, const struct cn_step_size *z,
                     struct cn_plan_entry **ret, struct cn_err *err);
/* h x w of a latent. flags: CN_PLAN_CONCURRENT or 0 */
int cn_plan_for_decoder(struct cn_model *base, int h, int w, int flags, struct cn_plan_entry **ret,
                        struct cn_err *err);
int cn_plan_for_encoder(struct cn_model *base, int height, int width, struct cn_plan_entry **ret,
                        struct cn_err *err);
/* The same in bands of rows. */
int cn_bands_for_decoder(struct cn_model *base, int h, int w, const struct cn_bands_opts *opts,
                         struct cn_bands **ret, struct cn_err *err);
int cn_bands_for_encoder(struct cn_model *base, int height, int width,
                         const struct cn_bands_opts *opts, struct cn_bands **ret,
                         struct cn_err *err);
/* Working memory of their plans, about. */
size_t cn_decoder_bytes(const struct cn_model *base, int h, int w);
size_t cn_encoder_bytes(const struct cn_model *base, int height, int width);

/* Which kernels a network uses is decided by these, once, and not by the sizes of the first
 * request: the same request gives the same picture to the last bit, whatever was drawn before. */
void cn_plans_fix_layouts(struct cn_model *base, int tokens);
/* Of an autoencoder alone: by a size that is no base model's, because many may share it. */
void cn_plans_fix_vae_layouts(struct cn_model *m);
void cn_plans_fix_control_layouts(struct cn_network *net, const struct cn_control_config *c,
                                  const struct cn_model *base, int tokens);

/* A buffer as the plan's input or output i describes it. */
int cn_plan_input(const struct cn_plan_entry *p, int i, struct cn_buffer **ret, struct cn_err *err);
int cn_plan_output(const struct cn_plan_entry *p, int i, struct cn_buffer **ret,
                   struct cn_err *err);
/* Runs a plan, not a side plan, on host arrays: one input and one output; or all of them, with what
 * n adapters add (cn_plan_run_adapted()). */
int cn_plan_run_host(const struct cn_plan_entry *p, const void *in, float *out, struct cn_err *err);
int cn_plan_run_hosts(const struct cn_plan_entry *p, const void *const *in, float *const *out,
                      const struct cn_row_adapter *adapter, int n, struct cn_err *err);

#endif
