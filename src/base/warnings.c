/* Warnings: a short list, and its form in the store. */
#include "base/base.h"
#include "base/warnings.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[CN_WARNING_COUNT] = {"prompt-truncated", "no-effect", "reduced",
                                                     "adapter-partly"};
const struct cn_enum cn_enum_warning = {"warning", names, CN_WARNING_COUNT};

/* One line of whole characters. */
static void make_line(char *s)
{
    size_t len = strlen(s), good = cn_utf8_check(s, len);

    s[good] = '\0';
    for (size_t i = 0; i < good; i++)
        if ((unsigned char)s[i] < ' ' || s[i] == 0x7f)
            s[i] = ' ';
}

static bool has(const struct cn_warnings *w, enum cn_warning_code code, const char *where)
{
    for (int i = 0; i < w->n; i++)
        if (w->item[i].code == code && strcmp(w->item[i].where, where) == 0)
            return true;
    return false;
}

void cn_warnings_add(struct cn_warnings *w, enum cn_warning_code code, const char *where,
                     const char *fmt, ...)
{
    struct cn_warning v = {.code = code};
    va_list args;

    snprintf(v.where, sizeof(v.where), "%s", where);
    make_line(v.where);
    if (w->n == CN_MAX_WARNINGS || has(w, code, v.where))
        return;
    va_start(args, fmt);
    vsnprintf(v.text, sizeof(v.text), fmt, args);
    va_end(args);
    make_line(v.text);
    w->item = cn_xrealloc(w->item, (size_t)(w->n + 1) * sizeof(*w->item));
    w->item[w->n++] = v;
}

void cn_warnings_add_all(struct cn_warnings *w, const struct cn_warnings *from)
{
    for (int i = 0; i < from->n; i++)
        cn_warnings_add(w, from->item[i].code, from->item[i].where, "%s", from->item[i].text);
}

void cn_warnings_release(struct cn_warnings *w)
{
    free(w->item);
    *w = (struct cn_warnings){0};
}

char *cn_warnings_write(const struct cn_warnings *w)
{
    enum { LINE = 32 + CN_WARNING_WHERE + CN_WARNING_TEXT };
    char *text;
    size_t at = 0, size = (size_t)w->n * LINE + 1;

    if (w->n == 0)
        return NULL;
    text = cn_xmalloc(size);
    for (int i = 0; i < w->n; i++)
        at += (size_t)snprintf(text + at, size - at, "%s\t%s\t%s\n", names[w->item[i].code],
                               w->item[i].where, w->item[i].text);
    return text;
}

/* Cuts the text up to a mark off, at most size - 1 bytes of it; false: it is longer, or there is no
 * mark. */
static bool take_until(const char **p, char mark, char *ret, size_t size)
{
    const char *end = strchr(*p, mark);

    if (end == NULL || (size_t)(end - *p) >= size)
        return false;
    memcpy(ret, *p, (size_t)(end - *p));
    ret[end - *p] = '\0';
    *p = end + 1;
    return true;
}

void cn_warnings_read(struct cn_warnings *w, const char *text)
{
    char name[32], where[CN_WARNING_WHERE], line[CN_WARNING_TEXT];
    const char *next;

    for (const char *p = text; p != NULL && *p != '\0'; p = next) {
        int code;

        next = strchr(p, '\n');
        next = next != NULL ? next + 1 : p + strlen(p);
        if (take_until(&p, '\t', name, sizeof(name)) &&
            take_until(&p, '\t', where, sizeof(where)) &&
            take_until(&p, '\n', line, sizeof(line)) && p == next &&
            (code = cn_enum_find(&cn_enum_warning, name)) >= 0)
            cn_warnings_add(w, (enum cn_warning_code)code, where, "%s", line);
    }
}
