/* The engine's step loop: who is prepared, who takes a step, what becomes of what is finished.
 *
 * DESIGN. A job passes through: reading (helper thread), prepared (here, when its models fit into
 * the memory), drawing (its images become lanes), finishing (helper thread), over. One turn does a
 * little of everything: it takes back what the helpers have done, ends what is cancelled or
 * complete, prepares newcomers, starts lanes, and draws one step. Newcomers are prepared in the
 * order in which they came; one in any case, more while that takes less than half a step, so that
 * the images in progress wait little. A newcomer therefore joins at the next step but one at the
 * latest.
 *
 * Fair shares: start-time fair queueing (Goyal, Vin, Cheng 1996) over jobs, at the grain of a step.
 * A step costs an image pixels x rows of all networks; the job with the least sum so far is
 * served next, and decides the group; the rest of the batch is filled in the same order with images
 * of this group. A job that begins starts from the virtual time of whoever is served then.
 *
 * Nothing of a job's failure touches the others, except that when the device fails it fails for
 * all. What runs out of memory is tried once more, alone and after all caches were dropped.
 */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IDLE_GROUPS = 4 }; /* whose buffers are kept for the next job of their kind */

/* ---- the end of a job ---- */

static void remove_job(struct cn_engine *e, struct cn_job *j)
{
    struct cn_job **at = &e->jobs;

    while (*at != j)
        at = &(*at)->next;
    *at = j->next;
}

static void remove_lane(struct cn_engine *e, struct cn_lane *l)
{
    struct cn_lane **at = &e->lanes;

    while (*at != l)
        at = &(*at)->next;
    *at = l->next;
    e->n_lanes--;
    l->job->lanes--;
    cn_lane_free(l);
}

static void remove_lanes(struct cn_engine *e, const struct cn_job *j)
{
    struct cn_lane *next;

    for (struct cn_lane *l = e->lanes; l != NULL; l = next) {
        next = l->next;
        if (l->job == j)
            remove_lane(e, l);
    }
}

/* When nothing of it is with a helper thread. */
static void drop_job(struct cn_engine *e, struct cn_job *j)
{
    if (j->finishing > 0)
        return;
    remove_job(e, j);
    cn_engine_unpin_models(e, j);
    cn_job_free(j);
    e->work_pending = true; /* who waits for memory may have it now */
}

/* Tells the end, unless image() runs at the moment: then the next turn does. */
static void end_job(struct cn_engine *e, struct cn_job *j)
{
    static const struct cn_err none = CN_ERR_INIT;

    if (j->state == CN_JOB_READING || j->state == CN_JOB_OVER || !cn_helpers_detach(e, j))
        return;
    remove_lanes(e, j);
    j->state = CN_JOB_OVER;
    j->batcher = NULL;
    cn_batchers_drop_idle(e, IDLE_GROUPS);
    for (int i = 0; i < CN_ENGINE_STAGE_COUNT && j->cb.stage != NULL; i++)
        j->cb.stage(j->cb.ctx, (enum cn_engine_stage)i, j->ms[i]);
    if (j->outcome != NULL)
        *j->outcome = (struct cn_job_outcome){true, j->rc, j->err};
    if (j->cb.end != NULL)
        j->cb.end(j->cb.ctx, j->rc, j->rc < 0 ? &j->err : &none);
    drop_job(e, j);
}

/* The first failure counts; the job ends with the next call of end_jobs(). */
static void fail_job(struct cn_engine *e, struct cn_job *j, int rc, const struct cn_err *err)
{
    if (j->rc < 0 || j->state == CN_JOB_OVER)
        return;
    j->rc = rc;
    j->err = *err;
    remove_lanes(e, j);
}

static void cancel_job(struct cn_engine *e, struct cn_job *j)
{
    struct cn_err why = CN_ERR_INIT;

    cn_fail(&why, CN_ECANCELED, "cancelled with %d of %d images done", j->done, j->pictures);
    fail_job(e, j, CN_ECANCELED, &why);
}

static void add_job(struct cn_engine *e, struct cn_job *j)
{
    struct cn_job **at = &e->jobs;

    while (*at != NULL)
        at = &(*at)->next;
    *at = j;
    cn_helpers_read(e, j);
}

/* The first pass is drawn: its job makes place for the second's. */
static void begin_second(struct cn_engine *e, struct cn_job *first)
{
    add_job(e, cn_passes_take_second(first));
    first->state = CN_JOB_OVER;
    first->batcher = NULL;
    drop_job(e, first);
}

