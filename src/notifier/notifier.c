/* The notifier: asks for what is due, sends it, and has it noted. */
#include "base/base.h"
#include "notifier/notifier.h"
#include "api/result.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/spec.h"
#include "webhook/sender.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

enum {
    PLACES = 64,       /* ends that are being told at a time */
    PER_HOST = 4,      /* of them to one host */
    AGAIN_MS = 1000,   /* after the store, or the job, could not be read */
    LOOK_MS = 60000,   /* at the latest, while something is pending: the clock may jump */
    BODY_MAX = 1 << 20 /* of a view: a prompt of 4 KiB, 1000 pictures */
};

/* An end that is being told. */
struct telling {
    struct cn_notifier *n;
    TAILQ_ENTRY(telling) link;
    char id[CN_STORE_ID];
    char *url, *context;
    int attempts; /* that failed before */
    int64_t ended_us, began_ns;
    struct cn_jobs_read *asked;       /* for the job; NULL: not, or no longer */
    struct cn_webhook_delivery *sent; /* NULL: not, or no longer */
    bool noted; /* it is over; the answer that is awaited may still call it due */
};

struct cn_notifier {
    struct cn_notifier_options o;
    struct cn_webhook_rules *rules;
    struct cn_webhook_secret secret;
    int give_up_s, timeout_ms;
    struct cn_webhook_sender *sender; /* NULL: nothing was sent yet */
    uv_timer_t timer;
    TAILQ_HEAD(, telling) list;
    int n_telling;
    bool asking, again; /* the store; and once more afterwards */
    bool draining, closed;
    struct cn_metric *attempts, *pending;
};

/* ---- when ---- */

int64_t cn_notifier_delay_us(int attempts, int retry_after_s, uint64_t dice)
{
    static const int delay_s[] = {1, 5, 30, 120, 600, 3600, 6 * 3600};
    int i = CN_MIN(CN_MAX(attempts, 1), (int)CN_LEN(delay_s)) - 1;
    double spread = 0.8 + 0.4 * (double)(dice % 1000) / 1000;

    return CN_MAX((int64_t)(delay_s[i] * spread * 1e6), retry_after_s * CN_SECOND_US);
}

static int64_t now_us(const struct cn_notifier *n)
{
    return n->o.wall_us != NULL ? n->o.wall_us() : cn_wall_us();
}

static void on_timer(uv_timer_t *t)
{
    cn_notifier_look(t->data);
}

static void look_in(struct cn_notifier *n, int64_t ms)
{
    if (!n->draining)
        uv_timer_start(&n->timer, on_timer, (uint64_t)CN_MIN(CN_MAX(ms, 1), LOOK_MS), 0);
}

/* ---- how it went ---- */

static void forget(struct telling *t)
{
    TAILQ_REMOVE(&t->n->list, t, link);
    t->n->n_telling--;
    free(t->url);
    free(t->context);
    free(t);
}

static void on_noted(void *arg)
{
    struct telling *t = arg;
    struct cn_notifier *n = t->n;

    if (n->asking && !n->draining)
        t->noted = true;
    else
        forget(t);
    cn_notifier_look(n);
}

/* What the answer could not know is known by the next one. */
static void forget_noted(struct cn_notifier *n)
{
    struct telling *t, *next;

    for (t = TAILQ_FIRST(&n->list); t != NULL; t = next) {
        next = TAILQ_NEXT(t, link);
        if (t->noted)
            forget(t);
    }
}

static void tell_log(const struct telling *t, const struct cn_webhook_result *r,
                     const struct cn_store_delivery *d)
{
    double ms = (double)(cn_now_ns() - t->began_ns) * 1e-6;

    if (d->state == CN_STORE_WEBHOOK_DELIVERED)
        cn_log(CN_LOG_INFO, "webhook.delivered", "the job's end was told",
               "job_id=%s attempt=%d status=%d ms=%.1f", t->id, d->attempts, r->status, ms);
    else if (d->state == CN_STORE_WEBHOOK_FAILED)
        cn_log(CN_LOG_WARNING, "webhook.given_up", r->reason, "job_id=%s attempt=%d status=%d",
               t->id, d->attempts, r->status);
    else
        cn_log(CN_LOG_INFO, "webhook.failed", r->reason,
               "job_id=%s attempt=%d status=%d ms=%.1f again_s=%.1f", t->id, d->attempts, r->status,
               ms, (double)(d->next_us - now_us(t->n)) * 1e-6);
}

