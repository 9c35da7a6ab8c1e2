/* The tensors of a network: the parameters of the graphs that its functions emit, at the least
 * sizes. There is no second list. */
#include "base/base.h"
#include "model/expect.h"
#include "model/text.h"
#include "model/unet.h"
#include "model/vae.h"

/* Tells of the parameters of g, and frees it. */
static void tell(struct cn_graph *g, cn_expect_fn fn, void *ctx)
{
    for (int i = 0; i < g->count; i++)
        if (g->node[i].op == CN_OP_PARAM)
            fn(ctx, g->value[i].name, g->value[i].shape.rank, g->value[i].shape.dim);
    cn_graph_free(g);
}

static const struct cn_step_size least = {.n = 1, .h = 1, .w = 1, .s = 1};

/* What UNet and ControlNet have beside their steps. */
static void tell_inputs(const struct cn_unet_config *c, enum cn_net net, cn_expect_fn fn, void *ctx)
{
    tell(cn_time_graph(c, net, 1), fn, ctx);
    tell(cn_context_graph(c, net, 1, 1), fn, ctx);
}

void cn_expect_text(const struct cn_text_config *t, cn_expect_fn fn, void *ctx)
{
    const struct cn_text_use all = {.final_norm = true, .pooled = t->projection > 0};

    tell(cn_text_graph(t, 1, 1, &all), fn, ctx);
}

void cn_expect_unet(const struct cn_unet_config *u, cn_expect_fn fn, void *ctx)
{
    const int64_t guidance[] = {u->channels[0], u->time_cond_proj_dim};

    tell_inputs(u, CN_NET_UNET, fn, ctx);
    /* In no graph: it is what jobs on such a model are refused for, and known by name. */
    if (u->time_cond_proj_dim > 0)
        fn(ctx, "time_embedding.cond_proj.weight", 2, guidance);
    tell(cn_unet_graph(u, &least), fn, ctx);
}

void cn_expect_vae(const struct cn_vae_config *v, cn_expect_fn fn, void *ctx)
{
    int side = cn_vae_factor(v);

    tell(cn_vae_encoder_graph(v, 1, side, side), fn, ctx);
    tell(cn_vae_decoder_graph(v, 1, 1, 1), fn, ctx);
}

void cn_expect_control(const struct cn_control_config *c, cn_expect_fn fn, void *ctx)
{
    tell_inputs(&c->unet, CN_NET_CONTROL, fn, ctx);
    tell(cn_hint_graph(c, 1, 8, 8), fn, ctx);
    tell(cn_control_graph(c, &least), fn, ctx);
}
