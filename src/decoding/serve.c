/* Requests in, pixels out. Behind the wall: each call here is one of those that it allows. */
#include "base/base.h"
#include "decoding/message.h"
#include "decoding/serve.h"
#include "decoding/wall.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

struct order {
    struct cn_decoding_request request;
    int fd[CN_DECODING_FDS];
};

/* 1, 0 at the end, or CN_EFORMAT. */
static int receive(int fd, struct order *ret)
{
    char control[CMSG_SPACE(sizeof(ret->fd))] = {0};
    struct iovec iov = {&ret->request, sizeof(ret->request)};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control,
                       .msg_controllen = sizeof(control)};
    ssize_t n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
    const struct cmsghdr *c = CMSG_FIRSTHDR(&m);

    if (n == 0)
        return 0;
    if (n != sizeof(ret->request) || ret->request.type != CN_DECODING_REQUEST || c == NULL ||
        c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(ret->fd)))
        return CN_EFORMAT;
    memcpy(ret->fd, CMSG_DATA(c), sizeof(ret->fd));
    return 1;
}

static int put_pixels(int fd, const struct cn_image *img, struct cn_err *err)
{
    size_t len = cn_image_bytes(img), at = 0;

    while (at < len) {
        ssize_t n = pwrite(fd, img->px + at, len - at, (off_t)at);

        if (n <= 0)
            return cn_fail(err, CN_ENOMEM, "no memory for a picture of %zu bytes", len);
        at += (size_t)n;
    }
    return CN_OK;
}

static int fill(const struct order *o, cn_decoding_fn decode, struct cn_image *img,
                struct cn_err *err)
{
    size_t len = (size_t)o->request.len;
    void *data = mmap(NULL, CN_MAX(len, (size_t)1), PROT_READ, MAP_SHARED, o->fd[0], 0);
    int rc;

    if (data == MAP_FAILED)
        return cn_fail(err, CN_ENOMEM, "no memory for an image file of %zu bytes", len);
    rc = decode(data, len, &o->request.limits, img, err);
    munmap(data, CN_MAX(len, (size_t)1));
    return rc == CN_OK ? put_pixels(o->fd[1], img, err) : rc;
}

static void answer(const struct order *o, cn_decoding_fn decode, struct cn_decoding_reply *ret)
{
    struct cn_image img = CN_IMAGE_NONE;
    struct cn_err err = CN_ERR_INIT;

    memset(ret, 0, sizeof(*ret));
    ret->type = CN_DECODING_REPLY;
    ret->rc = fill(o, decode, &img, &err);
    ret->w = img.w;
    ret->h = img.h;
    ret->c = img.c;
    snprintf(ret->msg, sizeof(ret->msg), "%s", err.msg);
    cn_image_release(&img);
    close(o->fd[0]);
    close(o->fd[1]);
}

int cn_decoding_serve(int fd, cn_decoding_fn decode)
{
    struct cn_decoding_hello hello = {.type = CN_DECODING_HELLO};
    struct cn_decoding_reply reply;
    struct order o;
    int rc = 1;

    close(CN_DECODING_PROGRAM_FD); /* it was started by it, if it is there */
    hello.layers = cn_wall_raise(CN_WALL_ALL);
    if (send(fd, &hello, sizeof(hello), MSG_NOSIGNAL) != sizeof(hello))
        return CN_EFORMAT;
    while ((rc = receive(fd, &o)) > 0) {
        answer(&o, decode, &reply);
        if (send(fd, &reply, sizeof(reply), MSG_NOSIGNAL) != sizeof(reply))
            return CN_EFORMAT;
    }
    return rc;
}
