/* Dispatcher: which worker holds which model; loading and unloading on demand. */
#include "base/base.h"
#include "job/dispatch_priv.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MANAGING_MAX = 64 };

/* A question to one or more workers. */
struct cn_managing {
    LIST_ENTRY(cn_managing) link;
    uint64_t number;
    uint64_t waiting; /* bit i: worker i has not answered */
    cn_managed_fn done;
    void *arg;
    struct cn_err err; /* the first failure */
};

/* ---- what is resident ---- */

static struct cn_msg_model *find(const struct cn_slot *s, const char *name)
{
    for (size_t i = 0; i < s->models; i++)
        if (strcmp(s->model[i].name, name) == 0)
            return &s->model[i];
    return NULL;
}

void cn_dispatch_on_model(struct cn_slot *s, const struct cn_frame *f, struct cn_err *err)
{
    struct cn_msg_model m, *known;

    if (cn_msg_get_model(f, &m, err) < 0)
        return;
    known = find(s, m.name);
    if (known == NULL) {
        if (s->models >= CN_WIRE_MAX_MODELS)
            return;
        s->model = cn_grow(s->model, s->models, &s->models_cap, sizeof(*s->model));
        known = &s->model[s->models++];
        *known = (struct cn_msg_model){.state = CN_MODEL_UNLOADED};
    }
    if (known->state != m.state)
        cn_log(m.state == CN_MODEL_BROKEN ? CN_LOG_WARNING : CN_LOG_INFO, "worker.model",
               m.text[0] != '\0' ? m.text : "the model's state in this worker",
               "worker=%d model=%s state=%s bytes=%lu", s->index, m.name,
               cn_enum_residence.name[m.state], (unsigned long)m.bytes);
    cn_dispatch_clock(s); /* the device is nobody's while it loads */
    s->tells_loading = s->tells_loading || m.state == CN_MODEL_LOADING;
    s->loading += (m.state == CN_MODEL_LOADING) - (known->state == CN_MODEL_LOADING);
    *known = m;
}

int cn_dispatch_affinity(const struct cn_slot *s, const struct cn_job *job)
{
    static const int value[CN_RESIDENCE_COUNT] = {
        [CN_MODEL_BROKEN] = -1, [CN_MODEL_LOADING] = 1, [CN_MODEL_LOADED] = 2};
    const struct cn_msg_model *m = find(s, job->spec.model);

    return m == NULL ? 0 : value[m->state];
}

static bool is_listed(const struct cn_catalog *c, const char *name)
{
    for (int i = 0; i < CN_MODEL_KIND_COUNT; i++)
        if (cn_catalog_find(c, (enum cn_model_kind)i, name) != NULL)
            return true;
    return false;
}

void cn_dispatch_prune_models(struct cn_slot *s)
{
    size_t n = 0;

    for (size_t i = 0; i < s->models; i++) {
        const struct cn_msg_model *m = &s->model[i];

        if (is_listed(&s->catalog, m->name))
            s->model[n++] = *m;
        else
            s->loading -= m->state == CN_MODEL_LOADING;
    }
    s->models = n;
}

bool cn_dispatch_has_models(const struct cn_slot *s, const struct cn_job *job)
{
    return !s->has_catalog || cn_catalog_check(&s->catalog, &job->spec, NULL) == CN_OK;
}

struct cn_model_view cn_dispatch_model(const struct cn_dispatch *d, const char *name)
{
    static const int rank[CN_RESIDENCE_COUNT] = {
        [CN_MODEL_BROKEN] = 1, [CN_MODEL_LOADING] = 2, [CN_MODEL_LOADED] = 3};
    struct cn_model_view v = {CN_MODEL_UNLOADED, 0, 0, ""};

    for (int i = 0; i < d->o.workers; i++) {
        const struct cn_msg_model *m = find(&d->slot[i], name);

        if (m == NULL)
            continue;
        v.workers += m->state == CN_MODEL_LOADED;
        if (rank[m->state] <= rank[v.state])
            continue;
        v.state = m->state;
        v.bytes = m->bytes;
        v.text = m->text;
    }
    return v;
}

/* ---- load and unload ---- */

static void end(struct cn_dispatch *d, struct cn_managing *q)
{
    LIST_REMOVE(q, link);
    d->n_managing--;
    if (q->done != NULL)
        q->done(q->arg, q->err.code, &q->err);
    free(q);
}

static void answer(struct cn_slot *s, struct cn_managing *q, const struct cn_err *err)
{
    uint64_t bit = UINT64_C(1) << s->index;

    if ((q->waiting & bit) == 0)
        return;
    q->waiting &= ~bit;
    if (err->code != CN_OK && q->err.code == CN_OK)
        q->err = *err;
    if (q->waiting == 0)
        end(s->d, q);
}

void cn_dispatch_on_managed(struct cn_slot *s, const struct cn_frame *f, struct cn_err *err)
{
    struct cn_msg_managed m;
    struct cn_managing *q;

    if (cn_msg_get_managed(f, &m, err) < 0)
        return;
    LIST_FOREACH(q, &s->d->managing, link)
    {
        if (q->number == m.number) {
            answer(s, q, &m.err);
            return;
        }
    }
}

