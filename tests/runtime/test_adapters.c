/* Adapters in every form and naming, against what LyCORIS, PEFT and diffusers make of their layers
 * (tools/goldens/adapters.py); and what is said of files that do not fit. */
#include "base/base.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "runtime/adapter_match.h"
#include "runtime/adapters.h"
#include "tests/checkpoint/make.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>

static const char *top(void)
{
    const char *dir = getenv("srcdir");

    return dir != NULL ? dir : ".";
}

static struct cn_checkpoint *open_tiny(void)
{
    char *path = cn_xprintf("%s/tests/data/models/tiny", top());
    struct cn_checkpoint *c;
    struct cn_err err = CN_ERR_INIT;

    if (cn_checkpoint_open(path, &c, &err) < 0)
        fail_msg("%s", err.msg);
    free(path);
    return c;
}

/* ---- layers ---- */

static float *base_tensor(const struct cn_checkpoint *c, enum cn_component comp, const char *name)
{
    struct cn_tensor_view v;
    float *w;

    assert_int_equal(cn_checkpoint_find(c, comp, name, &v, NULL), CN_OK);
    assert_int_equal(cn_adapter_read(&v, &w, NULL), CN_OK);
    return w;
}

static double relative_error(const float *have, const float *want, size_t n)
{
    double d = 0, sum = 0;

    for (size_t i = 0; i < n; i++) {
        d += ((double)have[i] - want[i]) * ((double)have[i] - want[i]);
        sum += (double)want[i] * want[i];
    }
    return sqrt(d / sum);
}

/* v is called "unet.LAYER.weight@STRENGTH". */
static void check_layer(const struct cn_checkpoint *c, const struct cn_adapter_match *m,
                        const struct cn_tensor_view *v)
{
    enum cn_component comp = strncmp(v->name, "unet.", 5) == 0 ? CN_COMP_UNET : CN_COMP_TEXT;
    char *name = cn_xstrdup(strchr(v->name, '.') + 1), *at = strchr(name, '@'), *end;
    double strength = atof(at + 1);
    struct cn_err err = CN_ERR_INIT;
    float *w, *want;
    bool found = false;
    int rc = CN_OK;

    *at = '\0';
    w = base_tensor(c, comp, name);
    end = strrchr(name, '.');
    *end = '\0';
    for (size_t i = 0; i < m->n; i++) {
        const struct cn_adapter_pair *p = &m->pair[i];

        if (p->part->comp != comp || strcmp(p->name, name) != 0)
            continue;
        found = true;
        rc = strcmp(end + 1, "bias") == 0
                 ? cn_adapter_apply_bias(p->part, &p->layer, strength, w, &err)
                 : cn_adapter_apply(p->part, &p->layer, strength, w, &err);
    }
    if (!found || rc < 0)
        fail_msg("%s: %s", v->name, found ? err.msg : "no part");
    assert_int_equal(cn_adapter_read(v, &want, NULL), CN_OK);
    if (!(relative_error(w, want, cn_view_elements(v)) < 2e-6))
        fail_msg("%s in %s: relative error %.2e", v->name, v->file,
                 relative_error(w, want, cn_view_elements(v)));
    free(want);
    free(w);
    free(name);
}

static void check_adapter(const struct cn_checkpoint *c, const char *name, const char *file)
{
    char *golden = cn_xprintf("%s/tests/data/golden/adapters/%s.safetensors", top(), name);
    char *path = cn_xprintf("%s/tests/data/adapters/%s", top(), file);
    struct cn_err err = CN_ERR_INIT;
    struct cn_adapter_match m;
    struct cn_tensor_file *f;
    struct cn_adapter *a;
    struct cn_tensor_view v;

    if (cn_adapter_open(path, &a, &err) < 0 ||
        cn_adapter_match(a, c, &m, &err) < 0 || cn_tensor_file_open(golden, &f, &err) < 0) {
        fail_msg("%s: %s", name, err.msg);
        return;
    }
    if (m.matched_keys != m.keys)
        fail_msg("%s: %zu of %zu tensors: %s", name, m.matched_keys, m.keys, m.first_unmatched);
    assert_true(cn_tensor_file_count(f) > 0);
    for (size_t i = 0; i < cn_tensor_file_count(f); i++) {
        cn_tensor_file_at(f, i, &v);
        check_layer(c, &m, &v);
    }
    cn_tensor_file_close(f);
    cn_adapter_match_release(&m);
    cn_adapter_close(a);
    free(golden);
    free(path);
}

