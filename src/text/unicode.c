/* What the tokenizer needs of Unicode: classes, lower case and canonical composition of
 * characters, by the tables of unicode_class.c and unicode_norm.c; unicode_newer.c has what the
 * library `tokenizers` takes for another thing. */
#include "base/base.h"
#include "base/mem.h"
#include "text/text_priv.h"

#include <stdlib.h>
#include <string.h>

enum {
    CAPITAL_I_DOT = 0x130,
    CAPITAL_SIGMA = 0x3a3,
    FINAL_SIGMA = 0x3c2,
    SMALL_SIGMA = 0x3c3,
    CASED = 1,
    IGNORABLE = 2
};

/* Hangul syllables compose by arithmetic (Unicode 3.12). */
enum {
    S_BASE = 0xac00,
    L_BASE = 0x1100,
    V_BASE = 0x1161,
    T_BASE = 0x11a7,
    L_COUNT = 19,
    V_COUNT = 21,
    T_COUNT = 28,
    S_COUNT = L_COUNT * V_COUNT * T_COUNT
};

void cn_cps_add(struct cn_cps *s, uint32_t cp)
{
    s->cp = cn_grow(s->cp, s->n, &s->cap, sizeof(*s->cp));
    s->cp[s->n++] = cp;
}

void cn_cps_release(struct cn_cps *s)
{
    free(s->cp);
    *s = (struct cn_cps){0};
}

/* The value of the run that holds cp, in a table of (first << bits | value). */
static uint32_t run_value(const uint32_t *table, size_t n, unsigned bits, uint32_t cp)
{
    size_t lo = 0, hi = n;

    while (hi - lo > 1) {
        size_t mid = (lo + hi) / 2;

        if (table[mid] >> bits <= cp)
            lo = mid;
        else
            hi = mid;
    }
    return table[lo] & ((1u << bits) - 1);
}

/* The run that holds cp, or NULL. */
static const struct cn_uc_run *find_run(const struct cn_uc_run *table, size_t n, uint32_t cp)
{
    size_t lo = 0, hi = n;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;

        if (cp < table[mid].first)
            hi = mid;
        else if (cp > table[mid].last)
            lo = mid + 1;
        else
            return &table[mid];
    }
    return NULL;
}

enum cn_uc_class cn_uc_class(uint32_t cp, enum cn_uc_edition edition)
{
    const struct cn_uc_run *newer = NULL;

    if (edition == CN_UC_TOKENIZERS && cp >= 0x80)
        newer = find_run(cn_uc_newer_classes, cn_uc_newer_classes_count, cp);
    if (newer != NULL)
        return (enum cn_uc_class)newer->value;
    return (enum cn_uc_class)run_value(cn_uc_classes, cn_uc_classes_count, 3, cp);
}

/* Too new for the normal forms of this edition. */
static bool is_plain(uint32_t cp, enum cn_uc_edition edition)
{
    return edition == CN_UC_TOKENIZERS && find_run(cn_uc_plain, cn_uc_plain_count, cp) != NULL;
}

static unsigned combining(uint32_t cp, enum cn_uc_edition edition)
{
    unsigned class;

    if (cp < 0x300)
        return 0;
    class = run_value(cn_uc_combining, cn_uc_combining_count, 8, cp);
    return class != 0 && is_plain(cp, edition) ? 0 : class;
}

static int compare_pair(const void *key, const void *item)
{
    uint32_t cp = *(const uint32_t *)key, other = ((const struct cn_uc_pair *)item)->cp;

    return cp < other ? -1 : cp > other;
}

static int compare_single(const void *key, const void *item)
{
    uint32_t cp = *(const uint32_t *)key, other = *(const uint32_t *)item;

    return cp < other ? -1 : cp > other;
}

/* Appends the full canonical decomposition. */
static void decompose(struct cn_cps *out, uint32_t cp, enum cn_uc_edition edition)
{
    const struct cn_uc_pair *pair;
    const uint32_t *single;

    if (cp - S_BASE < S_COUNT) {
        uint32_t s = cp - S_BASE;

        cn_cps_add(out, L_BASE + s / (V_COUNT * T_COUNT));
        cn_cps_add(out, V_BASE + s % (V_COUNT * T_COUNT) / T_COUNT);
        if (s % T_COUNT != 0)
            cn_cps_add(out, T_BASE + s % T_COUNT);
        return;
    }
    single =
        bsearch(&cp, cn_uc_singles, cn_uc_singles_count / 2, 2 * sizeof(uint32_t), compare_single);
    if (single != NULL) {
        decompose(out, single[1], edition);
        return;
    }
    pair = bsearch(&cp, cn_uc_pairs, cn_uc_pairs_count, sizeof(*pair), compare_pair);
    if (pair == NULL || is_plain(cp, edition)) {
        cn_cps_add(out, cp);
        return;
    }
    decompose(out, pair->a, edition);
    decompose(out, pair->b, edition);
}

struct mark {
    uint32_t cp;
    unsigned class;
    size_t at; /* keeps the sort stable */
};

static int compare_marks(const void *a, const void *b)
{
    const struct mark *x = a, *y = b;

    if (x->class != y->class)
        return x->class < y->class ? -1 : 1;
    return x->at < y->at ? -1 : 1;
}

/* Sorts s[from, to), all marks, by combining class. A text may be nothing but marks: no bubbles. */
static void sort_marks(uint32_t *s, size_t from, size_t to, enum cn_uc_edition edition)
{
    size_t n = to - from;
    struct mark *m;

    if (n < 2)
        return;
    m = cn_xcalloc(n, sizeof(*m));
    for (size_t i = 0; i < n; i++)
        m[i] = (struct mark){s[from + i], combining(s[from + i], edition), i};
    qsort(m, n, sizeof(*m), compare_marks);
    for (size_t i = 0; i < n; i++)
        s[from + i] = m[i].cp;
    free(m);
}

