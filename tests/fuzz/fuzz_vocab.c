/* Vocabulary files. The input is the files of a folder, one after the other, each ended by a NUL:
 * vocab.json, merges.txt, tokenizer_config.json, added_tokens.json, tokenizer.json. An empty one is
 * not there. */
#include "base/base.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static char folder[64];
static const char *const names[] = {"vocab.json", "merges.txt", "tokenizer_config.json",
                                    "added_tokens.json", "tokenizer.json"};

static void clean(void)
{
    char path[128];

    for (size_t i = 0; i < CN_LEN(names); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        unlink(path);
    }
    rmdir(folder);
}

/* In memory where there is a file system for that: four files for every input. */
static void make_folder(void)
{
    if (folder[0] != '\0')
        return;
    snprintf(folder, sizeof(folder), "%sfuzz-vocab-XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm/" : "");
    CN_ASSERT(mkdtemp(folder) != NULL);
    atexit(clean);
}

static void put(const char *name, const uint8_t *data, size_t len)
{
    char path[128];
    FILE *f;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    unlink(path);
    f = len > 0 ? fopen(path, "wb") : NULL;
    if (f != NULL) {
        fwrite(data, 1, len, f);
        fclose(f);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_tokenizer *t;
    int32_t ids[16];

    make_folder();
    for (size_t i = 0; i < CN_LEN(names); i++) {
        const uint8_t *end = len > 0 ? memchr(data, 0, len) : NULL;
        size_t n = end != NULL ? (size_t)(end - data) : len;

        put(names[i], data, n);
        n = CN_MIN(n + 1, len);
        data += n;
        len -= n;
    }
    if (cn_tokenizer_open(folder, &t, &err) < 0) {
        CN_ASSERT(err.msg[0] != '\0');
        return 0;
    }
    if (cn_tokenizer_encode(t, NULL, "a cat <toy> don't !", ids, 16, NULL, &err) == CN_OK)
        for (int i = 0; i < 16; i++)
            CN_ASSERT(ids[i] >= 0 && ids[i] < cn_tokenizer_size(t));
    cn_tokenizer_close(t);
    return 0;
}
