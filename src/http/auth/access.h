/* Who may ask: stands before every route (core's option `access`). The decisions are site.c's and
 * guard.c's; here they are asked about a request, and answered. Loop thread only.
 *
 *     cn_access_init(&access);  access.guard.keys = &keys;  access.hosts = ...
 *     core_options.access = cn_access_check; core_options.access_arg = &access;
 *     cn_access_release(&access);
 */
#ifndef CN_HTTP_AUTH_ACCESS_H
#define CN_HTTP_AUTH_ACCESS_H

#include "base/base.h"
#include "http/auth/guard.h"
#include "http/core/handler.h"
#include "http/core/request.h"

struct cn_access {
    struct cn_guard guard;
    const char *hosts;           /* names of this server, for requests without keys; "": none */
    const char *origins;         /* http.cors_origins */
    const char *trusted_proxies; /* whose X-Forwarded-For counts; "": nobody's */
};

void cn_access_init(struct cn_access *a);
void cn_access_release(struct cn_access *a);

/* Refuses (answers), or fills in q->who and q->peer. q->route NULL: nothing matched, and only the
 * rules for pages of other sites are looked at. */
void cn_access_check(void *access, struct cn_request *q);

/* Answers 403 unless the request may manage the server. */
bool cn_access_is_admin(struct cn_request *q);

/* What a key must be allowed to (enum cn_scope) for this route with this method. */
unsigned cn_access_scope(const struct cn_route *r, enum cn_method method);

/* A ticket of who asks, for the job, good until expires_s (since 1970). */
void cn_access_ticket(const struct cn_access *a, const struct cn_request *q,
                      enum cn_ticket_purpose purpose, const char *job, int64_t expires_s,
                      char text[CN_TICKET_TEXT]);

#endif
