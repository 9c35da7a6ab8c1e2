/* Harness of the op table. */
#include "base/base.h"
#include "tests/backend/op_run.h"
#include "base/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MAX_IO = 128 };

/* Never exit with a report when an allocation is too large: that is what some tests try. */
const char *__asan_default_options(void);

const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static uint64_t next(uint64_t *state) /* xorshift64*, Vigna 2016 */
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u;
}

static uint64_t seed_of(const char *name)
{
    uint64_t h = 14695981039346656037u;

    for (; *name != '\0'; name++)
        h = (h ^ (unsigned char)*name) * 1099511628211u;
    return h | 1;
}

void op_fill(float *x, size_t n, const char *name, double scale)
{
    uint64_t state = seed_of(name);

    for (int i = 0; i < 8; i++)
        next(&state);
    for (size_t i = 0; i < n; i++) /* uniform: variance 1/3 */
        x[i] = (float)(scale * sqrt(3.0) * ((double)(next(&state) >> 11) * 0x1p-52 - 1.0));
}

static void fill_ids(int32_t *ids, size_t n, const char *name, int64_t vocab)
{
    uint64_t state = seed_of(name);

    for (size_t i = 0; i < n; i++)
        ids[i] = (int32_t)(next(&state) % (uint64_t)vocab);
}

/* The first node that reads v. */
static const struct cn_node *reader(const struct cn_graph *g, cn_val v)
{
    for (int i = v + 1; i < g->count; i++)
        for (int k = 0; k < CN_MAX_IN; k++)
            if (g->node[i].in[k] == v)
                return &g->node[i];
    return NULL;
}

static bool is_timestep(const struct cn_graph *g, cn_val v)
{
    const struct cn_node *r = reader(g, v);

    return r != NULL && r->op == CN_OP_TIMESTEP;
}

static void fill_timesteps(float *x, size_t n, const char *name)
{
    op_fill(x, n, name, 288.0);
    for (size_t i = 0; i < n; i++)
        x[i] = floorf(x[i] + 499.5f);
}

/* Weights keep the variance of what they multiply; norm factors are around 1. */
static void fill_param(float *x, size_t n, const struct cn_value *v)
{
    double fan_in = (double)n / (double)v->shape.dim[0];

    op_fill(x, n, v->name, v->shape.rank > 1 ? 1.0 / sqrt(fan_in) : 0.3);
    if (strstr(v->name, "gamma") != NULL)
        for (size_t i = 0; i < n; i++)
            x[i] += 1.0f;
}

/* How many rows ids may choose from. */
static int64_t table_rows(const struct cn_graph *g, const struct cn_node *r)
{
    return r->op == CN_OP_GATHER ? cn_shape_of(g, r->in[0])->dim[1]
                                 : cn_shape_of(g, r->in[1])->dim[0];
}

static bool is_bound(const struct cn_graph *g, cn_val v)
{
    for (int i = 0; i < g->n_inputs; i++)
        if (g->input[i].val == v)
            return g->input[i].flags & CN_IO_PARAM;
    return false;
}

void *op_data(const struct cn_graph *g, cn_val v)
{
    const struct cn_value *value = &g->value[v];
    const struct cn_node *r = reader(g, v);
    size_t n = (size_t)cn_shape_elements(&value->shape);
    void *x = cn_xcalloc(n, sizeof(float));

    if (value->dtype == CN_I32)
        fill_ids(x, n, value->name, r != NULL ? table_rows(g, r) : 1);
    else if (g->node[v].op == CN_OP_PARAM || is_bound(g, v))
        fill_param(x, n, value);
    else if (is_timestep(g, v))
        fill_timesteps(x, n, value->name);
    else
        op_fill(x, n, value->name, 1.0);
    return x;
}

static int get_param(void *ctx, const char *name, struct cn_param_data *ret, struct cn_err *err)
{
    const struct cn_graph *g = ctx;

    for (int i = 0; i < g->count; i++)
        if (g->node[i].op == CN_OP_PARAM && strcmp(g->value[i].name, name) == 0) {
            void *data = op_data(g, i);

            *ret = (struct cn_param_data){
                .dtype = CN_F32,
                .shape = g->value[i].shape,
                .data = data,
                .bytes = (size_t)cn_shape_elements(&g->value[i].shape) * sizeof(float),
                .owned = data};
            return CN_OK;
        }
    return cn_fail(err, CN_ENOTFOUND, "no tensor \"%s\"", name);
}

static void put_param(void *ctx, const char *name, struct cn_param_data *data)
{
    (void)ctx;
    (void)name;
    free(data->owned);
}

struct cn_param_source op_source(const struct cn_graph *g)
{
    return (struct cn_param_source){
        .ctx = (void *)(uintptr_t)g, .get = get_param, .done = put_param};
}

static void must(int rc, const struct cn_err *err, const char *backend, const struct cn_graph *g)
{
    if (rc < 0)
        fail_msg("%s: %s: %s (%s)", g->name, backend, err->msg, cn_code_name(rc));
}

