/* What the web UI's clients ask for before they draw: options, models, samplers, and the lists of
 * what there is nothing of here, which are empty and well formed. */
#include "base/base.h"
#include "api/a1111.h"
#include "api/a1111_names.h"
#include "api/json_priv.h"

#include <string.h>

static int put_take(struct cn_buf *out, json_t *v, struct cn_err *err)
{
    int rc = cn_json_put_take(out, v, err);

    return rc == CN_OK ? cn_buf_adds(out, "\n", err) : rc;
}

static const char *current_model(const struct cn_a1111_facts *f)
{
    const struct cn_model_info *preset = cn_catalog_default(f->catalog);

    if (f->settings->model[0] != '\0')
        return f->settings->model;
    return preset == NULL ? "" : preset->name;
}

int cn_a1111_put_options(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err)
{
    static const char *const formats[CN_FORMAT_COUNT] = {"png", "jpg", "webp"};
    json_t *o = json_pack(
        "{ss sn ss si ss si sb ss si sb si ss sb sb si}", "sd_model_checkpoint", current_model(f),
        "sd_checkpoint_hash", "sd_vae",
        f->settings->vae[0] != '\0' ? f->settings->vae : "Automatic", "CLIP_stop_at_last_layers",
        f->settings->clip_skip, "samples_format", formats[f->settings->format], "jpeg_quality", 80,
        "samples_save", 0, "randn_source", f->settings->rng == CN_RNG_CPU ? "CPU" : "GPU",
        "eta_noise_seed_delta", 0, "live_previews_enable", 1, "show_progress_every_n_steps", 1,
        "show_progress_type", "Approx cheap", "enable_pnginfo", 1, "control_net_no_detectmap", 0,
        "control_net_unit_count", f->limits->max_controls);

    return put_take(out, o, err);
}

/* There are no hashes here: names are what models are called by. */
int cn_a1111_put_models(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err)
{
    json_t *list = json_array();

    for (int i = 0; i < f->catalog->n; i++) {
        const struct cn_model_info *m = &f->catalog->model[i];

        if (m->kind == CN_MODEL_BASE && m->broken[0] == '\0')
            cn_json_add(&list, json_pack("{ss ss sn sn ss sn}", "title", m->name, "model_name",
                                         m->name, "hash", "sha256", "filename", m->name, "config"));
    }
    return put_take(out, list, err);
}

int cn_a1111_put_vaes(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err)
{
    json_t *list = json_array();

    for (int i = 0; i < f->catalog->n; i++) {
        const struct cn_model_info *m = &f->catalog->model[i];

        if (m->kind == CN_MODEL_VAE && m->broken[0] == '\0')
            cn_json_add(&list, json_pack("{ss ss}", "model_name", m->name, "filename", m->name));
    }
    return put_take(out, list, err);
}

int cn_a1111_put_samplers(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err)
{
    json_t *list = json_array();

    (void)f;
    for (int i = 0; i < cn_a1111_n_samplers; i++) {
        const struct cn_a1111_sampler *s = &cn_a1111_samplers[i];
        json_t *aliases = json_array();

        for (size_t k = 0; k < CN_LEN(s->alias) && s->alias[k] != NULL; k++)
            cn_json_add(&aliases, json_string(s->alias[k]));
        cn_json_add(&list, json_pack("{ss so so}", "name", s->name, "aliases", aliases, "options",
                                     json_loads(s->options, 0, NULL)));
    }
    return put_take(out, list, err);
}

int cn_a1111_put_schedules(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err)
{
    json_t *list = json_array();

    (void)f;
    for (int i = 0; i < cn_a1111_n_schedules; i++) {
        const struct cn_a1111_schedule *s = &cn_a1111_schedules[i];

        cn_json_add(&list,
                    json_pack("{ss ss so sf sb}", "name", s->name, "label", s->label, "aliases",
                              s->alias == NULL ? json_null() : json_pack("[s]", s->alias),
                              "default_rho", s->rho, "need_inner_model", s->needs_model));
    }
    return put_take(out, list, err);
}

static json_t *embedding_json(const struct cn_embedding_info *e)
{
    return json_pack("{sn sn sn si si}", "step", "sd_checkpoint", "sd_checkpoint_name", "shape",
                     e->width, "vectors", e->vectors);
}

