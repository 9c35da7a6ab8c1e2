/* One step of a batch: ControlNets, UNet, then guidance and sampler of each image. batcher.c has
 * the design. */
#include "base/base.h"
#include "engine/batch_priv.h"
#include "base/clock.h"
#include "base/mem.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- who is in a step ---- */

/* A row of a step: of which image, and which of its rows. */
struct lane_row {
    const struct cn_lane *lane;
    int row;
};

/* The rows that one network computes. */
struct row_map {
    struct cn_batch_row row[CN_MAX_ROWS];
    struct lane_row from[CN_MAX_ROWS];
    int n;
    int acting; /* of a ControlNet: the first ones, on which it acts */
};

/* A step while it is computed. */
struct step {
    struct cn_engine *e;
    struct cn_batcher *g;
    struct cn_lane *const *lane;
    int n;
    struct cn_net_buffers *unet;
    struct row_map map; /* the UNet's */
    struct cn_step_cost cost;
};

unsigned cn_lane_controls(const struct cn_lane *l)
{
    const struct cn_job *j = l->job;
    unsigned set = 0;

    for (int i = 0; i < j->n_controls; i++)
        if (cn_control_active(j->control[j->order[i]].spec, j->spec->sampler,
                              cn_sampler_call(l->sampler), j->calls))
            set |= 1u << i;
    return set;
}

static enum cn_row row_kind(const struct cn_job *j, int row)
{
    return j->guided && row == 0 ? CN_ROW_UNCOND : CN_ROW_COND;
}

/* Does ControlNet number i of the batcher act on this row in the image's next step? */
static bool acts_on(const struct cn_lane *l, int row, int i)
{
    const struct cn_job *j = l->job;

    return (cn_lane_controls(l) >> i & 1) &&
           (row_kind(j, row) == CN_ROW_COND ||
            j->control[j->order[i]].spec->branch != CN_BRANCH_COND);
}

int cn_lane_network_rows(const struct cn_lane *l)
{
    int n = l->job->rows;

    for (int r = 0; r < l->job->rows; r++)
        for (int i = 0; i < l->job->n_controls; i++)
            n += acts_on(l, r, i);
    return n;
}

/* which: of the batcher's ControlNets; -1: the UNet. */
static const struct cn_net_inputs *inputs_of(const struct cn_job *j, int which)
{
    return which < 0 ? &j->main : &j->control[j->order[which]].net;
}

static void add_row(struct row_map *m, const struct cn_lane *l, int row, int which)
{
    int call = cn_sampler_call(l->sampler);

    CN_ASSERT(m->n < CN_MAX_ROWS);
    m->from[m->n] = (struct lane_row){l, row};
    m->row[m->n++] = (struct cn_batch_row){.owner = l->job->serial,
                                           .row = row,
                                           .entry = cn_prompts_shown(l->job, row, call),
                                           .call = call,
                                           .inputs = &inputs_of(l->job, which)->rows};
}

/* ---- what changes in every step ---- */

/* What the network sees of each image: channels of the latent, as the sampler scales it; a UNet for
 * inpainting also sees the mask and what it hides, one for depth-to-image the depth map. */
static void write_sample(struct cn_buffer *to, const struct row_map *m, enum cn_unet_extra extra,
                         float *work)
{
    for (int i = 0; i < m->n; i++) {
        const struct cn_lane *l = m->from[i].lane;
        size_t latent = l->job->latent, pixels = (size_t)l->job->h * (size_t)l->job->w;
        size_t width = extra == CN_UNET_SEES_MASK    ? 2 * latent + pixels
                       : extra == CN_UNET_SEES_DEPTH ? latent + pixels
                                                     : latent;
        float *at = work + (size_t)m->row[i].at * width;

        cn_sampler_scale_input(l->sampler, l->x, at);
        if (extra == CN_UNET_SEES_DEPTH)
            memcpy(at + latent, l->job->depth, pixels * sizeof(*at));
        if (extra == CN_UNET_SEES_MASK) {
            memcpy(at + latent, l->job->mask, pixels * sizeof(*at));
            memcpy(at + latent + pixels, l->masked_latent, latent * sizeof(*at));
        }
    }
    cn_buffer_write(to, work);
}

