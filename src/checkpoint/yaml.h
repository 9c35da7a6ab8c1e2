/* The part of YAML in which configurations of latent diffusion models are written: mappings inside
 * of each other by their indentation, scalars, lists of scalars in brackets or with dashes, and
 * comments. What else YAML has (anchors, tags, texts over several lines, mappings in braces) is an
 * error that names the line, never something else than YAML would make of it.
 *
 * Any thread.
 */
#ifndef CN_CHECKPOINT_YAML_H
#define CN_CHECKPOINT_YAML_H

#include "base/base.h"

/* A scalar or a list in brackets, as it stands, at keys joined by dots ("model.params.use_ema"); ""
 * for none. Members of lists with dashes come one by one, their last key is "-". Not 0: the end. */
typedef int (*cn_yaml_fn)(void *ctx, const char *key, const char *value, struct cn_err *err);

/* Calls fn for each value in the order of the file. */
int cn_yaml_read(const char *path, cn_yaml_fn fn, void *ctx, struct cn_err *err);

/* The same of a text that ends with a NUL and is changed; path is for messages only. */
int cn_yaml_parse(const char *path, char *text, cn_yaml_fn fn, void *ctx, struct cn_err *err);

#endif
