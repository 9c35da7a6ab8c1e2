/* The store as the loop sees it: opening, giving operations and questions to the engine, hearing of
 * their ends. */
#include "base/base.h"
#include "store/store_priv.h"
#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What is asked of the engine at a time; a client has one question at most. */
enum { MAX_QUESTIONS = 8192 };

/* ---- the engine's news ---- */

static void hear_open(struct cn_store *s)
{
    struct cn_err err = s->open_err;

    s->told_open = true;
    if (s->o.on_open != NULL)
        s->o.on_open(s->o.arg, err.code, err.code < 0 ? &err : NULL);
}

static void hear(struct cn_store *s, struct cn_op *op)
{
    if (!cn_op_is_question(op)) {
        s->n_ops--;
        s->op_bytes -= op->bytes;
        CN_ASSERT(op->kind != CN_OP_END || op->out.outcome <= CN_STORE_UNKNOWN || s->stopping ||
                  op->out.outcome == CN_STORE_NOT_OPEN);
        if (op->done != NULL)
            op->done(op->arg, &op->out);
    } else {
        s->n_questions--;
        if (op->answered != NULL)
            op->answered(op->arg, op->answer);
    }
    cn_op_free(op);
}

static void on_closed(uv_handle_t *h)
{
    struct cn_store *s = h->data;

    s->closed = true;
}

static void on_async(uv_async_t *h)
{
    struct cn_store *s = h->data;
    struct cn_op_list done;
    struct cn_op *op;
    bool opened, ended;

    cn_op_list_init(&done);
    uv_mutex_lock(&s->lock);
    cn_op_append(&done, &s->done);
    opened = s->opened;
    ended = s->ended;
    uv_mutex_unlock(&s->lock);
    if (opened && !s->told_open)
        hear_open(s);
    while ((op = cn_op_pop(&done)) != NULL)
        hear(s, op);
    if (ended && !uv_is_closing((uv_handle_t *)h)) {
        s->engine->release(s);
        uv_close((uv_handle_t *)h, on_closed);
    }
}

/* ---- life ---- */

static struct cn_store *new_store(const struct cn_store_options *o)
{
    const struct cn_store_engine *engine = &cn_store_sqlite;
    struct cn_store *s = cn_xcalloc(1, engine->size);

    s->engine = engine;
    s->o = *o;
    s->dir = cn_xstrdup(o->dir);
    s->vfs = o->vfs != NULL ? cn_xstrdup(o->vfs) : NULL;
    s->facts.phase = CN_STORE_OPENING;
    cn_op_list_init(&s->done);
    uv_mutex_init(&s->lock);
    cn_store_set_ttl(s, o->result_ttl_s, o->tombstone_ttl_s);
    return s;
}

static void free_store(struct cn_store *s)
{
    struct cn_op *op;

    while ((op = cn_op_pop(&s->done)) != NULL)
        cn_op_free(op);
    uv_mutex_destroy(&s->lock);
    free(s->dir);
    free(s->vfs);
    free(s);
}

int cn_store_open(const struct cn_store_options *o, struct cn_store **ret, struct cn_err *err)
{
    struct cn_store *s = new_store(o);
    int rc;

    rc = s->engine->open(s, err);
    if (rc < 0) {
        cn_err_prefix(err, "store.dir");
        s->engine->release(s);
        free_store(s);
        return rc;
    }
    uv_async_init(o->loop, &s->async, on_async);
    s->async.data = s;
    s->engine->start(s);
    *ret = s;
    return CN_OK;
}

void cn_store_close(struct cn_store *s)
{
    if (s->stopping)
        return;
    s->stopping = true;
    uv_mutex_lock(&s->lock);
    s->facts.phase = CN_STORE_CLOSING;
    uv_mutex_unlock(&s->lock);
    s->engine->stop(s);
}

bool cn_store_gone(const struct cn_store *s)
{
    return s->closed;
}

void cn_store_free(struct cn_store *s)
{
    if (s == NULL)
        return;
    CN_ASSERT(s->closed);
    free_store(s);
}

/* ---- giving ---- */

/* What comes when the store closes is told so; when it has closed, there is nobody to tell it. */
static void refuse_closing(struct cn_store *s, struct cn_op *op)
{
    struct cn_err err = CN_ERR_INIT;

    cn_fail(&err, CN_ESTORAGE, "the job store is closing");
    cn_op_end(op, CN_STORE_CLOSED, &err);
    if (uv_is_closing((uv_handle_t *)&s->async))
        cn_op_free(op);
    else
        cn_store_tell(s, op);
}

static void give(struct cn_store *s, struct cn_op *op)
{
    if (uv_is_closing((uv_handle_t *)&s->async)) {
        refuse_closing(s, op);
        return;
    }
    if (cn_op_is_question(op)) {
        s->n_questions++;
    } else {
        s->n_ops++;
        s->op_bytes += op->bytes;
    }
    if (s->stopping)
        refuse_closing(s, op);
    else
        s->engine->give(s, op);
}

