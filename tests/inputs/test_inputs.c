/* Inputs: kept once, found by their tenant alone, counted, gone when unused. */
#include "base/base.h"
#include "base/buf.h"
#include "inputs/inputs.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

static char root[] = "/tmp/cn-inputs-XXXXXX";
static char dir[64];
static struct cn_inputs *in;

static const struct cn_inputs_limits roomy = {
    .ttl_s = 1000, .max_bytes = 1 << 20, .tenant_max_bytes = 1 << 19, .tenant_max_count = 100};

static void open_with(struct cn_inputs_limits limits)
{
    struct cn_inputs_options o = {.dir = dir, .limits = limits};
    struct cn_err err = CN_ERR_INIT;

    if (cn_inputs_open(&o, &in, &err) != CN_OK)
        fail_msg("%s", err.msg);
}

static int start(void **state)
{
    (void)state;
    memcpy(root + strlen(root) - 6, "XXXXXX", 6);
    if (mkdtemp(root) == NULL)
        return -1;
    snprintf(dir, sizeof(dir), "%s/state/inputs", root);
    open_with(roomy);
    return 0;
}

static int stop(void **state)
{
    char command[100];

    (void)state;
    cn_inputs_close(in);
    snprintf(command, sizeof(command), "rm -rf '%s'", root);
    return system(command);
}

static struct cn_input put(const char *tenant, const char *text)
{
    struct cn_input ret;
    struct cn_err err = CN_ERR_INIT;

    if (cn_inputs_put(in, tenant, text, strlen(text), &ret, &err) != CN_OK)
        fail_msg("%s", err.msg);
    return ret;
}

static int get(const char *tenant, const char *id, char *text, size_t size)
{
    struct cn_buf b;
    int rc;

    cn_buf_init(&b, size - 1);
    rc = cn_inputs_get(in, tenant, id, &b, NULL);
    if (rc == CN_OK)
        memcpy(text, b.data, b.len + 1);
    cn_buf_release(&b);
    return rc;
}

static struct cn_inputs_totals totals(void)
{
    struct cn_inputs_totals t;

    cn_inputs_totals(in, &t);
    return t;
}

/* Calls fn for the path of each file of all tenants. */
static void each_file(void (*fn)(const char *path))
{
    DIR *d = opendir(dir);
    const struct dirent *e, *f;

    while ((e = readdir(d)) != NULL) {
        char folder[400];
        DIR *sub;

        if (e->d_name[0] == '.')
            continue;
        snprintf(folder, sizeof(folder), "%s/%s", dir, e->d_name);
        sub = opendir(folder);
        while ((f = readdir(sub)) != NULL) {
            char path[700];

            snprintf(path, sizeof(path), "%s/%s", folder, f->d_name);
            if (f->d_name[0] != '.')
                fn(path);
        }
        closedir(sub);
    }
    closedir(d);
}

static void age(const char *path)
{
    struct timespec t[2] = {{time(NULL) - 1001, 0}, {time(NULL) - 1001, 0}};

    utimensat(AT_FDCWD, path, t, 0);
}

static void damage(const char *path)
{
    int fd = open(path, O_WRONLY);

    assert_int_equal(pwrite(fd, "X", 1, 0), 1);
    close(fd);
}

