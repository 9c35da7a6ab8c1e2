/* What the engine has, as the wire says it. */
#include "base/base.h"
#include "worker/facts.h"
#include "base/log.h"
#include "base/mem.h"
#include "image/annotate.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    WAITING = 2 /* jobs beyond the lanes: their pictures are read while others are drawn */
};

/* Why a model is broken, for clients: its files are named by the model, not by where they lie. */
static void tell_broken(const char *broken, const char *path, const char *name, char *text,
                        size_t size)
{
    size_t at = 0, skip = strlen(path);
    const char *p = broken != NULL ? broken : "";

    while (*p != '\0' && at + 1 < size) {
        if (skip > 0 && strncmp(p, path, skip) == 0) {
            at += (size_t)snprintf(text + at, size - at, "%s", name);
            p += skip;
        } else {
            text[at++] = *p++;
        }
    }
    text[CN_MIN(at, size - 1)] = '\0';
}

static void describe_model(const struct cn_engine *e, const struct cn_model_facts *m,
                           struct cn_model_info *ret)
{
    static const enum cn_model_kind kind[] = {[CN_ROLE_BASE] = CN_MODEL_BASE,
                                              [CN_ROLE_CONTROL] = CN_MODEL_CONTROLNET,
                                              [CN_ROLE_VAE] = CN_MODEL_VAE};
    const char *chosen = cn_engine_default(e);

    memset(ret, 0, sizeof(*ret));
    snprintf(ret->name, sizeof(ret->name), "%s", m->name);
    snprintf(ret->family, sizeof(ret->family), "%s", m->family);
    snprintf(ret->annotator, sizeof(ret->annotator), "%s",
             m->role == CN_ROLE_CONTROL ? cn_annotator_of_model(m->name) : "");
    ret->kind = kind[m->role];
    ret->width = m->width;
    ret->height = m->height;
    ret->multiple = m->multiple;
    ret->latent_channels = m->latent_channels;
    ret->guidance = m->guidance;
    ret->tiny_decoder = m->tiny_decoder;
    ret->parameters = m->parameters;
    ret->bytes = m->bytes;
    tell_broken(m->broken, m->path, m->name, ret->broken, sizeof(ret->broken));
    ret->is_default = m->role == CN_ROLE_BASE && chosen != NULL && strcmp(chosen, m->name) == 0;
}

static void describe_params(const struct cn_annotator *from, struct cn_annotator_info *ret)
{
    _Static_assert((int)CN_ANNOTATOR_PARAMS <= (int)CN_MAX_ANNOTATOR_PARAMS, "they fit");

    ret->takes_mask = from->hides;
    for (; ret->n_params < from->n_params; ret->n_params++) {
        const struct cn_annotator_param *p = &from->param[ret->n_params];
        struct cn_annotator_param_info *to = &ret->param[ret->n_params];

        snprintf(to->name, sizeof(to->name), "%s", p->name);
        snprintf(to->title, sizeof(to->title), "%s", p->help);
        to->min = p->min;
        to->max = p->max;
        to->preset = p->def;
        to->real = p->real;
    }
}

static void describe_annotators(const struct cn_engine *e, struct cn_msg_hello *ret)
{
    int n = cn_engine_annotators(e);

    ret->annotator = cn_xcalloc((size_t)n, sizeof(*ret->annotator));
    for (int i = 0; i < n; i++) {
        const struct cn_engine_annotator *from = cn_engine_annotator_at(e, i);
        struct cn_annotator_info *a = &ret->annotator[ret->n_annotators];

        if (strcmp(from->name, "none") == 0)
            continue;
        snprintf(a->name, sizeof(a->name), "%s", from->name);
        snprintf(a->title, sizeof(a->title), "%s", from->help);
        a->network = from->graph != NULL;
        if (from->function != NULL)
            describe_params(from->function, a);
        ret->n_annotators++;
    }
}

/* As many as fit into a message. */
static int describe_embeddings(const struct cn_engine *e, struct cn_embedding_info **ret)
{
    int n = CN_MIN(cn_engine_embeddings(e), CN_WIRE_MAX_EMBEDDINGS);

    *ret = cn_xcalloc((size_t)n + 1, sizeof(**ret));
    for (int i = 0; i < n; i++) {
        const struct cn_embedding *from = cn_engine_embedding_at(e, i);
        struct cn_embedding_info *to = &(*ret)[i];

        snprintf(to->name, sizeof(to->name), "%s", from->name);
        snprintf(to->token, sizeof(to->token), "%s", from->token);
        to->vectors = from->vectors;
        to->width = from->width[0];
        to->width_2 = from->width[1];
        tell_broken(from->broken, from->path, from->name, to->broken, sizeof(to->broken));
    }
    return n;
}

static void describe_adapter(const struct cn_adapter_entry *from, struct cn_adapter_info *to)
{
    const char *alias = from->alias != NULL ? from->alias : "";

    snprintf(to->name, sizeof(to->name), "%s", from->name);
    if (strlen(alias) < sizeof(to->alias))
        snprintf(to->alias, sizeof(to->alias), "%s", alias);
    snprintf(to->kind, sizeof(to->kind), "%s", from->kinds);
    snprintf(to->family, sizeof(to->family), "%s", cn_family_name(from->family));
    snprintf(to->base, sizeof(to->base), "%s", from->base);
    snprintf(to->triggers, sizeof(to->triggers), "%s", from->triggers);
    to->rank_min = (int)CN_MIN(from->rank_min, INT_MAX);
    to->rank_max = (int)CN_MIN(from->rank_max, INT_MAX);
    to->layers = (int)CN_MIN(from->layers, INT_MAX);
    to->unet = from->unet;
    to->text = from->text;
    to->bytes = from->bytes;
    tell_broken(from->broken, from->path, from->name, to->broken, sizeof(to->broken));
}

