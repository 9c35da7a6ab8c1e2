/* Which captured graphs a plan keeps: one for each set of buffers, the oldest goes first.
 *
 * This is the record only. run.c captures and launches; memory.c drops all of them when the device
 * has no room. */
#include "base/base.h"
#include "backend/cuda/cuda_priv.h"
#include "base/mem.h"

#include <string.h>

size_t cuda_graph_addresses(const struct cuda_plan *p)
{
    return (size_t)(p->g->n_inputs + p->g->n_outputs);
}

static void drop_graph(struct cuda_graph *g)
{
    if (g->exec != NULL)
        (void)cudaGraphExecDestroy(g->exec); /* when its last launch has run */
    g->exec = NULL;
}

void cuda_plan_drop_graphs(struct cuda_plan *p)
{
    for (int i = 0; i < CUDA_GRAPHS; i++)
        drop_graph(&p->graph[i]);
}

/* The slot for this run's buffers; *ret_new: it was not known, and now is. */
struct cuda_graph *cuda_graph_find(struct cuda_plan *p, bool *ret_new)
{
    struct cuda_graph *oldest = &p->graph[0];
    size_t bytes = cuda_graph_addresses(p) * sizeof(*p->address);

    *ret_new = false;
    for (int i = 0; i < CUDA_GRAPHS; i++) {
        struct cuda_graph *g = &p->graph[i];

        if (g->address != NULL && g->arena_age == p->q->arena_age &&
            memcmp(g->address, p->address, bytes) == 0)
            return g;
        if (g->address == NULL || (oldest->address != NULL && g->used < oldest->used))
            oldest = g;
    }
    drop_graph(oldest);
    if (oldest->address == NULL)
        oldest->address = cn_xcalloc(cuda_graph_addresses(p) + 1, sizeof(*oldest->address));
    memcpy(oldest->address, p->address, bytes);
    oldest->arena_age = p->q->arena_age;
    *ret_new = true;
    return oldest;
}

/* Not those of a queue that is in use: a graph of it may be on its way to the device now. */
void cuda_graphs_drop(struct cuda_backend *b)
{
    pthread_mutex_lock(&b->plans_lock);
    for (struct cuda_plan *p = b->plans; p != NULL; p = p->next)
        if (pthread_mutex_trylock(&p->q->lock) == 0) {
            cuda_plan_drop_graphs(p);
            pthread_mutex_unlock(&p->q->lock);
        }
    pthread_mutex_unlock(&b->plans_lock);
}
