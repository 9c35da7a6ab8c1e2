/* The list of adapters: directories read, files opened once, and looked at again. */
#include "base/base.h"
#include "runtime/adapters.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/table.h"
#include "base/utf8.h"
#include "checkpoint/adapter.h"
#include "runtime/file_name.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_DEPTH = 8 /* of directories */ };

static void entry_release(struct cn_adapter_entry *x)
{
    free(x->name);
    free(x->alias);
    free(x->path);
    free(x->broken);
}

/* ---- one adapter ---- */

/* At most size - 1 bytes, whole characters, without control characters; "" for what is no text. */
static void copy_text(char *ret, size_t size, const char *text)
{
    size_t n = text != NULL ? strlen(text) : 0;

    ret[0] = '\0';
    if (n == 0 || cn_utf8_check(text, n) != n)
        return;
    snprintf(ret, size, "%s", text);
    ret[cn_utf8_check(ret, strlen(ret))] = '\0';
    for (char *c = ret; *c != '\0'; c++)
        if ((unsigned char)*c < ' ')
            *c = ' ';
}

static void describe(struct cn_adapter_entry *x, const struct cn_adapter *a)
{
    const char *alias = cn_adapter_note(a, "ss_output_name");
    const char *base = cn_adapter_note(a, "ss_base_model_version");
    char words[CN_ADAPTER_TEXT];

    x->family = a->is.family;
    x->layers = a->n_parts;
    cn_adapter_kinds(a, x->kinds, sizeof(x->kinds));
    cn_adapter_ranks(a, &x->rank_min, &x->rank_max);
    cn_adapter_triggers(a, CN_ADAPTER_TRIGGERS, words, sizeof(words));
    copy_text(x->triggers, sizeof(x->triggers), words);
    copy_text(x->base, sizeof(x->base),
              base != NULL ? base : cn_adapter_note(a, "modelspec.architecture"));
    for (size_t i = 0; i < a->n_parts; i++) {
        x->unet = x->unet || a->part[i].comp == CN_COMP_UNET;
        x->text = x->text || a->part[i].comp != CN_COMP_UNET;
    }
    if (alias != NULL && alias[0] != '\0' && strcmp(alias, x->name) != 0)
        x->alias = cn_xstrdup(alias);
}

/* Of the file alone, or of a directory's files: what lies beside a file is of no meaning here. */
static uint64_t version_of(const char *file, const char *named_by)
{
    char *config = cn_xprintf("%s/adapter_config.json", named_by);
    const char *const paths[] = {file, config};
    uint64_t h = CN_HASH_INIT;

    for (size_t i = 0; i < CN_LEN(paths); i++) {
        struct cn_file_id id;

        if (cn_file_identify(paths[i], &id, NULL) < 0)
            continue;
        h = cn_hash(h, &id.dev, sizeof(id.dev));
        h = cn_hash(h, &id.ino, sizeof(id.ino));
        h = cn_hash(h, &id.size, sizeof(id.size));
        h = cn_hash(h, &id.mtime_ns, sizeof(id.mtime_ns));
    }
    free(config);
    return h;
}

static void read_entry(struct cn_adapter_entry *x)
{
    struct cn_err why = CN_ERR_INIT;
    struct cn_adapter *a;
    struct stat st;

    x->bytes = stat(x->path, &st) == 0 ? (uint64_t)st.st_size : 0;
    if (cn_adapter_open(x->path, &a, &why) < 0) {
        x->broken = cn_xstrdup(why.msg);
        return;
    }
    describe(x, a);
    cn_adapter_close(a);
}

/* ---- the list ---- */

/* One look at all sources; old: the list before it, of which entries are taken. */
struct look {
    struct cn_adapters *a;
    struct cn_adapter_entry *old;
    int n_old;
};

static const struct cn_adapter_entry *named(const struct cn_adapters *a, const char *name)
{
    for (int i = 0; i < a->n; i++)
        if (strcmp(a->item[i].name, name) == 0)
            return &a->item[i];
    return NULL;
}

