/* Which of two representations a client prefers (RFC 9110 section 12.5.1). Any thread. */
#ifndef CN_HTTP_CORE_ACCEPT_H
#define CN_HTTP_CORE_ACCEPT_H

#include "base/base.h"

/* Quality of a media type ("image/png") under an Accept header: -1 when it is not acceptable, else
 * 0 < q <= 1. *ret_explicit (may be NULL): the type itself was named, not only a wildcard.
 * header NULL or empty: everything is acceptable. */
double cn_accept_quality(const char *header, const char *type, bool *ret_explicit);

#endif
