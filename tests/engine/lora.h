/* LoRA files of random numbers for a model's own layers, in kohya's naming. A failure ends the
 * cmocka test. */
#ifndef CN_TESTS_LORA_H
#define CN_TESTS_LORA_H

#include "base/base.h"

struct lora {
    int rank;
    bool convs;  /* with the convolutions of the UNet (LoCon) */
    bool text;   /* and the text encoder */
    double size; /* of what is added, about, relative to a weight of variance 1 / in */
    uint32_t seed;
};

/* path ends in ".safetensors"; model is a directory. */
void make_lora(const char *path, const char *model, const struct lora *l);

#endif
