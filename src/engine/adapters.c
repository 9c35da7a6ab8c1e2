/* The adapters of a job: those of the request's list, then those that tags of its prompt name, as
 * the web UI writes them. Those that can be are rows of a batch, the others an overlay of the base
 * model, which jobs with the same list share (runtime/adapted.h).
 *
 * Tags are read where the prompt is read by the web UI's grammar. <lora:NAME:TEXT:UNET> has two
 * strengths, of the text encoders and of the UNet: the first is 1 unless it is given, the second
 * the same as the first; te=, unet= and lbw= (block weights, or a preset's name) override them.
 * "lyco" means the same. An adapter that is named twice acts twice. */
#include "base/base.h"
#include "engine/job_priv.h"
#include "runtime/adapted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All that a job asks for, before it is looked up. */
struct wanted {
    struct cn_adapter_use use[CN_MAX_ADAPTERS];
    char where[CN_MAX_ADAPTERS][48];
    int n;
};

/* ---- block weights of tags ---- */

/* Of the 17 numbers of SD 1's attentions: the presets of the web UI's extension. */
static const struct {
    const char *name;
    const char *numbers;
} presets[] = {
    {"NONE", "0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"},
    {"ALL", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1"},
    {"INS", "1,1,1,1,0,0,0,0,0,0,0,0,0,0,0,0,0"},
    {"IND", "1,0,0,0,1,1,1,0,0,0,0,0,0,0,0,0,0"},
    {"INALL", "1,1,1,1,1,1,1,0,0,0,0,0,0,0,0,0,0"},
    {"MIDD", "1,0,0,0,1,1,1,1,1,1,1,1,0,0,0,0,0"},
    {"OUTD", "1,0,0,0,0,0,0,0,1,1,1,1,0,0,0,0,0"},
    {"OUTS", "1,0,0,0,0,0,0,0,0,0,0,0,1,1,1,1,1"},
    {"OUTALL", "1,0,0,0,0,0,0,0,1,1,1,1,1,1,1,1,1"},
    {"ALL0.5", "0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5"},
};

/* A number and nothing else. */
static int read_number(const char *text, double *ret, struct cn_err *err)
{
    double v;

    if (!cn_prompt_tag_number(text, &v) ||
        !(v >= -CN_MAX_ADAPTER_STRENGTH && v <= CN_MAX_ADAPTER_STRENGTH))
        return cn_fail_at(err, CN_EINVAL, "/prompt",
                          "\"%.40s\" of a tag is no number between %d and %d", text,
                          -CN_MAX_ADAPTER_STRENGTH, CN_MAX_ADAPTER_STRENGTH);
    *ret = v;
    return CN_OK;
}

static int read_blocks(const char *text, struct cn_spec_adapter *a, struct cn_err *err)
{
    const char *list = text;
    int rc = CN_OK;

    for (size_t i = 0; i < CN_LEN(presets); i++)
        if (strcmp(text, presets[i].name) == 0)
            list = presets[i].numbers;
    while (rc == CN_OK && a->n_blocks < CN_BLOCK_WEIGHTS) {
        size_t len = strcspn(list, ",");
        char number[32];

        snprintf(number, sizeof(number), "%.*s", (int)CN_MIN(len, sizeof(number) - 1), list);
        rc = read_number(number, &a->block[a->n_blocks++], err);
        if (list[len] == '\0') {
            list = "";
            break;
        }
        list += len + 1;
    }
    if (rc == CN_OK && (list[0] != '\0' || !cn_spec_block_count_ok(a->n_blocks)))
        rc = cn_fail_at(err, CN_EINVAL, "/prompt",
                        "lbw of a tag: 12, 17, 20 or 26 numbers are accepted, or a preset's name");
    return rc;
}

/* ---- the list ---- */

static int add(struct cn_job *j, struct wanted *w, const struct cn_spec_adapter *a,
               const char *where, struct cn_err *err)
{
    const struct cn_adapter_entry *x = cn_adapters_find(&j->e->rt.adapters, a->name);
    struct cn_adapter_use *u = &w->use[w->n];

    if (x == NULL)
        return cn_fail_at(err, CN_ENOTFOUND, where, "there is no adapter \"%s\"", a->name);
    if (x->broken != NULL)
        return cn_fail_at(err, CN_EFORMAT, where, "adapter \"%s\" cannot be used: %s", a->name,
                          x->broken);
    if (w->n == CN_MAX_ADAPTERS)
        return cn_fail_at(err, CN_EINVAL, where, "at most %d adapters are accepted",
                          CN_MAX_ADAPTERS);
    *u = (struct cn_adapter_use){.entry = x,
                                 .unet = a->strength,
                                 .text = a->has_text ? a->text_strength : a->strength};
    cn_spec_adapter_blocks(a, u->block);
    snprintf(w->where[w->n++], sizeof(w->where[0]), "%s", where);
    return CN_OK;
}

/* What none of the web UI's own tags has, or we do not do. */
static int check_keys(const struct cn_prompt_tag *t, struct cn_err *err)
{
    static const char *const known[] = {"te", "unet", "lbw"};

    for (int i = 0; i < t->n_named; i++) {
        size_t k = 0;

        while (k < CN_LEN(known) && strcmp(t->key[i], known[k]) != 0)
            k++;
        if (k == CN_LEN(known))
            return cn_fail_at(err, CN_EINVAL, "/prompt", "\"%.40s=\" of a tag is not supported",
                              t->key[i]);
    }
    if (t->n_words < 1 || t->n_words > 3)
        return cn_fail_at(err, CN_EINVAL, "/prompt",
                          "a tag <%.20s:...> has a name, and at most two strengths", t->type);
    return CN_OK;
}

static int add_tag(struct cn_job *j, struct wanted *w, const struct cn_prompt_tag *t,
                   struct cn_err *err)
{
    const char *te = cn_prompt_tag_value(t, "te"), *unet = cn_prompt_tag_value(t, "unet");
    const char *blocks = cn_prompt_tag_value(t, "lbw");
    struct cn_spec_adapter a = {.has_text = true, .text_strength = 1};
    int rc = check_keys(t, err);

    if (rc < 0)
        return rc;
    a.name = t->word[0];
    if (te == NULL && t->n_words > 1)
        te = t->word[1];
    if (unet == NULL && t->n_words > 2)
        unet = t->word[2];
    if (te != NULL && (rc = read_number(te, &a.text_strength, err)) < 0)
        return rc;
    a.strength = a.text_strength;
    if ((unet != NULL && (rc = read_number(unet, &a.strength, err)) < 0) ||
        (blocks != NULL && (rc = read_blocks(blocks, &a, err)) < 0))
        return rc;
    return add(j, w, &a, "/prompt", err);
}

/* The prompt without its tags becomes the job's. */
static int read_tags(struct cn_job *j, struct wanted *w, struct cn_err *err)
{
    struct cn_prompt_tags tags;
    int rc = CN_OK;

    cn_prompt_tags(j->spec->prompt, &tags);
    j->prompt = cn_arena_strdup(&j->arena, tags.text);
    for (size_t i = 0; i < tags.n && rc == CN_OK; i++) {
        const char *type = tags.tag[i].type;

        if (strcmp(type, "lora") == 0 || strcmp(type, "lyco") == 0)
            rc = add_tag(j, w, &tags.tag[i], err);
        else
            rc = cn_fail_at(err, CN_EINVAL, "/prompt", "tags <%.40s:...> are not supported", type);
    }
    cn_prompt_tags_release(&tags);
    return rc;
}

int cn_job_find_adapters(struct cn_job *j, struct cn_err *err)
{
    struct wanted w = {.n = 0};
    char where[48];
    int rc = CN_OK, bad = 0;

    j->prompt = j->spec->prompt;
    for (int i = 0; i < j->spec->n_adapters && rc == CN_OK; i++) {
        snprintf(where, sizeof(where), "/adapters/%d/name", i);
        rc = add(j, &w, &j->spec->adapter[i], where, err);
    }
    if (rc == CN_OK && j->spec->prompt_syntax == CN_PROMPT_A1111)
        rc = read_tags(j, &w, err);
    if (rc < 0 || w.n == 0)
        return rc;
    rc = cn_adapted_new(&j->e->rt, j->base, w.use, w.n, &j->adapted, &bad, err);
    if (rc < 0) {
        cn_err_prefix(err, "adapter \"%s\" cannot be used with model \"%s\"",
                      w.use[bad].entry->name, j->base->name);
        if (err != NULL)
            snprintf(err->where, sizeof(err->where), "%s", w.where[bad]);
    }
    return rc;
}

struct cn_network *cn_job_network(const struct cn_job *j, enum cn_component comp)
{
    if (j->adapted != NULL)
        return cn_adapted_net(j->adapted, comp);
    return comp == CN_COMP_UNET ? &j->base->unet : &j->base->text[comp - CN_COMP_TEXT].net;
}

int cn_job_adapters(const struct cn_job *j, enum cn_component comp, int row, int rows,
                    struct cn_row_adapter *ret)
{
    return cn_adapted_rows(j->adapted, comp, row, rows, ret);
}

int cn_job_net_adapters(const struct cn_job *j, const struct cn_net_inputs *b, int rows,
                        struct cn_row_adapter *ret)
{
    return b->of.kind == CN_NET_UNET ? cn_job_adapters(j, CN_COMP_UNET, 0, rows, ret) : 0;
}

void cn_job_warn_of_adapters(const struct cn_job *j)
{
    if (j->adapted == NULL || j->cb.warning == NULL || j->warned)
        return;
    for (int i = 0; i < j->adapted->n; i++) {
        const struct cn_fitted *a = j->adapted->adapter[i].of;
        char text[CN_WARNING_TEXT], where[48] = "/prompt";

        if (a->match.matched_keys == a->match.keys)
            continue;
        if (i < j->spec->n_adapters)
            snprintf(where, sizeof(where), "/adapters/%d/name", i);
        snprintf(text, sizeof(text), "%zu of the %zu tensors of \"%.60s\" fit the model",
                 a->match.matched_keys, a->match.keys, a->name);
        j->cb.warning(j->cb.ctx, CN_WARN_ADAPTER_PARTLY, where, text);
    }
}
