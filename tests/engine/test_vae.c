/* Autoencoders that requests name in place of their model's own. */
#include "base/base.h"
#include "tests/engine/crowd.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char *data_file(const char *name)
{
    const char *srcdir = getenv("srcdir");
    char *path = cn_xprintf("%s/tests/data/models/%s", srcdir ? srcdir : ".", name);
    char *full = realpath(path, NULL);

    assert_non_null(full);
    free(path);
    return full;
}

/* The tiny model's autoencoder with other signs in its last tensors (of both quantising
 * convolutions), in a directory of diffusers. */
static void make_other(const char *dir)
{
    char *from = data_file("tiny/vae"), *path = cn_xprintf("%s/config.json", dir);
    char *config = cn_xprintf("%s/config.json", from);
    char *weights = cn_xprintf("%s/diffusion_pytorch_model.safetensors", from);
    char *to = cn_xprintf("%s/diffusion_pytorch_model.safetensors", dir);
    FILE *in = fopen(weights, "rb"), *out = fopen(to, "wb");
    long size, at = 0;

    assert_true(in != NULL && out != NULL);
    assert_int_equal(symlink(config, path), 0);
    fseek(in, 0, SEEK_END);
    size = ftell(in);
    rewind(in);
    for (int c; (c = fgetc(in)) != EOF; at++)
        fputc(size - at <= 368 && (size - at) % 4 == 1 ? c ^ 0x80 : c, out);
    fclose(in);
    assert_int_equal(fclose(out), 0);
    free(from);
    free(path);
    free(config);
    free(weights);
    free(to);
}

/* The tiny model with another autoencoder in it. */
static void make_model(const char *dir, const char *vae)
{
    static const char *const part[] = {"model_index.json", "scheduler", "text_encoder", "tokenizer",
                                       "unet"};
    char *path = cn_xprintf("%s/vae", dir);

    assert_int_equal(mkdir(dir, 0700), 0);
    assert_int_equal(symlink(vae, path), 0);
    free(path);
    for (size_t i = 0; i < CN_LEN(part); i++) {
        char *name = cn_xprintf("tiny/%s", part[i]), *from = data_file(name);

        path = cn_xprintf("%s/%s", dir, part[i]);
        assert_int_equal(symlink(from, path), 0);
        free(path);
        free(name);
        free(from);
    }
}

struct rig {
    struct crowd *c;
    char top[64];
};

/* "vae": the model's own; "other"; "changed": a model that has the other one. */
static struct rig rig_new(void)
{
    struct rig r = {.c = cn_xcalloc(1, sizeof(*r.c)), .top = "test_vae.XXXXXX"};
    struct cn_engine_opts o = options(r.c);
    char *own = data_file("tiny/vae"), *here, *other, *changed;
    struct cn_err err = CN_ERR_INIT;

    assert_non_null(mkdtemp(r.top));
    here = realpath(r.top, NULL);
    other = cn_xprintf("%s/other", here);
    changed = cn_xprintf("%s/changed", here);
    assert_int_equal(mkdir(other, 0700), 0);
    make_other(other);
    make_model(changed, other);
    crowd_open(r.c, &o);
    if (cn_engine_add(r.c->e, own, &err) < 0 || cn_engine_add(r.c->e, other, &err) < 0 ||
        cn_engine_add(r.c->e, changed, &err) < 0)
        fail_msg("%s", err.msg);
    free(own);
    free(here);
    free(other);
    free(changed);
    return r;
}

static void rig_free(struct rig *r)
{
    char *command = cn_xprintf("rm -rf %s", r->top);

    crowd_free(r->c);
    assert_int_equal(system(command), 0);
    free(command);
}

static struct job *add(struct rig *r, const char *model, const char *vae)
{
    struct job *j = add_job(r->c, 7);

    free(j->spec.model);
    free(j->spec.vae);
    j->spec.model = cn_xstrdup(model);
    j->spec.vae = cn_xstrdup(vae);
    return j;
}

static void they_take_the_place_of_the_own(void **state)
{
    struct rig r = rig_new();
    struct job *plain = add(&r, "tiny", ""), *own = add(&r, "tiny", "vae"),
               *other = add(&r, "tiny", "other"), *changed = add(&r, "changed", "");

    (void)state;
    for (int i = 0; i < r.c->n; i++) {
        r.c->job[i].spec.init_image = drawing(48);
        r.c->job[i].spec.denoise = 0.9;
        r.c->job[i].spec.preview_every = 1;
        begin(&r.c->job[i]);
    }
    run_until_over(r.c);
    for (int i = 0; i < r.c->n; i++)
        expect_ok(&r.c->job[i]);
    assert_true(psnr(&plain->image[0], &own->image[0]) > 100);
    assert_true(psnr(&plain->image[0], &other->image[0]) < 50);
    assert_true(psnr(&changed->image[0], &other->image[0]) > 100);
    assert_true(own->previews > 0 && other->previews > 0);
    rig_free(&r);
}

/* Steps do not touch it. */
static void jobs_with_different_ones_share_steps(void **state)
{
    struct rig r = rig_new();
    struct job *a = add(&r, "tiny", "other"), *b = add(&r, "tiny", "");

    (void)state;
    a->spec.steps = b->spec.steps = 12;
    begin(a);
    begin(b);
    run_until_over(r.c);
    expect_ok(a);
    expect_ok(b);
    assert_int_equal(r.c->largest, 2);
    assert_true(psnr(&a->image[0], &b->image[0]) < 50);
    rig_free(&r);
}

/* It is pinned and counted as any model is, and can be unloaded when nobody draws by it. */
static void it_is_resident_as_models_are(void **state)
{
    struct rig r = rig_new();
    struct job *j = add(&r, "tiny", "other");
    struct cn_err err = CN_ERR_INIT;
    size_t all;

    (void)state;
    j->spec.steps = 12;
    begin(j);
    turn(r.c);
    turn(r.c);
    assert_int_equal(cn_engine_unload(r.c->e, "other", &err), CN_EBUSY);
    run_until_over(r.c);
    expect_ok(j);
    all = cn_engine_bytes(r.c->e);
    assert_int_equal(cn_engine_unload(r.c->e, "other", &err), CN_OK);
    assert_true(cn_engine_bytes(r.c->e) < all);
    assert_int_equal(cn_engine_load(r.c->e, "other", &err), CN_OK);
    rig_free(&r);
}

static void those_that_do_not_fit_are_refused(void **state)
{
    static const struct {
        const char *vae, *why;
    } bad[] = {{"none", "there is no autoencoder \"none\""},
               {"tiny2", "is a base model, not an autoencoder"},
               {"tiny-control-a", "is a ControlNet, not an autoencoder"}};
    struct rig r = rig_new();

    (void)state;
    for (size_t i = 0; i < CN_LEN(bad); i++) {
        struct cn_engine_cb cb = {.ctx = NULL};
        struct cn_err err = CN_ERR_INIT;
        struct cn_spec s;

        request(&s, 1);
        free(s.vae);
        s.vae = cn_xstrdup(bad[i].vae);
        assert_true(cn_engine_run(r.c->e, &s, &cb, &err) < 0);
        assert_string_equal(err.where, "/vae");
        assert_non_null(strstr(err.msg, bad[i].why));
        cn_spec_release(&s);
    }
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(they_take_the_place_of_the_own),
        cmocka_unit_test(jobs_with_different_ones_share_steps),
        cmocka_unit_test(it_is_resident_as_models_are),
        cmocka_unit_test(those_that_do_not_fit_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
