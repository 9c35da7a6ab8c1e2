/* Which layers of a base model the parts of an adapter change.
 *
 * The layers are those that the model's own graphs name (model/expect.h); a part finds its layer by
 * diffusers' or by LDM's path. Parts of layers that the model does not have, or has in another
 * size, are counted and the first of them named. Any thread.
 *
 *     struct cn_adapter_match m;
 *     rc = cn_adapter_match(adapter, checkpoint, &m, err);   -- CN_EINVAL: it is for other models
 *     ... m.pair[i].part changes m.pair[i].name ...
 *     cn_adapter_match_release(&m);
 */
#ifndef CN_RUNTIME_ADAPTER_MATCH_H
#define CN_RUNTIME_ADAPTER_MATCH_H

#include "runtime/adapter_math.h"
#include "runtime/adapters.h"

enum { CN_LAYER_BLOCKS = 26 /* of block weights: the text, 12 in, the middle, 12 out */ };

/* One adapter of a request. */
struct cn_adapter_use {
    const struct cn_adapter_entry *entry;
    double unet, text;             /* strengths of the networks' parts */
    double block[CN_LAYER_BLOCKS]; /* factors of them: [0] the text's, then as cn_adapter_pair */
};

struct cn_adapter_pair {
    const struct cn_adapter_part *part; /* the adapter's */
    const char *name;                   /* the layer's in diffusers' files, without ".weight" */
    struct cn_layer layer;
    bool multiplies; /* the layer multiplies by its weight: no norm */
    int block; /* of CN_LAYER_BLOCKS, as LDM's names count them; -1: of none */
};

struct cn_adapter_match {
    struct cn_arena arena;
    struct cn_adapter_pair *pair;
    size_t n, cap;
    size_t keys, matched_keys; /* tensors of the file, and of them those in a pair */
    char first_unmatched[160]; /* "" when all are */
};

/* CN_EINVAL, with the counts, when less than half of the adapter's keys belong to the model. */
int cn_adapter_match(const struct cn_adapter *a, const struct cn_checkpoint *base,
                     struct cn_adapter_match *ret, struct cn_err *err);
void cn_adapter_match_release(struct cn_adapter_match *m);

/* The strength that a request gives to a part. */
double cn_adapter_strength(const struct cn_adapter_use *u, const struct cn_adapter_pair *p);

#endif
