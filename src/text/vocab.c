/* Vocabularies: the files of a model's tokenizer directory, checked against each other; and CLIP's
 * own, which comes with the program. */
#include "base/base.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "text/text_priv.h"

#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

enum {
    MAX_MERGES = 49152 - 256 - 2,
    /* CLIP's vocab.json has 860 KB, its text of merges 3.2 MB; jansson takes some 10 times that. */
    MAX_JSON = 4 * 1024 * 1024,
    MAX_MERGES_TEXT = 8 * 1024 * 1024
};

static const char bos_text[] = "<|startoftext|>", eos_text[] = "<|endoftext|>";

bool cn_tok_add(struct cn_tokenizer *t, const char *symbol, int32_t id)
{
    if (!cn_strmap_add(&t->vocab, symbol, (void *)((uintptr_t)id + 1)))
        return false;
    t->size = CN_MAX(t->size, id + 1);
    return true;
}

int32_t cn_tok_id(const struct cn_tokenizer *t, const char *symbol)
{
    return (int32_t)(uintptr_t)cn_strmap_get(&t->vocab, symbol) - 1;
}

/* The next line of *text without its end, or NULL; *text moves on. */
static char *next_line(char **text)
{
    char *line = *text, *end;

    if (*line == '\0')
        return NULL;
    end = strchr(line, '\n');
    *text = end ? end + 1 : line + strlen(line);
    if (end != NULL)
        *end = '\0';
    end = line + strlen(line);
    if (end > line && end[-1] == '\r')
        end[-1] = '\0';
    return line;
}

int cn_tok_merges(struct cn_tokenizer *t, const char *path, char *text, struct cn_err *err)
{
    int number = 1;
    char *line = next_line(&text); /* "#version: 0.2" */

    for (; (line = next_line(&text)) != NULL && number <= MAX_MERGES; number++) {
        char *space = strchr(line, ' ');

        if (line[0] == '\0' && *text == '\0')
            break;
        if (space == NULL || space == line || space[1] == '\0' || strchr(space + 1, ' ') != NULL)
            return cn_fail(err, CN_EFORMAT, "\"%s\": line %d is not two symbols: \"%.60s\"", path,
                           number + 1, line);
        *space = '\0';
        cn_bpe_merge(t->bpe, line, space + 1);
    }
    return CN_OK;
}

int cn_tok_load_json(const char *path, size_t max, size_t flags, json_t **ret, struct cn_err *err)
{
    struct cn_buf b;
    json_error_t je;
    json_t *root = NULL;
    int rc;

    cn_buf_init(&b, max);
    rc = cn_file_read(path, &b, err);
    if (rc == CN_OK) {
        root = cn_json_load((const char *)b.data, b.len, flags, &je);
        if (root == NULL)
            rc = cn_json_fail(&je, path, err);
        else if (!json_is_object(root))
            rc = cn_fail(err, CN_EFORMAT, "\"%s\": not a JSON object", path);
    }
    cn_buf_release(&b);
    if (rc < 0)
        json_decref(root);
    else
        *ret = root;
    return rc;
}

/* As cn_tok_load_json, of a file that need not be there: then *ret is an empty object. */
static int load_optional(const char *dir, const char *name, size_t flags, json_t **ret,
                         struct cn_err *err)
{
    char *path = cn_xprintf("%s/%s", dir, name);
    int rc = CN_OK;

    if (cn_file_exists(path))
        rc = cn_tok_load_json(path, MAX_JSON, flags, ret, err);
    else
        *ret = json_object();
    free(path);
    return rc;
}

static int load_vocab(struct cn_tokenizer *t, const char *path, struct cn_err *err)
{
    const char *symbol;
    json_t *root, *id;
    int rc = cn_tok_load_json(path, MAX_JSON, 0, &root, err);

    if (rc < 0)
        return rc;
    json_object_foreach(root, symbol, id)
    {
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) >= CN_MAX_TOKEN) {
            rc = cn_fail(err, CN_EFORMAT,
                         "\"%s\": the id of \"%.60s\" is not a whole number "
                         "below %d",
                         path, symbol, CN_MAX_TOKEN);
            break;
        }
        cn_tok_add(t, symbol, (int32_t)json_integer_value(id));
    }
    json_decref(root);
    return rc;
}

static int load_merges(struct cn_tokenizer *t, const char *path, struct cn_err *err)
{
    struct cn_buf b;
    int rc;

    cn_buf_init(&b, MAX_MERGES_TEXT);
    rc = cn_file_read(path, &b, err);
    if (rc == CN_OK && b.len == 0)
        rc = cn_fail(err, CN_EFORMAT, "\"%s\" is empty", path);
    if (rc == CN_OK)
        rc = cn_tok_merges(t, path, (char *)b.data, err);
    cn_buf_release(&b);
    return rc;
}

