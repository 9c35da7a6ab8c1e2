/* Names of tensors: the original (LDM) layout of single files, and diffusers' own.
 *
 * Names are without the prefix of their component ("model.diffusion_model." and the like), which
 * the table of prefixes gives. The text encoder of SD 1 has the same names in both layouts.
 *
 * Any thread; pure functions.
 *
 *     struct cn_layout l = {.levels = 4, .layers = 2};
 *     cn_name_from_ldm(CN_COMP_UNET, &l, "input_blocks.4.1.norm.weight", name, sizeof(name));
 *     -- name is "down_blocks.1.attentions.0.norm.weight"
 */
#ifndef CN_CHECKPOINT_NAMES_H
#define CN_CHECKPOINT_NAMES_H

#include "base/base.h"
#include "checkpoint/checkpoint.h"

/* What the numbers in LDM names depend on. */
struct cn_layout {
    int levels;                       /* resolution levels */
    int layers;                       /* residual blocks per level on the way down */
    int hint_convs;                   /* convolutions of the hint encoder; ControlNets only */
    bool up_attention[CN_MAX_BLOCKS]; /* in up order; only cn_name_to_ldm() looks at it */
};

/* "model.diffusion_model." ...; the text encoders' are those of SD 1 and SDXL. */
extern const char *const cn_ldm_prefix[CN_COMP_COUNT];

/* Both write a NUL-terminated name and return true, or return false for a name that is not of the
 * layout (or does not fit into size). */
bool cn_name_from_ldm(enum cn_component comp, const struct cn_layout *l, const char *name,
                      char *ret, size_t size);
bool cn_name_to_ldm(enum cn_component comp, const struct cn_layout *l, const char *name, char *ret,
                    size_t size);

/* OpenCLIP's text tower (SD 2, SDXL's second) without its prefix to transformers' names. The
 * joined "in_proj" tensors get the names of their first third with "q_proj"; *ret_split says so. */
bool cn_name_from_openclip(const char *name, char *ret, size_t size, bool *ret_split);

#endif