static struct cn_op *new_op(enum cn_op_kind kind, const char *id, cn_store_done_fn done, void *arg)
{
    struct cn_op *op = cn_op_new(kind, id);

    op->done = done;
    op->arg = arg;
    return op;
}

/* ---- writing ---- */

static bool is_low(const struct cn_store *s, const struct cn_store_facts *f)
{
    return (f->total_bytes > 0 &&
            f->free_bytes / (f->total_bytes / 100 + 1) < (uint64_t)s->o.min_free_percent) ||
           (s->o.max_bytes > 0 && f->used_bytes >= s->o.max_bytes);
}

static struct cn_store_facts facts_of(const struct cn_store *s)
{
    struct cn_store *m = (struct cn_store *)s; /* for the lock */
    struct cn_store_facts f;

    uv_mutex_lock(&m->lock);
    f = s->facts;
    uv_mutex_unlock(&m->lock);
    f.waiting = s->n_ops;
    return f;
}

int cn_store_room(const struct cn_store *s, size_t bytes, struct cn_err *err)
{
    struct cn_store_facts f = facts_of(s);

    switch (f.phase) {
    case CN_STORE_OPENING:
        if (f.failing)
            return cn_fail(err, CN_ESTORAGE, "%s", f.trouble);
        return cn_fail(err, CN_EBUSY, "the job store is not open yet");
    case CN_STORE_BROKEN:
        return cn_fail(err, CN_ESTORAGE, "%s", f.trouble);
    case CN_STORE_CLOSING:
        return cn_fail(err, CN_EBUSY, "the server is shutting down");
    case CN_STORE_READY:
        break;
    }
    if (s->o.max_bytes > 0 && f.used_bytes + s->op_bytes + bytes > s->o.max_bytes)
        return cn_fail(err, CN_ESTORAGE, "the job store is full: store.max_mb is used up");
    if (is_low(s, &f))
        return cn_fail(err, CN_ESTORAGE, "the file system of the job store is nearly full");
    if (f.waiting >= s->o.max_ops || (s->op_bytes > 0 && s->op_bytes + bytes > s->o.max_op_bytes))
        return cn_fail(err, CN_EBUSY, "the disk of the job store cannot follow");
    return CN_OK;
}

static void keep_key(struct cn_op *op, const struct cn_store_key *key)
{
    op->tenant = cn_xstrdup(key->tenant);
    op->route = cn_xstrdup(key->route);
    op->key = cn_xstrdup(key->key);
    memcpy(op->fingerprint, key->fingerprint, sizeof(op->fingerprint));
}

int cn_store_add(struct cn_store *s, const struct cn_store_job *job, const struct cn_spec *spec,
                 const struct cn_store_key *key, cn_store_done_fn done, void *arg,
                 struct cn_err *err)
{
    struct cn_op *op = new_op(CN_OP_ADD, job->id, done, arg);
    int rc = cn_store_pack(spec, &op->light, &op->lens, &op->payload_bytes, err);

    op->spec = spec;
    op->bytes = op->light.len + op->payload_bytes;
    if (rc < 0 || (rc = cn_store_room(s, op->bytes, err)) < 0) {
        cn_op_free(op);
        return rc;
    }
    op->job = cn_xmalloc(sizeof(*op->job));
    *op->job = *job;
    op->job->warnings = NULL;
    memset(&op->job->spec, 0, sizeof(op->job->spec));
    op->job->webhook = NULL;
    op->model = cn_xstrdup(spec->model == NULL ? "" : spec->model);
    if (job->webhook != NULL) {
        op->url = cn_xstrdup(job->webhook->url);
        op->host = cn_xstrdup(job->webhook->host);
        op->context = cn_xstrdup(job->webhook->context);
    }
    if (key != NULL)
        keep_key(op, key);
    give(s, op);
    return CN_OK;
}

void cn_store_start(struct cn_store *s, const char *id, int attempt, int deaths, bool queued,
                    cn_store_done_fn done, void *arg)
{
    struct cn_op *op = new_op(CN_OP_START, id, done, arg);

    op->end.attempt = attempt;
    op->end.deaths = deaths;
    op->end.started_us = queued ? 0 : cn_wall_us();
    op->queued = queued;
    give(s, op);
}

void cn_store_result(struct cn_store *s, const char *id, const struct cn_store_result *result,
                     unsigned char *data, cn_store_done_fn done, void *arg)
{
    struct cn_op *op = new_op(CN_OP_RESULT, id, done, arg);

    op->result = *result;
    op->data = data;
    op->bytes = result->meta.bytes;
    give(s, op);
}

void cn_store_end(struct cn_store *s, const char *id, const struct cn_store_end *end,
                  cn_store_done_fn done, void *arg)
{
    struct cn_op *op = new_op(CN_OP_END, id, done, arg);

    op->end = *end;
    op->warnings = end->warnings != NULL ? cn_xstrdup(end->warnings) : NULL;
    op->end.warnings = op->warnings;
    give(s, op);
}

void cn_store_drop(struct cn_store *s, const char *id, cn_store_done_fn done, void *arg)
{
    give(s, new_op(CN_OP_DROP, id, done, arg));
}