int cn_tok_add_special(struct cn_tokenizer *t, const char *text, const char *seen, int32_t id,
                       const struct cn_added *how, struct cn_err *err)
{
    struct cn_added *a;

    if (seen[0] == '\0')
        return CN_OK;
    for (size_t i = 0; i < t->n_added; i++)
        if (strcmp(t->added[i].text, seen) == 0)
            return CN_OK;
    if (t->n_added == CN_MAX_ADDED)
        return cn_fail(err, CN_ETOOBIG, "more than %d added tokens", CN_MAX_ADDED);
    if (id < 0)
        id = cn_tok_id(t, text) >= 0 ? cn_tok_id(t, text) : t->size;
    cn_tok_add(t, text, id);
    t->size = CN_MAX(t->size, id + 1);
    t->added = cn_grow(t->added, t->n_added, &t->added_cap, sizeof(*t->added));
    a = &t->added[t->n_added++];
    *a = *how;
    a->text = cn_xstrdup(seen);
    a->len = strlen(seen);
    a->id = id;
    return CN_OK;
}

/* An added token: its vocabulary id, or a given one, or the next free one. */
static int add_token(struct cn_tokenizer *t, const char *text, int32_t id, struct cn_err *err)
{
    return cn_tok_add_special(t, text, text, id, &(struct cn_added){0}, err);
}

/* A special token as the configurations spell it: a string, or an object with "content". */
static const char *token_text(json_t *config, const char *key)
{
    json_t *v = json_object_get(config, key);

    if (json_is_object(v))
        v = json_object_get(v, "content");
    return json_string_value(v);
}

/* transformers before 4.34 kept the special tokens in a file of their own, which wins over the
 * configuration unless that one lists the added tokens itself. */
static const char *special(json_t *config, json_t *map, const char *key, const char *otherwise)
{
    const char *s = NULL;

    if (json_object_get(config, "added_tokens_decoder") == NULL)
        s = token_text(map, key);
    if (s == NULL)
        s = token_text(config, key);
    return s ? s : otherwise;
}

/* "added_tokens_decoder": {"49408": {"content": "<style>", ...}} */
static int listed_tokens(struct cn_tokenizer *t, json_t *config, struct cn_err *err)
{
    const char *key;
    json_t *v;
    int rc = CN_OK;

    json_object_foreach(json_object_get(config, "added_tokens_decoder"), key, v)
    {
        const char *text = json_string_value(json_object_get(v, "content"));
        char *end;
        long id = strtol(key, &end, 10);

        if (text == NULL || *end != '\0' || end == key || id < 0 || id >= CN_MAX_TOKEN)
            return cn_fail(err, CN_EFORMAT,
                           "tokenizer_config.json: added_tokens_decoder: "
                           "\"%.40s\" is not an added token",
                           key);
        rc = add_token(t, text, (int32_t)id, err);
        if (rc < 0)
            return rc;
    }
    return rc;
}

/* added_tokens.json: {"<style>": 49408} */
static int older_tokens(struct cn_tokenizer *t, json_t *map, struct cn_err *err)
{
    const char *text;
    json_t *v;

    json_object_foreach(map, text, v)
    {
        json_int_t id = json_is_integer(v) ? json_integer_value(v) : -1;
        int rc;

        if (id < 0 || id >= CN_MAX_TOKEN)
            return cn_fail(err, CN_EFORMAT, "added_tokens.json: \"%.40s\" has no id below %d", text,
                           CN_MAX_TOKEN);
        rc = add_token(t, text, (int32_t)id, err);
        if (rc < 0)
            return rc;
    }
    return CN_OK;
}

static int set_specials(struct cn_tokenizer *t, json_t *config, json_t *map, struct cn_err *err)
{
    const char *text[4] = {
        special(config, map, "bos_token", bos_text), special(config, map, "eos_token", eos_text),
        special(config, map, "unk_token", eos_text), special(config, map, "pad_token", eos_text)};

    for (size_t i = 0; i < CN_LEN(text); i++) {
        int rc = add_token(t, text[i], -1, err);

        if (rc < 0)
            return rc;
    }
    t->bos = cn_tok_id(t, text[0]);
    t->eos = cn_tok_id(t, text[1]);
    t->unknown = cn_tok_id(t, text[2]);
    t->pad = cn_tok_id(t, text[3]);
    if (t->bos < 0 || t->eos < 0 || t->unknown < 0 || t->pad < 0)
        return cn_fail(err, CN_EFORMAT, "an empty special token");
    return CN_OK;
}

