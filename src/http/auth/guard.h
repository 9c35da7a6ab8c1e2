/* Who asks, and may they? The one place where a request's credentials become an identity.
 *
 * Knows no socket and no route: what it needs of a request is in struct cn_guard_request. Loop
 * thread only.
 *
 *     cn_guard_init(&a);  a.keys = &keys;  a.secret = ...
 *     verdict = cn_guard_check(&a, &request, &who);
 *     if (verdict == CN_GUARD_OK) ... who.tenant, who.scopes ...
 */
#ifndef CN_HTTP_AUTH_GUARD_H
#define CN_HTTP_AUTH_GUARD_H

#include "base/base.h"
#include "http/auth/keys.h"
#include "http/auth/peer.h"
#include "http/auth/throttle.h"
#include "http/auth/ticket.h"

struct cn_guard {
    struct cn_keys *keys; /* NULL: no authentication; borrowed */
    struct cn_ticket_secret secret;
    struct cn_throttle wrong; /* keys, by address */
};

enum cn_guard_verdict {
    CN_GUARD_OK,
    CN_GUARD_NONE,     /* no key came, and one is needed */
    CN_GUARD_WRONG,    /* none of ours */
    CN_GUARD_TICKET,   /* a ticket that does not open this, or not any more */
    CN_GUARD_NO_TICKET, /* a ticket where none is taken */
    CN_GUARD_EXPIRED,  /* was one of ours */
    CN_GUARD_GUESSING, /* none of ours, once too often from this address */
    CN_GUARD_RATE,     /* the key has used up its minute */
    CN_GUARD_SCOPE     /* the key may not do this */
};

struct cn_guard_request {
    const char *credentials;        /* a key as the dialect found it; NULL: none came */
    const char *ticket;             /* NULL: none came */
    enum cn_ticket_purpose purpose; /* of the tickets that this route takes; CN_TICKET_NONE */
    const char *job;                /* that the route is about, for tickets */
    bool is_open;   /* no key is needed; one that comes is looked at, and only an identity */
    unsigned scope; /* one of enum cn_scope; 0: any key will do */
    struct cn_peer peer;
    int64_t now_ns, wall_s;
};

struct cn_guard_identity {
    char key_name[CN_KEY_NAME];  /* "" without authentication */
    char key_label[CN_KEY_NAME]; /* what tickets name the key by */
    char tenant[CN_KEY_NAME];    /* "anonymous" without */
    unsigned scopes;             /* all without authentication, none for strangers on open routes */
    const char *models; /* that the key may use; NULL: any. The key's, until the next reload */
    struct cn_rate rate;
    int retry_after_s; /* of GUESSING and RATE */
};

void cn_guard_init(struct cn_guard *a);
void cn_guard_release(struct cn_guard *a);

/* *ret is filled as far as is known, whatever the verdict. */
enum cn_guard_verdict cn_guard_check(struct cn_guard *a, const struct cn_guard_request *q,
                                     struct cn_guard_identity *ret);

/* A ticket for the identity, good until expires_s (since 1970). */
void cn_guard_issue(const struct cn_guard *a, const struct cn_guard_identity *who,
                    enum cn_ticket_purpose purpose, const char *job, int64_t expires_s,
                    char text[CN_TICKET_TEXT]);

/* Is the model in the list (separated by commas; NULL: all are)? */
bool cn_guard_allows_model(const char *models, const char *name);

/* For people; static. */
const char *cn_guard_reason(enum cn_guard_verdict v);

#endif
