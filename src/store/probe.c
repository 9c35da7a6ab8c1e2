/* Is a disk that failed good again? Somebody has to try: a store that says that it fails is given
 * nothing to keep, and a server that says that it is not ready is asked for nothing. */
#include "base/base.h"
#include "store/sqlite_priv.h"
#include "base/clock.h"
#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { PROBE_BYTES = 64 << 10, PROBE_S = 1 };

/* What a picture needs. */
static bool takes_a_file(struct cn_sqlite *s)
{
    char *path = cn_xprintf("%s/tmp/probe", s->base.dir);
    int fd = s->io.open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    char *bytes = calloc(1, PROBE_BYTES);
    bool good = fd >= 0 && bytes != NULL && s->io.write(fd, bytes, PROBE_BYTES) == PROBE_BYTES &&
                s->io.fsync(fd) == 0;

    if (fd >= 0) {
        close(fd);
        s->io.unlink(path);
    }
    free(bytes);
    free(path);
    return good;
}

/* What a job needs: the version is written again as it is. */
static bool takes_a_row(struct cn_sqlite *s)
{
    char text[80];

    snprintf(text, sizeof(text), "begin immediate; pragma user_version = %d; commit",
             CN_STORE_VERSION);
    if (sqlite3_exec(s->w_db.h, text, NULL, NULL, NULL) == SQLITE_OK)
        return true;
    if (!sqlite3_get_autocommit(s->w_db.h))
        sqlite3_exec(s->w_db.h, "rollback", NULL, NULL, NULL);
    return false;
}

static bool is_failing(struct cn_sqlite *s)
{
    bool failing;

    uv_mutex_lock(&s->base.lock);
    failing = s->base.facts.failing;
    uv_mutex_unlock(&s->base.lock);
    return failing;
}

int64_t cn_store_probe_due_ns(const struct cn_sqlite *s)
{
    return s->base.facts.failing ? s->w_probe_ns : INT64_MAX / 2;
}

void cn_store_probe(struct cn_sqlite *s)
{
    int64_t now = cn_now_ns();

    if (!is_failing(s) || now < s->w_probe_ns)
        return;
    s->w_probe_ns = now + PROBE_S * CN_SECOND_NS;
    cn_store_free_space(s);
    if (!takes_a_file(s) || !takes_a_row(s))
        return;
    uv_mutex_lock(&s->base.lock);
    s->base.facts.failing = false;
    s->base.facts.trouble[0] = '\0';
    uv_mutex_unlock(&s->base.lock);
}
