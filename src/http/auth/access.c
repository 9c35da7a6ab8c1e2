/* What stands before every route: which sites may use the server, which keys there are, and whether
 * a key may do this. */
#include "base/base.h"
#include "http/auth/access.h"
#include "http/auth/site.h"
#include "http/core/answer.h"
#include "http/core/conn.h"
#include "http/core/handler.h"

#include <stdio.h>
#include <string.h>

/* A browser may speak for somebody who does not know it. False: answered. */
static bool check_site(const struct cn_access *a, struct cn_request *q)
{
    const struct cn_site_rules rules = {a->keys != NULL, a->hosts, a->origins};
    const struct cn_site_request r = {.host = cn_request_header(q, "Host"),
                                      .origin = cn_request_header(q, "Origin"),
                                      .changes = !(q->method & (CN_GET | CN_HEAD | CN_OPTIONS)),
                                      .over_unix = q->conn->is_unix};
    enum cn_site_verdict verdict = cn_site_check(&r, &rules);

    q->origin_allowed = r.origin != NULL && cn_site_is_listed(r.origin, a->origins);
    if (verdict == CN_SITE_OK)
        return true;
    cn_answer_problem(q, CN_PROBLEM_CROSS_SITE,
                      verdict == CN_SITE_HOST
                          ? "the name in Host is none of this server's: see http.hosts"
                          : "pages of this Origin may change nothing: see http.cors_origins",
                      NULL);
    return false;
}

static void set_identity(struct cn_request *q, const char *key, const char *tenant, bool admin)
{
    snprintf(q->who.key, sizeof(q->who.key), "%s", key);
    snprintf(q->who.tenant, sizeof(q->who.tenant), "%s", tenant);
    q->who.admin = q->who.sees_all = admin;
}

static bool has_ticket(struct cn_access *a, struct cn_request *q)
{
    const char *text = q->route->takes_ticket ? cn_request_argument(q, "ticket") : NULL;
    struct cn_ticket t;

    if (text == NULL || !cn_ticket_use(&a->tickets, text, q->arg[0], q->start_ns, &t))
        return false;
    set_identity(q, t.key_name, t.tenant, t.admin);
    return true;
}

static bool authenticated(struct cn_access *a, struct cn_request *q)
{
    const struct cn_key *key;
    const char *given;

    if (q->route->open || (q->conn->admin && q->route->admin))
        return true;
    given = q->route->dialect->credentials(q);
    if (given == NULL)
        return has_ticket(a, q);
    key = cn_keys_check(a->keys, given);
    if (key != NULL)
        set_identity(q, key->name, key->tenant, key->admin);
    return key != NULL;
}

bool cn_access_is_admin(struct cn_request *q)
{
    if (!q->who.admin)
        cn_answer_problem(q, CN_PROBLEM_FORBIDDEN, "the key lacks the role admin", NULL);
    return q->who.admin;
}

void cn_access_check(void *arg, struct cn_request *q)
{
    struct cn_access *a = arg;

    memcpy(q->who.tenant, "anonymous", sizeof("anonymous"));
    q->who.admin = a->keys == NULL;
    if (!check_site(a, q) || q->route == NULL || !(q->route->methods & (unsigned)q->method))
        return;
    if (a->keys != NULL && !authenticated(a, q))
        cn_answer_problem(q, CN_PROBLEM_UNAUTHENTICATED, NULL, NULL);
    else if (q->route->admins_only)
        cn_access_is_admin(q);
}

void cn_access_release(struct cn_access *a)
{
    cn_tickets_release(&a->tickets);
}
