/* store: what is kept, what is refused, what goes when its time is over. */
#include "base/base.h"
#include "base/clock.h"
#include "base/mem.h"
#include "rig.h"
#include "store/store.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static int count_files(const struct rig *r, const char *sub)
{
    char text[160];
    FILE *f;
    int n = -1;

    snprintf(text, sizeof(text), "find %s/%s -type f | wc -l", r->dir, sub);
    f = popen(text, "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%d", &n), 1);
    pclose(f);
    return n;
}

static void the_life_of_a_job(void **state)
{
    char id[CN_STORE_ID];
    struct cn_store_job job;
    struct cn_store_result result[4];
    struct cn_spec spec;
    struct heard h;
    struct rig r;
    unsigned char byte;
    int n, fd;

    (void)state;
    rig_init(&r);
    rig_id(id, 1);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_get(&r, id, &job), CN_STORE_UNKNOWN);
    assert_int_equal(rig_add(&r, 1, 2, 100), CN_OK);
    assert_int_equal(rig_get(&r, id, &job), CN_OK);
    assert_int_equal(job.state, CN_STORE_QUEUED);
    assert_string_equal(job.tenant, "anna");
    assert_true(job.readable && job.n == 2 && job.cost == 7.5);
    assert_string_equal(job.spec.prompt, "a red apple");
    assert_true(job.spec.init_image.data == NULL && job.spec.init_image.len == 100);
    cn_store_job_release(&job);
    assert_int_equal(rig_inputs(&r, id, &spec), CN_OK);
    assert_int_equal(spec.init_image.len, 100);
    assert_int_equal(spec.init_image.data[99], 'i');
    assert_true(spec.seed == UINT64_C(0xfedcba9876543210));
    cn_spec_release(&spec);

    cn_store_start(r.s, id, 1, 0, false, NULL, NULL);
    assert_int_equal(rig_result(&r, id, 1, 5000), CN_OK);
    assert_int_equal(rig_open_result(&r, id, 0, result, &fd), CN_STORE_UNKNOWN);
    assert_int_equal(rig_open_result(&r, id, 1, result, &fd), CN_OK);
    assert_true(result[0].meta.bytes == 5000 && result[0].meta.seed == UINT64_MAX - 3);
    assert_int_equal(read(fd, &byte, 1), 1);
    close(fd);
    assert_int_equal(rig_result(&r, id, 1, 6000), CN_OK); /* a later attempt: the first stays */
    assert_int_equal(rig_result(&r, id, 0, 10), CN_OK);
    assert_int_equal(rig_finish(&r, id, CN_STORE_SUCCEEDED, &h), CN_OK);
    assert_int_equal(h.last.state, CN_STORE_SUCCEEDED);
    assert_int_equal(rig_results(&r, id, result, 4, &n), CN_OK);
    assert_true(n == 2 && result[0].k == 0 && result[1].k == 1 && result[1].meta.bytes == 5000);

    /* Final once: nothing changes it. */
    assert_int_equal(rig_finish(&r, id, CN_STORE_CANCELLED, &h), CN_STORE_WAS_FINAL);
    assert_int_equal(h.last.state, CN_STORE_SUCCEEDED);
    assert_int_equal(rig_result(&r, id, 2, 10), CN_STORE_WAS_FINAL);
    assert_int_equal(rig_finish(&r, "nobody", CN_STORE_CANCELLED, NULL), CN_STORE_UNKNOWN);
    assert_int_equal(rig_result(&r, "nobody", 0, 10), CN_STORE_UNKNOWN);
    rig_close(&r);
    assert_int_equal(rig_check(r.dir), 0);
    rig_end(&r);
}

static void succeeded_needs_all_pictures(void **state)
{
    char id[CN_STORE_ID];
    struct heard h;
    struct rig r;

    (void)state;
    rig_init(&r);
    rig_id(id, 3);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_add(&r, 3, 2, 0), CN_OK);
    assert_int_equal(rig_result(&r, id, 0, 10), CN_OK);
    assert_int_equal(rig_finish(&r, id, CN_STORE_SUCCEEDED, &h), CN_OK);
    assert_int_equal(h.last.state, CN_STORE_FAILED);
    assert_int_equal(h.last.why.code, CN_ESTORAGE);
    rig_end(&r);
}

