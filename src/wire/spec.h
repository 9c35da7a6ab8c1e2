/* struct cn_spec as bytes, for the JOB frame. Any thread.
 *
 *     cn_wire_put_spec(&pack, &spec);
 *     if (cn_wire_get_spec(&unpack, &spec) < 0) ...      -- spec is released on failure
 *
 * The job store keeps descriptions in this format, so a change needs a new version, and the reading
 * of those before it: a waiting job of a version that cannot be read fails after an upgrade.
 *
 * Strict: a version byte first, every enumeration and count in range, numbers finite, nothing
 * skipped. What the numbers may be is cn_spec_check's business, on both ends.
 */
#ifndef CN_WIRE_SPEC_H
#define CN_WIRE_SPEC_H

#include "base/base.h"
#include "base/spec.h"
#include "wire/pack.h"

/* 1: without the kind of job, read as one that draws; 2: without the rules of windows, read as
 * diffusers'; 3: without the syntax of prompts, read as plain; 4: without the rescaling of
 * guidance, read as none; 5: without a second pass, read as none;
 * 6: without a decoder, read as the autoencoder; 7: without what a second pass has of its own, read
 * as the first one's; 8: without what version 9 says of masks, maps and metadata, read as off;
 * 10: without perturbed-attention guidance, read as none;
 * 11: without adapters, read as none; 12: without an autoencoder, read as the model's own;
 * 13: without what transparent parts of a mask mean, read as guessed. */
enum { CN_WIRE_SPEC_VERSION = 16 };

/* Longest name and text, largest image file; larger is CN_ETOOBIG on the reading side. */
#define CN_WIRE_MAX_NAME  ((size_t)CN_MAX_NAME)
#define CN_WIRE_MAX_TEXT  ((size_t)1 << 20)
#define CN_WIRE_MAX_IMAGE ((size_t)64 << 20)

void cn_wire_put_spec(struct cn_pack *p, const struct cn_spec *s);

/* Fills *s (not initialised before) or returns the fault, which sticks in u as well. CN_EINVAL: a
 * kind of job that is not known here, and nothing else. */
int cn_wire_get_spec(struct cn_unpack *u, struct cn_spec *s) CN_MUST_USE;

#endif
