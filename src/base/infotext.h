/* The text that tells how a picture was made, in the form that other programs of the field read:
 * the prompt, a line "Negative prompt: ...", and a line of "Key: value" pairs (AUTOMATIC1111's
 * infotext). It goes into PNG files under the key "parameters". Any thread.
 *
 *     struct cn_infotext_facts f = {.model = "sd15", .width = 512, .height = 512, .seed = 42};
 *     char *text = cn_infotext(&spec, &f);
 */
#ifndef CN_BASE_INFOTEXT_H
#define CN_BASE_INFOTEXT_H

#include "base/base.h"
#include "base/spec.h"

#define CN_INFOTEXT_KEY "parameters"

/* What the job did not say but the picture has. */
struct cn_infotext_facts {
    const char *model;
    int width, height;
    uint64_t seed; /* of this picture */
    int image;     /* its number in the batch */
};

/* free() it. NULL: no memory. */
char *cn_infotext(const struct cn_spec *s, const struct cn_infotext_facts *f) CN_MUST_USE;

#define CN_INFOTEXT_JSON_KEY "controlnetd"

/* The same as the JSON of a request, without its images. free() it. */
char *cn_infotext_json(const struct cn_spec *s, const struct cn_infotext_facts *f) CN_MUST_USE;

#endif
