/* Layers shared by the networks. */
#include "base/base.h"
#include "model/nn.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void nn_enter(struct nn *nn, const char *fmt, ...)
{
    size_t at = strlen(nn->path);
    va_list ap;

    CN_ASSERT(nn->depth < NN_DEPTH);
    nn->mark[nn->depth++] = at;
    if (at > 0)
        nn->path[at++] = '.';
    va_start(ap, fmt);
    vsnprintf(nn->path + at, sizeof(nn->path) - at, fmt, ap);
    va_end(ap);
}

void nn_leave(struct nn *nn)
{
    CN_ASSERT(nn->depth > 0);
    nn->path[nn->mark[--nn->depth]] = '\0';
}

const char *nn_name(struct nn *nn, const char *name, const char *suffix)
{
    return cn_arena_printf(&nn->g->arena, "%s%s%s.%s", nn->path,
                           nn->path[0] != '\0' && name[0] != '\0' ? "." : "", name, suffix);
}

/* A layer that multiplies by a weight. */
static cn_val layer(struct nn *nn, cn_val v)
{
    if (nn->adapts)
        cn_graph_adapt(nn->g, v);
    return v;
}

static cn_val conv(struct nn *nn, cn_val x, const char *name, struct cn_conv c)
{
    return layer(nn, cn_conv2d(nn->g, x, nn_name(nn, name, "weight"), nn_name(nn, name, "bias"),
                               &c));
}

cn_val nn_conv3(struct nn *nn, cn_val x, const char *name, int out)
{
    return conv(nn, x, name,
                (struct cn_conv){.out = out, .k = 3, .stride = 1, .pad = {1, 1, 1, 1}});
}

cn_val nn_conv3_stride2(struct nn *nn, cn_val x, const char *name, int out)
{
    return conv(nn, x, name,
                (struct cn_conv){.out = out, .k = 3, .stride = 2, .pad = {1, 1, 1, 1}});
}

cn_val nn_conv1(struct nn *nn, cn_val x, const char *name, int out)
{
    return conv(nn, x, name, (struct cn_conv){.out = out, .k = 1, .stride = 1});
}

cn_val nn_linear(struct nn *nn, cn_val x, const char *name, int out)
{
    return layer(nn, cn_linear(nn->g, x, nn_name(nn, name, "weight"), nn_name(nn, name, "bias"),
                               out));
}

cn_val nn_linear_of_conv1(struct nn *nn, cn_val x, const char *name, int out)
{
    const struct cn_shape *s = cn_shape_of(nn->g, x);
    const char *weight = nn_name(nn, name, "weight");

    cn_param(nn->g, weight, cn_shape4(out, s->dim[s->rank - 1], 1, 1));
    return layer(nn, cn_linear(nn->g, x, weight, nn_name(nn, name, "bias"), out));
}

cn_val nn_linear_no_bias(struct nn *nn, cn_val x, const char *name, int out)
{
    return layer(nn, cn_linear(nn->g, x, nn_name(nn, name, "weight"), NULL, out));
}

cn_val nn_group_norm(struct nn *nn, cn_val x, const char *name, int groups, double eps)
{
    return cn_group_norm(nn->g, x, nn_name(nn, name, "weight"), nn_name(nn, name, "bias"), groups,
                         (float)eps);
}

cn_val nn_layer_norm(struct nn *nn, cn_val x, const char *name, double eps)
{
    return cn_layer_norm(nn->g, x, nn_name(nn, name, "weight"), nn_name(nn, name, "bias"),
                         (float)eps);
}

cn_val nn_res_block(struct nn *nn, cn_val x, int out, int groups, double eps, cn_val time,
                    int offset)
{
    bool same = cn_shape_of(nn->g, x)->dim[1] == out;
    cn_val h = nn_group_norm(nn, x, "norm1", groups, eps);
    cn_val shortcut = same ? x : nn_conv1(nn, x, "conv_shortcut", out);

    h = nn_conv3(nn, cn_act(nn->g, h, CN_SILU), "conv1", out);
    if (time >= 0)
        h = cn_add_channel(nn->g, h, time, offset);
    h = nn_group_norm(nn, h, "norm2", groups, eps);
    h = nn_conv3(nn, cn_act(nn->g, h, CN_SILU), "conv2", out);
    return cn_add(nn->g, shortcut, h);
}
