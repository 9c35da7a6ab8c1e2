/* Pieces to token ids with weights, in chunks of what the text encoder reads. */
#include "base/base.h"
#include "text/prompt.h"
#include "base/mem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COMMA_REACH = 20 }; /* a chunk ends after a comma that is at most so many ids back */

struct writer {
    const struct cn_tokenizer *t;
    const struct cn_triggers *triggers;
    struct cn_prompt_chunks *out;
    int32_t *id;   /* of the open chunk, room for its ids */
    float *weight;
    int n, room;
    int comma; /* place of the last comma in the open chunk, or -1 */
    int32_t comma_id;
    int max; /* chunks */
    struct cn_err *err;
};

/* Makes room for one more chunk, all end and padding, and returns where it begins. */
static size_t add_chunk(const struct cn_tokenizer *t, struct cn_prompt_chunks *c)
{
    size_t at = (size_t)c->n * (size_t)c->length, end = at + (size_t)c->length;

    while (c->cap_id < end)
        c->id = cn_grow(c->id, c->cap_id, &c->cap_id, sizeof(*c->id));
    while (c->cap_weight < end)
        c->weight = cn_grow(c->weight, c->cap_weight, &c->cap_weight, sizeof(*c->weight));
    for (size_t i = at; i < end; i++) {
        c->id[i] = cn_tokenizer_pad(t);
        c->weight[i] = 1;
    }
    c->id[at] = cn_tokenizer_bos(t);
    c->id[at + 1] = cn_tokenizer_eos(t);
    c->n++;
    return at;
}

void cn_prompt_chunks_add_empty(const struct cn_tokenizer *t, struct cn_prompt_chunks *c)
{
    add_chunk(t, c);
}

/* Closes the open chunk after its first n ids; the others begin the next one. */
static int close_chunk(struct writer *w, int n)
{
    size_t at;

    if (w->out->n == w->max)
        return cn_fail(w->err, CN_ETOOBIG, "the text takes more than %d chunks of %d tokens",
                       w->max, w->room);
    at = add_chunk(w->t, w->out);
    memcpy(w->out->id + at + 1, w->id, (size_t)n * sizeof(*w->id));
    memcpy(w->out->weight + at + 1, w->weight, (size_t)n * sizeof(*w->weight));
    w->out->id[at + 1 + (size_t)n] = cn_tokenizer_eos(w->t);
    w->n -= n;
    memmove(w->id, w->id + n, (size_t)w->n * sizeof(*w->id));
    memmove(w->weight, w->weight + n, (size_t)w->n * sizeof(*w->weight));
    w->comma = -1;
    return CN_OK;
}

/* Room for the next id of the text, which is this one. */
static int make_room(struct writer *w, int32_t id)
{
    int rc = CN_OK;

    if (id == w->comma_id)
        w->comma = w->n;
    else if (w->n == w->room && w->comma >= 0 && w->room - w->comma <= COMMA_REACH)
        rc = close_chunk(w, w->comma + 1);
    if (rc == CN_OK && w->n == w->room)
        rc = close_chunk(w, w->n);
    return rc;
}

static void put_id(struct writer *w, int32_t id, float weight)
{
    w->id[w->n] = id;
    w->weight[w->n++] = weight;
}

/* In the chunk that is open, or in the next one. */
static int put_vectors(struct writer *w, const struct cn_trigger *x, float weight)
{
    int rc = CN_OK;

    if (x->n > w->room)
        return cn_fail(w->err, CN_EINVAL, "\"%s\" has %d vectors, and %d fit into a chunk", x->name,
                       x->n, w->room);
    if (w->n + x->n > w->room)
        rc = close_chunk(w, w->n);
    for (int i = 0; i < x->n && rc == CN_OK; i++)
        put_id(w, x->first + i, weight);
    return rc;
}

/* The first of n ids, or as many as a trigger has; *ret_n are used up. */
static int put_next(struct writer *w, const int32_t *id, int n, float weight, int *ret_n)
{
    const struct cn_trigger *x = cn_triggers_at_ids(w->triggers, id, n);
    int rc = make_room(w, id[0]);

    *ret_n = 1;
    if (rc < 0)
        return rc;
    if (x != NULL && x->n > 0) {
        *ret_n = x->n_ids;
        return put_vectors(w, x, weight);
    }
    if (x != NULL)
        w->out->misfit = x->name;
    put_id(w, id[0], weight);
    return CN_OK;
}

/* ---- pieces ---- */

/* Host memory for one piece at a time. */
struct scratch {
    char *text;
    int32_t *id;
    int room;
};

/* A byte gives at most three ids (tests/fuzz/fuzz_tokenizer.c): composition may lengthen. */
static int allocate(struct scratch *s, const struct cn_prompt_pieces *p, struct cn_err *err)
{
    size_t longest = 0;

    for (size_t i = 0; i < p->n; i++)
        longest = CN_MAX(longest, p->piece[i].len);
    s->room = (int)(3 * longest) + 1;
    s->text = cn_try_alloc(longest + 1);
    s->id = cn_try_alloc((size_t)s->room * sizeof(*s->id));
    return s->text == NULL || s->id == NULL
               ? cn_fail(err, CN_ENOMEM, "no memory for a prompt of %zu bytes", longest)
               : CN_OK;
}

static int put_piece(struct writer *w, struct scratch *s, const struct cn_prompt_pieces *p,
                     size_t i)
{
    const struct cn_prompt_piece *piece = &p->piece[i];
    float weight = (float)piece->weight;
    int n, used, rc;

    if (cn_prompt_is_break(p, i))
        return close_chunk(w, w->n);
    if (!isfinite(weight))
        return cn_fail(w->err, CN_EINVAL, "a weight of %g is too large", piece->weight);
    memcpy(s->text, p->text + piece->from, piece->len);
    s->text[piece->len] = '\0';
    rc = cn_tokenize(w->t, s->text, s->id, s->room, &n, w->err);
    if (rc < 0)
        return rc;
    n = CN_MIN(n, s->room);
    for (int k = 0; k < n && rc == CN_OK; k += used)
        rc = put_next(w, s->id + k, n - k, weight, &used);
    return rc;
}

int cn_prompt_chunks(const struct cn_tokenizer *t, const struct cn_triggers *triggers,
                     const struct cn_prompt_pieces *p, int length, int max,
                     struct cn_prompt_chunks *ret, struct cn_err *err)
{
    struct cn_prompt_chunks out = {.length = length};
    struct writer w = {
        .t = t, .triggers = triggers, .out = &out, .room = length - 2, .comma = -1, .max = max};
    struct scratch s = {.room = 0};
    int rc;

    CN_ASSERT(length > 2 && max > 0);
    w.err = err;
    w.comma_id = cn_tokenizer_id(t, ",</w>");
    w.id = cn_xcalloc((size_t)w.room, sizeof(*w.id));
    w.weight = cn_xcalloc((size_t)w.room, sizeof(*w.weight));
    rc = allocate(&s, p, err);
    for (size_t i = 0; i < p->n && rc == CN_OK; i++)
        rc = put_piece(&w, &s, p, i);
    if (rc == CN_OK && (w.n > 0 || out.n == 0))
        rc = close_chunk(&w, w.n);
    free(s.text);
    free(s.id);
    free(w.id);
    free(w.weight);
    if (rc < 0)
        cn_prompt_chunks_release(&out);
    else
        *ret = out;
    return rc;
}

void cn_prompt_chunks_release(struct cn_prompt_chunks *c)
{
    free(c->id);
    free(c->weight);
    *c = (struct cn_prompt_chunks){.n = 0};
}