static void new_buffers(struct cn_backend *b, const struct cn_graph *g, const struct cn_io *io,
                        int n, struct cn_buffer **ret)
{
    struct cn_err err = CN_ERR_INIT;

    assert_in_range(n, 0, MAX_IO);
    for (int i = 0; i < n; i++)
        must(cn_buffer_new(b, &g->value[io[i].val], CN_DTYPE_COUNT, io[i].flags, &ret[i], &err),
             &err, cn_backend_name(b), g);
}

static void free_buffers(struct cn_buffer **list, int n)
{
    for (int i = 0; i < n; i++)
        cn_buffer_free(list[i]);
}

static void write_inputs(const struct cn_graph *g, struct cn_buffer **in)
{
    for (int i = 0; i < g->n_inputs; i++) {
        void *x = op_data(g, g->input[i].val);

        cn_buffer_write(in[i], x);
        free(x);
    }
}

static void read_outputs(const struct cn_graph *g, struct cn_buffer **out, struct op_result *ret)
{
    size_t at = 0;

    ret->count = 0;
    for (int i = 0; i < g->n_outputs; i++)
        ret->count += (size_t)cn_shape_elements(cn_shape_of(g, g->output[i].val));
    ret->data = cn_xcalloc(ret->count, sizeof(float));
    for (int i = 0; i < g->n_outputs; i++) {
        cn_buffer_read(out[i], ret->data + at);
        at += (size_t)cn_shape_elements(cn_shape_of(g, g->output[i].val));
    }
}

bool op_quick(void)
{
    const char *quick = getenv("CN_QUICK");

    return quick != NULL && quick[0] != '\0' && strcmp(quick, "0") != 0;
}

const char *const *op_backends(void)
{
#ifdef OP_BACKEND
    static const char *const only[] = {OP_BACKEND, NULL};

    return only;
#else
    return cn_backend_list();
#endif
}

struct cn_backend_opts op_opts = {.winograd_ratio = 0.35, .dtype = CN_F32, .cache_dir = "",
                                 .first_choice = true};

/* Opening a device takes longer than most cases: it is kept for the next one of the same type. */
static struct cn_backend *open_kept(const char *backend, const struct cn_graph *g)
{
    static struct cn_backend *kept;
    static enum cn_dtype type;
    struct cn_err err = CN_ERR_INIT;

    if (kept != NULL && type == op_opts.dtype)
        return kept;
    cn_backend_close(kept);
    kept = NULL;
    must(cn_backend_open(backend, &op_opts, &kept, &err), &err, backend, g);
    type = op_opts.dtype;
    return kept;
}

bool op_refuses(const char *backend, const struct cn_graph *g)
{
    struct cn_param_source source = op_source(g);
    struct cn_err err = CN_ERR_INIT;
    struct cn_backend *b;
    struct cn_weights *w;
    struct cn_plan *p = NULL;
    bool refused;

    if (strcmp(backend, "cuda") != 0)
        return false;
    b = open_kept(backend, g);
    must(cn_weights_new(b, &source, &w, &err), &err, backend, g);
    refused = cn_plan_compile(b, g, w, CN_DTYPE_COUNT, 0, &p, &err) == CN_EINVAL &&
              strstr(err.msg, "cannot run") != NULL;
    cn_plan_free(p);
    cn_weights_free(w);
    return refused;
}

void op_run(const char *backend, const struct cn_graph *g, struct op_result *ret)
{
    struct cn_param_source source = op_source(g);
    struct cn_buffer *in[MAX_IO], *out[MAX_IO];
    struct cn_backend *b;
    struct cn_weights *w;
    struct cn_plan *p;
    struct cn_err err = CN_ERR_INIT;
    bool device = strcmp(backend, "cuda") == 0;

    if (device)
        b = open_kept(backend, g);
    else
        must(cn_backend_open(backend, &op_opts, &b, &err), &err, backend, g);
    must(cn_weights_new(b, &source, &w, &err), &err, backend, g);
    must(cn_plan_compile(b, g, w, CN_DTYPE_COUNT, 0, &p, &err), &err, backend, g);
    new_buffers(b, g, g->input, g->n_inputs, in);
    new_buffers(b, g, g->output, g->n_outputs, out);
    must(cn_plan_run(p, in, out, &err), &err, backend, g);
    write_inputs(g, in);
    must(cn_plan_run(p, in, out, &err), &err, backend, g);
    read_outputs(g, out, ret);
    must(cn_backend_check(b, &err), &err, backend, g);
    free_buffers(in, g->n_inputs);
    free_buffers(out, g->n_outputs);
    cn_plan_free(p);
    cn_weights_free(w);
    if (!device)
        cn_backend_close(b);
}

void op_result_release(struct op_result *r)
{
    free(r->data);
    *r = (struct op_result){0};
}

void op_session_open(struct op_session *s, const char *backend, const struct cn_graph *params,
                     const struct cn_backend_opts *opts)
{
    struct cn_err err = CN_ERR_INIT;

    s->source = op_source(params);
    if (cn_backend_open(backend, opts, &s->b, &err) < 0 ||
        cn_weights_new(s->b, &s->source, &s->w, &err) < 0)
        fail_msg("%s: %s", backend, err.msg);
}

