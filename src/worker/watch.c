/* The thread that looks at the directories of models. */
#include "base/base.h"
#include "worker/watch.h"
#include "base/clock.h"
#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    DEPTH_MAX = 8,       /* folders of models in each other, and those that are a model */
    FOLDERS_MAX = 20000, /* a home directory by mistake */
    EVENTS = 16384
};

#define CHANGES                                                                                    \
    (IN_CREATE | IN_DELETE | IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_MOVED_FROM |              \
     IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF)

struct cn_model_watch {
    const char *const *dir;
    int n_dirs, quiet_s;
    void (*changed)(void *arg);
    void *arg;
    int inotify, stop;
    int *above; /* of each directory that is not there: the watch of the one above it; -1: none */
    pthread_t thread;
    int64_t since_ns, until_ns; /* the first change that was not told; when it will be. 0: none */
    bool full;                  /* not everything can be watched */
    bool *seen; /* by number of the watch, in this walk: links may lead in circles */
    size_t n_seen, seen_cap;
    int n_folders;
};

/* ---- what is watched ---- */

/* Was it seen in this walk before? */
static bool see(struct cn_model_watch *w, int wd)
{
    bool before;

    while (w->n_seen <= (size_t)wd) {
        w->seen = cn_grow(w->seen, w->n_seen, &w->seen_cap, sizeof(*w->seen));
        w->seen[w->n_seen++] = false;
    }
    before = w->seen[wd];
    w->seen[wd] = true;
    return before;
}

static void add_tree(struct cn_model_watch *w, const char *path, int depth)
{
    struct dirent *d;
    DIR *dir;
    int wd;

    if (w->n_folders >= FOLDERS_MAX) {
        w->full = true;
        return;
    }
    wd = inotify_add_watch(w->inotify, path, CHANGES | IN_ONLYDIR);
    if (wd < 0) {
        w->full = w->full || errno == ENOSPC || errno == ENOMEM;
        return;
    }
    if (see(w, wd) || depth >= DEPTH_MAX)
        return;
    w->n_folders++;
    dir = opendir(path);
    while (dir != NULL && (d = readdir(dir)) != NULL) {
        char *child;

        if (d->d_name[0] == '.' ||
            (d->d_type != DT_DIR && d->d_type != DT_LNK && d->d_type != DT_UNKNOWN))
            continue;
        child = cn_xprintf("%s/%s", path, d->d_name);
        add_tree(w, child, depth + 1);
        free(child);
    }
    if (dir != NULL)
        closedir(dir);
}

/* The name of a directory, and the path of the one above it. */
static const char *split(const char *path, char **ret_above)
{
    const char *slash = strrchr(path, '/');

    *ret_above = slash == NULL   ? cn_xstrdup(".")
                 : slash == path ? cn_xstrdup("/")
                                 : cn_xprintf("%.*s", (int)(slash - path), path);
    return slash == NULL ? path : slash + 1;
}

static bool is_one_of(const struct cn_model_watch *w, const char *path)
{
    for (int i = 0; i < w->n_dirs; i++)
        if (strcmp(w->dir[i], path) == 0)
            return true;
    return false;
}

/* For the coming of one that is not there. */
static int watch_above(const struct cn_model_watch *w, const char *dir)
{
    char *above;
    int wd = -1;

    split(dir, &above);
    if (!is_one_of(w, above))
        wd = inotify_add_watch(w->inotify, above, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR);
    free(above);
    return wd;
}

/* All that there is by now; what is watched already stays so. */
static void add_all(struct cn_model_watch *w)
{
    w->full = false;
    w->n_folders = 0;
    w->n_seen = 0;
    for (int i = 0; i < w->n_dirs; i++) {
        if (w->above[i] >= 0)
            inotify_rm_watch(w->inotify, w->above[i]);
        w->above[i] = -1;
    }
    for (int i = 0; i < w->n_dirs; i++) {
        if (access(w->dir[i], F_OK) == 0)
            add_tree(w, w->dir[i], 0);
        else
            w->above[i] = watch_above(w, w->dir[i]);
    }
}

/* ---- what happens ---- */

