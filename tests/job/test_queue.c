/* The queue's operations, one by one, and at random against a model that does everything the slow
 * way. */
#include "base/base.h"
#include "base/mem.h"
#include "job/cost.h"
#include "job/queue.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000000)

static const struct cn_tenant_limits preset = {.weight = 1, .max_queued = 3, .max_priority = 10};
static struct cn_tenants *ts;
static struct cn_queue q;

static int open_queue(void **state)
{
    (void)state;
    ts = cn_tenants_new(&preset);
    cn_queue_init(&q, 5, CN_PRIORITY_STEP_S);
    return 0;
}

static int close_queue(void **state)
{
    struct cn_job *job;

    (void)state;
    while ((job = cn_queue_oldest(&q)) != NULL) {
        cn_queue_remove(&q, job);
        cn_job_unref(job);
    }
    assert_int_equal(q.n + q.tenants + q.in_service, 0);
    assert_int_equal(cn_treap_count(&q.ready), 0);
    cn_tenants_free(ts);
    return 0;
}

static struct cn_job *make(const char *tenant, double cost, int priority, int64_t queued_ns)
{
    struct cn_spec spec;
    struct cn_job *job;

    cn_spec_init(&spec);
    spec.priority = priority;
    job = cn_job_new(&spec);
    job->tenant = cn_tenants_get(ts, tenant);
    job->cost = cost;
    job->queued_ns = queued_ns;
    return job;
}

static struct cn_job *push(const char *tenant, double cost)
{
    static int64_t now = 1;
    struct cn_job *job = make(tenant, cost, 0, now++);

    assert_int_equal(cn_queue_push(&q, job, NULL, NULL), CN_OK);
    return job;
}

static void end(struct cn_job *job)
{
    cn_queue_done(&q, job, job->cost);
    cn_job_unref(job);
}

static void jobs_of_one_go_in_order(void **state)
{
    struct cn_job *job[3];

    (void)state;
    assert_null(cn_queue_pop(&q));
    for (int i = 0; i < 3; i++)
        job[i] = push("a", 3 - i);
    for (int i = 0; i < 3; i++)
        assert_ptr_equal(cn_queue_pop(&q), job[i]);
    assert_null(cn_queue_pop(&q));
    for (int i = 0; i < 3; i++)
        end(job[i]);
}

static void refused(const char *tenant, enum cn_refusal expected)
{
    struct cn_job *job = make(tenant, 1, 0, 1);
    enum cn_refusal why = CN_REFUSED_NOT;

    assert_int_equal(cn_queue_refuses(&q, job->tenant), expected);
    assert_int_equal(cn_queue_push(&q, job, &why, NULL), CN_EBUSY);
    assert_int_equal(why, expected);
    assert_int_equal(job->refs, 1);
    cn_job_unref(job);
}

static void it_has_bounds(void **state)
{
    struct cn_job *job;

    (void)state;
    for (int i = 0; i < 3; i++)
        push("a", 1);
    refused("a", CN_REFUSED_TENANT);
    assert_int_equal(cn_queue_refuses(&q, NULL), CN_REFUSED_NOT);
    push("b", 1);
    push("b", 1);
    refused("b", CN_REFUSED_FULL);
    assert_int_equal(cn_queue_refuses(&q, NULL), CN_REFUSED_FULL);
    job = make("a", 1, 0, 1);
    cn_queue_restore(&q, job); /* accepted in an earlier life: past both */
    assert_int_equal(q.n, 6);
    assert_int_equal(q.tenants, 2);
}

static void a_lost_attempt_keeps_its_place_and_costs_nothing(void **state)
{
    struct cn_job *a = push("a", 5), *a2 = push("a", 5), *b = push("b", 5);
    double start;

    (void)state;
    assert_ptr_equal(cn_queue_pop(&q), a);
    start = a->tenant->start;
    cn_queue_put_back(&q, a);
    assert_true(fabs(a->tenant->start - start + 5) < 1e-9);
    assert_int_equal(a->tenant->running, 0);
    assert_ptr_equal(cn_queue_pop(&q), b); /* whose turn it has become: both stand at 0 */
    assert_ptr_equal(cn_queue_pop(&q), a); /* before its tenant's other job */
    assert_ptr_equal(cn_queue_pop(&q), a2);
    end(a);
    end(a2);
    end(b);
}

