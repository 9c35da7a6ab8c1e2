/* The walk over directories of models. */
#include "base/base.h"
#include "runtime/find_models.h"
#include "base/file.h"
#include "base/mem.h"
#include "checkpoint/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum {
    MAX_LEVELS = 4,     /* folders inside of each other, as many as are watched for changes */
    MAX_FOLDERS = 10000 /* a home directory by mistake */
};

static const char cache_prefix[] = "models--";

struct folder {
    char *path;
    char *name; /* as models in it are told from others */
    int level;
    size_t above; /* the folder that it lies in; of the first one itself */
    bool has_model;
    dev_t dev; /* which one it is: links may lead to one folder twice */
    ino_t ino;
};

struct walk {
    const struct cn_model_finder *f;
    struct folder *folder; /* those that were seen, and behind `next` are still to be looked into */
    size_t n, cap, next;
    struct vae {
        char *path, *name, *folder;
    } *vae; /* told last: they take no name from a model */
    size_t n_vaes, vaes_cap;
};

static void pass_over(const struct walk *w, const char *path, const char *why)
{
    if (w->f->passed_over != NULL)
        w->f->passed_over(w->f->ctx, path, why);
}

/* Takes path. */
static void add_folder(struct walk *w, char *path, const char *name, const struct folder *in)
{
    int level = in != NULL ? in->level + 1 : 0;
    struct stat st;

    if (stat(path, &st) < 0) {
        pass_over(w, path, strerror(errno));
        free(path);
        return;
    }
    for (size_t i = 0; i < w->n; i++)
        if (w->folder[i].dev == st.st_dev && w->folder[i].ino == st.st_ino) {
            free(path);
            return;
        }
    if (level > MAX_LEVELS || w->n == MAX_FOLDERS) {
        pass_over(w, path,
                  level > MAX_LEVELS ? "too many folders inside of each other"
                                     : "too many folders");
        free(path);
        return;
    }
    w->folder = cn_grow(w->folder, w->n, &w->cap, sizeof(*w->folder));
    w->folder[w->n++] = (struct folder){.path = path,
                                        .name = cn_xstrdup(name),
                                        .level = level,
                                        .above = w->next > 0 ? w->next - 1 : 0,
                                        .dev = st.st_dev,
                                        .ino = st.st_ino};
}

/* The folder that is being read has something in it, and so have those above. */
static void mark(struct walk *w)
{
    for (size_t i = w->next - 1; !w->folder[i].has_model; i = w->folder[i].above)
        w->folder[i].has_model = true;
}

static void found(struct walk *w, const char *path, const char *name, const char *folder)
{
    struct cn_found_model m = {.path = path, .name = name, .folder = folder};

    mark(w);
    w->f->found(w->f->ctx, &m);
}

static bool has_file(const char *dir, const char *name)
{
    char *path = cn_xprintf("%s/%s", dir, name);
    bool yes = cn_file_exists(path);

    free(path);
    return yes;
}

/* A directory that diffusers would open. */
static bool is_model_dir(const char *path)
{
    return has_file(path, "model_index.json") || has_file(path, "config.json");
}

/* ---- Hugging Face's cache ---- */

/* "models--org--name": owner and name (which borrow it); false: it is something else. */
static bool is_repository(char *dir, const char **ret_owner, const char **ret_name)
{
    char *word = dir + strlen(cache_prefix), *dashes;

    if (strncmp(dir, cache_prefix, strlen(cache_prefix)) != 0 || word[0] == '\0')
        return false;
    dashes = strstr(word, "--");
    *ret_owner = dashes != NULL ? word : "";
    *ret_name = dashes != NULL ? dashes + 2 : word;
    if (dashes != NULL)
        *dashes = '\0';
    return true;
}

static int visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static void look_at_repository(struct walk *w, const char *path, const char *owner,
                               const char *name, const struct folder *in)
{
    char *snapshot = cn_checkpoint_snapshot(path);

    if (snapshot == NULL) {
        pass_over(w, path, "a repository of the cache without a snapshot");
    } else if (is_model_dir(snapshot)) {
        found(w, snapshot, name, owner);
    } else {
        add_folder(w, snapshot, name, in);
        return;
    }
    free(snapshot);
}

/* ---- entries ---- */

/* Of these repositories are no models. */
static bool is_other_repository(const char *name)
{
    return strncmp(name, "datasets--", 10) == 0 || strncmp(name, "spaces--", 8) == 0;
}

static void look_at_dir(struct walk *w, const char *path, const char *name, const struct folder *in)
{
    char *copy = cn_xstrdup(name);
    const char *owner, *own;

    if (is_repository(copy, &owner, &own))
        look_at_repository(w, path, owner, own, in);
    else if (is_model_dir(path))
        found(w, path, name, in->name);
    else if (!is_other_repository(name))
        add_folder(w, cn_xstrdup(path), name, in);
    free(copy);
}

