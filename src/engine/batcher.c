/* Batches: images of several jobs take a step of the networks together.
 *
 * DESIGN. Jobs of one model, one size and the same ControlNets form a group. A group has a batch of
 * buffers for each number of rows that occurred: what a job computed once (keys, values, hints) is
 * copied into the rows of its images when these come into the batch, and stays there while they
 * stay; latent, time and control weights are written in every step. Which image has which rows is
 * no part of the result. The buffers of a batch are the same in every step, so that a backend may
 * record what it does with them.
 *
 * A ControlNet runs in a step when it acts on any row; rows on which it does not act have zero
 * weights, which adds nothing to them.
 */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/clock.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ROWS = 2 * CN_ENGINE_MAX_BATCH, MAX_BATCHES = 8 };

/* The buffers of one network in a batch. */
struct net_buffers {
    struct cn_buffer **kv; /* k0, v0, ... [rows, s, width] native */
    int n_kv, time_width;
    struct cn_buffer *time; /* [rows, time_width] */
    /* of a ControlNet: */
    struct cn_buffer *hint;      /* [rows, c0, h, w] native */
    struct cn_buffer **residual; /* [levels], native */
    struct cn_buffer *weights;   /* [rows, levels] */
};

/* What the constant part of a row was copied from. */
struct row_source {
    uint64_t job; /* serial number; 0: nothing yet */
    int row;
};

struct batch {
    int rows; /* 0: free */
    uint64_t used;
    struct row_source source[MAX_ROWS];
    struct cn_buffer *sample, *sample9, *out; /* [rows, c, h, w]; sample9: 9-channel UNets */
    struct net_buffers main, control[CN_MAX_CONTROLS];
    struct cn_buffer **all;
    size_t n_all, all_cap;
    struct cn_arena arena;
};

/* One ControlNet of a group. */
struct group_control {
    struct cn_model *model;
    struct cn_network *net;
    const struct cn_control_config *config;
    int levels;
};

struct cn_batcher {
    struct cn_batcher *next;
    struct cn_model *base;
    int h, w, tokens, channels;
    struct group_control member[CN_MAX_CONTROLS];
    int n_members;
    struct batch batch[MAX_BATCHES];
    uint64_t used;
};

/* ---- groups ---- */

static bool belongs(const struct cn_batcher *g, const struct cn_job *j)
{
    if (g->base != j->base || g->h != j->h || g->w != j->w || g->n_members != j->n_controls)
        return false;
    for (int i = 0; i < g->n_members; i++)
        if (g->member[i].net != j->control[j->order[i]].branch.of.net)
            return false;
    return true;
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
        for (int i = 0; i < j->n_controls; i++) {
            const struct cn_job_control *c = &j->control[j->order[i]];

            g->member[g->n_members++] =
                (struct group_control){c->model, c->branch.of.net, c->config, c->levels};
        }
        g->next = e->batchers;
        e->batchers = g;
    }
    g->used = ++e->clock;
    return g;
}

static void batch_clear(struct batch *b)
{
    if (b->rows == 0)
        return;
    for (size_t i = 0; i < b->n_all; i++)
        cn_buffer_free(b->all[i]);
    free(b->all);
    cn_arena_release(&b->arena);
    memset(b, 0, sizeof(*b));
}

static void batcher_free(struct cn_batcher *g)
{
    for (int i = 0; i < MAX_BATCHES; i++)
        batch_clear(&g->batch[i]);
    free(g);
}

static bool in_use(const struct cn_engine *e, const struct cn_batcher *g)
{
    for (const struct cn_job *j = e->jobs; j != NULL; j = j->next)
        if (j->group == g)
            return true;
    return false;
}

static bool is_loaded(const struct cn_batcher *g)
{
    for (int i = 0; i < g->n_members; i++)
        if (g->member[i].net->weights == NULL)
            return false;
    return g->base->unet.weights != NULL;
}

/* How many idle groups were used after g. */
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
        for (int i = 0; i < MAX_BATCHES; i++)
            batch_clear(&g->batch[i]);
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

    for (const struct cn_batcher *g = e->batchers; g != NULL; g = g->next)
        for (int i = 0; i < MAX_BATCHES; i++)
            for (size_t k = 0; k < g->batch[i].n_all; k++)
                sum += cn_buffer_bytes(g->batch[i].all[k]);
    return sum;
}

/* ---- batches ---- */

static int add_buffer(struct cn_engine *e, struct batch *b, struct cn_shape shape, int flags,
                      struct cn_buffer **ret, struct cn_err *err)
{
    struct cn_value v = {.dtype = CN_F32, .shape = shape};
    int rc = cn_buffer_new(e->rt.backend, &v, CN_DTYPE_COUNT, flags, ret, err);

