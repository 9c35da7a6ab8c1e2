/* The texts of a job through its text encoders: a context for each.
 *
 * All texts of a job get the same number of chunks, so that a row may show any of them. The texts
 * of one row get empty chunks up to the longest of them; parts of the prompt that are still shorter
 * than others repeat their last vector, as the web UI has it; and what is still missing beside a
 * longer negative prompt, or to it, is empty chunks again (its pad_cond_uncond).
 */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/clock.h"
#include "runtime/token_rows.h"

#include <string.h>

enum { TOGETHER = 2 }; /* texts in one call of an encoder: so many has a request as a rule */

/* Ids and weights of all texts for all encoders. */
struct tokens {
    struct cn_prompt_chunks of[CN_MAX_TEXTS][CN_MAX_JOB_TEXTS];
    int chunks[CN_MAX_IMAGE_ROWS]; /* of the longest text of each row */
    int parts;                     /* chunks of the longest part of the prompt */
};

static void release_tokens(struct cn_job *j, struct tokens *t)
{
    for (int i = 0; i < j->base->n_texts; i++)
        for (int k = 0; k < j->n_texts; k++)
            cn_prompt_chunks_release(&t->of[i][k]);
}

static bool is_part(const struct cn_job *j, int row)
{
    return !j->guided || row > 0;
}

static int count_chunks(struct cn_job *j, struct tokens *t, struct cn_err *err)
{
    for (int i = 0; i < j->base->n_texts; i++)
        for (int k = 0; k < j->n_texts; k++) {
            int *most = &t->chunks[j->text[k].row];

            *most = CN_MAX(*most, t->of[i][k].n);
        }
    j->chunks = 0;
    for (int r = 0; r < j->rows; r++) {
        j->chunks = CN_MAX(j->chunks, t->chunks[r]);
        if (is_part(j, r))
            t->parts = CN_MAX(t->parts, t->chunks[r]);
    }
    j->tokens = j->positions * j->chunks;
    if (j->chunks * j->n_texts > CN_MAX_JOB_CHUNKS)
        return cn_fail_at(err, CN_EINVAL, "/prompt",
                          "%d texts of %d chunks (of all parts, steps and the negative prompt) are "
                          "too many: at most %d chunks together",
                          j->n_texts, j->chunks, CN_MAX_JOB_CHUNKS);
    return CN_OK;
}

/* All have the same number of chunks in the end: shorter ones get empty ones. */
static int tokenize(struct cn_job *j, struct tokens *t, struct cn_err *err)
{
    int rc = CN_OK;

    *t = (struct tokens){0};
    for (int i = 0; i < j->base->n_texts; i++)
        for (int k = 0; k < j->n_texts && rc == CN_OK; k++)
            rc = cn_prompts_tokenize(j, i, k, &t->of[i][k], err);
    if (rc == CN_OK)
        rc = count_chunks(j, t, err);
    for (int i = 0; i < j->base->n_texts; i++)
        for (int k = 0; k < j->n_texts && rc == CN_OK; k++)
            while (t->of[i][k].n < j->chunks)
                cn_prompt_chunks_add_empty(j->base->text[i].tokenizer, &t->of[i][k]);
    return rc;
}

/* ---- the encoders ---- */

/* The web UI's number of the layer that the model reads as a rule, counted from the last one, 1. */
static int usual_layer(const struct cn_text_config *c)
{
    return 1 + cn_text_usual(c, 0).skip;
}

/* Layers that are left out for a text, beside those that always are: diffusers counts them, and
 * only for the prompt; the web UI says which layer is read, for both. */
static int skip_of(const struct cn_job *j, const struct cn_text_config *c, int text)
{
    if (j->spec->prompt_syntax == CN_PROMPT_A1111)
        return CN_MAX(j->spec->clip_skip - usual_layer(c), 0);
    return is_part(j, j->text[text].row) ? j->spec->clip_skip : 0;
}

static int check_skip(const struct cn_job *j, const struct cn_text_config *c, struct cn_err *err)
{
    int skip = skip_of(j, c, j->n_texts - 1), most = c->layers - cn_text_usual(c, 0).skip;

    if (skip <= most)
        return CN_OK;
    return cn_fail_at(err, CN_EINVAL, "/clip_skip",
                      "%d is too many: the text encoder of \"%s\" has %d layers, so that %d is the "
                      "most%s",
                      j->spec->clip_skip, j->base->name, c->layers,
                      most + j->spec->clip_skip - skip,
                      skip < j->spec->clip_skip ? " (1 is the last layer)" : "");
}

