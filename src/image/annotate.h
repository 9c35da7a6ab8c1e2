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
    double min, max, def; /* inclusive */
    bool real;            /* else whole numbers only */
};

/* Values in the order of the annotator's table row. */
struct cn_annotator_params {
    double v[CN_ANNOTATOR_PARAMS];
};

/* src is RGB, ret [h, w, 3] is there already: only the pixels have to be filled. One that hides
 * pixels gets and fills RGBA. */
typedef int (*cn_annotate_fn)(const struct cn_annotator_params *p, const struct cn_image *src,
                              struct cn_image *ret);

struct cn_annotator {
    const char *name, *help;
    int n_params;
    struct cn_annotator_param param[CN_ANNOTATOR_PARAMS];
    cn_annotate_fn fn;
    bool hides; /* pixels of the map can be missing: the map is RGBA, and a hint has -1 there */
};

extern const struct cn_annotator cn_annotators[];
extern const int cn_n_annotators;

const struct cn_annotator *cn_annotator_find(const char *name); /* NULL: no such annotator */
/* The one whose maps a ControlNet wants, by its file's name ("emoji-canny",
 * "control_v11p_sd15_inpaint"); "": nothing says which. */
const char *cn_annotator_of_model(const char *name);
void cn_annotator_defaults(const struct cn_annotator *a, struct cn_annotator_params *ret);

/* CN_EINVAL for an unknown parameter or a value out of range; err->where is "/NAME". */
int cn_annotator_set(const struct cn_annotator *a, struct cn_annotator_params *p, const char *name,
                     double value, struct cn_err *err);

/* params NULL: defaults. Grey sources are replicated, alpha is composited on white. The result has
 * the size of src and 3 channels, white lines on black where the annotator draws lines; of one that
 * hides pixels 4: what is less than half opaque in src is missing, transparent black. */
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

/* Straight lines through the white pixels of edges [h, w] (OpenCV's HoughLinesP with steps of one
 * pixel and one degree), drawn one pixel wide. threshold: pixels on a line; min_length, max_gap in
 * pixels. out is [h, w], 0 or 255. */
int cn_hough_lines(const uint8_t *edges, int w, int h, int threshold, int min_length, int max_gap,
                   uint8_t *out);

/* Gaussian, to bytes; px and out are [h, w, c]. */
int cn_blur_picture(const uint8_t *px, int w, int h, int c, double sigma, uint8_t *out);

/* The threshold that separates the two classes of grey [n] best (Otsu 1979). */
int cn_otsu(const uint8_t *grey, size_t n);

/* What follows takes and fills RGB pictures of one size, which are there already. */

/* Without details: smaller by the factor and back. */
int cn_tile_picture(const struct cn_image *src, double factor, struct cn_image *ret);
/* One colour for each cell of so many pixels a side. */
int cn_colour_grid(const struct cn_image *src, int cell, struct cn_image *ret);
/* Its parts in other places, as on a sheet of rubber; size: pixels from hill to hill. */
int cn_shuffle_picture(const struct cn_image *src, int size, uint64_t seed, struct cn_image *ret);
/* Regions of alike colours, each in its mean colour. */
int cn_segments(const struct cn_image *src, int colours, struct cn_image *ret);

#endif
