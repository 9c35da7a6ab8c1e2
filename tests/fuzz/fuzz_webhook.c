/* Where a client wants a webhook to go. What passes begins with what is allowed, and leads to the
 * host that is allowed. */
#include "base/base.h"
#include "base/mem.h"
#include "webhook/rules.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct cn_webhook_rules *rules;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    CN_ASSERT(cn_webhook_rules_new("https://hooks.example/a/ http://10.0.0.1:8080/", "10.0.0.0/8",
                                   &rules, NULL) == CN_OK);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char *url = cn_xcalloc(len + 1, 1), *host;

    memcpy(url, data, len);
    if (cn_webhook_rules_check(rules, url, NULL) == CN_OK) {
        host = cn_webhook_host(url);
        CN_ASSERT(strcmp(host, "hooks.example") == 0 || strcmp(host, "10.0.0.1") == 0);
        CN_ASSERT(strlen(url) < CN_WEBHOOK_URL && strchr(url, '#') == NULL);
        free(host);
    }
    free(cn_webhook_host(url));
    free(url);
    return 0;
}
