/* Emphasis of AUTOMATIC1111's web UI: text to pieces with weights. The rules are those of
 * modules/prompt_parser.py there.
 *
 * The text is read once. What is outside of brackets weighs 1; an opening bracket notes how many
 * pieces there are, a closing one multiplies the weights of all pieces since. So each piece is
 * multiplied once for each bracket around it, from the inside out.
 */
#include "base/base.h"
#include "text/prompt.h"
#include "text/prompt_priv.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

#define ROUND_WEIGHT  1.1
#define SQUARE_WEIGHT (1 / 1.1)
#define BREAK_WEIGHT  (-1.0)

static const char break_word[] = "BREAK";

/* For each open bracket, the number of pieces before it. */
struct brackets {
    size_t at[CN_PROMPT_DEPTH];
    int n;
};

struct reader {
    const char *s;
    size_t len;
    struct cn_prompt_pieces *out;
    size_t written; /* bytes of out->text */
    struct brackets round, square;
    struct cn_err *err;
};

static void put(struct reader *r, const char *text, size_t len, double weight)
{
    memcpy(r->out->text + r->written, text, len);
    r->out->piece[r->out->n++] = (struct cn_prompt_piece){r->written, len, weight};
    r->written += len;
}

/* Text without a meaning of its own, cut at each BREAK; the white space around it goes. */
static void put_text(struct reader *r, size_t from, size_t to)
{
    for (;;) {
        size_t at = cn_prompt_find_word(r->s + from, 0, to - from, break_word) + from;

        if (at >= to)
            break;
        put(r, r->s + from, cn_prompt_trim_space(r->s, from, at) - from, 1);
        put(r, break_word, sizeof(break_word) - 1, BREAK_WEIGHT);
        from = cn_prompt_skip_space(r->s, at + sizeof(break_word) - 1, to);
    }
    put(r, r->s + from, to - from, 1);
}

static int open_bracket(struct reader *r, struct brackets *b)
{
    if (b->n == CN_PROMPT_DEPTH)
        return cn_fail(r->err, CN_EINVAL, "brackets nest deeper than %d", CN_PROMPT_DEPTH);
    b->at[b->n++] = r->out->n;
    return CN_OK;
}

static void multiply(struct reader *r, size_t from, double weight)
{
    for (size_t i = from; i < r->out->n; i++)
        r->out->piece[i].weight *= weight;
}

static void close_bracket(struct reader *r, struct brackets *b, double weight)
{
    multiply(r, b->at[--b->n], weight);
}

/* End of ": number )" at the colon s[at], or 0; the number's place. */
static size_t weight_end(const struct reader *r, size_t at, size_t *ret_from, size_t *ret_len)
{
    size_t from = cn_prompt_skip_space(r->s, at + 1, r->len), to = from;

    if (to < r->len && (r->s[to] == '+' || r->s[to] == '-'))
        to++;
    *ret_from = from;
    from = to;
    while (to < r->len && ((r->s[to] >= '0' && r->s[to] <= '9') || r->s[to] == '.'))
        to++;
    *ret_len = to - *ret_from;
    if (to == from)
        return 0;
    to = cn_prompt_skip_space(r->s, to, r->len);
    return to < r->len && r->s[to] == ')' ? to + 1 : 0;
}

/* At a colon: a weight, or text. */
static int read_colon(struct reader *r, size_t *at)
{
    size_t from, len, end = weight_end(r, *at, &from, &len);
    double weight;

    if (end == 0 || r->round.n == 0) {
        if (end == 0)
            end = *at + 1;
        put(r, r->s + *at, end - *at, 1);
        *at = end;
        return CN_OK;
    }
    if (cn_prompt_number(r->s + from, len, &weight) < 0)
        return cn_fail(r->err, CN_EINVAL, "the weight \"%.*s\" is not a number",
                       (int)CN_MIN(len, 40), r->s + from);
    close_bracket(r, &r->round, weight);
    *at = end;
    return CN_OK;
}

/* After a backslash: a bracket or backslash without its meaning; a lone backslash vanishes. */
static void read_escape(struct reader *r, size_t *at)
{
    size_t next = *at + 1;
    size_t n = next < r->len && strchr("()[]\\", r->s[next]) != NULL;

    put(r, r->s + next, n, 1);
    *at = next + n;
}