/* Those that failed, were cancelled, or are complete. */
static void end_jobs(struct cn_engine *e)
{
    struct cn_job *next;

    for (struct cn_job *j = e->jobs; j != NULL; j = next) {
        next = j->next;
        if (j->state == CN_JOB_OVER || j->state == CN_JOB_READING)
            continue;
        if (j->rc == CN_OK && cn_job_cancelled(j))
            cancel_job(e, j);
        if (j->rc == CN_OK && j->done == j->pictures && j->second != NULL)
            begin_second(e, j);
        else if (j->rc < 0 || j->done == j->pictures)
            end_job(e, j);
    }
}

/* ---- what the helpers have done ---- */

static bool lacks_memory(int rc)
{
    return rc == CN_ENOMEM || rc == CN_EDEVMEM;
}

/* The task has another layer to do, or another way to try; else its rc and err say how it ended. */
static bool decode_again(struct cn_engine *e, struct cn_decode_task *f)
{
    struct cn_err why = CN_ERR_INIT;
    int rc;

    if (f->rc == CN_OK && f->more) {
        f->rc = cn_decode_task_go_on(f, &f->err);
        return f->rc == CN_OK;
    }
    if (f->not_finite) {
        f->rc = cn_decode_task_widen(f, &f->err);
        return f->rc == CN_OK;
    }
    if (!lacks_memory(f->rc))
        return false;
    cn_engine_drop_caches(e);
    rc = cn_decode_task_split(f, &why);
    if (rc == CN_ENOTFOUND)
        return false;
    f->rc = rc;
    f->err = why;
    return rc == CN_OK;
}

/* The device's failure is everybody's. */
static int take_finished(struct cn_engine *e, struct cn_decode_task *f, struct cn_err *err)
{
    struct cn_job *j = f->job;
    int rc;

    if (j->rc == CN_OK && j->state != CN_JOB_OVER && decode_again(e, f)) {
        cn_helpers_decode(e, f);
        return CN_OK;
    }
    rc = f->rc;
    j->finishing--;
    j->ms[CN_ENGINE_VAE] += f->ms;
    if (rc < 0) {
        if (rc == CN_EDEVICE && err != NULL)
            *err = f->err;
        fail_job(e, j, rc, &f->err);
    } else if (!f->more) {
        j->done++;
    }
    cn_decode_task_free(f);
    if (j->state == CN_JOB_OVER)
        drop_job(e, j);
    return rc == CN_EDEVICE ? rc : CN_OK;
}

static int take_back(struct cn_engine *e, struct cn_err *err)
{
    struct cn_decode_task *f;
    struct cn_job *j;
    int rc = CN_OK;

    while ((j = cn_helpers_take_read(e)) != NULL)
        j->state = CN_JOB_READ;
    while (rc == CN_OK && (f = cn_helpers_take_decoded(e)) != NULL)
        rc = take_finished(e, f, err);
    return rc;
}

/* ---- newcomers ---- */

/* A picture that needs no drawing, which is taken. */
static void show(struct cn_engine *e, struct cn_job *j, int index, struct cn_image *picture_take)
{
    j->finishing++;
    cn_helpers_encode(e, cn_decode_task_ready(j, index, picture_take));
}

/* The maps that were asked for, and what is there without a step: a map alone, or the initial image
 * of which nothing may change. */
static int show_ready(struct cn_engine *e, struct cn_job *j, struct cn_err *err)
{
    struct cn_image copy;
    int rc;

    for (; cn_job_draws_nothing(j) && j->started < j->spec->n; j->started++) {
        const struct cn_image *from =
            j->base == NULL ? &j->control[0].map : &j->init_image;

        if ((rc = cn_image_copy(from, &copy, err)) < 0)
            return rc;
        show(e, j, j->started, &copy);
    }
    for (int k = j->spec->n; k < j->pictures; k++)
        show(e, j, k, &j->control[cn_spec_map_of(j->spec, k)].map);
    return CN_OK;
}

/* What is computed before the first step, if there is one. */
static int prepare_job(struct cn_job *j, struct cn_err *err)
{
    if (j->mask_is_empty && j->drawn == NULL && j->cb.warning != NULL)
        j->cb.warning(j->cb.ctx, CN_WARN_NO_EFFECT, "/mask",
                      "no pixel of the mask is half white or more: nothing is painted");
    return cn_job_draws_nothing(j) ? cn_job_annotate(j, err) : cn_job_prepare(j, err);
}

