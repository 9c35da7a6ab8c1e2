/* Which models there are: found by scanning directories, named by their file names, and found again
 * when the directories have changed.
 *
 * DESIGN. A model that is listed never changes: when its files do, another one takes its name, and
 * the old one is retired, which means that nobody finds it any more. It keeps what was loaded and
 * its files open for the jobs that hold it, and is freed when the last of them has ended. */
#include "base/base.h"
#include "runtime/runtime.h"
#include "base/file.h"
#include "base/mem.h"
#include "checkpoint/classify.h"
#include "runtime/file_name.h"
#include "runtime/find_models.h"
#include "runtime/inspect.h"
#include "runtime/overlay.h"
#include "runtime/version.h"
#include "model/vae.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cn_model *cn_runtime_find(const struct cn_runtime *rt, const char *name)
{
    for (int i = 0; i < rt->n_models; i++)
        if (strcmp(rt->model[i]->name, name) == 0)
            return rt->model[i];
    return NULL;
}

static int check_vae(const struct cn_model *m, const struct cn_model *base, struct cn_err *err)
{
    const struct cn_vae_config *c = cn_checkpoint_vae(m->checkpoint);
    const struct cn_vae_config *own = cn_checkpoint_vae(base->checkpoint);

    if (c->in_channels != 3 || c->out_channels != 3)
        return cn_fail_at(err, CN_EINVAL, "/vae",
                          "autoencoder \"%s\" has %d to %d channels of colour, not 3", m->name,
                          c->in_channels, c->out_channels);
    if (c->latent_channels != own->latent_channels || cn_vae_factor(c) != cn_vae_factor(own))
        return cn_fail_at(err, CN_EINVAL, "/vae",
                          "autoencoder \"%s\" has latents of %d channels for cells of %d pixels, "
                          "model \"%s\" of %d for %d",
                          m->name, c->latent_channels, cn_vae_factor(c), base->name,
                          own->latent_channels, cn_vae_factor(own));
    return CN_OK;
}

int cn_runtime_find_vae(const struct cn_runtime *rt, const char *name, struct cn_model *base,
                        struct cn_model **ret, struct cn_err *err)
{
    struct cn_model *m = name[0] != '\0' ? cn_runtime_find(rt, name) : base;

    if (m == NULL)
        return cn_fail_at(err, CN_ENOTFOUND, "/vae", "there is no autoencoder \"%s\"", name);
    *ret = m;
    if (name[0] == '\0')
        return CN_OK;
    if (m->broken != NULL)
        return cn_fail_at(err, CN_EFORMAT, "/vae", "autoencoder \"%s\" cannot be used: %s", name,
                          m->broken);
    if (m->role != CN_ROLE_VAE)
        return cn_fail_at(err, CN_EINVAL, "/vae", "\"%s\" is %s, not an autoencoder alone", name,
                          cn_role_title(m->role));
    return check_vae(m, base, err);
}

/* ---- what is passed over ---- */

static void pass_over(struct cn_runtime *rt, const char *path, const char *why)
{
    const char *slash = strrchr(path, '/');
    struct cn_passed *p;

    rt->passed = cn_grow(rt->passed, rt->n_passed, &rt->passed_cap, sizeof(*rt->passed));
    p = &rt->passed[rt->n_passed++];
    p->name = cn_printable_name(slash != NULL && slash[1] != '\0' ? slash + 1 : path);
    p->why = cn_xstrdup(why);
}

static void forget_passed(struct cn_runtime *rt)
{
    for (size_t i = 0; i < rt->n_passed; i++) {
        free(rt->passed[i].name);
        free(rt->passed[i].why);
    }
    rt->n_passed = 0;
}

/* ---- looking ---- */

/* One look at all sources. old: the list before it, of which those that are still good are taken.
 */
struct look {
    struct cn_runtime *rt;
    struct cn_model **old;
    int n_old;
    struct cn_model_changes n;
};

/* Before those that are retired. */
static void append(struct cn_runtime *rt, struct cn_model *m)
{
    size_t all = (size_t)(rt->n_models + rt->n_retired);

    rt->model = cn_grow(rt->model, all, &rt->models_cap, sizeof(*rt->model));
    rt->model[all] = rt->model[rt->n_models];
    rt->model[rt->n_models++] = m;
}

static struct cn_model **old_named(const struct look *l, const char *name)
{
    for (int i = 0; i < l->n_old; i++)
        if (l->old[i] != NULL && strcmp(l->old[i]->name, name) == 0)
            return &l->old[i];
    return NULL;
}

