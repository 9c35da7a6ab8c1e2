/* cuDNN's graph interface in C: descriptors, the choice of an engine, execution.
 *
 * An operation graph is offered to cuDNN's heuristics, which answer with engine configurations,
 * best guess first; the precompiled ones are tried and timed, and the choice is kept (tune.c) as
 * engine and place in the list, which are the same again on the same device with the same library.
 * Engines that are compiled at run time come last: they need 0.3 to 7 s each, at every start. */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    CONFIGS = 24, /* of one operation graph; cuDNN has up to 16 for a convolution with bias */
    TRIALS = 8,   /* of them, how many are timed */
    WORKSPACE_MIB = 512
};

/* ---- descriptors ---- */

cudnnBackendDescriptor_t cuda_dnn_new(struct cuda_dnn_build *d, cudnnBackendDescriptorType_t t)
{
    cudnnBackendDescriptor_t p = NULL;

    if (d->rc < 0)
        return NULL;
    CN_ASSERT(d->n_parts < (int)CN_LEN(d->part));
    d->rc = cuda_check_dnn(d->b, cudnnBackendCreateDescriptor(t, &p), "make a descriptor", d->err);
    if (d->rc == CN_OK)
        d->part[d->n_parts++] = p;
    return p;
}

void cuda_dnn_set(struct cuda_dnn_build *d, cudnnBackendDescriptor_t p,
                  cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t t, int64_t n,
                  const void *value)
{
    char what[48];

    if (d->rc < 0)
        return;
    snprintf(what, sizeof(what), "set attribute %d", (int)name);
    d->rc = cuda_check_dnn(d->b, cudnnBackendSetAttribute(p, name, t, n, value), what, d->err);
}

void cuda_dnn_finalize(struct cuda_dnn_build *d, cudnnBackendDescriptor_t p, const char *what)
{
    if (d->rc == CN_OK)
        d->rc = cuda_check_dnn(d->b, cudnnBackendFinalize(p), what, d->err);
}

cudnnBackendDescriptor_t cuda_dnn_tensor(struct cuda_dnn_build *d, int64_t uid, cudnnDataType_t t,
                                         const int64_t dim[4], const int64_t stride[4], int flags)
{
    cudnnBackendDescriptor_t p = cuda_dnn_new(d, CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    bool is_virtual = flags & CUDA_DNN_VIRTUAL, by_value = flags & CUDA_DNN_VALUE;
    int64_t align = by_value ? 4 : 16;

    cuda_dnn_set(d, p, CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, &t);
    cuda_dnn_set(d, p, CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dim);
    cuda_dnn_set(d, p, CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, stride);
    cuda_dnn_set(d, p, CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, &uid);
    cuda_dnn_set(d, p, CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, &align);
    cuda_dnn_set(d, p, CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
    if (by_value)
        cuda_dnn_set(d, p, CUDNN_ATTR_TENSOR_IS_BY_VALUE, CUDNN_TYPE_BOOLEAN, 1, &by_value);
    cuda_dnn_finalize(d, p, "describe a tensor");
    return p;
}

void cuda_dnn_release(struct cuda_dnn_build *d)
{
    while (d->n_parts > 0)
        (void)cudnnBackendDestroyDescriptor(d->part[--d->n_parts]);
}

cudnnDataType_t cuda_dnn_type(enum cn_dtype t)
{
    return t == CN_F16 ? CUDNN_DATA_HALF : t == CN_BF16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}

/* ---- engines ---- */

struct candidates {
    cudnnBackendDescriptor_t config[CONFIGS];
    int64_t engine[CONFIGS];
    bool slow_start[CONFIGS]; /* compiled at run time */
    int n;
};

static void candidates_release(struct candidates *c)
{
    for (int i = 0; i < c->n; i++)
        if (c->config[i] != NULL)
            (void)cudnnBackendDestroyDescriptor(c->config[i]);
    c->n = 0;
}

static bool has_note(cudnnBackendDescriptor_t engine, cudnnBackendAttributeName_t name,
                     cudnnBackendAttributeType_t type, int wanted)
{
    int note[32];
    int64_t n = 0;

    if (cudnnBackendGetAttribute(engine, name, type, CN_LEN(note), &n, note) !=
        CUDNN_STATUS_SUCCESS)
        return false;
    for (int64_t i = 0; i < n && i < (int64_t)CN_LEN(note); i++)
        if (note[i] == wanted)
            return true;
    return false;
}

static bool has_numerical_note(cudnnBackendDescriptor_t engine, cudnnBackendNumericalNote_t note)
{
    return has_note(engine, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, (int)note);
}

/* A picture must be the same each time, and F32 must mean F32: its engines on tensor cores round
 * their inputs to 10 bits. Sums in F16 and Winograd's algorithm in 16 bits lose too much. */
static bool acceptable(enum cn_dtype type, cudnnBackendDescriptor_t engine)
{
    if (has_numerical_note(engine, CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC) ||
        has_numerical_note(engine, CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION) ||
        has_numerical_note(engine, CUDNN_NUMERICAL_NOTE_FFT))
        return false;
    if (type == CN_F32)
        return !has_numerical_note(engine, CUDNN_NUMERICAL_NOTE_TENSOR_CORE) &&
               !has_numerical_note(engine, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS) &&
               !has_numerical_note(engine, CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13);
    return !has_numerical_note(engine, CUDNN_NUMERICAL_NOTE_WINOGRAD);
}

/* Keeps config when its engine will do, otherwise destroys it. */
static void add_candidate(enum cn_dtype type, struct candidates *c, cudnnBackendDescriptor_t config)
{
    cudnnBackendDescriptor_t engine = NULL;
    int64_t n = 0, index = -1;
    bool keep = false;

    if (c->n < CONFIGS &&
        cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine) ==
            CUDNN_STATUS_SUCCESS &&
        cudnnBackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                 1, &n, &engine) == CUDNN_STATUS_SUCCESS &&
        acceptable(type, engine)) {
        (void)cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1,
                                       &n, &index);
        c->slow_start[c->n] =
            has_note(engine, CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE, CUDNN_TYPE_BEHAVIOR_NOTE,
                     CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION);
        c->engine[c->n] = index;
        c->config[c->n++] = config;
        keep = true;
    }
    if (engine != NULL)
        (void)cudnnBackendDestroyDescriptor(engine);
    if (!keep)
        (void)cudnnBackendDestroyDescriptor(config);
}