/* CN_EBUSY: not now. Other failures become the job's, but for the device's. */
static int prepare(struct cn_engine *e, struct cn_job *j, struct cn_err *err)
{
    struct cn_err why = CN_ERR_INIT;
    int rc = cn_engine_pin_models(e, j, &why);

    if (rc == CN_EBUSY)
        return rc;
    if (rc < 0) {
        fail_job(e, j, rc, &why);
        return CN_OK;
    }
    rc = prepare_job(j, &why);
    if (lacks_memory(rc)) {
        struct cn_err again = CN_ERR_INIT;

        cn_engine_drop_caches(e);
        rc = prepare_job(j, &again);
        why = again;
    }
    if (rc == CN_EDEVICE) {
        if (err != NULL)
            *err = why;
        return rc;
    }
    if (rc == CN_OK)
        rc = show_ready(e, j, &why);
    if (rc < 0) {
        fail_job(e, j, rc, &why);
        return CN_OK;
    }
    j->state = CN_JOB_DRAWING;
    if (!cn_job_draws_nothing(j))
        j->batcher = cn_batcher_for(e, j);
    j->vtime = e->now;
    return CN_OK;
}

static int prepare_newcomers(struct cn_engine *e, struct cn_err *err)
{
    double until = cn_now_s() + e->step_ms * 0.5e-3;
    int rc;

    for (struct cn_job *j = e->jobs; j != NULL; j = j->next) {
        if (j->state != CN_JOB_READ || j->rc < 0)
            continue;
        rc = prepare(e, j, err);
        if (rc < 0)
            return rc == CN_EBUSY ? CN_OK : rc; /* nobody overtakes who waits for memory */
        if (cn_now_s() >= until)
            break;
    }
    return CN_OK;
}

/* ---- lanes ---- */

static int images_finishing(const struct cn_engine *e)
{
    int n = 0;

    for (const struct cn_job *j = e->jobs; j != NULL; j = j->next)
        n += j->finishing;
    return n;
}

/* Whose image starts next: of those that have one, the job with the fewest in progress. A job
 * without any does not wait for others', or a large job would make a small one wait for a whole
 * picture. */
static struct cn_job *next_to_start(const struct cn_engine *e)
{
    struct cn_job *best = NULL;

    for (struct cn_job *j = e->jobs; j != NULL; j = j->next) {
        if (j->state != CN_JOB_DRAWING || j->rc < 0 || j->started == j->spec->n)
            continue;
        if (j->lanes > 0 && e->n_lanes >= e->opts.lanes)
            continue;
        if (best == NULL || j->lanes < best->lanes)
            best = j;
    }
    return best;
}

static void add_lane(struct cn_engine *e, struct cn_lane *l)
{
    struct cn_lane **at = &e->lanes;

    while (*at != NULL)
        at = &(*at)->next;
    *at = l;
    if (l->job->lanes == 0) /* time in which it had nothing to do is not made up for */
        l->job->vtime = CN_MAX(l->job->vtime, e->now);
    e->n_lanes++;
    l->job->lanes++;
}

/* Of the job's next image. That of a second pass may begin with a picture, which is encoded now. */
static int new_lane(struct cn_job *j, struct cn_lane **ret, struct cn_err *err)
{
    int rc = j->drawn_picture != NULL ? cn_job_encode_drawn(j, j->started, err) : CN_OK;

    return rc < 0 ? rc : cn_lane_new(j, j->started, ret, err);
}

/* The queue of the decoder is as long as there are lanes: then images rather wait unstarted. */
static void start_lanes(struct cn_engine *e)
{
    struct cn_job *j;

    while (images_finishing(e) <= e->opts.lanes && (j = next_to_start(e)) != NULL) {
        struct cn_err why = CN_ERR_INIT;
        struct cn_lane *l;
        int rc = new_lane(j, &l, &why);

        if (lacks_memory(rc)) {
            why = (struct cn_err)CN_ERR_INIT;
            cn_engine_drop_caches(e);
            rc = new_lane(j, &l, &why);
        }
        if (rc < 0) {
            fail_job(e, j, rc, &why);
            continue;
        }
        j->started++;
        add_lane(e, l);
    }
}

