/* Connections: each phase of one has a deadline of its own. "Silent for so long" would not do,
 * because one byte a second is no silence: a head has to be complete in time, a body has to arrive
 * at a rate. How an answer goes out is watched by sender.c. */
#include "base/base.h"
#include "http/core/conn.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <sys/socket.h>

enum {
    BODY_GRACE_S = 10, /* a slow body may start slowly */
    BODY_CHECK_S = 5,
    BODY_MIN_RATE = 1024 /* bytes per second after that */
};

static void on_conn_closed(uv_handle_t *h)
{
    struct cn_conn *conn = h->data;

    conn->core->refs--;
    free(conn);
}

void cn_conn_cut(struct cn_conn *conn)
{
    shutdown(conn->fd, SHUT_RDWR);
}

/* Milliseconds until the next look at a body that arrives; 0: it is too slow, or took too long. */
static uint64_t body_may_take(const struct cn_conn *conn)
{
    int64_t ms = (cn_now_ns() - conn->since_ns) / 1000000 + 1; /* timers may be early by less */
    int64_t left = conn->core->o.body_timeout_s * INT64_C(1000) - ms;
    int64_t counted = ms - BODY_GRACE_S * INT64_C(1000) - 1000;

    if (left <= 0 || (counted > 0 && conn->body_bytes < (size_t)counted * BODY_MIN_RATE / 1000))
        return 0;
    return (uint64_t)CN_MIN(left, BODY_CHECK_S * INT64_C(1000));
}

static void ring_at(struct cn_conn *conn, uint64_t at_ms);

static void on_timer(uv_timer_t *t)
{
    struct cn_conn *conn = t->data;
    uint64_t now = uv_now(t->loop);

    if (conn->on_due != NULL && conn->due_ms > now)
        ring_at(conn, conn->due_ms);
    else if (conn->on_due != NULL)
        conn->on_due(conn);
}

static void ring_at(struct cn_conn *conn, uint64_t at_ms)
{
    uint64_t now = uv_now(conn->timer.loop);

    conn->rings_ms = at_ms;
    uv_timer_start(&conn->timer, on_timer, at_ms - CN_MIN(now, at_ms), 0);
}

/* A connection changes its deadline several times for each request, and nearly always to a later
 * one: the timer stays as it is then, and is set anew when it rings. */
void cn_conn_alarm(struct cn_conn *conn, cn_alarm_fn on_due, uint64_t ms)
{
    conn->on_due = on_due;
    conn->due_ms = uv_now(conn->timer.loop) + ms;
    if (on_due != NULL &&
        (!uv_is_active((uv_handle_t *)&conn->timer) || conn->rings_ms > conn->due_ms))
        ring_at(conn, conn->due_ms);
}

static void on_deadline(struct cn_conn *conn)
{
    uint64_t more = conn->phase == CN_PHASE_BODY ? body_may_take(conn) : 0;

    if (more > 0) {
        cn_conn_alarm(conn, on_deadline, more);
        return;
    }
    if (conn->phase != CN_PHASE_IDLE)
        cn_metric_inc(conn->core->m.rejected, 1, "timeout");
    cn_log(CN_LOG_DEBUG, "http.deadline", "connection was too slow", "phase=%d", (int)conn->phase);
    cn_conn_cut(conn);
}

void cn_conn_phase(struct cn_conn *conn, enum cn_phase phase)
{
    const struct cn_core_options *o = &conn->core->o;
    int seconds[] = {
        [CN_PHASE_HEAD] = o->header_timeout_s,
        [CN_PHASE_BODY] = CN_MIN(BODY_GRACE_S, o->body_timeout_s),
        [CN_PHASE_WAIT] = 0,
        [CN_PHASE_SEND] = 0,
        [CN_PHASE_STREAM] = 0,
        [CN_PHASE_IDLE] = o->idle_timeout_s,
    };

    conn->phase = phase;
    conn->since_ns = cn_now_ns();
    cn_conn_alarm(conn, seconds[phase] == 0 ? NULL : on_deadline, (uint64_t)seconds[phase] * 1000);
}

struct cn_conn *cn_conn_open(struct cn_core *core, struct cn_listener *l, int fd)
{
    struct cn_conn *conn = cn_xcalloc(1, sizeof(*conn));

    conn->core = core;
    conn->listener = l;
    conn->fd = fd;
    uv_timer_init(core->o.loop, &conn->timer);
    conn->timer.data = conn;
    conn->next = core->conns;
    if (core->conns != NULL)
        core->conns->prev = conn;
    core->conns = conn;
    core->n_conns++;
    core->refs++;
    cn_conn_phase(conn, CN_PHASE_IDLE);
    return conn;
}

void cn_conn_close(struct cn_conn *conn)
{
    struct cn_core *core = conn->core;

    if (conn->prev != NULL)
        conn->prev->next = conn->next;
    else
        core->conns = conn->next;
    if (conn->next != NULL)
        conn->next->prev = conn->prev;
    core->n_conns--;
    if (conn->is_listened)
        cn_hangup_remove(&core->hangup, conn->fd);
    uv_close((uv_handle_t *)&conn->timer, on_conn_closed);
}
