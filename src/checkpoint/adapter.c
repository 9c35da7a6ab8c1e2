/* An opened file of an adapter: its tensors, sorted into parts. */
#include "base/base.h"
#include "checkpoint/adapter_priv.h"
#include "base/file.h"
#include "base/json.h"
#include "base/strmap.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char peft_config[] = "adapter_config.json";
static const char *const peft_weights[] = {"adapter_model.safetensors", "adapter_model.bin"};

/* ---- parts ---- */

static bool has(const struct cn_adapter_part *p, enum cn_adapter_role role)
{
    return p->roles >> role & 1;
}

static void strange(struct cn_adapter *a, const char *name)
{
    if (a->strange++ == 0)
        a->first_strange = name;
}

/* The part of this component and site; a new one when there is none. index: site -> number + 1. */
static struct cn_adapter_part *part_of(struct cn_adapter *a, struct cn_strmap *index,
                                       const struct cn_adapter_key *k, const char *name)
{
    char *key = cn_xprintf("%d %s", (int)k->comp, k->site);
    uintptr_t at = (uintptr_t)cn_strmap_get(index, key);

    if (at == 0) {
        a->part = cn_grow(a->part, a->n_parts, &a->parts_cap, sizeof(*a->part));
        a->part[a->n_parts++] = (struct cn_adapter_part){
            .comp = k->comp,
            .site = cn_arena_strdup(&a->arena, k->site),
            .key = name,
            .form = CN_ADAPTER_FORM_COUNT,
        };
        at = a->n_parts;
        cn_strmap_add(index, key, (void *)at); /* a number, not a pointer */
    }
    free(key);
    return &a->part[at - 1];
}

static void add_tensor(struct cn_adapter *a, struct cn_strmap *index,
                       const struct cn_tensor_view *v)
{
    struct cn_adapter_key k;
    enum cn_adapter_word word = cn_adapter_read_key(v->name, &k);
    struct cn_adapter_part *p;

    if (word == CN_KEY_NOTHING)
        return;
    a->keys++;
    if (word == CN_KEY_STRANGE) {
        strange(a, v->name);
        return;
    }
    p = part_of(a, index, &k, v->name);
    if (has(p, k.role) || (k.form != p->form && k.form != CN_ADAPTER_FORM_COUNT &&
                           p->form != CN_ADAPTER_FORM_COUNT && k.form != CN_ADAPTER_FULL &&
                           p->form != CN_ADAPTER_FULL)) {
        strange(a, v->name);
        return;
    }
    /* A difference of the bias may stand beside any form of the weight. */
    if (k.form != CN_ADAPTER_FORM_COUNT &&
        (p->form == CN_ADAPTER_FORM_COUNT || p->form == CN_ADAPTER_FULL))
        p->form = k.form;
    p->roles |= 1u << k.role;
    p->tensor[k.role] = *v;
}

#define R(role) (1u << CN_ROLE_##role)

/* Roles of which one set must be there. */
static const struct {
    enum cn_adapter_form form;
    unsigned roles;
} complete[] = {
    {CN_ADAPTER_LORA, R(UP) | R(DOWN)},
    {CN_ADAPTER_LOHA, R(W1_A) | R(W1_B) | R(W2_A) | R(W2_B)},
    {CN_ADAPTER_LOKR, R(W1) | R(W2)},
    {CN_ADAPTER_LOKR, R(W1_A) | R(W1_B) | R(W2)},
    {CN_ADAPTER_LOKR, R(W1) | R(W2_A) | R(W2_B)},
    {CN_ADAPTER_LOKR, R(W1_A) | R(W1_B) | R(W2_A) | R(W2_B)},
    {CN_ADAPTER_IA3, R(SCALES) | R(ON_INPUT)},
    {CN_ADAPTER_OFT, R(BLOCKS)},
    {CN_ADAPTER_OFT, R(DIAG)},
    {CN_ADAPTER_GLORA, R(A1) | R(A2) | R(B1) | R(B2)},
    {CN_ADAPTER_FULL, R(DIFF)},
    {CN_ADAPTER_FULL, R(DIFF_BIAS)},
};

