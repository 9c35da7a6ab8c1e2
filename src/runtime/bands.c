/* A network in bands of rows: one kept value after the other. bands_graph.c makes the graph of a
 * band, kept_rows.c holds what is kept. */
#include "base/base.h"
#include "runtime/bands_priv.h"
#include "runtime/kept_rows.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* What a band's plan reads: rows of a kept value, as they are or after a norm. */
struct source {
    int node, kept;
    float *scale, *shift; /* [c]; NULL: as they are */
    float *rows;          /* of the tallest band */
};

/* Bands whose graphs are the same share a plan. */
struct plan {
    char *text; /* its graph */
    struct cn_plan *plan;
    struct cn_buffer **in, *out;
};

struct cn_bands {
    struct cn_network *net;
    struct cn_bands_opts opts;
    struct cn_graph *g;
    bool *kept;                /* [g->count] */
    int *last;                 /* [g->count]: the last kept value that needs this one; 0: none */
    struct cn_kept_rows *rows; /* [g->count] */
    size_t peak;
    int next; /* where the search for the next layer begins */
    /* The layer that is computed now. */
    struct band_layer layer;
    bool *part;
    struct source *source;
    int n_sources;
    struct plan *plan;
    size_t n_plans, plans_cap;
    struct band {
        struct band_range *range; /* [g->count] */
        size_t plan;
    } * band;
    int64_t n_bands, height; /* of a band */
    float *made;             /* rows of the result of one band */
};

static int normed(const struct cn_bands *b, int i)
{
    return b->g->node[i].op == CN_OP_GROUP_NORM ? b->g->node[i].in[0] : i;
}

/* ---- which values are kept, and until when ---- */

static void find_kept(struct cn_bands *b)
{
    const struct cn_graph *g = b->g;

    b->kept[g->input[0].val] = b->kept[g->output[0].val] = true;
    for (int i = 0; i < g->count; i++)
        if (g->node[i].op == CN_OP_GROUP_NORM)
            b->kept[g->node[i].in[0]] = true;
    for (int i = 0; i < g->count; i++) {
        struct band_layer l;

        if (!b->kept[i] || g->node[i].op == CN_OP_INPUT)
            continue;
        band_layer_find(&l, g, i, b->kept, b->part);
        for (int k = 0; k < i; k++)
            if (band_layer_begins(&l, k))
                b->last[normed(b, k)] = i;
    }
}

static void init_rows(struct cn_bands *b)
{
    for (int i = 0; i < b->g->count; i++) {
        const struct cn_shape *s = &b->g->value[i].shape;
        bool end = i == b->g->input[0].val || i == b->g->output[0].val;

        if (b->kept[i])
            cn_kept_rows_init(&b->rows[i], (int)s->dim[1], s->dim[2], s->dim[3],
                              end ? CN_F32 : b->opts.store);
    }
}

int cn_bands_new(struct cn_network *net, cn_build_fn build, const void *arg,
                 const struct cn_bands_opts *opts, struct cn_bands **ret, struct cn_err *err)
{
    struct cn_bands *b = cn_xcalloc(1, sizeof(*b));
    size_t n;

    (void)err;
    b->net = net;
    b->opts = *opts;
    b->g = build(arg);
    CN_ASSERT(b->g->n_inputs == 1 && b->g->n_outputs == 1);
    n = (size_t)b->g->count;
    b->kept = cn_xcalloc(n, sizeof(*b->kept));
    b->part = cn_xcalloc(n, sizeof(*b->part));
    b->last = cn_xcalloc(n, sizeof(*b->last));
    b->rows = cn_xcalloc(n, sizeof(*b->rows));
    find_kept(b);
    init_rows(b);
    *ret = b;
    return CN_OK;
}

/* ---- the layer ---- */

