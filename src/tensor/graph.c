/* Graph building and shape inference. */
#include "base/base.h"
#include "tensor/graph.h"
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    int inputs;
} ops[CN_OP_COUNT] = {
    [CN_OP_INPUT] = {"input", 0},
    [CN_OP_PARAM] = {"param", 0},
    [CN_OP_CONV2D] = {"conv2d", 4},
    [CN_OP_LINEAR] = {"linear", 4},
    [CN_OP_GROUP_NORM] = {"group_norm", 4},
    [CN_OP_LAYER_NORM] = {"layer_norm", 3},
    [CN_OP_ACT] = {"act", 1},
    [CN_OP_GEGLU] = {"geglu", 1},
    [CN_OP_ADD] = {"add", 2},
    [CN_OP_ADD_CHANNEL] = {"add_channel", 2},
    [CN_OP_ADD_ROWS] = {"add_rows", 3},
    [CN_OP_SCALE] = {"scale", 1},
    [CN_OP_ATTENTION] = {"attention", 3},
    [CN_OP_UPSAMPLE] = {"upsample", 1},
    [CN_OP_CONCAT] = {"concat", 2},
    [CN_OP_TO_TOKENS] = {"to_tokens", 1},
    [CN_OP_FROM_TOKENS] = {"from_tokens", 1},
    [CN_OP_EMBED] = {"embed", 3},
    [CN_OP_TIMESTEP] = {"timestep", 1},
    [CN_OP_POOL_HW] = {"pool_hw", 1},
};

const char *cn_op_name(enum cn_op op)
{
    return ops[op].name;
}

int cn_op_inputs(enum cn_op op)
{
    return ops[op].inputs;
}

struct cn_shape cn_shape1(int64_t a)
{
    return (struct cn_shape){1, {a}};
}

struct cn_shape cn_shape2(int64_t a, int64_t b)
{
    return (struct cn_shape){2, {a, b}};
}

struct cn_shape cn_shape3(int64_t a, int64_t b, int64_t c)
{
    return (struct cn_shape){3, {a, b, c}};
}

struct cn_shape cn_shape4(int64_t a, int64_t b, int64_t c, int64_t d)
{
    return (struct cn_shape){4, {a, b, c, d}};
}

int64_t cn_shape_elements(const struct cn_shape *s)
{
    int64_t n = 1;

    for (int i = 0; i < s->rank; i++)
        n *= s->dim[i];
    return n;
}

bool cn_shape_equal(const struct cn_shape *a, const struct cn_shape *b)
{
    if (a->rank != b->rank)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dim[i] != b->dim[i])
            return false;
    return true;
}

static struct cn_shape squeezed(const struct cn_shape *s)
{
    struct cn_shape r = {0, {0}};

    for (int i = 0; i < s->rank; i++)
        if (s->dim[i] != 1)
            r.dim[r.rank++] = s->dim[i];
    return r;
}

bool cn_shape_equivalent(const struct cn_shape *a, const struct cn_shape *b)
{
    struct cn_shape x = squeezed(a), y = squeezed(b);

    return cn_shape_equal(&x, &y);
}

const char *cn_shape_text(const struct cn_shape *s, char *text, size_t size)
{
    size_t at = (size_t)snprintf(text, size, "[");

    for (int i = 0; i < s->rank && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%lld", i ? ", " : "",
                               (long long)s->dim[i]);
    if (at < size)
        snprintf(text + at, size - at, "]");
    return text;
}

struct cn_graph *cn_graph_new(const char *name)
{
    struct cn_graph *g = cn_xcalloc(1, sizeof(*g));

    cn_arena_init(&g->arena);
    g->name = cn_arena_strdup(&g->arena, name);
    return g;
}

void cn_graph_free(struct cn_graph *g)
{
    if (g == NULL)
        return;
    cn_arena_release(&g->arena);
    free(g->node);
    free(g->value);
    free(g->input);
    free(g->output);
    free(g);
}

const struct cn_shape *cn_shape_of(const struct cn_graph *g, cn_val x)
{
    CN_ASSERT(x >= 0 && x < g->count);
    return &g->value[x].shape;
}

static cn_val add_node(struct cn_graph *g, const struct cn_node *n, struct cn_shape shape,
                       enum cn_dtype dtype, const char *name)
{
    for (int i = 0; i < CN_MAX_IN; i++)
        CN_ASSERT(n->in[i] < g->count);
    for (int i = 0; i < shape.rank; i++)
        CN_ASSERT(shape.dim[i] > 0);
    g->node = cn_grow(g->node, (size_t)g->count, &g->node_cap, sizeof(*g->node));
    g->value = cn_grow(g->value, (size_t)g->count, &g->value_cap, sizeof(*g->value));
    g->node[g->count] = *n;
    g->value[g->count] = (struct cn_value){
        .shape = shape, .dtype = dtype, .name = name ? cn_arena_strdup(&g->arena, name) : NULL};
    return g->count++;
}