static void a_put_back_passes_the_bounds(void **state)
{
    struct cn_job *a = push("a", 1);

    (void)state;
    assert_ptr_equal(cn_queue_pop(&q), a);
    for (int i = 0; i < 3; i++)
        push("a", 1);
    push("b", 1);
    push("b", 1);
    cn_queue_put_back(&q, a);
    assert_int_equal(q.n, 6);
}

static void what_is_on_hold_counts_and_waits(void **state)
{
    struct cn_job *held = make("a", 1, 0, 1), *other, *gone = make("a", 1, 0, 2);
    double cost;

    (void)state;
    held->uncommitted = gone->uncommitted = true;
    assert_int_equal(cn_queue_push(&q, held, NULL, NULL), CN_OK);
    assert_int_equal(cn_queue_push(&q, gone, NULL, NULL), CN_OK);
    assert_int_equal(q.n, 2);
    assert_null(cn_queue_pop(&q));
    other = push("a", 1);
    refused("a", CN_REFUSED_TENANT);
    assert_int_equal(cn_queue_place(&q, held, &cost), 3);
    assert_ptr_equal(cn_queue_pop(&q), other);
    cn_queue_release(&q, held);
    assert_int_equal(cn_queue_place(&q, held, &cost), 1);
    assert_ptr_equal(cn_queue_pop(&q), held);
    cn_queue_remove(&q, gone);
    cn_job_unref(gone);
    end(held);
    end(other);
}

static void idle_time_is_forgotten_when_all_is_done(void **state)
{
    struct cn_job *a;

    (void)state;
    for (int i = 0; i < 10; i++) {
        a = push("a", 100);
        assert_ptr_equal(cn_queue_pop(&q), a);
        end(a);
    }
    a = push("a", 1); /* a stands at 1000; b, who is new, too */
    push("b", 1);
    assert_ptr_equal(cn_queue_pop(&q), a);
    end(a);
}

static void a_place_is_the_order_of_service(void **state)
{
    struct cn_job *job[60];
    double before = 0, cost;

    (void)state;
    cn_queue_init(&q, 100, CN_PRIORITY_STEP_S);
    for (int i = 0; i < 60; i++) {
        job[i] = make("a", 1 + i % 7, i % 5 - 2, i * SECOND);
        cn_queue_restore(&q, job[i]);
    }
    for (int n = 60; n > 0; n--) {
        int at[60], count = 0;
        struct cn_job *next = NULL;

        for (int i = 0; i < 60; i++) {
            at[i] = cn_treap_has(&job[i]->age) ? cn_queue_place(&q, job[i], &cost) : 0;
            count += at[i] > 0;
            if (at[i] == 1)
                next = job[i];
        }
        assert_int_equal(count, n);
        assert_ptr_equal(cn_queue_pop(&q), next);
        cn_queue_place(&q, next, &before);
    }
    for (int i = 0; i < 60; i++)
        end(job[i]);
}

/* With several tenants of equal jobs the estimate is off by no more than one round. */
static void a_place_among_many_is_near(void **state)
{
    struct cn_job *job[90], *served;
    int place[90], n = 0;
    double cost;

    (void)state;
    cn_queue_init(&q, 100, CN_PRIORITY_STEP_S);
    for (int i = 0; i < 90; i++) {
        job[i] = make(i < 60 ? "a" : i < 80 ? "b" : "c", 10, 0, i);
        cn_queue_restore(&q, job[i]);
    }
    for (int i = 0; i < 90; i++) {
        place[i] = cn_queue_place(&q, job[i], &cost);
        assert_true(fabs(cost - 10 * (place[i] - 1)) <= 30);
    }
    while ((served = cn_queue_pop(&q)) != NULL) {
        n++;
        for (int i = 0; i < 90; i++)
            if (job[i] == served)
                assert_true(abs(place[i] - n) <= 3);
        end(served);
    }
}

