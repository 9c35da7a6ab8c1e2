/* UNet and ControlNet.
 *
 * The walk over the blocks is written once, in encoder() and decoder(), and emits the step network.
 * On its way it notes where time and context enter; the graphs of time and context are made of
 * these notes, which ties them to the step's graph.
 */
#include "base/base.h"
#include "model/unet.h"
#include "model/nn.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Where what is constant over the steps enters. */
struct site {
    char path[96]; /* of the residual block, or of the transformer block */
    int width;     /* channels */
};

struct sites {
    struct site *list;
    int count;
    size_t cap;
};

struct net {
    const struct cn_unet_config *c;
    struct nn nn;
    int tokens;          /* of the context */
    struct sites res, attn;
    cn_val time;         /* [n, time_width] */
    int time_width;      /* columns that the blocks so far have taken */
    cn_val skip[CN_MAX_SKIPS];
    int skips;
    cn_val perturbed; /* [n, 1]; negative: no row is, or not in this block */
};

static void note_site(struct sites *s, const char *path, int width)
{
    s->list = cn_grow(s->list, (size_t)s->count, &s->cap, sizeof(*s->list));
    snprintf(s->list[s->count].path, sizeof(s->list->path), "%s", path);
    s->list[s->count++].width = width;
}

static cn_val res_block(struct net *u, cn_val x, int index, int out)
{
    nn_enter(&u->nn, "resnets.%d", index);
    note_site(&u->res, u->nn.path, out);
    x = nn_res_block(&u->nn, x, out, u->c->norm_groups, u->c->norm_eps, u->time, u->time_width);
    u->time_width += out;
    nn_leave(&u->nn);
    return x;
}

/* Keys or values of the next transformer block. */
static cn_val context_input(struct net *u, cn_val x, const char *kind)
{
    const struct cn_shape *s = cn_shape_of(u->nn.g, x);
    char name[16];

    snprintf(name, sizeof(name), "%s%d", kind, u->attn.count);
    return cn_graph_input(u->nn.g, name, cn_shape3(s->dim[0], u->tokens, s->dim[2]), CN_F32,
                          CN_IO_NATIVE);
}

/* q over k and v */
static cn_val attend(struct net *u, cn_val q, cn_val k, cn_val v, int heads)
{
    int d = (int)cn_shape_of(u->nn.g, q)->dim[2];

    return cn_attention(u->nn.g, q, k, v, heads, 1.0f / sqrtf((float)(d / heads)), false);
}

/* The attention's result h, and v in the rows that are perturbed. */
static cn_val perturb(struct net *u, cn_val h, cn_val v)
{
    struct cn_graph *g = u->nn.g;

    return u->perturbed < 0
               ? h
               : cn_add_rows(g, h, cn_add(g, v, cn_scale(g, h, -1)), u->perturbed, 0);
}

/* BasicTransformerBlock: self-attention, cross-attention, GEGLU feed-forward; pre-norm. */
static cn_val transformer_block(struct net *u, cn_val x, int heads)
{
    struct nn *nn = &u->nn;
    int d = (int)cn_shape_of(nn->g, x)->dim[2];
    cn_val k = context_input(u, x, "k"), v = context_input(u, x, "v"), h, q, own_k, own_v;

    note_site(&u->attn, nn->path, d);
    h = nn_layer_norm(nn, x, "norm1", 1e-5);
    q = nn_linear_no_bias(nn, h, "attn1.to_q", d);
    own_k = nn_linear_no_bias(nn, h, "attn1.to_k", d);
    own_v = nn_linear_no_bias(nn, h, "attn1.to_v", d);
    h = perturb(u, attend(u, q, own_k, own_v, heads), own_v);
    x = cn_add(nn->g, x, nn_linear(nn, h, "attn1.to_out.0", d));
    q = nn_linear_no_bias(nn, nn_layer_norm(nn, x, "norm2", 1e-5), "attn2.to_q", d);
    x = cn_add(nn->g, x, nn_linear(nn, attend(u, q, k, v, heads), "attn2.to_out.0", d));
    h = nn_linear(nn, nn_layer_norm(nn, x, "norm3", 1e-5), "ff.net.0.proj", 8 * d);
    h = nn_linear(nn, cn_geglu(nn->g, h), "ff.net.2", d);
    return cn_add(nn->g, x, h);
}

