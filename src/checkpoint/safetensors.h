/* Writing safetensors files. They are read by checkpoint/tensor_file.h.
 *
 * Any thread.
 */
#ifndef CN_CHECKPOINT_SAFETENSORS_H
#define CN_CHECKPOINT_SAFETENSORS_H

#include "base/base.h"
#include "checkpoint/tensor_file.h"

/* Writes n views (name, dtype, rank, dim and the data count; bytes must agree with them) in the
 * reference writer's order, replacing path only when all is on disk. metadata: key, value, key,
 * value, ..., NULL; or NULL. */
int cn_safetensors_write(const char *path, const struct cn_tensor_view *views, size_t n,
                         const char *const *metadata, struct cn_err *err);

#endif
