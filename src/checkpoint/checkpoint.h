/* An opened base model or ControlNet, whatever its form: named tensors and configuration.
 *
 * Accepted: diffusers pipeline directories, diffusers ControlNet directories, single-file LDM
 * checkpoints (SD 1.x, SD 2.x), single-file ControlNets (LDM or diffusers names, also
 * "difference" files); their weights in any form that checkpoint/tensor_file.h reads. Tensors are
 * always asked for by their diffusers name. Shapes are those of the file: a 1x1 convolution may be
 * [c, c, 1, 1] or [c, c]; the data is the same. Weights are read when they are asked for
 * (cn_view_read), and only from the files that were opened, which stay open: one that was replaced
 * or removed can be read on, one that was written to since is an error that names it.
 *
 * Any thread; an open checkpoint never changes.
 *
 *     struct cn_checkpoint *c;
 *     struct cn_tensor_view v;
 *     if (cn_checkpoint_open("models/sd15", &c, err) < 0) ...
 *     const struct cn_unet_config *u = cn_checkpoint_unet(c);           -- NULL: it has none
 *     if (cn_checkpoint_find(c, CN_COMP_UNET, "conv_in.weight", &v, err) < 0) ...
 *     cn_checkpoint_close(c);
 */
#ifndef CN_CHECKPOINT_CHECKPOINT_H
#define CN_CHECKPOINT_CHECKPOINT_H

#include "base/base.h"
#include "base/spec.h"
#include "checkpoint/config.h"
#include "checkpoint/tensor_file.h"

enum cn_component {
    CN_COMP_TEXT,
    CN_COMP_TEXT_2, /* a second text encoder, whose context stands beside the first one's */
    CN_COMP_UNET,
    CN_COMP_VAE,
    CN_COMP_CONTROL,
    CN_COMP_COUNT
};

enum {
    CN_MAX_TEXTS = 2,   /* text encoders of a model: CN_COMP_TEXT + i */
    CN_POOLING_TEXT = 1 /* the one that makes the pooled vector of a text */
};

enum cn_checkpoint_kind {
    CN_CKPT_PIPELINE,    /* diffusers directory with model_index.json */
    CN_CKPT_NETWORK_DIR, /* diffusers directory of one network: a ControlNet or a part of a model */
    CN_CKPT_FILE         /* one file */
};

struct cn_checkpoint;

/* Length of the ending of a file's name that weights have (".safetensors", ".ckpt", ".pt", ".pth",
 * ".bin", in any case), or 0. What is in it only opening tells. */
size_t cn_checkpoint_ending(const char *path);

/* Of a repository in the cache of Hugging Face's libraries (models--ORG--NAME) the directory of the
 * revision in use, or NULL; to be free()d. */
char *cn_checkpoint_snapshot(const char *dir);

/* Whether the averages of the UNet's weights over its training (EMA) count, where a model has both:
 * as the files beside it say (else no for a single file, yes for a directory), yes, or no. */
enum cn_ema_choice { CN_EMA_MODEL, CN_EMA_YES, CN_EMA_NO, CN_EMA_COUNT };
extern const struct cn_enum cn_enum_ema;

/* Opens every file and reads every configuration, but no weights. */
int cn_checkpoint_open(const char *path, struct cn_checkpoint **ret, struct cn_err *err);
/* CN_EINVAL or CN_ENOTFOUND when a model with a UNet has not the weights that are asked for. */
int cn_checkpoint_open_with(const char *path, enum cn_ema_choice ema, struct cn_checkpoint **ret,
                            struct cn_err *err);
void cn_checkpoint_close(struct cn_checkpoint *c); /* NULL is fine */

/* Are the files that were opened, also those of parts that lie elsewhere, still what lies at their
 * paths? */
bool cn_checkpoint_is_current(const struct cn_checkpoint *c);

const char *cn_checkpoint_path(const struct cn_checkpoint *c);
enum cn_checkpoint_kind cn_checkpoint_kind(const struct cn_checkpoint *c);
bool cn_checkpoint_has(const struct cn_checkpoint *c, enum cn_component comp);

/* A tensor by its diffusers name. CN_ENOTFOUND names the tensor and the file; CN_EFORMAT when its
 * type is one that we do not compute with. */
int cn_checkpoint_find(const struct cn_checkpoint *c, enum cn_component comp, const char *name,
                       struct cn_tensor_view *ret, struct cn_err *err);

/* All tensors of a component in the order of their diffusers names, i < count. */
size_t cn_checkpoint_count(const struct cn_checkpoint *c, enum cn_component comp);
void cn_checkpoint_at(const struct cn_checkpoint *c, enum cn_component comp, size_t i,
                      struct cn_tensor_view *ret);

/* Configurations; NULL when the component is not there. The schedule comes with the UNet. Text
 * encoder i is the i-th of CN_MAX_TEXTS; the first that is NULL ends them. */
const struct cn_text_config *cn_checkpoint_text(const struct cn_checkpoint *c, int i);
const struct cn_unet_config *cn_checkpoint_unet(const struct cn_checkpoint *c);
const struct cn_vae_config *cn_checkpoint_vae(const struct cn_checkpoint *c);
const struct cn_control_config *cn_checkpoint_control(const struct cn_checkpoint *c);
const struct cn_schedule_config *cn_checkpoint_schedule(const struct cn_checkpoint *c);

/* Averages of the training's weights (EMA) of the UNet: there are none that can be told, they are
 * beside the weights that are used, or they are used. */
enum cn_average { CN_AVERAGE_NONE, CN_AVERAGE_UNUSED, CN_AVERAGE_USED };
enum cn_average cn_checkpoint_average(const struct cn_checkpoint *c);

/* The guidance_scale that the model looks best with: "_guidance_scale" in model_index.json, a key
 * that diffusers passes over. 0: not said. */
double cn_checkpoint_guidance(const struct cn_checkpoint *c);

/* Text encoder i's directory with vocab.json and merges.txt, or NULL: the standard CLIP vocabulary.
 */
const char *cn_checkpoint_tokenizer(const struct cn_checkpoint *c, int i);

/* An empty negative prompt is a context of zeros and is not encoded ("force_zeros_for_empty_prompt"
 * of pipelines with two text encoders). */
bool cn_checkpoint_zeroes_empty(const struct cn_checkpoint *c);

/* The ControlNet's tensors are differences to the UNet it is used with: every tensor that the UNet
 * has under the same name must be added to it, and one that the file lacks is the UNet's own. */
bool cn_checkpoint_is_difference(const struct cn_checkpoint *c);

/* CN_OK, or CN_EINVAL naming what the two do not share (channels, context width, ...). */
int cn_control_matches(const struct cn_control_config *control, const struct cn_unet_config *unet,
                       struct cn_err *err);

/* "text encoder", "text encoder 2", "unet", "vae", "controlnet" */
const char *cn_component_name(enum cn_component comp);

#endif