static void the_next_life_queues_again(void **state)
{
    char id[CN_STORE_ID], text[400] = "";
    struct rig r;

    (void)state;
    rig_init(&r);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    for (int i = 1; i <= 4; i++)
        assert_int_equal(rig_add(&r, i, 1, (size_t)i * 10), CN_OK);
    rig_id(id, 2);
    cn_store_start(r.s, id, 1, 0, false, NULL, NULL);
    rig_id(id, 3);
    assert_int_equal(rig_finish(&r, id, CN_STORE_FAILED, NULL), CN_OK);
    rig_close(&r);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_list(&r, NULL, text), CN_OK);
    assert_string_equal(text, "01:queued:1 02:queued:2 04:queued:1 ");
    rig_close(&r);
    assert_int_equal(rig_check(r.dir), 0);
    rig_end(&r);
}

static void lists_are_paged_newest_first(void **state)
{
    struct cn_store_query q = {.state = -1, .limit = 2};
    struct cn_store_job job;
    char id[CN_STORE_ID], text[400] = "";
    struct rig r;

    (void)state;
    rig_init(&r);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    for (int i = 1; i <= 3; i++)
        assert_int_equal(rig_add(&r, i, 1, 0), CN_OK);
    rig_id(id, 2);
    assert_int_equal(rig_finish(&r, id, CN_STORE_FAILED, NULL), CN_OK);
    assert_int_equal(rig_list(&r, &q, text), CN_OK);
    assert_string_equal(text, "03:queued:1 02:failed:1 ");
    assert_int_equal(rig_get(&r, id, &job), CN_OK);
    q.before_us = job.created_us;
    q.before_id = job.id;
    text[0] = '\0';
    assert_int_equal(rig_list(&r, &q, text), CN_OK);
    assert_string_equal(text, "01:queued:1 ");
    cn_store_job_release(&job);
    q = (struct cn_store_query){.tenant = "anna", .state = CN_STORE_FAILED, .limit = 9};
    text[0] = '\0';
    assert_int_equal(rig_list(&r, &q, text), CN_OK);
    assert_string_equal(text, "02:failed:1 ");
    q.tenant = "bert";
    text[0] = '\0';
    assert_int_equal(rig_list(&r, &q, text), CN_OK);
    assert_string_equal(text, "");
    rig_end(&r);
}

static void keys_find_their_job_for_a_day(void **state)
{
    struct cn_store_key key = {.tenant = "anna", .route = "POST /v1/jobs", .key = "k", {1, 2}};
    unsigned char fingerprint[CN_STORE_FINGERPRINT];
    char id[CN_STORE_ID];
    struct cn_store_job j;
    struct cn_spec spec;
    struct heard h = {.n = 0};
    struct rig r;

    (void)state;
    rig_init(&r);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    rig_job(&j, "anna", 5, 1);
    rig_spec(&spec, 1, 0);
    assert_int_equal(cn_store_add(r.s, &j, &spec, &key, rig_hear, &h, NULL), CN_OK);
    cn_spec_release(&spec);
    assert_true(rig_until(&r, &h.n, 1));
    assert_int_equal(h.last.outcome, CN_OK);
    rig_close(&r);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_find_key(&r, &key, id, fingerprint), CN_OK);
    assert_string_equal(id, j.id);
    assert_memory_equal(fingerprint, key.fingerprint, sizeof(fingerprint));
    key.tenant = "bert";
    assert_int_equal(rig_find_key(&r, &key, id, fingerprint), CN_STORE_UNKNOWN);
    key.tenant = "anna";
    rig_close(&r);
    rig_sql(&r, "update keys set created = created - 86400000000");
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_find_key(&r, &key, id, fingerprint), CN_STORE_UNKNOWN);
    rig_end(&r);
}

static void results_go_then_the_job(void **state)
{
    char id[CN_STORE_ID];
    struct cn_store_job job;
    struct cn_store_facts facts;
    struct cn_store_result result;
    struct heard h = {.n = 0};
    struct rig r;
    int fd;

    (void)state;
    rig_init(&r);
    r.o.result_ttl_s = 100;
    r.o.tombstone_ttl_s = 100;
    rig_id(id, 1);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_add(&r, 1, 1, 0), CN_OK);
    assert_int_equal(rig_add(&r, 2, 1, 50), CN_OK);
    assert_int_equal(rig_result(&r, id, 0, 777), CN_OK);
    assert_int_equal(rig_finish(&r, id, CN_STORE_SUCCEEDED, NULL), CN_OK);
    cn_store_facts(r.s, &facts);
    assert_true(facts.used_bytes > 777);
    assert_int_equal(count_files(&r, "results"), 1);
    assert_int_equal(rig_open_result(&r, id, 0, &result, &fd), CN_OK);
    rig_sql(&r, "update jobs set ended = ended - 101000000 where ended > 0");
    cn_store_sweep(r.s, rig_hear, &h);
    assert_true(rig_until(&r, &h.n, 1));
    assert_int_equal(rig_get(&r, id, &job), CN_OK);
    assert_true(job.gone && job.state == CN_STORE_SUCCEEDED);
    cn_store_job_release(&job);
    assert_int_equal(count_files(&r, "results"), 0);
    assert_int_equal(rig_open_result(&r, id, 0, &result, &(int){0}), CN_STORE_UNKNOWN);
    assert_int_equal(lseek(fd, 0, SEEK_END), 777); /* who was reading it goes on */
    close(fd);
    rig_sql(&r, "update jobs set ended = ended - 100000000 where ended > 0");
    cn_store_sweep(r.s, rig_hear, &h);
    assert_true(rig_until(&r, &h.n, 2));
    assert_int_equal(rig_get(&r, id, &job), CN_STORE_UNKNOWN);
    rig_id(id, 2);
    assert_int_equal(rig_get(&r, id, &job), CN_OK); /* not over, so it stays */
    cn_store_job_release(&job);
    rig_close(&r);
    assert_int_equal(rig_check(r.dir), 0);
    rig_end(&r);
}

