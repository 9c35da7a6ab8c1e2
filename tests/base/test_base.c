/* base: buffers, sizes, half floats, maps, files, job descriptions. */
#include "base/base.h"
#include "base/buf.h"
#include "base/dtype.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/picture_head.h"
#include "base/random.h"
#include "base/spec.h"
#include "base/strmap.h"

#include <math.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <cmocka.h>

static void buffer_stops_at_its_maximum(void **state)
{
    struct cn_buf b;
    struct cn_err err = CN_ERR_INIT;

    (void)state;
    cn_buf_init(&b, 10);
    assert_int_equal(cn_buf_adds(&b, "0123456789", &err), CN_OK);
    assert_int_equal(cn_buf_adds(&b, "x", &err), CN_ETOOBIG);
    assert_int_equal(b.len, 10);
    cn_buf_consume(&b, 4);
    assert_string_equal((char *)b.data, "456789");
    cn_buf_release(&b);
}

static void first_error_wins(void **state)
{
    struct cn_err err = CN_ERR_INIT;

    (void)state;
    cn_fail_at(&err, CN_EINVAL, "/steps", "first");
    cn_fail(&err, CN_EIO, "second");
    assert_int_equal(err.code, CN_EINVAL);
    assert_string_equal(err.where, "/steps");
    cn_err_prefix(&err, "file \"%s\"", "x");
    assert_string_equal(err.msg, "file \"x\": first");
}

/* Arrays are converted in another way than single numbers: every value, at any alignment and place,
 * has the same bits, those of NaNs included. */
static void every_half_at_once(void)
{
    enum { N = 65536 + 7 };
    unsigned char *bytes = malloc(2 * N + 1);
    float *f = malloc(N * sizeof(*f));

    for (int shift = 0; shift < 2; shift++)
        for (int bf = 0; bf < 2; bf++) {
            for (uint32_t i = 0; i < N; i++) {
                uint16_t h = (uint16_t)(i * 40503u);

                memcpy(bytes + shift + 2 * i, &h, 2);
            }
            cn_to_f32(f, bytes + shift, bf ? CN_BF16 : CN_F16, N);
            for (uint32_t i = 0; i < N; i++) {
                uint16_t h = (uint16_t)(i * 40503u);
                float one = bf ? cn_bf16_to_f32(h) : cn_f16_to_f32(h);

                assert_memory_equal(&f[i], &one, sizeof(one));
            }
        }
    free(bytes);
    free(f);
}

static void floats_to_halves_at_once(void)
{
    enum { N = 1 << 16 };
    float *f = malloc(N * sizeof(*f));
    uint16_t *h = malloc(N * sizeof(*h));

    for (uint32_t i = 0; i < N; i++) {
        uint32_t u = i * 2654435761u; /* all exponents */

        memcpy(&f[i], &u, sizeof(u));
    }
    cn_from_f32(h, f, CN_F16, N - 3);
    for (uint32_t i = 0; i < N - 3; i++)
        assert_int_equal(h[i], cn_f32_to_f16(f[i]));
    free(f);
    free(h);
}

/* Every half value survives the way to float and back, NaNs as NaNs. */
static void half_floats_round_trip(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 65536; h++) {
        float f = cn_f16_to_f32((uint16_t)h);

        if (isnan(f))
            assert_true(isnan(cn_f16_to_f32(cn_f32_to_f16(f))));
        else
            assert_int_equal(cn_f32_to_f16(f), h);
        f = cn_bf16_to_f32((uint16_t)h);
        if (!isnan(f))
            assert_int_equal(cn_f32_to_bf16(f), h);
    }
    every_half_at_once();
    floats_to_halves_at_once();
    assert_int_equal(cn_f32_to_f16(65519.0f), 0x7bff);
    assert_int_equal(cn_f32_to_f16(65520.0f), 0x7c00);
    assert_int_equal(cn_f32_to_f16(0x1p-25f), 0);   /* tie to even */
    assert_int_equal(cn_f32_to_f16(0x1.8p-24f), 2); /* tie to even */
    assert_int_equal(cn_f32_to_f16(1.0f + 0x1p-11f), 0x3c00);
    assert_int_equal(cn_f32_to_f16(1.0f + 0x1.8p-10f), 0x3c02);
}

