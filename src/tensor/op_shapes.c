/* The shape of each operation's result, from the shapes of its inputs and its attributes. */
#include "base/base.h"
#include "tensor/ops_priv.h"

struct cn_shape cn_shape_same(cn_shapes in, const struct cn_attr *a)
{
    (void)a;
    return *in[0];
}

struct cn_shape cn_shape_same_pair(cn_shapes in, const struct cn_attr *a)
{
    (void)a;
    CN_ASSERT(cn_shape_equal(in[0], in[1]));
    return *in[0];
}

struct cn_shape cn_shape_map(cn_shapes in, const struct cn_attr *a)
{
    (void)a;
    CN_ASSERT(in[0]->rank == 4);
    return *in[0];
}

/* How far a window of `taps` reaches. */
static int64_t reach(int taps, int dilation)
{
    return (int64_t)(taps - 1) * dilation + 1;
}

static struct cn_shape window_shape(const struct cn_shape *x, const struct cn_conv *c, int64_t out)
{
    int64_t h = x->dim[2] + c->pad[0] + c->pad[2] - reach(c->k, c->dilation);
    int64_t w = x->dim[3] + c->pad[1] + c->pad[3] - reach(c->k_w, c->dilation_w);

    CN_ASSERT(x->rank == 4 && c->k > 0 && c->k_w > 0 && c->stride > 0 && c->stride_w > 0);
    CN_ASSERT(c->dilation > 0 && c->dilation_w > 0 && h >= 0 && w >= 0);
    return cn_shape4(x->dim[0], out, h / c->stride + 1, w / c->stride_w + 1);
}

static void check_weights(cn_shapes in, const struct cn_conv *c, int64_t outer, int64_t inner)
{
    struct cn_shape w = cn_shape4(outer, inner / c->groups, c->k, c->k_w), b = cn_shape1(c->out);

    CN_ASSERT(c->groups > 0 && in[0]->dim[1] % c->groups == 0 && c->out % c->groups == 0);
    CN_ASSERT(cn_shape_equal(in[1], &w) && (in[2] == NULL || cn_shape_equal(in[2], &b)));
}

struct cn_shape cn_shape_conv2d(cn_shapes in, const struct cn_attr *a)
{
    check_weights(in, &a->conv, a->conv.out, in[0]->dim[1]);
    return window_shape(in[0], &a->conv, a->conv.out);
}

struct cn_shape cn_shape_conv_transpose(cn_shapes in, const struct cn_attr *a)
{
    const struct cn_conv *c = &a->conv;
    int64_t h = (in[0]->dim[2] - 1) * c->stride + reach(c->k, c->dilation) - c->pad[0] - c->pad[2];
    int64_t w =
        (in[0]->dim[3] - 1) * c->stride_w + reach(c->k_w, c->dilation_w) - c->pad[1] - c->pad[3];

    CN_ASSERT(in[0]->rank == 4 && c->k > 0 && c->k_w > 0 && c->stride > 0 && c->stride_w > 0);
    CN_ASSERT(c->pad[0] >= 0 && c->pad[1] >= 0);
    check_weights(in, c, in[0]->dim[1], c->out);
    return cn_shape4(in[0]->dim[0], c->out, h, w);
}

struct cn_shape cn_shape_linear(cn_shapes in, const struct cn_attr *a)
{
    struct cn_shape s = *in[0];

    (void)a;
    CN_ASSERT((s.rank == 2 || s.rank == 3) &&
              cn_shape_elements(in[1]) == in[1]->dim[0] * in[1]->dim[1]);
    CN_ASSERT(in[1]->dim[1] == s.dim[s.rank - 1]);
    s.dim[s.rank - 1] = in[1]->dim[0];
    return s;
}

struct cn_shape cn_shape_group_norm(cn_shapes in, const struct cn_attr *a)
{
    CN_ASSERT(in[0]->rank == 4 && a->groups > 0 && in[0]->dim[1] % a->groups == 0);
    return *in[0];
}

struct cn_shape cn_shape_layer_norm(cn_shapes in, const struct cn_attr *a)
{
    (void)a;
    CN_ASSERT(in[0]->rank >= 2);
    return *in[0];
}

