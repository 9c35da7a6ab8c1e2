/* runtime: models are found in folders, in folders inside of them, and in Hugging Face's cache, and
 * two of one name get two. */
#include "base/base.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/spec.h"
#include "runtime/file_name.h"
#include "runtime/find_models.h"
#include "make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

/* One line for each: "path name folder", or "path: why". */
struct seen {
    const char *top;
    struct cn_buf found, passed;
};

static void found(void *ctx, const struct cn_found_model *m)
{
    struct seen *s = ctx;

    cn_buf_printf(&s->found, NULL, "%s|%s|%s\n", m->path + strlen(s->top) + 1, m->name,
                  strcmp(m->folder, s->top) == 0 ? "." : m->folder);
}

static void passed_over(void *ctx, const char *path, const char *why)
{
    struct seen *s = ctx;

    cn_buf_printf(&s->passed, NULL, "%s: %s\n", path + strlen(s->top) + 1, why);
}

static void file(const char *folder, const char *name)
{
    make_text("x", "%s/%s", folder, name);
}

static void link_to(const char *target, const char *folder, const char *name)
{
    char *path = cn_xprintf("%s/%s", folder, name);

    assert_int_equal(symlink(target, path), 0);
    free(path);
}

static void look(const char *folder, const char *want, const char *passed)
{
    struct seen s = {.top = folder};
    struct cn_model_finder f = {.found = found, .passed_over = passed_over, .ctx = &s};
    struct cn_err err = CN_ERR_INIT;

    cn_buf_init(&s.found, 1 << 16);
    cn_buf_init(&s.passed, 1 << 16);
    if (cn_find_models(folder, &f, &err) < 0)
        fail_msg("%s", err.msg);
    cn_buf_adds(&s.found, "", NULL);
    cn_buf_adds(&s.passed, "", NULL);
    assert_string_equal(s.found.len > 0 ? (char *)s.found.data : "", want);
    assert_string_equal(s.passed.len > 0 ? (char *)s.passed.data : "", passed);
    cn_buf_release(&s.found);
    cn_buf_release(&s.passed);
}

static void folders_are_looked_into(void **state)
{
    char *top = make_folder();

    (void)state;
    make_dir("%s/a", top);
    make_dir("%s/a/deep", top);
    make_dir("%s/pipeline", top);
    make_dir("%s/pipeline/unet", top);
    make_dir("%s/.hidden", top);
    make_dir("%s/empty", top);
    file(top, "pipeline/model_index.json");
    file(top, "pipeline/unet/config.json");
    file(top, "a/deep/x.safetensors");
    file(top, "a/Some Model \xe7\x8c\xab.SAFETENSORS");
    file(top, "a/notes.txt");
    file(top, "x.ckpt");
    file(top, "x.safetensors");
    file(top, ".hidden/y.safetensors");
    file(top, "README.md");
    file(top, "x.vae.pt");
    file(top, "a/vae.safetensors");
    make_dir("%s/VAE", top);
    file(top, "VAE/ft-mse.ckpt");
    make_dir("%s/text_encoder", top);
    file(top, "text_encoder/config.json");
    link_to("..", top, "a/up"); /* a circle */
    link_to("nowhere", top, "gone.safetensors");
    look(top,
         "pipeline|pipeline|.\n"
         "x.safetensors|x.safetensors|.\n"
         "x.ckpt|x.ckpt|.\n"
         "a/Some Model \xe7\x8c\xab.SAFETENSORS|Some Model \xe7\x8c\xab.SAFETENSORS|a\n"
         "a/deep/x.safetensors|x.safetensors|deep\n"
         "x.vae.pt|x.vae.pt|.\n"
         "VAE/ft-mse.ckpt|ft-mse.ckpt|VAE\n"
         "a/vae.safetensors|vae.safetensors|a\n",
         "README.md: its name ends in none of .safetensors, .ckpt, .pt, .pth and .bin\n"
         "gone.safetensors: no file, or a link to one that is not there\n"
         "text_encoder: a part of models that lie beside it\n"
         "empty: a directory with neither model_index.json nor config.json, and no weights\n");
    make_remove(top);
}