static struct cn_node make(enum cn_op op, cn_val a, cn_val b, cn_val c, cn_val d)
{
    return (struct cn_node){.op = op, .in = {a, b, c, d}};
}

static void add_io(struct cn_io **list, int *count, size_t *cap, struct cn_io io)
{
    *list = cn_grow(*list, (size_t)*count, cap, sizeof(**list));
    (*list)[(*count)++] = io;
}

cn_val cn_graph_input(struct cn_graph *g, const char *name, struct cn_shape shape,
                      enum cn_dtype dtype, int flags)
{
    struct cn_node n = make(CN_OP_INPUT, -1, -1, -1, -1);
    cn_val v = add_node(g, &n, shape, dtype, name);

    add_io(&g->input, &g->n_inputs, &g->input_cap, (struct cn_io){g->value[v].name, v, flags});
    return v;
}

void cn_graph_output(struct cn_graph *g, const char *name, cn_val x, int flags)
{
    CN_ASSERT(x >= 0 && x < g->count);
    add_io(&g->output, &g->n_outputs, &g->output_cap,
           (struct cn_io){cn_arena_strdup(&g->arena, name), x, flags});
}

cn_val cn_param(struct cn_graph *g, const char *name, struct cn_shape shape)
{
    struct cn_node n = make(CN_OP_PARAM, -1, -1, -1, -1);

    for (int i = 0; i < g->count; i++)
        if (g->node[i].op == CN_OP_PARAM && strcmp(g->value[i].name, name) == 0) {
            CN_ASSERT(cn_shape_equal(&g->value[i].shape, &shape));
            return i;
        }
    return add_node(g, &n, shape, CN_F32, name);
}

static cn_val optional_param(struct cn_graph *g, const char *name, int64_t n)
{
    return name != NULL ? cn_param(g, name, cn_shape1(n)) : -1;
}

cn_val cn_conv2d(struct cn_graph *g, cn_val x, const char *weight, const char *bias,
                 const struct cn_conv *conv)
{
    struct cn_shape s = *cn_shape_of(g, x);
    struct cn_node n = make(CN_OP_CONV2D, x, -1, -1, -1);
    int64_t oh, ow;

    CN_ASSERT(s.rank == 4 && conv->k > 0 && conv->stride > 0);
    CN_ASSERT(conv->k <= s.dim[2] + conv->pad[0] + conv->pad[2] &&
              conv->k <= s.dim[3] + conv->pad[1] + conv->pad[3]);
    oh = (s.dim[2] + conv->pad[0] + conv->pad[2] - conv->k) / conv->stride + 1;
    ow = (s.dim[3] + conv->pad[1] + conv->pad[3] - conv->k) / conv->stride + 1;
    n.in[1] = cn_param(g, weight, cn_shape4(conv->out, s.dim[1], conv->k, conv->k));
    n.in[2] = optional_param(g, bias, conv->out);
    n.attr.conv = *conv;
    return add_node(g, &n, cn_shape4(s.dim[0], conv->out, oh, ow), CN_F32, NULL);
}

cn_val cn_linear(struct cn_graph *g, cn_val x, const char *weight, const char *bias, int out)
{
    struct cn_shape s = *cn_shape_of(g, x);
    struct cn_node n = make(CN_OP_LINEAR, x, -1, -1, -1);

    CN_ASSERT(s.rank == 2 || s.rank == 3);
    n.in[1] = cn_param(g, weight, cn_shape2(out, s.dim[s.rank - 1]));
    n.in[2] = optional_param(g, bias, out);
    s.dim[s.rank - 1] = out;
    return add_node(g, &n, s, CN_F32, NULL);
}

cn_val cn_group_norm(struct cn_graph *g, cn_val x, const char *gamma, const char *beta, int groups,
                     float eps)
{
    struct cn_shape s = *cn_shape_of(g, x);
    struct cn_node n = make(CN_OP_GROUP_NORM, x, -1, -1, -1);

    CN_ASSERT(s.rank == 4 && groups > 0 && s.dim[1] % groups == 0);
    n.in[1] = cn_param(g, gamma, cn_shape1(s.dim[1]));
    n.in[2] = cn_param(g, beta, cn_shape1(s.dim[1]));
    n.attr.groups = groups;
    n.attr.eps = eps;
    return add_node(g, &n, s, CN_F32, NULL);
}

