/* New weights of a layer under a part of an adapter. Sums of products are floats, in rows that the
 * compiler can make vectors of; what is inverted or normalized is double. */
#include "base/base.h"
#include "runtime/adapter_math.h"
#include "base/mem.h"
#include "base/simd.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool has(const struct cn_adapter_part *p, enum cn_adapter_role role)
{
    return p->roles >> role & 1;
}

/* What is read and computed for one part, freed together. */
struct work {
    const struct cn_adapter_part *p;
    const struct cn_layer *l;
    size_t n; /* elements of the weight */
    void *owned[16];
    int n_owned;
    struct cn_err *err;
};

static int get_floats(struct work *k, size_t n, float **ret)
{
    size_t bytes;

    CN_ASSERT(k->n_owned < (int)CN_LEN(k->owned));
    *ret = cn_mul_size(n, sizeof(float), &bytes) ? cn_try_alloc(bytes) : NULL;
    if (*ret == NULL)
        return cn_fail(k->err, CN_ENOMEM, "no memory for the layer of \"%s\"", k->p->key);
    memset(*ret, 0, bytes);
    k->owned[k->n_owned++] = *ret;
    return CN_OK;
}

static int get_tensor(struct work *k, enum cn_adapter_role role, float **ret)
{
    int rc = cn_adapter_read(&k->p->tensor[role], ret, k->err);

    CN_ASSERT(k->n_owned < (int)CN_LEN(k->owned));
    if (rc == CN_OK)
        k->owned[k->n_owned++] = *ret;
    return rc;
}

static void free_work(struct work *k)
{
    for (int i = 0; i < k->n_owned; i++)
        free(k->owned[i]);
}

static int64_t dim(const struct work *k, enum cn_adapter_role role, int axis)
{
    return k->p->tensor[role].dim[axis];
}

/* ---- products ---- */

/* y += a * x */
CN_SIMD
static void add_scaled(float *restrict y, const float *restrict x, float a, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += a * x[i];
}

CN_SIMD
static void add_scaled4(float *restrict y, const float *restrict x, const float *restrict a,
                        size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] += a[0] * x[i] + a[1] * x[n + i] + a[2] * x[2 * n + i] + a[3] * x[3 * n + i];
}

/* c [m, n] += a [m, r] . b [r, n] */
static void add_product(float *c, const float *a, const float *b, int64_t m, int64_t r, size_t n)
{
    for (int64_t i = 0; i < m; i++) {
        int64_t j = 0;

        for (; j + 4 <= r; j += 4)
            add_scaled4(c + (size_t)i * n, b + (size_t)j * n, a + i * r + j, n);
        for (; j < r; j++)
            add_scaled(c + (size_t)i * n, b + (size_t)j * n, a[i * r + j], n);
    }
}

/* [m, n] as [n, m] */
static int transposed(struct work *k, const float *a, int64_t m, int64_t n, float **ret)
{
    int rc = get_floats(k, (size_t)(m * n), ret);

    for (int64_t i = 0; i < m && rc == CN_OK; i++)
        for (int64_t j = 0; j < n; j++)
            (*ret)[j * m + i] = a[i * n + j];
    return rc;
}

/* ret [ra, in, taps] = sum over y of core[x, y, taps] right[y, in] */
static int core_right(struct work *k, const float *core, const float *right, int64_t ra, int64_t rb,
                      int64_t in, float **ret)
{
    int64_t taps = k->l->taps;
    int rc = get_floats(k, (size_t)(ra * in * taps), ret);

    for (int64_t x = 0; x < ra && rc == CN_OK; x++)
        for (int64_t y = 0; y < rb; y++)
            for (int64_t i = 0; i < in; i++)
                for (int64_t t = 0; t < taps; t++)
                    (*ret)[(x * in + i) * taps + t] +=
                        core[(x * rb + y) * taps + t] * right[y * in + i];
    return rc;
}

