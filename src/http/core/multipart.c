/* Cuts a multipart/form-data body into its parts, in one pass over bytes that stay in place. */
#include "base/base.h"
#include "http/core/multipart.h"
#include "base/text.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char media_type[] = "multipart/form-data";

bool cn_multipart_is(const char *content_type)
{
    size_t n = strlen(media_type);

    return strncasecmp(content_type, media_type, n) == 0 &&
           (content_type[n] == '\0' || strchr("; \t", content_type[n]) != NULL);
}

/* Reads "; name=value" or "; name="quoted"". Returns what follows, or NULL when it is malformed;
 * *name and *value are cut to their sizes (longer: malformed). */
static const char *parameter(const char *p, char *name, size_t name_size, char *value,
                             size_t value_size)
{
    size_t n = 0;

    p = cn_skip_blanks(p);
    if (*p++ != ';')
        return NULL;
    p = cn_skip_blanks(p);
    while (cn_is_token_char(*p) && n + 1 < name_size)
        name[n++] = *p++;
    name[n] = '\0';
    if (n == 0 || *p++ != '=')
        return NULL;
    n = 0;
    if (*p != '"') {
        while (cn_is_token_char(*p) && n + 1 < value_size)
            value[n++] = *p++;
        value[n] = '\0';
        return n == 0 || cn_is_token_char(*p) ? NULL : p;
    }
    for (p++; *p != '"'; p++) {
        if (*p == '\\' && p[1] != '\0')
            p++;
        if (*p == '\0' || n + 1 >= value_size)
            return NULL;
        value[n++] = *p;
    }
    value[n] = '\0';
    return p + 1;
}

/* bcharsnospace of RFC 2046, and blanks inside. */
static bool good_boundary(const char *s)
{
    size_t n = strlen(s);

    if (n == 0 || s[n - 1] == ' ')
        return false;
    for (; *s != '\0'; s++)
        if (!((*s >= '0' && *s <= '9') || (*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z') ||
              strchr("'()+_,-./:=? ", *s) != NULL))
            return false;
    return true;
}

int cn_multipart_boundary(const char *content_type, char boundary[CN_MULTIPART_BOUNDARY],
                          struct cn_err *err)
{
    char name[32], value[256];
    const char *p = content_type + strlen(media_type);

    boundary[0] = '\0';
    if (!cn_multipart_is(content_type))
        return cn_fail(err, CN_EFORMAT, "the content type is not %s", media_type);
    for (p = cn_skip_blanks(p); *p != '\0'; p = cn_skip_blanks(p)) {
        p = parameter(p, name, sizeof(name), value, sizeof(value));
        if (p == NULL)
            return cn_fail(err, CN_EFORMAT, "the parameters of the content type are malformed");
        if (strcasecmp(name, "boundary") != 0)
            continue;
        if (boundary[0] != '\0')
            return cn_fail(err, CN_EFORMAT, "the content type has two boundaries");
        if (strlen(value) >= CN_MULTIPART_BOUNDARY || !good_boundary(value))
            return cn_fail(err, CN_EFORMAT, "the boundary is not 1 to 70 characters of RFC 2046");
        memcpy(boundary, value, strlen(value) + 1);
    }
    if (boundary[0] == '\0')
        return cn_fail(err, CN_EFORMAT, "the content type has no boundary");
    return CN_OK;
}

struct parser {
    const char *p, *end;
    char mark[CN_MULTIPART_BOUNDARY + 4]; /* CR LF - - boundary */
    size_t mark_len;
    struct cn_err *err;
};

/* Takes one line without its CR LF into text; CN_EFORMAT when there is none or it is too long. */
static int take_line(struct parser *s, char text[CN_MULTIPART_MAX_LINE])
{
    const char *eol =
        memmem(s->p, CN_MIN((size_t)(s->end - s->p), (size_t)CN_MULTIPART_MAX_LINE), "\r\n", 2);
    size_t n;

    if (eol == NULL)
        return cn_fail(s->err, CN_EFORMAT, "a line in a part's head is too long or cut off");
    n = (size_t)(eol - s->p);
    memcpy(text, s->p, n);
    text[n] = '\0';
    s->p = eol + 2;
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)text[i] < 0x20 && text[i] != '\t')
            return cn_fail(s->err, CN_EFORMAT, "a control character in a part's head");
    return CN_OK;
}

static bool good_name(const char *name)
{
    if (name[0] == '\0')
        return false;
    for (; *name != '\0'; name++)
        if (!((*name >= '0' && *name <= '9') || (*name >= 'a' && *name <= 'z') ||
              (*name >= 'A' && *name <= 'Z') || strchr("._-[]", *name) != NULL))
            return false;
    return true;
}

