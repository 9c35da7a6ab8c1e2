/* What "controlnet inspect" says of an adapter (LoRA and its kin), alone and beside base models. */
#include "base/base.h"
#include "cli/cli.h"
#include "cli/inspected.h"
#include "base/mem.h"
#include "checkpoint/adapter.h"
#include "runtime/adapter_match.h"

#include <stdlib.h>
#include <string.h>

bool cn_inspected_is_adapter(const struct cn_inspected *m)
{
    char *inside;

    if (m->file.present)
        return m->file.class.kind == CN_FILE_LORA;
    inside = cn_adapter_in_dir(m->path);
    free(inside);
    return inside != NULL;
}

int cn_inspected_open_adapter(struct cn_inspected *m, struct cn_err *err)
{
    const char *name;

    return cn_adapters_add(&m->adapters, m->path, &name, err);
}

const struct cn_adapter_entry *cn_inspected_adapter(const struct cn_inspected *m)
{
    return m->adapters.n > 0 && m->adapters.item[0].broken == NULL ? &m->adapters.item[0] : NULL;
}

void cn_inspected_try_base(struct cn_inspected *m, const struct cn_inspected *base)
{
    struct cn_inspected_try *t;
    struct cn_adapter_match match;
    struct cn_err why = CN_ERR_INIT;
    struct cn_adapter *a;

    if (cn_adapter_open(cn_inspected_adapter(m)->path, &a, NULL) < 0)
        return;
    m->tried = cn_grow(m->tried, m->n_tried, &m->tried_cap, sizeof(*m->tried));
    t = &m->tried[m->n_tried++];
    *t = (struct cn_inspected_try){.base = base->path, .keys = a->keys};
    if (cn_adapter_match(a, base->c, &match, &why) == CN_OK) {
        t->fits = true;
        t->matched = match.matched_keys;
        snprintf(t->why, sizeof(t->why), "%s", match.first_unmatched);
        cn_adapter_match_release(&match);
    } else {
        snprintf(t->why, sizeof(t->why), "%s", why.msg);
    }
    cn_adapter_close(a);
}

/* ---- for people ---- */

static void print_try(const struct cn_inspected_try *t, FILE *out)
{
    if (!t->fits)
        fprintf(out, "  ! %s: %s\n", t->base, t->why);
    else if (t->matched < t->keys)
        fprintf(out, "  fits           %s: %zu of %zu tensors (the first that does not: %s)\n",
                t->base, t->matched, t->keys, t->why);
    else
        fprintf(out, "  fits           %s: all %zu tensors\n", t->base, t->keys);
}

void cn_inspected_print_adapter(const struct cn_inspected *m, FILE *out)
{
    const struct cn_adapter_entry *a = cn_inspected_adapter(m);

    fprintf(out, "  adapter        %s", a->kinds);
    if (a->rank_max > 0 && a->rank_min != a->rank_max)
        fprintf(out, " of ranks %lld to %lld", (long long)a->rank_min, (long long)a->rank_max);
    else if (a->rank_max > 0)
        fprintf(out, " of rank %lld", (long long)a->rank_max);
    fprintf(out, ", %zu layers of %s\n", a->layers,
            a->unet && a->text ? "UNet and text encoder"
            : a->unet          ? "the UNet"
                               : "the text encoder");
    if (a->alias != NULL)
        fprintf(out, "  called         %s\n", a->alias);
    if (a->base[0] != '\0')
        fprintf(out, "  made with      %s\n", a->base);
    if (a->triggers[0] != '\0')
        fprintf(out, "  triggers       %s\n", a->triggers);
    for (size_t i = 0; i < m->n_tried; i++)
        print_try(&m->tried[i], out);
}

/* ---- for programs ---- */

json_t *cn_inspected_adapter_json(const struct cn_inspected *m)
{
    const struct cn_adapter_entry *a = cn_inspected_adapter(m);
    json_t *o = json_pack("{ss sI sI sI sb sb ss ss}", "forms", a->kinds, "rank_min",
                          (json_int_t)a->rank_min, "rank_max", (json_int_t)a->rank_max, "layers",
                          (json_int_t)a->layers, "unet", a->unet, "text", a->text, "base", a->base,
                          "triggers", a->triggers);
    json_t *fits = json_array();

    json_object_set_new(o, "alias", a->alias != NULL ? cn_cli_json_text(a->alias) : json_null());
    for (size_t i = 0; i < m->n_tried; i++) {
        const struct cn_inspected_try *t = &m->tried[i];
        json_t *one = json_object();

        json_object_set_new(one, "model", cn_cli_json_text(t->base));
        json_object_set_new(one, "fits", json_boolean(t->fits));
        json_object_set_new(one, "tensors", json_integer((json_int_t)t->keys));
        json_object_set_new(one, "applied", json_integer((json_int_t)t->matched));
        if (t->why[0] != '\0')
            json_object_set_new(one, "why", cn_cli_json_text(t->why));
        json_array_append_new(fits, one);
    }
    json_object_set_new(o, "fits", fits);
    return o;
}