static void costs_follow_the_work(void **state)
{
    struct cn_spec s;
    double base;

    (void)state;
    cn_spec_init(&s);
    s.width = s.height = 512;
    s.steps = 20;
    s.guidance_scale = 7.5;
    base = cn_cost(&s);
    assert_true(base > 20 * 2 * 0.262 && base < 1.2 * 20 * 2 * 0.262);
    s.n = 4;
    assert_true(fabs(cn_cost(&s) / base - 4) < 1e-9);
    s.n = 1;
    s.width = 1024;
    assert_true(fabs(cn_cost(&s) / base - 2) < 1e-9);
    s.width = 512;
    s.steps = 40;
    assert_true(cn_cost(&s) / base > 1.8 && cn_cost(&s) / base < 2);
    s.steps = 20;
    free(s.prompt);
    s.prompt = cn_xstrdup("AND a ANDY, bAND AND (c)AND"); /* four parts */
    assert_true(fabs(cn_cost(&s) / base - 1) < 1e-9);
    s.prompt_syntax = CN_PROMPT_A1111;
    assert_true(cn_cost(&s) / base > 2.3 && cn_cost(&s) / base < 2.5);
    s.prompt_syntax = CN_PROMPT_PLAIN;
    s.sampler = CN_DPM2; /* two calls in a step */
    assert_true(cn_cost(&s) / base > 1.8 && cn_cost(&s) / base < 2);
    s.sampler = CN_DPMPP_2M;
    s.guidance_scale = 1;
    assert_true(cn_cost(&s) / base > 0.5 && cn_cost(&s) / base < 0.6);
    s.guidance_scale = 7.5;
    s.init_image.len = 1;
    s.denoise = 0.5;
    assert_true(cn_cost(&s) / base > 0.5 && cn_cost(&s) / base < 0.6);
    s.denoise = 0;
    assert_true(cn_cost(&s) > 0);
    s.init_image.len = 0;
    cn_spec_add_control(&s);
    assert_true(cn_cost(&s) / base > 1.8 && cn_cost(&s) / base < 2);
    s.control[0].end = 0.5;
    assert_true(cn_cost(&s) / base > 1.4 && cn_cost(&s) / base < 1.5);
    cn_spec_release(&s);
    for (int kind = 0; kind < CN_JOB_KIND_COUNT; kind++) { /* each has one */
        cn_spec_init(&s);
        s.kind = (enum cn_job_kind)kind;
        assert_true(cn_cost(&s) > 0);
        cn_spec_release(&s);
    }
}

/* ---- at random ---- */

enum { TENANTS = 6, JOBS = 40, OPERATIONS = 60000 };

enum where { NOWHERE, HELD, WAITING, SERVED };

/* The rules again, in the simplest words: arrays, and a look at everything. */
struct model {
    struct {
        double start, serving, weight;
        double mean; /* when anything last happened to it: what a step of priority is worth */
        int waiting, running, max_running;
        bool known;
    } tenant[TENANTS];
    struct {
        struct cn_job *job;
        enum where where;
        int tenant, order; /* order of acceptance */
    } job[JOBS];
    double now, latest, mean;
    int accepted;
};

static struct model m;
static uint64_t seed = 7;

static unsigned draw(unsigned below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(seed >> 33) % below;
}

static double key_of(int i)
{
    const struct cn_job *job = m.job[i].job;

    return (double)job->queued_ns - 60e9 * job->priority;
}

/* The first waiting job of a tenant; -1: none that may go. */
static int first_of(int t)
{
    int best = -1;

    if (m.tenant[t].max_running > 0 && m.tenant[t].running >= m.tenant[t].max_running)
        return -1;
    for (int i = 0; i < JOBS; i++)
        if (m.job[i].where == WAITING && m.job[i].tenant == t &&
            (best < 0 || key_of(i) < key_of(best) ||
             (key_of(i) == key_of(best) && m.job[i].order < m.job[best].order)))
            best = i;
    return best;
}

static double turn_of(int t)
{
    return m.tenant[t].start -
           m.job[first_of(t)].job->priority * m.tenant[t].mean / m.tenant[t].weight;
}

static int count(enum where where)
{
    int n = 0;

    for (int i = 0; i < JOBS; i++)
        n += m.job[i].where == where;
    return n;
}

static void model_advance(void)
{
    double least = INFINITY;

    for (int t = 0; t < TENANTS; t++)
        if (first_of(t) >= 0)
            least = fmin(least, m.tenant[t].start - m.tenant[t].serving);
    if (least < INFINITY)
        m.now = fmax(m.now, least);
    else if (count(SERVED) + count(WAITING) + count(HELD) == 0)
        m.now = fmax(m.now, m.latest);
}

static void model_release(int i)
{
    int t = m.job[i].tenant;

    model_advance();
    if (first_of(t) < 0) {
        bool any = false;

        for (int k = 0; k < JOBS; k++)
            any = any || (m.job[k].where == WAITING && m.job[k].tenant == t);
        if (!any) {
            m.tenant[t].start =
                m.tenant[t].known ? fmax(m.tenant[t].start, m.now + m.tenant[t].serving) : m.now;
            m.tenant[t].known = true;
        }
    }
    m.job[i].where = WAITING;
    m.tenant[t].mean = m.mean;
    model_advance();
}