static int disposition(struct parser *s, const char *value, struct cn_part *part)
{
    char name[32], text[256];
    const char *p = value + strlen("form-data");

    if (part->name[0] != '\0')
        return cn_fail(s->err, CN_EFORMAT, "a part with two Content-Disposition headers");
    if (strncasecmp(value, "form-data", strlen("form-data")) != 0)
        return cn_fail(s->err, CN_EFORMAT, "a part whose disposition is not form-data");
    for (p = cn_skip_blanks(p); *p != '\0'; p = cn_skip_blanks(p)) {
        p = parameter(p, name, sizeof(name), text, sizeof(text));
        if (p == NULL)
            return cn_fail(s->err, CN_EFORMAT, "a part whose disposition is malformed");
        if (strcasecmp(name, "name") != 0)
            continue;
        if (part->name[0] != '\0' || strlen(text) >= sizeof(part->name) || !good_name(text))
            return cn_fail(s->err, CN_EFORMAT,
                           "a part whose name is not 1 to 63 letters, digits, "
                           "dots, dashes and underscores");
        memcpy(part->name, text, strlen(text) + 1);
    }
    return CN_OK;
}

static int part_header(struct parser *s, char *line, struct cn_part *part)
{
    char *colon = strchr(line, ':');
    const char *value;

    if (colon == NULL || colon == line)
        return cn_fail(s->err, CN_EFORMAT, "a header of a part is malformed");
    for (const char *c = line; c < colon; c++)
        if (!cn_is_token_char(*c))
            return cn_fail(s->err, CN_EFORMAT, "a header of a part is malformed");
    *colon = '\0';
    value = cn_skip_blanks(colon + 1);
    if (strcasecmp(line, "Content-Disposition") == 0)
        return disposition(s, value, part);
    if (strcasecmp(line, "Content-Transfer-Encoding") == 0 && strcasecmp(value, "binary") != 0 &&
        strcasecmp(value, "8bit") != 0 && strcasecmp(value, "7bit") != 0)
        return cn_fail(s->err, CN_EFORMAT, "a part with a transfer encoding");
    return CN_OK;
}

static int part_head(struct parser *s, struct cn_part *part)
{
    char line[CN_MULTIPART_MAX_LINE + 1];
    int rc;

    for (int i = 0; i <= CN_MULTIPART_MAX_HEADERS; i++) {
        if ((rc = take_line(s, line)) < 0)
            return rc;
        if (line[0] == '\0') {
            if (part->name[0] == '\0')
                return cn_fail(s->err, CN_EFORMAT, "a part without a name");
            return CN_OK;
        }
        if ((rc = part_header(s, line, part)) < 0)
            return rc;
    }
    return cn_fail(s->err, CN_ETOOBIG, "a part with more than %d headers",
                   CN_MULTIPART_MAX_HEADERS);
}

/* Behind a boundary: 1 another part follows, 0 it was the last. */
static int after_boundary(struct parser *s)
{
    if (s->end - s->p >= 2 && s->p[0] == '-' && s->p[1] == '-') {
        for (s->p += 2; s->p < s->end; s->p++)
            if (strchr(" \t\r\n", *s->p) == NULL || *s->p == '\0')
                return cn_fail(s->err, CN_EFORMAT, "bytes behind the last boundary");
        return 0;
    }
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t'))
        s->p++;
    if (s->end - s->p < 2 || s->p[0] != '\r' || s->p[1] != '\n')
        return cn_fail(s->err, CN_EFORMAT, "a line that begins like the boundary and goes on");
    s->p += 2;
    return 1;
}

static int part_body(struct parser *s, struct cn_part *part)
{
    /* An empty part has its blank line's CR LF in common with the boundary's. */
    const char *from = s->p - 2;
    const char *mark = memmem(from, (size_t)(s->end - from), s->mark, s->mark_len);

    if (mark == NULL)
        return cn_fail(s->err, CN_EFORMAT, "part \"%s\" is cut off: no boundary behind it",
                       part->name);
    part->data = (const unsigned char *)s->p;
    part->len = mark < s->p ? 0 : (size_t)(mark - s->p);
    s->p = mark + s->mark_len;
    return CN_OK;
}

int cn_multipart_parse(const char *boundary, const void *body, size_t len, struct cn_part *part,
                       int max_parts, struct cn_err *err)
{
    struct parser s = {.p = body, .end = (const char *)body + len, .err = err};
    int n = 0, more, rc;

    s.mark_len = (size_t)snprintf(s.mark, sizeof(s.mark), "\r\n--%s", boundary);
    if (len < s.mark_len - 2 || memcmp(s.p, s.mark + 2, s.mark_len - 2) != 0)
        return cn_fail(err, CN_EFORMAT, "the body does not begin with the boundary");
    s.p += s.mark_len - 2;
    while ((more = after_boundary(&s)) > 0) {
        if (n == max_parts)
            return cn_fail(err, CN_ETOOBIG, "more than %d parts", max_parts);
        part[n] = (struct cn_part){.data = NULL};
        if ((rc = part_head(&s, &part[n])) < 0 || (rc = part_body(&s, &part[n])) < 0)
            return rc;
        n++;
    }
    return more < 0 ? more : n;
}