cn_val cn_layer_norm(struct cn_graph *g, cn_val x, const char *gamma, const char *beta, float eps)
{
    struct cn_shape s = *cn_shape_of(g, x);
    struct cn_node n = make(CN_OP_LAYER_NORM, x, -1, -1, -1);

    CN_ASSERT(s.rank >= 2);
    n.in[1] = cn_param(g, gamma, cn_shape1(s.dim[s.rank - 1]));
    n.in[2] = cn_param(g, beta, cn_shape1(s.dim[s.rank - 1]));
    n.attr.eps = eps;
    return add_node(g, &n, s, CN_F32, NULL);
}

cn_val cn_act(struct cn_graph *g, cn_val x, enum cn_activation act)
{
    struct cn_node n = make(CN_OP_ACT, x, -1, -1, -1);

    n.attr.act = act;
    return add_node(g, &n, *cn_shape_of(g, x), CN_F32, NULL);
}

cn_val cn_geglu(struct cn_graph *g, cn_val x)
{
    struct cn_shape s = *cn_shape_of(g, x);
    struct cn_node n = make(CN_OP_GEGLU, x, -1, -1, -1);

    CN_ASSERT(s.dim[s.rank - 1] % 2 == 0);
    s.dim[s.rank - 1] /= 2;
    return add_node(g, &n, s, CN_F32, NULL);
}

cn_val cn_add(struct cn_graph *g, cn_val x, cn_val y)
{
    struct cn_node n = make(CN_OP_ADD, x, y, -1, -1);

    CN_ASSERT(cn_shape_equal(cn_shape_of(g, x), cn_shape_of(g, y)));
    return add_node(g, &n, *cn_shape_of(g, x), CN_F32, NULL);
}

cn_val cn_add_channel(struct cn_graph *g, cn_val x, cn_val t, int offset)
{
    const struct cn_shape *s = cn_shape_of(g, x), *u = cn_shape_of(g, t);
    struct cn_node n = make(CN_OP_ADD_CHANNEL, x, t, -1, -1);

    CN_ASSERT(s->rank == 4 && u->rank == 2 && u->dim[0] == s->dim[0]);
    CN_ASSERT(offset >= 0 && offset + s->dim[1] <= u->dim[1]);
    n.attr.offset = offset;
    return add_node(g, &n, *s, CN_F32, NULL);
}

cn_val cn_add_rows(struct cn_graph *g, cn_val x, cn_val y, cn_val w, int offset)
{
    const struct cn_shape *s = cn_shape_of(g, x), *u = cn_shape_of(g, w);
    struct cn_node n = make(CN_OP_ADD_ROWS, x, y, w, -1);

    CN_ASSERT(cn_shape_equal(s, cn_shape_of(g, y)));
    CN_ASSERT(u->rank == 2 && u->dim[0] == s->dim[0] && offset >= 0 && offset < u->dim[1]);
    n.attr.offset = offset;
    return add_node(g, &n, *s, CN_F32, NULL);
}

cn_val cn_scale(struct cn_graph *g, cn_val x, float alpha)
{
    struct cn_node n = make(CN_OP_SCALE, x, -1, -1, -1);

    n.attr.alpha = alpha;
    return add_node(g, &n, *cn_shape_of(g, x), CN_F32, NULL);
}

cn_val cn_attention(struct cn_graph *g, cn_val q, cn_val k, cn_val v, int heads, float scale,
                    bool causal)
{
    const struct cn_shape *s = cn_shape_of(g, q), *t = cn_shape_of(g, k);
    struct cn_node n = make(CN_OP_ATTENTION, q, k, v, -1);

    CN_ASSERT(s->rank == 3 && t->rank == 3 && cn_shape_equal(t, cn_shape_of(g, v)));
    CN_ASSERT(s->dim[0] == t->dim[0] && s->dim[2] == t->dim[2]);
    CN_ASSERT(heads > 0 && s->dim[2] % heads == 0);
    CN_ASSERT(!causal || s->dim[1] == t->dim[1]);
    n.attr.heads = heads;
    n.attr.alpha = scale;
    n.attr.causal = causal;
    return add_node(g, &n, *s, CN_F32, NULL);
}

cn_val cn_upsample(struct cn_graph *g, cn_val x, int oh, int ow)
{
    struct cn_shape s = *cn_shape_of(g, x);
    struct cn_node n = make(CN_OP_UPSAMPLE, x, -1, -1, -1);

    CN_ASSERT(s.rank == 4);
    n.attr.oh = oh;
    n.attr.ow = ow;
    return add_node(g, &n, cn_shape4(s.dim[0], s.dim[1], oh, ow), CN_F32, NULL);
}

