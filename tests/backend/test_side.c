/* Rows copied between buffers, and side plans: what one backend does for two threads. */
#include "base/base.h"
#include "backend/backend.h"
#include "tests/backend/op_run.h"
#include "base/mem.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Rows of src, which hold their own number, go to other places of dst. */
static void check_copies(struct op_session *s, struct cn_shape shape, enum cn_dtype dtype, int from,
                         int to)
{
    struct cn_value a = {.shape = shape, .dtype = dtype}, b = a;
    size_t row = (size_t)(cn_shape_elements(&shape) / shape.dim[0]), n = (size_t)shape.dim[0];
    float *x = cn_xcalloc((n + 2) * row, sizeof(*x)), *y = cn_xcalloc((n + 2) * row, sizeof(*y));
    struct cn_buffer *src, *dst;

    b.shape.dim[0] += 2;
    op_fill(x, n * row, "source", 1.0);
    op_fill(y, (n + 2) * row, "destination", 1.0);
    assert_int_equal(cn_buffer_new(s->b, &a, CN_DTYPE_COUNT, from, &src, NULL), CN_OK);
    assert_int_equal(cn_buffer_new(s->b, &b, CN_DTYPE_COUNT, to, &dst, NULL), CN_OK);
    cn_buffer_write(src, x);
    cn_buffer_write(dst, y);
    assert_int_equal(cn_buffer_copy_rows(dst, 1, src, 0, (int64_t)n, NULL), CN_OK);
    assert_int_equal(cn_buffer_copy_rows(dst, (int64_t)n + 1, src, (int64_t)n - 1, 1, NULL), CN_OK);
    assert_int_equal(cn_buffer_copy_rows(dst, (int64_t)n + 2, src, 0, 0, NULL), CN_OK);
    memcpy(y + row, x, n * row * sizeof(*x));
    memcpy(y + (n + 1) * row, x + (n - 1) * row, row * sizeof(*x));
    cn_buffer_read(dst, x);
    assert_memory_equal(x, y, (n + 2) * row * sizeof(*x));
    cn_buffer_free(src);
    cn_buffer_free(dst);
    free(x);
    free(y);
}

static void refuse_copies(struct op_session *s)
{
    struct cn_value a = {.shape = cn_shape3(2, 3, 4), .dtype = CN_F32}, b = a, ids = a;
    struct cn_buffer *x, *y, *i;
    struct cn_err err = CN_ERR_INIT;

    b.shape.dim[2] = 5;
    ids.dtype = CN_I32;
    assert_int_equal(cn_buffer_new(s->b, &a, CN_DTYPE_COUNT, 0, &x, NULL), CN_OK);
    assert_int_equal(cn_buffer_new(s->b, &b, CN_DTYPE_COUNT, 0, &y, NULL), CN_OK);
    assert_int_equal(cn_buffer_new(s->b, &ids, CN_DTYPE_COUNT, 0, &i, NULL), CN_OK);
    assert_int_equal(cn_buffer_copy_rows(x, 0, y, 0, 1, &err), CN_EINVAL);
    assert_non_null(strstr(err.msg, "[2, 3, 5]"));
    assert_int_equal(cn_buffer_copy_rows(x, 0, i, 0, 1, NULL), CN_EINVAL);
    assert_int_equal(cn_buffer_copy_rows(x, 0, x, 1, 1, NULL), CN_EINVAL);
    cn_buffer_free(y);
    assert_int_equal(cn_buffer_new(s->b, &a, CN_DTYPE_COUNT, CN_IO_NATIVE, &y, NULL), CN_OK);
    assert_int_equal(cn_buffer_copy_rows(x, 1, y, 0, 2, NULL), CN_EINVAL);
    assert_int_equal(cn_buffer_copy_rows(x, 0, y, 2, 1, NULL), CN_EINVAL);
    assert_int_equal(cn_buffer_copy_rows(x, -1, y, 0, 1, NULL), CN_EINVAL);
    assert_int_equal(cn_buffer_copy_rows(x, 0, y, 0, INT64_MAX, NULL), CN_EINVAL);
    cn_buffer_free(x);
    cn_buffer_free(y);
    cn_buffer_free(i);
}