/* ---- the step ---- */

static double cost_of(const struct cn_lane *l)
{
    return (double)cn_lane_network_rows(l) * (double)l->job->width * (double)l->job->height;
}

/* The images of a step, and what it costs each of them. */
struct batch {
    struct cn_lane *lane[CN_ENGINE_MAX_BATCH];
    double cost[CN_ENGINE_MAX_BATCH];
    int n;
};

static bool contains(const struct batch *batch, const struct cn_lane *l)
{
    for (int i = 0; i < batch->n; i++)
        if (batch->lane[i] == l)
            return true;
    return false;
}

static double time_of(const struct batch *batch, const struct cn_lane *l)
{
    double t = l->job->vtime;

    for (int i = 0; i < batch->n; i++)
        if (batch->lane[i]->job == l->job)
            t += cost_of(batch->lane[i]);
    return t;
}

/* Who is served next, of a group (NULL: any) and, if same_controls_as is given, with the same
 * ControlNets in this step. Among images of one job, the one that is furthest behind. */
static struct cn_lane *next_candidate(const struct cn_engine *e, const struct batch *batch,
                                      const struct cn_batcher *g,
                                      const struct cn_lane *same_controls_as)
{
    struct cn_lane *best = NULL;
    double least = 0;

    for (struct cn_lane *l = e->lanes; l != NULL; l = l->next) {
        double t = time_of(batch, l);

        if ((g != NULL && l->job->batcher != g) || contains(batch, l) ||
            (same_controls_as != NULL && cn_lane_controls(same_controls_as) != cn_lane_controls(l)))
            continue;
        if (best == NULL || t < least ||
            (l->job == best->job && cn_sampler_call(l->sampler) < cn_sampler_call(best->sampler))) {
            best = l;
            least = t;
        }
    }
    return best;
}

/* The batch: as many images as there are, rounded down to a power of two; no row is computed for
 * nothing. A batch of n images has at most the rows of n that have two. Those on which the same
 * ControlNets act in this step come first, and others, for which these would run with zero weights,
 * only where that pays and doubles the batch. */
static void choose(const struct cn_engine *e, struct batch *batch)
{
    struct cn_lane *leader = next_candidate(e, batch, NULL, NULL), *l;
    const struct cn_batcher *g = leader->job->batcher;
    int alike = 0, all = 0, rows = leader->job->rows, n, most;

    for (l = e->lanes; l != NULL; l = l->next)
        if (l->job->batcher == g) {
            all++;
            alike += cn_lane_controls(l) == cn_lane_controls(leader);
        }
    most = cn_engine_batch(e, leader->job->width, leader->job->height);
    n = cn_power_of_two(CN_MIN(cn_engine_mixes_controls(e) ? all : alike, most));
    batch->lane[batch->n++] = leader;
    while (batch->n < n) {
        l = next_candidate(e, batch, g, batch->n < alike ? leader : NULL);
        rows += l->job->rows;
        if (rows > 2 * most)
            break;
        batch->lane[batch->n++] = l;
    }
    batch->n = cn_power_of_two(batch->n);
}

/* What a step took is shared out by rows. */
static void account(const struct batch *batch,
                    const struct cn_step_cost *spent)
{
    int rows = 0;

    for (int i = 0; i < batch->n; i++)
        rows += batch->lane[i]->job->rows;
    for (int i = 0; i < batch->n; i++) {
        struct cn_job *j = batch->lane[i]->job;
        double share = (double)j->rows / rows;

        j->vtime += batch->cost[i];
        j->ms[CN_ENGINE_LOAD] += spent->load_ms * share;
        j->ms[CN_ENGINE_CONTROL] += spent->control_ms * share;
        j->ms[CN_ENGINE_UNET] += spent->unet_ms * share;
        if (j->cb.step != NULL)
            j->cb.step(j->cb.ctx, spent->control_ms * share, spent->unet_ms * share);
        if (j->cb.progress != NULL)
            j->cb.progress(j->cb.ctx, batch->lane[i]->image,
                           j->calls_before + cn_sampler_call(batch->lane[i]->sampler),
                           j->calls_before + j->calls + j->calls_after);
    }
}

