/* Two passes over a picture: what clients are told, and how such jobs end. The pictures themselves
 * are held against the reference implementation by images-tiny.sh. */
#include "base/base.h"
#include "tests/engine/crowd.h"
#include "base/mem.h"
#include "diffusion/upscale.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct job *two_passes(struct crowd *c, uint64_t seed)
{
    struct job *j = add_job(c, seed);

    j->spec.hires.on = true;
    j->spec.steps = 4;
    j->spec.hires.steps = 3;
    j->spec.hires.strength = 0.5;
    return j;
}

static void steps_of_both_are_told(void **state)
{
    struct crowd *c = crowd_new();
    struct job *j = two_passes(c, 1);

    (void)state;
    j->spec.n = 2;
    begin(j);
    run_until_over(c);
    expect_ok(j);
    assert_int_equal(j->steps, 2 * (4 + 3));
    assert_int_equal(j->image[0].w, 2 * j->spec.width);
    assert_int_equal(j->image[1].h, 2 * j->spec.height);
    crowd_free(c);
}

/* What another way to enlarge says about the pictures in between must not be seen. */
static void a_picture_can_be_enlarged(void **state)
{
    static const enum cn_upscaler ways[] = {CN_UP_LATENT, CN_UP_LANCZOS};
    struct crowd *c = crowd_new();
    struct job *j[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        j[i] = two_passes(c, 1);
        j[i]->spec.n = 2;
        j[i]->spec.hires.upscaler = ways[i];
        begin(j[i]);
    }
    run_until_over(c);
    for (int i = 0; i < 2; i++) {
        expect_ok(j[i]);
        assert_int_equal(j[i]->images, 2);
        assert_int_equal(j[i]->steps, 2 * (4 + 3));
        assert_int_equal(j[i]->image[1].w, 2 * j[i]->spec.width);
    }
    assert_true(psnr(&j[0]->image[0], &j[1]->image[0]) < 40);
    crowd_free(c);
}

/* Its own sampler, prompt and guidance change the second pass; what it shares changes nothing. */
static void the_second_has_its_own(void **state)
{
    struct crowd *c = crowd_new();
    struct job *j[4];

    (void)state;
    for (int i = 0; i < 4; i++)
        j[i] = two_passes(c, 1);
    j[1]->spec.hires.sampler = (int)j[1]->spec.sampler;
    j[1]->spec.hires.prompt = cn_xstrdup(j[1]->spec.prompt);
    j[2]->spec.hires.sampler = CN_HEUN;
    j[3]->spec.hires.prompt = cn_xstrdup("something else");
    j[3]->spec.hires.has_guidance = true;
    j[3]->spec.hires.guidance_scale = 3;
    for (int i = 0; i < 4; i++)
        begin(j[i]);
    run_until_over(c);
    for (int i = 0; i < 4; i++)
        expect_ok(j[i]);
    assert_int_equal(j[2]->steps, 4 + 2 * 3 - 1);
    assert_true(psnr(&j[0]->image[0], &j[1]->image[0]) > 60);
    assert_true(psnr(&j[0]->image[0], &j[2]->image[0]) < 50);
    assert_true(psnr(&j[0]->image[0], &j[3]->image[0]) < 50);
    crowd_free(c);
}

/* A picture does not depend on who draws beside it, and whoever draws beside goes on. */
static void neighbours_change_nothing(void **state)
{
    struct crowd *alone = crowd_new(), *many = crowd_new();
    struct job *a = two_passes(alone, 7), *b;

    (void)state;
    begin(a);
    run_until_over(alone);
    expect_ok(a);
    fill_neighbours(many, 3);
    b = two_passes(many, 7);
    begin(b);
    run_until_over(many);
    for (int i = 0; i < many->n; i++)
        expect_ok(&many->job[i]);
    assert_true(psnr(&a->image[0], &b->image[0]) > 60);
    crowd_free(alone);
    crowd_free(many);
}

static void it_can_be_cancelled_in_either(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct crowd *c = crowd_new();
        struct job *j = two_passes(c, 1);

        j->cancel_at = i % 2 == 0 ? 2 : 5;
        j->spec.hires.upscaler = i < 2 ? CN_UP_LATENT : CN_UP_LANCZOS;
        begin(j);
        run_until_over(c);
        assert_int_equal(j->rc, CN_ECANCELED);
        assert_int_equal(j->images, 0);
        crowd_free(c);
    }
}

static void what_the_second_lacks_is_told_at_the_beginning(void **state)
{
    struct crowd *c = crowd_new();
    struct job *j = two_passes(c, 1);
    struct cn_engine_cb cb = {NULL};
    struct cn_err err = CN_ERR_INIT;

    (void)state;
    j->spec.hires.width = j->spec.hires.height = 1 << 20;
    assert_int_equal(cn_engine_begin(c->e, &j->spec, &cb, &err), CN_ETOOBIG);
    assert_string_equal(err.where, "/hires");
    crowd_free(c);
}

static void latents_are_enlarged(void **state)
{
    const float from[2] = {0, 4};
    const struct cn_latent_size a = {1, 1, 2}, wide = {1, 1, 4}, tall = {1, 4, 2};
    const float linear[4] = {0, 1, 3, 4}, nearest[4] = {0, 0, 4, 4};
    float to[8];

    (void)state;
    cn_latent_upscale(CN_UP_LATENT, from, &a, to, &wide);
    assert_memory_equal(to, linear, sizeof(linear));
    cn_latent_upscale(CN_UP_LATENT_NEAREST, from, &a, to, &wide);
    assert_memory_equal(to, nearest, sizeof(nearest));
    cn_latent_upscale(CN_UP_LATENT_NEAREST, from, &a, to, &tall); /* 8 wide, the middle of it */
    for (int y = 0; y < 4; y++)
        assert_true(to[2 * y] == 0 && to[2 * y + 1] == 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_of_both_are_told),
        cmocka_unit_test(a_picture_can_be_enlarged),
        cmocka_unit_test(the_second_has_its_own),
        cmocka_unit_test(neighbours_change_nothing),
        cmocka_unit_test(it_can_be_cancelled_in_either),
        cmocka_unit_test(what_the_second_lacks_is_told_at_the_beginning),
        cmocka_unit_test(latents_are_enlarged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
