/* What a text encoder is given: the rows of its token and position tables, summed.
 *
 * The table of tokens, a third of the encoder, is never loaded: the rows that a text names are read
 * from the file, and those of embeddings (embeddings.h) stand beside them. Owning worker.
 *
 *     cn_token_rows(base, 0, embeddings, ids, 2, 77, rows, err);    -- ids [2, 77]
 */
#ifndef CN_RUNTIME_TOKEN_ROWS_H
#define CN_RUNTIME_TOKEN_ROWS_H

#include "runtime/embeddings.h"
#include "runtime/model.h"

/* ret is [n, s, hidden size] of text encoder i. CN_EFORMAT, CN_ENOTFOUND: the model's tables are
 * not what its configuration says. */
int cn_token_rows(struct cn_model *m, int i, const struct cn_embedding_list *e, const int32_t *ids,
                  int n, int s, float *ret, struct cn_err *err);

/* The triggers of a list of embeddings in a model's text encoder; *ret is NULL when there are none,
 * and lives until the next call for this encoder. The model is open. */
int cn_token_triggers(struct cn_model *m, int i, const struct cn_embedding_list *e,
                      const struct cn_triggers **ret, struct cn_err *err);

#endif
