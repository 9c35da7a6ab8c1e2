/* Reads the part of YAML that configurations of models need, line by line. */
#include "base/base.h"
#include "checkpoint/yaml.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/strmap.h"

#include <ctype.h>
#include <string.h>

enum { MAX_FILE = 256 * 1024, MAX_DEPTH = 16, MAX_KEY = 400 };

/* A mapping that is open: the indentation of its keys, and how long the keys above it are. */
struct level {
    int indent;
    size_t above;
};

struct reader {
    const char *path;
    int line;
    struct level level[MAX_DEPTH];
    int depth;          /* levels that are open */
    char key[MAX_KEY];  /* of the line's value, with those above it */
    bool waits;         /* the line before was a key without a value */
    struct cn_strmap seen;
    cn_yaml_fn fn;
    void *ctx;
};

static int bad(const struct reader *r, struct cn_err *err, const char *what)
{
    return cn_fail(err, CN_EFORMAT, "\"%s\": line %d: %s", r->path, r->line, what);
}

/* ---- scalars ---- */

/* Cuts a comment off: "#" at the beginning or after a blank, outside quotes. */
static void cut_comment(char *s)
{
    char quote = '\0';

    for (char *p = s; *p != '\0'; p++) {
        if (quote != '\0')
            quote = *p == quote ? '\0' : quote;
        else if ((*p == '"' || *p == '\'') && (p == s || p[-1] == ' ' || p[-1] == '['))
            quote = *p;
        else if (*p == '#' && (p == s || p[-1] == ' ' || p[-1] == '\t'))
            *p = '\0';
        if (*p == '\0')
            break;
    }
}

static void trim_end(char *s)
{
    size_t n = strlen(s);

    while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t' || s[n - 1] == '\r'))
        s[--n] = '\0';
}

static int unquote(const struct reader *r, char **value, struct cn_err *err)
{
    char *s = *value, quote = s[0];
    size_t n = strlen(s);

    if (n < 2 || s[n - 1] != quote || memchr(s + 1, quote, n - 2) != NULL ||
        strchr(s, '\\') != NULL)
        return bad(r, err, "only quotes without escapes that end on their line are supported");
    s[n - 1] = '\0';
    *value = s + 1;
    return CN_OK;
}

/* What a plain value may not begin with, because it means something else in YAML. */
static int read_value(const struct reader *r, char **value, struct cn_err *err)
{
    char *s = *value;
    size_t n = strlen(s);

    if (s[0] == '"' || s[0] == '\'')
        return unquote(r, value, err);
    if (s[0] == '[' && (s[n - 1] != ']' || strpbrk(s + 1, "[{\"'") != NULL))
        return bad(r, err, "only lists of plain values that end on their line are supported");
    if (s[0] == '{' && strcmp(s, "{}") != 0)
        return bad(r, err, "mappings in braces are not supported");
    if (s[0] != '\0' && strchr("&*!|>%@`", s[0]) != NULL)
        return bad(r, err, "anchors, tags and texts over several lines are not supported");
    if (s[0] != '[' && strstr(s, ": ") != NULL)
        return bad(r, err, "two keys in one line");
    return CN_OK;
}

/* ---- lines ---- */

/* The level that a line of this indentation belongs to: one that is open, or a new one below a key
 * without a value. */
static int find_level(struct reader *r, int indent, struct cn_err *err)
{
    size_t above = r->depth == 0 ? 0 : strlen(r->key);

    if (r->depth == 0 || (r->waits && indent > r->level[r->depth - 1].indent)) {
        if (r->depth == MAX_DEPTH)
            return bad(r, err, "too many mappings inside of each other");
        r->level[r->depth++] = (struct level){indent, above};
        return CN_OK;
    }
    while (r->depth > 0 && r->level[r->depth - 1].indent > indent)
        r->depth--;
    if (r->depth == 0 || r->level[r->depth - 1].indent != indent)
        return bad(r, err, "its indentation is none of the lines above");
    return CN_OK;
}

/* The key of a line becomes the last of r->key. */
static int add_key(struct reader *r, const char *key, struct cn_err *err)
{
    size_t above = r->level[r->depth - 1].above;

    if (above + strlen(key) + 2 > MAX_KEY)
        return bad(r, err, "the keys are too long");
    r->key[above] = '\0';
    if (above > 0)
        r->key[above++] = '.';
    memcpy(r->key + above, key, strlen(key) + 1);
    return CN_OK;
}

