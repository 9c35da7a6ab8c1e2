/* Operations on their way between the loop and the thread: lists of them, and their memory. */
#include "base/base.h"
#include "store/store_priv.h"

#include <stdlib.h>

static const char *const state_names[CN_STORE_STATE_COUNT] = {"queued", "running",   "succeeded",
                                                              "failed", "cancelled", "expired"};
const struct cn_enum cn_enum_store_state = {"state", state_names, CN_STORE_STATE_COUNT};

void cn_op_list_init(struct cn_op_list *l)
{
    l->head = NULL;
    l->tail = &l->head;
    l->n = 0;
}

void cn_op_push(struct cn_op_list *l, struct cn_op *op)
{
    op->next = NULL;
    *l->tail = op;
    l->tail = &op->next;
    l->n++;
}

struct cn_op *cn_op_pop(struct cn_op_list *l)
{
    struct cn_op *op = l->head;

    if (op == NULL)
        return NULL;
    l->head = op->next;
    if (l->head == NULL)
        l->tail = &l->head;
    l->n--;
    return op;
}

void cn_op_free(struct cn_op *op)
{
    free(op->job);
    free(op->model);
    cn_buf_release(&op->light);
    cn_buf_release(&op->lens);
    cn_buf_release(&op->payload);
    free(op->key_tenant);
    free(op->key_route);
    free(op->key);
    free(op->data);
    free(op->path);
    free(op);
}