/* proj_in and proj_out: linear on tokens, which is what a 1x1 convolution in front of the reshape
 * computes too; older files have the weights of one. */
static cn_val project(struct net *u, cn_val x, const char *name, int out)
{
    return u->c->linear_projection ? nn_linear(&u->nn, x, name, out)
                                   : nn_linear_of_conv1(&u->nn, x, name, out);
}

/* Transformer2DModel. */
static cn_val transformer(struct net *u, cn_val x, int index, int level)
{
    int width = u->c->channels[level];
    struct nn *nn = &u->nn;
    const struct cn_shape s = *cn_shape_of(nn->g, x);
    cn_val h;

    nn_enter(nn, "attentions.%d", index);
    h = cn_to_tokens(nn->g, nn_group_norm(nn, x, "norm", u->c->norm_groups, 1e-6));
    h = project(u, h, "proj_in", width);
    for (int i = 0; i < u->c->transformer_layers[level]; i++) {
        nn_enter(nn, "transformer_blocks.%d", i);
        h = transformer_block(u, h, u->c->heads[level]);
        nn_leave(nn);
    }
    h = project(u, h, "proj_out", width);
    x = cn_add(nn->g, cn_from_tokens(nn->g, h, (int)s.dim[2], (int)s.dim[3]), x);
    nn_leave(nn);
    return x;
}

static void push_skip(struct net *u, cn_val x)
{
    CN_ASSERT(u->skips < CN_MAX_SKIPS);
    u->skip[u->skips++] = x;
}

static cn_val down_block(struct net *u, cn_val x, int level)
{
    const struct cn_unet_config *c = u->c;

    nn_enter(&u->nn, "down_blocks.%d", level);
    for (int j = 0; j < c->layers_per_block; j++) {
        x = res_block(u, x, j, c->channels[level]);
        if (c->down_attention[level])
            x = transformer(u, x, j, level);
        push_skip(u, x);
    }
    if (level + 1 < c->blocks) {
        x = nn_conv3_stride2(&u->nn, x, "downsamplers.0.conv", c->channels[level]);
        push_skip(u, x);
    }
    nn_leave(&u->nn);
    return x;
}

/* Down path and middle block; x comes from conv_in. perturbed: of the middle block, or negative. */
static cn_val encoder(struct net *u, cn_val x, cn_val perturbed)
{
    const struct cn_unet_config *c = u->c;
    int last = c->blocks - 1;

    push_skip(u, x);
    for (int i = 0; i < c->blocks; i++)
        x = down_block(u, x, i);
    nn_enter(&u->nn, "mid_block");
    x = res_block(u, x, 0, c->channels[last]);
    u->perturbed = perturbed;
    if (c->mid_attention)
        x = transformer(u, x, 0, last);
    u->perturbed = -1;
    x = res_block(u, x, 1, c->channels[last]);
    nn_leave(&u->nn);
    return x;
}

static cn_val up_block(struct net *u, cn_val x, int i)
{
    const struct cn_unet_config *c = u->c;
    int level = c->blocks - 1 - i;

    nn_enter(&u->nn, "up_blocks.%d", i);
    for (int j = 0; j < c->layers_per_block + 1; j++) {
        x = cn_concat(u->nn.g, x, u->skip[--u->skips]);
        x = res_block(u, x, j, c->channels[level]);
        if (c->up_attention[i])
            x = transformer(u, x, j, level);
    }
    if (level > 0) {
        /* To the next skip's size, which is twice ours unless a side was odd. */
        const struct cn_shape s = *cn_shape_of(u->nn.g, u->skip[u->skips - 1]);

        x = cn_upsample(u->nn.g, x, (int)s.dim[2], (int)s.dim[3]);
        x = nn_conv3(&u->nn, x, "upsamplers.0.conv", c->channels[level]);
    }
    nn_leave(&u->nn);
    return x;
}

static cn_val decoder(struct net *u, cn_val x)
{
    for (int i = 0; i < u->c->blocks; i++)
        x = up_block(u, x, i);
    return x;
}

