/* What the wall costs: a picture decoded here, by a decoder that stood ready, and by one that had
 * to be waited for, because the picture came right after another one. And how long it takes to have
 * the next picture after one that has crashed its decoder. Wall time: medians, of the last the
 * worst as well. */
#include "base/base.h"
#include "base/clock.h"
#include "decoding/client.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { ROUNDS = 101, GAP_NS = 20000000 /* in which a decoder starts */ };

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double median(double *ms)
{
    qsort(ms, ROUNDS, sizeof(*ms), compare);
    return ms[ROUNDS / 2];
}

static void must(int rc, const struct cn_err *err)
{
    if (rc == CN_OK)
        return;
    fprintf(stderr, "bench_decoding: %s\n", err->msg);
    exit(1);
}

/* Like a photograph: smooth shapes, and noise in the lowest bits. */
static void paint(struct cn_image *img)
{
    unsigned noise = 1;

    for (int y = 0; y < img->h; y++)
        for (int x = 0; x < img->w; x++)
            for (int c = 0; c < 3; c++) {
                double v = 128 + 90 * sin(x / 40.0 + c) * cos(y / (30.0 + 5 * c));

                noise = noise * 1664525u + 1013904223u;
                img->px[(y * img->w + x) * 3 + c] = (uint8_t)(v + (noise >> 24) % 8);
            }
}

/* d NULL: in this process. */
static double decode_ms(struct cn_decoder *d, long gap_ns, const struct cn_buf *file)
{
    double ms[ROUNDS];

    for (int i = 0; i < ROUNDS; i++) {
        struct cn_image img = CN_IMAGE_NONE;
        struct cn_err err = CN_ERR_INIT;
        double start;

        nanosleep(&(struct timespec){0, gap_ns}, NULL);
        start = cn_now_s();
        must(d != NULL ? cn_decoder_decode(d, file->data, file->len, NULL, &img, &err)
                       : cn_image_decode(file->data, file->len, NULL, &img, &err),
             &err);
        ms[i] = (cn_now_s() - start) * 1e3;
        cn_image_release(&img);
    }
    return median(ms);
}

static void bench(struct cn_decoder *d, int side, enum cn_format format, struct cn_buf *file)
{
    struct cn_image img = CN_IMAGE_NONE;
    struct cn_err err = CN_ERR_INIT;
    double here, ready, at_once;

    must(cn_image_init(&img, side, side, 3, &err), &err);
    paint(&img);
    cn_buf_clear(file);
    must(format == CN_PNG ? cn_png_encode(&img, NULL, 0, CN_PNG_LEVEL, file, &err)
                          : cn_jpeg_encode(&img, 90, file, &err),
         &err);
    here = decode_ms(NULL, 0, file);
    ready = decode_ms(d, GAP_NS, file);
    at_once = decode_ms(d, 0, file);
    printf(
        "%4d x %-4d %-4s %8zu bytes: here %6.2f ms, decoder %6.2f ms, one after the other %6.2f\n",
        side, side, format == CN_PNG ? "PNG" : "JPEG", file->len, here, ready, at_once);
    cn_image_release(&img);
}

/* From the moment at which a decoder's crash is told to the next picture, read by another one. */
static void bench_replacing(struct cn_buf *file)
{
    struct cn_decoder_opts o = CN_DECODER_OPTS_DEFAULTS;
    struct cn_image img = CN_IMAGE_NONE;
    struct cn_err err = CN_ERR_INIT;
    struct cn_decoder *d;
    double ms[ROUNDS], middle;

    must(cn_image_init(&img, 512, 512, 3, &err), &err);
    paint(&img);
    cn_buf_clear(file);
    must(cn_png_encode(&img, NULL, 0, CN_PNG_LEVEL, file, &err), &err);
    cn_image_release(&img);
    o.program = "tests/decoding/bad-decoder";
    d = cn_decoder_new(&o);
    for (int i = 0; i < ROUNDS; i++) {
        struct cn_err crash = CN_ERR_INIT;
        double start;

        if (cn_decoder_decode(d, (const uint8_t *)"crash", 5, NULL, &img, &crash) == CN_OK)
            must(cn_fail(&crash, CN_EINTERNAL, "the decoder did not crash"), &crash);
        start = cn_now_s();
        must(cn_decoder_decode(d, file->data, file->len, NULL, &img, &err), &err);
        ms[i] = (cn_now_s() - start) * 1e3;
        cn_image_release(&img);
    }
    middle = median(ms);
    printf("after a crash the next picture (512 x 512, PNG) is there in %.2f ms, at worst %.2f\n",
           middle, ms[ROUNDS - 1]);
    cn_decoder_free(d);
}

int main(void)
{
    static const int side[] = {16, 512, 1024, 2048};
    struct cn_decoder_opts o = CN_DECODER_OPTS_DEFAULTS;
    struct cn_decoder *d;
    struct cn_buf file;

    o.program = "./controlnet-decoder";
    d = cn_decoder_new(&o);
    cn_buf_init(&file, 64u << 20);
    for (size_t i = 0; i < CN_LEN(side); i++) {
        bench(d, side[i], CN_JPEG, &file);
        bench(d, side[i], CN_PNG, &file);
    }
    cn_decoder_free(d);
    bench_replacing(&file);
    cn_buf_release(&file);
    return 0;
}
