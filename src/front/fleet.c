/* Which worker processes there are, and the command line of each, from the configuration. */
#include "base/base.h"
#include "front/fleet.h"
#include "base/mem.h"
#include "base/program.h"

#include <stdlib.h>
#include <string.h>

/* Other options, two words for each directory, and the NULL at the end. */
enum { MAX_ARGS = 32 + 6 * CN_CONF_DIRS, MAX_FLEET = CN_CONF_WORKERS };

/* The program that the configuration names; else the one for the device. */
static char *program_for(const struct cn_conf *c, const char *device)
{
    const char *name =
        strncmp(device, "cuda", 4) == 0 ? "controlnet-worker-cuda" : "controlnet-worker";

    return c->program[0] != '\0' ? cn_xstrdup(c->program) : cn_program_path(name);
}

static void add(char **args, int *n, const char *option, char *value)
{
    CN_ASSERT(*n + 3 <= MAX_ARGS);
    args[(*n)++] = cn_xstrdup(option);
    args[(*n)++] = value;
}

/* 0 leaves it to the worker. */
static void add_number(char **args, int *n, const char *option, int value)
{
    if (value != 0)
        add(args, n, option, cn_xprintf("%d", value));
}

/* An option for each directory of a list. */
static void add_dirs(char **args, int *n, const char *option, const char *list)
{
    char *dirs = cn_xstrdup(list), *rest = dirs, *dir;

    while ((dir = strsep(&rest, ":")) != NULL)
        if (dir[0] != '\0')
            add(args, n, option, cn_xstrdup(dir));
    free(dirs);
}

static char **args_for(const struct cn_conf *c, const char *device)
{
    char **args = cn_xcalloc(MAX_ARGS, sizeof(*args));
    int n = 0;

    add(args, &n, "--backend", cn_xstrdup(device));
    add(args, &n, "--threads", cn_xprintf("%d", c->threads));
    if (strcmp(c->dtype, "auto") != 0)
        add(args, &n, "--dtype", cn_xstrdup(c->dtype));
    add_number(args, &n, "--lanes", c->lanes);
    add_number(args, &n, "--max-batch", c->max_batch);
    add_number(args, &n, "--memory-mb", c->memory_mb);
    add_number(args, &n, "--settle-s", c->settle_s);
    add_number(args, &n, "--vae-memory-mb", c->vae_memory_mb);
    if (c->default_model[0] != '\0')
        add(args, &n, "--default", cn_xstrdup(c->default_model));
    if (c->taesd[0] != '\0')
        add(args, &n, "--taesd", cn_xstrdup(c->taesd));
    add_dirs(args, &n, "--embeddings", c->embeddings);
    add_dirs(args, &n, "--adapters", c->adapters);
    add_dirs(args, &n, "--models", c->dirs);
    return args;
}

static void add_device(struct cn_fleet *f, const struct cn_conf *c, const char *device)
{
    for (int i = 0; i < c->count && f->n < MAX_FLEET; i++)
        f->worker[f->n++] =
            (struct cn_dispatch_worker){.program = program_for(c, device),
                                        .args = (const char *const *)args_for(c, device),
                                        .device = cn_xstrdup(device)};
}

void cn_fleet_init(struct cn_fleet *ret, const struct cn_conf *c)
{
    char *list = cn_xstrdup(c->devices[0] != '\0' ? c->devices : c->backend), *rest = list, *device;

    CN_ASSERT((int)MAX_FLEET <= (int)CN_WORKERS_MAX);
    ret->n = 0;
    ret->worker = cn_xcalloc(MAX_FLEET, sizeof(*ret->worker));
    while ((device = strsep(&rest, " ,")) != NULL)
        if (device[0] != '\0')
            add_device(ret, c, device);
    free(list);
}

void cn_fleet_release(struct cn_fleet *f)
{
    for (int i = 0; i < f->n; i++) {
        char **args = (char **)f->worker[i].args;

        for (char **a = args; *a != NULL; a++)
            free(*a);
        free(args);
        free((char *)f->worker[i].program);
        free((char *)f->worker[i].device);
    }
    free(f->worker);
    *f = (struct cn_fleet){NULL, 0};
}