int cn_control_levels(const struct cn_unet_config *c)
{
    return c->blocks * c->layers_per_block + (c->blocks - 1) + 1 + 1;
}

struct cn_shape cn_control_shape(const struct cn_unet_config *c, const struct cn_step_size *z,
                                 int level)
{
    int h = z->h, w = z->w, i = 0;

    if (level == 0)
        return cn_shape4(z->n, c->channels[0], h, w);
    level--;
    /* Each block but the last leaves layers_per_block skips and its downsampled result. */
    for (; i + 1 < c->blocks && level > c->layers_per_block; i++) {
        level -= c->layers_per_block + 1;
        h = (h + 1) / 2;
        w = (w + 1) / 2;
    }
    if (i + 1 < c->blocks && level == c->layers_per_block) {
        h = (h + 1) / 2;
        w = (w + 1) / 2;
    }
    return cn_shape4(z->n, c->channels[i], h, w);
}

/* More columns than any network's blocks take together; end_step() says how many it were. */
enum { MANY_COLUMNS = 1 << 30 };

static cn_val begin_step(struct net *u, const struct cn_unet_config *c,
                         const struct cn_step_size *z, const char *name)
{
    struct cn_graph *g = cn_graph_new(name);
    cn_val x = cn_graph_input(g, "sample", cn_shape4(z->n, c->in_channels, z->h, z->w), CN_F32, 0);

    *u = (struct net){.c = c, .nn = {.g = g}, .tokens = z->s, .perturbed = -1};
    u->time = cn_graph_input(g, "time", cn_shape2(z->n, MANY_COLUMNS), CN_F32, 0);
    return x;
}

static bool is_context(const struct cn_io *io)
{
    return (io->name[0] == 'k' || io->name[0] == 'v') && io->name[1] >= '0' && io->name[1] <= '9';
}

/* Inputs in the promised order: sample, time, keys and values, the rest. They were declared where
 * the walk met them. */
static void order_inputs(struct cn_graph *g)
{
    struct cn_io *sorted = cn_xcalloc((size_t)g->n_inputs, sizeof(*sorted));
    int n = 0;

    for (int context = 1; context >= 0; context--)
        for (int i = 0; i < g->n_inputs; i++)
            if ((i < 2 || is_context(&g->input[i])) == (bool)context)
                sorted[n++] = g->input[i];
    memcpy(g->input, sorted, (size_t)n * sizeof(*sorted));
    free(sorted);
}

/* The graph is the caller's, the notes are gone. */
static struct cn_graph *end_step(struct net *u)
{
    u->nn.g->value[u->time].shape.dim[1] = u->time_width;
    order_inputs(u->nn.g);
    free(u->res.list);
    free(u->attn.list);
    return u->nn.g;
}

/* S_i + w_j[i] * c_j[i] for one ControlNet; the last level is the middle block's. */
static cn_val add_control(struct net *u, cn_val mid, const struct cn_step_size *z, int j)
{
    struct cn_graph *g = u->nn.g;
    int levels = cn_control_levels(u->c);
    char name[32];
    cn_val w;

    snprintf(name, sizeof(name), "weights.%d", j);
    w = cn_graph_input(g, name, cn_shape2(z->n, levels), CN_F32, 0);
    for (int i = 0; i < levels; i++) {
        cn_val r;

        snprintf(name, sizeof(name), "control.%d.%d", j, i);
        r = cn_graph_input(g, name, cn_control_shape(u->c, z, i), CN_F32, CN_IO_NATIVE);
        if (i + 1 < levels)
            u->skip[i] = cn_add_rows(g, u->skip[i], r, w, i);
        else
            mid = cn_add_rows(g, mid, r, w, i);
    }
    return mid;
}

struct cn_graph *cn_unet_graph(const struct cn_unet_config *c, const struct cn_step_size *z)
{
    struct net u;
    cn_val x = begin_step(&u, c, z, "unet"), perturbed = -1;