struct cn_shape cn_shape_geglu(cn_shapes in, const struct cn_attr *a)
{
    struct cn_shape s = *in[0];

    (void)a;
    CN_ASSERT(s.dim[s.rank - 1] % 2 == 0);
    s.dim[s.rank - 1] /= 2;
    return s;
}

struct cn_shape cn_shape_add_channel(cn_shapes in, const struct cn_attr *a)
{
    CN_ASSERT(in[0]->rank == 4 && in[1]->rank == 2 && in[1]->dim[0] == in[0]->dim[0]);
    CN_ASSERT(a->offset >= 0 && a->offset + in[0]->dim[1] <= in[1]->dim[1]);
    return *in[0];
}

struct cn_shape cn_shape_add_rows(cn_shapes in, const struct cn_attr *a)
{
    CN_ASSERT(cn_shape_equal(in[0], in[1]) && in[2]->rank == 2);
    CN_ASSERT(in[2]->dim[0] == in[0]->dim[0] && a->offset >= 0 && a->offset < in[2]->dim[1]);
    return *in[0];
}

struct cn_shape cn_shape_attention(cn_shapes in, const struct cn_attr *a)
{
    const struct cn_shape *q = in[0], *k = in[1];

    CN_ASSERT(q->rank == 3 && k->rank == 3 && cn_shape_equal(k, in[2]));
    CN_ASSERT(q->dim[0] == k->dim[0] && q->dim[2] == k->dim[2]);
    CN_ASSERT(a->heads > 0 && q->dim[2] % a->heads == 0);
    CN_ASSERT(!a->causal || q->dim[1] == k->dim[1]);
    return *q;
}

struct cn_shape cn_shape_sized(cn_shapes in, const struct cn_attr *a)
{
    CN_ASSERT(in[0]->rank == 4);
    return cn_shape4(in[0]->dim[0], in[0]->dim[1], a->oh, a->ow);
}

struct cn_shape cn_shape_concat(cn_shapes in, const struct cn_attr *a)
{
    struct cn_shape s = *in[0];

    CN_ASSERT(a->axis >= 0 && a->axis < s.rank);
    for (int k = 1; k < CN_MAX_IN && in[k] != NULL; k++) {
        CN_ASSERT(in[k]->rank == s.rank);
        for (int i = 0; i < s.rank; i++)
            CN_ASSERT(i == a->axis || in[k]->dim[i] == s.dim[i]);
        s.dim[a->axis] += in[k]->dim[a->axis];
    }
    return s;
}

struct cn_shape cn_shape_to_tokens(cn_shapes in, const struct cn_attr *a)
{
    const struct cn_shape *s = in[0];

    (void)a;
    CN_ASSERT(s->rank == 4);
    return cn_shape3(s->dim[0], s->dim[2] * s->dim[3], s->dim[1]);
}

struct cn_shape cn_shape_from_tokens(cn_shapes in, const struct cn_attr *a)
{
    CN_ASSERT(in[0]->rank == 3 && in[0]->dim[1] == (int64_t)a->oh * a->ow);
    return cn_shape4(in[0]->dim[0], in[0]->dim[2], a->oh, a->ow);
}

struct cn_shape cn_shape_timestep(cn_shapes in, const struct cn_attr *a)
{
    CN_ASSERT(in[0]->rank == 1 && a->length > 0);
    return cn_shape2(in[0]->dim[0], a->length);
}

struct cn_shape cn_shape_matmul(cn_shapes in, const struct cn_attr *a)
{
    struct cn_shape s = *in[0];
    const struct cn_shape *y = in[1];
    int r = s.rank, q = y->rank;

    CN_ASSERT(r >= 2 && q >= 2 && (q == r || q == 2));
    for (int i = 0; i < r - 2; i++)
        CN_ASSERT(q == 2 || s.dim[i] == y->dim[i]);
    CN_ASSERT(s.dim[a->transpose[0] ? r - 2 : r - 1] == y->dim[a->transpose[1] ? q - 1 : q - 2]);
    if (a->transpose[0])
        s.dim[r - 2] = s.dim[r - 1];
    s.dim[r - 1] = y->dim[a->transpose[1] ? q - 2 : q - 1];
    return s;
}

