/* A matrix product inside attention that finds no memory is an error of the run, and not a picture:
 * dnnl_sgemm is wrapped, and fails when told to. */
#include "base/base.h"
#include "backend/backend.h"
#include "tests/backend/op_cases.h"
#include "tests/backend/op_run.h"

#include <oneapi/dnnl/dnnl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <cmocka.h>

static atomic_int calls, fails_at = -1;

dnnl_status_t __real_dnnl_sgemm(char ta, char tb, dnnl_dim_t m, dnnl_dim_t n, dnnl_dim_t k,
                                float alpha, const float *a, dnnl_dim_t lda, const float *b,
                                dnnl_dim_t ldb, float beta, float *c, dnnl_dim_t ldc);
dnnl_status_t __wrap_dnnl_sgemm(char ta, char tb, dnnl_dim_t m, dnnl_dim_t n, dnnl_dim_t k,
                                float alpha, const float *a, dnnl_dim_t lda, const float *b,
                                dnnl_dim_t ldb, float beta, float *c, dnnl_dim_t ldc);

dnnl_status_t __wrap_dnnl_sgemm(char ta, char tb, dnnl_dim_t m, dnnl_dim_t n, dnnl_dim_t k,
                                float alpha, const float *a, dnnl_dim_t lda, const float *b,
                                dnnl_dim_t ldb, float beta, float *c, dnnl_dim_t ldc)
{
    if (atomic_fetch_add(&calls, 1) == fails_at)
        return dnnl_out_of_memory;
    return __real_dnnl_sgemm(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

static void a_product_without_memory_fails_the_run(void **state)
{
    struct op_case c = {"attention", op_attention, .n = 1, .s = 9, .t = 9, .d = 32, .heads = 2};
    struct cn_graph *g = op_case_graph(&c);
    struct cn_buffer *in[3], *out;
    struct op_session s;
    struct cn_plan *p;
    int total;

    (void)state;
    op_session_open(&s, "onednn", g, &op_opts);
    p = op_compile(&s, g);
    for (int i = 0; i < 3; i++)
        in[i] = op_buffer(&s, g, &g->input[i]);
    out = op_buffer(&s, g, &g->output[0]);
    assert_int_equal(cn_plan_run(p, in, &out, NULL), CN_OK);
    total = calls;
    assert_true(total >= 4); /* two products for each head */
    for (int i = 0; i < total; i++) {
        struct cn_err err = CN_ERR_INIT;

        calls = 0;
        fails_at = i;
        assert_int_equal(cn_plan_run(p, in, &out, &err), CN_EDEVMEM);
        assert_non_null(strstr(err.msg, "attention"));
    }
    fails_at = -1;
    assert_int_equal(cn_plan_run(p, in, &out, NULL), CN_OK);
    for (int i = 0; i < 3; i++)
        cn_buffer_free(in[i]);
    cn_buffer_free(out);
    cn_plan_free(p);
    op_session_close(&s);
    cn_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_product_without_memory_fails_the_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
