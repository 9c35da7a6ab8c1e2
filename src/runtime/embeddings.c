/* Embeddings: found, read, looked up, and looked at again. */
#include "base/base.h"
#include "runtime/embeddings.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/spec.h"
#include "base/table.h"
#include "base/utf8.h"
#include "runtime/file_name.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 8 /* of directories */, MAX_WIDTH = 1 << 16 };

static const char *const encoder_keys[CN_MAX_TEXTS] = {"clip_l", "clip_g"};
static const char param_key[] = "string_to_param", token_key[] = "string_to_token";

static bool starts_with(const char *s, const char *head)
{
    return strncmp(s, head, strlen(head)) == 0;
}

/* ---- files ---- */

/* The rows of one encoder. */
static int read_rows(struct cn_embedding *e, const struct cn_tensor_view *v, struct cn_err *err)
{
    int64_t n = v->rank == 2 ? v->dim[0] : 1, width = v->rank > 0 ? v->dim[v->rank - 1] : 0;
    size_t count = (size_t)(n * width);
    char shape[96];
    float *rows;
    void *raw;
    int rc;

    cn_view_shape(v, shape, sizeof(shape));
    if (v->rank < 1 || v->rank > 2 || n < 1 || width < 1 || width > MAX_WIDTH)
        return cn_fail(err, CN_EFORMAT, "\"%s\": \"%s\" is %s, not [vectors, width]", e->path,
                       v->name, shape);
    if (n > CN_MAX_VECTORS)
        return cn_fail(err, CN_EFORMAT, "\"%s\": %lld vectors are more than the %d of a text",
                       e->path, (long long)n, CN_MAX_VECTORS);
    if (e->encoders > 0 && n != e->vectors)
        return cn_fail(err, CN_EFORMAT, "\"%s\": \"%s\" has not as many vectors as \"%s\"", e->path,
                       encoder_keys[1], encoder_keys[0]);
    if (v->dtype == CN_DTYPE_COUNT)
        return cn_fail(err, CN_EFORMAT, "\"%s\": \"%s\" is of type %s", e->path, v->name, v->type);
    raw = cn_xmalloc(v->bytes + 1);
    rows = cn_xcalloc(count, sizeof(*rows));
    rc = cn_view_read(v, raw, err);
    if (rc == CN_OK) {
        cn_to_f32(rows, raw, v->dtype, count);
        if (!cn_all_finite(rows, CN_F32, count))
            rc = cn_fail(err, CN_EFORMAT, "\"%s\": \"%s\" has values that are not numbers", e->path,
                         v->name);
    }
    free(raw);
    e->vectors = (int)n;
    e->width[e->encoders] = (int)width;
    e->rows[e->encoders++] = rows;
    return rc;
}

/* What a file of one tensor calls itself: the web UI beside it, diffusers by the tensor's name. */
static const char *token_of(const struct cn_tensor_file *f, const struct cn_tensor_view *v)
{
    static const char *const nameless[] = {"emb_params", "*", "clip_l", "clip_g"};
    const char *name = cn_tensor_file_metadata(f, "name");

    if (starts_with(v->name, param_key))
        return name;
    for (size_t i = 0; i < CN_LEN(nameless); i++)
        if (strcmp(v->name, nameless[i]) == 0)
            return NULL;
    return v->name;
}

/* The one tensor of a file. The web UI's have the placeholder's old number beside it, which may be
 * a tensor as well. */
static int find_tensor(const struct cn_embedding *e, const struct cn_tensor_file *f,
                       struct cn_tensor_view *ret, struct cn_err *err)
{
    struct cn_tensor_view v;
    size_t n = 0;

    for (size_t i = 0; i < cn_tensor_file_count(f); i++) {
        cn_tensor_file_at(f, i, &v);
        if (starts_with(v.name, token_key))
            continue;
        *ret = v;
        n++;
    }
    return n == 1 ? CN_OK
                  : cn_fail(err, CN_EFORMAT,
                            "\"%s\" has %zu tensors: an embedding has one, or clip_l and clip_g",
                            e->path, n);
}

static int read_file(struct cn_embedding *e, const struct cn_tensor_file *f, struct cn_err *err)
{
    struct cn_tensor_view v[CN_MAX_TEXTS];
    const char *token = NULL;
    int rc;

    if (cn_tensor_file_view(f, encoder_keys[0], &v[0]) &&
        cn_tensor_file_view(f, encoder_keys[1], &v[1])) {
        rc = read_rows(e, &v[0], err);
        return rc < 0 ? rc : read_rows(e, &v[1], err);
    }
    rc = find_tensor(e, f, &v[0], err);
    if (rc == CN_OK)
        rc = read_rows(e, &v[0], err);
    if (rc < 0)
        return rc;
    token = token_of(f, &v[0]);
    if (token != NULL && token[0] != '\0' && strlen(token) < CN_MODEL_NAME &&
        cn_utf8_check(token, strlen(token)) == strlen(token)) {
        free(e->token);
        e->token = cn_xstrdup(token);
    }
    return rc;
}

