/* What an engine tells the loop, from any thread: ends of operations, and of its own life. */
#include "base/base.h"
#include "store/store_priv.h"

#include <string.h>

void cn_store_tell_all(struct cn_store *s, struct cn_op_list *l)
{
    if (l->n == 0)
        return;
    uv_mutex_lock(&s->lock);
    cn_op_append(&s->done, l);
    uv_mutex_unlock(&s->lock);
    uv_async_send(&s->async);
}

void cn_store_tell(struct cn_store *s, struct cn_op *op)
{
    struct cn_op_list one;

    cn_op_list_init(&one);
    cn_op_push(&one, op);
    cn_store_tell_all(s, &one);
}

void cn_store_tell_open(struct cn_store *s, int rc, const struct cn_err *err)
{
    uv_mutex_lock(&s->lock);
    s->opened = true;
    s->open_err = *err;
    s->facts.failing = false;
    s->facts.trouble[0] = '\0';
    if (s->facts.phase == CN_STORE_OPENING)
        s->facts.phase = rc == CN_OK ? CN_STORE_READY : CN_STORE_BROKEN;
    if (rc < 0)
        memcpy(s->facts.trouble, err->msg, sizeof(err->msg));
    uv_mutex_unlock(&s->lock);
    uv_async_send(&s->async);
}

void cn_store_tell_trouble(struct cn_store *s, const struct cn_err *err)
{
    uv_mutex_lock(&s->lock);
    s->facts.failing = true;
    memcpy(s->facts.trouble, err->msg, sizeof(err->msg));
    uv_mutex_unlock(&s->lock);
}

void cn_store_tell_ended(struct cn_store *s)
{
    uv_mutex_lock(&s->lock);
    s->ended = true;
    uv_mutex_unlock(&s->lock);
    uv_async_send(&s->async);
}
