/* Operations on their way between the loop and an engine: their memory, lists of them, and the
 * policy of what is tried again. */
#include "base/base.h"
#include "store/store_priv.h"
#include "base/mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const state_names[CN_STORE_STATE_COUNT] = {"queued", "running",   "succeeded",
                                                              "failed", "cancelled", "expired"};
const struct cn_enum cn_enum_store_state = {"state", state_names, CN_STORE_STATE_COUNT};

static const char *const webhook_names[CN_STORE_WEBHOOK_STATE_COUNT] = {
    "none", "waiting", "pending", "delivered", "failed"};
const struct cn_enum cn_enum_store_webhook_state = {"state of a webhook", webhook_names,
                                                    CN_STORE_WEBHOOK_STATE_COUNT};

static const char *const outcome_names[CN_STORE_OUTCOME_COUNT] = {
    "ok", "was final", "unknown", "retry", "no room", "not open", "closed", "refused"};
const struct cn_enum cn_enum_store_outcome = {"outcome", outcome_names, CN_STORE_OUTCOME_COUNT};

bool cn_op_is_question(const struct cn_op *op)
{
    return op->kind >= CN_OP_GET;
}

struct cn_op *cn_op_new(enum cn_op_kind kind, const char *id)
{
    struct cn_op *op = cn_xcalloc(1, sizeof(*op));

    op->kind = kind;
    if (cn_op_is_question(op)) {
        op->answer = cn_xcalloc(1, sizeof(*op->answer));
        op->answer->fd = -1;
    }
    CN_ASSERT(strlen(id) < sizeof(op->id));
    memcpy(op->id, id, strlen(id) + 1);
    return op;
}

static void free_answer(struct cn_store_answer *a)
{
    for (int i = 0; i < a->n; i++) {
        cn_store_job_release(&a->row[i].job);
        free(a->row[i].result);
    }
    free(a->row);
    for (int i = 0; i < a->n_due; i++) {
        free(a->due[i].url);
        free(a->due[i].context);
    }
    free(a->due);
    cn_spec_release(&a->spec);
    if (a->fd >= 0)
        close(a->fd);
}

void cn_op_free(struct cn_op *op)
{
    free(op->job);
    free(op->model);
    cn_buf_release(&op->light);
    cn_buf_release(&op->lens);
    free(op->tenant);
    free(op->route);
    free(op->key);
    free(op->data);
    free(op->path);
    free(op->warnings);
    free(op->url);
    free(op->host);
    free(op->context);
    if (op->answer != NULL)
        free_answer(op->answer);
    free(op->answer);
    free(op);
}

void cn_store_job_release(struct cn_store_job *job)
{
    if (job->readable)
        cn_spec_release(&job->spec);
    free(job->warnings);
    job->warnings = NULL;
    job->readable = false;
}

/* ---- lists ---- */

void cn_op_list_init(struct cn_op_list *l)
{
    STAILQ_INIT(&l->ops);
    l->n = 0;
}

void cn_op_push(struct cn_op_list *l, struct cn_op *op)
{
    STAILQ_INSERT_TAIL(&l->ops, op, link);
    l->n++;
}

struct cn_op *cn_op_pop(struct cn_op_list *l)
{
    struct cn_op *op = STAILQ_FIRST(&l->ops);

    if (op == NULL)
        return NULL;
    STAILQ_REMOVE_HEAD(&l->ops, link);
    l->n--;
    return op;
}

void cn_op_append(struct cn_op_list *to, struct cn_op_list *from)
{
    STAILQ_CONCAT(&to->ops, &from->ops);
    to->n += from->n;
    from->n = 0;
}

const struct cn_op *cn_op_of_job(const struct cn_op_list *l, const char *id)
{
    const struct cn_op *op;

    STAILQ_FOREACH(op, &l->ops, link)
    {
        if (strcmp(op->id, id) == 0)
            return op;
    }
    return NULL;
}

/* ---- ends ---- */

void cn_op_end(struct cn_op *op, enum cn_store_outcome outcome, const struct cn_err *err)
{
    op->pending = false;
    op->out.outcome = outcome;
    if (err != NULL)
        op->out.err = *err;
    else if (op->out.err.code != 0)
        op->out.err = (struct cn_err)CN_ERR_INIT;
    if (op->answer == NULL)
        return;
    op->answer->outcome = outcome;
    op->answer->err = op->out.err;
}

bool cn_op_try_again(const struct cn_op *op, int64_t now_ns, int64_t patience_ns)
{
    enum cn_store_outcome o = op->out.outcome;

    switch (op->kind) {
    case CN_OP_END:
    case CN_OP_DELIVERY:
        return o != CN_STORE_OK && o != CN_STORE_WAS_FINAL && o != CN_STORE_UNKNOWN;
    case CN_OP_RESULT:
        return o == CN_STORE_RETRY && now_ns - op->first_ns < patience_ns;
    default:
        return false;
    }
}

enum cn_store_outcome cn_store_outcome_of_errno(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
        return CN_STORE_NO_ROOM;
    case EIO:
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case EAGAIN:
    case EINTR:
        return CN_STORE_RETRY;
    default:
        return CN_STORE_REFUSED;
    }
}
