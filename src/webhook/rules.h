/* Where webhooks may go: a list of URLs by their beginnings, and networks that are not public.
 *
 * Any thread, read only once it is made. URLs are read by libcurl's own parser, the one that later
 * connects, so that nothing is checked that is not what is called.
 *
 *     cn_webhook_rules_new("https://hooks.example.org/render/", "10.1.0.0/16", &rules, &err);
 *     if (cn_webhook_rules_check(rules, url, &err) < 0) ...
 *     cn_webhook_rules_free(rules);
 */
#ifndef CN_WEBHOOK_RULES_H
#define CN_WEBHOOK_RULES_H

#include "base/base.h"

#include <sys/socket.h>

struct cn_webhook_rules;

enum { CN_WEBHOOK_URL = 2048 }; /* bytes of a URL, with the NUL */

/* allow: URLs, parted by blanks, each of which lets everything pass that has the same scheme, host
 * and port and whose path begins with its path, segment by segment. Empty: nothing passes.
 * networks: addresses that are not public and may be called all the same; link-local ones never.
 * CN_EINVAL names the entry. */
int cn_webhook_rules_new(const char *allow, const char *networks, struct cn_webhook_rules **ret,
                         struct cn_err *err);
void cn_webhook_rules_free(struct cn_webhook_rules *r);

bool cn_webhook_rules_allow_any(const struct cn_webhook_rules *r);

/* CN_EINVAL: not a URL that a webhook can have (http and https, no user, no fragment, at most
 * CN_WEBHOOK_URL bytes); CN_ENOTFOUND: it is not among those that are allowed. */
int cn_webhook_rules_check(const struct cn_webhook_rules *r, const char *url, struct cn_err *err);

/* The host of a URL in small letters, by which requests are shared out; "" for what is no URL.
 * malloc'ed (free()). */
char *cn_webhook_host(const char *url);

/* The address that a connection would go to. */
bool cn_webhook_rules_pass(const struct cn_webhook_rules *r, const struct sockaddr *sa);

#endif