void op_session_close(struct op_session *s)
{
    cn_weights_free(s->w);
    cn_backend_close(s->b);
}

struct cn_plan *op_compile(struct op_session *s, const struct cn_graph *g)
{
    struct cn_plan *p = NULL;
    struct cn_err err = CN_ERR_INIT;

    if (cn_plan_compile(s->b, g, s->w, CN_DTYPE_COUNT, 0, &p, &err) < 0)
        fail_msg("%s: %s", cn_backend_name(s->b), err.msg);
    return p;
}

struct cn_buffer *op_buffer(struct op_session *s, const struct cn_graph *g, const struct cn_io *io)
{
    struct cn_buffer *buf = NULL;
    struct cn_err err = CN_ERR_INIT;

    if (cn_buffer_new(s->b, &g->value[io->val], CN_DTYPE_COUNT, io->flags, &buf, &err) < 0)
        fail_msg("%s: %s", cn_backend_name(s->b), err.msg);
    return buf;
}

struct op_result op_read(const struct cn_buffer *buf, const struct cn_shape *shape)
{
    struct op_result r = {.count = (size_t)cn_shape_elements(shape)};

    r.data = cn_xcalloc(r.count, sizeof(float));
    cn_buffer_read(buf, r.data);
    return r;
}

void op_each_backend(void (*check)(const char *backend))
{
    for (const char *const *name = op_backends(); *name != NULL; name++)
        check(*name);
}

double op_distance(const struct op_result *x, const struct op_result *y)
{
    double d = 0.0, norm = 0.0;

    assert_int_equal(x->count, y->count);
    for (size_t i = 0; i < y->count; i++) {
        d += ((double)x->data[i] - y->data[i]) * ((double)x->data[i] - y->data[i]);
        norm += (double)y->data[i] * y->data[i];
    }
    return sqrt(d) / (norm > 0.0 ? sqrt(norm) : 1.0);
}

static double node_flops(const struct cn_graph *g, int i)
{
    const struct cn_node *n = &g->node[i];
    double out = (double)cn_shape_elements(&g->value[i].shape);

    switch (n->op) {
    case CN_OP_INPUT:
    case CN_OP_PARAM:
        return 0.0;
    case CN_OP_CONV2D:
        return 2.0 * out * (double)cn_shape_of(g, n->in[0])->dim[1] * n->attr.conv.k *
               n->attr.conv.k;
    case CN_OP_LINEAR:
        return 2.0 * out * (double)cn_shape_of(g, n->in[1])->dim[1];
    case CN_OP_ATTENTION:
        return 4.0 * out * (double)cn_shape_of(g, n->in[1])->dim[1];
    default:
        return out;
    }
}

double op_flops(const struct cn_graph *g)
{
    double sum = 0.0;

    for (int i = 0; i < g->count; i++)
        sum += node_flops(g, i);
    return sum;
}

void op_make_native(struct cn_graph *g)
{
    for (int i = 0; i < g->n_inputs; i++)
        if (g->value[g->input[i].val].dtype == CN_F32 && !is_timestep(g, g->input[i].val) &&
            !(g->input[i].flags & CN_IO_PARAM))
            g->input[i].flags |= CN_IO_NATIVE;
    for (int i = 0; i < g->n_outputs; i++)
        g->output[i].flags |= CN_IO_NATIVE;
}

void op_expose_all(struct cn_graph *g)
{
    for (int i = 0; i < g->count; i++)
        if (g->node[i].op != CN_OP_INPUT && g->node[i].op != CN_OP_PARAM)
            cn_graph_output(g, "exposed", i, 0);
}

const struct cn_backend_opts op_plan_opts = {
    .winograd_ratio = 0.35, .cache_dir = "", .first_choice = true};

void op_run_once(struct op_session *s, struct cn_plan *p, const struct cn_graph *g,
                 struct op_result *ret)
{
    struct cn_buffer *in = op_buffer(s, g, &g->input[0]), *out = op_buffer(s, g, &g->output[0]);
    float *x = op_data(g, g->input[0].val);
    struct cn_err err = CN_ERR_INIT;

    cn_buffer_write(in, x);
    must(cn_plan_run(p, &in, &out, &err), &err, cn_backend_name(s->b), g);
    *ret = op_read(out, cn_shape_of(g, g->output[0].val));
    free(x);
    cn_buffer_free(in);
    cn_buffer_free(out);
}

cn_val op_conv3(struct cn_graph *g, cn_val x, const char *weight, int out)
{
    return cn_conv2d(g, x, weight, NULL,
                     &(struct cn_conv){.out = out, .k = 3, .stride = 1, .pad = {1, 1, 1, 1}});
}

struct cn_graph *op_sized_graph(int size)
{
    struct cn_graph *g = cn_graph_new("sized");
    cn_val x = cn_graph_input(g, "x", cn_shape4(1, 16, size, size), CN_F32, 0);

    x = op_conv3(g, cn_act(g, op_conv3(g, x, "w1", 16), CN_SILU), "w2", 16);
    cn_graph_output(g, "y", cn_scale(g, cn_pool_hw(g, x), 2.0f), 0);
    return g;
}
