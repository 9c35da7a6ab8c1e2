/* cuDNN's graph interface: convolutions with sums behind them, and attention.
 *
 * A descriptor keeps the attributes that were set, and the descriptors among them; each is
 * counted, so that whoever destroys a part while another needs it is forgiven, as by cuDNN. The
 * heuristics know three engines: 41, precompiled, takes a convolution with a residual, a bias, or
 * both in this order; 7, compiled at run time, takes any order; 9 attention of 16-bit types, d a
 * multiple of 8 up to 256. */
#include "base/base.h"
#include "tests/standin/standin_priv.h"
#include "base/mem.h"
#include "kernels/ref/cnk_ref.h"

#include <cudnn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ATTRIBUTES = 16, MAX_BYTES = 128 };

struct attribute {
    cudnnBackendAttributeName_t name;
    cudnnBackendAttributeType_t type;
    int64_t n;
    unsigned char bytes[MAX_BYTES];
};

struct part {
    cudnnBackendDescriptorType_t type;
    int refs;
    bool finalized;
    struct attribute attribute[MAX_ATTRIBUTES];
    int n_attributes;
    int64_t engine; /* ENGINE, ENGINECFG */
    int proposal;   /* ENGINECFG */
};

struct cudnnContext {
    cudaStream_t stream;
    int device;
};

