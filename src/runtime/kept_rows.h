/* A feature map [c, h, w] in the host's memory that is written and read in rows from top to bottom,
 * freed the same way, and of which a group norm's statistics are kept. One thread at a time. */
#ifndef CN_RUNTIME_KEPT_ROWS_H
#define CN_RUNTIME_KEPT_ROWS_H

#include "base/base.h"
#include "base/dtype.h"

enum { CN_ROWS_CHUNK = 8 }; /* rows that are written at a time, but for the last ones */

struct cn_kept_rows {
    int c;
    int64_t h, w;
    enum cn_dtype store;
    unsigned char **chunk; /* [c, CN_ROWS_CHUNK, w] each; NULL: freed, or not there yet */
    double *sums;          /* of each channel: pivot, sum and sum of squares of what is above it */
    bool not_finite;       /* something did not fit into its type */
    size_t bytes, peak;
};

void cn_kept_rows_init(struct cn_kept_rows *r, int c, int64_t h, int64_t w, enum cn_dtype store);
void cn_kept_rows_release(struct cn_kept_rows *r);
/* Rows [y, y + n) from src [c, n, w]; y is a multiple of CN_ROWS_CHUNK. CN_ENOMEM. */
int cn_kept_rows_put(struct cn_kept_rows *r, int64_t y, int64_t n, const float *src,
                     struct cn_err *err);
/* Rows [y, y + n) to dst [c, n, w]; with scale [c] they are x * scale + shift. */
void cn_kept_rows_get(const struct cn_kept_rows *r, int64_t y, int64_t n, const float *scale,
                      const float *shift, float *dst);
void cn_kept_rows_drop(struct cn_kept_rows *r, int64_t below);
/* When all rows were put: what a group norm makes of each channel, x * scale + shift. */
void cn_kept_rows_norm(const struct cn_kept_rows *r, int groups, double eps, const float *gamma,
                       const float *beta, float *scale, float *shift);

#endif
