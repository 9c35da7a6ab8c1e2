/* Rows of a feature map, in chunks. */
#include "base/base.h"
#include "runtime/kept_rows.h"
#include "base/mem.h"
#include "base/simd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 8 };

static int64_t chunks_of(const struct cn_kept_rows *r)
{
    return (r->h + CN_ROWS_CHUNK - 1) / CN_ROWS_CHUNK;
}

static int64_t rows_of(const struct cn_kept_rows *r, int64_t chunk)
{
    return CN_MIN(CN_ROWS_CHUNK, r->h - chunk * CN_ROWS_CHUNK);
}

static size_t bytes_of(const struct cn_kept_rows *r, int64_t chunk)
{
    return (size_t)r->c * (size_t)rows_of(r, chunk) * (size_t)r->w * cn_dtype_size(r->store);
}

void cn_kept_rows_init(struct cn_kept_rows *r, int c, int64_t h, int64_t w, enum cn_dtype store)
{
    *r = (struct cn_kept_rows){.c = c, .h = h, .w = w, .store = store};
    r->chunk = cn_xcalloc((size_t)chunks_of(r), sizeof(*r->chunk));
    r->sums = cn_xcalloc((size_t)c * 3, sizeof(*r->sums));
}

void cn_kept_rows_release(struct cn_kept_rows *r)
{
    if (r->chunk != NULL)
        cn_kept_rows_drop(r, r->h);
    free(r->chunk);
    free(r->sums);
    *r = (struct cn_kept_rows){0};
}

void cn_kept_rows_drop(struct cn_kept_rows *r, int64_t below)
{
    int64_t n = below >= r->h ? chunks_of(r) : below / CN_ROWS_CHUNK;

    for (int64_t i = n - 1; i >= 0 && r->chunk[i] != NULL; i--) {
        free(r->chunk[i]);
        r->chunk[i] = NULL;
        r->bytes -= bytes_of(r, i);
    }
}

/* The pivot keeps the sums small beside the differences: variance = E[x^2] - E[x]^2 cancels. */
CN_SIMD
static void add_sums(const float *x, int64_t n, double *sums)
{
    double a[LANES] = {0}, b[LANES] = {0};
    float pivot = (float)sums[0];
    int64_t i = 0;

    for (; i + LANES <= n; i += LANES)
        for (int k = 0; k < LANES; k++) {
            double d = x[i + k] - pivot;

            a[k] += d;
            b[k] += d * d;
        }
    for (; i < n; i++) {
        double d = x[i] - pivot;

        a[0] += d;
        b[0] += d * d;
    }
    for (int k = 0; k < LANES; k++) {
        sums[1] += a[k];
        sums[2] += b[k];
    }
}

static void put_chunk(struct cn_kept_rows *r, int64_t chunk, const float *src, int64_t stride)
{
    size_t n = (size_t)rows_of(r, chunk) * (size_t)r->w, size = cn_dtype_size(r->store);

    for (int c = 0; c < r->c; c++) {
        const float *from = src + c * stride;
        unsigned char *to = r->chunk[chunk] + (size_t)c * n * size;

        if (chunk == 0)
            r->sums[3 * c] = from[0];
        add_sums(from, (int64_t)n, r->sums + 3 * (size_t)c);
        cn_from_f32(to, from, r->store, n);
        r->not_finite = r->not_finite || !cn_all_finite(to, r->store, n);
    }
}

int cn_kept_rows_put(struct cn_kept_rows *r, int64_t y, int64_t n, const float *src,
                     struct cn_err *err)
{
    CN_ASSERT(y % CN_ROWS_CHUNK == 0);
    for (int64_t i = y / CN_ROWS_CHUNK; i * CN_ROWS_CHUNK < y + n; i++) {
        r->chunk[i] = cn_try_alloc(bytes_of(r, i));
        if (r->chunk[i] == NULL)
            return cn_fail(err, CN_ENOMEM, "no memory for %zu bytes of a layer", bytes_of(r, i));
        r->bytes += bytes_of(r, i);
        r->peak = CN_MAX(r->peak, r->bytes);
        put_chunk(r, i, src + (i * CN_ROWS_CHUNK - y) * r->w, n * r->w);
    }
    return CN_OK;
}

CN_SIMD
static void apply(float *x, int64_t n, float scale, float shift)
{
    for (int64_t i = 0; i < n; i++)
        x[i] = x[i] * scale + shift;
}

void cn_kept_rows_get(const struct cn_kept_rows *r, int64_t y, int64_t n, const float *scale,
                      const float *shift, float *dst)
{
    size_t size = cn_dtype_size(r->store), w = (size_t)r->w;

    for (int c = 0; c < r->c; c++)
        for (int64_t at = y; at < y + n;) {
            int64_t chunk = at / CN_ROWS_CHUNK, from = at % CN_ROWS_CHUNK;
            int64_t rows = CN_MIN(rows_of(r, chunk) - from, y + n - at);
            size_t first = ((size_t)c * (size_t)rows_of(r, chunk) + (size_t)from) * w;
            float *to = dst + ((size_t)c * (size_t)n + (size_t)(at - y)) * w;

            CN_ASSERT(r->chunk[chunk] != NULL);
            cn_to_f32(to, r->chunk[chunk] + first * size, r->store, (size_t)rows * w);
            if (scale != NULL)
                apply(to, rows * r->w, scale[c], shift[c]);
            at += rows;
        }
}

void cn_kept_rows_norm(const struct cn_kept_rows *r, int groups, double eps, const float *gamma,
                       const float *beta, float *scale, float *shift)
{
    double pixels = (double)r->h * (double)r->w;
    int width = r->c / groups;

    for (int first = 0; first < r->c; first += width) {
        double mean = 0, var = 0;

        for (int c = first; c < first + width; c++)
            mean += r->sums[3 * c] + r->sums[3 * c + 1] / pixels;
        mean /= width;
        for (int c = first; c < first + width; c++) {
            double d = r->sums[3 * c] - mean;

            var += r->sums[3 * c + 2] / pixels + 2 * d * r->sums[3 * c + 1] / pixels + d * d;
        }
        var = CN_MAX(var / width, 0);
        for (int c = first; c < first + width; c++) {
            double factor = (gamma != NULL ? gamma[c] : 1) / sqrt(var + eps);

            scale[c] = (float)factor;
            shift[c] = (float)((beta != NULL ? beta[c] : 0) - mean * factor);
        }
    }
}
