/* controlnet models: what there is to draw with. */
#include "base/base.h"
#include "cli/cli.h"
#include "runtime/adapters.h"
#include "runtime/embeddings.h"

#include <jansson.h>
#include <string.h>

struct options {
    struct cn_cli_engine_opts engine;
    bool json, help;
};

#define AT(member) .offset = offsetof(struct options, member)

static const struct cn_option table[] = {
    CN_OPTION_HEADING("options"),
    {.kind = CN_OPT_LIST,
     .name = "models",
     .arg = "DIR",
     AT(engine.models),
     .help = "directory of models, repeatable (default: $CONTROLNETD_MODELS, else the installed "
             "ones)"},
    {.kind = CN_OPT_LIST,
     .name = "embeddings",
     .arg = "DIR",
     AT(engine.embeddings),
     .help = "directory of embeddings, repeatable"},
    {.kind = CN_OPT_LIST,
     .name = "adapters",
     .arg = "DIR",
     AT(engine.adapters),
     .help = "directory of adapters (LoRA and its kin), repeatable"},
    {.kind = CN_OPT_FLAG, .name = "json", AT(json), .help = "as JSON"},
    CN_CLI_HELP(struct options),
    CN_OPTION_END};

static const struct cn_cli_help help = {
    .name = "models",
    .usage = "[options]",
    .about = "Lists the models that are there, by the names that --model, --control and\n"
             "--vae take, and embeddings and adapters, by the names that prompts have for\n"
             "them. A ControlNet can be used with base models of its family. What else lies\n"
             "in the directories of models is listed behind them, with the reason why it is\n"
             "no model.\n",
    .options = table};

static const char *kind(const struct cn_model_facts *m)
{
    static const char *const name[] = {
        [CN_ROLE_BASE] = "base", [CN_ROLE_CONTROL] = "controlnet", [CN_ROLE_VAE] = "vae"};

    return m->broken != NULL ? "-" : name[m->role];
}

static void print_row(const struct cn_model_facts *m, int width)
{
    char count[32] = "", bytes[32] = "", size[32] = "";

    printf("%-*s  %-10s  ", width, m->name, kind(m));
    if (m->broken != NULL) {
        printf("cannot be used: %s\n", m->broken);
        return;
    }
    if (m->width > 0)
        snprintf(size, sizeof(size), "%d x %d", m->width, m->height);
    printf("%-20s  %-11s  %13s  %s\n", m->family, size, cn_cli_count(m->parameters, count, 32),
           cn_cli_bytes(m->bytes, bytes, sizeof(bytes)));
}

static void print_embedding(const struct cn_embedding *e, int width)
{
    printf("%-*s  %-10s  ", width, e->name, e->broken != NULL ? "-" : "embedding");
    if (e->broken != NULL)
        printf("cannot be used: %s\n", e->broken);
    else
        printf("%d vector%s of %d%s\n", e->vectors, e->vectors == 1 ? "" : "s", e->width[0],
               e->encoders > 1 ? ", for models with two text encoders" : "");
}

static void print_adapter(const struct cn_adapter_entry *a, int width)
{
    printf("%-*s  %-10s  ", width, a->name, a->broken != NULL ? "-" : "adapter");
    if (a->broken != NULL) {
        printf("cannot be used: %s\n", a->broken);
        return;
    }
    printf("%-20s  %s", cn_family_name(a->family), a->kinds);
    if (a->rank_max > 0 && a->rank_min != a->rank_max)
        printf(" of ranks %lld to %lld", (long long)a->rank_min, (long long)a->rank_max);
    else if (a->rank_max > 0)
        printf(" of rank %lld", (long long)a->rank_max);
    printf(", %zu layers%s%s\n", a->layers, a->triggers[0] != '\0' ? ": " : "", a->triggers);
}

static int print_table(const struct cn_engine *e)
{
    struct cn_model_facts m;
    int width = 4;

    for (int i = 0; i < cn_engine_count(e); i++) {
        cn_engine_at(e, i, &m);
        width = CN_MAX(width, (int)strlen(m.name));
    }
    for (int i = 0; i < cn_engine_embeddings(e); i++)
        width = CN_MAX(width, (int)strlen(cn_engine_embedding_at(e, i)->name));
    for (int i = 0; i < cn_engine_adapters(e); i++)
        width = CN_MAX(width, (int)strlen(cn_engine_adapter_at(e, i)->name));
    printf("%-*s  %-10s  %-20s  %-11s  %13s  %s\n", width, "name", "kind", "family", "size",
           "parameters", "bytes");
    for (int i = 0; i < cn_engine_count(e); i++) {
        cn_engine_at(e, i, &m);
        print_row(&m, width);
    }
    for (int i = 0; i < cn_engine_embeddings(e); i++)
        print_embedding(cn_engine_embedding_at(e, i), width);
    for (int i = 0; i < cn_engine_adapters(e); i++)
        print_adapter(cn_engine_adapter_at(e, i), width);
    for (int i = 0; i < cn_engine_passed_count(e); i++) {
        const struct cn_passed *p = cn_engine_passed_at(e, i);

        printf("%s%s: %s\n", i == 0 ? "\npassed over:\n" : "", p->name, p->why);
    }
    return cn_cli_flush();
}

