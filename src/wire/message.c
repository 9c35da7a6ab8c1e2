/* Payloads. The order of the put functions is the format. */
#include "base/base.h"
#include "wire/message_priv.h"
#include "wire/spec.h"
#include "base/mem.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

/* "CNWP", read as a little-endian number. */
#define MAGIC UINT32_C(0x50574e43)

static const char *const stage_names[CN_STAGE_COUNT] = {
    "load", "decode", "preprocess", "text", "controlnet", "unet", "vae", "encode"};
static const char *const kind_names[CN_MODEL_KIND_COUNT] = {"base", "controlnet", "vae"};

static const char *const residence_names[CN_RESIDENCE_COUNT] = {"unloaded", "loading", "loaded",
                                                                "broken"};

const struct cn_enum cn_enum_stage = {"stage", stage_names, CN_STAGE_COUNT};
const struct cn_enum cn_enum_model_kind = {"kind", kind_names, CN_MODEL_KIND_COUNT};
const struct cn_enum cn_enum_residence = {"state", residence_names, CN_RESIDENCE_COUNT};

struct cn_pack *cn_writer_begin(struct cn_writer *w, struct cn_buf *b, enum cn_frame_type type,
                                struct cn_err *err)
{
    w->p = (struct cn_pack){.buf = b, .err = err};
    w->start = b->len;
    w->p.rc = cn_frame_begin(b, type, &w->at, err);
    return &w->p;
}

int cn_writer_end(struct cn_writer *w, struct cn_err *err)
{
    if (w->p.rc == CN_OK)
        w->p.rc = cn_frame_end(w->p.buf, w->at, err);
    if (w->p.rc != CN_OK)
        w->p.buf->len = w->start;
    return w->p.rc;
}

struct cn_unpack cn_reader(const struct cn_frame *f)
{
    return (struct cn_unpack){.p = f->data, .left = f->len};
}

void cn_put_model_info(struct cn_pack *p, const struct cn_model_info *m)
{
    cn_put_str(p, m->name);
    cn_put_u8(p, m->kind);
    cn_put_str(p, m->family);
    cn_put_str(p, m->title);
    cn_put_str(p, m->annotator);
    cn_put_i32(p, m->width);
    cn_put_i32(p, m->height);
    cn_put_i32(p, m->multiple);
    cn_put_i32(p, m->latent_channels);
    cn_put_u8(p, m->is_default);
    cn_put_u64(p, m->parameters);
    cn_put_u64(p, m->bytes);
    cn_put_f64(p, m->guidance);
    cn_put_u8(p, m->tiny_decoder);
    cn_put_str(p, m->broken);
}

void cn_get_model_info(struct cn_unpack *u, struct cn_model_info *m)
{
    cn_get_text(u, m->name, sizeof(m->name));
    m->kind = (enum cn_model_kind)cn_get_enum(u, CN_MODEL_KIND_COUNT);
    cn_get_text(u, m->family, sizeof(m->family));
    cn_get_text(u, m->title, sizeof(m->title));
    cn_get_text(u, m->annotator, sizeof(m->annotator));
    m->width = cn_get_range(u, 0, 65536);
    m->height = cn_get_range(u, 0, 65536);
    m->multiple = cn_get_range(u, 0, 4096);
    m->latent_channels = cn_get_range(u, 0, 65536);
    m->is_default = cn_get_enum(u, 2) != 0;
    m->parameters = cn_get_u64(u);
    m->bytes = cn_get_u64(u);
    m->guidance = cn_get_f64(u);
    m->tiny_decoder = cn_get_enum(u, 2) != 0;
    cn_get_text(u, m->broken, sizeof(m->broken));
}

static void put_embedding(struct cn_pack *p, const struct cn_embedding_info *e)
{
    cn_put_str(p, e->name);
    cn_put_str(p, e->token);
    cn_put_i32(p, e->vectors);
    cn_put_i32(p, e->width);
    cn_put_i32(p, e->width_2);
    cn_put_str(p, e->broken);
}

static void get_embedding(struct cn_unpack *u, struct cn_embedding_info *e)
{
    cn_get_text(u, e->name, sizeof(e->name));
    cn_get_text(u, e->token, sizeof(e->token));
    e->vectors = cn_get_range(u, 0, 1024);
    e->width = cn_get_range(u, 0, 65536);
    e->width_2 = cn_get_range(u, 0, 65536);
    cn_get_text(u, e->broken, sizeof(e->broken));
}

