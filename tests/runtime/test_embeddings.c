/* Files of embeddings: every form that is read, and what is said of others. */
#include "base/base.h"
#include "base/mem.h"
#include "runtime/embeddings.h"
#include "tests/checkpoint/make.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* A file of one or two tensors; dim 0 ends a shape. */
static void write_file(const char *dir, const char *name, const char *key, int64_t a, int64_t b,
                       const char *second, int64_t c, int64_t d)
{
    char *path = cn_xprintf("%s/%s", dir, name);
    struct make m;

    make_init(&m);
    make_add(&m, key, CN_F32, b > 0 ? 2 : 1, (const int64_t[]){a, b});
    if (second != NULL)
        make_add(&m, second, CN_F32, 2, (const int64_t[]){c, d});
    make_write(&m, path);
    make_release(&m);
    free(path);
}

static const struct cn_embedding *named(const struct cn_embeddings *e, const char *name)
{
    for (int i = 0; i < e->n; i++)
        if (strcmp(e->item[i].name, name) == 0)
            return &e->item[i];
    fail_msg("there is no \"%s\"", name);
    return NULL;
}

static void every_form_is_read(void **state)
{
    char *dir = make_folder();
    struct cn_embeddings e = {0};
    const struct cn_embedding *x;
    const int one[] = {8}, two[] = {8, 12}, other[] = {12};

    (void)state;
    make_dir("%s/sub", dir);
    make_text("a note", "%s/read me.txt", dir);
    write_file(dir, "kohya.safetensors", "emb_params", 3, 8, NULL, 0, 0);
    write_file(dir, "toy.safetensors", "<cat-toy>", 8, 0, NULL, 0, 0);
    write_file(dir, "web.safetensors", "string_to_param.*", 1, 8, NULL, 0, 0);
    write_file(dir, "sub/xl.safetensors", "clip_l", 2, 8, "clip_g", 2, 12);
    assert_int_equal(cn_embeddings_scan(&e, dir, NULL), CN_OK);
    assert_int_equal(e.n, 4);
    for (int i = 0; i < e.n; i++)
        assert_null(e.item[i].broken);
    assert_int_equal(e.vectors, 7);
    x = named(&e, "toy");
    assert_string_equal(x->token, "<cat-toy>");
    assert_int_equal(x->vectors, 1);
    assert_string_equal(named(&e, "web")->token, "web");
    x = named(&e, "kohya");
    assert_string_equal(x->token, "kohya");
    assert_true(cn_embedding_fits(x, one, 1));
    assert_false(cn_embedding_fits(x, other, 1));
    assert_false(cn_embedding_fits(x, two, 2));
    assert_ptr_equal(cn_embeddings_row(&e, CN_FIRST_VECTOR + x->first + 2, 0), x->rows[0] + 16);
    assert_null(cn_embeddings_row(&e, CN_FIRST_VECTOR + x->first, 1));
    assert_null(cn_embeddings_row(&e, CN_FIRST_VECTOR + 7, 0));
    x = named(&e, "xl");
    assert_true(cn_embedding_fits(x, two, 2));
    assert_false(cn_embedding_fits(x, one, 1));
    assert_ptr_equal(cn_embeddings_row(&e, CN_FIRST_VECTOR + x->first + 1, 1), x->rows[1] + 12);
    cn_embeddings_release(&e);
    make_remove(dir);
}

static void what_cannot_be_used_is_named(void **state)
{
    static const struct {
        const char *name, *says;
    } bad[] = {{"long", "76 vectors"},
               {"many", "has 2 tensors"},
               {"half", "as many vectors"},
               {"nothing", "nothing.pt"},
               {"deep", "another embedding of this name"}};
    char *dir = make_folder();
    struct cn_embeddings e = {0};
    struct cn_err err = CN_ERR_INIT;

    (void)state;
    make_dir("%s/sub", dir);
    make_text("no pickle", "%s/nothing.pt", dir);
    write_file(dir, "long.safetensors", "emb_params", 76, 8, NULL, 0, 0);
    write_file(dir, "many.safetensors", "a", 1, 8, "b", 1, 8);
    write_file(dir, "half.safetensors", "clip_l", 2, 8, "clip_g", 3, 12);
    write_file(dir, "deep.safetensors", "emb_params", 1, 8, NULL, 0, 0);
    write_file(dir, "sub/deep.safetensors", "emb_params", 1, 8, NULL, 0, 0);
    assert_int_equal(cn_embeddings_scan(&e, dir, NULL), CN_OK);
    assert_int_equal(e.n, 6);
    assert_int_equal(e.vectors, 1);
    for (int i = 0; i < e.n; i++)
        for (size_t k = 0; k < CN_LEN(bad) && e.item[i].broken != NULL; k++)
            if (strcmp(e.item[i].name, bad[k].name) == 0) {
                assert_non_null(strstr(e.item[i].broken, bad[k].says));
                assert_non_null(strstr(e.item[i].broken, e.item[i].path));
                assert_false(cn_embedding_fits(&e.item[i], e.item[i].width, 1));
            }
    assert_null(named(&e, "deep")->broken); /* the first one */
    assert_null(cn_embeddings_row(&e, CN_FIRST_VECTOR + 1, 0));
    assert_int_equal(cn_embeddings_scan(&e, "nowhere", &err), CN_ENOTFOUND);
    assert_non_null(strstr(err.msg, "nowhere"));
    cn_embeddings_release(&e);
    make_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_is_read),
        cmocka_unit_test(what_cannot_be_used_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
