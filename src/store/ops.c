/* What each operation does, inside of a transaction. Thread only. */
#include "base/base.h"
#include "store/sqlite_priv.h"
#include "base/clock.h"

#include <stdio.h>
#include <string.h>

typedef int64_t i64; /* what cn_db_bind takes for "i" */

/* Of all jobs that wait to be written only this one is there twice, for so long. */
static int add_payload(struct cn_sqlite *s, const struct cn_op *op, struct cn_err *err)
{
    struct cn_buf b;
    int rc = cn_store_pack_payload(op->spec, op->payload_bytes, &b, NULL);

    if (rc < 0)
        rc = cn_db_fail(&s->w_db, SQLITE_NOMEM, err);
    else
        rc = cn_db_run(&s->w_db, CN_SQL_ADD_PAYLOAD, err, "tb", op->id, b.data, b.len);
    s->w_delta += (int64_t)op->payload_bytes;
    cn_buf_release(&b);
    return rc;
}

static int add(struct cn_sqlite *s, const struct cn_op *op, struct cn_err *err)
{
    const struct cn_store_job *j = op->job;
    struct cn_db *db = &s->w_db;
    int rc = cn_db_run(db, CN_SQL_ADD, err, "tttiiiditiibb", op->id, j->tenant,
                       cn_enum_job_kind.name[j->kind], (i64)j->attempt, (i64)j->deaths,
                       (i64)j->priority, j->cost, (i64)j->n, op->model, j->created_us,
                       j->deadline_us, op->light.data, op->light.len, op->lens.data, op->lens.len);

    if (rc == CN_OK && op->payload_bytes > 0)
        rc = add_payload(s, op, err);
    if (rc == CN_OK && op->key != NULL)
        rc = cn_db_run(db, CN_SQL_ADD_KEY, err, "tttbti", op->tenant, op->route, op->key,
                       op->fingerprint, sizeof(op->fingerprint), op->id, j->created_us);
    if (rc == CN_OK && op->url != NULL)
        rc = cn_db_run(db, CN_SQL_ADD_WEBHOOK, err, "tttt", op->id, op->url, op->host, op->context);
    return rc;
}

static int start(struct cn_sqlite *s, const struct cn_op *op, struct cn_err *err)
{
    enum cn_store_state state = op->queued ? CN_STORE_QUEUED : CN_STORE_RUNNING;

    return cn_db_run(&s->w_db, CN_SQL_START, err, "tiiit", cn_enum_store_state.name[state],
                     (i64)op->end.attempt, (i64)op->end.deaths, op->end.started_us, op->id);
}

/* ---- the state of a job, before it is changed ---- */

struct current {
    bool found;
    enum cn_store_state state;
    struct cn_err why;
    int n, results;
    bool gone;
};

static int look(struct cn_sqlite *s, const char *id, struct current *ret, struct cn_err *err)
{
    sqlite3_stmt *st = cn_db_bind(&s->w_db, CN_SQL_STATE, err, "t", id);
    char state[16];
    int rc;

    *ret = (struct current){.why = CN_ERR_INIT};
    if (st == NULL)
        return err->code;
    if ((rc = cn_db_step(&s->w_db, st, err)) <= 0)
        return rc;
    cn_db_text(st, 0, state, sizeof(state));
    ret->found = true;
    ret->state = (enum cn_store_state)cn_enum_find(&cn_enum_store_state, state);
    ret->why.code = sqlite3_column_int(st, 1);
    cn_db_text(st, 2, ret->why.msg, sizeof(ret->why.msg));
    cn_db_text(st, 3, ret->why.where, sizeof(ret->why.where));
    ret->n = sqlite3_column_int(st, 4);
    ret->results = sqlite3_column_int(st, 5);
    ret->gone = sqlite3_column_int(st, 6) != 0;
    sqlite3_reset(st);
    return CN_OK;
}

/* Ends the operation without a change when there is no such job or it is final. */
static bool refuse(struct cn_op *op, const struct current *now)
{
    if (now->found && now->state <= CN_STORE_RUNNING)
        return false;
    op->out.state = now->state;
    op->out.why = now->why;
    op->out.outcome = now->found ? CN_STORE_WAS_FINAL : CN_STORE_UNKNOWN;
    if (now->found)
        cn_fail(&op->out.err, CN_EINVAL, "the job is over already");
    else
        cn_fail(&op->out.err, CN_ENOTFOUND, "there is no job \"%s\"", op->id);
    return true;
}

