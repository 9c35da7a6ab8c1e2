/* Payloads of the frames that go with serving many jobs: previews, beats, models coming and going.
 */
#include "base/base.h"
#include "wire/message_priv.h"
#include "base/mem.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TURN_MS 86400e3 /* a day: what is computed from it stays in range */

int cn_msg_put_preview(struct cn_buf *b, const struct cn_msg_preview *m, struct cn_err *err)
{
    struct cn_writer w;
    struct cn_pack *p = cn_writer_begin(&w, b, CN_FRAME_PREVIEW, err);

    cn_put_u64(p, m->id);
    cn_put_i32(p, m->index);
    cn_put_i32(p, m->step);
    cn_put_u8(p, m->format);
    cn_put_i32(p, m->width);
    cn_put_i32(p, m->height);
    cn_put_bytes(p, m->data, m->len);
    return cn_writer_end(&w, err);
}

int cn_msg_get_preview(const struct cn_frame *f, struct cn_msg_preview *m, struct cn_err *err)
{
    struct cn_unpack u = cn_reader(f);

    m->id = cn_get_u64(&u);
    m->index = cn_get_range(&u, 0, INT_MAX);
    m->step = cn_get_range(&u, 0, INT_MAX);
    m->format = (enum cn_format)cn_get_enum(&u, CN_FORMAT_COUNT);
    m->width = cn_get_range(&u, 1, 65536);
    m->height = cn_get_range(&u, 1, 65536);
    m->data = cn_get_borrow(&u, CN_WIRE_MAX_PREVIEW, &m->len);
    if (u.rc == CN_OK && m->len == 0)
        cn_unpack_fault(&u, CN_EFORMAT, "a preview without bytes");
    return cn_unpack_end(&u, "a preview frame", err);
}

int cn_msg_put_beat(struct cn_buf *b, const struct cn_msg_beat *m, struct cn_err *err)
{
    struct cn_writer w;
    struct cn_pack *p = cn_writer_begin(&w, b, CN_FRAME_BEAT, err);

    cn_put_i32(p, m->lanes);
    cn_put_i32(p, m->images);
    cn_put_f64(p, m->ms);
    return cn_writer_end(&w, err);
}

int cn_msg_get_beat(const struct cn_frame *f, struct cn_msg_beat *m, struct cn_err *err)
{
    struct cn_unpack u = cn_reader(f);

    m->lanes = cn_get_range(&u, 0, 65536);
    m->images = cn_get_range(&u, 0, 65536);
    m->ms = cn_get_f64(&u);
    if (u.rc == CN_OK && !(m->ms >= 0 && m->ms <= MAX_TURN_MS))
        cn_unpack_fault(&u, CN_EFORMAT, "the time of a turn is out of range");
    return cn_unpack_end(&u, "a beat frame", err);
}

int cn_msg_put_model(struct cn_buf *b, const struct cn_msg_model *m, struct cn_err *err)
{
    struct cn_writer w;
    struct cn_pack *p = cn_writer_begin(&w, b, CN_FRAME_MODEL, err);

    cn_put_str(p, m->name);
    cn_put_u8(p, m->state);
    cn_put_u64(p, m->bytes);
    cn_put_str(p, m->text);
    return cn_writer_end(&w, err);
}

int cn_msg_get_model(const struct cn_frame *f, struct cn_msg_model *m, struct cn_err *err)
{
    struct cn_unpack u = cn_reader(f);

    cn_get_text(&u, m->name, sizeof(m->name));
    m->state = (enum cn_residence)cn_get_enum(&u, CN_RESIDENCE_COUNT);
    m->bytes = cn_get_u64(&u);
    cn_get_text(&u, m->text, sizeof(m->text));
    return cn_unpack_end(&u, "a model frame", err);
}

int cn_msg_put_catalog(struct cn_buf *b, const struct cn_msg_catalog *m, struct cn_err *err)
{
    struct cn_writer w;
    struct cn_pack *p = cn_writer_begin(&w, b, CN_FRAME_CATALOG, err);

    cn_put_i32(p, m->added);
    cn_put_i32(p, m->changed);
    cn_put_i32(p, m->removed);
    cn_put_i32(p, m->n_models);
    for (int i = 0; i < m->n_models; i++)
        cn_put_model_info(p, &m->model[i]);
    cn_put_i32(p, m->n_passed);
    for (int i = 0; i < m->n_passed; i++) {
        cn_put_str(p, m->passed[i].name);
        cn_put_str(p, m->passed[i].why);
    }
    cn_put_adapters(p, m->adapter, m->n_adapters);
    cn_put_embeddings(p, m->embedding, m->n_embeddings);
    return cn_writer_end(&w, err);
}

