/* Results. jansson makes the small objects; image bytes go straight into the buffer, once. */
#include "base/base.h"
#include "api/result.h"
#include "api/json_priv.h"
#include "base/base64.h"
#include "base/text.h"

#include <float.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

static int append(const char *text, size_t len, void *arg)
{
    return cn_buf_add(arg, text, len, NULL) == CN_OK ? 0 : -1;
}

/* DBL_DIG: what somebody sent as a decimal comes back as it was, 0.05 and not with 17 digits. */
int cn_json_put_take(struct cn_buf *out, json_t *v, struct cn_err *err)
{
    static const size_t flags = JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(DBL_DIG);
    int rc = v == NULL || json_dump_callback(v, append, out, flags) != 0;

    json_decref(v);
    return rc ? cn_fail(err, CN_ENOMEM, "cannot write JSON") : CN_OK;
}

json_t *cn_json_rounded(double v)
{
    return json_real(round(v * 1000) / 1000);
}

void cn_json_set(json_t **o, const char *name, json_t *v)
{
    if (*o == NULL) {
        json_decref(v);
    } else if (json_object_set_new(*o, name, v) < 0) {
        json_decref(*o);
        *o = NULL;
    }
}

void cn_json_add(json_t **list, json_t *v)
{
    if (*list == NULL) {
        json_decref(v);
    } else if (json_array_append_new(*list, v) < 0) {
        json_decref(*list);
        *list = NULL;
    }
}

static json_t *weights_json(const struct cn_spec_control *c)
{
    json_t *list;

    if (c->weights != CN_W_CUSTOM)
        return json_string(cn_enum_weights.name[c->weights]);
    list = json_array();
    for (int i = 0; i < c->n_weights; i++)
        cn_json_add(&list, json_real(c->weight[i]));
    return list;
}

static json_t *params_json(const struct cn_spec_control *c)
{
    json_t *o = json_object();

    for (int i = 0; i < c->n_params; i++)
        cn_json_set(&o, c->param[i].name, json_real(c->param[i].value));
    return o;
}

/* How the map is made of the image: what is not as usual. */
static void set_map(json_t **o, const struct cn_spec_control *c)
{
    if (c->n_params > 0)
        cn_json_set(o, "params", params_json(c));
    if (c->mask.len > 0)
        cn_json_set(o, "mask_bytes", json_integer((json_int_t)c->mask.len));
    if (c->resolution == CN_RESOLUTION_PIXEL_PERFECT)
        cn_json_set(o, "resolution", json_string("pixel_perfect"));
    else if (c->resolution > 0)
        cn_json_set(o, "resolution", json_integer(c->resolution));
    if (c->rules != CN_MAP_DIFFUSERS)
        cn_json_set(o, "rules", json_string(cn_enum_map_rules.name[c->rules]));
    if (c->return_map)
        cn_json_set(o, "return_map", json_true());
    if (c->passes != CN_PASSES_BOTH)
        cn_json_set(o, "passes", json_string(cn_enum_passes.name[c->passes]));
}

static json_t *control_json(const struct cn_spec_control *c)
{
    json_t *o =
        json_pack("{ss sI ss sf sf sf ss so ss}", "model", c->model, "image_bytes",
                  (json_int_t)c->image.len, "annotator", c->annotator, "strength", c->strength,
                  "start", c->start, "end", c->end, "branch", cn_enum_branch.name[c->branch],
                  "weights", weights_json(c), "resize", cn_enum_resize.name[c->resize]);

    set_map(&o, c);
    return o;
}

/* Of a job that draws nothing. */
static json_t *annotation_json(const struct cn_spec *s)
{
    const struct cn_spec_control *c = &s->control[0];
    json_t *o =
        json_pack("{ss ss sI ss ss si si si}", "kind", cn_enum_job_kind.name[s->kind], "annotator",
                  c->annotator, "image_bytes", (json_int_t)c->image.len, "resize",
                  cn_enum_resize.name[c->resize], "format", cn_enum_format.name[s->format],
                  "quality", s->quality, "width", s->width, "height", s->height);

    set_map(&o, c);
    return o;
}