static bool is_complete(const struct cn_adapter_part *p)
{
    for (size_t i = 0; i < CN_LEN(complete); i++)
        if (complete[i].form == p->form && (p->roles & complete[i].roles) == complete[i].roles)
            return true;
    return false;
}

/* Parts that lack what their form needs are no parts: their keys are strange. */
static void drop_incomplete(struct cn_adapter *a)
{
    size_t n = 0;

    for (size_t i = 0; i < a->n_parts; i++) {
        struct cn_adapter_part *p = &a->part[i];

        if (p->form == CN_ADAPTER_OFT && has(p, CN_ROLE_BLOCKS) &&
            p->tensor[CN_ROLE_BLOCKS].rank == 4)
            p->form = CN_ADAPTER_BOFT;
        else if (!is_complete(p)) {
            for (int r = 0; r < CN_ROLE_COUNT; r++)
                if (has(p, (enum cn_adapter_role)r))
                    strange(a, p->tensor[r].name);
            continue;
        }
        a->part[n++] = *p;
    }
    a->n_parts = n;
}

static void read_parts(struct cn_adapter *a)
{
    struct cn_strmap index;
    struct cn_tensor_view v;

    cn_strmap_init(&index);
    for (size_t i = 0; i < cn_tensor_file_count(a->file); i++) {
        cn_tensor_file_at(a->file, i, &v);
        add_tensor(a, &index, &v);
    }
    cn_strmap_release(&index);
    drop_incomplete(a);
}

/* ---- files ---- */

char *cn_adapter_in_dir(const char *dir)
{
    char *path = cn_xprintf("%s/%s", dir, peft_config);
    bool there = cn_file_exists(path);

    free(path);
    for (size_t i = 0; i < CN_LEN(peft_weights) && there; i++) {
        path = cn_xprintf("%s/%s", dir, peft_weights[i]);
        if (cn_file_exists(path))
            return path;
        free(path);
    }
    return NULL;
}

/* adapter_config.json beside a file that has the name of PEFT's; NULL: there is none. */
static char *config_beside(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *config;

    for (size_t i = 0; i < CN_LEN(peft_weights); i++)
        if (strcmp(name, peft_weights[i]) == 0) {
            config = cn_xprintf("%.*s%s", (int)(name - path), path, peft_config);
            if (cn_file_exists(config))
                return config;
            free(config);
        }
    return NULL;
}

static int read_adapter(struct cn_adapter *a, const char *path, struct cn_err *err)
{
    char *config;
    int rc;

    cn_tensor_file_classify(a->file, &a->is);
    if (a->is.kind != CN_FILE_LORA)
        return cn_fail(err, CN_EFORMAT, "\"%s\" is %s and not an adapter", path,
                       a->is.what[0] != '\0' ? a->is.what : "of no known kind");
    read_parts(a);
    if (a->n_parts == 0)
        return cn_fail(err, CN_EFORMAT,
                       "\"%s\": none of its %zu tensors is understood as an adapter's (the first "
                       "is \"%s\")",
                       path, a->keys, a->first_strange ? a->first_strange : "");
    config = config_beside(path);
    rc = cn_adapter_find_scales(a, config, err);
    free(config);
    return rc;
}

int cn_adapter_open(const char *path, struct cn_adapter **ret, struct cn_err *err)
{
    struct cn_adapter *a = cn_xcalloc(1, sizeof(*a));
    char *inside = cn_dir_exists(path) ? cn_adapter_in_dir(path) : NULL;
    const char *file = inside != NULL ? inside : path;
    int rc;

    cn_arena_init(&a->arena);
    rc = cn_tensor_file_open(file, &a->file, err);
    if (rc == CN_OK)
        rc = read_adapter(a, file, err);
    free(inside);
    if (rc < 0)
        cn_adapter_close(a);
    else
        *ret = a;
    return rc;
}

void cn_adapter_close(struct cn_adapter *a)
{
    if (a == NULL)
        return;
    if (a->file != NULL)
        cn_tensor_file_close(a->file);
    cn_arena_release(&a->arena);
    free(a->part);
    free(a);
}

