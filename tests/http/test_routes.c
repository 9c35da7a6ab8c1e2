/* The contract and the route table say the same. */
#include "base/base.h"
#include "api/problem.h"
#include "http/http_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

static void every_route_is_in_the_contract(void **state)
{
    char line[128];
    size_t n, found = 0;
    const struct cn_route *r = cn_route_all(&n);

    (void)state;
    for (size_t i = 0; i < n; i++) {
        snprintf(line, sizeof(line), "\n  %s:\n    %s:\n", r[i].path,
                 r[i].methods & CN_POST ? "post" : "get");
        if (strstr(cn_asset_openapi, line) == NULL)
            fail_msg("openapi.yaml does not describe %s", r[i].path);
    }
    for (const char *p = cn_asset_openapi; (p = strstr(p, "\n  /")) != NULL; p++)
        found++;
    assert_int_equal(found, n);
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
        cmocka_unit_test(every_problem_is_in_the_contract),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