/* Adds what the heuristics of one mode propose; that they propose nothing is no failure. */
static void ask_heuristics(struct cuda_dnn_build *d, cudnnBackendDescriptor_t graph,
                           cudnnBackendHeurMode_t mode, struct candidates *c)
{
    cudnnBackendDescriptor_t heur = cuda_dnn_new(d, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    cudnnBackendDescriptor_t config[CONFIGS] = {NULL};
    int64_t n = 0, made = 0;

    cuda_dnn_set(d, heur, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                 &graph);
    cuda_dnn_set(d, heur, CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
    if (d->rc < 0 || cudnnBackendFinalize(heur) != CUDNN_STATUS_SUCCESS)
        return;
    while (made < CONFIGS && cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR,
                                                          &config[made]) == CUDNN_STATUS_SUCCESS)
        made++;
    if (cudnnBackendGetAttribute(heur, CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
                                 made, &n, config) != CUDNN_STATUS_SUCCESS)
        n = 0;
    for (int64_t i = 0; i < made; i++)
        if (i < n)
            add_candidate(d->type, c, config[i]);
        else
            (void)cudnnBackendDestroyDescriptor(config[i]);
}

static void list_candidates(struct cuda_dnn_build *d, struct candidates *c)
{
    cudnnBackendDescriptor_t graph = cuda_dnn_new(d, CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);

    c->n = 0;
    cuda_dnn_set(d, graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, d->n_ops,
                 d->op);
    cuda_dnn_set(d, graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, &d->q->dnn);
    cuda_dnn_finalize(d, graph, "join operations");
    ask_heuristics(d, graph, CUDNN_HEUR_MODE_A, c);
    ask_heuristics(d, graph, CUDNN_HEUR_MODE_FALLBACK, c);
}

/* An execution plan of one configuration; NULL when the engine cannot, which is no failure. */
static cudnnBackendDescriptor_t finalize_plan(struct cuda_dnn_build *d,
                                              cudnnBackendDescriptor_t config, size_t *ret_bytes)
{
    cudnnBackendDescriptor_t plan = NULL;
    int64_t n = 0, bytes = 0;

    if (cudnnBackendCreateDescriptor(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, &plan) !=
        CUDNN_STATUS_SUCCESS)
        return NULL;
    if (cudnnBackendSetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1,
                                 &d->q->dnn) == CUDNN_STATUS_SUCCESS &&
        cudnnBackendSetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG,
                                 CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                                 &config) == CUDNN_STATUS_SUCCESS &&
        cudnnBackendFinalize(plan) == CUDNN_STATUS_SUCCESS &&
        cudnnBackendGetAttribute(plan, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64,
                                 1, &n, &bytes) == CUDNN_STATUS_SUCCESS &&
        bytes <= (int64_t)WORKSPACE_MIB << 20) {
        *ret_bytes = (size_t)CN_MAX(bytes, 0);
        return plan;
    }
    (void)cudnnBackendDestroyDescriptor(plan);
    return NULL;
}

