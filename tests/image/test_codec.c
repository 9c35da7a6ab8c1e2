/* image: decoders on a corpus of good and bad files, encoders, text, limits, no memory. */
#include "base/base.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "image/codec.h"
#include "corpus.h"
#include "no_memory.h"
#include "picture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct cn_buf load(const char *file)
{
    struct cn_buf b;
    struct cn_err err = CN_ERR_INIT;
    char *path = cn_xprintf("%s/%s", CN_CORPUS, file);

    cn_buf_init(&b, 1 << 20);
    if (cn_file_read(path, &b, &err) < 0)
        fail_msg("%s", err.msg);
    free(path);
    return b;
}

/* The slope that make_corpus.py draws; lossy files must come near it. */
static void assert_slope(const struct corpus_row *row, const struct cn_image *img)
{
    bool turned = img->w == 24;
    int w = turned ? img->h : img->w, h = turned ? img->w : img->h;
    long difference = 0;

    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) {
            int at = turned ? x * h + y : y * w + x;
            const uint8_t *px = img->px + at * img->c;
            const int slope[3] = {x * 255 / w, y * 255 / h, (x + y) * 255 / (w + h)};

            for (int k = 0; k < 3; k++)
                difference += abs(px[k] - (strncmp(row->file, "grey", 4) == 0 ? px[0] : slope[k]));
        }
    if (difference > 6L * w * h * 3)
        fail_msg("%s: mean difference %g", row->file, (double)difference / (w * h * 3));
}

/* The corpus stores turned pictures as they lie in the file, so all orientations but 1 and 5 are
 * checked on their own below. */
static bool is_mirrored(const char *file)
{
    return strncmp(file, "orientation", 11) == 0 && strchr("234678", file[11]) != NULL;
}

static void corpus_gives_what_its_table_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_LEN(corpus); i++) {
        const struct corpus_row *row = &corpus[i];
        struct cn_buf b = load(row->file);
        struct cn_err err = CN_ERR_INIT;
        struct cn_image img = CN_IMAGE_NONE;
        int rc = cn_image_decode(b.data, b.len, NULL, &img, &err);

        if (rc != row->code)
            fail_msg("%s: %s %s", row->file, cn_code_name(rc), err.msg);
        assert_int_equal(err.code, rc);
        assert_int_equal(img.w, row->w);
        assert_int_equal(img.h, row->h);
        assert_int_equal(img.c, row->c);
        if (rc == CN_OK && row->hash != 0 && image_hash(&img) != row->hash)
            fail_msg("%s: other pixels", row->file);
        if (rc == CN_OK && row->hash == 0 && !is_mirrored(row->file))
            assert_slope(row, &img);
        cn_image_release(&img);
        cn_buf_release(&b);
    }
}

static void info_agrees_with_decode(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_LEN(corpus); i++) {
        struct cn_buf b = load(corpus[i].file);
        struct cn_image_info info = {0};
        int rc = cn_image_info(b.data, b.len, NULL, &info, NULL);

        if (corpus[i].code == CN_OK) {
            assert_int_equal(rc, CN_OK);
            assert_int_equal(info.w, corpus[i].w);
            assert_int_equal(info.h, corpus[i].h);
            assert_int_equal(info.c, corpus[i].c);
            assert_true(strstr(corpus[i].file, info.format == CN_PNG    ? ".png"
                                               : info.format == CN_JPEG ? ".jpg"
                                                                        : ".webp") != NULL);
        }
        cn_buf_release(&b);
    }
}

/* Every proper beginning of every good file is refused; none gives half a picture. */
static void truncated_files_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_LEN(corpus); i++) {
        struct cn_buf b = load(corpus[i].file);
        size_t end = b.len;

        if (strncmp(corpus[i].file, "trailing-bytes", 14) == 0)
            end -= strlen("more bytes");
        for (size_t n = 0; corpus[i].code == CN_OK && n < end; n++) {
            struct cn_image img = CN_IMAGE_NONE;
            uint8_t *cut = malloc(n + 1); /* its own block: a sanitizer sees reads behind it */

            memcpy(cut, b.data, n);
            if (cn_image_decode(cut, n, NULL, &img, NULL) != CN_EFORMAT)
                fail_msg("%s cut to %zu of %zu bytes", corpus[i].file, n, end);
            assert_null(img.px);
            free(cut);
        }
        cn_buf_release(&b);
    }
}

