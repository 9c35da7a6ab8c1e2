/* Which web pages may use the server: what a browser is lured into is not what its user wants.
 *
 * Two attacks need no key and reach a server that listens on loopback only. A page of any site may
 * send requests whose answer it cannot read (a form, multipart): they carry its Origin. And a page
 * whose own name was made to point at this machine (DNS rebinding) may read the answers too: its
 * requests carry that name as Host. So
 *
 *  - a method that changes something is refused when its Origin is neither the server's own nor
 *    allowed to (http.cors_origins), also with a key: browsers add those of Basic authentication by
 *    themselves;
 *  - while there are no keys, Host has to be an IP literal or localhost, which no name of others
 * can be, or one of http.hosts. Requests without a Host (HTTP/1.0) come from no browser, and those
 *    over a Unix socket from no network.
 *
 * Any thread; nothing is kept.
 */
#ifndef CN_HTTP_AUTH_SITE_H
#define CN_HTTP_AUTH_SITE_H

#include "base/base.h"

enum cn_site_verdict {
    CN_SITE_OK,
    CN_SITE_HOST,  /* a name that this server was not told to be its own */
    CN_SITE_ORIGIN /* a page of another site */
};

struct cn_site_request {
    const char *host;   /* the header; NULL: there is none */
    const char *origin; /* the header; NULL: there is none */
    bool changes;       /* the method is none of GET, HEAD and OPTIONS */
    bool over_unix;     /* the connection is a Unix socket's */
};

struct cn_site_rules {
    bool has_keys;
    const char *hosts;   /* http.hosts: names separated by blanks */
    const char *origins; /* http.cors_origins */
};

enum cn_site_verdict cn_site_check(const struct cn_site_request *q, const struct cn_site_rules *r);

/* An IP literal or localhost, with or without a port. */
bool cn_site_is_local_name(const char *host);

/* Scheme, host and port are those of Host: "null", and what is no origin, are not. */
bool cn_site_is_own(const char *origin, const char *host);

/* One of the list, byte by byte; "*" lists all. */
bool cn_site_is_listed(const char *origin, const char *origins);

/* Whether the list may be http.hosts. */
int cn_site_check_hosts(const char *hosts, struct cn_err *err);

#endif