cn_val cn_concat(struct cn_graph *g, cn_val x, cn_val y)
{
    struct cn_shape s = *cn_shape_of(g, x);
    const struct cn_shape *t = cn_shape_of(g, y);
    struct cn_node n = make(CN_OP_CONCAT, x, y, -1, -1);

    CN_ASSERT(s.rank == t->rank && s.rank >= 2);
    for (int i = 0; i < s.rank; i++)
        CN_ASSERT(i == 1 || s.dim[i] == t->dim[i]);
    s.dim[1] += t->dim[1];
    return add_node(g, &n, s, CN_F32, NULL);
}

cn_val cn_to_tokens(struct cn_graph *g, cn_val x)
{
    const struct cn_shape *s = cn_shape_of(g, x);
    struct cn_node n = make(CN_OP_TO_TOKENS, x, -1, -1, -1);

    CN_ASSERT(s->rank == 4);
    return add_node(g, &n, cn_shape3(s->dim[0], s->dim[2] * s->dim[3], s->dim[1]), CN_F32, NULL);
}

cn_val cn_from_tokens(struct cn_graph *g, cn_val x, int h, int w)
{
    const struct cn_shape *s = cn_shape_of(g, x);
    struct cn_node n = make(CN_OP_FROM_TOKENS, x, -1, -1, -1);

    CN_ASSERT(s->rank == 3 && s->dim[1] == (int64_t)h * w);
    n.attr.oh = h;
    n.attr.ow = w;
    return add_node(g, &n, cn_shape4(s->dim[0], s->dim[2], h, w), CN_F32, NULL);
}

cn_val cn_embed(struct cn_graph *g, cn_val ids, const char *table, int vocab, int width,
                const char *position, int max_position)
{
    const struct cn_shape s = *cn_shape_of(g, ids);
    struct cn_node n = make(CN_OP_EMBED, ids, -1, -1, -1);

    CN_ASSERT(s.rank == 2 && g->value[ids].dtype == CN_I32 && s.dim[1] <= max_position);
    n.in[1] = cn_param(g, table, cn_shape2(vocab, width));
    n.in[2] = cn_param(g, position, cn_shape2(max_position, width));
    return add_node(g, &n, cn_shape3(s.dim[0], s.dim[1], width), CN_F32, NULL);
}

cn_val cn_timestep(struct cn_graph *g, cn_val t, int dim, bool cos_first, int freq_shift)
{
    const struct cn_shape *s = cn_shape_of(g, t);
    struct cn_node n = make(CN_OP_TIMESTEP, t, -1, -1, -1);

    CN_ASSERT(s->rank == 1 && dim > 0);
    n.attr.cos_first = cos_first;
    n.attr.freq_shift = freq_shift;
    return add_node(g, &n, cn_shape2(s->dim[0], dim), CN_F32, NULL);
}

cn_val cn_pool_hw(struct cn_graph *g, cn_val x)
{
    struct cn_node n = make(CN_OP_POOL_HW, x, -1, -1, -1);

    CN_ASSERT(cn_shape_of(g, x)->rank == 4);
    return add_node(g, &n, *cn_shape_of(g, x), CN_F32, NULL);
}

static void dump_node(const struct cn_graph *g, int i, struct cn_buf *b)
{
    const struct cn_node *n = &g->node[i];
    char shape[96];

    cn_buf_printf(b, NULL, "%%%d = %s", i, cn_op_name(n->op));
    for (int k = 0; k < cn_op_inputs(n->op); k++)
        if (n->in[k] >= 0)
            cn_buf_printf(b, NULL, " %%%d", n->in[k]);
    if (g->value[i].name != NULL)
        cn_buf_printf(b, NULL, " \"%s\"", g->value[i].name);
    if (n->attr.act != CN_NONE)
        cn_buf_printf(b, NULL, " act=%d", (int)n->attr.act);
    cn_buf_printf(b, NULL, " %s\n", cn_shape_text(&g->value[i].shape, shape, sizeof(shape)));
}

char *cn_graph_dump(const struct cn_graph *g)
{
    struct cn_buf b;
    size_t len;

    cn_buf_init(&b, 64u << 20);
    for (int i = 0; i < g->count; i++)
        dump_node(g, i, &b);
    for (int i = 0; i < g->n_outputs; i++)
        cn_buf_printf(&b, NULL, "output \"%s\" %%%d\n", g->output[i].name, g->output[i].val);
    return (char *)cn_buf_steal(&b, &len);
}
