/* What a file of tensors is: a base model, a ControlNet, or one of the many things that lie in the
 * same folders. By names and shapes of its tensors; no weights are read. One answer for all that
 * have to say it: "a LoRA for SDXL".
 *
 * Any thread; pure.
 *
 *     struct cn_file_class k;
 *     cn_tensor_file_classify(f, &k);
 *     if (k.kind == CN_FILE_LORA) printf("%s is %s", path, k.what);
 */
#ifndef CN_CHECKPOINT_CLASSIFY_H
#define CN_CHECKPOINT_CLASSIFY_H

#include "base/base.h"
#include "checkpoint/tensor_file.h"

enum cn_file_kind {
    CN_FILE_UNKNOWN,
    CN_FILE_BASE,       /* a base model, perhaps not all of it */
    CN_FILE_UNET,       /* of a base model the UNet alone */
    CN_FILE_VAE,        /* an autoencoder, or its decoder */
    CN_FILE_TAESD,      /* a tiny autoencoder */
    CN_FILE_TEXT,       /* a text encoder */
    CN_FILE_CONTROLNET, /* also one beside the base model that it was trained with */
    CN_FILE_CONTROL_UNION,
    CN_FILE_CONTROL_LORA,
    CN_FILE_LLLITE,
    CN_FILE_T2I_ADAPTER,
    CN_FILE_IP_ADAPTER,
    CN_FILE_LORA, /* and its kin: LoHa, LoKr, OFT, DoRA */
    CN_FILE_EMBEDDING,
    CN_FILE_IMAGE_ENCODER,
    CN_FILE_ANNOTATOR,
    CN_FILE_UPSCALER,
    CN_FILE_NO_UNET, /* Flux, SD 3 and others, and their parts */
    CN_FILE_KIND_COUNT
};

enum cn_family {
    CN_FAMILY_NONE, /* not of one, or not one that we can tell */
    CN_FAMILY_SD1,
    CN_FAMILY_SD2,
    CN_FAMILY_SDXL,
    CN_FAMILY_SDXL_REFINER,
    CN_FAMILY_UNCLIP, /* SD 2.1 unCLIP */
    CN_FAMILY_COUNT
};

struct cn_file_class {
    enum cn_file_kind kind;
    enum cn_family family;
    char what[120]; /* with its article: "a ControlNet for SD 1.x"; "" when unknown */
};

void cn_tensor_file_classify(const struct cn_tensor_file *f, struct cn_file_class *ret);

/* "lora", "controlnet" ...; "sd1", "sdxl" ..., "" for CN_FAMILY_NONE */
const char *cn_file_kind_name(enum cn_file_kind kind);
const char *cn_family_name(enum cn_family family);

#endif
