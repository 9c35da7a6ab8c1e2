/* The op table: what every backend must compute, as tiny graphs with one output. A row names its
 * builder and the sizes that the builder reads; the fields that it does not read are zero. */
#ifndef CN_TESTS_OP_CASES_H
#define CN_TESTS_OP_CASES_H

#include "tensor/graph.h"

struct op_case;

typedef cn_val (*op_build_fn)(struct cn_graph *g, const struct op_case *c);

struct op_case {
    const char *name;
    op_build_fn build;
    int n, c, h, w; /* feature maps [n, c, h, w] */
    int s, t, d;    /* tokens [n, s, d]; keys [n, t, d]; s = 0: vectors [n, d] */
    int out;        /* channels or width of the result */
    int k, stride, pad[4];
    int heads, groups;
    int width, offset; /* of the [n, width] input of channel adds and row weights */
    enum cn_activation act;
    bool bias, residual, causal, cos_first;
    int freq_shift;
    float alpha; /* SCALE, MATMUL; slope of leaky ReLU */
    int k_w, stride_w, dilation, dilation_w; /* zero: as cn_conv says; its groups are `groups` */
    enum cn_reduction reduction;
    int axis, axes, length, perm[4], factor;
    bool transpose[2], align_corners;
    bool bound; /* parameters come in buffers */
    double tolerance; /* relative L2 against the reference; 0: 1e-5 */
};

/* Ends with a row without a name. */
extern const struct op_case op_cases[];  /* correctness: small and odd */
extern const struct op_case op_shapes[]; /* speed: what SD 1.5 asks for at 512x512 */

/* A graph whose output "y" is the case; cn_graph_free() it. */
struct cn_graph *op_case_graph(const struct op_case *c) CN_MUST_USE;

/* Builders, for tests that know more about an op. Inputs are named x, y, t, w, r (residual), q, k,
 * v, ids; parameters weight, bias, gamma, beta, table, position, slope. */
cn_val op_map_input(struct cn_graph *g, const char *name, const struct op_case *c);
/* [n, s, width], or [n, width] when the case has no tokens. */
cn_val op_token_input(struct cn_graph *g, const char *name, const struct op_case *c, int width);
/* [n, width] */
cn_val op_row_input(struct cn_graph *g, const char *name, const struct op_case *c);
cn_val op_conv2d(struct cn_graph *g, const struct op_case *c);
cn_val op_linear(struct cn_graph *g, const struct op_case *c);
cn_val op_group_norm(struct cn_graph *g, const struct op_case *c);
cn_val op_layer_norm(struct cn_graph *g, const struct op_case *c);
cn_val op_act(struct cn_graph *g, const struct op_case *c);
cn_val op_geglu(struct cn_graph *g, const struct op_case *c);
cn_val op_add(struct cn_graph *g, const struct op_case *c);
cn_val op_add_channel(struct cn_graph *g, const struct op_case *c);
cn_val op_add_rows(struct cn_graph *g, const struct op_case *c);
cn_val op_scale(struct cn_graph *g, const struct op_case *c);
cn_val op_attention(struct cn_graph *g, const struct op_case *c);
cn_val op_upsample(struct cn_graph *g, const struct op_case *c);
cn_val op_concat(struct cn_graph *g, const struct op_case *c);
cn_val op_to_tokens(struct cn_graph *g, const struct op_case *c);
cn_val op_from_tokens(struct cn_graph *g, const struct op_case *c);
cn_val op_timestep(struct cn_graph *g, const struct op_case *c);
cn_val op_pool_hw(struct cn_graph *g, const struct op_case *c);
cn_val op_conv_transpose(struct cn_graph *g, const struct op_case *c);
cn_val op_prelu(struct cn_graph *g, const struct op_case *c);
cn_val op_mul(struct cn_graph *g, const struct op_case *c);
cn_val op_matmul(struct cn_graph *g, const struct op_case *c);
cn_val op_reshape(struct cn_graph *g, const struct op_case *c);
cn_val op_permute(struct cn_graph *g, const struct op_case *c);
cn_val op_slice(struct cn_graph *g, const struct op_case *c);
cn_val op_gather(struct cn_graph *g, const struct op_case *c);
cn_val op_reduce(struct cn_graph *g, const struct op_case *c);
cn_val op_pool(struct cn_graph *g, const struct op_case *c);
cn_val op_resize(struct cn_graph *g, const struct op_case *c);
cn_val op_pad_reflect(struct cn_graph *g, const struct op_case *c);
cn_val op_unshuffle(struct cn_graph *g, const struct op_case *c);
cn_val op_shuffle(struct cn_graph *g, const struct op_case *c);

#endif
