/* The engine "sqlite": its life, and the thread that writes.
 *
 * DESIGN. The loop pushes operations to `in` (questions: to `asked`, which is reader.c's). The
 * thread takes what has come together and makes one commit of it. What the disk did not take and
 * must be tried again waits in w_retry, and so does whatever else the same job wants: operations of
 * a job take effect in their order. When the store closes, they are tried once more and then told.
 */
#include "base/base.h"
#include "store/sqlite_priv.h"
#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RETRY_DELAY     (CN_SECOND_NS / 20)
#define RETRY_DELAY_MAX CN_SECOND_NS

enum { LOCK_POLL_MS = 50, OPEN_AGAIN_MS = 1000 };

static struct cn_sqlite *of(struct cn_store *s)
{
    return (struct cn_sqlite *)s;
}

/* ---- opening ---- */

/* The directory, its lock, the database. OK with *ret_busy: another daemon has the directory. */
static enum cn_store_outcome try_to_open(struct cn_sqlite *s, bool *ret_busy, struct cn_err *err)
{
    enum cn_store_outcome o = cn_store_make_dirs(s, err);

    if (o == CN_STORE_OK)
        o = cn_store_lock(s, ret_busy, err);
    if (o != CN_STORE_OK || *ret_busy || cn_store_open_db(s, err) == CN_OK)
        return o;
    o = cn_db_outcome(&s->w_db);
    if (o != CN_STORE_REFUSED && cn_store_disk_is_full(s)) { /* SQLite says only: I/O error */
        *err = (struct cn_err)CN_ERR_INIT;
        cn_fail(err, CN_ESTORAGE, "the disk of the job store (\"%s\") is full", s->base.dir);
        o = CN_STORE_NO_ROOM;
    }
    return o == CN_STORE_OK ? CN_STORE_REFUSED : o; /* a newer version */
}

static bool worth_trying_again(enum cn_store_outcome o)
{
    return o == CN_STORE_RETRY || o == CN_STORE_NO_ROOM;
}

/* False: the store is to close. */
static bool wait_ms(struct cn_sqlite *s, int ms)
{
    bool stop;

    uv_mutex_lock(&s->base.lock);
    if (!s->stop)
        uv_cond_timedwait(&s->more, &s->base.lock, (uint64_t)ms * 1000000);
    stop = s->stop;
    uv_mutex_unlock(&s->base.lock);
    return !stop;
}

/* Waits for another daemon's end, for room, for a disk that works. */
static void open_late(struct cn_sqlite *s)
{
    enum cn_store_outcome o = CN_STORE_OK;
    struct cn_err err = CN_ERR_INIT;
    bool go_on = true;

    while (s->w_db.h == NULL && go_on) {
        bool busy = false;

        err = (struct cn_err)CN_ERR_INIT;
        o = try_to_open(s, &busy, &err);
        if (o == CN_STORE_OK && !busy)
            break;
        if (o != CN_STORE_OK && !worth_trying_again(o))
            break;
        if (o != CN_STORE_OK)
            cn_store_tell_trouble(&s->base, &err);
        go_on = wait_ms(s, busy ? LOCK_POLL_MS : OPEN_AGAIN_MS);
    }
    if (!go_on) {
        err = (struct cn_err)CN_ERR_INIT;
        cn_fail(&err, CN_ECANCELED, "the daemon ends");
    } else if (s->w_db.h != NULL) {
        uv_mutex_lock(&s->base.lock);
        s->writable = true;
        uv_mutex_unlock(&s->base.lock);
    }
    cn_store_tell_open(&s->base, err.code, &err);
}

/* ---- the thread ---- */

static int64_t due_ns(const struct cn_sqlite *s)
{
    int64_t due = CN_MIN(s->w_sweep_ns, cn_store_probe_due_ns(s));

    if (s->w_orphans != NULL && SLIST_EMPTY(&s->w_doomed))
        return 0;
    return s->w_retry.n > 0 ? CN_MIN(due, s->w_retry_ns) : due;
}

