/* Brakes: wrong keys of one address, and requests of one key, in a minute. Loop thread only.
 *
 * A minute begins with what is counted first and is over 60 s later. The table of addresses has a
 * fixed size; where it is full the oldest minute is forgotten, which costs a guesser with many
 * networks nothing and everybody else nothing either: a right key is never refused here.
 *
 *     cn_throttle_init(&t);
 *     wait_s = cn_throttle_wrong(&t, cn_peer_key(&peer), cn_now_ns());     -- 0: not too many yet
 *     cn_throttle_release(&t);
 */
#ifndef CN_HTTP_AUTH_THROTTLE_H
#define CN_HTTP_AUTH_THROTTLE_H

#include "base/base.h"
#include "http/auth/keys.h"

enum {
    CN_WRONG_KEYS = 20,     /* of one address in a minute that are answered with 401 */
    CN_THROTTLE_ROWS = 512, /* a row has the addresses of one value of the hash */
    CN_THROTTLE_PLACES = 8
};

struct cn_throttle_place {
    uint64_t peer;
    int64_t since_ns; /* 0: free */
    int wrong;
};

struct cn_throttle {
    struct cn_throttle_place (*row)[CN_THROTTLE_PLACES]; /* made with the first wrong key */
    uint64_t salt; /* so that nobody knows which addresses share a row */
};

void cn_throttle_init(struct cn_throttle *t);
void cn_throttle_release(struct cn_throttle *t);

/* Counts one more wrong key of the address. 0, or the seconds until the address may be wrong again.
 */
int cn_throttle_wrong(struct cn_throttle *t, uint64_t peer, int64_t now_ns);

/* What is left of a key's minute, for the headers RateLimit-Policy and RateLimit. */
struct cn_rate {
    int limit; /* 0: the key has none */
    int left;
    int reset_s; /* seconds until the minute is over */
};

/* Counts one more request of the key; false: it has none left. */
bool cn_rate_take(struct cn_key *key, int64_t now_ns, struct cn_rate *ret);

#endif