static void settle(struct telling *t, const struct cn_webhook_result *r)
{
    static const char *const outcome[] = {
        [CN_STORE_WEBHOOK_PENDING] = "failed",
        [CN_STORE_WEBHOOK_DELIVERED] = "delivered",
        [CN_STORE_WEBHOOK_FAILED] = "given_up",
    };
    struct cn_notifier *n = t->n;
    struct cn_store_delivery d = {.state = CN_STORE_WEBHOOK_FAILED, .attempts = t->attempts + 1};

    if (r->outcome == CN_WEBHOOK_DELIVERED)
        d.state = CN_STORE_WEBHOOK_DELIVERED;
    else
        snprintf(d.why, sizeof(d.why), "%s", r->reason);
    if (r->outcome == CN_WEBHOOK_RETRY) {
        d.next_us =
            now_us(n) + cn_notifier_delay_us(d.attempts, r->retry_after_s, cn_random_seed());
        if (d.next_us <= t->ended_us + n->give_up_s * CN_SECOND_US)
            d.state = CN_STORE_WEBHOOK_PENDING;
    }
    tell_log(t, r, &d);
    cn_metric_inc(n->attempts, 1, outcome[d.state]);
    cn_jobs_delivery(n->o.jobs, t->id, &d, on_noted, t);
}

static void on_sent(void *arg, const struct cn_webhook_result *result)
{
    struct telling *t = arg;

    t->sent = NULL;
    settle(t, result);
}

/* ---- telling ---- */

/* A daemon that sends none pays nothing for libcurl and what it sets up for TLS. */
static struct cn_webhook_sender *sender_of(struct cn_notifier *n)
{
    struct cn_webhook_options o = CN_WEBHOOK_DEFAULTS;

    if (n->sender != NULL)
        return n->sender;
    o.loop = n->o.loop;
    o.rules = n->rules;
    o.parallel = PLACES;
    o.per_host = PER_HOST;
    o.timeout_ms = n->timeout_ms;
    n->sender = cn_webhook_sender_new(&o);
    return n->sender;
}

static void send_view(struct telling *t, const struct cn_job_view *view)
{
    struct cn_notifier *n = t->n;
    struct cn_err err = CN_ERR_INIT;
    struct cn_buf body;

    cn_buf_init(&body, BODY_MAX);
    if (cn_result_told(view, t->context, &body, &err) < 0)
        settle(t, &(struct cn_webhook_result){.outcome = err.code == CN_ENOMEM ? CN_WEBHOOK_RETRY
                                                                               : CN_WEBHOOK_GIVE_UP,
                                              .reason = err.msg});
    else
        t->sent = cn_webhook_send(sender_of(n),
                                  &(struct cn_webhook_message){.url = t->url,
                                                               .id = t->id,
                                                               .body = body.data,
                                                               .len = body.len,
                                                               .secret = n->secret.bytes,
                                                               .secret_len = n->secret.len},
                                  on_sent, t);
    cn_buf_release(&body);
}

static void on_looked(void *arg, struct cn_job_view *view, const struct cn_err *err)
{
    struct telling *t = arg;
    struct cn_notifier *n = t->n;

    t->asked = NULL;
    if (view != NULL) {
        send_view(t, view);
        cn_job_view_release(view);
    } else if (err->code == CN_ENOTFOUND || err->code == CN_EGONE) {
        settle(t, &(struct cn_webhook_result){.outcome = CN_WEBHOOK_GIVE_UP,
                                              .reason = "the job was removed"});
    } else {
        forget(t);
        look_in(n, AGAIN_MS);
    }
}

static void tell(struct cn_notifier *n, struct cn_store_due *due)
{
    struct telling *t = cn_xcalloc(1, sizeof(*t));
    struct cn_jobs_read *asked;

    t->n = n;
    memcpy(t->id, due->id, sizeof(t->id));
    t->url = cn_xstrdup(due->url);
    t->context = cn_xstrdup(due->context);
    t->attempts = due->attempts;
    t->ended_us = due->ended_us;
    t->began_ns = cn_now_ns();
    TAILQ_INSERT_TAIL(&n->list, t, link);
    n->n_telling++;
    asked = cn_jobs_look(n->o.jobs, NULL, t->id, on_looked, t);
    if (asked != NULL) /* else it was answered, and t may be gone */
        t->asked = asked;
}

static bool is_being_told(const struct cn_notifier *n, const char *id)
{
    const struct telling *t = TAILQ_FIRST(&n->list);

    while (t != NULL && strcmp(t->id, id) != 0)
        t = TAILQ_NEXT(t, link);
    return t != NULL;
}

static void on_due(void *arg, struct cn_store_answer *a)
{
    struct cn_notifier *n = arg;
    int64_t now = now_us(n);

    n->asking = false;
    if (n->draining)
        return;
    if (a->outcome != CN_STORE_OK) {
        forget_noted(n);
        look_in(n, AGAIN_MS);
        return;
    }
    cn_metric_set(n->pending, a->n_pending);
    if (a->n_pending > 0)
        look_in(n, a->next_us > 0 ? (a->next_us - now + 999) / 1000 : LOOK_MS);
    for (int i = 0; i < a->n_due && n->n_telling < PLACES; i++)
        if (!is_being_told(n, a->due[i].id))
            tell(n, &a->due[i]);
    forget_noted(n);
    if (n->again)
        cn_notifier_look(n);
}

