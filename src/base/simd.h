/* Marks a function that is compiled once for each generation of x86 and chosen when the program
 * starts. Other processors get the plain code.
 *
 *     CN_SIMD
 *     static void add(float *restrict x, const float *restrict y, size_t n) { ... }
 */
#ifndef CN_BASE_SIMD_H
#define CN_BASE_SIMD_H

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CN_SIMD __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else /* the loader resolves clones before a sanitizer's runtime is ready */
#define CN_SIMD
#endif

#endif
