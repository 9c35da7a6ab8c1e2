/* The graph itself: shapes, nodes, and the leaves that have names. What the operations are stands
 * in ops.c, above this. */
#include "base/base.h"
#include "tensor/graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

cn_val cn_graph_add(struct cn_graph *g, const struct cn_node *n, struct cn_shape shape,
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

static struct cn_node leaf(enum cn_op op)
{
    struct cn_node n = {.op = op};

    for (int i = 0; i < CN_MAX_IN; i++)
        n.in[i] = -1;
    return n;
}

static void add_io(struct cn_io **list, int *count, size_t *cap, struct cn_io io)
{
    *list = cn_grow(*list, (size_t)*count, cap, sizeof(**list));
    (*list)[(*count)++] = io;
}

cn_val cn_graph_input(struct cn_graph *g, const char *name, struct cn_shape shape,
                      enum cn_dtype dtype, int flags)
{
    struct cn_node n = leaf(CN_OP_INPUT);
    cn_val v = cn_graph_add(g, &n, shape, dtype, name);

    add_io(&g->input, &g->n_inputs, &g->input_cap, (struct cn_io){g->value[v].name, v, flags});
    return v;
}

void cn_graph_output(struct cn_graph *g, const char *name, cn_val x, int flags)
{
    CN_ASSERT(x >= 0 && x < g->count);
    add_io(&g->output, &g->n_outputs, &g->output_cap,
           (struct cn_io){cn_arena_strdup(&g->arena, name), x, flags});
}

static bool is_bound(const struct cn_graph *g, cn_val v)
{
    for (int i = 0; i < g->n_inputs; i++)
        if (g->input[i].val == v)
            return g->input[i].flags & CN_IO_PARAM;
    return false;
}

static bool is_param(const struct cn_graph *g, cn_val v)
{
    return g->node[v].op == CN_OP_PARAM || (g->node[v].op == CN_OP_INPUT && is_bound(g, v));
}

cn_val cn_param(struct cn_graph *g, const char *name, struct cn_shape shape)
{
    struct cn_node n = leaf(CN_OP_PARAM);

    for (int i = 0; i < g->count; i++)
        if (g->value[i].name != NULL && strcmp(g->value[i].name, name) == 0 && is_param(g, i)) {
            CN_ASSERT(cn_shape_equivalent(&g->value[i].shape, &shape));
            return i;
        }
    return cn_graph_add(g, &n, shape, CN_F32, name);
}

void cn_graph_bind(struct cn_graph *g, cn_val p)
{
    CN_ASSERT(p >= 0 && p < g->count && g->node[p].op == CN_OP_PARAM);
    g->node[p].op = CN_OP_INPUT;
    add_io(&g->input, &g->n_inputs, &g->input_cap,
           (struct cn_io){g->value[p].name, p, CN_IO_PARAM});
}
