/* Text with the standard vocabulary. */
#include "base/base.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static struct cn_tokenizer *tokenizer(void)
{
    static struct cn_tokenizer *t;

    if (t == NULL) {
        struct cn_err err = CN_ERR_INIT;

        setenv("CONTROLNETD_DATADIR", CN_FUZZ_DATA, 1);
        if (cn_tokenizer_builtin(&t, &err) < 0)
            abort();
    }
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const struct cn_tokenizer *t = tokenizer();
    char *text = cn_xmalloc(len + 1);
    int32_t ids[CN_CLIP_LENGTH];
    int n, rc;

    memcpy(text, data, len);
    text[len] = '\0';
    len = strlen(text);
    rc = cn_tokenize(t, text, ids, 5, &n, NULL);
    CN_ASSERT((rc == CN_EINVAL) == (cn_utf8_check(text, len) != len) || rc == CN_ETOOBIG);
    if (rc == CN_OK) {
        CN_ASSERT(n >= 0 && (size_t)n <= 3 * len);
        CN_ASSERT(cn_tokenizer_encode(t, NULL, text, ids, CN_CLIP_LENGTH, NULL, NULL) == CN_OK);
        for (int i = 0; i < CN_CLIP_LENGTH; i++)
            CN_ASSERT(ids[i] >= 0 && ids[i] < cn_tokenizer_size(t));
    }
    free(text);
    return 0;
}