static void write_weights(struct step *s, int which)
{
    int levels = s->g->control[which].levels;
    float *work = s->e->work;

    for (int i = 0; i < s->map.n; i++) {
        const struct lane_row *from = &s->map.from[i];
        const struct cn_job *j = from->lane->job;
        const struct cn_job_control *c = &j->control[j->order[which]];
        float *w = work + s->map.row[i].at * levels;

        memset(w, 0, (size_t)levels * sizeof(*w));
        if (acts_on(from->lane, from->row, which))
            cn_control_weights(c->spec, row_kind(j, from->row), levels, c->side, w);
    }
    cn_buffer_write(s->unet->added[which].weights, work);
}

/* Says which rows go without the attention; false: none. */
static bool write_perturbed(struct step *s)
{
    float *work = s->e->work;
    bool any = false;

    for (int i = 0; i < s->map.n; i++) {
        bool yes = s->map.from[i].row == s->map.from[i].lane->job->perturbed;

        work[s->map.row[i].at] = yes;
        any = any || yes;
    }
    if (any)
        cn_buffer_write(s->unet->perturbed, work);
    return any;
}

/* ---- the step ---- */

/* After asking for a plan: what it cost to compile counts as loading. */
static int planned(struct step *s, int rc, const struct cn_network *net, double start,
                   struct cn_err *err)
{
    s->cost.load_ms += (cn_now_s() - start) * 1e3;
    return rc == CN_ENOTFOUND || rc == CN_EFORMAT ? cn_job_blame_model(s->lane[0]->job, net, err)
                                                  : rc;
}

/* The engine's host memory, large enough for any network's input or output of all rows, and for one
 * latent more: what work() of one image may use. */
static int reserve_work(struct step *s, const struct cn_net_buffers *b, struct cn_err *err)
{
    size_t pixels = (size_t)s->g->h * (size_t)s->g->w;
    size_t row = CN_MAX(pixels * (size_t)(2 * s->g->channels + 1), (size_t)CN_MAX_LEVELS), n;
    struct cn_engine *e = s->e;

    if (!cn_mul_size(row, (size_t)b->rows + 2, &n) ||
        !cn_mul_size(CN_MAX(n, cn_row_batch_work(&b->inputs)), sizeof(float), &n))
        return cn_fail(err, CN_ENOMEM, "no memory for a step of %d rows", b->rows);
    if (n <= e->work_n)
        return CN_OK;
    free(e->work);
    e->work = cn_try_alloc(n);
    e->work_n = e->work ? n : 0;
    return e->work ? CN_OK : cn_fail(err, CN_ENOMEM, "no memory for %zu bytes of a step", n);
}

/* A graph's inputs beside those of rows. */
struct named_buffers {
    struct {
        char name[CN_ROW_NAME];
        struct cn_buffer *buffer;
    } list[2 + CN_MAX_CONTROLS * (CN_MAX_LEVELS + 1)];
    int n, hint;
};

CN_PRINTF(3, 4)
static void name_buffer(struct named_buffers *l, struct cn_buffer *buffer, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(l->list[l->n].name, sizeof(l->list[l->n].name), fmt, args);
    va_end(args);
    l->list[l->n++].buffer = buffer;
}

static struct cn_buffer *find_named(struct named_buffers *l, const char *name)
{
    for (int k = 0; k < l->n; k++) {
        int i = (l->hint + k) % l->n;

        if (strcmp(l->list[i].name, name) == 0) {
            l->hint = i + 1;
            return l->list[i].buffer;
        }
    }
    return NULL;
}

/* What adapters add to the rows of a step. */
struct step_adapters {
    struct cn_row_adapter list[CN_MAX_ROWS * CN_MAX_ADAPTERS];
    int n;
};

/* Row number i of the map, as one more row of those before it where these are the same job's. */
static void add_adapters(struct step_adapters *a, const struct row_map *m, int i, int before)
{
    struct cn_row_adapter own[CN_MAX_ADAPTERS];
    const struct cn_job *j = m->from[i].lane->job;
    int n = cn_job_adapters(j, CN_COMP_UNET, m->row[i].at, 1, own);

    if (before >= 0 && m->from[before].lane->job == j) {
        for (int k = 0; k < n; k++)
            a->list[a->n - n + k].rows++;
        return;
    }
    memcpy(a->list + a->n, own, (size_t)n * sizeof(*own));
    a->n += n;
}

