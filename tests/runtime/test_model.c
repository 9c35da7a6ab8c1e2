/* Models without their weights: how many networks a ControlNet has that is a difference to its
 * base. */
#include "base/base.h"
#include "base/mem.h"
#include "model/expect.h"
#include "runtime/model.h"
#include "tests/checkpoint/make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { BASES = 12 }; /* more than a fixed table would have */

static struct cn_backend *backend;

static void write_difference(const char *path)
{
    struct make m;

    make_init(&m);
    m.comp = CN_COMP_CONTROL;
    m.prefix = "control_model.";
    m.ldm = &tiny_layout;
    cn_expect_control(&tiny_control, make_expected, &m);
    make_add(&m, "difference", CN_F32, 0, NULL);
    make_write(&m, path);
    make_release(&m);
}

static void write_base(const char *path)
{
    struct make m;

    make_init(&m);
    m.prefix = cn_ldm_prefix[CN_COMP_UNET];
    m.comp = CN_COMP_UNET;
    m.ldm = &tiny_layout;
    cn_expect_unet(&tiny_unet, make_expected, &m);
    m.prefix = cn_ldm_prefix[CN_COMP_VAE];
    m.comp = CN_COMP_VAE;
    m.ldm = &tiny_vae_layout;
    cn_expect_vae(&tiny_vae, make_expected, &m);
    m.prefix = cn_ldm_prefix[CN_COMP_TEXT];
    m.comp = CN_COMP_TEXT;
    m.ldm = NULL;
    cn_expect_text(&tiny_text, make_expected, &m);
    make_write(&m, path);
    make_release(&m);
}

static struct cn_model *open_model(const char *path)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_model *m;

    if (cn_model_new(cn_xstrdup("model"), path, CN_EMA_MODEL, &m, &err) < 0)
        fail_msg("%s", err.msg);
    return m;
}

static struct cn_network *net_for(struct cn_model *control, const struct cn_model *base)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_network *n;

    if (cn_model_control(control, backend, base, &n, &err) < 0)
        fail_msg("%s", err.msg);
    return n;
}

static void a_difference_goes_with_any_number_of_bases(void **state)
{
    char *folder = make_folder(), *path = cn_xprintf("%s/base.safetensors", folder);
    char *other = cn_xprintf("%s/difference.safetensors", folder);
    struct cn_model *base[BASES], *control;
    struct cn_network *net[BASES];

    (void)state;
    write_base(path);
    write_difference(other);
    control = open_model(other);
    assert_true(cn_checkpoint_is_difference(control->checkpoint));
    for (int i = 0; i < BASES; i++)
        base[i] = open_model(path);
    /* One after the other: what a base leaves, the next one takes. */
    for (int i = 0; i < BASES; i++) {
        net_for(control, base[i]);
        cn_model_close_for_base(control, base[i]);
    }
    assert_int_equal(control->n_nets, 1);
    /* All at once: each has its own, and keeps it. */
    for (int i = 0; i < BASES; i++)
        net[i] = net_for(control, base[i]);
    for (int i = 0; i < BASES; i++) {
        assert_ptr_equal(net_for(control, base[i]), net[i]);
        assert_ptr_equal(net[i]->params.base, base[i]->checkpoint);
        for (int k = 0; k < i; k++)
            assert_ptr_not_equal(net[i], net[k]);
    }
    assert_int_equal(control->n_nets, BASES);
    cn_model_free(control);
    for (int i = 0; i < BASES; i++)
        cn_model_free(base[i]);
    make_remove(folder);
    free(path);
    free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_difference_goes_with_any_number_of_bases),
    };
    struct cn_backend_opts o = CN_BACKEND_DEFAULTS;
    int failed;

    if (cn_backend_open("reference", &o, &backend, NULL) < 0)
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    cn_backend_close(backend);
    return failed;
}
