/* The shape rules, for the table of operations. A rule asserts what its operation demands: a wrong
 * network is a fault of ours. */
#ifndef CN_TENSOR_OPS_PRIV_H
#define CN_TENSOR_OPS_PRIV_H

#include "tensor/graph.h"

typedef const struct cn_shape *const *cn_shapes; /* of the inputs, CN_MAX_IN; NULL: absent */
typedef struct cn_shape (*cn_shape_fn)(cn_shapes in, const struct cn_attr *a);

struct cn_shape cn_shape_same(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_same_pair(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_map(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_conv2d(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_conv_transpose(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_linear(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_group_norm(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_layer_norm(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_geglu(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_add_channel(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_add_rows(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_attention(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_sized(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_concat(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_to_tokens(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_from_tokens(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_timestep(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_matmul(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_reshape(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_permute(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_slice(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_gather(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_reduce(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_pool(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_pad(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_unshuffle(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_shuffle(cn_shapes in, const struct cn_attr *a);
struct cn_shape cn_shape_prelu(cn_shapes in, const struct cn_attr *a);

#endif
