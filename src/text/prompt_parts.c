/* AND: a prompt to parts with weights (composable diffusion). */
#include "base/base.h"
#include "text/prompt.h"
#include "text/prompt_priv.h"

#include <string.h>

/* Takes ": number" and white space off the end of a part. */
static struct cn_prompt_part read_part(const char *s, size_t from, size_t to)
{
    size_t end = cn_prompt_trim_space(s, from, to), number = end, colon;
    struct cn_prompt_part part = {from, end - from, 1};
    double weight;

    while (number > from && s[number - 1] != '\0' && strchr("0123456789.", s[number - 1]) != NULL)
        number--;
    if (number > from && (s[number - 1] == '+' || s[number - 1] == '-'))
        number--;
    colon = cn_prompt_trim_space(s, from, number);
    if (colon > from && s[colon - 1] == ':' &&
        cn_prompt_number(s + number, end - number, &weight) == CN_OK) {
        part.len = cn_prompt_trim_space(s, from, colon - 1) - from;
        part.weight = weight;
    }
    return part;
}

int cn_prompt_parts(const char *text, struct cn_prompt_part *part, int max, int *ret_n,
                    struct cn_err *err)
{
    size_t len = strlen(text), from = 0, to;
    int n = 0, rc = cn_prompt_check(text, len, err);

    while (rc == CN_OK) {
        to = from + cn_prompt_find_word(text + from, 0, len - from, "AND");
        if (n == max)
            return cn_fail(err, CN_ETOOBIG, "more than %d parts with AND between them", max);
        part[n++] = read_part(text, from, to);
        if (to == len)
            break;
        from = to + 3;
    }
    if (rc == CN_OK)
        *ret_n = n;
    return rc;
}
