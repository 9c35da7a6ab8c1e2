/* Embeddings of textual inversion: files of vectors that stand for a word of the prompt.
 *
 * Forms: one tensor, [vectors, width] or [width], of any name ("emb_params", "string_to_param.*" of
 * the web UI, or the token itself, as diffusers writes it); or "clip_l" and "clip_g" of models with
 * two text encoders. In whatever file checkpoint/tensor_file.h reads. All are read when they are
 * found, for they are small.
 *
 * Owning worker.
 *
 *     struct cn_embeddings e = {0};
 *     cn_embeddings_scan(&e, "embeddings", &err);
 *     row = cn_embeddings_row(&e, id, 0);          -- id of a vector, as text/triggers.h has it
 *     cn_embeddings_release(&e);
 */
#ifndef CN_RUNTIME_EMBEDDINGS_H
#define CN_RUNTIME_EMBEDDINGS_H

#include "base/base.h"
#include "checkpoint/checkpoint.h"
#include "text/tokenizer.h"

enum {
    CN_MAX_EMBEDDINGS = 4096,
    CN_MAX_VECTORS = CN_CLIP_LENGTH - 2 /* of one: more do not fit into a text */
};

struct cn_embedding {
    char *name;                /* of its file, without the ending */
    char *token;               /* what the file calls it, else its name */
    char *path, *broken;       /* broken: why it cannot be used, or NULL */
    int vectors;               /* of each encoder */
    int encoders;              /* text encoders of the models that it is for */
    int width[CN_MAX_TEXTS];   /* hidden size of each */
    float *rows[CN_MAX_TEXTS]; /* [vectors, width] */
    int32_t first;             /* number of the first vector, counted over all embeddings */
};

struct cn_embeddings {
    struct cn_embedding *item;
    int n;
    size_t cap;
    int32_t vectors;
};

/* Adds every embedding in a directory and those below it, in the order of their names; other files
 * are passed over, and what cannot be used is listed as broken. CN_ENOTFOUND when there is no such
 * directory. */
int cn_embeddings_scan(struct cn_embeddings *e, const char *dir, struct cn_err *err);
void cn_embeddings_release(struct cn_embeddings *e);

/* Is it for a model with text encoders of these hidden sizes? */
bool cn_embedding_fits(const struct cn_embedding *e, const int *width, int encoders);

/* The vector of an id, [width] of text encoder i; NULL: there is none of that id. */
const float *cn_embeddings_row(const struct cn_embeddings *e, int32_t id, int i);

#endif