/* The red slope tells left from right, the green one top from bottom. */
static void orientation_is_applied(void **state)
{
    /* pixel (1, 1) of the result: is red high, is green high; from 5 on red runs downwards */
    static const bool expect[9][2] = {[2] = {true, false}, [3] = {true, true}, [4] = {false, true},
                                      [6] = {false, true}, [7] = {true, true}, [8] = {true, false}};
    (void)state;
    for (int i = 1; i <= 8; i++) {
        char file[] = "orientation?.jpg";
        struct cn_image img;
        struct cn_buf b;
        const uint8_t *px;

        file[11] = (char)('0' + i);
        b = load(file);
        assert_int_equal(cn_image_decode(b.data, b.len, NULL, &img, NULL), CN_OK);
        px = img.px + (img.w + 1) * 3;
        assert_int_equal(px[0] > 128, expect[i][0]);
        assert_int_equal(px[1] > 128, expect[i][1]);
        assert_int_equal(img.w > img.h, i < 5);
        cn_image_release(&img);
        cn_buf_release(&b);
    }
}

static void limits_hold(void **state)
{
    struct cn_buf b = load("rgb8.png"), j = load("444.jpg"), w = load("lossy.webp");
    const struct cn_buf *all[] = {&b, &j, &w};
    struct cn_image img = CN_IMAGE_NONE;
    struct cn_err err = CN_ERR_INIT;

    (void)state;
    for (size_t i = 0; i < CN_LEN(all); i++) {
        struct cn_image_limits l = {.max_side = 20};

        assert_int_equal(cn_image_decode(all[i]->data, all[i]->len, &l, &img, NULL), CN_ETOOBIG);
        l = (struct cn_image_limits){.max_pixels = 21 * 13 - 1};
        assert_int_equal(cn_image_decode(all[i]->data, all[i]->len, &l, &img, NULL), CN_ETOOBIG);
        l = (struct cn_image_limits){.max_bytes = all[i]->len - 1};
        assert_int_equal(cn_image_decode(all[i]->data, all[i]->len, &l, &img, NULL), CN_ETOOBIG);
        assert_null(img.px);
        l = (struct cn_image_limits){.max_side = 40, .max_pixels = 960, .max_bytes = all[i]->len};
        assert_int_equal(cn_image_decode(all[i]->data, all[i]->len, &l, &img, NULL), CN_OK);
        cn_image_release(&img);
    }
    assert_int_equal(cn_image_decode("GIF89a", 6, NULL, &img, &err), CN_EFORMAT);
    assert_string_equal(err.msg, "not a PNG, JPEG or WebP image");
    cn_buf_release(&b);
    cn_buf_release(&j);
    cn_buf_release(&w);
}

static void encode_png(const struct cn_image *img, int level, struct cn_buf *out)
{
    cn_buf_init(out, 1 << 22);
    assert_int_equal(cn_png_encode(img, NULL, 0, level, out, NULL), CN_OK);
}

/* A picture of noise wants level 1, one whose shapes repeat level 4, whatever its channels;
 * CN_PNG_AUTO sees which it is. */
static void png_effort_goes_by_the_content(void **state)
{
    static const int channels[] = {1, 3, 4};

    (void)state;
    for (int i = 0; i < 6; i++) {
        bool drawing = i >= 3;
        struct cn_image img = picture(200, 150, channels[i % 3]);
        struct cn_buf by_content, fast, small;
        size_t row = (size_t)img.w * (size_t)img.c;

        for (size_t y = 20; drawing && y < 150; y++)
            memcpy(img.px + y * row, img.px + y % 20 * row, row);
        encode_png(&img, CN_PNG_AUTO, &by_content);
        encode_png(&img, 1, &fast);
        encode_png(&img, 4, &small);
        assert_true(drawing ? small.len < fast.len / 2 : fast.len < small.len + small.len / 15);
        assert_int_equal(by_content.len, drawing ? small.len : fast.len);
        cn_buf_release(&by_content);
        cn_buf_release(&fast);
        cn_buf_release(&small);
        cn_image_release(&img);
    }
}

