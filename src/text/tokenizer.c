/* Text to ids: by the rules of a tokenizer.json (rules.c) where that is all there is, else step by
 * step as transformers' CLIPTokenizer without ftfy (v4.57, tokenization_clip.py):
 *
 * 1. Added tokens ("<|endoftext|>") are cut out of the raw text; so are triggers.
 * 2. Controls are dropped, white space and each CJK ideograph split words (BasicTokenizer).
 * 3. A word is normalised (NFC) and lowercased.
 * 4. A word is split by the pattern of OpenAI's CLIP, ignoring case:
 *    <\|startoftext\|> | <\|endoftext\|> | 's|'t|'re|'ve|'m|'ll|'d | \p{L}+ | \p{N} |
 * [^\s\p{L}\p{N}]+
 * 5. The UTF-8 bytes of each piece are merged by rank.
 *
 * Normalising word by word is the same as normalising the text: nothing composes across a space.
 */
#include "base/base.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/text_priv.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LONG_S = 0x17f,       /* lower case already, and equal to s when case is ignored */
    YPOGEGRAMMENI = 0x345 /* equal to iota, a letter, when case is ignored: the pattern's third
                             class shuts it out, its first does not take it; it vanishes */
};

static const char *const suffixes[] = {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
static const char *const specials[] = {"<|startoftext|>", "<|endoftext|>"};

/* Length of the pattern at s[i] (ASCII, lower case), or 0. */
static size_t matches(const struct cn_cps *s, size_t i, const char *pattern)
{
    size_t n = 0;

    for (; pattern[n] != '\0'; n++) {
        uint32_t cp = i + n < s->n ? s->cp[i + n] : 0;

        if (cp != (unsigned char)pattern[n] && !(cp == LONG_S && pattern[n] == 's'))
            return 0;
    }
    return n;
}

static size_t match_any(const struct cn_cps *s, size_t i, const char *const *patterns, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        size_t len = matches(s, i, patterns[k]);

        if (len > 0)
            return len;
    }
    return 0;
}

static enum cn_uc_class class_at(const struct cn_cps *s, size_t i)
{
    return s->cp[i] == YPOGEGRAMMENI ? CN_UC_SPACE : cn_uc_class(s->cp[i], CN_UC_PYTHON);
}

/* End of the piece that starts at i, by the pattern; a class that is none of the three ends at
 * once. */
static size_t piece_end(const struct cn_cps *s, size_t i)
{
    enum cn_uc_class class = class_at(s, i);
    size_t len = match_any(s, i, specials, CN_LEN(specials));

    if (len == 0)
        len = match_any(s, i, suffixes, CN_LEN(suffixes));
    if (len > 0)
        return i + len;
    i++;
    if (class == CN_UC_LETTER || class == CN_UC_OTHER)
        while (i < s->n && class_at(s, i) == class)
            i++;
    return i;
}

static int add_piece(struct cn_words *w, size_t from, size_t to)
{
    unsigned char small[256], *bytes = small;
    size_t n = 0;
    int32_t id;
    int rc;

    if ((to - from) * 4 + 1 > sizeof(small))
        bytes = cn_try_alloc((to - from) * 4 + 1);
    if (bytes == NULL)
        return cn_fail(w->err, CN_ENOMEM, "no memory for a word of %zu characters", to - from);
    for (size_t i = from; i < to; i++)
        n += cn_utf8_put((char *)bytes + n, w->word.cp[i]);
    bytes[n] = '\0';
    /* The reference looks whole words up in its cache first, where these two are. */
    if (strcmp((char *)bytes, specials[0]) == 0 || strcmp((char *)bytes, specials[1]) == 0) {
        id = cn_tokenizer_id(w->t, (char *)bytes);
        cn_words_put(w->out, id >= 0 ? id : w->t->unknown);
        rc = CN_OK;
    } else {
        rc = cn_bpe_word(w->t->bpe, bytes, n, w->out, w->err);
    }
    if (bytes != small)
        free(bytes);
    return rc;
}

