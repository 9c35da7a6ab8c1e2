/* A receiver of webhooks. */
#include "base/base.h"
#include "receiver.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { REQUEST_MAX = 65536 };

struct peer {
    struct receiver *r;
    uv_tcp_t tcp;
    size_t len;
    bool complete, answered;
    uv_write_t write;
    char out[256], in[REQUEST_MAX];
};

static void on_closed(uv_handle_t *h)
{
    free(h->data);
}

static void close_peer(struct peer *p)
{
    if (!uv_is_closing((uv_handle_t *)&p->tcp))
        uv_close((uv_handle_t *)&p->tcp, on_closed);
}

static void on_written(uv_write_t *w, int status)
{
    struct peer *p = w->data;

    (void)status;
    p->r->open--;
    if (strstr(p->in, "/kept ") == NULL) {
        close_peer(p);
        return;
    }
    p->len = 0;
    p->complete = p->answered = false;
}

static void answer(struct peer *p, int status)
{
    uv_buf_t b;

    if (status == 0 || p->answered)
        return;
    p->answered = true;
    snprintf(p->out, sizeof(p->out),
             "HTTP/1.1 %d X\r\nRetry-After: %d\r\nLocation: /200\r\nContent-Length: 2\r\n\r\nok",
             status, p->r->retry_after_s);
    b = uv_buf_init(p->out, (unsigned)strlen(p->out));
    p->write.data = p;
    uv_write(&p->write, (uv_stream_t *)&p->tcp, &b, 1, on_written);
}

static void give_room(uv_handle_t *h, size_t wanted, uv_buf_t *ret)
{
    struct peer *p = h->data;

    (void)wanted;
    *ret = uv_buf_init(p->in + p->len, (unsigned)(REQUEST_MAX - 1 - p->len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct peer *p = stream->data;
    const char *end, *length;
    int status;

    (void)buf;
    if (n < 0) {
        close_peer(p);
        return;
    }
    p->len += (size_t)n;
    p->in[p->len] = '\0';
    end = strstr(p->in, "\r\n\r\n");
    length = strstr(p->in, "Content-Length: ");
    if (p->complete || end == NULL || length == NULL ||
        p->len < (size_t)(end + 4 - p->in) + strtoul(length + 16, NULL, 10))
        return;
    p->complete = true;
    CN_ASSERT(p->r->n < RECEIVER_KEPT);
    p->r->request[p->r->n++] = cn_xstrdup(p->in);
    p->r->open++;
    p->r->most_open = CN_MAX(p->r->most_open, p->r->open);
    if (p->r->status != RECEIVER_BY_PATH)
        answer(p, p->r->status);
    else if (sscanf(p->in, "POST /%d", &status) == 1)
        answer(p, status);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct peer *p = cn_xcalloc(1, sizeof(*p));

    (void)status;
    p->r = listener->data;
    uv_tcp_init(listener->loop, &p->tcp);
    p->tcp.data = p;
    uv_accept(listener, (uv_stream_t *)&p->tcp);
    uv_read_start((uv_stream_t *)&p->tcp, give_room, on_read);
}

void receiver_start(struct receiver *r)
{
    struct sockaddr_in a;
    int len = sizeof(a);

    memset(r, 0, sizeof(*r));
    r->status = 200;
    uv_loop_init(&r->loop);
    uv_tcp_init(&r->loop, &r->listener);
    r->listener.data = r;
    uv_ip4_addr("127.0.0.1", 0, &a);
    uv_tcp_bind(&r->listener, (struct sockaddr *)&a, 0);
    uv_tcp_getsockname(&r->listener, (struct sockaddr *)&a, &len);
    r->port = ntohs(a.sin_port);
    CN_ASSERT(uv_listen((uv_stream_t *)&r->listener, 64, on_connection) == 0);
}

static void end_any(uv_handle_t *h, void *arg)
{
    struct receiver *r = arg;

    if (!uv_is_closing(h))
        uv_close(h, h == (uv_handle_t *)&r->listener ? NULL : on_closed);
}

void receiver_stop(struct receiver *r)
{
    uv_walk(&r->loop, end_any, r);
    uv_run(&r->loop, UV_RUN_DEFAULT);
    CN_ASSERT(uv_loop_close(&r->loop) == 0);
    for (int i = 0; i < r->n; i++)
        free(r->request[i]);
}

void receiver_turn(struct receiver *r)
{
    uv_run(&r->loop, UV_RUN_NOWAIT);
}

static void answer_any(uv_handle_t *h, void *arg)
{
    const int *status = arg;
    struct peer *p = h->data;

    if (h->type == UV_TCP && (void *)p != (void *)((struct receiver *)h->loop->data) &&
        !uv_is_closing(h) && p->complete)
        answer(p, *status);
}

void receiver_answer(struct receiver *r, int status)
{
    r->loop.data = r;
    uv_walk(&r->loop, answer_any, &status);
}

const char *receiver_field(const struct receiver *r, int i, const char *name)
{
    static char value[256];
    const char *p = strcasestr(r->request[i], name);

    p = p == NULL ? "" : p + strlen(name) + 2;
    snprintf(value, sizeof(value), "%.*s", (int)strcspn(p, "\r\n"), p);
    return value;
}

const char *receiver_body(const struct receiver *r, int i)
{
    return strstr(r->request[i], "\r\n\r\n") + 4;
}