static void clear_layer(struct cn_bands *b)
{
    for (int i = 0; i < b->n_sources; i++) {
        free(b->source[i].scale);
        free(b->source[i].shift);
        free(b->source[i].rows);
    }
    for (size_t i = 0; i < b->n_plans; i++) {
        struct plan *p = &b->plan[i];

        cn_plan_free(p->plan);
        for (int k = 0; k < b->n_sources && p->in != NULL; k++)
            cn_buffer_free(p->in[k]);
        cn_buffer_free(p->out);
        free(p->in);
        free(p->text);
    }
    for (int64_t i = 0; i < b->n_bands; i++)
        free(b->band[i].range);
    free(b->source);
    free(b->plan);
    free(b->band);
    free(b->made);
    b->source = NULL;
    b->plan = NULL;
    b->band = NULL;
    b->made = NULL;
    b->n_plans = b->plans_cap = 0;
    b->n_sources = 0;
    b->n_bands = 0;
}

void cn_bands_free(struct cn_bands *b)
{
    if (b == NULL)
        return;
    clear_layer(b);
    for (int i = 0; i < b->g->count; i++)
        cn_kept_rows_release(&b->rows[i]);
    cn_graph_free(b->g);
    free(b->kept);
    free(b->part);
    free(b->last);
    free(b->rows);
    free(b);
}

static int read_param(const struct cn_bands *b, int v, float **ret, struct cn_err *err)
{
    const struct cn_param_source *s = &b->net->params.param;
    struct cn_param_data d = {0};
    int rc;

    *ret = NULL;
    if (v < 0)
        return CN_OK;
    rc = s->get(s->ctx, b->g->value[v].name, &d, err);
    if (rc < 0)
        return rc;
    if (cn_shape_elements(&d.shape) != cn_shape_elements(&b->g->value[v].shape)) {
        rc = cn_fail(err, CN_EFORMAT, "tensor \"%s\" has the wrong shape", b->g->value[v].name);
    } else {
        *ret = cn_xcalloc((size_t)cn_shape_elements(&d.shape), sizeof(**ret));
        cn_to_f32(*ret, d.data, d.dtype, (size_t)cn_shape_elements(&d.shape));
    }
    if (s->done != NULL)
        s->done(s->ctx, b->g->value[v].name, &d);
    return rc;
}

/* The norm of a source that stands behind one. */
static int find_norm(const struct cn_bands *b, struct source *s, struct cn_err *err)
{
    const struct cn_node *n = &b->g->node[s->node];
    const struct cn_kept_rows *rows = &b->rows[s->kept];
    float *gamma = NULL, *beta = NULL;
    int rc;

    if (n->op != CN_OP_GROUP_NORM)
        return CN_OK;
    rc = read_param(b, n->in[1], &gamma, err);
    if (rc == CN_OK)
        rc = read_param(b, n->in[2], &beta, err);
    if (rc == CN_OK) {
        s->scale = cn_xcalloc((size_t)rows->c, sizeof(float));
        s->shift = cn_xcalloc((size_t)rows->c, sizeof(float));
        cn_kept_rows_norm(rows, n->attr.groups, n->attr.eps, gamma, beta, s->scale, s->shift);
    }
    free(gamma);
    free(beta);
    return rc;
}

static int find_sources(struct cn_bands *b, struct cn_err *err)
{
    int rc = CN_OK;

    b->source = cn_xcalloc((size_t)b->layer.out + 1, sizeof(*b->source));
    for (int i = 0; i < b->layer.out && rc == CN_OK; i++)
        if (band_layer_begins(&b->layer, i)) {
            struct source *s = &b->source[b->n_sources++];

            *s = (struct source){.node = i, .kept = normed(b, i)};
            rc = find_norm(b, s, err);
        }
    return rc;
}

static int64_t choose_height(const struct cn_bands *b)
{
    int64_t h = b->rows[b->layer.out].h, rows;

    if (b->layer.whole)
        return h;
    rows = (int64_t)(b->opts.band_bytes / CN_MAX(band_layer_row_bytes(&b->layer), 1));
    rows = CN_MAX(rows / CN_ROWS_CHUNK, 1) * CN_ROWS_CHUNK;
    return CN_MIN(rows, h);
}

static int new_buffers(struct cn_bands *b, const struct cn_graph *g, struct plan *p,
                       struct cn_err *err)
{
    int rc = CN_OK;

