/* Embeddings: found, read, and looked up. */
#include "base/base.h"
#include "runtime/embeddings.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/spec.h"
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

/* ---- the list ---- */

static bool is_there(const struct cn_embeddings *e, const char *name)
{
    for (int i = 0; i < e->n; i++)
        if (strcmp(e->item[i].name, name) == 0)
            return true;
    return false;
}

static void add(struct cn_embeddings *e, const char *path)
{
    struct cn_embedding x = {.path = cn_xstrdup(path), .name = cn_file_name(path)};
    struct cn_err why = CN_ERR_INIT;
    int rc;

    x.token = cn_xstrdup(x.name);
    x.first = e->vectors;
    rc = !is_there(e, x.name)
             ? read_embedding(&x, &why)
             : cn_fail(&why, CN_EINVAL, "\"%s\": there is another embedding of this name", x.path);
    if (rc < 0)
        x.broken = cn_xstrdup(why.msg);
    else
        e->vectors += x.vectors;
    e->item = cn_grow(e->item, (size_t)e->n, &e->cap, sizeof(*e->item));
    e->item[e->n++] = x;
}

static int visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

static int scan(struct cn_embeddings *e, const char *dir, int depth, struct cn_err *err)
{
    struct dirent **list;
    int n = scandir(dir, &list, visible, alphasort), rc = CN_OK;

    if (n < 0)
        return cn_fail(err, errno == ENOENT ? CN_ENOTFOUND : CN_EIO,
                       "cannot read the directory of embeddings \"%s\": %s", dir, strerror(errno));
    for (int i = 0; i < n; i++) {
        char *path = cn_xprintf("%s/%s", dir, list[i]->d_name);

        if (rc == CN_OK && cn_dir_exists(path) && depth < MAX_DEPTH)
            rc = scan(e, path, depth + 1, err);
        else if (rc == CN_OK && cn_checkpoint_ending(path) > 0 && cn_file_exists(path))
            rc = e->n < CN_MAX_EMBEDDINGS
                     ? (add(e, path), CN_OK)
                     : cn_fail(err, CN_ETOOBIG, "more than %d embeddings", CN_MAX_EMBEDDINGS);
        free(path);
        free(list[i]);
    }
    free(list);
    return rc;
}

int cn_embeddings_scan(struct cn_embeddings *e, const char *dir, struct cn_err *err)
{
    return scan(e, dir, 0, err);
}

void cn_embeddings_release(struct cn_embeddings *e)
{
    for (int i = 0; i < e->n; i++) {
        struct cn_embedding *x = &e->item[i];

        free(x->name);
        free(x->token);
        free(x->path);
        free(x->broken);
        for (int k = 0; k < CN_MAX_TEXTS; k++)
            free(x->rows[k]);
    }
    free(e->item);
    *e = (struct cn_embeddings){NULL, 0, 0, 0};
}

bool cn_embedding_fits(const struct cn_embedding *e, const int *width, int encoders)
{
    return e->broken == NULL && e->encoders == encoders &&
           memcmp(e->width, width, (size_t)encoders * sizeof(*width)) == 0;
}

const float *cn_embeddings_row(const struct cn_embeddings *e, int32_t id, int i)
{
    int32_t at = id - CN_FIRST_VECTOR;

    for (int k = 0; k < e->n; k++) {
        const struct cn_embedding *x = &e->item[k];

        if (x->broken == NULL && at >= x->first && at < x->first + x->vectors && i < x->encoders)
            return x->rows[i] + (size_t)(at - x->first) * (size_t)x->width[i];
    }
    return NULL;
}
