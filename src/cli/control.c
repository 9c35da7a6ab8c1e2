/* --control MODEL=FILE[,key=value...], and reading picture files. */
#include "base/base.h"
#include "cli/cli.h"
#include "base/file.h"
#include "base/mem.h"
#include "image/annotate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_FILE = 32 << 20 };

/* ---- files ---- */

static int read_stdin(struct cn_buf *b, struct cn_err *err)
{
    char part[1 << 16];
    ssize_t n;
    int rc = CN_OK;

    while (rc == CN_OK && (n = read(STDIN_FILENO, part, sizeof(part))) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return cn_fail(err, CN_EIO, "cannot read standard input: %s", strerror(errno));
        rc = cn_buf_add(b, part, (size_t)n, err);
    }
    return rc;
}

int cn_cli_read_image(const char *path, struct cn_blob *ret, struct cn_err *err)
{
    struct cn_buf b;
    int rc;

    cn_buf_init(&b, MAX_FILE);
    rc = strcmp(path, "-") == 0 ? read_stdin(&b, err) : cn_file_read(path, &b, err);
    if (rc == CN_OK && b.len == 0)
        rc = cn_fail(err, CN_EFORMAT, "\"%s\" is empty", path);
    if (rc < 0) {
        cn_buf_release(&b);
        return rc;
    }
    free(ret->data);
    ret->data = cn_buf_steal(&b, &ret->len);
    return CN_OK;
}

/* ---- keys ---- */

typedef int (*set_fn)(struct cn_spec_control *c, const char *text, struct cn_err *err);

static int set_number(const char *key, const char *text, double *ret, struct cn_err *err)
{
    if (!cn_parse_real(text, ret))
        return cn_fail(err, CN_EINVAL, "--control: %s: \"%.60s\" is not a number", key, text);
    return CN_OK;
}

static int set_strength(struct cn_spec_control *c, const char *text, struct cn_err *err)
{
    return set_number("strength", text, &c->strength, err);
}

static int set_start(struct cn_spec_control *c, const char *text, struct cn_err *err)
{
    return set_number("start", text, &c->start, err);
}

static int set_end(struct cn_spec_control *c, const char *text, struct cn_err *err)
{
    return set_number("end", text, &c->end, err);
}

static int find_word(const char *key, const char *text, const struct cn_enum *e, int *ret,
                     struct cn_err *err)
{
    char what[40];
    int i = cn_enum_find(e, text);

    snprintf(what, sizeof(what), "--control: %s", key);
    if (i < 0)
        return cn_fail_word(err, what, text, e);
    *ret = i;
    return CN_OK;
}

static int set_branch(struct cn_spec_control *c, const char *text, struct cn_err *err)
{
    int v = 0, rc = find_word("branch", text, &cn_enum_branch, &v, err);

    if (rc == CN_OK)
        c->branch = (enum cn_branch)v;
    return rc;
}

static int set_resize(struct cn_spec_control *c, const char *text, struct cn_err *err)
{
    int v = 0, rc = find_word("resize", text, &cn_enum_resize, &v, err);

    if (rc == CN_OK)
        c->resize = (enum cn_resize)v;
    return rc;
}

/* "1:0.8:0.5...": one number for each level. */
static int set_levels(struct cn_spec_control *c, const char *text, struct cn_err *err)
{
    char *copy = cn_xstrdup(text), *rest = copy, *part;
    int rc = CN_OK, n = 0;

    while (rc == CN_OK && (part = strsep(&rest, ":")) != NULL) {
        if (n == CN_CONTROL_LEVELS)
            rc = cn_fail(err, CN_EINVAL, "--control: weights: more than %d numbers",
                         CN_CONTROL_LEVELS);
        else
            rc = set_number("weights", part, &c->weight[n++], err);
    }
    free(copy);
    c->weights = CN_W_CUSTOM;
    c->n_weights = n;
    return rc;
}

static int set_weights(struct cn_spec_control *c, const char *text, struct cn_err *err)
{
    struct cn_enum words = cn_enum_weights;
    int v = 0, rc;

    if (strchr(text, ':') != NULL)
        return set_levels(c, text, err);
    words.count = CN_W_CUSTOM; /* which is what numbers mean */
    rc = find_word("weights", text, &words, &v, err);
    if (rc == CN_OK)
        c->weights = (enum cn_weighting)v;
    return rc;
}

