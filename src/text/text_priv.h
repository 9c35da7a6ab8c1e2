/* Shared by the files of text/ and by nobody else. */
#ifndef CN_TEXT_PRIV_H
#define CN_TEXT_PRIV_H

#include "base/base.h"
#include "base/strmap.h"
#include "text/triggers.h"

/* ---- characters (unicode.c; tables written by tools/unicode) ---- */

enum cn_uc_class {
    CN_UC_OTHER,  /* punctuation, symbols, combining marks */
    CN_UC_LETTER, /* L* */
    CN_UC_NUMBER, /* N* */
    CN_UC_SPACE,  /* Z*, tab, newline, carriage return */
    CN_UC_DROP    /* C* (controls, formats, private, unassigned) and U+FFFD */
};

struct cn_uc_lower {
    uint32_t first, last, step;
    int32_t delta;
};

struct cn_uc_pair {
    uint32_t cp, a, b;
};

struct cn_uc_run {
    uint32_t first, last;
    int32_t value;
};

/* Whose Unicode counts. */
enum cn_uc_edition {
    CN_UC_PYTHON,    /* one version; a capital sigma at the end of a word becomes the final one */
    CN_UC_TOKENIZERS /* the library `tokenizers`: newer classes and lower case, older normal forms;
                      * each character is lowercased by itself, as Rust's char::to_lowercase() */
};

extern const uint32_t cn_uc_classes[], cn_uc_cases[], cn_uc_combining[], cn_uc_singles[];
extern const size_t cn_uc_classes_count, cn_uc_cases_count, cn_uc_combining_count,
    cn_uc_singles_count;
extern const struct cn_uc_lower cn_uc_lowers[];
extern const size_t cn_uc_lowers_count;
extern const struct cn_uc_pair cn_uc_pairs[];
extern const size_t cn_uc_pairs_count;
extern const uint16_t cn_uc_composing[]; /* indices of pairs that compose, by (a, b) */
extern const size_t cn_uc_composing_count;
extern const struct cn_uc_run cn_uc_newer_classes[], cn_uc_newer_lowers[], cn_uc_plain[];
extern const size_t cn_uc_newer_classes_count, cn_uc_newer_lowers_count, cn_uc_plain_count;

/* A growing array of code points. */
struct cn_cps {
    uint32_t *cp;
    size_t n, cap;
};

void cn_cps_add(struct cn_cps *s, uint32_t cp);
void cn_cps_release(struct cn_cps *s);

enum cn_uc_class cn_uc_class(uint32_t cp, enum cn_uc_edition edition);

/* Replaces the text by its normalisation form C. */
void cn_uc_nfc(struct cn_cps *s, struct cn_cps *scratch, enum cn_uc_edition edition);

/* Replaces the text by its lower case. */
void cn_uc_lowercase(struct cn_cps *s, struct cn_cps *scratch, enum cn_uc_edition edition);

/* ---- byte pairs (bpe.c) ---- */

struct cn_bpe;

/* The symbols of bytes: 256 printable stand-ins in the order of the vocabulary, UTF-8. */
void cn_bpe_byte_symbol(unsigned rank, char text[5], unsigned *ret_byte);

/* Begins with the 512 byte symbols and no merges. */
struct cn_bpe *cn_bpe_new(void);
void cn_bpe_free(struct cn_bpe *b);

/* The next merge, of lower priority than all before it. */
void cn_bpe_merge(struct cn_bpe *b, const char *left, const char *right);

/* Gives every symbol its id; a symbol that ids(ctx, text) does not know (-1) becomes unknown. */
typedef int32_t (*cn_bpe_id_fn)(void *ctx, const char *text);
void cn_bpe_bind(struct cn_bpe *b, cn_bpe_id_fn ids, void *ctx, int32_t unknown);

/* Text of symbol i in the order of creation (512 bytes, then merges), or NULL. */
const char *cn_bpe_symbol(const struct cn_bpe *b, size_t i);

struct cn_ids {
    int32_t *id; /* room for max; n may be larger */
    int max, n;
};

/* Appends the ids of one word of len > 0 bytes. */
int cn_bpe_word(const struct cn_bpe *b, const unsigned char *word, size_t len, struct cn_ids *out,
                struct cn_err *err);

