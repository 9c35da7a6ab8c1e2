/* Tickets. */
#include "base/base.h"
#include "http/auth/ticket.h"
#include "base/mem.h"
#include "base/sha256.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

void cn_tickets_release(struct cn_tickets *t)
{
    free(t->ticket);
    *t = (struct cn_tickets){NULL, 0};
}

static void draw(char text[CN_TICKET_TEXT])
{
    static const char digit[] = "0123456789abcdef";
    unsigned char raw[16];

    while (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
        ;
    for (size_t i = 0; i < sizeof(raw); i++) {
        text[2 * i] = digit[raw[i] >> 4];
        text[2 * i + 1] = digit[raw[i] & 15];
    }
    text[2 * sizeof(raw)] = '\0';
}

void cn_ticket_issue(struct cn_tickets *t, const struct cn_ticket *who, int64_t now_ns,
                     char text[CN_TICKET_TEXT])
{
    struct cn_ticket *slot;

    if (t->ticket == NULL)
        t->ticket = cn_xcalloc(CN_TICKETS, sizeof(*t->ticket));
    slot = &t->ticket[t->next];
    t->next = (t->next + 1) % CN_TICKETS;
    draw(text);
    *slot = *who;
    cn_sha256(text, strlen(text), slot->digest);
    slot->until_ns = now_ns + CN_TICKET_TTL_S * INT64_C(1000000000);
}

bool cn_ticket_use(struct cn_tickets *t, const char *text, const char *job, int64_t now_ns,
                   struct cn_ticket *ret)
{
    unsigned char digest[CN_SHA256_BYTES];

    if (t->ticket == NULL || strlen(text) != CN_TICKET_TEXT - 1)
        return false;
    cn_sha256(text, strlen(text), digest);
    for (int i = 0; i < CN_TICKETS; i++) {
        struct cn_ticket *slot = &t->ticket[i];

        if (slot->until_ns <= now_ns || memcmp(slot->digest, digest, sizeof(digest)) != 0 ||
            strcmp(slot->job, job) != 0)
            continue;
        *ret = *slot;
        slot->until_ns = 0;
        return true;
    }
    return false;
}