static bool is_called(const char *name, const char *part)
{
    size_t len = strlen(name) - cn_checkpoint_ending(name);

    return len == strlen(part) && memcmp(name, part, len) == 0;
}

/* Named as what models share (checkpoint/open.c): "vae.safetensors", "sd15.vae.pt", and what is in
 * a folder VAE. */
static bool is_vae(const char *name, const char *folder)
{
    size_t len = strlen(name) - cn_checkpoint_ending(name);

    return is_called(name, "vae") || strcasecmp(folder, "vae") == 0 ||
           (name[len] != '\0' && len > 4 && memcmp(name + len - 4, ".vae", 4) == 0);
}

static void keep_vae(struct walk *w, const char *path, const char *name, const struct folder *in)
{
    mark(w);
    w->vae = cn_grow(w->vae, w->n_vaes, &w->vaes_cap, sizeof(*w->vae));
    w->vae[w->n_vaes++] =
        (struct vae){cn_xstrdup(path), cn_xstrdup(name), cn_xstrdup(in->name)};
}

static void tell_vaes(struct walk *w, bool well)
{
    for (size_t i = 0; i < w->n_vaes; i++) {
        struct vae *v = &w->vae[i];
        struct cn_found_model m = {.path = v->path, .name = v->name, .folder = v->folder};

        if (well)
            w->f->found(w->f->ctx, &m);
        free(v->path);
        free(v->name);
        free(v->folder);
    }
    free(w->vae);
}

static void look_at(struct walk *w, const char *path, const char *name, const struct folder *in)
{
    bool file = cn_checkpoint_ending(name) > 0 && cn_file_exists(path);

    if (is_vae(name, in->name) && (file || is_model_dir(path))) {
        keep_vae(w, path, name, in);
    } else if (is_called(name, "text_encoder") && (file || is_model_dir(path))) {
        mark(w);
        pass_over(w, path, "a part of models that lie beside it");
    } else if (cn_dir_exists(path))
        look_at_dir(w, path, name, in);
    else if (file)
        found(w, path, name, in->name);
    else if (cn_checkpoint_ending(name) > 0)
        pass_over(w, path, "no file, or a link to one that is not there");
    else if (in->level == 0)
        pass_over(w, path, "its name ends in none of .safetensors, .ckpt, .pt, .pth and .bin");
}

/* By the names without endings, so that of two files sd15 the safetensors has the short name. */
static int compare_entries(const struct dirent **a, const struct dirent **b)
{
    const char *x = (*a)->d_name, *y = (*b)->d_name;
    size_t n = strlen(x) - cn_checkpoint_ending(x), m = strlen(y) - cn_checkpoint_ending(y);
    int order = memcmp(x, y, CN_MIN(n, m));

    if (order == 0)
        order = n < m ? -1 : n > m;
    return order != 0 ? order : strcmp(y + m, x + n);
}

static int read_folder(struct walk *w, const struct folder *in, struct cn_err *err)
{
    struct dirent **list;
    int n = scandir(in->path, &list, visible, compare_entries);

    if (n < 0)
        return cn_fail(err, CN_EIO, "cannot read the directory of models \"%s\": %s", in->path,
                       strerror(errno));
    for (int i = 0; i < n; i++) {
        char *path = cn_xprintf("%s/%s", in->path, list[i]->d_name);

        look_at(w, path, list[i]->d_name, in);
        free(path);
        free(list[i]);
    }
    free(list);
    return CN_OK;
}

int cn_find_models(const char *dir, const struct cn_model_finder *f, struct cn_err *err)
{
    const char *slash = strrchr(dir, '/');
    struct walk w = {.f = f};
    int rc = CN_OK;

    if (!cn_dir_exists(dir))
        return cn_fail(err, CN_ENOTFOUND, "there is no directory of models \"%s\"", dir);
    add_folder(&w, cn_xstrdup(dir), slash != NULL ? slash + 1 : dir, NULL);
    while (rc == CN_OK && w.next < w.n) {
        struct folder in = w.folder[w.next++]; /* a copy: the list may move */
        struct cn_err why = CN_ERR_INIT;

        if (read_folder(&w, &in, in.level == 0 ? err : &why) == CN_OK)
            continue;
        if (in.level == 0)
            rc = CN_EIO;
        else
            pass_over(&w, in.path, why.msg);
    }
    tell_vaes(&w, rc == CN_OK);
    for (size_t i = 0; i < w.n; i++) {
        if (rc == CN_OK && w.folder[i].level == 1 && !w.folder[i].has_model)
            pass_over(&w, w.folder[i].path,
                      "a directory with neither model_index.json nor config.json, and no weights");
        free(w.folder[i].path);
        free(w.folder[i].name);
    }
    free(w.folder);
    return rc;
}