void cn_dispatch_models_lost(struct cn_slot *s, const char *why)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_managing *q, *next;

    s->models = 0;
    s->loading = 0;
    s->tells_loading = false;
    cn_fail(&err, CN_EDEVICE, "the worker was lost: %s", why);
    /* done may ask again, and that goes to the front of the list; it asks no worker that is down */
    for (q = LIST_FIRST(&s->d->managing); q != NULL; q = next) {
        next = LIST_NEXT(q, link);
        answer(s, q, &err);
    }
}

static bool is_ready(const struct cn_slot *s)
{
    return cn_process_state(s->process) == CN_PROCESS_READY && s->dying_ns == 0;
}

/* Where to load: where it is, else where least is to do. */
static int best_for(const struct cn_dispatch *d, const char *name)
{
    int best = -1;

    for (int i = 0; i < d->o.workers; i++) {
        const struct cn_slot *s = &d->slot[i];
        const struct cn_msg_model *m = find(s, name);

        if (!is_ready(s))
            continue;
        if (m != NULL && m->state == CN_MODEL_LOADED)
            return i;
        if (best < 0 || s->images < d->slot[best].images)
            best = i;
    }
    return best;
}

/* Bit i: worker i is asked. */
static uint64_t who_is_asked(const struct cn_dispatch *d, const struct cn_msg_manage *what,
                             int worker)
{
    uint64_t mask = 0;

    if (worker == CN_WORKER_ANY && what->action == CN_MANAGE_LOAD)
        worker = best_for(d, what->name);
    for (int i = 0; i < d->o.workers; i++)
        if (is_ready(&d->slot[i]) && (i == worker || worker == CN_WORKER_ANY))
            mask |= UINT64_C(1) << i;
    return mask;
}

static int ask(struct cn_dispatch *d, const struct cn_msg_manage *what, uint64_t mask,
               struct cn_err *err)
{
    for (int i = 0; i < d->o.workers; i++) {
        struct cn_buf b;
        int rc;

        if ((mask >> i & 1) == 0)
            continue;
        cn_buf_init(&b, 4096);
        rc = cn_msg_put_manage(&b, what, err);
        if (rc == CN_OK)
            cn_process_send(d->slot[i].process, &b);
        cn_buf_release(&b);
        if (rc < 0)
            return rc;
    }
    return CN_OK;
}

static const char *word(enum cn_manage action)
{
    static const char *const words[] = {[CN_MANAGE_LOAD] = "load the model",
                                        [CN_MANAGE_UNLOAD] = "unload the model",
                                        [CN_MANAGE_REFRESH] = "look for models"};

    return words[action];
}

/* Those that are not ready look when they are. */
static void note_refresh(struct cn_dispatch *d)
{
    for (int i = 0; i < d->o.workers; i++)
        d->slot[i].refresh = !is_ready(&d->slot[i]);
}

void cn_dispatch_send_refresh(struct cn_slot *s)
{
    struct cn_msg_manage m = {.action = CN_MANAGE_REFRESH, .number = ++s->d->last_number};

    if (s->refresh)
        ask(s->d, &m, UINT64_C(1) << s->index, NULL);
    s->refresh = false;
}

int cn_dispatch_manage(struct cn_dispatch *d, const struct cn_msg_manage *what, int worker,
                       cn_managed_fn done, void *arg, struct cn_err *err)
{
    struct cn_msg_manage m = *what;
    struct cn_managing *q;
    uint64_t mask;
    int rc;

    if (m.action == CN_MANAGE_REFRESH)
        note_refresh(d);
    else if (!is_listed(&d->catalog, m.name))
        return cn_fail(err, CN_ENOTFOUND, "there is no model \"%.60s\"", m.name);
    if (d->stopping || (mask = who_is_asked(d, &m, worker)) == 0)
        return cn_fail(err, CN_EBUSY, "no worker is ready to %s%s%.60s", word(m.action),
                       m.name[0] != '\0' ? " " : "", m.name);
    if (d->n_managing >= MANAGING_MAX)
        return cn_fail(err, CN_EBUSY, "%d models are being loaded or unloaded already",
                       MANAGING_MAX);
    m.number = ++d->last_number;
    if ((rc = ask(d, &m, mask, err)) < 0)
        return rc;
    q = cn_xcalloc(1, sizeof(*q));
    q->number = m.number;
    q->waiting = mask;
    q->done = done;
    q->arg = arg;
    LIST_INSERT_HEAD(&d->managing, q, link);
    d->n_managing++;
    return CN_OK;
}

void cn_dispatch_forget_manage(struct cn_dispatch *d, const void *arg)
{
    struct cn_managing *q;

    LIST_FOREACH(q, &d->managing, link)
    {
        if (q->arg == arg)
            q->done = NULL;
    }
}

void cn_dispatch_models_release(struct cn_dispatch *d)
{
    struct cn_managing *q;

    while ((q = LIST_FIRST(&d->managing)) != NULL) {
        LIST_REMOVE(q, link);
        free(q);
    }
    for (int i = 0; i < d->o.workers; i++)
        free(d->slot[i].model);
}