void cn_store_delivery(struct cn_store *s, const char *id, const struct cn_store_delivery *delivery,
                       cn_store_done_fn done, void *arg)
{
    struct cn_op *op = new_op(CN_OP_DELIVERY, id, done, arg);

    CN_ASSERT(delivery->state >= CN_STORE_WEBHOOK_PENDING);
    op->delivery = *delivery;
    give(s, op);
}

void cn_store_sweep(struct cn_store *s, cn_store_done_fn done, void *arg)
{
    give(s, new_op(CN_OP_SWEEP, "", done, arg));
}

void cn_store_set_ttl(struct cn_store *s, int result_ttl_s, int tombstone_ttl_s)
{
    uv_mutex_lock(&s->lock);
    s->result_ttl_us = result_ttl_s * CN_SECOND_US;
    s->tombstone_ttl_us = tombstone_ttl_s * CN_SECOND_US;
    uv_mutex_unlock(&s->lock);
}

/* ---- reading ---- */

/* A question is its operation. */
static struct cn_store_read *ask(struct cn_store *s, struct cn_op *op, cn_store_answer_fn done,
                                 void *arg)
{
    op->answered = done;
    op->arg = arg;
    if (s->n_questions < MAX_QUESTIONS || s->stopping) {
        give(s, op);
    } else {
        struct cn_err err = CN_ERR_INIT;

        cn_fail(&err, CN_EBUSY, "the job store is asked too much at a time");
        cn_op_end(op, CN_STORE_RETRY, &err);
        s->n_questions++;
        cn_store_tell(s, op);
    }
    return (struct cn_store_read *)op;
}

void cn_store_forget(struct cn_store_read *read)
{
    struct cn_op *op = (struct cn_op *)read;

    op->answered = NULL;
    atomic_store(&op->forgotten, true);
}

struct cn_store_read *cn_store_get(struct cn_store *s, const char *id, cn_store_answer_fn done,
                                   void *arg)
{
    return ask(s, cn_op_new(CN_OP_GET, id), done, arg);
}

struct cn_store_read *cn_store_inputs(struct cn_store *s, const char *id, cn_store_answer_fn done,
                                      void *arg)
{
    return ask(s, cn_op_new(CN_OP_INPUTS, id), done, arg);
}

struct cn_store_read *cn_store_picture(struct cn_store *s, const char *id, int k,
                                       cn_store_answer_fn done, void *arg)
{
    struct cn_op *op = cn_op_new(CN_OP_PICTURE, id);

    op->k = k;
    return ask(s, op, done, arg);
}

int cn_store_picture_at_hand(struct cn_store *s, const char *id, int k, enum cn_format f)
{
    return s->closed ? -1 : s->engine->picture_at_hand(s, id, k, f);
}

struct cn_store_read *cn_store_list(struct cn_store *s, const struct cn_store_query *q,
                                    cn_store_answer_fn done, void *arg)
{
    struct cn_op *op = cn_op_new(CN_OP_LIST, "");

    CN_ASSERT(q->limit >= 1 && q->limit <= CN_STORE_PAGE);
    op->query = *q;
    op->tenant = q->tenant != NULL ? cn_xstrdup(q->tenant) : NULL;
    op->model = q->model != NULL ? cn_xstrdup(q->model) : NULL;
    if (q->before_id != NULL)
        snprintf(op->before_id, sizeof(op->before_id), "%s", q->before_id);
    return ask(s, op, done, arg);
}

struct cn_store_read *cn_store_unfinished(struct cn_store *s, int64_t after_us,
                                          const char *after_id, cn_store_answer_fn done, void *arg)
{
    struct cn_op *op = cn_op_new(CN_OP_UNFINISHED, "");

    op->after_us = after_us;
    snprintf(op->before_id, sizeof(op->before_id), "%s", after_id);
    return ask(s, op, done, arg);
}

struct cn_store_read *cn_store_find_key(struct cn_store *s, const struct cn_store_key *key,
                                        cn_store_answer_fn done, void *arg)
{
    struct cn_op *op = cn_op_new(CN_OP_KEY, "");

    keep_key(op, key);
    return ask(s, op, done, arg);
}

struct cn_store_read *cn_store_webhooks(struct cn_store *s, int64_t now_us, int per_host, int limit,
                                        cn_store_answer_fn done, void *arg)
{
    struct cn_op *op = cn_op_new(CN_OP_WEBHOOKS, "");

    op->now_us = now_us;
    op->k = per_host;
    op->limit = limit;
    return ask(s, op, done, arg);
}

/* ---- facts ---- */

void cn_store_facts(const struct cn_store *s, struct cn_store_facts *ret)
{
    *ret = facts_of(s);
    ret->low = is_low(s, ret);
    if (ret->low && ret->trouble[0] == '\0')
        snprintf(ret->trouble, sizeof(ret->trouble), "%s",
                 s->o.max_bytes > 0 && ret->used_bytes >= s->o.max_bytes
                     ? "store.max_mb is used up"
                     : "the file system is nearly full");
}
