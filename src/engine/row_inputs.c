/* Rows as data: lists of a row's inputs, and batches that hold them. row_inputs.h has the design.
 */
#include "base/base.h"
#include "engine/row_inputs.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- lists ---- */

struct cn_row_input *cn_row_inputs_add(struct cn_row_inputs *r, enum cn_row_kind kind,
                                       const char *name, struct cn_shape shape, int flags)
{
    struct cn_row_input *in;

    r->input = cn_grow(r->input, r->n, &r->cap, sizeof(*r->input));
    in = &r->input[r->n++];
    *in = (struct cn_row_input){.kind = kind, .shape = shape, .flags = flags, .entries = 1};
    snprintf(in->name, sizeof(in->name), "%s", name);
    return in;
}

void cn_row_inputs_clear(struct cn_row_inputs *r)
{
    free(r->input);
    *r = (struct cn_row_inputs){.n = 0};
}

static bool same_kind(const struct cn_row_input *a, const struct cn_row_input *b)
{
    return strcmp(a->name, b->name) == 0 && a->kind == b->kind && a->flags == b->flags &&
           cn_shape_equal(&a->shape, &b->shape) &&
           (a->kind != CN_ROW_SHARED || a->buffer == b->buffer);
}

bool cn_row_inputs_match(const struct cn_row_inputs *a, const struct cn_row_inputs *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (!same_kind(&a->input[i], &b->input[i]))
            return false;
    return true;
}

void cn_row_inputs_copy_kind(struct cn_row_inputs *to, const struct cn_row_inputs *from)
{
    *to = (struct cn_row_inputs){.n = 0};
    for (size_t i = 0; i < from->n; i++) {
        const struct cn_row_input *in = &from->input[i];
        struct cn_row_input *own = cn_row_inputs_add(to, in->kind, in->name, in->shape, in->flags);

        own->buffer = in->kind == CN_ROW_SHARED ? in->buffer : NULL;
    }
}

/* ---- batches ---- */

static int new_buffer(struct cn_row_batch *b, enum cn_dtype dtype, struct cn_shape shape, int flags,
                      struct cn_buffer **ret, struct cn_err *err)
{
    struct cn_value v = {.dtype = dtype, .shape = shape};

    v.shape.dim[0] = b->rows;
    return cn_buffer_new(b->backend, &v, CN_DTYPE_COUNT, flags, ret, err);
}

static int init_slot(struct cn_row_batch *b, struct cn_row_slot *s, const struct cn_row_input *in,
                     struct cn_err *err)
{
    snprintf(s->name, sizeof(s->name), "%s", in->name);
    s->kind = in->kind;
    s->width = (size_t)cn_shape_elements(&in->shape);
    if (in->kind != CN_ROW_SHARED)
        return new_buffer(b, CN_F32, in->shape, in->flags, &s->buffer, err);
    s->buffer = in->buffer;
    return new_buffer(b, CN_I32, cn_shape1(1), 0, &s->index, err);
}

int cn_row_batch_init(struct cn_row_batch *b, struct cn_backend *backend,
                      const struct cn_row_inputs *kind, int rows, struct cn_err *err)
{
    int rc = CN_OK;

    CN_ASSERT(rows > 0 && rows <= CN_MAX_ROWS);
    *b = (struct cn_row_batch){.backend = backend, .rows = rows};
    b->slot = cn_xcalloc(kind->n + 1, sizeof(*b->slot));
    for (; b->n < kind->n && rc == CN_OK; b->n++)
        rc = init_slot(b, &b->slot[b->n], &kind->input[b->n], err);
    if (rc < 0)
        cn_row_batch_release(b);
    return rc;
}

void cn_row_batch_release(struct cn_row_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        if (b->slot[i].kind != CN_ROW_SHARED)
            cn_buffer_free(b->slot[i].buffer);
        cn_buffer_free(b->slot[i].index);
    }
    free(b->slot);
    *b = (struct cn_row_batch){.rows = 0};
}

/* How much of a row's inputs is there already. */
enum likeness { NOTHING, SAME_ROW, SAME_ENTRY };

static enum likeness likeness(const struct cn_row_source *s, const struct cn_batch_row *r)
{
    if (s->owner != r->owner || s->row != r->row)
        return NOTHING;
    return s->entry == r->entry ? SAME_ENTRY : SAME_ROW;
}

/* Places that nobody has, for rows that have none and of which so much is there. */
static void assign(const struct cn_row_batch *b, struct cn_batch_row *row, int n,
                   enum likeness least, bool *taken)
{
    for (int i = 0; i < n; i++)
        for (int k = 0; k < b->rows && row[i].at < 0; k++)
            if (!taken[k] && likeness(&b->source[k], &row[i]) >= least) {
                row[i].at = k;
                taken[k] = true;
            }
}

