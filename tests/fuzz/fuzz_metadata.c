/* How a picture was made, read from its file: what is found is UTF-8, and the chunks of a WebP lie
 * within the file. */
#include "base/base.h"
#include "base/utf8.h"
#include "image/metadata.h"
#include "image/riff.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char *text = cn_metadata_read(data, len);
    struct cn_riff_walk walk;
    struct cn_riff_chunk chunk;

    if (text != NULL)
        CN_ASSERT(cn_utf8_check(text, strlen(text)) == strlen(text));
    free(text);
    cn_riff_walk_init(&walk, data, len);
    while (cn_riff_walk_next(&walk, &chunk)) {
        CN_ASSERT(chunk.data == chunk.type + 8 && chunk.data >= data + 20);
        CN_ASSERT(chunk.len <= len - (size_t)(chunk.data - data));
    }
    return 0;
}
