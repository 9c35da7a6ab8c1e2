/* Command line options: one table says what is parsed, checked, stored and printed as help.
 *
 * An entry names the member of a struct that it fills, by its offset. Entries without a name are
 * headings of the help text. Parsing is getopt_long()'s, abbreviations included. One thread.
 *
 *     static const struct cn_option table[] = {
 *         {.name = "steps", .kind = CN_OPT_INT, .arg = "N", .offset = offsetof(struct job, steps),
 *          .min = 1, .max = 1000, .help = "denoising steps"},
 *         CN_OPTION_END};
 *     if (cn_options_parse(table, argc, argv, &job, &err) < 0) ...   -- err.msg: "--steps: ..."
 *     cn_options_print(table, stdout);
 */
#ifndef CN_CLI_OPTIONS_H
#define CN_CLI_OPTIONS_H

#include "base/spec.h"

#include <stdio.h>

enum cn_option_kind {
    CN_OPT_END,
    CN_OPT_HEADING,
    CN_OPT_FLAG, /* bool */
    CN_OPT_TEXT, /* const char *: points into argv */
    CN_OPT_INT,  /* int in [min, max] */
    CN_OPT_REAL, /* double in [min, max] */
    CN_OPT_SEED, /* struct cn_option_seed */
    CN_OPT_WORD, /* int or an enum: index into words */
    CN_OPT_LIST  /* struct cn_option_list, once per use */
};

struct cn_option {
    enum cn_option_kind kind;
    const char *name; /* without the dashes */
    char letter;      /* 0: none */
    const char *arg, *help;
    size_t offset;
    double min, max;
    const struct cn_enum *words;
};

#define CN_OPTION_HEADING(text)                                                                    \
    {                                                                                              \
        .kind = CN_OPT_HEADING, .help = text                                                       \
    }
#define CN_OPTION_END                                                                              \
    {                                                                                              \
        .kind = CN_OPT_END                                                                         \
    }

struct cn_option_seed {
    bool given;
    uint64_t value;
};

enum { CN_OPTION_LIST_MAX = 64 };

struct cn_option_list {
    const char *item[CN_OPTION_LIST_MAX];
    int n;
};

/* Fills target (whose defaults are there already) from argv[1] on and moves what is no option to
 * the end; returns the index of the first of these, or CN_EINVAL with a message that begins with
 * the option. */
int cn_options_parse(const struct cn_option *table, int argc, char **argv, void *target,
                     struct cn_err *err);

/* "  -s, --steps N    denoising steps", aligned, wrapped at 79 columns. */
void cn_options_print(const struct cn_option *table, FILE *out);

/* Whole texts as numbers; false when anything else is in them. */
bool cn_parse_int(const char *text, long *ret);
bool cn_parse_real(const char *text, double *ret);

/* The word of the list (n of them) that text was meant to be, or NULL: for "did you mean". */
const char *cn_closest(const char *text, const char *const *words, int n);

/* As cn_fail(err, CN_EINVAL, ...) for a word that is none of e's. */
int cn_fail_word(struct cn_err *err, const char *what, const char *text, const struct cn_enum *e);

#endif
