/* The list of models follows its directories: what is new, changed, repaired and gone, and versions
 * that jobs hold. */
#include "base/base.h"
#include "base/file.h"
#include "base/mem.h"
#include "model/expect.h"
#include "runtime/runtime.h"
#include "runtime/version.h"
#include "tests/checkpoint/make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char *folder;

static char *in_folder(const char *name)
{
    return cn_xprintf("%s/%s", folder, name);
}

/* A ControlNet, put there by a rename, so that it is another file each time. */
static void write_control(const char *name, uint32_t seed)
{
    char *path = in_folder(name), *tmp = in_folder(".new");
    struct make m;

    make_init(&m);
    m.seed = seed;
    m.comp = CN_COMP_CONTROL;
    m.prefix = "control_model.";
    m.ldm = &tiny_layout;
    cn_expect_control(&tiny_control, make_expected, &m);
    make_write(&m, tmp);
    make_release(&m);
    assert_int_equal(rename(tmp, path), 0);
    free(path);
    free(tmp);
}

/* A LoRA as trainers write them, and an autoencoder alone. */
static void write_others(void)
{
    static const int64_t down[] = {4, 768}, norm[] = {32};
    char *lora = in_folder("lora.safetensors"), *part = in_folder("ft-mse.safetensors");
    struct make m;

    make_init(&m);
    make_add(&m,
             "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight",
             CN_F16, 2, down);
    make_write(&m, lora);
    make_release(&m);
    make_init(&m);
    make_add(&m, "decoder.up.0.block.0.norm1.weight", CN_F16, 1, norm);
    make_write(&m, part);
    make_release(&m);
    free(lora);
    free(part);
}

static void put(const char *name, const char *text)
{
    char *path = in_folder(name);

    assert_int_equal(cn_file_write(path, text, strlen(text), NULL), CN_OK);
    free(path);
}

static void drop(const char *name)
{
    char *path = in_folder(name);

    assert_int_equal(unlink(path), 0);
    free(path);
}

static void expect(struct cn_runtime *rt, int added, int changed, int removed)
{
    struct cn_model_changes n = cn_runtime_refresh(rt);

    assert_int_equal(n.added, added);
    assert_int_equal(n.changed, changed);
    assert_int_equal(n.removed, removed);
}

/* The first bytes of its weights, as they are read now. */
static int read_some(const struct cn_model *m, float ret[4])
{
    struct cn_tensor_view v;
    unsigned char *all;
    int rc;

    cn_checkpoint_at(m->checkpoint, CN_COMP_CONTROL, 0, &v);
    assert_true(v.bytes >= 4 * sizeof(float));
    all = cn_xmalloc(v.bytes);
    rc = cn_view_read(&v, all, NULL);
    memcpy(ret, all, 4 * sizeof(float));
    free(all);
    return rc;
}

static void the_list_follows_the_directory(void **state)
{
    struct cn_runtime rt = {.backend = NULL};
    const struct cn_model *a;

    (void)state;
    folder = make_folder();
    write_control("a.safetensors", 1);
    assert_int_equal(cn_runtime_scan(&rt, folder, NULL), CN_OK);
    a = cn_runtime_find(&rt, "a");
    assert_null(a->broken);
    expect(&rt, 0, 0, 0);
    assert_ptr_equal(cn_runtime_find(&rt, "a"), a);
    write_control("b.safetensors", 2);
    put("half.safetensors", "half");
    put("notes.txt", "x");
    put("a.json", "{}"); /* belongs to a model: not passed over, and a change of it */
    expect(&rt, 2, 1, 0);
    assert_int_equal(rt.n_models, 3);
    assert_non_null(cn_runtime_find(&rt, "half")->broken);
    assert_int_equal(rt.n_passed, 1);
    assert_string_equal(rt.passed[0].name, "notes.txt");
    expect(&rt, 0, 0, 0);
    write_control("half.safetensors", 3);
    expect(&rt, 0, 1, 0);
    assert_null(cn_runtime_find(&rt, "half")->broken);
    drop("half.safetensors");
    drop("notes.txt");
    write_control("b.ckpt", 4); /* takes the longer of its names */
    expect(&rt, 1, 0, 1);
    assert_int_equal(rt.n_models, 3);
    assert_non_null(cn_runtime_find(&rt, "b.ckpt"));
    assert_non_null(strstr(cn_runtime_find(&rt, "b")->path, "b.safetensors"));
    assert_int_equal(rt.n_passed, 0);
    cn_runtime_release(&rt);
    make_remove(folder);
}

