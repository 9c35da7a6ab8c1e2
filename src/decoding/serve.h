/* A decoder's side: the wall, and then one picture after another.
 *
 *     return cn_decoding_serve(CN_DECODING_FD, cn_image_decode) == CN_OK ? 0 : 1;
 */
#ifndef CN_DECODING_SERVE_H
#define CN_DECODING_SERVE_H

#include "image/codec.h"

typedef int (*cn_decoding_fn)(const void *data, size_t len, const struct cn_image_limits *limits,
                              struct cn_image *ret, struct cn_err *err);

/* Raises the wall and answers requests until the other end closes (CN_OK) or says what makes no
 * sense (CN_EFORMAT). One thread. */
int cn_decoding_serve(int fd, cn_decoding_fn decode);

#endif