/* Property: what is written as PNG is read back the same, at every level and with any size. */
static void png_round_trips(void **state)
{
    (void)state;
    for (int i = 0; i < 120; i++) {
        struct cn_image img =
            picture(1 + i * 7 % 61, 1 + i * 5 % 43, i % 3 == 2 ? 4 : 1 + i % 3 * 2);
        struct cn_image back;
        struct cn_buf out;

        cn_buf_init(&out, 1 << 20);
        assert_int_equal(cn_png_encode(&img, NULL, 0, i % 11 - 1, &out, NULL), CN_OK);
        assert_int_equal(cn_image_decode(out.data, out.len, NULL, &back, NULL), CN_OK);
        assert_int_equal(back.w, img.w);
        assert_int_equal(back.h, img.h);
        if (img.c == 1)
            for (int k = 0; k < img.w * img.h; k++)
                assert_true(back.px[3 * k] == img.px[k] && back.px[3 * k + 2] == img.px[k]);
        else
            assert_true(image_hash(&back) == image_hash(&img));
        cn_image_release(&back);
        cn_image_release(&img);
        cn_buf_release(&out);
    }
}

static bool contains(const struct cn_buf *b, const char *bytes, size_t n)
{
    return memmem(b->data, b->len, bytes, n) != NULL;
}

static void png_text_round_trips(void **state)
{
    static const struct cn_png_text text[] = {
        {"hollow", ""},
        {"parameters", "a caf\xc3\xa9\nSteps: 20, Sampler: \"Euler\""},
        {"prompt", "\xd1\x8f\xd0\xb1\xd0\xbb\xd0\xbe\xd0\xba\xd0\xbe \xf0\x9f\x8d\x8e"},
        {"tab", "a\tb"}};
    struct cn_image img = picture(8, 8, 3);
    struct cn_png_texts back;
    struct cn_buf out;

    (void)state;
    cn_buf_init(&out, 1 << 16);
    assert_int_equal(cn_png_encode(&img, text, CN_LEN(text), 6, &out, NULL), CN_OK);
    assert_false(contains(&out, "hollow", 6));
    assert_true(contains(&out, "tEXtparameters\0a caf\xe9\n", 22));
    assert_true(contains(&out, "iTXtprompt\0\0\0\0\0\xd1\x8f", 17));
    assert_int_equal(cn_png_read_text(out.data, out.len, &back, NULL), CN_OK);
    assert_int_equal(back.n, CN_LEN(text) - 1);
    for (size_t i = 1; i < CN_LEN(text); i++)
        assert_string_equal(cn_png_text_find(&back, text[i].key), text[i].text);
    assert_null(cn_png_text_find(&back, "notes"));
    cn_png_texts_release(&back);
    cn_image_release(&img);
    cn_buf_release(&out);
}

static void foreign_png_text_is_read(void **state)
{
    struct cn_buf b = load("text.png");
    struct cn_png_texts t;

    (void)state;
    assert_int_equal(cn_png_read_text(b.data, b.len, &t, NULL), CN_OK);
    assert_int_equal(t.n, 2); /* the compressed one is left out */
    assert_string_equal(cn_png_text_find(&t, "parameters"), "a caf\xc3\xa9\nSteps: 20");
    assert_int_equal(strlen(cn_png_text_find(&t, "prompt")), 12 + 1 + 4);
    cn_png_texts_release(&t);
    cn_buf_release(&b);
    b = load("odd-texts.png");
    assert_int_equal(cn_png_read_text(b.data, b.len, &t, NULL), CN_OK);
    assert_int_equal(t.n, 1);
    assert_string_equal(cn_png_text_find(&t, "last"), "one");
    cn_png_texts_release(&t);
    cn_buf_release(&b);
    b = load("crc-text.png");
    assert_int_equal(cn_png_read_text(b.data, b.len, &t, NULL), CN_EFORMAT);
    cn_buf_release(&b);
    b = load("rgb8.png");
    assert_int_equal(cn_png_read_text(b.data, b.len, &t, NULL), CN_OK);
    assert_int_equal(t.n, 0);
    cn_png_texts_release(&t);
    cn_buf_release(&b);
    b = load("bomb-1100-texts.png");
    assert_int_equal(cn_png_read_text(b.data, b.len, &t, NULL), CN_ETOOBIG);
    cn_buf_release(&b);
    assert_int_equal(cn_png_read_text("", 0, &t, NULL), CN_EFORMAT);
}

