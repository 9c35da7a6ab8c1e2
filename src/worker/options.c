/* A table of options and where their values go. */
#include "base/base.h"
#include "worker/options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void usage(void)
{
    fputs("usage: controlnet-worker --fd N [--backend NAME] [--threads N] [--default MODEL]\n"
          "                         [--lanes N] [--max-batch N] [--memory-mb N] [--dtype TYPE]\n"
          "                         [--vae-memory-mb N] [--settle-s N] [--embeddings DIR] ...\n"
          "                         [--adapters DIR] ... [--taesd FILE] --models DIR ...\n"
          "       controlnet-worker --probe [--backend NAME]\n"
          "Draws pictures for controlnetd, which starts it. To draw from a shell: controlnet\n"
          "generate.\n",
          stdout);
}

enum kind {
    AS_NUMBER,
    AS_MEGABYTES,
    AS_TEXT,
    AS_DIRECTORY,
    AS_BACKEND,
    AS_TYPE,
    AS_FLAG,
    AS_HELP,
    AS_VERSION
};

struct option_row {
    const char *name;
    enum kind kind;
    size_t at; /* in struct worker_options */
};

#define AT(member) offsetof(struct worker_options, member)
static const struct option_row rows[] = {
    {"fd", AS_NUMBER, AT(fd)},
    {"backend", AS_BACKEND, AT(engine)},
    {"threads", AS_NUMBER, AT(engine.threads)},
    {"models", AS_DIRECTORY, AT(models)},
    {"embeddings", AS_DIRECTORY, AT(embeddings)},
    {"adapters", AS_DIRECTORY, AT(adapters)},
    {"taesd", AS_TEXT, AT(engine.taesd)},
    {"default", AS_TEXT, AT(default_model)},
    {"lanes", AS_NUMBER, AT(engine.lanes)},
    {"max-batch", AS_NUMBER, AT(engine.max_batch)},
    {"memory-mb", AS_MEGABYTES, AT(engine.memory)},
    {"vae-memory-mb", AS_MEGABYTES, AT(engine.vae_memory)},
    {"dtype", AS_TYPE, AT(engine.dtype)},
    {"settle-s", AS_NUMBER, AT(settle_s)},
    {"probe", AS_FLAG, AT(probe)},
    {"help", AS_HELP, 0},
    {"version", AS_VERSION, 0},
};

static int wrong(const struct option_row *row, const char *text, const char *expected)
{
    fprintf(stderr, "controlnet-worker: --%s is %s, not \"%s\"\n", row->name, expected, text);
    return CN_EINVAL;
}

static int set_number(const struct option_row *row, const char *text, long most, long *ret)
{
    char *end;

    errno = 0;
    *ret = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || *ret < 0 || *ret > most)
        return wrong(row, text, "a whole number that is not negative");
    return CN_OK;
}

/* "cuda:1" is the second device. */
static int set_backend(const struct option_row *row, struct cn_engine_opts *e, char *text)
{
    char *colon = strchr(text, ':');
    long device;

    e->backend = text;
    if (colon == NULL)
        return CN_OK;
    if (set_number(row, colon + 1, INT_MAX, &device) < 0)
        return CN_EINVAL;
    *colon = '\0';
    e->device = (int)device;
    return CN_OK;
}

static int set_type(const struct option_row *row, enum cn_dtype *ret, const char *text)
{
    static const char *const name[] = {"f32", "f16", "bf16", "auto"};
    static const enum cn_dtype type[] = {CN_F32, CN_F16, CN_BF16, CN_DTYPE_COUNT};

    for (size_t i = 0; i < CN_LEN(name); i++)
        if (strcmp(text, name[i]) == 0) {
            *ret = type[i];
            return CN_OK;
        }
    return wrong(row, text, "f32, f16, bf16 or auto");
}

static int add_dir(const struct option_row *row, struct worker_dirs *d, const char *text)
{
    if (d->n == WORKER_MAX_DIRS) {
        fprintf(stderr, "controlnet-worker: --%s: more than %d of them\n", row->name,
                WORKER_MAX_DIRS);
        return CN_EINVAL;
    }
    d->dir[d->n++] = text;
    return CN_OK;
}

static int set(const struct option_row *row, struct worker_options *o, char *text)
{
    void *at = (char *)o + row->at;
    long number;

    switch (row->kind) {
    case AS_NUMBER:
        if (set_number(row, text, INT_MAX, &number) < 0)
            return CN_EINVAL;
        *(int *)at = (int)number;
        return CN_OK;
    case AS_MEGABYTES:
        if (set_number(row, text, LONG_MAX >> 20, &number) < 0)
            return CN_EINVAL;
        *(size_t *)at = (size_t)number << 20;
        return CN_OK;
    case AS_TEXT:
        *(const char **)at = text;
        return CN_OK;
    case AS_DIRECTORY:
        return add_dir(row, at, text);
    case AS_BACKEND:
        return set_backend(row, at, text);
    case AS_TYPE:
        return set_type(row, at, text);
    case AS_FLAG:
        *(bool *)at = true;
        return CN_OK;
    case AS_HELP:
        usage();
        exit(0);
    case AS_VERSION:
        puts("controlnet-worker " PACKAGE_VERSION);
        exit(0);
    }
    return CN_EINVAL;
}

/* What must hold for all of them together. */
static int check(struct worker_options *o, const char *rest)
{
    static const struct cn_engine_opts defaults = CN_ENGINE_DEFAULTS;

    if (o->engine.lanes == 0) /* of its own choice, as for the other numbers */
        o->engine.lanes = defaults.lanes;
    if (rest != NULL)
        fprintf(stderr, "controlnet-worker: \"%s\" is not expected\n", rest);
    else if (o->fd < 0 && !o->probe)
        fputs("controlnet-worker: --fd is missing\n", stderr);
    else
        return CN_OK;
    return CN_EINVAL;
}

int worker_options_parse(struct worker_options *ret, int argc, char **argv)
{
    struct option known[CN_LEN(rows) + 1] = {{NULL, 0, NULL, 0}};
    int index, c, rc = CN_OK;

    *ret = (struct worker_options){.engine = CN_ENGINE_DEFAULTS, .fd = -1};
    for (size_t i = 0; i < CN_LEN(rows); i++)
        known[i] = (struct option){
            rows[i].name, rows[i].kind >= AS_FLAG ? no_argument : required_argument, NULL, 0};
    while (rc == CN_OK && (c = getopt_long(argc, argv, "", known, &index)) != -1)
        rc = c == 0 ? set(&rows[index], ret, optarg) : CN_EINVAL;
    if (rc == CN_OK)
        rc = check(ret, optind < argc ? argv[optind] : NULL);
    if (rc < 0)
        fputs("controlnet-worker --help tells more\n", stderr);
    return rc;
}
