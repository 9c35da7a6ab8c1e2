/* Tags of a prompt: <type:argument:argument...>, which the web UI calls extra networks. They belong
 * to the prompt as a whole, wherever they stand. */
#include "base/base.h"
#include "text/prompt.h"
#include "text/prompt_priv.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* \w of a regular expression; every byte beyond ASCII counts as a letter. */
static bool is_word(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
           (unsigned char)c >= 0x80;
}

/* Length of the tag at s, or 0; *ret_type is the length of its type. */
static size_t tag_length(const char *s, size_t *ret_type)
{
    size_t n = 1, end;

    if (s[0] != '<')
        return 0;
    while (is_word(s[n]))
        n++;
    if (n == 1 || s[n] != ':')
        return 0;
    *ret_type = n - 1;
    end = n + 1 + strcspn(s + n + 1, ">");
    return s[end] == '>' && end > n + 1 ? end + 1 : 0;
}

static char *piece(const char *s, size_t n)
{
    return cn_xprintf("%.*s", (int)n, s);
}

/* "name" or "key=value" */
static void add_argument(struct cn_prompt_tag *t, const char *s, size_t n)
{
    const char *equals = memchr(s, '=', n);
    size_t key = equals != NULL ? (size_t)(equals - s) : 0;

    if (equals == NULL) {
        t->word = cn_xrealloc(t->word, (size_t)(t->n_words + 1) * sizeof(*t->word));
        t->word[t->n_words++] = piece(s, n);
        return;
    }
    t->key = cn_xrealloc(t->key, (size_t)(t->n_named + 1) * sizeof(*t->key));
    t->value = cn_xrealloc(t->value, (size_t)(t->n_named + 1) * sizeof(*t->value));
    t->key[t->n_named] = piece(s, key);
    t->value[t->n_named++] = piece(equals + 1, n - key - 1);
}

/* s: n bytes, "lora:name:0.8" */
static void add_tag(struct cn_prompt_tags *ret, const char *s, size_t n, size_t type)
{
    struct cn_prompt_tag *t;

    ret->tag = cn_grow(ret->tag, ret->n, &ret->cap, sizeof(*ret->tag));
    t = &ret->tag[ret->n++];
    *t = (struct cn_prompt_tag){.type = piece(s, type)};
    for (size_t at = type + 1; at <= n;) {
        const char *colon = memchr(s + at, ':', n - at);
        size_t end = colon != NULL ? (size_t)(colon - s) : n;

        add_argument(t, s + at, end - at);
        at = end + 1;
    }
}

void cn_prompt_tags(const char *text, struct cn_prompt_tags *ret)
{
    size_t len = strlen(text), out = 0, type = 0;

    *ret = (struct cn_prompt_tags){.text = cn_xmalloc(len + 1)};
    for (size_t i = 0, n; i < len;) {
        n = tag_length(text + i, &type);
        if (n > 0) {
            add_tag(ret, text + i + 1, n - 2, type);
            i += n;
        } else {
            ret->text[out++] = text[i++];
        }
    }
    ret->text[out] = '\0';
}

void cn_prompt_tags_release(struct cn_prompt_tags *t)
{
    for (size_t i = 0; i < t->n; i++) {
        struct cn_prompt_tag *x = &t->tag[i];

        for (int k = 0; k < x->n_words; k++)
            free(x->word[k]);
        for (int k = 0; k < x->n_named; k++) {
            free(x->key[k]);
            free(x->value[k]);
        }
        free(x->word);
        free(x->key);
        free(x->value);
        free(x->type);
    }
    free(t->tag);
    free(t->text);
    *t = (struct cn_prompt_tags){NULL, NULL, 0, 0};
}

const char *cn_prompt_tag_value(const struct cn_prompt_tag *t, const char *key)
{
    for (int i = 0; i < t->n_named; i++)
        if (strcmp(t->key[i], key) == 0)
            return t->value[i];
    return NULL;
}

bool cn_prompt_tag_number(const char *text, double *ret)
{
    return text[0] != '\0' && cn_prompt_number(text, strlen(text), ret) == CN_OK;
}