static void bad_text_is_refused(void **state)
{
    static const struct cn_png_text bad[] = {
        {"", "x"},
        {"\xd1\x8f", "x"},
        {"a\nb", "x"},
        {" lead", "x"},
        {"key", "\xff\xfe"},
        {"key", "\xed\xa0\x80"},
        {"key", "\xc0\x80"},
        {"key", "\xf4\x90\x80\x80"},
        {"12345678901234567890123456789012345678901234567890123456789012345678901234567890", "x"}};
    struct cn_image img = picture(2, 2, 3);
    struct cn_buf out;

    (void)state;
    cn_buf_init(&out, 1 << 16);
    for (size_t i = 0; i < CN_LEN(bad); i++)
        assert_int_equal(cn_png_encode(&img, &bad[i], 1, 6, &out, NULL), CN_EINVAL);
    assert_int_equal(out.len, 0);
    assert_int_equal(cn_png_encode(&img, NULL, 0, 10, &out, NULL), CN_EINVAL);
    cn_image_release(&img);
    cn_buf_release(&out);
}

typedef int (*encode_fn)(const struct cn_image *img, int quality, struct cn_buf *out,
                         struct cn_err *err);

static int png_encode(const struct cn_image *img, int quality, struct cn_buf *out,
                      struct cn_err *err)
{
    return cn_png_encode(img, NULL, 0, quality / 12, out, err);
}

static const encode_fn encoders[] = {png_encode, cn_jpeg_encode, cn_webp_encode};

static struct cn_image slope(int w, int h, int c)
{
    struct cn_image img;

    assert_int_equal(cn_image_init(&img, w, h, c, NULL), CN_OK);
    for (int i = 0; i < w * h; i++)
        for (int k = 0; k < c; k++)
            img.px[i * c + k] = (uint8_t)(k == 1 ? i / w * 255 / h : i % w * 255 / w);
    return img;
}

static void lossy_encoders_come_near(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        int c = i % 2 ? 3 : 1;
        struct cn_image img = slope(16 + i * 13 % 90, 16 + i * 11 % 80, c), back;
        long difference = 0;
        struct cn_buf out;

        cn_buf_init(&out, 1 << 20);
        assert_int_equal(encoders[1 + i / 2 % 2](&img, 75 + i % 5 * 6, &out, NULL), CN_OK);
        assert_int_equal(cn_image_decode(out.data, out.len, NULL, &back, NULL), CN_OK);
        assert_true(back.w == img.w && back.h == img.h && back.c == 3);
        for (int k = 0; k < img.w * img.h * 3; k++)
            difference += abs(back.px[k] - img.px[c == 3 ? k : k / 3]);
        if (difference > 12L * img.w * img.h * 3)
            fail_msg("row %d: mean difference %g", i, (double)difference / (img.w * img.h * 3));
        cn_image_release(&back);
        cn_image_release(&img);
        cn_buf_release(&out);
    }
}

/* The buffer's maximum is respected at every size, and what was in it before stays alone. */
static void encoders_respect_the_cap(void **state)
{
    struct cn_image img = picture(50, 40, 3);
    struct cn_buf whole, out;
    struct cn_err err;

    (void)state;
    for (size_t e = 0; e < CN_LEN(encoders); e++) {
        cn_buf_init(&whole, 1 << 20);
        assert_int_equal(encoders[e](&img, 80, &whole, NULL), CN_OK);
        for (size_t max = 3; max < whole.len + 3; max += 1 + whole.len / 50) {
            err = (struct cn_err)CN_ERR_INIT;
            cn_buf_init(&out, max);
            assert_int_equal(cn_buf_add(&out, "abc", 3, NULL), CN_OK);
            assert_int_equal(encoders[e](&img, 80, &out, &err), CN_ETOOBIG);
            assert_int_equal(err.code, CN_ETOOBIG);
            assert_string_equal((char *)out.data, "abc");
            cn_buf_release(&out);
        }
        cn_buf_release(&whole);
    }
    cn_image_release(&img);
}

static void encoders_check_their_arguments(void **state)
{
    struct cn_image img = picture(4, 4, 4), wide = picture(16384, 1, 3);
    struct cn_buf out;

    (void)state;
    cn_buf_init(&out, 1 << 20);
    assert_int_equal(cn_jpeg_encode(&img, 80, &out, NULL), CN_EINVAL);
    assert_int_equal(cn_webp_encode(&img, 0, &out, NULL), CN_EINVAL);
    assert_int_equal(cn_webp_encode(&wide, 80, &out, NULL), CN_EINVAL);
    assert_int_equal(cn_jpeg_encode(&wide, 101, &out, NULL), CN_EINVAL);
    assert_int_equal(out.len, 0);
    assert_int_equal(cn_webp_encode(&img, 80, &out, NULL), CN_OK);
    cn_image_release(&img);
    cn_image_release(&wide);
    cn_buf_release(&out);
}