/* ret [out, in, taps] = sum over x, y of left[out, x] core[x, y, taps] right[y, in]: Tucker. */
static int core_product(struct work *k, const float *left, const float *core, const float *right,
                        int64_t out, int64_t ra, int64_t rb, int64_t in, float **ret)
{
    float *between;
    int rc = core_right(k, core, right, ra, rb, in, &between);

    if (rc == CN_OK)
        rc = get_floats(k, (size_t)(out * in * k->l->taps), ret);
    if (rc == CN_OK)
        add_product(*ret, left, between, out, ra, (size_t)(in * k->l->taps));
    return rc;
}

/* Two factors, or three with a core; left_turned: beside a core the left one is [x, out]. */
struct factors {
    enum cn_adapter_role left, core, right;
    bool left_turned;
};

static int factors_product(struct work *k, const struct factors *f, int64_t out, int64_t in,
                           float **ret)
{
    bool core = has(k->p, f->core);
    int64_t r = dim(k, f->right, 0), ra = core ? dim(k, f->core, 0) : r;
    float *left, *right, *middle, *turned;
    int rc;

    if ((rc = get_tensor(k, f->left, &left)) < 0 || (rc = get_tensor(k, f->right, &right)) < 0)
        return rc;
    if (!core) {
        size_t n = (size_t)(in * k->l->taps);

        rc = get_floats(k, (size_t)out * n, ret);
        if (rc == CN_OK)
            add_product(*ret, left, right, out, r, n);
        return rc;
    }
    if ((rc = get_tensor(k, f->core, &middle)) < 0)
        return rc;
    if (f->left_turned) {
        if ((rc = transposed(k, left, ra, out, &turned)) < 0)
            return rc;
        left = turned;
    }
    return core_product(k, left, middle, right, out, ra, r, in, ret);
}

/* ---- differences: ret is [out, in, taps] ---- */

static int lora(struct work *k, float **ret)
{
    static const struct factors f = {CN_ROLE_UP, CN_ROLE_MID, CN_ROLE_DOWN, false};
    int64_t in = cn_adapter_inputs(k->p, k->l), taps = k->l->taps;
    float *narrow;
    int rc = factors_product(k, &f, k->l->out, in, &narrow);

    if (rc < 0 || in == k->l->in) {
        *ret = narrow;
        return rc;
    }
    rc = get_floats(k, k->n, ret);
    for (int64_t o = 0; o < k->l->out && rc == CN_OK; o++)
        memcpy(*ret + o * k->l->in * taps, narrow + o * in * taps,
               (size_t)(in * taps) * sizeof(*narrow));
    return rc;
}

static int loha(struct work *k, float **ret)
{
    static const struct factors f[2] = {{CN_ROLE_W1_A, CN_ROLE_T1, CN_ROLE_W1_B, true},
                                        {CN_ROLE_W2_A, CN_ROLE_T2, CN_ROLE_W2_B, true}};
    float *second;
    int rc = factors_product(k, &f[0], k->l->out, k->l->in, ret);

    if (rc == CN_OK)
        rc = factors_product(k, &f[1], k->l->out, k->l->in, &second);
    for (size_t i = 0; i < k->n && rc == CN_OK; i++)
        (*ret)[i] *= second[i];
    return rc;
}

/* w1 [a, c], w2 [b, d, taps] */
static int kronecker(struct work *k, const float *w1, const float *w2, int64_t a, int64_t c,
                     float **ret)
{
    int64_t b = k->l->out / a, d = k->l->in / c;
    size_t n = (size_t)(d * k->l->taps);
    int rc = get_floats(k, k->n, ret);

    for (int64_t p = 0; p < a && rc == CN_OK; p++)
        for (int64_t q = 0; q < b; q++)
            for (int64_t u = 0; u < c; u++)
                add_scaled(*ret + ((size_t)(p * b + q) * (size_t)c + (size_t)u) * n,
                           w2 + (size_t)q * n, w1[p * c + u], n);
    return rc;
}

