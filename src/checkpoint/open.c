/* Opens checkpoints: a directory or a file (open_dir.c, open_file.c), and for a file the parts that
 * it lacks, or shall have from elsewhere. These are, for SOMETHING.safetensors (or .ckpt ...),
 *
 *  1. what SOMETHING.json names: {"vae": "FILE"}, {"text_encoder": "FILE"}, "text_encoder_2" too;
 *  2. SOMETHING.vae.safetensors, .vae.pt or .vae.ckpt, as AUTOMATIC1111 has it;
 *  3. the file's own;
 *  4. vae.safetensors (.pt, .ckpt, .pth, .bin, or a directory), text_encoder.safetensors and
 *     text_encoder_2.safetensors in the same folder, which all files share that have none.
 *
 * A part may come from a file of its own, or from another model. */
#include "base/base.h"
#include "checkpoint/checkpoint_priv.h"

#include <stdlib.h>
#include <string.h>

/* A repository of the cache stands for its revision in use. */
static void go_to_snapshot(struct cn_checkpoint *c)
{
    static const char prefix[] = "models--";
    const char *slash = strrchr(c->path, '/'), *name = slash != NULL ? slash + 1 : c->path;
    char *path;

    if (strncmp(name, prefix, strlen(prefix)) != 0 || !cn_dir_exists(c->path))
        return;
    path = cn_checkpoint_snapshot(c->path);
    if (path != NULL) {
        free(c->path);
        c->path = path;
    }
}

static int open_one(const char *path, enum cn_ema_choice ema, struct cn_checkpoint **ret,
                    struct cn_err *err)
{
    struct cn_checkpoint *c = cn_xcalloc(1, sizeof(*c));
    size_t len = strlen(path);
    int rc;

    c->path = cn_xstrdup(path);
    c->asked = ema;
    while (len > 1 && c->path[len - 1] == '/')
        c->path[--len] = '\0';
    go_to_snapshot(c);
    rc = cn_dir_exists(c->path) ? cn_checkpoint_open_dir(c, err) : cn_checkpoint_open_file(c, err);
    for (int i = 0; rc == CN_OK && i < CN_COMP_COUNT; i++)
        rc = cn_checkpoint_sort(c, (enum cn_component)i, err);
    if (rc < 0) {
        cn_checkpoint_close(c);
        return rc;
    }
    *ret = c;
    return CN_OK;
}

/* ---- where parts may be ---- */

static bool is_there(const char *path)
{
    return cn_file_exists(path) || cn_dir_exists(path);
}

/* name, seen from the model's folder, when something is there; else NULL. The caller frees it. */
static char *beside(const struct cn_checkpoint *c, const char *name)
{
    const char *slash = strrchr(c->path, '/');
    char *path = name[0] == '/' || slash == NULL
                     ? cn_xstrdup(name)
                     : cn_xprintf("%.*s/%s", (int)(slash - c->path), c->path, name);

    if (is_there(path))
        return path;
    free(path);
    return NULL;
}

/* stem + the first of these endings with which there is a file, or a directory without one. */
static char *with_ending(const struct cn_checkpoint *c, const char *stem)
{
    static const char *const endings[] = {".safetensors", ".pt", ".ckpt", ".pth", ".bin", ""};
    char *found = NULL;

    for (size_t i = 0; found == NULL && i < CN_LEN(endings); i++) {
        char *name = cn_xprintf("%s%s", stem, endings[i]);

        found = beside(c, name);
        free(name);
    }
    return found;
}

/* What the file beside the model names: there, or where AUTOMATIC1111 keeps VAEs. */
static char *wished(const struct cn_checkpoint *c, enum cn_component comp)
{
    char *found = beside(c, c->wish[comp]), *name;

    if (found != NULL || comp != CN_COMP_VAE)
        return found;
    name = cn_xprintf("../VAE/%s", c->wish[comp]);
    found = beside(c, name);
    free(name);
    return found;
}

static char *own_vae(const struct cn_checkpoint *c)
{
    const char *slash = strrchr(c->path, '/'), *base = slash != NULL ? slash + 1 : c->path;
    char *stem = cn_xprintf("%.*s.vae", (int)(strlen(base) - cn_checkpoint_ending(base)), base);
    char *found = with_ending(c, stem);

    free(stem);
    return found;
}

