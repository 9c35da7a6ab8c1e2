/* Bytes from the other end of the socket: cut into frames, each read as what it says it is. A job
 * of the present version that can be read must be written back as the same bytes. */
#include "base/base.h"
#include "base/buf.h"
#include "wire/frame.h"
#include "wire/message.h"
#include "wire/spec.h"

#include <stdint.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void job(const struct cn_frame *f)
{
    struct cn_spec s;
    struct cn_buf b;
    uint64_t id;

    if (cn_msg_get_job(f, &id, &s, NULL) < 0)
        return;
    cn_buf_init(&b, CN_FRAME_MAX);
    CN_ASSERT(cn_msg_put_job(&b, id, &s, NULL) == CN_OK);
    if (f->data[8] == CN_WIRE_SPEC_VERSION) {
        CN_ASSERT(b.len == f->len + CN_FRAME_HEAD);
        CN_ASSERT(memcmp(b.data + CN_FRAME_HEAD, f->data, f->len) == 0);
    }
    cn_buf_release(&b);
    cn_spec_release(&s);
}

static void one(const struct cn_frame *f)
{
    union {
        struct cn_msg_hello hello;
        struct cn_msg_state state;
        struct cn_msg_progress progress;
        struct cn_msg_image image;
        struct cn_msg_warning warning;
        struct cn_msg_done done;
        struct cn_msg_failed failed;
        struct cn_msg_gauges gauges;
        struct cn_msg_preview preview;
        struct cn_msg_beat beat;
        struct cn_msg_model model;
        struct cn_msg_catalog catalog;
        struct cn_msg_manage manage;
        struct cn_msg_managed managed;
        uint64_t number;
    } m;

    switch (f->type) {
    case CN_FRAME_HELLO:
        if (cn_msg_get_hello(f, &m.hello, NULL) == CN_OK)
            cn_msg_hello_release(&m.hello);
        break;
    case CN_FRAME_STATE:
        (void)cn_msg_get_state(f, &m.state, NULL);
        break;
    case CN_FRAME_PROGRESS:
        (void)cn_msg_get_progress(f, &m.progress, NULL);
        break;
    case CN_FRAME_IMAGE:
        (void)cn_msg_get_image(f, &m.image, NULL);
        break;
    case CN_FRAME_WARNING:
        (void)cn_msg_get_warning(f, &m.warning, NULL);
        break;
    case CN_FRAME_DONE:
        (void)cn_msg_get_done(f, &m.done, NULL);
        break;
    case CN_FRAME_FAILED:
        (void)cn_msg_get_failed(f, &m.failed, NULL);
        break;
    case CN_FRAME_GAUGES:
        (void)cn_msg_get_gauges(f, &m.gauges, NULL);
        break;
    case CN_FRAME_PREVIEW:
        (void)cn_msg_get_preview(f, &m.preview, NULL);
        break;
    case CN_FRAME_BEAT:
        (void)cn_msg_get_beat(f, &m.beat, NULL);
        break;
    case CN_FRAME_MODEL:
        (void)cn_msg_get_model(f, &m.model, NULL);
        break;
    case CN_FRAME_CATALOG:
        if (cn_msg_get_catalog(f, &m.catalog, NULL) == CN_OK)
            cn_msg_catalog_release(&m.catalog);
        break;
    case CN_FRAME_MANAGE:
        (void)cn_msg_get_manage(f, &m.manage, NULL);
        break;
    case CN_FRAME_MANAGED:
        (void)cn_msg_get_managed(f, &m.managed, NULL);
        break;
    case CN_FRAME_JOB:
        job(f);
        break;
    default:
        (void)cn_msg_get_number(f, &m.number, NULL);
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct cn_frame_decoder d;
    struct cn_frame f;
    size_t half = len / 2;
    int rc = 0;

    cn_frame_decoder_init(&d);
    for (int i = 0; i < 2 && rc >= 0; i++) {
        if (cn_frame_feed(&d, data + (i ? half : 0), i ? len - half : half, NULL) < 0)
            break;
        while ((rc = cn_frame_next(&d, &f, NULL)) > 0)
            one(&f);
    }
    cn_frame_decoder_release(&d);
    return 0;
}
