/* GET /: the console, one page without a file beside it. Its policy lets nothing run but the script
 * that is in it, nothing be loaded but what the page itself has, and talks to this server alone. */
#include "base/base.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/sha256.h"
#include "http/routes/routes_priv.h"

#include <string.h>

enum { POLICY_MAX = 1024 };

/* Adds the digest of the text of the page's one element of this kind, from "<x>" to "</x>": the
 * browser counts what is between the tags. */
static void put_digest(struct cn_buf *b, const char *open, const char *close)
{
    unsigned char digest[CN_SHA256_BYTES];
    const char *from = strstr(cn_asset_page, open), *to;

    CN_ASSERT(from != NULL);
    from += strlen(open);
    to = strstr(from, close);
    CN_ASSERT(to != NULL && strstr(to, open) == NULL);
    cn_sha256(from, (size_t)(to - from), digest);
    cn_buf_adds(b, "'sha256-", NULL);
    cn_base64_encode(b, digest, sizeof(digest), NULL);
    cn_buf_adds(b, "'", NULL);
}

static void put_policy(struct cn_buf *b)
{
    cn_buf_adds(b, "default-src 'none'; script-src ", NULL);
    put_digest(b, "<script>", "</script>");
    cn_buf_adds(b, "; style-src ", NULL);
    put_digest(b, "<style>", "</style>");
    cn_buf_adds(b,
                "; connect-src 'self'; img-src blob: data:; frame-ancestors 'none'; "
                "base-uri 'none'; form-action 'none'",
                NULL);
}

static void get_page(struct cn_request *q)
{
    struct cn_buf policy;

    cn_buf_init(&policy, POLICY_MAX);
    put_policy(&policy);
    cn_answer_field(q, "Cache-Control", "no-cache");
    cn_answer_field(q, "Content-Security-Policy", "%.*s", (int)policy.len,
                    (const char *)policy.data);
    cn_answer_field(q, "Referrer-Policy", "no-referrer");
    cn_answer_field(q, "Cross-Origin-Opener-Policy", "same-origin");
    cn_answer_text(q, 200, "text/html; charset=utf-8", cn_asset_page);
    cn_buf_release(&policy);
}

const struct cn_handler cn_get_page = {.start = get_page};
