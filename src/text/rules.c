/* Text to ids by the rules of a tokenizer.json, as the library `tokenizers` follows them:
 *
 * 1. Added tokens that are not "normalized" are cut out of the raw text; so are triggers.
 * 2. The normalizer's steps in their order: NFC, white space to one space, lower case.
 * 3. Added tokens that are "normalized" are cut out of the result.
 * 4. What is left is split by the pattern of OpenAI's CLIP, case and all:
 *    's|'t|'re|'ve|'m|'ll|'d | \p{L}+ | \p{N} | [^\s\p{L}\p{N}]+
 * 5. The bytes of each piece are merged by rank.
 *
 * Beside the other way (tokenizer.c) controls and ideographs are characters like others, and each
 * character is lowercased by itself: a capital sigma at the end of a word becomes the other one.
 * Which characters are letters, marks and capitals is what that library says (CN_UC_TOKENIZERS).
 */
#include "base/base.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/prompt_priv.h"
#include "text/text_priv.h"

#include <stdlib.h>
#include <string.h>

/* Unicode's White_Space. */
static bool is_space(uint32_t cp)
{
    return (cp >= 9 && cp <= 13) || cp == ' ' || cp == 0x85 || cp == 0xa0 || cp == 0x1680 ||
           (cp >= 0x2000 && cp <= 0x200a) || cp == 0x2028 || cp == 0x2029 || cp == 0x202f ||
           cp == 0x205f || cp == 0x3000;
}

static enum cn_uc_class class_of(uint32_t cp)
{
    enum cn_uc_class class = cn_uc_class(cp, CN_UC_TOKENIZERS);

    if (is_space(cp))
        return CN_UC_SPACE;
    return class == CN_UC_LETTER || class == CN_UC_NUMBER ? class : CN_UC_OTHER;
}

static size_t next(const char *s, size_t len, uint32_t *cp)
{
    return cn_utf8_next((const unsigned char *)s, len, cp);
}

/* ---- the pattern ---- */

static size_t match_any(const char *s, size_t len, const char *const *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t k = strlen(text[i]);

        if (k <= len && memcmp(s, text[i], k) == 0)
            return k;
    }
    return 0;
}

/* Bytes of the piece that begins at s, which is no special token; *ret_class is SPACE for what is
 * none. */
static size_t piece(const char *s, size_t len, enum cn_uc_class *ret_class)
{
    static const char *const suffixes[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
    size_t at = match_any(s, len, suffixes, CN_LEN(suffixes));
    uint32_t cp = 0;

    *ret_class = CN_UC_OTHER;
    if (at > 0)
        return at;
    at = next(s, len, &cp);
    *ret_class = class_of(cp);
    while (at < len && *ret_class != CN_UC_NUMBER) {
        size_t n = next(s + at, len - at, &cp);

        if (class_of(cp) != *ret_class)
            break;
        at += n;
    }
    return at;
}

static int put_pieces(struct cn_words *w, const char *s, size_t len, bool specials);

/* What the pattern takes as a special token: ByteLevel may split it again. */
static int put_special(struct cn_words *w, const char *s, size_t n)
{
    if (w->t->rules->again)
        return put_pieces(w, s, n, false);
    return cn_bpe_word(w->t->bpe, (const unsigned char *)s, n, w->out, w->err);
}

static int put_pieces(struct cn_words *w, const char *s, size_t len, bool specials)
{
    static const char *const special[] = {"<|startoftext|>", "<|endoftext|>"};
    int rc = CN_OK;

    for (size_t n; len > 0 && rc == CN_OK; s += n, len -= n) {
        enum cn_uc_class class;

        n = specials ? match_any(s, len, special, CN_LEN(special)) : 0;
        if (n > 0) {
            rc = put_special(w, s, n);
            continue;
        }
        n = piece(s, len, &class);
        if (class != CN_UC_SPACE)
            rc = cn_bpe_word(w->t->bpe, (const unsigned char *)s, n, w->out, w->err);
    }
    return rc;
}

/* ---- the normalizer ---- */

static void collapse(struct cn_cps *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->n; i++) {
        bool space = is_space(s->cp[i]);

        if (space && i > 0 && is_space(s->cp[i - 1]))
            continue;
        s->cp[n++] = s->cp[i];
    }
    s->n = n;
    for (size_t i = 0; i < n; i++)
        if (is_space(s->cp[i]))
            s->cp[i] = ' ';
}

