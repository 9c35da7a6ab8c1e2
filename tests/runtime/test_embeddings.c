/* Files of embeddings: every form that is read, and what is said of others. */
#include "base/base.h"
#include "base/mem.h"
#include "runtime/embeddings.h"
#include "tests/checkpoint/make.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
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
    for (int i = 0; i < e->now->n; i++)
        if (strcmp(e->now->item[i].of->name, name) == 0)
            return e->now->item[i].of;
    fail_msg("there is no \"%s\"", name);
    return NULL;
}

static int32_t first_of(const struct cn_embeddings *e, const struct cn_embedding *x)
{
    for (int i = 0; i < e->now->n; i++)
        if (e->now->item[i].of == x)
            return e->now->item[i].first;
    fail_msg("it is not in the list");
    return -1;
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
    assert_int_equal(e.now->n, 4);
    for (int i = 0; i < e.now->n; i++)
        assert_null(e.now->item[i].of->broken);
    assert_int_equal(e.now->vectors, 7);
    x = named(&e, "toy");
    assert_string_equal(x->token, "<cat-toy>");
    assert_int_equal(x->vectors, 1);
    assert_string_equal(named(&e, "web")->token, "web");
    x = named(&e, "kohya");
    assert_string_equal(x->token, "kohya");
    assert_true(cn_embedding_fits(x, one, 1));
    assert_false(cn_embedding_fits(x, other, 1));
    assert_false(cn_embedding_fits(x, two, 2));
    assert_ptr_equal(cn_embeddings_row(e.now, CN_FIRST_VECTOR + first_of(&e, x) + 2, 0),
                     x->rows[0] + 16);
    assert_null(cn_embeddings_row(e.now, CN_FIRST_VECTOR + first_of(&e, x), 1));
    assert_null(cn_embeddings_row(e.now, CN_FIRST_VECTOR + 7, 0));
    x = named(&e, "xl");
    assert_true(cn_embedding_fits(x, two, 2));
    assert_false(cn_embedding_fits(x, one, 1));
    assert_ptr_equal(cn_embeddings_row(e.now, CN_FIRST_VECTOR + first_of(&e, x) + 1, 1),
                     x->rows[1] + 12);
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
    assert_int_equal(e.now->n, 6);
    assert_int_equal(e.now->vectors, 1);
    for (int i = 0; i < e.now->n; i++)
        for (size_t k = 0; k < CN_LEN(bad) && e.now->item[i].of->broken != NULL; k++)
            if (strcmp(e.now->item[i].of->name, bad[k].name) == 0) {
                assert_non_null(strstr(e.now->item[i].of->broken, bad[k].says));
                assert_non_null(strstr(e.now->item[i].of->broken, e.now->item[i].of->path));
                assert_false(cn_embedding_fits(e.now->item[i].of, e.now->item[i].of->width, 1));
            }
    assert_null(named(&e, "deep")->broken); /* the first one */
    assert_null(cn_embeddings_row(e.now, CN_FIRST_VECTOR + 1, 0));
    assert_int_equal(cn_embeddings_scan(&e, "nowhere", &err), CN_ENOTFOUND);
    assert_non_null(strstr(err.msg, "nowhere"));
    cn_embeddings_release(&e);
    make_remove(dir);
}

static void count_told(void *ctx, const char *dir, const char *why)
{
    assert_non_null(strstr(why, dir));
    ++*(int *)ctx;
}

static bool refresh(struct cn_embeddings *e)
{
    int told = 0;
    bool news = cn_embeddings_refresh(e, count_told, &told);

    assert_int_equal(told, 0);
    return news;
}

/* By a rename, as a careful person replaces one. */
static void replace_file(const char *dir, const char *name, int64_t vectors)
{
    char *from = cn_xprintf("%s/.new.safetensors", dir), *to = cn_xprintf("%s/%s", dir, name);

    write_file(dir, ".new.safetensors", "emb_params", vectors, 8, NULL, 0, 0);
    assert_int_equal(rename(from, to), 0);
    free(from);
    free(to);
}