void cn_put_embeddings(struct cn_pack *p, const struct cn_embedding_info *e, int n)
{
    cn_put_i32(p, n);
    for (int i = 0; i < n; i++)
        put_embedding(p, &e[i]);
}

struct cn_embedding_info *cn_get_embeddings(struct cn_unpack *u, int *ret_n)
{
    struct cn_embedding_info *e;

    *ret_n = cn_get_range(u, 0, CN_WIRE_MAX_EMBEDDINGS);
    e = cn_xcalloc((size_t)*ret_n + 1, sizeof(*e));
    for (int i = 0; i < *ret_n && u->rc == CN_OK; i++)
        get_embedding(u, &e[i]);
    return e;
}

static void put_annotator(struct cn_pack *p, const struct cn_annotator_info *a)
{
    cn_put_str(p, a->name);
    cn_put_str(p, a->title);
    cn_put_u8(p, a->takes_mask);
    cn_put_u8(p, a->network);
    cn_put_u8(p, (unsigned)a->n_params);
    for (int i = 0; i < a->n_params; i++) {
        cn_put_str(p, a->param[i].name);
        cn_put_str(p, a->param[i].title);
        cn_put_f64(p, a->param[i].min);
        cn_put_f64(p, a->param[i].max);
        cn_put_f64(p, a->param[i].preset);
        cn_put_u8(p, a->param[i].real);
    }
}

static void get_annotator(struct cn_unpack *u, struct cn_annotator_info *a)
{
    cn_get_text(u, a->name, sizeof(a->name));
    cn_get_text(u, a->title, sizeof(a->title));
    a->takes_mask = cn_get_enum(u, 2) != 0;
    a->network = cn_get_enum(u, 2) != 0;
    a->n_params = cn_get_enum(u, CN_MAX_ANNOTATOR_PARAMS + 1);
    for (int i = 0; i < a->n_params; i++) {
        cn_get_text(u, a->param[i].name, sizeof(a->param[i].name));
        cn_get_text(u, a->param[i].title, sizeof(a->param[i].title));
        a->param[i].min = cn_get_f64(u);
        a->param[i].max = cn_get_f64(u);
        a->param[i].preset = cn_get_f64(u);
        a->param[i].real = cn_get_enum(u, 2) != 0;
    }
}

static void put_adapter_info(struct cn_pack *p, const struct cn_adapter_info *a)
{
    cn_put_str(p, a->name);
    cn_put_str(p, a->alias);
    cn_put_str(p, a->kind);
    cn_put_str(p, a->family);
    cn_put_i32(p, a->rank_min);
    cn_put_i32(p, a->rank_max);
    cn_put_i32(p, a->layers);
    cn_put_u8(p, a->unet);
    cn_put_u8(p, a->text);
    cn_put_u64(p, a->bytes);
    cn_put_str(p, a->base);
    cn_put_str(p, a->triggers);
    cn_put_str(p, a->broken);
}

static void get_adapter_info(struct cn_unpack *u, struct cn_adapter_info *a)
{
    cn_get_text(u, a->name, sizeof(a->name));
    cn_get_text(u, a->alias, sizeof(a->alias));
    cn_get_text(u, a->kind, sizeof(a->kind));
    cn_get_text(u, a->family, sizeof(a->family));
    a->rank_min = cn_get_range(u, 0, INT_MAX);
    a->rank_max = cn_get_range(u, 0, INT_MAX);
    a->layers = cn_get_range(u, 0, INT_MAX);
    a->unet = cn_get_enum(u, 2) != 0;
    a->text = cn_get_enum(u, 2) != 0;
    a->bytes = cn_get_u64(u);
    cn_get_text(u, a->base, sizeof(a->base));
    cn_get_text(u, a->triggers, sizeof(a->triggers));
    cn_get_text(u, a->broken, sizeof(a->broken));
}

void cn_put_adapters(struct cn_pack *p, const struct cn_adapter_info *a, int n)
{
    cn_put_i32(p, n);
    for (int i = 0; i < n; i++)
        put_adapter_info(p, &a[i]);
}