/* While all places are taken nothing is asked for: the end of each looks again. Without an answer
 * (the store is not open) the service calls when there is one. */
void cn_notifier_look(struct cn_notifier *n)
{
    n->again = n->asking;
    if (n->draining || n->asking || n->n_telling >= PLACES)
        return;
    n->asking = cn_jobs_webhooks(n->o.jobs, now_us(n), PER_HOST, 2 * PLACES, on_due, n);
}

static void on_webhook(void *arg)
{
    cn_notifier_look(arg);
}

/* ---- life ---- */

struct cn_notifier *cn_notifier_new(const struct cn_notifier_options *o)
{
    struct cn_notifier *n = cn_xcalloc(1, sizeof(*n));

    n->o = *o;
    TAILQ_INIT(&n->list);
    CN_ASSERT(cn_webhook_rules_new("", "", &n->rules, NULL) == CN_OK);
    uv_timer_init(o->loop, &n->timer);
    n->timer.data = n;
    n->attempts = cn_metric_add(o->metrics, CN_COUNTER, "controlnetd_webhook_attempts_total",
                                "Attempts to tell the end of a job.", "outcome");
    cn_metric_inc(n->attempts, 0, "delivered");
    cn_metric_inc(n->attempts, 0, "failed");
    cn_metric_inc(n->attempts, 0, "given_up");
    n->pending = cn_metric_add(o->metrics, CN_GAUGE, "controlnetd_webhooks_pending",
                               "Ends of jobs that somebody is still to be told of.", NULL);
    cn_jobs_on_webhook(o->jobs, on_webhook, n);
    return n;
}

int cn_notifier_configure(struct cn_notifier *n, const struct cn_webhook_settings *s,
                          struct cn_err *err)
{
    struct cn_webhook_secret secret;
    struct cn_webhook_rules *rules;
    int rc = cn_webhook_settings_load(s, &rules, &secret, err);

    if (rc < 0)
        return rc;
    if (n->sender != NULL)
        cn_webhook_sender_set_rules(n->sender, rules, s->timeout_s * 1000);
    cn_webhook_rules_free(n->rules);
    n->rules = rules;
    n->secret = secret;
    n->give_up_s = s->give_up_s;
    n->timeout_ms = s->timeout_s * 1000;
    cn_webhook_secret_clear(&secret);
    return CN_OK;
}

int cn_notifier_check(const struct cn_notifier *n, const char *url, char host[CN_NOTIFIER_HOST],
                      struct cn_err *err)
{
    char *text;
    int rc;

    if (n == NULL || !cn_webhook_rules_allow_any(n->rules))
        return cn_fail(err, CN_EINVAL, "this server sends no webhooks (webhook.allow is empty)");
    if ((rc = cn_webhook_rules_check(n->rules, url, err)) < 0)
        return rc;
    text = cn_webhook_host(url);
    snprintf(host, CN_NOTIFIER_HOST, "%s", text);
    free(text);
    return CN_OK;
}

/* What was not sent yet need not be. */
void cn_notifier_drain(struct cn_notifier *n)
{
    struct telling *t, *next;

    n->draining = true;
    uv_timer_stop(&n->timer);
    for (t = TAILQ_FIRST(&n->list); t != NULL; t = next) {
        next = TAILQ_NEXT(t, link);
        if (t->asked == NULL && !t->noted)
            continue;
        cn_jobs_forget(t->asked);
        forget(t);
    }
}

bool cn_notifier_idle(const struct cn_notifier *n)
{
    return n->n_telling == 0;
}

/* What is being noted stays until the store has said so. */
void cn_notifier_close(struct cn_notifier *n)
{
    struct telling *t, *next;

    if (n->closed)
        return;
    n->closed = true;
    cn_notifier_drain(n);
    if (n->sender != NULL)
        cn_webhook_sender_close(n->sender, NULL, NULL);
    n->sender = NULL;
    uv_close((uv_handle_t *)&n->timer, NULL);
    for (t = TAILQ_FIRST(&n->list); t != NULL; t = next) {
        next = TAILQ_NEXT(t, link);
        if (t->sent != NULL)
            forget(t);
    }
}

void cn_notifier_free(struct cn_notifier *n)
{
    struct telling *t;

    if (n == NULL)
        return;
    while ((t = TAILQ_FIRST(&n->list)) != NULL)
        forget(t);
    cn_webhook_rules_free(n->rules);
    cn_webhook_secret_clear(&n->secret);
    free(n);
}
