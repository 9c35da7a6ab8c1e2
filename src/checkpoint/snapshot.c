/* Repositories in the cache of Hugging Face's libraries: refs/main has the name of a revision, and
 * snapshots/REVISION links to the files of it. */
#include "base/base.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "checkpoint/checkpoint.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The revision that "main" is, by refs/main; NULL. */
static char *main_snapshot(const char *dir)
{
    char *ref = cn_xprintf("%s/refs/main", dir), *path = NULL;
    struct cn_buf b;

    cn_buf_init(&b, 256);
    if (cn_file_read(ref, &b, NULL) == CN_OK && b.len > 0 && strchr((char *)b.data, '/') == NULL)
        path = cn_xprintf("%s/snapshots/%.*s", dir, (int)strcspn((char *)b.data, "\r\n"),
                          (const char *)b.data);
    if (path != NULL && !cn_dir_exists(path)) {
        free(path);
        path = NULL;
    }
    cn_buf_release(&b);
    free(ref);
    return path;
}

static int visible(const struct dirent *d)
{
    return d->d_name[0] != '.';
}

/* Without a name for it, the one that was written last. */
static char *newest_snapshot(const char *dir)
{
    char *all = cn_xprintf("%s/snapshots", dir), *newest = NULL;
    time_t when = 0;
    struct dirent **list;
    int n = scandir(all, &list, visible, alphasort);

    for (int i = 0; i < n; i++) {
        char *path = cn_xprintf("%s/%s", all, list[i]->d_name);
        struct stat st;

        if (stat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
            (newest == NULL || st.st_mtime >= when)) {
            free(newest);
            newest = cn_xstrdup(path);
            when = st.st_mtime;
        }
        free(path);
        free(list[i]);
    }
    if (n >= 0)
        free(list);
    free(all);
    return newest;
}

char *cn_checkpoint_snapshot(const char *dir)
{
    char *path = main_snapshot(dir);

    return path != NULL ? path : newest_snapshot(dir);
}
