/* The prompts of a job: what they say, as the request asks for it to be read, and what a text
 * encoder is given of them.
 *
 * Plain: the text as it stands, one chunk; what is beyond the encoder's positions is cut, which the
 * client is told. a1111: the parts that AND joins are a row each; the text of a row may change with
 * the steps, and each of its texts is pieces with weights in as many chunks as they take.
 *
 * DESIGN. A job has a list of texts, those of each row together, and a table that says which of
 * them a row shows in which step. Everything after this file knows texts by their places in that
 * list. Steps are counted as the web UI counts them: the table has the request's number of steps,
 * twice as many for samplers that call the network twice, also where a picture begins at a later
 * one; call number c, from 0, shows the text of step c, the first two that of step 1. A second pass
 * has steps of its own, after those of the first.
 */
#include "base/base.h"
#include "engine/job_priv.h"
#include "runtime/token_rows.h"
#include "text/prompt.h"
#include "base/mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CHUNKS = 32 }; /* of one text: a step looks at 77 tokens for each */

static bool is_negative(const struct cn_job *j, int row)
{
    return j->guided && row == 0;
}

static const char *prompt_of(const struct cn_job *j, int row)
{
    return is_negative(j, row) ? j->spec->negative_prompt : j->prompt;
}

/* A second pass may have prompts of its own. */
static bool is_own(const struct cn_job *j, int row)
{
    const struct cn_spec_hires *h = &j->spec->hires;

    return j->steps_before > 0 && (is_negative(j, row) ? h->negative_prompt : h->prompt) != NULL;
}

static const char *where_is(const struct cn_job *j, int row)
{
    if (is_own(j, row))
        return is_negative(j, row) ? "/hires/negative_prompt" : "/hires/prompt";
    return is_negative(j, row) ? "/negative_prompt" : "/prompt";
}

/* Says which prompt an error is about. */
static int blame(const struct cn_job *j, int rc, int row, struct cn_err *err)
{
    if (rc < 0 && err != NULL && err->where[0] == '\0')
        snprintf(err->where, sizeof(err->where), "%s", where_is(j, row));
    return rc;
}

static struct cn_job_text *add_text(struct cn_job *j, int row)
{
    struct cn_job_text *t;

    j->text = cn_grow(j->text, (size_t)j->n_texts, &j->texts_cap, sizeof(*j->text));
    t = &j->text[j->n_texts++];
    *t = (struct cn_job_text){.row = row};
    return t;
}

/* ---- parts ---- */

/* The parts of the prompt become rows. */
static int read_parts(struct cn_job *j, struct cn_prompt_part *part, struct cn_err *err)
{
    int n = 0, rc = cn_prompt_parts(j->prompt, part, CN_MAX_PROMPT_PARTS, &n, err);

    if (rc == CN_ETOOBIG)
        rc = CN_EINVAL;
    if (rc < 0)
        return rc;
    for (int i = 0; i < n; i++) {
        double guidance = j->spec->guidance_scale * part[i].weight;

        if (!isfinite((float)guidance))
            return cn_fail(err, CN_EINVAL, "a weight of %g is too large", part[i].weight);
        if (cn_unet_takes_guidance(j->unet) && (n > 1 || part[i].weight != 1))
            return cn_fail(err, CN_EINVAL,
                           "prompts joined by AND, and weights of whole prompts, need a model that "
                           "does not do guidance by itself");
        if (!j->guided && n > 1)
            return cn_fail(err, CN_EINVAL, "prompts joined by AND need guidance above 1, not %g",
                           j->spec->guidance_scale);
        if (!j->guided && part[i].weight != 1)
            return cn_fail(err, CN_EINVAL,
                           "a weight of the whole prompt (%g) needs guidance above "
                           "1, not %g",
                           part[i].weight, j->spec->guidance_scale);
        j->guidance[j->guided ? 1 + i : 0] = guidance;
    }
    if (j->guided)
        j->rows = 1 + n;
    return CN_OK;
}

/* ---- the texts of a row ---- */

/* The text of the row that says the same; a new one if there is none. */
static int find_text(struct cn_job *j, int row, int step, const char *source, int *ret,
                     struct cn_err *err)
{
    struct cn_job_text *t;
    int i = j->n_texts, rc;

