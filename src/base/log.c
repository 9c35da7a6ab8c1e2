/* Makes JSON lines of events, and keeps those back that come too often. */
#include "base/base.h"
#include "base/log.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/escape.h"
#include "base/log_out.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    MAX_LINE = 16 * 1024,
    MAX_VALUE = 2048,
    MAX_ESCAPE = 6,       /* bytes that one byte may become in JSON */
    LINE_RESERVE = 2048,  /* for keys, numbers and the end behind a long value */
    MAX_EVENTS = 64,      /* more than there are; later ones would go unlimited */
    REQUEST_BURST_S = 30, /* requests may come at once; journald's limit counts 30 s as well */
    FLUSH_MS = 1000       /* that the end of the program waits for the reader */
};

/* One event: lines that it may still write (so many more with each second, up to a burst), and what
 * it could not write in the second that is running. */
struct meter {
    const char *event;
    double lines;
    int64_t filled_ns, second;
    long dropped;
};

static const char *const level_names[CN_LOG_COUNT] = {"error", "warning", "info", "debug"};
static const char *const of_requests[] = {"http.request", "job.accepted", "job.end", "job.prompt"};

/* <syslog.h>: LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG. */
static const int priorities[CN_LOG_COUNT] = {3, 4, 6, 7};

static struct cn_log_options options = CN_LOG_DEFAULTS;
static bool for_journal;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards what follows */
static struct meter meters[MAX_EVENTS];
static int n_meters;
static long total_dropped;
static struct cn_log_out out = CN_LOG_OUT_INIT;

/* JOURNAL_STREAM is "device:inode" of what the service manager gave as standard error. */
static bool is_journal(int fd)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char text[64];
    struct stat st;

    if (stream == NULL || fstat(fd, &st) < 0)
        return false;
    snprintf(text, sizeof(text), "%lu:%lu", (unsigned long)st.st_dev, (unsigned long)st.st_ino);
    return strcmp(stream, text) == 0;
}

void cn_log_init(const struct cn_log_options *o)
{
    options = *o;
    pthread_mutex_lock(&lock);
    for_journal = is_journal(o->fd);
    cn_log_out_open(&out, o->fd);
    pthread_mutex_unlock(&lock);
}

bool cn_log_prompts(void)
{
    return options.prompts;
}

long cn_log_dropped(void)
{
    long n;

    pthread_mutex_lock(&lock);
    n = total_dropped + out.dropped;
    pthread_mutex_unlock(&lock);
    return n;
}

int cn_log_level_find(const char *name)
{
    for (int i = 0; i < CN_LOG_COUNT; i++)
        if (strcmp(name, level_names[i]) == 0)
            return i;
    return -1;
}

bool cn_log_on(enum cn_log_level level)
{
    return level <= options.level;
}

static void put_time(struct cn_buf *b)
{
    int64_t us = cn_wall_us();
    time_t t = (time_t)(us / 1000000);
    struct tm tm;
    char text[32];

    gmtime_r(&t, &tm);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
    cn_buf_printf(b, NULL, "\"ts\":\"%s.%06dZ\"", text, (int)(us % 1000000));
}

/* Cuts what would make the line too long for its end. */
static void put_text(struct cn_buf *b, const char *s)
{
    size_t room = b->len + LINE_RESERVE >= MAX_LINE ? 0 : MAX_LINE - LINE_RESERVE - b->len;

    s = s == NULL ? "" : s;
    cn_escape_json(b, s, strnlen(s, CN_MIN((size_t)MAX_VALUE, room / MAX_ESCAPE)), NULL);
}

