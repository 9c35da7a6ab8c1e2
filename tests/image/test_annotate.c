/* image: annotators against OpenCV's results, and their table. */
#include "base/base.h"
#include "image/annotate.h"
#include "image/convert.h"
#include "image/map_fit.h"
#include "golden.h"
#include "no_memory.h"
#include "picture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Checks that all channels agree, and gives the hash of one. */
static uint64_t map_hash(const struct cn_image *map)
{
    size_t n = (size_t)map->w * (size_t)map->h;
    uint8_t *one = malloc(n);
    uint64_t h;

    assert_int_equal(map->c, 3);
    for (size_t i = 0; i < n; i++) {
        one[i] = map->px[3 * i];
        assert_int_equal(map->px[3 * i + 1], one[i]);
        assert_int_equal(map->px[3 * i + 2], one[i]);
    }
    h = fnv(one, n);
    free(one);
    return h;
}

static struct cn_image annotate(const char *name, const struct cn_image *src)
{
    struct cn_image map;
    struct cn_err err = CN_ERR_INIT;

    if (cn_annotate(name, NULL, src, &map, &err) < 0)
        fail_msg("%s", err.msg);
    assert_int_equal(map.w, src->w);
    assert_int_equal(map.h, src->h);
    return map;
}

static void canny_equals_opencv(void **state)
{
    struct cn_image img = picture(97, 61, 3);
    uint8_t edges[97 * 61];

    (void)state;
    assert_true(image_hash(&img) == GOLDEN_PICTURE);
    for (size_t i = 0; i < CN_LEN(golden_canny); i++) {
        assert_int_equal(cn_canny(img.px, 97, 61, 3, golden_canny[i].low, golden_canny[i].high,
                                  golden_canny[i].l2, edges),
                         CN_OK);
        assert_true(fnv(edges, sizeof(edges)) == golden_canny[i].hash);
    }
    struct cn_image map = annotate("canny", &img);
    assert_true(map_hash(&map) == golden_canny[0].hash);
    cn_image_release(&map);
    cn_image_release(&img);
}

static void pixelwise_annotators_equal_opencv(void **state)
{
    static const struct {
        const char *name;
        uint64_t hash;
    } row[] = {
        {"grey", GOLDEN_GREY_CV}, {"binary", GOLDEN_BINARY}, {"threshold", GOLDEN_THRESHOLD}};
    struct cn_image img = picture(97, 61, 3), map;

    (void)state;
    for (size_t i = 0; i < CN_LEN(row); i++) {
        map = annotate(row[i].name, &img);
        assert_true(map_hash(&map) == row[i].hash);
        cn_image_release(&map);
    }
    map = annotate("none", &img);
    assert_true(image_hash(&map) == GOLDEN_PICTURE);
    cn_image_release(&map);
    map = annotate("invert", &img);
    for (size_t i = 0; i < cn_image_bytes(&img); i++)
        assert_int_equal(map.px[i] + img.px[i], 255);
    cn_image_release(&map);
    cn_image_release(&img);
}

/* Floats: OpenCV may fuse multiply and add, which moves a value across a threshold once in millions
 * of pixels (measured: 1 of 8.9 M for scribble; lineart off by one level in 263 of 8.9 M). */
static void line_annotators_agree_with_opencv(void **state)
{
    struct cn_image img = picture(97, 61, 3), map;
    int white = 0, sum = 0;

    (void)state;
    map = annotate("scribble", &img);
    for (size_t i = 0; i < 97 * 61; i++)
        white += map.px[3 * i] == 255;
    assert_in_range(white, GOLDEN_SCRIBBLE_WHITE - 1, GOLDEN_SCRIBBLE_WHITE + 1);
    cn_image_release(&map);
    map = annotate("lineart_standard", &img);
    for (size_t i = 0; i < 97 * 61; i++)
        sum += map.px[3 * i];
    assert_in_range(sum, GOLDEN_LINEART_SUM - 5, GOLDEN_LINEART_SUM + 5);
    cn_image_release(&map);
    cn_image_release(&img);
}