static int result(struct cn_sqlite *s, struct cn_op *op, struct cn_err *err)
{
    const struct cn_store_result *r = &op->result;
    struct current now;
    int rc = look(s, op->id, &now, err);

    if (rc < 0 || refuse(op, &now))
        return rc;
    rc = cn_db_run(&s->w_db, CN_SQL_ADD_RESULT, err, "itiitiit", (i64)r->k,
                   op->path + strlen(s->base.dir) + strlen("/results/"), (i64)r->meta.bytes,
                   (i64)r->meta.seed, cn_enum_format.name[r->meta.format], (i64)r->meta.width,
                   (i64)r->meta.height, op->id);
    if (rc == CN_OK && sqlite3_changes(s->w_db.h) > 0)
        s->w_delta += (int64_t)r->meta.bytes;
    return rc;
}

static int drop_payload(struct cn_sqlite *s, const char *id, struct cn_err *err)
{
    sqlite3_stmt *st = cn_db_bind(&s->w_db, CN_SQL_PAYLOAD_BYTES, err, "t", id);
    int rc;

    if (st == NULL)
        return err->code;
    if ((rc = cn_db_step(&s->w_db, st, err)) <= 0)
        return rc;
    s->w_delta -= sqlite3_column_int64(st, 0);
    sqlite3_reset(st);
    return cn_db_run(&s->w_db, CN_SQL_DROP_PAYLOAD, err, "t", id);
}

static int end(struct cn_sqlite *s, struct cn_op *op, struct cn_err *err)
{
    struct cn_store_end e = op->end;
    struct current now;
    int rc = look(s, op->id, &now, err);

    if (rc < 0 || refuse(op, &now))
        return rc;
    if (e.state == CN_STORE_SUCCEEDED && now.results < now.n) {
        e.state = CN_STORE_FAILED;
        cn_fail(&e.err, CN_ESTORAGE, "%d of %d pictures could not be kept", now.n - now.results,
                now.n);
    }
    rc = cn_db_run(&s->w_db, CN_SQL_END, err, "tiiiiitttt", cn_enum_store_state.name[e.state],
                   (i64)e.attempt, (i64)e.deaths, e.started_us, e.ended_us, (i64)e.err.code,
                   e.err.msg, e.err.where, op->warnings != NULL ? op->warnings : "", op->id);
    op->out.state = e.state;
    op->out.why = e.err;
    if (rc == CN_OK)
        rc = cn_db_run(&s->w_db, CN_SQL_WEBHOOK_DUE, err, "it", e.ended_us, op->id);
    op->out.webhook_due = rc == CN_OK && sqlite3_changes(s->w_db.h) > 0;
    s->w_pending_delta += op->out.webhook_due;
    return rc == CN_OK ? drop_payload(s, op->id, err) : rc;
}

static int delivery(struct cn_sqlite *s, struct cn_op *op, struct cn_err *err)
{
    const struct cn_store_delivery *d = &op->delivery;
    int rc = cn_db_run(&s->w_db, CN_SQL_DELIVERY, err, "tiitt",
                       cn_enum_store_webhook_state.name[d->state], (i64)d->attempts, d->next_us,
                       d->why, op->id);

    if (rc == CN_OK && sqlite3_changes(s->w_db.h) == 0) {
        op->out.outcome = CN_STORE_WAS_FINAL;
        cn_fail(&op->out.err, CN_ENOTFOUND, "there is nothing to be told");
    } else if (rc == CN_OK && d->state != CN_STORE_WEBHOOK_PENDING) {
        s->w_pending_delta--;
    }
    return rc;
}

static int drop(struct cn_sqlite *s, struct cn_op *op, struct cn_err *err)
{
    struct current now;
    int rc = look(s, op->id, &now, err);

    if (rc < 0)
        return rc;
    if (!now.found) {
        refuse(op, &now);
        return CN_OK;
    }
    if (now.state <= CN_STORE_RUNNING) {
        op->out.outcome = CN_STORE_REFUSED;
        cn_fail(&op->out.err, CN_EINVAL, "the job is not over");
        return CN_OK;
    }
    if (now.gone)
        op->out.outcome = CN_STORE_WAS_FINAL;
    return now.gone ? CN_OK : cn_store_drop_results(s, op->id, err);
}

int cn_store_do(struct cn_sqlite *s, struct cn_op *op, struct cn_err *err)
{
    cn_op_end(op, CN_STORE_OK, NULL);
    op->pending = true;
    op->out.why.code = 0;
    op->out.webhook_due = false;
    switch (op->kind) {
    case CN_OP_ADD:
        return add(s, op, err);
    case CN_OP_START:
        return start(s, op, err);
    case CN_OP_RESULT:
        return result(s, op, err);
    case CN_OP_END:
        return end(s, op, err);
    case CN_OP_DROP:
        return drop(s, op, err);
    case CN_OP_DELIVERY:
        return delivery(s, op, err);
    default:
        break;
    }
    return CN_OK;
}