static void a_full_store_refuses_and_fails_pictures(void **state)
{
    char id[CN_STORE_ID], old[CN_STORE_ID];
    struct cn_store_facts facts;
    struct rig r;

    (void)state;
    rig_init(&r);
    r.o.max_bytes = 10000;
    r.o.result_ttl_s = 100;
    rig_id(old, 1);
    rig_id(id, 2);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_add(&r, 9, 1, 20000), CN_ESTORAGE); /* a payload that never fits */
    assert_int_equal(rig_add(&r, 1, 1, 0), CN_OK);
    assert_int_equal(rig_add(&r, 2, 2, 0), CN_OK);
    assert_int_equal(rig_result(&r, old, 0, 6000), CN_OK);
    assert_int_equal(rig_finish(&r, old, CN_STORE_SUCCEEDED, NULL), CN_OK);
    assert_int_equal(rig_result(&r, id, 0, 6000), CN_STORE_NO_ROOM);
    assert_int_equal(count_files(&r, "results"), 1);
    rig_sql(&r, "update jobs set ended = ended - 101000000 where ended > 0");
    assert_int_equal(rig_result(&r, id, 0, 6000), CN_OK); /* the old one had to go */
    assert_int_equal(count_files(&r, "results"), 1);
    assert_int_equal(rig_result(&r, id, 1, 4000), CN_OK); /* to the byte */
    assert_int_equal(rig_add(&r, 3, 1, 0), CN_ESTORAGE);
    cn_store_facts(r.s, &facts);
    assert_true(facts.low && facts.used_bytes == 10000);
    assert_string_not_equal(facts.trouble, "");
    rig_end(&r);
}

static void too_many_operations_are_refused(void **state)
{
    struct heard h = {.n = 0};
    struct cn_store_job j;
    struct cn_spec spec;
    int accepted = 0, refused = 0;
    struct rig r;

    (void)state;
    rig_init(&r);
    r.o.max_ops = 100;
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    rig_spec(&spec, 1, 10);
    for (int i = 0; i < 5000; i++) {
        int rc;

        rig_job(&j, "anna", i, 1);
        rc = cn_store_add(r.s, &j, &spec, NULL, rig_hear, &h, NULL);
        accepted += rc == CN_OK;
        refused += rc == CN_EBUSY;
    }
    assert_int_equal(accepted + refused, 5000);
    assert_true(accepted >= 100 && refused > 0);
    assert_true(rig_until(&r, &h.n, accepted));
    cn_spec_release(&spec);
    rig_close(&r);
    assert_int_equal(rig_check(r.dir), 0);
    rig_end(&r);
}

/* The images of submissions that wait for the disk are there once: what the database takes is made
 * on its thread, one at a time. */
static void submissions_hold_their_images_once(void **state)
{
    enum { JOBS = 12, IMAGE = 4 << 20 };
    struct heard h = {.n = 0};
    struct cn_store_job j;
    struct cn_spec spec;
    size_t before;
    struct rig r;

    (void)state;
    rig_init(&r);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    rig_spec(&spec, 1, IMAGE);
    before = mallinfo2().uordblks + mallinfo2().hblkhd;
    for (int i = 0; i < JOBS; i++) {
        rig_job(&j, "anna", i, 1);
        assert_int_equal(cn_store_add(r.s, &j, &spec, NULL, rig_hear, &h, NULL), CN_OK);
    }
    assert_true(mallinfo2().uordblks + mallinfo2().hblkhd < before + 4 * (size_t)IMAGE);
    assert_true(rig_until(&r, &h.n, JOBS));
    assert_int_equal(h.last.outcome, CN_STORE_OK);
    cn_spec_release(&spec);
    for (int i = 0; i < JOBS; i += JOBS - 1) {
        char id[CN_STORE_ID];

        rig_id(id, i);
        assert_int_equal(rig_inputs(&r, id, &spec), CN_OK);
        assert_true(spec.init_image.len == IMAGE && spec.init_image.data[IMAGE - 1] == 'i');
        cn_spec_release(&spec);
    }
    rig_end(&r);
}

