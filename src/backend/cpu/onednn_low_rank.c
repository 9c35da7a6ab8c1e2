/* What adapters add to linear layers and convolutions when a plan runs: two small products of the
 * layer's own input, the second of which adds to the result in its place.
 *
 * Linear layers: tokens in tiles, each through both products while it is in a cache. A product
 * takes any rank as it is. Convolutions: `down` is a convolution like the layer's own, `up` one of
 * 1x1, both primitives of the library. These are made for a number of rows and a rank, the first
 * time that they occur, and stay with the plan; ranks go in steps (8, 16, 32, 64, 128), with rows
 * of zeros in between, so that there are few. Where the library has no good kernel for the layout
 * that the maps have, they are reordered before and after, as for the layer itself. What is made
 * of factors for them is kept with the factors, instead of their plain form. */
#include "base/base.h"
#include "backend/cpu/cpu_factors.h"
#include "backend/cpu/onednn_priv.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* ---- linear layers ---- */

/* Tokens of a tile; fewer where there are few, for the sake of threads. The size of a run decides,
 * not the number of threads, so that results do not depend on that. */
enum { TILE = 128, SMALL_TILE = 64, FEW = 1024 };

/* x [m, in] -> y [m, out]; false: a product had no memory for what it packs. */
static bool add_tile(const struct cpu_addition *a, const float *x, float *y, int64_t m)
{
    const struct cpu_factor *f = a->factor;
    float t[TILE * CN_MAX_FACTOR_RANK];

    return dnnl_sgemm('N', 'T', m, f->rank, f->in, 1.0f, x, f->in, f->down, f->in, 0.0f, t,
                      f->rank) == dnnl_success &&
           dnnl_sgemm('N', 'T', m, f->out, f->rank, a->strength, t, f->rank, f->up, f->rank, 1.0f,
                      y, f->out) == dnnl_success;
}

static int add_linear(struct onednn_plan *p, const struct onednn_step *s,
                      const struct cpu_addition *a)
{
    const struct cn_shape *in = &p->g->value[s->node.in[0]].shape;
    int64_t tokens = cn_shape_elements(in) / in->dim[0] / a->factor->in, m = a->rows * tokens;
    const float *x = onednn_address(p, s->node.in[0]) + a->row * tokens * a->factor->in;
    float *y = onednn_address(p, s->out) + a->row * tokens * a->factor->out;
    int64_t tile = m < FEW ? SMALL_TILE : TILE;
    int failed = 0;

#pragma omp parallel for schedule(dynamic) reduction(+ : failed)
    for (int64_t i = 0; i < m; i += tile)
        failed += !add_tile(a, x + i * a->factor->in, y + i * a->factor->out,
                            CN_MIN(tile, m - i));
    return failed > 0 ? CN_EDEVMEM : CN_OK;
}

/* ---- convolutions ---- */

/* The two primitives of a convolution for so many rows and such a rank. */
struct onednn_low_rank {
    int rows;
    int64_t rank; /* a step's */
    dnnl_primitive_t down, up, before, after; /* before, after: reorders, or NULL */
    dnnl_memory_desc_t down_md, up_md;        /* of weights */
    dnnl_memory_t src, dst, t, down_scratch, up_scratch;
    dnnl_memory_t src_tmp, dst_tmp; /* in the kernels' layouts; NULL without a reorder */
    size_t t_bytes, src_bytes, dst_bytes, scratch_bytes;
    struct onednn_low_rank *next;
};

/* Factors as the primitives want them. */
struct packed {
    dnnl_memory_t down, up;
    size_t bytes;
};

void onednn_packed_factor_free(void *packed)
{
    struct packed *k = packed;

    if (k->down != NULL)
        dnnl_memory_destroy(k->down);
    if (k->up != NULL)
        dnnl_memory_destroy(k->up);
    free(k);
}

void onednn_low_rank_free(struct onednn_low_rank *l)
{
    while (l != NULL) {
        struct onednn_low_rank *next = l->next;
        dnnl_memory_t mem[] = {l->src,        l->dst,     l->t,      l->down_scratch,
                               l->up_scratch, l->src_tmp, l->dst_tmp};
        dnnl_primitive_t prim[] = {l->down, l->up, l->before, l->after};

        for (size_t i = 0; i < CN_LEN(prim); i++)
            if (prim[i] != NULL)
                dnnl_primitive_destroy(prim[i]);
        for (size_t i = 0; i < CN_LEN(mem); i++)
            if (mem[i] != NULL)
                dnnl_memory_destroy(mem[i]);
        free(l);
        l = next;
    }
}

