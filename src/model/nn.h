/* Emitting networks: a graph, and the path of the module that is being emitted.
 *
 * Every layer function takes the last part of its parameters' names; the path in front comes from
 * nn_enter() and nn_leave(), so that the code of a network reads like its published module tree.
 * One thread per struct.
 *
 *     struct nn nn = {.g = graph};
 *     nn_enter(&nn, "down_blocks.%d", i);
 *     x = nn_conv3(&nn, x, "conv1", 320);        -- down_blocks.0.conv1.weight and .bias
 *     nn_leave(&nn);
 */
#ifndef CN_MODEL_NN_H
#define CN_MODEL_NN_H

#include "tensor/graph.h"
#include "checkpoint/config.h"

enum { NN_DEPTH = 8 };

struct nn {
    struct cn_graph *g;
    char path[256];
    size_t mark[NN_DEPTH]; /* length of path before each enter */
    int depth;
    bool adapts; /* adapters may add to the layers: cn_graph_adapt() */
};

void nn_enter(struct nn *nn, const char *fmt, ...) CN_PRINTF(2, 3);
void nn_leave(struct nn *nn);

/* Full name in the graph's arena: path.name.suffix; name "" leaves its part out. */
const char *nn_name(struct nn *nn, const char *name, const char *suffix);

cn_val nn_conv3(struct nn *nn, cn_val x, const char *name, int out);        /* 3x3, pad 1 */
cn_val nn_conv3_stride2(struct nn *nn, cn_val x, const char *name, int out); /* 3x3, pad 1 */
cn_val nn_conv1(struct nn *nn, cn_val x, const char *name, int out);        /* 1x1 */
cn_val nn_linear(struct nn *nn, cn_val x, const char *name, int out);
/* The same with a 1x1 convolution's weights, [out, k, 1, 1] in the file. */
cn_val nn_linear_of_conv1(struct nn *nn, cn_val x, const char *name, int out);
cn_val nn_linear_no_bias(struct nn *nn, cn_val x, const char *name, int out);
cn_val nn_group_norm(struct nn *nn, cn_val x, const char *name, int groups, double eps);
cn_val nn_layer_norm(struct nn *nn, cn_val x, const char *name, double eps);

/* ResnetBlock2D: GN, SiLU, conv3, (+ time), GN, SiLU, conv3, + shortcut. time < 0: none; else the
 * projected time embeddings [n, T], of which this block adds columns [offset, offset + out). */
cn_val nn_res_block(struct nn *nn, cn_val x, int out, int groups, double eps, cn_val time,
                    int offset);

#endif
