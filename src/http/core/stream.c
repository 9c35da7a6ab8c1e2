/* Answers that are written as things happen: event streams, pictures in parts.
 *
 * DESIGN. MHD asks the reader for bytes whenever the socket has room. When there is nothing to say
 * the reader suspends the connection, and cn_stream_wake resumes it. So a stream holds at most one
 * piece (own, or a reference to text that all streams of a job share), and what MHD and the kernel
 * hold of it is bounded too: the connection's memory, and a send buffer made small. A reader that
 * is too slow misses what may be missed, because its source is asked again only when it has taken
 * the last piece.
 *
 * One timer for all streams: it sends heartbeats, and cuts streams whose client took nothing for
 * stall_timeout_s although there was something to take. MHD's own timeout is off for them.
 */
#include "base/base.h"
#include "http/http_priv.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/core/tcp_progress.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum {
    BLOCK = 4096,
    OWN_MAX = 64 << 20,      /* a picture as a part */
    OWN_KEEP = 16 * 1024,    /* memory of a piece that is kept for the next one */
    SEND_BUFFER = 64 * 1024, /* in the kernel, which doubles it */
    BEAT_MS = 1000,
    HEARTBEAT_S = 15
};

#define SECOND INT64_C(1000000000)

struct cn_stream {
    struct cn_request *q;
    const struct cn_stream_source *source;
    void *arg;
    struct cn_buf own;      /* the piece that is sent, unless it is */
    struct cn_text *shared; /* this one */
    size_t at;              /* bytes of it that are sent */
    bool waiting;           /* suspended: there is nothing to send */
    bool beat_due, ending, over;
    uint64_t given; /* bytes that MHD took */
    uint64_t taken; /* as the client's side tells, at the last look */
    int64_t given_ns, taken_ns;
    struct cn_stream *prev, *next;
};

void cn_text_unref(struct cn_text *t)
{
    if (t != NULL && --t->refs == 0)
        free(t);
}

struct cn_text *cn_text_take(struct cn_buf *b)
{
    struct cn_text *t = malloc(sizeof(*t) + b->len);

    if (t != NULL) {
        t->refs = 1;
        t->len = b->len;
        memcpy(t->data, b->data, b->len);
    }
    cn_buf_release(b);
    return t;
}

/* ---- sending ---- */

static void drop_piece(struct cn_stream *st)
{
    cn_text_unref(st->shared);
    st->shared = NULL;
    st->at = 0;
    if (st->own.cap > OWN_KEEP)
        cn_buf_release(&st->own);
    else
        cn_buf_clear(&st->own);
}

/* 1: there is a piece, 0: none now, negative: the end. */
static int next_piece(struct cn_stream *st)
{
    int rc;

    drop_piece(st);
    if (st->over)
        return -1;
    if (st->ending) {
        st->over = true;
        return cn_buf_adds(&st->own, st->source->bye, NULL) + 1;
    }
    rc = st->source->pull(st->arg, &st->own, &st->shared);
    if (rc < 0)
        st->over = true;
    if (rc == 0 && st->beat_due) {
        st->beat_due = false;
        cn_buf_adds(&st->own, st->source->beat, NULL);
        return 1;
    }
    return rc;
}

static void wait(struct cn_stream *st)
{
    st->waiting = true;
    st->q->suspended = true;
    st->q->e->s->n_suspended++;
    MHD_suspend_connection(st->q->c);
}

void cn_stream_wake(struct cn_stream *st)
{
    if (!st->waiting)
        return;
    st->waiting = false;
    st->q->suspended = false;
    st->q->e->s->n_suspended--;
    MHD_resume_connection(st->q->c);
    cn_mhd_wake(&st->q->e->mhd);
}

static ssize_t on_read(void *cls, uint64_t pos, char *buf, size_t max)
{
    struct cn_stream *st = cls;
    size_t len = st->shared != NULL ? st->shared->len : st->own.len, n;
    int rc;

    (void)pos;
    if (st->q->gone)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (st->at == len) {
        if ((rc = next_piece(st)) == 0) {
            wait(st);
            return 0;
        }
        if (rc < 0)
            return MHD_CONTENT_READER_END_OF_STREAM;
        len = st->shared != NULL ? st->shared->len : st->own.len;
    }
    n = CN_MIN(len - st->at, max);
    memcpy(buf, (st->shared != NULL ? st->shared->data : (char *)st->own.data) + st->at, n);
    st->at += n;
    st->given += n;
    st->given_ns = cn_now_ns();
    st->q->bytes_out += n;
    return (ssize_t)n;
}