static void tell(struct look *l, const char *name, enum cn_model_change what)
{
    l->n.added += what == CN_MODEL_ADDED;
    l->n.changed += what == CN_MODEL_CHANGED;
    l->n.removed += what == CN_MODEL_REMOVED;
    if (l->rt->change_hook != NULL)
        l->rt->change_hook(l->rt->hook_ctx, name, what);
}

/* One that cannot be used may be so for a reason outside of its files: it is tried each time. */
static bool is_still_good(const struct cn_model *m, const char *path, uint64_t version)
{
    return m->broken == NULL && m->version == version && strcmp(m->path, path) == 0 &&
           cn_checkpoint_is_current(m->checkpoint);
}

static bool is_news(const struct cn_model *before, const struct cn_model *m)
{
    return before->broken == NULL || m->broken == NULL || strcmp(before->broken, m->broken) != 0;
}

/* The first of its names that no other model has; NULL: all are taken. */
static char *free_name(const struct cn_runtime *rt, const struct cn_found_model *f)
{
    char *name;

    for (int k = 0; (name = cn_model_name(f->folder, f->name, k)) != NULL; k++) {
        if (cn_runtime_find(rt, name) == NULL)
            return name;
        free(name);
    }
    return NULL;
}

/* What cannot be used because it is something else: a LoRA, an autoencoder. A model of a kind that
 * is not supported, and a file of which nothing is known, stay in the list as broken. */
static bool is_no_model(const char *path, struct cn_file_class *ret)
{
    struct cn_tensor_file *t;

    if (!cn_file_exists(path) || cn_tensor_file_open(path, &t, NULL) < 0)
        return false;
    cn_tensor_file_classify(t, ret);
    cn_tensor_file_close(t);
    return ret->kind != CN_FILE_UNKNOWN && ret->kind != CN_FILE_BASE && ret->kind != CN_FILE_UNET &&
           ret->kind != CN_FILE_CONTROLNET;
}

/* named: by whoever configured it, who is told why it cannot be used. */
static int take(struct look *l, const struct cn_found_model *f, bool named, struct cn_err *err)
{
    struct cn_file_class class;
    const char *path = f->path;
    uint64_t version = cn_files_version(path); /* first: what changes from now on is seen later */
    char *name = free_name(l->rt, f);
    struct cn_model **before, *m;
    int rc;

    if (name == NULL) {
        pass_over(l->rt, path, "there are other models of this name");
        return cn_fail(err, CN_EINVAL, "there are two models named \"%s\": the second is \"%s\"",
                       f->name, path);
    }
    before = old_named(l, name);
    if (before != NULL && is_still_good(*before, path, version)) {
        append(l->rt, *before);
        *before = NULL;
        free(name);
        return CN_OK;
    }
    rc = cn_model_new(name, path, l->rt->ema, &m, err);
    if (rc < 0 && !named && is_no_model(path, &class)) {
        cn_model_free(m);
        pass_over(l->rt, path, class.what);
        return rc;
    }
    m->version = version;
    append(l->rt, m);
    if (before == NULL)
        tell(l, name, CN_MODEL_ADDED);
    else if (is_news(*before, m))
        tell(l, name, CN_MODEL_CHANGED);
    if (before != NULL) /* what the hook of residency was told of this name */
        m->reported_bytes = (*before)->reported_bytes;
    return rc;
}

/* NAME.json, NAME.yaml, NAME.safetensors.json beside NAME.safetensors: a part of the model. */
static bool is_note(const char *path)
{
    static const char *const ending[] = {"", ".safetensors", ".ckpt", ".pt", ".pth", ".bin"};
    size_t len = strlen(path);
    bool yes = false;

    if (len < 5 || (strcmp(path + len - 5, ".json") != 0 && strcmp(path + len - 5, ".yaml") != 0))
        return false;
    for (size_t i = 0; i < CN_LEN(ending) && !yes; i++) {
        char *file = cn_xprintf("%.*s%s", (int)(len - 5), path, ending[i]);

        yes = cn_checkpoint_ending(file) > 0 && cn_file_exists(file);
        free(file);
    }
    return yes;
}

static void on_found(void *ctx, const struct cn_found_model *f)
{
    take(ctx, f, false, NULL); /* a broken one is listed as such */
}

static void on_passed_over(void *ctx, const char *path, const char *why)
{
    const struct look *l = ctx;

    if (!is_note(path))
        pass_over(l->rt, path, why);
}