    u.nn.adapts = true;
    if (z->perturbed)
        perturbed = cn_graph_input(u.nn.g, "perturbed", cn_shape2(z->n, 1), CN_F32, 0);
    x = encoder(&u, nn_conv3(&u.nn, x, "conv_in", c->channels[0]), perturbed);
    for (int j = 0; j < z->controls; j++)
        x = add_control(&u, x, z, j);
    x = decoder(&u, x);
    x = nn_group_norm(&u.nn, x, "conv_norm_out", c->norm_groups, c->norm_eps);
    x = nn_conv3(&u.nn, cn_act(u.nn.g, x, CN_SILU), "conv_out", c->out_channels);
    cn_graph_output(u.nn.g, "out", x, 0);
    return end_step(&u);
}

/* ControlNetConditioningEmbedding: pairs of convolutions, the second of stride 2 and wider. */
struct cn_graph *cn_hint_graph(const struct cn_control_config *c, int n, int height, int width)
{
    struct nn nn = {.g = cn_graph_new("hint")};
    struct cn_shape shape = cn_shape4(n, c->hint_channels, height, width);
    cn_val x = cn_graph_input(nn.g, "hint", shape, CN_F32, 0);
    char name[24];

    nn_enter(&nn, "controlnet_cond_embedding");
    x = cn_act(nn.g, nn_conv3(&nn, x, "conv_in", c->hint_out[0]), CN_SILU);
    for (int i = 0; i + 1 < c->hint_blocks; i++) {
        snprintf(name, sizeof(name), "blocks.%d", 2 * i);
        x = cn_act(nn.g, nn_conv3(&nn, x, name, c->hint_out[i]), CN_SILU);
        snprintf(name, sizeof(name), "blocks.%d", 2 * i + 1);
        x = cn_act(nn.g, nn_conv3_stride2(&nn, x, name, c->hint_out[i + 1]), CN_SILU);
    }
    x = nn_conv3(&nn, x, "conv_out", c->unet.channels[0]);
    nn_leave(&nn);
    cn_graph_output(nn.g, "hint", x, CN_IO_NATIVE);
    return nn.g;
}

struct cn_graph *cn_control_graph(const struct cn_control_config *cc, const struct cn_step_size *z)
{
    const struct cn_unet_config *c = &cc->unet;
    struct net u;
    cn_val x = begin_step(&u, c, z, "controlnet"), hint, mid;
    char name[32], out[32];

    hint = cn_graph_input(u.nn.g, "hint", cn_shape4(z->n, c->channels[0], z->h, z->w), CN_F32,
                          CN_IO_NATIVE);
    x = cn_add(u.nn.g, nn_conv3(&u.nn, x, "conv_in", c->channels[0]), hint);
    mid = encoder(&u, x, -1);
    for (int i = 0; i <= u.skips; i++) {
        bool last = i == u.skips;

        x = last ? mid : u.skip[i];
        snprintf(name, sizeof(name), last ? "controlnet_mid_block" : "controlnet_down_blocks.%d",
                 i);
        snprintf(out, sizeof(out), "control.%d", i);
        x = nn_conv1(&u.nn, x, name, (int)cn_shape_of(u.nn.g, x)->dim[1]);
        if (cc->global_pool)
            x = cn_pool_hw(u.nn.g, x);
        cn_graph_output(u.nn.g, out, x, CN_IO_NATIVE);
    }
    return end_step(&u);
}

/* The walk of one row of one pixel, for its notes. */
static void walk(struct net *u, const struct cn_unet_config *c, enum cn_net net)
{
    cn_val x = begin_step(u, c, &(struct cn_step_size){.n = 1, .h = 1, .w = 1, .s = 1},
                          "walk");

    x = encoder(u, nn_conv3(&u->nn, x, "conv_in", c->channels[0]), -1);
    if (net == CN_NET_UNET)
        decoder(u, x);
}

/* What a row is told beside the time: TimestepEmbedding of the pooled text and the sizes (SDXL). */
static cn_val added_embedding(struct nn *nn, const struct cn_unet_config *c, int rows)
{
    cn_val x = cn_graph_input(nn->g, "add", cn_shape2(rows, c->add_dim), CN_F32, 0);
    int width = c->channels[0] * 4;

    x = cn_act(nn->g, nn_linear(nn, x, "add_embedding.linear_1", width), CN_SILU);
    return nn_linear(nn, x, "add_embedding.linear_2", width);
}

