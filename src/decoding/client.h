/* Picture files of strangers, decoded in a process of its own: controlnet-decoder, behind the wall
 * of wall.h. What a file does to its decoder (a fault, a hang, memory without end) costs its
 * request an error, and nobody else anything.
 *
 *     struct cn_decoder *d = cn_decoder_new(&opts);
 *     rc = cn_decoder_check(d, err);                   -- can it be started, does it read pictures?
 *     rc = cn_decoder_decode(d, file, len, NULL, &img, err);       -- as cn_image_decode()
 *     cn_decoder_free(d);
 *
 * DESIGN. A decoder is started by exec (posix_spawn), reads one picture, and is killed: what has
 * taken it over by that picture sees none before it and none after it. A start takes about 2 ms, so
 * one that stands behind its wall is kept for the next picture: a thread starts it when a picture
 * has been read, and takes the statuses of those that were killed. Pictures that come
 * faster than decoders start wait for theirs. A picture that takes longer than it may is ended with
 * its decoder. Nothing that it answers is believed: sizes are held against the limits, and pixels
 * are copied out of memory that it cannot shrink. One thread at a time.
 */
#ifndef CN_DECODING_CLIENT_H
#define CN_DECODING_CLIENT_H

#include "image/codec.h"

struct cn_decoder_opts {
    const char *program; /* must live as long as the decoder */
    /* For one picture. Processor time is what counts on a busy machine; the clock on the wall is
     * for what waits for ever. The slowest picture within the limits takes about 2 s. */
    int cpu_ms, wall_ms;
    void *ctx;
    /* A decoder takes a picture (died = false; layers: cn_wall_layer), or was lost. May be NULL. */
    void (*tell)(void *ctx, bool died, unsigned layers, const char *text);
};

#define CN_DECODER_OPTS_DEFAULTS                                                                   \
    {                                                                                              \
        .program = NULL, .cpu_ms = 10000, .wall_ms = 60000                                         \
    }

struct cn_decoder;

struct cn_decoder *cn_decoder_new(const struct cn_decoder_opts *o) CN_MUST_USE;
void cn_decoder_free(struct cn_decoder *d);

/* Starts one, and has it read a small picture of each format: CN_EIO says what is wrong. */
int cn_decoder_check(struct cn_decoder *d, struct cn_err *err);

/* limits NULL: the defaults; none may be zero, and no more pixels than those of the defaults.
 * Besides what cn_image_decode() says: CN_EFORMAT when the file made the decoder die, CN_ETOOBIG
 * when it took too long, CN_EIO when no decoder could be had. */
int cn_decoder_decode(struct cn_decoder *d, const void *data, size_t len,
                      const struct cn_image_limits *limits, struct cn_image *ret,
                      struct cn_err *err);

#endif
