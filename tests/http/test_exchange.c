/* Requests through core without a socket: a transport of the test's own, handlers of its own. */
#include "base/base.h"
#include "base/log.h"
#include "base/metrics.h"
#include "http/core/answer.h"
#include "http/core/conn.h"
#include "http/core/core.h"
#include "http/core/exchange.h"
#include "http/core/sender.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <cmocka.h>

/* ---- the transport ---- */

struct fake {
    const char *header[16]; /* name, value, … */
    int suspended, resumed;
};

static const char *get_header(void *c, const char *name)
{
    const struct fake *f = c;

    for (int i = 0; f->header[i] != NULL; i += 2)
        if (strcasecmp(f->header[i], name) == 0)
            return f->header[i + 1];
    return NULL;
}

static const char *get_argument(void *c, const char *name)
{
    (void)c;
    (void)name;
    return NULL;
}

static void each_header(void *c, cn_header_fn fn, void *arg)
{
    const struct fake *f = c;

    for (int i = 0; f->header[i] != NULL; i += 2)
        fn(arg, f->header[i], f->header[i + 1]);
}

static void suspend(void *c)
{
    ((struct fake *)c)->suspended++;
}

static void resume(struct cn_request *q)
{
    ((struct fake *)q->c)->resumed++;
}

static void peer(void *c, char *text, size_t size)
{
    (void)c;
    snprintf(text, size, "test");
}

static const struct cn_transport transport = {get_header, get_argument, each_header,
                                              suspend,    resume,       peer};

/* ---- handlers ---- */

struct ctx {
    char seen[64]; /* which functions were called */
    bool ready;
};

static char last_seen[64];
static struct cn_request *current;

static void note(struct cn_request *q, const char *what)
{
    struct ctx *c = q->ctx;

    strcat(c->seen, what);
    strcpy(last_seen, c->seen);
}

static void admit(struct cn_request *q)
{
    note(q, "a");
    if (cn_request_header(q, "Refuse") != NULL)
        cn_answer_problem(q, CN_PROBLEM_NOT_ACCEPTABLE, "as asked", NULL);
}

static void wait_or_answer(struct cn_request *q)
{
    struct ctx *c = q->ctx;

    if (c->ready)
        cn_answer_text(q, 200, "text/plain", "here");
    else
        cn_request_suspend(q, false);
}

static void start(struct cn_request *q)
{
    current = q;
    note(q, "s");
    wait_or_answer(q);
}

static void go_on(struct cn_request *q)
{
    note(q, "r");
    wait_or_answer(q);
}

static void on_shutdown(struct cn_request *q)
{
    note(q, "x");
    ((struct ctx *)q->ctx)->ready = true;
    cn_request_resume(q);
}

static void dispose(struct cn_request *q)
{
    note(q, "d");
}

static void deaf(struct cn_request *q)
{
    note(q, "x"); /* and does nothing */
}

static int piece;

static int next_piece(void *arg, struct cn_source **ret)
{
    (void)arg;
    if (piece == 0)
        return 0;
    *ret = cn_source_bytes("piece", 5, NULL, NULL);
    piece--;
    return 1;
}

static void stream(struct cn_request *q)
{
    current = q;
    if (cn_request_reserve_stream(q))
        cn_answer_stream(q, "text/plain", cn_source_chain(-1, next_piece, NULL, NULL), "beat");
    else
        cn_answer_problem(q, CN_PROBLEM_OVERLOADED, NULL, NULL);
}

static const struct cn_handler waits = {sizeof(struct ctx), admit,  start, go_on,
                                        on_shutdown,        dispose};
static const struct cn_handler hangs = {sizeof(struct ctx), admit, start, go_on, deaf, dispose};
static const struct cn_handler streams = {sizeof(struct ctx), NULL, stream, go_on, deaf, dispose};

static void put_shape(const struct cn_problem *p, struct cn_buf *out)
{
    cn_buf_printf(out, NULL, "<%d %s>", p->status, p->detail == NULL ? "" : p->detail);
}

static const char *no_credentials(const struct cn_request *q)
{
    (void)q;
    return NULL;
}

static const struct cn_dialect plain = {"text/plain", put_shape, no_credentials, NULL, 0};
static const struct cn_dialect other = {"application/x-shape", put_shape, no_credentials, "Shape",
                                       0};

static const struct cn_route table[] = {
    {"/waits", CN_GET | CN_POST, &waits, &other, .takes_body = true},
    {"/hangs", CN_GET, &hangs, &other, .open = true},
    {"/streams", CN_GET, &streams, &other, .open = true},
    {"/closed", CN_GET, &waits, &other, .admins_only = true},
};

static void check_access(void *arg, struct cn_request *q)
{
    (void)arg;
    if (q->route != NULL && q->route->admins_only)
        cn_answer_problem(q, CN_PROBLEM_UNAUTHENTICATED, NULL, NULL);
}

/* ---- the rig ---- */

static uv_loop_t loop;
static struct cn_metrics *metrics;
static struct cn_core *core;
static struct cn_conn *conn;
static const struct cn_fault none;

