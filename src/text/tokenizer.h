/* CLIP's byte-pair tokenizer, as transformers' CLIPTokenizer does it, or, of a tokenizer.json,
 * CLIPTokenizerFast.
 *
 * Text is UTF-8; it is normalised (NFC), lowercased, split into words and the words into pieces of
 * the vocabulary. Bit-exact with the reference: a prompt gives the same ids as the Python code.
 *
 * Any thread; an open tokenizer never changes.
 *
 *     struct cn_tokenizer *t;
 *     int32_t ids[77];
 *     if (cn_tokenizer_open("models/sd15/tokenizer", &t, err) < 0) ...
 *     if (cn_tokenizer_encode(t, "a photo of a cat", ids, 77, &truncated, err) < 0) ...
 *     cn_tokenizer_close(t);
 */
#ifndef CN_TEXT_TOKENIZER_H
#define CN_TEXT_TOKENIZER_H

#include "base/base.h"
#include "text/triggers.h"

enum {
    CN_CLIP_LENGTH = 77,         /* positions of CLIP's text encoder */
    CN_MAX_TOKENIZE = 256 * 1024 /* bytes of text that one call accepts */
};

struct cn_tokenizer;

/* vocab.json and merges.txt of a directory, or a tokenizer.json alone, which is read by its own
 * rules; tokenizer_config.json and special_tokens_map.json, if there, say which tokens begin, end
 * and pad. */
int cn_tokenizer_open(const char *dir, struct cn_tokenizer **ret, struct cn_err *err);

/* The standard CLIP vocabulary (49,408 tokens), for models that bring none: from
 * $CONTROLNETD_DATADIR/clip, else from the installed data. */
int cn_tokenizer_builtin(struct cn_tokenizer **ret, struct cn_err *err);

void cn_tokenizer_close(struct cn_tokenizer *t); /* NULL is fine */

int cn_tokenizer_size(const struct cn_tokenizer *t); /* ids are below this */
/* model_max_length of its configuration; 0: none that limits anything. Encoding does not look at
 * it: who encodes knows how many positions there are. */
int cn_tokenizer_max_length(const struct cn_tokenizer *t);
int32_t cn_tokenizer_bos(const struct cn_tokenizer *t);
int32_t cn_tokenizer_eos(const struct cn_tokenizer *t);
int32_t cn_tokenizer_pad(const struct cn_tokenizer *t);

/* What encode pads with. A diffusers model has it in its tokenizer directory; for a single file
 * the family knows (0 for SD 2, the end token otherwise). False, and no change, for an id that the
 * vocabulary does not have. */
bool cn_tokenizer_set_pad(struct cn_tokenizer *t, int32_t id);

/* The id of one symbol as the vocabulary spells it ("cat</w>"), or -1. */
int32_t cn_tokenizer_id(const struct cn_tokenizer *t, const char *symbol);

/* The ids of text without begin and end. At most max are written; *ret_n is how many there are,
 * which may be more. CN_EINVAL for text that is no UTF-8, naming the byte. */
int cn_tokenize(const struct cn_tokenizer *t, const char *text, int32_t *ids, int max, int *ret_n,
                struct cn_err *err);

/* What became of a text. */
struct cn_encoded {
    bool truncated;
    const char *misfit; /* the name of a trigger that is not for this model; NULL: there is none */
};

/* Exactly len ids: begin, the text's (cut to len - 2), end, padding. triggers and ret may be NULL.
 */
int cn_tokenizer_encode(const struct cn_tokenizer *t, const struct cn_triggers *triggers,
                        const char *text, int32_t *ids, int len, struct cn_encoded *ret,
                        struct cn_err *err);

#endif