static void reorder(struct cn_cps *s, enum cn_uc_edition edition)
{
    size_t from = 0;

    for (size_t i = 0; i <= s->n; i++) {
        if (i < s->n && combining(s->cp[i], edition) != 0)
            continue;
        sort_marks(s->cp, from, i, edition);
        from = i + 1;
    }
}

static uint32_t find_pair(uint32_t a, uint32_t b)
{
    size_t lo = 0, hi = cn_uc_composing_count;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        const struct cn_uc_pair *p = &cn_uc_pairs[cn_uc_composing[mid]];

        if (p->a == a && p->b == b)
            return p->cp;
        if (p->a < a || (p->a == a && p->b < b))
            lo = mid + 1;
        else
            hi = mid;
    }
    return 0;
}

/* The character that a and b compose to, or 0. */
static uint32_t compose_pair(uint32_t a, uint32_t b, enum cn_uc_edition edition)
{
    uint32_t joined;

    if (a - L_BASE < L_COUNT && b - V_BASE < V_COUNT)
        return S_BASE + ((a - L_BASE) * V_COUNT + (b - V_BASE)) * T_COUNT;
    if (a - S_BASE < S_COUNT && (a - S_BASE) % T_COUNT == 0 && b - T_BASE - 1 < T_COUNT - 1)
        return a + (b - T_BASE);
    joined = b < 0x300 ? 0 : find_pair(a, b); /* only such come second */
    return joined != 0 && is_plain(joined, edition) ? 0 : joined;
}

/* Canonical composition (Unicode 3.11, D117): every mark joins the last starter unless one of the
 * same or a higher class stands between. */
static void compose(struct cn_cps *s, enum cn_uc_edition edition)
{
    size_t out = 0, starter = SIZE_MAX;
    unsigned last = 0;

    for (size_t i = 0; i < s->n; i++) {
        uint32_t cp = s->cp[i], joined = 0;
        unsigned class = combining(cp, edition);

        if (starter != SIZE_MAX && (out == starter + 1 || (last < class && last != 0)))
            joined = compose_pair(s->cp[starter], cp, edition);
        if (joined != 0) {
            s->cp[starter] = joined;
            continue;
        }
        if (class == 0)
            starter = out;
        last = class;
        s->cp[out++] = cp;
    }
    s->n = out;
}

static void swap(struct cn_cps *a, struct cn_cps *b)
{
    struct cn_cps t = *a;

    *a = *b;
    *b = t;
}

void cn_uc_nfc(struct cn_cps *s, struct cn_cps *scratch, enum cn_uc_edition edition)
{
    size_t i = 0;

    while (i < s->n && s->cp[i] < 0x300)
        i++;
    if (i == s->n) /* below U+0300 everything is in form C */
        return;
    scratch->n = 0;
    for (i = 0; i < s->n; i++)
        decompose(scratch, s->cp[i], edition);
    reorder(scratch, edition);
    compose(scratch, edition);
    swap(s, scratch);
}

static uint32_t lower(uint32_t cp, enum cn_uc_edition edition)
{
    const struct cn_uc_run *newer = NULL;
    size_t lo = 0, hi = cn_uc_lowers_count;

    if (cp < 0x80)
        return cp >= 'A' && cp <= 'Z' ? cp + 32 : cp;
    if (edition == CN_UC_TOKENIZERS)
        newer = find_run(cn_uc_newer_lowers, cn_uc_newer_lowers_count, cp);
    if (newer != NULL)
        return (uint32_t)((int32_t)cp + newer->value);
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        const struct cn_uc_lower *r = &cn_uc_lowers[mid];

        if (cp < r->first)
            hi = mid;
        else if (cp > r->last)
            lo = mid + 1;
        else
            return (cp - r->first) % r->step == 0 ? (uint32_t)((int32_t)cp + r->delta) : cp;
    }
    return cp;
}

static unsigned case_of(uint32_t cp)
{
    return run_value(cn_uc_cases, cn_uc_cases_count, 3, cp);
}

/* A capital sigma is final after a cased character and not before one; some characters
 * (apostrophes, marks) are looked through. `before` is whether a cased one precedes it. */
static bool sigma_is_final(const struct cn_cps *s, size_t i, bool before)
{
    size_t j = i + 1;

    if (!before)
        return false;
    while (j < s->n && case_of(s->cp[j]) == IGNORABLE)
        j++;
    return j == s->n || case_of(s->cp[j]) != CASED;
}

void cn_uc_lowercase(struct cn_cps *s, struct cn_cps *scratch, enum cn_uc_edition edition)
{
    bool final = edition == CN_UC_PYTHON;
    bool cased = false; /* the last character that is not ignorable was cased */

    scratch->n = 0;
    for (size_t i = 0; i < s->n; i++) {
        uint32_t cp = s->cp[i];
        unsigned c = case_of(cp);

        if (cp == CAPITAL_SIGMA) {
            cn_cps_add(scratch, final && sigma_is_final(s, i, cased) ? FINAL_SIGMA : SMALL_SIGMA);
        } else if (cp == CAPITAL_I_DOT) {
            cn_cps_add(scratch, 'i');
            cn_cps_add(scratch, 0x307);
        } else {
            cn_cps_add(scratch, lower(cp, edition));
        }
        if (c != IGNORABLE)
            cased = c == CASED;
    }
    swap(s, scratch);
}