    if (rc < 0)
        return rc;
    b->all = cn_grow(b->all, b->n_all, &b->all_cap, sizeof(*b->all));
    b->all[b->n_all++] = *ret;
    return CN_OK;
}

static int make_branch(struct cn_engine *e, const struct cn_batcher *g, struct batch *b,
                       const struct cn_unet_config *config, enum cn_net kind,
                       struct net_buffers *ret, struct cn_err *err)
{
    struct cn_sites sites;
    int rc;

    cn_sites_init(&sites, config, kind);
    ret->n_kv = 2 * sites.n_attn;
    ret->time_width = sites.time_width;
    ret->kv = cn_arena_alloc(&b->arena, (size_t)ret->n_kv * sizeof(struct cn_buffer *) + 1);
    rc = add_buffer(e, b, cn_shape2(b->rows, ret->time_width), 0, &ret->time, err);
    for (int i = 0; i < ret->n_kv && rc == CN_OK; i++)
        rc = add_buffer(e, b, cn_shape3(b->rows, g->tokens, sites.attn[i / 2].width), CN_IO_NATIVE,
                        &ret->kv[i], err);
    cn_sites_release(&sites);
    return rc;
}

static int make_control(struct cn_engine *e, const struct cn_batcher *g, struct batch *b, int i,
                        struct cn_err *err)
{
    const struct group_control *m = &g->member[i];
    const struct cn_unet_config *c = &m->config->unet;
    struct cn_step_size z = {b->rows, g->h, g->w, g->tokens, 0};
    struct net_buffers *ret = &b->control[i];
    int rc = make_branch(e, g, b, c, CN_NET_CONTROL, ret, err);

    ret->residual = cn_arena_alloc(&b->arena, (size_t)m->levels * sizeof(struct cn_buffer *));
    for (int k = 0; k < m->levels && rc == CN_OK; k++)
        rc = add_buffer(e, b, cn_control_shape(c, &z, k), CN_IO_NATIVE, &ret->residual[k], err);
    if (rc == CN_OK)
        rc = add_buffer(e, b, cn_shape2(b->rows, m->levels), 0, &ret->weights, err);
    if (rc == CN_OK)
        rc = add_buffer(e, b, cn_shape4(b->rows, c->channels[0], g->h, g->w), CN_IO_NATIVE,
                        &ret->hint, err);
    return rc;
}

static int make_batch(struct cn_engine *e, const struct cn_batcher *g, struct batch *b,
                      struct cn_err *err)
{
    const struct cn_unet_config *c = cn_checkpoint_unet(g->base->checkpoint);
    int rc = add_buffer(e, b, cn_shape4(b->rows, g->channels, g->h, g->w), 0, &b->sample, err);

    if (rc == CN_OK)
        rc = add_buffer(e, b, cn_shape4(b->rows, c->out_channels, g->h, g->w), 0, &b->out, err);
    if (rc == CN_OK && c->in_channels != g->channels)
        rc = add_buffer(e, b, cn_shape4(b->rows, c->in_channels, g->h, g->w), 0, &b->sample9, err);
    if (rc == CN_OK)
        rc = make_branch(e, g, b, c, CN_NET_UNET, &b->main, err);
    for (int i = 0; i < g->n_members && rc == CN_OK; i++)
        rc = make_control(e, g, b, i, err);
    return rc;
}

/* The batch of so many rows; the least recently used one makes room. */
static int find_batch(struct cn_engine *e, struct cn_batcher *g, int rows, struct batch **ret,
                      struct cn_err *err)
{
    struct batch *b = &g->batch[0];
    int rc = CN_OK;

    for (int i = 0; i < MAX_BATCHES && b->rows != rows; i++)
        if (g->batch[i].rows == rows || g->batch[i].used < b->used)
            b = &g->batch[i];
    if (b->rows != rows) {
        batch_clear(b);
        b->rows = rows;
        cn_arena_init(&b->arena);
        rc = make_batch(e, g, b, err);
    }
    if (rc < 0) {
        batch_clear(b);
        return rc;
    }
    b->used = g->used = ++e->clock;
    *ret = b;
    return CN_OK;
}

/* ---- who is in a step ---- */

/* The images of a step and their rows of the batch. */
struct row_map {
    struct cn_lane *const *lane;
    int n;
    int row[CN_ENGINE_MAX_BATCH][2];
};

static bool is_from(const struct row_source *o, const struct cn_job *j, int row)
{
    return o->job == j->serial && o->row == row;
}

