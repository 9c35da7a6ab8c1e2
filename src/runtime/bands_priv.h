/* What bands.c and bands_graph.c share: which values are kept, what a layer is made of, and the
 * graph of a band of it. */
#ifndef CN_RUNTIME_BANDS_PRIV_H
#define CN_RUNTIME_BANDS_PRIV_H

#include "runtime/bands.h"

/* Rows [lo, hi) of a node; of one that is not part of the layer, none. */
struct band_range {
    int64_t lo, hi;
};

/* One value that is kept, and the nodes from which it is computed. */
struct band_layer {
    const struct cn_graph *g;
    int out;
    const bool *kept; /* [g->count] */
    bool *part;       /* [g->count]: out, what is between, and where it begins */
    bool whole;       /* it has a node that looks at all rows */
};

/* part is the caller's array, which is filled. */
void band_layer_find(struct band_layer *l, const struct cn_graph *g, int out, const bool *kept,
                     bool *part);
/* The layer begins here: with a kept value, or one after a norm, whose statistics are known. */
bool band_layer_begins(const struct band_layer *l, int i);
/* The rows of each node that rows [lo, hi) of the result need. ret: [g->count] */
void band_layer_ranges(const struct band_layer *l, int64_t lo, int64_t hi, struct band_range *ret);
/* Inputs in the order of the nodes with which the layer begins; one output. */
struct cn_graph *band_layer_graph(const struct band_layer *l, const struct band_range *range);
/* Bytes of all values for one row of the result. */
size_t band_layer_row_bytes(const struct band_layer *l);

#endif