static void sizes_do_not_overflow(void **state)
{
    size_t r = 7;

    (void)state;
    assert_false(cn_mul_size(SIZE_MAX / 2, 3, &r));
    assert_false(cn_add_size(SIZE_MAX, 1, &r));
    assert_int_equal(r, 7);
    assert_null(cn_try_alloc(SIZE_MAX - 10));
}

static void map_keeps_what_it_was_given(void **state)
{
    struct cn_strmap m;
    static int value[1000];
    char key[16];

    (void)state;
    cn_strmap_init(&m);
    assert_null(cn_strmap_get(&m, "k1"));
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        assert_true(cn_strmap_add(&m, key, &value[i]));
    }
    assert_false(cn_strmap_add(&m, "k500", &value[0]));
    for (int i = 0; i < 1000; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        assert_ptr_equal(cn_strmap_get(&m, key), &value[i]);
        assert_string_equal(m.item[i].key, key);
    }
    assert_null(cn_strmap_get(&m, "k1000"));
    cn_strmap_release(&m);
}

static void files_are_read_whole_or_refused(void **state)
{
    char path[] = "/tmp/cn-test-XXXXXX";
    struct cn_err err = CN_ERR_INIT;
    struct cn_buf b;
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(cn_file_write(path, "hello", 5, &err), CN_OK);
    cn_buf_init(&b, 5);
    assert_int_equal(cn_file_read(path, &b, &err), CN_OK);
    assert_memory_equal(b.data, "hello", 5);
    assert_int_equal(cn_file_read(path, &b, &err), CN_ETOOBIG);
    cn_buf_release(&b);
    memset(&err, 0, sizeof(err));
    assert_int_equal(cn_file_read("/tmp", &b, &err), CN_EFORMAT);
    unlink(path);
}

/* What is kept is read whatever lies at the path by now; what is over the number by its path. */
static void files_are_kept_up_to_a_number(void **state)
{
    enum { MORE = CN_FILES_KEPT + 3 };
    static struct cn_file_id id[MORE];
    char path[] = "/tmp/cn-test-XXXXXX", text[5];
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(cn_file_write(path, "hello", 5, NULL), CN_OK);
    for (int i = 0; i < MORE; i++) {
        assert_int_equal(cn_file_identify(path, &id[i], NULL), CN_OK);
        cn_file_keep(path, &id[i]);
        assert_true((id[i].kept > 0) == (i < CN_FILES_KEPT));
        assert_int_equal(cn_file_read_part(path, &id[i], 0, text, 5, NULL), CN_OK);
    }
    assert_int_equal(cn_file_write(path, "other", 5, NULL), CN_OK); /* by a rename */
    assert_int_equal(cn_file_read_part(path, &id[0], 0, text, 5, NULL), CN_OK);
    assert_memory_equal(text, "hello", 5);
    assert_int_equal(cn_file_read_part(path, &id[MORE - 1], 0, text, 5, NULL), CN_EIO);
    cn_file_keep(path, &id[MORE - 1]); /* another file by now */
    assert_int_equal(id[MORE - 1].kept, 0);
    for (int i = 0; i < MORE; i++)
        cn_file_let_go(&id[i]);
    assert_int_equal(cn_file_identify(path, &id[0], NULL), CN_OK);
    cn_file_keep(path, &id[0]); /* there is room again */
    assert_true(id[0].kept > 0);
    cn_file_let_go(&id[0]);
    unlink(path);
}

static void check_fails(const struct cn_spec *s, int code, const char *where)
{
    struct cn_limits l = CN_LIMITS_DEFAULTS;
    struct cn_err err = CN_ERR_INIT;

    assert_int_equal(cn_spec_check(s, &l, &err), code);
    if (code < 0)
        assert_string_equal(err.where, where);
}

