/* The times of a job's calls, and what its networks are told of them: the projections of the time
 * embedding in all residual blocks, for all calls at once.
 *
 * A network may be told more beside the time, which its embedding takes in: the scale of guidance,
 * the same in all rows and calls; or a vector of the row's text and of sizes (added.c), so that
 * each row has projections of its own.
 */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/clock.h"

#include <string.h>

int cn_times_find(struct cn_job *j, float **ret, struct cn_err *err)
{
    struct cn_sampler_state *s;
    int rc = cn_lane_sampler(j, 1, &s, err);

    if (rc < 0)
        return rc;
    j->calls = cn_sampler_calls(s);
    rc = cn_job_floats(j, (size_t)j->calls, ret, err);
    for (int i = 0; i < j->calls && rc == CN_OK; i++)
        (*ret)[i] = cn_sampler_timestep_at(s, i);
    cn_sampler_free(s);
    return rc;
}

/* [CN_TIME_ROWS, width]: the scale of guidance for a network that takes it; NULL: it does not. */
static int embed_guidance(struct cn_job *j, const struct cn_net_inputs *b, float **ret,
                          struct cn_err *err)
{
    size_t width = (size_t)b->of.config->time_cond_proj_dim;
    int rc;

    *ret = NULL;
    if (b->of.kind != CN_NET_UNET || !cn_unet_takes_guidance(b->of.config))
        return CN_OK;
    if ((rc = cn_job_floats(j, CN_TIME_ROWS * width, ret, err)) < 0)
        return rc;
    for (size_t i = 0; i < CN_TIME_ROWS; i++)
        cn_guidance_embedding(j->spec->guidance_scale, (int)width, *ret + i * width);
    return CN_OK;
}

/* All pairs of a row (of those whose embeddings differ) and a call, row by row. */
struct pairs {
    struct cn_job *j;
    const struct cn_net_inputs *b;
    const float *timesteps;
    int rows;
    float t[CN_TIME_ROWS];
    float *guidance, *add; /* [CN_TIME_ROWS, ...]; NULL: not told */
    struct cn_row_adapter adapter[CN_MAX_ADAPTERS];
    int n_adapters;
};

/* CN_TIME_ROWS of them from number `first` on; what is beyond the last is as the last. */
static void fill_pairs(struct pairs *p, int first)
{
    const struct cn_job *j = p->j;

    for (int i = 0; i < CN_TIME_ROWS; i++) {
        int pair = CN_MIN(first + i, p->rows * j->calls - 1), call = pair % j->calls;

        p->t[i] = p->timesteps[call];
        if (p->add != NULL)
            memcpy(p->add + (size_t)i * (size_t)j->unet->add_dim,
                   cn_added_of(j, pair / j->calls, call),
                   (size_t)j->unet->add_dim * sizeof(float));
    }
}

static int run_pairs(struct pairs *p, const struct cn_plan_entry *plan, float *ret,
                     struct cn_err *err)
{
    size_t width = (size_t)cn_shape_of(plan->g, plan->g->output[0].val)->dim[1];
    const void *in[3] = {p->t};
    int n = 1, rc = CN_OK;

    if (p->guidance != NULL)
        in[n++] = p->guidance;
    if (p->add != NULL)
        in[n++] = p->add;
    CN_ASSERT(n == plan->g->n_inputs);
    for (int i = 0; i < p->rows * p->j->calls && rc == CN_OK; i += CN_TIME_ROWS) {
        float *out = ret + (size_t)i * width;

        fill_pairs(p, i);
        rc = cn_plan_run_hosts(plan, in, &out, p->adapter, p->n_adapters, err);
    }
    return rc;
}

int cn_times_project(struct cn_job *j, struct cn_net_inputs *b, const float *timesteps,
                     struct cn_err *err)
{
    bool told = b->of.config->add_dim > 0;
    struct pairs pairs = {.j = j, .b = b, .timesteps = timesteps, .rows = told ? j->rows : 1};
    int padded = (pairs.rows * j->calls + CN_TIME_ROWS - 1) / CN_TIME_ROWS * CN_TIME_ROWS;
    size_t add = (size_t)CN_TIME_ROWS * (size_t)j->unet->add_dim, width;
    struct cn_plan_entry *p;
    struct cn_row_input *in;
    double start = cn_now_s();
    float *time;
    int rc = cn_job_go_on(j, "times", err);

    if (rc == CN_OK)
        rc = cn_job_planned(j, cn_plan_for_time(&b->of, &p, err), b->of.net, start, err);
    if (rc < 0)
        return rc;
    width = (size_t)cn_shape_of(p->g, p->g->output[0].val)->dim[1];
    if ((rc = cn_job_floats(j, (size_t)padded * width, &time, err)) < 0 ||
        (rc = embed_guidance(j, b, &pairs.guidance, err)) < 0 ||
        (told && (rc = cn_job_floats(j, add, &pairs.add, err)) < 0))
        return rc;
    pairs.n_adapters = cn_job_net_adapters(j, b, CN_TIME_ROWS, pairs.adapter);
    rc = run_pairs(&pairs, p, time, err);
    b->rows.calls = j->calls;
    in = cn_row_inputs_add(&b->rows, CN_ROW_BY_CALL, p->g->output[0].name,
                           cn_shape2(1, (int64_t)width), 0);
    in->entries = pairs.rows;
    in->values = time;
    return rc;
}
