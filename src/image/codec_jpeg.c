/* JPEG by libjpeg-turbo's libjpeg API.
 *
 * The library reports errors by a callback that must not return. Each step that may fail therefore
 * runs under guarded(), with all state in the struct, so that nothing is lost by the jump.
 */
#include "base/base.h"
#include "image/codec.h"
#include "image/codec_priv.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

/* A progressive file may have any number of scans, each of which visits every block: hundreds of
 * bytes then cost minutes. Real encoders write about 10. */
enum { MAX_SCANS = 100 };

/* Scans times blocks of 8 x 8 coefficients; 4096 x 4096 pixels in 4:4:4 may still have 25 scans. */
#define MAX_BLOCK_VISITS (20L << 20)

/* What the library may hold at once: coefficients of a progressive 4096 x 4096 in 4:4:4 are 96 MiB.
 */
#define MAX_MEMORY (192L << 20)

/* Errors of either direction. */
struct trap {
    struct jpeg_error_mgr mgr; /* first: the library hands back a pointer to it */
    jmp_buf jump;
    struct cn_err *err;
    const char *what; /* "damaged JPEG" */
    int code;
};

struct reader {
    struct trap trap;
    struct jpeg_decompress_struct d;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    const struct cn_codec_file *file;
    struct cn_image img;
    uint8_t *cmyk; /* one row [w, 4] of a four-colour file, else NULL */
    long blocks;
    int orientation;
};

struct writer {
    struct trap trap;
    struct jpeg_compress_struct c;
    struct jpeg_destination_mgr sink;
    const struct cn_image *img;
    struct cn_buf *out;
    int quality;
    uint8_t chunk[16384];
};

typedef void (*step_fn)(void *state);

static CN_NORETURN void leave(struct trap *t, int code)
{
    t->code = code;
    longjmp(t->jump, 1);
}

static void on_error(j_common_ptr info)
{
    struct trap *t = (struct trap *)info->err;
    char text[JMSG_LENGTH_MAX];
    int code = CN_EFORMAT;

    info->err->format_message(info, text);
    if (info->err->msg_code == JERR_OUT_OF_MEMORY)
        code = CN_ENOMEM;
    if (info->err->msg_code == JERR_NO_BACKING_STORE)
        code = CN_ETOOBIG;
    leave(t, cn_fail(t->err, code, "%s: %s", t->what, text));
}

/* Warnings come with level -1 and mean damaged data, which the library would paint over in grey.
 * Stray bytes between segments harm nothing; some telephones write them. */
static void on_message(j_common_ptr info, int level)
{
    if (level < 0 && info->err->msg_code != JWRN_EXTRANEOUS_DATA &&
        info->err->msg_code != JWRN_JFIF_MAJOR && info->err->msg_code != JWRN_ADOBE_XFORM)
        on_error(info);
}

static struct jpeg_error_mgr *trap_init(struct trap *t, const char *what, struct cn_err *err)
{
    jpeg_std_error(&t->mgr);
    t->mgr.error_exit = on_error;
    t->mgr.emit_message = on_message;
    t->err = err;
    t->what = what;
    return &t->mgr;
}

static int guarded(struct trap *t, step_fn step, void *state)
{
    if (setjmp(t->jump) != 0)
        return t->code;
    step(state);
    return CN_OK;
}

static void nothing(j_decompress_ptr d)
{
    (void)d;
}

/* All bytes are there from the start: asking for more means that the file ends early. */
static boolean no_more_bytes(j_decompress_ptr d)
{
    struct trap *t = (struct trap *)d->err;

    leave(t, cn_fail(t->err, CN_EFORMAT, "the JPEG ends early"));
}

static void skip_bytes(j_decompress_ptr d, long n)
{
    if (n <= 0)
        return;
    if ((size_t)n > d->src->bytes_in_buffer)
        no_more_bytes(d);
    d->src->next_input_byte += n;
    d->src->bytes_in_buffer -= (size_t)n;
}

static void count_scans(j_common_ptr info)
{
    struct reader *r = info->client_data;
    int scans = r->d.input_scan_number;

    if (scans > MAX_SCANS || scans * r->blocks > MAX_BLOCK_VISITS)
        leave(&r->trap, cn_fail(r->trap.err, CN_ETOOBIG, "the JPEG has %d scans or more", scans));
}

