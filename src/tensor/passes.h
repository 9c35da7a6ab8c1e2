/* Rewrites of a finished graph that keep its meaning. Each returns a new graph; the old one stays
 * the caller's. Any thread.
 *
 *     struct cn_graph *f = cn_graph_fuse(g);
 *     cn_graph_free(g);
 */
#ifndef CN_TENSOR_PASSES_H
#define CN_TENSOR_PASSES_H

#include "tensor/graph.h"

/* Drops what no output needs (inputs stay), and folds into their neighbours: an activation into
 * the convolution, linear layer or group norm before it; a channel add into the group norm after
 * it; a residual add into the convolution or linear layer before it. A node is folded only when
 * nobody else reads its result. */
struct cn_graph *cn_graph_fuse(const struct cn_graph *g) CN_MUST_USE;

/* First and last reader of each value: value i is written by node i and last read by last[i]
 * (count for outputs; -1: never). The array has g->count entries and is the caller's. */
int *cn_graph_last_use(const struct cn_graph *g) CN_MUST_USE;

/* Where v's elements begin among its input's, when they are a run of them in row-major order: of a
 * reshape, and of a slice of whole rows. A backend need not copy them; it must keep the input's
 * memory as long as v is read. -1: they are none. */
int64_t cn_graph_view(const struct cn_graph *g, cn_val v);

/* Packs buffers of bytes[i] that live in [from[i], to[i]] (inclusive, steps) into one arena so that
 * buffers alive together never overlap. Writes offsets (multiples of 64), returns the arena's
 * size. bytes 0: no buffer. Greedy by size (Pisarchyk and Lee 2020, arXiv:2001.03288). */
size_t cn_pack_buffers(int n, const size_t *bytes, const int *from, const int *to,
                       size_t *ret_offset);

#endif