    while (i > 0 && j->text[i - 1].row == row)
        if (strcmp(j->text[--i].source, source) == 0) {
            *ret = i;
            return CN_OK;
        }
    if (j->n_texts == CN_MAX_JOB_TEXTS)
        return cn_fail(err, CN_EINVAL, "the prompts change into more than %d texts in all",
                       CN_MAX_JOB_TEXTS);
    t = add_text(j, row);
    t->first = step;
    t->source = cn_xstrdup(source);
    rc = cn_prompt_emphasis(source, &t->pieces, err);
    *ret = j->n_texts - 1;
    return rc;
}

/* Up to which step the row shows the text of `step`. */
static int read_step(struct cn_job *j, int row, const struct cn_prompt_schedule *s, int step,
                     int *ret_until, struct cn_err *err)
{
    uint8_t *shown = j->shown + (size_t)row * (size_t)j->schedule_steps;
    struct cn_buf text;
    int i = 0, rc;

    cn_buf_init(&text, CN_MAX_TOKENIZE + 1);
    rc = cn_prompt_schedule_text(s, step, &text, err);
    if (rc == CN_OK)
        rc = cn_buf_add(&text, "", 1, err);
    if (rc == CN_OK)
        rc = find_text(j, row, step, (const char *)text.data, &i, err);
    cn_buf_release(&text);
    if (rc < 0)
        return rc;
    *ret_until = cn_prompt_schedule_until(s, step);
    j->text[i].times++;
    for (; step <= *ret_until; step++)
        shown[step - 1] = (uint8_t)i;
    return CN_OK;
}

static int read_row(struct cn_job *j, int row, const char *text, size_t len, struct cn_err *err)
{
    struct cn_prompt_schedule *s;
    int rc = cn_prompt_schedule_new(text, len, j->schedule_steps, j->steps_before, &s, err);

    if (rc < 0)
        return rc;
    for (int until = 0; until < j->schedule_steps && rc == CN_OK;)
        rc = read_step(j, row, s, until + 1, &until, err);
    cn_prompt_schedule_free(s);
    return rc;
}

/* Steps of this pass: those of a second one are not its levels of noise. */
static int count_steps(const struct cn_job *j)
{
    return j->steps_before == 0 ? j->spec->steps : j->spec->hires.steps;
}

int cn_prompts_read(struct cn_job *j, struct cn_err *err)
{
    struct cn_prompt_part part[CN_MAX_PROMPT_PARTS];
    int rc;

    for (int row = 0; row < j->rows; row++)
        j->guidance[row] = j->spec->guidance_scale;
    if (j->spec->prompt_syntax == CN_PROMPT_PLAIN) {
        for (int row = 0; row < j->rows; row++)
            add_text(j, row)->times = 1;
        return CN_OK;
    }
    rc = read_parts(j, part, err);
    if (rc < 0)
        return blame(j, rc, j->rows - 1, err);
    j->schedule_steps = count_steps(j) * cn_spec_calls_per_step(j->spec->sampler);
    j->shown = cn_arena_alloc(&j->arena, (size_t)j->rows * (size_t)j->schedule_steps);
    for (int row = 0; row < j->rows && rc == CN_OK; row++) {
        const struct cn_prompt_part *p = &part[CN_MAX(row - 1, 0)]; /* of a row that is one */
        const char *text = prompt_of(j, row);

        rc = is_negative(j, row) ? read_row(j, row, text, strlen(text), err)
                                 : read_row(j, row, text + p->from, p->len, err);
        blame(j, rc, row, err);
    }
    return rc;
}

void cn_prompts_release(struct cn_job *j)
{
    for (int i = 0; i < j->n_texts; i++) {
        free(j->text[i].source);
        cn_prompt_pieces_release(&j->text[i].pieces);
    }
    free(j->text);
}

int cn_prompts_shown(const struct cn_job *j, int row, int call)
{
    int step = CN_MIN(CN_MAX(call, 1), j->schedule_steps);

    row -= row == j->perturbed; /* which says what the row before it does */
    return j->shown == NULL ? row
                            : j->shown[(size_t)row * (size_t)j->schedule_steps + (size_t)step - 1];
}

/* ---- warnings: once, also when preparing is tried again, and when a second pass has the prompt of
 * the first ---- */

static void warn(const struct cn_job *j, enum cn_warning_code code, int row, const char *text)
{
    if (j->cb.warning != NULL && !j->warned && (j->steps_before == 0 || is_own(j, row)))
        j->cb.warning(j->cb.ctx, code, where_is(j, row), text);
}

