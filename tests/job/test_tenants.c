/* The ordered set, and the table of tenants. */
#include "base/base.h"
#include "job/tenant.h"
#include "base/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- treap ---- */

enum { NODES = 200, OPERATIONS = 20000 };

static uint64_t seed = 1;

static unsigned draw(unsigned below)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (unsigned)(seed >> 33) % below;
}

static bool precedes(const struct cn_treap_node *a, const struct cn_treap_node *b)
{
    return a->key < b->key || (!(b->key < a->key) && a->seq < b->seq);
}

/* Order, ranks and sums against counting. */
static void check(const struct cn_treap *t, const struct cn_treap_node *node, uint32_t n)
{
    const struct cn_treap_node *last = NULL;
    double sum = 0, got;
    uint32_t at = 0;

    assert_int_equal(cn_treap_count(t), n);
    for (struct cn_treap_node *x = cn_treap_first(t); x != NULL; x = cn_treap_next(x)) {
        assert_true(last == NULL || precedes(last, x));
        assert_int_equal(cn_treap_before(t, x, &got), at);
        assert_true(fabs(got - sum) < 1e-6);
        sum += x->weight;
        last = x;
        at++;
    }
    assert_int_equal(at, n);
    assert_true(fabs(cn_treap_sum(t) - sum) < 1e-6);
    for (uint32_t i = 0, in = 0; i < NODES; i++)
        assert_true((in += cn_treap_has(&node[i])) <= n);
}

static void an_ordered_set_keeps_order_ranks_and_sums(void **state)
{
    struct cn_treap_node *node = cn_xcalloc(NODES, sizeof(*node));
    struct cn_treap t = {0};
    uint32_t n = 0;

    (void)state;
    assert_null(cn_treap_first(&t));
    for (int i = 0; i < OPERATIONS; i++) {
        struct cn_treap_node *x = &node[draw(NODES)];

        if (cn_treap_has(x)) {
            cn_treap_remove(&t, x);
            n--;
        } else {
            cn_treap_add(&t, x, draw(20), (uint64_t)i, draw(100));
            n++;
        }
        if (i % 97 == 0)
            check(&t, node, n);
    }
    while (cn_treap_first(&t) != NULL)
        cn_treap_remove(&t, cn_treap_first(&t));
    check(&t, node, 0);
    free(node);
}

static uint32_t depth(const struct cn_treap_node *x)
{
    uint32_t a, b;

    if (x == NULL)
        return 0;
    a = depth(x->child[0]);
    b = depth(x->child[1]);
    return 1 + (a > b ? a : b);
}

/* Keys that come in order, as submissions do, must not make a list of it. */
static void it_stays_shallow(void **state)
{
    enum { N = 100000 };
    struct cn_treap_node *node = cn_xcalloc(N, sizeof(*node));
    struct cn_treap t = {0};

    (void)state;
    for (int i = 0; i < N; i++)
        cn_treap_add(&t, &node[i], i, 0, 1);
    assert_in_range(depth(t.root), 17, 80); /* expected about 2 ln N + 1.7 log2 ... : 40 */
    for (int i = 0; i < N; i++)
        cn_treap_remove(&t, cn_treap_first(&t));
    free(node);
}

/* ---- tenants ---- */

static const struct cn_tenant_limits preset = CN_TENANT_DEFAULTS;

static void the_table_forgets_who_is_idle(void **state)
{
    struct cn_tenants *ts = cn_tenants_new(&preset);
    struct cn_tenant *kept = cn_tenants_get(ts, "kept"), *t;
    char name[32];

    (void)state;
    kept->start = 7;
    for (int i = 0; i < 100000; i++) {
        snprintf(name, sizeof(name), "tenant-%d", i);
        t = cn_tenants_get(ts, name);
        t->start = i;
        cn_tenant_unref(t);
        assert_true(cn_tenants_count(ts) <= CN_TENANTS_IDLE + 1);
    }
    assert_ptr_equal(cn_tenants_find(ts, "kept"), kept);
    assert_null(cn_tenants_find(ts, "tenant-0"));
    t = cn_tenants_get(ts, "tenant-99999"); /* one of the last stands where it stood */
    assert_true(t->start > 99998);
    assert_int_equal(cn_tenants_count(ts), CN_TENANTS_IDLE + 1);
    cn_tenant_unref(t);
    cn_tenant_unref(kept);
    cn_tenants_free(ts);
}

static void use_keeps_a_tenant_in_the_table(void **state)
{
    struct cn_tenants *ts = cn_tenants_new(&preset);
    char name[32];

    (void)state;
    for (int i = 0; i < 3 * CN_TENANTS_IDLE; i++) {
        snprintf(name, sizeof(name), "tenant-%d", i);
        cn_tenant_unref(cn_tenants_get(ts, name));
        cn_tenant_unref(cn_tenants_get(ts, "regular"));
    }
    assert_non_null(cn_tenants_find(ts, "regular"));
    assert_null(cn_tenants_find(ts, "tenant-0"));
    cn_tenants_free(ts);
}

static void a_reload_changes_the_living(void **state)
{
    static const struct cn_tenant_rule rule[] = {
        {"bert", {.weight = 2, .max_queued = 3}},
        {"anna", {.weight = 5, .max_queued = 10, .max_running = 1, .max_priority = 2}},
    };
    struct cn_tenants *ts = cn_tenants_new(&preset);
    struct cn_tenant *anna = cn_tenants_get(ts, "anna"), *other = cn_tenants_get(ts, "other");
    struct cn_tenant_limits less = CN_TENANT_DEFAULTS;

    (void)state;
    assert_int_equal(anna->limits.max_queued, 5000);
    cn_tenants_set_rules(ts, rule, CN_LEN(rule));
    assert_int_equal(anna->limits.max_queued, 10);
    assert_int_equal(cn_tenants_limits(ts, "bert").max_queued, 3);
    assert_int_equal(other->limits.max_queued, 5000);
    less.max_queued = 4;
    cn_tenants_set_rules(ts, NULL, 0);
    cn_tenants_set_preset(ts, &less);
    assert_int_equal(anna->limits.max_queued, 4);
    assert_int_equal(other->limits.max_queued, 4);
    cn_tenant_unref(anna);
    cn_tenant_unref(other);
    cn_tenants_free(ts);
}

static void long_names_are_cut_alike(void **state)
{
    struct cn_tenants *ts = cn_tenants_new(&preset);
    char name[200];
    struct cn_tenant *t;

    (void)state;
    memset(name, 'x', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    t = cn_tenants_get(ts, name);
    assert_int_equal(strlen(t->name), CN_TENANT_NAME - 1);
    assert_ptr_equal(cn_tenants_find(ts, name), t);
    assert_ptr_equal(cn_tenants_find(ts, t->name), t);
    cn_tenant_unref(t);
    cn_tenants_free(ts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_ordered_set_keeps_order_ranks_and_sums),
        cmocka_unit_test(it_stays_shallow),
        cmocka_unit_test(the_table_forgets_who_is_idle),
        cmocka_unit_test(use_keeps_a_tenant_in_the_table),
        cmocka_unit_test(a_reload_changes_the_living),
        cmocka_unit_test(long_names_are_cut_alike),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
