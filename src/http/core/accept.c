/* Reads an Accept header: the most specific range that matches a media type decides its quality. */
#include "base/base.h"
#include "http/core/accept.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* 3: the type itself, 2: type/ *, 1: * / *, 0: no match. The range ends at n. */
static int specificity(const char *range, size_t n, const char *type)
{
    size_t major = strcspn(type, "/");

    if (n == strlen(type) && strncasecmp(range, type, n) == 0)
        return 3;
    if (n == major + 2 && strncasecmp(range, type, major + 1) == 0 && range[n - 1] == '*')
        return 2;
    return n == 3 && memcmp(range, "*/*", 3) == 0 ? 1 : 0;
}

/* The q parameter among those of one element; 1 when there is none, 0 when it is malformed. */
static double quality(const char *p, size_t n)
{
    for (size_t i = 0; i + 2 < n; i++) {
        char text[8] = "";
        char *end;
        double q;

        if ((p[i] != 'q' && p[i] != 'Q') || p[i + 1] != '=' ||
            (i > 0 && strchr("; \t", p[i - 1]) == NULL))
            continue;
        memcpy(text, p + i + 2, CN_MIN(n - i - 2, sizeof(text) - 1));
        q = strtod(text, &end);
        return end == text || !(q >= 0 && q <= 1) ? 0 : q;
    }
    return 1;
}

double cn_accept_quality(const char *header, const char *type, bool *ret_explicit)
{
    int best = 0;
    double q = -1;

    if (ret_explicit != NULL)
        *ret_explicit = false;
    if (header == NULL || header[strspn(header, " \t")] == '\0')
        return 1;
    for (const char *p = header; *p != '\0';) {
        size_t len, range;
        int level;

        p += strspn(p, " \t,");
        len = strcspn(p, ",");
        range = CN_MIN(strcspn(p, "; \t,"), len);
        level = specificity(p, range, type);
        if (level > best) {
            best = level;
            q = quality(p + range, len - range);
        }
        p += len;
    }
    if (ret_explicit != NULL)
        *ret_explicit = best == 3 && q > 0;
    return q > 0 ? q : -1;
}
