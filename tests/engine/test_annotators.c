/* Annotators: one list for functions of pixels and for networks; what a network makes of a picture
 * is the hint that a function would have made of it.
 */
#include "base/base.h"
#include "tests/engine/crowd.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* A network of one convolution that turns black to white: 1 - x. */
static struct cn_graph *negative(int height, int width)
{
    struct cn_graph *g = cn_graph_new("negative");
    cn_val x = cn_graph_input(g, "picture", cn_shape4(1, 3, height, width), CN_F32, 0);

    x = cn_conv2d(g, x, "conv.weight", "conv.bias",
                  &(struct cn_conv){.out = 3, .k = 1, .stride = 1});
    cn_graph_output(g, "hint", x, 0);
    return g;
}

static int get(void *ctx, const char *name, struct cn_param_data *ret, struct cn_err *err)
{
    static const float weight[9] = {-1, 0, 0, 0, -1, 0, 0, 0, -1}, bias[3] = {1, 1, 1};
    bool *broken = ctx;

    if (strcmp(name, "conv.weight") == 0)
        *ret = (struct cn_param_data){.dtype = CN_F32,
                                      .shape = cn_shape4(3, 3, 1, 1),
                                      .data = weight,
                                      .bytes = sizeof(weight)};
    else if (!*broken)
        *ret = (struct cn_param_data){
            .dtype = CN_F32, .shape = cn_shape1(3), .data = bias, .bytes = sizeof(bias)};
    else
        return cn_fail(err, CN_ENOTFOUND, "there is no tensor \"%s\"", name);
    return CN_OK;
}

static bool broken;
static const struct cn_param_source params = {.ctx = &broken, .get = get};
static const struct cn_engine_annotator net = {
    .name = "negative", .help = "a network, for tests", .graph = negative, .params = &params};

static struct job *draw_with(struct crowd *c, const char *annotator)
{
    struct job *j = add_job(c, 5);
    struct cn_spec_control *k = control(&j->spec, "tiny-control-a", 0, 1);

    free(k->annotator);
    k->annotator = cn_xstrdup(annotator);
    begin(j);
    run_until_over(c);
    return j;
}

static void one_list_has_them_all(void **state)
{
    struct crowd *c = crowd_new();
    struct cn_err err = CN_ERR_INIT;
    int n = cn_engine_annotators(c->e);

    (void)state;
    assert_int_equal(n, cn_n_annotators);
    for (int i = 0; i < n; i++)
        assert_string_equal(cn_engine_annotator_at(c->e, i)->name, cn_annotators[i].name);
    assert_int_equal(cn_engine_add_annotator(c->e, &net, NULL), CN_OK);
    assert_int_equal(cn_engine_annotators(c->e), n + 1);
    assert_ptr_equal(cn_engine_annotator_at(c->e, n)->graph, negative);
    assert_int_equal(cn_engine_add_annotator(c->e, &net, &err), CN_EINVAL);
    assert_non_null(strstr(err.msg, "two annotators named \"negative\""));
    crowd_free(c);
}

/* As the function "invert", but for the rounding of one product. */
static void a_network_makes_the_hint(void **state)
{
    struct crowd *c = crowd_new();
    struct job *none, *function, *network;
    size_t before, with;

    (void)state;
    assert_int_equal(cn_engine_add_annotator(c->e, &net, NULL), CN_OK);
    none = draw_with(c, "none");
    function = draw_with(c, "invert");
    before = cn_engine_bytes(c->e);
    network = draw_with(c, "negative");
    expect_ok(none);
    expect_ok(function);
    expect_ok(network);
    assert_true(psnr(&network->image[0], &function->image[0]) > 60);
    assert_true(psnr(&none->image[0], &function->image[0]) <
                psnr(&network->image[0], &function->image[0]) - 10);
    with = cn_engine_bytes(c->e);
    assert_true(with > before); /* its weights stay, and count */
    network = draw_with(c, "negative");
    assert_true(psnr(&network->image[0], &function->image[0]) > 60);
    assert_int_equal(cn_engine_bytes(c->e), with);
    crowd_free(c);
}

static void a_broken_one_is_named(void **state)
{
    struct crowd *c = crowd_new();
    struct job *j;

    (void)state;
    broken = true;
    assert_int_equal(cn_engine_add_annotator(c->e, &net, NULL), CN_OK);
    j = draw_with(c, "negative");
    assert_int_equal(j->rc, CN_EFORMAT);
    assert_string_equal(j->err.where, "/controls/0/annotator");
    assert_non_null(strstr(j->err.msg, "conv.bias"));
    broken = false;
    expect_ok(draw_with(c, "negative"));
    crowd_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_list_has_them_all),
        cmocka_unit_test(a_network_makes_the_hint),
        cmocka_unit_test(a_broken_one_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
