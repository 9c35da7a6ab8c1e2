/* Adapters of jobs: beside each other and alone, by list and by tag, and the base model after them.
 * The pictures themselves are compared with the reference's in images-tiny. */
#include "base/base.h"
#include "tests/engine/crowd.h"
#include "tests/engine/lora.h"
#include "base/mem.h"
#include "tests/checkpoint/make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct crowd *open_crowd(size_t memory)
{
    const char *top = getenv("srcdir");
    struct crowd *c = cn_xcalloc(1, sizeof(*c));
    struct cn_engine_opts o = options(c);
    char *dir = cn_xprintf("%s/tests/data/adapters", top != NULL ? top : ".");

    o.memory = memory;
    crowd_open(c, &o);
    assert_int_equal(cn_engine_scan_adapters(c->e, dir, NULL), CN_OK);
    free(dir);
    return c;
}

static struct job *add_drawing(struct crowd *c)
{
    struct job *j = add_job(c, 7);

    j->spec.steps = 3;
    return j;
}

static void add_adapter(struct job *j, const char *name, double strength)
{
    struct cn_spec_adapter *a = cn_spec_add_adapter(&j->spec);

    free(a->name);
    a->name = cn_xstrdup(name);
    a->strength = strength;
}

static void set_prompt(struct job *j, const char *text)
{
    free(j->spec.prompt);
    j->spec.prompt = cn_xstrdup(text);
    j->spec.prompt_syntax = CN_PROMPT_A1111;
}

/* Others of the crowd may not have begun. */
static void draw(struct job *j)
{
    begin(j);
    while (!j->over)
        turn(j->crowd);
    expect_ok(j);
}

static bool same(const struct job *a, const struct job *b)
{
    return memcmp(a->image[0].px, b->image[0].px, cn_image_bytes(&a->image[0])) == 0;
}

/* ---- pictures ---- */

static const char *const forms[] = {NULL,  "locon", "loha",     "lokr",
                                    "oft", "dora",  "peft-dir", "locon"};

static void vary(struct job *j, int i)
{
    if (forms[i] != NULL)
        add_adapter(j, forms[i], i == 7 ? -0.5 : 0.8);
}

static void neighbours_with_other_adapters_change_nothing(void **state)
{
    struct crowd *together = open_crowd(0), *alone[CN_LEN(forms)];

    (void)state;
    for (size_t i = 0; i < CN_LEN(forms); i++)
        vary(add_drawing(together), (int)i);
    for (size_t i = 0; i < CN_LEN(forms); i++)
        begin(&together->job[i]);
    run_until_over(together);
    for (size_t i = 0; i < CN_LEN(forms); i++) {
        struct job *j;

        alone[i] = open_crowd(0);
        j = add_drawing(alone[i]);
        vary(j, (int)i);
        begin(j);
        run_until_over(alone[i]);
        expect_ok(j);
        expect_ok(&together->job[i]);
        assert_true(psnr(&j->image[0], &together->job[i].image[0]) >= 60);
        if (i > 0)
            assert_true(psnr(&j->image[0], &alone[0]->job[0].image[0]) < 50);
    }
    for (size_t i = 0; i < CN_LEN(forms); i++)
        crowd_free(alone[i]);
    crowd_free(together);
}

/* ---- rows ---- */

/* Eight LoRAs of several ranks, some with convolutions, some with the text encoder. */
static const struct lora loras[] = {
    {4, true, true, 0.2, 1},   {8, false, false, 0.2, 2}, {16, true, false, 0.2, 3},
    {24, false, true, 0.2, 4}, {32, true, true, 0.2, 5},  {64, false, false, 0.2, 6},
    {100, true, true, 0.1, 7}, {128, true, true, 0.1, 8},
};

static char *lora_folder(void)
{
    const char *top = getenv("srcdir");
    char *folder = make_folder();
    char *model = cn_xprintf("%s/tests/data/models/tiny", top != NULL ? top : ".");

    for (size_t i = 0; i < CN_LEN(loras); i++) {
        char *path = cn_xprintf("%s/r%d.safetensors", folder, loras[i].rank);

        make_lora(path, model, &loras[i]);
        free(path);
    }
    free(model);
    return folder;
}

static struct crowd *open_lora_crowd(const char *folder)
{
    struct crowd *c = open_crowd(0);

    assert_int_equal(cn_engine_scan_adapters(c->e, folder, NULL), CN_OK);
    return c;
}

static void add_lora(struct job *j, size_t i)
{
    char *name = cn_xprintf("r%d", loras[i].rank);

    add_adapter(j, name, i % 2 == 0 ? 0.9 : -1.2);
    free(name);
}