static int64_t rank_step(int64_t rank)
{
    int64_t step = 8;

    while (step < rank)
        step *= 2;
    return step;
}

/* One of the two: from x to y through weights of any layout. */
static dnnl_status_t conv_pd(struct onednn_plan *p, const struct cn_conv *c,
                             const dnnl_memory_desc_t *x, const dnnl_memory_desc_t *y, int64_t out,
                             int64_t in, bool sum, dnnl_primitive_desc_t *ret)
{
    dnnl_dims_t stride = {c->stride, c->stride_w}, dilate = {0, 0};
    dnnl_dims_t before = {c->pad[0], c->pad[1]}, after = {c->pad[2], c->pad[3]};
    dnnl_dims_t dims = {out, in, c->k, c->k_w};
    dnnl_convolution_desc_t cd;
    dnnl_memory_desc_t w;
    dnnl_primitive_attr_t attr;
    dnnl_status_t st;

    dnnl_memory_desc_init_by_tag(&w, 4, dims, dnnl_f32, dnnl_format_tag_any);
    st = dnnl_dilated_convolution_forward_desc_init(&cd, dnnl_forward_inference,
                                                    dnnl_convolution_direct, x, &w, NULL, y,
                                                    stride, dilate, before, after);
    if (st != dnnl_success)
        return st;
    attr = onednn_sum_attributes(sum);
    st = dnnl_primitive_desc_create(ret, &cd, attr, p->backend->engine, NULL);
    dnnl_primitive_attr_destroy(attr);
    return st;
}

static size_t scratch_of(dnnl_primitive_desc_t pd)
{
    return dnnl_memory_desc_get_size(dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0));
}

static int make_memories(struct onednn_plan *p, struct onednn_low_rank *l,
                         const dnnl_memory_desc_t *x, const dnnl_memory_desc_t *y,
                         dnnl_primitive_desc_t down, dnnl_primitive_desc_t up, struct cn_err *err)
{
    const dnnl_memory_desc_t *t = dnnl_primitive_desc_query_md(down, dnnl_query_dst_md, 0);
    struct onednn_backend *b = p->backend;
    int rc;

    l->t_bytes = onednn_align(dnnl_memory_desc_get_size(t));
    l->scratch_bytes = CN_MAX(scratch_of(down), scratch_of(up));
    if ((rc = onednn_memory(b, x, &l->src, err)) < 0 ||
        (rc = onednn_memory(b, y, &l->dst, err)) < 0 || (rc = onednn_memory(b, t, &l->t, err)) < 0)
        return rc;
    rc = onednn_memory(b, dnnl_primitive_desc_query_md(down, dnnl_query_scratchpad_md, 0),
                       &l->down_scratch, err);
    return rc < 0 ? rc
                  : onednn_memory(b, dnnl_primitive_desc_query_md(up, dnnl_query_scratchpad_md, 0),
                                  &l->up_scratch, err);
}

/* From the maps' layouts to the kernels', and back, where they differ. */
static int make_reorders(struct onednn_plan *p, struct onednn_low_rank *l,
                         const dnnl_memory_desc_t *x, const dnnl_memory_desc_t *y,
                         dnnl_primitive_desc_t down, dnnl_primitive_desc_t up, struct cn_err *err)
{
    const dnnl_memory_desc_t *from = dnnl_primitive_desc_query_md(down, dnnl_query_src_md, 0);
    const dnnl_memory_desc_t *to = dnnl_primitive_desc_query_md(up, dnnl_query_dst_md, 0);
    int rc = CN_OK;

    if (!dnnl_memory_desc_equal(from, x)) {
        l->src_bytes = onednn_align(dnnl_memory_desc_get_size(from));
        rc = onednn_memory(p->backend, from, &l->src_tmp, err);
        if (rc == CN_OK)
            rc = onednn_make_reorder(p->backend, x, from, false, &l->before, err);
    }
    if (rc == CN_OK && !dnnl_memory_desc_equal(to, y)) {
        l->dst_bytes = onednn_align(dnnl_memory_desc_get_size(to));
        rc = onednn_memory(p->backend, to, &l->dst_tmp, err);
        if (rc == CN_OK)
            rc = onednn_make_reorder(p->backend, to, y, true, &l->after, err);
    }
    return rc;
}

