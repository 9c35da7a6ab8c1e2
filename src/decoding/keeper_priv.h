/* Keeps one decoder started for the next picture, and takes the statuses of those that were killed:
 * on a thread of its own, so that no picture waits for an exec, or until memory is freed, and none
 * stays behind as a zombie. All but the thread's work is for one thread at a time. */
#ifndef CN_DECODING_KEEPER_PRIV_H
#define CN_DECODING_KEEPER_PRIV_H

#include "decoding/child_priv.h"

#include <pthread.h>

enum { CN_KEEPER_MOST = 16 };

struct cn_keeper {
    const struct cn_child_program *program;
    pthread_t thread;
    bool running;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t change;
    struct cn_child spare;
    bool wanted; /* a spare one, or it is being started */
    bool stop;
    pid_t killed[CN_KEEPER_MOST];
    int n;
};

/* The program stays the caller's. */
void cn_keeper_init(struct cn_keeper *k, const struct cn_child_program *program);

/* Ends the spare one, and waits for those that were killed. */
void cn_keeper_release(struct cn_keeper *k);

/* Has one started, unless there is one. Where that fails there is none to take. */
void cn_keeper_want(struct cn_keeper *k);

/* The spare one, which may not have said its HELLO yet. false: there is none. */
bool cn_keeper_take(struct cn_keeper *k, struct cn_child *ret);

/* Kills it and does not wait for its end, which tells nothing. */
void cn_keeper_retire(struct cn_keeper *k, struct cn_child *c);

#endif
