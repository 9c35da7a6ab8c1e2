/* Parameters on every backend: element types, alignment, shapes, sharing between plans;
 * refusals. */
#include "base/base.h"
#include "backend/backend.h"
#include "tests/backend/op_run.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { CHANNELS = 24 };

/* A file with the tensors "square" and "vector", in one element type, at any alignment. */
struct file {
    enum cn_dtype dtype;
    struct cn_shape square;
    unsigned char *bytes; /* data starts at bytes + 1 */
    size_t short_by;      /* bytes that are missing */
    int got, done;
};

static size_t store(unsigned char *p, float x, enum cn_dtype t)
{
    uint16_t half = t == CN_F16 ? cn_f32_to_f16(x) : cn_f32_to_bf16(x);
    double d = x;

    if (t == CN_F64)
        memcpy(p, &d, 8);
    else if (t == CN_F32)
        memcpy(p, &x, 4);
    else
        memcpy(p, &half, 2);
    return cn_dtype_size(t);
}

/* Values that every element type holds exactly: 8 significant bits. */
static float exact(size_t i)
{
    return (float)((int)(i * 37 % 255) - 127) / 512.0f;
}

static void file_init(struct file *f, enum cn_dtype t)
{
    size_t n = CHANNELS * CHANNELS, at = 1;

    *f = (struct file){.dtype = t, .square = cn_shape2(CHANNELS, CHANNELS)};
    f->bytes = cn_xcalloc(n + 1, 8);
    for (size_t i = 0; i < n; i++)
        at += store(f->bytes + at, exact(i), t);
}

static int file_get(void *ctx, const char *name, struct cn_param_data *ret, struct cn_err *err)
{
    struct file *f = ctx;
    bool square = strcmp(name, "square") == 0;

    if (!square && strcmp(name, "vector") != 0)
        return cn_fail(err, CN_ENOTFOUND, "no tensor \"%s\" in \"test file\"", name);
    *ret = (struct cn_param_data){.dtype = f->dtype,
                                  .shape = square ? f->square : cn_shape1(CHANNELS),
                                  .data = f->bytes + 1};
    ret->bytes = (size_t)cn_shape_elements(&ret->shape) * cn_dtype_size(f->dtype) - f->short_by;
    f->got++;
    return CN_OK;
}

static void file_done(void *ctx, const char *name, struct cn_param_data *data)
{
    (void)name;
    assert_non_null(data->data);
    ((struct file *)ctx)->done++;
}

struct session {
    struct file file;
    struct cn_param_source source;
    struct cn_backend *b;
    struct cn_weights *w;
};

static void session_open(struct session *s, const char *backend, enum cn_dtype t)
{
    struct cn_backend_opts opts = op_opts;

    file_init(&s->file, t);
    s->source = (struct cn_param_source){.ctx = &s->file, .get = file_get, .done = file_done};
    assert_int_equal(cn_backend_open(backend, &opts, &s->b, NULL), CN_OK);
    assert_int_equal(cn_weights_new(s->b, &s->source, &s->w, NULL), CN_OK);
}

static void session_close(struct session *s)
{
    cn_weights_free(s->w);
    cn_backend_close(s->b);
    assert_int_equal(s->file.done, s->file.got);
    free(s->file.bytes);
}

static struct cn_graph *linear_graph(const char *weight, int out)
{
    struct cn_graph *g = cn_graph_new("linear");
    cn_val x = cn_graph_input(g, "x", cn_shape2(3, CHANNELS), CN_F32, 0);

    cn_graph_output(g, "y", cn_linear(g, x, weight, "vector", out), 0);
    return g;
}

/* The same weight on [n, c, h, w], as a 1x1 convolution. */
static struct cn_graph *conv_graph(void)
{
    struct cn_graph *g = cn_graph_new("conv");
    cn_val x = cn_graph_input(g, "x", cn_shape4(3, CHANNELS, 1, 1), CN_F32, 0);

    x = cn_conv2d(g, x, "square", "vector",
                  &(struct cn_conv){.out = CHANNELS, .k = 1, .stride = 1});
    cn_graph_output(g, "y", x, 0);
    return g;
}