static int lokr(struct work *k, float **ret)
{
    static const struct factors second = {CN_ROLE_W2_A, CN_ROLE_T2, CN_ROLE_W2_B, true};
    bool whole = has(k->p, CN_ROLE_W1);
    int64_t a = dim(k, whole ? CN_ROLE_W1 : CN_ROLE_W1_A, 0);
    int64_t c = dim(k, whole ? CN_ROLE_W1 : CN_ROLE_W1_B, 1);
    float *w1, *w2, *left, *right;
    int rc;

    if (whole) {
        rc = get_tensor(k, CN_ROLE_W1, &w1);
    } else if ((rc = get_tensor(k, CN_ROLE_W1_A, &left)) == CN_OK &&
               (rc = get_tensor(k, CN_ROLE_W1_B, &right)) == CN_OK &&
               (rc = get_floats(k, (size_t)(a * c), &w1)) == CN_OK) {
        add_product(w1, left, right, a, dim(k, CN_ROLE_W1_B, 0), (size_t)c);
    }
    if (rc == CN_OK)
        rc = has(k->p, CN_ROLE_W2)
                 ? get_tensor(k, CN_ROLE_W2, &w2)
                 : factors_product(k, &second, k->l->out / a, k->l->in / c, &w2);
    return rc < 0 ? rc : kronecker(k, w1, w2, a, c, ret);
}

/* B + W . A, both of rank r. */
static int glora(struct work *k, const float *w, float **ret)
{
    bool swapped = dim(k, CN_ROLE_B1, 0) != k->l->out;
    int64_t out = k->l->out, in = k->l->in, taps = k->l->taps, r = k->p->rank;
    float *a1, *a2, *b1, *b2, *a;
    int rc;

    if ((rc = get_tensor(k, swapped ? CN_ROLE_A2 : CN_ROLE_A1, &a1)) < 0 ||
        (rc = get_tensor(k, swapped ? CN_ROLE_A1 : CN_ROLE_A2, &a2)) < 0 ||
        (rc = get_tensor(k, swapped ? CN_ROLE_B2 : CN_ROLE_B1, &b1)) < 0 ||
        (rc = get_tensor(k, swapped ? CN_ROLE_B1 : CN_ROLE_B2, &b2)) < 0 ||
        (rc = get_floats(k, (size_t)(in * in), &a)) < 0 || (rc = get_floats(k, k->n, ret)) < 0)
        return rc;
    add_product(*ret, b1, b2, out, r, (size_t)(in * taps));
    add_product(a, a1, a2, in, r, (size_t)in);
    for (int64_t o = 0; o < out; o++)
        for (int64_t i = 0; i < in; i++)
            for (int64_t j = 0; j < in; j++)
                for (int64_t t = 0; t < taps; t++)
                    (*ret)[(o * in + j) * taps + t] +=
                        w[(o * in + i) * taps + t] * a[i * in + j];
    return CN_OK;
}

/* ---- rotations ---- */

/* x [b, b] = (I + q) . inverse(I - q), by Gauss and Jordan with the largest pivot: x (I - q) =
 * I + q, so the columns of (I - q) are reduced. I - q is never singular: q is skew-symmetric. */
static void cayley(const double *q, double *x, double *m, int64_t b)
{
    for (int64_t i = 0; i < b * b; i++) {
        double one = i / b == i % b ? 1 : 0;

        m[i] = one - q[i];
        x[i] = one + q[i];
    }
    for (int64_t c = 0; c < b; c++) {
        int64_t best = c;

        for (int64_t j = c + 1; j < b; j++)
            if (fabs(m[c * b + j]) > fabs(m[c * b + best]))
                best = j;
        for (int64_t i = 0; i < b && best != c; i++) {
            double t = m[i * b + c], u = x[i * b + c];

            m[i * b + c] = m[i * b + best];
            m[i * b + best] = t;
            x[i * b + c] = x[i * b + best];
            x[i * b + best] = u;
        }
        for (int64_t j = 0; j < b; j++) {
            double f = j == c ? 0 : m[c * b + j] / m[c * b + c];

            for (int64_t i = 0; i < b && f != 0; i++) {
                m[i * b + j] -= f * m[i * b + c];
                x[i * b + j] -= f * x[i * b + c];
            }
        }
    }
    for (int64_t i = 0; i < b; i++)
        for (int64_t j = 0; j < b; j++)
            x[i * b + j] /= m[j * b + j];
}