/* One token: a bracket, a weight, an escape, or text up to the next of these. */
static int read_token(struct reader *r, size_t *at)
{
    char c = r->s[*at];
    size_t n = strcspn(r->s + *at, "\\()[]:");

    if (c == '\\') {
        read_escape(r, at);
        return CN_OK;
    }
    if (c == ':')
        return read_colon(r, at);
    *at += CN_MAX(n, (size_t)1);
    if (c == '(' || c == '[')
        return open_bracket(r, c == '(' ? &r->round : &r->square);
    if (c == ')' && r->round.n > 0)
        close_bracket(r, &r->round, ROUND_WEIGHT);
    else if (c == ']' && r->square.n > 0)
        close_bracket(r, &r->square, SQUARE_WEIGHT);
    else
        put_text(r, *at - CN_MAX(n, (size_t)1), *at);
    return CN_OK;
}

static int read_text(struct reader *r)
{
    int rc = CN_OK;

    for (size_t at = 0; at < r->len && rc == CN_OK;)
        rc = read_token(r, &at);
    for (int i = 0; i < r->round.n && rc == CN_OK; i++)
        multiply(r, r->round.at[i], ROUND_WEIGHT);
    for (int i = 0; i < r->square.n && rc == CN_OK; i++)
        multiply(r, r->square.at[i], SQUARE_WEIGHT);
    if (rc == CN_OK && r->out->n == 0)
        put(r, "", 0, 1);
    return rc;
}

/* Neighbours of equal weight become one piece. */
static void merge(struct cn_prompt_pieces *p)
{
    size_t n = 1;

    for (size_t i = 1; i < p->n; i++) {
        if (p->piece[i].weight == p->piece[n - 1].weight)
            p->piece[n - 1].len += p->piece[i].len;
        else
            p->piece[n++] = p->piece[i];
    }
    p->n = n;
}

/* Each token has a byte of its own for each piece that it makes, so that there are at most len
 * pieces; none at all become one. */
static int allocate(struct cn_prompt_pieces *p, size_t len, struct cn_err *err)
{
    p->text = cn_try_alloc(len + 1);
    p->piece = cn_try_alloc((len + 1) * sizeof(*p->piece));
    if (p->text == NULL || p->piece == NULL) {
        cn_prompt_pieces_release(p);
        return cn_fail(err, CN_ENOMEM, "no memory for a prompt of %zu bytes", len);
    }
    return CN_OK;
}

int cn_prompt_emphasis(const char *text, struct cn_prompt_pieces *ret, struct cn_err *err)
{
    struct cn_prompt_pieces p = {.n = 0};
    struct reader r = {.s = text, .len = strlen(text), .out = &p, .err = err};
    int rc = cn_prompt_check(text, r.len, err);

    if (rc < 0 || (rc = allocate(&p, r.len, err)) < 0)
        return rc;
    rc = read_text(&r);
    if (rc < 0) {
        cn_prompt_pieces_release(&p);
        return rc;
    }
    p.text[r.written] = '\0';
    merge(&p);
    *ret = p;
    return CN_OK;
}

int cn_prompt_plain(const char *text, struct cn_prompt_pieces *ret, struct cn_err *err)
{
    struct cn_prompt_pieces p = {.n = 0};
    size_t len = strlen(text);
    int rc = cn_prompt_check(text, len, err);

    if (rc < 0 || (rc = allocate(&p, len, err)) < 0)
        return rc;
    memcpy(p.text, text, len + 1);
    p.piece[p.n++] = (struct cn_prompt_piece){0, len, 1};
    *ret = p;
    return CN_OK;
}

void cn_prompt_pieces_release(struct cn_prompt_pieces *p)
{
    free(p->text);
    free(p->piece);
    *p = (struct cn_prompt_pieces){.n = 0};
}

bool cn_prompt_is_break(const struct cn_prompt_pieces *p, size_t i)
{
    const struct cn_prompt_piece *piece = &p->piece[i];

    return piece->weight == BREAK_WEIGHT && piece->len == sizeof(break_word) - 1 &&
           memcmp(p->text + piece->from, break_word, piece->len) == 0;
}