static void the_same_bytes_are_kept_once(void **state)
{
    struct cn_input a = put("alice", "abc"), again = put("alice", "abc"), b = put("alice", "abd");
    char text[8];

    (void)state;
    assert_string_equal(a.id, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_true(a.is_new);
    assert_false(again.is_new);
    assert_string_equal(a.id, again.id);
    assert_string_not_equal(a.id, b.id);
    assert_int_equal(totals().count, 2);
    assert_int_equal(totals().bytes, 6);
    assert_int_equal(get("alice", a.id, text, sizeof(text)), CN_OK);
    assert_string_equal(text, "abc");
    assert_int_equal(get("alice", a.id, text, 3), CN_ETOOBIG);
}

static void tenants_do_not_see_each_other(void **state)
{
    struct cn_input a = put("alice", "abc");
    char text[8];

    (void)state;
    assert_int_equal(get("bob", a.id, text, sizeof(text)), CN_ENOTFOUND);
    assert_int_equal(cn_inputs_remove(in, "bob", a.id, NULL), CN_ENOTFOUND);
    assert_true(put("bob", "abc").is_new);
    assert_int_equal(cn_inputs_remove(in, "bob", a.id, NULL), CN_OK);
    assert_int_equal(get("alice", a.id, text, sizeof(text)), CN_OK);
    assert_int_equal(get("../alice", a.id, text, sizeof(text)), CN_ENOTFOUND);
}

static void ids_are_held_to_their_form(void **state)
{
    static const char *const bad[] = {
        "", "abc", "../../../../../../../../../../../../../../../../../../../../../etc/pass",
        "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad0"};
    char text[8];

    (void)state;
    for (size_t i = 0; i < CN_LEN(bad); i++) {
        struct cn_input s;

        assert_int_equal(get("alice", bad[i], text, sizeof(text)), CN_EINVAL);
        assert_int_equal(cn_inputs_stat(in, "alice", bad[i], &s, NULL), CN_EINVAL);
        assert_int_equal(cn_inputs_remove(in, "alice", bad[i], NULL), CN_EINVAL);
    }
}

static void what_is_not_used_goes(void **state)
{
    struct cn_input a = put("alice", "abc"), b, s;
    char text[8];

    (void)state;
    each_file(age);
    assert_int_equal(get("alice", a.id, text, sizeof(text)), CN_ENOTFOUND);
    b = put("alice", "abc"); /* again, over the old file */
    assert_true(b.is_new);
    assert_int_equal(totals().count, 1);
    assert_int_equal(cn_inputs_stat(in, "alice", b.id, &s, NULL), CN_OK);
    assert_true(s.expires_s > time(NULL) + 900);
    put("alice", "other");
    each_file(age);
    put("alice", "third");
    cn_inputs_sweep(in);
    assert_int_equal(totals().count, 1);
    assert_int_equal(totals().bytes, 5);
}

static void a_use_begins_the_time_anew(void **state)
{
    struct cn_input a = put("alice", "abc"), s;
    struct cn_inputs_limits longer = roomy;
    char text[8];

    (void)state;
    longer.ttl_s = 2000;
    each_file(age);
    cn_inputs_set_limits(in, &longer);
    assert_int_equal(cn_inputs_stat(in, "alice", a.id, &s, NULL), CN_OK);
    assert_true(s.expires_s < time(NULL) + 1100);
    assert_int_equal(get("alice", a.id, text, sizeof(text)), CN_OK);
    assert_int_equal(cn_inputs_stat(in, "alice", a.id, &s, NULL), CN_OK);
    assert_true(s.expires_s > time(NULL) + 1900);
}

static void limits_hold(void **state)
{
    struct cn_inputs_limits l = {
        .ttl_s = 1000, .max_bytes = 20, .tenant_max_bytes = 12, .tenant_max_count = 3};
    struct cn_input ret;
    char id[CN_INPUT_ID];

    (void)state;
    cn_inputs_set_limits(in, &l);
    memcpy(id, put("alice", "1234").id, sizeof(id));
    put("alice", "12345678");
    assert_int_equal(cn_inputs_put(in, "alice", "1", 1, &ret, NULL), CN_ETOOBIG); /* bytes */
    assert_int_equal(cn_inputs_put(in, "alice", "1234", 4, &ret, NULL), CN_OK); /* there already */
    assert_int_equal(cn_inputs_remove(in, "alice", id, NULL), CN_OK);
    put("alice", "1");
    put("alice", "2");
    assert_int_equal(cn_inputs_put(in, "alice", "3", 1, &ret, NULL), CN_ETOOBIG); /* count */
    put("bob", "1234567890");
    assert_int_equal(cn_inputs_put(in, "carol", "1", 1, &ret, NULL), CN_ESTORAGE); /* all */
    assert_int_equal(cn_inputs_put(in, "carol", "0123456789abcdef", 16, &ret, NULL), CN_ETOOBIG);
    each_file(age); /* what is over keeps nobody out */
    put("alice", "3");
    assert_int_equal(totals().count, 2);
}

static void a_restart_finds_and_counts_them(void **state)
{
    struct cn_input a = put("alice", "abc");
    char text[8];

    (void)state;
    put("bob", "defg");
    cn_inputs_close(in);
    open_with(roomy);
    assert_int_equal(totals().count, 2);
    assert_int_equal(totals().bytes, 7);
    assert_int_equal(get("alice", a.id, text, sizeof(text)), CN_OK);
}

static void a_damaged_file_is_told(void **state)
{
    struct cn_input a = put("alice", "abc");
    char text[8];

    (void)state;
    each_file(damage);
    assert_int_equal(get("alice", a.id, text, sizeof(text)), CN_EFORMAT);
}

static void leftovers_of_a_crash_go(void **state)
{
    char path[400], folder[300] = "";
    DIR *d;
    const struct dirent *e;

    (void)state;
    put("alice", "abc");
    d = opendir(dir);
    while ((e = readdir(d)) != NULL)
        if (e->d_name[0] != '.')
            snprintf(folder, sizeof(folder), "%s/%s", dir, e->d_name);
    closedir(d);
    snprintf(path, sizeof(path), "%s/tmp-1-0", folder);
    close(open(path, O_WRONLY | O_CREAT, 0600));
    cn_inputs_sweep(in);
    assert_int_equal(access(path, F_OK), 0); /* its writer may be alive */
    age(path);
    cn_inputs_sweep(in);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(totals().count, 1);
}

static void *put_many(void *arg)
{
    char text[16];

    for (int i = 0; i < 50; i++) {
        struct cn_input ret;

        snprintf(text, sizeof(text), "%d", i); /* the same ones in every thread */
        if (cn_inputs_put(in, "alice", text, strlen(text), &ret, NULL) != CN_OK)
            *(bool *)arg = true;
        if (i % 10 == 0)
            cn_inputs_sweep(in);
    }
    return NULL;
}

static void threads_count_right(void **state)
{
    pthread_t t[4];
    bool failed = false;
    struct cn_inputs_totals before;

    (void)state;
    for (size_t i = 0; i < CN_LEN(t); i++)
        pthread_create(&t[i], NULL, put_many, &failed);
    for (size_t i = 0; i < CN_LEN(t); i++)
        pthread_join(t[i], NULL);
    assert_false(failed);
    before = totals();
    assert_int_equal(before.count, 50);
    cn_inputs_sweep(in);
    assert_int_equal(totals().bytes, before.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_same_bytes_are_kept_once, start, stop),
        cmocka_unit_test_setup_teardown(tenants_do_not_see_each_other, start, stop),
        cmocka_unit_test_setup_teardown(ids_are_held_to_their_form, start, stop),
        cmocka_unit_test_setup_teardown(what_is_not_used_goes, start, stop),
        cmocka_unit_test_setup_teardown(a_use_begins_the_time_anew, start, stop),
        cmocka_unit_test_setup_teardown(limits_hold, start, stop),
        cmocka_unit_test_setup_teardown(a_restart_finds_and_counts_them, start, stop),
        cmocka_unit_test_setup_teardown(a_damaged_file_is_told, start, stop),
        cmocka_unit_test_setup_teardown(leftovers_of_a_crash_go, start, stop),
        cmocka_unit_test_setup_teardown(threads_count_right, start, stop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