/* As many as fit into a message. */
static int describe_adapters(const struct cn_engine *e, struct cn_adapter_info **ret)
{
    int n = CN_MIN(cn_engine_adapters(e), CN_WIRE_MAX_ADAPTERS);

    *ret = cn_xcalloc((size_t)n + 1, sizeof(**ret));
    for (int i = 0; i < n; i++)
        describe_adapter(cn_engine_adapter_at(e, i), &(*ret)[i]);
    return n;
}

/* As many as fit into a message. */
static int describe_models(const struct cn_engine *e, struct cn_model_info **ret)
{
    int n = CN_MIN(cn_engine_count(e), CN_WIRE_MAX_MODELS);

    *ret = cn_xcalloc((size_t)CN_MAX(n, 1), sizeof(**ret));
    for (int i = 0; i < n; i++) {
        struct cn_model_facts m;

        cn_engine_at(e, i, &m);
        describe_model(e, &m, &(*ret)[i]);
    }
    return n;
}

static int describe_passed(const struct cn_engine *e, struct cn_passed_over **ret)
{
    int n = CN_MIN(cn_engine_passed_count(e), CN_WIRE_MAX_PASSED);

    *ret = cn_xcalloc((size_t)CN_MAX(n, 1), sizeof(**ret));
    for (int i = 0; i < n; i++) {
        const struct cn_passed *p = cn_engine_passed_at(e, i);

        snprintf((*ret)[i].name, sizeof((*ret)[i].name), "%s", p->name);
        snprintf((*ret)[i].why, sizeof((*ret)[i].why), "%s", p->why);
    }
    return n;
}

void cn_facts_log_broken(const struct cn_engine *e)
{
    struct cn_model_facts m;

    for (int i = 0; i < cn_engine_count(e); i++) {
        cn_engine_at(e, i, &m);
        if (m.broken != NULL)
            cn_log(CN_LOG_WARNING, "worker.model_broken", m.broken, "model=%s", m.name);
    }
}

void cn_facts_log_broken_embeddings(const struct cn_engine *e)
{
    for (int i = 0; i < cn_engine_embeddings(e); i++) {
        const struct cn_embedding *x = cn_engine_embedding_at(e, i);

        if (x->broken != NULL)
            cn_log(CN_LOG_WARNING, "worker.embedding_broken", x->broken, "embedding=%s", x->name);
    }
}

void cn_facts_log_broken_adapters(const struct cn_engine *e)
{
    int n = cn_engine_adapters(e);

    for (int i = 0; i < n; i++) {
        const struct cn_adapter_entry *x = cn_engine_adapter_at(e, i);

        if (x->broken != NULL)
            cn_log(CN_LOG_WARNING, "worker.adapter_broken", x->broken, "adapter=%s", x->name);
    }
    if (n > CN_WIRE_MAX_ADAPTERS)
        cn_log(CN_LOG_WARNING, "worker.adapters_cut",
               "there are more adapters than can be listed: requests can only name the first",
               "adapters=%d listed=%d", n, CN_WIRE_MAX_ADAPTERS);
}

int cn_facts_hello(const struct cn_engine *e, struct cn_msg_hello *ret, struct cn_err *err)
{
    if (cn_engine_default(e) == NULL)
        return cn_fail(err, CN_ENOTFOUND, "there is no base model in the directories of models");
    snprintf(ret->backend, sizeof(ret->backend), "%s", cn_engine_backend(e));
    snprintf(ret->device, sizeof(ret->device), "%s", cn_engine_device(e));
    if (ret->device[0] == '\0')
        snprintf(ret->device, sizeof(ret->device), "CPU, %ld processors",
                 sysconf(_SC_NPROCESSORS_ONLN));
    snprintf(ret->build, sizeof(ret->build), "%s", PACKAGE_VERSION);
    ret->lanes = cn_engine_options(e)->lanes;
    ret->capacity = ret->lanes + WAITING;
    cn_facts_log_broken(e);
    cn_facts_log_broken_embeddings(e);
    cn_facts_log_broken_adapters(e);
    ret->n_models = describe_models(e, &ret->model);
    describe_annotators(e, ret);
    ret->n_embeddings = describe_embeddings(e, &ret->embedding);
    ret->n_adapters = describe_adapters(e, &ret->adapter);
    return CN_OK;
}

void cn_facts_catalog(const struct cn_engine *e, struct cn_model_changes n,
                      struct cn_msg_catalog *ret)
{
    *ret = (struct cn_msg_catalog){.added = CN_MIN(n.added, CN_WIRE_MAX_MODELS),
                                   .changed = CN_MIN(n.changed, CN_WIRE_MAX_MODELS),
                                   .removed = CN_MIN(n.removed, CN_WIRE_MAX_MODELS)};
    ret->n_models = describe_models(e, &ret->model);
    ret->n_passed = describe_passed(e, &ret->passed);
    ret->n_adapters = describe_adapters(e, &ret->adapter);
    ret->n_embeddings = describe_embeddings(e, &ret->embedding);
}