/* The same file as before, unchanged. */
static bool take_old(struct look *l, const struct cn_adapter_entry *now,
                     struct cn_adapter_entry *ret)
{
    for (int i = 0; i < l->n_old; i++) {
        struct cn_adapter_entry *x = &l->old[i];

        if (x->path != NULL && x->broken == NULL && strcmp(x->path, now->path) == 0 &&
            strcmp(x->name, now->name) == 0 && x->version == now->version) {
            *ret = *x;
            *x = (struct cn_adapter_entry){.name = NULL};
            return true;
        }
    }
    return false;
}

static struct cn_adapter_entry *append(struct cn_adapters *a)
{
    a->item = cn_grow(a->item, (size_t)a->n, &a->cap, sizeof(*a->item));
    a->item[a->n] = (struct cn_adapter_entry){.name = NULL};
    return &a->item[a->n++];
}

/* file: of weights. named_by: the file, or its directory. */
static void add_file(struct look *l, const char *file, const char *named_by)
{
    struct cn_adapter_entry now = {.name = cn_file_name(named_by),
                                   .path = cn_xstrdup(file),
                                   .version = version_of(file, named_by)};
    bool taken = named(l->a, now.name) != NULL;
    struct cn_adapter_entry *x = append(l->a);

    if (!taken && take_old(l, &now, x)) {
        entry_release(&now);
        return;
    }
    *x = now;
    if (taken)
        x->broken = cn_xprintf("\"%s\": there is another adapter of this name", file);
    else
        read_entry(x);
}

static int visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static int look_into(struct look *l, const char *dir, int depth, struct cn_err *err);

static int look_at(struct look *l, const char *path, int depth, struct cn_err *err)
{
    bool dir = cn_dir_exists(path);
    char *inside = dir ? cn_adapter_in_dir(path) : NULL;
    int rc = CN_OK;

    if (l->a->n >= CN_MAX_ADAPTERS_FOUND)
        rc = cn_fail(err, CN_ETOOBIG, "more than %d adapters", CN_MAX_ADAPTERS_FOUND);
    else if (inside != NULL)
        add_file(l, inside, path);
    else if (dir && depth < MAX_DEPTH)
        rc = look_into(l, path, depth + 1, err);
    else if (!dir && cn_checkpoint_ending(path) > 0 && cn_file_exists(path))
        add_file(l, path, path);
    free(inside);
    return rc;
}

static int look_into(struct look *l, const char *dir, int depth, struct cn_err *err)
{
    struct dirent **list;
    int n = scandir(dir, &list, visible, alphasort), rc = CN_OK;

    if (n < 0)
        return cn_fail(err, errno == ENOENT ? CN_ENOTFOUND : CN_EIO,
                       "cannot read the directory of adapters \"%s\": %s", dir, strerror(errno));
    for (int i = 0; i < n; i++) {
        char *path = cn_xprintf("%s/%s", dir, list[i]->d_name);

        if (rc == CN_OK)
            rc = look_at(l, path, depth, err);
        free(path);
        free(list[i]);
    }
    free(list);
    return rc;
}

static void remember(struct cn_adapters *a, const char *source)
{
    a->source = cn_grow(a->source, a->n_sources, &a->sources_cap, sizeof(*a->source));
    a->source[a->n_sources++] = cn_xstrdup(source);
}

int cn_adapters_scan(struct cn_adapters *a, const char *dir, struct cn_err *err)
{
    struct look l = {.a = a};
    int rc = cn_dir_exists(dir) ? look_at(&l, dir, -1, err) : look_into(&l, dir, 0, err);

    if (rc == CN_OK)
        remember(a, dir);
    return rc;
}

/* The name of one that is listed already; path may be the directory that PEFT saved. */
static const char *known_path(const struct cn_adapters *a, const char *path)
{
    char *inside = cn_adapter_in_dir(path);
    const char *name = NULL;

    for (int i = 0; i < a->n && name == NULL; i++)
        if (a->item[i].broken == NULL &&
            strcmp(a->item[i].path, inside != NULL ? inside : path) == 0)
            name = a->item[i].name;
    free(inside);
    return name;
}

