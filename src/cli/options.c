/* Parsing options by a table, and printing the table as help. */
#include "base/base.h"
#include "cli/options.h"
#include "base/mem.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_OPTIONS = 64,
    MAX_WORD = 48,
    HELP_COLUMN = 30, /* where the explanations begin */
    HELP_WIDTH = 79,
    LONG_BASE = 256 /* values of long options in getopt_long(): clear of every letter */
};

bool cn_parse_int(const char *text, long *ret)
{
    char *end;
    long v;

    errno = 0;
    v = strtol(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0)
        return false;
    *ret = v;
    return true;
}

bool cn_parse_real(const char *text, double *ret)
{
    char *end;
    double v;

    errno = 0;
    v = strtod(text, &end);
    if (end == text || *end != '\0' || errno != 0 || !isfinite(v))
        return false;
    *ret = v;
    return true;
}

/* ---- did you mean ---- */

/* Optimal string alignment distance: an insertion, deletion, replacement or swap costs 1. */
static int distance(const char *a, const char *b)
{
    int d[MAX_WORD + 1][MAX_WORD + 1];
    int n = (int)strlen(a), m = (int)strlen(b);

    if (n > MAX_WORD || m > MAX_WORD)
        return MAX_WORD;
    for (int i = 0; i <= n; i++)
        d[i][0] = i;
    for (int k = 0; k <= m; k++)
        d[0][k] = k;
    for (int i = 1; i <= n; i++)
        for (int k = 1; k <= m; k++) {
            int change = d[i - 1][k - 1] + (a[i - 1] != b[k - 1]);

            d[i][k] = CN_MIN(change, CN_MIN(d[i - 1][k], d[i][k - 1]) + 1);
            if (i > 1 && k > 1 && a[i - 1] == b[k - 2] && a[i - 2] == b[k - 1])
                d[i][k] = CN_MIN(d[i][k], d[i - 2][k - 2] + 1);
        }
    return d[n][m];
}

const char *cn_closest(const char *text, const char *const *words, int n)
{
    const char *best = NULL;
    int least = (int)strlen(text) / 3 + 1; /* more changes than this is another word */

    for (int i = 0; i < n; i++) {
        int d = distance(text, words[i]);

        if (d <= least && (best == NULL || d < least)) {
            best = words[i];
            least = d;
        }
    }
    return best;
}

int cn_fail_word(struct cn_err *err, const char *what, const char *text, const struct cn_enum *e)
{
    const char *near = cn_closest(text, e->name, e->count);
    char all[320];

    if (near != NULL)
        return cn_fail(err, CN_EINVAL, "%s: there is no \"%.60s\": did you mean \"%s\"?", what,
                       text, near);
    cn_enum_list(e, all, sizeof(all));
    return cn_fail(err, CN_EINVAL, "%s: there is no \"%.60s\": expected %s", what, text, all);
}

/* ---- values ---- */

static int set_int(const struct cn_option *o, const char *text, int *ret, struct cn_err *err)
{
    long v;

    if (!cn_parse_int(text, &v))
        return cn_fail(err, CN_EINVAL, "--%s: \"%.60s\" is not a whole number", o->name, text);
    if ((double)v < o->min || (double)v > o->max)
        return cn_fail(err, CN_EINVAL, "--%s: %ld is out of range: %.0f to %.0f are accepted",
                       o->name, v, o->min, o->max);
    *ret = (int)v;
    return CN_OK;
}

static int set_real(const struct cn_option *o, const char *text, double *ret, struct cn_err *err)
{
    double v;

    if (!cn_parse_real(text, &v))
        return cn_fail(err, CN_EINVAL, "--%s: \"%.60s\" is not a number", o->name, text);
    if (v < o->min || v > o->max)
        return cn_fail(err, CN_EINVAL, "--%s: %g is out of range: %g to %g are accepted", o->name,
                       v, o->min, o->max);
    *ret = v;
    return CN_OK;
}

/* Up to 2^63 - 1, which every JSON library and every log can hold. */
static int set_seed(const struct cn_option *o, const char *text, struct cn_option_seed *ret,
                    struct cn_err *err)
{
    char *end;
    long long v;

    errno = 0;
    v = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || v < 0)
        return cn_fail(err, CN_EINVAL,
                       "--%s: \"%.60s\" is not a whole number from 0 to 9223372036854775807",
                       o->name, text);
    *ret = (struct cn_option_seed){true, (uint64_t)v};
    return CN_OK;
}

static int set_word(const struct cn_option *o, const char *text, int *ret, struct cn_err *err)
{
    char what[40];
    int i = cn_enum_find(o->words, text);

    snprintf(what, sizeof(what), "--%s", o->name);
    if (i < 0)
        return cn_fail_word(err, what, text, o->words);
    *ret = i;
    return CN_OK;
}

static int add_item(const struct cn_option *o, const char *text, struct cn_option_list *ret,
                    struct cn_err *err)
{
    if (ret->n == CN_OPTION_LIST_MAX)
        return cn_fail(err, CN_EINVAL, "--%s: at most %d are accepted", o->name,
                       CN_OPTION_LIST_MAX);
    ret->item[ret->n++] = text;
    return CN_OK;
}

static int set(const struct cn_option *o, const char *text, void *target, struct cn_err *err)
{
    void *at = (char *)target + o->offset;

    switch (o->kind) {
    case CN_OPT_FLAG:
        *(bool *)at = true;
        return CN_OK;
    case CN_OPT_TEXT:
        *(const char **)at = text;
        return CN_OK;
    case CN_OPT_INT:
        return set_int(o, text, at, err);
    case CN_OPT_REAL:
        return set_real(o, text, at, err);
    case CN_OPT_SEED:
        return set_seed(o, text, at, err);
    case CN_OPT_WORD:
        return set_word(o, text, at, err);
    case CN_OPT_LIST:
        return add_item(o, text, at, err);
    default:
        return CN_OK;
    }
}

