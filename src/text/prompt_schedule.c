/* Prompt editing and alternation: a text for each step.
 *
 * DESIGN. The text is read once. A stack holds the brackets that are open; when one closes, the
 * colons and bars directly inside of it say what it is: (text), (text:text) and [text] are
 * characters like others, [a:b:3] and [a|b] become constructs. A bracket whose inside is none of
 * these is a stray one, and so is every bracket around it; constructs inside of it stay what they
 * are. The text of a step is written by following the constructs from left to right, into the part
 * that the step chooses: recursion goes as deep as brackets nest, CN_PROMPT_DEPTH at most.
 */
#include "base/base.h"
#include "text/prompt.h"
#include "text/prompt_priv.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

enum kind { STRAY, TEXT, EDIT, ALTERNATE };

/* [first:second:when] or [first|second|...]: parts lie between the marks, the bracket's own two
 * included. */
struct construct {
    enum kind kind;
    size_t mark; /* the opening bracket is marks[mark], the closing one marks[mark + parts] */
    int parts;
    int when; /* EDIT: last step of the first part; 0: there is none */
};

struct cn_prompt_schedule {
    char *text;
    size_t len;
    int steps, before;
    bool verbatim;      /* the text is that of all steps */
    uint32_t *at;       /* [len]: 1 + the construct that begins here, or 0 */
    struct construct *construct;
    size_t n, cap;
    size_t *marks;
    size_t n_marks, marks_cap;
    bool *ends; /* [steps + 1]: the text may be another after this step */
};

/* ---- reading ---- */

/* An open bracket. */
struct bracket {
    size_t from;
    size_t separators; /* how many were there before */
    bool stray;        /* something inside of it was */
};

struct reader {
    struct cn_prompt_schedule *s;
    struct bracket open[CN_PROMPT_DEPTH];
    int n_open;
    size_t *separator; /* colons and bars inside of open brackets */
    size_t n_separators, cap;
    size_t bars; /* that are of no alternation yet */
    struct cn_err *err;
};

/* Length of the number at text: [+-] (digits [. digits] | . digits) [e [+-] digits]. */
static size_t number_length(const char *text, bool *ret_point)
{
    size_t i = text[0] == '+' || text[0] == '-', n = strspn(text + i, "0123456789"), exponent;

    i += n;
    *ret_point = text[i] == '.';
    if (*ret_point) {
        size_t fraction = strspn(text + i + 1, "0123456789");

        if (n + fraction == 0)
            return 0;
        i += 1 + fraction;
    } else if (n == 0) {
        return 0;
    }
    exponent = i + (text[i] == 'e' || text[i] == 'E');
    if (exponent > i) {
        exponent += text[exponent] == '+' || text[exponent] == '-';
        n = strspn(text + exponent, "0123456789");
        i = n > 0 ? exponent + n : i;
    }
    return i;
}

/* The step that the text between two marks names. False when it is no number. */
static bool read_when(const struct cn_prompt_schedule *s, size_t from, size_t to, int *ret)
{
    size_t n;
    bool point;
    double v;

    from = cn_prompt_skip_space(s->text, from, to);
    n = number_length(s->text + from, &point);
    if (n == 0 || cn_prompt_skip_space(s->text, from + n, to) != to)
        return false;
    v = strtod(s->text + from, NULL);
    v = point ? (v - (s->before > 0)) * s->steps : v - s->before;
    *ret = v >= s->steps ? s->steps : v < 1 ? 0 : (int)v;
    return true;
}

static void add_mark(struct cn_prompt_schedule *s, size_t at)
{
    s->marks = cn_grow(s->marks, s->n_marks, &s->marks_cap, sizeof(*s->marks));
    s->marks[s->n_marks++] = at;
}

static void add_construct(struct reader *r, const struct bracket *b, size_t to, enum kind kind,
                          int when)
{
    struct cn_prompt_schedule *s = r->s;
    struct construct *c;

    s->construct = cn_grow(s->construct, s->n, &s->cap, sizeof(*s->construct));
    c = &s->construct[s->n++];
    *c = (struct construct){kind, s->n_marks, (int)(r->n_separators - b->separators) + 1, when};
    add_mark(s, b->from);
    for (size_t i = b->separators; i < r->n_separators; i++)
        add_mark(s, r->separator[i]);
    add_mark(s, to);
    s->at[b->from] = (uint32_t)s->n;
}

/* What the bracket is, by what stands between it and its partner at `to`. */
static enum kind kind_of(const struct reader *r, const struct bracket *b, size_t to, int *ret_when)
{
    size_t n = r->n_separators - b->separators, bars = 0;
    const size_t *separator = r->separator + b->separators;
    const char *text = r->s->text;

    if (b->stray)
        return STRAY;
    if (n == 0)
        return TEXT;
    if (text[to] == ')')
        return n == 1 && text[separator[0]] == ':' ? TEXT : STRAY;
    for (size_t i = 0; i < n; i++)
        bars += text[separator[i]] == '|';
    if (bars == n)
        return ALTERNATE;
    return bars == 0 && n <= 2 && read_when(r->s, separator[n - 1] + 1, to, ret_when) ? EDIT
                                                                                      : STRAY;
}

static void close_bracket(struct reader *r, size_t at)
{
    const struct bracket *b = r->n_open > 0 ? &r->open[r->n_open - 1] : NULL;
    const char *text = r->s->text;
    enum kind kind;
    int when = 0;

    if (b == NULL || (text[b->from] == '(') != (text[at] == ')')) {
        r->n_open = 0; /* this one is stray, and so are all that are open */
        r->n_separators = 0;
        return;
    }
    r->n_open--;
    kind = kind_of(r, b, at, &when);
    if (kind == EDIT || kind == ALTERNATE)
        add_construct(r, b, at, kind, when);
    if (kind == ALTERNATE)
        r->bars -= r->n_separators - b->separators;
    if (kind == STRAY && r->n_open > 0)
        r->open[r->n_open - 1].stray = true;
    r->n_separators = b->separators;
}