static void check_row_copies(const char *backend)
{
    const struct cn_shape shapes[] = {
        cn_shape1(3),          cn_shape2(2, 19),          cn_shape3(3, 7, 40),
        cn_shape4(1, 3, 5, 7), cn_shape4(2, 8, 4, 4),     cn_shape4(3, 16, 1, 1),
        cn_shape4(2, 20, 3, 3), cn_shape4(4, 48, 9, 2),
    };
    struct cn_graph *g = cn_graph_new("none");
    struct op_session s;

    op_session_open(&s, backend, g, &op_plan_opts);
    for (size_t i = 0; i < CN_LEN(shapes); i++)
        for (int k = 0; k < 4; k++)
            check_copies(&s, shapes[i], CN_F32, k & 1 ? CN_IO_NATIVE : 0,
                         k & 2 ? CN_IO_NATIVE : 0);
    check_copies(&s, cn_shape2(2, 77), CN_I32, 0, 0);
    refuse_copies(&s);
    op_session_close(&s);
    cn_graph_free(g);
}

static void rows_are_copied_between_buffers(void **state)
{
    (void)state;
    op_each_backend(check_row_copies);
}

/* Runs one plan again and again, on whichever thread, and counts other results than the first. */
struct repeat {
    struct cn_plan *p;
    struct cn_buffer *in, *out;
    const float *x, *expect;
    float *y;
    size_t n;
    int times, wrong;
};

static void *run_again(void *arg)
{
    struct repeat *r = arg;

    for (int i = 0; i < r->times; i++) {
        cn_buffer_write(r->in, r->y); /* anything else */
        cn_buffer_write(r->in, r->x);
        if (cn_plan_run(r->p, &r->in, &r->out, NULL) < 0)
            r->wrong++;
        cn_buffer_read(r->out, r->y);
        r->wrong += memcmp(r->y, r->expect, r->n * sizeof(*r->y)) != 0;
    }
    return NULL;
}

/* The result of the plan without company is what must come out. */
static struct repeat prepare_repeat(struct op_session *s, int flags, struct cn_graph *g,
                                    struct op_result *expect)
{
    struct repeat r = {.times = op_quick() ? 12 : 60};

    assert_int_equal(cn_plan_compile(s->b, g, s->w, CN_DTYPE_COUNT, flags, &r.p, NULL), CN_OK);
    op_run_once(s, r.p, g, expect);
    r.in = op_buffer(s, g, &g->input[0]);
    r.out = op_buffer(s, g, &g->output[0]);
    r.x = op_data(g, g->input[0].val);
    r.expect = expect->data;
    r.n = expect->count;
    r.y = cn_xcalloc(r.n, sizeof(*r.y));
    return r;
}

static void release_repeat(struct repeat *r)
{
    cn_buffer_free(r->in);
    cn_buffer_free(r->out);
    cn_plan_free(r->p);
    free((void *)(uintptr_t)r->x);
    free(r->y);
}

/* The owner runs and compiles plans while side plans of two sizes, the larger one last, run on a
 * second thread: nobody's results change. */
static void check_side_plans(const char *backend)
{
    static const int size[] = {37, 30, 43};
    struct cn_backend_opts opts = op_plan_opts;
    struct op_result expect[CN_LEN(size)];
    struct cn_graph *g[CN_LEN(size)];
    struct repeat r[CN_LEN(size)];
    struct op_session s;
    pthread_t thread;

    opts.threads = 2;
    opts.side_threads = 1;
    for (size_t i = 0; i < CN_LEN(size); i++)
        g[i] = op_sized_graph(size[i]);
    op_session_open(&s, backend, g[0], &opts);
    for (size_t i = 0; i < CN_LEN(size); i++)
        r[i] = prepare_repeat(&s, i > 0 ? CN_PLAN_CONCURRENT : 0, g[i], &expect[i]);
    for (size_t i = 1; i < CN_LEN(size); i++) {
        assert_int_equal(pthread_create(&thread, NULL, run_again, &r[i]), 0);
        cn_plan_free(op_compile(&s, g[2]));
        run_again(&r[0]);
        pthread_join(thread, NULL);
        assert_true(cn_backend_bytes(s.b) >= cn_plan_arena_bytes(r[0].p));
    }
    for (size_t i = 0; i < CN_LEN(size); i++) {
        assert_int_equal(r[i].wrong, 0);
        release_repeat(&r[i]);
        op_result_release(&expect[i]);
        cn_graph_free(g[i]);
    }
    op_session_close(&s);
}

static void side_plans_run_beside_the_others(void **state)
{
    (void)state;
    op_each_backend(check_side_plans);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_copied_between_buffers),
        cmocka_unit_test(side_plans_run_beside_the_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
