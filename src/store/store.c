/* The store as the loop sees it: opening, giving operations to the thread, hearing of their ends.
 */
#include "base/base.h"
#include "store/store_priv.h"
#include "base/clock.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECOND_US INT64_C(1000000)

static int system_open(const char *path, int flags, mode_t mode)
{
    return open(path, flags, mode);
}

static const struct cn_store_io system_io = {system_open, write, fsync, rename, unlink};

/* ---- operations ---- */

static struct cn_op *new_op(enum cn_op_kind kind, const char *id, cn_store_done_fn done, void *arg)
{
    struct cn_op *op = cn_xcalloc(1, sizeof(*op));

    op->kind = kind;
    op->done = done;
    op->arg = arg;
    snprintf(op->id, sizeof(op->id), "%s", id);
    return op;
}

static void give(struct cn_store *s, struct cn_op *op)
{
    uv_mutex_lock(&s->lock);
    cn_op_push(&s->in, op);
    s->in_bytes += op->bytes;
    uv_cond_signal(&s->more);
    uv_mutex_unlock(&s->lock);
}

/* ---- the thread's news ---- */

static int open_reader(struct cn_store *s, struct cn_err *err)
{
    char *path = cn_xprintf("%s/jobs.db", s->dir);
    int rc = cn_db_open(&s->reader, path, s->vfs, false, err);

    free(path);
    return rc;
}

static void tell_open(struct cn_store *s)
{
    struct cn_err err = s->open_err;
    int rc = err.code;

    s->told = true;
    if (rc == CN_OK && s->reader.h == NULL)
        rc = open_reader(s, &err);
    uv_mutex_lock(&s->lock);
    if (s->facts.phase == CN_STORE_OPENING)
        s->facts.phase = rc == CN_OK ? CN_STORE_READY : CN_STORE_BROKEN;
    if (rc < 0)
        memcpy(s->facts.trouble, err.msg, sizeof(err.msg));
    uv_mutex_unlock(&s->lock);
    if (s->o.on_open != NULL)
        s->o.on_open(s->o.arg, rc, rc < 0 ? &err : NULL);
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

    uv_mutex_lock(&s->lock);
    done = s->done;
    if (done.head == NULL)
        done.tail = &done.head;
    cn_op_list_init(&s->done);
    opened = s->opened;
    ended = s->ended;
    uv_mutex_unlock(&s->lock);
    if (opened && !s->told)
        tell_open(s);
    while ((op = cn_op_pop(&done)) != NULL) {
        if (op->done != NULL)
            op->done(op->arg, &op->out);
        cn_op_free(op);
    }
    if (ended && !uv_is_closing((uv_handle_t *)h)) {
        uv_thread_join(&s->thread);
        s->started = false;
        uv_close((uv_handle_t *)h, on_closed);
    }
}

/* ---- life ---- */

static struct cn_store *new_store(const struct cn_store_options *o)
{
    struct cn_store *s = cn_xcalloc(1, sizeof(*s));

    s->o = *o;
    s->dir = cn_xstrdup(o->dir);
    s->vfs = o->vfs != NULL ? cn_xstrdup(o->vfs) : NULL;
    s->io = o->io != NULL ? *o->io : system_io;
    s->w_lock_fd = -1;
    s->facts.phase = CN_STORE_OPENING;
    cn_op_list_init(&s->in);
    cn_op_list_init(&s->done);
    cn_op_list_init(&s->w_again);
    uv_mutex_init(&s->lock);
    uv_cond_init(&s->more);
    cn_store_set_ttl(s, o->result_ttl_s, o->tombstone_ttl_s);
    return s;
}

static void free_store(struct cn_store *s)
{
    struct cn_op *op;

    cn_db_close(&s->reader);
    cn_store_close_db(s);
    while ((op = cn_op_pop(&s->in)) != NULL || (op = cn_op_pop(&s->done)) != NULL)
        cn_op_free(op);
    while (s->w_doomed != NULL) {
        struct cn_doomed *d = s->w_doomed;

        s->w_doomed = d->next;
        free(d->path);
        free(d);
    }
    uv_cond_destroy(&s->more);
    uv_mutex_destroy(&s->lock);
    free(s->dir);
    free(s->vfs);
    free(s);
}

int cn_store_open(const struct cn_store_options *o, struct cn_store **ret, struct cn_err *err)
{
    struct cn_store *s;
    bool busy = false;
    int rc;

    s = new_store(o);
    if ((rc = cn_store_make_dirs(s, err)) < 0 || (rc = cn_store_lock(s, &busy, err)) < 0 ||
        (!busy && (rc = cn_store_open_db(s, err)) < 0)) {
        cn_err_prefix(err, "store.dir");
        free_store(s);
        return rc;
    }
    /* Readers need no lock: what the other daemon commits can be looked at while this one waits. */
    if (open_reader(s, NULL) == CN_OK && !cn_db_is_current(&s->reader))
        cn_db_close(&s->reader);
    uv_async_init(o->loop, &s->async, on_async);
    s->async.data = s;
    s->started = uv_thread_create(&s->thread, cn_store_thread, s) == 0;
    CN_ASSERT(s->started);
    *ret = s;
    return CN_OK;
}

