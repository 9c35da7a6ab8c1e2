/* Batches: images of several jobs take a step of the networks together.
 *
 * DESIGN. Jobs of one model (and the same adapters), one size and the same ControlNets, whose
 * networks take the same inputs
 * (row_inputs.h), share a batcher. For each of its networks and each number of rows that occurred
 * it keeps a set of buffers: what is constant for a row is copied into it when the row comes into
 * the batch and stays there while the row does; the latent and what goes by the call are written in
 * every step. Buffers are the same in every step, so that a backend may record what it does with
 * them. Which row of a batch an image has never changes its picture.
 *
 * A ControlNet runs on the rows on which it acts: not on the negative prompt's when its branch is
 * "cond", not on images whose window is closed. So that plans are few, the number of its rows is a
 * power of two or that of the whole batch; rows that are only there to fill it up are dropped. Its
 * results are copied to the UNet's rows, or written there at once when it runs on all of them. Rows
 * on which it does not act have zero weights, which changes no bit of them.
 */
#include "base/base.h"
#include "engine/batch_priv.h"

#include <limits.h>
#include <stdlib.h>

static bool belongs(const struct cn_batcher *g, const struct cn_job *j)
{
    if (g->base != j->base || g->unet.of.net != j->main.of.net || g->h != j->h || g->w != j->w ||
        g->n_controls != j->n_controls || !cn_row_inputs_match(&g->unet.kind, &j->main.rows))
        return false;
    for (int i = 0; i < g->n_controls; i++) {
        const struct cn_net_inputs *c = &j->control[j->order[i]].net;

        if (g->control[i].of.net != c->of.net ||
            !cn_row_inputs_match(&g->control[i].kind, &c->rows))
            return false;
    }
    return true;
}

static void init_net(struct cn_batcher_net *net, struct cn_model *model,
                     const struct cn_net_inputs *inputs)
{
    net->model = model;
    net->of = inputs->of;
    cn_row_inputs_copy_kind(&net->kind, &inputs->rows);
}

struct cn_batcher *cn_batcher_for(struct cn_engine *e, const struct cn_job *j)
{
    struct cn_batcher *g = e->batchers;

    while (g != NULL && !belongs(g, j))
        g = g->next;
    if (g == NULL) {
        g = cn_xcalloc(1, sizeof(*g));
        g->base = j->base;
        g->h = j->h;
        g->w = j->w;
        g->tokens = j->tokens;
        g->channels = j->channels;
        init_net(&g->unet, j->base, &j->main);
        for (; g->n_controls < j->n_controls; g->n_controls++) {
            const struct cn_job_control *c = &j->control[j->order[g->n_controls]];
            struct cn_batcher_net *net = &g->control[g->n_controls];

            init_net(net, c->model, &c->net);
            net->control = c->config;
            net->levels = c->levels;
        }
        g->next = e->batchers;
        e->batchers = g;
    }
    g->used = ++e->clock;
    return g;
}

static void batcher_clear(struct cn_batcher *g)
{
    cn_batcher_net_clear(&g->unet);
    for (int i = 0; i < g->n_controls; i++)
        cn_batcher_net_clear(&g->control[i]);
}

static void batcher_free(struct cn_batcher *g)
{
    batcher_clear(g);
    cn_row_inputs_clear(&g->unet.kind);
    for (int i = 0; i < g->n_controls; i++)
        cn_row_inputs_clear(&g->control[i].kind);
    free(g);
}

static bool in_use(const struct cn_engine *e, const struct cn_batcher *g)
{
    for (const struct cn_job *j = e->jobs; j != NULL; j = j->next)
        if (j->batcher == g)
            return true;
    return false;
}

static bool is_loaded(const struct cn_batcher *g)
{
    for (int i = 0; i < g->n_controls; i++)
        if (g->control[i].of.net->weights == NULL)
            return false;
    return g->unet.of.net->weights != NULL;
}

/* How many idle batchers were used after g. */
static int newer(const struct cn_engine *e, const struct cn_batcher *g)
{
    int n = 0;

    for (const struct cn_batcher *o = e->batchers; o != NULL; o = o->next)
        n += o->used > g->used && !in_use(e, o);
    return n;
}

void cn_batchers_clear(struct cn_engine *e)
{
    for (struct cn_batcher *g = e->batchers; g != NULL; g = g->next)
        batcher_clear(g);
}

/* Of those that no job uses, all but the `keep` most recently used; of these, those whose models
 * are not loaded when `loaded` asks for it. */
static void drop_batchers(struct cn_engine *e, int keep, bool loaded)
{
    struct cn_batcher **at = &e->batchers;

    while (*at != NULL) {
        struct cn_batcher *g = *at;

        if (in_use(e, g) || (newer(e, g) < keep && (!loaded || is_loaded(g)))) {
            at = &g->next;
            continue;
        }
        *at = g->next;
        batcher_free(g);
    }
}

void cn_batchers_drop_idle(struct cn_engine *e, int keep)
{
    drop_batchers(e, keep, false);
}

void cn_batchers_drop_unloaded(struct cn_engine *e)
{
    drop_batchers(e, INT_MAX, true);
}

size_t cn_batchers_bytes(const struct cn_engine *e)
{
    size_t sum = 0;

    for (const struct cn_batcher *g = e->batchers; g != NULL; g = g->next) {
        sum += cn_batcher_net_bytes(&g->unet);
        for (int i = 0; i < g->n_controls; i++)
            sum += cn_batcher_net_bytes(&g->control[i]);
    }
    return sum;
}
