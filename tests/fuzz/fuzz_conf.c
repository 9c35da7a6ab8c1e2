/* Configuration files: whatever the bytes, each key that comes out stands in the text as one line
 * "key = value" under its section, and nothing beyond the first fault is taken. */
#include "base/base.h"
#include "conf/conf_file.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

struct seen {
    const char *text;
    size_t len;
    int line, keys;
};

/* The line numbered n, without its end. */
static const char *line_at(const struct seen *s, int n, size_t *ret_len)
{
    const char *p = s->text, *end = s->text + s->len;

    for (; n > 1; n--) {
        p = memchr(p, '\n', (size_t)(end - p));
        CN_ASSERT(p != NULL);
        p++;
    }
    *ret_len = memchr(p, '\n', (size_t)(end - p)) == NULL
                   ? (size_t)(end - p)
                   : (size_t)((const char *)memchr(p, '\n', (size_t)(end - p)) - p);
    return p;
}

static int on_entry(void *arg, const struct cn_conf_entry *e, struct cn_err *err)
{
    struct seen *s = arg;
    size_t n, key = strlen(e->key), value = strlen(e->value);
    const char *line = line_at(s, e->line, &n);

    (void)err;
    CN_ASSERT(e->line > s->line);
    if (e->line == 1 && n >= 3 && memcmp(line, "\xef\xbb\xbf", 3) == 0) {
        line += 3;
        n -= 3;
    }
    CN_ASSERT(e->section[0] != '\0' && strlen(e->section) < CN_CONF_SECTION_NAME);
    CN_ASSERT(key > 0 && key + value < n && n <= CN_CONF_LINE + 1);
    CN_ASSERT(memcmp(line, e->key, key) == 0 && memmem(line, n, e->value, value) != NULL);
    CN_ASSERT(memchr(line, '\0', n) == NULL);
    s->line = e->line;
    s->keys++;
    return strcmp(e->value, "refused") == 0 ? CN_EINVAL : CN_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct seen s = {(const char *)data, len, 0, 0};
    struct cn_err err = CN_ERR_INIT;
    int rc = cn_conf_file_parse("file", (const char *)data, len, on_entry, &s, &err);

    CN_ASSERT((rc == CN_OK) == (err.code == 0));
    CN_ASSERT(rc == CN_OK || strncmp(err.msg, "file:", 5) == 0);
    CN_ASSERT(rc != CN_OK || memchr(data, '\0', len) == NULL);
    return 0;
}
