/* What a decoder answers, read by who started it: a stranger's word. Any thread.
 *
 *     if (!cn_decoding_reply_is_sound(&reply, &limits)) ...      -- its decoder is lost
 *     rc = cn_decoding_take_reply(&reply, fd, &img, err);
 */
#ifndef CN_DECODING_REPLY_H
#define CN_DECODING_REPLY_H

#include "decoding/message.h"

/* Nothing in it goes beyond the limits that the request had. */
bool cn_decoding_reply_is_sound(const struct cn_decoding_reply *r,
                                const struct cn_image_limits *limits);

/* Of a sound one: the pixels, from fd, or the error that it tells, in printable ASCII. CN_EIO when
 * fd has fewer bytes than the picture. */
int cn_decoding_take_reply(struct cn_decoding_reply *r, int fd, struct cn_image *ret,
                           struct cn_err *err);

#endif
