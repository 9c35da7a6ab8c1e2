/* Tickets: what stands for a key in a URL, once and for a short time.
 *
 * An EventSource in a browser cannot send headers, and a key does not belong into a URL. So a
 * client that has a key asks for a ticket to one job's events. Loop thread only. Bounded: the
 * oldest one goes when there are CN_TICKETS.
 *
 *     cn_ticket_issue(&tickets, tenant, admin, job, now_ns, text);
 *     if (cn_ticket_use(&tickets, text, job, now_ns, &who)) ...     -- not a second time
 */
#ifndef CN_HTTP_AUTH_TICKET_H
#define CN_HTTP_AUTH_TICKET_H

#include "base/base.h"

enum { CN_TICKETS = 1024, CN_TICKET_TEXT = 33, CN_TICKET_TTL_S = 60 };

struct cn_ticket {
    unsigned char digest[32]; /* of the text: a comparison tells nothing about the text */
    char tenant[64], key_name[64], job[32];
    bool admin;
    int64_t until_ns; /* 0: free */
};

struct cn_tickets {
    struct cn_ticket *ticket; /* CN_TICKETS of them, made with the first; NULL before */
    int next;
};

void cn_tickets_release(struct cn_tickets *t);

/* who: tenant, key_name, job and admin are taken from it. */
void cn_ticket_issue(struct cn_tickets *t, const struct cn_ticket *who, int64_t now_ns,
                     char text[CN_TICKET_TEXT]);

/* True, once, for a text that was issued for this job less than CN_TICKET_TTL_S ago. */
bool cn_ticket_use(struct cn_tickets *t, const char *text, const char *job, int64_t now_ns,
                   struct cn_ticket *ret);

#endif