static int start_decoding(struct cn_engine *e, struct cn_lane *l, struct cn_err *err)
{
    struct cn_decode_task *f;

    if (l->job->second != NULL && !cn_passes_by_picture(l->job)) {
        cn_passes_keep(l);
        l->job->done++;
        return CN_OK;
    }
    f = cn_decode_task_new(l, err);
    if (f == NULL)
        return err->code;
    l->job->finishing++;
    cn_helpers_decode(e, f);
    return CN_OK;
}

/* The job fails, and with it all its images: those of the batch are taken out. */
static void fail_in_batch(struct cn_engine *e, struct batch *batch, struct cn_job *j, int rc,
                          const struct cn_err *why)
{
    int n = 0;

    for (int i = 0; i < batch->n; i++)
        if (batch->lane[i]->job != j) {
            batch->cost[n] = batch->cost[i];
            batch->lane[n++] = batch->lane[i];
        }
    batch->n = n;
    fail_job(e, j, rc, why);
}

/* Images whose last step this was go to the decoder. */
static int finish_lanes(struct cn_engine *e, struct batch *batch, struct cn_err *err)
{
    for (int i = 0; i < batch->n;) {
        struct cn_lane *l = batch->lane[i];
        struct cn_err why = CN_ERR_INIT;
        int rc;

        if (!cn_sampler_done(l->sampler)) {
            i++;
            continue;
        }
        rc = start_decoding(e, l, &why);
        if (lacks_memory(rc)) {
            why = (struct cn_err)CN_ERR_INIT;
            cn_engine_drop_caches(e);
            rc = start_decoding(e, l, &why);
        }
        if (rc == CN_EDEVICE) {
            if (err != NULL)
                *err = why;
            return rc;
        }
        if (rc < 0) {
            fail_in_batch(e, batch, l->job, rc, &why);
            i = 0; /* those before it are not done, or gone */
            continue;
        }
        batch->n--; /* the others keep their order, in which they are decoded */
        for (int k = i; k < batch->n; k++)
            batch->lane[k] = batch->lane[k + 1];
        remove_lane(e, l);
    }
    return CN_OK;
}

/* What runs away never comes back, so its job need not wait for the end. What such an image left in
 * the rows of the batch must not reach others: 0 x NaN is NaN. */
static void stop_runaways(struct cn_engine *e, struct batch *batch)
{
    for (int i = 0; i < batch->n;) {
        struct cn_lane *l = batch->lane[i];
        struct cn_err why = CN_ERR_INIT;

        if (cn_lane_is_finite(l)) {
            i++;
            continue;
        }
        cn_fail(&why, CN_EINTERNAL,
                "image %d of model \"%s\" became values that are not numbers in step %d of %d: the "
                "model, its precision, or the strength of a control is at fault",
                l->image, l->job->base->name, cn_sampler_call(l->sampler), l->job->calls);
        cn_batchers_clear(e);
        fail_in_batch(e, batch, l->job, CN_EINTERNAL, &why);
        i = 0;
    }
}

/* One after the other, so that who fails fails alone. */
static int step_each_alone(struct cn_engine *e, struct batch *batch, struct cn_step_cost *spent,
                           struct cn_err *err)
{
    for (int i = 0; i < batch->n;) {
        struct cn_job *j = batch->lane[i]->job;
        struct cn_err why = CN_ERR_INIT;
        struct cn_step_cost cost = {0};
        int rc = cn_batcher_step(e, j->batcher, &batch->lane[i], 1, &cost, &why);

        if (rc == CN_EDEVICE) {
            if (err != NULL)
                *err = why;
            return rc;
        }
        spent->load_ms += cost.load_ms;
        spent->control_ms += cost.control_ms;
        spent->unet_ms += cost.unet_ms;
        if (rc == CN_OK) {
            i++;
            continue;
        }
        for (int k = i - 1; k >= 0; k--) /* its images before this one go with it */
            i -= batch->lane[k]->job == j;
        fail_in_batch(e, batch, j, rc, &why);
    }
    return CN_OK;
}

/* The step of the batch. When memory is short, caches are dropped and the first image goes alone;
 * after another failure each goes alone. */
static int step_batch(struct cn_engine *e, struct batch *batch, struct cn_step_cost *spent,
                      struct cn_err *err)
{
    struct cn_err why = CN_ERR_INIT;
    int rc = cn_batcher_step(e, batch->lane[0]->job->batcher, batch->lane, batch->n, spent, &why);

