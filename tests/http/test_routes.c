/* The contract and the route table say the same. */
#include "base/base.h"
#include "api/problem.h"
#include "http/http_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

/* The lines of a path in the contract, up to the next path; "" when it is not there. */
static void block_of(const char *path, char *text, size_t size)
{
    char head[160];
    const char *at, *end;

    snprintf(head, sizeof(head), "\n  %s:\n", path);
    text[0] = '\0';
    at = strstr(cn_asset_openapi, head);
    if (at == NULL)
        return;
    at += strlen(head) - 1;
    for (end = strchr(at + 1, '\n'); end != NULL; end = strchr(end + 1, '\n'))
        if (end[1] != '\n' && strncmp(end, "\n   ", 4) != 0)
            break;
    assert_non_null(end);
    assert_true((size_t)(end - at) < size);
    memcpy(text, at, (size_t)(end - at));
    text[end - at] = '\0';
}

/* The methods before OPTIONS, which is open everywhere. */
static bool needs_no_key(char *block)
{
    char *options = strstr(block, "\n    options:");
    bool found;

    assert_non_null(options);
    *options = '\0';
    found = strstr(block, "\n      security: []\n") != NULL;
    *options = '\n';
    return found;
}

static void every_route_is_in_the_contract(void **state)
{
    static const struct {
        enum cn_method method;
        const char *line;
    } row[] = {{CN_GET, "\n    get:\n"},
               {CN_POST, "\n    post:\n"},
               {CN_PUT, "\n    put:\n"},
               {CN_DELETE, "\n    delete:\n"}};
    static char text[64 * 1024];
    size_t n, found = 0;
    const struct cn_route *r = cn_route_all(&n);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        block_of(r[i].path, text, sizeof(text));
        for (size_t k = 0; k < CN_LEN(row); k++)
            if (((r[i].methods & row[k].method) != 0) != (strstr(text, row[k].line) != NULL))
                fail_msg("openapi.yaml and the routes differ in %s of %s", row[k].line, r[i].path);
        if (r[i].open != needs_no_key(text))
            fail_msg("openapi.yaml and the routes differ in the keys of %s", r[i].path);
        if (r[i].admins_only && strstr(text, "'403'") == NULL)
            fail_msg("openapi.yaml does not say that %s is for administrators", r[i].path);
    }
    for (const char *p = cn_asset_openapi; (p = strstr(p, "\n  /")) != NULL; p++)
        found++;
    assert_int_equal(found, n);
}

static void paths_have_arguments(void **state)
{
    char arg[CN_PATH_ARGS][CN_PATH_ARG], longest[9 + CN_PATH_ARG + 1] = "/v1/jobs/";
    const struct cn_route *r;

    (void)state;
    r = cn_route_find("/v1/jobs/abc/images/7", arg);
    assert_string_equal(r->path, "/v1/jobs/{id}/images/{index}");
    assert_string_equal(arg[0], "abc");
    assert_string_equal(arg[1], "7");
    assert_string_equal(cn_route_find("/v1/jobs", arg)->path, "/v1/jobs");
    assert_string_equal(cn_route_find("/v1/jobs/x", arg)->path, "/v1/jobs/{id}");
    assert_string_equal(cn_route_find("/v1/models/a b/load", arg)->path, "/v1/models/{name}/load");
    assert_null(cn_route_find("/v1/jobs/", arg));
    assert_null(cn_route_find("/v1/jobs//events", arg));
    assert_null(cn_route_find("/v1/jobs/x/", arg));
    assert_null(cn_route_find("/v1/jobs/x/images", arg));
    assert_null(cn_route_find("/v1/jobs/x/images/7/8", arg));
    assert_null(cn_route_find("/v1/jobs/x/images/1234", arg));
    assert_null(cn_route_find("/v1/jobs/x/images/-1", arg));
    assert_null(cn_route_find("/v1/jobs/X/events", arg));
    assert_null(cn_route_find("", arg));
    memset(longest + 9, 'x', CN_PATH_ARG - 1);
    assert_non_null(cn_route_find(longest, arg));
    assert_int_equal(strlen(arg[0]), CN_PATH_ARG - 1);
    longest[9 + CN_PATH_ARG - 1] = 'x';
    assert_null(cn_route_find(longest, arg));
}

static void every_problem_is_in_the_contract(void **state)
{
    char line[128];
    size_t found = 0;

    (void)state;
    for (int f = 0; f < CN_FAULT_COUNT; f++) {
        snprintf(line, sizeof(line), "- %s%s\n", CN_PROBLEM_BASE,
                 cn_fault_info((enum cn_fault)f)->type);
        if (strstr(cn_asset_openapi, line) == NULL)
            fail_msg("openapi.yaml does not list %s", line);
    }
    for (const char *p = cn_asset_openapi; (p = strstr(p, "- " CN_PROBLEM_BASE)) != NULL; p++)
        found++;
    assert_int_equal(found, CN_FAULT_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_is_in_the_contract),
        cmocka_unit_test(paths_have_arguments),
        cmocka_unit_test(every_problem_is_in_the_contract),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