static int look_into(struct look *l, const char *dir, struct cn_err *err)
{
    const struct cn_model_finder f = {.found = on_found, .passed_over = on_passed_over, .ctx = l};

    return cn_find_models(dir, &f, err);
}

/* One by its path. */
static int take_path(struct look *l, const char *path, struct cn_err *err)
{
    char *copy = cn_xstrdup(path), *name, *folder = NULL;
    size_t len = strlen(copy);
    int rc;

    while (len > 1 && copy[len - 1] == '/')
        copy[--len] = '\0';
    name = strrchr(copy, '/');
    if (name != NULL) {
        *name++ = '\0';
        folder = strrchr(copy, '/');
        folder = folder != NULL ? folder + 1 : copy;
    }
    rc = take(l,
              &(struct cn_found_model){.path = path,
                                       .name = name != NULL ? name : copy,
                                       .folder = folder != NULL ? folder : ""},
              true, err);
    free(copy);
    return rc;
}

/* A directory that cannot be read just now says nothing about its models. */
static void keep_those_in(struct look *l, const char *dir)
{
    size_t len = strlen(dir);

    for (int i = 0; i < l->n_old; i++) {
        struct cn_model *m = l->old[i];

        if (m == NULL || strncmp(m->path, dir, len) != 0 || m->path[len] != '/' ||
            cn_runtime_find(l->rt, m->name) != NULL)
            continue;
        append(l->rt, m);
        l->old[i] = NULL;
    }
}

static void add_source(struct cn_runtime *rt, const char *path, bool folder)
{
    rt->source = cn_grow(rt->source, rt->n_sources, &rt->sources_cap, sizeof(*rt->source));
    rt->source[rt->n_sources++] = (struct cn_source){cn_xstrdup(path), folder};
}

int cn_runtime_add(struct cn_runtime *rt, const char *path, struct cn_err *err)
{
    add_source(rt, path, false);
    return take_path(&(struct look){.rt = rt}, path, err);
}

int cn_runtime_scan(struct cn_runtime *rt, const char *dir, struct cn_err *err)
{
    add_source(rt, dir, true);
    return look_into(&(struct look){.rt = rt}, dir, err);
}

static void look_at_source(struct look *l, const struct cn_source *s)
{
    struct cn_err err = CN_ERR_INIT;
    int rc;

    if (!s->folder) {
        if (cn_file_exists(s->path) || cn_dir_exists(s->path))
            take_path(l, s->path, NULL);
        return;
    }
    rc = look_into(l, s->path, &err);
    if (rc == CN_OK || rc == CN_ENOTFOUND)
        return;
    keep_those_in(l, s->path);
    pass_over(l->rt, s->path, err.msg);
}

/* Behind all others; nobody finds it any more. */
static void retire(struct cn_runtime *rt, struct cn_model *m)
{
    size_t all = (size_t)(rt->n_models + rt->n_retired);

    rt->model = cn_grow(rt->model, all, &rt->models_cap, sizeof(*rt->model));
    rt->model[all] = m;
    rt->n_retired++;
    m->retired = true;
}

static void on_unread(void *ctx, const char *dir, const char *why)
{
    pass_over(ctx, dir, why);
}

struct cn_model_changes cn_runtime_refresh(struct cn_runtime *rt)
{
    struct look l = {.rt = rt, .old = rt->model, .n_old = rt->n_models};
    int n_retired = rt->n_retired;

    rt->model = NULL;
    rt->models_cap = 0;
    rt->n_models = rt->n_retired = 0;
    forget_passed(rt);
    for (int i = 0; i < n_retired; i++)
        retire(rt, l.old[l.n_old + i]);
    for (size_t i = 0; i < rt->n_sources; i++)
        look_at_source(&l, &rt->source[i]);
    for (int i = 0; i < l.n_old; i++) {
        struct cn_model *m = l.old[i];

        if (m == NULL)
            continue;
        if (cn_runtime_find(rt, m->name) == NULL) {
            tell(&l, m->name, CN_MODEL_REMOVED);
            if (rt->model_hook != NULL && m->reported_bytes > 0)
                rt->model_hook(rt->hook_ctx, m->name, false, 0);
        }
        retire(rt, m);
    }
    free(l.old);
    l.n.embeddings = cn_embeddings_refresh(&rt->embeddings, on_unread, rt);
    l.n.adapters = cn_adapters_refresh(&rt->adapters, on_unread, rt);
    return l.n;
}

void cn_runtime_hold(struct cn_model *m)
{
    m->holders++;
}