json_t *cn_json_warnings(const struct cn_warnings *w)
{
    json_t *list = json_array();

    for (int i = 0; i < w->n; i++) {
        const struct cn_warning *v = &w->item[i];

        cn_json_add(&list, json_pack("{ss ss ss}", "code", cn_enum_warning.name[v->code], "pointer",
                                     v->where, "detail", v->text));
    }
    return list;
}

/* The size as it was asked for: a request takes one of both forms. */
static json_t *hires_json(const struct cn_spec_hires *h)
{
    json_t *o = json_pack("{si sf ss}", "steps", h->steps, "strength", h->strength, "upscaler",
                          cn_enum_upscaler.name[h->upscaler]);

    if (h->width > 0) {
        cn_json_set(&o, "width", json_integer(h->width));
        cn_json_set(&o, "height", json_integer(h->height));
    } else {
        cn_json_set(&o, "scale", json_real(h->scale));
    }
    if (h->sampler != CN_HIRES_SAME)
        cn_json_set(&o, "sampler", json_string(cn_enum_sampler.name[h->sampler]));
    if (h->schedule != CN_HIRES_SAME)
        cn_json_set(&o, "schedule", json_string(cn_enum_schedule.name[h->schedule]));
    if (h->prompt != NULL)
        cn_json_set(&o, "prompt", json_string(h->prompt));
    if (h->negative_prompt != NULL)
        cn_json_set(&o, "negative_prompt", json_string(h->negative_prompt));
    if (h->has_guidance)
        cn_json_set(&o, "guidance_scale", json_real(h->guidance_scale));
    return o;
}

/* Of init_image and mask. */
static void set_pictures(json_t **o, const struct cn_spec *s)
{
    if (s->init_image.len > 0) {
        cn_json_set(o, "init_image_bytes", json_integer((json_int_t)s->init_image.len));
        cn_json_set(o, "resize", json_string(cn_enum_resize.name[s->resize]));
    }
    if (s->mask.len > 0) {
        cn_json_set(o, "mask_bytes", json_integer((json_int_t)s->mask.len));
        cn_json_set(o, "mask_alpha", json_string(cn_enum_mask_alpha.name[s->mask_alpha]));
        cn_json_set(o, "mask_invert", json_boolean(s->mask_invert));
        cn_json_set(o, "mask_blur", json_real(s->mask_blur));
        cn_json_set(o, "mask_fill", json_string(cn_enum_mask_fill.name[s->mask_fill]));
        cn_json_set(o, "mask_only", json_boolean(s->mask_only));
        if (s->mask_only)
            cn_json_set(o, "mask_padding", json_integer(s->mask_padding));
        cn_json_set(o, "paste_back", json_boolean(s->paste_back));
    }
    if (s->depth.len > 0)
        cn_json_set(o, "depth_bytes", json_integer((json_int_t)s->depth.len));
    if (s->picture_rules != CN_MAP_DIFFUSERS)
        cn_json_set(o, "picture_rules", json_string(cn_enum_map_rules.name[s->picture_rules]));
    if (s->same_seed)
        cn_json_set(o, "same_seed", json_true());
    if (s->subseed_strength > 0) {
        cn_json_set(o, "subseed", json_integer((json_int_t)s->subseed));
        cn_json_set(o, "subseed_strength", json_real(s->subseed_strength));
    }
    if (s->seed_width > 0) {
        cn_json_set(o, "seed_width", json_integer(s->seed_width));
        cn_json_set(o, "seed_height", json_integer(s->seed_height));
    }
    cn_json_set(o, "metadata", json_boolean(s->metadata));
}

/* Sizes that the model is told, as far as the request says them. */
static void set_sizes(json_t **o, const struct cn_spec_sizes *z)
{
    if (z->original_width > 0)
        cn_json_set(o, "original_size",
                    json_pack("{si si}", "width", z->original_width, "height", z->original_height));
    if (z->crop_left > 0 || z->crop_top > 0)
        cn_json_set(o, "crop", json_pack("{si si}", "left", z->crop_left, "top", z->crop_top));
    if (z->target_width > 0)
        cn_json_set(o, "target_size",
                    json_pack("{si si}", "width", z->target_width, "height", z->target_height));
}