/* In the order of the rows' places. */
static void collect_adapters(struct step_adapters *a, const struct row_map *m)
{
    int before = -1;

    a->n = 0;
    for (int at = 0; at < m->n; at++)
        for (int i = 0; i < m->n; i++)
            if (m->row[i].at == at) {
                add_adapters(a, m, i, before);
                before = i;
            }
}

/* Gives each input of the plan's graph the buffer of its name. adapters NULL: none act. */
static int run_plan(const struct cn_plan_entry *p, const struct cn_net_buffers *b,
                    struct named_buffers *own, struct cn_buffer *const *out,
                    const struct step_adapters *adapters, struct cn_err *err)
{
    struct cn_buffer **in = cn_xcalloc((size_t)p->g->n_inputs, sizeof(*in));
    size_t hint = 0;
    int rc = CN_OK;

    for (int i = 0; i < p->g->n_inputs && rc == CN_OK; i++) {
        const char *name = p->g->input[i].name;

        in[i] = find_named(own, name);
        if (in[i] == NULL)
            in[i] = cn_row_batch_find(&b->inputs, name, &hint);
        if (in[i] == NULL)
            rc =
                cn_fail(err, CN_EINTERNAL, "the network wants \"%s\", which nobody prepares", name);
    }
    if (rc == CN_OK)
        rc = cn_plan_run_adapted(p->plan, in, out, adapters != NULL ? adapters->list : NULL,
                                 adapters != NULL ? adapters->n : 0, err);
    free(in);
    return rc;
}

/* The rows on which ControlNet number `which` acts, filled up with others to a number for which
 * there may be a plan. */
static void choose_rows(const struct step *s, int which, struct row_map *ret)
{
    int n = 1;

    ret->n = ret->acting = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < s->map.n && (pass == 0 || ret->n < n); i++) {
            const struct lane_row *from = &s->map.from[i];

            if (acts_on(from->lane, from->row, which) == (pass == 0))
                add_row(ret, from->lane, from->row, which);
        }
        if (pass == 0) {
            ret->acting = ret->n;
            while (n < ret->n)
                n *= 2;
            n = CN_MIN(n, s->map.n);
        }
    }
}

/* Rows of the ControlNet's own results to the places that these rows have in the UNet. */
static int copy_residuals(struct step *s, int which, const struct cn_added *from,
                          const struct row_map *m, struct cn_err *err)
{
    struct cn_added *to = &s->unet->added[which];
    int rc = CN_OK;

    for (int i = 0; i < m->acting; i++)
        for (int k = 0; k < s->map.n; k++) {
            if (s->map.from[k].lane != m->from[i].lane || s->map.from[k].row != m->from[i].row)
                continue;
            for (int l = 0; l < to->levels && rc == CN_OK; l++)
                rc = cn_buffer_copy_rows(to->residual[l], s->map.row[k].at, from->residual[l],
                                         m->row[i].at, 1, err);
        }
    return rc;
}

/* Buffers and places: as the UNet has them when it runs on all rows, else its own. */
static int place_rows(struct step *s, struct cn_batcher_net *net, struct row_map *m,
                      struct cn_net_buffers **ret, struct cn_err *err)
{
    int rc = cn_batcher_find_set(s->e, s->g, net, m->n, ret, err);

    if (rc == CN_OK)
        rc = reserve_work(s, *ret, err);
    if (rc < 0)
        return rc;
    if (m->n == s->map.n) {
        m->n = 0;
        for (int i = 0; i < s->map.n; i++) {
            add_row(m, s->map.from[i].lane, s->map.from[i].row, (int)(net - s->g->control));
            m->row[i].at = s->map.row[i].at;
        }
        return CN_OK;
    }
    cn_row_batch_assign(&(*ret)->inputs, m->row, m->n);
    if ((*ret)->added[0].levels == 0)
        rc = cn_batcher_new_residuals(s->e, s->g, net, (*ret)->rows, &(*ret)->added[0], err);
    return rc;
}