/* Ends the word that was gathered. */
static int end_word(struct cn_words *w)
{
    int rc = CN_OK;

    if (w->word.n == 0)
        return CN_OK;
    cn_uc_nfc(&w->word, &w->scratch, CN_UC_PYTHON);
    cn_uc_lowercase(&w->word, &w->scratch, CN_UC_PYTHON);
    for (size_t i = 0, to; rc == CN_OK && i < w->word.n; i = to) {
        to = piece_end(&w->word, i);
        if (class_at(&w->word, i) != CN_UC_SPACE)
            rc = add_piece(w, i, to);
    }
    w->word.n = 0;
    return rc;
}

/* The ranges that BERT's tokenizer, and after it this one, calls Chinese. */
static bool is_cjk(uint32_t cp)
{
    static const uint32_t range[][2] = {{0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xf900, 0xfaff},
                                        {0x20000, 0x2a6df}, {0x2a700, 0x2b73f}, {0x2b740, 0x2b81f},
                                        {0x2b820, 0x2ceaf}, {0x2f800, 0x2fa1f}};

    for (size_t i = 0; i < CN_LEN(range); i++)
        if (cp >= range[i][0] && cp <= range[i][1])
            return true;
    return false;
}

static int add_character(struct cn_words *w, uint32_t cp)
{
    enum cn_uc_class class = cn_uc_class(cp, CN_UC_PYTHON);
    int rc = CN_OK;

    if (class == CN_UC_DROP)
        return CN_OK;
    if (class == CN_UC_SPACE)
        return end_word(w);
    if (is_cjk(cp))
        rc = end_word(w);
    cn_cps_add(&w->word, cp);
    if (rc == CN_OK && is_cjk(cp))
        rc = end_word(w);
    return rc;
}

static int encode_text(struct cn_words *w, const char *text, size_t len)
{
    int rc = CN_OK;

    for (size_t i = 0; rc == CN_OK && i < len;) {
        struct cn_found f;
        uint32_t cp = 0;

        if (cn_words_find(w, text + i, len - i, CN_WORDS_ALL, &f)) {
            rc = end_word(w);
            cn_words_put_found(w, &f);
            i += f.len;
            continue;
        }
        i += cn_utf8_next((const unsigned char *)text + i, len - i, &cp);
        rc = add_character(w, cp);
    }
    return rc == CN_OK ? end_word(w) : rc;
}

static int tokenize(const struct cn_tokenizer *t, const struct cn_triggers *triggers,
                    const char *text, struct cn_ids *out, const char **ret_misfit,
                    struct cn_err *err)
{
    struct cn_words w = {.t = t, .triggers = triggers, .out = out, .err = err};
    size_t len = strlen(text), bad;
    int rc;

    if (len > CN_MAX_TOKENIZE)
        return cn_fail(err, CN_ETOOBIG, "the text has %zu bytes, at most %d are accepted", len,
                       CN_MAX_TOKENIZE);
    bad = cn_utf8_check(text, len);
    if (bad < len)
        return cn_fail(err, CN_EINVAL, "the text is not UTF-8: byte %zu is 0x%02x", bad,
                       (unsigned char)text[bad]);
    rc = t->rules != NULL ? cn_rules_encode(&w, text, len) : encode_text(&w, text, len);
    cn_cps_release(&w.word);
    cn_cps_release(&w.scratch);
    *ret_misfit = w.misfit;
    return rc;
}

int cn_tokenize(const struct cn_tokenizer *t, const char *text, int32_t *ids, int max, int *ret_n,
                struct cn_err *err)
{
    struct cn_ids out = {.id = ids, .max = max};
    const char *misfit;
    int rc = tokenize(t, NULL, text, &out, &misfit, err);

    if (rc == CN_OK)
        *ret_n = out.n;
    return rc;
}

