/* Group commit: pictures first, then one transaction for all that came together. Thread only.
 *
 * When the common transaction fails, each operation is tried in one of its own, so that one that
 * needs more room than there is does not take its neighbours with it. When not even a transaction
 * can be begun, because another process holds the database, that is the end of all of them for now.
 */
#include "base/base.h"
#include "store/sqlite_priv.h"
#include "base/clock.h"

#include <string.h>

/* ---- pictures ---- */

static bool is_there(struct cn_sqlite *s, const struct cn_op *op)
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

static void sweep_for_room(struct cn_sqlite *s)
{
    while (cn_store_sweep_some(s, NULL))
        ;
}

static bool over_quota(const struct cn_sqlite *s, uint64_t coming)
{
    return s->base.o.max_bytes > 0 && (uint64_t)s->w_used + coming > s->base.o.max_bytes;
}

/* One retry, after what is past its time has gone. */
static enum cn_store_outcome write_one(struct cn_sqlite *s, struct cn_op *op, uint64_t coming,
                                       struct cn_err *err)
{
    if (over_quota(s, coming))
        sweep_for_room(s);
    if (over_quota(s, coming)) {
        cn_fail(err, CN_ESTORAGE, "picture %d cannot be kept: store.max_mb is used up",
                op->result.k);
        return CN_STORE_NO_ROOM;
    }
    if (cn_store_write_result(s, op, NULL) == CN_STORE_OK)
        return CN_STORE_OK;
    sweep_for_room(s);
    return cn_store_write_result(s, op, err);
}

/* The operation leaves nothing. What this job wants done later may not be done before it: it waits
 * with it, if it is tried again. */
static void give_up(struct cn_sqlite *s, struct cn_op **op, size_t n, size_t i,
                    enum cn_store_outcome outcome, const struct cn_err *err)
{
    struct cn_op *bad = op[i];

    bad->out.state = CN_STORE_QUEUED; /* what a transaction said that was rolled back */
    cn_op_end(bad, outcome, err);
    if (bad->path != NULL)
        cn_store_doom(s, bad->path);
    if (!cn_op_try_again(bad, cn_now_ns(), s->base.o.result_patience_s * CN_SECOND_NS))
        return;
    for (size_t j = i + 1; j < n; j++)
        if (op[j]->pending && strcmp(op[j]->id, bad->id) == 0)
            cn_op_end(op[j], CN_STORE_RETRY, err);
}

static void write_results(struct cn_sqlite *s, struct cn_op **op, size_t n)
{
    struct cn_err err = CN_ERR_INIT;
    enum cn_store_outcome o;
    uint64_t coming = 0;

    for (size_t i = 0; i < n; i++) {
        struct cn_err one = CN_ERR_INIT;

        if (op[i]->kind != CN_OP_RESULT || !op[i]->pending)
            continue;
        if (is_there(s, op[i]) || came_before(op, i)) {
            cn_op_end(op[i], CN_STORE_OK, NULL);
            continue;
        }
        coming += op[i]->result.meta.bytes;
        if ((o = write_one(s, op[i], coming, &one)) != CN_STORE_OK) {
            coming -= op[i]->result.meta.bytes;
            give_up(s, op, n, i, o, &one);
        }
    }
    if ((o = cn_store_sync_dirs(s, op, n)) == CN_STORE_OK)
        return;
    cn_fail(&err, CN_ESTORAGE, "the folder of the pictures cannot be flushed");
    for (size_t i = 0; i < n; i++)
        if (op[i]->kind == CN_OP_RESULT && op[i]->pending)
            give_up(s, op, n, i, o, &err);
}

/* ---- transactions ---- */

static void settle(struct cn_sqlite *s, struct cn_op *op)
{
    op->pending = false;
    if (op->kind == CN_OP_RESULT && op->out.outcome != CN_STORE_OK && op->path != NULL)
        cn_store_doom(s, op->path); /* the job was over: the picture is nobody's */
}

