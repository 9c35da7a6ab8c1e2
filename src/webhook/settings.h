/* What the operator says about webhooks, and what becomes of it: the rules and the secret.
 *
 * Any thread. The secret has the form that the libraries of Standard Webhooks read, "whsec_" and
 * base64 of 24 to 64 bytes, and lies in a file that nobody else needs to read.
 *
 *     if (cn_webhook_settings_load(&settings, &rules, &secret, &err) < 0) ...
 *     cn_webhook_secret_clear(&secret);
 *     cn_webhook_rules_free(rules);
 */
#ifndef CN_WEBHOOK_SETTINGS_H
#define CN_WEBHOOK_SETTINGS_H

#include "base/base.h"
#include "webhook/rules.h"

enum { CN_WEBHOOK_SECRET_MIN = 24, CN_WEBHOOK_SECRET_MAX = 64 /* bytes */ };

/* Borrowed. */
struct cn_webhook_settings {
    const char *allow, *networks; /* as in rules.h; allow "": webhooks are off */
    const char *secret_file;      /* "": none, which is an error when they are on */
    int timeout_s;                /* of one attempt */
    int give_up_s;                /* after the end of a job: what was not told is given up */
};

struct cn_webhook_secret {
    unsigned char bytes[CN_WEBHOOK_SECRET_MAX];
    size_t len; /* 0: webhooks are off */
};

/* Messages begin with the key of the configuration ("webhook.allow"). Nothing of the secret is in
 * them. */
int cn_webhook_settings_load(const struct cn_webhook_settings *s, struct cn_webhook_rules **ret,
                             struct cn_webhook_secret *ret_secret, struct cn_err *err);

void cn_webhook_secret_clear(struct cn_webhook_secret *secret);

#endif