/* What is known to be something else is no model, with the reason; one that was named is one. */
static void what_is_something_else_is_passed_over(void **state)
{
    struct cn_runtime rt = {.backend = NULL};
    char *lora;

    (void)state;
    folder = make_folder();
    write_control("a.safetensors", 1);
    write_others();
    put("half.safetensors", "half");
    assert_int_equal(cn_runtime_scan(&rt, folder, NULL), CN_OK);
    assert_int_equal(rt.n_models, 2);
    assert_non_null(cn_runtime_find(&rt, "half")->broken);
    assert_int_equal(rt.n_passed, 2);
    assert_string_equal(rt.passed[0].name, "ft-mse.safetensors");
    assert_string_equal(rt.passed[0].why, "an autoencoder (VAE)");
    assert_string_equal(rt.passed[1].name, "lora.safetensors");
    assert_string_equal(rt.passed[1].why, "a LoRA for SD 1.x");
    write_control("lora.safetensors", 2);
    expect(&rt, 1, 0, 0);
    write_others();
    expect(&rt, 0, 0, 1);
    assert_int_equal(rt.n_passed, 2);
    lora = in_folder("lora.safetensors");
    assert_true(cn_runtime_add(&rt, lora, NULL) < 0);
    assert_non_null(strstr(cn_runtime_find(&rt, "lora")->broken, "is a LoRA for SD 1.x"));
    expect(&rt, 0, 0, 0);
    assert_non_null(cn_runtime_find(&rt, "lora"));
    cn_runtime_release(&rt);
    free(lora);
    make_remove(folder);
}

static void a_version_stays_for_those_who_hold_it(void **state)
{
    struct cn_runtime rt = {.backend = NULL};
    struct cn_model *held, *next;
    float before[4], now[4];

    (void)state;
    folder = make_folder();
    write_control("a.safetensors", 1);
    assert_int_equal(cn_runtime_scan(&rt, folder, NULL), CN_OK);
    held = cn_runtime_find(&rt, "a");
    cn_runtime_hold(held);
    assert_int_equal(read_some(held, before), CN_OK);
    write_control("a.safetensors", 2);
    assert_int_equal(read_some(held, now), CN_OK); /* replaced, and not known yet */
    expect(&rt, 0, 1, 0);
    next = cn_runtime_find(&rt, "a");
    assert_ptr_not_equal(next, held);
    assert_false(cn_runtime_close_retired(&rt));
    assert_int_equal(read_some(held, now), CN_OK);
    assert_memory_equal(now, before, sizeof(now));
    assert_int_equal(read_some(next, now), CN_OK);
    assert_memory_not_equal(now, before, sizeof(now));
    drop("a.safetensors");
    expect(&rt, 0, 0, 1);
    assert_null(cn_runtime_find(&rt, "a"));
    assert_int_equal(rt.n_retired, 2);
    assert_true(cn_runtime_close_retired(&rt)); /* the second one, which nobody holds */
    cn_runtime_free_retired(&rt);
    assert_int_equal(rt.n_retired, 1);
    assert_int_equal(read_some(held, now), CN_OK);
    cn_runtime_let_go(held);
    assert_true(cn_runtime_close_retired(&rt));
    cn_runtime_free_retired(&rt);
    assert_int_equal(rt.n_retired, 0);
    cn_runtime_release(&rt);
    make_remove(folder);
}

static void a_directory_that_comes_later_is_seen(void **state)
{
    struct cn_runtime rt = {.backend = NULL};
    char *later;

    (void)state;
    folder = make_folder();
    later = in_folder("later");
    assert_int_equal(cn_runtime_scan(&rt, later, NULL), CN_ENOTFOUND);
    expect(&rt, 0, 0, 0);
    assert_int_equal(mkdir(later, 0700), 0);
    write_control("later/a.safetensors", 1);
    expect(&rt, 1, 0, 0);
    cn_runtime_release(&rt);
    free(later);
    make_remove(folder);
}

/* No descriptors are left: that says nothing about the models. */
static void a_directory_that_cannot_be_read_keeps_its_models(void **state)
{
    struct cn_runtime rt = {.backend = NULL};
    struct rlimit before, none;
    const struct cn_model *a;
    int fd;

    (void)state;
    folder = make_folder();
    write_control("a.safetensors", 1);
    assert_int_equal(cn_runtime_scan(&rt, folder, NULL), CN_OK);
    a = cn_runtime_find(&rt, "a");
    fd = dup(STDIN_FILENO); /* the next one that would be given */
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)fd;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    expect(&rt, 0, 0, 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_ptr_equal(cn_runtime_find(&rt, "a"), a);
    assert_int_equal(rt.n_passed, 1);
    assert_non_null(strstr(rt.passed[0].why, "Too many open files"));
    expect(&rt, 0, 0, 0);
    assert_ptr_equal(cn_runtime_find(&rt, "a"), a);
    assert_int_equal(rt.n_passed, 0);
    cn_runtime_release(&rt);
    make_remove(folder);
}

static void versions_tell_changes(void **state)
{
    char *path;
    uint64_t v;

    (void)state;
    folder = make_folder();
    path = in_folder("model");
    make_dir("%s/model", folder);
    make_dir("%s/model/unet", folder);
    put("model/unet/config.json", "{}");
    v = cn_files_version(path);
    assert_true(cn_files_version(path) == v);
    put("model/unet/config.json", "{ }");
    assert_true(cn_files_version(path) != v);
    v = cn_files_version(path);
    put("model/other", "");
    assert_true(cn_files_version(path) != v);
    v = cn_files_version(path);
    drop("model/other");
    assert_true(cn_files_version(path) != v);
    free(path);
    make_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_list_follows_the_directory),
        cmocka_unit_test(what_is_something_else_is_passed_over),
        cmocka_unit_test(a_version_stays_for_those_who_hold_it),
        cmocka_unit_test(a_directory_that_comes_later_is_seen),
        cmocka_unit_test(a_directory_that_cannot_be_read_keeps_its_models),
        cmocka_unit_test(versions_tell_changes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