static void warn_of_length(const struct cn_job *j, int row)
{
    char text[CN_WARNING_TEXT];

    snprintf(text, sizeof(text),
             "longer than the %d tokens of text that the model reads: the rest is ignored",
             j->positions - 2); /* without those for the beginning and the end */
    warn(j, CN_WARN_PROMPT_TRUNCATED, row, text);
}

void cn_prompts_warn_unseen(const struct cn_job *j)
{
    bool seen[CN_MAX_JOB_TEXTS] = {false};
    char text[CN_WARNING_TEXT];

    for (int row = 0; row < j->rows; row++)
        for (int call = 0; call < j->calls; call++)
            seen[cn_prompts_shown(j, row, call)] = true;
    snprintf(text, sizeof(text),
             "a text of later steps is never reached: steps are counted to %d, and this picture "
             "takes %d",
             j->schedule_steps, j->calls);
    for (int i = 0; i < j->n_texts; i++) /* that of the last step alone never is: see DESIGN */
        if (!seen[i] && j->text[i].first < j->schedule_steps)
            warn(j, CN_WARN_NO_EFFECT, j->text[i].row, text);
}

/* ---- ids ---- */

static void warn_of_misfit(const struct cn_job *j, int row, const char *name)
{
    char text[CN_WARNING_TEXT];

    if (name == NULL)
        return;
    snprintf(text, sizeof(text),
             "the embedding \"%.60s\" is for models with other text encoders: it is read as text",
             name);
    warn(j, CN_WARN_NO_EFFECT, row, text);
}

static int plain_ids(struct cn_job *j, int i, const struct cn_triggers *triggers, int row,
                     struct cn_prompt_chunks *ret, struct cn_err *err)
{
    const struct cn_tokenizer *t = j->base->text[i].tokenizer;
    struct cn_encoded how = {false, NULL};
    int rc;

    *ret = (struct cn_prompt_chunks){.length = j->positions};
    cn_prompt_chunks_add_empty(t, ret);
    rc = cn_tokenizer_encode(t, triggers, prompt_of(j, row), ret->id, j->positions, &how, err);
    ret->misfit = how.misfit;
    if (rc < 0)
        cn_prompt_chunks_release(ret);
    else if (how.truncated && i == 0)
        warn_of_length(j, row);
    return rc;
}

int cn_prompts_tokenize(struct cn_job *j, int i, int text, struct cn_prompt_chunks *ret,
                        struct cn_err *err)
{
    const struct cn_job_text *t = &j->text[text];
    const struct cn_triggers *triggers;
    int rc = cn_token_triggers(j->base, i, j->embeddings, &triggers, err);

    if (rc < 0)
        return rc;
    if (j->spec->prompt_syntax == CN_PROMPT_PLAIN)
        rc = plain_ids(j, i, triggers, t->row, ret, err);
    else
        rc = cn_prompt_chunks(j->base->text[i].tokenizer, triggers, &t->pieces, j->positions,
                              MAX_CHUNKS, ret, err);
    if (rc == CN_OK)
        warn_of_misfit(j, t->row, ret->misfit);
    return blame(j, rc, t->row, err);
}

/* ---- weights ---- */

/* Of all texts; one that is there several times counts so often. */
static double mean(const struct cn_emphasis *e, int n, size_t size)
{
    double all = 0, times = 0;

    for (int i = 0; i < n; i++) {
        double sum = 0;

        for (size_t k = 0; k < size; k++)
            sum += e[i].z[k];
        all += sum / (double)size * e[i].times;
        times += e[i].times;
    }
    return all / times;
}

static bool has_weights(const struct cn_emphasis *e, size_t tokens)
{
    for (size_t k = 0; k < tokens; k++)
        if (e->weight[k] != 1)
            return true;
    return false;
}

void cn_prompts_emphasize(const struct cn_emphasis *e, int n, size_t tokens, size_t width)
{
    size_t size = tokens * width;
    double before, after;
    int plain = 0;

    while (plain < n && !has_weights(&e[plain], tokens))
        plain++;
    if (plain == n)
        return;
    before = mean(e, n, size);
    for (int i = 0; i < n; i++)
        for (size_t k = 0; k < size; k++)
            e[i].z[k] *= e[i].weight[k / width];
    after = mean(e, n, size);
    for (int i = 0; i < n; i++)
        for (size_t k = 0; k < size; k++)
            e[i].z[k] *= (float)(before / after);
}
