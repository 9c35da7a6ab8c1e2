/* JSON lines. */
#include "base/base.h"
#include "base/log.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/escape.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MAX_LINE = 16 * 1024, MAX_VALUE = 4096 };

static const char *const level_names[CN_LOG_COUNT] = {"error", "warning", "info", "debug"};
static enum cn_log_level the_level = CN_LOG_INFO;
static int the_fd = STDERR_FILENO;

void cn_log_init(enum cn_log_level level, int fd)
{
    the_level = level;
    the_fd = fd;
}

int cn_log_level_find(const char *name)
{
    for (int i = 0; i < CN_LOG_COUNT; i++)
        if (strcmp(name, level_names[i]) == 0)
            return i;
    return -1;
}

bool cn_log_on(enum cn_log_level level)
{
    return level <= the_level;
}

static void put_time(struct cn_buf *b)
{
    int64_t us = cn_wall_us();
    time_t t = (time_t)(us / 1000000);
    struct tm tm;
    char text[32];

    gmtime_r(&t, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    cn_buf_printf(b, NULL, "\"ts\":\"%s.%06dZ\"", text, (int)(us % 1000000));
}

/* Takes the value of one directive from ap and appends it as JSON. Returns the text behind it. */
static const char *put_value(struct cn_buf *b, const char *p, va_list *ap)
{
    const char *start = p;
    char spec[16], text[64];
    size_t n;
    bool is_long = false, is_size = false;

    for (p++; strchr("0123456789.-+", *p) != NULL && *p != '\0'; p++)
        ;
    for (; *p == 'l' || *p == 'z'; p++) {
        is_long = is_long || *p == 'l';
        is_size = is_size || *p == 'z';
    }
    n = CN_MIN((size_t)(p - start) + 1, sizeof(spec) - 1);
    memcpy(spec, start, n);
    spec[n] = '\0';
    if (*p == 's') {
        const char *s = va_arg(*ap, const char *);

        s = s == NULL ? "" : s;
        cn_escape_json(b, s, strnlen(s, MAX_VALUE), NULL);
        return p + 1;
    }
/* The directive was checked against the arguments by the compiler at the call of cn_log. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    if (strchr("gfe", *p) != NULL)
        snprintf(text, sizeof(text), spec, va_arg(*ap, double));
    else if (is_long)
        snprintf(text, sizeof(text), spec, va_arg(*ap, long));
    else if (is_size)
        snprintf(text, sizeof(text), spec, va_arg(*ap, size_t));
    else
        snprintf(text, sizeof(text), spec, va_arg(*ap, int));
#pragma GCC diagnostic pop
    cn_buf_adds(b, text, NULL);
    return p + 1;
}

static void put_fields(struct cn_buf *b, const char *p, va_list *ap)
{
    while (*p != '\0') {
        const char *eq = strchr(p, '=');

        if (eq == NULL)
            return;
        cn_buf_printf(b, NULL, ",\"%.*s\":", (int)(eq - p), p);
        p = put_value(b, eq + 1, ap);
        while (*p == ' ')
            p++;
    }
}

void cn_log(enum cn_log_level level, const char *event, const char *msg, const char *fields, ...)
{
    struct cn_buf b;
    va_list ap;
    ssize_t n;

    if (!cn_log_on(level))
        return;
    cn_buf_init(&b, MAX_LINE);
    cn_buf_adds(&b, "{", NULL);
    put_time(&b);
    cn_buf_printf(&b, NULL, ",\"level\":\"%s\",\"event\":\"%s\",\"msg\":", level_names[level],
                  event);
    cn_escape_json(&b, msg, strnlen(msg, MAX_VALUE), NULL);
    va_start(ap, fields);
    put_fields(&b, fields, &ap);
    va_end(ap);
    if (cn_buf_adds(&b, "}\n", NULL) == CN_OK) {
        n = write(the_fd, b.data, b.len);
        (void)n; /* nowhere to report it */
    }
    cn_buf_release(&b);
}