static void every_field_is_held_against_its_range(void **state)
{
    struct cn_spec s;
    struct cn_spec_control *c;

    (void)state;
    cn_spec_init(&s);
    check_fails(&s, CN_OK, "");
#define BAD(field, value, where)                                                                   \
    do {                                                                                           \
        struct cn_spec t = s;                                                                      \
        t.field = (value);                                                                         \
        check_fails(&t, CN_EINVAL, where);                                                         \
    } while (0)
    BAD(steps, 0, "/steps");
    BAD(steps, 151, "/steps");
    BAD(width, 12, "/width");
    BAD(height, -8, "/height");
    BAD(height, 4096, "/height");
    BAD(n, 17, "/n");
    BAD(guidance_scale, NAN, "/guidance_scale");
    BAD(guidance_rescale, 1.5, "/guidance_rescale");
    s.hires.on = true;
    check_fails(&s, CN_OK, "");
    BAD(hires.scale, 0.5, "/hires/scale");
    BAD(hires.steps, 151, "/hires/steps");
    BAD(hires.strength, 0.0, "/hires/strength");
    BAD(hires.strength, 0.001, "/hires/strength");
    BAD(hires.width, 64, "/hires/height");
    BAD(hires.height, 12, "/hires/height");
    s.height = 512;
    BAD(width, 1032, "/hires");
    s.height = 0; /* the model's own: nobody knows yet how large the second pass is */
    s.width = 1032;
    check_fails(&s, CN_OK, "");
    s.width = s.height = s.hires.width = s.hires.height = 64; /* the same size is accepted */
    check_fails(&s, CN_OK, "");
    BAD(width, 72, "/hires");
    BAD(height, 72, "/hires");
    s.width = s.height = s.hires.width = s.hires.height = 0;
    BAD(init_image.len, 1, "/hires");
    s.hires.on = false;
    BAD(denoise, 0.0, "/denoise");
    BAD(clip_skip, -1, "/clip_skip");
    BAD(quality, 101, "/quality");
    BAD(mask.len, 1, "/mask");
    BAD(depth.len, 1, "/depth");
    c = cn_spec_add_control(&s);
    check_fails(&s, CN_EINVAL, "/controls/0/model");
    free(c->model);
    c->model = cn_xstrdup("canny");
    check_fails(&s, CN_EINVAL, "/controls/0/image");
    c->image.data = cn_xcalloc(1, 1);
    c->image.len = 1;
    check_fails(&s, CN_OK, "");
    BAD(control[0].start, 1.0, "/controls/0/start");
    BAD(control[0].strength, -0.1, "/controls/0/strength");
    BAD(control[0].weight[12], INFINITY, "/controls/0/weights");
#undef BAD
    cn_spec_release(&s);
}

static void names_are_found(void **state)
{
    char list[128];

    (void)state;
    assert_int_equal(cn_enum_find(&cn_enum_sampler, "unipc"), CN_UNIPC);
    assert_int_equal(cn_enum_find(&cn_enum_sampler, "UniPC"), -1);
    cn_enum_list(&cn_enum_resize, list, sizeof(list));
    assert_string_equal(list, "stretch, crop or pad");
}

static int calls;

/* Interrupted at first, then a byte at a time; the tenth is lost without a word. */
static ssize_t one_byte(int fd, const void *data, size_t len)
{
    (void)len;
    if (calls++ == 0) {
        errno = EINTR;
        return -1;
    }
    return calls > 10 ? 0 : write(fd, data, 1);
}

static void all_is_written_or_an_error(void **state)
{
    char text[16] = "";
    int fd[2];

    (void)state;
    assert_int_equal(pipe(fd), 0);
    calls = 0;
    assert_int_equal(cn_write_all(one_byte, fd[1], "abcdef", 6), 0);
    assert_int_equal(read(fd[0], text, sizeof(text)), 6);
    assert_string_equal(text, "abcdef");
    calls = 1;
    assert_int_equal(cn_write_all(one_byte, fd[1], "0123456789abcdef", 16), -1);
    assert_int_equal(errno, EIO);
    close(fd[0]);
    close(fd[1]);
}

