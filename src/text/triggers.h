/* Words of a prompt that stand for vectors of their own (textual inversion).
 *
 * A trigger has two spellings. By the web UI's grammar it is a name: wherever the ids of the name
 * stand in a text, in any case, the vectors stand instead; of several names the longest. In a plain
 * text it is a token, as diffusers has them: these very characters, also inside of a word.
 *
 * Vectors have ids, from CN_FIRST_VECTOR on, beyond those of any vocabulary. A trigger without
 * vectors is known, but not for this model: it stays text, and is reported.
 *
 * Any thread; a list that is complete never changes.
 */
#ifndef CN_TEXT_TRIGGERS_H
#define CN_TEXT_TRIGGERS_H

#include "base/base.h"

enum { CN_FIRST_VECTOR = 1 << 24 };

struct cn_triggers;

struct cn_trigger {
    char *name, *token;
    size_t token_len;
    int32_t *id; /* of the name */
    int n_ids;
    int32_t first; /* id of its first vector */
    int n;         /* vectors; 0: it is not for this model */
};

struct cn_triggers *cn_triggers_new(void);
void cn_triggers_free(struct cn_triggers *t); /* NULL is fine */

/* id: the n_ids that the tokenizer makes of the name. Of two of the same spelling the first counts.
 */
void cn_triggers_add(struct cn_triggers *t, const char *name, const int32_t *id, int n_ids,
                     const char *token, int32_t first, int n);

/* The longest at the beginning of n ids, or of len bytes; NULL: none, also when t is NULL. */
const struct cn_trigger *cn_triggers_at_ids(const struct cn_triggers *t, const int32_t *id, int n);
const struct cn_trigger *cn_triggers_at_text(const struct cn_triggers *t, const char *text,
                                             size_t len);

#endif