static json_t *drawing_json(const struct cn_spec *s)
{
    json_t *o = json_pack(
        "{ss ss ss ss ss si si si sf ss ss ss ss sf sI si si sf ss si}", "kind",
        cn_enum_job_kind.name[s->kind], "model", s->model, "prompt", s->prompt, "negative_prompt",
        s->negative_prompt, "prompt_syntax", cn_enum_prompt_syntax.name[s->prompt_syntax], "width",
        s->width, "height", s->height, "steps", s->steps, "guidance_scale", s->guidance_scale,
        "sampler", cn_enum_sampler.name[s->sampler], "schedule", cn_enum_schedule.name[s->schedule],
        "spacing", cn_enum_spacing.name[s->spacing], "rng", cn_enum_rng.name[s->rng], "eta", s->eta,
        "seed", (json_int_t)s->seed, "n", s->n, "clip_skip", s->clip_skip, "denoise", s->denoise,
        "format", cn_enum_format.name[s->format], "quality", s->quality);
    json_t *controls = json_array();

    for (int i = 0; i < s->n_controls; i++)
        cn_json_add(&controls, control_json(&s->control[i]));
    set_pictures(&o, s);
    set_sizes(&o, &s->sizes);
    if (s->negative_prompt[0] == '\0')
        cn_json_set(&o, "zero_negative", json_boolean(s->zero_negative));
    cn_json_set(&o, "guidance_rescale", json_real(s->guidance_rescale));
    cn_json_set(&o, "pag_scale", json_real(s->pag_scale));
    cn_json_set(&o, "pag_adaptive_scale", json_real(s->pag_adaptive_scale));
    cn_json_set(&o, "decoder", json_string(cn_enum_decoder.name[s->decoder]));
    if (s->vae[0] != '\0')
        cn_json_set(&o, "vae", json_string(s->vae));
    if (s->hires.on)
        cn_json_set(&o, "hires", hires_json(&s->hires));
    cn_json_set(&o, "controls", controls);
    return o;
}

json_t *cn_json_spec(const struct cn_spec *s)
{
    return s->kind == CN_KIND_ANNOTATE ? annotation_json(s) : drawing_json(s);
}

/* Milliseconds with a thousandth, as text would not be shorter with all digits of a double. */
static double ms_of(int64_t from_ns, int64_t to_ns)
{
    return (double)((to_ns - from_ns) / 1000) / 1000;
}

static json_t *stages_json(const double *stage_ms)
{
    json_t *stages = json_object();

    for (int i = 0; i < CN_STAGE_COUNT; i++)
        if (stage_ms[i] > 0)
            cn_json_set(&stages, cn_enum_stage.name[i], cn_json_rounded(stage_ms[i]));
    return stages;
}

static json_t *timings_json(const struct cn_result *r)
{
    json_t *o = json_object();

    cn_json_set(&o, "queue", cn_json_rounded(r->queue_ms));
    cn_json_set(&o, "run", cn_json_rounded(r->run_ms));
    cn_json_set(&o, "total", cn_json_rounded(r->total_ms));
    cn_json_set(&o, "stages", stages_json(r->stage_ms));
    return o;
}

static int put_begin(const struct cn_result *r, struct cn_buf *out, struct cn_err *err)
{
    int rc = cn_buf_printf(out, err, "{\"id\":\"%s\",\"model\":", r->id);

    if (rc == CN_OK)
        rc = cn_json_put_take(out, json_string(r->spec->model), err);
    return rc == CN_OK ? cn_buf_adds(out, ",\"images\":[", err) : rc;
}

static int put_image(const struct cn_result *r, const struct cn_image_meta *m, int nth, int index,
                     struct cn_buf *out, struct cn_err *err)
{
    int map_of = r->spec->kind == CN_KIND_DRAW ? cn_spec_map_of(r->spec, index) : -1, rc;

    rc = cn_buf_printf(out, err,
                       "%s{\"index\":%d,\"seed\":%lu,\"format\":\"%s\",\"width\":%d,"
                       "\"height\":%d,",
                       nth == 0 ? "" : ",", index, (unsigned long)m->seed,
                       cn_enum_format.name[m->format], m->width, m->height);
    if (rc == CN_OK && map_of >= 0)
        rc = cn_buf_printf(out, err, "\"map_of\":%d,", map_of);
    return rc == CN_OK ? cn_buf_adds(out, "\"data\":\"", err) : rc;
}

