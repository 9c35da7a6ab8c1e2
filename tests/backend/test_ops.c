/* The op table on every backend: whole graphs, every value an output (nothing fuses), buffers in
 * the backend's own layout. All against the fused run of the reference. */
#include "base/base.h"
#include "backend/backend.h"
#include "tests/backend/op_cases.h"
#include "tests/backend/op_run.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

enum way { PLAIN, NATIVE, EXPOSED, WAYS, ANY = WAYS }; /* ANY: one of them, by turns */

static const char *const way_names[WAYS] = {"plain", "native", "exposed"};

static void run_way(const char *backend, const struct op_case *c, enum way way,
                    struct op_result *ret)
{
    struct cn_graph *g = op_case_graph(c);

    if (way == EXPOSED)
        op_expose_all(g);
    if (way == NATIVE)
        op_make_native(g);
    op_run(backend, g, ret);
    cn_graph_free(g);
}

static double least_tolerance; /* of every case: what a narrower type asks for */

/* What the CUDA backend has no kernels for yet it refuses by name; the others have everything. */
static bool refused(const char *backend, const struct op_case *c)
{
    struct cn_graph *g = op_case_graph(c);
    bool r = op_refuses(backend, g);

    cn_graph_free(g);
    return r;
}

/* 1 when the case fails on that backend. NaN is a failure. */
static int compare(const char *backend, const struct op_case *c, enum way way,
                   const struct op_result *expect)
{
    double tolerance = CN_MAX(c->tolerance > 0.0 ? c->tolerance : 1e-5, least_tolerance), d;
    struct op_result r;

    run_way(backend, c, way, &r);
    d = op_distance(&r, expect);
    op_result_release(&r);
    if (d <= tolerance)
        return 0;
    fprintf(stderr, "%s, %s, %s: relative L2 %g, at most %g is right\n", backend, c->name,
            way_names[way], d, tolerance);
    return 1;
}

/* Fused or not, native or not: the reference says the same. Fusing leaves out roundings. */
static int check_reference(const struct op_case *c, const struct op_result *plain)
{
    struct op_result r;
    double d;
    int bad = compare("reference", c, NATIVE, plain);

    run_way("reference", c, EXPOSED, &r);
    r.count = plain->count; /* "y" comes first */
    d = op_distance(&r, plain);
    op_result_release(&r);
    if (d <= 1e-6)
        return bad;
    fprintf(stderr, "reference, %s: fused and not fused differ by %g\n", c->name, d);
    return 1;
}

static void reference_is_the_same_fused_and_not(void **state)
{
    int bad = 0;

    (void)state;
    for (const struct op_case *c = op_cases; c->name != NULL; c++) {
        struct op_result plain;

        run_way("reference", c, PLAIN, &plain);
        bad += check_reference(c, &plain);
        op_result_release(&plain);
    }
    assert_int_equal(bad, 0);
}

/* Quick, on the slow stand-in of a device: a case is native or exposed, and always plain. */
static bool left_out(const char *backend, const struct op_case *c, enum way way)
{
    return op_quick() && strcmp(backend, "cuda") == 0 && (way == NATIVE || way == EXPOSED) &&
           ((c - op_cases) % 2 == 0) == (way == NATIVE);
}

static int compare_all(const char *backend, enum way way)
{
    int bad = 0;

    for (const struct op_case *c = op_cases; c->name != NULL; c++) {
        enum way own = way == ANY ? (enum way)((c - op_cases) % WAYS) : way;
        struct op_result expect;

        if (left_out(backend, c, way) || refused(backend, c))
            continue;
        run_way("reference", c, own == EXPOSED ? EXPOSED : PLAIN, &expect);
        bad += compare(backend, c, own, &expect);
        op_result_release(&expect);
    }
    return bad;
}

/* How many cases fail on the other backends of this build. */
static int other_backends(enum way way)
{
    int bad = 0;

    for (const char *const *name = op_backends(); *name != NULL; name++)
        if (strcmp(*name, "reference") != 0)
            bad += compare_all(*name, way);
    return bad;
}

static void backends_agree_with_the_reference(void **state)
{
    (void)state;
    assert_int_equal(other_backends(PLAIN), 0);
}

static void native_buffers_hold_the_same(void **state)
{
    (void)state;
    assert_int_equal(other_backends(NATIVE), 0);
}

static void every_value_agrees_when_it_is_an_output(void **state)
{
    (void)state;
    assert_int_equal(other_backends(EXPOSED), 0);
}

/* What a backend computes in 16 bits, where it can: roundings of 2^-11 (F16) and 2^-8 (BF16), and
 * the sum of the squares of many. Quick: every case in one way. */
static void halves_agree_with_the_reference(void **state)
{
    static const enum cn_dtype types[] = {CN_F16, CN_BF16};
    int bad = 0;

    (void)state;
    for (size_t i = 0; i < CN_LEN(types); i++) {
        op_opts.dtype = types[i];
        least_tolerance = types[i] == CN_F16 ? 2e-3 : 1e-2;
        for (const char *const *name = op_backends(); *name != NULL; name++)
            for (int way = op_quick() ? ANY : PLAIN; way < (op_quick() ? ANY + 1 : WAYS); way++)
                bad += strcmp(*name, "cuda") == 0 ? compare_all(*name, (enum way)way) : 0;
    }
    op_opts.dtype = CN_F32;
    least_tolerance = 0;
    assert_int_equal(bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reference_is_the_same_fused_and_not),
        cmocka_unit_test(backends_agree_with_the_reference),
        cmocka_unit_test(native_buffers_hold_the_same),
        cmocka_unit_test(every_value_agrees_when_it_is_an_output),
        cmocka_unit_test(halves_agree_with_the_reference),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
