/* What a job costs: the measure by which tenants share the devices. Any thread.
 *
 * The unit is one row of one network call on a megapixel: a guided picture of 512 x 512 in 20 steps
 * without a ControlNet costs 20 x 2 x 0.262 = 10.5, and a little for its start and its decoder.
 */
#ifndef CN_JOB_COST_H
#define CN_JOB_COST_H

#include "base/base.h"
#include "base/spec.h"

/* Predicted, by the kind of job. Drawing: rows x calls x pixels x (1 + ControlNets) x n. Rows are 2
 * under guidance; calls are the steps (twice for samplers that ask twice; the denoised part of them
 * for img2img); a ControlNet counts for its window only. The spec is resolved: its model and size
 * are known. Positive. */
double cn_cost(const struct cn_spec *s);

#endif