static int put_image_end(const struct cn_result *r, struct cn_buf *out, struct cn_err *err)
{
    (void)r;
    return cn_buf_adds(out, "\"}", err);
}

static int put_end(const struct cn_result *r, struct cn_buf *out, struct cn_err *err)
{
    int rc = cn_buf_adds(out, "],\"parameters\":", err);

    if (rc == CN_OK)
        rc = cn_json_put_take(out, cn_json_spec(r->spec), err);
    if (rc == CN_OK)
        rc = cn_buf_adds(out, ",\"warnings\":", err);
    if (rc == CN_OK)
        rc = cn_json_put_take(out, cn_json_warnings(r->warnings), err);
    if (rc == CN_OK)
        rc = cn_buf_adds(out, ",\"timings_ms\":", err);
    if (rc == CN_OK)
        rc = cn_json_put_take(out, timings_json(r), err);
    return rc == CN_OK ? cn_buf_adds(out, "}\n", err) : rc;
}

const struct cn_result_form cn_result_native = {
    .begin = put_begin, .image = put_image, .image_end = put_image_end, .end = put_end};

int cn_result_warnings(const char *id, const struct cn_warnings *w, struct cn_buf *out,
                       struct cn_err *err)
{
    int rc =
        cn_json_put_take(out, json_pack("{ss so}", "id", id, "warnings", cn_json_warnings(w)), err);

    return rc == CN_OK ? cn_buf_adds(out, "\n", err) : rc;
}

/* May it stand in a string of RFC 9651 as it is? */
static bool is_plain(const char *s)
{
    while (*s >= ' ' && *s < 0x7f && *s != '"' && *s != '\\')
        s++;
    return *s == '\0';
}

void cn_warnings_field(const struct cn_warnings *w, char *text, size_t size)
{
    size_t at = 0;

    text[0] = '\0';
    for (int i = 0; i < w->n; i++) {
        const struct cn_warning *v = &w->item[i];
        const char *where = is_plain(v->where) ? v->where : "";
        int n = snprintf(text + at, size - at, "%s%s%s%s%s", at > 0 ? ", " : "",
                         cn_enum_warning.name[v->code], where[0] != '\0' ? ";pointer=\"" : "",
                         where, where[0] != '\0' ? "\"" : "");

        if (n < 0 || (size_t)n >= size - at) {
            text[at] = '\0';
            return;
        }
        at += (size_t)n;
    }
}

struct cn_result cn_result_of_job(const struct cn_job *job)
{
    return (struct cn_result){.id = job->name,
                              .spec = &job->spec,
                              .warnings = &job->warnings,
                              .queue_ms = ms_of(job->queued_ns, job->started_ns),
                              .run_ms = ms_of(job->started_ns, job->ended_ns),
                              .total_ms = ms_of(job->queued_ns, job->ended_ns),
                              .stage_ms = job->stage_ms};
}

/* Why something cannot be used, if it cannot; without paths. */
static void set_broken(json_t **o, const char *why)
{
    char broken[sizeof(((struct cn_model_info *)0)->broken)];

    if (why[0] == '\0')
        return;
    snprintf(broken, sizeof(broken), "%s", why);
    cn_hide_paths(broken);
    cn_json_set(o, "broken", json_string(broken));
}

