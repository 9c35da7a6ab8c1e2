/* The text encoder: CLIPTextModel (Radford et al. 2021, arXiv:2103.00020; transformers
 * CLIPTextTransformer). Any thread. */
#ifndef CN_MODEL_TEXT_H
#define CN_MODEL_TEXT_H

#include "tensor/graph.h"
#include "checkpoint/config.h"

/* input "ids" I32 [n, s]; output "context" [n, s, hidden], native: the layer clip_skip before the
 * last, through the final layer norm. clip_skip < layers. */
struct cn_graph *cn_text_graph(const struct cn_text_config *c, int n, int s,
                               int clip_skip) CN_MUST_USE;

#endif
