/* The two enumerations that everybody shares, from the kernels up to the networks: element types
 * and activations. They stand here because nothing lies below; src/ gets them from base/dtype.h. */
#ifndef CN_KERNELS_TYPES_H
#define CN_KERNELS_TYPES_H

/* Storage. Kernels take the first three, and compute in binary32 or wider; files and token ids have
 * the others too. */
enum cn_dtype { CN_F32, CN_F16, CN_BF16, CN_F64, CN_I64, CN_I32, CN_U8, CN_DTYPE_COUNT };

/* silu x / (1 + exp(-x)) · gelu x (1 + erf(x / sqrt 2)) / 2 · quick_gelu x / (1 + exp(-1.702 x)) ·
 * sigmoid 1 / (1 + exp(-x)) · leaky_relu x where positive, else slope x */
enum cn_activation {
    CN_NONE,
    CN_SILU,
    CN_GELU,
    CN_QUICK_GELU,
    CN_RELU,
    CN_SIGMOID,
    CN_TANH,
    CN_LEAKY_RELU,
    CN_ACTIVATION_COUNT
};

#endif
