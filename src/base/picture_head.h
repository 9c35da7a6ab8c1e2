/* The size of a picture by the first bytes of its file, without a decoder: for who has to know what
 * a job will need before anybody reads its pictures. Bytes of strangers: whatever they are, nothing
 * beyond them is read. Any thread. */
#ifndef CN_BASE_PICTURE_HEAD_H
#define CN_BASE_PICTURE_HEAD_H

#include "base/base.h"

/* EXIF's orientation, 1..8, of a block [len], with or without "Exif" before it; 1 when there is
 * none or it is damaged. From 5 on rows are columns. */
int cn_exif_orientation(const uint8_t *exif, size_t len);

/* Pixels of a PNG, JPEG or WebP, upright. False: it is none, or is damaged. */
bool cn_picture_size(const void *data, size_t len, int *ret_width, int *ret_height);

#endif
