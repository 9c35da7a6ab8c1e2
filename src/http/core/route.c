/* Finding the row of the route table for a path and a method, and holding the table against what
 * handlers owe. */
#include "base/base.h"
#include "http/core/handler.h"

#include <stdio.h>
#include <string.h>

enum { MAX_INDEX = 3 }; /* digits */

void cn_routes_check(const struct cn_routes *t)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct cn_handler *h = t->row[i].handler;

        CN_ASSERT(h != NULL && h->start != NULL);
        /* who may wait says what happens to those that wait when the server closes */
        CN_ASSERT((h->resume != NULL) == (h->shutdown != NULL));
        CN_ASSERT(h->ctx_size > 0 || (h->resume == NULL && h->dispose == NULL));
        CN_ASSERT(t->row[i].dialect != NULL);
    }
    CN_ASSERT(t->dialect != NULL);
}

/* Digits, and letters up to `last`. */
static bool all_of(const char *text, size_t len, char last)
{
    for (size_t i = 0; i < len; i++)
        if (!(text[i] >= '0' && text[i] <= '9') && !(text[i] >= 'a' && text[i] <= last))
            return false;
    return true;
}

/* What an argument may look like: anything else names nothing that there could be. */
static bool is_argument(const char *name, const char *text, size_t len)
{
    if (len == 0 || len >= CN_PATH_ARG)
        return false;
    if (strncmp(name, "{index}", 7) == 0)
        return len <= MAX_INDEX && all_of(text, len, '9');
    if (strncmp(name, "{id}", 4) == 0)
        return all_of(text, len, 'z');
    return true;
}

/* Segment by segment; what stands for {name} goes to arg. */
static bool matches(const char *pattern, const char *path, char arg[CN_PATH_ARGS][CN_PATH_ARG])
{
    int n = 0;

    while (*pattern != '\0') {
        if (*pattern == '{') {
            size_t len = strcspn(path, "/");

            if (!is_argument(pattern, path, len))
                return false;
            memcpy(arg[n], path, len);
            arg[n++][len] = '\0';
            path += len;
            pattern += strcspn(pattern, "}") + 1;
        } else if (*pattern++ != *path++) {
            return false;
        }
    }
    return *path == '\0';
}

static bool begins_alike(const char *pattern, const char *path)
{
    return pattern[0] == path[0] && (pattern[1] == path[1] || pattern[1] == '{');
}

const struct cn_route *cn_routes_find(const struct cn_routes *t, const char *path,
                                      enum cn_method method, char arg[CN_PATH_ARGS][CN_PATH_ARG])
{
    const struct cn_route *other = NULL;

    for (size_t i = 0; i < t->n; i++) {
        const struct cn_route *r = &t->row[i];

        if (other != NULL && strcmp(other->path, r->path) != 0)
            continue;
        if (other == NULL && i > 0 && r->path == t->row[i - 1].path)
            continue; /* as the row before */
        if (other == NULL && !(begins_alike(r->path, path) && matches(r->path, path, arg)))
            continue;
        if (r->methods & (unsigned)method)
            return r;
        other = r;
    }
    return other;
}

const struct cn_dialect *cn_routes_dialect(const struct cn_routes *t, const char *path)
{
    size_t n = path[0] == '/' ? 1 + strcspn(path + 1, "/") : 0;

    for (size_t i = 0; i < t->n && n > 1; i++)
        if (strncmp(t->row[i].path, path, n) == 0 && t->row[i].path[n] == '/')
            return t->row[i].dialect;
    return t->dialect;
}

void cn_routes_allow(const struct cn_routes *t, const struct cn_route *r, char *text, size_t size)
{
    static const struct {
        enum cn_method method;
        const char *name;
    } names[] = {{CN_GET, "GET"}, {CN_HEAD, "HEAD"},     {CN_POST, "POST"},
                 {CN_PUT, "PUT"}, {CN_DELETE, "DELETE"}, {CN_PATCH, "PATCH"}};
    unsigned methods = 0;
    size_t at = 0;

    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->row[i].path, r->path) == 0)
            methods |= t->row[i].methods;
    for (size_t i = 0; i < CN_LEN(names); i++)
        if (methods & names[i].method)
            at += (size_t)snprintf(text + at, size - at, "%s, ", names[i].name);
    snprintf(text + at, size - at, "OPTIONS");
}