static json_t *model_json(const struct cn_model_info *m, const struct cn_model_view *v,
                          bool is_default)
{
    json_t *o = json_pack("{ss ss ss}", "name", m->name, "kind", cn_enum_model_kind.name[m->kind],
                          "family", m->family);

    if (m->title[0] != '\0')
        cn_json_set(&o, "title", json_string(m->title));
    if (m->annotator[0] != '\0')
        cn_json_set(&o, "annotator", json_string(m->annotator));
    if (m->kind == CN_MODEL_BASE) {
        cn_json_set(&o, "width", json_integer(m->width));
        cn_json_set(&o, "height", json_integer(m->height));
        cn_json_set(&o, "multiple", json_integer(m->multiple));
        cn_json_set(&o, "default", json_boolean(is_default));
        cn_json_set(&o, "tiny_decoder", json_boolean(m->tiny_decoder));
    }
    if (m->latent_channels > 0)
        cn_json_set(&o, "latent_channels", json_integer(m->latent_channels));
    if (m->kind == CN_MODEL_VAE && m->multiple > 0)
        cn_json_set(&o, "multiple", json_integer(m->multiple));
    if (m->guidance > 0)
        cn_json_set(&o, "guidance_scale", json_real(m->guidance));
    set_broken(&o, m->broken);
    if (m->parameters != 0)
        cn_json_set(&o, "parameters", json_integer((json_int_t)m->parameters));
    if (m->bytes != 0)
        cn_json_set(&o, "bytes", json_integer((json_int_t)m->bytes));
    cn_json_set(&o, "state",
                json_string(cn_enum_residence.name[m->broken[0] ? CN_MODEL_BROKEN : v->state]));
    cn_json_set(&o, "workers", json_integer(v->workers));
    if (v->bytes != 0)
        cn_json_set(&o, "resident_bytes", json_integer((json_int_t)v->bytes));
    return o;
}

static int put_list(struct cn_buf *out, const char *name, json_t *list, struct cn_err *err)
{
    int rc = cn_json_put_take(out, json_pack("{so}", name, list), err);

    return rc == CN_OK ? cn_buf_adds(out, "\n", err) : rc;
}

static json_t *embedding_json(const struct cn_embedding_info *e)
{
    json_t *o = json_pack("{ss ss}", "name", e->name, "token", e->token);
    json_t *widths = json_array();

    set_broken(&o, e->broken);
    if (e->broken[0] != '\0') {
        json_decref(widths);
        return o;
    }
    cn_json_add(&widths, json_integer(e->width));
    if (e->width_2 > 0)
        cn_json_add(&widths, json_integer(e->width_2));
    cn_json_set(&o, "vectors", json_integer(e->vectors));
    cn_json_set(&o, "widths", widths);
    return o;
}

static json_t *adapter_json(const struct cn_adapter_info *a)
{
    json_t *o = json_pack("{ss}", "name", a->name);

    set_broken(&o, a->broken);
    if (a->broken[0] != '\0')
        return o;
    if (a->alias[0] != '\0')
        cn_json_set(&o, "alias", json_string(a->alias));
    cn_json_set(&o, "kind", json_string(a->kind));
    if (a->family[0] != '\0')
        cn_json_set(&o, "family", json_string(a->family));
    if (a->rank_max > 0) {
        cn_json_set(&o, "rank_min", json_integer(a->rank_min));
        cn_json_set(&o, "rank_max", json_integer(a->rank_max));
    }
    cn_json_set(&o, "layers", json_integer(a->layers));
    cn_json_set(&o, "unet", json_boolean(a->unet));
    cn_json_set(&o, "text", json_boolean(a->text));
    cn_json_set(&o, "bytes", json_integer((json_int_t)a->bytes));
    if (a->base[0] != '\0')
        cn_json_set(&o, "base", json_string(a->base));
    if (a->triggers[0] != '\0')
        cn_json_set(&o, "triggers", json_string(a->triggers));
    return o;
}

int cn_result_adapters(const struct cn_catalog *c, struct cn_buf *out, struct cn_err *err)
{
    json_t *list = json_array();

    for (int i = 0; i < c->n_adapters; i++)
        cn_json_add(&list, adapter_json(&c->adapter[i]));
    return put_list(out, "adapters", list, err);
}

static json_t *passed_json(const struct cn_catalog *c)
{
    json_t *list = json_array();

    for (int i = 0; i < c->n_passed; i++) {
        char why[sizeof(c->passed[i].why)];

        snprintf(why, sizeof(why), "%s", c->passed[i].why);
        cn_hide_paths(why);
        cn_json_add(&list, json_pack("{ss ss}", "name", c->passed[i].name, "reason", why));
    }
    return list;
}

int cn_result_model(const struct cn_dispatch *d, const char *name, struct cn_buf *out,
                    struct cn_err *err)
{
    const struct cn_catalog *c = cn_dispatch_catalog(d);
    const struct cn_model_info *m = NULL;
    struct cn_model_view v = cn_dispatch_model(d, name);
    json_t *o;
    int rc;

