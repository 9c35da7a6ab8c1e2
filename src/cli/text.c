/* What commands print: numbers as people read them, and JSON that is valid whatever a file is
 * called. */
#include "base/base.h"
#include "cli/cli.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *cn_cli_bytes(uint64_t bytes, char *text, size_t size)
{
    static const char *const unit[] = {"bytes", "kB", "MB", "GB", "TB"};
    double v = (double)bytes;
    size_t u = 0;

    for (; v >= 1000 && u + 1 < CN_LEN(unit); u++)
        v /= 1000;
    snprintf(text, size, u == 0 ? "%.0f %s" : "%.1f %s", v, unit[u]);
    return text;
}

const char *cn_cli_count(uint64_t n, char *text, size_t size)
{
    char digits[24];
    int len = snprintf(digits, sizeof(digits), "%" PRIu64, n);
    size_t at = 0;

    for (int i = 0; i < len && at + 2 < size; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = '\0';
    return text;
}

uint64_t cn_cli_peak_rss(void)
{
    FILE *f = fopen("/proc/self/status", "re");
    unsigned long long kb = 0;
    char line[128];

    if (f == NULL)
        return 0;
    while (fgets(line, sizeof(line), f) != NULL && sscanf(line, "VmHWM: %llu kB", &kb) != 1)
        ;
    fclose(f);
    return (uint64_t)kb * 1024;
}

/* Length of the text when every byte that is not UTF-8 takes three. */
static char *replace_invalid(const char *text)
{
    size_t len = strlen(text), at = 0;
    char *out = cn_xmalloc(3 * len + 1);

    for (size_t i = 0; i < len;) {
        uint32_t cp;
        size_t n = cn_utf8_next((const unsigned char *)text + i, len - i, &cp);

        at += cn_utf8_put(out + at, n > 0 ? cp : 0xfffd);
        i += n > 0 ? n : 1;
    }
    out[at] = '\0';
    return out;
}

json_t *cn_cli_json_text(const char *text)
{
    char *valid = replace_invalid(text);
    json_t *v = json_string(valid);

    free(valid);
    return v;
}

int cn_cli_flush(void)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return CN_EXIT_OK;
    fprintf(stderr, "controlnet: cannot write to standard output: %s\n", strerror(errno));
    return CN_EXIT_FAILED;
}

int cn_cli_print_json_take(json_t *o)
{
    json_dumpf(o, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(o);
    fputc('\n', stdout);
    return cn_cli_flush();
}
