/* Element types and the conversions between them. Any thread. */
#ifndef CN_BASE_DTYPE_H
#define CN_BASE_DTYPE_H

#include "base/base.h"
#include "kernels/types.h"

size_t cn_dtype_size(enum cn_dtype t);      /* bytes of one element */
const char *cn_dtype_name(enum cn_dtype t); /* "F32", as safetensors spells it */

float cn_f16_to_f32(uint16_t h); /* IEEE 754 binary16, subnormals and infinities included */
uint16_t cn_f32_to_f16(float f); /* round to nearest even; overflow gives infinity */
float cn_bf16_to_f32(uint16_t h);
uint16_t cn_f32_to_bf16(float f); /* round to nearest even; NaN stays NaN */

/* n elements of type t at src (any alignment, little-endian) as floats. I32/I64/U8 by value. */
void cn_to_f32(float *dst, const void *src, enum cn_dtype t, size_t n);
/* Whether none of n elements at src (aligned for their type) is a NaN or infinite. Integers are
 * not. */
bool cn_all_finite(const void *src, enum cn_dtype t, size_t n);
/* n floats as type t (F32, F16 or BF16), rounded to nearest even. */
void cn_from_f32(void *dst, const float *src, enum cn_dtype t, size_t n);

#endif
