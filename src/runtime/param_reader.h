/* Parameters of one network out of an opened checkpoint, in the form that a backend asks for.
 *
 * A "difference" ControlNet holds W_control - W_unet: such tensors are summed with the base's here,
 * so that backends never know. Owning worker.
 *
 *     struct cn_param_reader s;
 *     cn_param_reader_init(&s, checkpoint, CN_COMP_UNET, NULL);
 *     cn_weights_new(backend, &s.param, &weights, err);       -- s must outlive the weights
 */
#ifndef CN_RUNTIME_PARAM_READER_H
#define CN_RUNTIME_PARAM_READER_H

#include "backend/backend.h"
#include "checkpoint/checkpoint.h"

struct cn_param_reader {
    struct cn_param_source param;
    const struct cn_checkpoint *checkpoint;
    enum cn_component component;
    const struct cn_checkpoint *base; /* of a difference ControlNet; NULL otherwise */
};

/* Both checkpoints stay the caller's and must stay open. */
void cn_param_reader_init(struct cn_param_reader *s, const struct cn_checkpoint *checkpoint,
                          enum cn_component component, const struct cn_checkpoint *base);

#endif