static int set_up(void **state)
{
    struct cn_core_options o = {.loop = &loop,
                                .routes = {table, CN_LEN(table), &plain},
                                .access = check_access,
                                .max_body = 100,
                                .max_inflight = 150,
                                .max_outflight = 1000,
                                .max_connections = 10,
                                .max_streams = 1,
                                .stall_timeout_s = 60,
                                .header_timeout_s = 10,
                                .body_timeout_s = 10,
                                .idle_timeout_s = 10};

    (void)state;
    cn_log_init(&(struct cn_log_options){.level = CN_LOG_ERROR, .fd = 2});
    uv_loop_init(&loop);
    o.metrics = metrics = cn_metrics_new();
    core = cn_core_new(&o);
    conn = cn_conn_open(core, NULL, -1);
    last_seen[0] = '\0';
    piece = 0;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    cn_conn_close(conn);
    cn_core_stop(core);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_true(cn_core_gone(core));
    assert_int_equal(core->inflight, 0);
    assert_int_equal(core->out.bytes, 0);
    assert_int_equal(core->n_suspended, 0);
    assert_int_equal(core->n_streams, 0);
    cn_core_free(core);
    cn_metrics_free(metrics);
    assert_int_equal(uv_loop_close(&loop), 0);
    return 0;
}

static struct cn_request *begin(struct fake *f, const char *method, const char *path,
                                enum cn_exchange *ret)
{
    struct cn_request *q = cn_exchange_begin(conn, &transport, f, path);

    *ret = cn_exchange_head(q, path, method, &none);
    return q;
}

/* The answer's body; the request is over afterwards. */
static const char *finish(struct cn_request *q)
{
    static char text[1000];
    size_t at = 0;
    ssize_t n;

    while (q->answer != NULL && (n = cn_sender_pull(q, text + at, sizeof(text) - 1 - at)) > 0)
        at += (size_t)n;
    text[at] = '\0';
    cn_exchange_end(q, true);
    return text;
}

static const char *field(const struct cn_request *q, const char *name)
{
    for (int i = 0; i < q->n_fields; i++)
        if (strcmp(q->field[i].name, name) == 0)
            return q->field[i].value;
    return NULL;
}

/* ---- tests ---- */

static void a_request_waits_and_goes_on(void **state)
{
    struct fake f = {{NULL}, 0, 0};
    enum cn_exchange what;
    struct cn_request *q = begin(&f, "GET", "/waits", &what);

    (void)state;
    assert_int_equal(what, CN_EXCHANGE_GO_ON);
    assert_int_equal(cn_exchange_step(q, &none), CN_EXCHANGE_GO_ON);
    assert_int_equal(f.suspended, 1);
    cn_request_resume(q);
    cn_request_resume(q); /* once is enough */
    assert_int_equal(f.resumed, 1);
    assert_int_equal(cn_exchange_step(q, &none), CN_EXCHANGE_GO_ON); /* not yet */
    ((struct ctx *)q->ctx)->ready = true;
    cn_answer_field(q, "Link", "<%3000s>", "next"); /* however long, it is not cut */
    cn_request_resume(q);
    assert_int_equal(cn_exchange_step(q, &none), CN_EXCHANGE_SEND);
    assert_int_equal(strlen(field(q, "Link")), 3002);
    assert_int_equal(q->status, 200);
    assert_string_equal(field(q, "Cache-Control"), "no-store");
    assert_string_equal(finish(q), "here");
    assert_string_equal(last_seen, "asrrd");
}

static void errors_have_the_shape_of_their_route(void **state)
{
    static const struct {
        const char *method, *path, *name, *value, *want, *type;
    } row[] = {
        {"GET", "/nothing", NULL, NULL, "<404 >", "text/plain"},
        {"PUT", "/waits", NULL, NULL, "<405 >", "application/x-shape"},
        {"GET", "/closed", NULL, NULL, "<401 >", "application/x-shape"},
        {"POST", "/waits", "Content-Length", "101", "<413 the body is over the limit>",
         "application/x-shape"},
        {"GET", "/waits", "Content-Length", "1", "<400 no body is expected here>",
         "application/x-shape"},
        {"GET", "/waits", "Refuse", "", "<406 as asked>", "application/x-shape"},
    };

    (void)state;
    for (size_t i = 0; i < CN_LEN(row); i++) {
        struct fake f = {{row[i].name, row[i].value, NULL}, 0, 0};
        enum cn_exchange what;
        struct cn_request *q = begin(&f, row[i].method, row[i].path, &what);

        assert_int_equal(what, CN_EXCHANGE_SEND);
        assert_string_equal(field(q, "Content-Type"), row[i].type);
        assert_string_equal(field(q, "Cache-Control"), "no-store");
        if (q->status == 401)
            assert_string_equal(field(q, "WWW-Authenticate"), "Shape");
        if (q->status == 405)
            assert_string_equal(field(q, "Allow"), "GET, POST, OPTIONS");
        assert_string_equal(finish(q), row[i].want);
    }
}

