/* Timing of algorithms, and the file where the choices are kept: one line for each problem,
 * "KEY<tab>CHOICE", under a first line that names device and library versions. A file of another
 * device or version is not used and is written anew. */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { REPEATS = 3, MAX_LINE = 512 };

/* Where systemd, the user or the caller says that caches go; NULL: nowhere. */
static char *cache_folder(const struct cuda_backend *b)
{
    const char *at;

    if (b->opts.cache_dir != NULL)
        return b->opts.cache_dir[0] != '\0' ? cn_xstrdup(b->opts.cache_dir) : NULL;
    if ((at = getenv("CACHE_DIRECTORY")) != NULL && at[0] == '/')
        return cn_xprintf("%.*s", (int)strcspn(at, ":"), at);
    if ((at = getenv("XDG_CACHE_HOME")) != NULL && at[0] == '/')
        return cn_xprintf("%s/controlnetd", at);
    if ((at = getenv("HOME")) != NULL && at[0] == '/')
        return cn_xprintf("%s/.cache/controlnetd", at);
    return NULL;
}

static void make_folders(char *path)
{
    for (char *p = path + 1; *p != '\0'; p++)
        if (*p == '/') {
            *p = '\0';
            (void)mkdir(path, 0700);
            *p = '/';
        }
    (void)mkdir(path, 0700);
}

/* False: there are too many. */
static bool add_choice(struct cuda_backend *b, const char *key, const char *text)
{
    struct cuda_choice *c = cn_strmap_get(&b->choice, key);

    if (c == NULL && b->choice.count == CUDA_MAX_CHOICES)
        return false;
    if (c == NULL) {
        c = cn_xcalloc(1, sizeof(*c));
        cn_strmap_add(&b->choice, key, c);
    }
    snprintf(c->text, sizeof(c->text), "%s", text);
    return true;
}

/* False: the file is of another device or version, or broken. */
static bool read_choices(struct cuda_backend *b, FILE *f)
{
    char line[MAX_LINE];

    if (fgets(line, sizeof(line), f) == NULL)
        return false;
    line[strcspn(line, "\n")] = '\0';
    if (strcmp(line, b->device_text) != 0)
        return false;
    while (fgets(line, sizeof(line), f) != NULL) {
        char *tab = strchr(line, '\t'), *end = strchr(line, '\n');

        if (tab == NULL || end == NULL) /* written by a process that was killed */
            continue;
        *tab = *end = '\0';
        (void)add_choice(b, line, tab + 1);
    }
    return true;
}

void cuda_tune_open(struct cuda_backend *b)
{
    char *folder = cache_folder(b);
    bool good = false;
    FILE *f;

    cn_strmap_init(&b->choice);
    if (folder == NULL)
        return;
    make_folders(folder);
    b->choice_file = cn_xprintf("%s/cuda-%d.tune", folder, b->device);
    free(folder);
    f = fopen(b->choice_file, "r");
    if (f != NULL) {
        good = read_choices(b, f);
        fclose(f);
    }
    if (good)
        return;
    f = fopen(b->choice_file, "w");
    if (f != NULL) {
        fprintf(f, "%s\n", b->device_text);
        fclose(f);
    }
}

void cuda_tune_close(struct cuda_backend *b)
{
    for (size_t i = 0; i < b->choice.count; i++)
        free(b->choice.item[i].value);
    cn_strmap_release(&b->choice);
    free(b->choice_file);
}

const char *cuda_tune_find(const struct cuda_backend *b, const char *key)
{
    const struct cuda_choice *c = cn_strmap_get(&b->choice, key);

    return c != NULL ? c->text : NULL;
}

/* Each line is appended in one write, so that workers may share the file; that it cannot be written
 * costs time at the next start and nothing else. */
void cuda_tune_keep(struct cuda_backend *b, const char *key, const char *text)
{
    FILE *f;

    if (!add_choice(b, key, text))
        return;
    if (b->choice_file == NULL || (f = fopen(b->choice_file, "a")) == NULL)
        return;
    fprintf(f, "%s\t%s\n", key, text);
    fclose(f);
}

int cuda_tune_time(struct cuda_queue *q, cuda_trial_fn trial, void *ctx, float *ret,
                   struct cn_err *err)
{
    struct cuda_backend *b = q->b;
    float best = 0;
    int rc = CN_OK;

    if (q->id ==
        CUDA_CONCURRENT) /* a trial's memory is the pool's, whose order is the main queue's */
        rc = cuda_queue_follow(q, &b->queue[CUDA_MAIN], err);
    if (rc == CN_OK)
        rc = trial(ctx, err); /* the first run loads the kernel */
    for (int i = 0; i < REPEATS && rc == CN_OK; i++) {
        float ms = 0;

        if ((rc = cuda_check(b, cudaEventRecord(b->time[0], q->stream), "record an event", err)) <
                0 ||
            (rc = trial(ctx, err)) < 0 ||
            (rc = cuda_check(b, cudaEventRecord(b->time[1], q->stream), "record an event", err)) <
                0 ||
            (rc = cuda_check(b, cudaEventSynchronize(b->time[1]), "wait for a trial", err)) < 0 ||
            (rc = cuda_check(b, cudaEventElapsedTime(&ms, b->time[0], b->time[1]), "time a trial",
                             err)) < 0)
            return rc;
        best = i == 0 || ms < best ? ms : best;
    }
    *ret = best;
    return rc;
}