/* free() the result. */
static char *normalise(const struct cn_rules *r, struct cn_cps *cps, struct cn_cps *scratch,
                       const char *s, size_t len, size_t *ret_len)
{
    uint32_t cp = 0;
    char *text;
    size_t n = 0;

    cps->n = 0;
    for (size_t i = 0; i < len;) {
        i += next(s + i, len - i, &cp);
        cn_cps_add(cps, cp);
    }
    for (int i = 0; i < r->steps; i++)
        switch (r->step[i]) {
        case CN_RULE_NFC:
            cn_uc_nfc(cps, scratch, CN_UC_TOKENIZERS);
            break;
        case CN_RULE_COLLAPSE:
            collapse(cps);
            break;
        case CN_RULE_LOWERCASE:
            cn_uc_lowercase(cps, scratch, CN_UC_TOKENIZERS);
            break;
        }
    text = cn_xmalloc(cps->n * 4 + 1);
    for (size_t i = 0; i < cps->n; i++)
        n += cn_utf8_put(text + n, cps->cp[i]);
    text[n] = '\0';
    *ret_len = n;
    return text;
}

char *cn_rules_normalise(const struct cn_rules *r, const char *text)
{
    struct cn_cps cps = {0}, scratch = {0};
    size_t n;
    char *ret = normalise(r, &cps, &scratch, text, strlen(text), &n);

    cn_cps_release(&cps);
    cn_cps_release(&scratch);
    return ret;
}

/* ---- the text ---- */

static int put_normalised(struct cn_words *w, const char *s, size_t len);

/* What lies between tokens that were cut out. */
static int put_between(struct cn_words *w, const char *s, size_t len, enum cn_which which)
{
    size_t n;
    char *text;
    int rc;

    if (len == 0)
        return CN_OK;
    if (which == CN_WORDS_NORMALIZED)
        return put_pieces(w, s, len, w->t->rules->specials);
    text = normalise(w->t->rules, &w->word, &w->scratch, s, len, &n);
    rc = put_normalised(w, text, n);
    free(text);
    return rc;
}

/* A token that counts only between characters that are no letters, numbers or underscores. */
static bool stands_alone(const char *s, size_t at, size_t n, size_t len)
{
    return (at == 0 || !cn_prompt_ends_with_word(s, at)) &&
           (at + n == len || !cn_prompt_begins_with_word(s + at + n, len - at - n));
}

static int cut(struct cn_words *w, const char *s, size_t len, enum cn_which which)
{
    size_t from = 0;
    struct cn_found f;
    int rc = CN_OK;

    for (size_t i = 0; i < len && rc == CN_OK;) {
        size_t start = i;
        uint32_t cp;

        if (!cn_words_find(w, s + i, len - i, which, &f)) {
            i += next(s + i, len - i, &cp);
            continue;
        }
        i += f.len;
        if (f.added != NULL && f.added->single_word && !stands_alone(s, start, f.len, len))
            continue;
        if (f.added != NULL && f.added->lstrip)
            start = cn_prompt_trim_space(s, from, start);
        if (f.added != NULL && f.added->rstrip)
            i = cn_prompt_skip_space(s, i, len);
        rc = put_between(w, s + from, start - from, which);
        cn_words_put_found(w, &f);
        from = i;
    }
    return rc < 0 ? rc : put_between(w, s + from, len - from, which);
}

static int put_normalised(struct cn_words *w, const char *s, size_t len)
{
    return cut(w, s, len, CN_WORDS_NORMALIZED);
}

int cn_rules_encode(struct cn_words *w, const char *text, size_t len)
{
    return cut(w, text, len, CN_WORDS_RAW);
}
