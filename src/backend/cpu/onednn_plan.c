/* Compiling a graph into steps, and running them. */
#include "base/base.h"
#include "backend/cpu/cpu_factors.h"
#include "backend/cpu/onednn_priv.h"
#include "base/clock.h"
#include "base/mem.h"
#include "tensor/passes.h"

#include <stdlib.h>
#include <string.h>

static int add_step(struct onednn_plan *p, int i, struct cn_err *err)
{
    struct onednn_step *s;
    int rc;

    p->step = cn_grow(p->step, (size_t)p->n_steps, &p->step_cap, sizeof(*p->step));
    s = &p->step[p->n_steps++];
    *s = (struct onednn_step){.op = p->g->node[i].op, .node = p->g->node[i], .out = i};
    if (s->op == CN_OP_CONV2D)
        rc = onednn_conv_init(p, s, err);
    else if (s->op == CN_OP_LINEAR)
        rc = onednn_linear_init(p, s, err);
    else
        rc = onednn_op_init(p, s, err);
    p->scratch_bytes = CN_MAX(p->scratch_bytes, s->scratch_bytes);
    return rc;
}

/* A plan without steps: values have places, parameters a form. */
static struct onednn_plan *new_plan(struct onednn_weights *w, const struct cn_graph *g, int flags)
{
    struct onednn_plan *p = cn_xcalloc(1, sizeof(*p));

    p->base.ops = w->base.ops;
    p->backend = w->backend;
    p->arena = cpu_workspace_arena(&w->backend->ws, flags);
    p->stream = w->backend->stream[flags & CN_PLAN_CONCURRENT ? 1 : 0];
    p->weights = w;
    p->g = cn_graph_fuse(g);
    p->place = cn_xcalloc((size_t)p->g->count, sizeof(*p->place));
    onednn_choose_places(p);
    onednn_choose_winograd(w, p->g);
    for (int i = 0; i < p->g->count; i++) {
        struct onednn_step s = {.op = p->g->node[i].op, .node = p->g->node[i], .out = i};

        if (s.op == CN_OP_CONV2D)
            onednn_conv_fix_layout(p, &s);
        else if (s.op == CN_OP_LINEAR)
            onednn_linear_fix_layout(p, &s);
    }
    return p;
}

void onednn_fix_layouts(struct cn_weights *base, const struct cn_graph *g)
{
    struct onednn_weights *w = (struct onednn_weights *)base;
    int old = cpu_use_threads(w->backend->ws.main.threads);

    onednn_plan_free(&new_plan(w, g, 0)->base);
    cpu_use_threads(old);
}

int onednn_compile(struct cn_backend *base, const struct cn_graph *g, struct cn_weights *w,
                   enum cn_dtype dtype, int flags, struct cn_plan **ret, struct cn_err *err)
{
    struct cpu_workspace *ws = &((struct onednn_backend *)base)->ws;
    int old = cpu_use_threads(cpu_workspace_arena(ws, flags)->threads);
    struct onednn_plan *p = new_plan((struct onednn_weights *)w, g, flags);
    int rc = CN_OK;

    CN_ASSERT(dtype == CN_F32);
    for (int i = 0; i < p->g->count && rc == CN_OK; i++)
        if (p->place[i].kind == AT_ARENA && !p->place[i].view)
            rc = add_step(p, i, err);
    if (rc == CN_OK)
        rc = cpu_workspace_reserve(ws, p->arena, p->values_bytes + p->scratch_bytes, err);
    cpu_use_threads(old);
    if (rc < 0) {
        onednn_plan_free(&p->base);
        return rc;
    }
    *ret = &p->base;
    return CN_OK;
}

void onednn_plan_free(struct cn_plan *base)
{
    struct onednn_plan *p = (struct onednn_plan *)base;

    for (int i = 0; i < p->n_steps; i++) {
        onednn_low_rank_free(p->step[i].low_rank);
        onednn_primitive_release(&p->step[i]);
    }
    cn_graph_free(p->g);
    free(p->place);
    free(p->step);
    free(p);
}

static void copy_output(const struct onednn_plan *p, int i)
{
    struct cpu_buffer *out = (struct cpu_buffer *)p->out[i];
    cn_val v = p->g->output[i].val;

    if (p->g->value[v].shape.rank == 4) {
        struct cn_fmap src = onednn_fmap(p, v), dst = src;

        dst.data = out->data;
        dst.block = out->block;
        cn_cpu_copy(&dst, &src);
    } else {
        memcpy(out->data, onednn_address(p, v), out->bytes);
    }
}

/* What adapters add to the step, if anything. */
static int run_adapters(struct onednn_plan *p, struct onednn_step *s, struct cn_err *err)
{
    int64_t start = p->backend->opts.profile ? cn_now_ns() : 0;
    int rc;

    if (!cpu_adapts(&p->base, p->g, s->out))
        return CN_OK;
    rc = onednn_adapt(p, s, err);
    if (p->backend->opts.profile) {
        s->adapters_ns += cn_now_ns() - start;
        s->adapters_runs++;
    }
    return rc;
}

static int run_steps(struct onednn_plan *p, struct cn_err *err)
{
    bool profile = p->backend->opts.profile;

    for (int i = 0; i < p->n_steps; i++) {
        struct onednn_step *s = &p->step[i];
        int64_t start = profile ? cn_now_ns() : 0;
        int rc = s->run(p, s);

        if (profile) {
            s->ns += cn_now_ns() - start;
            s->runs++;
        }
        if (rc == CN_OK)
            rc = run_adapters(p, s, err);
        if (rc < 0)
            return cn_fail(err, rc, "step %d (%s) of plan \"%s\" failed", i, s->label, p->g->name);
    }
    return CN_OK;
}

static int run_plan(void *ctx, struct cn_err *err)
{
    struct onednn_plan *p = ctx;
    int rc = run_steps(p, err);

    for (int i = 0; i < p->g->n_outputs && rc == CN_OK; i++)
        copy_output(p, i);
    return rc;
}

int onednn_run(struct cn_plan *base, struct cn_buffer *const *in, struct cn_buffer *const *out,
               struct cn_err *err)
{
    struct onednn_plan *p = (struct onednn_plan *)base;

    CN_ASSERT(cn_buffers_fit(p->g, p->g->input, p->g->n_inputs, CN_F32, in));
    CN_ASSERT(cn_buffers_fit(p->g, p->g->output, p->g->n_outputs, CN_F32, out));
    p->in = in;
    p->out = out;
    return cpu_workspace_run(&p->backend->ws, p->arena, onednn_arena_bytes(base), run_plan, p, err);
}

size_t onednn_arena_bytes(const struct cn_plan *base)
{
    const struct onednn_plan *p = (const struct onednn_plan *)base;

    return p->values_bytes + p->scratch_bytes;
}

char *onednn_profile(const struct cn_plan *base)
{
    const struct onednn_plan *p = (const struct onednn_plan *)base;
    struct cn_step_profile *step = cn_xcalloc((size_t)p->n_steps * 2 + 1, sizeof(*step));
    char *text;
    int n = p->n_steps;

    for (int i = 0; i < p->n_steps; i++) {
        const struct onednn_step *s = &p->step[i];

        step[i] = (struct cn_step_profile){s->label, (double)s->ns * 1e-6, s->runs};
        if (s->adapters_runs > 0)
            step[n++] = (struct cn_step_profile){"adapters", (double)s->adapters_ns * 1e-6,
                                                 s->adapters_runs};
    }
    text = cn_profile_text(step, n);
    free(step);
    return text;
}