static const char *const files[] = {
    "locon",      "tucker",       "loha",      "loha-tucker", "lokr",      "lokr-full",
    "lokr-tucker", "ia3",         "ia3-input", "oft",         "boft",      "full",
    "norm",       "glora",        "dora",      "dora-input",  "peft-names", "middle-names",
    "old-names",  "ldm-dots",     "diffusers-notes",
};
static const char *const folders[] = {"peft-dir", "peft-dora"};

static void layers_are_those_of_the_references(void **state)
{
    struct cn_checkpoint *c = open_tiny();

    (void)state;
    for (size_t i = 0; i < CN_LEN(files); i++) {
        char *file = cn_xprintf("%s.safetensors", files[i]);

        check_adapter(c, files[i], file);
        free(file);
    }
    for (size_t i = 0; i < CN_LEN(folders); i++)
        check_adapter(c, folders[i], folders[i]);
    cn_checkpoint_close(c);
}

/* ---- the list ---- */

static void copy_adapter(const char *from, const char *folder, const char *to)
{
    char *in = cn_xprintf("%s/tests/data/adapters/%s", top(), from);
    char *out = cn_xprintf("%s/%s", folder, to);
    struct cn_buf b;

    cn_buf_init(&b, 1 << 20);
    assert_int_equal(cn_file_read(in, &b, NULL), CN_OK);
    assert_int_equal(cn_file_write(out, b.data, b.len, NULL), CN_OK);
    cn_buf_release(&b);
    free(in);
    free(out);
}

static int unread_count;

static void count_unread(void *ctx, const char *dir, const char *why)
{
    assert_string_equal(dir, ctx);
    assert_non_null(strstr(why, "Too many open files"));
    unread_count++;
}

/* No descriptors are left: that says nothing about the adapters. */
static void check_unread(struct cn_adapters *a, char *folder)
{
    struct rlimit before, none;
    int fd = dup(STDIN_FILENO); /* the next one that would be given */
    bool news;

    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = (rlim_t)fd;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    news = cn_adapters_refresh(a, count_unread, folder);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_false(news);
    assert_int_equal(unread_count, 1);
}

static void a_directory_that_cannot_be_read_keeps_its_adapters(void **state)
{
    struct cn_adapters a = {0};
    char *folder = make_folder();

    (void)state;
    copy_adapter("locon.safetensors", folder, "one.safetensors");
    copy_adapter("loha.safetensors", folder, "two.safetensors");
    assert_int_equal(cn_adapters_scan(&a, folder, NULL), CN_OK);
    assert_int_equal(a.n, 2);
    check_unread(&a, folder);
    assert_int_equal(a.n, 2);
    assert_non_null(cn_adapters_find(&a, "one"));
    assert_non_null(cn_adapters_find(&a, "two"));
    assert_false(cn_adapters_refresh(&a, count_unread, folder));
    copy_adapter("oft.safetensors", folder, "three.safetensors");
    assert_true(cn_adapters_refresh(&a, count_unread, folder));
    assert_int_equal(a.n, 3);
    assert_int_equal(unread_count, 1);
    cn_adapters_release(&a);
    make_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_are_those_of_the_references),
        cmocka_unit_test(a_directory_that_cannot_be_read_keeps_its_adapters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
