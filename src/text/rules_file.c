/* tokenizer.json: read as far as it describes a tokenizer of CLIP; what it asks for beyond that is
 * refused by its name. */
#include "base/base.h"
#include "base/mem.h"
#include "text/text_priv.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_JSON = 16 * 1024 * 1024 /* CLIP's has 3.6 MB */ };

/* The part that is at fault. */
static int refuse(struct cn_err *err, const char *part, const char *what)
{
    return cn_fail(err, CN_EFORMAT, "%s: %.80s is not supported", part, what);
}

static const char *type_of(const json_t *o)
{
    const char *type = json_string_value(json_object_get(o, "type"));

    return type != NULL ? type : "something without a type";
}

static bool is_type(const json_t *o, const char *type)
{
    return strcmp(type_of(o), type) == 0;
}

/* The members of a Sequence, or the one that stands for itself; NULL after the last. */
static json_t *member(json_t *o, const char *list, size_t i)
{
    if (o == NULL || json_is_null(o))
        return NULL;
    if (is_type(o, "Sequence"))
        return json_array_get(json_object_get(o, list), i);
    return i == 0 ? o : NULL;
}

static const char *regex_of(const json_t *o)
{
    return json_string_value(json_object_get(json_object_get(o, "pattern"), "Regex"));
}

/* ---- normalizer ---- */

static int read_step(struct cn_rules *r, const json_t *o, struct cn_err *err)
{
    const char *regex = regex_of(o), *to = json_string_value(json_object_get(o, "content"));
    enum cn_rule step;

    if (is_type(o, "NFC"))
        step = CN_RULE_NFC;
    else if (is_type(o, "Lowercase"))
        step = CN_RULE_LOWERCASE;
    else if (is_type(o, "Replace") && regex != NULL && strcmp(regex, "\\s+") == 0 && to != NULL &&
             strcmp(to, " ") == 0)
        step = CN_RULE_COLLAPSE;
    else
        return refuse(err, "normalizer", type_of(o));
    if (r->steps == (int)CN_LEN(r->step))
        return refuse(err, "normalizer", "so many steps");
    r->step[r->steps++] = step;
    return CN_OK;
}

static int read_normalizer(struct cn_rules *r, json_t *o, struct cn_err *err)
{
    json_t *m;
    int rc = CN_OK;

    for (size_t i = 0; (m = member(o, "normalizers", i)) != NULL && rc == CN_OK; i++)
        rc = read_step(r, m, err);
    return rc;
}

/* ---- pre-tokenizer ---- */

static const char clip_specials[] = "<\\|startoftext\\|>|<\\|endoftext\\|>|",
                  clip_pattern[] = "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+";

static int read_split(struct cn_rules *r, const json_t *o, struct cn_err *err)
{
    const char *regex = regex_of(o);
    const char *behavior = json_string_value(json_object_get(o, "behavior"));

    if (regex == NULL || behavior == NULL)
        return refuse(err, "pre_tokenizer", "Split without a pattern");
    r->specials = strncmp(regex, clip_specials, strlen(clip_specials)) == 0;
    if (r->specials)
        regex += strlen(clip_specials);
    if (strcmp(regex, clip_pattern) != 0)
        return refuse(err, "pre_tokenizer", regex);
    if (strcmp(behavior, "Removed") != 0 || !json_is_true(json_object_get(o, "invert")))
        return refuse(err, "pre_tokenizer", "Split that does not keep what it matches");
    return CN_OK;
}

/* Split, then ByteLevel. What ByteLevel splits once more, Split has split already, save for special
 * tokens. */
static int read_pre_tokenizer(struct cn_rules *r, json_t *o, struct cn_err *err)
{
    json_t *split = member(o, "pretokenizers", 0), *bytes = member(o, "pretokenizers", 1);

    if (split == NULL || !is_type(split, "Split"))
        return refuse(err, "pre_tokenizer", split != NULL ? type_of(split) : "none");
    if (bytes == NULL || !is_type(bytes, "ByteLevel") || member(o, "pretokenizers", 2) != NULL)
        return refuse(err, "pre_tokenizer", "anything but Split and ByteLevel");
    if (json_is_true(json_object_get(bytes, "add_prefix_space")))
        return refuse(err, "pre_tokenizer", "add_prefix_space");
    r->again = !json_is_false(json_object_get(bytes, "use_regex"));
    return read_split(r, split, err);
}

/* ---- model ---- */

/* A merge is "left right" or ["left", "right"]. */
static int read_merge(struct cn_tokenizer *t, const json_t *m, size_t i, struct cn_err *err)
{
    const char *left = json_string_value(json_array_get(m, 0));
    const char *right = json_string_value(json_array_get(m, 1));
    const char *both = json_string_value(m), *space = both != NULL ? strchr(both, ' ') : NULL;
    char *copy = NULL;

    if (space != NULL && strchr(space + 1, ' ') == NULL) {
        copy = cn_xprintf("%.*s", (int)(space - both), both);
        left = copy;
        right = space + 1;
    }
    if (left == NULL || right == NULL || left[0] == '\0' || right[0] == '\0') {
        free(copy);
        return cn_fail(err, CN_EFORMAT, "model: merge %zu is not two symbols", i);
    }
    cn_bpe_merge(t->bpe, left, right);
    free(copy);
    return CN_OK;
}

