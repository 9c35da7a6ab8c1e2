/* UTF-8, checked: shortest forms only, no surrogates, nothing over U+10FFFF. Any thread. */
#ifndef CN_BASE_UTF8_H
#define CN_BASE_UTF8_H

#include "base/base.h"

/* Bytes of the character that starts at s (len > 0 of them are there), or 0 when no valid one
 * does; *ret_cp is its code point. */
size_t cn_utf8_next(const unsigned char *s, size_t len, uint32_t *ret_cp);

/* len when all bytes are valid UTF-8, else the position of the first that is not. */
size_t cn_utf8_check(const void *s, size_t len);

/* Writes 1 to 4 bytes (no NUL) and returns how many. cp must be a scalar value. */
size_t cn_utf8_put(char *s, uint32_t cp);

#endif
