/* Names of models and embeddings, made of their files' names. */
#include "base/base.h"
#include "runtime/file_name.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/spec.h"
#include "base/utf8.h"
#include "checkpoint/checkpoint.h"

#include <stdlib.h>
#include <string.h>

/* Appends one character of a file's name (n bytes; 0: one byte that is no UTF-8): what cannot stand
 * in JSON, a URL or a terminal is escaped as in URLs. */
static void add_character(struct cn_buf *b, const char *s, size_t n, uint32_t cp)
{
    if (n == 0 || cp < 0x20 || cp == 0x7f)
        (void)cn_buf_printf(b, NULL, "%%%02X", (unsigned char)s[0]);
    else
        (void)cn_buf_add(b, s, n, NULL);
}

char *cn_printable_name(const char *name)
{
    enum { TAIL = 10 }; /* "~", 8 digits, NUL */
    size_t len = strlen(name), fits = 0;
    uint32_t sum = 2166136261u; /* FNV-1a */
    struct cn_buf b;
    char *ret;

    for (size_t i = 0; i < len; i++)
        sum = (sum ^ (unsigned char)name[i]) * 16777619u;
    cn_buf_init(&b, 3 * len + 1);
    for (size_t i = 0, n; i < len; i += CN_MAX(n, (size_t)1)) {
        uint32_t cp = 0;

        n = cn_utf8_next((const unsigned char *)name + i, len - i, &cp);
        add_character(&b, name + i, n, cp);
        if (b.len <= CN_MODEL_NAME - TAIL)
            fits = b.len;
    }
    ret = b.len < CN_MODEL_NAME ? cn_xprintf("%.*s", (int)b.len, (const char *)b.data)
                                : cn_xprintf("%.*s~%08x", (int)fits, (const char *)b.data, sum);
    cn_buf_release(&b);
    return ret;
}

char *cn_file_name(const char *path)
{
    size_t len = strlen(path);
    const char *slash;
    char *name, *ret;

    while (len > 1 && path[len - 1] == '/')
        len--;
    slash = memrchr(path, '/', len);
    slash = slash ? slash + 1 : path;
    name = cn_xprintf("%.*s", (int)(path + len - slash), slash);
    name[strlen(name) - cn_checkpoint_ending(name)] = '\0';
    ret = cn_printable_name(name);
    free(name);
    return ret;
}

char *cn_model_name(const char *folder, const char *name, int k)
{
    size_t stem = strlen(name) - cn_checkpoint_ending(name);
    bool with_ending = k % 2 == 1, has_ending = name[stem] != '\0';
    char *word, *ret;

    if (!has_ending) {
        with_ending = false;
        k *= 2;
    }
    if (k >= (folder[0] != '\0' ? 4 : 2))
        return NULL;
    word = cn_xprintf("%s%s%.*s", k < 2 ? "" : folder, k < 2 ? "" : "--",
                      (int)(with_ending ? strlen(name) : stem), name);
    ret = cn_printable_name(word);
    free(word);
    return ret;
}
