/* What whoever asked for a job should know although nothing failed: a prompt that was cut, a field
 * without effect. A small bounded list, from the worker and from the front to every answer. Owned
 * by whoever holds the struct; any thread, one at a time.
 *
 *     struct cn_warnings w = {0};
 *     cn_warnings_add(&w, CN_WARN_NO_EFFECT, "/eta", "only the sampler ddim has it");
 *     for (int i = 0; i < w.n; i++) puts(cn_enum_warning.name[w.item[i].code]);
 *     cn_warnings_release(&w);
 */
#ifndef CN_BASE_WARNINGS_H
#define CN_BASE_WARNINGS_H

#include "base/base.h"
#include "base/spec.h"

enum {
    CN_MAX_WARNINGS = 16, /* of a job; those that come later are dropped */
    CN_WARNING_WHERE = 64,
    CN_WARNING_TEXT = 160
};

/* For programs; the words are cn_enum_warning's and do not change. */
enum cn_warning_code {
    CN_WARN_PROMPT_TRUNCATED, /* the model reads only the beginning of a text */
    CN_WARN_NO_EFFECT,        /* a field that does nothing beside the others of this request */
    CN_WARN_REDUCED,          /* a number was lowered to what the tenant may have */
    CN_WARN_ADAPTER_PARTLY,   /* not all of an adapter's tensors have a layer in the model */
    CN_WARNING_COUNT
};

extern const struct cn_enum cn_enum_warning;

struct cn_warning {
    enum cn_warning_code code;
    char where[CN_WARNING_WHERE]; /* JSON pointer of the field; "": the request as a whole */
    char text[CN_WARNING_TEXT];   /* for a person; one line of UTF-8 */
};

/* Zeroed: empty. */
struct cn_warnings {
    int n;
    struct cn_warning *item;
};

/* One of the same code and place is there once, with the text of the first. */
void cn_warnings_add(struct cn_warnings *w, enum cn_warning_code code, const char *where,
                     const char *fmt, ...) CN_PRINTF(4, 5);
void cn_warnings_add_all(struct cn_warnings *w, const struct cn_warnings *from);
void cn_warnings_release(struct cn_warnings *w);

/* As text, for the store: a line "code TAB pointer TAB text" each; NULL when there are none.
 * free() it. Reading adds to w; lines that are none are skipped. */
char *cn_warnings_write(const struct cn_warnings *w) CN_MUST_USE;
void cn_warnings_read(struct cn_warnings *w, const char *text);

/* Adds what the description itself tells: its fields that have no effect. Its model is known. */
void cn_spec_warn(const struct cn_spec *s, struct cn_warnings *w);

#endif
