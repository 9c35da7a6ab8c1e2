/* What stands before every route: asks site.c which sites may use the server and guard.c whether
 * the key may do this, and tells what they said: 401, 403 or 429, with the fields that belong to
 * it. */
#include "base/base.h"
#include "http/auth/access.h"
#include "base/clock.h"
#include "base/mem.h"
#include "http/auth/site.h"
#include "http/core/answer.h"
#include "http/core/conn.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { MAX_FORWARDED = 4096 }; /* bytes of X-Forwarded-For that are looked at: its end */

void cn_access_init(struct cn_access *a)
{
    *a = (struct cn_access){.hosts = "", .origins = "", .trusted_proxies = ""};
    cn_guard_init(&a->guard);
}

void cn_access_release(struct cn_access *a)
{
    cn_guard_release(&a->guard);
}

/* A browser may speak for somebody who does not know it. False: answered. */
static bool check_site(const struct cn_access *a, struct cn_request *q)
{
    const struct cn_site_rules rules = {a->guard.keys != NULL, a->hosts, a->origins};
    const struct cn_site_request r = {.host = q->asked.host,
                                      .origin = q->asked.origin,
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

/* ---- the client's address ---- */

/* All X-Forwarded-For, in their order, with commas between: a proxy may add one of its own. */
static void add_forwarded(void *arg, const char *name, const char *value)
{
    struct cn_buf *b = arg;

    if (strcasecmp(name, "X-Forwarded-For") != 0 || value == NULL)
        return;
    if (b->len + strlen(value) + 1 > MAX_FORWARDED)
        cn_buf_clear(b);
    cn_buf_printf(b, NULL, "%s%s", b->len == 0 ? "" : ",", value);
}

static void read_peer(const char *text, struct cn_peer *ret)
{
    if (!cn_peer_read(text, strlen(text), ret))
        *ret = (struct cn_peer){.is_unix = true};
}

/* The other end does not change while its connection lives. */
static void name_peer(struct cn_request *q)
{
    char text[CN_PEER_TEXT];
    struct cn_peer p;

    q->io->peer(q->c, text, sizeof(text));
    read_peer(text, &p);
    cn_peer_write(&p, q->conn->peer);
}

static void find_peer(const struct cn_access *a, struct cn_request *q, struct cn_peer *ret)
{
    struct cn_buf b;

    if (q->conn->peer[0] == '\0')
        name_peer(q);
    memcpy(q->peer, q->conn->peer, sizeof(q->peer));
    if (a->guard.keys == NULL && a->trusted_proxies[0] == '\0')
        return; /* nobody asks who it is */
    read_peer(q->peer, ret);
    if (!cn_peer_is_in(ret, a->trusted_proxies))
        return;
    cn_buf_init(&b, MAX_FORWARDED);
    cn_request_each_header(q, add_forwarded, &b);
    if (cn_buf_whole(&b, NULL) < 0)
        cn_buf_clear(&b); /* half a list would name somebody else */
    cn_peer_resolve(ret, (const char *)b.data, a->trusted_proxies);
    cn_buf_release(&b);
    cn_peer_write(ret, q->peer);
}

/* ---- keys ---- */

unsigned cn_access_scope(const struct cn_route *r, enum cn_method method)
{
    if (r->admins_only)
        return CN_SCOPE_ADMIN;
    if (r->admin)
        return CN_SCOPE_METRICS;
    if (r->scope != 0)
        return r->scope;
    return method & (CN_GET | CN_HEAD) ? CN_SCOPE_READ : CN_SCOPE_SUBMIT;
}

static void set_identity(const struct cn_access *a, struct cn_request *q,
                         const struct cn_guard_identity *who)
{
    memcpy(q->who.key, who->key_name, sizeof(q->who.key));
    memcpy(q->who.label, who->key_label, sizeof(q->who.label));
    memcpy(q->who.tenant, who->tenant, sizeof(q->who.tenant));
    q->who.admin = (who->scopes & CN_SCOPE_ADMIN) != 0;
    q->who.reads = (who->scopes & CN_SCOPE_READ) != 0;
    q->who.sees_all = q->who.admin && a->guard.keys != NULL;
    q->who.models = who->models == NULL ? NULL : cn_xstrdup(who->models);
}

/* draft-ietf-httpapi-ratelimit-headers-10. */
static void put_rate(struct cn_request *q, const struct cn_rate *r)
{
    if (r->limit == 0)
        return;
    cn_answer_field(q, "RateLimit-Policy", "\"key\";q=%d;w=60", r->limit);
    cn_answer_field(q, "RateLimit", "\"key\";r=%d;t=%d", r->left, r->reset_s);
}

static void refuse(struct cn_request *q, enum cn_guard_verdict v, int retry_after_s)
{
    const char *reason = cn_guard_reason(v);
    char lacks[64], names[40];

    switch (v) {
    case CN_GUARD_GUESSING:
        cn_answer_later(q, CN_PROBLEM_GUESSING, reason, retry_after_s);
        return;
    case CN_GUARD_RATE:
        cn_answer_later(q, CN_PROBLEM_RATE, reason, retry_after_s);
        return;
    case CN_GUARD_SCOPE:
        cn_scopes_write(cn_access_scope(q->route, q->method), names, sizeof(names));
        snprintf(lacks, sizeof(lacks), "the key lacks the scope %s", names);
        cn_answer_problem(q, CN_PROBLEM_FORBIDDEN, lacks, NULL);
        return;
    default:
        cn_answer_problem(q, CN_PROBLEM_UNAUTHENTICATED, reason, NULL);
    }
}

bool cn_access_is_admin(struct cn_request *q)
{
    if (!q->who.admin)
        refuse(q, CN_GUARD_SCOPE, 0);
    return q->who.admin;
}

void cn_access_check(void *arg, struct cn_request *q)
{
    struct cn_access *a = arg;
    struct cn_guard_request r = {.now_ns = q->start_ns, .wall_s = cn_wall_us() / 1000000};
    struct cn_guard_identity who;
    enum cn_guard_verdict v;
    struct cn_ticket t;

    memcpy(q->who.tenant, "anonymous", sizeof("anonymous"));
    find_peer(a, q, &r.peer);
    if (!check_site(a, q) || q->route == NULL || !(q->route->methods & (unsigned)q->method))
        return;
    if (a->guard.keys != NULL)
        r.credentials = q->route->dialect->credentials(q);
    r.ticket = cn_request_argument(q, "ticket");
    r.purpose = (enum cn_ticket_purpose)q->route->takes_ticket;
    r.job = q->arg[0];
    r.is_open = q->route->open || (q->conn->admin && q->route->admin);
    r.scope = cn_access_scope(q->route, q->method);
    v = cn_guard_check(&a->guard, &r, &who);
    set_identity(a, q, &who);
    put_rate(q, &who.rate);
    if (v != CN_GUARD_OK)
        refuse(q, v, who.retry_after_s);
    else if (r.purpose != CN_TICKET_NONE && r.ticket != NULL &&
             !(cn_ticket_read(r.ticket, &t) && t.purpose == r.purpose))
        cn_answer_parameter(q, "ticket", "this is no ticket for this path");
}

void cn_access_ticket(const struct cn_access *a, const struct cn_request *q,
                      enum cn_ticket_purpose purpose, const char *job, int64_t expires_s,
                      char text[CN_TICKET_TEXT])
{
    struct cn_guard_identity who = {.scopes = 0};

    memcpy(who.key_label, q->who.label, sizeof(who.key_label));
    memcpy(who.tenant, q->who.tenant, sizeof(who.tenant));
    cn_guard_issue(&a->guard, &who, purpose, job, expires_s, text);
}