void cn_runtime_let_go(struct cn_model *m)
{
    CN_ASSERT(m->holders > 0);
    m->holders--;
}

static void count_weights(const struct cn_model *m, struct cn_model_facts *ret)
{
    for (int c = 0; c < CN_COMP_COUNT; c++)
        for (size_t i = 0; i < cn_checkpoint_count(m->checkpoint, (enum cn_component)c); i++) {
            struct cn_tensor_view v;
            uint64_t n = 1;

            cn_checkpoint_at(m->checkpoint, (enum cn_component)c, i, &v);
            for (int k = 0; k < v.rank; k++)
                n *= (uint64_t)v.dim[k];
            ret->parameters += n;
            ret->bytes += cn_view_stored(&v);
        }
}

void cn_model_describe(const struct cn_model *m, struct cn_model_facts *ret)
{
    *ret = (struct cn_model_facts){
        .name = m->name, .path = m->path, .role = m->role, .broken = m->broken};
    if (m->broken != NULL)
        return;
    ret->loaded = cn_model_loaded(m);
    ret->resident = cn_model_bytes(m);
    count_weights(m, ret);
    if (m->role == CN_ROLE_CONTROL) {
        cn_unet_family(&cn_checkpoint_control(m->checkpoint)->unet, ret->family,
                       sizeof(ret->family));
        return;
    }
    if (cn_checkpoint_vae(m->checkpoint) != NULL) {
        ret->multiple = cn_vae_factor(cn_checkpoint_vae(m->checkpoint));
        ret->latent_channels = cn_checkpoint_vae(m->checkpoint)->latent_channels;
    }
    if (m->role == CN_ROLE_VAE)
        return;
    cn_unet_family(cn_checkpoint_unet(m->checkpoint), ret->family, sizeof(ret->family));
    ret->guidance = cn_checkpoint_guidance(m->checkpoint);
    ret->width = cn_checkpoint_unet(m->checkpoint)->sample_width * ret->multiple;
    ret->height = cn_checkpoint_unet(m->checkpoint)->sample_height * ret->multiple;
}

const char *cn_runtime_default(const struct cn_runtime *rt)
{
    const struct cn_model *m = rt->chosen != NULL ? cn_runtime_find(rt, rt->chosen) : NULL;

    if (m != NULL && m->broken == NULL && m->role == CN_ROLE_BASE)
        return m->name;
    for (int i = 0; i < rt->n_models; i++)
        if (rt->model[i]->role == CN_ROLE_BASE && rt->model[i]->broken == NULL)
            return rt->model[i]->name;
    return NULL;
}

int cn_runtime_set_default(struct cn_runtime *rt, const char *name, struct cn_err *err)
{
    const struct cn_model *m = cn_runtime_find(rt, name);

    if (m == NULL)
        return cn_fail(err, CN_ENOTFOUND, "there is no model \"%s\"", name);
    if (m->broken != NULL)
        return cn_fail(err, CN_EFORMAT, "model \"%s\" cannot be used: %s", name, m->broken);
    if (m->role != CN_ROLE_BASE)
        return cn_fail(err, CN_EINVAL, "\"%s\" is %s, not a base model", name,
                       cn_role_title(m->role));
    free(rt->chosen);
    rt->chosen = cn_xstrdup(name);
    return CN_OK;
}

void cn_runtime_release(struct cn_runtime *rt)
{
    for (size_t i = 0; i < rt->n_overlays; i++)
        cn_overlay_free(rt->overlay[i]);
    free(rt->overlay);
    rt->overlay = NULL;
    rt->n_overlays = 0;
    for (size_t i = 0; i < rt->n_fitted; i++)
        cn_fitted_free(rt->fitted[i]);
    free(rt->fitted);
    rt->fitted = NULL;
    rt->n_fitted = 0;
    for (int i = 0; i < rt->n_models + rt->n_retired; i++)
        cn_model_free(rt->model[i]);
    cn_adapters_release(&rt->adapters);
    forget_passed(rt);
    for (size_t i = 0; i < rt->n_sources; i++)
        free(rt->source[i].path);
    free(rt->model);
    cn_embeddings_release(&rt->embeddings);
    free(rt->source);
    free(rt->passed);
    free(rt->chosen);
    rt->model = NULL;
    rt->source = NULL;
    rt->passed = NULL;
    rt->chosen = NULL;
    rt->n_models = rt->n_retired = 0;
    rt->n_sources = rt->n_passed = 0;
}
