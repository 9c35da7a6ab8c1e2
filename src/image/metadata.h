/* How a picture was made, in its file: a text under "parameters" in PNG; EXIF's UserComment in JPEG
 * and WebP, as other programs of the field have it. Any thread.
 *
 *     cn_metadata_add(&file, CN_JPEG, text, err);         -- after cn_jpeg_encode()
 *     text = cn_metadata_read(data, len, err);            -- free()
 */
#ifndef CN_IMAGE_METADATA_H
#define CN_IMAGE_METADATA_H

#include "base/buf.h"
#include "base/spec.h"

/* To a JPEG or WebP that was just encoded, the whole of file. text is UTF-8; one that is too long
 * for the format (32,000 characters in JPEG) is left out. */
int cn_metadata_add(struct cn_buf *file, enum cn_format format, const char *text,
                    struct cn_err *err);

/* The text of a PNG, JPEG or WebP as UTF-8; NULL when there is none, or none that can be read. */
char *cn_metadata_read(const void *data, size_t len) CN_MUST_USE;

#endif
