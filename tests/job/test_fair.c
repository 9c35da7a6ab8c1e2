/* Who gets how much of a farm, and when. */
#include "base/base.h"
#include "farm.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct farm f;

/* One floods a farm and has filled it, `before` of its jobs have ended; three others come with 10
 * jobs each. After how many ends from then on do they have theirs? */
static int ends_until_served(int workers, int capacity, int before)
{
    int last = 0;

    farm_init(&f, workers, capacity, NULL, 0);
    farm_submit(&f, "anna", 1000, 10, 0, 0);
    farm_run(&f, before);
    if (before == 0) { /* handed out, and none has ended */
        struct cn_job *job;

        for (int i = 0; i < workers * capacity; i++) {
            job = cn_queue_pop(&f.q);
            f.run[i % workers][f.n[i % workers]].job = job;
            f.run[i % workers][f.n[i % workers]++].left = job->cost;
        }
    }
    farm_submit(&f, "bert", 10, 10, 0, 0);
    farm_submit(&f, "cleo", 10, 10, 0, 0);
    farm_submit(&f, "dora", 10, 10, 0, 0);
    farm_run(&f, 200);
    for (const char *t = "bcd"; *t != '\0'; t++)
        last = CN_MAX(last, farm_when(&f, *t, 10) - before);
    farm_release(&f);
    return last;
}

static void a_flood_delays_nobody(void **state)
{
    static const int capacity[] = {1, 2, 4, 8};

    (void)state;
    for (size_t c = 0; c < CN_LEN(capacity); c++)
        for (int before = 0; before < 40; before++)
            assert_in_range(ends_until_served(1, capacity[c], before), 30, 44);
    assert_in_range(ends_until_served(4, 1, 0), 30, 44);
    assert_in_range(ends_until_served(2, 4, 100), 30, 44);
}

/* Sixteen of the flood are with the worker and will end first, whatever the queue does: then the
 * others have theirs, and the flood waits. */
static void a_wide_worker_finishes_what_it_began(void **state)
{
    (void)state;
    for (int before = 0; before < 40; before++)
        assert_in_range(ends_until_served(1, 16, before), 30, 16 + 30 + 2);
}

/* (sum x)^2 / (n sum x^2): 1 when all have the same. */
static double jain(const double *x, int n)
{
    double sum = 0, squares = 0;

    for (int i = 0; i < n; i++) {
        sum += x[i];
        squares += x[i] * x[i];
    }
    return sum * sum / (n * squares);
}

static void equal_tenants_share_every_hundred_services(void **state)
{
    static const int capacity[] = {1, 4, 8, 16};
    static const char *const name[] = {"anna", "bert", "cleo", "dora"};

    (void)state;
    for (size_t c = 0; c < CN_LEN(capacity); c++) {
        farm_init(&f, 1, capacity[c], NULL, 0);
        for (int i = 0; i < 4; i++)
            farm_submit(&f, name[i], 300, 10, 0, 0);
        farm_run(&f, 1000);
        for (int from = 0; from + 100 <= 1000; from++) {
            double x[4];

            for (int i = 0; i < 4; i++)
                x[i] = farm_count(&f, from, 100, name[i][0]);
            assert_true(jain(x, 4) >= 0.95);
        }
        farm_release(&f);
    }
}

static void weights_are_shares(void **state)
{
    static const struct cn_tenant_rule rule[] = {
        {"bert", {.weight = 3, .max_priority = 10}},
        {"cleo", {.weight = 10, .max_priority = 10}},
    };
    static const int capacity[] = {1, 4, 8, 16};

    (void)state;
    for (size_t c = 0; c < CN_LEN(capacity); c++) {
        farm_init(&f, 2, capacity[c], rule, CN_LEN(rule));
        farm_submit(&f, "anna", 2000, 10, 0, 0);
        farm_submit(&f, "bert", 2000, 10, 0, 0);
        farm_run(&f, 2000);
        assert_true(fabs(farm_count(&f, 0, 2000, 'b') / (double)farm_count(&f, 0, 2000, 'a') / 3 -
                         1) < 0.05);
        farm_submit(&f, "cleo", 2000, 10, 0, 0);
        farm_run(&f, 1400);
        assert_true(fabs(farm_count(&f, 2000, 1400, 'c') / 1000.0 - 1) < 0.05);
        assert_true(fabs(farm_count(&f, 2000, 1400, 'b') / 300.0 - 1) < 0.05);
        farm_release(&f);
    }
}

