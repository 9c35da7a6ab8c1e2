/* Prompts in the grammar of AUTOMATIC1111's web UI: emphasis, BREAK, AND, prompt editing,
 * alternation, and texts of any length in chunks of what the text encoder reads.
 *
 * A prompt goes through these functions, in this order:
 *
 *   cn_prompt_tags()      "a cat <lora:x:0.8>"    -> a text without tags, and these
 *   cn_prompt_parts()     "a cat AND a dog :0.5"  -> parts with weights   (not the negative prompt)
 *   cn_prompt_schedule_*  "a [red:blue:0.5] cat"  -> a text for each step
 *   cn_prompt_emphasis()  "a (cat:1.2) BREAK b"   -> pieces with weights
 *   cn_prompt_chunks()    pieces                  -> token ids and weights, in chunks
 *
 * Pure functions of their arguments; any thread. Weights are computed in double precision, in the
 * order in which the brackets close. Time and memory are proportional to the text, which may have
 * CN_MAX_TOKENIZE bytes, for each step that is asked for; brackets nest CN_PROMPT_DEPTH deep.
 *
 *     struct cn_prompt_pieces p;
 *     struct cn_prompt_chunks c;
 *     if (cn_prompt_emphasis("a (cat:1.2)", &p, err) < 0) ...
 *     rc = cn_prompt_chunks(tokenizer, NULL, &p, CN_CLIP_LENGTH, 32, &c, err);
 *     cn_prompt_pieces_release(&p);
 *     ...
 *     cn_prompt_chunks_release(&c);
 */
#ifndef CN_TEXT_PROMPT_H
#define CN_TEXT_PROMPT_H

#include "base/base.h"
#include "base/buf.h"
#include "text/tokenizer.h"

enum { CN_PROMPT_DEPTH = 256 };

/* ---- tags ---- */

/* "<lora:name:0.8:te=0.5>": type, and what stands between colons, split as the web UI does it. */
struct cn_prompt_tag {
    char *type;
    char **word; /* positional: name, strengths */
    int n_words;
    char **key, **value; /* of "key=value" */
    int n_named;
};

struct cn_prompt_tags {
    char *text; /* without the tags, NUL-terminated */
    struct cn_prompt_tag *tag;
    size_t n, cap;
};

/* Takes everything of the form <word:anything> out of a text. */
void cn_prompt_tags(const char *text, struct cn_prompt_tags *ret);
void cn_prompt_tags_release(struct cn_prompt_tags *t);
/* The value of a key, or NULL. */
const char *cn_prompt_tag_value(const struct cn_prompt_tag *t, const char *key);
/* An argument as a number: false for one that is none. */
bool cn_prompt_tag_number(const char *text, double *ret);

/* ---- AND ---- */

struct cn_prompt_part {
    size_t from, len; /* bytes of the text, without the weight and the blanks before it */
    double weight;
};

/* Splits a prompt at each word AND. A part may end with ": number", its weight (else 1); so may a
 * prompt of one part. CN_ETOOBIG for more than max parts, CN_EINVAL for what is no UTF-8. */
int cn_prompt_parts(const char *text, struct cn_prompt_part *part, int max, int *ret_n,
                    struct cn_err *err);

/* ---- prompt editing and alternation ---- */

struct cn_prompt_schedule;

/* Reads [from:to:when], [to:when], [from::when] and [a|b|c] in len bytes of text, for a picture of
 * so many steps. `when` with a point in it is a fraction of the steps, without one a step. In a
 * second pass, after one of `before` steps (else 0), fractions go on from 1 and steps from `before`
 * on: what was meant for the first pass is over. A text
 * that does not follow the grammar (a | outside of brackets, a \ at the end) stands for itself in
 * every step; brackets that do not are characters. */
int cn_prompt_schedule_new(const char *text, size_t len, int steps, int before,
                           struct cn_prompt_schedule **ret, struct cn_err *err);
void cn_prompt_schedule_free(struct cn_prompt_schedule *s); /* NULL is fine */

/* The last step up to which the text is that of `step` (1 is the first step). */
int cn_prompt_schedule_until(const struct cn_prompt_schedule *s, int step);

/* Appends the text of a step to a buffer. */
int cn_prompt_schedule_text(const struct cn_prompt_schedule *s, int step, struct cn_buf *ret,
                            struct cn_err *err);

/* ---- emphasis ---- */

struct cn_prompt_piece {
    size_t from, len; /* bytes of pieces.text */
    double weight;
};

struct cn_prompt_pieces {
    char *text; /* of all pieces, one after the other, NUL-terminated */
    struct cn_prompt_piece *piece;
    size_t n; /* at least 1 */
};

/* (text) weighs 1.1 times as much, [text] 1.1 times as little, (text:1.3) 1.3 times; a backslash
 * takes a bracket's meaning; brackets without a partner count to the end of the text. The word
 * BREAK is a piece of its own. CN_EINVAL for a weight that is no number. */
int cn_prompt_emphasis(const char *text, struct cn_prompt_pieces *ret, struct cn_err *err);
/* The text itself as the only piece, with weight 1. */
int cn_prompt_plain(const char *text, struct cn_prompt_pieces *ret, struct cn_err *err);
void cn_prompt_pieces_release(struct cn_prompt_pieces *p);
/* False for a BREAK inside of brackets with a weight, which is text. */
bool cn_prompt_is_break(const struct cn_prompt_pieces *p, size_t i);

/* ---- chunks ---- */

struct cn_prompt_chunks {
    int32_t *id;   /* [n, length]: begin, up to length - 2 ids, end, padding */
    float *weight; /* [n, length]: 1 for begin, end and padding */
    int n, length; /* n is at least 1 */
    size_t cap_id, cap_weight;
    const char *misfit; /* as in struct cn_encoded */
};

/* Ids and weights of the pieces, each piece by itself, in chunks of `length` positions. BREAK ends
 * a chunk, also an empty one. A chunk that is full with a comma among its last 20 ids ends after
 * that comma. The vectors of a trigger (triggers may be NULL) stay in one chunk. CN_ETOOBIG for
 * more than max chunks, CN_EINVAL for a weight that is not finite. */
int cn_prompt_chunks(const struct cn_tokenizer *t, const struct cn_triggers *triggers,
                     const struct cn_prompt_pieces *p, int length, int max,
                     struct cn_prompt_chunks *ret, struct cn_err *err);
/* One more chunk, of an empty text. */
void cn_prompt_chunks_add_empty(const struct cn_tokenizer *t, struct cn_prompt_chunks *c);
void cn_prompt_chunks_release(struct cn_prompt_chunks *c);

#endif