/* One has two, and one has a single row. */
static void add_loras(struct job *j, size_t i)
{
    add_lora(j, i);
    if (i == 3)
        add_lora(j, 5);
    j->spec.has_guidance = true;
    j->spec.guidance_scale = i == 6 ? 1 : 5;
}

static void jobs_with_different_loras_share_steps(void **state)
{
    char *folder = lora_folder();
    struct crowd *together = open_lora_crowd(folder), *alone = open_lora_crowd(folder);

    (void)state;
    for (size_t i = 0; i < CN_LEN(loras); i++) {
        add_loras(add_drawing(together), i);
        add_loras(add_drawing(alone), i);
        draw(&alone->job[i]);
    }
    for (size_t i = 0; i < CN_LEN(loras); i++)
        begin(&together->job[i]);
    run_until_over(together);
    assert_int_equal(together->largest, 8);
    for (size_t i = 0; i < CN_LEN(loras); i++) {
        expect_ok(&together->job[i]);
        assert_true(psnr(&alone->job[i].image[0], &together->job[i].image[0]) >= 60);
        if (i > 0)
            assert_true(psnr(&alone->job[i].image[0], &alone->job[0].image[0]) < 50);
    }
    crowd_free(alone);
    crowd_free(together);
    make_remove(folder);
}

/* Behind an adapter that multiplies weights, be it by 1, a LoRA goes by an overlay. */
static void rows_do_what_an_overlay_does(void **state)
{
    char *folder = lora_folder();
    struct crowd *c = open_lora_crowd(folder);

    (void)state;
    for (size_t i = 0; i + 4 < CN_LEN(loras); i++) {
        struct job *rows = add_drawing(c), *overlay = add_drawing(c);

        add_lora(rows, i);
        add_lora(overlay, i);
        add_adapter(overlay, "oft", 0);
        draw(rows);
        draw(overlay);
        assert_true(psnr(&rows->image[0], &overlay->image[0]) >= 60);
    }
    crowd_free(c);
    make_remove(folder);
}

/* Rows add to what an overlay made. */
static void rows_and_overlays_meet(void **state)
{
    struct crowd *c = open_crowd(0);
    struct job *mixed = add_drawing(c), *other = add_drawing(c), *merged = add_drawing(c);

    (void)state;
    add_adapter(mixed, "loha", 0.7);
    add_adapter(mixed, "locon", 0.8);
    add_adapter(mixed, "norm", 0.8);
    add_adapter(other, "locon", 0.8);
    add_adapter(other, "loha", 0.7);
    add_adapter(other, "norm", 0.8);
    add_adapter(merged, "loha", 0.7);
    add_adapter(merged, "locon", 0.8);
    add_adapter(merged, "norm", 0.8);
    add_adapter(merged, "oft", 0);
    for (int i = 0; i < c->n; i++)
        begin(&c->job[i]);
    run_until_over(c);
    for (int i = 0; i < c->n; i++)
        expect_ok(&c->job[i]);
    assert_int_equal(c->largest, 2);
    assert_true(psnr(&mixed->image[0], &other->image[0]) >= 60);
    assert_true(psnr(&mixed->image[0], &merged->image[0]) >= 60);
    crowd_free(c);
}

static void jobs_with_the_same_adapters_share_steps(void **state)
{
    struct crowd *c = open_crowd(0);

    (void)state;
    for (int i = 0; i < 4; i++)
        add_adapter(add_drawing(c), "locon", 0.8);
    for (int i = 0; i < 4; i++)
        begin(&c->job[i]);
    run_until_over(c);
    assert_int_equal(c->largest, 4);
    crowd_free(c);
}

static void tags_say_what_the_list_says(void **state)
{
    struct crowd *c = open_crowd(0);
    struct job *list = add_drawing(c), *tag = add_drawing(c), *blocks = add_drawing(c);
    struct job *text = add_drawing(c), *named = add_drawing(c);

    (void)state;
    set_prompt(list, "a  cat ");
    add_adapter(list, "locon", 0.5);
    list->spec.adapter[0].has_text = true;
    list->spec.adapter[0].text_strength = 0.8;
    set_prompt(tag, "a <lora:locon:0.8:0.5> cat ");
    set_prompt(named, "a <lyco:locon:unet=0.5:te=0.8> cat ");
    set_prompt(text, "a <lora:locon:0.8:0> cat ");
    set_prompt(blocks, "a <lora:locon:0.8:0.5:lbw=NONE> cat ");
    for (int i = 0; i < c->n; i++)
        begin(&c->job[i]);
    run_until_over(c);
    for (int i = 0; i < c->n; i++)
        expect_ok(&c->job[i]);
    assert_true(psnr(&list->image[0], &tag->image[0]) >= 60);
    assert_true(psnr(&list->image[0], &named->image[0]) >= 60);
    assert_true(psnr(&list->image[0], &text->image[0]) < 50);
    assert_true(psnr(&blocks->image[0], &text->image[0]) < 50); /* nothing of the text either */
    crowd_free(c);
}

