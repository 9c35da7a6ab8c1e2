/* Fills in errors (the first one wins) and ends the program where an assertion does not hold. */
#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fill(struct cn_err *err, int code, const char *where, const char *fmt, va_list ap)
{
    CN_ASSERT(code < 0);
    if (err == NULL || err->code != 0)
        return code;
    err->code = code;
    vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
    snprintf(err->where, sizeof(err->where), "%s", where);
    return code;
}

int cn_fail(struct cn_err *err, int code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fill(err, code, "", fmt, ap);
    va_end(ap);
    return code;
}

int cn_fail_at(struct cn_err *err, int code, const char *where, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fill(err, code, where, fmt, ap);
    va_end(ap);
    return code;
}

int cn_err_prefix(struct cn_err *err, const char *fmt, ...)
{
    char text[sizeof(err->msg)];
    va_list ap;
    size_t n;

    if (err == NULL || err->code == 0)
        return CN_EINTERNAL;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    n = strlen(text);
    snprintf(text + n, sizeof(text) - n, ": %s", err->msg);
    memcpy(err->msg, text, sizeof(text));
    return err->code;
}

const char *cn_code_name(int code)
{
    switch (code) {
    case CN_OK:
        return "ok";
    case CN_ENOMEM:
        return "no-memory";
    case CN_EINVAL:
        return "invalid";
    case CN_ENOTFOUND:
        return "not-found";
    case CN_EFORMAT:
        return "bad-format";
    case CN_ETOOBIG:
        return "too-big";
    case CN_EDEVMEM:
        return "no-device-memory";
    case CN_EDEVICE:
        return "device-failed";
    case CN_ECANCELED:
        return "cancelled";
    case CN_EBUSY:
        return "busy";
    case CN_EIO:
        return "io";
    case CN_EINTERNAL:
        return "internal";
    case CN_ESTORAGE:
        return "storage";
    case CN_EGONE:
        return "gone";
    }
    return "unknown";
}

void cn_assert_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "assertion failed: %s (%s:%d)\n", cond, file, line);
    abort();
}
