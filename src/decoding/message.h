/* What a program and its decoder say to each other: datagrams of a SOCK_SEQPACKET socketpair, both
 * ends of one build on one machine. The decoder says HELLO once; then each request, which carries
 * two descriptors, is answered by one reply.
 *
 * The descriptors are memfds that the program made, sealed so that nobody can change their sizes:
 * the file to be read (sealed against writing as well), and the place for the pixels, as large as
 * the largest picture that the limits allow. Neither end can so fault the other by a truncation.
 * What the decoder sends is a stranger's word: client.c checks all of it.
 */
#ifndef CN_DECODING_MESSAGE_H
#define CN_DECODING_MESSAGE_H

#include "image/codec.h"

enum {
    CN_DECODING_HELLO = 0x636e6402, /* the last byte is the version */
    CN_DECODING_REQUEST,
    CN_DECODING_REPLY,
    CN_DECODING_FDS = 2, /* of a request: input, output */
    CN_DECODING_FD = 3,  /* of the decoder: its end of the socketpair */
    CN_DECODING_PROGRAM_FD = 4, /* the decoder's own program, which it closes */
    CN_DECODING_CHANNELS = 4
};

struct cn_decoding_hello {
    uint32_t type;
    uint32_t layers; /* of enum cn_wall_layer: those that stand */
};

struct cn_decoding_request {
    uint32_t type;
    uint32_t reserved;
    uint64_t len; /* of the file */
    struct cn_image_limits limits;
};

struct cn_decoding_reply {
    uint32_t type;
    int32_t rc; /* CN_OK: w * h * c bytes of pixels are in the output */
    int32_t w, h, c;
    char msg[sizeof(((struct cn_err *)NULL)->msg)];
};

#endif