struct cn_adapter_info *cn_get_adapters(struct cn_unpack *u, int *ret_n)
{
    struct cn_adapter_info *a;

    *ret_n = cn_get_range(u, 0, CN_WIRE_MAX_ADAPTERS);
    a = cn_xcalloc((size_t)*ret_n + 1, sizeof(*a));
    for (int i = 0; i < *ret_n && u->rc == CN_OK; i++)
        get_adapter_info(u, &a[i]);
    return a;
}

int cn_msg_put_hello(struct cn_buf *b, const struct cn_msg_hello *m, struct cn_err *err)
{
    struct cn_writer w;
    struct cn_pack *p = cn_writer_begin(&w, b, CN_FRAME_HELLO, err);

    cn_put_u32(p, MAGIC);
    cn_put_u16(p, CN_WIRE_VERSION);
    cn_put_i32(p, m->pid);
    cn_put_i32(p, m->capacity);
    cn_put_i32(p, m->lanes);
    cn_put_str(p, m->backend);
    cn_put_str(p, m->device);
    cn_put_str(p, m->build);
    cn_put_i32(p, m->n_models);
    for (int i = 0; i < m->n_models; i++)
        cn_put_model_info(p, &m->model[i]);
    cn_put_i32(p, m->n_annotators);
    for (int i = 0; i < m->n_annotators; i++)
        put_annotator(p, &m->annotator[i]);
    cn_put_embeddings(p, m->embedding, m->n_embeddings);
    cn_put_adapters(p, m->adapter, m->n_adapters);
    return cn_writer_end(&w, err);
}

void cn_msg_hello_release(struct cn_msg_hello *m)
{
    free(m->model);
    free(m->annotator);
    free(m->embedding);
    free(m->adapter);
    memset(m, 0, sizeof(*m));
}

int cn_msg_get_hello(const struct cn_frame *f, struct cn_msg_hello *m, struct cn_err *err)
{
    struct cn_unpack u = cn_reader(f);
    int rc;

    memset(m, 0, sizeof(*m));
    if (cn_get_u32(&u) != MAGIC)
        cn_unpack_fault(&u, CN_EFORMAT, "no controlnetd worker on the other side");
    if (cn_get_u16(&u) != CN_WIRE_VERSION)
        cn_unpack_fault(&u, CN_EFORMAT, "the worker speaks another version of the protocol");
    m->pid = cn_get_range(&u, 0, INT_MAX);
    m->capacity = cn_get_range(&u, 1, 1024);
    m->lanes = cn_get_range(&u, 1, 1024);
    cn_get_text(&u, m->backend, sizeof(m->backend));
    cn_get_text(&u, m->device, sizeof(m->device));
    cn_get_text(&u, m->build, sizeof(m->build));
    m->n_models = cn_get_range(&u, 0, CN_WIRE_MAX_MODELS);
    m->model = cn_xcalloc((size_t)m->n_models + 1, sizeof(*m->model));
    for (int i = 0; i < m->n_models && u.rc == CN_OK; i++)
        cn_get_model_info(&u, &m->model[i]);
    m->n_annotators = cn_get_range(&u, 0, CN_WIRE_MAX_ANNOTATORS);
    m->annotator = cn_xcalloc((size_t)m->n_annotators + 1, sizeof(*m->annotator));
    for (int i = 0; i < m->n_annotators && u.rc == CN_OK; i++)
        get_annotator(&u, &m->annotator[i]);
    m->embedding = cn_get_embeddings(&u, &m->n_embeddings);
    m->adapter = cn_get_adapters(&u, &m->n_adapters);
    rc = cn_unpack_end(&u, "a hello frame", err);
    if (rc < 0)
        cn_msg_hello_release(m);
    return rc;
}

int cn_msg_put_state(struct cn_buf *b, const struct cn_msg_state *m, struct cn_err *err)
{
    struct cn_writer w;
    struct cn_pack *p = cn_writer_begin(&w, b, CN_FRAME_STATE, err);

    cn_put_u8(p, m->state);
    cn_put_str(p, m->text);
    return cn_writer_end(&w, err);
}

int cn_msg_get_state(const struct cn_frame *f, struct cn_msg_state *m, struct cn_err *err)
{
    struct cn_unpack u = cn_reader(f);

    m->state = (enum cn_worker_state)cn_get_enum(&u, CN_WORKER_STATE_COUNT);
    cn_get_text(&u, m->text, sizeof(m->text));
    return cn_unpack_end(&u, "a state frame", err);
}