static void do_push(int i)
{
    static const char *const name[TENANTS] = {"a", "b", "c", "d", "e", "f"};
    int t = (int)draw(TENANTS);
    struct cn_job *job =
        make(name[t], 0.1 + draw(1000) * 0.01, (int)draw(21) - 10, (int64_t)draw(2000) * SECOND);

    job->uncommitted = draw(4) == 0;
    m.job[i].job = job;
    m.job[i].tenant = t;
    m.job[i].order = ++m.accepted;
    m.mean += m.mean == 0 ? job->cost : 0.05 * (job->cost - m.mean);
    m.job[i].where = HELD;
    if (!job->uncommitted)
        model_release(i);
    cn_queue_restore(&q, job);
}

static void do_pop(void)
{
    struct cn_job *job = cn_queue_pop(&q);
    double best = INFINITY;
    int t, i;

    for (t = 0; t < TENANTS; t++)
        if (first_of(t) >= 0)
            best = fmin(best, turn_of(t));
    if (job == NULL) {
        assert_true(best == INFINITY);
        return;
    }
    for (i = 0; m.job[i].where != WAITING || m.job[i].job != job; i++)
        assert_true(i < JOBS - 1);
    t = m.job[i].tenant;
    assert_int_equal(first_of(t), i);
    assert_true(turn_of(t) <= best + 1e-6);
    m.job[i].where = SERVED;
    m.tenant[t].running++;
    m.tenant[t].start += job->cost / m.tenant[t].weight;
    m.tenant[t].serving += job->cost / m.tenant[t].weight;
    m.tenant[t].mean = m.mean;
    m.latest = fmax(m.latest, m.tenant[t].start);
    model_advance();
}

static void model_leave(int i, double charged)
{
    int t = m.job[i].tenant;

    m.tenant[t].mean = m.mean;
    m.tenant[t].running--;
    m.tenant[t].start += (charged - m.job[i].job->cost) / m.tenant[t].weight;
    m.tenant[t].serving -= m.job[i].job->cost / m.tenant[t].weight;
    if (m.tenant[t].running == 0 || m.tenant[t].serving < 0)
        m.tenant[t].serving = 0;
}

static void do_end(int i)
{
    struct cn_job *job = m.job[i].job;
    double charged = job->cost * (0.5 + draw(100) * 0.01);

    if (draw(5) == 0) {
        model_leave(i, 0);
        m.job[i].where = WAITING;
        model_advance();
        cn_queue_put_back(&q, job);
        return;
    }
    m.job[i].where = NOWHERE;
    model_leave(i, charged);
    model_advance();
    cn_queue_done(&q, job, charged);
    cn_job_unref(job);
}

static void do_something_to(int i)
{
    struct cn_job *job = m.job[i].job;

    if (m.job[i].where == NOWHERE) {
        do_push(i);
    } else if (m.job[i].where == SERVED) {
        do_end(i);
    } else if (m.job[i].where == HELD && draw(2) == 0) {
        model_release(i);
        cn_queue_release(&q, job);
    } else if (draw(3) == 0) {
        if (m.job[i].where == WAITING)
            m.tenant[m.job[i].tenant].mean = m.mean;
        m.job[i].where = NOWHERE;
        model_advance();
        cn_queue_remove(&q, job);
        cn_job_unref(job);
    }
}

static void check(void)
{
    static const char *const name[TENANTS] = {"a", "b", "c", "d", "e", "f"};
    double cost;

    assert_int_equal(q.n, count(HELD) + count(WAITING));
    assert_int_equal(q.in_service, count(SERVED));
    for (int t = 0; t < TENANTS; t++) {
        const struct cn_tenant *x = cn_tenants_find(ts, name[t]);

        if (x == NULL)
            continue;
        assert_int_equal(x->running, m.tenant[t].running);
        assert_true(fabs(x->start - m.tenant[t].start) < 1e-6);
        assert_true(fabs(x->serving - m.tenant[t].serving) < 1e-6);
    }
    for (int i = 0; i < JOBS; i++)
        if (m.job[i].where == WAITING || m.job[i].where == HELD)
            assert_in_range(cn_queue_place(&q, m.job[i].job, &cost), 1, q.n);
}

