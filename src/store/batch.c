/* Group commit: pictures first, then one transaction for all that came together. Thread only.
 *
 * When the common transaction fails, each operation is tried in one of its own, so that one that
 * needs more room than there is does not take its neighbours with it.
 */
#include "base/base.h"
#include "store/store_priv.h"
#include "base/clock.h"

#include <string.h>

/* ---- pictures ---- */

static bool is_there(struct cn_store *s, const struct cn_op *op)
{
    sqlite3_stmt *st =
        cn_db_bind(&s->w_db, CN_SQL_HAS_RESULT, NULL, "ti", op->id, (int64_t)op->result.k);
    int rc = st == NULL ? 0 : cn_db_step(&s->w_db, st, NULL);

    if (rc > 0)
        sqlite3_reset(st);
    return rc > 0;
}

static bool came_before(struct cn_op *const *op, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (op[j]->kind == CN_OP_RESULT && op[j]->result.k == op[i]->result.k &&
            strcmp(op[j]->id, op[i]->id) == 0)
            return true;
    return false;
}

static void sweep_for_room(struct cn_store *s)
{
    while (cn_store_sweep_some(s, NULL))
        ;
}

static bool over_quota(const struct cn_store *s, uint64_t coming)
{
    return s->o.max_bytes > 0 && (uint64_t)s->w_used + coming > s->o.max_bytes;
}

/* One retry, after what is past its time has gone. */
static int write_one(struct cn_store *s, struct cn_op *op, uint64_t coming, struct cn_err *err)
{
    if (over_quota(s, coming))
        sweep_for_room(s);
    if (over_quota(s, coming))
        return cn_fail(err, CN_ESTORAGE, "picture %d cannot be kept: store.max_mb is used up",
                       op->result.k);
    if (cn_store_write_result(s, op, NULL) == CN_OK)
        return CN_OK;
    sweep_for_room(s);
    return cn_store_write_result(s, op, err);
}

static void give_up(struct cn_store *s, struct cn_op *op, const struct cn_err *err)
{
    op->pending = false;
    op->out.rc = err->code;
    op->out.err = *err;
    if (op->path != NULL)
        cn_store_doom(s, op->path);
}

static void write_results(struct cn_store *s, struct cn_op **op, size_t n)
{
    struct cn_err err = CN_ERR_INIT;
    uint64_t coming = 0;

    for (size_t i = 0; i < n; i++) {
        struct cn_err one = CN_ERR_INIT;

        if (op[i]->kind != CN_OP_RESULT)
            continue;
        if (is_there(s, op[i]) || came_before(op, i)) {
            op[i]->pending = false;
            continue;
        }
        coming += op[i]->result.bytes;
        if (write_one(s, op[i], coming, &one) < 0) {
            coming -= op[i]->result.bytes;
            give_up(s, op[i], &one);
        }
    }
    if (cn_store_sync_dirs(s, op, n) == 0)
        return;
    cn_fail(&err, CN_ESTORAGE, "the folder of the pictures cannot be flushed");
    for (size_t i = 0; i < n; i++)
        if (op[i]->kind == CN_OP_RESULT && op[i]->pending)
            give_up(s, op[i], &err);
}

/* ---- transactions ---- */

static void settle(struct cn_store *s, struct cn_op *op)
{
    op->pending = false;
    if (op->kind == CN_OP_RESULT && op->out.rc < 0)
        cn_store_doom(s, op->path); /* the job was over: the picture is nobody's */
}

static int transact(struct cn_store *s, struct cn_op **op, size_t n, struct cn_err *err)
{
    int rc = cn_db_run(&s->w_db, CN_SQL_BEGIN, err, "");

    s->w_delta = 0;
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n && rc == CN_OK; i++)
        if (op[i]->pending)
            rc = cn_store_do(s, op[i], err);
    if (rc < 0) {
        cn_db_run(&s->w_db, CN_SQL_ROLLBACK, NULL, "");
        return rc;
    }
    if ((rc = cn_store_commit(s, err)) < 0)
        return rc;
    for (size_t i = 0; i < n; i++)
        if (op[i]->pending)
            settle(s, op[i]);
    return CN_OK;
}

static size_t pending(struct cn_op **op, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        count += op[i]->pending;
    return count;
}

static void one_by_one(struct cn_store *s, struct cn_op **op, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct cn_err err = CN_ERR_INIT;

        if (op[i]->pending && transact(s, &op[i], 1, &err) < 0)
            give_up(s, op[i], &err);
    }
}

static void run_sweeps(struct cn_store *s, struct cn_op **op, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (op[i]->kind != CN_OP_SWEEP)
            continue;
        while (cn_store_sweep_some(s, &op[i]->out.err))
            ;
        while (s->w_orphans != NULL)
            cn_store_orphans_step(s);
        op[i]->out.rc = op[i]->out.err.code;
    }
}

static void count(struct cn_store *s, struct cn_op **op, size_t n, double took_s)
{
    const struct cn_err *bad = NULL;

    uv_mutex_lock(&s->lock);
    s->facts.operations += n;
    for (size_t i = 0; i < n; i++) {
        if (op[i]->out.rc == CN_OK || op[i]->out.rc == CN_EBUSY || op[i]->out.rc == CN_ENOTFOUND)
            continue;
        s->facts.failures++;
        bad = &op[i]->out.err;
    }
    s->facts.failing = bad != NULL;
    if (s->facts.phase == CN_STORE_READY)
        memcpy(s->facts.trouble, bad != NULL ? bad->msg : "", bad != NULL ? sizeof(bad->msg) : 1);
    s->facts.used_bytes = (uint64_t)s->w_used;
    s->facts.commit_s += (took_s - s->facts.commit_s) * (s->facts.commits > 1 ? 0.05 : 1);
    uv_mutex_unlock(&s->lock);
    if (bad != NULL)
        cn_store_free_space(s);
}

void cn_store_batch(struct cn_store *s, struct cn_op **op, size_t n)
{
    struct cn_err err = CN_ERR_INIT;
    int64_t began = cn_now_ns();

    for (size_t i = 0; i < n; i++)
        op[i]->pending = true;
    if (s->w_db.h == NULL) {
        for (size_t i = 0; i < n; i++) {
            op[i]->pending = false;
            op[i]->out.rc = cn_fail(&op[i]->out.err, CN_ESTORAGE, "the job store is not open");
        }
        return;
    }
    write_results(s, op, n);
    if (pending(op, n) > 0 && transact(s, op, n, &err) < 0)
        one_by_one(s, op, n);
    run_sweeps(s, op, n);
    count(s, op, n, (double)(cn_now_ns() - began) * 1e-9);
}
