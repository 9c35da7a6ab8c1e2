/* The engine of a command, and the models that its command line names. */
#include "base/base.h"
#include "cli/cli.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/places.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int cn_cli_engine_open(const struct cn_cli_engine_opts *o, bool profile, struct cn_cli_models *ret,
                       struct cn_err *err)
{
    struct cn_engine_opts opts = CN_ENGINE_DEFAULTS;
    int rc;

    if (o->backend != NULL)
        opts.backend = o->backend;
    opts.threads = o->threads;
    opts.taesd = o->taesd;
    opts.ema = o->ema;
    opts.profile = profile;
    *ret = (struct cn_cli_models){.dirs = &o->models};
    rc = cn_engine_new(&opts, &ret->e, err);
    for (int i = 0; i < o->embeddings.n && rc == CN_OK; i++)
        rc = cn_engine_scan_embeddings(ret->e, o->embeddings.item[i], err);
    for (int i = 0; i < o->adapters.n && rc == CN_OK; i++)
        rc = cn_engine_scan_adapters(ret->e, o->adapters.item[i], err);
    return rc;
}

void cn_cli_engine_close(struct cn_cli_models *m)
{
    cn_engine_free(m->e);
    m->e = NULL;
    while (m->n_paths > 0)
        free(m->path[--m->n_paths]);
}

/* The directories of a list like $PATH; one that cannot be read is passed over when optional. */
static int scan_list(struct cn_cli_models *m, const char *list, bool optional, struct cn_err *err)
{
    int rc = CN_OK;

    while (rc == CN_OK && *list != '\0') {
        size_t len = strcspn(list, ":");
        char *dir = cn_xprintf("%.*s", (int)len, list);

        if (len > 0 && (!optional || access(dir, R_OK | X_OK) == 0))
            rc = cn_engine_scan(m->e, dir, err);
        free(dir);
        list += len + (list[len] == ':');
    }
    return rc;
}

int cn_cli_scan(struct cn_cli_models *m, struct cn_err *err)
{
    const char *list = getenv("CONTROLNETD_MODELS");
    char *installed;
    int rc = CN_OK;

    if (m->scanned)
        return CN_OK;
    m->scanned = true;
    for (int i = 0; i < m->dirs->n && rc == CN_OK; i++)
        rc = cn_engine_scan(m->e, m->dirs->item[i], err);
    if (m->dirs->n > 0)
        return rc;
    if (list != NULL && list[0] != '\0')
        return scan_list(m, list, false, err);
    installed = cn_models_dirs_take();
    rc = scan_list(m, installed, true, err);
    free(installed);
    return rc;
}

bool cn_cli_find(const struct cn_cli_models *m, const char *name, struct cn_model_facts *ret)
{
    for (int i = 0; i < cn_engine_count(m->e); i++) {
        cn_engine_at(m->e, i, ret);
        if (strcmp(ret->name, name) == 0)
            return true;
    }
    return false;
}

void cn_cli_fill_guidance(const struct cn_cli_models *m, struct cn_spec *s)
{
    struct cn_model_facts base;

    if (!s->has_guidance && cn_cli_find(m, s->model, &base) && base.guidance > 0)
        s->guidance_scale = base.guidance;
}

static bool is_path(const char *word)
{
    return strchr(word, '/') != NULL;
}

/* However the two are written: "a", "a/", "./a", a link to it. */
static bool is_same(const char *a, const char *b)
{
    struct stat x, y;

    return strcmp(a, b) == 0 ||
           (stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino);
}

/* Adds a path once; the same path may be both named twice and found in a directory. */
static int add_path(struct cn_cli_models *m, const char *path, char **ret, struct cn_err *err)
{
    struct cn_model_facts found;
    int i = 0, rc;

    while (i < m->n_paths && !is_same(m->path[i], path))
        i++;
    if (i == m->n_paths) {
        if (i == CN_OPTION_LIST_MAX)
            return cn_fail(err, CN_EINVAL, "more than %d models", CN_OPTION_LIST_MAX);
        if (!cn_file_exists(path) && !cn_dir_exists(path))
            return cn_fail(err, CN_ENOTFOUND, "there is no model \"%s\"", path);
        rc = cn_engine_add(m->e, path, err);
        if (rc < 0)
            return rc;
        m->path[m->n_paths++] = cn_xstrdup(path);
        m->number[i] = cn_engine_count(m->e) - 1;
    }
    cn_engine_at(m->e, m->number[i], &found);
    *ret = cn_xstrdup(found.name);
    return CN_OK;
}