struct cn_shape cn_shape_reshape(cn_shapes in, const struct cn_attr *a)
{
    CN_ASSERT(cn_shape_elements(in[0]) == cn_shape_elements(&a->shape));
    return a->shape;
}

struct cn_shape cn_shape_permute(cn_shapes in, const struct cn_attr *a)
{
    struct cn_shape s = *in[0];
    unsigned seen = 0;

    for (int i = 0; i < s.rank; i++) {
        CN_ASSERT(a->perm[i] >= 0 && a->perm[i] < s.rank && !(seen & 1u << a->perm[i]));
        seen |= 1u << a->perm[i];
        s.dim[i] = in[0]->dim[a->perm[i]];
    }
    return s;
}

struct cn_shape cn_shape_slice(cn_shapes in, const struct cn_attr *a)
{
    struct cn_shape s = *in[0];

    CN_ASSERT(a->axis >= 0 && a->axis < s.rank && a->offset >= 0 && a->length > 0);
    CN_ASSERT(a->offset + a->length <= s.dim[a->axis]);
    s.dim[a->axis] = a->length;
    return s;
}

struct cn_shape cn_shape_gather(cn_shapes in, const struct cn_attr *a)
{
    (void)a;
    CN_ASSERT(in[0]->rank == 3 && in[1]->rank == 2 && in[0]->dim[0] == in[1]->dim[0]);
    return cn_shape3(in[0]->dim[0], in[1]->dim[1], in[0]->dim[2]);
}

struct cn_shape cn_shape_reduce(cn_shapes in, const struct cn_attr *a)
{
    struct cn_shape s = *in[0];

    CN_ASSERT(a->axis >= 0 && a->axes > 0 && a->axis + a->axes <= s.rank);
    for (int i = a->axis; i < a->axis + a->axes; i++)
        s.dim[i] = 1;
    return s;
}

struct cn_shape cn_shape_pool(cn_shapes in, const struct cn_attr *a)
{
    const struct cn_conv *c = &a->conv;

    CN_ASSERT(a->reduction == CN_MEAN || a->reduction == CN_MAX_OF);
    /* As PyTorch: no window lies in the padding alone. */
    CN_ASSERT(2 * c->pad[0] <= c->k && 2 * c->pad[2] <= c->k);
    CN_ASSERT(2 * c->pad[1] <= c->k_w && 2 * c->pad[3] <= c->k_w && c->dilation == 1);
    return window_shape(in[0], c, in[0]->dim[1]);
}

struct cn_shape cn_shape_pad(cn_shapes in, const struct cn_attr *a)
{
    const int *p = a->conv.pad;
    const struct cn_shape *s = in[0];

    CN_ASSERT(s->rank == 4);
    for (int i = 0; i < 4; i++)
        CN_ASSERT(p[i] >= 0 && p[i] < s->dim[2 + i % 2]);
    return cn_shape4(s->dim[0], s->dim[1], s->dim[2] + p[0] + p[2], s->dim[3] + p[1] + p[3]);
}

struct cn_shape cn_shape_unshuffle(cn_shapes in, const struct cn_attr *a)
{
    const struct cn_shape *s = in[0];
    int r = a->factor;

    CN_ASSERT(s->rank == 4 && r > 0 && s->dim[2] % r == 0 && s->dim[3] % r == 0);
    return cn_shape4(s->dim[0], s->dim[1] * r * r, s->dim[2] / r, s->dim[3] / r);
}

struct cn_shape cn_shape_shuffle(cn_shapes in, const struct cn_attr *a)
{
    const struct cn_shape *s = in[0];
    int r = a->factor;

    CN_ASSERT(s->rank == 4 && r > 0 && s->dim[1] % (r * r) == 0);
    return cn_shape4(s->dim[0], s->dim[1] / (r * r), s->dim[2] * r, s->dim[3] * r);
}

struct cn_shape cn_shape_prelu(cn_shapes in, const struct cn_attr *a)
{
    (void)a;
    CN_ASSERT(in[0]->rank >= 2 && in[1]->rank == 1);
    CN_ASSERT(in[1]->dim[0] == 1 || in[1]->dim[0] == in[0]->dim[1]);
    return *in[0];
}
