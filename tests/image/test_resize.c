/* image: resampling against Pillow's results, fitting, and number formats. */
#include "base/base.h"
#include "image/convert.h"
#include "image/resize.h"
#include "golden.h"
#include "no_memory.h"
#include "picture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void resize_equals_pillow(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_LEN(golden_resize); i++) {
        struct cn_image img = picture(97, 61, golden_resize[i].c), out;

        assert_int_equal(cn_image_resize(&img, golden_resize[i].w, golden_resize[i].h,
                                         golden_resize[i].filter, &out, NULL),
                         CN_OK);
        if (image_hash(&out) != golden_resize[i].hash)
            fail_msg("row %zu differs", i);
        cn_image_release(&out);
        cn_image_release(&img);
    }
}

static struct cn_image fit(const struct cn_image *img, int w, int h, struct cn_fit how)
{
    struct cn_image out;

    assert_int_equal(cn_image_fit(img, w, h, &how, &out, NULL), CN_OK);
    assert_int_equal(out.w, w);
    assert_int_equal(out.h, h);
    assert_int_equal(out.c, img->c);
    return out;
}

/* A crop is what a resize to the covering size shows in its middle. */
static void crop_is_the_middle_of_a_resize(void **state)
{
    struct cn_image img = picture(97, 61, 3), whole, out;

    (void)state;
    for (int f = 0; f < CN_FILTER_COUNT; f++) {
        out = fit(&img, 40, 50, (struct cn_fit){.mode = CN_CROP, .filter = (enum cn_filter)f});
        assert_int_equal(cn_image_resize(&img, 80, 50, (enum cn_filter)f, &whole, NULL), CN_OK);
        for (int y = 0; y < 50; y++)
            assert_memory_equal(out.px + y * 120, whole.px + y * 240 + 60, 120);
        cn_image_release(&whole);
        cn_image_release(&out);
    }
    cn_image_release(&img);
}

static void pad_surrounds_with_its_colour(void **state)
{
    struct cn_image img = picture(60, 20, 3), whole, out;

    (void)state;
    out = fit(&img, 30, 30, (struct cn_fit){.mode = CN_PAD, .filter = CN_BOX, .pad = {1, 2, 3}});
    assert_int_equal(cn_image_resize(&img, 30, 10, CN_BOX, &whole, NULL), CN_OK);
    assert_memory_equal(out.px + 10 * 90, whole.px, 900);
    for (int i = 0; i < 300; i++) {
        assert_memory_equal(out.px + 3 * i, "\1\2\3", 3);
        assert_memory_equal(out.px + 20 * 90 + 3 * i, "\1\2\3", 3);
    }
    cn_image_release(&whole);
    cn_image_release(&out);
    cn_image_release(&img);
}

/* A crop of a strip must not build the covering picture, which would be 2048 x 2048000 here. */
static void extreme_shapes_stay_small(void **state)
{
    struct cn_image strip = picture(2, 2000, 4), dot = picture(1, 1, 4), out;
    const uint8_t clear[4] = {0};

    (void)state;
    for (int f = 0; f < CN_FILTER_COUNT; f++) {
        struct cn_fit how = {.mode = CN_CROP, .filter = (enum cn_filter)f};

        out = fit(&strip, 512, 512, how);
        cn_image_release(&out);
        how.mode = CN_PAD;
        out = fit(&strip, 512, 100, how);
        assert_memory_equal(out.px, clear, 4);
        cn_image_release(&out);
        how.mode = CN_STRETCH;
        out = fit(&dot, 300, 2, how);
        assert_memory_equal(out.px, out.px + 4 * 599, 4);
        cn_image_release(&out);
    }
    assert_int_equal(cn_image_fit(&dot, 0, 5, &(struct cn_fit)CN_FIT_DEFAULTS, &out, NULL),
                     CN_EINVAL);
    assert_int_equal(cn_image_resize(&dot, 5, 65536, CN_BOX, &out, NULL), CN_EINVAL);
    cn_image_release(&strip);
    cn_image_release(&dot);
}

static void crop_without_scaling_keeps_every_bit(void **state)
{
    struct cn_image img = picture(30, 10, 4), out;

    (void)state;
    out = fit(&img, 10, 10, (struct cn_fit){.mode = CN_CROP, .filter = CN_LANCZOS});
    for (int y = 0; y < 10; y++)
        assert_memory_equal(out.px + 40 * y, img.px + 120 * y + 40, 40);
    cn_image_release(&out);
    cn_image_release(&img);
}

static void grey_equals_pillow(void **state)
{
    struct cn_image img = picture(97, 61, 3), out;

    (void)state;
    assert_int_equal(cn_image_to_grey(&img, &out, NULL), CN_OK);
    assert_true(image_hash(&out) == GOLDEN_GREY_PILLOW);
    cn_image_release(&out);
    cn_image_release(&img);
}

static void alpha_is_blended(void **state)
{
    uint8_t px[16] = {10, 20, 30, 255, 10, 20, 30, 0, 100, 0, 255, 128, 255, 255, 255, 77};
    struct cn_image img = {.w = 4, .h = 1, .c = 4, .px = px}, out;

    (void)state;
    assert_int_equal(cn_image_to_rgb(&img, 255, &out, NULL), CN_OK);
    assert_memory_equal(out.px, "\12\24\36\377\377\377\261\177\377\377\377\377", 12);
    cn_image_release(&out);
    assert_int_equal(cn_image_to_rgb(&img, 0, &out, NULL), CN_OK);
    assert_memory_equal(out.px, "\12\24\36\0\0\0\62\0\200\115\115\115", 12);
    cn_image_release(&out);
    img = (struct cn_image){.w = 2, .h = 1, .c = 1, .px = px};
    assert_int_equal(cn_image_to_rgb(&img, 0, &out, NULL), CN_OK);
    assert_memory_equal(out.px, "\12\12\12\24\24\24", 6);
    cn_image_release(&out);
}