/* Who was in the last step of this batch keeps its rows; the others take what is left. */
static void assign_rows(const struct batch *b, struct row_map *s)
{
    bool taken[MAX_ROWS] = {false};

    for (int round = 0; round < 2; round++)
        for (int i = 0; i < s->n; i++)
            for (int r = 0; r < s->lane[i]->job->rows; r++) {
                if (round == 0)
                    s->row[i][r] = -1;
                for (int k = 0; k < b->rows && s->row[i][r] < 0; k++)
                    if (!taken[k] && (round == 1 || is_from(&b->source[k], s->lane[i]->job, r))) {
                        s->row[i][r] = k;
                        taken[k] = true;
                    }
            }
}

static int copy_branch(const struct net_buffers *to, int row, const struct cn_net_inputs *from,
                       int from_row, struct cn_err *err)
{
    int rc = CN_OK;

    CN_ASSERT(to->n_kv == from->n_kv && to->time_width == from->time_width);
    for (int i = 0; i < to->n_kv && rc == CN_OK; i++)
        rc = cn_buffer_copy_rows(to->kv[i], row, from->kv[i], from_row, 1, err);
    return rc;
}

/* Brings what is constant for a row of a job into a row of the batch. */
static int fill_row(struct batch *b, int row, const struct cn_job *j, int from_row,
                    struct cn_err *err)
{
    int rc;

    if (is_from(&b->source[row], j, from_row))
        return CN_OK;
    b->source[row].job = 0;
    rc = copy_branch(&b->main, row, &j->main, from_row, err);
    for (int i = 0; i < j->n_controls && rc == CN_OK; i++) {
        const struct cn_job_control *c = &j->control[j->order[i]];

        rc = copy_branch(&b->control[i], row, &c->branch, from_row, err);
        if (rc == CN_OK)
            rc = cn_buffer_copy_rows(b->control[i].hint, row, c->hint, 0, 1, err);
    }
    if (rc == CN_OK)
        b->source[row] = (struct row_source){j->serial, from_row};
    return rc;
}

static int fill_rows(struct batch *b, const struct row_map *s, struct cn_err *err)
{
    int rc = CN_OK;

    for (int i = 0; i < s->n; i++)
        for (int r = 0; r < s->lane[i]->job->rows && rc == CN_OK; r++)
            rc = fill_row(b, s->row[i][r], s->lane[i]->job, r, err);
    return rc;
}

/* ---- what changes in every step ---- */

unsigned cn_lane_controls(const struct cn_lane *l)
{
    const struct cn_job *j = l->job;
    unsigned set = 0;

    for (int i = 0; i < j->n_controls; i++)
        if (cn_control_active(j->control[j->order[i]].spec, cn_sampler_call(l->sampler), j->calls))
            set |= 1u << i;
    return set;
}

/* A 9-channel UNet also sees the mask and what it hides. */
static void write_sample(struct batch *b, const struct row_map *s, float *work)
{
    for (int i = 0; i < s->n; i++) {
        const struct cn_lane *l = s->lane[i];
        size_t latent = l->job->latent;
        float *first = work + (size_t)s->row[i][0] * latent;

        cn_sampler_scale_input(l->sampler, l->x, first);
        if (l->job->rows == 2)
            memcpy(work + (size_t)s->row[i][1] * latent, first, latent * sizeof(*work));
    }
    cn_buffer_write(b->sample, work);
    if (b->sample9 == NULL)
        return;
    for (int i = 0; i < s->n; i++) {
        const struct cn_lane *l = s->lane[i];
        size_t latent = l->job->latent, pixels = (size_t)l->job->h * (size_t)l->job->w;

        for (int r = 0; r < l->job->rows; r++) {
            float *at = work + (size_t)s->row[i][r] * (2 * latent + pixels);

            cn_sampler_scale_input(l->sampler, l->x, at);
            memcpy(at + latent, l->job->mask, pixels * sizeof(*at));
            memcpy(at + latent + pixels, l->masked_latent, latent * sizeof(*at));
        }
    }
    cn_buffer_write(b->sample9, work);
}

/* which: of the job's ControlNets in the group's order; -1: the UNet. */
static void write_time(struct net_buffers *to, const struct row_map *s, int which, float *work)
{
    size_t width = (size_t)to->time_width;

    for (int i = 0; i < s->n; i++) {
        const struct cn_lane *l = s->lane[i];
        const struct cn_job *j = l->job;
        const struct cn_net_inputs *b = which < 0 ? &j->main : &j->control[j->order[which]].branch;
        size_t call = (size_t)cn_sampler_call(l->sampler);

        for (int r = 0; r < j->rows; r++)
            memcpy(work + (size_t)s->row[i][r] * width, b->time + call * width,
                   width * sizeof(*work));
    }
    cn_buffer_write(to->time, work);
}

