/* Reads a configuration file line by line and refuses what could be understood in two ways. It
 * replaces a library that cuts long lines and takes their rest for the next one. */
#include "base/base.h"
#include "conf/conf_file.h"
#include "base/buf.h"
#include "base/file.h"

#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

struct reader {
    struct cn_conf_entry at;
    char section[CN_CONF_SECTION_NAME];
    char line[CN_CONF_LINE + 1];
    cn_conf_entry_fn fn;
    void *arg;
    struct cn_err *err;
};

static int fault(const struct reader *r, const char *what)
{
    return cn_fail(r->err, CN_EFORMAT, "%s:%d: %s", r->at.file, r->at.line, what);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static void trim_end(char *s)
{
    size_t n = strlen(s);

    while (n > 0 && is_blank(s[n - 1]))
        n--;
    s[n] = '\0';
}

static char *skip_blanks(char *s)
{
    while (is_blank(*s))
        s++;
    return s;
}

/* "[name]": letters, digits, _ and -. */
static int read_section(struct reader *r)
{
    static const char ok[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    size_t n = strspn(r->line + 1, ok);

    if (n == 0 || n >= sizeof(r->section) || strcmp(r->line + 1 + n, "]") != 0)
        return fault(r, "expected \"[section]\"");
    memcpy(r->section, r->line + 1, n);
    r->section[n] = '\0';
    return CN_OK;
}

/* A comment behind a value would become a part of it, or end it early: which, readers disagree. */
static bool has_comment(const char *value)
{
    for (const char *p = value; *p != '\0'; p++)
        if ((*p == '#' || *p == ';') && (p == value || is_blank(p[-1])))
            return true;
    return false;
}

static int read_key(struct reader *r)
{
    char *eq = strchr(r->line, '='), *value;
    struct cn_err inner = CN_ERR_INIT;
    int rc;

    if (eq == NULL || eq == r->line)
        return fault(r, "expected \"key = value\", \"[section]\" or a comment");
    *eq = '\0';
    trim_end(r->line);
    value = skip_blanks(eq + 1);
    if (r->section[0] == '\0')
        return fault(r, "a key stands before the first [section]");
    if (has_comment(value))
        return fault(r, "a comment behind a value: it needs a line of its own");
    r->at.section = r->section;
    r->at.key = r->line;
    r->at.value = value;
    rc = r->fn(r->arg, &r->at, &inner);
    if (rc < 0)
        cn_fail(r->err, rc, "%s:%d: %s", r->at.file, r->at.line, inner.msg);
    return rc;
}

/* Of the line in r->line, which has no end-of-line any more. */
static int read_line(struct reader *r)
{
    const char *start = skip_blanks(r->line);

    if (*start == '\0' || *start == '#' || *start == ';')
        return CN_OK;
    if (is_blank(r->line[0]))
        return fault(r, "a line begins with a blank: values cannot be continued, and keys begin at "
                        "the left margin");
    trim_end(r->line);
    if (r->line[strlen(r->line) - 1] == '\\')
        return fault(r, "a line ends in a backslash: values cannot be continued");
    return r->line[0] == '[' ? read_section(r) : read_key(r);
}

static int check_bytes(const struct reader *r, const char *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)p[i];

        if (c == '\0')
            return fault(r, "a NUL byte");
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return fault(r, "a control character");
    }
    return CN_OK;
}

int cn_conf_file_parse(const char *file, const char *text, size_t len, cn_conf_entry_fn fn,
                       void *arg, struct cn_err *err)
{
    struct reader r = {.at = {.file = file}, .fn = fn, .arg = arg, .err = err};
    const char *p = text, *end = text + len;
    int rc = CN_OK;

    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        p += 3;
    for (; rc == CN_OK && p < end; p++) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        size_t n;

        r.at.line++;
        eol = eol == NULL ? end : eol;
        n = (size_t)(eol - p);
        if (n > 0 && p[n - 1] == '\r')
            n--;
        rc = check_bytes(&r, p, n);
        if (rc == CN_OK && n > CN_CONF_LINE)
            rc = cn_fail(err, CN_ETOOBIG, "%s:%d: the line has %zu bytes, at most %d are accepted",
                         file, r.at.line, n, CN_CONF_LINE);
        if (rc == CN_OK) {
            memcpy(r.line, p, n);
            r.line[n] = '\0';
            rc = read_line(&r);
        }
        p = eol;
    }
    return rc;
}

/* "-c /dev/null" is how one says "no configuration": the only device that is taken. */
static bool is_null_device(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
}

int cn_conf_file_read(const char *path, cn_conf_entry_fn fn, void *arg, struct cn_err *err)
{
    struct cn_buf b;
    int rc;

    if (is_null_device(path))
        return CN_OK;
    cn_buf_init(&b, CN_CONF_FILE);
    rc = cn_file_read(path, &b, err);
    if (rc == CN_OK && b.len > 0)
        rc = cn_conf_file_parse(path, (const char *)b.data, b.len, fn, arg, err);
    cn_buf_release(&b);
    return rc;
}
