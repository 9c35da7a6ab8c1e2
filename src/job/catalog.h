/* The models that the workers offer, as their HELLO told. Loop thread only.
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
};

void cn_catalog_release(struct cn_catalog *c);

/* Takes the models, annotators and embeddings of *hello and leaves it without. */
void cn_catalog_set(struct cn_catalog *c, struct cn_msg_hello *hello);

const struct cn_model_info *cn_catalog_find(const struct cn_catalog *c, enum cn_model_kind kind,
                                            const char *name);
const struct cn_model_info *cn_catalog_default(const struct cn_catalog *c);

/* Fills in the default model and size; CN_ENOTFOUND for a name that is not there (the message lists
 * those that are), CN_EINVAL for sizes and ControlNets that do not fit the model. */
int cn_catalog_resolve(const struct cn_catalog *c, struct cn_spec *spec, struct cn_err *err);

#endif
