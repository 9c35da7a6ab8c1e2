/* conf: etc/controlnetd.conf names every key, with its default; files that could be misread are
 * refused with their line. */
#include "base/base.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "conf/conf.h"
#include "conf/conf_file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
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

/* ---- files ---- */

static char folder[] = "/tmp/cn-conf-XXXXXX";

static char *in_folder(const char *name)
{
    return cn_xprintf("%s/%s", folder, name);
}

static void put(const char *name, const char *text, size_t len)
{
    char *path = in_folder(name);
    FILE *f = fopen(path, "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, len, f), len);
    fclose(f);
    free(path);
}

static void puts_in(const char *name, const char *text)
{
    put(name, text, strlen(text));
}

/* Reads the text as a file; message: what the error has to contain, NULL when there is to be none.
 * An error is to name file and line. */
static void reads(struct cn_conf *c, const char *text, size_t len, const char *message)
{
    struct cn_err err = CN_ERR_INIT;
    char *path = in_folder("main.conf");

    put("main.conf", text, len);
    cn_conf_init(c);
    if (cn_conf_read(c, path, &err) < 0 ? message == NULL : message != NULL)
        fail_msg("%.60s: \"%s\"", text, err.msg);
    if (message != NULL && (strncmp(err.msg, path, strlen(path)) != 0 ||
                            strstr(err.msg + strlen(path), message) == NULL))
        fail_msg("%.60s: \"%s\" lacks \"%s\"", text, err.msg, message);
    free(path);
}

#define REFUSED(text, message)                                                                     \
    do {                                                                                           \
        reads(&c, text, sizeof(text) - 1, message);                                                \
        cn_conf_release(&c);                                                                       \
    } while (0)

static void what_could_be_misread_is_refused(void **state)
{
    struct cn_conf c;

    (void)state;
    REFUSED("[http]\nlisten = :1\nlisten = :2\n", ":3: http.listen was set in line 2 already");
    REFUSED("[http]\nlisten = :1\n[log]\n[http]\nlisten = :1\n",
            ":5: http.listen was set in line 2");
    REFUSED("[models]\ndirs = /a:/b\n  /c\n", ":3: a line begins with a blank");
    REFUSED("[models]\ndirs = /a:/b\n\tdefault_model = x\n", ":3: a line begins with a blank");
    REFUSED("[models]\ndirs = /a: \\\n/b\n", ":2: a line ends in a backslash");
    REFUSED("[http]\nlisten = :1 ; here\n", ":2: a comment behind a value");
    REFUSED("[http]\nlisten = :1\t# here\n", ":2: a comment behind a value");
    REFUSED("[auth]\n\0keys_file = /x\n", ":2: a NUL byte");
    REFUSED("\0\0\0\0", ":1: a NUL byte");
    REFUSED("# comment\0\n[auth]\n", ":1: a NUL byte");
    REFUSED("[http]\nlisten = :1\rcors_origins = x\n", ":2: a control character");
    REFUSED("[http]\nlisten\n", ":2: expected \"key = value\"");
    REFUSED("[http]\n= :1\n", ":2: expected \"key = value\"");
    REFUSED("[http\nlisten = :1\n", ":1: expected \"[section]\"");
    REFUSED("[http] x\n", ":1: expected \"[section]\"");
    REFUSED("[]\n", ":1: expected \"[section]\"");
    REFUSED("listen = :1\n", ":1: a key stands before");
    REFUSED("[http]\nlisten: :1\n", ":2: expected");
    REFUSED("[http]\nlistne = :1\n", ":2: there is no key \"listne\"");
    REFUSED("[queue]\ncapacity = 1\nmax_attempts = x\n", ":3: queue.max_attempts: \"x\"");
}

static void forms_that_are_read(void **state)
{
    static const char text[] = "\xef\xbb\xbf# c\r\n ; c\r\n\r\n[http]\r\nlisten=:1  \r\n"
                               "[queue]\ncapacity =\t3\n[http]\ncors_origins = https://a#b=c";
    struct cn_conf c;

    (void)state;
    reads(&c, text, sizeof(text) - 1, NULL);
    assert_string_equal(c.listen, ":1");
    assert_int_equal(c.capacity, 3);
    assert_string_equal(c.cors_origins, "https://a#b=c");
    cn_conf_release(&c);
    reads(&c, "", 0, NULL);
    cn_conf_release(&c);
}

/* Of every length around the limits of this reader and of the one before it (199), with blanks
 * where that one cut: the value is whole, or there is an error. */
static void long_lines(void **state)
{
    static const int around[] = {199, 250, CN_CONF_LINE};
    char text[CN_CONF_LINE + 100], want[CN_CONF_LINE + 100];
    struct cn_conf c;

    (void)state;
    for (size_t i = 0; i < CN_LEN(around); i++)
        for (int n = around[i] - 5; n <= around[i] + 5; n++) {
            int begin = snprintf(text, sizeof(text), "[http]\n"), end = begin + n;

            memset(text + begin, 'x', (size_t)n);
            memcpy(text + begin, "cors_origins = ", 15);
            for (int at = begin + 190; at < end - 5; at += 7)
                text[at] = ' ';
            memcpy(want, text + begin + 15, (size_t)n - 15);
            want[n - 15] = '\0';
            memcpy(text + end, "\n[log]\n", 7);
            reads(&c, text, (size_t)end + 7, n <= CN_CONF_LINE ? NULL : ":2: the line has ");
            if (n <= CN_CONF_LINE)
                assert_string_equal(c.cors_origins, want);
            cn_conf_release(&c);
        }
}

static void only_regular_files(void **state)
{
    char *path = in_folder("odd");
    struct cn_conf c;

    (void)state;
    cn_conf_init(&c);
    assert_int_equal(cn_conf_read(&c, path, NULL), CN_ENOTFOUND);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_true(cn_conf_read(&c, path, NULL) < 0);
    rmdir(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_true(cn_conf_read(&c, path, NULL) < 0);
    unlink(path);
    assert_true(cn_conf_read(&c, "/dev/zero", NULL) < 0);
    assert_int_equal(cn_conf_read(&c, "/dev/null", NULL), CN_OK); /* says "none" */
    cn_conf_release(&c);
    free(path);
}

static void parts_come_after_the_file(void **state)
{
    char *path = in_folder("main.conf"), *parts = in_folder("conf.d"), *dir;
    struct cn_err err = CN_ERR_INIT;
    struct cn_conf c;

    (void)state;
    assert_int_equal(mkdir(parts, 0700), 0);
    puts_in("main.conf", "[queue]\ncapacity = 1\nmax_attempts = 3\n");
    puts_in("conf.d/20.conf", "[queue]\ncapacity = 3\n");
    puts_in("conf.d/10.conf", "[queue]\ncapacity = 2\n[log]\nlevel = debug\n");
    puts_in("conf.d/30.conf.bak", "[queue]\ncapacity = 4\n");
    puts_in("conf.d/.40.conf", "[queue]\ncapacity = 5\n");
    cn_conf_init(&c);
    assert_int_equal(cn_conf_read(&c, path, NULL), CN_OK);
    assert_int_equal(cn_conf_read_parts(&c, path, NULL), CN_OK);
    assert_int_equal(c.capacity, 3);
    assert_int_equal(c.max_attempts, 3);
    assert_string_equal(c.level, "debug");
    puts_in("conf.d/15.conf", "[queue]\nx = 1\n");
    assert_true(cn_conf_read_parts(&c, path, &err) < 0);
    assert_non_null(strstr(err.msg, "conf.d/15.conf:2: there is no key"));
    dir = in_folder("conf.d/15.conf");
    unlink(dir);
    assert_int_equal(mkdir(dir, 0700), 0);
    assert_true(cn_conf_read_parts(&c, path, NULL) < 0);
    rmdir(dir);
    cn_conf_release(&c);
    free(dir);
    free(path);
    free(parts);
}

static void too_many_directories(void **state)
{
    char dirs[16 + 2 * (CN_CONF_DIRS + 1)] = "models.dirs=/";
    struct cn_conf c;

    (void)state;
    cn_conf_init(&c);
    for (int i = 1; i < CN_CONF_DIRS; i++)
        memcpy(dirs + 11 + 2 * i, "/:", 3);
    assert_int_equal(cn_conf_set(&c, dirs, NULL), CN_OK);
    assert_int_equal(cn_conf_check(&c, NULL), CN_OK);
    memcpy(dirs + strlen(dirs), ":/", 3);
    assert_int_equal(cn_conf_set(&c, dirs, NULL), CN_OK);
    assert_int_equal(cn_conf_check(&c, NULL), CN_EINVAL);
    cn_conf_release(&c);
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    char *command = cn_xprintf("rm -r %s", folder);
    int rc = system(command);

    (void)state;
    free(command);
    return rc;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_shipped_file_holds_the_defaults),
        cmocka_unit_test(the_shipped_file_mentions_every_key),
        cmocka_unit_test(assignments),
        cmocka_unit_test(a_merge_takes_what_may_change),
        cmocka_unit_test(what_could_be_misread_is_refused),
        cmocka_unit_test(forms_that_are_read),
        cmocka_unit_test(long_lines),
        cmocka_unit_test(only_regular_files),
        cmocka_unit_test(parts_come_after_the_file),
        cmocka_unit_test(too_many_directories),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