/* One encoder's work on the texts of a job. */
struct encoding {
    struct cn_job *j;
    int encoder;
    const struct cn_text_config *config;
    const struct cn_prompt_chunks *of; /* [texts] */
    size_t width;
    float *rows;    /* TOGETHER chunks: what the encoder is given */
    float *scratch; /* and its answer */
    float *ret;     /* [texts, chunks, positions, width] */
    float *pooled;  /* [texts, projection], of their first chunks; NULL: not wanted of this one */
};

/* Where a text ends in a chunk, whose vector stands for all of it: as transformers finds it for a
 * plain one. There a configuration of before its version 4.30 means the largest id, which an
 * embedding's are; the web UI looks for the end token. */
static int32_t end_of(const struct encoding *e, const int32_t *id)
{
    bool plain = e->j->spec->prompt_syntax == CN_PROMPT_PLAIN;
    int32_t end = plain ? e->config->eos_token
                        : cn_tokenizer_eos(e->j->base->text[e->encoder].tokenizer);
    int32_t largest = 0;

    for (int32_t k = 0; k < e->j->positions; k++) {
        if (id[k] == end && (!plain || end != CN_OLD_EOS))
            return k;
        if (id[k] > id[largest])
            largest = k;
    }
    return plain && end != CN_OLD_EOS ? 0 : largest;
}

/* n chunks from their rows through the encoder without its last `skip` layers. ends: of each, where
 * the pooled vectors are wanted, else NULL. */
static int run_encoder(const struct encoding *e, int n, int skip, const int32_t *ends,
                       float *pooled, struct cn_err *err)
{
    enum cn_component comp = (enum cn_component)(CN_COMP_TEXT + e->encoder);
    struct cn_network *net = cn_job_network(e->j, comp);
    struct cn_text_use use = cn_text_usual(e->config, skip);
    struct cn_row_adapter list[CN_MAX_ADAPTERS];
    struct cn_plan_entry *p;
    double start = cn_now_s();
    int rc = cn_job_go_on(e->j, "the text encoder", err);

    use.pooled = ends != NULL;
    if (rc == CN_OK)
        rc = cn_job_planned(e->j,
                            cn_plan_for_text(net, e->config, n, e->j->positions, &use, &p, err),
                            net, start, err);
    return rc < 0 ? rc
                  : cn_plan_run_hosts(p, (const void *const[]){e->rows, ends},
                                      (float *const[]){e->scratch, pooled}, list,
                                      cn_job_adapters(e->j, comp, 0, n, list), err);
}

/* Chunk k of a text. */
static float *chunk_of(const struct encoding *e, int text, int k)
{
    return e->ret +
           ((size_t)text * (size_t)e->j->chunks + (size_t)k) * (size_t)e->j->positions * e->width;
}

/* Chunk k of the n texts from `text` on. */
static int encode_chunk(const struct encoding *e, int text, int n, int k, struct cn_err *err)
{
    size_t s = (size_t)e->j->positions, size = s * e->width;
    bool pools = e->pooled != NULL && k == 0;
    float *pooled = pools ? e->pooled + (size_t)text * (size_t)e->config->projection : NULL;
    int32_t ids[TOGETHER * CN_CLIP_LENGTH], ends[TOGETHER];
    int rc;

    for (int i = 0; i < n; i++) {
        memcpy(ids + (size_t)i * s, e->of[text + i].id + (size_t)k * s, s * sizeof(*ids));
        ends[i] = end_of(e, ids + (size_t)i * s);
    }
    rc = cn_token_rows(e->j->base, e->encoder, e->j->embeddings, ids, n, (int)s, e->rows, err);
    if (rc == CN_ENOTFOUND || rc == CN_EFORMAT)
        rc = cn_job_blame_model(e->j, &e->j->base->text[e->encoder].net, err);
    if (rc == CN_OK)
        rc = run_encoder(e, n, skip_of(e->j, e->config, text), pools ? ends : NULL, pooled, err);
    for (int i = 0; i < n && rc == CN_OK; i++)
        memcpy(chunk_of(e, text + i, k), e->scratch + (size_t)i * size, size * sizeof(float));
    return rc;
}

static int encode_chunks(const struct encoding *e, struct cn_err *err)
{
    int rc = CN_OK;

    for (int k = 0; k < e->j->chunks; k++)
        for (int text = 0, n; text < e->j->n_texts && rc == CN_OK; text += n) {
            n = CN_MIN(TOGETHER, e->j->n_texts - text);
            while (skip_of(e->j, e->config, text + n - 1) != skip_of(e->j, e->config, text))
                n--;
            rc = encode_chunk(e, text, n, k, err);
        }
    return rc;
}

