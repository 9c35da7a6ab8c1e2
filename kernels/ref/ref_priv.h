/* What the files of kernels/ref share. */
#ifndef CNK_REF_PRIV_H
#define CNK_REF_PRIV_H

#include "kernels/ref/cnk_ref.h"

/* An OpenMP directive, where the compiler knows OpenMP. */
#ifdef _OPENMP
#define CNK_OMP(directive) _Pragma(#directive)
#else
#define CNK_OMP(directive)
#endif

/* Less work than this, in multiplications or so, is done by one thread: waking the others takes
 * longer, and on a busy machine they spin until their turn comes (op table: 20 s against 1 s). */
enum { CNK_SMALL = 1 << 18 };

double cnk_ref_activate(double x, enum cn_activation act, float slope);

/* sum over i < n of x[i] y[i]; the order of the sum depends on n only. */
double cnk_ref_dot(const float *x, const float *y, int n);

#endif