/* Up to CN_STORE_BATCH operations; waits until there is one or something else is due. */
static size_t dequeue_batch(struct cn_sqlite *s, struct cn_op **op, bool *ret_stop)
{
    size_t n = 0;

    uv_mutex_lock(&s->base.lock);
    while (s->in.n == 0 && !s->stop) {
        int64_t left = due_ns(s) - cn_now_ns();

        if (left <= 0)
            break;
        uv_cond_timedwait(&s->more, &s->base.lock, (uint64_t)left);
    }
    while (n < CN_STORE_BATCH && s->in.n > 0)
        op[n++] = cn_op_pop(&s->in);
    *ret_stop = s->stop;
    uv_mutex_unlock(&s->base.lock);
    return n;
}

/* Puts aside what has to wait for an operation of the same job: the rest, in order. */
static size_t keep_order(struct cn_sqlite *s, struct cn_op **op, size_t n)
{
    size_t left = 0;

    if (s->w_retry.n == 0)
        return n;
    for (size_t i = 0; i < n; i++) {
        if (cn_op_of_job(&s->w_retry, op[i]->id) != NULL)
            cn_op_push(&s->w_retry, op[i]);
        else
            op[left++] = op[i];
    }
    return left;
}

static void tell_closing(struct cn_op *op)
{
    struct cn_err err = op->out.err;

    if (err.code == 0)
        cn_fail(&err, CN_ESTORAGE, "the job store is closing");
    cn_op_end(op, CN_STORE_CLOSED, &err);
}

/* Tells the ends; what is tried again (and what waits for that: outcome RETRY) stays here. */
static void tell_or_retry(struct cn_sqlite *s, struct cn_op **op, size_t n, bool stop)
{
    int64_t now = cn_now_ns(), patience = s->base.o.result_patience_s * CN_SECOND_NS;
    struct cn_op_list done;
    bool failed = false;

    cn_op_list_init(&done);
    for (size_t i = 0; i < n; i++) {
        bool waits =
            op[i]->out.outcome == CN_STORE_RETRY && cn_op_of_job(&s->w_retry, op[i]->id) != NULL;

        if (!waits && !cn_op_try_again(op[i], now, patience)) {
            cn_op_push(&done, op[i]);
        } else if (stop) {
            tell_closing(op[i]);
            cn_op_push(&done, op[i]);
        } else {
            cn_op_push(&s->w_retry, op[i]);
            failed = true;
        }
    }
    s->w_retry_delay_ns = failed ? CN_MIN(s->w_retry_delay_ns * 2, RETRY_DELAY_MAX) : RETRY_DELAY;
    if (failed)
        s->w_retry_ns = now + s->w_retry_delay_ns;
    cn_store_tell_all(&s->base, &done);
}

static void commit_batch(struct cn_sqlite *s, struct cn_op **op, size_t n, bool stop)
{
    struct cn_err err = CN_ERR_INIT;

    if (n == 0)
        return;
    if (s->w_db.h != NULL) {
        cn_store_batch(s, op, n);
    } else {
        cn_fail(&err, CN_ESTORAGE, "the job store could not be opened");
        for (size_t i = 0; i < n; i++)
            cn_op_end(op[i], CN_STORE_NOT_OPEN, &err);
        stop = true; /* it never will be: nothing is tried again */
    }
    tell_or_retry(s, op, n, stop);
}

/* At most a batch of those; the rest of them in the next turn. */
static void retry_failed(struct cn_sqlite *s, struct cn_op **op, bool stop)
{
    struct cn_op_list rest;
    size_t n = 0;

    if (s->w_retry.n == 0 || (!stop && cn_now_ns() < s->w_retry_ns))
        return;
    while (n < CN_STORE_BATCH && s->w_retry.n > 0)
        op[n++] = cn_op_pop(&s->w_retry);
    cn_op_list_init(&rest);
    cn_op_append(&rest, &s->w_retry);
    commit_batch(s, op, n, stop);
    cn_op_append(&s->w_retry, &rest);
}

