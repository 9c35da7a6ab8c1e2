/* The size of a picture by its head, which the daemon itself reads: what is found is in range, and
 * is what the decoders find wherever these take the file. */
#include "base/base.h"
#include "base/picture_head.h"
#include "image/codec.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const struct cn_image_limits limits = {0};
    struct cn_image_info info;
    int w = -1, h = -1, turn = cn_exif_orientation(data, len);
    bool found = cn_picture_size(data, len, &w, &h);

    CN_ASSERT(turn >= 1 && turn <= 8);
    if (found)
        CN_ASSERT(w >= 1 && w <= 65535 && h >= 1 && h <= 65535);
    else
        CN_ASSERT(w == -1 && h == -1);
    if (found && cn_image_info(data, len, &limits, &info, NULL) == CN_OK)
        CN_ASSERT((info.w == w && info.h == h) || (info.w == h && info.h == w));
    return 0;
}