static void a_list_follows_its_directory(void **state)
{
    char *dir = make_folder();
    struct cn_embeddings e = {0};
    const struct cn_embedding *stays;
    uint64_t number;

    (void)state;
    assert_false(refresh(&e)); /* nobody has scanned */
    make_dir("%s/sub", dir);
    write_file(dir, "b.safetensors", "emb_params", 2, 8, NULL, 0, 0);
    write_file(dir, "sub/stays.safetensors", "emb_params", 3, 8, NULL, 0, 0);
    make_text("no pickle", "%s/c.pt", dir);
    assert_int_equal(cn_embeddings_scan(&e, dir, NULL), CN_OK);
    stays = named(&e, "stays");
    number = e.now->number;
    assert_false(refresh(&e)); /* the broken one is broken still */
    assert_int_equal(e.now->number, number);

    write_file(dir, "a.safetensors", "emb_params", 1, 8, NULL, 0, 0);
    assert_true(refresh(&e));
    assert_int_not_equal(e.now->number, number);
    assert_int_equal(e.now->n, 4);
    assert_int_equal(first_of(&e, named(&e, "b")), 1);
    assert_ptr_equal(named(&e, "stays"), stays); /* it is not read again */

    replace_file(dir, "b.safetensors", 5);
    assert_true(refresh(&e));
    assert_int_equal(named(&e, "b")->vectors, 5);

    replace_file(dir, "c.pt", 1); /* repaired */
    assert_non_null(named(&e, "c")->broken);
    assert_true(refresh(&e));
    assert_null(named(&e, "c")->broken);
    replace_file(dir, "c.pt", 76);
    assert_true(refresh(&e));
    assert_non_null(strstr(named(&e, "c")->broken, "76 vectors"));

    make_remove(dir);
    assert_true(refresh(&e));
    assert_int_equal(e.now->n, 0);
    cn_embeddings_release(&e);
}

static void who_holds_a_list_keeps_it(void **state)
{
    char *dir = make_folder(), *path = cn_xprintf("%s/a.safetensors", dir);
    struct cn_embeddings e = {0};
    struct cn_embedding_list *held;
    const float *row;
    float value;

    (void)state;
    assert_null(cn_embeddings_hold(&e));
    assert_null(cn_embeddings_row(NULL, CN_FIRST_VECTOR, 0));
    write_file(dir, "a.safetensors", "emb_params", 1, 8, NULL, 0, 0);
    write_file(dir, "b.safetensors", "emb_params", 2, 8, NULL, 0, 0);
    assert_int_equal(cn_embeddings_scan(&e, dir, NULL), CN_OK);
    held = cn_embeddings_hold(&e);
    row = cn_embeddings_row(held, CN_FIRST_VECTOR + 2, 0);
    value = row[7];
    assert_int_equal(remove(path), 0);
    assert_true(refresh(&e));
    assert_null(cn_embeddings_row(e.now, CN_FIRST_VECTOR + 2, 0));
    assert_ptr_equal(cn_embeddings_row(e.now, CN_FIRST_VECTOR + 1, 0), row);
    assert_ptr_equal(cn_embeddings_row(held, CN_FIRST_VECTOR + 2, 0), row);
    assert_int_equal(held->n, 2);
    cn_embeddings_release(&e);
    assert_true(row[7] == value);
    cn_embeddings_let_go(held);
    cn_embeddings_let_go(NULL);
    free(path);
    make_remove(dir);
}

/* A directory that became a file cannot be read, also by root. */
static void what_cannot_be_read_just_now_stays(void **state)
{
    char *dir = make_folder(), *inside = cn_xprintf("%s/in", dir);
    char *aside = cn_xprintf("%s/aside", dir);
    struct cn_embeddings e = {0};
    int told = 0;

    (void)state;
    make_dir("%s/in", dir);
    write_file(dir, "in/a.safetensors", "emb_params", 1, 8, NULL, 0, 0);
    assert_int_equal(cn_embeddings_scan(&e, inside, NULL), CN_OK);
    assert_int_equal(rename(inside, aside), 0);
    make_text("a file", "%s/in", dir);
    assert_false(cn_embeddings_refresh(&e, count_told, &told));
    assert_int_equal(told, 1);
    assert_int_equal(e.now->n, 1);
    cn_embeddings_release(&e);
    free(inside);
    free(aside);
    make_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_form_is_read),
        cmocka_unit_test(what_cannot_be_used_is_named),
        cmocka_unit_test(a_list_follows_its_directory),
        cmocka_unit_test(who_holds_a_list_keeps_it),
        cmocka_unit_test(what_cannot_be_read_just_now_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
