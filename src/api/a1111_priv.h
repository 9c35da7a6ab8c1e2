/* Shared by the files of src/api that read what clients of AUTOMATIC1111's web UI send. Any thread.
 */
#ifndef CN_API_A1111_PRIV_H
#define CN_API_A1111_PRIV_H

#include "base/base.h"
#include "api/reader_priv.h"

/* a1111_overrides.c: override_settings, into r->spec. */
int cn_a1111_read_overrides(struct cn_reader *r, const json_t *v, const char *where, void *target,
                            const struct cn_enum *e);

/* a1111_units.c: alwayson_scripts, whose scripts other than the ControlNet extension's are refused
 * when they have arguments. Units go into r->spec as controls; those without an image of their own
 * are left without (cn_a1111_finish_units). */
int cn_read_alwayson_scripts(struct cn_reader *r, const json_t *v, const char *where, void *target,
                             const struct cn_enum *e);

/* Once init_images were read: a unit without an image takes the first of them. */
int cn_a1111_finish_units(struct cn_reader *r);

/* The preprocessor of that name, at its resolution (processor_res) and with its thresholds. */
int cn_a1111_set_module(struct cn_reader *r, struct cn_spec_control *c, const char *module,
                        const char *where, double resolution, const double *threshold);

/* a1111_echo.c: what the answer repeats as "parameters": preset (JSON text) with the members of
 * root over it, without images. NULL: no memory. free() it. */
char *cn_a1111_echo(const struct cn_reader *r, const char *preset, const json_t *root);

/* "name.safetensors [0123456789]" to "name", in place. */
void cn_a1111_strip_hash(char *name);

#endif