/* Takes the value of one directive from ap and appends it as JSON. Returns the text behind it. */
static const char *put_value(struct cn_buf *b, const char *p, va_list *ap)
{
    const char *start = p;
    char spec[16], text[64];
    size_t n;
    bool is_long = false, is_size = false;

    for (p++; strchr("0123456789.-+", *p) != NULL && *p != '\0'; p++)
        ;
    for (; *p == 'l' || *p == 'z'; p++) {
        is_long = is_long || *p == 'l';
        is_size = is_size || *p == 'z';
    }
    n = CN_MIN((size_t)(p - start) + 1, sizeof(spec) - 1);
    memcpy(spec, start, n);
    spec[n] = '\0';
    if (*p == 's') {
        put_text(b, va_arg(*ap, const char *));
        return p + 1;
    }
/* The directive was checked against the arguments by the compiler at the call of cn_log. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    if (strchr("gfe", *p) != NULL)
        snprintf(text, sizeof(text), spec, va_arg(*ap, double));
    else if (is_long)
        snprintf(text, sizeof(text), spec, va_arg(*ap, long));
    else if (is_size)
        snprintf(text, sizeof(text), spec, va_arg(*ap, size_t));
    else
        snprintf(text, sizeof(text), spec, va_arg(*ap, int));
#pragma GCC diagnostic pop
    cn_buf_adds(b, text, NULL);
    return p + 1;
}

static void put_fields(struct cn_buf *b, const char *p, va_list *ap)
{
    while (*p != '\0') {
        const char *eq = strchr(p, '=');

        if (eq == NULL)
            return;
        cn_buf_printf(b, NULL, ",\"%.*s\":", (int)(eq - p), p);
        p = put_value(b, eq + 1, ap);
        while (*p == ' ')
            p++;
    }
}

static void open_line(struct cn_buf *b, enum cn_log_level level, const char *event, const char *msg)
{
    cn_buf_init(b, MAX_LINE);
    if (for_journal)
        cn_buf_printf(b, NULL, "<%d>", priorities[level]);
    cn_buf_adds(b, "{", NULL);
    put_time(b);
    cn_buf_printf(b, NULL, ",\"level\":\"%s\",\"event\":\"%s\",\"msg\":", level_names[level],
                  event);
    put_text(b, msg);
}

/* Under the lock. */
static void close_line(struct cn_buf *b)
{
    if (out.fd < 0)
        cn_log_out_open(&out, options.fd); /* nobody has called cn_log_init */
    if (cn_buf_adds(b, "}\n", NULL) == CN_OK)
        cn_log_out_line(&out, b->data, b->len);
    cn_buf_release(b);
}

/* There is a reader again: how much it has missed. Under the lock. */
static void tell_missed(void)
{
    long n;
    struct cn_buf b;

    cn_log_out_push(&out);
    if ((n = cn_log_out_untold(&out)) == 0)
        return;
    open_line(&b, CN_LOG_WARNING, "log.dropped", "the log was not read");
    cn_buf_printf(&b, NULL, ",\"dropped_event\":\"any\",\"dropped\":%ld", n);
    close_line(&b);
}

/* ---- floods ---- */

/* Lines of the event in a second, 0: no limit; *ret_burst: at once. */
static int limit_of(const char *event, double *ret_burst)
{
    for (size_t i = 0; i < CN_LEN(of_requests); i++)
        if (strcmp(event, of_requests[i]) == 0) {
            *ret_burst = (double)options.requests_per_s * REQUEST_BURST_S;
            return options.requests_per_s;
        }
    *ret_burst = options.max_per_s;
    return options.max_per_s;
}

/* NULL: the table is full. */
static struct meter *meter_of(const char *event)
{
    for (int i = 0; i < n_meters; i++)
        if (strcmp(meters[i].event, event) == 0)
            return &meters[i];
    if (n_meters == MAX_EVENTS)
        return NULL;
    meters[n_meters].event = event;
    return &meters[n_meters++];
}

/* Tells what was dropped in a second that is over. */
static void turn(struct meter *m, int64_t second)
{
    struct cn_buf b;

    if (m->second == second)
        return;
    if (m->dropped > 0) {
        open_line(&b, CN_LOG_WARNING, "log.dropped", "an event came too often");
        cn_buf_printf(&b, NULL, ",\"dropped_event\":\"%s\",\"dropped\":%ld", m->event, m->dropped);
        close_line(&b);
    }
    m->second = second;
    m->dropped = 0;
}

/* Takes one line of what the event may write. */
static bool take(struct meter *m, double limit, double burst)
{
    int64_t now = cn_now_ns();
    double more = (double)(now - m->filled_ns) * 1e-9 * limit;

    turn(m, now / 1000000000);
    m->lines = CN_MIN(m->filled_ns == 0 ? burst : m->lines + more, burst);
    m->filled_ns = now;
    if (m->lines < 1) {
        m->dropped++;
        total_dropped++;
        return false;
    }
    m->lines -= 1;
    return true;
}

static bool admit(const char *event)
{
    double burst;
    int limit = limit_of(event, &burst);
    struct meter *m;
    bool ok;

    if (limit == 0)
        return true;
    pthread_mutex_lock(&lock);
    m = meter_of(event);
    ok = m == NULL || take(m, limit, burst);
    pthread_mutex_unlock(&lock);
    return ok;
}

void cn_log_tick(void)
{
    int64_t second = cn_now_ns() / 1000000000;

    pthread_mutex_lock(&lock);
    for (int i = 0; i < n_meters; i++)
        turn(&meters[i], second);
    tell_missed();
    pthread_mutex_unlock(&lock);
}

void cn_log_flush(void)
{
    pthread_mutex_lock(&lock);
    cn_log_out_flush(&out, FLUSH_MS);
    pthread_mutex_unlock(&lock);
}

void cn_log(enum cn_log_level level, const char *event, const char *msg, const char *fields, ...)
{
    struct cn_buf b;
    va_list ap;

    if (!cn_log_on(level) || !admit(event))
        return;
    open_line(&b, level, event, msg);
    va_start(ap, fields);
    put_fields(&b, fields, &ap);
    va_end(ap);
    pthread_mutex_lock(&lock);
    tell_missed();
    close_line(&b);
    pthread_mutex_unlock(&lock);
}
