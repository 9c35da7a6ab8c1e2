/* base: warnings are few, one line each, once, and survive as text; and what a description warns
 * of. */
#include "base/base.h"
#include "base/mem.h"
#include "base/warnings.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void the_list_is_bounded_and_has_no_doubles(void **state)
{
    struct cn_warnings w = {0};
    char where[32], *text;

    (void)state;
    assert_null(cn_warnings_write(&w));
    cn_warnings_add(&w, CN_WARN_NO_EFFECT, "/eta", "first");
    cn_warnings_add(&w, CN_WARN_NO_EFFECT, "/eta", "second");
    cn_warnings_add(&w, CN_WARN_REDUCED, "/eta", "another code");
    assert_int_equal(w.n, 2);
    assert_string_equal(w.item[0].text, "first");
    for (int i = 0; i < 100; i++) {
        snprintf(where, sizeof(where), "/%d", i);
        cn_warnings_add(&w, CN_WARN_NO_EFFECT, where, "%d", i);
    }
    assert_int_equal(w.n, CN_MAX_WARNINGS);
    text = cn_warnings_write(&w);
    free(text);
    cn_warnings_release(&w);
    assert_true(w.n == 0 && w.item == NULL);
    cn_warnings_release(&w);
}

static void a_text_is_one_line_of_whole_characters(void **state)
{
    struct cn_warnings w = {0};
    char fill[CN_WARNING_TEXT];

    (void)state;
    memset(fill, 'x', sizeof(fill) - 2); /* the next character has two bytes, and there is one */
    fill[sizeof(fill) - 2] = '\0';
    cn_warnings_add(&w, CN_WARN_NO_EFFECT, "/a\tb", "%s\xc3\xbc", fill);
    cn_warnings_add(&w, CN_WARN_NO_EFFECT, "/b", "a\nb\x7f\xff");
    assert_string_equal(w.item[0].where, "/a b");
    assert_string_equal(w.item[0].text, fill);
    assert_string_equal(w.item[1].text, "a b ");
    cn_warnings_release(&w);
}

static void what_was_written_is_read(void **state)
{
    static const char junk[] = "\n\t\nprompt-truncated\n"
                               "nosuch\t/x\ttext\n"
                               "no-effect\t/only-two\n"
                               "no-effect\t/good\ta\tb\n"
                               "no-effect\t/uncut\tno end";
    struct cn_warnings w = {0}, again = {0};
    char *text;

    (void)state;
    cn_warnings_add(&w, CN_WARN_PROMPT_TRUNCATED, "/prompt", "longer than %d", 77);
    cn_warnings_add(&w, CN_WARN_NO_EFFECT, "", "\xc3\xbc");
    text = cn_warnings_write(&w);
    assert_string_equal(text, "prompt-truncated\t/prompt\tlonger than 77\nno-effect\t\t\xc3\xbc\n");
    cn_warnings_read(&again, text);
    assert_int_equal(again.n, 2);
    assert_memory_equal(again.item, w.item, 2 * sizeof(*w.item));
    cn_warnings_read(&again, text);
    cn_warnings_read(&again, NULL);
    assert_int_equal(again.n, 2);
    cn_warnings_read(&again, junk);
    assert_int_equal(again.n, 3);
    assert_string_equal(again.item[2].where, "/good");
    assert_string_equal(again.item[2].text, "a b");
    free(text);
    cn_warnings_release(&w);
    cn_warnings_add_all(&w, &again);
    assert_int_equal(w.n, 3);
    cn_warnings_release(&w);
    cn_warnings_release(&again);
}

/* ---- what a description warns of ---- */

static void nothing(struct cn_spec *s)
{
    (void)s;
}

static void negative(struct cn_spec *s)
{
    free(s->negative_prompt);
    s->negative_prompt = cn_xstrdup("blurry");
}

static void negative_without_guidance(struct cn_spec *s)
{
    negative(s);
    s->guidance_scale = 1;
}

static void rescaling(struct cn_spec *s)
{
    s->guidance_rescale = 0.7;
}

static void rescaling_without_guidance(struct cn_spec *s)
{
    rescaling(s);
    s->guidance_scale = 1;
}

static void eta_of_ddim(struct cn_spec *s)
{
    s->sampler = CN_DDIM;
    s->eta = 0.5;
}

static void eta_of_another(struct cn_spec *s)
{
    s->eta = 0.5;
}

static void denoise_of_nothing(struct cn_spec *s)
{
    s->denoise = 0.5;
}

static void denoise_of_an_image(struct cn_spec *s)
{
    s->denoise = 0.5;
    s->init_image.len = 1;
}

static void quality_of_png(struct cn_spec *s)
{
    s->quality = 50;
}

static void quality_of_jpeg(struct cn_spec *s)
{
    s->quality = 50;
    s->format = CN_JPEG;
}

static void a_control(struct cn_spec *s)
{
    cn_spec_add_control(s);
}

static void a_control_of_strength_0(struct cn_spec *s)
{
    cn_spec_add_control(s);
    cn_spec_add_control(s)->strength = 0;
}

/* The last step of 20 is 19/20. */
static void a_window_without_a_step(struct cn_spec *s)
{
    cn_spec_add_control(s)->start = 0.96;
}

static void a_window_between_steps(struct cn_spec *s)
{
    struct cn_spec_control *c = cn_spec_add_control(s);

    c->start = 0.51;
    c->end = 0.54;
}

static void fields_without_effect_are_told(void **state)
{
    static const struct {
        void (*change)(struct cn_spec *s);
        const char *where; /* NULL: no warning */
    } rows[] = {{nothing, NULL},
                {negative, NULL},
                {negative_without_guidance, "/negative_prompt"},
                {rescaling, NULL},
                {rescaling_without_guidance, "/guidance_rescale"},
                {eta_of_ddim, NULL},
                {eta_of_another, "/eta"},
                {denoise_of_nothing, "/denoise"},
                {denoise_of_an_image, NULL},
                {quality_of_png, "/quality"},
                {quality_of_jpeg, NULL},
                {a_control, NULL},
                {a_control_of_strength_0, "/controls/1/strength"},
                {a_window_without_a_step, "/controls/0/start"},
                {a_window_between_steps, "/controls/0/start"}};

    (void)state;
    for (size_t i = 0; i < CN_LEN(rows); i++) {
        struct cn_warnings w = {0};
        struct cn_spec s;

        cn_spec_init(&s);
        rows[i].change(&s);
        cn_spec_warn(&s, &w);
        assert_int_equal(w.n, rows[i].where != NULL);
        if (w.n > 0) {
            assert_int_equal(w.item[0].code, CN_WARN_NO_EFFECT);
            assert_string_equal(w.item[0].where, rows[i].where);
        }
        cn_warnings_release(&w);
        cn_spec_release(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_list_is_bounded_and_has_no_doubles),
        cmocka_unit_test(a_text_is_one_line_of_whole_characters),
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(fields_without_effect_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