/* Sizes below every kernel: borders are mirrored more than once. */
static void tiny_and_narrow_pictures_work(void **state)
{
    static const int side[] = {1, 2, 3, 7, 60};

    (void)state;
    for (size_t i = 0; i < CN_LEN(side); i++)
        for (size_t j = 0; j < CN_LEN(side); j++)
            for (int a = 0; a < cn_n_annotators; a++) {
                struct cn_image img = picture(side[i], side[j], a % 2 ? 3 : 4), map;

                map = annotate(cn_annotators[a].name, &img);
                cn_image_release(&map);
                cn_image_release(&img);
            }
}

static void flat_pictures_have_no_lines(void **state)
{
    static const char *const name[] = {"canny", "scribble", "lineart_standard"};
    struct cn_image img = picture(40, 50, 1), map;

    (void)state;
    memset(img.px, 200, cn_image_bytes(&img));
    for (size_t i = 0; i < CN_LEN(name); i++) {
        map = annotate(name[i], &img);
        for (size_t j = 0; j < cn_image_bytes(&map); j++)
            assert_int_equal(map.px[j], 0);
        cn_image_release(&map);
    }
    cn_image_release(&img);
}

/* The strongest line there is: the 8-bit product of the original would wrap inside it. */
static void scribble_keeps_the_strongest_lines(void **state)
{
    uint8_t px[64 * 64 * 3], out[64 * 64];

    (void)state;
    memset(px, 255, sizeof(px));
    for (int y = 0; y < 64; y++)
        for (int x = 30; x < 36; x++)
            memset(px + 3 * (64 * y + x), 0, 3);
    assert_int_equal(cn_scribble_xdog(px, 64, 64, 32, out), CN_OK);
    for (int y = 0; y < 64; y++)
        for (int x = 30; x < 36; x++)
            assert_int_equal(out[64 * y + x], 255);
}

static void otsu_separates_two_classes(void **state)
{
    uint8_t grey[100];

    (void)state;
    for (int i = 0; i < 100; i++)
        grey[i] = (uint8_t)(i < 40 ? 50 + i % 5 : 180 + i % 7);
    assert_in_range(cn_otsu(grey, 100), 54, 179);
    memset(grey, 9, sizeof(grey));
    assert_int_equal(cn_otsu(grey, 100), 0);
}

static void parameters_are_checked(void **state)
{
    const struct cn_annotator *canny = cn_annotator_find("canny");
    struct cn_annotator_params p;
    struct cn_err err = CN_ERR_INIT;
    struct cn_image img = picture(8, 8, 3), map;

    (void)state;
    cn_annotator_defaults(canny, &p);
    assert_true(p.v[0] == 100 && p.v[1] == 200 && p.v[2] == 0);
    assert_int_equal(cn_annotator_set(canny, &p, "low", 50, &err), CN_OK);
    assert_true(p.v[0] == 50);
    assert_int_equal(cn_annotator_set(canny, &p, "low", -1, &err), CN_EINVAL);
    assert_string_equal(err.where, "/low");
    assert_int_equal(cn_annotator_set(canny, &p, "low", 0.5, NULL), CN_EINVAL);
    assert_int_equal(cn_annotator_set(canny, &p, "sigma", 1, NULL), CN_EINVAL);
    assert_true(p.v[0] == 50);
    p.v[2] = 7;
    assert_int_equal(cn_annotate("canny", &p, &img, &map, NULL), CN_EINVAL);
    assert_int_equal(cn_annotate("openpose", NULL, &img, &map, NULL), CN_ENOTFOUND);
    assert_null(cn_annotator_find(""));
    assert_int_equal(cn_canny(img.px, 8, 8, 5, 1, 2, false, img.px), CN_EINVAL);
    assert_int_equal(cn_scribble_xdog(img.px, 0, 8, 32, img.px), CN_EINVAL);
    cn_image_release(&img);
}

static void annotators_survive_without_memory(void **state)
{
    struct cn_image img = picture(20, 30, 4);

    (void)state;
    for (int a = 0; a < cn_n_annotators; a++)
        for (int n = 0, rc = CN_ENOMEM; rc != CN_OK; n++) {
            struct cn_image map = CN_IMAGE_NONE;
            struct cn_err err = CN_ERR_INIT;

            assert_true(n < 20);
            fail_allocation(n);
            rc = cn_annotate(cn_annotators[a].name, NULL, &img, &map, &err);
            fail_allocation(-1);
            assert_true(rc == CN_OK || (rc == CN_ENOMEM && err.code == CN_ENOMEM));
            assert_int_equal(map.px != NULL, rc == CN_OK);
            cn_image_release(&map);
        }
    cn_image_release(&img);
}

