/* From what a pickle built to a table of tensors: names are the keys on the way, joined by dots.
 *
 *     {"state_dict": {"conv_in": {"weight": TENSOR}}, "global_step": 875000}
 *
 * is a tensor "conv_in.weight" and a note "global_step". What stands beside a "state_dict" (an
 * optimizer's state, say) is no weight of the model; of it numbers and texts are kept. */
#include "base/base.h"
#include "base/utf8.h"
#include "checkpoint/pickle_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_NESTED = 16,      /* dicts in dicts; also ends one that holds itself */
    MAX_VISITS = 2000000, /* a dict may be reached in many ways */
    MAX_NAME = 512,
    MAX_NAMES = 64 * 1024 * 1024, /* bytes of all of them */
    MAX_NOTES = 10000,
    MAX_NOTE = 4096
};

struct walk {
    const struct cn_pickle *p;
    uint64_t size; /* of the file */
    cn_storage_fn find;
    void *ctx;
    struct cn_tensor_table *t;
    struct cn_err *err;
    size_t visits, name_bytes;
    bool notes_only;
    char name[MAX_NAME];
};

static bool is_dense(const struct cn_pickle_tensor *t, int64_t n)
{
    int64_t want = 1;

    for (int i = t->rank - 1; n > 0 && i >= 0; i--) {
        if (t->dim[i] != 1 && t->stride[i] != want)
            return false;
        want *= t->dim[i];
    }
    return true;
}

/* The place of its elements in the file. The machine has held the tensor against its storage. */
static int find_bytes(struct walk *w, const struct cn_pickle_tensor *t, struct cn_tensor_entry *e)
{
    const struct cn_pickle_storage *s = &w->p->value[t->storage].storage;
    uint64_t element = t->type->bits / 8, unit = s->type != NULL ? element : 1, at, bytes;
    int64_t n = 1, last = 0;
    int rc = w->find(w->ctx, s, &at, &bytes, w->err);

    if (rc < 0)
        return rc;
    if ((uint64_t)s->elements > bytes / unit)
        return cn_fail(w->err, CN_EFORMAT,
                       "\"%s\": tensor \"%.120s\": storage \"%.40s\" has %llu bytes instead of "
                       "%lld elements",
                       w->p->path, e->name, s->key, (unsigned long long)bytes,
                       (long long)s->elements);
    for (int i = 0; i < t->rank; i++) {
        n *= t->dim[i];
        last += t->dim[i] > 0 ? (t->dim[i] - 1) * t->stride[i] : 0;
    }
    e->begin = e->end = at;
    if (n == 0)
        return CN_OK;
    e->begin = at + (uint64_t)s->first * unit + (uint64_t)t->offset * element;
    e->end = e->begin + ((uint64_t)last + 1) * element;
    CN_ASSERT(e->end <= w->size);
    if (!is_dense(t, n)) {
        int64_t *stride = cn_arena_alloc(&w->t->arena, (size_t)t->rank * sizeof(*stride));

        memcpy(stride, t->stride, (size_t)t->rank * sizeof(*stride));
        e->stride = stride;
    }
    return CN_OK;
}

static const char *keep_name(struct walk *w)
{
    return cn_arena_strdup(&w->t->arena, w->name);
}

static int add_tensor(struct walk *w, const struct cn_pickle_tensor *t)
{
    struct cn_tensor_entry e = {.type = t->type, .rank = t->rank};
    int rc;

    w->name_bytes += strlen(w->name);
    if (w->name_bytes > MAX_NAMES)
        return cn_fail(w->err, CN_ETOOBIG, "\"%s\": the names of its tensors are too long",
                       w->p->path);
    e.name = w->name[0] != '\0' ? keep_name(w) : "tensor";
    for (int i = 0; i < t->rank; i++)
        e.dim[i] = t->dim[i];
    rc = find_bytes(w, t, &e);
    return rc == CN_OK ? cn_tensor_table_add(w->t, w->p->path, &e, w->err) : rc;
}

static bool is_plain(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)s[i] < 0x20)
            return false;
    return cn_utf8_check(s, len) == len;
}

static void add_note(struct walk *w, const struct cn_pickle_value *v)
{
    char text[40] = "";
    const char *value = text;

    if (w->t->pairs == MAX_NOTES || w->name[0] == '\0')
        return;
    if (v->kind == CN_PICKLE_BOOL)
        value = v->number ? "true" : "false";
    else if (v->kind == CN_PICKLE_INT)
        snprintf(text, sizeof(text), "%lld", (long long)v->number);
    else if (v->kind == CN_PICKLE_REAL)
        snprintf(text, sizeof(text), "%.17g", v->real);
    else if (v->len <= MAX_NOTE && is_plain(v->text, v->len))
        value = v->text;
    else
        return;
    cn_tensor_table_add_pair(w->t, keep_name(w), cn_arena_strdup(&w->t->arena, value));
}

static int visit(struct walk *w, uint32_t v, int depth);

