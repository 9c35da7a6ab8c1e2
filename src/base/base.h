/* What every file includes first: configuration, attributes, error codes, assertions.
 *
 * Any thread. Nothing here allocates.
 *
 *     if (fd < 0)
 *         return cn_fail(err, CN_EIO, "cannot open \"%s\": %s", path, strerror(errno));
 */
#ifndef CN_BASE_BASE_H
#define CN_BASE_BASE_H

#ifdef HAVE_CONFIG_H
#include "config.h"
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CN_MUST_USE     __attribute__((warn_unused_result))
#define CN_PRINTF(a, b) __attribute__((format(printf, a, b)))
#define CN_NORETURN     __attribute__((noreturn))

#define CN_LEN(a)    (sizeof(a) / sizeof((a)[0]))
#define CN_MIN(a, b) ((a) < (b) ? (a) : (b))
#define CN_MAX(a, b) ((a) > (b) ? (a) : (b))

/* Negative values travel as return codes; cn_code_name() gives the stable word for each. */
enum cn_code {
    CN_OK = 0,
    CN_ENOMEM = -1,    /* the host has no memory left */
    CN_EINVAL = -2,    /* a value that the caller chose is not acceptable */
    CN_ENOTFOUND = -3, /* something named does not exist */
    CN_EFORMAT = -4,   /* bytes that do not follow their format */
    CN_ETOOBIG = -5,   /* over a limit */
    CN_EDEVMEM = -6,   /* the device has no memory left */
    CN_EDEVICE = -7,   /* the device failed */
    CN_ECANCELED = -8, /* somebody asked to stop */
    CN_EBUSY = -9,     /* not now: full, draining, or in use */
    CN_EIO = -10,      /* the operating system refused */
    CN_EINTERNAL = -11, /* a fault of ours */
    CN_ESTORAGE = -12,  /* what must be kept cannot be: no room, or the disk fails */
    CN_EGONE = -13      /* it was there, and its time is over */
};

/* One failure, for a person. First error wins: cn_fail() on a filled cn_err changes nothing. */
struct cn_err {
    int code;
    char msg[400];  /* lower case, no period: what was attempted, the reason, the value */
    char where[96]; /* user-facing place: a JSON pointer such as "/controls/0/image", or "" */
};

#define CN_ERR_INIT {0, "", ""}

/* Fills err (may be NULL) and returns code, which must be negative. */
int cn_fail(struct cn_err *err, int code, const char *fmt, ...) CN_PRINTF(3, 4);

/* As cn_fail, and says which field of the request is at fault. */
int cn_fail_at(struct cn_err *err, int code, const char *where, const char *fmt, ...)
    CN_PRINTF(4, 5);

/* Puts "prefix: " before the message of a filled err; returns err's code. */
int cn_err_prefix(struct cn_err *err, const char *fmt, ...) CN_PRINTF(2, 3);

/* "no-memory", "invalid", ... ; "unknown" for other numbers. */
const char *cn_code_name(int code);

/* Kept in release builds: cheap invariants of our own. Never for input. */
#define CN_ASSERT(cond) ((cond) ? (void)0 : cn_assert_failed(#cond, __FILE__, __LINE__))

#ifdef CN_DEBUG
#define CN_DASSERT(cond) CN_ASSERT(cond)
#else
#define CN_DASSERT(cond) ((void)0)
#endif

void cn_assert_failed(const char *cond, const char *file, int line) CN_NORETURN;

#endif