static void a_close_keeps_what_was_given(void **state)
{
    struct heard h = {.n = 0};
    struct cn_store_job j;
    struct cn_spec spec;
    struct rig r;
    int n = 0;

    (void)state;
    rig_init(&r);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    rig_spec(&spec, 1, 1000);
    for (int i = 0; i < 700; i++) {
        rig_job(&j, "anna", i, 1);
        assert_int_equal(cn_store_add(r.s, &j, &spec, NULL, rig_hear, &h, NULL), CN_OK);
    }
    rig_close(&r);
    cn_spec_release(&spec);
    assert_int_equal(h.n, 700);
    assert_int_equal(h.last.outcome, CN_OK);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    for (int i = 0; i < 700; i++) {
        rig_job(&j, "anna", i, 1);
        n += rig_get(&r, j.id, &j) == CN_OK;
        cn_store_job_release(&j);
    }
    assert_int_equal(n, 700);
    rig_end(&r);
}

static void a_database_gives_room_back(void **state)
{
    char id[CN_STORE_ID], path[128];
    struct heard h = {.n = 0};
    struct stat before, after;
    struct rig r;

    (void)state;
    rig_init(&r);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    for (int i = 0; i < 20; i++)
        assert_int_equal(rig_add(&r, i, 1, 100000), CN_OK);
    rig_close(&r); /* the WAL goes into the database */
    snprintf(path, sizeof(path), "%s/jobs.db", r.dir);
    assert_int_equal(stat(path, &before), 0);
    assert_true(before.st_size > 20 * 100000);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    for (int i = 0; i < 20; i++) {
        rig_id(id, i);
        assert_int_equal(rig_finish(&r, id, CN_STORE_FAILED, NULL), CN_OK);
    }
    cn_store_sweep(r.s, rig_hear, &h);
    assert_true(rig_until(&r, &h.n, 1));
    rig_close(&r);
    assert_int_equal(stat(path, &after), 0);
    assert_true(after.st_size < before.st_size / 4);
    rig_end(&r);
}

static void files_without_a_row_are_removed(void **state)
{
    char id[CN_STORE_ID], path[128];
    struct heard h = {.n = 0};
    struct rig r;

    (void)state;
    rig_init(&r);
    rig_id(id, 1);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_add(&r, 1, 1, 0), CN_OK);
    assert_int_equal(rig_result(&r, id, 0, 10), CN_OK);
    rig_close(&r);
    snprintf(path, sizeof(path), "%s/results/%.2s/%s-1.png", r.dir, id, id);
    fclose(fopen(path, "w"));
    snprintf(path, sizeof(path), "%s/tmp/%s-1", r.dir, id);
    fclose(fopen(path, "w"));
    snprintf(path, sizeof(path), "%s/results/%.2s/README", r.dir, id);
    fclose(fopen(path, "w"));
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    cn_store_sweep(r.s, rig_hear, &h);
    assert_true(rig_until(&r, &h.n, 1));
    assert_int_equal(count_files(&r, "results"), 2); /* the picture, and what is none of ours */
    assert_int_equal(count_files(&r, "tmp"), 0);
    rig_end(&r);
}

static void warnings_and_kind_stay(void **state)
{
    struct cn_store_end end = {.state = CN_STORE_FAILED,
                               .attempt = 1,
                               .ended_us = 5,
                               .warnings = "no-effect\t/eta\tonly ddim\n"};
    struct heard h = {.n = 0};
    char id[CN_STORE_ID];
    struct cn_store_job job;
    struct rig r;

    (void)state;
    rig_init(&r);
    rig_id(id, 1);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_add(&r, 1, 1, 0), CN_OK);
    assert_int_equal(rig_get(&r, id, &job), CN_OK);
    assert_null(job.warnings);
    cn_store_job_release(&job);
    end.ended_us = cn_wall_us();
    cn_store_end(r.s, id, &end, rig_hear, &h);
    assert_true(rig_until(&r, &h.n, 1));
    rig_close(&r);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    assert_int_equal(rig_get(&r, id, &job), CN_OK);
    assert_string_equal(job.warnings, end.warnings);
    assert_int_equal(job.kind, CN_KIND_DRAW);
    cn_store_job_release(&job);
    rig_end(&r);
}