static void a_body_is_counted_and_given_back(void **state)
{
    struct fake f = {{NULL}, 0, 0};
    enum cn_exchange what;
    struct cn_request *q = begin(&f, "POST", "/waits", &what);
    struct cn_buf body;

    (void)state;
    cn_exchange_body(q, "0123456789", 10);
    assert_int_equal(core->inflight, 10);
    cn_request_take_body(q, &body);
    assert_int_equal(core->inflight, 10);
    cn_request_return_body(q, &body);
    assert_int_equal(core->inflight, 0);
    cn_exchange_end(q, false);
    q = begin(&f, "POST", "/waits", &what);
    for (int i = 0; i < 11; i++)
        cn_exchange_body(q, "0123456789", 10);
    assert_int_equal(cn_exchange_step(q, &none), CN_EXCHANGE_SEND);
    assert_int_equal(q->status, 413);
    assert_string_equal(field(q, "Connection"), "close");
    finish(q);
}

static void a_broken_body_is_refused(void **state)
{
    const struct cn_fault fault = {"a chunk without a size", CN_PROBLEM_BAD_REQUEST};
    struct fake f = {{"Transfer-Encoding", "chunked", NULL}, 0, 0};
    enum cn_exchange what;
    struct cn_request *q = begin(&f, "POST", "/waits", &what);

    (void)state;
    cn_exchange_body(q, "01", 2);
    assert_int_equal(cn_exchange_step(q, &fault), CN_EXCHANGE_SEND);
    assert_string_equal(finish(q), "<400 the request has a chunk without a size>");
    assert_string_equal(last_seen, "ad"); /* the handler never saw it */
}

static void who_waits_is_told_of_the_end(void **state)
{
    struct fake f = {{NULL}, 0, 0};
    enum cn_exchange what;
    struct cn_request *q = begin(&f, "GET", "/waits", &what);

    (void)state;
    cn_exchange_step(q, &none);
    assert_false(cn_core_settled(core));
    cn_core_drain(core);
    cn_core_shutdown(core);
    assert_true(cn_core_settled(core));
    assert_int_equal(cn_exchange_step(q, &none), CN_EXCHANGE_SEND);
    assert_string_equal(field(q, "Connection"), "close");
    assert_string_equal(finish(q), "here");
    assert_string_equal(last_seen, "asxrd");
    /* who comes to wait during the shutdown is told at once */
    q = begin(&f, "GET", "/waits", &what);
    assert_int_equal(cn_exchange_step(q, &none), CN_EXCHANGE_GO_ON);
    assert_int_equal(cn_exchange_step(q, &none), CN_EXCHANGE_SEND);
    finish(q);
}

/* No bound of the shutdown depends on a handler. */
static void who_does_not_end_is_cut(void **state)
{
    struct fake f = {{NULL}, 0, 0};
    enum cn_exchange what;
    struct cn_request *q = begin(&f, "GET", "/hangs", &what);

    (void)state;
    cn_exchange_step(q, &none);
    cn_core_shutdown(core);
    assert_false(cn_core_settled(core));
    cn_core_cut(core);
    assert_true(cn_core_settled(core));
    assert_int_equal(cn_exchange_step(q, &none), CN_EXCHANGE_CUT);
    cn_exchange_end(q, false);
    assert_string_equal(last_seen, "asxd");
}

static void a_client_that_left_is_forgotten(void **state)
{
    struct fake f = {{NULL}, 0, 0};
    enum cn_exchange what;
    struct cn_request *q = begin(&f, "GET", "/waits", &what);

    (void)state;
    cn_exchange_step(q, &none);
    q->gone = true;
    cn_request_resume(q);
    assert_int_equal(cn_exchange_step(q, &none), CN_EXCHANGE_CUT);
    cn_exchange_end(q, false);
    assert_string_equal(last_seen, "asd");
}

static void a_stream_waits_and_beats(void **state)
{
    struct fake f = {{NULL}, 0, 0};
    enum cn_exchange what;
    struct cn_request *q = begin(&f, "GET", "/streams", &what), *second;
    struct cn_conn *first = conn;
    char text[16] = "";

    (void)state;
    piece = 1;
    assert_int_equal(cn_exchange_step(q, &none), CN_EXCHANGE_SEND);
    assert_int_equal(cn_sender_pull(q, text, sizeof(text)), 5);
    assert_int_equal(cn_sender_pull(q, text, sizeof(text)), CN_SOURCE_WAIT);
    assert_int_equal(f.suspended, 1);
    q->beat_due = true;
    cn_request_resume(q);
    assert_int_equal(cn_sender_pull(q, text, sizeof(text)), 4);
    assert_memory_equal(text, "beat", 4);
    conn = cn_conn_open(core, NULL, -1);
    second = begin(&f, "GET", "/streams", &what);
    assert_int_equal(cn_exchange_step(second, &none), CN_EXCHANGE_SEND);
    assert_int_equal(second->status, 503); /* there is one place */
    finish(second);
    cn_conn_close(conn);
    conn = first;
    cn_exchange_end(q, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_request_waits_and_goes_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(errors_have_the_shape_of_their_route, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_body_is_counted_and_given_back, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_broken_body_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_waits_is_told_of_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_does_not_end_is_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_client_that_left_is_forgotten, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stream_waits_and_beats, set_up, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
