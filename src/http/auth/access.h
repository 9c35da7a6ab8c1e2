/* Who may ask: stands before every route (core's option `access`). Loop thread only.
 *
 *     struct cn_access access = {.keys = &keys, ...};
 *     core_options.access = cn_access_check; core_options.access_arg = &access;
 *     cn_access_release(&access);
 */
#ifndef CN_HTTP_AUTH_ACCESS_H
#define CN_HTTP_AUTH_ACCESS_H

#include "base/base.h"
#include "http/auth/keys.h"
#include "http/auth/ticket.h"
#include "http/core/request.h"

struct cn_access {
    const struct cn_keys *keys; /* NULL: no authentication */
    const char *hosts;          /* names of this server, for requests without keys; "": none */
    const char *origins;        /* http.cors_origins */
    struct cn_tickets tickets;
};

/* Refuses (answers), or fills in q->who. q->route NULL: nothing matched, and only the rules for
 * pages of other sites are looked at. */
void cn_access_check(void *access, struct cn_request *q);

/* Answers 403 unless the request may manage the server. */
bool cn_access_is_admin(struct cn_request *q);

void cn_access_release(struct cn_access *a);

#endif
