/* TAESD's decoder against diffusers' AutoencoderTiny, and previews that it makes. */
#include "base/base.h"
#include "tests/engine/crowd.h"
#include "base/mem.h"
#include "checkpoint/tensor_file.h"
#include "runtime/plans.h"
#include "runtime/tiny_decoder.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { H = 6, W = 5, FACTOR = 4 };

static char *data_file(const char *name)
{
    const char *srcdir = getenv("srcdir");

    return cn_xprintf("%s/tests/data/%s", srcdir ? srcdir : ".", name);
}

static void read_floats(const struct cn_tensor_file *f, const char *name, size_t n, float *ret)
{
    struct cn_tensor_view v;

    assert_int_equal(cn_tensor_file_find(f, name, &v, NULL), CN_OK);
    assert_int_equal(v.bytes, n * sizeof(*ret));
    assert_int_equal(cn_view_read(&v, ret, NULL), CN_OK);
}

static void compare(const char *backend)
{
    enum { CELLS = 4 * H * W, PIXELS = 3 * H * W * FACTOR * FACTOR };
    struct cn_backend_opts opts = CN_BACKEND_DEFAULTS;
    char *model = data_file("golden/taesd/model.safetensors");
    char *golden = data_file("golden/taesd/decoded.safetensors");
    float latent[CELLS], want[PIXELS], got[PIXELS];
    double sum = 0, all = 0;
    struct cn_err err = CN_ERR_INIT;
    struct cn_tiny_decoder *d;
    struct cn_tensor_file *f;
    struct cn_plan_entry *p;
    struct cn_backend *b;

    opts.threads = 1;
    assert_int_equal(cn_backend_open(backend, &opts, &b, NULL), CN_OK);
    if (cn_tiny_decoder_open(model, &d, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(cn_taesd_factor(cn_tiny_decoder_config(d)), FACTOR);
    assert_int_equal(cn_tensor_file_open(golden, &f, NULL), CN_OK);
    read_floats(f, "latent", CELLS, latent);
    read_floats(f, "decoded", PIXELS, want);
    if (cn_tiny_decoder_plan(d, b, H, W, 0, &p, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(cn_plan_run_host(p, latent, got, NULL), CN_OK);
    for (int i = 0; i < PIXELS; i++) {
        double mine = got[i] * 2 - 1; /* diffusers returns it so */

        sum += (mine - want[i]) * (mine - want[i]);
        all += (double)want[i] * want[i];
    }
    if (!(sqrt(sum / all) < 1e-4))
        fail_msg("%s: %g away", backend, sqrt(sum / all));
    assert_true(cn_tiny_decoder_bytes(d) > 0);
    cn_tiny_decoder_unload(d);
    assert_int_equal(cn_tiny_decoder_bytes(d), 0);
    cn_tiny_decoder_free(d);
    cn_tensor_file_close(f);
    cn_backend_close(b);
    free(model);
    free(golden);
}

static void it_decodes_as_the_reference(void **state)
{
    (void)state;
    for (const char *const *name = cn_backend_list(); *name != NULL; name++)
        if (strcmp(*name, "cuda") != 0)
            compare(*name);
}

static void other_files_are_refused(void **state)
{
    char *path = data_file("models/tiny/vae/diffusion_pytorch_model.safetensors");
    struct cn_engine_opts o = CN_ENGINE_DEFAULTS;
    struct cn_err err = CN_ERR_INIT;
    struct cn_engine *e;

    (void)state;
    o.taesd = path;
    assert_true(cn_engine_new(&o, &e, &err) < 0);
    assert_non_null(strstr(err.msg, "decoder.layers.0.weight"));
    free(path);
}

static void it_makes_previews(void **state)
{
    struct crowd *c = cn_xcalloc(1, sizeof(*c));
    struct cn_engine_opts o = options(c);
    char *path = data_file("golden/taesd/model.safetensors");
    size_t before;
    struct job *j;

    (void)state;
    o.taesd = path;
    crowd_open(c, &o);
    j = add_job(c, 1);
    j->spec.steps = 4;
    j->spec.preview_every = 1;
    before = cn_engine_bytes(c->e);
    begin(j);
    run_until_over(c);
    expect_ok(j);
    assert_true(j->previews > 0);
    assert_int_equal(j->preview_w, j->image[0].w);
    assert_int_equal(j->preview_h, j->image[0].h);
    assert_true(cn_engine_bytes(c->e) > before);
    crowd_free(c);
    free(path);
}

static void it_decodes_pictures(void **state)
{
    struct crowd *c = cn_xcalloc(1, sizeof(*c)), *without = crowd_new();
    struct cn_engine_opts o = options(c);
    struct cn_engine_cb cb = {NULL};
    struct cn_err err = CN_ERR_INIT;
    char *path = data_file("golden/taesd/model.safetensors");
    struct job *a, *b, *none = add_job(without, 1);

    (void)state;
    o.taesd = path;
    o.vae_memory = 1;
    crowd_open(c, &o);
    a = add_job(c, 1);
    b = add_job(c, 1);
    a->spec.decoder = none->spec.decoder = CN_DECODER_TAESD;
    begin(a);
    begin(b);
    run_until_over(c);
    expect_ok(a);
    expect_ok(b);
    assert_int_equal(a->image[0].w, b->image[0].w);
    assert_true(psnr(&a->image[0], &b->image[0]) < 40); /* its weights are random ones */
    assert_int_equal(cn_engine_begin(without->e, &none->spec, &cb, &err), CN_EINVAL);
    assert_string_equal(err.where, "/decoder");
    crowd_free(c);
    crowd_free(without);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_decodes_as_the_reference),
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(it_makes_previews),
        cmocka_unit_test(it_decodes_pictures),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