/* Shares are of the devices' time, not of counts. */
static void large_jobs_count_for_more(void **state)
{
    (void)state;
    farm_init(&f, 2, 2, NULL, 0);
    farm_submit(&f, "anna", 2000, 40, 0, 0);
    farm_submit(&f, "bert", 2000, 5, 0, 0);
    farm_run(&f, 900);
    assert_true(fabs(farm_count(&f, 0, 900, 'b') / (double)farm_count(&f, 0, 900, 'a') / 8 - 1) <
                0.05);
    farm_release(&f);
}

/* Predicted alike, but anna's take six times as long. */
static void what_was_not_foreseen_is_charged(void **state)
{
    (void)state;
    farm_init(&f, 1, 4, NULL, 0);
    f.measured = true;
    farm_submit(&f, "anna", 2000, 10, 0, 30);
    farm_submit(&f, "bert", 2000, 10, 0, 5);
    farm_run(&f, 1400);
    assert_true(fabs(farm_count(&f, 0, 1400, 'b') / (double)farm_count(&f, 0, 1400, 'a') / 6 - 1) <
                0.05);
    farm_release(&f);
}

/* Who stays away does not save up: he gets his share from when he comes. */
static void absence_saves_nothing(void **state)
{
    (void)state;
    farm_init(&f, 1, 2, NULL, 0);
    farm_submit(&f, "bert", 1, 10, 0, 0);
    farm_submit(&f, "anna", 1000, 10, 0, 0);
    farm_run(&f, 500);
    farm_submit(&f, "bert", 200, 10, 0, 0);
    farm_run(&f, 100);
    assert_in_range(farm_count(&f, 500, 100, 'b'), 48, 53);
    farm_release(&f);
}

/* And one long job in service is no way to save up either. */
static void a_long_job_saves_nothing(void **state)
{
    (void)state;
    farm_init(&f, 2, 1, NULL, 0);
    farm_submit(&f, "bert", 1, 10, 0, 2000); /* predicted as short */
    farm_submit(&f, "anna", 1000, 10, 0, 0);
    farm_run(&f, 100);
    farm_submit(&f, "bert", 200, 10, 0, 0);
    farm_run(&f, 100);
    assert_in_range(farm_count(&f, 100, 100, 'b'), 45, 55);
    farm_release(&f);
}

static void a_new_tenant_starts_at_once(void **state)
{
    char name[8];

    (void)state;
    farm_init(&f, 2, 1, NULL, 0);
    farm_submit(&f, "flood", 500, 10, 0, 0);
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof(name), "a%d", i);
        farm_submit(&f, name, 100, 10, 0, 0);
    }
    farm_run(&f, 300);
    farm_submit(&f, "new", 1, 10, 0, 0);
    farm_run(&f, 100);
    assert_in_range(farm_when(&f, 'n', 1) - 300, 1, 2 + 12); /* workers and active tenants */
    farm_release(&f);
}

static void caps_hold_and_waste_nothing(void **state)
{
    static const struct cn_tenant_rule rule[] = {
        {"anna", {.weight = 1, .max_running = 2, .max_priority = 10}}};
    struct cn_tenant *anna;

    (void)state;
    farm_init(&f, 1, 8, rule, 1);
    farm_submit(&f, "anna", 100, 10, 0, 0);
    anna = cn_tenants_find(f.ts, "anna");
    for (int i = 0; i < 20; i++) {
        farm_step(&f);
        assert_in_range(anna->running, 0, 2);
    }
    farm_submit(&f, "bert", 300, 10, 0, 0);
    farm_run(&f, 80);
    assert_int_equal(anna->running + cn_tenants_find(f.ts, "bert")->running, 7);
    assert_in_range(farm_count(&f, 20, 80, 'b'), 55, 65); /* three quarters: anna has 2 of 8 */
    cn_tenants_set_preset(f.ts, &anna->limits);           /* everybody at most 2 */
    cn_queue_refresh(&f.q, f.ts);
    farm_run(&f, 20);
    assert_in_range(cn_tenants_find(f.ts, "bert")->running, 1, 2);
    /* A newcomer gains nothing from anna's standing back. */
    cn_tenants_set_rules(f.ts, NULL, 0);
    cn_tenants_set_preset(f.ts, &(struct cn_tenant_limits){.weight = 1, .max_priority = 10});
    cn_queue_refresh(&f.q, f.ts);
    farm_run(&f, 30);
    farm_submit(&f, "cleo", 300, 10, 0, 0);
    farm_run(&f, 100);
    assert_in_range(farm_count(&f, 150, 100, 'c'), 25, 50);
    farm_release(&f);
}