/* The factor that keeps all blocks' Q = B - B^T together within the constraint. */
static double bound(const struct work *k, const float *block, int64_t n, int64_t b)
{
    double most = k->p->constraint * (double)k->l->out, sum = 0;

    if (!(most > 0))
        return 1;
    for (int64_t i = 0; i < n * b * b; i++) {
        int64_t row = i / b % b, column = i % b;
        double q = (double)block[i] - (double)block[i + (column - row) * b + row - column];

        sum += q * q;
    }
    sum = sqrt(sum);
    return sum > most ? most / sum : 1;
}

/* Rotations of n blocks in place: B becomes I + strength * (R - I). */
static int rotations(struct work *k, float *block, int64_t n, int64_t b, double strength)
{
    bool given = has(k->p, CN_ROLE_DIAG);
    double factor = given ? 1 : bound(k, block, n, b);
    double *q = cn_try_alloc((size_t)(3 * b * b) * sizeof(*q)), *r, *m;

    if (q == NULL)
        return cn_fail(k->err, CN_ENOMEM, "no memory for the layer of \"%s\"", k->p->key);
    r = q + b * b;
    m = r + b * b;
    for (int64_t i = 0; i < n; i++) {
        float *x = block + i * b * b;

        for (int64_t j = 0; j < b * b && !given; j++)
            q[j] = factor * ((double)x[j] - (double)x[j % b * b + j / b]);
        if (!given)
            cayley(q, r, m, b);
        for (int64_t j = 0; j < b * b; j++) {
            double one = j / b == j % b ? 1 : 0, to = given ? (double)x[j] : r[j];

            x[j] = (float)(one + strength * (to - one));
        }
    }
    free(q);
    return CN_OK;
}

/* y [out, n] = the blocks on the diagonal . w; turned: their transposes. */
static void rotate(float *y, const float *block, const float *w, int64_t out, int64_t b, size_t n,
                   bool turned)
{
    memset(y, 0, (size_t)out * n * sizeof(*y));
    for (int64_t o = 0; o < out; o++) {
        const float *r = block + o / b * b * b;

        for (int64_t i = 0; i < b; i++)
            add_scaled(y + (size_t)o * n, w + (size_t)(o / b * b + i) * n,
                       turned ? r[i * b + o % b] : r[o % b * b + i], n);
    }
}

/* Row c 2h + a 2 + g of `to` is row c 2h + g h + a of `from`; back: the other way. */
static void shuffle(float *to, const float *from, int64_t out, int64_t h, size_t n, bool back)
{
    for (int64_t i = 0; i < out; i++) {
        int64_t at = i % (2 * h), other = i - at + at % 2 * h + at / 2;

        memcpy(to + (size_t)(back ? other : i) * n, from + (size_t)(back ? i : other) * n,
               n * sizeof(*to));
    }
}

static int oft(struct work *k, double strength, float *w)
{
    bool stages = k->p->form == CN_ADAPTER_BOFT;
    enum cn_adapter_role role = has(k->p, CN_ROLE_BLOCKS) ? CN_ROLE_BLOCKS : CN_ROLE_DIAG;
    int64_t out = k->l->out, b = dim(k, role, stages + 1), count = stages ? dim(k, role, 0) : 1;
    size_t n = (size_t)(k->l->in * k->l->taps);
    float *block, *other;
    int rc;

    if ((rc = get_tensor(k, role, &block)) < 0 || (rc = get_floats(k, k->n, &other)) < 0 ||
        (rc = rotations(k, block, count * (out / b), b, strength)) < 0)
        return rc;
    for (int64_t i = 0; i < count; i++) {
        if (!stages) {
            rotate(other, block, w, out, b, n, true);
            memcpy(w, other, k->n * sizeof(*w));
            continue;
        }
        shuffle(other, w, out, ((int64_t)1 << i) * (b / 2), n, false);
        rotate(w, block + i * (out / b) * b * b, other, out, b, n, false);
        memcpy(other, w, k->n * sizeof(*w));
        shuffle(w, other, out, ((int64_t)1 << i) * (b / 2), n, true);
    }
    return CN_OK;
}

