/* Parameters of one network out of an opened checkpoint, in the form that a backend asks for.
 *
 * A "difference" ControlNet holds W_control - W_unet: such tensors are summed with the base's here,
 * so that backends never know. Owning worker.
 *
 *     struct cn_source s;
 *     cn_source_init(&s, checkpoint, CN_COMP_UNET, NULL);
 *     cn_weights_new(backend, &s.param, &weights, err);       -- s must outlive the weights
 */
#ifndef CN_ENGINE_SOURCE_H
#define CN_ENGINE_SOURCE_H

#include "backend/backend.h"
#include "checkpoint/checkpoint.h"

struct cn_source {
    struct cn_param_source param;
    const struct cn_checkpoint *checkpoint;
    enum cn_component component;
    const struct cn_checkpoint *base; /* of a difference ControlNet; NULL otherwise */
};

/* Both checkpoints stay the caller's and must stay open. */
void cn_source_init(struct cn_source *s, const struct cn_checkpoint *checkpoint,
                    enum cn_component component, const struct cn_checkpoint *base);

#endif
