/* Annotators: from a photograph to the control map that a ControlNet was trained with.
 *
 * The classical ones only; those that need a network live with the models. All functions are pure.
 * Any thread.
 *
 *     struct cn_annotator_params p;
 *     cn_annotator_defaults(cn_annotator_find("canny"), &p);
 *     cn_annotator_set(cn_annotator_find("canny"), &p, "low", 50, err);
 *     if (cn_annotate("canny", &p, &photo, &map, err) < 0) ...
 */
#ifndef CN_IMAGE_ANNOTATE_H
#define CN_IMAGE_ANNOTATE_H

#include "image/image.h"

enum { CN_ANNOTATOR_PARAMS = 3 };

struct cn_annotator_param {
    const char *name, *help;
    double min, max, def; /* whole numbers, inclusive */
};

/* Values in the order of the annotator's table row. */
struct cn_annotator_params {
    double v[CN_ANNOTATOR_PARAMS];
};

/* src is RGB, ret [h, w, 3] is there already: only the pixels have to be filled. */
typedef int (*cn_annotate_fn)(const struct cn_annotator_params *p, const struct cn_image *src,
                              struct cn_image *ret);

struct cn_annotator {
    const char *name, *help;
    int n_params;
    struct cn_annotator_param param[CN_ANNOTATOR_PARAMS];
    cn_annotate_fn fn;
};

extern const struct cn_annotator cn_annotators[];
extern const int cn_n_annotators;

const struct cn_annotator *cn_annotator_find(const char *name); /* NULL: no such annotator */
void cn_annotator_defaults(const struct cn_annotator *a, struct cn_annotator_params *ret);

/* CN_EINVAL for an unknown parameter or a value out of range; err->where is "/NAME". */
int cn_annotator_set(const struct cn_annotator *a, struct cn_annotator_params *p, const char *name,
                     double value, struct cn_err *err);

/* params NULL: defaults. Grey sources are replicated, alpha is composited on white. The result has
 * the size of src and 3 channels, white lines on black where the annotator draws lines. */
int cn_annotate(const char *name, const struct cn_annotator_params *params,
                const struct cn_image *src, struct cn_image *ret, struct cn_err *err);

/* What follows works on plain arrays and needs nothing but src/base: it can be loaded as a library
 * of its own (annotate_*.c), so that training and serving see the same maps, bit for bit.
 * Each returns CN_OK, CN_EINVAL or CN_ENOMEM. */

/* Canny edges, equal to OpenCV's plain path with aperture 3. rgb is [h, w, c], c = 1..4 (per pixel
 * the channel with the steepest gradient counts); edges is [h, w], 0 or 255. */
int cn_canny(const uint8_t *rgb, int w, int h, int c, int low, int high, bool l2, uint8_t *edges);

/* Scribble by difference of Gaussians (sigma 0.5 and 5). rgb is [h, w, 3]; out is [h, w], 0 or 255.
 * thr 1..64, usually 32. */
int cn_scribble_xdog(const uint8_t *rgb, int w, int h, int thr, uint8_t *out);

/* Dark lines on a lighter ground become bright. rgb is [h, w, 3]; out is [h, w]. */
int cn_lineart_standard(const uint8_t *rgb, int w, int h, uint8_t *out);

/* The threshold that separates the two classes of grey [n] best (Otsu 1979). */
int cn_otsu(const uint8_t *grey, size_t n);

#endif
