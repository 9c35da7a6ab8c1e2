/* The graph of one network at one set of sizes: what models emit and backends compile.
 *
 * A value is a tensor with a known shape, the result of one node; a node is one operation with up
 * to CN_MAX_IN values as input and exactly one result. Nodes stand in an order in which they can
 * run. Shapes are inferred and checked when a node is added: a wrong network is a fault of ours and
 * fails a CN_ASSERT, never at run time. Parameters are leaves known by name; their shape is what
 * the use declares, and is held against the file when the graph is compiled.
 *
 * Logical layouts, outermost first, whatever a backend does physically:
 *   feature maps [n, c, h, w] · tokens [n, s, d] · vectors [n, d]
 * All values are F32 except token ids (I32).
 *
 * A graph is built by one thread and read-only afterwards.
 *
 *     struct cn_graph *g = cn_graph_new("decoder");
 *     cn_val x = cn_graph_input(g, "latent", cn_shape4(n, 4, h, w), CN_F32, 0);
 *     x = cn_conv2d(g, x, "conv_in.weight", "conv_in.bias", &(struct cn_conv){.out = 64, .k = 3,
 *                   .stride = 1, .pad = {1, 1, 1, 1}});
 *     cn_graph_output(g, "image", x, 0);
 */
#ifndef CN_TENSOR_GRAPH_H
#define CN_TENSOR_GRAPH_H

#include "base/base.h"
#include "base/dtype.h"
#include "base/mem.h"

enum { CN_GRAPH_RANK = 4, CN_MAX_IN = 4 };

struct cn_shape {
    int rank;
    int64_t dim[CN_GRAPH_RANK];
};

struct cn_shape cn_shape1(int64_t a);
struct cn_shape cn_shape2(int64_t a, int64_t b);
struct cn_shape cn_shape3(int64_t a, int64_t b, int64_t c);
struct cn_shape cn_shape4(int64_t a, int64_t b, int64_t c, int64_t d);
int64_t cn_shape_elements(const struct cn_shape *s);
bool cn_shape_equal(const struct cn_shape *a, const struct cn_shape *b);
/* Equal when dimensions of size 1 are ignored: a 1x1 convolution's weight is a linear layer's. */
bool cn_shape_equivalent(const struct cn_shape *a, const struct cn_shape *b);
/* "[2, 320, 64, 64]" */
const char *cn_shape_text(const struct cn_shape *s, char *text, size_t size);

enum cn_op {
    CN_OP_INPUT,
    CN_OP_PARAM,
    CN_OP_CONV2D,       /* in: x [n,ci,h,w], w [co,ci,k,k], bias [co]?, residual [n,co,oh,ow]? */
    CN_OP_LINEAR,       /* in: x [.., k], w [o, k], bias [o]?, residual [.., o]? */
    CN_OP_GROUP_NORM,   /* in: x [n,c,h,w], gamma [c], beta [c], channel add t [n,T]? */
    CN_OP_LAYER_NORM,   /* in: x [.., d], gamma [d], beta [d] */
    CN_OP_ACT,          /* elementwise activation */
    CN_OP_GEGLU,        /* in: x [.., 2d] -> [.., d]: x[:d] * gelu(x[d:]), exact erf */
    CN_OP_ADD,          /* x + y, same shape */
    CN_OP_ADD_CHANNEL,  /* in: x [n,c,h,w], t [n,T]: x[n,c,:,:] + t[n, offset + c] */
    CN_OP_ADD_ROWS,     /* in: x, y [same], w [n, L]: x + w[n, offset] * y */
    CN_OP_SCALE,        /* x * alpha */
    CN_OP_ATTENTION,    /* in: q [n,s,d], k [n,t,d], v [n,t,d]: heads, scale, causal */
    CN_OP_UPSAMPLE,     /* nearest to [n,c,oh,ow]: source index = floor(dst * in / out) */
    CN_OP_CONCAT,       /* in: x, y joined along axis 1 */
    CN_OP_TO_TOKENS,    /* [n,c,h,w] -> [n, h*w, c] */
    CN_OP_FROM_TOKENS,  /* [n, h*w, c] -> [n,c,h,w] */
    CN_OP_EMBED,        /* in: ids I32 [n,s], table [v,d], position [p,d]: table[id]+position[s] */
    CN_OP_TIMESTEP,     /* in: t [n] -> [n, d] sinusoids (DDPM; diffusers get_timestep_embedding) */
    CN_OP_POOL_HW,      /* mean over h and w, broadcast back to [n,c,h,w] */
    CN_OP_COUNT
};

/* Index of a value; negative: none. */
typedef int cn_val;

