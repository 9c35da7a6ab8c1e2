/* The text encoder: CLIPTextModel (Radford et al. 2021, arXiv:2103.00020; transformers
 * CLIPTextTransformer). Any thread. */
#ifndef CN_MODEL_TEXT_H
#define CN_MODEL_TEXT_H

#include "tensor/graph.h"
#include "checkpoint/config.h"

/* What is wanted of an encoder. */
struct cn_text_use {
    int skip;        /* the context is the result of the layer so many before the last; of as
                        many as there are: the embeddings */
    bool final_norm; /* through the final layer norm */
    bool pooled;     /* "pooled" too: c->projection > 0 */
};

/* What c's UNet was trained on, with `skip` layers fewer. */
struct cn_text_use cn_text_usual(const struct cn_text_config *c, int skip);

/* input "rows" [n, s, hidden], the sums of the rows of the token and position tables, which are not
 * in the graph; output "context" [n, s, hidden], native. With pooled also an input "end"
 * I32 [n, 1], the place of the end token in each row, and an output "pooled" [n, 1, projection]:
 * text_projection of the last layer through the final norm, there. */
struct cn_graph *cn_text_graph(const struct cn_text_config *c, int n, int s,
                               const struct cn_text_use *use) CN_MUST_USE;

#endif
