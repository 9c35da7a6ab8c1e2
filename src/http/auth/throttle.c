/* Counts in windows of a minute: of wrong keys by address, of requests by key. */
#include "base/base.h"
#include "http/auth/throttle.h"
#include "base/clock.h"
#include "base/mem.h"

#include <stdlib.h>
#include <sys/random.h>

static const int64_t minute_ns = INT64_C(60000000000);

void cn_throttle_init(struct cn_throttle *t)
{
    t->row = NULL;
    while (getrandom(&t->salt, sizeof(t->salt), 0) != (ssize_t)sizeof(t->salt))
        ;
}

void cn_throttle_release(struct cn_throttle *t)
{
    free(t->row);
    t->row = NULL;
}

/* Of the splitmix64 generator: every bit of the result depends on all of x. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

static bool is_over(const struct cn_throttle_place *p, int64_t now_ns)
{
    return p->since_ns == 0 || now_ns - p->since_ns >= minute_ns;
}

/* The place of the address, else one whose minute is over, else the oldest. */
static struct cn_throttle_place *place_of(struct cn_throttle *t, uint64_t peer, int64_t now_ns)
{
    struct cn_throttle_place *row = t->row[mix(peer ^ t->salt) % CN_THROTTLE_ROWS], *best = row;

    for (int i = 0; i < CN_THROTTLE_PLACES; i++)
        if (row[i].since_ns != 0 && row[i].peer == peer && !is_over(&row[i], now_ns))
            return &row[i];
    for (int i = 1; i < CN_THROTTLE_PLACES; i++)
        if (!is_over(best, now_ns) &&
            (is_over(&row[i], now_ns) || row[i].since_ns < best->since_ns))
            best = &row[i];
    *best = (struct cn_throttle_place){.peer = peer, .since_ns = now_ns};
    return best;
}

static int seconds_left(int64_t since_ns, int64_t now_ns)
{
    int64_t left = since_ns + minute_ns - now_ns;

    return (int)((left + CN_SECOND_NS - 1) / CN_SECOND_NS);
}

int cn_throttle_wrong(struct cn_throttle *t, uint64_t peer, int64_t now_ns)
{
    struct cn_throttle_place *p;

    if (t->row == NULL)
        t->row = cn_xcalloc(CN_THROTTLE_ROWS, sizeof(*t->row));
    p = place_of(t, peer, now_ns);
    if (p->wrong == CN_WRONG_KEYS)
        return seconds_left(p->since_ns, now_ns);
    p->wrong++;
    return 0;
}

bool cn_rate_take(struct cn_key *key, int64_t now_ns, struct cn_rate *ret)
{
    bool ok;

    *ret = (struct cn_rate){0, 0, 0};
    if (key->requests_per_minute == CN_KEY_UNSET)
        return true;
    if (key->window_ns == 0 || now_ns - key->window_ns >= minute_ns) {
        key->window_ns = now_ns;
        key->requests = 0;
    }
    ok = key->requests < key->requests_per_minute;
    key->requests += ok;
    ret->limit = key->requests_per_minute;
    ret->left = CN_MAX(ret->limit - key->requests, 0);
    ret->reset_s = seconds_left(key->window_ns, now_ns);
    return ok;
}
