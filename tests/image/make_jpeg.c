/* Writes the JPEGs of the corpus that Pillow cannot: make_jpeg DIR. Run by hand. */
#include "base/base.h"
#include "base/buf.h"
#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

enum { W = 40, H = 24 };

enum kind { SCANS, ARITHMETIC, YCCK };

/* One scan per coefficient and bit: 1 + 63 * 3, all of them valid. */
static int fill_scans(jpeg_scan_info *scan)
{
    int n = 1;

    scan[0] = (jpeg_scan_info){.comps_in_scan = 1};
    for (int k = 1; k < 64; k++)
        for (int bit = 2; bit >= 0; bit--)
            scan[n++] = (jpeg_scan_info){
                .comps_in_scan = 1, .Ss = k, .Se = k, .Ah = bit == 2 ? 0 : bit + 1, .Al = bit};
    return n;
}

static void set_kind(struct jpeg_compress_struct *c, enum kind kind)
{
    static jpeg_scan_info scan[1 + 63 * 3];

    c->in_color_space = kind == SCANS ? JCS_GRAYSCALE : kind == YCCK ? JCS_CMYK : JCS_RGB;
    jpeg_set_defaults(c);
    jpeg_set_quality(c, 90, TRUE);
    c->arith_code = kind == ARITHMETIC;
    if (kind == YCCK)
        jpeg_set_colorspace(c, JCS_YCCK);
    if (kind == SCANS) {
        c->num_scans = fill_scans(scan);
        c->scan_info = scan;
    }
}

/* The slope of make_corpus.py. In four colours: light in place of ink, no black. */
static void write_rows(struct jpeg_compress_struct *c)
{
    uint8_t row[W * 4];
    JSAMPROW line = row;

    for (int y = 0; y < H; y++) {
        for (int x = 0; x < W; x++) {
            uint8_t *px = row + x * c->input_components;
            const int slope[4] = {x * 255 / W, y * 255 / H, (x + y) * 255 / (W + H), 255};

            for (int k = 0; k < c->input_components; k++)
                px[k] = (uint8_t)slope[k];
        }
        jpeg_write_scanlines(c, &line, 1);
    }
}

static void make(const char *dir, const char *name, enum kind kind)
{
    struct jpeg_compress_struct c;
    struct jpeg_error_mgr mgr;
    unsigned char *out = NULL;
    unsigned long len = 0;
    char path[512];

    c.err = jpeg_std_error(&mgr);
    jpeg_create_compress(&c);
    jpeg_mem_dest(&c, &out, &len);
    c.image_width = W;
    c.image_height = H;
    c.input_components = kind == SCANS ? 1 : kind == YCCK ? 4 : 3;
    set_kind(&c, kind);
    jpeg_start_compress(&c, TRUE);
    write_rows(&c);
    jpeg_finish_compress(&c);
    jpeg_destroy_compress(&c);
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    if (cn_file_write(path, out, len, NULL) < 0)
        perror(path);
    free(out);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    make(argv[1], "scans.jpg", SCANS);
    make(argv[1], "arithmetic.jpg", ARITHMETIC);
    make(argv[1], "ycck.jpg", YCCK);
    return 0;
}