    p->in = cn_xcalloc((size_t)g->n_inputs + 1, sizeof(struct cn_buffer *));
    for (int i = 0; i < g->n_inputs && rc == CN_OK; i++)
        rc = cn_buffer_new(b->net->backend, &g->value[g->input[i].val], b->net->dtype, 0,
                           &p->in[i], err);
    return rc < 0 ? rc
                  : cn_buffer_new(b->net->backend, &g->value[g->output[0].val], b->net->dtype, 0,
                                  &p->out, err);
}

/* The plan of a graph, which is taken. */
static int find_plan(struct cn_bands *b, struct cn_graph *g, size_t *ret, struct cn_err *err)
{
    char *text = cn_graph_dump(g);
    struct plan *p;
    int rc;

    for (size_t i = 0; i < b->n_plans; i++)
        if (strcmp(b->plan[i].text, text) == 0) {
            free(text);
            cn_graph_free(g);
            *ret = i;
            return CN_OK;
        }
    b->plan = cn_grow(b->plan, b->n_plans, &b->plans_cap, sizeof(*b->plan));
    *ret = b->n_plans;
    p = &b->plan[b->n_plans++];
    *p = (struct plan){.text = text};
    rc = cn_plan_compile(b->net->backend, g, b->net->weights, b->net->dtype, b->opts.flags,
                         &p->plan, err);
    if (rc == CN_OK)
        rc = new_buffers(b, g, p, err);
    cn_graph_free(g);
    return rc;
}

/* Room for the rows of the tallest band. */
static int new_arrays(struct cn_bands *b, struct cn_err *err)
{
    const struct cn_kept_rows *out = &b->rows[b->layer.out];

    for (int k = 0; k < b->n_sources; k++) {
        struct source *s = &b->source[k];
        const struct cn_kept_rows *r = &b->rows[s->kept];
        int64_t most = 0;

        for (int64_t i = 0; i < b->n_bands; i++)
            most = CN_MAX(most, b->band[i].range[s->node].hi - b->band[i].range[s->node].lo);
        s->rows = cn_try_alloc((size_t)(most * r->c * r->w) * sizeof(float));
        if (s->rows == NULL)
            return cn_fail(err, CN_ENOMEM, "no memory for a band of a layer");
    }
    b->made = cn_try_alloc((size_t)(b->height * out->c * out->w) * sizeof(float));
    return b->made != NULL ? CN_OK : cn_fail(err, CN_ENOMEM, "no memory for a band of a layer");
}

static int plan_bands(struct cn_bands *b, struct cn_err *err)
{
    int64_t h = b->rows[b->layer.out].h;

    b->height = choose_height(b);
    b->n_bands = (h + b->height - 1) / b->height;
    b->band = cn_xcalloc((size_t)b->n_bands, sizeof(*b->band));
    for (int64_t i = 0; i < b->n_bands; i++) {
        struct band *n = &b->band[i];
        int rc;

        n->range = cn_xcalloc((size_t)b->g->count, sizeof(*n->range));
        band_layer_ranges(&b->layer, i * b->height, CN_MIN((i + 1) * b->height, h), n->range);
        rc = find_plan(b, band_layer_graph(&b->layer, n->range), &n->plan, err);
        if (rc < 0)
            return rc;
    }
    return new_arrays(b, err);
}

int cn_bands_next(struct cn_bands *b, struct cn_err *err)
{
    int out = b->next, rc;

    clear_layer(b);
    while (out < b->g->count && (!b->kept[out] || b->g->node[out].op == CN_OP_INPUT))
        out++;
    b->next = out + 1;
    if (out >= b->g->count)
        return 0;
    band_layer_find(&b->layer, b->g, out, b->kept, b->part);
    if ((rc = find_sources(b, err)) < 0 || (rc = plan_bands(b, err)) < 0)
        return rc;
    return 1;
}

/* ---- running ---- */

