/* Embeddings of textual inversion: files of vectors that stand for a word of the prompt.
 *
 * Forms: one tensor, [vectors, width] or [width], of any name ("emb_params", "string_to_param.*" of
 * the web UI, or the token itself, as diffusers writes it); or "clip_l" and "clip_g" of models with
 * two text encoders. In whatever file checkpoint/tensor_file.h reads. All are read when they are
 * found, for they are small.
 *
 * DESIGN. A list never changes: when the directories have, another one takes its place, which
 * shares what is still the same. Whoever holds the old one keeps it, with its ids of vectors.
 *
 * Owning worker.
 *
 *     struct cn_embeddings e = {0};
 *     cn_embeddings_scan(&e, "embeddings", &err);
 *     list = cn_embeddings_hold(&e);
 *     row = cn_embeddings_row(list, id, 0);        -- id of a vector, as text/triggers.h has it
 *     cn_embeddings_refresh(&e, told, ctx);        -- list stays as it is
 *     cn_embeddings_let_go(list);
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
    uint64_t version;          /* of its file: another number when it was written to */
    int vectors;               /* of each encoder */
    int encoders;              /* text encoders of the models that it is for */
    int width[CN_MAX_TEXTS];   /* hidden size of each */
    float *rows[CN_MAX_TEXTS]; /* [vectors, width] */
    int lists;                 /* that it is in */
};

struct cn_embedding_list {
    uint64_t number; /* no other list has it */
    int n;
    struct cn_embedding_at {
        struct cn_embedding *of;
        int32_t first; /* number of its first vector, counted over the list */
    } * item;          /* in the order of the directories and names */
    size_t cap;
    int32_t vectors;
    int holders;
};

struct cn_embeddings {
    struct cn_embedding_list *now; /* NULL: nobody has scanned */
    char **source;                 /* directories */
    size_t n_sources, sources_cap;
    uint64_t lists; /* that were made */
};

/* Adds every embedding in a directory and those below it, in the order of their names; other files
 * are passed over, and what cannot be used is listed as broken. CN_ENOTFOUND when there is no such
 * directory; after a failure the list is as it was. */
int cn_embeddings_scan(struct cn_embeddings *e, const char *dir, struct cn_err *err);

/* Looks again at all directories that were scanned; says whether anything is new, changed or gone.
 * Of a directory that cannot be read just now told() hears (it may be NULL), and what was in it
 * stays; of one that is not there any more nothing does. */
bool cn_embeddings_refresh(struct cn_embeddings *e,
                           void (*told)(void *ctx, const char *dir, const char *why), void *ctx);
void cn_embeddings_release(struct cn_embeddings *e); /* lists that are held stay */

/* The list of now, also after it was replaced; NULL: there is none, which all below understand. */
struct cn_embedding_list *cn_embeddings_hold(struct cn_embeddings *e);
void cn_embeddings_let_go(struct cn_embedding_list *l);

/* Is it for a model with text encoders of these hidden sizes? */
bool cn_embedding_fits(const struct cn_embedding *e, const int *width, int encoders);

/* The vector of an id, [width] of text encoder i; NULL: there is none of that id. */
const float *cn_embeddings_row(const struct cn_embedding_list *l, int32_t id, int i);

#endif