/* ---- the tokenizer ---- */

enum { CN_MAX_ADDED = 4096, CN_MAX_TOKEN = 1 << 22 /* ids are below it */ };

/* A text that is one token wherever it stands, taken before anything else happens to it. */
struct cn_added {
    char *text; /* normalized: as the normalizer leaves it */
    size_t len;
    int32_t id;
    /* Of a tokenizer.json. */
    bool normalized;     /* looked for in the normalized text */
    bool single_word;    /* not inside of words */
    bool lstrip, rstrip; /* white space beside it goes with it */
};

enum cn_rule { CN_RULE_NFC, CN_RULE_COLLAPSE, CN_RULE_LOWERCASE };

/* How a tokenizer.json reads a text: rules.c. */
struct cn_rules {
    enum cn_rule step[8];
    int steps;
    bool specials; /* the pattern knows the special tokens */
    bool again;    /* and they are split by the next pattern all the same */
};

struct cn_tokenizer {
    struct cn_bpe *bpe;
    struct cn_strmap vocab; /* symbol -> id + 1 */
    int32_t size;           /* ids are below this */
    struct cn_added *added;
    size_t n_added, added_cap;
    int32_t bos, eos, pad, unknown;
    int max_length; /* ids of a text, ends included, as its files have it; 0: they do not say */
    struct cn_rules *rules; /* NULL: of vocab.json and merges.txt */
};

/* Puts a symbol into the vocabulary. False when it is there already. */
bool cn_tok_add(struct cn_tokenizer *t, const char *symbol, int32_t id);

/* Reads the lines "left right" after the first one of len bytes (NUL-terminated) as merges.
 * CLIP's own 48,894 are the most: what its files have after them is not used. */
int cn_tok_merges(struct cn_tokenizer *t, const char *path, char *text, struct cn_err *err);

/* One more added token, of which `text` is in the vocabulary, `seen` in texts; how: its flags. */
int cn_tok_add_special(struct cn_tokenizer *t, const char *text, const char *seen, int32_t id,
                       const struct cn_added *how, struct cn_err *err);
int32_t cn_tok_id(const struct cn_tokenizer *t, const char *symbol); /* or -1 */

struct json_t;

/* Reads a file of at most max bytes as one JSON object. flags: jansson's. */
int cn_tok_load_json(const char *path, size_t max, size_t flags, struct json_t **ret,
                     struct cn_err *err);
/* tokenizer_config.json, special_tokens_map.json and added_tokens.json, where they are there. */
int cn_tok_load_specials(struct cn_tokenizer *t, const char *dir, struct cn_err *err);

/* vocab.json and merges.txt with what is beside them. */
int cn_tok_load_dir(struct cn_tokenizer *t, const char *dir, struct cn_err *err);

/* The tokenizer.json at path, with what is beside it in dir (rules_file.c). */
int cn_tok_load_rules(struct cn_tokenizer *t, const char *dir, const char *path,
                      struct cn_err *err);

/* bpe_simple_vocab_16e6.txt.gz in dir. */
int cn_tok_load_clip(struct cn_tokenizer *t, const char *dir, struct cn_err *err);

/* ---- a text while it is read ---- */

struct cn_words {
    const struct cn_tokenizer *t;
    const struct cn_triggers *triggers;
    const char *misfit;
    struct cn_cps word, scratch;
    struct cn_ids *out;
    struct cn_err *err;
};

void cn_words_put(struct cn_ids *out, int32_t id);

/* What is looked for: all, or what is looked for before and after a text is normalized. */
enum cn_which { CN_WORDS_ALL, CN_WORDS_RAW, CN_WORDS_NORMALIZED };

struct cn_found {
    size_t len;
    const struct cn_added *added; /* one of these two */
    const struct cn_trigger *trigger;
};

/* What begins at s and is taken as a whole. */
bool cn_words_find(struct cn_words *w, const char *s, size_t len, enum cn_which which,
                   struct cn_found *ret);
void cn_words_put_found(struct cn_words *w, const struct cn_found *f);

/* rules.c */
int cn_rules_encode(struct cn_words *w, const char *text, size_t len);
char *cn_rules_normalise(const struct cn_rules *r, const char *text); /* free() it */

#endif