/* In a directory that is watched for another one's coming alone, nothing else matters. */
static bool matters(const struct cn_model_watch *w, const struct inotify_event *e)
{
    bool other = false;

    for (int i = 0; i < w->n_dirs; i++) {
        char *above;
        const char *name;
        bool same;

        if (w->above[i] < 0 || w->above[i] != e->wd)
            continue;
        name = split(w->dir[i], &above);
        same = e->len > 0 && strcmp(name, e->name) == 0;
        free(above);
        if (same)
            return true;
        other = true;
    }
    return !other;
}

static void take_events(struct cn_model_watch *w)
{
    _Alignas(struct inotify_event) char buf[EVENTS];
    bool any = false, folders = false;
    ssize_t n;

    while ((n = read(w->inotify, buf, sizeof(buf))) > 0)
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *e = (const struct inotify_event *)(buf + at);

            at += (ssize_t)sizeof(*e) + (ssize_t)e->len;
            if ((e->mask & IN_IGNORED) || !matters(w, e))
                continue;
            any = true;
            folders = folders ||
                      (e->mask & (IN_ISDIR | IN_Q_OVERFLOW | IN_DELETE_SELF | IN_MOVE_SELF)) != 0;
        }
    if (!any)
        return;
    if (folders) /* what is in new ones must not be missed */
        add_all(w);
    if (w->since_ns == 0)
        w->since_ns = cn_now_ns();
    w->until_ns = CN_MIN(cn_now_ns() + w->quiet_s * CN_SECOND_NS,
                         w->since_ns + CN_WATCH_PATIENCE_S * CN_SECOND_NS);
}

static int wait_ms(const struct cn_model_watch *w)
{
    if (w->since_ns == 0)
        return w->full ? CN_WATCH_PATIENCE_S * 1000 : -1;
    return (int)CN_MAX((w->until_ns - cn_now_ns()) / 1000000 + 1, 0);
}

static void *run(void *arg)
{
    struct cn_model_watch *w = arg;
    struct pollfd fd[2] = {{.fd = w->inotify, .events = POLLIN}, {.fd = w->stop, .events = POLLIN}};

    for (;;) {
        int n = poll(fd, 2, wait_ms(w));

        if (n < 0 && errno != EINTR)
            return NULL;
        if (n > 0 && fd[1].revents != 0)
            return NULL;
        if (n == 0 && w->since_ns == 0) { /* what is not seen is looked at */
            add_all(w);
            w->changed(w->arg);
        }
        if (n > 0 && fd[0].revents != 0)
            take_events(w);
        if (w->since_ns != 0 && cn_now_ns() >= w->until_ns) {
            w->since_ns = 0;
            w->changed(w->arg);
        }
    }
}

/* ---- life ---- */

static void release(struct cn_model_watch *w)
{
    if (w->inotify >= 0)
        close(w->inotify);
    if (w->stop >= 0)
        close(w->stop);
    free(w->above);
    free(w->seen);
    free(w);
}

int cn_model_watch_start(const char *const *dir, int n, int quiet_s, void (*changed)(void *arg),
                         void *arg, struct cn_model_watch **ret, bool *ret_full, struct cn_err *err)
{
    struct cn_model_watch *w = cn_xcalloc(1, sizeof(*w));
    int rc;

    *w = (struct cn_model_watch){
        .dir = dir, .n_dirs = n, .quiet_s = quiet_s, .changed = changed, .arg = arg};
    w->above = cn_xcalloc((size_t)CN_MAX(n, 1), sizeof(*w->above));
    for (int i = 0; i < n; i++)
        w->above[i] = -1;
    w->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    w->stop = eventfd(0, EFD_CLOEXEC);
    if (w->inotify < 0 || w->stop < 0) {
        rc = cn_fail(err, CN_EIO, "the directories of models cannot be watched: %s",
                     strerror(errno));
        release(w);
        return rc;
    }
    add_all(w);
    *ret_full = w->full;
    if (pthread_create(&w->thread, NULL, run, w) != 0) {
        release(w);
        return cn_fail(err, CN_EIO, "cannot start the thread that watches the directories");
    }
    *ret = w;
    return CN_OK;
}

void cn_model_watch_stop(struct cn_model_watch *w)
{
    const uint64_t one = 1;

    if (w == NULL)
        return;
    while (write(w->stop, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
    pthread_join(w->thread, NULL);
    release(w);
}