int cn_a1111_put_embeddings(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err)
{
    json_t *loaded = json_object(), *skipped = json_object();

    for (int i = 0; i < f->catalog->n_embeddings; i++) {
        const struct cn_embedding_info *e = &f->catalog->embedding[i];

        cn_json_set(e->broken[0] == '\0' ? &loaded : &skipped, e->name, embedding_json(e));
    }
    return put_take(out, json_pack("{so so}", "loaded", loaded, "skipped", skipped), err);
}

static json_t *upscaler_json(const char *name, int scale)
{
    return json_pack("{ss sn sn sn si}", "name", name, "model_name", "model_path", "model_url",
                     "scale", scale);
}

int cn_a1111_put_upscalers(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err)
{
    json_t *list = json_array();

    (void)f;
    cn_json_add(&list, upscaler_json("None", 4));
    for (int i = 0; i < cn_a1111_n_upscalers; i++)
        if (cn_upscaler_is_pixel(cn_a1111_upscalers[i].upscaler))
            cn_json_add(&list, upscaler_json(cn_a1111_upscalers[i].name, 4));
    return put_take(out, list, err);
}

int cn_a1111_put_latent_modes(const struct cn_a1111_facts *f, struct cn_buf *out,
                              struct cn_err *err)
{
    json_t *list = json_array();

    (void)f;
    for (int i = 0; i < cn_a1111_n_upscalers; i++)
        if (!cn_upscaler_is_pixel(cn_a1111_upscalers[i].upscaler))
            cn_json_add(&list, json_pack("{ss}", "name", cn_a1111_upscalers[i].name));
    return put_take(out, list, err);
}

/* Of what the trainer wrote into the file that which is known here, under its own names. */
static json_t *lora_notes(const struct cn_adapter_info *a)
{
    json_t *o = json_object();

    if (a->alias[0] != '\0')
        cn_json_set(&o, "ss_output_name", json_string(a->alias));
    if (a->base[0] != '\0')
        cn_json_set(&o, "ss_base_model_version", json_string(a->base));
    if (a->triggers[0] != '\0')
        cn_json_set(&o, "modelspec.trigger_phrase", json_string(a->triggers));
    return o;
}

/* Adapters of every kind: tags of prompts name them all as <lora:NAME>. */
int cn_a1111_put_loras(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err)
{
    json_t *list = json_array();

    for (int i = 0; i < f->catalog->n_adapters; i++) {
        const struct cn_adapter_info *a = &f->catalog->adapter[i];

        if (a->broken[0] == '\0')
            cn_json_add(&list, json_pack("{ss ss ss so}", "name", a->name, "alias",
                                         a->alias[0] != '\0' ? a->alias : a->name, "path", a->name,
                                         "metadata", lora_notes(a)));
    }
    return put_take(out, list, err);
}

/* Devices are the workers' own, and told by /metrics. */
int cn_a1111_put_memory(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err)
{
    return put_take(out,
                    json_pack("{s{sI sI sI} s{ss}}", "ram", "free", (json_int_t)f->ram_free, "used",
                              (json_int_t)(f->ram_total - f->ram_free), "total",
                              (json_int_t)f->ram_total, "cuda", "error", "unavailable"),
                    err);
}

/* No paths, and nobody's credentials. */
int cn_a1111_put_flags(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err)
{
    (void)f;
    return put_take(out,
                    json_pack("{sb sb sb sb sn sn}", "api", 1, "nowebui", 1, "listen", 0, "medvram",
                              0, "port", "theme"),
                    err);
}

int cn_a1111_put_scripts(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err)
{
    (void)f;
    return put_take(out, json_pack("{s[s] s[s]}", "txt2img", "controlnet", "img2img", "controlnet"),
                    err);
}

int cn_a1111_put_script_info(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err)
{
    json_t *list = json_array();

    for (int k = 0; k < 2; k++) {
        json_t *args = json_array();

        for (int i = 0; i < f->limits->max_controls; i++)
            cn_json_add(&args, json_pack("{ss sn sn sn sn sn}", "label", "ControlNet Unit", "value",
                                         "minimum", "maximum", "step", "choices"));
        cn_json_add(&list, json_pack("{ss sb sb so}", "name", "controlnet", "is_alwayson", 1,
                                     "is_img2img", k == 1, "args", args));
    }
    return put_take(out, list, err);
}

int cn_a1111_put_empty_list(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err)
{
    (void)f;
    return cn_buf_adds(out, "[]\n", err);
}

int cn_a1111_put_empty_object(const struct cn_a1111_facts *f, struct cn_buf *out,
                              struct cn_err *err)
{
    (void)f;
    return cn_buf_adds(out, "{}\n", err);
}
