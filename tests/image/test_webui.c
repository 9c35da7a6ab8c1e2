/* image: the picture to be painted over, and its mask, as the web UI prepares them. */
#include "base/base.h"
#include "image/webui_fit.h"
#include "golden_webui.h"
#include "no_memory.h"
#include "picture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

enum { W = 97, H = 61 };

static struct cn_image mask(void)
{
    struct cn_image m;

    assert_int_equal(cn_image_init(&m, W, H, 1, NULL), CN_OK);
    for (int i = 0; i < W * H; i++)
        m.px[i] = i / W >= 12 && i / W < 40 && i % W >= 30 && i % W < 71 ? 255 : 0;
    return m;
}

static void pictures_get_their_size(void **state)
{
    struct cn_image img = picture(W, H, 3), out;

    (void)state;
    for (size_t i = 0; i < CN_LEN(golden_fit); i++) {
        assert_int_equal(cn_webui_fit(&img, golden_fit[i].w, golden_fit[i].h, golden_fit[i].mode,
                                      &out, NULL),
                         CN_OK);
        if (image_hash(&out) != golden_fit[i].hash)
            fail_msg("row %zu differs", i);
        cn_image_release(&out);
    }
    cn_image_release(&img);
}

static void masks_are_softened_and_filled(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_LEN(golden_fill); i++) {
        struct cn_image img = picture(W, H, 3), m = mask();

        assert_int_equal(cn_webui_blur(&m, golden_fill[i].sigma, golden_fill[i].sigma, NULL),
                         CN_OK);
        if (image_hash(&m) != golden_fill[i].mask)
            fail_msg("the mask of row %zu differs", i);
        assert_int_equal(cn_webui_fill(&img, &m, NULL), CN_OK);
        if (image_hash(&img) != golden_fill[i].filled)
            fail_msg("the picture of row %zu differs", i);
        cn_image_release(&m);
        cn_image_release(&img);
    }
}

static void parts_lie_around_the_mask(void **state)
{
    struct cn_image m = mask();
    struct cn_region r;

    (void)state;
    for (size_t i = 0; i < CN_LEN(golden_region); i++) {
        const int *part = golden_region[i].part;

        assert_true(cn_webui_region(&m, golden_region[i].padding, golden_region[i].w,
                                    golden_region[i].h, &r));
        if (r.x != part[0] || r.y != part[1] || r.w != part[2] || r.h != part[3])
            fail_msg("row %zu: %d %d %d %d", i, r.x, r.y, r.w, r.h);
    }
    memset(m.px, 0, cn_image_bytes(&m));
    assert_false(cn_webui_region(&m, 8, 64, 64, &r));
    cn_image_release(&m);
}

static void no_memory_is_an_error(void **state)
{
    struct cn_image img = picture(W, H, 3), m = mask(), out;
    int rc = CN_ENOMEM;

    (void)state;
    for (int n = 0; rc != CN_OK; n++) {
        assert_int_equal(rc, CN_ENOMEM);
        fail_allocation(n);
        rc = cn_webui_fit(&img, 40, 128, CN_PAD, &out, NULL);
    }
    cn_image_release(&out);
    for (int n = 0; n < 2; n++) {
        fail_allocation(n);
        assert_int_equal(cn_webui_blur(&m, 2, 0, NULL), CN_ENOMEM);
        fail_allocation(n);
        assert_int_equal(cn_webui_fill(&img, &m, NULL), CN_ENOMEM);
    }
    fail_allocation(-1);
    cn_image_release(&m);
    cn_image_release(&img);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_get_their_size),
        cmocka_unit_test(masks_are_softened_and_filled),
        cmocka_unit_test(parts_lie_around_the_mask),
        cmocka_unit_test(no_memory_is_an_error),
    };

    return cmocka_run_group_tests_name("webui", tests, NULL, NULL);
}
