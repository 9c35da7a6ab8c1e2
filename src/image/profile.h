/* Colour profiles (ICC) of picture files: what they make of the pixels, as sRGB. Any thread, but
 * cn_profile_prepare().
 *
 * Without Little CMS (configure --without-lcms2) profiles are ignored. */
#ifndef CN_IMAGE_PROFILE_H
#define CN_IMAGE_PROFILE_H

#include "image/image.h"

/* Takes what the library wants of the system (the time zone, for a date that nobody reads): once,
 * before a process gives up opening files. */
void cn_profile_prepare(void);

/* Pixels of the file to sRGB, in place, by the profile in it, if there is one for RGB or grey that
 * makes sense; others are ignored. CN_ENOMEM leaves img as it was. */
int cn_profile_apply(const void *data, size_t len, struct cn_image *img, struct cn_err *err);

#endif