static void write_weights(struct net_buffers *to, const struct row_map *s, int which, int levels,
                          float *work)
{
    for (int i = 0; i < s->n; i++) {
        const struct cn_job *j = s->lane[i]->job;
        const struct cn_job_control *c = &j->control[j->order[which]];
        bool acts = cn_lane_controls(s->lane[i]) >> which & 1;

        for (int r = 0; r < j->rows; r++) {
            float *w = work + s->row[i][r] * levels;

            memset(w, 0, (size_t)levels * sizeof(*w));
            if (acts)
                cn_control_weights(c->spec, j->rows == 2 && r == 0 ? CN_ROW_UNCOND : CN_ROW_COND,
                                   levels, c->side, w);
        }
    }
    cn_buffer_write(to->weights, work);
}

/* ---- the step ---- */

/* A step while it is computed. */
struct step {
    struct cn_engine *e;
    struct cn_batcher *g;
    struct batch *b;
    struct row_map rows_of;
    struct cn_step_cost cost;
};

/* After asking for a plan: what it cost to compile counts as loading. */
static int planned(struct step *s, int rc, const struct cn_network *net, double start,
                   struct cn_err *err)
{
    s->cost.load_ms += (cn_now_s() - start) * 1e3;
    return rc == CN_ENOTFOUND || rc == CN_EFORMAT
               ? cn_job_blame_model(s->rows_of.lane[0]->job, net, err)
               : rc;
}

/* sample, time, k0, v0, ... into list; returns how many. */
static int common_inputs(struct cn_buffer **list, struct cn_buffer *sample,
                         const struct net_buffers *b)
{
    list[0] = sample;
    list[1] = b->time;
    memcpy(list + 2, b->kv, (size_t)b->n_kv * sizeof(struct cn_buffer *));
    return 2 + b->n_kv;
}

static int run_control(struct step *s, int i, struct cn_err *err)
{
    const struct group_control *m = &s->g->member[i];
    struct net_buffers *c = &s->b->control[i];
    struct cn_step_size z = {s->b->rows, s->g->h, s->g->w, s->g->tokens, 0};
    struct cn_buffer **in = cn_xcalloc((size_t)c->n_kv + 3, sizeof(*in));
    struct cn_plan_entry *p;
    double start = cn_now_s();
    int n, rc = cn_plan_for_control(m->net, m->config, &z, &p, err);

    rc = planned(s, rc, m->net, start, err);
    if (rc == CN_OK) {
        write_time(c, &s->rows_of, i, s->e->work);
        write_weights(c, &s->rows_of, i, m->levels, s->e->work);
        n = common_inputs(in, s->b->sample, c);
        in[n] = c->hint;
        rc = cn_plan_run(p->plan, in, c->residual, err);
    }
    free(in);
    return rc;
}

/* set: the ControlNets that ran, one bit for each. */
static int run_unet(struct step *s, unsigned set, struct cn_err *err)
{
    struct batch *b = s->b;
    struct cn_step_size z = {b->rows, s->g->h, s->g->w, s->g->tokens, __builtin_popcount(set)};
    struct cn_buffer **in =
        cn_xcalloc((size_t)b->main.n_kv + 2 + CN_MAX_CONTROLS * (CN_MAX_LEVELS + 1), sizeof(*in));
    struct cn_plan_entry *p;
    double start = cn_now_s();
    int n, rc = cn_plan_for_unet(s->g->base, &z, &p, err);

    rc = planned(s, rc, &s->g->base->unet, start, err);
    if (rc == CN_OK) {
        write_time(&b->main, &s->rows_of, -1, s->e->work);
        n = common_inputs(in, b->sample9 ? b->sample9 : b->sample, &b->main);
        for (int i = 0; i < s->g->n_members; i++) {
            const struct net_buffers *c = &b->control[i];

            if (!(set >> i & 1))
                continue;
            in[n++] = c->weights;
            memcpy(in + n, c->residual, (size_t)s->g->member[i].levels * sizeof(*in));
            n += s->g->member[i].levels;
        }
        rc = cn_plan_run(p->plan, in, &b->out, err);
    }
    free(in);
    return rc;
}

/* The engine's host memory, large enough for any network's input or output of all rows, and for one
 * latent more: what work() of one image may use. */