static void folders_above_are_made(void **state)
{
    char dir[] = "/tmp/cn-dirs-XXXXXX", path[64];
    struct stat st;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/a/b/c", dir);
    for (int k = 0; k < 2; k++) { /* also when they are there */
        assert_int_equal(cn_make_dirs(path, 0700), 0);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0700);
    }
    assert_int_equal(rmdir(path), 0);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    snprintf(path, sizeof(path), "%s/a/b/c/d", dir);
    assert_int_equal(cn_make_dirs(path, 0700), -1);
    *strrchr(path, '/') = '\0';
    unlink(path);
    for (int k = 0; k < 2; k++) {
        *strrchr(path, '/') = '\0';
        assert_int_equal(rmdir(path), 0);
    }
    assert_int_equal(rmdir(dir), 0);
}

static void random_bytes_do_not_repeat(void **state)
{
    static const unsigned char none[16];
    unsigned char drawn[200][16], large[1000];
    char text[CN_RANDOM_HEX_MAX + 1];

    (void)state;
    for (int i = 0; i < 200; i++) { /* over several stocks, in pieces that do not divide one */
        cn_random_bytes(large, (size_t)(i * 5));
        cn_random_bytes(drawn[i], sizeof(drawn[i]));
        assert_memory_not_equal(drawn[i], none, sizeof(none));
        for (int k = 0; k < i; k++)
            assert_memory_not_equal(drawn[i], drawn[k], sizeof(drawn[i]));
    }
    cn_random_hex(text, 20);
    assert_int_equal(strspn(text, "0123456789abcdef"), 20);
    assert_int_equal(text[20], '\0');
}

static void put_chunk(struct cn_buf *b, const char *type, const void *data, size_t len)
{
    const uint8_t head[4] = {0, 0, 0, (uint8_t)len};

    assert_int_equal(cn_buf_add(b, head, 4, NULL), CN_OK);
    assert_int_equal(cn_buf_add(b, type, 4, NULL), CN_OK);
    assert_int_equal(cn_buf_add(b, data, len, NULL), CN_OK);
    assert_int_equal(cn_buf_add(b, "sums", 4, NULL), CN_OK);
}

/* Each of the blocks says that it has 65535 entries, and has none: most of a minute of a processor,
 * were they all looked for. */
static void pictures_of_many_exif_blocks_are_cheap(void **state)
{
    static const uint8_t size[13] = {0, 0, 0, 3, 0, 0, 0, 2, 8, 2};
    static const uint8_t exif[10] = {'M', 'M', 0, '*', 0, 0, 0, 8, 0xff, 0xff};
    enum { BLOCKS = 400000, SECONDS = 20 };
    clock_t start;
    struct cn_buf b;
    int w, h;

    (void)state;
    cn_buf_init(&b, 16 << 20);
    assert_int_equal(cn_buf_add(&b, "\x89PNG\r\n\x1a\n", 8, NULL), CN_OK);
    put_chunk(&b, "IHDR", size, sizeof(size));
    for (int i = 0; i < BLOCKS; i++)
        put_chunk(&b, "eXIf", exif, sizeof(exif));
    put_chunk(&b, "IEND", "", 0);
    start = clock();
    assert_true(cn_picture_size(b.data, b.len, &w, &h));
    assert_true(clock() - start < (clock_t)SECONDS * CLOCKS_PER_SEC);
    assert_int_equal(w, 3);
    assert_int_equal(h, 2);
    cn_buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffer_stops_at_its_maximum),
        cmocka_unit_test(first_error_wins),
        cmocka_unit_test(half_floats_round_trip),
        cmocka_unit_test(sizes_do_not_overflow),
        cmocka_unit_test(map_keeps_what_it_was_given),
        cmocka_unit_test(files_are_read_whole_or_refused),
        cmocka_unit_test(files_are_kept_up_to_a_number),
        cmocka_unit_test(every_field_is_held_against_its_range),
        cmocka_unit_test(names_are_found),
        cmocka_unit_test(all_is_written_or_an_error),
        cmocka_unit_test(folders_above_are_made),
        cmocka_unit_test(random_bytes_do_not_repeat),
        cmocka_unit_test(pictures_of_many_exif_blocks_are_cheap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
