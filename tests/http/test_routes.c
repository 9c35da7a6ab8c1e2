/* The contract and the route table say the same. */
#include "base/base.h"
#include "api/problem.h"
#include "http/core/answer.h"
#include "http/core/handler.h"
#include "http/routes/app.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
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

static void a_path_is_in_the_contract(const struct cn_routes *t, const struct cn_route *r)
{
    static const struct {
        enum cn_method method;
        const char *line;
    } row[] = {{CN_GET, "\n    get:\n"},
               {CN_POST, "\n    post:\n"},
               {CN_PUT, "\n    put:\n"},
               {CN_DELETE, "\n    delete:\n"}};
    static char text[64 * 1024];
    unsigned methods = 0;

    block_of(r->path, text, sizeof(text));
    for (size_t i = 0; i < t->n; i++)
        if (strcmp(t->row[i].path, r->path) == 0)
            methods |= t->row[i].methods;
    for (size_t k = 0; k < CN_LEN(row); k++)
        if (((methods & row[k].method) != 0) != (strstr(text, row[k].line) != NULL))
            fail_msg("openapi.yaml and the routes differ in %s of %s", row[k].line, r->path);
    if (r->open != needs_no_key(text))
        fail_msg("openapi.yaml and the routes differ in the keys of %s", r->path);
    if (r->admins_only && strstr(text, "'403'") == NULL)
        fail_msg("openapi.yaml does not say that %s is for administrators", r->path);
}

static void every_route_is_in_the_contract(void **state)
{
    const struct cn_routes t = cn_app_routes();
    size_t paths = 0, found = 0;

    (void)state;
    cn_routes_check(&t);
    for (size_t i = 0; i < t.n; i++) {
        a_path_is_in_the_contract(&t, &t.row[i]);
        paths += i == 0 || strcmp(t.row[i].path, t.row[i - 1].path) != 0;
    }
    for (const char *p = cn_asset_openapi; (p = strstr(p, "\n  /")) != NULL; p++)
        found++;
    assert_int_equal(found, paths);
}

static void paths_have_arguments(void **state)
{
    char arg[CN_PATH_ARGS][CN_PATH_ARG], longest[9 + CN_PATH_ARG + 1] = "/v1/jobs/";
    const struct cn_routes t = cn_app_routes();
    const struct cn_route *r;

    (void)state;
    r = cn_routes_find(&t, "/v1/jobs/abc/images/7", CN_GET, arg);
    assert_string_equal(r->path, "/v1/jobs/{id}/images/{index}");
    assert_string_equal(arg[0], "abc");
    assert_string_equal(arg[1], "7");
    assert_string_equal(cn_routes_find(&t, "/v1/jobs", CN_GET, arg)->path, "/v1/jobs");
    assert_string_equal(cn_routes_find(&t, "/v1/jobs/x", CN_GET, arg)->path, "/v1/jobs/{id}");
    assert_string_equal(cn_routes_find(&t, "/v1/models/a b/load", CN_GET, arg)->path,
                        "/v1/models/{name}/load");
    assert_null(cn_routes_find(&t, "/v1/jobs/", CN_GET, arg));
    assert_null(cn_routes_find(&t, "/v1/jobs//events", CN_GET, arg));
    assert_null(cn_routes_find(&t, "/v1/jobs/x/", CN_GET, arg));
    assert_null(cn_routes_find(&t, "/v1/jobs/x/images", CN_GET, arg));
    assert_null(cn_routes_find(&t, "/v1/jobs/x/images/7/8", CN_GET, arg));
    assert_null(cn_routes_find(&t, "/v1/jobs/x/images/1234", CN_GET, arg));
    assert_null(cn_routes_find(&t, "/v1/jobs/x/images/-1", CN_GET, arg));
    assert_null(cn_routes_find(&t, "/v1/jobs/X/events", CN_GET, arg));
    assert_null(cn_routes_find(&t, "", CN_GET, arg));
    memset(longest + 9, 'x', CN_PATH_ARG - 1);
    assert_non_null(cn_routes_find(&t, longest, CN_GET, arg));
    assert_int_equal(strlen(arg[0]), CN_PATH_ARG - 1);
    longest[9 + CN_PATH_ARG - 1] = 'x';
    assert_null(cn_routes_find(&t, longest, CN_GET, arg));
}

static void a_path_with_two_rows_has_the_methods_of_both(void **state)
{
    char arg[CN_PATH_ARGS][CN_PATH_ARG], allow[64];
    const struct cn_routes t = cn_app_routes();
    const struct cn_route *get = cn_routes_find(&t, "/v1/jobs", CN_GET, arg);
    const struct cn_route *post = cn_routes_find(&t, "/v1/jobs", CN_POST, arg);

    (void)state;
    assert_ptr_not_equal(get->handler, post->handler);
    assert_true(post->takes_body && !get->takes_body);
    assert_false(cn_routes_find(&t, "/v1/jobs", CN_PUT, arg)->methods & CN_PUT);
    cn_routes_allow(&t, get, allow, sizeof(allow));
    assert_string_equal(allow, "GET, HEAD, POST, OPTIONS");
}

static void nothing(struct cn_request *q)
{
    (void)q;
}

/* Does a table with this handler let the server start? */
static bool starts(const struct cn_handler *h)
{
    const struct cn_routes whole = cn_app_routes();
    const struct cn_route row = {
        .path = "/x", .methods = CN_GET, .handler = h, .dialect = whole.dialect};
    const struct cn_routes t = {&row, 1, whole.dialect};
    pid_t child = fork();
    int status;

    assert_true(child >= 0);
    if (child == 0) {
        fclose(stderr);
        cn_routes_check(&t);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void who_may_wait_says_what_happens_at_shutdown(void **state)
{
    const struct cn_handler silent = {.ctx_size = 8, .start = nothing, .resume = nothing};
    const struct cn_handler good = {
        .ctx_size = 8, .start = nothing, .resume = nothing, .shutdown = nothing};
    const struct cn_handler simple = {.start = nothing};

    (void)state;
    assert_false(starts(&silent));
    assert_true(starts(&good));
    assert_true(starts(&simple));
}

static void every_problem_is_in_the_contract(void **state)
{
    char line[128];
    size_t found = 0;

    (void)state;
    for (int f = 0; f < CN_PROBLEM_KIND_COUNT; f++) {
        snprintf(line, sizeof(line), "- %s%s\n", CN_PROBLEM_BASE,
                 cn_problem_kind_info((enum cn_problem_kind)f)->type);
        if (strstr(cn_asset_openapi, line) == NULL)
            fail_msg("openapi.yaml does not list %s", line);
    }
    for (const char *p = cn_asset_openapi; (p = strstr(p, "- " CN_PROBLEM_BASE)) != NULL; p++)
        found++;
    assert_int_equal(found, CN_PROBLEM_KIND_COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_is_in_the_contract),
        cmocka_unit_test(paths_have_arguments),
        cmocka_unit_test(a_path_with_two_rows_has_the_methods_of_both),
        cmocka_unit_test(who_may_wait_says_what_happens_at_shutdown),
        cmocka_unit_test(every_problem_is_in_the_contract),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
