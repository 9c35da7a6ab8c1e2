/* Reads what the Python reference wrote: tests/data/golden/<name>.json and .safetensors.
 *
 * For tests only: small, and it trusts the file no further than its bounds. One thread.
 *
 *     struct golden g;
 *     if (!golden_open(&g, "samplers")) return 77;
 *     const float *x = golden_floats(&g, "ddim-leading-default-e-4/latents", &n);
 *     golden_close(&g);
 */
#ifndef CN_TESTS_DIFFUSION_GOLDEN_H
#define CN_TESTS_DIFFUSION_GOLDEN_H

#include "base/base.h"

#include <jansson.h>

struct golden {
    json_t *json;   /* the case list, always */
    json_t *header; /* of the safetensors file; NULL when there is none */
    unsigned char *data;
    size_t size;
    float *copy; /* the last answer of golden_floats */
};

/* False when there is no such JSON file, which is a reason to skip; golden_close() either way. */
bool golden_open(struct golden *g, const char *name);
void golden_close(struct golden *g);

/* NULL when the file has no tensor of that name. Valid until the next call. */
const float *golden_floats(struct golden *g, const char *tensor, size_t *ret_n);

#endif
