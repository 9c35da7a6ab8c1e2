/* What the engine has, as the wire says it: for HELLO and CATALOG. Owning worker.
 *
 *     cn_facts_hello(engine, &hello, &err);
 *     cn_facts_catalog(engine, cn_engine_refresh(engine), &catalog);
 *     cn_worker_catalog(loop, &catalog);
 *     cn_msg_catalog_release(&catalog);
 */
#ifndef CN_WORKER_FACTS_H
#define CN_WORKER_FACTS_H

#include "engine/engine.h"
#include "wire/message.h"

/* Fills all but pid. CN_ENOTFOUND: there is no base model. Logs what is broken. */
int cn_facts_hello(const struct cn_engine *e, struct cn_msg_hello *ret, struct cn_err *err);

/* All models, embeddings and adapters, and what was passed over, after a look that found so many
 * changes. */
void cn_facts_catalog(const struct cn_engine *e, struct cn_model_changes n,
                      struct cn_msg_catalog *ret);

/* A line for each model, embedding or adapter that cannot be used; and one when there are more
 * adapters than a message has room for. */
void cn_facts_log_broken(const struct cn_engine *e);
void cn_facts_log_broken_embeddings(const struct cn_engine *e);
void cn_facts_log_broken_adapters(const struct cn_engine *e);

#endif