int cn_cli_find_annotator(const char *what, const char *name, const struct cn_annotator **ret,
                          struct cn_err *err)
{
    const char **names = cn_xcalloc((size_t)cn_n_annotators, sizeof(*names));
    struct cn_enum words = {"annotator", names, cn_n_annotators};
    int rc = CN_OK;

    for (int i = 0; i < cn_n_annotators; i++)
        names[i] = cn_annotators[i].name;
    *ret = cn_annotator_find(name);
    if (*ret == NULL)
        rc = cn_fail_word(err, what, name, &words);
    free(names);
    return rc;
}

static int set_annotator(struct cn_spec_control *c, const char *text, struct cn_err *err)
{
    const struct cn_annotator *a;
    int rc = cn_cli_find_annotator("--control: annotator", text, &a, err);

    if (rc < 0)
        return rc;
    free(c->annotator);
    c->annotator = cn_xstrdup(a->name);
    return CN_OK;
}

static const char *const keys[] = {"strength", "start",     "end",   "branch",
                                   "weights",  "annotator", "resize"};
static const set_fn setters[] = {set_strength, set_start,     set_end,   set_branch,
                                 set_weights,  set_annotator, set_resize};

static int set_key(struct cn_spec_control *c, char *word, struct cn_err *err)
{
    char *value = strchr(word, '=');
    const char *near;

    if (value != NULL)
        *value++ = '\0';
    for (size_t i = 0; i < CN_LEN(keys); i++) {
        if (strcmp(word, keys[i]) != 0)
            continue;
        if (value == NULL)
            return cn_fail(err, CN_EINVAL, "--control: %s: a value is missing", word);
        return setters[i](c, value, err);
    }
    near = cn_closest(word, keys, CN_LEN(keys));
    if (near != NULL)
        return cn_fail(err, CN_EINVAL, "--control: there is no \"%.60s\": did you mean \"%s\"?",
                       word, near);
    return cn_fail(err, CN_EINVAL,
                   "--control: there is no \"%.60s\" (a comma in a file name is written \"\\,\")",
                   word);
}

/* ---- the whole ---- */

/* Ends the word at its first comma without a backslash before it, takes such backslashes out, and
 * returns what follows, or NULL. */
static char *cut_at_comma(char *word)
{
    char *to = word;

    for (char *from = word; *from != '\0'; *to++ = *from++) {
        if (from[0] == ',') {
            *to = '\0';
            return from + 1;
        }
        if (from[0] == '\\' && from[1] == ',')
            from++;
    }
    *to = '\0';
    return NULL;
}

static int parse(char *text, bool needs_file, struct cn_spec_control *c, struct cn_err *err)
{
    char *rest = cut_at_comma(text), *file = strchr(text, '='), *word;
    int rc = CN_OK;

    if (file != NULL)
        *file++ = '\0';
    if (text[0] == '\0')
        return cn_fail(err, CN_EINVAL, "--control: the model is missing: MODEL=FILE is expected");
    free(c->model);
    c->model = cn_xstrdup(text);
    while (rc == CN_OK && (word = rest) != NULL) {
        rest = cut_at_comma(word);
        rc = set_key(c, word, err);
    }
    if (rc < 0)
        return rc;
    if (file != NULL && file[0] != '\0')
        return cn_cli_read_image(file, &c->image, err);
    if (needs_file)
        return cn_fail(err, CN_EINVAL, "--control: \"%.60s\" has no file: MODEL=FILE is expected",
                       c->model);
    return CN_OK;
}

int cn_cli_add_control(const char *text, bool needs_file, struct cn_spec *s, struct cn_err *err)
{
    struct cn_spec_control *c = cn_spec_add_control(s);
    char *copy;
    int rc;

    if (c == NULL)
        return cn_fail(err, CN_EINVAL, "--control: at most %d are accepted", CN_MAX_CONTROLS);
    copy = cn_xstrdup(text);
    rc = parse(copy, needs_file, c, err);
    free(copy);
    return rc;
}