void cn_row_batch_assign(const struct cn_row_batch *b, struct cn_batch_row *row, int n)
{
    bool taken[CN_MAX_ROWS] = {false};

    CN_ASSERT(n <= b->rows);
    for (int i = 0; i < n; i++)
        row[i].at = -1;
    assign(b, row, n, SAME_ENTRY, taken);
    assign(b, row, n, SAME_ROW, taken);
    assign(b, row, n, NOTHING, taken);
}

/* The constant part of one row, as far as it is not there already. */
static int fill_constants(struct cn_row_batch *b, const struct cn_batch_row *r, struct cn_err *err)
{
    struct cn_row_source *source = &b->source[r->at];
    enum likeness have = likeness(source, r);
    int rc = CN_OK;

    if (have == SAME_ENTRY)
        return CN_OK;
    source->owner = 0;
    CN_ASSERT(b->n == r->inputs->n);
    for (size_t i = 0; i < b->n && rc == CN_OK; i++) {
        const struct cn_row_input *in = &r->inputs->input[i];
        struct cn_row_slot *s = &b->slot[i];

        if (s->kind == CN_ROW_FIXED && (have == NOTHING || in->entries > 1))
            rc = cn_buffer_copy_rows(s->buffer, r->at, in->buffer, in->entries == 1 ? 0 : r->entry,
                                     1, err);
        else if (s->kind == CN_ROW_SHARED)
            s->entry[r->at] = in->index[r->row];
    }
    if (rc == CN_OK)
        *source = (struct cn_row_source){r->owner, r->row, r->entry};
    return rc;
}

static void write_call(struct cn_row_slot *s, size_t i, const struct cn_batch_row *row, int n,
                       float *work)
{
    for (int k = 0; k < n; k++) {
        const struct cn_row_inputs *inputs = row[k].inputs;
        const struct cn_row_input *in = &inputs->input[i];
        size_t first = in->entries == 1 ? 0 : (size_t)row[k].row * (size_t)inputs->calls;

        memcpy(work + (size_t)row[k].at * s->width,
               in->values + (first + (size_t)row[k].call) * s->width, s->width * sizeof(*work));
    }
    cn_buffer_write(s->buffer, work);
}

int cn_row_batch_fill(struct cn_row_batch *b, const struct cn_batch_row *row, int n, float *work,
                      struct cn_err *err)
{
    int rc = CN_OK;

    for (int i = 0; i < n && rc == CN_OK; i++)
        rc = fill_constants(b, &row[i], err);
    for (size_t i = 0; i < b->n && rc == CN_OK; i++) {
        if (b->slot[i].kind == CN_ROW_BY_CALL)
            write_call(&b->slot[i], i, row, n, work);
        else if (b->slot[i].kind == CN_ROW_SHARED)
            cn_buffer_write(b->slot[i].index, b->slot[i].entry);
    }
    return rc;
}

size_t cn_row_batch_work(const struct cn_row_batch *b)
{
    size_t most = 0;

    for (size_t i = 0; i < b->n; i++)
        if (b->slot[i].kind == CN_ROW_BY_CALL)
            most = CN_MAX(most, b->slot[i].width * (size_t)b->rows);
    return most;
}

size_t cn_row_batch_bytes(const struct cn_row_batch *b)
{
    size_t sum = 0;

    for (size_t i = 0; i < b->n; i++) {
        if (b->slot[i].kind != CN_ROW_SHARED)
            sum += cn_buffer_bytes(b->slot[i].buffer);
        else
            sum += cn_buffer_bytes(b->slot[i].index);
    }
    return sum;
}

/* NAME, or NAME.index of a shared one. */
static struct cn_buffer *buffer_named(const struct cn_row_slot *s, const char *name)
{
    size_t len = strlen(s->name);

    if (strncmp(s->name, name, len) != 0)
        return NULL;
    if (name[len] == '\0')
        return s->buffer;
    return s->kind == CN_ROW_SHARED && strcmp(name + len, ".index") == 0 ? s->index : NULL;
}

struct cn_buffer *cn_row_batch_find(const struct cn_row_batch *b, const char *name, size_t *hint)
{
    for (size_t k = 0; k < b->n; k++) {
        size_t i = (*hint + k) % b->n;
        struct cn_buffer *found = buffer_named(&b->slot[i], name);

        if (found != NULL) {
            *hint = i + 1;
            return found;
        }
    }
    return NULL;
}