    for (int i = 0; i < c->n && m == NULL; i++)
        if (strcmp(c->model[i].name, name) == 0)
            m = &c->model[i];
    if (m == NULL)
        return cn_fail(err, CN_ENOTFOUND, "there is no model \"%s\"", name);
    o = model_json(m, &v, m == cn_catalog_default(c));
    cn_json_set(&o, "id", json_string(m->name));
    cn_json_set(&o, "object", json_string("model"));
    cn_json_set(&o, "created", json_integer(0));
    cn_json_set(&o, "owned_by", json_string("controlnetd"));
    rc = cn_json_put_take(out, o, err);
    return rc == CN_OK ? cn_buf_adds(out, "\n", err) : rc;
}

int cn_result_models(const struct cn_dispatch *d, struct cn_buf *out, struct cn_err *err)
{
    const struct cn_catalog *c = cn_dispatch_catalog(d);
    const struct cn_model_info *preset = cn_catalog_default(c);
    json_t *list = json_array(), *embeddings = json_array(), *data = json_array();
    int rc;

    for (int i = 0; i < c->n; i++) {
        struct cn_model_view v = cn_dispatch_model(d, c->model[i].name);

        cn_json_add(&list, model_json(&c->model[i], &v, &c->model[i] == preset));
        if (c->model[i].kind == CN_MODEL_BASE && c->model[i].broken[0] == '\0')
            cn_json_add(&data, json_pack("{ss ss si ss}", "id", c->model[i].name, "object", "model",
                                         "created", 0, "owned_by", "controlnetd"));
    }
    for (int i = 0; i < c->n_embeddings; i++)
        cn_json_add(&embeddings, embedding_json(&c->embedding[i]));
    rc = cn_json_put_take(out,
                          json_pack("{ss so so so so}", "object", "list", "data", data, "models",
                                    list, "embeddings", embeddings, "passed_over", passed_json(c)),
                          err);
    return rc == CN_OK ? cn_buf_adds(out, "\n", err) : rc;
}

static json_t *names_json(const struct cn_enum *e)
{
    json_t *list = json_array();

    for (int i = 0; i < e->count; i++)
        cn_json_add(&list, json_string(e->name[i]));
    return list;
}

int cn_result_samplers(struct cn_buf *out, struct cn_err *err)
{
    struct cn_spec s;
    int rc;

    cn_spec_init(&s);
    rc = cn_json_put_take(
        out,
        json_pack("{so so so so so s{ss ss ss ss}}", "samplers", names_json(&cn_enum_sampler),
                  "schedules", names_json(&cn_enum_schedule), "spacings",
                  names_json(&cn_enum_spacing), "rngs", names_json(&cn_enum_rng), "upscalers",
                  names_json(&cn_enum_upscaler), "defaults", "sampler",
                  cn_enum_sampler.name[s.sampler], "schedule", cn_enum_schedule.name[s.schedule],
                  "spacing", cn_enum_spacing.name[s.spacing], "rng", cn_enum_rng.name[s.rng]),
        err);
    cn_spec_release(&s);
    return rc == CN_OK ? cn_buf_adds(out, "\n", err) : rc;
}

static json_t *annotator_json(const struct cn_annotator_info *a)
{
    json_t *o = json_pack("{ss ss}", "name", a->name, "title", a->title), *params = json_array();

    for (int i = 0; i < a->n_params; i++) {
        const struct cn_annotator_param_info *p = &a->param[i];

        cn_json_add(&params, json_pack("{ss ss sf sf sf ss}", "name", p->name, "title", p->title,
                                       "minimum", p->min, "maximum", p->max, "default", p->preset,
                                       "type", p->real ? "number" : "integer"));
    }
    cn_json_set(&o, "params", params);
    if (a->takes_mask)
        cn_json_set(&o, "takes_mask", json_true());
    if (a->network)
        cn_json_set(&o, "network", json_true());
    return o;
}

int cn_result_annotators(const struct cn_catalog *c, struct cn_buf *out, struct cn_err *err)
{
    json_t *list = json_array();

    cn_json_add(&list, json_pack("{ss ss s[]}", "name", "none", "title",
                                 "the image is a control map already", "params"));
    for (int i = 0; i < c->n_annotators; i++)
        cn_json_add(&list, annotator_json(&c->annotator[i]));
    return put_list(out, "annotators", list, err);
}