/* EXIF of 64 KiB twenty times over, and an IFD that claims more entries than there are. */
static void exif_floods_are_harmless(void **state)
{
    static const uint8_t head[] = {0xff, 0xe1, 0xff, 0xff, 'E', 'x', 'i', 'f', 0,    0,
                                   'M',  'M',  0,    '*',  0,   0,   0,   8,   0xff, 0xff};
    struct cn_buf b = load("444.jpg"), out;
    struct cn_image img;
    unsigned char *room;

    (void)state;
    cn_buf_init(&out, 4 << 20);
    assert_int_equal(cn_buf_add(&out, b.data, 2, NULL), CN_OK);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(cn_buf_reserve(&out, 65537, &room, NULL), CN_OK);
        memset(room, 0xff, 65537);
        memcpy(room, head, sizeof(head));
    }
    assert_int_equal(cn_buf_add(&out, b.data + 2, b.len - 2, NULL), CN_OK);
    assert_int_equal(cn_image_decode(out.data, out.len, NULL, &img, NULL), CN_OK);
    cn_image_release(&img);
    cn_buf_release(&out);
    cn_buf_release(&b);
}

/* Each allocation of ours fails once; the answer is CN_ENOMEM, and nothing leaks or crashes. */
static void decoders_survive_without_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < CN_LEN(corpus); i++) {
        struct cn_buf b = load(corpus[i].file);
        int rc = CN_ENOMEM;

        for (int n = 0; corpus[i].code == CN_OK && rc != CN_OK; n++) {
            struct cn_image img = CN_IMAGE_NONE;
            struct cn_err err = CN_ERR_INIT;

            assert_true(n < 20);
            fail_allocation(n);
            rc = cn_image_decode(b.data, b.len, NULL, &img, &err);
            fail_allocation(-1);
            assert_true(rc == CN_OK || (rc == CN_ENOMEM && err.code == CN_ENOMEM));
            cn_image_release(&img);
        }
        cn_buf_release(&b);
    }
}

static void text_reader_survives_without_memory(void **state)
{
    struct cn_buf b = load("text.png");
    struct cn_png_texts t;

    (void)state;
    fail_allocation(0);
    assert_int_equal(cn_png_read_text(b.data, b.len, &t, NULL), CN_ENOMEM);
    fail_allocation(-1);
    cn_buf_release(&b);
}

static void encoders_survive_without_memory(void **state)
{
    static const struct cn_png_text text[] = {{"a", "b"}, {"c", "d"}};
    struct cn_image img = picture(40, 30, 1);

    (void)state;
    for (size_t e = 0; e <= CN_LEN(encoders); e++)
        for (int n = 0, rc = CN_ENOMEM; rc != CN_OK; n++) {
            struct cn_buf out;

            assert_true(n < 20);
            cn_buf_init(&out, 1 << 20);
            fail_allocation(n);
            rc = e < CN_LEN(encoders) ? encoders[e](&img, 80, &out, NULL)
                                      : cn_png_encode(&img, text, 2, 6, &out, NULL);
            fail_allocation(-1);
            assert_true(rc == CN_OK || (rc == CN_ENOMEM && out.len == 0));
            cn_buf_release(&out);
        }
    cn_image_release(&img);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(corpus_gives_what_its_table_says),
        cmocka_unit_test(info_agrees_with_decode),
        cmocka_unit_test(truncated_files_are_refused),
        cmocka_unit_test(orientation_is_applied),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(png_round_trips),
        cmocka_unit_test(png_effort_goes_by_the_content),
        cmocka_unit_test(png_text_round_trips),
        cmocka_unit_test(foreign_png_text_is_read),
        cmocka_unit_test(bad_text_is_refused),
        cmocka_unit_test(lossy_encoders_come_near),
        cmocka_unit_test(encoders_respect_the_cap),
        cmocka_unit_test(encoders_check_their_arguments),
        cmocka_unit_test(exif_floods_are_harmless),
        cmocka_unit_test(decoders_survive_without_memory),
        cmocka_unit_test(text_reader_survives_without_memory),
        cmocka_unit_test(encoders_survive_without_memory),
    };

    return cmocka_run_group_tests_name("image/codec", tests, NULL, NULL);
}