/* ---- what people are told ---- */

const char *cn_adapter_form_name(enum cn_adapter_form form)
{
    static const char *const names[CN_ADAPTER_FORM_COUNT] = {
        [CN_ADAPTER_LORA] = "LoRA",   [CN_ADAPTER_LOHA] = "LoHa", [CN_ADAPTER_LOKR] = "LoKr",
        [CN_ADAPTER_IA3] = "(IA)3",   [CN_ADAPTER_OFT] = "OFT",   [CN_ADAPTER_BOFT] = "BOFT",
        [CN_ADAPTER_GLORA] = "GLoRA", [CN_ADAPTER_FULL] = "full",
    };

    return (unsigned)form < CN_ADAPTER_FORM_COUNT ? names[form] : "?";
}

static void append(char *text, size_t size, const char *word)
{
    size_t n = strlen(text);

    snprintf(text + n, size - n, "%s%s", n > 0 ? ", " : "", word);
}

void cn_adapter_kinds(const struct cn_adapter *a, char *text, size_t size)
{
    unsigned forms = 0;
    bool dora = false;

    text[0] = '\0';
    for (size_t i = 0; i < a->n_parts; i++) {
        forms |= 1u << a->part[i].form;
        dora = dora || has(&a->part[i], CN_ROLE_MAGNITUDE);
    }
    for (int f = 0; f < CN_ADAPTER_FORM_COUNT; f++)
        if (forms >> f & 1)
            append(text, size, cn_adapter_form_name((enum cn_adapter_form)f));
    if (dora)
        append(text, size, "DoRA");
}

void cn_adapter_ranks(const struct cn_adapter *a, int64_t *ret_min, int64_t *ret_max)
{
    *ret_min = *ret_max = 0;
    for (size_t i = 0; i < a->n_parts; i++) {
        int64_t r = a->part[i].rank;

        if (r > 0 && (*ret_min == 0 || r < *ret_min))
            *ret_min = r;
        *ret_max = CN_MAX(*ret_max, r);
    }
}

/* a + b of counts, which the file chose; INT64_MAX when there is no such number. */
static json_int_t add_counts(json_int_t a, json_int_t b)
{
    json_int_t sum;

    return __builtin_add_overflow(CN_MAX(a, 0), CN_MAX(b, 0), &sum) ? INT64_MAX : sum;
}

/* Sums kohya's {"folder": {"tag": times}} over the folders. */
static json_t *count_tags(const char *text)
{
    json_t *folders = cn_json_load(text, strlen(text), 0, NULL), *sum = json_object(), *tags, *n;
    const char *folder, *tag;

    json_object_foreach(folders, folder, tags)
        json_object_foreach(tags, tag, n)
            if (tag[0] != '\0' && json_is_integer(n))
                json_object_set_new(
                    sum, tag,
                    json_integer(add_counts(json_integer_value(json_object_get(sum, tag)),
                                            json_integer_value(n))));
    json_decref(folders);
    return sum;
}

void cn_adapter_triggers(const struct cn_adapter *a, int max, char *text, size_t size)
{
    const char *phrase = cn_adapter_note(a, "modelspec.trigger_phrase");
    const char *tags = cn_adapter_note(a, "ss_tag_frequency"), *tag, *best;
    json_t *sum, *n;

    text[0] = '\0';
    if (phrase != NULL && phrase[0] != '\0')
        append(text, size, phrase);
    if (text[0] != '\0' || tags == NULL || strlen(tags) > CN_MAX_HEADER)
        return;
    sum = count_tags(tags);
    for (int i = 0; i < max && json_object_size(sum) > 0; i++) {
        json_int_t most = 0;

        best = NULL;
        json_object_foreach(sum, tag, n)
            if (json_integer_value(n) > most) {
                most = json_integer_value(n);
                best = tag;
            }
        if (best == NULL || strlen(text) + strlen(best) + 3 > size)
            break;
        append(text, size, best);
        json_object_del(sum, best);
    }
    json_decref(sum);
}