static const char *const shared[CN_COMP_COUNT] = {[CN_COMP_TEXT] = "text_encoder",
                                                  [CN_COMP_TEXT_2] = "text_encoder_2",
                                                  [CN_COMP_VAE] = "vae"};

/* The path that a part comes from; NULL: it is the file's own, or nowhere. */
static int find_part(const struct cn_checkpoint *c, enum cn_component comp, char **ret,
                     struct cn_err *err)
{
    bool vae = comp == CN_COMP_VAE;

    *ret = NULL;
    if (c->wish[comp] != NULL) {
        *ret = wished(c, comp);
        if (*ret == NULL && !c->comp[comp].present)
            return cn_fail(err, CN_ENOTFOUND, "the %s of \"%s\": there is no \"%s\"",
                           cn_component_name(comp), c->path, c->wish[comp]);
    }
    if (*ret == NULL && vae)
        *ret = own_vae(c);
    if (*ret == NULL && !c->comp[comp].present)
        *ret = with_ending(c, shared[comp]);
    return CN_OK;
}

/* ---- taking them ---- */

/* Which of d's is the part: a second text encoder alone in its file is its only one. */
static enum cn_component part_of(const struct cn_checkpoint *d, enum cn_component comp)
{
    return comp == CN_COMP_TEXT_2 && !d->comp[comp].present ? CN_COMP_TEXT : comp;
}

static void take_text(struct cn_checkpoint *c, int to, struct cn_checkpoint *d, int from)
{
    c->text[to] = d->text[from];
    c->openclip[to] = d->openclip[from];
    c->projection[to] = d->projection[from];
    free(c->tokenizer[to]);
    c->tokenizer[to] = d->tokenizer[from];
    d->tokenizer[from] = NULL;
}

static void take_part(struct cn_checkpoint *c, enum cn_component comp, struct cn_checkpoint *d)
{
    struct cn_component_tensors *to = &c->comp[comp];
    enum cn_component from = part_of(d, comp);

    free(to->view);
    *to = d->comp[from];
    d->comp[from] = (struct cn_component_tensors){0};
    c->donor[comp] = d;
    if (comp == CN_COMP_VAE)
        c->vae = d->vae;
    else
        take_text(c, (int)(comp - CN_COMP_TEXT), d, (int)(from - CN_COMP_TEXT));
}

static int borrow(struct cn_checkpoint *c, enum cn_component comp, struct cn_err *err)
{
    struct cn_checkpoint *d;
    char *path;
    int rc = find_part(c, comp, &path, err);

    if (rc < 0 || path == NULL)
        return rc;
    rc = open_one(path, CN_EMA_MODEL, &d, err);
    if (rc < 0) {
        cn_err_prefix(err, "the %s of \"%s\"", cn_component_name(comp), c->path);
    } else if (!d->comp[part_of(d, comp)].present) {
        rc = cn_fail(err, CN_EFORMAT, "the %s of \"%s\": there is none in \"%s\"",
                     cn_component_name(comp), c->path, path);
        cn_checkpoint_close(d);
    } else {
        take_part(c, comp, d);
    }
    free(path);
    return rc;
}

/* What a file lacks, or shall have from elsewhere. */
static int borrow_parts(struct cn_checkpoint *c, struct cn_err *err)
{
    static const enum cn_component parts[] = {CN_COMP_VAE, CN_COMP_TEXT, CN_COMP_TEXT_2};
    int rc = CN_OK;

    for (size_t i = 0; i < CN_LEN(parts) && rc == CN_OK; i++)
        if (parts[i] != CN_COMP_TEXT_2 || c->unet.add_dim > 0)
            rc = borrow(c, parts[i], err);
    return rc;
}

int cn_checkpoint_open(const char *path, struct cn_checkpoint **ret, struct cn_err *err)
{
    return cn_checkpoint_open_with(path, CN_EMA_MODEL, ret, err);
}

int cn_checkpoint_open_with(const char *path, enum cn_ema_choice ema, struct cn_checkpoint **ret,
                            struct cn_err *err)
{
    struct cn_checkpoint *c;
    int rc = open_one(path, ema, &c, err);

    if (rc < 0)
        return rc;
    if (c->kind == CN_CKPT_FILE && c->comp[CN_COMP_UNET].present)
        rc = borrow_parts(c, err);
    if (rc == CN_OK)
        rc = cn_checkpoint_settle(c, err);
    if (rc < 0)
        cn_checkpoint_close(c);
    else
        *ret = c;
    return rc;
}
