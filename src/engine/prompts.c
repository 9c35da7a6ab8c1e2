/* The prompts of a job: what they say, as the request asks for it to be read, and what a text
 * encoder is given of them.
 *
 * Plain: the text as it stands, one chunk; what is beyond the encoder's positions is cut, which the
 * client is told. a1111: pieces with weights in as many chunks as they take. What of the grammar is
 * not drawn (several parts with AND, a text that changes while the picture is drawn) is refused and
 * never read as text.
 */
#include "base/base.h"
#include "engine/job_priv.h"
#include "text/prompt.h"

#include <stdio.h>
#include <string.h>

enum { MAX_CHUNKS = 32 }; /* a step looks at 77 tokens for each */

static const char *const where[CN_PROMPTS] = {"/negative_prompt", "/prompt"};

static const char *text_of(const struct cn_job *j, int which)
{
    return which == 0 ? j->spec->negative_prompt : j->spec->prompt;
}

/* Says which prompt an error is about. */
static int blame(int rc, int which, struct cn_err *err)
{
    if (rc < 0 && err != NULL && err->where[0] == '\0')
        snprintf(err->where, sizeof(err->where), "%s", where[which]);
    return rc;
}

/* The one part of a prompt; the negative prompt has no parts. */
static int read_part(struct cn_job *j, int which, struct cn_prompt_part *ret, struct cn_err *err)
{
    const char *text = text_of(j, which);
    int n = 1, rc = CN_OK;

    *ret = (struct cn_prompt_part){0, strlen(text), 1};
    if (which == 0)
        return CN_OK;
    rc = cn_prompt_parts(text, ret, 1, &n, NULL);
    if (rc == CN_ETOOBIG)
        return cn_fail(err, CN_EINVAL, "several prompts joined by AND are not supported");
    if (rc < 0)
        return cn_fail(err, rc, "the text is not UTF-8");
    if (ret->weight != 1 && j->rows == 1)
        return cn_fail(err, CN_EINVAL, "a weight of the whole prompt (%g) needs guidance above 1",
                       ret->weight);
    j->guidance = j->spec->guidance_scale * ret->weight;
    return CN_OK;
}

/* The text of all steps, as pieces. */
static int read_steps(struct cn_job *j, int which, const struct cn_prompt_schedule *s,
                      struct cn_err *err)
{
    struct cn_buf text;
    int rc;

    if (cn_prompt_schedule_until(s, 1) < j->spec->steps)
        return cn_fail(err, CN_EINVAL,
                       "a text that changes with the steps ([from:to:when], [one|other]) is not "
                       "supported");
    cn_buf_init(&text, CN_MAX_TOKENIZE);
    rc = cn_prompt_schedule_text(s, 1, &text, err);
    if (rc == CN_OK)
        rc = cn_prompt_emphasis(text.len > 0 ? (const char *)text.data : "", &j->prompt[which],
                                err);
    cn_buf_release(&text);
    return rc;
}

static int read_prompt(struct cn_job *j, int which, struct cn_err *err)
{
    struct cn_prompt_schedule *s;
    struct cn_prompt_part part;
    int rc = read_part(j, which, &part, err);

    if (rc == CN_OK)
        rc = cn_prompt_schedule_new(text_of(j, which) + part.from, part.len, j->spec->steps, &s,
                                    err);
    if (rc < 0)
        return rc;
    rc = read_steps(j, which, s, err);
    cn_prompt_schedule_free(s);
    return rc;
}

int cn_prompts_read(struct cn_job *j, struct cn_err *err)
{
    int rc = CN_OK;

    j->guidance = j->spec->guidance_scale;
    if (j->spec->prompt_syntax == CN_PROMPT_PLAIN)
        return CN_OK;
    for (int which = CN_PROMPTS - j->rows; which < CN_PROMPTS && rc == CN_OK; which++)
        rc = blame(read_prompt(j, which, err), which, err);
    return rc;
}

void cn_prompts_release(struct cn_job *j)
{
    for (int which = 0; which < CN_PROMPTS; which++)
        cn_prompt_pieces_release(&j->prompt[which]);
}

/* ---- ids ---- */

/* Once, also when preparing is tried again, and when several encoders read the text. */
static void warn_of_length(struct cn_job *j, int i, int which)
{
    char text[128];

    if (j->cb.warning == NULL || j->warned || i > 0)
        return;
    snprintf(text, sizeof(text),
             "longer than the %d tokens that the model reads: the rest is ignored", j->positions);
    j->cb.warning(j->cb.ctx, CN_WARN_PROMPT_TRUNCATED, where[which], text);
}

static int plain_ids(struct cn_job *j, int i, int which, struct cn_prompt_chunks *ret,
                     struct cn_err *err)
{
    const struct cn_tokenizer *t = j->base->text[i].tokenizer;
    bool truncated = false;
    int rc;

    *ret = (struct cn_prompt_chunks){.length = j->positions};
    cn_prompt_chunks_add_empty(t, ret);
    rc = cn_tokenizer_encode(t, text_of(j, which), ret->id, j->positions, &truncated, err);
    if (rc < 0)
        cn_prompt_chunks_release(ret);
    else if (truncated)
        warn_of_length(j, i, which);
    return rc;
}

int cn_prompts_tokenize(struct cn_job *j, int i, int row, struct cn_prompt_chunks *ret,
                        struct cn_err *err)
{
    int which = CN_PROMPTS - j->rows + row, rc;

    if (j->spec->prompt_syntax == CN_PROMPT_PLAIN)
        rc = plain_ids(j, i, which, ret, err);
    else
        rc = cn_prompt_chunks(j->base->text[i].tokenizer, &j->prompt[which], j->positions,
                              MAX_CHUNKS, ret, err);
    return blame(rc, which, err);
}

/* ---- weights ---- */

static double mean(const float *z, size_t n)
{
    double sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += z[i];
    return sum / (double)n;
}

void cn_prompts_emphasize(const float *weight, size_t tokens, size_t width, float *z)
{
    size_t n = tokens * width, plain = 0;
    double before, after;

    while (plain < tokens && weight[plain] == 1)
        plain++;
    if (plain == tokens)
        return;
    before = mean(z, n);
    for (size_t i = 0; i < n; i++)
        z[i] *= weight[i / width];
    after = mean(z, n);
    for (size_t i = 0; i < n; i++)
        z[i] *= (float)(before / after);
}
