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

enum { CN_GRAPH_RANK = 4, CN_MAX_IN = 8 };

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
    CN_OP_CONV2D,      /* in: x [n,ci,h,w], w [co,ci/groups,kh,kw], bias [co]?, residual
                         [n,co,oh,ow]? */
    CN_OP_LINEAR,      /* in: x [.., k], w [o, k], bias [o]?, residual [.., o]? */
    CN_OP_GROUP_NORM,  /* in: x [n,c,h,w], gamma [c]?, beta [c]?, channel add t [n,T]?; with as many
                         groups as channels it is the instance norm */
    CN_OP_LAYER_NORM,  /* in: x [.., d], gamma [d], beta [d] */
    CN_OP_ACT,         /* elementwise activation */
    CN_OP_GEGLU,       /* in: x [.., 2d] -> [.., d]: x[:d] * gelu(x[d:]), exact erf */
    CN_OP_ADD,         /* x + y, same shape */
    CN_OP_ADD_CHANNEL, /* in: x [n,c,h,w], t [n,T]: x[n,c,:,:] + t[n, offset + c] */
    CN_OP_ADD_ROWS,    /* in: x, y [same], w [n, L]: x + w[n, offset] * y; where the weight is 0, x
                          bit for bit, whatever y holds */
    CN_OP_SCALE,       /* x * alpha */
    CN_OP_ATTENTION,   /* in: q [n,s,d], k [n,t,d], v [n,t,d]: heads, scale, causal */
    CN_OP_UPSAMPLE,    /* nearest to [n,c,oh,ow]: source index = floor(dst * in / out) */
    CN_OP_CONCAT,      /* in: 2 to CN_MAX_IN values joined along one axis */
    CN_OP_TO_TOKENS,   /* [n,c,h,w] -> [n, h*w, c] */
    CN_OP_FROM_TOKENS, /* [n, h*w, c] -> [n,c,h,w] */
    CN_OP_TIMESTEP,    /* in: t [n] -> [n, d] sinusoids (DDPM; diffusers get_timestep_embedding) */
    CN_OP_POOL_HW,     /* mean over h and w, broadcast back to [n,c,h,w] */
    CN_OP_MUL,         /* x * y, same shape */
    CN_OP_MATMUL,      /* in: x [.., m, k], y [.., k, n], each as it is or transposed:
                          alpha x y [.., m, n]; leading dimensions agree, or y has none */
    CN_OP_RESHAPE,     /* the same elements in row-major order, another shape */
    CN_OP_PERMUTE,     /* dimension i of the result is dimension perm[i] of x */
    CN_OP_SLICE,       /* [offset, offset + length) along one axis */
    CN_OP_GATHER,      /* in: x [n,s,d], ids I32 [n,t] -> [n,t,d]: row ids[n,t] of x[n] */
    CN_OP_REDUCE,      /* sum, mean or max over dimensions [axis, axis + axes), which become 1 */
    CN_OP_POOL,        /* mean or max of a window: [n,c,h,w] -> [n,c,oh,ow]; padding counts as zeros
                          in a mean and as nothing in a maximum (PyTorch's defaults) */
    CN_OP_CONV_TRANSPOSE, /* in: x [n,ci,h,w], w [ci,co/groups,kh,kw], bias [co]?: each x adds its
                             kernel's picture, stride apart; pad is cut off, and may be negative at
                             bottom and right (PyTorch's output_padding) */
    CN_OP_RESIZE,         /* bilinear to [n,c,oh,ow], as PyTorch's interpolate */
    CN_OP_PAD_REFLECT,    /* [n,c,h,w] mirrored at its edges, which are not repeated */
    CN_OP_UNSHUFFLE,      /* [n,c,h*r,w*r] -> [n,c*r*r,h,w]: channel (c, y % r, x % r) */
    CN_OP_SHUFFLE,        /* [n,c*r*r,h,w] -> [n,c,h*r,w*r] */
    CN_OP_PRELU,          /* in: x [n,c,..], slope [c] or [1]: x where positive, else slope x */
    CN_OP_COUNT
};

/* Index of a value; negative: none. */
typedef int cn_val;