/* Goes on below "name.key"; *w is as before when it comes back. */
static int descend(struct walk *w, const char *key, uint32_t v, int depth)
{
    size_t len = strlen(w->name);
    int n = snprintf(w->name + len, MAX_NAME - len, "%s%s", len > 0 ? "." : "", key), rc;

    if (n < 0 || (size_t)n >= MAX_NAME - len)
        rc = cn_fail(w->err, CN_ETOOBIG, "\"%s\": a name of more than %d bytes", w->p->path,
                     MAX_NAME - 1);
    else
        rc = visit(w, v, depth + 1);
    w->name[len] = '\0';
    return rc;
}

/* A key that is neither text nor number belongs to something that is not a model's. */
static int visit_pair(struct walk *w, uint32_t key, uint32_t v, int depth)
{
    const struct cn_pickle_value *k = &w->p->value[key];
    char number[24];

    if (k->kind == CN_PICKLE_INT) {
        snprintf(number, sizeof(number), "%lld", (long long)k->number);
        return descend(w, number, v, depth);
    }
    if (k->kind != CN_PICKLE_TEXT)
        return CN_OK;
    if (!is_plain(k->text, k->len))
        return cn_fail(w->err, CN_EFORMAT,
                       "\"%s\": a tensor's name is not UTF-8 or has a control character",
                       w->p->path);
    return descend(w, k->text, v, depth);
}

static int visit_dict(struct walk *w, const struct cn_pickle_items *l, int depth)
{
    int rc = CN_OK;

    for (size_t i = 0; rc == CN_OK && i + 1 < l->n; i += 2)
        rc = visit_pair(w, l->item[i], l->item[i + 1], depth);
    return rc;
}

static int visit_list(struct walk *w, const struct cn_pickle_items *l, int depth)
{
    char number[24];
    int rc = CN_OK;

    for (size_t i = 0; rc == CN_OK && i < l->n; i++) {
        snprintf(number, sizeof(number), "%zu", i);
        rc = descend(w, number, l->item[i], depth);
    }
    return rc;
}

/* The value of a key of text in a dict; false. */
static bool look_up(const struct cn_pickle *p, uint32_t dict, const char *key, uint32_t *ret)
{
    const struct cn_pickle_value *d = &p->value[dict];
    const struct cn_pickle_items *l = d->kind == CN_PICKLE_OBJECT ? &d->entries : &d->items;

    if (d->kind != CN_PICKLE_DICT && d->kind != CN_PICKLE_OBJECT)
        return false;
    for (size_t i = 0; i + 1 < l->n; i += 2) {
        const struct cn_pickle_value *k = &p->value[l->item[i]];

        if (k->kind == CN_PICKLE_TEXT && strcmp(k->text, key) == 0) {
            *ret = l->item[i + 1];
            return true;
        }
    }
    return false;
}

/* Of a torch.nn.ParameterDict the parameters; of anything else what was set in it. */
static int visit_object(struct walk *w, uint32_t v, int depth)
{
    const struct cn_pickle_value *o = &w->p->value[v];
    uint32_t inner;

    if (o->state != v && look_up(w->p, o->state, "_parameters", &inner))
        return visit(w, inner, depth + 1);
    return visit_dict(w, &o->entries, depth);
}

static int visit(struct walk *w, uint32_t v, int depth)
{
    const struct cn_pickle_value *o = &w->p->value[v];

    if (depth > MAX_NESTED)
        return cn_fail(w->err, CN_ETOOBIG, "\"%s\": more than %d dicts inside of each other",
                       w->p->path, MAX_NESTED);
    if (++w->visits > MAX_VISITS)
        return cn_fail(w->err, CN_ETOOBIG, "\"%s\": more than %d values", w->p->path, MAX_VISITS);
    switch (o->kind) {
    case CN_PICKLE_TENSOR:
        return w->notes_only ? CN_OK : add_tensor(w, &o->tensor);
    case CN_PICKLE_DICT:
        return w->notes_only && depth > 0 ? CN_OK : visit_dict(w, &o->items, depth);
    case CN_PICKLE_TUPLE:
    case CN_PICKLE_LIST:
        return w->notes_only ? CN_OK : visit_list(w, &o->items, depth);
    case CN_PICKLE_OBJECT:
        return w->notes_only ? CN_OK : visit_object(w, v, depth);
    case CN_PICKLE_BOOL:
    case CN_PICKLE_INT:
    case CN_PICKLE_REAL:
    case CN_PICKLE_TEXT:
        add_note(w, o);
        return CN_OK;
    default:
        return CN_OK;
    }
}

int cn_torch_table(const struct cn_pickle *p, uint32_t root, uint64_t size, cn_storage_fn find,
                   void *ctx, struct cn_tensor_table *ret, struct cn_err *err)
{
    struct walk w = {.p = p, .size = size, .find = find, .ctx = ctx, .t = ret, .err = err};
    uint32_t weights;
    int rc;

    if (!look_up(p, root, "state_dict", &weights))
        return visit(&w, root, 0);
    w.notes_only = true;
    rc = visit(&w, root, 0);
    w.notes_only = false;
    return rc == CN_OK ? visit(&w, weights, 0) : rc;
}
