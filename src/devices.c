/* Workers of the configuration. */
#include "base/base.h"
#include "devices.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Takes text. */
static const char *keep(struct cn_devices *w, char *text)
{
    w->text = cn_grow(w->text, w->texts, &w->texts_cap, sizeof(*w->text));
    w->text[w->texts++] = text;
    return text;
}

static bool is_cuda(const char *device)
{
    return strncmp(device, "cuda", 4) == 0;
}

/* The program that the configuration names; else the one beside this program (a build tree), else
 * the installed one. */
static const char *program_for(struct cn_devices *w, const struct cn_conf *c, const char *device)
{
    const char *name = is_cuda(device) ? "controlnet-worker-cuda" : "controlnet-worker";
    char self[512];
    ssize_t n;
    char *path;

    if (c->program[0] != '\0')
        return keep(w, cn_xstrdup(c->program));
    n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n < 0 ? 0 : n] = '\0';
    if (strrchr(self, '/') != NULL)
        *strrchr(self, '/') = '\0';
    path = cn_xprintf("%s/%s", self, name);
    if (access(path, X_OK) == 0)
        return keep(w, path);
    free(path);
    return keep(w, cn_xprintf(CN_LIBEXECDIR "/%s", name));
}

static void add_arg(struct cn_devices *w, size_t *n, size_t *cap, const char *name, char *value)
{
    const char ***args = &w->args[w->n];

    *args = cn_grow(*args, *n, cap, sizeof(**args));
    (*args)[(*n)++] = name;
    *args = cn_grow(*args, *n, cap, sizeof(**args));
    (*args)[(*n)++] = value == NULL ? NULL : keep(w, value);
}

static void add_args(struct cn_devices *w, const struct cn_conf *c, const char *device)
{
    char *dirs = cn_xstrdup(c->dirs), *rest = dirs, *dir;
    const char *number = strchr(device, ':'), *backend = is_cuda(device) ? "cuda" : c->backend;
    size_t n = 0, cap = 0;

    if (!is_cuda(device) && strcmp(backend, "cuda") == 0)
        backend = "auto"; /* a device that is named says more than the key for all */
    add_arg(w, &n, &cap, "--backend", cn_xstrdup(backend));
    add_arg(w, &n, &cap, "--threads", cn_xprintf("%d", c->threads));
    if (is_cuda(device) && number != NULL)
        add_arg(w, &n, &cap, "--device", cn_xstrdup(number + 1));
    if (c->default_model[0] != '\0')
        add_arg(w, &n, &cap, "--default", cn_xstrdup(c->default_model));
    while ((dir = strsep(&rest, ":")) != NULL)
        if (dir[0] != '\0')
            add_arg(w, &n, &cap, "--models", cn_xstrdup(dir));
    add_arg(w, &n, &cap, NULL, NULL);
    free(dirs);
}

static void add_workers(struct cn_devices *w, const struct cn_conf *c, const char *device)
{
    for (int i = 0; i < c->count && w->n < CN_WORKERS_MAX; i++) {
        add_args(w, c, device);
        w->worker[w->n] = (struct cn_dispatch_worker){.program = program_for(w, c, device),
                                                      .args = w->args[w->n],
                                                      .device = keep(w, cn_xstrdup(device))};
        w->n++;
    }
}

void cn_devices_init(struct cn_devices *w, const struct cn_conf *c)
{
    char *words = cn_xstrdup(c->devices), *rest = words, *word;

    memset(w, 0, sizeof(*w));
    while ((word = strsep(&rest, " \t,")) != NULL)
        if (word[0] != '\0')
            add_workers(w, c, word);
    if (w->n == 0)
        add_workers(w, c, c->backend);
    free(words);
}

void cn_devices_release(struct cn_devices *w)
{
    for (int i = 0; i < w->n; i++)
        free(w->args[i]);
    for (size_t i = 0; i < w->texts; i++)
        free(w->text[i]);
    free(w->text);
    memset(w, 0, sizeof(*w));
}