enum cn_unet_extra cn_unet_extra(const struct cn_unet_config *c, int latent_channels)
{
    return c->in_channels == latent_channels           ? CN_UNET_PLAIN
           : c->in_channels == 2 * latent_channels + 1 ? CN_UNET_SEES_MASK
           : c->in_channels == latent_channels + 1     ? CN_UNET_SEES_DEPTH
                                                       : CN_UNET_SEES_UNKNOWN;
}

bool cn_unet_takes_guidance(const struct cn_unet_config *c)
{
    return c->time_cond_proj_dim > 0;
}

/* Guided distillation (arXiv:2210.03142): the scale of guidance is an input of the network. */
static cn_val guidance_projection(struct nn *nn, const struct cn_unet_config *c, int rows)
{
    cn_val w = cn_graph_input(nn->g, "guidance", cn_shape2(rows, c->time_cond_proj_dim), CN_F32, 0);

    return nn_linear_no_bias(nn, w, "time_embedding.cond_proj", c->channels[0]);
}

struct cn_graph *cn_time_graph(const struct cn_unet_config *c, enum cn_net net, int rows)
{
    struct nn nn = {.g = cn_graph_new("time"), .adapts = net == CN_NET_UNET};
    cn_val t = cn_graph_input(nn.g, "t", cn_shape1(rows), CN_F32, 0), out = -1;
    int width = c->channels[0] * 4;
    struct net u;

    walk(&u, c, net);
    t = cn_timestep(nn.g, t, c->channels[0], c->flip_sin_to_cos, c->freq_shift);
    if (cn_unet_takes_guidance(c) && net == CN_NET_UNET)
        t = cn_add(nn.g, t, guidance_projection(&nn, c, rows));
    t = cn_act(nn.g, nn_linear(&nn, t, "time_embedding.linear_1", width), CN_SILU);
    t = nn_linear(&nn, t, "time_embedding.linear_2", width);
    if (c->add_dim > 0)
        t = cn_add(nn.g, t, added_embedding(&nn, c, rows));
    t = cn_act(nn.g, t, CN_SILU); /* every block applies it before its projection */
    for (int i = 0; i < u.res.count; i++) {
        cn_val p;

        nn_enter(&nn, "%s", u.res.list[i].path);
        p = nn_linear(&nn, t, "time_emb_proj", u.res.list[i].width);
        nn_leave(&nn);
        out = i == 0 ? p : cn_concat(nn.g, out, p);
    }
    cn_graph_output(nn.g, "time", out, 0);
    cn_graph_free(end_step(&u));
    return nn.g;
}

bool cn_unet_reads_text(const struct cn_unet_config *c)
{
    bool reads = c->mid_attention && c->transformer_layers[c->blocks - 1] > 0;

    for (int i = 0; i < c->blocks; i++)
        reads = reads || ((c->down_attention[i] || c->up_attention[c->blocks - 1 - i]) &&
                          c->transformer_layers[i] > 0);
    return reads;
}

struct cn_graph *cn_context_graph(const struct cn_unet_config *c, enum cn_net net, int n, int s)
{
    struct nn nn = {.g = cn_graph_new("context"), .adapts = net == CN_NET_UNET};
    struct cn_shape shape = cn_shape3(n, s, c->cross_attention_dim);
    cn_val x = cn_graph_input(nn.g, "context", shape, CN_F32, CN_IO_NATIVE);
    struct net u;
    char name[16];

    walk(&u, c, net);
    for (int i = 0; i < u.attn.count; i++) {
        const struct site *site = &u.attn.list[i];

        nn_enter(&nn, "%s", site->path);
        snprintf(name, sizeof(name), "k%d", i);
        cn_graph_output(nn.g, name, nn_linear_no_bias(&nn, x, "attn2.to_k", site->width),
                        CN_IO_NATIVE);
        snprintf(name, sizeof(name), "v%d", i);
        cn_graph_output(nn.g, name, nn_linear_no_bias(&nn, x, "attn2.to_v", site->width),
                        CN_IO_NATIVE);
        nn_leave(&nn);
    }
    cn_graph_free(end_step(&u));
    return nn.g;
}