static void planar_floats_round_trip(void **state)
{
    struct cn_image img = picture(16, 16, 3), back;
    float planar[3 * 256];

    (void)state;
    for (int i = 0; i < 768; i++)
        img.px[i] = (uint8_t)i;
    cn_image_to_planar(&img, planar, 2 / 255.0f, -1);
    assert_true(planar[0] == -1.0f && fabsf(planar[256] - (2 / 255.0f - 1)) < 1e-6f);
    assert_int_equal(cn_image_from_planar(planar, 16, 16, &back, NULL, NULL), CN_OK);
    assert_memory_equal(back.px, img.px, 768);
    cn_image_release(&back);
    cn_image_release(&img);
}

/* Half to even, clamped, and no undefined conversion for what a broken model may produce. */
static void planar_floats_are_rounded_and_clamped(void **state)
{
    const float planar[12] = {-0.999f, -0.4f, /* 76.5 */
                              -7,      7,     NAN, INFINITY, -INFINITY, 0, 1, -1, 0.9999f, 1e30f};
    const uint8_t expect[4][3] = {{0, 0, 255}, {76, 255, 0}, {0, 0, 255}, {255, 128, 255}};
    struct cn_image img;
    size_t bad;

    (void)state;
    assert_int_equal(cn_image_from_planar(planar, 4, 1, &img, &bad, NULL), CN_OK);
    assert_memory_equal(img.px, expect, 12);
    assert_int_equal(bad, 3);
    cn_image_release(&img);
}

/* The way of vectors against one float at a time with lrintf(): around every tie, and everywhere.
 */
static void planar_floats_are_the_same_in_vectors(void **state)
{
    enum { W = 1021, H = 37, N = W * H };
    float *planar = malloc(3 * N * sizeof(*planar));
    struct cn_image img;
    size_t bad, expect = 0;

    (void)state;
    for (int round = 0; round < 4; round++) {
        for (uint32_t i = 0; i < 3 * N; i++) {
            uint32_t bits = (i + (uint32_t)round * 3 * N) * 2654435761u;

            memcpy(&planar[i], &bits, 4);
            if (round < 3) { /* k + 0.5 of 255, and the floats beside it */
                planar[i] = ((float)(i % 256) + 0.5f) / 255 * 2 - 1;
                for (uint32_t k = i / 256 % 9; k > 0; k--)
                    planar[i] = nextafterf(planar[i], round == 1 ? 2 : -2);
            }
            expect += round == 3 && !isfinite(planar[i]);
        }
        assert_int_equal(cn_image_from_planar(planar, W, H, &img, &bad, NULL), CN_OK);
        for (size_t i = 0; i < N; i++)
            for (size_t k = 0; k < 3; k++) {
                float v = planar[k * N + i] * 0.5f + 0.5f;

                v = !(v > 0) ? 0 : v < 1 ? v : 1;
                assert_int_equal(img.px[3 * i + k], lrintf(v * 255));
            }
        cn_image_release(&img);
    }
    assert_true(expect > 100);
    assert_int_equal(bad, expect);
    free(planar);
}

static int all_conversions(const struct cn_image *img, int mode, enum cn_filter filter,
                           struct cn_err *err)
{
    struct cn_image fitted = CN_IMAGE_NONE, rgb = CN_IMAGE_NONE, grey = CN_IMAGE_NONE;
    const struct cn_fit how = {.mode = (enum cn_resize)mode, .filter = filter};
    int rc = cn_image_fit(img, 25, 60, &how, &fitted, err);

    if (rc == CN_OK)
        rc = cn_image_to_rgb(&fitted, 0, &rgb, err);
    if (rc == CN_OK)
        rc = cn_image_to_grey(&rgb, &grey, err);
    assert_int_equal(grey.px != NULL, rc == CN_OK);
    cn_image_release(&fitted);
    cn_image_release(&rgb);
    cn_image_release(&grey);
    return rc;
}

static void conversions_survive_without_memory(void **state)
{
    struct cn_image img = picture(50, 40, 4);

    (void)state;
    for (int i = 0; i < CN_RESIZE_COUNT * CN_FILTER_COUNT; i++)
        for (int n = 0, rc = CN_ENOMEM; rc != CN_OK; n++) {
            struct cn_err err = CN_ERR_INIT;

            assert_true(n < 30);
            fail_allocation(n);
            rc = all_conversions(&img, i % CN_RESIZE_COUNT, (enum cn_filter)(i / CN_RESIZE_COUNT),
                                 &err);
            fail_allocation(-1);
            assert_true(rc == CN_OK || (rc == CN_ENOMEM && err.code == CN_ENOMEM));
        }
    cn_image_release(&img);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resize_equals_pillow),
        cmocka_unit_test(crop_is_the_middle_of_a_resize),
        cmocka_unit_test(pad_surrounds_with_its_colour),
        cmocka_unit_test(extreme_shapes_stay_small),
        cmocka_unit_test(crop_without_scaling_keeps_every_bit),
        cmocka_unit_test(grey_equals_pillow),
        cmocka_unit_test(alpha_is_blended),
        cmocka_unit_test(planar_floats_round_trip),
        cmocka_unit_test(planar_floats_are_rounded_and_clamped),
        cmocka_unit_test(planar_floats_are_the_same_in_vectors),
        cmocka_unit_test(conversions_survive_without_memory),
    };

    return cmocka_run_group_tests_name("image/resize", tests, NULL, NULL);
}