/* Primitives and memories of both descriptions. */
static int make_both(struct onednn_plan *p, struct onednn_low_rank *l, const dnnl_memory_desc_t *x,
                     const dnnl_memory_desc_t *y, dnnl_primitive_desc_t down,
                     dnnl_primitive_desc_t up, struct cn_err *err)
{
    int rc = make_memories(p, l, x, y, down, up, err);

    l->down_md = *dnnl_primitive_desc_query_md(down, dnnl_query_weights_md, 0);
    l->up_md = *dnnl_primitive_desc_query_md(up, dnnl_query_weights_md, 0);
    if (rc == CN_OK)
        rc = make_reorders(p, l, x, y, down, up, err);
    if (rc == CN_OK)
        rc = onednn_check(dnnl_primitive_create(&l->down, down), "prepare an adapter", err);
    if (rc == CN_OK)
        rc = onednn_check(dnnl_primitive_create(&l->up, up), "prepare an adapter", err);
    return rc;
}

/* With the layouts that the maps have where the library has a good kernel for them: `free` is the
 * one that it may choose otherwise. */
static int choose_pd(struct onednn_plan *p, const struct cn_conv *c, const dnnl_memory_desc_t *x,
                     const dnnl_memory_desc_t *y, int64_t out, int64_t in, bool down,
                     const struct cn_shape *free_shape, dnnl_primitive_desc_t *ret,
                     struct cn_err *err)
{
    dnnl_memory_desc_t any;

    if (conv_pd(p, c, x, y, out, in, !down, ret) == dnnl_success) {
        if (!onednn_implemented_by(*ret, "ref"))
            return CN_OK;
        dnnl_primitive_desc_destroy(*ret);
    }
    *ret = NULL;
    onednn_describe(&any, free_shape, 0);
    return onednn_check(conv_pd(p, c, down ? &any : x, down ? y : &any, out, in, false, ret),
                        "find a kernel for an adapter", err);
}

static int make_low_rank(struct onednn_plan *p, const struct onednn_step *s,
                         struct onednn_low_rank *l, struct cn_err *err)
{
    const struct cn_conv one = {.k = 1, .k_w = 1, .stride = 1, .stride_w = 1};
    struct cn_shape in = p->g->value[s->node.in[0]].shape, out = p->g->value[s->out].shape;
    struct cn_shape mid = cn_shape4(l->rows, l->rank, out.dim[2], out.dim[3]);
    dnnl_primitive_desc_t down = NULL, up = NULL;
    dnnl_memory_desc_t x, y, t;
    int rc;

    in.dim[0] = out.dim[0] = l->rows;
    onednn_describe(&x, &in, p->place[s->node.in[0]].block);
    onednn_describe(&y, &out, p->place[s->out].block);
    onednn_describe(&t, &mid, 0);
    rc = choose_pd(p, &s->node.attr.conv, &x, &t, l->rank, in.dim[1], true, &in, &down, err);
    if (rc == CN_OK)
        rc = choose_pd(p, &one, dnnl_primitive_desc_query_md(down, dnnl_query_dst_md, 0), &y,
                       out.dim[1], l->rank, false, &out, &up, err);
    if (rc == CN_OK)
        rc = make_both(p, l, &x, &y, down, up, err);
    if (down != NULL)
        dnnl_primitive_desc_destroy(down);
    if (up != NULL)
        dnnl_primitive_desc_destroy(up);
    return rc;
}

/* Found, or made. */
static int find_low_rank(struct onednn_plan *p, struct onednn_step *s,
                         const struct cpu_addition *a, struct onednn_low_rank **ret,
                         struct cn_err *err)
{
    struct onednn_low_rank *l = s->low_rank;
    int64_t rank = rank_step(a->factor->rank);
    int rc;

    while (l != NULL && (l->rows != a->rows || l->rank != rank))
        l = l->next;
    if (l == NULL) {
        l = cn_xcalloc(1, sizeof(*l));
        l->rows = a->rows;
        l->rank = rank;
        if ((rc = make_low_rank(p, s, l, err)) < 0) {
            onednn_low_rank_free(l);
            return rc;
        }
        l->next = s->low_rank;
        s->low_rank = l;
    }
    *ret = l;
    return CN_OK;
}

