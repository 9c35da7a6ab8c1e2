/* From credentials to an identity and a verdict: keys first, then a ticket; what is
 * wrong is counted by address, what is right by key. */
#include "base/base.h"
#include "http/auth/guard.h"

#include <stdio.h>
#include <string.h>

void cn_guard_init(struct cn_guard *a)
{
    a->keys = NULL;
    cn_throttle_init(&a->wrong);
    cn_ticket_secret_load(&a->secret, NULL, NULL);
}

void cn_guard_release(struct cn_guard *a)
{
    cn_throttle_release(&a->wrong);
    explicit_bzero(&a->secret, sizeof(a->secret));
}

static void stand_for(struct cn_guard_identity *ret, const struct cn_key *key)
{
    memcpy(ret->key_name, key->name, sizeof(ret->key_name));
    snprintf(ret->key_label, sizeof(ret->key_label), "%s", cn_key_label(key));
    memcpy(ret->tenant, key->tenant, sizeof(ret->tenant));
    ret->scopes = key->scopes;
    ret->models = key->models;
}

static enum cn_guard_verdict check_ticket(const struct cn_guard *a,
                                          const struct cn_guard_request *q,
                                          struct cn_guard_identity *ret)
{
    struct cn_ticket t;
    const struct cn_key *key;

    if (q->purpose == CN_TICKET_NONE)
        return CN_GUARD_NO_TICKET;
    if (!cn_ticket_read(q->ticket, &t) || t.purpose != q->purpose)
        return CN_GUARD_TICKET;
    key = cn_keys_find(a->keys, t.key); /* a ticket ends with its key */
    if (key == NULL)
        return CN_GUARD_TICKET;
    t.tenant = key->tenant;
    t.job = q->job;
    if (!cn_ticket_is_valid(&a->secret, q->ticket, &t, q->wall_s))
        return CN_GUARD_TICKET;
    if (cn_key_is_expired(key, q->wall_s))
        return CN_GUARD_EXPIRED;
    stand_for(ret, key);
    return CN_GUARD_OK;
}

static enum cn_guard_verdict count_wrong(struct cn_guard *a, const struct cn_guard_request *q,
                                         struct cn_guard_identity *ret)
{
    ret->retry_after_s = cn_throttle_wrong(&a->wrong, cn_peer_key(&q->peer), q->now_ns);
    return ret->retry_after_s > 0 ? CN_GUARD_GUESSING : CN_GUARD_WRONG;
}

static enum cn_guard_verdict check_key(struct cn_guard *a, const struct cn_guard_request *q,
                                       struct cn_guard_identity *ret)
{
    struct cn_key *key = cn_keys_check(a->keys, q->credentials);

    if (key == NULL)
        return count_wrong(a, q, ret);
    if (cn_key_is_expired(key, q->wall_s))
        return CN_GUARD_EXPIRED;
    stand_for(ret, key);
    if (!cn_rate_take(key, q->now_ns, &ret->rate)) {
        ret->retry_after_s = ret->rate.reset_s;
        return CN_GUARD_RATE;
    }
    return q->scope != 0 && !(key->scopes & q->scope) ? CN_GUARD_SCOPE : CN_GUARD_OK;
}

enum cn_guard_verdict cn_guard_check(struct cn_guard *a, const struct cn_guard_request *q,
                                     struct cn_guard_identity *ret)
{
    enum cn_guard_verdict v;

    *ret = (struct cn_guard_identity){.tenant = "anonymous"};
    if (a->keys == NULL) {
        ret->scopes = CN_SCOPE_ALL;
        return CN_GUARD_OK;
    }
    if (q->credentials != NULL)
        v = check_key(a, q, ret);
    else if (q->ticket != NULL)
        v = check_ticket(a, q, ret);
    else
        v = CN_GUARD_NONE;
    return q->is_open ? CN_GUARD_OK : v;
}

void cn_guard_issue(const struct cn_guard *a, const struct cn_guard_identity *who,
                    enum cn_ticket_purpose purpose, const char *job, int64_t expires_s,
                    char text[CN_TICKET_TEXT])
{
    struct cn_ticket t = {
        .purpose = purpose, .expires_s = expires_s, .tenant = who->tenant, .job = job};

    memcpy(t.key, who->key_label, sizeof(t.key));
    cn_ticket_issue(&a->secret, &t, text);
}

bool cn_guard_allows_model(const char *models, const char *name)
{
    size_t n = strlen(name);

    while (models != NULL) {
        size_t len = strcspn(models, ",");

        if (len == n && memcmp(models, name, n) == 0)
            return true;
        if (models[len] == '\0')
            return false;
        models += len + 1;
    }
    return true;
}

const char *cn_guard_reason(enum cn_guard_verdict v)
{
    switch (v) {
    case CN_GUARD_NONE:
        return "no API key came with the request";
    case CN_GUARD_WRONG:
        return "the API key is unknown";
    case CN_GUARD_TICKET:
        return "the ticket is not valid, or its time is over";
    case CN_GUARD_NO_TICKET:
        return "tickets are not taken here, and no API key came with the request";
    case CN_GUARD_EXPIRED:
        return "the API key has expired";
    case CN_GUARD_GUESSING:
        return "too many unknown API keys came from this address";
    case CN_GUARD_RATE:
        return "the API key has used up its requests of this minute";
    case CN_GUARD_SCOPE:
        return "the API key lacks the scope that this needs";
    default:
        return "";
    }
}