int cn_msg_put_progress(struct cn_buf *b, const struct cn_msg_progress *m, struct cn_err *err)
{
    struct cn_writer w;
    struct cn_pack *p = cn_writer_begin(&w, b, CN_FRAME_PROGRESS, err);

    cn_put_u64(p, m->id);
    cn_put_u8(p, m->stage);
    cn_put_i32(p, m->image);
    cn_put_i32(p, m->step);
    cn_put_i32(p, m->steps);
    cn_put_i32(p, m->done);
    cn_put_i32(p, m->total);
    return cn_writer_end(&w, err);
}

int cn_msg_get_progress(const struct cn_frame *f, struct cn_msg_progress *m, struct cn_err *err)
{
    struct cn_unpack u = cn_reader(f);

    m->id = cn_get_u64(&u);
    m->stage = (enum cn_stage)cn_get_enum(&u, CN_STAGE_COUNT);
    m->image = cn_get_range(&u, 0, INT_MAX);
    m->step = cn_get_range(&u, 0, INT_MAX);
    m->steps = cn_get_range(&u, 0, INT_MAX);
    m->done = cn_get_range(&u, 0, INT_MAX);
    m->total = cn_get_range(&u, 0, INT_MAX);
    return cn_unpack_end(&u, "a progress frame", err);
}

int cn_msg_put_image(struct cn_buf *b, const struct cn_msg_image *m, struct cn_err *err)
{
    struct cn_writer w;
    struct cn_pack *p = cn_writer_begin(&w, b, CN_FRAME_IMAGE, err);

    cn_put_u64(p, m->id);
    cn_put_u64(p, m->meta.seed);
    cn_put_i32(p, m->index);
    cn_put_u8(p, m->meta.format);
    cn_put_i32(p, m->meta.width);
    cn_put_i32(p, m->meta.height);
    cn_put_bytes(p, m->data, m->meta.bytes);
    return cn_writer_end(&w, err);
}

int cn_msg_get_image(const struct cn_frame *f, struct cn_msg_image *m, struct cn_err *err)
{
    struct cn_unpack u = cn_reader(f);

    m->id = cn_get_u64(&u);
    m->meta.seed = cn_get_u64(&u);
    m->index = cn_get_range(&u, 0, INT_MAX);
    m->meta.format = (enum cn_format)cn_get_enum(&u, CN_FORMAT_COUNT);
    m->meta.width = cn_get_range(&u, 1, 65536);
    m->meta.height = cn_get_range(&u, 1, 65536);
    m->data = cn_get_borrow(&u, CN_FRAME_MAX, &m->meta.bytes);
    if (u.rc == CN_OK && m->meta.bytes == 0)
        cn_unpack_fault(&u, CN_EFORMAT, "an image without bytes");
    return cn_unpack_end(&u, "an image frame", err);
}

int cn_msg_put_warning(struct cn_buf *b, const struct cn_msg_warning *m, struct cn_err *err)
{
    struct cn_writer w;
    struct cn_pack *p = cn_writer_begin(&w, b, CN_FRAME_WARNING, err);

    cn_put_u64(p, m->id);
    cn_put_u8(p, m->warning.code);
    cn_put_str(p, m->warning.where);
    cn_put_str(p, m->warning.text);
    return cn_writer_end(&w, err);
}

int cn_msg_get_warning(const struct cn_frame *f, struct cn_msg_warning *m, struct cn_err *err)
{
    struct cn_unpack u = cn_reader(f);

    m->id = cn_get_u64(&u);
    m->warning.code = (enum cn_warning_code)cn_get_enum(&u, CN_WARNING_COUNT);
    cn_get_text(&u, m->warning.where, sizeof(m->warning.where));
    cn_get_text(&u, m->warning.text, sizeof(m->warning.text));
    return cn_unpack_end(&u, "a warning frame", err);
}

int cn_msg_put_done(struct cn_buf *b, const struct cn_msg_done *m, struct cn_err *err)
{
    struct cn_writer w;
    struct cn_pack *p = cn_writer_begin(&w, b, CN_FRAME_DONE, err);

    cn_put_u64(p, m->id);
    for (int i = 0; i < CN_STAGE_COUNT; i++)
        cn_put_f64(p, m->ms[i]);
    return cn_writer_end(&w, err);
}

