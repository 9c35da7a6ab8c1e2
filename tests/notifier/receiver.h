/* A receiver of webhooks on a loop of its own, which the test turns. */
#ifndef CN_TESTS_NOTIFIER_RECEIVER_H
#define CN_TESTS_NOTIFIER_RECEIVER_H

#include "base/base.h"

#include <uv.h>

enum { RECEIVER_KEPT = 64 };

struct receiver {
    uv_loop_t loop;
    uv_tcp_t listener;
    int port;
    int status; /* of the answers; 0: none */
    int n;      /* requests */
    char *request[RECEIVER_KEPT];
};

void receiver_start(struct receiver *r);
void receiver_stop(struct receiver *r);
void receiver_turn(struct receiver *r);

/* Answers the requests that have none yet. */
void receiver_answer(struct receiver *r, int status);

/* The value of a field of request i; "" when there is none. Lives until the next call. */
const char *receiver_field(const struct receiver *r, int i, const char *name);
const char *receiver_body(const struct receiver *r, int i);

#endif
