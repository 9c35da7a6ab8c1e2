/* store: databases of other releases, damaged ones, and the check of a store that is not open. */
#include "base/base.h"
#include "rig.h"
#include "store/check.h"
#include "store/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static void a_newer_database_is_refused(void **state)
{
    struct cn_err err = CN_ERR_INIT;
    struct rig r;

    (void)state;
    rig_init(&r);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    rig_close(&r);
    rig_sql(&r, "pragma user_version = 99");
    assert_int_equal(rig_open(&r, &err), CN_EFORMAT);
    assert_non_null(strstr(err.msg, "newer release"));
    rig_end(&r);
}

struct said {
    int troubles, lines;
    char last[512]; /* trouble */
};

static void on_said(void *arg, bool trouble, const char *text)
{
    struct said *s = arg;

    s->lines++;
    s->troubles += trouble;
    if (trouble)
        snprintf(s->last, sizeof(s->last), "%s", text);
}

/* A version that none is: below the first, or the empty one's over tables. */
static void a_damaged_version_is_refused(void **state)
{
    static const char *const damage[] = {"pragma user_version = -1",
                                         "pragma user_version = -2147483648",
                                         "pragma user_version = 0"};
    struct said said = {0};
    struct rig r;

    (void)state;
    rig_init(&r);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    rig_close(&r);
    for (size_t i = 0; i < CN_LEN(damage); i++) {
        struct cn_err err = CN_ERR_INIT;

        rig_sql(&r, damage[i]);
        assert_true(rig_open(&r, &err) < 0);
        assert_non_null(strstr(err.msg, i < 2 ? "is damaged" : "already exists"));
        err = (struct cn_err)CN_ERR_INIT;
        assert_int_equal(cn_store_check(r.dir, on_said, &said, &err), CN_EFORMAT);
        assert_non_null(strstr(err.msg, "is damaged"));
    }
    rig_end(&r);
}

static void a_damaged_schema_is_refused(void **state)
{
    static const char *const damage[] = {"drop table keys", "drop table webhooks",
                                         "alter table payload rename column spec to specs"};
    struct said said = {0};

    (void)state;
    for (size_t i = 0; i < CN_LEN(damage); i++) {
        struct cn_err err = CN_ERR_INIT;
        struct rig r;

        rig_init(&r);
        assert_int_equal(rig_open(&r, NULL), CN_OK);
        rig_close(&r);
        rig_sql(&r, damage[i]);
        assert_true(rig_open(&r, &err) < 0);
        assert_non_null(strstr(err.msg, "is damaged"));
        assert_true(cn_store_check(r.dir, on_said, &said, NULL) < 0);
        rig_end(&r);
    }
}

static void an_older_database_is_migrated(void **state)
{
    struct rig r;

    (void)state;
    rig_init(&r);
    mkdir(r.dir, 0700);
    rig_sql(&r, "pragma user_version = 0"); /* an empty one is version 0 */
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_add(&r, 1, 1, 0), CN_OK);
    rig_close(&r);
    rig_sql(&r, "drop trigger webhooks_go; drop table webhooks; alter table jobs drop column kind;"
            "pragma user_version = 2");
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_add(&r, 3, 1, 0), CN_OK);
    rig_end(&r);
}

/* The description of rig_spec() as version 1 has it: up to the initial image's length, and what
 * follows the image. */
#define SPEC_1 \
    "0105000000656d6f6a690b0000006120726564206170706c65000000000000000000000000140000000000" \
    "000000001e4004000000000000000000000000001032547698badcfe0100000000000000"
#define SPEC_1_END "00000000000000000000e83f005a00000000000000000000000000000000"

/* What the release before wrote: no kind in the table, none in the description. */
static void jobs_of_the_version_before_draw(void **state)
{
    char id[CN_STORE_ID];
    struct cn_store_job job;
    struct cn_spec spec;
    struct rig r;

    (void)state;
    rig_init(&r);
    rig_id(id, 1);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_add(&r, 1, 1, 100), CN_OK);
    rig_close(&r);
    rig_sql(&r, "alter table jobs drop column kind; pragma user_version = 3;"
            "update jobs set spec = x'" SPEC_1 "00000000" SPEC_1_END "';"
            "update payload set spec = cast(x'" SPEC_1 "64000000'"
            " || replace(hex(zeroblob(50)), '0', 'i') || x'" SPEC_1_END "' as blob)");
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_get(&r, id, &job), CN_OK);
    assert_true(job.readable && job.kind == CN_KIND_DRAW && job.spec.kind == CN_KIND_DRAW);
    assert_string_equal(job.spec.prompt, "a red apple");
    cn_store_job_release(&job);
    assert_int_equal(rig_inputs(&r, id, &spec), CN_OK);
    assert_int_equal(spec.init_image.len, 100);
    cn_spec_release(&spec);
    rig_end(&r);
}

static void what_is_no_database_is_refused(void **state)
{
    struct cn_err err = CN_ERR_INIT;
    char path[128];
    struct rig r;
    FILE *f;

    (void)state;
    rig_init(&r);
    snprintf(path, sizeof(path), "%s/jobs.db", r.dir);
    f = fopen(path, "w");
    for (int i = 0; i < 4096; i++)
        fputs("this is no database\n", f);
    fclose(f);
    assert_int_equal(rig_open(&r, &err), CN_ESTORAGE);
    assert_non_null(strstr(err.msg, "store.dir"));
    err = (struct cn_err)CN_ERR_INIT;
    r.o.dir = "/dev/null/store";
    assert_int_equal(rig_open(&r, &err), CN_ESTORAGE);
    assert_non_null(strstr(err.msg, "/dev/null/store"));
    rig_end(&r);
}

