/* Sends webhooks: one signed POST each, by libcurl on the loop.
 *
 * DESIGN. Loop thread only. A delivery is one attempt; who calls decides whether there is another
 * (the outcome says whether one makes sense) and keeps what must survive a restart. At most
 * `parallel` requests are on their way, and per_host of them to one host, so that a receiver that
 * hangs cannot stop the others; the rest waits in order. Redirects are not followed, no proxy of
 * the environment is used, and each address is held against the rules before a connection to it is
 * made. The answer's body is read up to 64 KiB and thrown away.
 *
 * Signed as Standard Webhooks 1.0.0 has it: with the headers webhook-id, webhook-timestamp (seconds
 * since 1970) and webhook-signature, "v1," and the base64 of HMAC-SHA256(secret,
 * id "." timestamp "." body). Receivers that compare id and timestamp notice repetitions.
 *
 *     s = cn_webhook_sender_new(&options);
 *     d = cn_webhook_send(s, &(struct cn_webhook_message){.url = u, .id = id, .body = b, .len = n},
 *                         done, arg);
 *     -- done(arg, &result), later, unless cn_webhook_cancel(d) came before
 *     cn_webhook_sender_close(s, closed, arg);
 */
#ifndef CN_WEBHOOK_SENDER_H
#define CN_WEBHOOK_SENDER_H

#include "base/base.h"
#include "webhook/rules.h"

#include <uv.h>

struct cn_webhook_sender;
struct cn_webhook_delivery;

struct cn_webhook_options {
    uv_loop_t *loop;
    const struct cn_webhook_rules *rules; /* the caller's; outlives the sender or its next rules */
    int parallel, per_host;
    int timeout_ms; /* of one attempt, from the name's look-up to the end of the answer */
};

#define CN_WEBHOOK_DEFAULTS                                                                        \
    {                                                                                              \
        .parallel = 16, .per_host = 4, .timeout_ms = 10000                                         \
    }

struct cn_webhook_message {
    const char *url; /* held against the rules once more */
    const char *id;  /* of the event: equal in all its attempts */
    const void *body;
    size_t len;
    const void *secret; /* len 0: not signed */
    size_t secret_len;
};

enum cn_webhook_outcome {
    CN_WEBHOOK_DELIVERED, /* 2xx */
    CN_WEBHOOK_RETRY,     /* no answer, or one that may be another next time */
    CN_WEBHOOK_GIVE_UP    /* 410, or the rules do not let it pass */
};

struct cn_webhook_result {
    enum cn_webhook_outcome outcome;
    int status;         /* of the answer; 0: there was none */
    int retry_after_s;  /* as the receiver asked with a number of seconds, at most an hour; 0 */
    const char *reason; /* for the log: names no address; lives until the callback returns */
};

typedef void (*cn_webhook_done_fn)(void *arg, const struct cn_webhook_result *result);

struct cn_webhook_sender *cn_webhook_sender_new(const struct cn_webhook_options *o);

/* For deliveries that begin from now on. */
void cn_webhook_sender_set_rules(struct cn_webhook_sender *s, const struct cn_webhook_rules *rules,
                                 int timeout_ms);

/* Copies the message. done comes from the loop, never from inside this call, and once; then the
 * handle is gone. */
struct cn_webhook_delivery *cn_webhook_send(struct cn_webhook_sender *s,
                                            const struct cn_webhook_message *message,
                                            cn_webhook_done_fn done, void *arg);

/* Cuts the request; done does not come. */
void cn_webhook_cancel(struct cn_webhook_delivery *d);

/* Cancels all deliveries and frees the sender; closed (may be NULL) comes from the loop when the
 * last handle is closed. */
void cn_webhook_sender_close(struct cn_webhook_sender *s, void (*closed)(void *arg), void *arg);

#endif