/* White lines on black, one pixel wide, every so many columns. */
static struct cn_image lines(int w, int h, int every)
{
    struct cn_image img;

    assert_int_equal(cn_image_init(&img, w, h, 3, NULL), CN_OK);
    for (size_t i = 0; i < cn_image_bytes(&img); i++)
        img.px[i] = (int)(i / 3) % w % every == every / 2 ? 255 : 0;
    return img;
}

static void thin_maps_keep_their_lines(void **state)
{
    struct cn_image large = lines(1024, 512, 128), map;

    (void)state;
    assert_true(cn_map_is_thin(&large));
    assert_int_equal(cn_map_fit(&large, 128, 64, CN_STRETCH, &map, NULL), CN_OK);
    for (int y = 2; y < 62; y++) {
        int white = 0;

        for (int x = 0; x < 128; x++) {
            uint8_t v = map.px[3 * (y * 128 + x)];

            assert_true(v == 0 || v == 255);
            white += v == 255;
        }
        assert_int_equal(white, 8);
    }
    cn_image_release(&map);
    assert_int_equal(cn_map_fit(&large, 256, 256, CN_PAD, &map, NULL), CN_OK);
    assert_int_equal(map.px[0], 0);
    assert_int_equal(cn_map_resolution(1024, 512, 256, 256, CN_PAD), 128);
    assert_int_equal(cn_map_resolution(1024, 512, 256, 256, CN_CROP), 256);
    cn_image_release(&map);
    cn_image_release(&large);
}

static void straight_lines_are_found(void **state)
{
    uint8_t edges[64 * 64] = {0}, found[64 * 64];

    (void)state;
    for (size_t i = 5; i < 60; i++)
        edges[i * 64 + 20] = 255;
    for (size_t i = 0; i < 12; i++) /* too short */
        edges[3 * 64 + 30 + i] = 255;
    assert_int_equal(cn_hough_lines(edges, 64, 64, 30, 30, 5, found), CN_OK);
    for (size_t i = 5; i < 60; i++)
        assert_int_equal(found[i * 64 + 20], 255);
    for (size_t i = 30; i < 42; i++)
        assert_int_equal(found[3 * 64 + i], 0);
}

/* What is transparent is missing; ControlNets are known by the ends of their names. */
static void inpaint_leaves_holes(void **state)
{
    uint8_t px[8] = {1, 2, 3, 255, 4, 5, 6, 100};
    static const uint8_t want[8] = {1, 2, 3, 255, 0, 0, 0, 0};
    struct cn_image img = {2, 1, 4, px}, map;

    (void)state;
    assert_int_equal(cn_annotate("inpaint", NULL, &img, &map, NULL), CN_OK);
    assert_int_equal(map.c, 4);
    assert_memory_equal(map.px, want, sizeof(want));
    cn_image_release(&map);
    assert_string_equal(cn_annotator_of_model("control_v11p_sd15_inpaint"), "inpaint");
    assert_string_equal(cn_annotator_of_model("emoji-canny"), "canny");
    assert_string_equal(cn_annotator_of_model("canny"), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(canny_equals_opencv),
        cmocka_unit_test(pixelwise_annotators_equal_opencv),
        cmocka_unit_test(line_annotators_agree_with_opencv),
        cmocka_unit_test(tiny_and_narrow_pictures_work),
        cmocka_unit_test(flat_pictures_have_no_lines),
        cmocka_unit_test(scribble_keeps_the_strongest_lines),
        cmocka_unit_test(otsu_separates_two_classes),
        cmocka_unit_test(parameters_are_checked),
        cmocka_unit_test(annotators_survive_without_memory),
        cmocka_unit_test(thin_maps_keep_their_lines),
        cmocka_unit_test(straight_lines_are_found),
        cmocka_unit_test(inpaint_leaves_holes),
    };

    return cmocka_run_group_tests_name("image/annotate", tests, NULL, NULL);
}