static int run_control(struct step *s, int i, struct cn_err *err)
{
    struct cn_batcher_net *net = &s->g->control[i];
    struct named_buffers own = {.n = 0};
    struct cn_net_buffers *b;
    struct cn_plan_entry *p;
    struct row_map m;
    double start;
    int rc;
    bool all;

    choose_rows(s, i, &m);
    all = m.n == s->map.n;
    if ((rc = place_rows(s, net, &m, &b, err)) < 0)
        return rc;
    start = cn_now_s();
    rc = cn_plan_for_control(net->of.net, net->control,
                             &(struct cn_step_size){
                                 .n = m.n, .h = s->g->h, .w = s->g->w, .s = s->g->tokens},
                             &p, err);
    if ((rc = planned(s, rc, net->of.net, start, err)) < 0 ||
        (rc = cn_row_batch_fill(&b->inputs, m.row, m.n, s->e->work, err)) < 0)
        return rc;
    if (!all)
        write_sample(b->sample, &m, CN_UNET_PLAIN, s->e->work);
    name_buffer(&own,
                !all              ? b->sample
                : s->unet->latent ? s->unet->latent
                                  : s->unet->sample,
                "sample");
    rc = run_plan(p, b, &own, all ? s->unet->added[i].residual : b->added[0].residual,
                  NULL, err);
    return rc < 0 || all ? rc : copy_residuals(s, i, &b->added[0], &m, err);
}

/* set: the ControlNets that ran, one bit for each. */
static int run_unet(struct step *s, unsigned set, struct cn_err *err)
{
    struct cn_net_buffers *b = s->unet;
    struct cn_step_size z = {.n = b->rows,
                             .h = s->g->h,
                             .w = s->g->w,
                             .s = s->g->tokens,
                             .controls = __builtin_popcount(set),
                             .perturbed = write_perturbed(s)};
    struct named_buffers own = {.n = 0};
    struct step_adapters adapters;
    struct cn_plan_entry *p;
    double start = cn_now_s();
    int j = 0, rc = cn_plan_for_unet(&s->g->unet.of, &z, &p, err);

    if ((rc = planned(s, rc, s->g->unet.of.net, start, err)) < 0)
        return rc;
    name_buffer(&own, b->sample, "sample");
    name_buffer(&own, b->perturbed, "perturbed");
    for (int i = 0; i < s->g->n_controls; i++) {
        if (!(set >> i & 1))
            continue;
        write_weights(s, i);
        name_buffer(&own, b->added[i].weights, "weights.%d", j);
        for (int k = 0; k < b->added[i].levels; k++)
            name_buffer(&own, b->added[i].residual[k], "control.%d.%d", j, k);
        j++;
    }
    collect_adapters(&adapters, &s->map);
    return run_plan(p, b, &own, &b->out, &adapters, err);
}

static void show_preview(struct cn_lane *l, const float *eps, float *work)
{
    struct cn_job *j = l->job;
    int every = j->spec->preview_every, call = cn_sampler_call(l->sampler) + 1;
    struct cn_image small = CN_IMAGE_NONE;
    struct cn_engine_image m = {&small, l->image, l->seed, NULL};

    if (every <= 0 || j->cb.preview == NULL || call % every != 0 || call == j->calls ||
        cn_now_s() - j->preview_s < 0.5)
        return;
    cn_sampler_x0(l->sampler, l->x, eps, work);
    if (cn_preview_draw(j, work, &small, NULL) == CN_OK)
        j->cb.preview(j->cb.ctx, &m, j->calls_before + call);
    cn_image_release(&small);
    j->preview_s = cn_now_s();
}

/* The answer for row r of a lane. */
static float *answer_of(const struct step *s, const struct cn_lane *l, int r)
{
    for (int i = 0; i < s->map.n; i++)
        if (s->map.from[i].lane == l && s->map.from[i].row == r)
            return s->e->work + (size_t)s->map.row[i].at * l->job->latent;
    CN_ASSERT(false);
    return NULL;
}

/* ret = u + part * sum of s_i (c_i - u) (composable diffusion, arXiv:2206.01714) */
static void combine(const struct step *s, const struct cn_lane *l, const float *uncond, double part,
                    float *ret)
{
    const struct cn_job *j = l->job;

    cn_guidance(j->latent, uncond, answer_of(s, l, 1), (float)(part * j->guidance[1]), ret);
    for (int r = 2; r < j->rows && r != j->perturbed; r++)
        cn_guidance_add(j->latent, uncond, answer_of(s, l, r), (float)(part * j->guidance[r]), ret);
}

