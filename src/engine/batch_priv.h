/* What the files about batches share: batch_buffers.c, batcher.c, batch_step.c. The design stands
 * in batcher.c. */
#ifndef CN_ENGINE_BATCH_PRIV_H
#define CN_ENGINE_BATCH_PRIV_H

#include "engine/job_priv.h"

enum { CN_MAX_SETS = 8 }; /* of buffers, of one network */

/* Buffers of one network for so many rows. */
struct cn_net_buffers {
    int rows; /* 0: free */
    uint64_t used;
    struct cn_row_batch inputs;
    struct cn_buffer *sample; /* [rows, channels, h, w]: what the network sees */
    struct cn_buffer *latent; /* of a UNet that sees more: the latent alone, for ControlNets */
    struct cn_buffer *out;    /* UNet: [rows, out_channels, h, w] */
    struct cn_buffer *perturbed; /* UNet: [rows, 1], 1 where perturbed-attention guidance has it */
    /* UNet: what each ControlNet adds. ControlNet: [0].residual, when it runs on some rows only. */
    struct cn_added {
        struct cn_buffer *weights;   /* [rows, levels] */
        struct cn_buffer **residual; /* [levels], native */
        int levels;
    } added[CN_MAX_CONTROLS];
};

/* One network of a batcher. */
struct cn_batcher_net {
    struct cn_model *model;
    struct cn_denoiser of;
    const struct cn_control_config *control; /* NULL: the UNet */
    int levels;                              /* of a ControlNet */
    struct cn_row_inputs kind;
    struct cn_net_buffers set[CN_MAX_SETS];
};

struct cn_batcher {
    struct cn_batcher *next;
    struct cn_model *base;
    int h, w, tokens, channels;
    struct cn_batcher_net unet, control[CN_MAX_CONTROLS];
    int n_controls;
    uint64_t used;
};

/* ---- batch_buffers.c ---- */

/* The network's buffers for so many rows; the least recently used ones make room. */
int cn_batcher_find_set(struct cn_engine *e, struct cn_batcher *g, struct cn_batcher_net *net,
                        int rows, struct cn_net_buffers **ret, struct cn_err *err);
/* The residuals of a ControlNet for so many rows, into a struct that is empty. */
int cn_batcher_new_residuals(struct cn_engine *e, const struct cn_batcher *g,
                             const struct cn_batcher_net *net, int rows, struct cn_added *ret,
                             struct cn_err *err);
void cn_batcher_net_clear(struct cn_batcher_net *net);
size_t cn_batcher_net_bytes(const struct cn_batcher_net *net);

#endif
