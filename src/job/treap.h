/* Ordered set of intrusive nodes with ranks and sums: a treap (Seidel and Aragon 1996).
 *
 * One thread. A node stands in at most one treap. Order is by key, then by seq, so that equal keys
 * keep the order of their numbers. Insertion, removal, the first node, a node's rank and the sum of
 * the weights before it take O(log n) expected; nothing is allocated.
 *
 *     cn_treap_add(&t, &job->order, key, seq, weight);
 *     job = CN_TREAP_OF(cn_treap_first(&t), struct cn_job, order);
 *     n = cn_treap_before(&t, &job->order, &sum);           -- nodes before it, and their weights
 *     cn_treap_remove(&t, &job->order);
 */
#ifndef CN_JOB_TREAP_H
#define CN_JOB_TREAP_H

#include "base/base.h"

#include <stddef.h>

struct cn_treap_node {
    struct cn_treap_node *up, *child[2];
    double key, weight, sum; /* sum: of the weights in this subtree */
    uint64_t seq;
    uint32_t heap; /* random; a parent's is the largest of its subtree */
    uint32_t n;    /* nodes in this subtree; 0: stands in no treap */
};

struct cn_treap {
    struct cn_treap_node *root;
    uint64_t draw; /* state of the generator of heap numbers */
};

#define CN_TREAP_OF(node, type, member) ((type *)(void *)((char *)(node)-offsetof(type, member)))

/* The node must stand in no treap: all zero, or removed. */
void cn_treap_add(struct cn_treap *t, struct cn_treap_node *node, double key, uint64_t seq,
                  double weight);
void cn_treap_remove(struct cn_treap *t, struct cn_treap_node *node);
bool cn_treap_has(const struct cn_treap_node *node);

/* NULL when there is none. */
struct cn_treap_node *cn_treap_first(const struct cn_treap *t);
struct cn_treap_node *cn_treap_next(const struct cn_treap_node *node);

uint32_t cn_treap_count(const struct cn_treap *t);
double cn_treap_sum(const struct cn_treap *t);

/* How many nodes come before node, which is in t; *ret_sum (may be NULL): their weights. */
uint32_t cn_treap_before(const struct cn_treap *t, const struct cn_treap_node *node,
                         double *ret_sum);

#endif
