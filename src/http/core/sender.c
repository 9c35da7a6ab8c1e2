/* How an answer goes out: pulled from its source whenever the socket has room, and cut when its
 * reader has stopped.
 *
 * DESIGN. The transport asks for bytes; with nothing to say the connection is suspended, and the
 * source's wake resumes it. So an answer holds at most one block, and what the kernel holds of a
 * stream is bounded by a send buffer made small, so that a slow reader of events misses what may be
 * missed instead of getting it late.
 *
 * Progress is what the other end has acknowledged, not what was written: the kernel takes megabytes
 * at once, and a slow but steady reader of a large picture then sees no write for minutes. Who
 * acknowledges nothing for stall_timeout_s although there is something to take is cut, and so is
 * who takes less than MIN_RATE on average: each holds a connection, and perhaps a picture.
 */
#include "base/base.h"
#include "http/core/sender.h"
#include "base/clock.h"
#include "base/log.h"
#include "http/core/conn.h"
#include "http/core/core.h"
#include "http/core/tcp_progress.h"

#include <string.h>
#include <sys/socket.h>

enum {
    SEND_BUFFER = 64 * 1024, /* of a stream, in the kernel, which doubles it */
    STREAM_LOOK_MS = 1000,
    LOOK_MS = 5000,
    MIN_RATE = 512, /* bytes per second, counted after a minute */
    HEARTBEAT_S = 15,
    HEAD_BYTES = 78, /* status line, Date, Content-Length, empty line */
    COUNTED_FROM = 64 * 1024 /* bytes of an answer whose progress is worth a look at its start */
};

static bool is_stream(const struct cn_request *q)
{
    return q->conn->phase == CN_PHASE_STREAM;
}

/* ---- the reader ---- */

/* About. */
static uint64_t head_bytes(const struct cn_request *q)
{
    uint64_t n = HEAD_BYTES;

    for (int i = 0; i < q->n_fields; i++)
        n += strlen(q->field[i].name) + strlen(q->field[i].value) + 4;
    return n;
}

uint64_t cn_sender_taken(const struct cn_request *q, uint64_t handed)
{
    int unsent = cn_unsent_bytes(q->conn->fd);
    uint64_t acked;

    if (q->conn->is_counted && cn_acked_bytes(q->conn->fd, &acked))
        return CN_MIN(acked - CN_MIN(acked, q->conn->acked_base + head_bytes(q)), handed);
    return handed - CN_MIN((uint64_t)unsent, handed);
}

/* A number that grows when the client takes something; *ret_all: nothing waits to be taken. */
static uint64_t progress(const struct cn_request *q, bool *ret_all)
{
    int unsent = cn_unsent_bytes(q->conn->fd);
    uint64_t acked;

    *ret_all = unsent == 0 && q->suspended;
    if (cn_acked_bytes(q->conn->fd, &acked))
        return acked;
    return q->bytes_out - CN_MIN((uint64_t)unsent, q->bytes_out);
}

static void cut(struct cn_request *q)
{
    cn_metric_inc(q->core->m.streams_cut, 1);
    cn_log(CN_LOG_INFO, "http.stall", "the reader of an answer has stopped", "request_id=%s",
           q->id);
    q->gone = true;
    cn_request_resume(q);
    cn_conn_cut(q->conn);
}

static bool too_slow(const struct cn_request *q, uint64_t taken, int64_t now)
{
    int64_t s = (now - q->conn->since_ns) / CN_SECOND_NS - 60;

    return !is_stream(q) && s > 0 && q->conn->is_counted &&
           taken - CN_MIN(taken, q->conn->acked_base) < (uint64_t)s * MIN_RATE;
}

static void look(struct cn_conn *conn)
{
    struct cn_request *q = conn->request;
    int64_t now = cn_now_ns();
    uint64_t taken;
    bool all;

    if (q == NULL)
        return;
    taken = progress(q, &all);
    if (all || taken != conn->taken)
        conn->taken_ns = now;
    conn->taken = taken;
    if (q->gone) {
        cn_conn_cut(conn);
    } else if (now - conn->taken_ns >= q->core->o.stall_timeout_s * CN_SECOND_NS ||
               too_slow(q, taken, now)) {
        cut(q);
    } else if (q->beat != NULL && now - q->given_ns >= HEARTBEAT_S * CN_SECOND_NS) {
        q->beat_due = true;
        cn_request_resume(q);
    }
    cn_conn_alarm(conn, look, is_stream(q) ? STREAM_LOOK_MS : LOOK_MS);
}

/* ---- sending ---- */

static void wake(void *arg)
{
    cn_request_resume(arg);
}

void cn_sender_begin(struct cn_request *q)
{
    struct cn_conn *conn = q->conn;
    int64_t length = q->answer == NULL ? 0 : q->answer->length;
    int size = SEND_BUFFER;

    q->sending = true;
    q->given_ns = cn_now_ns();
    cn_conn_phase(conn, length < 0 ? CN_PHASE_STREAM : CN_PHASE_SEND);
    conn->taken = conn->acked_base = 0;
    conn->taken_ns = q->given_ns;
    conn->is_counted =
        (length < 0 || length > COUNTED_FROM) && cn_acked_bytes(conn->fd, &conn->acked_base);
    conn->taken = conn->acked_base;
    cn_conn_alarm(conn, look, length < 0 ? STREAM_LOOK_MS : LOOK_MS);
    if (q->answer != NULL) {
        q->answer->wake = wake;
        q->answer->arg = q;
    }
    if (length >= 0)
        return;
    setsockopt(conn->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    cn_request_watch(q);
}

ssize_t cn_sender_pull(struct cn_request *q, void *buf, size_t max)
{
    ssize_t n;

    if (q->gone)
        return CN_SOURCE_BROKEN;
    n = cn_source_pull(q->answer, buf, max);
    if (n == CN_SOURCE_WAIT && q->beat_due) { /* between two pieces: events wait nowhere else */
        n = (ssize_t)CN_MIN(strlen(q->beat), max);
        memcpy(buf, q->beat, (size_t)n);
    }
    q->beat_due = false;
    if (n == CN_SOURCE_WAIT) {
        cn_request_suspend(q, false);
    } else if (n > 0) {
        q->bytes_out += (uint64_t)n;
        q->given_ns = cn_now_ns();
    }
    return n;
}