int cn_tokenizer_encode(const struct cn_tokenizer *t, const struct cn_triggers *triggers,
                        const char *text, int32_t *ids, int len, struct cn_encoded *ret,
                        struct cn_err *err)
{
    struct cn_ids out = {.id = ids + 1, .max = len - 2};
    const char *misfit;
    int n, rc;

    CN_ASSERT(len >= 2);
    rc = tokenize(t, triggers, text, &out, &misfit, err);
    if (rc < 0)
        return rc;
    if (ret != NULL)
        *ret = (struct cn_encoded){out.n > len - 2, misfit};
    n = CN_MIN(out.n, len - 2);
    ids[0] = t->bos;
    ids[1 + n] = t->eos;
    for (int i = n + 2; i < len; i++)
        ids[i] = t->pad;
    return CN_OK;
}

static int32_t lookup(void *ctx, const char *text)
{
    return cn_tokenizer_id(ctx, text);
}

static struct cn_tokenizer *new_tokenizer(void)
{
    struct cn_tokenizer *t = cn_xcalloc(1, sizeof(*t));

    t->bpe = cn_bpe_new();
    cn_strmap_init(&t->vocab);
    return t;
}

static int hand_over(struct cn_tokenizer *t, int rc, struct cn_tokenizer **ret)
{
    if (rc < 0) {
        cn_tokenizer_close(t);
        return rc;
    }
    cn_bpe_bind(t->bpe, lookup, t, t->unknown);
    *ret = t;
    return CN_OK;
}

static bool has_file(const char *dir, const char *name)
{
    char *path = cn_xprintf("%s/%s", dir, name);
    bool yes = cn_file_exists(path);

    free(path);
    return yes;
}

int cn_tokenizer_open(const char *dir, struct cn_tokenizer **ret, struct cn_err *err)
{
    struct cn_tokenizer *t = new_tokenizer();
    char *rules = cn_xprintf("%s/tokenizer.json", dir);
    int rc;

    if ((has_file(dir, "vocab.json") && has_file(dir, "merges.txt")) || !cn_file_exists(rules))
        rc = cn_tok_load_dir(t, dir, err);
    else
        rc = cn_tok_load_rules(t, dir, rules, err);
    free(rules);
    return hand_over(t, rc, ret);
}

int cn_tokenizer_builtin(struct cn_tokenizer **ret, struct cn_err *err)
{
    const char *data = getenv("CONTROLNETD_DATADIR");
    char *dir = cn_xprintf("%s/clip", data != NULL && data[0] != '\0' ? data : CN_DATADIR);
    struct cn_tokenizer *t = new_tokenizer();
    int rc = cn_tok_load_clip(t, dir, err);

    free(dir);
    return hand_over(t, rc, ret);
}

void cn_tokenizer_close(struct cn_tokenizer *t)
{
    if (t == NULL)
        return;
    cn_bpe_free(t->bpe);
    cn_strmap_release(&t->vocab);
    for (size_t i = 0; i < t->n_added; i++)
        free(t->added[i].text);
    free(t->added);
    free(t->rules);
    free(t);
}

int cn_tokenizer_size(const struct cn_tokenizer *t)
{
    return t->size;
}

int cn_tokenizer_max_length(const struct cn_tokenizer *t)
{
    return t->max_length;
}

int32_t cn_tokenizer_bos(const struct cn_tokenizer *t)
{
    return t->bos;
}

int32_t cn_tokenizer_eos(const struct cn_tokenizer *t)
{
    return t->eos;
}

int32_t cn_tokenizer_pad(const struct cn_tokenizer *t)
{
    return t->pad;
}

bool cn_tokenizer_set_pad(struct cn_tokenizer *t, int32_t id)
{
    if (id < 0 || id >= t->size)
        return false;
    t->pad = id;
    return true;
}

int32_t cn_tokenizer_id(const struct cn_tokenizer *t, const char *symbol)
{
    return cn_tok_id(t, symbol);
}
