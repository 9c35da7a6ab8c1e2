/* Attention on the CPU: blocks of queries against blocks of keys, matrix products by oneDNN. */
#include "base/base.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/simd.h"

#include <float.h>
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>
#include <string.h>

/* A block of scores is QUERIES x KEYS floats = 256 KiB: it stays in a core's second-level cache
 * while the softmax passes over it. */
enum { QUERIES = 128, KEYS = 512 };

/* Scratch of one thread: scores, then maximum and sum of each query. */
enum { PER_THREAD = QUERIES * KEYS + 2 * QUERIES };

size_t cn_cpu_attention_scratch(const struct cn_cpu_attention *a)
{
    (void)a;
    return (size_t)omp_get_max_threads() * PER_THREAD;
}

CN_SIMD static float row_max(const float *s, int64_t n)
{
    float m[16], r;
    int64_t i;

    for (int k = 0; k < 16; k++)
        m[k] = -FLT_MAX;
    for (i = 0; i + 16 <= n; i += 16)
        for (int k = 0; k < 16; k++)
            m[k] = s[i + k] > m[k] ? s[i + k] : m[k];
    r = -FLT_MAX;
    for (int k = 0; k < 16; k++)
        r = m[k] > r ? m[k] : r;
    for (; i < n; i++)
        r = s[i] > r ? s[i] : r;
    return r;
}

/* s = exp(s - m); returns the sum. */
CN_SIMD static float row_exp(float *s, int64_t n, float m)
{
    float sum[16] = {0}, r = 0;
    int64_t i;

    for (i = 0; i + 16 <= n; i += 16)
        for (int k = 0; k < 16; k++) {
            float e = cn_simd_exp(s[i + k] - m);

            s[i + k] = e;
            sum[k] += e;
        }
    for (int k = 0; k < 16; k++)
        r += sum[k];
    for (; i < n; i++) {
        s[i] = cn_simd_exp(s[i] - m);
        r += s[i];
    }
    return r;
}

CN_SIMD static void row_scale(float *d, int64_t n, float f)
{
    for (int64_t i = 0; i < n; i++)
        d[i] *= f;
}

/* One block of queries of one head: out, q [rows, width] with row stride d. */
struct block {
    float *out;
    const float *q, *k, *v;
    int64_t first; /* token of the first query, for the causal mask */
    int64_t rows, width;
    float *score, *max, *sum;
};

/* Softmax of the scores of keys [from, from + keys), given the maxima so far; earlier results are
 * scaled to the new maximum. */
static void soften(const struct block *b, const struct cn_cpu_attention *a, int64_t from,
                   int64_t keys)
{
    for (int64_t r = 0; r < b->rows; r++) {
        float *s = b->score + r * KEYS, m;
        int64_t seen = keys;

        if (a->causal) {
            seen = CN_MIN(CN_MAX(b->first + r + 1 - from, 0), keys);
            memset(s + seen, 0, (size_t)(keys - seen) * sizeof(*s));
        }
        if (seen == 0)
            continue;
        m = CN_MAX(row_max(s, seen), b->max[r]);
        if (from > 0 && m > b->max[r]) {
            float f = cn_simd_exp(b->max[r] - m);

            row_scale(b->out + r * a->d, b->width, f);
            b->sum[r] *= f;
        }
        b->max[r] = m;
        b->sum[r] += row_exp(s, seen, m);
    }
}

/* false: a product had no memory for what it packs. */
static bool attend_block(const struct block *b, const struct cn_cpu_attention *a)
{
    for (int64_t r = 0; r < b->rows; r++) {
        b->max[r] = -FLT_MAX;
        b->sum[r] = 0;
    }
    for (int64_t from = 0; from < a->t; from += KEYS) {
        int64_t keys = CN_MIN((int64_t)KEYS, a->t - from);

        if (a->causal && from > b->first + b->rows - 1)
            break;
        if (dnnl_sgemm('N', 'T', b->rows, keys, b->width, a->scale, b->q, a->d,
                       b->k + from * a->d, a->d, 0.0f, b->score, KEYS) != dnnl_success)
            return false;
        soften(b, a, from, keys);
        if (dnnl_sgemm('N', 'N', b->rows, b->width, keys, 1.0f, b->score, KEYS,
                       b->v + from * a->d, a->d, from > 0 ? 1.0f : 0.0f, b->out,
                       a->d) != dnnl_success)
            return false;
    }
    for (int64_t r = 0; r < b->rows; r++)
        row_scale(b->out + r * a->d, b->width, 1.0f / b->sum[r]);
    return true;
}

int cn_cpu_attend(float *dst, const float *q, const float *k, const float *v,
                   const struct cn_cpu_attention *a, float *scratch)
{
    int64_t width = a->d / a->heads, blocks = (a->s + QUERIES - 1) / QUERIES;
    int failed = 0;

#pragma omp parallel for collapse(3) schedule(dynamic) reduction(+ : failed)
    for (int64_t n = 0; n < a->n; n++)
        for (int64_t h = 0; h < a->heads; h++)
            for (int64_t i = 0; i < blocks; i++) {
                float *mine = scratch + (size_t)omp_get_thread_num() * PER_THREAD;
                int64_t first = i * QUERIES, at = (n * a->s + first) * a->d + h * width;
                struct block b = {
                    .out = dst + at,
                    .q = q + at,
                    .k = k + n * a->t * a->d + h * width,
                    .v = v + n * a->t * a->d + h * width,
                    .first = first,
                    .rows = CN_MIN((int64_t)QUERIES, a->s - first),
                    .width = width,
                    .score = mine,
                    .max = mine + QUERIES * KEYS,
                    .sum = mine + QUERIES * KEYS + QUERIES,
                };

                failed += !attend_block(&b, a);
            }
    return failed > 0 ? CN_EDEVMEM : CN_OK;
}