static void run(struct session *s, const struct cn_graph *g, struct op_result *ret)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_buffer *in, *out;
    struct cn_plan *p;
    float *x = op_data(g, g->input[0].val);

    if (cn_plan_compile(s->b, g, s->w, CN_DTYPE_COUNT, 0, &p, &err) < 0)
        fail_msg("%s: %s", cn_backend_name(s->b), err.msg);
    assert_int_equal(cn_buffer_new(s->b, &g->value[g->input[0].val], CN_DTYPE_COUNT, 0, &in, &err),
                     CN_OK);
    assert_int_equal(
        cn_buffer_new(s->b, &g->value[g->output[0].val], CN_DTYPE_COUNT, 0, &out, &err), CN_OK);
    cn_buffer_write(in, x);
    assert_int_equal(cn_plan_run(p, &in, &out, &err), CN_OK);
    ret->count = 3 * CHANNELS;
    ret->data = cn_xcalloc(ret->count, sizeof(float));
    cn_buffer_read(out, ret->data);
    free(x);
    cn_buffer_free(in);
    cn_buffer_free(out);
    cn_plan_free(p);
}

/* x W^T + b from the exact values. */
static void expect_linear(const struct cn_graph *g, struct op_result *ret)
{
    float *x = op_data(g, g->input[0].val);

    ret->count = 3 * CHANNELS;
    ret->data = cn_xcalloc(ret->count, sizeof(float));
    for (size_t i = 0; i < ret->count; i++) {
        double sum = exact(i % CHANNELS);

        for (size_t k = 0; k < CHANNELS; k++)
            sum += (double)x[i / CHANNELS * CHANNELS + k] * exact(i % CHANNELS * CHANNELS + k);
        ret->data[i] = (float)sum;
    }
    free(x);
}

static void check_run(struct session *s, struct cn_graph *g)
{
    struct op_result r, expect;

    run(s, g, &r);
    expect_linear(g, &expect);
    assert_true(op_distance(&r, &expect) <= 1e-6);
    op_result_release(&r);
    op_result_release(&expect);
    cn_graph_free(g);
}

static void each_backend(void (*check)(const char *backend))
{
    for (const char *const *name = op_backends(); *name != NULL; name++)
        check(*name);
}

static void check_types(const char *backend)
{
    static const enum cn_dtype types[] = {CN_F32, CN_F16, CN_BF16, CN_F64};

    for (size_t i = 0; i < CN_LEN(types); i++) {
        struct session s;

        session_open(&s, backend, types[i]);
        assert_int_equal(cn_weights_bytes(s.w), 0);
        check_run(&s, linear_graph("square", CHANNELS));
        assert_true(cn_weights_bytes(s.w) > 0);
        session_close(&s);
    }
}

static void any_element_type_and_alignment_will_do(void **state)
{
    (void)state;
    each_backend(check_types);
}

static void check_sharing(const char *backend)
{
    struct session s;
    size_t bytes;

    session_open(&s, backend, CN_F16);
    check_run(&s, linear_graph("square", CHANNELS));
    bytes = cn_weights_bytes(s.w);
    check_run(&s, linear_graph("square", CHANNELS));
    assert_int_equal(cn_weights_bytes(s.w), bytes); /* resident: nothing was added */
    check_run(&s, conv_graph());
    session_close(&s);
}

static void plans_share_parameters(void **state)
{
    (void)state;
    each_backend(check_sharing);
}

static size_t trim(struct session *s)
{
    size_t had = cn_weights_bytes(s->w), gone = cn_weights_trim(s->w);

    assert_int_equal(cn_weights_bytes(s->w), had - gone);
    return had - gone;
}

/* A layout that only plans that are gone wanted goes, the fixed one stays, and so does one that a
 * plan uses, whether it is fixed or not. */
static void check_trim(const char *backend)
{
    struct cn_graph *g = linear_graph("square", CHANNELS), *other = conv_graph();
    bool layouts = strcmp(backend, "onednn") == 0;
    struct cn_plan *p;
    struct session s;
    size_t one, two;

    session_open(&s, backend, CN_F32);
    cn_weights_fix_layouts(s.w, g);
    assert_int_equal(cn_plan_compile(s.b, other, s.w, CN_DTYPE_COUNT, 0, &p, NULL), CN_OK);
    check_run(&s, linear_graph("square", CHANNELS));
    two = cn_weights_bytes(s.w);
    assert_int_equal(trim(&s), two); /* one is fixed, the other one in use */
    cn_plan_free(p);
    one = trim(&s);
    assert_true(!layouts || one < two);
    assert_int_equal(trim(&s), one);
    check_run(&s, conv_graph()); /* fetched again */
    assert_int_equal(cn_weights_bytes(s.w), two);
    assert_int_equal(trim(&s), one);
    cn_graph_free(g);
    cn_graph_free(other);
    session_close(&s);
}