static int run_band(struct cn_bands *b, const struct band *n, struct cn_err *err)
{
    struct plan *p = &b->plan[n->plan];
    int rc;

    for (int k = 0; k < b->n_sources; k++) {
        const struct source *s = &b->source[k];
        struct band_range r = n->range[s->node];

        cn_kept_rows_get(&b->rows[s->kept], r.lo, r.hi - r.lo, s->scale, s->shift, s->rows);
        cn_buffer_write(p->in[k], s->rows);
    }
    rc = cn_plan_run(p->plan, p->in, &p->out, err);
    if (rc < 0)
        return rc;
    cn_buffer_read(p->out, b->made);
    return cn_backend_check(b->net->backend, err);
}

/* Rows that neither the bands from i on nor later layers need. */
static void drop_rows(struct cn_bands *b, int64_t i)
{
    for (int k = 0; k < b->n_sources; k++) {
        struct cn_kept_rows *r = &b->rows[b->source[k].kept];
        int64_t below = r->h;

        if (b->last[b->source[k].kept] != b->layer.out)
            continue;
        for (int m = 0; m < b->n_sources && i < b->n_bands; m++)
            if (b->source[m].kept == b->source[k].kept)
                below = CN_MIN(below, b->band[i].range[b->source[m].node].lo);
        cn_kept_rows_drop(r, below);
    }
}

static void note_peak(struct cn_bands *b)
{
    size_t sum = 0;

    for (int i = 0; i < b->g->count; i++)
        sum += b->rows[i].bytes;
    b->peak = CN_MAX(b->peak, sum);
}

int cn_bands_run(struct cn_bands *b, struct cn_err *err)
{
    struct cn_kept_rows *out = &b->rows[b->layer.out];
    int rc = CN_OK;

    for (int64_t i = 0; i < b->n_bands && rc == CN_OK; i++) {
        struct band_range r = b->band[i].range[b->layer.out];

        if (b->opts.cancelled != NULL && b->opts.cancelled(b->opts.ctx))
            return cn_fail(err, CN_ECANCELED, "cancelled inside of the autoencoder");
        rc = run_band(b, &b->band[i], err);
        if (rc == CN_OK)
            rc = cn_kept_rows_put(out, r.lo, r.hi - r.lo, b->made, err);
        note_peak(b);
        drop_rows(b, i + 1);
    }
    return rc;
}

bool cn_bands_not_finite(const struct cn_bands *b)
{
    for (int i = 0; i < b->g->count; i++)
        if (b->rows[i].not_finite)
            return true;
    return false;
}

int cn_bands_write(struct cn_bands *b, const float *input, struct cn_err *err)
{
    struct cn_kept_rows *r = &b->rows[b->g->input[0].val];

    return cn_kept_rows_put(r, 0, r->h, input, err);
}

void cn_bands_read(const struct cn_bands *b, float *output)
{
    const struct cn_kept_rows *r = &b->rows[b->g->output[0].val];

    cn_kept_rows_get(r, 0, r->h, NULL, NULL, output);
}

size_t cn_bands_peak_bytes(const struct cn_bands *b)
{
    return b->peak;
}

bool cn_bands_at_end(const struct cn_bands *b)
{
    return b->layer.out == b->g->output[0].val;
}

/* Two values of neighbouring layers, of which the larger one goes as the other comes. */
size_t cn_bands_expected_bytes(const struct cn_bands *b)
{
    size_t most = 0;

    for (int i = 0; i < b->g->count; i++)
        if (b->kept[i])
            most = CN_MAX(most, (size_t)cn_shape_elements(&b->g->value[i].shape) *
                                    cn_dtype_size(b->rows[i].store));
    return most + most / 2 + b->opts.band_bytes;
}

size_t cn_bands_whole_bytes(const struct cn_graph *g, enum cn_dtype dtype)
{
    int64_t most = 0;

    for (int i = 0; i < g->count; i++)
        if (g->node[i].op != CN_OP_PARAM)
            most = CN_MAX(most, cn_shape_elements(&g->value[i].shape));
    return 3 * (size_t)most * cn_dtype_size(dtype == CN_DTYPE_COUNT ? CN_F32 : dtype);
}