static void read_header(void *state)
{
    struct reader *r = state;

    jpeg_create_decompress(&r->d);
    r->d.client_data = r;
    r->d.mem->max_memory_to_use = MAX_MEMORY;
    r->source = (struct jpeg_source_mgr){.next_input_byte = r->file->data,
                                         .bytes_in_buffer = r->file->len,
                                         .init_source = nothing,
                                         .fill_input_buffer = no_more_bytes,
                                         .skip_input_data = skip_bytes,
                                         .resync_to_restart = jpeg_resync_to_restart,
                                         .term_source = nothing};
    r->d.src = &r->source;
    jpeg_save_markers(&r->d, JPEG_APP0 + 1, 0xffff);
    jpeg_read_header(&r->d, TRUE);
}

/* The first APP1 that is EXIF counts. */
static int saved_orientation(const struct jpeg_decompress_struct *d)
{
    for (jpeg_saved_marker_ptr m = d->marker_list; m != NULL; m = m->next)
        if (m->data_length >= 6 && memcmp(m->data, "Exif\0", 6) == 0)
            return cn_exif_orientation(m->data, m->data_length);
    return 1;
}

/* On failure too, the caller destroys r->d: create was the first thing tried, and destroying a
 * zeroed struct is allowed. */
static int open_jpeg(struct reader *r, const struct cn_codec_file *file, struct cn_err *err)
{
    int rc;

    memset(r, 0, sizeof(*r));
    r->file = file;
    r->d.err = trap_init(&r->trap, "damaged JPEG", err);
    rc = guarded(&r->trap, read_header, r);
    if (rc == CN_OK)
        rc = cn_codec_check_size(file, r->d.image_width, r->d.image_height, err);
    if (rc == CN_OK)
        r->orientation = saved_orientation(&r->d);
    return rc;
}

/* Four-colour JPEGs hold amounts of light, not of ink (Adobe's convention, which every program
 * follows), and Pillow's arithmetic is kept: channel - ink * key / 255, rounded. */
static void cmyk_to_rgb(const uint8_t *from, int w, uint8_t *to)
{
    for (int x = 0; x < w; x++, from += 4, to += 3)
        for (int k = 0; k < 3; k++) {
            unsigned v = (255u - from[k]) * from[3] + 128;
            int rgb = from[3] - (int)(((v >> 8) + v) >> 8);

            to[k] = (uint8_t)(rgb < 0 ? 0 : rgb);
        }
}

static void set_colours(struct reader *r)
{
    J_COLOR_SPACE from = r->d.jpeg_color_space;

    r->d.out_color_space = from == JCS_CMYK || from == JCS_YCCK ? JCS_CMYK : JCS_RGB;
}

static void read_pixels(void *state)
{
    struct reader *r = state;
    size_t row = (size_t)r->img.w * 3;

    set_colours(r);
    r->progress.progress_monitor = count_scans;
    r->d.progress = &r->progress;
    jpeg_start_decompress(&r->d);
    while (r->d.output_scanline < r->d.output_height) {
        uint8_t *to = r->img.px + r->d.output_scanline * row;
        JSAMPROW line = r->cmyk != NULL ? r->cmyk : to;

        jpeg_read_scanlines(&r->d, &line, 1);
        if (r->cmyk != NULL)
            cmyk_to_rgb(r->cmyk, r->img.w, to);
    }
    jpeg_finish_decompress(&r->d); /* reads up to the end marker */
}

static int decode(struct reader *r, struct cn_err *err)
{
    int w = (int)r->d.image_width, h = (int)r->d.image_height;
    int rc = cn_image_init(&r->img, w, h, 3, err);

    if (rc < 0)
        return rc;
    r->blocks = ((w + 7L) / 8) * ((h + 7L) / 8) * r->d.num_components;
    if (r->d.num_components == 4) {
        r->cmyk = cn_try_alloc((size_t)w * 4);
        if (r->cmyk == NULL)
            return cn_fail(err, CN_ENOMEM, "no memory to read a JPEG");
    }
    rc = guarded(&r->trap, read_pixels, r);
    return rc < 0 ? rc : cn_exif_turn(&r->img, r->orientation, err);
}