static void random_operations_follow_the_model(void **state)
{
    static const struct cn_tenant_rule rule[] = {
        {"b", {.weight = 3, .max_priority = 10}},
        {"c", {.weight = 1, .max_running = 2, .max_priority = 10}},
        {"d", {.weight = 7, .max_running = 1, .max_priority = 10}},
    };

    (void)state;
    cn_tenants_set_rules(ts, rule, CN_LEN(rule));
    for (int t = 0; t < TENANTS; t++)
        m.tenant[t].weight = 1;
    m.tenant[1].weight = 3;
    m.tenant[2].max_running = 2;
    m.tenant[3].weight = 7;
    m.tenant[3].max_running = 1;
    for (int k = 0; k < OPERATIONS; k++) {
        if (draw(3) == 0)
            do_pop();
        else
            do_something_to((int)draw(JOBS));
        if (k % 50 == 0)
            check();
    }
    for (int i = 0; i < JOBS; i++) {
        if (m.job[i].where == NOWHERE)
            continue;
        if (m.job[i].where == SERVED)
            cn_queue_done(&q, m.job[i].job, 1);
        else
            cn_queue_remove(&q, m.job[i].job);
        cn_job_unref(m.job[i].job);
    }
}

/* Two tenants flood the queue: there is room for a third, and for a few jobs of his. */
static void floods_leave_room_for_others(void **state)
{
    struct cn_tenant_limits limits = CN_TENANT_DEFAULTS;
    struct cn_tenants *table;
    struct cn_tenant *flood[2], *third;
    struct cn_queue full;
    struct cn_job *job;
    int accepted = 0;

    (void)state;
    table = cn_tenants_new(&limits);
    cn_queue_init(&full, 400, 60);
    flood[0] = cn_tenants_get(table, "a");
    flood[1] = cn_tenants_get(table, "b");
    third = cn_tenants_get(table, "c");
    for (int i = 0; i < 1000; i++) {
        struct cn_tenant *t = i < 900 ? flood[i % 2] : third;
        struct cn_spec spec;

        cn_spec_init(&spec);
        job = cn_job_new(&spec);
        job->tenant = cn_tenant_ref(t);
        job->cost = 1;
        if (cn_queue_push(&full, job, NULL, NULL) < 0)
            cn_job_unref(job);
        else
            accepted += t == third;
    }
    assert_int_equal(flood[0]->queued + flood[1]->queued, 360);
    assert_int_equal(accepted, 5); /* an eighth of the tenth */
    assert_int_equal(cn_queue_refuses(&full, NULL), CN_REFUSED_NOT);
    while ((job = cn_queue_oldest(&full)) != NULL) {
        cn_queue_remove(&full, job);
        cn_job_unref(job);
    }
    /* Who is alone has all of it. */
    for (int i = 0; i < 400; i++) {
        struct cn_spec spec;

        cn_spec_init(&spec);
        job = cn_job_new(&spec);
        job->tenant = cn_tenant_ref(third);
        job->cost = 1;
        assert_int_equal(cn_queue_push(&full, job, NULL, NULL), CN_OK);
    }
    full.many_tenants = true;
    assert_int_equal(cn_queue_refuses(&full, NULL), CN_REFUSED_FULL);
    while ((job = cn_queue_oldest(&full)) != NULL) {
        cn_queue_remove(&full, job);
        cn_job_unref(job);
    }
    for (int i = 0; i < 2; i++)
        cn_tenant_unref(flood[i]);
    cn_tenant_unref(third);
    cn_tenants_free(table);
}

int main(void)
{
#define WITH_QUEUE(f) cmocka_unit_test_setup_teardown(f, open_queue, close_queue)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(floods_leave_room_for_others),
        WITH_QUEUE(jobs_of_one_go_in_order),
        WITH_QUEUE(it_has_bounds),
        WITH_QUEUE(a_lost_attempt_keeps_its_place_and_costs_nothing),
        WITH_QUEUE(a_put_back_passes_the_bounds),
        WITH_QUEUE(what_is_on_hold_counts_and_waits),
        WITH_QUEUE(idle_time_is_forgotten_when_all_is_done),
        WITH_QUEUE(a_place_is_the_order_of_service),
        WITH_QUEUE(a_place_among_many_is_near),
        cmocka_unit_test(costs_follow_the_work),
        WITH_QUEUE(random_operations_follow_the_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