static int read_embedding(struct cn_embedding *e, struct cn_err *err)
{
    struct cn_tensor_file *f;
    int rc = cn_tensor_file_open(e->path, &f, err);

    if (rc < 0)
        return rc;
    rc = read_file(e, f, err);
    cn_tensor_file_close(f);
    return rc;
}

static void embedding_unref(struct cn_embedding *x)
{
    if (--x->lists > 0)
        return;
    free(x->name);
    free(x->token);
    free(x->path);
    free(x->broken);
    for (int k = 0; k < CN_MAX_TEXTS; k++)
        free(x->rows[k]);
    free(x);
}

bool cn_embedding_fits(const struct cn_embedding *e, const int *width, int encoders)
{
    return e->broken == NULL && e->encoders == encoders &&
           memcmp(e->width, width, (size_t)encoders * sizeof(*width)) == 0;
}

/* ---- a list ---- */

static struct cn_embedding_list *list_new(struct cn_embeddings *e)
{
    struct cn_embedding_list *l = cn_xcalloc(1, sizeof(*l));

    l->number = ++e->lists;
    l->holders = 1;
    return l;
}

static void append(struct cn_embedding_list *l, struct cn_embedding *x)
{
    l->item = cn_grow(l->item, (size_t)l->n, &l->cap, sizeof(*l->item));
    l->item[l->n++] = (struct cn_embedding_at){x, l->vectors};
    x->lists++;
    if (x->broken == NULL)
        l->vectors += x->vectors;
}

static bool has_name(const struct cn_embedding_list *l, const char *name)
{
    for (int i = 0; i < l->n; i++)
        if (strcmp(l->item[i].of->name, name) == 0)
            return true;
    return false;
}

void cn_embeddings_let_go(struct cn_embedding_list *l)
{
    if (l == NULL || --l->holders > 0)
        return;
    for (int i = 0; i < l->n; i++)
        embedding_unref(l->item[i].of);
    free(l->item);
    free(l);
}

struct cn_embedding_list *cn_embeddings_hold(struct cn_embeddings *e)
{
    if (e->now != NULL)
        e->now->holders++;
    return e->now;
}

const float *cn_embeddings_row(const struct cn_embedding_list *l, int32_t id, int i)
{
    int32_t at = id - CN_FIRST_VECTOR;

    for (int k = 0; l != NULL && k < l->n; k++) {
        const struct cn_embedding *x = l->item[k].of;
        int32_t row = at - l->item[k].first;

        if (x->broken == NULL && row >= 0 && row < x->vectors && i < x->encoders)
            return x->rows[i] + (size_t)row * (size_t)x->width[i];
    }
    return NULL;
}

/* ---- looking ---- */

/* One look: the list that is made, and the one before it, which may be NULL. */
struct look {
    struct cn_embedding_list *to;
    const struct cn_embedding_list *old;
};

static uint64_t version_of(const char *path)
{
    uint64_t h = CN_HASH_INIT;
    struct cn_file_id id;

    if (cn_file_identify(path, &id, NULL) < 0)
        return 0;
    h = cn_hash(h, &id.dev, sizeof(id.dev));
    h = cn_hash(h, &id.ino, sizeof(id.ino));
    h = cn_hash(h, &id.size, sizeof(id.size));
    return cn_hash(h, &id.mtime_ns, sizeof(id.mtime_ns));
}

/* The same file as before, unchanged; one that could not be used is tried each time. */
static struct cn_embedding *find_old(const struct look *l, const char *path, uint64_t version)
{
    for (int i = 0; l->old != NULL && i < l->old->n; i++) {
        struct cn_embedding *x = l->old->item[i].of;

        if (x->broken == NULL && x->version == version && strcmp(x->path, path) == 0)
            return x;
    }
    return NULL;
}

