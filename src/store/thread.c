/* The thread: waits for the directory, then for operations. */
#include "base/base.h"
#include "store/store_priv.h"
#include "base/clock.h"

#include <stdio.h>
#include <string.h>

#define SECOND INT64_C(1000000000)

enum { LOCK_POLL_MS = 50 };

/* ---- opening ---- */

static void told_open(struct cn_store *s, int rc, const struct cn_err *err)
{
    uv_mutex_lock(&s->lock);
    s->opened = true;
    s->open_err = *err;
    if (rc < 0) {
        s->facts.phase = CN_STORE_BROKEN;
        memcpy(s->facts.trouble, err->msg, sizeof(err->msg));
    }
    uv_mutex_unlock(&s->lock);
    uv_async_send(&s->async);
}

/* Another daemon has the directory until it has ended. False: this one is to end before. */
static bool wait_for_lock(struct cn_store *s, int *ret_rc, struct cn_err *err)
{
    bool busy = true, stop = false;

    while (!stop && (*ret_rc = cn_store_lock(s, &busy, err)) == CN_OK && busy) {
        uv_mutex_lock(&s->lock);
        if (!s->stop)
            uv_cond_timedwait(&s->more, &s->lock, LOCK_POLL_MS * UINT64_C(1000000));
        stop = s->stop;
        uv_mutex_unlock(&s->lock);
    }
    return !stop;
}

static void open_late(struct cn_store *s)
{
    struct cn_err err = CN_ERR_INIT;
    int rc = CN_OK;

    if (s->w_db.h == NULL) {
        if (!wait_for_lock(s, &rc, &err))
            rc = cn_fail(&err, CN_ECANCELED, "the daemon ends");
        if (rc == CN_OK)
            rc = cn_store_open_db(s, &err);
    }
    told_open(s, rc, &err);
}

/* ---- turning ---- */

static int64_t due_ns(const struct cn_store *s)
{
    int64_t due = s->w_sweep_ns;

    if (s->w_orphans != NULL && s->w_doomed == NULL)
        return 0;
    return s->w_again.n > 0 ? CN_MIN(due, s->w_again_ns) : due;
}

/* Up to CN_STORE_BATCH operations; waits until there is one or something else is due. */
static size_t take(struct cn_store *s, struct cn_op **op, bool *ret_stop)
{
    size_t n = 0;

    uv_mutex_lock(&s->lock);
    while (s->in.n == 0 && !s->stop) {
        int64_t left = due_ns(s) - cn_now_ns();

        if (left <= 0)
            break;
        uv_cond_timedwait(&s->more, &s->lock, (uint64_t)left);
    }
    while (n < CN_STORE_BATCH && s->in.n > 0) {
        op[n] = cn_op_pop(&s->in);
        s->in_bytes -= op[n++]->bytes;
    }
    *ret_stop = s->stop;
    uv_mutex_unlock(&s->lock);
    return n;
}

/* A final state that the disk did not take is tried again; the loop hears of it when it is there.
 */
static bool keep_for_later(struct cn_store *s, struct cn_op *op, bool stop)
{
    bool lost = op->out.rc != CN_OK && op->out.rc != CN_EBUSY && op->out.rc != CN_ENOTFOUND;

    if (op->kind != CN_OP_END || !lost || stop)
        return false;
    cn_op_push(&s->w_again, op);
    s->w_again_ns = cn_now_ns() + SECOND;
    return true;
}

static void tell(struct cn_store *s, struct cn_op **op, size_t n, bool stop)
{
    for (size_t i = 0; i < n; i++) {
        if (keep_for_later(s, op[i], stop))
            continue;
        uv_mutex_lock(&s->lock);
        cn_op_push(&s->done, op[i]);
        uv_mutex_unlock(&s->lock);
    }
    uv_async_send(&s->async);
}

static void run(struct cn_store *s, struct cn_op **op, size_t n, bool stop)
{
    if (n == 0)
        return;
    cn_store_batch(s, op, n);
    tell(s, op, n, stop);
}

static void again(struct cn_store *s, struct cn_op **op, bool stop)
{
    size_t n = 0;

    if (s->w_again.n == 0 || (!stop && cn_now_ns() < s->w_again_ns))
        return;
    while (n < CN_STORE_BATCH && s->w_again.n > 0)
        op[n++] = cn_op_pop(&s->w_again);
    run(s, op, n, stop);
}

static void house(struct cn_store *s)
{
    int64_t now = cn_now_ns();

    if (s->w_db.h == NULL) {
        s->w_sweep_ns = INT64_MAX / 2;
        return;
    }
    if (s->w_orphans != NULL && s->w_doomed == NULL)
        cn_store_orphans_step(s);
    if (now >= s->w_sweep_ns && !cn_store_sweep_some(s, NULL))
        s->w_sweep_ns = now + s->o.sweep_s * SECOND;
}

void cn_store_thread(void *arg)
{
    struct cn_op *op[CN_STORE_BATCH];
    struct cn_store *s = arg;
    bool stop = false;

    open_late(s);
    for (size_t n = 0; !stop || n > 0;) {
        n = take(s, op, &stop);
        run(s, op, n, stop);
        again(s, op, stop);
        if (!stop)
            house(s);
    }
    while (s->w_again.n > 0)
        again(s, op, true);
    cn_store_close_db(s);
    uv_mutex_lock(&s->lock);
    s->ended = true;
    uv_mutex_unlock(&s->lock);
    uv_async_send(&s->async);
}
