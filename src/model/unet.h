/* The denoiser and its controls: UNet2DConditionModel (arXiv:2112.10752) and ControlNetModel
 * (Zhang et al. 2023, arXiv:2302.05543, fig. 3).
 *
 * What is constant over the steps of a job stands in graphs of its own: the projections of the time
 * embedding for all steps, keys and values of the cross-attentions, the hint encoder. The step
 * graphs take their results as inputs. Both networks have the same encoder, so they share the
 * functions; cn_net says which is meant. Adapters may add to every layer of the UNet, and to none
 * of a ControlNet. Any thread.
 */
#ifndef CN_MODEL_UNET_H
#define CN_MODEL_UNET_H

#include "tensor/graph.h"
#include "checkpoint/config.h"

/* Is the scale of guidance an input of this network (latent consistency models)? Then it answers
 * with guidance already done, from one row. A ControlNet never takes it. */
bool cn_unet_takes_guidance(const struct cn_unet_config *c);

/* What a UNet sees beside a latent of so many channels: nothing; for inpainting a mask and what it
 * hides (2 n + 1 channels in all); a depth map (n + 1); or something that nobody prepares. */
enum cn_unet_extra { CN_UNET_PLAIN, CN_UNET_SEES_MASK, CN_UNET_SEES_DEPTH, CN_UNET_SEES_UNKNOWN };
enum cn_unet_extra cn_unet_extra(const struct cn_unet_config *c, int latent_channels);

enum cn_net { CN_NET_UNET, CN_NET_CONTROL };

/* A network with more skips than this cannot be emitted; cn_control_levels() - 1 says how many a
 * configuration has. */
enum { CN_MAX_SKIPS = CN_MAX_BLOCKS * 8 };

/* input "t" [rows]; output "time" [rows, T]: every residual block's projection of the time
 * embedding, side by side in the order in which the network runs. Where c->add_dim is not 0 there
 * is an input "add" [rows, add_dim] too, whose embedding is added to the time's. A UNet that takes
 * guidance has an input "guidance" [rows, time_cond_proj_dim] after "t". */
struct cn_graph *cn_time_graph(const struct cn_unet_config *c, enum cn_net net,
                               int rows) CN_MUST_USE;

/* Does any of its blocks look at the text? Small ControlNets of SDXL do not: they have no context
 * graph, and their steps no keys and values. */
bool cn_unet_reads_text(const struct cn_unet_config *c);

/* input "context" [n, s, cross_attention_dim], native; outputs "k0", "v0", "k1", ... [n, s, width]
 * of each transformer block, native. */
struct cn_graph *cn_context_graph(const struct cn_unet_config *c, enum cn_net net, int n,
                                  int s) CN_MUST_USE;

/* Sizes of one step. */
struct cn_step_size {
    int n, h, w; /* rows; height and width of the latent */
    int s;       /* context tokens */
    int controls; /* ControlNets whose residuals are added */
    bool perturbed; /* rows may go without the middle block's self-attention */
};

/* How many residuals a ControlNet gives: one for each skip, and the middle block's. */
int cn_control_levels(const struct cn_unet_config *c);

/* Shape of residual `level` (the last is the middle block's). */
struct cn_shape cn_control_shape(const struct cn_unet_config *c, const struct cn_step_size *z,
                                 int level);

/* Inputs, in this order: "sample" [n, in_channels, h, w]; "time" [n, T]; "k0", "v0", ...;
 * then for each ControlNet j: "weights.j" [n, levels] and "control.j.0", "control.j.1", ... native.
 * Output "out" [n, out_channels, h, w]. Residuals are added to the skips and to the middle block's
 * result: S_i + sum_j w_j[i] * c_j[i]. With perturbed there is an input "perturbed" [n, 1] too:
 * rows that have a 1 there take their values as the result of the middle block's self-attention
 * (arXiv:2403.17377), rows that have a 0 are what they are without it, bit for bit. */
struct cn_graph *cn_unet_graph(const struct cn_unet_config *c,
                               const struct cn_step_size *z) CN_MUST_USE;

/* input "hint" [n, hint_channels, H, W] in [0,1]; output "hint" [n, channels[0], h, w], native. */
struct cn_graph *cn_hint_graph(const struct cn_control_config *c, int n, int height,
                               int width) CN_MUST_USE;

/* Inputs "sample", "time", "k0", "v0", ... as the UNet's, then "hint" native; outputs "control.0",
 * ... native: the zero convolutions' results, not weighted. */
struct cn_graph *cn_control_graph(const struct cn_control_config *c,
                                  const struct cn_step_size *z) CN_MUST_USE;

#endif
