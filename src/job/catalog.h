/* The models that the workers offer, as they told: one catalogue for each, and one of all. Loop
 * thread only.
 *
 *     cn_catalog_set(&cat, &hello);
 *     if (cn_catalog_resolve(&cat, &spec, &err) < 0) ...   -- err.where = "/model"
 */
#ifndef CN_JOB_CATALOG_H
#define CN_JOB_CATALOG_H

#include "base/base.h"
#include "base/spec.h"
#include "wire/message.h"

struct cn_catalog {
    struct cn_model_info *model;
    int n;
    struct cn_annotator_info *annotator;
    int n_annotators;
    struct cn_embedding_info *embedding;
    int n_embeddings;
    struct cn_adapter_info *adapter;
    int n_adapters;
    struct cn_passed_over *passed; /* in the directories of models */
    int n_passed;
};

void cn_catalog_release(struct cn_catalog *c);

/* Takes the models, annotators, embeddings and adapters of *hello and leaves it without. */
void cn_catalog_set(struct cn_catalog *c, struct cn_msg_hello *hello);

/* Takes the models and adapters of *m, and what was passed over, and leaves it without. */
void cn_catalog_take(struct cn_catalog *c, struct cn_msg_catalog *m);

/* *ret (released, or zeroed) becomes what any of them has: of models of one name one that can be
 * used, and as the default the first one's. */
void cn_catalog_merge(struct cn_catalog *ret, const struct cn_catalog *const *from, int n);

/* Are all models of a job that was resolved before there, and can be used? CN_OK, or CN_ENOTFOUND
 * or CN_EINVAL at their field. */
int cn_catalog_check(const struct cn_catalog *c, const struct cn_spec *spec, struct cn_err *err);

const struct cn_model_info *cn_catalog_find(const struct cn_catalog *c, enum cn_model_kind kind,
                                            const char *name);
const struct cn_model_info *cn_catalog_default(const struct cn_catalog *c);

/* Is there a base model that is not broken? */
bool cn_catalog_can_draw(const struct cn_catalog *c);

/* Fills in the default model and size; CN_ENOTFOUND for a name that is not there (the message lists
 * those that are), CN_EINVAL for sizes and ControlNets that do not fit the model. */
int cn_catalog_resolve(const struct cn_catalog *c, struct cn_spec *spec, struct cn_err *err);

#endif
