/* Connections. Loop thread only. One lives from its first byte to its close; each phase of it has a
 * deadline. */
#ifndef CN_HTTP_CORE_CONN_H
#define CN_HTTP_CORE_CONN_H

#include "base/base.h"
#include "http/core/core.h"

struct cn_listener;

enum cn_phase {
    CN_PHASE_HEAD,
    CN_PHASE_BODY,
    CN_PHASE_WAIT,
    CN_PHASE_SEND,   /* sender.c looks after it */
    CN_PHASE_STREAM, /* and after this one */
    CN_PHASE_IDLE
};

typedef void (*cn_alarm_fn)(struct cn_conn *conn);

struct cn_conn {
    struct cn_core *core;
    struct cn_listener *listener;
    bool admin;            /* of the admin listener */
    bool is_unix;          /* over a Unix socket */
    bool is_last_listener; /* what listens for it has stopped: the process after this one does */
    struct cn_request *request; /* the current one; NULL: none */
    uv_timer_t timer;           /* rings at due_ms, or before and looks again */
    uint64_t due_ms, rings_ms;  /* by uv_now() */
    cn_alarm_fn on_due;         /* NULL: nothing is due */
    int fd;
    char peer[64]; /* the address, as `access` writes it; "": before the first request */
    enum cn_phase phase;
    int64_t since_ns;  /* start of the phase */
    size_t body_bytes; /* of this request so far */
    int requests;
    bool is_listened; /* core's hangup knows it */
    bool has_hung_up; /* the other end, at some time since */
    struct cn_recv *recv; /* the transport's: what looks at the bytes first */
    /* Of the answer that is sent: */
    bool is_counted;            /* acked_base is known */
    uint64_t acked_base, taken; /* the client's side, before it and at the last look */
    int64_t taken_ns;
    struct cn_conn *prev, *next;
};

struct cn_conn *cn_conn_open(struct cn_core *core, struct cn_listener *l, int fd);
void cn_conn_close(struct cn_conn *conn);

/* Ends the connection; whoever owns the descriptor sees it, and cleans up. */
void cn_conn_cut(struct cn_conn *conn);

void cn_conn_phase(struct cn_conn *conn, enum cn_phase phase);

/* Calls on_due in ms milliseconds, once, instead of what was to be called before; NULL: nothing. */
void cn_conn_alarm(struct cn_conn *conn, cn_alarm_fn on_due, uint64_t ms);

#endif