/* A file of this name that is something else, with the reason; NULL. */
static const struct cn_passed *find_passed(const struct cn_cli_models *m, const char *name)
{
    size_t n = strlen(name);

    for (int i = 0; i < cn_engine_passed_count(m->e); i++) {
        const struct cn_passed *p = cn_engine_passed_at(m->e, i);

        if (strncmp(p->name, name, n) == 0 &&
            (p->name[n] == '\0' || strrchr(p->name, '.') == p->name + n))
            return p;
    }
    return NULL;
}

/* Says what there is instead of a model that is not there. */
static int fail_missing(const struct cn_cli_models *m, const char *name, struct cn_err *err)
{
    struct cn_model_facts found;
    int n = cn_engine_count(m->e);
    const char **names = cn_xcalloc((size_t)n + 1, sizeof(*names));
    const struct cn_passed *passed = find_passed(m, name);
    const char *near;

    for (int i = 0; i < n; i++) {
        cn_engine_at(m->e, i, &found);
        names[i] = found.name;
    }
    near = cn_closest(name, names, n);
    if (passed != NULL)
        cn_fail(err, CN_ENOTFOUND, "\"%s\" is no model: %s", name, passed->why);
    else if (near != NULL)
        cn_fail(err, CN_ENOTFOUND, "there is no model \"%s\": did you mean \"%s\"?", name, near);
    else
        cn_fail(err, CN_ENOTFOUND,
                "there is no model \"%s\": \"controlnet models\" lists what is there", name);
    free(names);
    return CN_ENOTFOUND;
}

int cn_cli_resolve(struct cn_cli_models *m, const char *word, char **ret, struct cn_err *err)
{
    struct cn_model_facts found;
    int rc;

    if (is_path(word))
        return add_path(m, word, ret, err);
    if ((rc = cn_cli_scan(m, err)) < 0)
        return rc;
    if (cn_cli_find(m, word, &found)) {
        *ret = cn_xstrdup(word);
        return CN_OK;
    }
    if (cn_file_exists(word) || cn_dir_exists(word))
        return add_path(m, word, ret, err);
    return fail_missing(m, word, err);
}

/* Puts the engine's name in the place of a word. */
static int resolve_field(struct cn_cli_models *m, char **field, struct cn_err *err)
{
    char *name;
    int rc = cn_cli_resolve(m, *field, &name, err);

    if (rc < 0)
        return rc;
    free(*field);
    *field = name;
    return CN_OK;
}

static int resolve_base(struct cn_cli_models *m, struct cn_spec *s, struct cn_err *err)
{
    int rc;

    if (s->model[0] != '\0')
        return resolve_field(m, &s->model, err);
    if ((rc = cn_cli_scan(m, err)) < 0)
        return rc;
    if (cn_engine_default(m->e) == NULL)
        return cn_fail(err, CN_ENOTFOUND,
                       "there is no base model: name one with --model, or where they are with "
                       "--models");
    free(s->model);
    s->model = cn_xstrdup(cn_engine_default(m->e));
    return CN_OK;
}

int cn_cli_resolve_spec(struct cn_cli_models *m, struct cn_spec *s, struct cn_err *err)
{
    char *name;
    int rc = cn_cli_resolve_adapters(m->e, s, err);

    if (rc < 0)
        return rc;
    /* Paths first: they win over models of the same name in the directories. */
    if (is_path(s->model)) {
        if ((rc = add_path(m, s->model, &name, err)) < 0)
            return rc;
        free(name);
    }
    for (int i = 0; i < s->n_controls; i++)
        if (is_path(s->control[i].model) && (rc = resolve_field(m, &s->control[i].model, err)) < 0)
            return rc;
    if (is_path(s->vae) && (rc = resolve_field(m, &s->vae, err)) < 0)
        return rc;
    if ((rc = resolve_base(m, s, err)) < 0)
        return rc;
    if (s->vae[0] != '\0' && (rc = resolve_field(m, &s->vae, err)) < 0)
        return rc;
    for (int i = 0; i < s->n_controls; i++)
        if ((rc = resolve_field(m, &s->control[i].model, err)) < 0)
            return rc;
    return CN_OK;
}