static void add(struct look *l, const char *path)
{
    uint64_t version = version_of(path); /* first: what changes from now on is seen later */
    struct cn_embedding *x = find_old(l, path, version);
    struct cn_err why = CN_ERR_INIT;
    int rc;

    if (x != NULL && !has_name(l->to, x->name)) {
        append(l->to, x);
        return;
    }
    x = cn_xcalloc(1, sizeof(*x));
    x->path = cn_xstrdup(path);
    x->name = cn_file_name(path);
    x->token = cn_xstrdup(x->name);
    x->version = version;
    rc = !has_name(l->to, x->name)
             ? read_embedding(x, &why)
             : cn_fail(&why, CN_EINVAL, "\"%s\": there is another embedding of this name", path);
    if (rc < 0)
        x->broken = cn_xstrdup(why.msg);
    append(l->to, x);
}

static int visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static int look_into(struct look *l, const char *dir, int depth, struct cn_err *err)
{
    struct dirent **list;
    int n = scandir(dir, &list, visible, alphasort), rc = CN_OK;

    if (n < 0 && errno == ENOENT && depth > 0) /* it went just now */
        return CN_OK;
    if (n < 0)
        return cn_fail(err, errno == ENOENT ? CN_ENOTFOUND : CN_EIO,
                       "cannot read the directory of embeddings \"%s\": %s", dir, strerror(errno));
    for (int i = 0; i < n; i++) {
        char *path = cn_xprintf("%s/%s", dir, list[i]->d_name);

        if (rc == CN_OK && cn_dir_exists(path) && depth < MAX_DEPTH)
            rc = look_into(l, path, depth + 1, err);
        else if (rc == CN_OK && cn_checkpoint_ending(path) > 0 && cn_file_exists(path))
            rc = l->to->n < CN_MAX_EMBEDDINGS
                     ? (add(l, path), CN_OK)
                     : cn_fail(err, CN_ETOOBIG, "more than %d embeddings", CN_MAX_EMBEDDINGS);
        free(path);
        free(list[i]);
    }
    free(list);
    return rc;
}

/* A directory that cannot be read just now says nothing about what is in it. */
static void keep_those_in(struct look *l, const char *dir)
{
    size_t len = strlen(dir);

    for (int i = 0; l->old != NULL && i < l->old->n; i++) {
        struct cn_embedding *x = l->old->item[i].of;

        if (strncmp(x->path, dir, len) == 0 && x->path[len] == '/' && !has_name(l->to, x->name) &&
            l->to->n < CN_MAX_EMBEDDINGS)
            append(l->to, x);
    }
}

int cn_embeddings_scan(struct cn_embeddings *e, const char *dir, struct cn_err *err)
{
    struct look l = {.to = list_new(e)};
    int rc;

    for (int i = 0; e->now != NULL && i < e->now->n; i++)
        append(l.to, e->now->item[i].of);
    rc = look_into(&l, dir, 0, err);
    if (rc < 0) {
        cn_embeddings_let_go(l.to);
        return rc;
    }
    cn_embeddings_let_go(e->now);
    e->now = l.to;
    e->source = cn_grow(e->source, e->n_sources, &e->sources_cap, sizeof(*e->source));
    e->source[e->n_sources++] = cn_xstrdup(dir);
    return CN_OK;
}

static bool is_same(const struct cn_embedding *x, const struct cn_embedding *y)
{
    return x == y || (x->broken != NULL && y->broken != NULL && strcmp(x->path, y->path) == 0 &&
                      strcmp(x->broken, y->broken) == 0);
}

static bool are_same(const struct cn_embedding_list *a, const struct cn_embedding_list *b)
{
    bool same = a->n == b->n;

    for (int i = 0; i < a->n && same; i++)
        same = is_same(a->item[i].of, b->item[i].of);
    return same;
}

bool cn_embeddings_refresh(struct cn_embeddings *e,
                           void (*told)(void *ctx, const char *dir, const char *why), void *ctx)
{
    struct look l = {.old = e->now};

    if (e->now == NULL)
        return false;
    l.to = list_new(e);
    for (size_t i = 0; i < e->n_sources; i++) {
        struct cn_err err = CN_ERR_INIT;
        int rc = look_into(&l, e->source[i], 0, &err);

        if (rc == CN_OK || rc == CN_ENOTFOUND)
            continue;
        keep_those_in(&l, e->source[i]);
        if (told != NULL)
            told(ctx, e->source[i], err.msg);
    }
    if (are_same(l.to, e->now)) {
        cn_embeddings_let_go(l.to);
        return false;
    }
    cn_embeddings_let_go(e->now);
    e->now = l.to;
    return true;
}

void cn_embeddings_release(struct cn_embeddings *e)
{
    cn_embeddings_let_go(e->now);
    for (size_t i = 0; i < e->n_sources; i++)
        free(e->source[i]);
    free(e->source);
    *e = (struct cn_embeddings){.now = NULL};
}
