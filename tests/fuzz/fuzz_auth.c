/* What strangers send to be let in: Host, Origin, keys, tickets, X-Forwarded-For; and the file of
 * keys. The input is cut into these at its newlines. Nobody is let in by what is not in the file,
 * and what is read stays within its bounds. */
#include "base/base.h"
#include "http/auth/guard.h"
#include "http/auth/site.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum { PARTS = 6, KEY = 3 };

static const char file[] = "anna:0123456789abcdef models=a\nbert:fedcba9876543210 scopes=read\n";
static struct cn_keys keys;
static struct cn_guard guard;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    cn_guard_init(&guard);
    CN_ASSERT(cn_keys_parse(&keys, "file", file, strlen(file), NULL) == CN_OK);
    guard.keys = &keys;
    return 0;
}

static void check_site(const char *host, const char *origin, const char *list)
{
    struct cn_site_request q = {host, origin, true, false};
    const struct cn_site_rules closed = {false, "", ""}, open = {true, list, list};
    enum cn_site_verdict v = cn_site_check(&q, &closed);

    cn_site_check(&q, &open);
    cn_site_check_hosts(list, NULL);
    CN_ASSERT(v != CN_SITE_OK || cn_site_is_local_name(host));
    CN_ASSERT(v != CN_SITE_OK || cn_site_is_own(origin, host));
}

static void check_peer(const char *forwarded, const char *list)
{
    char text[CN_PEER_TEXT];
    struct cn_peer p, again;

    CN_ASSERT(cn_peer_read("192.0.2.1", 9, &p));
    cn_peer_resolve(&p, forwarded, "192.0.2.0/24");
    cn_peer_write(&p, text);
    CN_ASSERT(cn_peer_read(text, strlen(text), &again) && cn_peer_key(&p) == cn_peer_key(&again));
    cn_peer_is_in(&p, list);
    cn_peer_check_list(list, NULL);
}

static void check_guard(const char *key, const char *ticket)
{
    struct cn_guard_request q = {.credentials = key, .scope = CN_SCOPE_SUBMIT, .wall_s = 1};
    struct cn_guard_identity who;

    CN_ASSERT(cn_guard_check(&guard, &q, &who) != CN_GUARD_OK || strcmp(who.tenant, "anna") == 0);
    q = (struct cn_guard_request){
        .ticket = ticket, .purpose = CN_TICKET_EVENTS, .job = "j", .wall_s = 1};
    CN_ASSERT(cn_guard_check(&guard, &q, &who) == CN_GUARD_TICKET); /* none was issued */
}

static void check_file(const uint8_t *data, size_t len)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_keys k;

    if (cn_keys_parse(&k, "file", (const char *)data, len, &err) < 0) {
        CN_ASSERT(strncmp(err.msg, "file:", 5) == 0 && k.n == 0);
        return;
    }
    for (size_t i = 0; i < k.n; i++)
        CN_ASSERT(k.key[i].name[0] != '\0' && k.key[i].scopes != 0 && k.key[i].line > 0);
    cn_keys_release(&k);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    char *text = malloc(len + 1), *rest = text, *part[PARTS];

    if (text == NULL)
        return 0;
    memcpy(text, data, len);
    text[len] = '\0';
    for (int i = 0; i < PARTS; i++) {
        part[i] = strsep(&rest, "\n");
        if (part[i] == NULL)
            part[i] = text + strlen(text);
    }
    check_site(part[0], part[1], part[2]);
    check_guard(part[KEY], part[4]);
    check_peer(part[5], part[2]);
    check_file(data, len);
    free(text);
    return 0;
}