int cn_codec_jpeg_info(const struct cn_codec_file *file, struct cn_image_info *ret,
                       struct cn_err *err)
{
    struct reader r;
    int rc = open_jpeg(&r, file, err);

    if (rc == CN_OK) {
        bool swap = r.orientation >= 5;

        ret->w = (int)(swap ? r.d.image_height : r.d.image_width);
        ret->h = (int)(swap ? r.d.image_width : r.d.image_height);
        ret->c = 3;
    }
    jpeg_destroy_decompress(&r.d);
    return rc;
}

int cn_codec_jpeg_decode(const struct cn_codec_file *file, struct cn_image *ret, struct cn_err *err)
{
    struct reader r;
    int rc = open_jpeg(&r, file, err);

    if (rc == CN_OK)
        rc = decode(&r, err);
    jpeg_destroy_decompress(&r.d);
    free(r.cmyk);
    if (rc < 0)
        cn_image_release(&r.img);
    else
        *ret = r.img;
    return rc;
}

static void sink_open(j_compress_ptr c)
{
    struct writer *w = c->client_data;

    w->sink.next_output_byte = w->chunk;
    w->sink.free_in_buffer = sizeof(w->chunk);
}

static void sink_add(struct writer *w, size_t n)
{
    int rc = cn_buf_add(w->out, w->chunk, n, w->trap.err);

    if (rc < 0)
        leave(&w->trap, rc);
}

/* The library may have left a few bytes at the end of the chunk; by contract all of it counts. */
static boolean sink_full(j_compress_ptr c)
{
    sink_add(c->client_data, sizeof(((struct writer *)NULL)->chunk));
    sink_open(c);
    return TRUE;
}

static void sink_close(j_compress_ptr c)
{
    struct writer *w = c->client_data;

    sink_add(w, sizeof(w->chunk) - w->sink.free_in_buffer);
}

/* From quality 90 on, colour keeps its full resolution: who asks for that much sees the difference
 * on control maps and line art. */
static void set_quality(struct writer *w)
{
    jpeg_set_defaults(&w->c);
    jpeg_set_quality(&w->c, w->quality, TRUE);
    if (w->quality >= 90)
        w->c.comp_info[0].h_samp_factor = w->c.comp_info[0].v_samp_factor = 1;
}

static void write_pixels(void *state)
{
    struct writer *w = state;
    size_t row = (size_t)w->img->w * (size_t)w->img->c;

    jpeg_create_compress(&w->c);
    w->c.client_data = w;
    w->sink.init_destination = sink_open;
    w->sink.empty_output_buffer = sink_full;
    w->sink.term_destination = sink_close;
    w->c.dest = &w->sink;
    w->c.image_width = (JDIMENSION)w->img->w;
    w->c.image_height = (JDIMENSION)w->img->h;
    w->c.input_components = w->img->c;
    w->c.in_color_space = w->img->c == 1 ? JCS_GRAYSCALE : JCS_RGB;
    set_quality(w);
    jpeg_start_compress(&w->c, TRUE);
    while (w->c.next_scanline < w->c.image_height) {
        JSAMPROW line = w->img->px + w->c.next_scanline * row;

        jpeg_write_scanlines(&w->c, &line, 1);
    }
    jpeg_finish_compress(&w->c);
}

int cn_jpeg_encode(const struct cn_image *img, int quality, struct cn_buf *out, struct cn_err *err)
{
    size_t before = out->len;
    struct writer w;
    int rc;

    if (quality < 1 || quality > 100)
        return cn_fail(err, CN_EINVAL, "the JPEG quality must be 1 to 100, not %d", quality);
    if (img->c == 4)
        return cn_fail(err, CN_EINVAL, "a JPEG cannot hold transparency");
    if (img->w > JPEG_MAX_DIMENSION || img->h > JPEG_MAX_DIMENSION)
        return cn_fail(err, CN_EINVAL, "a JPEG cannot have more than %ld pixels a side",
                       JPEG_MAX_DIMENSION);
    memset(&w, 0, sizeof(w));
    w.img = img;
    w.out = out;
    w.quality = quality;
    w.c.err = trap_init(&w.trap, "cannot write a JPEG", err);
    rc = guarded(&w.trap, write_pixels, &w);
    jpeg_destroy_compress(&w.c);
    if (rc < 0)
        cn_codec_rewind(out, before);
    return rc;
}
