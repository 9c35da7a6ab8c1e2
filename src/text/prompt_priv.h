/* Shared by the files of the prompt grammar and by nobody else: characters as the patterns of the
 * grammar class them, over UTF-8 that was checked. */
#ifndef CN_PROMPT_PRIV_H
#define CN_PROMPT_PRIV_H

#include "base/base.h"

/* A text of len bytes that the grammar accepts: UTF-8, not more than CN_MAX_TOKENIZE. */
int cn_prompt_check(const char *text, size_t len, struct cn_err *err);

/* White space (\s), as far as it goes: the first position from `at` on that is none, or the last
 * one down to `from` after which there is only white space. */
size_t cn_prompt_skip_space(const char *s, size_t at, size_t len);
size_t cn_prompt_trim_space(const char *s, size_t from, size_t at);

/* Is the character before `at`, or the first one, a letter, a number or an underscore? */
bool cn_prompt_ends_with_word(const char *s, size_t at);
bool cn_prompt_begins_with_word(const char *s, size_t len);

/* The next whole word (\b...\b) of ASCII letters at or after `at`, or len. Words stand between
 * characters that are no letters, numbers or underscores. */
size_t cn_prompt_find_word(const char *s, size_t at, size_t len, const char *word);

/* The number of len characters, digits and at most one point and a sign: CN_EINVAL for anything
 * else. A character that is none of these follows it. */
int cn_prompt_number(const char *s, size_t len, double *ret);

#endif