enum cn_reduction { CN_SUM, CN_MEAN, CN_MAX_OF };

/* A window that moves over a feature map: the kernel of a convolution, or what a pool looks at. In
 * a node everything is filled in; for the builders below, what is zero is the usual thing. */
struct cn_conv {
    int out;                  /* channels of the result; a pool has none of its own */
    int k, stride;            /* along the height; along the width too, unless */
    int pad[4];               /* top, left, bottom, right */
    int k_w, stride_w;        /* 0: as k, stride */
    int dilation, dilation_w; /* distance of the kernel's taps; 0: 1, and as dilation */
    int groups;               /* 0: 1; as many as channels: depthwise */
};

/* What distinguishes two nodes of the same op; ops.c says which fields an op has. The others are
 * zero. */
struct cn_attr {
    struct cn_conv conv; /* CONV2D, CONV_TRANSPOSE, POOL; PAD_REFLECT: pad */
    int groups;          /* GROUP_NORM */
    float eps;           /* GROUP_NORM, LAYER_NORM */
    enum cn_activation act; /* ACT; GROUP_NORM, CONV2D, LINEAR: applied last (after residual) */
    float slope;         /* where act is CN_LEAKY_RELU */
    bool adapts;         /* CONV2D, LINEAR: cn_graph_adapt() */
    int heads;           /* ATTENTION */
    float alpha;         /* ATTENTION: scale; SCALE, MATMUL: factor */
    bool causal;         /* ATTENTION */
    int offset;          /* ADD_CHANNEL, GROUP_NORM with a channel add, ADD_ROWS; SLICE: first */
    int oh, ow;          /* UPSAMPLE, FROM_TOKENS, RESIZE */
    bool cos_first;      /* TIMESTEP: flip_sin_to_cos */
    int freq_shift;      /* TIMESTEP: downscale_freq_shift */
    int axis;            /* CONCAT, SLICE, REDUCE */
    int axes;            /* REDUCE: how many dimensions */
    int length;          /* SLICE */
    int perm[CN_GRAPH_RANK]; /* PERMUTE */
    bool transpose[2];   /* MATMUL: x, y */
    enum cn_reduction reduction; /* REDUCE; POOL: CN_MEAN or CN_MAX_OF */
    bool align_corners;  /* RESIZE: the corners' centres stay, not the corners */
    int factor;          /* UNSHUFFLE, SHUFFLE */
    struct cn_shape shape; /* RESHAPE */
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
    CN_IO_NATIVE = 1 << 0, /* goes from plan to plan: in the backend's own layout, not the host's */
    CN_IO_PARAM = 1 << 1   /* a parameter that a buffer holds: cn_graph_bind() */
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
/* The same name gives the same value; the shape must then agree but for dimensions of size 1. */
cn_val cn_param(struct cn_graph *g, const char *name, struct cn_shape shape);
const struct cn_shape *cn_shape_of(const struct cn_graph *g, cn_val x);

/* Makes parameter p an input, in the host's layout: its values are no longer the file's, constant
 * and packed ahead, but what a buffer holds when the plan runs (training). Later uses of
 * its name give the same value. */
void cn_graph_bind(struct cn_graph *g, cn_val p);

/* Lets adapters add to v, a linear layer or convolution (plain, with a weight of the file): where a
 * run of the plan has some for rows of it, they get low-rank products of the same input,
 *     y[row] += strength * up (down x[row])
 * (LoRA, arXiv:2106.09685; backend.h: cn_row_adapter), before an activation that was folded into
 * the layer. A run without them costs nothing, and gives the same bits as if this were not called
 * (an activation of a convolution stays a node of its own). */
void cn_graph_adapt(struct cn_graph *g, cn_val v);

/* What the operations below are made of: a node with a shape that the caller answers for. */
cn_val cn_graph_add(struct cn_graph *g, const struct cn_node *n, struct cn_shape shape,
                    enum cn_dtype dtype, const char *name);

/* Operations. Names are full parameter names; a bias, gamma or beta may be NULL. */
cn_val cn_conv2d(struct cn_graph *g, cn_val x, const char *weight, const char *bias,
                 const struct cn_conv *conv);
cn_val cn_conv_transpose(struct cn_graph *g, cn_val x, const char *weight, const char *bias,
                         const struct cn_conv *conv);
cn_val cn_linear(struct cn_graph *g, cn_val x, const char *weight, const char *bias, int out);
cn_val cn_group_norm(struct cn_graph *g, cn_val x, const char *gamma, const char *beta, int groups,
                     float eps);
cn_val cn_instance_norm(struct cn_graph *g, cn_val x, const char *gamma, const char *beta,
                        float eps);
cn_val cn_layer_norm(struct cn_graph *g, cn_val x, const char *gamma, const char *beta, float eps);
cn_val cn_act(struct cn_graph *g, cn_val x, enum cn_activation act); /* all but CN_LEAKY_RELU */
cn_val cn_leaky_relu(struct cn_graph *g, cn_val x, float slope);
cn_val cn_prelu(struct cn_graph *g, cn_val x, const char *slope, int slopes);
cn_val cn_geglu(struct cn_graph *g, cn_val x);
cn_val cn_add(struct cn_graph *g, cn_val x, cn_val y);
cn_val cn_mul(struct cn_graph *g, cn_val x, cn_val y);
cn_val cn_add_channel(struct cn_graph *g, cn_val x, cn_val t, int offset);
cn_val cn_add_rows(struct cn_graph *g, cn_val x, cn_val y, cn_val w, int offset);
cn_val cn_scale(struct cn_graph *g, cn_val x, float alpha);
cn_val cn_matmul(struct cn_graph *g, cn_val x, cn_val y, bool transpose_x, bool transpose_y,
                 float alpha);
cn_val cn_attention(struct cn_graph *g, cn_val q, cn_val k, cn_val v, int heads, float scale,
                    bool causal);
cn_val cn_upsample(struct cn_graph *g, cn_val x, int oh, int ow);
cn_val cn_resize(struct cn_graph *g, cn_val x, int oh, int ow, bool align_corners);
cn_val cn_pad_reflect(struct cn_graph *g, cn_val x, int top, int left, int bottom, int right);
cn_val cn_pool(struct cn_graph *g, cn_val x, enum cn_reduction kind, const struct cn_conv *window);
cn_val cn_unshuffle(struct cn_graph *g, cn_val x, int factor);
cn_val cn_shuffle(struct cn_graph *g, cn_val x, int factor);
cn_val cn_concat(struct cn_graph *g, cn_val x, cn_val y); /* along axis 1 */
cn_val cn_concat_n(struct cn_graph *g, const cn_val *x, int n, int axis);
cn_val cn_slice(struct cn_graph *g, cn_val x, int axis, int from, int length);
cn_val cn_reshape(struct cn_graph *g, cn_val x, struct cn_shape shape);
cn_val cn_permute(struct cn_graph *g, cn_val x, const int *perm); /* as many as x has dimensions */
cn_val cn_reduce(struct cn_graph *g, cn_val x, enum cn_reduction kind, int axis, int axes);
cn_val cn_gather(struct cn_graph *g, cn_val x, cn_val ids);
cn_val cn_to_tokens(struct cn_graph *g, cn_val x);
cn_val cn_from_tokens(struct cn_graph *g, cn_val x, int h, int w);
cn_val cn_timestep(struct cn_graph *g, cn_val t, int dim, bool cos_first, int freq_shift);
cn_val cn_pool_hw(struct cn_graph *g, cn_val x);

/* What input k of node v gets of dy, the gradient of a number by v's result: one value, which may
 * take several nodes. -1: the op has no backward rule, or input k no gradient. */
cn_val cn_grad(struct cn_graph *g, cn_val v, int k, cn_val dy);

const char *cn_op_name(enum cn_op op); /* "conv2d" */
int cn_op_inputs(enum cn_op op);       /* how many inputs the op can have */
/* Whether the window is square, of neighbours, and all channels see all: what a UNet uses. */
bool cn_conv_is_plain(const struct cn_conv *c);

/* One line per node, for people and for tests; the text is the caller's (free()). */
char *cn_graph_dump(const struct cn_graph *g) CN_MUST_USE;

#endif
