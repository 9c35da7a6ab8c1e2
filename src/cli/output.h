/* Finished pictures: names, encoding, files that are there whole or not at all. One thread.
 *
 *     struct cn_output o = {.pattern = "cat.png", .count = 4, .format = CN_PNG};
 *     if (cn_output_check(&o, &err) < 0) ...          -- before any work is done
 *     cn_output_write(&o, &picture, &path, &bytes, &err);   -- cat-1.png
 */
#ifndef CN_CLI_OUTPUT_H
#define CN_CLI_OUTPUT_H

#include "base/base.h"
#include "base/spec.h"
#include "image/image.h"

struct cn_output {
    const char *pattern; /* "-": standard output */
    int count;
    enum cn_format format;
    int quality;
};

struct cn_output_picture {
    const struct cn_image *image;
    int index;        /* from 0 */
    const char *text; /* infotext, PNG only; NULL: none */
};

/* The format that a file name ends in, or -1. */
int cn_output_format(const char *name);

/* "%d" in the pattern becomes the number, from 1; a pattern without it gets "-1", "-2", ... before
 * its suffix when there are several pictures. free() it. */
char *cn_output_name(const struct cn_output *o, int index) CN_MUST_USE;

/* Whether files can be made there. */
int cn_output_check(const struct cn_output *o, struct cn_err *err);

/* *ret_path is free()d by the caller. */
int cn_output_write(const struct cn_output *o, const struct cn_output_picture *p, char **ret_path,
                    size_t *ret_bytes, struct cn_err *err);

/* Writes a whole file, or to a device, a pipe or ("-") standard output. */
int cn_output_file(const char *path, const void *data, size_t len, struct cn_err *err);

#endif
