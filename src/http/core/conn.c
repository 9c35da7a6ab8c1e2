/* Connections: each phase of one has an absolute deadline, because MHD's own timeout only knows
 * silence, and one byte a second is no silence. */
#include "base/base.h"
#include "http/http_priv.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#include <stdlib.h>
#include <sys/socket.h>

enum {
    BODY_GRACE_S = 10, /* a slow body may start slowly */
    BODY_CHECK_S = 5,
    BODY_MIN_RATE = 1024, /* bytes per second after that */
    SEND_MIN_RATE = 8192
};

static void on_conn_closed(uv_handle_t *h)
{
    struct cn_conn *conn = h->data;

    conn->e->s->refs--;
    free(conn);
}

/* The descriptor stays MHD's: it sees the end and cleans up. */
void cn_conn_cut(struct cn_conn *conn)
{
    shutdown(conn->fd, SHUT_RDWR);
}

/* Milliseconds until the next look at a body that arrives; 0: it is too slow, or took too long. */
static uint64_t body_may_take(const struct cn_conn *conn)
{
    int64_t ms = (cn_now_ns() - conn->since_ns) / 1000000 + 1; /* timers may be early by less */
    int64_t left = conn->e->s->o.body_timeout_s * INT64_C(1000) - ms;
    int64_t counted = ms - BODY_GRACE_S * INT64_C(1000) - 1000;

    if (left <= 0 || (counted > 0 && conn->body_bytes < (size_t)counted * BODY_MIN_RATE / 1000))
        return 0;
    return (uint64_t)CN_MIN(left, BODY_CHECK_S * INT64_C(1000));
}

static void on_deadline(uv_timer_t *t)
{
    struct cn_conn *conn = t->data;
    uint64_t more = conn->phase == CN_PHASE_BODY ? body_may_take(conn) : 0;

    if (more > 0) {
        uv_timer_start(t, on_deadline, more, 0);
        return;
    }
    if (conn->phase != CN_PHASE_IDLE)
        cn_metric_inc(conn->e->s->m.rejected, 1, "timeout");
    cn_log(CN_LOG_DEBUG, "http.deadline", "connection was too slow", "phase=%d", (int)conn->phase);
    cn_conn_cut(conn);
}

void cn_conn_phase(struct cn_conn *conn, enum cn_phase phase)
{
    const struct cn_server_options *o = &conn->e->s->o;
    int seconds[] = {
        [CN_PHASE_HEAD] = o->header_timeout_s,
        [CN_PHASE_BODY] = CN_MIN(BODY_GRACE_S, o->body_timeout_s),
        [CN_PHASE_WAIT] = 0,
        [CN_PHASE_SEND] = o->stall_timeout_s + (int)(conn->send_bytes / SEND_MIN_RATE),
        [CN_PHASE_STREAM] = 0, /* stream.c looks after it */
        [CN_PHASE_IDLE] = o->idle_timeout_s,
    };

    conn->phase = phase;
    conn->since_ns = cn_now_ns();
    if (seconds[phase] == 0)
        uv_timer_stop(&conn->timer);
    else
        uv_timer_start(&conn->timer, on_deadline, (uint64_t)seconds[phase] * 1000, 0);
}

static void open_conn(struct cn_endpoint *e, struct MHD_Connection *c, void **slot)
{
    struct cn_server *s = e->s;
    struct cn_conn *conn = cn_xcalloc(1, sizeof(*conn));

    conn->e = e;
    conn->fd = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    uv_timer_init(s->o.loop, &conn->timer);
    conn->timer.data = conn;
    conn->next = s->conns;
    if (s->conns != NULL)
        s->conns->prev = conn;
    s->conns = conn;
    s->n_conns++;
    s->refs++;
    *slot = conn;
    cn_conn_phase(conn, CN_PHASE_IDLE);
}

static void close_conn(struct cn_conn *conn)
{
    struct cn_server *s = conn->e->s;

    if (conn->prev != NULL)
        conn->prev->next = conn->next;
    else
        s->conns = conn->next;
    if (conn->next != NULL)
        conn->next->prev = conn->prev;
    s->n_conns--;
    uv_close((uv_handle_t *)&conn->timer, on_conn_closed);
}

void cn_conn_notify(void *cls, struct MHD_Connection *c, void **slot,
                    enum MHD_ConnectionNotificationCode code)
{
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        open_conn(cls, c, slot);
    } else if (*slot != NULL) {
        close_conn(*slot);
        *slot = NULL;
    }
}
