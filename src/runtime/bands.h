/* A network of feature maps in bands of rows: exactly what its graph says, with the memory of few
 * layers of the picture and a band of the others.
 *
 * For the autoencoder, whose layers at a picture's own size are what takes memory. Tiles of the
 * whole network would have seams, because a group norm looks at the whole picture. So one layer is
 * computed after the other: what goes into a norm is kept whole, in the host's memory, and from it
 * and the norm's statistics the rows of the next kept value are computed, band after band. Rows of
 * a value that nothing needs any more are freed on the way.
 *
 * The owning worker makes and frees; cn_bands_run() may be called on another thread when the flags
 * have CN_PLAN_CONCURRENT, while the owner leaves the struct alone:
 *
 *     struct cn_bands *b;
 *     cn_bands_new(net, build, arg, &opts, &b, &err);
 *     cn_bands_write(b, latent, &err);
 *     while ((rc = cn_bands_next(b, &err)) > 0)      -- the owner: plans of the next layer
 *         cn_bands_run(b, &err);                     -- any thread
 *     cn_bands_read(b, pixels);
 *     cn_bands_free(b);
 */
#ifndef CN_RUNTIME_BANDS_H
#define CN_RUNTIME_BANDS_H

#include "runtime/network.h"

struct cn_bands_opts {
    size_t band_bytes; /* of the values of a band, about */
    enum cn_dtype store; /* of what is kept: F32, or F16, which may overflow */
    int flags;         /* cn_plan_flags */
    bool (*cancelled)(void *ctx); /* asked before each band; may be NULL */
    void *ctx;
};

#define CN_BANDS_DEFAULTS                                                                          \
    {                                                                                              \
        .band_bytes = (size_t)64 << 20, .store = CN_F16                                            \
    }

struct cn_bands;

/* build(arg) makes a graph with one input and one output, both [1, c, h, w], of convolutions, group
 * norms, activations, sums, upsampling, and what looks at a whole map; the network must be open. */
int cn_bands_new(struct cn_network *net, cn_build_fn build, const void *arg,
                 const struct cn_bands_opts *opts, struct cn_bands **ret, struct cn_err *err);
void cn_bands_free(struct cn_bands *b);
int cn_bands_write(struct cn_bands *b, const float *input, struct cn_err *err);
/* 1: cn_bands_run() is to be called; 0: the output is there. */
int cn_bands_next(struct cn_bands *b, struct cn_err *err);
/* CN_ECANCELED, CN_ENOMEM, or what running a plan gives. */
int cn_bands_run(struct cn_bands *b, struct cn_err *err);
/* After cn_bands_run(): a value did not fit into the type in which it is kept, or was no number. */
bool cn_bands_not_finite(const struct cn_bands *b);
void cn_bands_read(const struct cn_bands *b, float *output);
size_t cn_bands_peak_bytes(const struct cn_bands *b); /* of what was kept */
size_t cn_bands_expected_bytes(const struct cn_bands *b); /* the same ahead, about */
/* The layer at hand is the last one: after it cn_bands_read() may be called. */
bool cn_bands_at_end(const struct cn_bands *b);

/* What a plan of the graph needs to run, about: the three largest values that it has at a time. */
size_t cn_bands_whole_bytes(const struct cn_graph *g, enum cn_dtype dtype);

#endif