/* ---- running ---- */

static int use_stream(struct cuda_queue *q, cudaStream_t stream, struct cn_err *err)
{
    int rc;

    if (q->dnn_stream == stream)
        return CN_OK;
    rc = cuda_check_dnn(q->b, cudnnSetStream(q->dnn, stream), "set cuDNN's stream", err);
    if (rc == CN_OK)
        q->dnn_stream = stream;
    return rc;
}

int cuda_dnn_run(struct cuda_queue *q, const struct cuda_dnn *p, void *const *data, void *workspace,
                 cudaStream_t stream, struct cn_err *err)
{
    struct cuda_dnn_build d = {.b = q->b, .q = q, .err = err};
    cudnnBackendDescriptor_t pack = cuda_dnn_new(&d, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    int64_t uid[CN_LEN(p->io)];
    void *at[CN_LEN(p->io)];

    for (int i = 0; i < p->n_io; i++) {
        uid[i] = p->io[i].uid;
        at[i] = p->io[i].bytes == 0 ? (void *)(uintptr_t)&p->value : data[i];
    }
    cuda_dnn_set(&d, pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, p->n_io, uid);
    cuda_dnn_set(&d, pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, p->n_io, at);
    cuda_dnn_set(&d, pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
    cuda_dnn_finalize(&d, pack, "bind tensors");
    if (d.rc == CN_OK)
        d.rc = use_stream(q, stream, err);
    if (d.rc == CN_OK)
        d.rc = cuda_check_dnn(q->b, cudnnBackendExecute(q->dnn, p->plan, pack), "run a cuDNN plan",
                              err);
    cuda_dnn_release(&d);
    return d.rc;
}

static void dnn_free(struct cuda_dnn *p)
{
    if (p->plan != NULL)
        (void)cudnnBackendDestroyDescriptor(p->plan);
    if (p->config != NULL)
        (void)cudnnBackendDestroyDescriptor(p->config);
    free(p->key);
    free(p);
}

void cuda_dnn_unref(struct cuda_backend *b, struct cuda_dnn *p)
{
    struct cuda_dnn **at = &b->dnn;

    if (p == NULL || --p->refs > 0)
        return;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    dnn_free(p);
}

static struct cuda_dnn *find_dnn(const struct cuda_backend *b, const char *key)
{
    struct cuda_dnn *p = b->dnn;

    while (p != NULL && strcmp(p->key, key) != 0)
        p = p->next;
    return p;
}

/* ---- the choice ---- */

/* Memory for trials: what the operands would be, contents indifferent. */
struct trial {
    struct cuda_queue *q;
    struct cuda_dnn *p;
    void *data[CN_LEN(((struct cuda_dnn *)0)->io)];
    void *workspace;
};

static int run_trial(void *ctx, struct cn_err *err)
{
    struct trial *t = ctx;

    return cuda_dnn_run(t->q, t->p, t->data, t->workspace, t->q->stream, err);
}

static int trial_init(struct trial *t, struct cuda_backend *b, const struct cuda_dnn *p,
                      struct cn_err *err)
{
    for (int i = 0; i < p->n_io; i++) {
        int rc =
            p->io[i].bytes > 0 ? cuda_alloc(b, p->io[i].bytes, "a trial", &t->data[i], err) : CN_OK;

        if (rc < 0)
            return rc;
    }
    return CN_OK;
}

static void trial_release(struct trial *t, struct cuda_backend *b, const struct cuda_dnn *p)
{
    for (int i = 0; i < p->n_io; i++)
        cuda_free(b, t->data[i], p->io[i].bytes);
}

/* Milliseconds of one finalised plan. CN_EDEVICE is a failure; anything else rules the plan out. */
static int time_plan(struct cuda_dnn_build *d, struct trial *t, cudnnBackendDescriptor_t plan,
                     size_t workspace, float *ret)
{
    cudnnBackendDescriptor_t old = t->p->plan;
    struct cn_err why = CN_ERR_INIT;
    int rc = workspace > 0 ? cuda_alloc(d->b, workspace, "a trial", &t->workspace, &why) : CN_OK;

    t->p->plan = plan;
    if (rc == CN_OK)
        rc = cuda_tune_time(d->q, run_trial, t, ret, &why);
    t->p->plan = old;
    cuda_free(d->b, t->workspace, workspace);
    t->workspace = NULL;
    if (rc == CN_EDEVICE)
        return d->rc = cn_fail(d->err, rc, "%s", why.msg);
    return rc;
}

/* Takes over plan and config i. */
static void adopt_plan(struct cuda_dnn *p, struct candidates *c, int i,
                       cudnnBackendDescriptor_t plan, size_t workspace)
{
    if (p->plan != NULL)
        (void)cudnnBackendDestroyDescriptor(p->plan);
    if (p->config != NULL)
        (void)cudnnBackendDestroyDescriptor(p->config);
    p->plan = plan;
    p->config = c->config[i];
    p->workspace = workspace;
    c->config[i] = NULL;
}

/* The choice kept from an earlier time: "ENGINE PLACE". */
static bool take_known_engine(struct cuda_dnn_build *d, const char *known, struct candidates *c,
                              struct cuda_dnn *p)
{
    long long engine;
    size_t bytes;
    int i;
    cudnnBackendDescriptor_t plan;

    if (known == NULL || sscanf(known, "%lld %d", &engine, &i) != 2 || i < 0 || i >= c->n ||
        c->engine[i] != engine)
        return false;
    plan = finalize_plan(d, c->config[i], &bytes);
    if (plan != NULL)
        adopt_plan(p, c, i, plan, bytes);
    return plan != NULL;
}

/* Tries the candidates that start fast, or the others. Returns how many work. */
static int try_engines(struct cuda_dnn_build *d, const char *key, struct candidates *c,
                       struct cuda_dnn *p, bool slow_start)
{
    struct trial t = {.q = d->q, .p = p};
    struct cn_err why = CN_ERR_INIT;
    /* with too little memory the first is taken, too */
    bool timed = d->timed && trial_init(&t, d->b, p, &why) == CN_OK;
    float best = 0;
    int works = 0, most = slow_start || !timed ? 1 : TRIALS;
    char text[48];

    for (int i = 0; i < c->n && works < most && d->rc == CN_OK; i++) {
        float ms = 0;
        size_t bytes;
        cudnnBackendDescriptor_t plan;

        if (c->config[i] == NULL || c->slow_start[i] != slow_start)
            continue;
        plan = finalize_plan(d, c->config[i], &bytes);
        if (plan == NULL)
            continue;
        if ((timed && time_plan(d, &t, plan, bytes, &ms) < 0) || (works > 0 && ms >= best)) {
            (void)cudnnBackendDestroyDescriptor(plan);
            works += ms > 0;
            continue;
        }
        works++;
        best = ms;
        snprintf(text, sizeof(text), "%lld %d", (long long)c->engine[i], i);
        adopt_plan(p, c, i, plan, bytes);
    }
    trial_release(&t, d->b, p);
    if (works > 0 && timed && d->rc == CN_OK)
        cuda_tune_keep(d->b, key, text);
    return works;
}

static struct cuda_dnn *new_dnn(const char *key, const struct cuda_dnn_io *io, int n_io)
{
    struct cuda_dnn *p = cn_xcalloc(1, sizeof(*p));

    CN_ASSERT(n_io <= (int)CN_LEN(p->io));
    p->key = cn_xstrdup(key);
    p->refs = 1;
    p->n_io = n_io;
    memcpy(p->io, io, (size_t)n_io * sizeof(*io));
    for (int i = 0; i < n_io; i++)
        if (io[i].bytes == 0)
            memcpy(&p->value, io[i].value, sizeof(p->value));
    return p;
}

int cuda_dnn_choose(struct cuda_dnn_build *d, const char *key, const struct cuda_dnn_io *io,
                    int n_io, struct cuda_dnn **ret)
{
    const char *known = d->timed ? cuda_tune_find(d->b, key) : NULL;
    struct candidates c;
    struct cuda_dnn *p;
    char own[CUDA_KEY + 16];

    if (d->rc < 0)
        return d->rc;
    snprintf(own, sizeof(own), "%s q%d%s", key, d->q->id, d->timed ? " timed" : "");
    p = find_dnn(d->b, own);
    if (p != NULL) {
        p->refs++;
        *ret = p;
        return CN_OK;
    }
    p = new_dnn(own, io, n_io);
    pthread_mutex_lock(&d->q->lock); /* its handle: another thread may be running a plan with it */
    list_candidates(d, &c);
    if (d->rc == CN_OK && !take_known_engine(d, known, &c, p) &&
        try_engines(d, key, &c, p, false) == 0 && d->rc == CN_OK &&
        try_engines(d, key, &c, p, true) == 0 && d->rc == CN_OK)
        d->rc = cn_fail(d->err, CN_ENOTFOUND, "cuDNN has no engine for %s among %d", key, c.n);
    candidates_release(&c);
    pthread_mutex_unlock(&d->q->lock);
    if (d->rc < 0) {
        dnn_free(p);
        return d->rc;
    }
    p->next = d->b->dnn;
    d->b->dnn = p;
    *ret = p;
    return CN_OK;
}