void cn_msg_catalog_release(struct cn_msg_catalog *m)
{
    free(m->model);
    free(m->passed);
    free(m->adapter);
    free(m->embedding);
    memset(m, 0, sizeof(*m));
}

int cn_msg_get_catalog(const struct cn_frame *f, struct cn_msg_catalog *m, struct cn_err *err)
{
    struct cn_unpack u = cn_reader(f);
    int rc;

    memset(m, 0, sizeof(*m));
    m->added = cn_get_range(&u, 0, CN_WIRE_MAX_MODELS);
    m->changed = cn_get_range(&u, 0, CN_WIRE_MAX_MODELS);
    m->removed = cn_get_range(&u, 0, CN_WIRE_MAX_MODELS);
    m->n_models = cn_get_range(&u, 0, CN_WIRE_MAX_MODELS);
    m->model = cn_xcalloc((size_t)m->n_models + 1, sizeof(*m->model));
    for (int i = 0; i < m->n_models && u.rc == CN_OK; i++)
        cn_get_model_info(&u, &m->model[i]);
    m->n_passed = cn_get_range(&u, 0, CN_WIRE_MAX_PASSED);
    m->passed = cn_xcalloc((size_t)m->n_passed + 1, sizeof(*m->passed));
    for (int i = 0; i < m->n_passed && u.rc == CN_OK; i++) {
        cn_get_text(&u, m->passed[i].name, sizeof(m->passed[i].name));
        cn_get_text(&u, m->passed[i].why, sizeof(m->passed[i].why));
    }
    m->adapter = cn_get_adapters(&u, &m->n_adapters);
    m->embedding = cn_get_embeddings(&u, &m->n_embeddings);
    rc = cn_unpack_end(&u, "a catalogue frame", err);
    if (rc < 0)
        cn_msg_catalog_release(m);
    return rc;
}

int cn_msg_put_manage(struct cn_buf *b, const struct cn_msg_manage *m, struct cn_err *err)
{
    struct cn_writer w;
    struct cn_pack *p = cn_writer_begin(&w, b, CN_FRAME_MANAGE, err);

    cn_put_u64(p, m->number);
    cn_put_u8(p, m->action);
    cn_put_str(p, m->name);
    return cn_writer_end(&w, err);
}

int cn_msg_get_manage(const struct cn_frame *f, struct cn_msg_manage *m, struct cn_err *err)
{
    struct cn_unpack u = cn_reader(f);

    m->number = cn_get_u64(&u);
    m->action = (enum cn_manage)cn_get_enum(&u, CN_MANAGE_COUNT);
    cn_get_text(&u, m->name, sizeof(m->name));
    return cn_unpack_end(&u, "a manage frame", err);
}

int cn_msg_put_managed(struct cn_buf *b, const struct cn_msg_managed *m, struct cn_err *err)
{
    struct cn_writer w;
    struct cn_pack *p = cn_writer_begin(&w, b, CN_FRAME_MANAGED, err);

    cn_put_u64(p, m->number);
    cn_put_i32(p, m->err.code);
    cn_put_str(p, m->err.code < 0 ? m->err.msg : "");
    cn_put_str(p, m->err.code < 0 ? m->err.where : "");
    return cn_writer_end(&w, err);
}

int cn_msg_get_managed(const struct cn_frame *f, struct cn_msg_managed *m, struct cn_err *err)
{
    struct cn_unpack u = cn_reader(f);

    m->number = cn_get_u64(&u);
    m->err.code = cn_get_range(&u, CN_EINTERNAL, CN_OK);
    cn_get_text(&u, m->err.msg, sizeof(m->err.msg));
    cn_get_text(&u, m->err.where, sizeof(m->err.where));
    return cn_unpack_end(&u, "an answer about a model", err);
}
