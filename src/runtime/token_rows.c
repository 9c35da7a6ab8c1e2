/* Rows of the tables of tokens and positions. */
#include "base/base.h"
#include "runtime/token_rows.h"
#include "base/mem.h"
#include "base/spec.h"

#include <stdlib.h>
#include <string.h>

static const char token_table[] = "text_model.embeddings.token_embedding.weight",
                  position_table[] = "text_model.embeddings.position_embedding.weight";

/* A table of so many rows. */
static int find_table(const struct cn_model *m, int i, const char *name, int64_t rows,
                      struct cn_tensor_view *ret, struct cn_err *err)
{
    const struct cn_text_config *c = cn_checkpoint_text(m->checkpoint, i);
    char shape[96];
    int rc =
        cn_checkpoint_find(m->checkpoint, (enum cn_component)(CN_COMP_TEXT + i), name, ret, err);

    if (rc < 0)
        return rc;
    if (ret->rank == 2 && ret->dim[0] == rows && ret->dim[1] == c->hidden_size)
        return CN_OK;
    cn_view_shape(ret, shape, sizeof(shape));
    return cn_fail(err, CN_EFORMAT, "tensor \"%s\" in \"%s\" is %s, not [%lld, %d]", name,
                   ret->file, shape, (long long)rows, c->hidden_size);
}

static int read_floats(const struct cn_tensor_view *v, float *ret, struct cn_err *err)
{
    size_t n = cn_view_elements(v);
    void *raw = cn_try_alloc(v->bytes + 1);
    int rc;

    if (raw == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for tensor \"%s\"", v->name);
    rc = cn_view_read(v, raw, err);
    if (rc == CN_OK) {
        cn_to_f32(ret, raw, v->dtype, n);
        if (!cn_all_finite(ret, CN_F32, n))
            rc = cn_fail(err, CN_EFORMAT, "tensor \"%s\" in \"%s\" has values that are not numbers",
                         v->name, v->file);
    }
    free(raw);
    return rc;
}

static int open_tables(struct cn_model *m, int i, struct cn_err *err)
{
    const struct cn_text_config *c = cn_checkpoint_text(m->checkpoint, i);
    struct cn_text_encoder *t = &m->text[i];
    struct cn_tensor_view v;
    float *position;
    int rc;

    if (t->position != NULL)
        return CN_OK;
    if ((rc = find_table(m, i, token_table, c->vocab_size, &t->table, err)) < 0 ||
        (rc = find_table(m, i, position_table, c->max_position, &v, err)) < 0)
        return rc;
    position = cn_try_alloc(cn_view_elements(&v) * sizeof(*position));
    if (position == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for tensor \"%s\"", position_table);
    rc = read_floats(&v, position, err);
    if (rc < 0)
        free(position);
    else
        t->position = position;
    return rc;
}

static int read_row(const struct cn_model *m, int i, const struct cn_embedding_list *e, int32_t id,
                    float *ret, struct cn_err *err)
{
    size_t width = (size_t)cn_checkpoint_text(m->checkpoint, i)->hidden_size;
    struct cn_tensor_view v = m->text[i].table;
    const float *own = id >= CN_FIRST_VECTOR ? cn_embeddings_row(e, id, i) : NULL;

    if (own != NULL) {
        memcpy(ret, own, width * sizeof(*ret));
        return CN_OK;
    }
    if (id < 0 || id >= v.dim[0])
        return cn_fail(err, CN_EINTERNAL, "token %d of %lld", id, (long long)v.dim[0]);
    cn_view_rows(&v, id, 1);
    return read_floats(&v, ret, err);
}

int cn_token_rows(struct cn_model *m, int i, const struct cn_embedding_list *e, const int32_t *ids,
                  int n, int s, float *ret, struct cn_err *err)
{
    size_t width = (size_t)cn_checkpoint_text(m->checkpoint, i)->hidden_size;
    const float *position;
    int rc = open_tables(m, i, err);

    CN_ASSERT(s <= cn_checkpoint_text(m->checkpoint, i)->max_position);
    for (int k = 0; k < n * s && rc == CN_OK; k++) {
        float *row = ret + (size_t)k * width;

        if (k > 0 && ids[k] == ids[k - 1]) /* padding */
            memcpy(row, row - width, width * sizeof(*row));
        else
            rc = read_row(m, i, e, ids[k], row, err);
    }
    position = m->text[i].position;
    for (size_t k = 0; k < (size_t)(n * s) * width && rc == CN_OK; k++)
        ret[k] += position[k % ((size_t)s * width)];
    return rc;
}

static int add_trigger(struct cn_text_encoder *t, const struct cn_embedding_at *at, bool fits,
                       struct cn_err *err)
{
    const struct cn_embedding *x = at->of;
    int32_t id[3 * CN_MODEL_NAME]; /* a byte gives at most three ids */
    int n, rc = cn_tokenize(t->tokenizer, x->name, id, CN_LEN(id), &n, err);

    if (rc == CN_OK)
        cn_triggers_add(t->triggers, x->name, id, CN_MIN(n, (int)CN_LEN(id)), x->token, at->first,
                        fits ? x->vectors : 0);
    return rc;
}

static int list_triggers(const struct cn_model *m, struct cn_text_encoder *t,
                         const struct cn_embedding_list *e, struct cn_err *err)
{
    int width[CN_MAX_TEXTS] = {0}, rc = CN_OK;

    for (int k = 0; k < m->n_texts; k++)
        width[k] = cn_checkpoint_text(m->checkpoint, k)->hidden_size;
    for (int k = 0; k < e->n && rc == CN_OK; k++) {
        const struct cn_embedding_at *at = &e->item[k];

        if (at->of->broken == NULL)
            rc = add_trigger(t, at, cn_embedding_fits(at->of, width, m->n_texts), err);
    }
    return rc;
}

int cn_token_triggers(struct cn_model *m, int i, const struct cn_embedding_list *e,
                      const struct cn_triggers **ret, struct cn_err *err)
{
    struct cn_text_encoder *t = &m->text[i];
    int rc = CN_OK;

    *ret = NULL;
    if (e == NULL || e->n == 0)
        return CN_OK;
    if (t->triggers == NULL || t->triggers_of != e->number) {
        cn_triggers_free(t->triggers);
        t->triggers = cn_triggers_new();
        t->triggers_of = e->number;
        rc = list_triggers(m, t, e, err);
    }
    if (rc == CN_OK) {
        *ret = t->triggers;
        return CN_OK;
    }
    cn_triggers_free(t->triggers);
    t->triggers = NULL;
    return rc;
}