/* Perturbed-attention guidance (arXiv:2403.17377): scale times the way from the row without the
 * middle block's attention to the one with it, in the place of the former. NULL: none. */
static float *turn_away(const struct step *s, const struct cn_lane *l, const float *eps)
{
    const struct cn_job *j = l->job;
    float late = 1000 - cn_sampler_timestep(l->sampler), *row;
    float scale = fmaxf((float)j->spec->pag_scale - (float)j->spec->pag_adaptive_scale * late, 0);

    if (j->perturbed < 0)
        return NULL;
    row = answer_of(s, l, j->perturbed);
    for (size_t i = 0; i < j->latent; i++)
        row[i] = scale * (eps[i] - row[i]);
    return row;
}

/* Guidance, into the row of the first part; the row without the prompt stays what it is. Its
 * deviation is brought to that of what the parts say at a guidance of 1. */
static float *guide(const struct step *s, const struct cn_lane *l, const float *uncond, float *work)
{
    const struct cn_job *j = l->job;
    float *eps = answer_of(s, l, uncond != NULL ? 1 : 0), *away = turn_away(s, l, eps);
    bool rescaled =
        uncond != NULL && j->spec->guidance_rescale > 0 && j->spec->guidance_scale > 0;

    if (rescaled)
        combine(s, l, uncond, 1 / j->spec->guidance_scale, work);
    if (uncond != NULL)
        combine(s, l, uncond, 1, eps);
    for (size_t i = 0; i < j->latent && away != NULL; i++)
        eps[i] += away[i];
    if (rescaled)
        cn_guidance_rescale(j->latent, work, (float)j->spec->guidance_rescale, eps);
    return eps;
}

/* Guidance and sampler of each image. */
static int advance(struct step *s, struct cn_err *err)
{
    size_t latent = s->lane[0]->job->latent;
    float *kept = s->e->work + (size_t)s->unet->rows * latent;
    int rc;

    cn_buffer_read(s->unet->out, s->e->work);
    rc = cn_backend_check(s->e->rt.backend, err);
    for (int i = 0; i < s->n && rc == CN_OK; i++) {
        struct cn_lane *l = s->lane[i];
        const float *uncond = l->job->guided ? answer_of(s, l, 0) : NULL;
        float *eps = guide(s, l, uncond, kept);

        show_preview(l, eps, kept);
        rc = cn_lane_advance(l, eps, uncond, kept, err);
    }
    return rc;
}

static int write_inputs(struct step *s, struct cn_err *err)
{
    enum cn_unet_extra extra = cn_unet_extra(s->g->unet.of.config, s->g->channels);
    int rc = cn_row_batch_fill(&s->unet->inputs, s->map.row, s->map.n, s->e->work, err);

    if (rc < 0)
        return rc;
    write_sample(s->unet->sample, &s->map, extra, s->e->work);
    if (s->unet->latent != NULL)
        write_sample(s->unet->latent, &s->map, CN_UNET_PLAIN, s->e->work);
    return CN_OK;
}

static int compute(struct step *s, struct cn_err *err)
{
    double start = cn_now_s(), load;
    unsigned set = 0;
    int rc = write_inputs(s, err);

    for (int i = 0; i < s->n; i++)
        set |= cn_lane_controls(s->lane[i]);
    for (int i = 0; i < s->g->n_controls && rc == CN_OK; i++)
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
    struct step s = {.e = e, .g = g, .lane = lane, .n = n};
    int rc;

    CN_ASSERT(n > 0 && n <= CN_ENGINE_MAX_BATCH);
    for (int i = 0; i < n; i++)
        for (int r = 0; r < lane[i]->job->rows; r++)
            add_row(&s.map, lane[i], r, -1);
    if ((rc = cn_batcher_find_set(e, g, &g->unet, s.map.n, &s.unet, err)) < 0 ||
        (rc = reserve_work(&s, s.unet, err)) < 0)
        return rc;
    cn_row_batch_assign(&s.unet->inputs, s.map.row, s.map.n);
    rc = compute(&s, err);
    *ret = s.cost;
    return rc;
}