int cn_msg_get_done(const struct cn_frame *f, struct cn_msg_done *m, struct cn_err *err)
{
    struct cn_unpack u = cn_reader(f);

    m->id = cn_get_u64(&u);
    for (int i = 0; i < CN_STAGE_COUNT; i++)
        m->ms[i] = cn_get_f64(&u);
    return cn_unpack_end(&u, "a done frame", err);
}

int cn_msg_put_failed(struct cn_buf *b, const struct cn_msg_failed *m, struct cn_err *err)
{
    struct cn_writer w;
    struct cn_pack *p = cn_writer_begin(&w, b, CN_FRAME_FAILED, err);

    cn_put_u64(p, m->id);
    cn_put_i32(p, m->err.code);
    cn_put_str(p, m->err.msg);
    cn_put_str(p, m->err.where);
    return cn_writer_end(&w, err);
}

int cn_msg_get_failed(const struct cn_frame *f, struct cn_msg_failed *m, struct cn_err *err)
{
    struct cn_unpack u = cn_reader(f);

    m->id = cn_get_u64(&u);
    m->err.code = cn_get_range(&u, CN_EINTERNAL, -1);
    cn_get_text(&u, m->err.msg, sizeof(m->err.msg));
    cn_get_text(&u, m->err.where, sizeof(m->err.where));
    return cn_unpack_end(&u, "a failure frame", err);
}

int cn_msg_put_gauges(struct cn_buf *b, const struct cn_msg_gauges *m, struct cn_err *err)
{
    struct cn_writer w;
    struct cn_pack *p = cn_writer_begin(&w, b, CN_FRAME_GAUGES, err);

    cn_put_u8(p, (unsigned)m->n);
    for (int i = 0; i < m->n; i++) {
        cn_put_str(p, m->gauge[i].name);
        cn_put_f64(p, m->gauge[i].value);
    }
    return cn_writer_end(&w, err);
}

int cn_msg_get_gauges(const struct cn_frame *f, struct cn_msg_gauges *m, struct cn_err *err)
{
    struct cn_unpack u = cn_reader(f);

    memset(m, 0, sizeof(*m));
    m->n = cn_get_enum(&u, CN_WIRE_MAX_GAUGES + 1);
    for (int i = 0; i < m->n; i++) {
        cn_get_text(&u, m->gauge[i].name, sizeof(m->gauge[i].name));
        m->gauge[i].value = cn_get_f64(&u);
    }
    return cn_unpack_end(&u, "a gauges frame", err);
}

int cn_msg_put_job(struct cn_buf *b, uint64_t id, const struct cn_spec *s, struct cn_err *err)
{
    struct cn_writer w;
    struct cn_pack *p = cn_writer_begin(&w, b, CN_FRAME_JOB, err);

    cn_put_u64(p, id);
    cn_wire_put_spec(p, s);
    return cn_writer_end(&w, err);
}

int cn_msg_get_job(const struct cn_frame *f, uint64_t *ret_id, struct cn_spec *s,
                   struct cn_err *err)
{
    struct cn_unpack u = cn_reader(f);
    int rc;

    *ret_id = cn_get_u64(&u);
    rc = cn_wire_get_spec(&u, s);
    if (rc == CN_EINVAL)
        return cn_fail_at(err, rc, "/kind", "the worker does not know this kind of job");
    if (rc < 0)
        return cn_unpack_end(&u, "a job frame", err);
    rc = cn_unpack_end(&u, "a job frame", err);
    if (rc < 0)
        cn_spec_release(s);
    return rc;
}

int cn_msg_put_number(struct cn_buf *b, enum cn_frame_type type, uint64_t number,
                      struct cn_err *err)
{
    struct cn_writer w;
    struct cn_pack *p = cn_writer_begin(&w, b, type, err);

    cn_put_u64(p, number);
    return cn_writer_end(&w, err);
}

int cn_msg_get_number(const struct cn_frame *f, uint64_t *ret, struct cn_err *err)
{
    struct cn_unpack u = cn_reader(f);

    *ret = cn_get_u64(&u);
    return cn_unpack_end(&u, "a number frame", err);
}
