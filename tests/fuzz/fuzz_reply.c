/* What a decoder of pictures may answer: the bytes of a reply, and behind them those that stand in
 * the place for the pixels. What is sound is a picture within the limits, or words that can be
 * printed. */
#define _GNU_SOURCE
#include "base/base.h"
#include "decoding/reply.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

enum { SIDE = 64 };

static int place_for_pixels(void)
{
    static int fd = -1;

    if (fd < 0)
        fd = memfd_create("pixels", MFD_CLOEXEC);
    CN_ASSERT(fd >= 0);
    return fd;
}

static void take(struct cn_decoding_reply *r, int fd, size_t there)
{
    struct cn_image img = CN_IMAGE_NONE;
    struct cn_err err = CN_ERR_INIT;
    int rc = cn_decoding_take_reply(r, fd, &img, &err);

    if (rc == CN_OK) {
        CN_ASSERT(img.w <= SIDE && img.h <= SIDE && (img.c == 3 || img.c == 4));
        CN_ASSERT(cn_image_bytes(&img) <= there);
        cn_image_release(&img);
        return;
    }
    CN_ASSERT(img.px == NULL && err.code == rc);
    for (const char *p = err.msg; *p != '\0'; p++)
        CN_ASSERT(*p >= ' ' && *p <= '~');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct cn_image_limits limits = CN_IMAGE_LIMITS_DEFAULTS;
    struct cn_decoding_reply r;
    size_t there;
    int fd;

    limits.max_side = SIDE;
    limits.max_pixels = SIDE * SIDE;
    if (len < sizeof(r))
        return 0;
    memcpy(&r, data, sizeof(r));
    if (!cn_decoding_reply_is_sound(&r, &limits))
        return 0;
    there = CN_MIN(len - sizeof(r), (size_t)SIDE * SIDE * 4);
    fd = place_for_pixels();
    CN_ASSERT(ftruncate(fd, 0) == 0 && pwrite(fd, data + sizeof(r), there, 0) == (ssize_t)there);
    take(&r, fd, there);
    return 0;
}