static int tell(struct reader *r, char *value, struct cn_err *err)
{
    int rc = read_value(r, &value, err);

    return rc < 0 ? rc : r->fn(r->ctx, r->key, value, err);
}

/* "- value", under the key above, as far in as it or further. */
static int read_item(struct reader *r, int indent, char *value, struct cn_err *err)
{
    size_t n = strlen(r->key);

    if (n >= 2 && strcmp(r->key + n - 2, ".-") == 0)
        r->key[n - 2] = '\0';
    else if (!r->waits || indent < r->level[r->depth - 1].indent)
        return bad(r, err, "a member of a list without a key above");
    r->waits = false;
    if (value[0] == '\0' || value[strlen(value) - 1] == ':' || strstr(value, ": ") != NULL)
        return bad(r, err, "lists of mappings are not supported");
    if (strlen(r->key) + 3 > MAX_KEY)
        return bad(r, err, "the keys are too long");
    memcpy(r->key + strlen(r->key), ".-", 3);
    return tell(r, value, err);
}

static int read_pair(struct reader *r, int indent, char *s, struct cn_err *err)
{
    size_t n = strcspn(s, ":");
    char *value = s + n + 1;
    int rc;

    if (s[n] == '\0' || (value[0] != '\0' && value[0] != ' '))
        return bad(r, err, "not a key with a value");
    s[n] = '\0';
    trim_end(s);
    for (const char *p = s; *p != '\0' || p == s; p++)
        if (!isalnum((unsigned char)*p) && strchr("_-/", *p) == NULL)
            return bad(r, err, "a key is letters, digits, \"_\", \"-\" and \"/\"");
    value += strspn(value, " ");
    if ((rc = find_level(r, indent, err)) < 0 || (rc = add_key(r, s, err)) < 0)
        return rc;
    if (!cn_strmap_add(&r->seen, r->key, r))
        return bad(r, err, "the key is there twice");
    r->waits = value[0] == '\0';
    return r->waits ? CN_OK : tell(r, value, err);
}

static int read_line(struct reader *r, char *s, struct cn_err *err)
{
    int indent = (int)strspn(s, " ");

    cut_comment(s);
    trim_end(s);
    s += CN_MIN((size_t)indent, strlen(s));
    if (s[0] == '\0' || (strcmp(s, "---") == 0 && r->depth == 0))
        return CN_OK;
    if (s[0] == '\t')
        return bad(r, err, "a tab in the indentation");
    if (s[0] == '-' && (s[1] == ' ' || s[1] == '\0'))
        return read_item(r, indent, s + 1 + strspn(s + 1, " "), err);
    return read_pair(r, indent, s, err);
}

int cn_yaml_parse(const char *path, char *text, cn_yaml_fn fn, void *ctx, struct cn_err *err)
{
    struct reader r = {.path = path, .fn = fn, .ctx = ctx};
    char *line, *rest = text;
    int rc = CN_OK;

    cn_strmap_init(&r.seen);
    if (strncmp(rest, "\xef\xbb\xbf", 3) == 0)
        rest += 3;
    while (rc == CN_OK && (line = strsep(&rest, "\n")) != NULL) {
        r.line++;
        rc = read_line(&r, line, err);
    }
    cn_strmap_release(&r.seen);
    return rc;
}

int cn_yaml_read(const char *path, cn_yaml_fn fn, void *ctx, struct cn_err *err)
{
    struct cn_buf b;
    int rc;

    cn_buf_init(&b, MAX_FILE);
    rc = cn_file_read(path, &b, err);
    if (rc == CN_OK && b.len > 0 && memchr(b.data, '\0', b.len) != NULL)
        rc = cn_fail(err, CN_EFORMAT, "\"%s\" is no text", path);
    if (rc == CN_OK)
        rc = cn_buf_add(&b, "", 1, err);
    if (rc == CN_OK)
        rc = cn_yaml_parse(path, (char *)b.data, fn, ctx, err);
    cn_buf_release(&b);
    return rc;
}
