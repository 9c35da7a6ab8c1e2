/* Tells the ends of jobs to whoever asked to be told: webhooks.
 *
 * DESIGN. Loop thread only. The store is the queue: the end of a job and that it is to be told are
 * committed together (store/store.h), so nothing is lost between the two, whatever happens to the
 * daemon. The notifier holds what it is just telling and nothing else: it asks for the ends that
 * are due, sends each, has it noted how that went, and asks again. What fails is tried again after
 * 1 s, 5 s, 30 s, 2 min, 10 min, 1 h, then every 6 h, each a fifth more or less, and given up when
 * the next attempt would come more than give_up_s after the end of the job; at least one attempt is
 * made, unless the job is removed first. One host gets a part of the places only.
 *
 * Promises. Each end is delivered at least once, or given up with the reason in the job's view. Of
 * a job that is removed, by a client or after its time, there is no view any more: the log and a
 * counter say that nobody was told. The id of the message (webhook-id) is the job's in all
 * attempts, so that a receiver that was told and could not say so knows it again. What was on its
 * way when the daemon ended is sent again.
 *
 *     n = cn_notifier_new(&options);
 *     if (cn_notifier_configure(n, &settings, &err) < 0) ...        -- again at each reload
 *     if (cn_notifier_check(n, url, host, &err) < 0) ...            -- may a request name it?
 *     cn_notifier_drain(n); ... cn_notifier_idle(n) ... cn_notifier_close(n);
 *     -- the store closes, the loop ends
 *     cn_notifier_free(n);
 */
#ifndef CN_NOTIFIER_NOTIFIER_H
#define CN_NOTIFIER_NOTIFIER_H

#include "base/base.h"
#include "base/metrics.h"
#include "job/jobs.h"
#include "webhook/settings.h"

#include <uv.h>

enum { CN_NOTIFIER_HOST = 256 };

struct cn_notifier;

struct cn_notifier_options {
    uv_loop_t *loop;
    struct cn_jobs *jobs; /* outlives the loop's end */
    struct cn_metrics *metrics;
    int64_t (*wall_us)(void); /* NULL: cn_wall_us */
};

/* Nothing passes before it is configured. */
struct cn_notifier *cn_notifier_new(const struct cn_notifier_options *o);

/* When anything is wrong with the settings nothing changes. */
int cn_notifier_configure(struct cn_notifier *n, const struct cn_webhook_settings *settings,
                          struct cn_err *err);

/* May the end of a job be told there? host: under which it is shared out. CN_EINVAL, CN_ENOTFOUND,
 * CN_ENOMEM with a message for the client. n NULL: webhooks are off. */
int cn_notifier_check(const struct cn_notifier *n, const char *url, char host[CN_NOTIFIER_HOST],
                      struct cn_err *err);

/* Looks now whether something is due. */
void cn_notifier_look(struct cn_notifier *n);

/* Begins nothing more; idle: what was on its way is told and noted. */
void cn_notifier_drain(struct cn_notifier *n);
bool cn_notifier_idle(const struct cn_notifier *n);

/* Cuts what is still on its way. */
void cn_notifier_close(struct cn_notifier *n);
void cn_notifier_free(struct cn_notifier *n);

/* Until the attempt after this many that failed; at least so long as the receiver asked for. */
int64_t cn_notifier_delay_us(int attempts, int retry_after_s, uint64_t dice);

#endif
