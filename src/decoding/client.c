/* Asking a decoder, and not believing it. */
#include "base/base.h"
#include "decoding/client.h"
#include "base/file.h"
#include "base/mem.h"
#include "decoding/child_priv.h"
#include "decoding/keeper_priv.h"
#include "decoding/message.h"
#include "decoding/reply.h"
#include "decoding/wall.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct cn_decoder {
    struct cn_decoder_opts o;
    struct cn_child_program program;
    struct cn_child child; /* has the picture */
    struct cn_keeper keeper;
};

static const struct cn_image_limits default_limits = CN_IMAGE_LIMITS_DEFAULTS;

struct cn_decoder *cn_decoder_new(const struct cn_decoder_opts *o)
{
    struct cn_decoder *d = cn_xcalloc(1, sizeof(*d));

    d->o = *o;
    cn_child_program_init(&d->program, o->program);
    cn_keeper_init(&d->keeper, &d->program);
    return d;
}

/* ---- its process ---- */

static void tell(const struct cn_decoder *d, bool died, unsigned layers, const char *text)
{
    if (d->o.tell != NULL)
        d->o.tell(d->o.ctx, died, layers, text);
}

static void stop(struct cn_decoder *d, struct cn_child_end *ret)
{
    if (d->child.pid != 0)
        cn_child_end(&d->child, ret);
}

void cn_decoder_free(struct cn_decoder *d)
{
    if (d == NULL)
        return;
    stop(d, NULL);
    cn_keeper_release(&d->keeper);
    cn_child_program_release(&d->program);
    free(d);
}

static int greet(struct cn_decoder *d, struct cn_err *err)
{
    struct cn_child_end end = {.text = ""};
    struct cn_decoding_hello hello = {0};
    struct cn_err why = CN_ERR_INIT;
    int rc = cn_child_receive(&d->child, &hello, sizeof(hello), d->o.wall_ms, d->o.wall_ms, &why);

    if (rc == CN_OK && hello.type == CN_DECODING_HELLO) {
        tell(d, false, hello.layers & CN_WALL_ALL, "a decoder of pictures has started");
        return CN_OK;
    }
    stop(d, &end);
    if (rc == CN_EIO)
        return cn_fail(err, CN_EIO, "the decoder of pictures ended at its start (%s)", end.text);
    return cn_fail(err, CN_EIO, "the decoder of pictures %s",
                   rc == CN_ETOOBIG ? "does not start" : "is of another version");
}

static int start(struct cn_decoder *d, struct cn_err *err)
{
    int rc = cn_child_start(&d->program, &d->child, err);

    return rc < 0 ? rc : greet(d, err);
}

/* The spare one, and where that came to nothing one that is started now. */
static int ready(struct cn_decoder *d, struct cn_err *err)
{
    struct cn_err why = CN_ERR_INIT;

    CN_ASSERT(d->child.pid == 0);
    if (!cn_keeper_take(&d->keeper, &d->child))
        return start(d, err);
    if (greet(d, &why) == CN_OK)
        return CN_OK;
    tell(d, true, 0, why.msg);
    return start(d, err);
}

/* ---- what it is given ---- */

