/* An adapter that was held against a base model: its file, which stays open, the layers that it
 * changes, and, when all it does is to add low-rank products, their factors.
 *
 * Factors are read when the first job draws with them, once, and held like a model's weights: under
 * the memory budget, least recently used first (residency.c). They know no strengths: these are the
 * rows' (backend.h: cn_row_adapter), so that all jobs share them, and share steps with jobs that
 * have other adapters or none. An adapter of another form changes weights (overlay.h). Owning
 * worker.
 *
 *     if (cn_fitted_get(rt, base, entry, &f, err) < 0) ...     -- the caller holds it
 *     if (f->low_rank && cn_fitted_load(f, backend, err) < 0) ...
 *     ... f->factors[CN_COMP_UNET] ...
 *     cn_fitted_let_go(f);
 */
#ifndef CN_RUNTIME_FITTED_H
#define CN_RUNTIME_FITTED_H

#include "backend/backend.h"
#include "runtime/adapter_match.h"
#include "runtime/runtime.h"

struct cn_fitted {
    struct cn_model *base;
    char *name, *path;
    uint64_t version;
    struct cn_adapter *file;
    struct cn_adapter_match match;
    bool low_rank;  /* all that it does is to add low-rank products to layers that networks have */
    bool additive;  /* what it adds does not depend on the weights: its place in a list is free */
    /* Of each component NULL: not loaded, or nothing. Entries stand in the order of match.pair. */
    struct cn_factors *factors[CN_COMP_COUNT];
    size_t elements[CN_COMP_COUNT]; /* of the factors */
    bool loaded;
    int holders;   /* jobs and overlays that know it */
    int users;     /* jobs that it must stay loaded for */
    uint64_t used; /* of the runtime's clock */
};

/* Found among those that are there, or opened and matched. CN_EINVAL: it is for other models;
 * CN_EFORMAT, CN_EIO: its file cannot be read. */
int cn_fitted_get(struct cn_runtime *rt, struct cn_model *base,
                  const struct cn_adapter_entry *entry, struct cn_fitted **ret,
                  struct cn_err *err);
void cn_fitted_let_go(struct cn_fitted *f);

/* Reads the factors. Only of one that is low_rank. */
int cn_fitted_load(struct cn_fitted *f, struct cn_backend *b, struct cn_err *err);
void cn_fitted_unload(struct cn_fitted *f);
void cn_fitted_free(struct cn_fitted *f); /* NULL is fine */
size_t cn_fitted_bytes(const struct cn_fitted *f);
/* Bytes that it will have about, when it is loaded. */
size_t cn_fitted_bytes_to_come(const struct cn_fitted *f);

#endif