int cn_adapters_add(struct cn_adapters *a, const char *path, const char **ret, struct cn_err *err)
{
    struct look l = {.a = a};
    int n = a->n, rc;

    *ret = known_path(a, path);
    if (*ret != NULL)
        return CN_OK;
    rc = look_at(&l, path, MAX_DEPTH, err);
    if (rc < 0)
        return rc;
    if (a->n == n)
        return cn_fail(err, CN_ENOTFOUND, "there is no file of an adapter at \"%s\"", path);
    if (a->item[n].broken != NULL)
        return cn_fail(err, CN_EFORMAT, "%s", a->item[n].broken);
    *ret = a->item[n].name;
    remember(a, path);
    return CN_OK;
}

static bool is_same(const struct cn_adapter_entry *x, const struct cn_adapter_entry *y)
{
    return x->version == y->version && strcmp(x->name, y->name) == 0 &&
           (x->broken == NULL) == (y->broken == NULL);
}

/* Does this path lie in the source, or is it that? */
static bool lies_in(const char *path, const char *source)
{
    size_t n = strlen(source);

    while (n > 1 && source[n - 1] == '/')
        n--;
    return strncmp(path, source, n) == 0 && (path[n] == '/' || path[n] == '\0');
}

/* What was found in a source that cannot be read now, but for what was found again. */
static void keep_old(struct look *l, const char *source)
{
    for (int i = 0; i < l->n_old; i++) {
        struct cn_adapter_entry *x = &l->old[i];

        if (x->path == NULL || !lies_in(x->path, source) || named(l->a, x->name) != NULL)
            continue;
        *append(l->a) = *x;
        *x = (struct cn_adapter_entry){.name = NULL};
    }
}

bool cn_adapters_refresh(struct cn_adapters *a,
                         void (*unread)(void *ctx, const char *dir, const char *why), void *ctx)
{
    struct cn_adapters before = *a;
    struct look l = {.a = a, .old = before.item, .n_old = before.n};
    struct cn_adapter_entry *was = cn_xcalloc((size_t)before.n + 1, sizeof(*was));
    bool news;

    for (int i = 0; i < before.n; i++) /* what is taken over leaves nothing behind */
        was[i] = (struct cn_adapter_entry){.name = cn_xstrdup(before.item[i].name),
                                           .version = before.item[i].version,
                                           .broken = before.item[i].broken != NULL
                                                         ? cn_xstrdup("")
                                                         : NULL};
    a->item = NULL;
    a->n = 0;
    a->cap = 0;
    for (size_t i = 0; i < a->n_sources; i++) {
        struct cn_err why = CN_ERR_INIT;
        int rc = look_at(&l, a->source[i], -1, &why);

        if (rc == CN_OK || rc == CN_ENOTFOUND)
            continue;
        keep_old(&l, a->source[i]);
        if (unread != NULL)
            unread(ctx, a->source[i], why.msg);
    }
    news = a->n != before.n;
    for (int i = 0; i < before.n; i++) {
        news = news || !is_same(&was[i], &a->item[i]);
        entry_release(&was[i]);
        entry_release(&before.item[i]);
    }
    free(was);
    free(before.item);
    return news;
}

void cn_adapters_release(struct cn_adapters *a)
{
    for (int i = 0; i < a->n; i++)
        entry_release(&a->item[i]);
    for (size_t i = 0; i < a->n_sources; i++)
        free(a->source[i]);
    free(a->item);
    free(a->source);
    *a = (struct cn_adapters){.n = 0};
}

const struct cn_adapter_entry *cn_adapters_find(const struct cn_adapters *a, const char *name)
{
    const struct cn_adapter_entry *x = named(a, name);

    for (int i = 0; i < a->n && x == NULL; i++) {
        const char *alias = a->item[i].alias;

        if (alias == NULL || strcmp(alias, name) != 0)
            continue;
        for (int k = i + 1; k < a->n; k++)
            if (a->item[k].alias != NULL && strcmp(a->item[k].alias, name) == 0)
                return NULL;
        x = &a->item[i];
    }
    return x;
}