/* A new memory of layout to with what `data`, of layout from, holds. */
static int repack(struct onednn_plan *p, const dnnl_memory_desc_t *from, void *data,
                  const dnnl_memory_desc_t *to, dnnl_memory_t *ret, struct cn_err *err)
{
    struct onednn_backend *b = p->backend;
    dnnl_memory_t src = NULL, dst = NULL;
    int rc = onednn_check(dnnl_memory_create(&src, from, b->engine, data), "pack an adapter", err);

    if (rc == CN_OK)
        rc = onednn_check(dnnl_memory_create(&dst, to, b->engine, DNNL_MEMORY_ALLOCATE),
                          "pack an adapter", err);
    if (rc == CN_OK)
        rc = onednn_reorder(p, src, dst, err);
    if (src != NULL)
        dnnl_memory_destroy(src);
    if (rc < 0 && dst != NULL)
        dnnl_memory_destroy(dst);
    if (rc == CN_OK)
        *ret = dst;
    return rc;
}

/* Whatever layout the memory has now. NULL: there is none yet. */
static int repack_memory(struct onednn_plan *p, const dnnl_memory_desc_t *to, dnnl_memory_t *m,
                         struct cn_err *err)
{
    const dnnl_memory_desc_t *now;
    dnnl_memory_t other;
    void *data;
    int rc;

    dnnl_memory_get_memory_desc(*m, &now);
    if (dnnl_memory_desc_equal(now, to))
        return CN_OK;
    dnnl_memory_get_data_handle(*m, &data);
    rc = repack(p, now, data, to, &other, err);
    if (rc == CN_OK) {
        dnnl_memory_destroy(*m);
        *m = other;
    }
    return rc;
}

/* The plain factors with the ranks up to `rank` as zeros: down [rank, in, k, k], up [out, rank]. */
static float *widened(const struct cpu_factor *f, int64_t rank, bool down)
{
    int64_t row = f->in * f->k * f->k;
    size_t n = (size_t)(down ? rank * row : f->out * rank);
    float *w = cn_try_alloc(n * sizeof(*w));

    if (w == NULL)
        return NULL;
    memset(w, 0, n * sizeof(*w));
    if (down)
        memcpy(w, f->down, (size_t)(f->rank * row) * sizeof(*w));
    for (int64_t i = 0; i < f->out && !down; i++)
        memcpy(w + i * rank, f->up + i * f->rank, (size_t)f->rank * sizeof(*w));
    return w;
}

static int pack_one(struct onednn_plan *p, const struct cpu_factor *f, int64_t rank, bool down,
                    const dnnl_memory_desc_t *to, dnnl_memory_t *ret, struct cn_err *err)
{
    dnnl_dims_t dims = {down ? rank : f->out, down ? f->in : rank, down ? f->k : 1,
                        down ? f->k : 1};
    dnnl_memory_desc_t plain;
    float *w = widened(f, rank, down);
    int rc;

    if (w == NULL)
        return cn_fail(err, CN_EDEVMEM, "no memory for an adapter");
    dnnl_memory_desc_init_by_tag(&plain, 4, dims, dnnl_f32, dnnl_oihw);
    rc = repack(p, &plain, w, to, ret, err);
    free(w);
    return rc;
}

static int pack_factor(struct onednn_plan *p, const struct cpu_addition *a,
                       const struct onednn_low_rank *l, struct packed **ret, struct cn_err *err)
{
    struct cpu_factor *f = a->factor;
    struct packed *k = f->packed;
    int rc = CN_OK;

    if (k == NULL) {
        k = cn_xcalloc(1, sizeof(*k));
        rc = pack_one(p, f, l->rank, true, &l->down_md, &k->down, err);
        if (rc == CN_OK)
            rc = pack_one(p, f, l->rank, false, &l->up_md, &k->up, err);
        if (rc < 0) {
            onednn_packed_factor_free(k);
            return rc;
        }
        k->bytes = dnnl_memory_desc_get_size(&l->down_md) + dnnl_memory_desc_get_size(&l->up_md);
        a->of->bytes += k->bytes - cpu_factor_bytes(f);
        f->packed = k;
        free(f->down);
        free(f->up);
        f->down = f->up = NULL;
    }
    rc = repack_memory(p, &l->down_md, &k->down, err);
    if (rc == CN_OK)
        rc = repack_memory(p, &l->up_md, &k->up, err);
    *ret = k;
    return rc;
}