/* ---- the timer ---- */

/* A number that grows when the client takes something; *ret_all: it has taken everything. */
static uint64_t taken_by_client(const struct cn_stream *st, bool *ret_all)
{
    int fd = st->q->conn->fd, unsent = cn_unsent_bytes(fd);
    uint64_t acked;

    *ret_all = st->waiting && unsent == 0;
    return cn_acked_bytes(fd, &acked) ? acked : st->given - (uint64_t)unsent;
}

static void look_after(struct cn_stream *st, int64_t now)
{
    struct cn_server *s = st->q->e->s;
    uint64_t taken;
    bool all;

    if (st->q->conn == NULL)
        return;
    taken = taken_by_client(st, &all);
    if (all || taken != st->taken)
        st->taken_ns = now;
    st->taken = taken;
    if (st->q->gone) {
        cn_conn_cut(st->q->conn);
    } else if (now - st->taken_ns >= s->o.stall_timeout_s * SECOND) {
        cn_metric_inc(s->m.streams_cut, 1);
        cn_log(CN_LOG_INFO, "http.stall", "the reader of a stream has stopped", "request_id=%s",
               st->q->id);
        st->q->gone = true;
        cn_conn_cut(st->q->conn);
        cn_stream_wake(st);
    } else if (st->source->beat != NULL && now - st->given_ns >= HEARTBEAT_S * SECOND) {
        st->beat_due = true;
        cn_stream_wake(st);
    }
}

static void on_beat(uv_timer_t *t)
{
    struct cn_server *s = t->data;
    int64_t now = cn_now_ns();

    for (struct cn_stream *st = s->streams; st != NULL; st = st->next)
        look_after(st, now);
}

/* ---- life ---- */

static void on_hangup(uv_poll_t *h, int status, int events)
{
    struct cn_request *q = h->data;

    (void)status;
    (void)events;
    uv_poll_stop(h);
    q->gone = true;
    if (q->stream != NULL)
        cn_stream_wake(q->stream);
}

static void link_stream(struct cn_stream *st)
{
    struct cn_server *s = st->q->e->s;

    st->next = s->streams;
    if (s->streams != NULL)
        s->streams->prev = st;
    s->streams = st;
    s->n_streams++;
    if (s->n_streams == 1)
        uv_timer_start(&s->beat, on_beat, BEAT_MS, BEAT_MS);
}

void cn_stream_release(struct cn_stream *st)
{
    struct cn_server *s = st->q->e->s;

    if (st->prev != NULL)
        st->prev->next = st->next;
    else
        s->streams = st->next;
    if (st->next != NULL)
        st->next->prev = st->prev;
    s->n_streams--;
    if (s->n_streams == 0)
        uv_timer_stop(&s->beat);
    st->q->stream = NULL;
    drop_piece(st);
    cn_buf_release(&st->own);
    free(st);
}

bool cn_streams_full(const struct cn_server *s)
{
    return s->n_streams >= s->o.max_streams;
}

void cn_streams_close(struct cn_server *s)
{
    for (struct cn_stream *st = s->streams; st != NULL; st = st->next) {
        st->ending = st->source->bye != NULL;
        cn_stream_wake(st);
    }
}

enum MHD_Result cn_stream_reply(struct cn_request *q, int status, const char *type,
                                const struct cn_stream_source *source, void *arg)
{
    struct cn_stream *st = cn_xcalloc(1, sizeof(*st));
    int size = SEND_BUFFER;
    enum MHD_Result rc;

    st->q = q;
    st->source = source;
    st->arg = arg;
    st->given_ns = st->taken_ns = cn_now_ns();
    st->ending = source->bye != NULL && q->e->s->is_draining && q->e->mhd.quiet;
    cn_buf_init(&st->own, OWN_MAX);
    q->stream = st;
    link_stream(st);
    q->close = true;
    rc = cn_reply_finish(
        q, status, type, 0,
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, on_read, st, NULL));
    if (rc != MHD_YES || q->conn == NULL)
        return rc;
    MHD_set_connection_option(q->c, MHD_CONNECTION_OPTION_TIMEOUT, 0U);
    setsockopt(q->conn->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    cn_conn_phase(q->conn, CN_PHASE_STREAM);
    cn_request_watch(q, on_hangup);
    return rc;
}
