/* Addresses of clients: read, compared with the networks of trusted proxies, found in
 * X-Forwarded-For. Everything is IPv6 here, IPv4 as ::ffff:a.b.c.d. */
#include "base/base.h"
#include "http/auth/peer.h"
#include "base/text.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

enum { MAX_ADDRESS = 63, MAX_HOPS = 32, MAPPED_BITS = 96 };

static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool is_v4(const struct cn_peer *p)
{
    return memcmp(p->address, mapped, sizeof(mapped)) == 0;
}

static void set_v4(struct cn_peer *ret, const void *address)
{
    memcpy(ret->address, mapped, sizeof(mapped));
    memcpy(ret->address + sizeof(mapped), address, 4);
}

void cn_peer_of(const struct sockaddr *sa, struct cn_peer *ret)
{
    *ret = (struct cn_peer){.is_unix = false};
    if (sa->sa_family == AF_INET)
        set_v4(ret, &((const struct sockaddr_in *)(const void *)sa)->sin_addr);
    else if (sa->sa_family == AF_INET6)
        memcpy(ret->address, &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr, 16);
    else
        ret->is_unix = true;
}

static bool read_plain(const char *text, struct cn_peer *ret)
{
    unsigned char v4[4];

    if (inet_pton(AF_INET6, text, ret->address) == 1)
        return true;
    if (inet_pton(AF_INET, text, v4) != 1)
        return false;
    set_v4(ret, v4);
    return true;
}

bool cn_peer_read(const char *text, size_t len, struct cn_peer *ret)
{
    char copy[MAX_ADDRESS + 1], *port;
    size_t skip = 0;

    *ret = (struct cn_peer){.is_unix = false};
    if (len == 0 || len > MAX_ADDRESS)
        return false;
    memcpy(copy, text, len);
    copy[len] = '\0';
    if (copy[0] == '[') { /* [v6] or [v6]:port */
        port = strchr(copy, ']');
        if (port == NULL || (port[1] != '\0' && (port[1] != ':' || cn_decimal(port + 2) < 0)))
            return false;
        *port = '\0';
        skip = 1;
    } else if ((port = strchr(copy, ':')) != NULL && strchr(port + 1, ':') == NULL) { /* v4:port */
        if (cn_decimal(port + 1) < 0)
            return false;
        *port = '\0';
    }
    return read_plain(copy + skip, ret);
}

/* ---- lists ---- */

struct network {
    struct cn_peer at;
    int bits; /* of the IPv6 form */
};

static bool read_network(const char *word, size_t len, struct network *ret)
{
    const char *slash = memchr(word, '/', len);
    char number[8] = "";
    size_t n = slash == NULL ? 0 : len - (size_t)(slash + 1 - word);
    int64_t bits;

    *ret = (struct network){.bits = 128};
    if (len == 4 && memcmp(word, "unix", 4) == 0) {
        ret->at.is_unix = true;
        return true;
    }
    if (!cn_peer_read(word, slash == NULL ? len : (size_t)(slash - word), &ret->at))
        return false;
    if (slash == NULL)
        return true;
    if (n == 0 || n >= sizeof(number))
        return false;
    memcpy(number, slash + 1, n);
    bits = cn_decimal(number);
    if (is_v4(&ret->at) && bits >= 0)
        bits += MAPPED_BITS;
    ret->bits = (int)bits;
    return bits >= 0 && bits <= 128;
}

static bool contains(const struct network *net, const struct cn_peer *p)
{
    int whole = net->bits / 8, rest = net->bits % 8;

    if (net->at.is_unix || p->is_unix)
        return net->at.is_unix && p->is_unix;
    if (memcmp(net->at.address, p->address, (size_t)whole) != 0)
        return false;
    return rest == 0 || ((net->at.address[whole] ^ p->address[whole]) >> (8 - rest)) == 0;
}

/* The next word of a list; NULL at its end. */
static const char *next_word(const char **list, size_t *ret_len)
{
    const char *p = *list + strspn(*list, " ,\t");

    *ret_len = strcspn(p, " ,\t");
    *list = p + *ret_len;
    return *ret_len == 0 ? NULL : p;
}

bool cn_peer_is_in(const struct cn_peer *p, const char *list)
{
    struct network net;
    const char *word;
    size_t n;

    while ((word = next_word(&list, &n)) != NULL)
        if (read_network(word, n, &net) && contains(&net, p))
            return true;
    return false;
}

int cn_peer_check_list(const char *list, struct cn_err *err)
{
    struct network net;
    const char *word;
    size_t n;

    while ((word = next_word(&list, &n)) != NULL)
        if (!read_network(word, n, &net))
            return cn_fail(err, CN_EINVAL,
                           "http.trusted_proxies: \"%.*s\" is no address, network or \"unix\"",
                           (int)CN_MIN(n, 80), word);
    return CN_OK;
}

void cn_peer_resolve(struct cn_peer *p, const char *forwarded_for, const char *proxies)
{
    const char *end = forwarded_for == NULL ? NULL : forwarded_for + strlen(forwarded_for);

    for (int hop = 0; end != NULL && hop < MAX_HOPS && cn_peer_is_in(p, proxies); hop++) {
        const char *start = end;
        struct cn_peer next;
        size_t n;

        while (start > forwarded_for && start[-1] != ',')
            start--;
        n = (size_t)(end - start);
        end = start > forwarded_for ? start - 1 : NULL;
        while (n > 0 && (*start == ' ' || *start == '\t')) {
            start++;
            n--;
        }
        while (n > 0 && (start[n - 1] == ' ' || start[n - 1] == '\t'))
            n--;
        if (!cn_peer_read(start, n, &next))
            return; /* "unknown", or nonsense: the proxy is all that is known */
        *p = next;
    }
}

uint64_t cn_peer_key(const struct cn_peer *p)
{
    const unsigned char *from = p->address;
    uint64_t key = 0;

    if (p->is_unix)
        return 1;
    if (is_v4(p))
        from += 8; /* 0000:ffff and the address: no network of 64 bits begins so */
    for (int i = 0; i < 8; i++)
        key = key << 8 | from[i];
    return key;
}

void cn_peer_write(const struct cn_peer *p, char text[CN_PEER_TEXT])
{
    if (p->is_unix)
        memcpy(text, "unix", 5);
    else if (is_v4(p))
        inet_ntop(AF_INET, p->address + sizeof(mapped), text, CN_PEER_TEXT);
    else
        inet_ntop(AF_INET6, p->address, text, CN_PEER_TEXT);
}
