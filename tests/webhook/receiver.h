/* A receiver of webhooks on a loop of its own, which the test turns: a small HTTP server that takes
 * POSTs, keeps them, and answers as it is told. */
#ifndef CN_TESTS_WEBHOOK_RECEIVER_H
#define CN_TESTS_WEBHOOK_RECEIVER_H

#include "base/base.h"

#include <uv.h>

enum {
    RECEIVER_KEPT = 64,
    RECEIVER_BY_PATH =
        -1 /* a status: the path begins with it, /200, /429, …; /hang gets none. After
                             /200/kept the connection stays open */
};

struct receiver {
    uv_loop_t loop;
    uv_tcp_t listener;
    int port;
    int retry_after_s;   /* in the answers */
    int status;          /* of the answers; 0: none */
    int open, most_open; /* connections with a request that has no answer yet */
    int n;               /* requests */
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
