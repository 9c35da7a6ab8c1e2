/* The native dialect: errors are problem documents (RFC 9457), credentials are a key in
 * "Authorization: Bearer KEY" or in X-Api-Key. */
#include "base/base.h"
#include "http/routes/routes_priv.h"

#include <strings.h>

static void put_problem(const struct cn_problem *p, struct cn_buf *out)
{
    cn_problem_write(p, out, NULL);
}

/* A proxy's own Authorization does not hide the key in X-Api-Key. */
static const char *credentials(const struct cn_request *q)
{
    const char *authorization = cn_request_header(q, "Authorization");
    const char *key = cn_request_header(q, "X-Api-Key");

    if (authorization != NULL && strncasecmp(authorization, "Bearer ", 7) == 0)
        return authorization;
    return key != NULL ? key : authorization;
}

const struct cn_dialect cn_dialect_native = {.problem_type = "application/problem+json",
                                             .put_problem = put_problem,
                                             .credentials = credentials,
                                             .challenge = "Bearer realm=\"controlnetd\""};