struct cn_conv {
    int out, k, stride;
    int pad[4]; /* top, left, bottom, right */
};

/* What distinguishes two nodes of the same op. Fields that an op does not use are zero. */
struct cn_attr {
    struct cn_conv conv;
    int groups;                /* GROUP_NORM */
    float eps;                 /* GROUP_NORM, LAYER_NORM */
    enum cn_activation act;    /* ACT; GROUP_NORM, CONV2D, LINEAR: applied last (after residual) */
    int heads;                 /* ATTENTION */
    float alpha;               /* ATTENTION: scale; SCALE: factor */
    bool causal;               /* ATTENTION */
    int offset;                /* ADD_CHANNEL, GROUP_NORM with a channel add, ADD_ROWS */
    int oh, ow;                /* UPSAMPLE, FROM_TOKENS */
    bool cos_first;            /* TIMESTEP: flip_sin_to_cos */
    int freq_shift;            /* TIMESTEP: downscale_freq_shift */
};

struct cn_node {
    enum cn_op op;
    cn_val in[CN_MAX_IN]; /* negative: absent optional input */
    struct cn_attr attr;
};

/* A value and the node that makes it have the same index. */
struct cn_value {
    struct cn_shape shape;
    enum cn_dtype dtype;
    const char *name; /* INPUT, PARAM: their name; otherwise NULL */
};

enum cn_io_flags {
    CN_IO_NATIVE = 1 /* goes from plan to plan: in the backend's own layout, not the host's */
};

struct cn_io {
    const char *name;
    cn_val val;
    int flags;
};

struct cn_graph {
    const char *name;
    struct cn_node *node; /* count of both, same index */
    struct cn_value *value;
    int count;
    struct cn_io *input, *output;
    int n_inputs, n_outputs;
    struct cn_arena arena; /* names */
    size_t node_cap, value_cap, input_cap, output_cap;
};

struct cn_graph *cn_graph_new(const char *name) CN_MUST_USE;
void cn_graph_free(struct cn_graph *g);

cn_val cn_graph_input(struct cn_graph *g, const char *name, struct cn_shape shape,
                      enum cn_dtype dtype, int flags);
void cn_graph_output(struct cn_graph *g, const char *name, cn_val x, int flags);
/* The same name gives the same value; the shape must then agree. */
cn_val cn_param(struct cn_graph *g, const char *name, struct cn_shape shape);
const struct cn_shape *cn_shape_of(const struct cn_graph *g, cn_val x);

/* Operations; bias and residual may be -1. Names are full parameter names. */
cn_val cn_conv2d(struct cn_graph *g, cn_val x, const char *weight, const char *bias,
                 const struct cn_conv *conv);
cn_val cn_linear(struct cn_graph *g, cn_val x, const char *weight, const char *bias, int out);
cn_val cn_group_norm(struct cn_graph *g, cn_val x, const char *gamma, const char *beta, int groups,
                     float eps);
cn_val cn_layer_norm(struct cn_graph *g, cn_val x, const char *gamma, const char *beta, float eps);
cn_val cn_act(struct cn_graph *g, cn_val x, enum cn_activation act);
cn_val cn_geglu(struct cn_graph *g, cn_val x);
cn_val cn_add(struct cn_graph *g, cn_val x, cn_val y);
cn_val cn_add_channel(struct cn_graph *g, cn_val x, cn_val t, int offset);
cn_val cn_add_rows(struct cn_graph *g, cn_val x, cn_val y, cn_val w, int offset);
cn_val cn_scale(struct cn_graph *g, cn_val x, float alpha);
cn_val cn_attention(struct cn_graph *g, cn_val q, cn_val k, cn_val v, int heads, float scale,
                    bool causal);
cn_val cn_upsample(struct cn_graph *g, cn_val x, int oh, int ow);
cn_val cn_concat(struct cn_graph *g, cn_val x, cn_val y);
cn_val cn_to_tokens(struct cn_graph *g, cn_val x);
cn_val cn_from_tokens(struct cn_graph *g, cn_val x, int h, int w);
cn_val cn_embed(struct cn_graph *g, cn_val ids, const char *table, int vocab, int width,
                const char *position, int max_position);
cn_val cn_timestep(struct cn_graph *g, cn_val t, int dim, bool cos_first, int freq_shift);
cn_val cn_pool_hw(struct cn_graph *g, cn_val x);

const char *cn_op_name(enum cn_op op); /* "conv2d" */
int cn_op_inputs(enum cn_op op);       /* how many inputs the op can have */

/* One line per node, for people and for tests; the text is the caller's (free()). */
char *cn_graph_dump(const struct cn_graph *g) CN_MUST_USE;

#endif