/* All of them, or none. *ret_begun false: it was no operation's fault. */
static enum cn_store_outcome transact(struct cn_sqlite *s, struct cn_op **op, size_t n,
                                      bool *ret_begun, struct cn_err *err)
{
    enum cn_store_outcome o;
    int rc = cn_db_run(&s->w_db, CN_SQL_BEGIN, err, "");

    cn_store_begin_counts(s);
    *ret_begun = rc == CN_OK;
    if (rc < 0)
        return cn_db_outcome(&s->w_db);
    for (size_t i = 0; i < n && rc == CN_OK; i++)
        if (op[i]->pending)
            rc = cn_store_do(s, op[i], err);
    if (rc < 0) {
        o = cn_db_outcome(&s->w_db);
        cn_db_run(&s->w_db, CN_SQL_ROLLBACK, NULL, "");
        return o;
    }
    if (cn_store_commit(s, &o, err) < 0)
        return o;
    for (size_t i = 0; i < n; i++)
        if (op[i]->pending)
            settle(s, op[i]);
    return CN_STORE_OK;
}

static size_t pending(struct cn_op **op, size_t n)
{
    size_t count = 0;

    for (size_t i = 0; i < n; i++)
        count += op[i]->pending;
    return count;
}

static void one_by_one(struct cn_sqlite *s, struct cn_op **op, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct cn_err err = CN_ERR_INIT;
        enum cn_store_outcome o;
        bool begun;

        if (op[i]->pending && (o = transact(s, &op[i], 1, &begun, &err)) != CN_STORE_OK)
            give_up(s, op, n, i, o, &err);
    }
}

static void commit_all(struct cn_sqlite *s, struct cn_op **op, size_t n)
{
    struct cn_err err = CN_ERR_INIT;
    enum cn_store_outcome o;
    bool begun;

    if (pending(op, n) == 0 || (o = transact(s, op, n, &begun, &err)) == CN_STORE_OK)
        return;
    if (begun) {
        one_by_one(s, op, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        if (op[i]->pending)
            give_up(s, op, n, i, o, &err);
}

static void run_sweeps(struct cn_sqlite *s, struct cn_op **op, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct cn_err err = CN_ERR_INIT;

        if (op[i]->kind != CN_OP_SWEEP)
            continue;
        while (cn_store_sweep_some(s, &err))
            ;
        while (s->w_orphans != NULL)
            cn_store_orphans_step(s);
        cn_op_end(op[i], err.code == CN_OK ? CN_STORE_OK : CN_STORE_RETRY, &err);
    }
}

static void count(struct cn_sqlite *s, struct cn_op **op, size_t n, double took_s)
{
    const struct cn_err *bad = NULL;

    uv_mutex_lock(&s->base.lock);
    s->base.facts.operations += n;
    for (size_t i = 0; i < n; i++) {
        if (op[i]->out.outcome <= CN_STORE_UNKNOWN)
            continue;
        s->base.facts.failures++;
        bad = &op[i]->out.err;
    }
    s->base.facts.failing = bad != NULL;
    if (s->base.facts.phase == CN_STORE_READY)
        memcpy(s->base.facts.trouble, bad != NULL ? bad->msg : "",
               bad != NULL ? sizeof(bad->msg) : 1);
    s->base.facts.used_bytes = (uint64_t)s->w_used;
    s->base.facts.commit_s +=
        (took_s - s->base.facts.commit_s) * (s->base.facts.commits > 1 ? 0.05 : 1);
    uv_mutex_unlock(&s->base.lock);
    if (bad != NULL)
        cn_store_free_space(s);
}

void cn_store_batch(struct cn_sqlite *s, struct cn_op **op, size_t n)
{
    int64_t began = cn_now_ns();

    for (size_t i = 0; i < n; i++) {
        cn_op_end(op[i], CN_STORE_OK, NULL);
        op[i]->pending = true;
        if (op[i]->first_ns == 0)
            op[i]->first_ns = began;
    }
    write_results(s, op, n);
    commit_all(s, op, n);
    run_sweeps(s, op, n);
    count(s, op, n, (double)(cn_now_ns() - began) * 1e-9);
}
