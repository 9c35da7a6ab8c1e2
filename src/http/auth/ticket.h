/* Tickets: what stands for a key in a URL, for one job and a limited time.
 *
 * An EventSource in a browser cannot send headers, and a key does not belong into a URL. So a
 * client that has a key asks for a ticket; links to results can be signed in the same way. A ticket
 * is signed, not stored: nothing fills up, it is good in the next life of the server (the secret
 * lies in the state folder) and as often as it is used, as a browser's reconnects do. It ends with
 * its time, with its key, or with the secret.
 *
 *     e~1798761600~anna~7f83b1657ff1fc53b92dc18148a1d65dfc2d4b1fa3d677284addd200126d9069
 *     purpose, end (seconds since 1970), the key's id or name, HMAC-SHA256 (RFC 2104)
 *
 * The signature covers purpose, end, key, tenant and job. Any thread.
 *
 *     cn_ticket_issue(&secret, &t, text);
 *     if (cn_ticket_read(text, &t)) ... t.tenant = tenant of t.key ...
 *     if (cn_ticket_is_valid(&secret, text, &t, wall_s)) ...
 */
#ifndef CN_HTTP_AUTH_TICKET_H
#define CN_HTTP_AUTH_TICKET_H

#include "base/base.h"
#include "http/auth/keys.h"

enum {
    CN_TICKET_TEXT = 2 + 20 + CN_KEY_NAME + 1 + 64 + 1,
    CN_TICKET_SECRET = 32,  /* bytes */
    CN_TICKET_TTL_S = 86400 /* as long as a job may take (queue.async_timeout_s) */
};

enum cn_ticket_purpose { CN_TICKET_NONE = 0, CN_TICKET_EVENTS = 'e', CN_TICKET_RESULTS = 'r' };

struct cn_ticket_secret {
    unsigned char bytes[CN_TICKET_SECRET];
};

struct cn_ticket {
    enum cn_ticket_purpose purpose;
    int64_t expires_s;        /* since 1970 */
    char key[CN_KEY_NAME];    /* cn_key_label(); "" without authentication */
    const char *tenant, *job; /* not in the text: borrowed */
};

/* The secret in the file, which is made when there is none (0600; the name appears with all its
 * bytes). Without a path, or when that fails, one of this process's own: *ret is valid in any case,
 * and the error says that it will not last. */
int cn_ticket_secret_load(struct cn_ticket_secret *ret, const char *path, struct cn_err *err);

void cn_ticket_issue(const struct cn_ticket_secret *s, const struct cn_ticket *t,
                     char text[CN_TICKET_TEXT]);

/* Takes the text apart, which says nothing yet about its truth; tenant and job stay as they are. */
bool cn_ticket_read(const char *text, struct cn_ticket *ret);

/* Signed by us for t's purpose, key, tenant and job, and its time is not over. */
bool cn_ticket_is_valid(const struct cn_ticket_secret *s, const char *text,
                        const struct cn_ticket *t, int64_t wall_s);

#endif
