/* What is one token wherever it stands in a text: added tokens, and the words of embeddings. */
#include "base/base.h"
#include "text/text_priv.h"

#include <string.h>

void cn_words_put(struct cn_ids *out, int32_t id)
{
    if (out->n < out->max)
        out->id[out->n] = id;
    out->n++;
}

/* The longest added token at s, or NULL. */
static const struct cn_added *added_at(const struct cn_tokenizer *t, const char *s, size_t len,
                                       enum cn_which which)
{
    const struct cn_added *best = NULL;

    for (size_t i = 0; i < t->n_added; i++) {
        const struct cn_added *a = &t->added[i];

        if (a->text[0] == s[0] && a->len <= len && memcmp(a->text, s, a->len) == 0 &&
            (which == CN_WORDS_ALL || a->normalized == (which == CN_WORDS_NORMALIZED)) &&
            (best == NULL || a->len > best->len))
            best = a;
    }
    return best;
}

bool cn_words_find(struct cn_words *w, const char *s, size_t len, enum cn_which which,
                   struct cn_found *ret)
{
    *ret = (struct cn_found){0};
    if (which != CN_WORDS_NORMALIZED)
        ret->trigger = cn_triggers_at_text(w->triggers, s, len);
    if (ret->trigger != NULL && ret->trigger->n == 0) {
        w->misfit = ret->trigger->name;
        ret->trigger = NULL;
    }
    if (ret->trigger != NULL) {
        ret->len = ret->trigger->token_len;
        return true;
    }
    ret->added = added_at(w->t, s, len, which);
    if (ret->added != NULL)
        ret->len = ret->added->len;
    return ret->added != NULL;
}

void cn_words_put_found(struct cn_words *w, const struct cn_found *f)
{
    if (f->added != NULL)
        cn_words_put(w->out, f->added->id);
    for (int i = 0; f->trigger != NULL && i < f->trigger->n; i++)
        cn_words_put(w->out, f->trigger->first + i);
}
