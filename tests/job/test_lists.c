/* job: lists, made of what the store has and of what memory knows better. */
#include "base/base.h"
#include "base/log.h"
#include "base/mem.h"
#include "jobs_rig.h"
#include "tests/store/fault.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static void lists_hold_stored_and_other_jobs(void **state)
{
    struct cn_jobs_page *page = cn_xcalloc(1, sizeof(*page));
    struct cn_jobs_query q = {.state = -1, .limit = 2};
    struct answer a[5];
    char text[200] = "", next[CN_JOBS_CURSOR];
    int pages = 0;
    struct rig r;

    (void)state;
    rig_init(&r, "");
    rig_start(&r);
    for (int i = 0; i < 5; i++) {
        rig_submit(&r, &(struct ask){.tenant = "anna", .sync = i % 2 == 1}, &a[i]);
        rig_until(&r, rig_ended, &a[i]);
    }
    do {
        assert_int_equal(rig_list(&r, "anna", &q, page), CN_OK);
        for (int k = 0; k < page->n; k++)
            for (int i = 0; i < 5; i++)
                if (strcmp(page->view[k].id, a[i].id) == 0)
                    snprintf(text + strlen(text), 10, "%d ", i);
        strcpy(next, page->next);
        q.after = next;
        pages++;
    } while (next[0] != '\0');
    assert_string_equal(text, "4 3 2 1 0 ");
    assert_int_equal(pages, 3);
    q = (struct cn_jobs_query){.state = CN_JOB_QUEUED, .limit = 100};
    assert_int_equal(rig_list(&r, "anna", &q, page), CN_OK);
    assert_int_equal(page->n, 0);
    q.state = -1;
    assert_int_equal(rig_list(&r, "bert", &q, page), CN_OK);
    assert_int_equal(page->n, 0);
    assert_int_equal(rig_list(&r, NULL, &q, page), CN_OK);
    assert_int_equal(page->n, 5);
    q.after = "nonsense";
    assert_int_equal(rig_list(&r, NULL, &q, page), CN_EINVAL);
    free(page);
    rig_stop(&r);
    rig_end(&r);
}

/* Each job is in one list, also while the disk stands still under its start. */
static void a_start_that_is_not_stored_is_in_its_list(void **state)
{
    struct cn_jobs_page *page = cn_xcalloc(1, sizeof(*page));
    struct cn_jobs_query q = {.limit = 2};
    struct answer a, b, c;
    struct rig r;

    (void)state;
    cn_fault_register();
    rig_init(&r, "");
    r.so.io = &cn_fault_io;
    r.so.vfs = "fault";
    rig_start(&r);
    rig_submit(&r, &(struct ask){.tenant = "anna", .prompt = "step=100"}, &a);
    rig_until_state(&r, a.id, CN_JOB_RUNNING);
    rig_submit(&r, &(struct ask){.tenant = "anna", .prompt = "step=100"}, &b);
    rig_submit(&r, &(struct ask){.tenant = "anna"}, &c);
    cn_fault_stall(true);
    cn_jobs_abandon(r.jobs, "anna", a.id);
    rig_until_state(&r, b.id, CN_JOB_RUNNING);
    q.state = CN_JOB_RUNNING;
    assert_int_equal(rig_list(&r, "anna", &q, page), CN_OK);
    assert_true(page->n == 2 && page->next[0] == '\0'); /* the end of a is not stored, either */
    assert_string_equal(page->view[0].id, b.id);
    assert_string_equal(page->view[1].id, a.id);
    q.state = CN_JOB_QUEUED;
    assert_int_equal(rig_list(&r, "anna", &q, page), CN_OK);
    assert_true(page->n == 1 && page->next[0] == '\0');
    assert_string_equal(page->view[0].id, c.id);
    cn_fault_stall(false);
    rig_until(&r, rig_ended, &c);
    assert_int_equal(rig_list(&r, "anna", &q, page), CN_OK);
    assert_int_equal(page->n, 0);
    free(page);
    rig_stop(&r);
    rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_hold_stored_and_other_jobs),
        cmocka_unit_test(a_start_that_is_not_stored_is_in_its_list),
    };

    cn_log_init(&(struct cn_log_options){.level = CN_LOG_ERROR, .fd = STDERR_FILENO});
    return cmocka_run_group_tests(tests, NULL, NULL);
}