static void housekeeping(struct cn_sqlite *s)
{
    int64_t now = cn_now_ns();

    if (s->w_db.h == NULL) {
        s->w_sweep_ns = INT64_MAX / 2;
        return;
    }
    if (s->w_orphans != NULL && SLIST_EMPTY(&s->w_doomed))
        cn_store_orphans_step(s);
    cn_store_probe(s);
    if (now >= s->w_sweep_ns && !cn_store_sweep_some(s, NULL))
        s->w_sweep_ns = now + s->base.o.sweep_s * CN_SECOND_NS;
}

static void write_thread(void *arg)
{
    struct cn_op *op[CN_STORE_BATCH];
    struct cn_sqlite *s = arg;
    bool stop = false;

    open_late(s);
    for (size_t n = 0; !stop || n > 0;) {
        size_t left;

        n = dequeue_batch(s, op, &stop);
        left = keep_order(s, op, n);
        commit_batch(s, op, left, stop && s->w_retry.n == 0);
        retry_failed(s, op, stop);
        if (!stop)
            housekeeping(s);
    }
    while (s->w_retry.n > 0)
        retry_failed(s, op, true);
    uv_thread_join(&s->reader);
    cn_store_close_db(s);
    cn_store_tell_ended(&s->base);
}

/* ---- the engine ---- */

static int sqlite_open(struct cn_store *base, struct cn_err *err)
{
    static const struct cn_store_io system_io = {cn_store_system_open, write, fsync, rename,
                                                 unlink};
    struct cn_sqlite *s = of(base);
    struct cn_err mine = CN_ERR_INIT;
    enum cn_store_outcome o;
    bool busy = false;

    s->io = base->o.io != NULL ? *base->o.io : system_io;
    s->w_lock_fd = -1;
    s->w_db.hurry = s->r_db.hurry = &s->hurry;
    s->w_db.busy_ms = s->r_db.busy_ms = base->o.busy_ms;
    cn_op_list_init(&s->in);
    cn_op_list_init(&s->asked);
    cn_op_list_init(&s->w_retry);
    uv_cond_init(&s->more);
    uv_cond_init(&s->asked_more);
    o = try_to_open(s, &busy, &mine);
    if (o != CN_STORE_OK && !worth_trying_again(o)) {
        if (err != NULL)
            *err = mine;
        return mine.code;
    }
    if (o != CN_STORE_OK)
        cn_store_tell_trouble(base, &mine);
    return CN_OK;
}

static void sqlite_start(struct cn_store *base)
{
    struct cn_sqlite *s = of(base);

    CN_ASSERT(uv_thread_create(&s->reader, cn_store_reader, s) == 0);
    CN_ASSERT(uv_thread_create(&s->writer, write_thread, s) == 0);
    s->started = true;
}

static void sqlite_give(struct cn_store *base, struct cn_op *op)
{
    struct cn_sqlite *s = of(base);
    bool question = cn_op_is_question(op);

    uv_mutex_lock(&base->lock);
    cn_op_push(question ? &s->asked : &s->in, op);
    uv_cond_signal(question ? &s->asked_more : &s->more);
    uv_mutex_unlock(&base->lock);
}

static void sqlite_stop(struct cn_store *base)
{
    struct cn_sqlite *s = of(base);

    atomic_store(&s->hurry, true);
    uv_mutex_lock(&base->lock);
    s->stop = true;
    uv_cond_signal(&s->more);
    uv_cond_signal(&s->asked_more);
    uv_mutex_unlock(&base->lock);
}

static void sqlite_release(struct cn_store *base)
{
    struct cn_sqlite *s = of(base);
    struct cn_doomed *d;

    if (s->started)
        uv_thread_join(&s->writer);
    cn_store_close_db(s);
    while ((d = SLIST_FIRST(&s->w_doomed)) != NULL) {
        SLIST_REMOVE_HEAD(&s->w_doomed, link);
        free(d->path);
        free(d);
    }
    free(s->w_untold);
    uv_cond_destroy(&s->more);
    uv_cond_destroy(&s->asked_more);
}

const struct cn_store_engine cn_store_sqlite = {
    sizeof(struct cn_sqlite), sqlite_open, sqlite_start,  sqlite_give,
    cn_store_picture_cached,  sqlite_stop, sqlite_release};