static void a_description_of_another_version_is_told(void **state)
{
    char id[CN_STORE_ID];
    struct cn_store_job job;
    struct cn_spec spec;
    struct rig r;

    (void)state;
    rig_init(&r);
    rig_id(id, 1);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_add(&r, 1, 1, 0), CN_OK);
    rig_close(&r);
    rig_sql(&r, "update jobs set spec = x'ff0102'");
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_get(&r, id, &job), CN_OK);
    assert_true(!job.readable && job.n == 1);
    cn_store_job_release(&job);
    assert_int_equal(rig_inputs(&r, id, &spec), CN_STORE_REFUSED);
    rig_end(&r);
}

/* A row says how much memory it wants: no more is asked for than a job can have. */
static void a_damaged_row_asks_for_no_memory(void **state)
{
    static const char *const damage[] = {
        "update jobs set n = 2000000000",
        "update jobs set n = -2000000000",
        "update jobs set n = 1, lens = x'ffffffffffffff7f' || substr(lens, 9)",
        "update jobs set spec = substr(spec, 1, instr(spec, x'1032547698badcfe') + 7) ||"
        " x'00943577' || substr(spec, instr(spec, x'1032547698badcfe') + 12)",
    };
    char id[CN_STORE_ID], text[400] = "";
    struct cn_store_result result;
    struct cn_store_job job;
    struct rig r;
    int n;

    (void)state;
    rig_init(&r);
    rig_id(id, 1);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_add(&r, 1, 1, 100), CN_OK);
    assert_int_equal(rig_result(&r, id, 0, 1000), CN_OK);
    rig_close(&r);
    for (size_t i = 0; i < CN_LEN(damage); i++) {
        rig_sql(&r, damage[i]);
        assert_int_equal(rig_open(&r, NULL), CN_OK);
        assert_int_equal(rig_list(&r, NULL, text), CN_OK);
        assert_int_equal(rig_get(&r, id, &job), CN_OK);
        assert_true(!job.readable && job.n == (i < 2 ? 0 : 1));
        cn_store_job_release(&job);
        rig_close(&r);
    }
    rig_sql(&r, "update results set bytes = -1, width = -1, height = 4294967297");
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_results(&r, id, &result, 1, &n), CN_OK);
    assert_int_equal(n, 1);
    assert_true(result.meta.bytes == 0 && result.meta.width == 0 && result.meta.height == 0);
    rig_end(&r);
}

static void a_check_finds_what_is_lost(void **state)
{
    struct said said = {0};
    struct cn_err err = CN_ERR_INIT;
    char id[CN_STORE_ID], path[200];
    struct heard h;
    struct rig r;
    FILE *f;

    (void)state;
    rig_init(&r);
    assert_int_equal(cn_store_check(r.dir, on_said, &said, &err), CN_ENOTFOUND);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    rig_id(id, 1);
    rig_add(&r, 1, 2, 100);
    rig_add(&r, 2, 1, 100);
    rig_add(&r, 4, 1, 0);
    rig_result(&r, id, 0, 1000);
    rig_result(&r, id, 1, 2000);
    rig_finish(&r, id, CN_STORE_SUCCEEDED, &h);
    assert_int_equal(cn_store_check(r.dir, on_said, &said, NULL), 0); /* while it is open */
    rig_close(&r);
    assert_int_equal(cn_store_check(r.dir, on_said, &said, NULL), 0);
    assert_int_equal(said.troubles, 0);

    snprintf(path, sizeof(path), "%s/results/%.2s/%s-1.png", r.dir, id, id);
    assert_int_equal(truncate(path, 5), 0);
    assert_int_equal(cn_store_check(r.dir, on_said, &said, NULL), 1);
    assert_non_null(strstr(said.last, "5 bytes instead of 2000"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(cn_store_check(r.dir, on_said, &said, NULL), 1);
    rig_sql(&r, "delete from results where k = 1; delete from payload");
    assert_int_equal(cn_store_check(r.dir, on_said, &said, NULL), 2);
    rig_sql(&r, "update webhooks set state = 'waiting'");
    assert_int_equal(cn_store_check(r.dir, on_said, &said, NULL), 3);
    assert_non_null(strstr(said.last, "webhook waiting"));
    rig_sql(&r, "drop table webhooks; pragma user_version = 2"); /* of an older release */
    assert_int_equal(cn_store_check(r.dir, on_said, &said, NULL), 2);
    rig_sql(&r, "pragma user_version = 999");
    assert_int_equal(cn_store_check(r.dir, on_said, &said, &err), CN_EFORMAT);
    snprintf(path, sizeof(path), "%s/jobs.db", r.dir);
    f = fopen(path, "w");
    fputs("this is no database, and long enough to be looked at: 0123456789", f);
    fclose(f);
    assert_int_equal(cn_store_check(r.dir, on_said, &said, NULL), CN_EFORMAT);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_newer_database_is_refused),
        cmocka_unit_test(a_damaged_version_is_refused),
        cmocka_unit_test(a_damaged_schema_is_refused),
        cmocka_unit_test(an_older_database_is_migrated),
        cmocka_unit_test(jobs_of_the_version_before_draw),
        cmocka_unit_test(what_is_no_database_is_refused),
        cmocka_unit_test(a_description_of_another_version_is_told),
        cmocka_unit_test(a_damaged_row_asks_for_no_memory),
        cmocka_unit_test(a_check_finds_what_is_lost),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