/* Nothing is fixed and no plan is there: one layout stays, so that not all is read again. */
static void check_trim_of_all(const char *backend)
{
    struct session s;

    session_open(&s, backend, CN_F32);
    check_run(&s, linear_graph("square", CHANNELS));
    check_run(&s, conv_graph());
    assert_true(trim(&s) >= CHANNELS * CHANNELS * sizeof(float));
    check_run(&s, linear_graph("square", CHANNELS));
    session_close(&s);
}

static void layouts_of_no_use_go(void **state)
{
    (void)state;
    each_backend(check_trim);
    each_backend(check_trim_of_all);
}

/* Compiling g must fail with code and a message that has all the words. */
static void check_refused(struct session *s, struct cn_graph *g, int code, const char *const *words)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_plan *p;

    assert_int_equal(cn_plan_compile(s->b, g, s->w, CN_DTYPE_COUNT, 0, &p, &err), code);
    assert_int_equal(err.code, code);
    for (; *words != NULL; words++)
        if (strstr(err.msg, *words) == NULL)
            fail_msg("\"%s\" is missing in \"%s\"", *words, err.msg);
    cn_graph_free(g);
}

static void check_refusals(const char *backend)
{
    struct session s;

    session_open(&s, backend, CN_F32);
    s.file.square = cn_shape4(CHANNELS, 3, 8, 1);
    check_refused(&s, linear_graph("square", CHANNELS), CN_EFORMAT,
                  (const char *const[]){"\"square\"", "[24, 3, 8, 1]", "[24, 24]", NULL});
    s.file.square = cn_shape4(CHANNELS, 1, CHANNELS, 1); /* ones do not count */
    check_run(&s, linear_graph("square", CHANNELS));
    check_refused(&s, linear_graph("absent.weight", CHANNELS), CN_ENOTFOUND,
                  (const char *const[]){"\"absent.weight\"", "\"test file\"", NULL});
    session_close(&s);
}

static void wrong_and_missing_tensors_are_named(void **state)
{
    (void)state;
    each_backend(check_refusals);
}

/* The file agrees with the first graph; the second one needs something else of that name. */
static void check_second_graph(const char *backend)
{
    struct cn_graph *g = cn_graph_new("second");
    struct session s;
    cn_val x;

    session_open(&s, backend, CN_F32);
    check_run(&s, linear_graph("square", CHANNELS));
    x = cn_graph_input(g, "x", cn_shape2(3, 10), CN_F32, 0);
    cn_graph_output(g, "y", cn_linear(g, x, "square", NULL, 12), 0);
    check_refused(&s, g, CN_EFORMAT, (const char *const[]){"\"square\"", "[24, 24]", "[12, 10]",
                                                           NULL});
    check_run(&s, linear_graph("square", CHANNELS));
    session_close(&s);
}

static void graphs_must_agree_on_a_shape(void **state)
{
    (void)state;
    each_backend(check_second_graph);
}

static void check_short(const char *backend)
{
    struct session s;

    session_open(&s, backend, CN_BF16);
    s.file.short_by = 1;
    check_refused(&s, linear_graph("square", CHANNELS), CN_EFORMAT,
                  (const char *const[]){"\"square\"", "BF16", "1151 bytes", NULL});
    session_close(&s);
}

static void tensor_with_too_few_bytes_is_refused(void **state)
{
    (void)state;
    each_backend(check_short);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_element_type_and_alignment_will_do),
        cmocka_unit_test(plans_share_parameters),
        cmocka_unit_test(layouts_of_no_use_go),
        cmocka_unit_test(wrong_and_missing_tensors_are_named),
        cmocka_unit_test(graphs_must_agree_on_a_shape),
        cmocka_unit_test(tensor_with_too_few_bytes_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