/* LyCORIS: the rows' own factors, after the rotation. */
static int rescale(struct work *k, float *w)
{
    size_t n = (size_t)(k->l->in * k->l->taps);
    float *by;
    int rc = get_tensor(k, CN_ROLE_RESCALE, &by);

    for (size_t i = 0; i < k->n && rc == CN_OK; i++)
        w[i] *= by[i / n];
    return rc;
}

static int ia3(struct work *k, double strength, float *w)
{
    size_t taps = (size_t)k->l->taps, in = (size_t)k->l->in;
    float *by;
    int rc = get_tensor(k, CN_ROLE_SCALES, &by);

    for (size_t i = 0; i < k->n && rc == CN_OK; i++) {
        size_t at = k->p->on_input ? i / taps % in : i / (taps * in);

        w[i] = (float)((double)w[i] * (1 + strength * (double)by[at]));
    }
    return rc;
}

/* ---- DoRA ---- */

/* v = W + s * difference, and w moves towards v with its rows (or columns) as long as the magnitude
 * says. */
static int decompose(struct work *k, double strength, const float *difference, float *w)
{
    int64_t out = k->l->out, in = k->l->in, taps = k->l->taps;
    bool rows = cn_adapter_magnitude_of_rows(k->p, k->l);
    double s = k->p->scale;
    float *magnitude, *norm;
    int rc;

    if ((rc = get_tensor(k, CN_ROLE_MAGNITUDE, &magnitude)) < 0 ||
        (rc = get_floats(k, (size_t)(rows ? out : in), &norm)) < 0)
        return rc;
    for (int64_t a = 0; a < (rows ? out : in); a++) {
        double sum = 0;

        for (int64_t b = 0; b < (rows ? in : out); b++)
            for (int64_t t = 0; t < taps; t++) {
                int64_t i = ((rows ? a * in + b : b * in + a) * taps) + t;
                double v = (double)w[i] + s * (double)difference[i];

                sum += v * v;
            }
        norm[a] = (float)((double)magnitude[a] / (sqrt(sum) + (double)FLT_EPSILON));
    }
    for (size_t i = 0; i < k->n; i++) {
        size_t a = rows ? i / (size_t)(in * taps) : i / (size_t)taps % (size_t)in;
        double v = ((double)w[i] + s * (double)difference[i]) * (double)norm[a];

        w[i] = (float)((double)w[i] + strength * (v - (double)w[i]));
    }
    return CN_OK;
}

/* ---- a layer ---- */

static int difference_of(struct work *k, const float *w, float **ret)
{
    switch (k->p->form) {
    case CN_ADAPTER_LORA:
        return lora(k, ret);
    case CN_ADAPTER_LOHA:
        return loha(k, ret);
    case CN_ADAPTER_LOKR:
        return lokr(k, ret);
    case CN_ADAPTER_GLORA:
        return glora(k, w, ret);
    default:
        return get_tensor(k, CN_ROLE_DIFF, ret);
    }
}

static int add_difference(struct work *k, double strength, float *w)
{
    float *d;
    int rc = difference_of(k, w, &d);

    if (rc < 0)
        return rc;
    if (has(k->p, CN_ROLE_MAGNITUDE))
        return decompose(k, strength, d, w);
    add_scaled(w, d, (float)(strength * k->p->scale), k->n);
    return CN_OK;
}