void cn_store_close(struct cn_store *s)
{
    cn_db_close(&s->reader);
    uv_mutex_lock(&s->lock);
    s->stop = true;
    s->facts.phase = CN_STORE_CLOSING;
    uv_cond_signal(&s->more);
    uv_mutex_unlock(&s->lock);
}

bool cn_store_gone(const struct cn_store *s)
{
    return s->closed;
}

void cn_store_free(struct cn_store *s)
{
    if (s == NULL)
        return;
    CN_ASSERT(s->closed && !s->started);
    free_store(s);
}

/* ---- writing ---- */

static bool is_low(const struct cn_store *s, const struct cn_store_facts *f)
{
    return (f->total_bytes > 0 &&
            f->free_bytes / (f->total_bytes / 100 + 1) < (uint64_t)s->o.min_free_percent) ||
           (s->o.max_bytes > 0 && f->used_bytes >= s->o.max_bytes);
}

int cn_store_room(const struct cn_store *s, size_t bytes, struct cn_err *err)
{
    struct cn_store *m = (struct cn_store *)s; /* for the lock */
    struct cn_store_facts f;
    size_t waiting, coming;

    uv_mutex_lock(&m->lock);
    f = s->facts;
    waiting = s->in.n;
    coming = s->in_bytes;
    uv_mutex_unlock(&m->lock);
    switch (f.phase) {
    case CN_STORE_OPENING:
        return cn_fail(err, CN_EBUSY, "the job store is not open yet");
    case CN_STORE_BROKEN:
        return cn_fail(err, CN_ESTORAGE, "%s", f.trouble);
    case CN_STORE_CLOSING:
        return cn_fail(err, CN_EBUSY, "the server is shutting down");
    case CN_STORE_READY:
        break;
    }
    if (s->o.max_bytes > 0 && f.used_bytes + coming + bytes > s->o.max_bytes)
        return cn_fail(err, CN_ESTORAGE, "the job store is full: store.max_mb is used up");
    if (is_low(s, &f))
        return cn_fail(err, CN_ESTORAGE, "the file system of the job store is nearly full");
    if (waiting >= s->o.max_ops || (coming > 0 && coming + bytes > s->o.max_op_bytes))
        return cn_fail(err, CN_EBUSY, "the disk of the job store cannot follow");
    return CN_OK;
}

static void keep_key(struct cn_op *op, const struct cn_store_key *key)
{
    if (key == NULL)
        return;
    op->key_tenant = cn_xstrdup(key->tenant);
    op->key_route = cn_xstrdup(key->route);
    op->key = cn_xstrdup(key->key);
    memcpy(op->fingerprint, key->fingerprint, sizeof(op->fingerprint));
}

int cn_store_add(struct cn_store *s, const struct cn_store_job *job, const struct cn_spec *spec,
                 const struct cn_store_key *key, cn_store_done_fn done, void *arg,
                 struct cn_err *err)
{
    struct cn_op *op = new_op(CN_OP_ADD, job->id, done, arg);
    int rc = cn_store_pack(spec, &op->light, &op->lens, &op->payload, err);

    op->bytes = op->light.len + op->payload.len;
    if (rc < 0 || (rc = cn_store_room(s, op->bytes, err)) < 0) {
        cn_op_free(op);
        return rc;
    }
    op->job = cn_xmalloc(sizeof(*op->job));
    *op->job = *job;
    memset(&op->job->spec, 0, sizeof(op->job->spec));
    op->model = cn_xstrdup(spec->model == NULL ? "" : spec->model);
    keep_key(op, key);
    give(s, op);
    return CN_OK;
}

void cn_store_start(struct cn_store *s, const char *id, int attempt, int deaths, bool queued)
{
    struct cn_op *op = new_op(CN_OP_START, id, NULL, NULL);

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
    op->bytes = result->bytes;
    give(s, op);
}

void cn_store_end(struct cn_store *s, const char *id, const struct cn_store_end *end,
                  cn_store_done_fn done, void *arg)
{
    struct cn_op *op = new_op(CN_OP_END, id, done, arg);

    op->end = *end;
    give(s, op);
}

void cn_store_sweep(struct cn_store *s, cn_store_done_fn done, void *arg)
{
    give(s, new_op(CN_OP_SWEEP, "", done, arg));
}

void cn_store_set_ttl(struct cn_store *s, int result_ttl_s, int tombstone_ttl_s)
{
    uv_mutex_lock(&s->lock);
    s->result_ttl_us = result_ttl_s * SECOND_US;
    s->tombstone_ttl_us = tombstone_ttl_s * SECOND_US;
    uv_mutex_unlock(&s->lock);
}

/* ---- facts ---- */

void cn_store_facts(const struct cn_store *s, struct cn_store_facts *ret)
{
    struct cn_store *m = (struct cn_store *)s; /* for the lock */

    uv_mutex_lock(&m->lock);
    *ret = s->facts;
    ret->waiting = s->in.n;
    uv_mutex_unlock(&m->lock);
    ret->low = is_low(s, ret);
    if (ret->low && ret->trouble[0] == '\0')
        snprintf(ret->trouble, sizeof(ret->trouble), "%s",
                 s->o.max_bytes > 0 && ret->used_bytes >= s->o.max_bytes
                     ? "store.max_mb is used up"
                     : "the file system is nearly full");
}