/* Weights, for all texts of a row together. */
static void emphasize(const struct encoding *e)
{
    const struct cn_job *j = e->j;
    size_t s = (size_t)j->positions;

    for (int first = 0, n; first < j->n_texts; first += n) {
        n = 0;
        while (first + n < j->n_texts && j->text[first + n].row == j->text[first].row)
            n++;
        for (int k = 0; k < j->chunks; k++) {
            struct cn_emphasis list[CN_MAX_JOB_TEXTS];

            for (int i = 0; i < n; i++)
                list[i] = (struct cn_emphasis){chunk_of(e, first + i, k),
                                               e->of[first + i].weight + (size_t)k * s,
                                               j->text[first + i].times};
            cn_prompts_emphasize(list, n, s, e->width);
        }
    }
}

/* A part of the prompt that is shorter than another one ends with its last vector. */
static void repeat_last(const struct encoding *e, const struct tokens *t)
{
    size_t s = (size_t)e->j->positions;

    for (int i = 0; i < e->j->n_texts; i++) {
        int row = e->j->text[i].row, own = t->chunks[row];
        float *to = chunk_of(e, i, own);

        if (!is_part(e->j, row))
            continue;
        for (size_t k = 0; k < (size_t)(t->parts - own) * s; k++)
            memcpy(to + k * e->width, to - e->width, e->width * sizeof(*to));
    }
}

/* Columns [at, at + width) of the context [texts * tokens, context] become part. */
static void place_columns(const struct cn_job *j, float *context, size_t at, const float *part,
                          size_t width)
{
    for (size_t k = 0; k < (size_t)j->n_texts * (size_t)j->tokens; k++)
        memcpy(context + k * (size_t)j->context + at, part + k * width, width * sizeof(*part));
}

/* What the encoders make of all texts. */
struct encoded {
    float *context; /* [texts, tokens, context] */
    float *pooled;  /* [texts, pooled], or NULL */
};

static int encode_texts(struct cn_job *j, const struct tokens *t, size_t size, struct encoded *ret,
                        struct cn_err *err)
{
    size_t together = (size_t)TOGETHER * (size_t)j->positions * (size_t)j->context, at = 0;
    struct encoding e = {.j = j};
    int rc;

    if ((rc = cn_job_floats(j, size, &e.ret, err)) < 0 ||
        (rc = cn_job_floats(j, together, &e.rows, err)) < 0 ||
        (rc = cn_job_floats(j, together, &e.scratch, err)) < 0)
        return rc;
    for (; e.encoder < j->base->n_texts; e.encoder++) {
        e.config = cn_checkpoint_text(j->base->checkpoint, e.encoder);
        e.of = t->of[e.encoder];
        e.width = (size_t)e.config->hidden_size;
        e.pooled = e.encoder == CN_POOLING_TEXT ? ret->pooled : NULL;
        if ((rc = check_skip(j, e.config, err)) < 0 || (rc = encode_chunks(&e, err)) < 0)
            return rc;
        emphasize(&e);
        repeat_last(&e, t);
        place_columns(j, ret->context, at, e.ret, e.width);
        at += e.width;
    }
    return CN_OK;
}

/* Zeros in the place of a negative prompt that there is none of: it is the first text, and the only
 * one of its row. */
static void zero_negative(const struct cn_job *j, const struct encoded *e)
{
    if (!j->guided || !j->spec->zero_negative || j->spec->negative_prompt[0] != '\0' ||
        !cn_checkpoint_zeroes_empty(j->base->checkpoint))
        return;
    memset(e->context, 0, (size_t)j->tokens * (size_t)j->context * sizeof(*e->context));
    if (e->pooled != NULL)
        memset(e->pooled, 0, (size_t)j->pooled * sizeof(*e->pooled));
}

static int encode(struct cn_job *j, const struct tokens *t, struct cn_buffer **ret,
                  struct cn_err *err)
{
    struct cn_value v = {.dtype = CN_F32, .shape = cn_shape3(j->n_texts, j->tokens, j->context)};
    size_t size = (size_t)cn_shape_elements(&v.shape);
    struct encoded e = {NULL, NULL};
    int rc;

    if ((rc = cn_job_buffer(j, &v, CN_IO_NATIVE, ret, err)) < 0 ||
        (rc = cn_job_floats(j, size, &e.context, err)) < 0)
        return rc;
    if (j->pooled > 0 && (rc = cn_job_floats(j, (size_t)j->n_texts * (size_t)j->pooled, &e.pooled,
                                             err)) < 0)
        return rc;
    if ((rc = encode_texts(j, t, size, &e, err)) < 0)
        return rc;
    zero_negative(j, &e);
    cn_buffer_write(*ret, e.context);
    return cn_added_make(j, e.pooled, err);
}

int cn_contexts_encode(struct cn_job *j, struct cn_buffer **ret, struct cn_err *err)
{
    struct tokens t;
    int rc = tokenize(j, &t, err);

    if (rc == CN_OK)
        rc = encode(j, &t, ret, err);
    release_tokens(j, &t);
    return rc;
}