static json_t *model_json(const struct cn_model_facts *m)
{
    json_t *o = json_object();

    json_object_set_new(o, "name", cn_cli_json_text(m->name));
    json_object_set_new(o, "path", cn_cli_json_text(m->path));
    if (m->broken != NULL) {
        json_object_set_new(o, "broken", cn_cli_json_text(m->broken));
        return o;
    }
    json_object_set_new(o, "kind", json_string(kind(m)));
    json_object_set_new(o, "family", json_string(m->family));
    if (m->role == CN_ROLE_BASE) {
        json_object_set_new(o, "width", json_integer(m->width));
        json_object_set_new(o, "height", json_integer(m->height));
        json_object_set_new(o, "multiple", json_integer(m->multiple));
    }
    json_object_set_new(o, "parameters", json_integer((json_int_t)m->parameters));
    json_object_set_new(o, "bytes", json_integer((json_int_t)m->bytes));
    return o;
}

static json_t *embedding_json(const struct cn_embedding *e)
{
    json_t *o = json_object(), *widths = json_array();

    json_object_set_new(o, "name", cn_cli_json_text(e->name));
    json_object_set_new(o, "path", cn_cli_json_text(e->path));
    if (e->broken != NULL) {
        json_object_set_new(o, "broken", cn_cli_json_text(e->broken));
        json_decref(widths);
        return o;
    }
    json_object_set_new(o, "kind", json_string("embedding"));
    json_object_set_new(o, "token", cn_cli_json_text(e->token));
    json_object_set_new(o, "vectors", json_integer(e->vectors));
    for (int i = 0; i < e->encoders; i++)
        json_array_append_new(widths, json_integer(e->width[i]));
    json_object_set_new(o, "widths", widths);
    return o;
}

static json_t *adapter_json(const struct cn_adapter_entry *a)
{
    json_t *o = json_object();

    json_object_set_new(o, "name", cn_cli_json_text(a->name));
    json_object_set_new(o, "path", cn_cli_json_text(a->path));
    if (a->broken != NULL) {
        json_object_set_new(o, "broken", cn_cli_json_text(a->broken));
        return o;
    }
    json_object_set_new(o, "kind", json_string("adapter"));
    if (a->alias != NULL)
        json_object_set_new(o, "alias", cn_cli_json_text(a->alias));
    json_object_set_new(o, "forms", json_string(a->kinds));
    json_object_set_new(o, "family", json_string(cn_family_name(a->family)));
    json_object_set_new(o, "rank_min", json_integer((json_int_t)a->rank_min));
    json_object_set_new(o, "rank_max", json_integer((json_int_t)a->rank_max));
    json_object_set_new(o, "layers", json_integer((json_int_t)a->layers));
    json_object_set_new(o, "unet", json_boolean(a->unet));
    json_object_set_new(o, "text", json_boolean(a->text));
    json_object_set_new(o, "base", json_string(a->base));
    json_object_set_new(o, "triggers", json_string(a->triggers));
    json_object_set_new(o, "bytes", json_integer((json_int_t)a->bytes));
    return o;
}

static int print_json(const struct cn_engine *e)
{
    json_t *a = json_array();
    struct cn_model_facts m;

    for (int i = 0; i < cn_engine_count(e); i++) {
        cn_engine_at(e, i, &m);
        json_array_append_new(a, model_json(&m));
    }
    for (int i = 0; i < cn_engine_embeddings(e); i++)
        json_array_append_new(a, embedding_json(cn_engine_embedding_at(e, i)));
    for (int i = 0; i < cn_engine_adapters(e); i++)
        json_array_append_new(a, adapter_json(cn_engine_adapter_at(e, i)));
    for (int i = 0; i < cn_engine_passed_count(e); i++) {
        const struct cn_passed *p = cn_engine_passed_at(e, i);
        json_t *o = json_object();

        json_object_set_new(o, "name", cn_cli_json_text(p->name));
        json_object_set_new(o, "passed_over", cn_cli_json_text(p->why));
        json_array_append_new(a, o);
    }
    return cn_cli_print_json_take(a);
}

int cn_cli_models(int argc, char **argv)
{
    struct cn_cli_models m = {0};
    struct cn_err err = CN_ERR_INIT;
    struct options o = {0};
    int rest, status;

    if (cn_cli_parse(&help, argc, argv, &o, &o.help, &rest, &status))
        return status;
    if (rest < argc) {
        cn_fail(&err, CN_EINVAL, "\"%.60s\" is no option: is --models DIR meant?", argv[rest]);
        return cn_cli_complain("models", CN_EXIT_USAGE, &err);
    }
    if (cn_cli_engine_open(&o.engine, false, &m, &err) < 0 || cn_cli_scan(&m, &err) < 0)
        status = cn_cli_complain("models", CN_EXIT_FAILED, &err);
    else
        status = o.json ? print_json(m.e) : print_table(m.e);
    cn_cli_engine_close(&m);
    return status;
}