static int check_finite(const struct work *k, const float *w, size_t n)
{
    return cn_all_finite(w, CN_F32, n)
               ? CN_OK
               : cn_fail(k->err, CN_EFORMAT, "\"%s\" in \"%s\" makes weights that are not numbers",
                         k->p->key, k->p->tensor[__builtin_ctz(k->p->roles)].file);
}

int cn_adapter_apply(const struct cn_adapter_part *p, const struct cn_layer *l, double strength,
                     float *w, struct cn_err *err)
{
    struct work k = {.p = p, .l = l, .n = (size_t)(l->out * l->in * l->taps), .err = err};
    int rc;

    if (p->form == CN_ADAPTER_IA3)
        rc = ia3(&k, strength, w);
    else if (p->form == CN_ADAPTER_OFT || p->form == CN_ADAPTER_BOFT)
        rc = oft(&k, strength, w);
    else
        rc = add_difference(&k, strength, w);
    if (rc == CN_OK && has(p, CN_ROLE_RESCALE))
        rc = rescale(&k, w);
    if (rc == CN_OK)
        rc = check_finite(&k, w, k.n);
    free_work(&k);
    return rc;
}

int cn_adapter_apply_bias(const struct cn_adapter_part *p, const struct cn_layer *l,
                          double strength, float *bias, struct cn_err *err)
{
    struct work k = {.p = p, .l = l, .n = (size_t)l->out, .err = err};
    float *d;
    int rc = get_tensor(&k, CN_ROLE_DIFF_BIAS, &d);

    if (rc == CN_OK) {
        add_scaled(bias, d, (float)strength, k.n);
        rc = check_finite(&k, bias, k.n);
    }
    free_work(&k);
    return rc;
}

/* ---- factors ---- */

/* [rank, in, taps]: with a core, of this and the right factor; of fewer inputs than the layer has,
 * zeros for the others. */
static int down_factor(struct work *k, int64_t rank, float **ret)
{
    int64_t narrow = cn_adapter_inputs(k->p, k->l), taps = k->l->taps;
    float *down, *core;
    int rc = get_tensor(k, CN_ROLE_DOWN, &down);

    if (rc == CN_OK && has(k->p, CN_ROLE_MID)) {
        rc = get_tensor(k, CN_ROLE_MID, &core);
        return rc < 0 ? rc
                      : core_right(k, core, down, rank, dim(k, CN_ROLE_DOWN, 0), k->l->in, ret);
    }
    *ret = down;
    if (rc < 0 || narrow == k->l->in)
        return rc;
    rc = get_floats(k, (size_t)(rank * k->l->in * taps), ret);
    for (int64_t r = 0; r < rank && rc == CN_OK; r++)
        memcpy(*ret + r * k->l->in * taps, down + r * narrow * taps,
               (size_t)(narrow * taps) * sizeof(*down));
    return rc;
}

/* It outlives the work. */
static float *kept(struct work *k, float *x)
{
    for (int i = 0; i < k->n_owned; i++)
        if (k->owned[i] == x)
            k->owned[i] = NULL;
    return x;
}

int cn_adapter_factors(const struct cn_adapter_part *p, const struct cn_layer *l, float **ret_down,
                       float **ret_up, struct cn_err *err)
{
    struct work k = {.p = p, .l = l, .err = err};
    int64_t rank = cn_adapter_low_rank(p);
    size_t n = (size_t)(l->out * rank);
    float *down, *up;
    int rc = down_factor(&k, rank, &down);

    CN_ASSERT(rank > 0);
    if (rc == CN_OK)
        rc = get_tensor(&k, CN_ROLE_UP, &up);
    for (size_t i = 0; i < n && rc == CN_OK; i++)
        up[i] *= (float)p->scale;
    if (rc == CN_OK)
        rc = check_finite(&k, up, n);
    if (rc == CN_OK && has(p, CN_ROLE_MID))
        rc = check_finite(&k, down, (size_t)(rank * l->in * l->taps));
    if (rc == CN_OK) {
        *ret_down = kept(&k, down);
        *ret_up = kept(&k, up);
    }
    free_work(&k);
    return rc;
}