/* ---- the base ---- */

/* Another job in the place of j. */
static void again(struct job *j)
{
    cn_spec_release(&j->spec);
    request(&j->spec, 7);
    j->spec.steps = 1;
    j->over = false;
    j->images = 0;
    cn_image_release(&j->image[0]);
}

/* Adapters that come and go: rows' and overlays', alone and together. Where CN_WHOLE says so a
 * thousand jobs. */
static void the_base_is_as_before(void **state)
{
    int jobs = getenv("CN_WHOLE") != NULL ? 1000 : 36;
    char *folder = lora_folder();
    struct crowd *c = open_lora_crowd(folder);
    struct job *first = add_drawing(c), *last = add_drawing(c), *j = add_drawing(c);
    size_t bytes = 0;

    (void)state;
    draw(first);
    for (int i = 0; i < jobs; i++) {
        again(j);
        if (i % 3 != 1)
            add_lora(j, (size_t)i % CN_LEN(loras));
        if (i % 3 != 0)
            add_adapter(j, forms[1 + i % 7], 0.5 + 0.01 * (i % 40));
        draw(j);
        if (i == jobs * 2 / 3) /* as many adapters as are kept idle have been there by now */
            bytes = cn_engine_bytes(c->e);
    }
    print_message("%d jobs: %zu bytes after two thirds of them, %zu after all\n", jobs, bytes,
                  cn_engine_bytes(c->e));
    assert_true(cn_engine_bytes(c->e) <= bytes + bytes / 2);
    draw(last);
    assert_true(same(first, last));
    crowd_free(c);
    make_remove(folder);
}

/* ---- what is refused ---- */

static void expect_refused(struct job *j, int code, const char *where, const char *text)
{
    struct cn_engine_cb cb = {.ctx = NULL};
    struct cn_err err = CN_ERR_INIT;

    assert_int_equal(cn_engine_begin(j->crowd->e, &j->spec, &cb, &err), code);
    assert_string_equal(err.where, where);
    if (strstr(err.msg, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, err.msg);
}

static void what_cannot_be_used_is_told(void **state)
{
    static const struct {
        const char *prompt, *text;
        int code;
    } tags[] = {
        {"<lora:nobody:1>", "no adapter \"nobody\"", CN_ENOTFOUND},
        {"<lora:locon:much>", "\"much\" of a tag is no number", CN_EINVAL},
        {"<lora:locon:1:lbw=1,2>", "12, 17, 20 or 26", CN_EINVAL},
        {"<lora:locon:1:start=5>", "\"start=\" of a tag", CN_EINVAL},
        {"<hypernet:x:1>", "tags <hypernet:...>", CN_EINVAL},
    };
    struct crowd *c = open_crowd(0);
    struct job *j = add_drawing(c), *other = add_drawing(c), *plain = add_drawing(c);

    (void)state;
    add_adapter(j, "nobody", 1);
    expect_refused(j, CN_ENOTFOUND, "/adapters/0/name", "there is no adapter \"nobody\"");
    add_adapter(other, "locon", 1);
    free(other->spec.model);
    other->spec.model = cn_xstrdup("tiny2");
    expect_refused(other, CN_EINVAL, "/adapters/0/name", "fit this model");
    for (size_t i = 0; i < CN_LEN(tags); i++) {
        struct job *t = &c->job[0];

        while (t->spec.n_adapters > 0)
            free(t->spec.adapter[--t->spec.n_adapters].name);
        set_prompt(t, tags[i].prompt);
        expect_refused(t, tags[i].code, "/prompt", tags[i].text);
    }
    free(plain->spec.prompt);
    plain->spec.prompt = cn_xstrdup("<lora:nobody:1>"); /* as it stands: there are no tags */
    draw(plain);
    crowd_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neighbours_with_other_adapters_change_nothing),
        cmocka_unit_test(jobs_with_different_loras_share_steps),
        cmocka_unit_test(rows_do_what_an_overlay_does),
        cmocka_unit_test(rows_and_overlays_meet),
        cmocka_unit_test(jobs_with_the_same_adapters_share_steps),
        cmocka_unit_test(tags_say_what_the_list_says),
        cmocka_unit_test(the_base_is_as_before),
        cmocka_unit_test(what_cannot_be_used_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