static void the_cache_is_understood(void **state)
{
    char *top = make_folder();

    (void)state;
    make_dir("%s/models--org--sd", top);
    make_dir("%s/models--org--sd/refs", top);
    make_dir("%s/models--org--sd/blobs", top);
    make_dir("%s/models--org--sd/snapshots", top);
    make_dir("%s/models--org--sd/snapshots/old", top);
    make_dir("%s/models--org--sd/snapshots/new", top);
    make_text("new", "%s/models--org--sd/refs/main", top);
    file(top, "models--org--sd/snapshots/old/model_index.json");
    file(top, "models--org--sd/blobs/123");
    link_to("../../blobs/123", top, "models--org--sd/snapshots/new/model_index.json");
    /* a repository of files */
    make_dir("%s/models--other--canny", top);
    make_dir("%s/models--other--canny/blobs", top);
    make_dir("%s/models--other--canny/snapshots", top);
    make_dir("%s/models--other--canny/snapshots/1a", top);
    file(top, "models--other--canny/blobs/456");
    link_to("../../blobs/456", top, "models--other--canny/snapshots/1a/net.safetensors");
    link_to("../../blobs/789", top, "models--other--canny/snapshots/1a/half.safetensors");
    make_dir("%s/models--x--nothing", top);
    make_dir("%s/datasets--x--y", top);
    file(top, "datasets--x--y/z.bin");
    look(top,
         "models--org--sd/snapshots/new|sd|org\n"
         "models--other--canny/snapshots/1a/net.safetensors|net.safetensors|canny\n",
         "models--x--nothing: a repository of the cache without a snapshot\n"
         "models--other--canny/snapshots/1a/half.safetensors: no file, or a link to one that is "
         "not there\n");
    make_remove(top);
}

static void deep_folders_end(void **state)
{
    char *top = make_folder(), *path = cn_xstrdup(top);
    struct cn_model_finder f = {.found = found, .passed_over = passed_over};
    struct cn_err err = CN_ERR_INIT;

    (void)state;
    for (int i = 0; i < 10; i++) {
        char *next = cn_xprintf("%s/d", path);

        make_dir("%s", next);
        free(path);
        path = next;
    }
    look(top, "",
         "d/d/d/d/d: too many folders inside of each other\n"
         "d: a directory with neither model_index.json nor config.json, and no weights\n");
    make_remove(top);
    free(path);
    assert_int_equal(cn_find_models("nowhere-at-all", &f, &err), CN_ENOTFOUND);
}

static void names_are(const char *folder, const char *name, const char *want)
{
    struct cn_buf b;

    cn_buf_init(&b, 1 << 16);
    for (int k = 0;; k++) {
        char *one = cn_model_name(folder, name, k);

        if (one == NULL)
            break;
        assert_true(strlen(one) < CN_MODEL_NAME);
        cn_buf_printf(&b, NULL, "%s|", one);
        free(one);
    }
    assert_string_equal((char *)b.data, want);
    cn_buf_release(&b);
}

static void names_are_told_apart(void **state)
{
    char long_name[400], *one;

    (void)state;
    names_are("a", "sd15.ckpt", "sd15|sd15.ckpt|a--sd15|a--sd15.ckpt|");
    names_are("a", "sd15.SafeTensors", "sd15|sd15.SafeTensors|a--sd15|a--sd15.SafeTensors|");
    names_are("org", "sd", "sd|org--sd|");
    names_are("", "sd.pt", "sd|sd.pt|");
    names_are("", "sd", "sd|");
    names_are("", "a b \xe7\x8c\xab.safetensors", "a b \xe7\x8c\xab|a b \xe7\x8c\xab.safetensors|");
    names_are("", "x\n\xff", "x%0A%FF|");
    memset(long_name, '\n', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    one = cn_model_name("", long_name, 0);
    assert_true(strlen(one) > CN_MODEL_NAME - 4 && strlen(one) < CN_MODEL_NAME);
    free(one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_are_looked_into),
        cmocka_unit_test(the_cache_is_understood),
        cmocka_unit_test(deep_folders_end),
        cmocka_unit_test(names_are_told_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