/* ---- parsing ---- */

static bool takes_value(const struct cn_option *o)
{
    return o->kind != CN_OPT_FLAG;
}

/* The table in getopt_long()'s two forms. */
static void convert(const struct cn_option *table, struct option *longs, char *shorts)
{
    int n = 0;

    *shorts++ = ':'; /* missing values are told from unknown options */
    for (int i = 0; table[i].kind != CN_OPT_END; i++) {
        const struct cn_option *o = &table[i];

        if (o->name == NULL)
            continue;
        CN_ASSERT(n < MAX_OPTIONS);
        longs[n++] = (struct option){o->name, takes_value(o) ? required_argument : no_argument,
                                     NULL, LONG_BASE + i};
        if (o->letter == 0)
            continue;
        *shorts++ = o->letter;
        if (takes_value(o))
            *shorts++ = ':';
    }
    longs[n] = (struct option){0};
    *shorts = '\0';
}

static const struct cn_option *by_code(const struct cn_option *table, int code)
{
    if (code >= LONG_BASE)
        return &table[code - LONG_BASE];
    for (int i = 0; table[i].kind != CN_OPT_END; i++)
        if (table[i].letter == code && code != 0)
            return &table[i];
    return NULL;
}

static int fail_unknown(const struct cn_option *table, const char *word, struct cn_err *err)
{
    const char *names[MAX_OPTIONS] = {NULL}, *near;
    char name[MAX_WORD + 1];
    int n = 0;

    snprintf(name, sizeof(name), "%.*s", (int)strcspn(word + 2, "="), word + 2);
    for (int i = 0; table[i].kind != CN_OPT_END; i++)
        if (table[i].name != NULL)
            names[n++] = table[i].name;
    near = cn_closest(name, names, n);
    for (int i = 0, fits = 0; i < n; i++) {
        fits += strncmp(names[i], name, strlen(name)) == 0;
        if (fits > 1)
            return cn_fail(err, CN_EINVAL, "--%s: more than one option begins like this", name);
    }
    if (near != NULL)
        return cn_fail(err, CN_EINVAL, "--%s: there is no such option: did you mean --%s?", name,
                       near);
    return cn_fail(err, CN_EINVAL, "--%s: there is no such option", name);
}

/* What getopt_long() answered '?' to. */
static int fail_option(const struct cn_option *table, char **argv, struct cn_err *err)
{
    const struct cn_option *o = by_code(table, optopt);

    if (o != NULL && optopt >= LONG_BASE)
        return cn_fail(err, CN_EINVAL, "--%s: takes no value", o->name);
    if (optopt != 0)
        return cn_fail(err, CN_EINVAL, "-%c: there is no such option", optopt);
    return fail_unknown(table, argv[optind - 1], err);
}

int cn_options_parse(const struct cn_option *table, int argc, char **argv, void *target,
                     struct cn_err *err)
{
    struct option longs[MAX_OPTIONS + 1];
    char shorts[2 * MAX_OPTIONS + 2];
    int code, rc;

    convert(table, longs, shorts);
    optind = 0; /* glibc: start anew */
    opterr = 0;
    optopt = 0;
    while ((code = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        if (code == ':')
            return cn_fail(err, CN_EINVAL, "--%s: a value is missing",
                           by_code(table, optopt)->name);
        if (code == '?')
            return fail_option(table, argv, err);
        if ((rc = set(by_code(table, code), optarg, target, err)) < 0)
            return rc;
        optopt = 0;
    }
    return optind;
}

/* ---- help ---- */

/* Text from column `at` on, broken at blanks so that it ends before HELP_WIDTH. */
static void print_wrapped(const char *text, int at, FILE *out)
{
    int column = at;

    while (*text != '\0') {
        int len = (int)strcspn(text, " ");

        if (column > HELP_COLUMN && column + 1 + len > HELP_WIDTH) {
            fprintf(out, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        } else if (column > HELP_COLUMN) {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", len, text);
        column += len;
        text += len + (text[len] == ' ');
    }
    fputc('\n', out);
}

static void print_option(const struct cn_option *o, FILE *out)
{
    char left[80], text[512], words[320] = "";
    int n;

    if (o->letter != 0)
        n = snprintf(left, sizeof(left), "  -%c, --%s", o->letter, o->name);
    else
        n = snprintf(left, sizeof(left), "      --%s", o->name);
    if (o->arg != NULL)
        n += snprintf(left + n, sizeof(left) - (size_t)n, " %s", o->arg);
    if (o->kind == CN_OPT_WORD)
        cn_enum_list(o->words, words, sizeof(words));
    snprintf(text, sizeof(text), "%s%s%s", o->help, words[0] ? ": " : "", words);
    if (n + 2 > HELP_COLUMN)
        fprintf(out, "%s\n%*s", left, HELP_COLUMN, "");
    else
        fprintf(out, "%-*s", HELP_COLUMN, left);
    print_wrapped(text, HELP_COLUMN, out);
}

void cn_options_print(const struct cn_option *table, FILE *out)
{
    for (int i = 0; table[i].kind != CN_OPT_END; i++)
        if (table[i].kind == CN_OPT_HEADING)
            fprintf(out, "\n%s:\n", table[i].help);
        else
            print_option(&table[i], out);
}