/* Settings of CLIPTokenizer that are done in one way here. What else the file may say concerns
 * decoding, or names what other files hold. */
static int check_settings(struct cn_tokenizer *t, const json_t *config, struct cn_err *err)
{
    static const char *const sides[] = {"padding_side", "truncation_side"};
    const json_t *most = json_object_get(config, "model_max_length");

    for (size_t i = 0; i < CN_LEN(sides); i++) {
        const char *side = json_string_value(json_object_get(config, sides[i]));

        if (side != NULL && strcmp(side, "right") != 0)
            return cn_fail(err, CN_EINVAL,
                           "tokenizer_config.json: \"%s\": \"%.40s\" is not supported", sides[i],
                           side);
    }
    if (json_is_true(json_object_get(config, "split_special_tokens")))
        return cn_fail(err, CN_EINVAL,
                       "tokenizer_config.json: \"split_special_tokens\": true is not supported");
    if (json_is_number(most) && json_number_value(most) < INT_MAX)
        t->max_length = (int)json_number_value(most);
    return CN_OK;
}

int cn_tok_load_specials(struct cn_tokenizer *t, const char *dir, struct cn_err *err)
{
    json_t *config = NULL, *map = NULL, *older = NULL;
    /* "model_max_length": 1000000000000000019884624838656, where nobody said one */
    int rc = load_optional(dir, "tokenizer_config.json", JSON_DECODE_INT_AS_REAL, &config, err);

    if (rc == CN_OK)
        rc = check_settings(t, config, err);
    if (rc == CN_OK)
        rc = load_optional(dir, "special_tokens_map.json", 0, &map, err);
    if (rc == CN_OK)
        rc = load_optional(dir, "added_tokens.json", 0, &older, err);
    if (rc == CN_OK)
        rc = listed_tokens(t, config, err);
    if (rc == CN_OK && json_object_get(config, "added_tokens_decoder") == NULL)
        rc = older_tokens(t, older, err);
    if (rc == CN_OK)
        rc = set_specials(t, config, map, err);
    if (rc < 0)
        cn_err_prefix(err, "\"%s\"", dir);
    json_decref(config);
    json_decref(map);
    json_decref(older);
    return rc;
}

int cn_tok_load_dir(struct cn_tokenizer *t, const char *dir, struct cn_err *err)
{
    char *vocab = cn_xprintf("%s/vocab.json", dir), *merges = cn_xprintf("%s/merges.txt", dir);
    int rc = load_vocab(t, vocab, err);

    if (rc == CN_OK)
        rc = load_merges(t, merges, err);
    if (rc == CN_OK)
        rc = cn_tok_load_specials(t, dir, err);
    free(vocab);
    free(merges);
    return rc;
}

static int read_gzip(const char *path, struct cn_buf *out, struct cn_err *err)
{
    gzFile f = gzopen(path, "rbe");
    char chunk[16384];
    int n, rc = CN_OK;

    if (f == NULL)
        return cn_fail(err, CN_ENOTFOUND, "cannot open \"%s\"", path);
    while (rc == CN_OK && (n = gzread(f, chunk, sizeof(chunk))) > 0)
        rc = cn_buf_add(out, chunk, (size_t)n, err);
    if (rc == CN_OK && n < 0)
        rc = cn_fail(err, CN_EFORMAT, "cannot read \"%s\": not gzip, or damaged", path);
    gzclose(f);
    return rc;
}

int cn_tok_load_clip(struct cn_tokenizer *t, const char *dir, struct cn_err *err)
{
    char *path = cn_xprintf("%s/bpe_simple_vocab_16e6.txt.gz", dir);
    const char *symbol;
    struct cn_buf b;
    int32_t id = 0;
    int rc;

    cn_buf_init(&b, MAX_MERGES_TEXT);
    rc = read_gzip(path, &b, err);
    if (rc == CN_OK && b.len == 0)
        rc = cn_fail(err, CN_EFORMAT, "\"%s\" is empty", path);
    if (rc == CN_OK)
        rc = cn_tok_merges(t, path, (char *)b.data, err);
    if (rc == CN_OK) {
        for (; (symbol = cn_bpe_symbol(t->bpe, (size_t)id)) != NULL; id++)
            cn_tok_add(t, symbol, id);
        cn_tok_add(t, bos_text, id);
        cn_tok_add(t, eos_text, id + 1);
        rc = set_specials(t, NULL, NULL, err);
    }
    cn_buf_release(&b);
    free(path);
    return rc;
}
