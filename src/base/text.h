/* Small readings of text that several layers need: tokens, blanks, numbers, hex digits. They do not
 * look at the locale. Any thread.
 *
 *     cn_hex_encode(digest, sizeof(digest), text);        -- text has room for 2 * n + 1
 *     if (cn_decimal(value) < 0) ...                       -- not a number, or longer than 18
 * digits
 */
#ifndef CN_BASE_TEXT_H
#define CN_BASE_TEXT_H

#include "base/base.h"

/* RFC 9110 5.6.2: what names of headers and methods are made of. */
bool cn_is_token_char(char c);

/* Behind spaces and tabs. */
const char *cn_skip_blanks(const char *p);

/* A decimal number of at most 18 digits and nothing else; -1 otherwise. */
int64_t cn_decimal(const char *text);

/* For messages that leave the machine: every absolute path in the text ("/srv/models/x/unet" or
 * /etc/x) becomes its last component, in place. What begins with /v1/ is ours and stays. */
void cn_hide_paths(char *text);

/* Lower case, and a NUL. */
void cn_hex_encode(const void *data, size_t n, char *text);

/* Exactly n bytes of either case and nothing behind them; false otherwise. */
bool cn_hex_decode(const char *text, void *ret, size_t n);

#endif