    if (rc == CN_OK)
        return rc;
    if (rc == CN_EDEVICE) {
        if (err != NULL)
            *err = why;
        return rc;
    }
    if (lacks_memory(rc)) {
        cn_engine_drop_caches(e);
        batch->n = 1;
    } else if (batch->n == 1) {
        fail_in_batch(e, batch, batch->lane[0]->job, rc, &why);
        return CN_OK;
    }
    return step_each_alone(e, batch, spent, err);
}

static int step(struct cn_engine *e, struct cn_err *err)
{
    struct cn_step_cost spent = {0};
    double start = cn_now_s();
    struct batch batch = {.n = 0};
    int n, rc;

    choose(e, &batch);
    n = batch.n;
    for (int i = 0; i < n; i++)
        batch.cost[i] = cost_of(batch.lane[i]);
    e->now = CN_MAX(e->now, batch.lane[0]->job->vtime);
    rc = step_batch(e, &batch, &spent, err);
    if (rc < 0)
        return rc;
    stop_runaways(e, &batch);
    account(&batch, &spent);
    e->step_ms = (cn_now_s() - start) * 1e3 - spent.load_ms;
    rc = finish_lanes(e, &batch, err);
    if (e->opts.hooks.step_stats != NULL)
        e->opts.hooks.step_stats(e->opts.hooks.ctx, e->n_lanes, n, e->step_ms);
    return rc;
}

/* ---- the owner's functions ---- */

/* outcome: NULL, or where the end is told as well. */
static int begin_job(struct cn_engine *e, const struct cn_spec *spec, const struct cn_engine_cb *cb,
                     struct cn_job_outcome *outcome, struct cn_err *err)
{
    struct cn_job *j;
    int rc = cn_helpers_start(e, err);

    if (rc < 0 || (rc = cn_passes_new(e, spec, cb, &j, err)) < 0)
        return rc;
    j->outcome = outcome;
    add_job(e, j);
    return CN_OK;
}

int cn_engine_begin(struct cn_engine *e, const struct cn_spec *spec, const struct cn_engine_cb *cb,
                    struct cn_err *err)
{
    return begin_job(e, spec, cb, NULL, err);
}

bool cn_engine_busy(const struct cn_engine *e)
{
    return e->n_lanes > 0 || e->work_pending || cn_helpers_has_news(e);
}

void cn_engine_wait(struct cn_engine *e)
{
    if (!cn_engine_busy(e) && e->jobs != NULL)
        cn_helpers_wait(e);
}

int cn_engine_lanes(const struct cn_engine *e)
{
    return e->n_lanes;
}

static int turn(struct cn_engine *e, struct cn_err *err)
{
    int rc;

    e->work_pending = false;
    if ((rc = take_back(e, err)) < 0)
        return rc;
    end_jobs(e);
    if ((rc = prepare_newcomers(e, err)) < 0)
        return rc;
    cn_engine_shrink(e);
    start_lanes(e);
    if (e->n_lanes > 0 && (rc = step(e, err)) < 0)
        return rc;
    end_jobs(e);
    cn_engine_trim(e); /* steps and decoders load what they need when they run first */
    return CN_OK;
}

int cn_engine_step(struct cn_engine *e, struct cn_err *err)
{
    int rc = e->helpers != NULL ? turn(e, err) : CN_OK;

    if (rc < 0) /* nobody is called for what is lost */
        cn_helpers_stop(e);
    return rc;
}

void cn_engine_drop_jobs(struct cn_engine *e)
{
    cn_helpers_stop(e);
    while (e->lanes != NULL)
        remove_lane(e, e->lanes);
    while (e->jobs != NULL) {
        e->jobs->finishing = 0;
        drop_job(e, e->jobs);
    }
}

/* ---- one job from beginning to end ---- */

int cn_engine_run(struct cn_engine *e, const struct cn_spec *spec, const struct cn_engine_cb *cb,
                  struct cn_err *err)
{
    struct cn_job_outcome outcome = {.err = CN_ERR_INIT};
    int rc = begin_job(e, spec, cb, &outcome, err);

    if (rc < 0)
        return rc;
    while (rc == CN_OK && !outcome.over) {
        cn_engine_wait(e);
        rc = cn_engine_step(e, err);
    }
    if (rc < 0) { /* no thread may call what is on this stack */
        cn_engine_drop_jobs(e);
        return rc;
    }
    if (outcome.rc < 0 && err != NULL)
        *err = outcome.err;
    return outcome.rc;
}