#define ENTER(f)                                                                                   \
    int code_;                                                                                     \
    standin_lock();                                                                                \
    code_ = standin_count(STANDIN_##f);                                                            \
    if (code_ != 0) {                                                                              \
        standin_unlock();                                                                          \
        return (cudnnStatus_t)code_;                                                               \
    }

#define LEAVE(status)                                                                              \
    do {                                                                                           \
        cudnnStatus_t result_ = (status);                                                          \
        standin_unlock();                                                                          \
        return result_;                                                                            \
    } while (0)

size_t cudnnGetVersion(void)
{
    return CUDNN_VERSION;
}

const char *cudnnGetErrorString(cudnnStatus_t status)
{
    static char name[48];

    snprintf(name, sizeof(name), "status %d", (int)status);
    return name;
}

void cudnnGetLastErrorString(char *message, size_t max_size)
{
    snprintf(message, max_size, "of the stand-in");
}

cudnnStatus_t cudnnCreate(cudnnHandle_t *handle)
{
    ENTER(cudnnCreate);
    *handle = cn_xcalloc(1, sizeof(**handle));
    (*handle)->device = standin_make_here();
    standin_now.live_objects++;
    LEAVE(CUDNN_STATUS_SUCCESS);
}

cudnnStatus_t cudnnDestroy(cudnnHandle_t handle)
{
    standin_lock();
    standin_count(STANDIN_cudnnDestroy);
    free(handle);
    standin_now.live_objects--;
    LEAVE(CUDNN_STATUS_SUCCESS);
}

cudnnStatus_t cudnnSetStream(cudnnHandle_t handle, cudaStream_t stream)
{
    ENTER(cudnnSetStream);
    if (standin_device_of(stream) != handle->device)
        LEAVE(CUDNN_STATUS_BAD_PARAM);
    handle->stream = stream;
    LEAVE(CUDNN_STATUS_SUCCESS);
}

/* ---- descriptors ---- */

static size_t type_size(cudnnBackendAttributeType_t t)
{
    switch (t) {
    case CUDNN_TYPE_BOOLEAN:
        return sizeof(bool);
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
        return 8;
    default:
        return 4; /* enumerations, float */
    }
}

static void unref(struct part *p)
{
    if (p == NULL || --p->refs > 0)
        return;
    for (int i = 0; i < p->n_attributes; i++)
        for (int64_t k = 0; k < p->attribute[i].n; k++)
            if (p->attribute[i].type == CUDNN_TYPE_BACKEND_DESCRIPTOR)
                unref(((struct part **)(void *)p->attribute[i].bytes)[k]);
    free(p);
    standin_now.live_objects--;
}

static const struct attribute *find(const struct part *p, cudnnBackendAttributeName_t name)
{
    for (int i = 0; i < p->n_attributes; i++)
        if (p->attribute[i].name == name)
            return &p->attribute[i];
    return NULL;
}

static struct part *child(const struct part *p, cudnnBackendAttributeName_t name, int64_t i)
{
    const struct attribute *a = find(p, name);

    return a != NULL && i < a->n ? ((struct part *const *)(const void *)a->bytes)[i] : NULL;
}

static int64_t word(const struct part *p, cudnnBackendAttributeName_t name, int i)
{
    const struct attribute *a = find(p, name);
    int64_t wide = 0;
    int narrow = 0;

    if (a == NULL || i >= a->n)
        return 0;
    if (a->type == CUDNN_TYPE_BOOLEAN)
        return a->bytes[i];
    if (type_size(a->type) == 8) {
        memcpy(&wide, a->bytes + 8 * (size_t)i, 8);
        return wide;
    }
    memcpy(&narrow, a->bytes + 4 * (size_t)i, 4);
    return narrow;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t *ret)
{
    struct part *p;

    ENTER(cudnnBackendCreateDescriptor);
    p = cn_xcalloc(1, sizeof(*p));
    p->type = type;
    p->refs = 1;
    standin_now.live_objects++;
    *ret = p;
    LEAVE(CUDNN_STATUS_SUCCESS);
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t p)
{
    standin_lock();
    unref(p);
    LEAVE(CUDNN_STATUS_SUCCESS);
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t descriptor,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t n,
                                       const void *value)
{
    struct part *p = descriptor;
    struct attribute *a;

    ENTER(cudnnBackendSetAttribute);
    if (p->finalized || n < 0 || (size_t)n * type_size(type) > MAX_BYTES ||
        p->n_attributes == MAX_ATTRIBUTES || find(p, name) != NULL)
        LEAVE(CUDNN_STATUS_BAD_PARAM);
    a = &p->attribute[p->n_attributes++];
    a->name = name;
    a->type = type;
    a->n = n;
    memcpy(a->bytes, value, (size_t)n * type_size(type));
    for (int64_t i = 0; i < n && type == CUDNN_TYPE_BACKEND_DESCRIPTOR; i++) {
        struct part *c = ((struct part **)(void *)a->bytes)[i];

        if (!c->finalized) {
            a->n = i;
            LEAVE(CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED);
        }
        c->refs++;
    }
    LEAVE(CUDNN_STATUS_SUCCESS);
}

/* ---- what the engines take ---- */

enum { X_AND_MORE = 8 };

/* The operations of a graph, taken apart. */
struct graph {
    const struct part *conv, *sdpa, *sum[3];
    int sums;
};

static void take_apart(const struct part *graph, struct graph *ret)
{
    const struct attribute *ops = find(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS);

    memset(ret, 0, sizeof(*ret));
    for (int64_t i = 0; ops != NULL && i < ops->n; i++) {
        const struct part *o = child(graph, CUDNN_ATTR_OPERATIONGRAPH_OPS, i);

        if (o->type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR)
            ret->conv = o;
        else if (o->type == CUDNN_BACKEND_OPERATION_SDPA_FWD_DESCRIPTOR)
            ret->sdpa = o;
        else if (ret->sums < 3)
            ret->sum[ret->sums++] = o;
    }
}

static int64_t elements(const struct part *tensor)
{
    int64_t n = 1;

    for (int i = 0; i < 4; i++)
        n *= word(tensor, CUDNN_ATTR_TENSOR_DIMENSIONS, i);
    return n;
}

static const struct part *added(const struct part *sum)
{
    return child(sum, CUDNN_ATTR_OPERATION_POINTWISE_BDESC, 0);
}

static bool is_bias(const struct part *sum)
{
    const struct part *b = added(sum);

    return elements(b) == word(b, CUDNN_ATTR_TENSOR_DIMENSIONS, 1);
}

static bool is_grouped(const struct part *conv)
{
    const struct part *x = child(conv, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, 0);
    const struct part *w = child(conv, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, 0);

    return word(x, CUDNN_ATTR_TENSOR_DIMENSIONS, 1) != word(w, CUDNN_ATTR_TENSOR_DIMENSIONS, 1);
}

/* The engines that take a graph, best first; returns how many. */
static int propose(const struct part *graph, cudnnBackendHeurMode_t mode, int64_t *engine)
{
    struct graph g;
    int n = 0;

    take_apart(graph, &g);
    if (g.sdpa != NULL) {
        const struct part *q = child(g.sdpa, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, 0);
        int64_t d = word(q, CUDNN_ATTR_TENSOR_DIMENSIONS, 3);

        if (word(q, CUDNN_ATTR_TENSOR_DATA_TYPE, 0) != CUDNN_DATA_FLOAT && d % 8 == 0 && d <= 256 &&
            mode == CUDNN_HEUR_MODE_A && !standin_no_attention)
            engine[n++] = 9;
        return n;
    }
    if (g.conv == NULL || (standin_no_fusion && g.sums > 0) ||
        (standin_no_groups && is_grouped(g.conv)))
        return 0;
    if (mode == CUDNN_HEUR_MODE_A) {
        bool fast = g.sums < 2 || (g.sums == 2 && !is_bias(g.sum[0]) && is_bias(g.sum[1]));

        for (int i = 0; i < 2 && fast; i++) /* two configurations */
            engine[n++] = 41;
        engine[n++] = 7;
    }
    return n;
}

static cudnnStatus_t finalize(struct part *p)
{
    struct part *config, *engine;

    switch (p->type) {
    case CUDNN_BACKEND_TENSOR_DESCRIPTOR:
        if (find(p, CUDNN_ATTR_TENSOR_STRIDES) == NULL ||
            find(p, CUDNN_ATTR_TENSOR_UNIQUE_ID) == NULL || elements(p) <= 0)
            return CUDNN_STATUS_BAD_PARAM;
        break;
    case CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR:
        for (int i = 0; i < 2; i++)
            if (word(p, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, i) !=
                word(p, CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, i))
                return CUDNN_STATUS_NOT_SUPPORTED;
        break;
    case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR:
        if (word(p, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, 0) == 0)
            return CUDNN_STATUS_BAD_PARAM;
        break;
    case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR: {
        int64_t list[X_AND_MORE];

        if (propose(child(p, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, 0),
                    (cudnnBackendHeurMode_t)word(p, CUDNN_ATTR_ENGINEHEUR_MODE, 0), list) == 0)
            return CUDNN_STATUS_NOT_SUPPORTED;
        break;
    }
    case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
        config = child(p, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, 0);
        engine = config != NULL ? child(config, CUDNN_ATTR_ENGINECFG_ENGINE, 0) : NULL;
        if (engine == NULL || word(p, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, 0) == 0)
            return CUDNN_STATUS_BAD_PARAM;
        break;
    default:
        break;
    }
    p->finalized = true;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t descriptor)
{
    ENTER(cudnnBackendFinalize);
    LEAVE(finalize(descriptor));
}

static void set_child(struct part *p, cudnnBackendAttributeName_t name, struct part *c)
{
    struct attribute *a = &p->attribute[p->n_attributes++];

    *a = (struct attribute){.name = name, .type = CUDNN_TYPE_BACKEND_DESCRIPTOR, .n = 1};
    memcpy(a->bytes, &c, sizeof(c));
    c->refs++;
}

/* Fills the caller's empty ENGINECFG with an engine of the graph. */
static void fill_config(struct part *config, struct part *graph, int64_t index, int proposal)
{
    struct part *engine = cn_xcalloc(1, sizeof(*engine));

    /* No reference yet: the configuration's is the first. */
    engine->type = CUDNN_BACKEND_ENGINE_DESCRIPTOR;
    engine->engine = index;
    engine->finalized = true;
    standin_now.live_objects++;
    set_child(engine, CUDNN_ATTR_ENGINE_OPERATION_GRAPH, graph);
    set_child(config, CUDNN_ATTR_ENGINECFG_ENGINE, engine);
    config->finalized = true;
    config->proposal = proposal;
}

static cudnnStatus_t get_results(const struct part *heur, int64_t wanted, int64_t *found,
                                 struct part **ret)
{
    struct part *graph = child(heur, CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, 0);
    int64_t list[X_AND_MORE];
    int n = propose(graph, (cudnnBackendHeurMode_t)word(heur, CUDNN_ATTR_ENGINEHEUR_MODE, 0), list);

    *found = n;
    for (int i = 0; i < n && i < wanted; i++)
        fill_config(ret[i], graph, list[i], i);
    return CUDNN_STATUS_SUCCESS;
}

/* The caller's empty ENGINE becomes another name of the config's. */
static cudnnStatus_t get_engine(const struct part *config, struct part *ret)
{
    const struct part *engine = child(config, CUDNN_ATTR_ENGINECFG_ENGINE, 0);

    if (engine == NULL)
        return CUDNN_STATUS_BAD_PARAM;
    ret->engine = engine->engine;
    ret->finalized = true;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const descriptor,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t wanted,
                                       int64_t *found, void *ret)
{
    const struct part *p = descriptor;
    int64_t value = 0;

    ENTER(cudnnBackendGetAttribute);
    (void)type;
    *found = 1;
    switch (name) {
    case CUDNN_ATTR_ENGINEHEUR_RESULTS:
        LEAVE(get_results(p, wanted, found, ret));
    case CUDNN_ATTR_ENGINECFG_ENGINE:
        LEAVE(get_engine(p, *(struct part **)ret));
    case CUDNN_ATTR_ENGINE_GLOBAL_INDEX:
        value = p->engine;
        break;
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE:
        value = child(p, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, 0)->proposal * 1000;
        break;
    case CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE:
        *found = p->engine == 7 || p->engine == 9;
        if (*found == 1)
            *(int *)ret = CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION;
        LEAVE(CUDNN_STATUS_SUCCESS);
    case CUDNN_ATTR_ENGINE_NUMERICAL_NOTE:
        *found = 0;
        LEAVE(CUDNN_STATUS_SUCCESS);
    default:
        LEAVE(CUDNN_STATUS_BAD_PARAM);
    }
    memcpy(ret, &value, sizeof(value));
    LEAVE(CUDNN_STATUS_SUCCESS);
}

/* ---- execution ---- */

struct execution {
    struct part *plan;
    int n;
    int64_t uid[16];
    void *data[16];
    int device;
    float value; /* of a tensor by value, as it was at the call */
};

static enum standin_type element(const struct part *tensor)
{
    int64_t t = word(tensor, CUDNN_ATTR_TENSOR_DATA_TYPE, 0);

    return t == CUDNN_DATA_HALF       ? STANDIN_F16
           : t == CUDNN_DATA_BFLOAT16 ? STANDIN_BF16
                                      : STANDIN_F32;
}

static void *data_of(const struct execution *e, const struct part *tensor)
{
    for (int i = 0; i < e->n; i++)
        if (e->uid[i] == word(tensor, CUDNN_ATTR_TENSOR_UNIQUE_ID, 0))
            return e->data[i];
    return NULL;
}

struct view {
    int64_t dim[4], stride[4];
    enum standin_type type;
    void *data;
};

static struct view view_of(const struct execution *e, const struct part *tensor)
{
    struct view v = {.type = element(tensor), .data = data_of(e, tensor)};

    for (int i = 0; i < 4; i++) {
        v.dim[i] = word(tensor, CUDNN_ATTR_TENSOR_DIMENSIONS, i);
        v.stride[i] = word(tensor, CUDNN_ATTR_TENSOR_STRIDES, i);
    }
    return v;
}

static int64_t at(const struct view *v, int64_t a, int64_t b, int64_t c, int64_t d)
{
    return a * v->stride[0] + b * v->stride[1] + c * v->stride[2] + d * v->stride[3];
}

/* All elements as doubles, in the order of the dimensions. */
static double *load_all(const struct view *v)
{
    double *x = cn_xmalloc((size_t)(v->dim[0] * v->dim[1] * v->dim[2] * v->dim[3]) * sizeof(*x));
    double *p = x;

    for (int64_t a = 0; a < v->dim[0]; a++)
        for (int64_t b = 0; b < v->dim[1]; b++)
            for (int64_t c = 0; c < v->dim[2]; c++)
                for (int64_t d = 0; d < v->dim[3]; d++)
                    *p++ = standin_load(v->data, v->type, at(v, a, b, c, d));
    return x;
}

struct conv {
    struct view x, w, y;
    int64_t pad[2], step[2], spread[2];
    const double *px, *pw;
};

static double convolve(const struct conv *c, int64_t n, int64_t k, int64_t oy, int64_t ox)
{
    int64_t first = k / (c->y.dim[1] * c->w.dim[1] / c->x.dim[1]) * c->w.dim[1]; /* of k's group */
    double sum = 0;

    for (int64_t ci = 0; ci < c->w.dim[1]; ci++)
        for (int64_t u = 0; u < c->w.dim[2]; u++) {
            int64_t y = oy * c->step[0] - c->pad[0] + u * c->spread[0];

            for (int64_t v = 0; v < c->w.dim[3] && y >= 0 && y < c->x.dim[2]; v++) {
                int64_t x = ox * c->step[1] - c->pad[1] + v * c->spread[1];

                if (x >= 0 && x < c->x.dim[3])
                    sum += c->px[((n * c->x.dim[1] + first + ci) * c->x.dim[2] + y) * c->x.dim[3] +
                                 x] *
                           c->pw[((k * c->w.dim[1] + ci) * c->w.dim[2] + u) * c->w.dim[3] + v];
            }
        }
    return sum;
}

/* What the sums add at one place. */
static double add_up(const struct execution *e, const struct graph *g, double x, int64_t n,
                     int64_t k, int64_t oy, int64_t ox)
{
    for (int i = 0; i < g->sums; i++) {
        struct view b = view_of(e, added(g->sum[i]));

        x += standin_load(
            b.data, b.type,
            at(&b, b.dim[0] > 1 ? n : 0, k, b.dim[2] > 1 ? oy : 0, b.dim[3] > 1 ? ox : 0));
    }
    return x;
}

static void run_conv(const struct execution *e, const struct graph *g)
{
    const struct part *last =
        g->sums > 0 ? child(g->sum[g->sums - 1], CUDNN_ATTR_OPERATION_POINTWISE_YDESC, 0)
                    : child(g->conv, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, 0);
    const struct part *d = child(g->conv, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, 0);
    struct conv c = {.x = view_of(e, child(g->conv, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, 0)),
                     .w = view_of(e, child(g->conv, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, 0)),
                     .y = view_of(e, last)};
    double *px = load_all(&c.x), *pw = load_all(&c.w);

    c.px = px;
    c.pw = pw;
    for (int i = 0; i < 2; i++) {
        c.pad[i] = word(d, CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, i);
        c.step[i] = word(d, CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, i);
        c.spread[i] = word(d, CUDNN_ATTR_CONVOLUTION_DILATIONS, i);
    }
    for (int64_t n = 0; n < c.y.dim[0]; n++) {
#pragma omp parallel for schedule(static)
        for (int64_t k = 0; k < c.y.dim[1]; k++)
            for (int64_t oy = 0; oy < c.y.dim[2]; oy++)
                for (int64_t ox = 0; ox < c.y.dim[3]; ox++)
                    standin_store(c.y.data, c.y.type, at(&c.y, n, k, oy, ox),
                                  add_up(e, g, convolve(&c, n, k, oy, ox), n, k, oy, ox));
    }
    free(px);
    free(pw);
}

/* [n, heads, s, d] by its strides as dense tokens [n, s, heads d]. */
static float *tokens(const struct view *v)
{
    float *x = cn_xmalloc((size_t)(v->dim[0] * v->dim[1] * v->dim[2] * v->dim[3]) * sizeof(*x));
    float *p = x;

    for (int64_t n = 0; n < v->dim[0]; n++)
        for (int64_t s = 0; s < v->dim[2]; s++)
            for (int64_t h = 0; h < v->dim[1]; h++)
                for (int64_t d = 0; d < v->dim[3]; d++)
                    *p++ = (float)standin_load(v->data, v->type, at(v, n, h, s, d));
    return x;
}

static void run_sdpa(const struct execution *e, const struct part *o)
{
    struct view q = view_of(e, child(o, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, 0));
    struct view k = view_of(e, child(o, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, 0));
    struct view v = view_of(e, child(o, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, 0));
    struct view y = view_of(e, child(o, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, 0));
    struct cnk_attention a = {.n = (int)q.dim[0],
                              .s = (int)q.dim[2],
                              .t = (int)k.dim[2],
                              .d = (int)(q.dim[1] * q.dim[3]),
                              .heads = (int)q.dim[1],
                              .scale = e->value};
    float *fq = tokens(&q), *fk = tokens(&k), *fv = tokens(&v), *fy = tokens(&q), *p = fy;

    cnk_ref_attention(fy, fq, fk, fv, &a);
    for (int64_t n = 0; n < y.dim[0]; n++)
        for (int64_t s = 0; s < y.dim[2]; s++)
            for (int64_t h = 0; h < y.dim[1]; h++)
                for (int64_t d = 0; d < y.dim[3]; d++)
                    standin_store(y.data, y.type, at(&y, n, h, s, d), *p++);
    free(fq);
    free(fk);
    free(fv);
    free(fy);
}

static struct part *graph_of(const struct part *plan)
{
    const struct part *config = child(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, 0);

    return child(child(config, CUDNN_ATTR_ENGINECFG_ENGINE, 0), CUDNN_ATTR_ENGINE_OPERATION_GRAPH,
                 0);
}

static int run_plan(void *ctx)
{
    const struct execution *e = ctx;
    struct graph g;

    take_apart(graph_of(e->plan), &g);
    if (g.sdpa != NULL)
        run_sdpa(e, g.sdpa);
    else
        run_conv(e, &g);
    return cudaSuccess;
}

static void drop_plan(void *ctx)
{
    struct execution *e = ctx;

    unref(e->plan);
    free(e);
}

/* Whether a tensor is bound, to enough device memory. Virtual tensors need none. */
static bool bound(const struct execution *e, const struct part *tensor)
{
    int64_t last = 0;

    if (tensor == NULL || word(tensor, CUDNN_ATTR_TENSOR_IS_VIRTUAL, 0) != 0 ||
        word(tensor, CUDNN_ATTR_TENSOR_IS_BY_VALUE, 0) != 0)
        return true;
    for (int i = 0; i < 4; i++)
        last += (word(tensor, CUDNN_ATTR_TENSOR_DIMENSIONS, i) - 1) *
                word(tensor, CUDNN_ATTR_TENSOR_STRIDES, i);
    return data_of(e, tensor) != NULL &&
           standin_on_device(data_of(e, tensor), (size_t)(last + 1) * standin_size(element(tensor)),
                             e->device, "cuDNN's tensor");
}

static bool all_bound(const struct execution *e)
{
    struct graph g;
    bool good = true;

    take_apart(graph_of(e->plan), &g);
    for (int i = 0; i < g.sums; i++)
        good = good && bound(e, added(g.sum[i])) &&
               bound(e, child(g.sum[i], CUDNN_ATTR_OPERATION_POINTWISE_YDESC, 0));
    if (g.conv != NULL)
        return good && bound(e, child(g.conv, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, 0)) &&
               bound(e, child(g.conv, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, 0)) &&
               bound(e, child(g.conv, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, 0));
    return bound(e, child(g.sdpa, CUDNN_ATTR_OPERATION_SDPA_FWD_QDESC, 0)) &&
           bound(e, child(g.sdpa, CUDNN_ATTR_OPERATION_SDPA_FWD_KDESC, 0)) &&
           bound(e, child(g.sdpa, CUDNN_ATTR_OPERATION_SDPA_FWD_VDESC, 0)) &&
           bound(e, child(g.sdpa, CUDNN_ATTR_OPERATION_SDPA_FWD_ODESC, 0));
}

static void by_value(struct execution *e)
{
    const struct part *scale;
    struct graph g;

    take_apart(graph_of(e->plan), &g);
    scale = g.sdpa != NULL ? child(g.sdpa, CUDNN_ATTR_OPERATION_SDPA_FWD_SCALEDESC, 0) : NULL;
    if (scale != NULL)
        memcpy(&e->value, data_of(e, scale), sizeof(e->value));
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pack)
{
    const struct attribute *uid, *data;
    struct execution *e;
    int64_t room;

    ENTER(cudnnBackendExecute);
    uid = find(pack, CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    data = find(pack, CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
    if (uid == NULL || data == NULL || uid->n != data->n || uid->n > 16)
        LEAVE(CUDNN_STATUS_BAD_PARAM);
    if (!standin_may_launch(handle->device) || cudaPeekAtLastError() >= 200)
        LEAVE(CUDNN_STATUS_EXECUTION_FAILED_CUDART);
    room = child(plan, CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, 0)->proposal * 1000;
    if (room > 0 && !standin_on_device((void *)word(pack, CUDNN_ATTR_VARIANT_PACK_WORKSPACE, 0),
                                       (size_t)room, handle->device, "cuDNN's workspace"))
        LEAVE(CUDNN_STATUS_BAD_PARAM);
    e = cn_xcalloc(1, sizeof(*e));
    e->plan = plan;
    e->plan->refs++;
    e->n = (int)uid->n;
    e->device = handle->device;
    memcpy(e->uid, uid->bytes, (size_t)uid->n * sizeof(int64_t));
    memcpy(e->data, data->bytes, (size_t)uid->n * sizeof(void *));
    if (!all_bound(e)) {
        drop_plan(e);
        LEAVE(CUDNN_STATUS_BAD_PARAM);
    }
    by_value(e);
    standin_submit(handle->stream, run_plan, drop_plan, e);
    LEAVE(CUDNN_STATUS_SUCCESS);
}
