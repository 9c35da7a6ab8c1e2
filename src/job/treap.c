/* A balanced tree by random priorities whose nodes know the number and the sum of what is below
 * them: the queue asks for ranks and for the cost of all that comes before. */
#include "base/base.h"
#include "job/treap.h"

/* xorshift64*: the shape of the tree needs no better numbers. */
static uint32_t draw(struct cn_treap *t)
{
    t->draw += t->draw == 0;
    t->draw ^= t->draw >> 12;
    t->draw ^= t->draw << 25;
    t->draw ^= t->draw >> 27;
    return (uint32_t)((t->draw * UINT64_C(0x2545f4914f6cdd1d)) >> 32);
}

static bool precedes(const struct cn_treap_node *a, const struct cn_treap_node *b)
{
    return a->key < b->key || (!(b->key < a->key) && a->seq < b->seq);
}

static void update(struct cn_treap_node *x)
{
    x->n = 1;
    x->sum = x->weight;
    for (int i = 0; i < 2; i++) {
        if (x->child[i] == NULL)
            continue;
        x->n += x->child[i]->n;
        x->sum += x->child[i]->sum;
    }
}

/* Puts to in the place of from, seen from above. */
static void hang(struct cn_treap *t, struct cn_treap_node *from, struct cn_treap_node *to)
{
    struct cn_treap_node *up = from->up;

    if (up == NULL)
        t->root = to;
    else
        up->child[up->child[1] == from] = to;
    if (to != NULL)
        to->up = up;
}

/* x takes its parent's place, and the parent becomes its child. */
static void rotate_up(struct cn_treap *t, struct cn_treap_node *x)
{
    struct cn_treap_node *p = x->up;
    int side = p->child[1] == x;
    struct cn_treap_node *inner = x->child[!side];

    hang(t, p, x);
    p->child[side] = inner;
    if (inner != NULL)
        inner->up = p;
    x->child[!side] = p;
    p->up = x;
    update(p);
    update(x);
}

static void update_path(struct cn_treap_node *x)
{
    for (; x != NULL; x = x->up)
        update(x);
}

void cn_treap_add(struct cn_treap *t, struct cn_treap_node *node, double key, uint64_t seq,
                  double weight)
{
    struct cn_treap_node *p = NULL, **at = &t->root;

    CN_ASSERT(node->n == 0);
    *node = (struct cn_treap_node){
        .key = key, .seq = seq, .weight = weight, .sum = weight, .n = 1, .heap = draw(t)};
    while (*at != NULL) {
        p = *at;
        at = &p->child[precedes(p, node)];
    }
    *at = node;
    node->up = p;
    update_path(p);
    while (node->up != NULL && node->up->heap < node->heap)
        rotate_up(t, node);
}

void cn_treap_remove(struct cn_treap *t, struct cn_treap_node *node)
{
    struct cn_treap_node *up;

    CN_ASSERT(node->n != 0);
    while (node->child[0] != NULL && node->child[1] != NULL)
        rotate_up(t, node->child[node->child[1]->heap > node->child[0]->heap]);
    up = node->up;
    hang(t, node, node->child[node->child[0] == NULL]);
    update_path(up);
    node->n = 0;
}

bool cn_treap_has(const struct cn_treap_node *node)
{
    return node->n != 0;
}

struct cn_treap_node *cn_treap_first(const struct cn_treap *t)
{
    struct cn_treap_node *x = t->root;

    while (x != NULL && x->child[0] != NULL)
        x = x->child[0];
    return x;
}

struct cn_treap_node *cn_treap_next(const struct cn_treap_node *node)
{
    struct cn_treap_node *x = node->child[1];

    if (x == NULL) {
        while (node->up != NULL && node->up->child[1] == node)
            node = node->up;
        return node->up;
    }
    while (x->child[0] != NULL)
        x = x->child[0];
    return x;
}

uint32_t cn_treap_count(const struct cn_treap *t)
{
    return t->root == NULL ? 0 : t->root->n;
}

double cn_treap_sum(const struct cn_treap *t)
{
    return t->root == NULL ? 0 : t->root->sum;
}

uint32_t cn_treap_before(const struct cn_treap *t, const struct cn_treap_node *node,
                         double *ret_sum)
{
    const struct cn_treap_node *left = node->child[0];
    uint32_t n = left == NULL ? 0 : left->n;
    double sum = left == NULL ? 0 : left->sum;

    (void)t;
    for (const struct cn_treap_node *x = node; x->up != NULL; x = x->up) {
        if (x->up->child[1] != x)
            continue;
        left = x->up->child[0];
        n += 1 + (left == NULL ? 0 : left->n);
        sum += x->up->weight + (left == NULL ? 0 : left->sum);
    }
    if (ret_sum != NULL)
        *ret_sum = sum;
    return n;
}
