/* What is in a model, for people: sizes, element types, and what does not fit the configuration.
 *
 * Any thread.
 *
 *     struct cn_inspect r;
 *     if (cn_checkpoint_inspect("model.safetensors", print_finding, NULL, &r, err) < 0) ...
 *     printf("%zu tensors\n", r.part[CN_COMP_UNET].tensors);
 */
#ifndef CN_RUNTIME_INSPECT_H
#define CN_RUNTIME_INSPECT_H

#include "base/base.h"
#include "checkpoint/checkpoint.h"

enum cn_finding_kind {
    CN_FINDING_MISSING,    /* a tensor that the network needs */
    CN_FINDING_UNEXPECTED, /* one that it does not know */
    CN_FINDING_SHAPE,      /* one with another number of elements */
    CN_FINDING_TYPE,       /* one of a type that we do not compute with */
    CN_FINDING_COUNT
};

struct cn_finding {
    enum cn_finding_kind kind;
    enum cn_component comp;
    const char *name;        /* diffusers' */
    char have[96], need[96]; /* shapes or types, "" where there is none */
};

/* The finding lives for the call only. */
typedef void (*cn_finding_fn)(void *ctx, const struct cn_finding *f);

struct cn_inspect_part {
    bool present;
    size_t tensors;
    uint64_t elements, bytes;
    const char *file; /* of its first tensor; lives as long as the checkpoint */
    char type[16];    /* "F16", or "mixed" */
    size_t findings[CN_FINDING_COUNT];
};

struct cn_inspect {
    enum cn_checkpoint_kind kind;
    bool difference; /* then missing tensors of a ControlNet are no fault and not counted */
    struct cn_inspect_part part[CN_COMP_COUNT];
    struct cn_text_config text[CN_MAX_TEXTS]; /* of the parts that are present */
    struct cn_unet_config unet;
    struct cn_vae_config vae;
    struct cn_control_config control;
    struct cn_schedule_config schedule;
};

/* Opens path and tells what it finds; fn may be NULL. Findings are no error: CN_OK means that the
 * files could be read. */
int cn_checkpoint_inspect(const char *path, cn_finding_fn fn, void *ctx, struct cn_inspect *ret,
                          struct cn_err *err);

/* The same of an open one. */
void cn_inspect_checkpoint(const struct cn_checkpoint *c, cn_finding_fn fn, void *ctx,
                           struct cn_inspect *ret);

/* What decides whether a ControlNet fits, as a word: "sd15", "sd2", "sdxl", or "unet-32-64-x48"
 * (channels of the levels, context width). */
void cn_unet_family(const struct cn_unet_config *c, char *text, size_t size);

const char *cn_finding_name(enum cn_finding_kind kind); /* "missing", "unexpected", ... */
const char *cn_checkpoint_kind_name(enum cn_checkpoint_kind kind);

#endif