/* ---- priorities ---- */

static void the_urgent_goes_next(void **state)
{
    (void)state;
    for (int own = 0; own < 2; own++) {
        farm_init(&f, 1, 1, NULL, 0);
        farm_submit(&f, "anna", 100, 10, -5, 0);
        farm_run(&f, 3);
        farm_submit(&f, own ? "anna" : "xerxes", 1, 3, 10, 0);
        farm_run(&f, 1);
        assert_true(f.now < 40 - 5); /* the job of cost 3 was the fourth to end */
        farm_release(&f);
    }
}

/* Urgent work without end: the low job waits for what came within 20 steps of priority. */
static void waiting_makes_urgent(void **state)
{
    struct cn_job *low;
    double waited = 0;

    (void)state;
    farm_init(&f, 1, 1, NULL, 0);
    farm_submit(&f, "anna", 1, 10, -10, 0);
    low = cn_queue_oldest(&f.q);
    cn_job_ref(low);
    for (int i = 0; i < 1000 && cn_treap_has(&low->age); i++) {
        farm_submit(&f, "anna", 1, 10, 10, 0); /* as fast as they are done */
        farm_step(&f);
        waited = f.now;
    }
    assert_false(cn_treap_has(&low->age));
    assert_true(waited <= 20 * CN_PRIORITY_STEP_S + 20);
    assert_true(waited >= 20 * CN_PRIORITY_STEP_S - 20); /* and not at once either */
    cn_job_unref(low);
    farm_release(&f);
}

static void priorities_do_not_change_shares(void **state)
{
    (void)state;
    farm_init(&f, 1, 2, NULL, 0);
    farm_submit(&f, "anna", 600, 10, 10, 0);
    farm_submit(&f, "bert", 600, 10, -10, 0);
    farm_submit(&f, "cleo", 600, 10, 0, 0);
    farm_run(&f, 60);
    assert_in_range(farm_count(&f, 0, 12, 'a'), 10, 12); /* first, on credit */
    assert_in_range(farm_count(&f, 0, 60, 'b'), 10, 15); /* last, and not starved */
    farm_run(&f, 540);
    assert_in_range(farm_count(&f, 0, 600, 'a'), 195, 215);
    assert_in_range(farm_count(&f, 0, 600, 'b'), 185, 205);
    farm_release(&f);
}

static void a_cap_lowers_priorities(void **state)
{
    static const struct cn_tenant_rule rule[] = {{"anna", {.weight = 1, .max_priority = -1}}};

    (void)state;
    farm_init(&f, 1, 1, rule, 1);
    farm_submit(&f, "anna", 1, 10, 10, 0);
    assert_int_equal(cn_queue_oldest(&f.q)->priority, -1);
    assert_int_equal(f.q.band[0], 1);
    farm_release(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flood_delays_nobody),
        cmocka_unit_test(a_wide_worker_finishes_what_it_began),
        cmocka_unit_test(equal_tenants_share_every_hundred_services),
        cmocka_unit_test(weights_are_shares),
        cmocka_unit_test(large_jobs_count_for_more),
        cmocka_unit_test(what_was_not_foreseen_is_charged),
        cmocka_unit_test(absence_saves_nothing),
        cmocka_unit_test(a_long_job_saves_nothing),
        cmocka_unit_test(a_new_tenant_starts_at_once),
        cmocka_unit_test(caps_hold_and_waste_nothing),
        cmocka_unit_test(the_urgent_goes_next),
        cmocka_unit_test(waiting_makes_urgent),
        cmocka_unit_test(priorities_do_not_change_shares),
        cmocka_unit_test(a_cap_lowers_priorities),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