static int reserve_work(struct cn_engine *e, const struct cn_batcher *g, int rows,
                        struct cn_err *err)
{
    const struct cn_unet_config *c = cn_checkpoint_unet(g->base->checkpoint);
    size_t pixels = (size_t)g->h * (size_t)g->w, row, n;
    struct cn_sites sites;

    cn_sites_init(&sites, c, CN_NET_UNET); /* a ControlNet has a part of them */
    row = CN_MAX((size_t)sites.time_width, pixels * (size_t)(2 * g->channels + 1));
    cn_sites_release(&sites);
    row = CN_MAX(row, (size_t)CN_MAX_LEVELS);
    if (!cn_mul_size(row, (size_t)rows + 2, &n) || !cn_mul_size(n, sizeof(float), &n))
        return cn_fail(err, CN_ENOMEM, "no memory for a step of %d rows", rows);
    if (n <= e->work_n)
        return CN_OK;
    free(e->work);
    e->work = cn_try_alloc(n);
    e->work_n = e->work ? n : 0;
    return e->work ? CN_OK : cn_fail(err, CN_ENOMEM, "no memory for %zu bytes of a step", n);
}

static void show_preview(struct cn_lane *l, const float *eps, float *work)
{
    struct cn_job *j = l->job;
    int every = j->spec->preview_every, call = cn_sampler_call(l->sampler) + 1;
    struct cn_image small = CN_IMAGE_NONE;
    struct cn_engine_image m = {&small, l->image, l->seed};

    if (every <= 0 || j->cb.preview == NULL || call % every != 0 || call == j->calls ||
        cn_now_s() - j->preview_s < 0.5)
        return;
    cn_sampler_x0(l->sampler, l->x, eps, work);
    if (cn_preview_draw(j, work, &small, NULL) == CN_OK)
        j->cb.preview(j->cb.ctx, &m, call);
    cn_image_release(&small);
    j->preview_s = cn_now_s();
}

/* Guidance and sampler of each image. */
static int advance(struct step *s, struct cn_err *err)
{
    size_t latent = s->rows_of.lane[0]->job->latent;
    float *out = s->e->work, *kept = out + (size_t)s->b->rows * latent;
    int rc;

    cn_buffer_read(s->b->out, out);
    rc = cn_backend_check(s->e->rt.backend, err);
    for (int i = 0; i < s->rows_of.n && rc == CN_OK; i++) {
        struct cn_lane *l = s->rows_of.lane[i];
        float *eps = out + (size_t)s->rows_of.row[i][0] * latent;

        if (l->job->rows == 2)
            cn_guidance(latent, eps, out + (size_t)s->rows_of.row[i][1] * latent,
                        (float)l->job->spec->guidance_scale, eps);
        show_preview(l, eps, kept);
        rc = cn_lane_advance(l, eps, kept, err);
    }
    return rc;
}

static int compute(struct step *s, struct cn_err *err)
{
    double start = cn_now_s(), load;
    unsigned set = 0;
    int rc = fill_rows(s->b, &s->rows_of, err);

    if (rc < 0)
        return rc;
    write_sample(s->b, &s->rows_of, s->e->work);
    for (int i = 0; i < s->rows_of.n; i++)
        set |= cn_lane_controls(s->rows_of.lane[i]);
    for (int i = 0; i < s->g->n_members && rc == CN_OK; i++)
        if (set >> i & 1)
            rc = run_control(s, i, err);
    load = s->cost.load_ms;
    s->cost.control_ms = (cn_now_s() - start) * 1e3 - load;
    start = cn_now_s();
    if (rc == CN_OK)
        rc = run_unet(s, set, err);
    if (rc == CN_OK)
        rc = advance(s, err);
    s->cost.unet_ms = (cn_now_s() - start) * 1e3 - (s->cost.load_ms - load);
    return rc;
}

int cn_batcher_step(struct cn_engine *e, struct cn_batcher *g, struct cn_lane *const *lane, int n,
                    struct cn_step_cost *ret, struct cn_err *err)
{
    struct step s = {.e = e, .g = g, .rows_of = {.lane = lane, .n = n}};
    int rows = 0, rc;

    CN_ASSERT(n > 0 && n <= CN_ENGINE_MAX_BATCH);
    for (int i = 0; i < n; i++)
        rows += lane[i]->job->rows;
    if ((rc = find_batch(e, g, rows, &s.b, err)) < 0 || (rc = reserve_work(e, g, rows, err)) < 0)
        return rc;
    assign_rows(s.b, &s.rows_of);
    rc = compute(&s, err);
    *ret = s.cost;
    return rc;
}
