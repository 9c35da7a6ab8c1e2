/* conf: etc/controlnetd.conf names every key, with its default. */
#include "base/base.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "conf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static char *conf_path(void)
{
    const char *srcdir = getenv("srcdir");

    return cn_xprintf("%s/etc/controlnetd.conf", srcdir == NULL ? "." : srcdir);
}

static void print(const struct cn_conf *c, char *text, size_t size)
{
    FILE *f = fmemopen(text, size, "w");

    cn_conf_print(c, f);
    fclose(f);
}

static void the_shipped_file_holds_the_defaults(void **state)
{
    char *path = conf_path(), a[8192] = "", b[8192] = "";
    struct cn_err err = CN_ERR_INIT;
    struct cn_conf c;

    (void)state;
    cn_conf_init(&c);
    print(&c, a, sizeof(a));
    if (cn_conf_read(&c, path, &err) < 0 || cn_conf_check(&c, &err) < 0)
        fail_msg("%s", err.msg);
    print(&c, b, sizeof(b));
    assert_string_equal(a, b);
    cn_conf_release(&c);
    free(path);
}

static void is_mentioned(const char *section, const char *name, void *arg)
{
    char line[128];

    snprintf(line, sizeof(line), "\n%s =", name);
    if (strstr(arg, line) != NULL)
        return;
    snprintf(line, sizeof(line), "\n#%s =", name);
    if (strstr(arg, line) == NULL)
        fail_msg("etc/controlnetd.conf does not mention %s.%s", section, name);
}

static void the_shipped_file_mentions_every_key(void **state)
{
    char *path = conf_path();
    struct cn_buf b;

    (void)state;
    cn_buf_init(&b, 1 << 20);
    assert_int_equal(cn_file_read(path, &b, NULL), CN_OK);
    cn_conf_each(is_mentioned, b.data);
    cn_buf_release(&b);
    free(path);
}

static void assignments(void **state)
{
    static const char *const bad[] = {"",
                                      "queue",
                                      "queue.capacity",
                                      "queue=3",
                                      "queue.capacity=",
                                      "queue.capacity=x",
                                      "queue.capacity=0",
                                      "queue.capacity=3x",
                                      "queue.capacity=99999999999999999999",
                                      "nope.capacity=3",
                                      "queue.nope=3",
                                      "log.prompts=",
                                      "log.prompts=2"};
    struct cn_conf c;

    (void)state;
    cn_conf_init(&c);
    assert_int_equal(cn_conf_set(&c, "queue.capacity=3", NULL), CN_OK);
    assert_int_equal(c.capacity, 3);
    assert_int_equal(cn_conf_set(&c, "http.cors_origins=https://a.b=c", NULL), CN_OK);
    assert_string_equal(c.cors_origins, "https://a.b=c");
    assert_int_equal(cn_conf_set(&c, "log.prompts=on", NULL), CN_OK);
    assert_int_equal(c.prompts, 1);
    for (size_t i = 0; i < CN_LEN(bad); i++)
        assert_true(cn_conf_set(&c, bad[i], NULL) < 0);
    cn_conf_release(&c);
}

static void count(const char *section, const char *name, void *arg)
{
    assert_string_equal(section, "http");
    assert_string_equal(name, "listen");
    ++*(int *)arg;
}

static void a_merge_takes_what_may_change(void **state)
{
    struct cn_conf a, b;
    int fixed = 0;

    (void)state;
    cn_conf_init(&a);
    cn_conf_init(&b);
    cn_conf_set(&b, "queue.capacity=7", NULL);
    cn_conf_set(&b, "http.cors_origins=https://b", NULL);
    cn_conf_set(&b, "http.listen=:1", NULL);
    assert_int_equal(cn_conf_merge(&a, &b, count, &fixed), 2);
    assert_int_equal(fixed, 1);
    assert_int_equal(a.capacity, 7);
    assert_string_equal(a.cors_origins, "https://b");
    assert_string_equal(a.listen, "127.0.0.1:8080");
    assert_string_equal(b.cors_origins, ""); /* the old value, to be released */
    cn_conf_release(&a);
    cn_conf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shipped_file_holds_the_defaults),
        cmocka_unit_test(the_shipped_file_mentions_every_key),
        cmocka_unit_test(assignments),
        cmocka_unit_test(a_merge_takes_what_may_change),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