static void a_second_daemon_waits(void **state)
{
    struct rig a, b;
    struct cn_store_job job;
    char id[CN_STORE_ID];

    (void)state;
    rig_init(&a);
    rig_init_at(&b, a.dir);
    rig_id(id, 1);
    assert_int_equal(rig_open(&a, NULL), CN_OK);
    assert_int_equal(cn_store_open(&b.o, &b.s, NULL), CN_OK);
    for (int i = 0; i < 20; i++) {
        uv_run(&b.loop, UV_RUN_NOWAIT);
        uv_sleep(10);
    }
    assert_int_equal(b.opened, 0);
    assert_int_equal(cn_store_room(b.s, 1, NULL), CN_EBUSY);
    assert_int_equal(rig_get(&b, id, &job), CN_STORE_UNKNOWN);
    assert_int_equal(rig_add(&a, 1, 1, 0), CN_OK);
    assert_int_equal(rig_get(&b, id, &job), CN_OK); /* it may look on */
    cn_store_job_release(&job);
    rig_close(&a);
    assert_true(rig_until(&b, &b.opened, 1));
    assert_int_equal(b.open_rc, CN_OK);
    assert_int_equal(rig_get(&b, id, &job), CN_OK);
    cn_store_job_release(&job);
    /* One that is to end while it waits, ends. */
    assert_int_equal(cn_store_open(&a.o, &a.s, NULL), CN_OK);
    rig_close(&a);
    rig_close(&b);
    uv_run(&b.loop, UV_RUN_DEFAULT);
    uv_loop_close(&b.loop);
    rig_end(&a);
}

/* Each file of a description has bytes of its own; none is in the row that lists read. */
static void every_file_is_kept_apart(void **state)
{
    char id[CN_STORE_ID];
    struct heard h = {.n = 0};
    struct cn_store_job j;
    struct cn_spec spec;
    struct cn_blob *file;
    struct rig r;
    int n = 0;

    (void)state;
    rig_init(&r);
    rig_id(id, 1);
    assert_int_equal(rig_open(&r, NULL), CN_OK);
    rig_job(&j, "anna", 1, 1);
    rig_spec(&spec, 1, 0);
    for (int i = 0; i < 2; i++)
        assert_non_null(cn_spec_add_control(&spec));
    for (; (file = cn_spec_file(&spec, n)) != NULL; n++) {
        file->len = 10 + (size_t)n;
        file->data = cn_try_alloc(file->len);
        memset(file->data, 'a' + n, file->len);
    }
    assert_int_equal(n, CN_SPEC_FILES_MAX - 2 * (CN_MAX_CONTROLS - 2));
    assert_int_equal(cn_spec_image_bytes(&spec), 10 * n + n * (n - 1) / 2);
    assert_int_equal(cn_store_add(r.s, &j, &spec, NULL, rig_hear, &h, NULL), CN_OK);
    assert_true(rig_until(&r, &h.n, 1));
    cn_spec_release(&spec);

    assert_int_equal(rig_get(&r, id, &j), CN_OK);
    for (int k = 0; (file = cn_spec_file(&j.spec, k)) != NULL; k++)
        assert_true(file->data == NULL && file->len == 10 + (size_t)k);
    cn_store_job_release(&j);
    assert_int_equal(rig_inputs(&r, id, &spec), CN_OK);
    for (int k = 0; (file = cn_spec_file(&spec, k)) != NULL; k++) {
        assert_int_equal(file->len, 10 + k);
        assert_true(file->data[0] == 'a' + k && file->data[9 + k] == 'a' + k);
    }
    cn_spec_release(&spec);
    rig_close(&r);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_life_of_a_job),
        cmocka_unit_test(succeeded_needs_all_pictures),
        cmocka_unit_test(the_next_life_queues_again),
        cmocka_unit_test(lists_are_paged_newest_first),
        cmocka_unit_test(keys_find_their_job_for_a_day),
        cmocka_unit_test(results_go_then_the_job),
        cmocka_unit_test(a_full_store_refuses_and_fails_pictures),
        cmocka_unit_test(too_many_operations_are_refused),
        cmocka_unit_test(submissions_hold_their_images_once),
        cmocka_unit_test(a_close_keeps_what_was_given),
        cmocka_unit_test(a_database_gives_room_back),
        cmocka_unit_test(files_without_a_row_are_removed),
        cmocka_unit_test(warnings_and_kind_stay),
        cmocka_unit_test(a_second_daemon_waits),
        cmocka_unit_test(every_file_is_kept_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