static int open_bracket(struct reader *r, size_t at)
{
    if (r->n_open == CN_PROMPT_DEPTH)
        return cn_fail(r->err, CN_EINVAL, "brackets nest deeper than %d", CN_PROMPT_DEPTH);
    r->open[r->n_open++] = (struct bracket){at, r->n_separators, false};
    return CN_OK;
}

static void add_separator(struct reader *r, size_t at)
{
    r->bars += r->s->text[at] == '|';
    if (r->n_open == 0)
        return;
    r->separator = cn_grow(r->separator, r->n_separators, &r->cap, sizeof(*r->separator));
    r->separator[r->n_separators++] = at;
}

static int read_text(struct reader *r)
{
    struct cn_prompt_schedule *s = r->s;
    int rc = CN_OK;

    for (size_t i = strcspn(s->text, "\\()[]:|"); i < s->len && rc == CN_OK;
         i += strcspn(s->text + i, "\\()[]:|")) {
        char c = s->text[i];

        if (c == '\\' && (s->text[i + 1] == '\0' || s->text[i + 1] == '\n'))
            s->verbatim = true;
        else if (c == '(' || c == '[')
            rc = open_bracket(r, i);
        else if (c == ')' || c == ']')
            close_bracket(r, i);
        else if (c != '\\')
            add_separator(r, i);
        i += c == '\\' && i + 1 < s->len ? 2 : 1;
    }
    s->verbatim |= r->bars > 0;
    return rc;
}

/* After which steps another text may come. */
static void find_ends(struct cn_prompt_schedule *s)
{
    bool each = false;

    for (size_t i = 0; i < s->n && !s->verbatim; i++) {
        each |= s->construct[i].kind == ALTERNATE;
        s->ends[s->construct[i].when] = true;
    }
    for (int i = 0; i <= s->steps && each; i++)
        s->ends[i] = true;
    s->ends[s->steps] = true;
}

static int allocate(struct cn_prompt_schedule *s, const char *text, struct cn_err *err)
{
    size_t size = s->len + 1;

    s->text = cn_try_alloc(size);
    s->at = cn_try_alloc(size * sizeof(*s->at));
    s->ends = cn_xcalloc((size_t)s->steps + 1, sizeof(*s->ends));
    if (s->text == NULL || s->at == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for a prompt of %zu bytes", s->len);
    memcpy(s->text, text, s->len);
    s->text[s->len] = '\0';
    memset(s->at, 0, size * sizeof(*s->at));
    return CN_OK;
}

int cn_prompt_schedule_new(const char *text, size_t len, int steps, int before,
                           struct cn_prompt_schedule **ret, struct cn_err *err)
{
    struct cn_prompt_schedule *s;
    struct reader *r;
    int rc = cn_prompt_check(text, len, err);

    CN_ASSERT(steps > 0);
    if (rc < 0)
        return rc;
    s = cn_xcalloc(1, sizeof(*s));
    s->len = len;
    s->steps = steps;
    s->before = before;
    r = cn_xcalloc(1, sizeof(*r));
    r->s = s;
    r->err = err;
    rc = allocate(s, text, err);
    if (rc == CN_OK)
        rc = read_text(r);
    free(r->separator);
    free(r);
    if (rc < 0) {
        cn_prompt_schedule_free(s);
        return rc;
    }
    find_ends(s);
    *ret = s;
    return CN_OK;
}

void cn_prompt_schedule_free(struct cn_prompt_schedule *s)
{
    if (s == NULL)
        return;
    free(s->text);
    free(s->at);
    free(s->construct);
    free(s->marks);
    free(s->ends);
    free(s);
}

/* ---- writing ---- */

int cn_prompt_schedule_until(const struct cn_prompt_schedule *s, int step)
{
    CN_ASSERT(step >= 1 && step <= s->steps);
    while (!s->ends[step])
        step++;
    return step;
}

/* Which part of the construct the step shows, or -1: nothing. */
static int choose(const struct construct *c, int step)
{
    if (c->kind == ALTERNATE)
        return (step - 1) % c->parts;
    return step > c->when ? c->parts - 2 : c->parts - 3;
}

static int write_text(const struct cn_prompt_schedule *s, size_t from, size_t to, int step,
                      struct cn_buf *ret, struct cn_err *err)
{
    size_t copied = from;
    int rc = CN_OK;

    for (size_t i = from; i < to && rc == CN_OK; i++) {
        const struct construct *c;
        const size_t *mark;
        int part;

        if (s->at[i] == 0)
            continue;
        c = &s->construct[s->at[i] - 1];
        mark = s->marks + c->mark;
        part = choose(c, step);
        rc = cn_buf_add(ret, s->text + copied, i - copied, err);
        if (rc == CN_OK && part >= 0)
            rc = write_text(s, mark[part] + 1, mark[part + 1], step, ret, err);
        i = mark[c->parts];
        copied = i + 1;
    }
    return rc < 0 ? rc : cn_buf_add(ret, s->text + copied, to - copied, err);
}

int cn_prompt_schedule_text(const struct cn_prompt_schedule *s, int step, struct cn_buf *ret,
                            struct cn_err *err)
{
    CN_ASSERT(step >= 1 && step <= s->steps);
    if (s->verbatim)
        return cn_buf_add(ret, s->text, s->len, err);
    return write_text(s, 0, s->len, step, ret, err);
}