static int execute(struct onednn_plan *p, dnnl_primitive_t conv, dnnl_memory_t src,
                   dnnl_memory_t weights, dnnl_memory_t dst, dnnl_memory_t scratch)
{
    const dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, src},
                                    {DNNL_ARG_WEIGHTS, weights},
                                    {DNNL_ARG_DST, dst},
                                    {DNNL_ARG_SCRATCHPAD, scratch}};

    return onednn_code(dnnl_primitive_execute(conv, p->stream, CN_LEN(args), args));
}

/* Memory between the two, which grows with what runs. */
static float *reserve(struct onednn_backend *b, size_t bytes)
{
    if (b->between_bytes < bytes) {
        free(b->between);
        b->between = cn_try_alloc(bytes);
        b->between_bytes = b->between != NULL ? bytes : 0;
    }
    return b->between;
}

/* Gives every memory its place in `at`, and in the maps. */
static void place_memories(const struct onednn_plan *p, const struct onednn_step *s,
                           const struct cpu_addition *a, const struct onednn_low_rank *l,
                           unsigned char *at)
{
    const struct cn_shape *in = &p->g->value[s->node.in[0]].shape;
    const struct cn_shape *out = &p->g->value[s->out].shape;

    dnnl_memory_set_data_handle(l->src, onednn_address(p, s->node.in[0]) +
                                            a->row * (cn_shape_elements(in) / in->dim[0]));
    dnnl_memory_set_data_handle(l->dst, onednn_address(p, s->out) +
                                            a->row * (cn_shape_elements(out) / out->dim[0]));
    dnnl_memory_set_data_handle(l->t, at);
    at += l->t_bytes;
    if (l->src_tmp != NULL)
        dnnl_memory_set_data_handle(l->src_tmp, at);
    at += l->src_bytes;
    if (l->dst_tmp != NULL)
        dnnl_memory_set_data_handle(l->dst_tmp, at);
    at += l->dst_bytes;
    dnnl_memory_set_data_handle(l->down_scratch, at);
    dnnl_memory_set_data_handle(l->up_scratch, at);
}

static int add_conv(struct onednn_plan *p, struct onednn_step *s, const struct cpu_addition *a,
                    struct cn_err *err)
{
    struct onednn_low_rank *l = NULL;
    struct packed *k = NULL;
    float *t;
    int rc = find_low_rank(p, s, a, &l, err);

    if (rc < 0 || (rc = pack_factor(p, a, l, &k, err)) < 0)
        return rc;
    t = reserve(p->backend, l->t_bytes + l->src_bytes + l->dst_bytes + l->scratch_bytes);
    if (t == NULL)
        return cn_fail(err, CN_EDEVMEM, "no memory for an adapter");
    place_memories(p, s, a, l, (unsigned char *)t);
    if (l->before != NULL)
        rc = onednn_execute_reorder(p, l->before, l->src, l->src_tmp);
    if (rc == CN_OK)
        rc = execute(p, l->down, l->before != NULL ? l->src_tmp : l->src, k->down, l->t,
                     l->down_scratch);
    if (rc == CN_OK && a->strength != 1)
        cn_cpu_scale(t, t, (int64_t)(l->t_bytes / sizeof(float)), a->strength);
    if (rc == CN_OK)
        rc = execute(p, l->up, l->t, k->up, l->after != NULL ? l->dst_tmp : l->dst, l->up_scratch);
    if (rc == CN_OK && l->after != NULL)
        rc = onednn_execute_reorder(p, l->after, l->dst_tmp, l->dst);
    dnnl_stream_wait(p->stream);
    return rc;
}

int onednn_adapt(struct onednn_plan *p, struct onednn_step *s, struct cn_err *err)
{
    int rc = CN_OK;

    for (int k = 0; k < p->base.n_adapters && rc == CN_OK; k++) {
        struct cpu_addition a = cpu_addition(&p->base, p->g, s->out, k);

        if (a.factor == NULL)
            continue;
        rc = s->op == CN_OP_LINEAR ? add_linear(p, s, &a) : add_conv(p, s, &a, err);
    }
    if (rc == CN_OK && s->bare != NULL) {
        float *y = onednn_address(p, s->out);

        cn_cpu_act(y, y, cn_shape_elements(&p->g->value[s->out].shape), &s->node.attr);
    }
    return rc;
}
