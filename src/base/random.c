/* Bytes that nobody can guess, from a stock: see random.h. */
#include "base/base.h"
#include "base/random.h"
#include "base/text.h"

#include <string.h>
#include <sys/random.h>

enum { STOCK = 256 /* bytes that getrandom() gives without being interrupted */ };

static _Thread_local unsigned char stock[STOCK];
static _Thread_local size_t left; /* the last bytes of it */

void cn_random_bytes(void *out, size_t n)
{
    unsigned char *to = out;

    while (n > 0) {
        size_t now = CN_MIN(n, left);
        unsigned char *from = stock + STOCK - left;

        memcpy(to, from, now);
        explicit_bzero(from, now);
        to += now;
        n -= now;
        left -= now;
        if (n > 0 && getrandom(stock, STOCK, 0) == STOCK)
            left = STOCK;
    }
}

void cn_random_hex(char *text, size_t n)
{
    unsigned char raw[CN_RANDOM_HEX_MAX / 2];

    CN_ASSERT(n % 2 == 0 && n <= CN_RANDOM_HEX_MAX);
    cn_random_bytes(raw, n / 2);
    cn_hex_encode(raw, n / 2, text);
}
