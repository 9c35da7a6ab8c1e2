/* image: control maps of another size, and straight lines, against OpenCV's results. */
#include "base/base.h"
#include "image/annotate.h"
#include "image/map_fit.h"
#include "no_memory.h"
#include "picture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum map_kind {
    MAP_PHOTOGRAPH,
    MAP_GREY,
    MAP_FEW_COLOURS,
    MAP_SHAPES,
    MAP_EDGES,
    MAP_RED_EDGES,
    MAP_HOLES
};

#include "golden_maps.h"

enum { W = 97, H = 61 };

static void edges_of_picture(uint8_t *edges)
{
    struct cn_image px = picture(W, H, 3);

    assert_int_equal(cn_canny(px.px, W, H, 3, 30, 60, false, edges), CN_OK);
    cn_image_release(&px);
}

static void paint(enum map_kind kind, const uint8_t *from, uint8_t edge, uint8_t *to)
{
    uint8_t grey = from[1], shape = from[0] > 127 && from[1] > 127 && from[2] > 127 ? 255 : 0;

    memcpy(to, from, 3);
    if (kind == MAP_GREY)
        memset(to, grey, 3);
    if (kind == MAP_FEW_COLOURS)
        for (int k = 0; k < 3; k++)
            to[k] = from[k] / 64 * 64;
    if (kind == MAP_SHAPES)
        memset(to, shape, 3);
    if (kind == MAP_EDGES || kind == MAP_RED_EDGES)
        memset(to, edge, 3);
    if (kind == MAP_RED_EDGES)
        to[1] = to[2] = 0;
    if (kind == MAP_HOLES)
        to[3] = grey > 200 ? 0 : 255;
}

static struct cn_image map_of(enum map_kind kind)
{
    struct cn_image px = picture(W, H, 3), map;
    uint8_t edges[W * H];

    edges_of_picture(edges);
    assert_int_equal(cn_image_init(&map, W, H, kind == MAP_HOLES ? 4 : 3, NULL), CN_OK);
    for (size_t i = 0; i < W * H; i++)
        paint(kind, px.px + 3 * i, edges[i], map.px + (size_t)map.c * i);
    cn_image_release(&px);
    return map;
}

static void maps_equal_the_extensions(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_LEN(golden_maps); i++) {
        struct cn_image map = map_of(golden_maps[i].kind), out;

        assert_int_equal(cn_map_fit(&map, golden_maps[i].w, golden_maps[i].h, golden_maps[i].mode,
                                    &out, NULL),
                         CN_OK);
        if (image_hash(&out) != golden_maps[i].hash)
            fail_msg("row %zu differs: kind %d, mode %d, %dx%d", i, (int)golden_maps[i].kind,
                     (int)golden_maps[i].mode, golden_maps[i].w, golden_maps[i].h);
        cn_image_release(&out);
        cn_image_release(&map);
    }
}

static void straight_lines_equal_opencv(void **state)
{
    uint8_t edges[W * H], found[W * H];
    struct cn_image img = {W, H, 1, found};

    (void)state;
    edges_of_picture(edges);
    for (size_t i = 0; i < CN_LEN(golden_hough); i++) {
        assert_int_equal(cn_hough_lines(edges, W, H, golden_hough[i].threshold,
                                        golden_hough[i].min_length, golden_hough[i].max_gap, found),
                         CN_OK);
        if (image_hash(&img) != golden_hough[i].hash)
            fail_msg("row %zu differs", i);
    }
}

/* Every allocation fails once: an error, and nothing is left behind. */
static void no_memory_is_an_error(void **state)
{
    struct cn_image map = map_of(MAP_EDGES), out;
    int failed = 0;

    (void)state;
    for (int n = 0;; n++) {
        fail_allocation(n);
        int rc = cn_map_fit(&map, 64, 50, CN_PAD, &out, NULL);
        fail_allocation(-1);
        if (rc == CN_OK)
            break;
        assert_int_equal(rc, CN_ENOMEM);
        failed++;
    }
    assert_true(failed > 5);
    cn_image_release(&out);
    cn_image_release(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_equal_the_extensions),
        cmocka_unit_test(straight_lines_equal_opencv),
        cmocka_unit_test(no_memory_is_an_error),
    };

    return cmocka_run_group_tests_name("maps", tests, NULL, NULL);
}
