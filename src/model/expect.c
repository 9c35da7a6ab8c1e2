/* The tensors of a network, and the places where an adapter may attach: read from the graphs that
 * its functions emit, at the least sizes; beside them only what is in no graph. */
#include "base/base.h"
#include "model/expect.h"
#include "model/text.h"
#include "model/unet.h"
#include "model/vae.h"

#include <stdio.h>
#include <string.h>

/* Who is told: one of the two. */
struct listener {
    cn_expect_fn tensor;
    cn_site_fn site;
    void *ctx;
};

static void tell_tensors(const struct cn_graph *g, const struct listener *l)
{
    for (int i = 0; i < g->count; i++)
        if (g->node[i].op == CN_OP_PARAM)
            l->tensor(l->ctx, g->value[i].name, g->value[i].shape.rank, g->value[i].shape.dim);
}

/* What multiplies by a weight of the file. */
static void tell_sites(const struct cn_graph *g, const struct listener *l)
{
    for (int i = 0; i < g->count; i++) {
        const struct cn_node *n = &g->node[i];
        const struct cn_value *w;
        struct cn_site site;
        char name[160];
        int len;

        if (n->op != CN_OP_CONV2D && n->op != CN_OP_LINEAR)
            continue;
        w = &g->value[n->in[1]];
        len = (int)strlen(w->name) - (int)strlen(".weight");
        CN_ASSERT(len > 0 && strcmp(w->name + len, ".weight") == 0);
        snprintf(name, sizeof(name), "%.*s", len, w->name);
        site = (struct cn_site){.name = name,
                                .out = (int)w->shape.dim[0],
                                .in = (int)w->shape.dim[1],
                                .k = w->shape.rank == 4 ? (int)w->shape.dim[2] : 1,
                                .conv = w->shape.rank == 4};
        l->site(l->ctx, &site);
    }
}

/* Tells of g, and frees it. */
static void tell(struct cn_graph *g, const struct listener *l)
{
    if (l->tensor != NULL)
        tell_tensors(g, l);
    else
        tell_sites(g, l);
    cn_graph_free(g);
}

static const struct cn_step_size least = {.n = 1, .h = 1, .w = 1, .s = 1};

/* What UNet and ControlNet have beside their steps. */
static void tell_inputs(const struct cn_unet_config *c, enum cn_net net, const struct listener *l)
{
    tell(cn_time_graph(c, net, 1), l);
    if (cn_unet_reads_text(c))
        tell(cn_context_graph(c, net, 1, 1), l);
}

static void tell_text(const struct cn_text_config *t, const struct listener *l)
{
    const struct cn_text_use all = {.final_norm = true, .pooled = t->projection > 0};

    tell(cn_text_graph(t, 1, 1, &all), l);
}

static void tell_unet(const struct cn_unet_config *u, const struct listener *l)
{
    tell_inputs(u, CN_NET_UNET, l);
    tell(cn_unet_graph(u, &least), l);
}

void cn_expect_text(const struct cn_text_config *t, cn_expect_fn fn, void *ctx)
{
    const int64_t tokens[] = {t->vocab_size, t->hidden_size},
                  positions[] = {t->max_position, t->hidden_size};

    /* In no graph: their rows are looked up before (runtime/token_rows.h). */
    fn(ctx, "text_model.embeddings.token_embedding.weight", 2, tokens);
    fn(ctx, "text_model.embeddings.position_embedding.weight", 2, positions);
    tell_text(t, &(struct listener){.tensor = fn, .ctx = ctx});
}

void cn_expect_unet(const struct cn_unet_config *u, cn_expect_fn fn, void *ctx)
{
    const int64_t guidance[] = {u->channels[0], u->time_cond_proj_dim};

    tell_unet(u, &(struct listener){.tensor = fn, .ctx = ctx});
    /* In no graph: it is what jobs on such a model are refused for, and known by name. */
    if (u->time_cond_proj_dim > 0)
        fn(ctx, "time_embedding.cond_proj.weight", 2, guidance);
}

void cn_expect_vae(const struct cn_vae_config *v, cn_expect_fn fn, void *ctx)
{
    const struct listener l = {.tensor = fn, .ctx = ctx};
    int side = cn_vae_factor(v);

    if (!v->decoder_only)
        tell(cn_vae_encoder_graph(v, 1, side, side), &l);
    tell(cn_vae_decoder_graph(v, 1, 1, 1), &l);
}

void cn_expect_control(const struct cn_control_config *c, cn_expect_fn fn, void *ctx)
{
    const struct listener l = {.tensor = fn, .ctx = ctx};

    tell_inputs(&c->unet, CN_NET_CONTROL, &l);
    tell(cn_hint_graph(c, 1, 8, 8), &l);
    tell(cn_control_graph(c, &least), &l);
}

void cn_sites_text(const struct cn_text_config *t, cn_site_fn fn, void *ctx)
{
    tell_text(t, &(struct listener){.site = fn, .ctx = ctx});
}

void cn_sites_unet(const struct cn_unet_config *u, cn_site_fn fn, void *ctx)
{
    tell_unet(u, &(struct listener){.site = fn, .ctx = ctx});
}
