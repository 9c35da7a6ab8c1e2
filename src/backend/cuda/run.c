/* Running plans.
 *
 * The first run with a set of buffers enqueues step by step. The second one with the same buffers
 * is captured: a step of a network is about a thousand kernels, and a thousand launches from the
 * host take as long as the kernels. From then on a run is one launch of that graph. Plans keep a
 * few graphs, because a batch has few sets of buffers: the pool gives a new job the addresses of
 * the one that ended. What changes from step to step (times, weights of rows, text, the latent
 * itself) is content of these buffers, so a batch may change its members without a new capture.
 *
 * Inside a run nothing is allocated and the host waits for nothing. */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

static int enqueue_steps(struct cuda_plan *p, cudaStream_t stream, struct cn_err *err)
{
    for (int i = 0; i < p->n_steps; i++) {
        int rc = p->step[i].run(p, &p->step[i], stream, err);

        if (rc < 0)
            return rc;
    }
    return CN_OK;
}

/* ---- graphs ---- */

/* Records the steps on the stream that is there for this alone. A capture that was begun is always
 * ended. */
static int record_steps(struct cuda_plan *p, cudaGraph_t *ret, struct cn_err *err)
{
    struct cuda_queue *q = p->q;
    cudaError_t e;
    int rc = cuda_check(p->b, cudaStreamBeginCapture(q->recorder, cudaStreamCaptureModeThreadLocal),
                        "begin a capture", err);

    if (rc < 0)
        return rc;
    rc = enqueue_steps(p, q->recorder, err);
    e = cudaStreamEndCapture(q->recorder, ret);
    return rc < 0 ? rc : cuda_check(p->b, e, "end a capture", err);
}

static int capture_graph(struct cuda_plan *p, struct cuda_graph *g, struct cn_err *err)
{
    cudaGraph_t graph = NULL;
    int rc = record_steps(p, &graph, err);

    if (rc == CN_OK)
        rc = cuda_check(p->b, cudaGraphInstantiate(&g->exec, graph, 0), "instantiate a graph", err);
    if (rc < 0)
        g->exec = NULL;
    if (graph != NULL)
        (void)cudaGraphDestroy(graph);
    return rc;
}

static int enqueue_or_launch(struct cuda_plan *p, struct cn_err *err)
{
    bool fresh;
    struct cuda_graph *g = cuda_graph_find(p, &fresh);
    struct cn_err why = CN_ERR_INIT;
    int rc;

    g->used = ++p->clock;
    if (!fresh && g->exec == NULL && !p->not_captured) {
        rc = capture_graph(p, g, &why);
        if (rc == CN_EDEVICE)
            return cn_fail(err, rc, "%s", why.msg);
        /* A graph only saves time: without it, step by step; without memory, this time. */
        p->not_captured = rc < 0 && rc != CN_EDEVMEM;
    }
    if (g->exec == NULL)
        return enqueue_steps(p, p->q->stream, err);
    return cuda_check(p->b, cudaGraphLaunch(g->exec, p->q->stream), "launch a graph", err);
}

/* ---- profile ---- */

static int enqueue_timed_steps(struct cuda_plan *p, struct cn_err *err)
{
    cudaStream_t stream = p->q->stream;
    int rc = cuda_check(p->b, cudaEventRecord(p->event[0], stream), "record an event", err);

    for (int i = 0; i < p->n_steps && rc == CN_OK; i++) {
        rc = p->step[i].run(p, &p->step[i], stream, err);
        if (rc == CN_OK)
            rc = cuda_check(p->b, cudaEventRecord(p->event[i + 1], stream), "record an event", err);
    }
    if (rc == CN_OK)
        rc = cuda_queue_wait(p->q, err);
    for (int i = 0; i < p->n_steps && rc == CN_OK; i++) {
        float ms = 0;

        rc = cuda_check(p->b, cudaEventElapsedTime(&ms, p->event[i], p->event[i + 1]),
                        "time a step", err);
        p->step[i].ms += ms;
        p->step[i].runs++;
    }
    return rc;
}

char *cuda_plan_profile(const struct cn_plan *base)
{
    const struct cuda_plan *p = (const struct cuda_plan *)base;
    struct cn_step_profile *step = cn_xcalloc((size_t)p->n_steps + 1, sizeof(*step));
    char *steps, *text;
    int n = 0;

    for (int i = 0; i < p->n_steps; i++)
        if (p->step[i].runs > 0)
            step[n++] = (struct cn_step_profile){p->step[i].label, p->step[i].ms, p->step[i].runs};
    steps = cn_profile_text(step, n);
    text = cn_xprintf("%s%s", p->not_captured ? "this plan cannot be captured\n" : "", steps);
    free(step);
    free(steps);
    return text;
}

/* ---- a run ---- */

/* How many rows there are that ids, an input of node i, may name; 0: it is none. */
static int64_t rows_named(const struct cn_graph *g, int i, cn_val ids)
{
    const struct cn_node *n = &g->node[i];

    if (n->op == CN_OP_GATHER && n->in[1] == ids)
        return g->value[n->in[0]].shape.dim[1];
    return 0;
}

/* The kernels would make zeros of what is not there. */
static int check_ids(const struct cuda_plan *p, struct cn_buffer *const *in, struct cn_err *err)
{
    for (int i = 0; i < p->g->n_inputs; i++) {
        const struct cuda_buffer *buf = (const struct cuda_buffer *)in[i];

        if (buf->type != CN_I32)
            continue;
        for (int k = 0; k < p->g->count; k++) {
            int64_t rows = rows_named(p->g, k, p->g->input[i].val);

            if (rows > 0 && (buf->id_min < 0 || buf->id_max >= rows))
                return cn_fail(err, CN_EINVAL, "ids from %d to %d: there are %lld rows",
                               (int)buf->id_min, (int)buf->id_max, (long long)rows);
        }
    }
    return CN_OK;
}

/* Notes the buffers' addresses; the queue gets them. */
static int bind_buffers(struct cuda_plan *p, struct cn_buffer *const *list, const struct cn_io *io,
                        int n, void **address, struct cn_err *err)
{
    CN_ASSERT(cn_buffers_fit(p->g, io, n, p->type, list));
    for (int i = 0; i < n; i++) {
        struct cuda_buffer *buf = (struct cuda_buffer *)list[i];
        int rc = cuda_buffer_take(buf, p->q, err);

        if (rc < 0)
            return rc;
        address[i] = buf->data;
    }
    return CN_OK;
}

int cuda_plan_run(struct cn_plan *base, struct cn_buffer *const *in, struct cn_buffer *const *out,
                  struct cn_err *err)
{
    struct cuda_plan *p = (struct cuda_plan *)base;
    int rc = cuda_enter(p->b, err);

    if (rc == CN_OK)
        rc = cuda_take_error(p->b, err);
    if (rc == CN_OK)
        rc = check_ids(p, in, err);
    if (rc < 0)
        return rc;
    rc = cuda_queue_lock_with(p->q, p->arena_bytes, err);
    if (rc < 0)
        return rc;
    rc = bind_buffers(p, in, p->g->input, p->g->n_inputs, p->address, err);
    if (rc == CN_OK)
        rc = bind_buffers(p, out, p->g->output, p->g->n_outputs, p->address + p->g->n_inputs, err);
    if (rc == CN_OK)
        rc = p->b->opts.profile ? enqueue_timed_steps(p, err) : enqueue_or_launch(p, err);
    pthread_mutex_unlock(&p->q->lock);
    return rc;
}

size_t cuda_plan_arena_bytes(const struct cn_plan *p)
{
    return ((const struct cuda_plan *)p)->arena_bytes;
}