/* A file in memory whose size nobody can change. -1 with errno. */
static int sealed(const void *data, size_t len, size_t size)
{
    int fd = memfd_create("picture", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | (data != NULL ? F_SEAL_WRITE : 0);

    if (fd < 0)
        return -1;
    if (ftruncate(fd, (off_t)size) == 0 &&
        (data == NULL || cn_write_all(write, fd, data, len) == 0) &&
        fcntl(fd, F_ADD_SEALS, seals) == 0)
        return fd;
    close(fd);
    return -1;
}

/* A decoder that was lost while it had nothing to do is no picture's fault. */
static int send_request(struct cn_decoder *d, const struct cn_decoding_request *request,
                        const int fd[CN_DECODING_FDS], struct cn_err *err)
{
    int rc = ready(d, err);

    for (int again = 0; rc == CN_OK; again++) {
        struct cn_child_end end;

        if (cn_child_send(&d->child, request, sizeof(*request), fd) == CN_OK)
            return CN_OK;
        stop(d, &end);
        tell(d, true, 0, end.text);
        if (again > 0)
            return cn_fail(err, CN_EIO, "the decoder of pictures was lost (%s)", end.text);
        rc = start(d, err);
    }
    return rc;
}

/* ---- what it answers ---- */

/* rc: of cn_child_receive(). 1: it was killed by somebody else, or for want of memory. */
static int lost(struct cn_decoder *d, int rc, struct cn_err *err)
{
    struct cn_child_end end;

    stop(d, &end);
    if (rc == CN_ETOOBIG) {
        tell(d, true, 0, "it took too long");
        return rc;
    }
    if (rc == CN_EFORMAT) {
        tell(d, true, 0, "it answered what makes no sense");
        return cn_fail(err, rc, "the image made its decoder answer what makes no sense");
    }
    tell(d, true, 0, end.text);
    if (end.killed)
        return 1;
    return cn_fail(err, CN_EFORMAT, "the image made its decoder fail (%s)", end.text);
}

static int ask(struct cn_decoder *d, const struct cn_decoding_request *request,
               const int fd[CN_DECODING_FDS], struct cn_image *ret, struct cn_err *err)
{
    struct cn_decoding_reply reply;
    int rc = send_request(d, request, fd, err);

    if (rc < 0)
        return rc;
    rc = cn_child_receive(&d->child, &reply, sizeof(reply), d->o.cpu_ms, d->o.wall_ms, err);
    if (rc == CN_OK && !cn_decoding_reply_is_sound(&reply, &request->limits))
        rc = CN_EFORMAT;
    if (rc < 0)
        return lost(d, rc, err);
    cn_keeper_retire(&d->keeper, &d->child);
    return cn_decoding_take_reply(&reply, fd[1], ret, err);
}

int cn_decoder_decode(struct cn_decoder *d, const void *data, size_t len,
                      const struct cn_image_limits *limits, struct cn_image *ret,
                      struct cn_err *err)
{
    const struct cn_image_limits *l = limits != NULL ? limits : &default_limits;
    struct cn_decoding_request request = {
        .type = CN_DECODING_REQUEST, .len = len, .limits = *l};
    size_t most = l->max_pixels * CN_DECODING_CHANNELS;
    int fd[CN_DECODING_FDS], rc = 1;

    CN_ASSERT(l->max_side > 0 && l->max_pixels > 0 && most <= CN_WALL_FILE_BYTES);
    if (l->max_bytes != 0 && len > l->max_bytes)
        return cn_fail(err, CN_ETOOBIG, "an image file of %zu bytes is over the limit of %zu", len,
                       l->max_bytes);
    fd[0] = sealed(data, len, len);
    fd[1] = fd[0] < 0 ? -1 : sealed(NULL, 0, most);
    if (fd[1] < 0)
        rc = cn_fail(err, CN_ENOMEM, "no memory for an image file of %zu bytes: %s", len,
                     strerror(errno));
    for (int tries = 0; tries < 2 && rc > 0; tries++)
        rc = ask(d, &request, fd, ret, err);
    if (rc > 0)
        rc = cn_fail(err, CN_ENOMEM,
                     "the decoder of the image was killed, as when memory is short");
    for (int i = 0; i < CN_DECODING_FDS; i++)
        if (fd[i] >= 0)
            close(fd[i]);
    cn_keeper_want(&d->keeper); /* it starts while the caller does what it does with this one */
    return rc;
}

/* ---- is it any good? ---- */

static int check_one(struct cn_decoder *d, const struct cn_buf *file, const struct cn_image *img,
                     struct cn_err *err)
{
    struct cn_image back = CN_IMAGE_NONE;
    int rc = cn_decoder_decode(d, file->data, file->len, NULL, &back, err);

    if (rc == CN_OK && (back.w != img->w || back.h != img->h || back.c != img->c))
        rc = cn_fail(err, CN_EINTERNAL, "a picture of %d by %d came back as %d by %d", img->w,
                     img->h, back.w, back.h);
    cn_image_release(&back);
    return rc;
}

int cn_decoder_check(struct cn_decoder *d, struct cn_err *err)
{
    enum { SIDE = 16, FILE_BYTES = 65536, QUALITY = 90 };
    struct cn_image img = CN_IMAGE_NONE;
    struct cn_err why = CN_ERR_INIT;
    struct cn_buf file;
    int rc = cn_image_init(&img, SIDE, SIDE, 3, err);

    if (rc < 0)
        return rc;
    memset(img.px, 128, cn_image_bytes(&img));
    cn_buf_init(&file, FILE_BYTES);
    for (int f = 0; rc == CN_OK && f < CN_FORMAT_COUNT; f++) {
        cn_buf_clear(&file);
        rc = f == CN_PNG    ? cn_png_encode(&img, NULL, 0, CN_PNG_LEVEL, &file, &why)
             : f == CN_JPEG ? cn_jpeg_encode(&img, QUALITY, &file, &why)
                            : cn_webp_encode(&img, QUALITY, &file, &why);
        if (rc == CN_OK)
            rc = check_one(d, &file, &img, &why);
    }
    cn_buf_release(&file);
    cn_image_release(&img);
    return rc < 0 ? cn_fail(err, CN_EIO, "pictures cannot be decoded: %s", why.msg) : CN_OK;
}
