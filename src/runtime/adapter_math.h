/* What a part of an adapter makes of its layer's weight: every form that checkpoint/adapter.h
 * reads, in the strength that is asked for.
 *
 * Weights are rows of floats, [out, in, taps], where a linear layer has one tap and a convolution
 * k * k of them. Sources: LoRA arXiv 2106.09685; LoHa and LoKr arXiv 2309.14859 (LyCORIS); (IA)3
 * arXiv 2205.05638; OFT arXiv 2306.07280; BOFT arXiv 2311.06243; GLoRA arXiv 2306.07967; DoRA arXiv
 * 2402.09353. Any thread.
 *
 *     struct cn_layer l = {.out = 320, .in = 768, .taps = 1};
 *     if (cn_adapter_fits(part, &l, err) == CN_OK)
 *         rc = cn_adapter_apply(part, &l, 0.8, w, err);          -- w [320, 768] changes in place
 */
#ifndef CN_RUNTIME_ADAPTER_MATH_H
#define CN_RUNTIME_ADAPTER_MATH_H

#include "base/base.h"
#include "checkpoint/adapter.h"

struct cn_layer {
    int64_t out, in, taps;
    bool has_bias;
};

/* Do the shapes of the part's tensors belong to such a layer? CN_EFORMAT names the tensor. Nothing
 * is read. */
int cn_adapter_fits(const struct cn_adapter_part *p, const struct cn_layer *l, struct cn_err *err);

/* Changes w, [out, in, taps], as the part says at this strength; p fits. CN_EIO, CN_ENOMEM,
 * CN_EFORMAT: its tensors cannot be read, or give no numbers. */
int cn_adapter_apply(const struct cn_adapter_part *p, const struct cn_layer *l, double strength,
                     float *w, struct cn_err *err);
/* Changes the layer's bias, [out]. */
int cn_adapter_apply_bias(const struct cn_adapter_part *p, const struct cn_layer *l,
                          double strength, float *bias, struct cn_err *err);

/* Channels that the part's tensors are for: those of the layer, but 4 where an inpainting model's
 * first layer has 9 and the adapter was made with another. */
int64_t cn_adapter_inputs(const struct cn_adapter_part *p, const struct cn_layer *l);
/* Does its magnitude (DoRA) say the lengths of the rows, or of the columns? */
bool cn_adapter_magnitude_of_rows(const struct cn_adapter_part *p, const struct cn_layer *l);
/* The rank of what it adds, when that is a low-rank product and nothing else (LoRA, LoCon; with a
 * core, the rank of the left factor); 0: it is something else. */
int64_t cn_adapter_low_rank(const struct cn_adapter_part *p);
/* Is what it adds the same whatever the weights are? */
bool cn_adapter_is_additive(const struct cn_adapter_part *p);
/* The two factors of a low-rank product, of which up has the part's own scale: down [rank, in,
 * taps], up [out, rank]. The caller free()s both. */
int cn_adapter_factors(const struct cn_adapter_part *p, const struct cn_layer *l, float **down,
                       float **up, struct cn_err *err);
bool cn_adapter_changes_weight(const struct cn_adapter_part *p);
bool cn_adapter_changes_bias(const struct cn_adapter_part *p);

#endif