static int check_model(const json_t *model, struct cn_err *err)
{
    static const char *const flags[] = {"byte_fallback", "ignore_merges", "fuse_unk"};
    const char *end = json_string_value(json_object_get(model, "end_of_word_suffix"));
    const char *middle = json_string_value(json_object_get(model, "continuing_subword_prefix"));
    const json_t *type = json_object_get(model, "type");

    if (type != NULL && !is_type(model, "BPE"))
        return refuse(err, "model", type_of(model));
    if (end == NULL || strcmp(end, "</w>") != 0)
        return refuse(err, "model", "an end_of_word_suffix other than </w>");
    if (middle != NULL && middle[0] != '\0')
        return refuse(err, "model", "continuing_subword_prefix");
    for (size_t i = 0; i < CN_LEN(flags); i++)
        if (json_is_true(json_object_get(model, flags[i])))
            return refuse(err, "model", flags[i]);
    return CN_OK;
}

static int read_model(struct cn_tokenizer *t, const json_t *model, struct cn_err *err)
{
    json_t *vocab = json_object_get(model, "vocab"), *merges = json_object_get(model, "merges"), *v;
    const char *symbol;
    size_t i;
    int rc = check_model(model, err);

    if (rc == CN_OK && (!json_is_object(vocab) || !json_is_array(merges)))
        rc = cn_fail(err, CN_EFORMAT, "model: vocab or merges are missing");
    if (rc < 0)
        return rc;
    json_object_foreach(vocab, symbol, v)
    {
        json_int_t id = json_is_integer(v) ? json_integer_value(v) : -1;

        if (id < 0 || id >= CN_MAX_TOKEN)
            return cn_fail(err, CN_EFORMAT,
                           "model: the id of \"%.60s\" is not a whole number "
                           "below %d",
                           symbol, CN_MAX_TOKEN);
        cn_tok_add(t, symbol, (int32_t)id);
    }
    json_array_foreach(merges, i, v) if ((rc = read_merge(t, v, i, err)) < 0) return rc;
    return CN_OK;
}

/* ---- added tokens, and what stands around a text ---- */

static bool flag(const json_t *o, const char *key)
{
    return json_is_true(json_object_get(o, key));
}

static int read_added(struct cn_tokenizer *t, json_t *list, struct cn_err *err)
{
    json_t *o;
    size_t i;

    json_array_foreach(list, i, o)
    {
        const char *text = json_string_value(json_object_get(o, "content"));
        const json_t *id = json_object_get(o, "id");
        struct cn_added how = {.normalized = flag(o, "normalized"),
                               .single_word = flag(o, "single_word"),
                               .lstrip = flag(o, "lstrip"),
                               .rstrip = flag(o, "rstrip")};
        char *seen;
        int rc;

        if (text == NULL || !json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) >= CN_MAX_TOKEN)
            return cn_fail(err, CN_EFORMAT, "added_tokens: number %zu is no token", i);
        seen = how.normalized ? cn_rules_normalise(t->rules, text) : cn_xstrdup(text);
        rc = cn_tok_add_special(t, text, seen, (int32_t)json_integer_value(id), &how, err);
        free(seen);
        if (rc < 0)
            return rc;
    }
    return CN_OK;
}

/* "cls" and "sep" are [text, id]; a template names them by their texts. */
static const char *end_token(json_t *post, bool last)
{
    json_t *list = json_object_get(post, "single"), *special;

    if (is_type(post, "RobertaProcessing"))
        return json_string_value(json_array_get(json_object_get(post, last ? "sep" : "cls"), 0));
    special = json_array_get(list, last ? json_array_size(list) - 1 : 0);
    return json_string_value(json_object_get(json_object_get(special, "SpecialToken"), "id"));
}

static int read_post_processor(struct cn_tokenizer *t, json_t *post, struct cn_err *err)
{
    const char *text[2];
    int32_t id[2];

    if (post == NULL || json_is_null(post))
        return CN_OK;
    if (!is_type(post, "RobertaProcessing") &&
        !(is_type(post, "TemplateProcessing") &&
          json_array_size(json_object_get(post, "single")) == 3))
        return refuse(err, "post_processor", type_of(post));
    for (int i = 0; i < 2; i++) {
        text[i] = end_token(post, i == 1);
        id[i] = text[i] != NULL ? cn_tok_id(t, text[i]) : -1;
        if (id[i] < 0)
            return cn_fail(err, CN_EFORMAT, "post_processor: the token at the %s is not there",
                           i == 0 ? "beginning" : "end");
    }
    t->bos = id[0];
    t->eos = id[1];
    return CN_OK;
}

static int read_all(struct cn_tokenizer *t, json_t *root, const char *dir, struct cn_err *err)
{
    json_t *model = json_object_get(root, "model");
    int rc = read_normalizer(t->rules, json_object_get(root, "normalizer"), err);

    if (rc == CN_OK)
        rc = read_pre_tokenizer(t->rules, json_object_get(root, "pre_tokenizer"), err);
    if (rc == CN_OK)
        rc = read_model(t, model, err);
    if (rc == CN_OK)
        rc = read_added(t, json_object_get(root, "added_tokens"), err);
    if (rc == CN_OK)
        rc = cn_tok_load_specials(t, dir, err);
    return rc < 0 ? rc : read_post_processor(t, json_object_get(root, "post_processor"), err);
}

int cn_tok_load_rules(struct cn_tokenizer *t, const char *dir, const char *path, struct cn_err *err)
{
    json_t *root;
    int rc = cn_tok_load_json(path, MAX_JSON, 0, &root, err);

    if (rc < 0)
        return rc;
    t->rules = cn_xcalloc(1, sizeof(*t->rules));
    rc = read_all(t, root, dir, err);
    json_decref(root);
    if (rc < 0)
        cn_err_prefix(err, "\"%s\"", path);
    return rc;
}
