/* What txt2img and img2img answer: pictures, the request, and "info", which is JSON in a string
 * (modules/processing.py, Processed.js). */
#include "base/base.h"
#include "api/a1111.h"
#include "api/a1111_names.h"
#include "api/json_priv.h"
#include "api/skeleton.h"
#include "base/clock.h"
#include "base/escape.h"
#include "base/infotext.h"
#include "base/json.h"
#include "base/mem.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INFO_MAX = 1 << 20 };

static int put_begin(const struct cn_result *r, struct cn_buf *out, struct cn_err *err)
{
    (void)r;
    return cn_buf_adds(out, "{\"images\":[", err);
}

static int put_image(const struct cn_result *r, const struct cn_image_meta *m, int nth, int index,
                     struct cn_buf *out, struct cn_err *err)
{
    (void)r;
    (void)m;
    (void)index;
    return cn_buf_adds(out, nth == 0 ? "\"" : ",\"", err);
}

static int put_image_end(const struct cn_result *r, struct cn_buf *out, struct cn_err *err)
{
    (void)r;
    return cn_buf_adds(out, "\"", err);
}

static json_t *repeated(const char *text, int n)
{
    json_t *list = json_array();

    for (int i = 0; i < n; i++)
        cn_json_add(&list, json_string(text));
    return list;
}

/* of: the seed, or the subseed, of image i. */
static json_t *seeds(const struct cn_spec *s, uint64_t (*of)(const struct cn_spec *s, int i))
{
    json_t *list = json_array();

    for (int i = 0; i < s->n; i++)
        cn_json_add(&list, json_integer((json_int_t)of(s, i)));
    return list;
}

static json_t *infotexts(const struct cn_spec *s)
{
    json_t *list = json_array();
    struct cn_infotext_facts f = {.model = s->model};

    cn_spec_final_size(s, s->width, s->height, &f.width, &f.height);
    for (int i = 0; i < s->n; i++) {
        char *text;

        f.seed = cn_spec_seed_of(s, i);
        f.image = i;
        text = cn_infotext(s, &f);
        cn_json_add(&list, text == NULL ? NULL : json_string(text));
        free(text);
    }
    return list;
}

/* "20261122220000" */
static json_t *timestamp(void)
{
    char iso[CN_TIME_TEXT], text[15];
    size_t n = 0;

    cn_time_text(cn_wall_us(), iso);
    for (const char *p = iso; *p != '\0' && n + 1 < sizeof(text); p++)
        if (isdigit((unsigned char)*p))
            text[n++] = *p;
    text[n] = '\0';
    return json_string(text);
}

static json_t *extra_parameters(const struct cn_spec *s)
{
    const struct cn_a1111_sampler *sampler = cn_a1111_sampler_of(s->sampler);
    const struct cn_a1111_schedule *schedule = cn_a1111_schedule_of(s->schedule, sampler);
    json_t *o = json_object();

    cn_json_set(&o, "Schedule type", json_string(schedule == NULL ? "Automatic" : schedule->label));
    return o;
}

/* One that was given, or takes part; where it does neither, the seed stands for it. */
static uint64_t subseed_of(const struct cn_spec *s, int i)
{
    return s->has_subseed ? cn_spec_subseed_of(s, i) : cn_spec_seed_of(s, i);
}

static json_t *info_json(const struct cn_spec *s)
{
    int clip_skip = s->clip_skip < 1 ? 1 : s->clip_skip;
    json_t *o = json_pack(
        "{ss ss sI si si ss sf si}", "prompt", s->prompt, "negative_prompt", s->negative_prompt,
        "seed", (json_int_t)s->seed, "width", s->width, "height", s->height, "sampler_name",
        cn_a1111_sampler_of(s->sampler)->name, "cfg_scale", s->guidance_scale, "steps", s->steps);

    cn_json_set(&o, "all_prompts", repeated(s->prompt, s->n));
    cn_json_set(&o, "all_negative_prompts", repeated(s->negative_prompt, s->n));
    cn_json_set(&o, "all_seeds", seeds(s, cn_spec_seed_of));
    cn_json_set(&o, "subseed", json_integer((json_int_t)subseed_of(s, 0)));
    cn_json_set(&o, "all_subseeds", seeds(s, subseed_of));
    cn_json_set(&o, "subseed_strength", json_real(s->subseed_strength));
    cn_json_set(&o, "batch_size", json_integer(s->n));
    cn_json_set(&o, "restore_faces", json_false());
    cn_json_set(&o, "face_restoration_model", json_null());
    cn_json_set(&o, "sd_model_name", json_string(s->model));
    cn_json_set(&o, "sd_model_hash", json_string(""));
    cn_json_set(&o, "sd_vae_name", s->vae[0] != '\0' ? json_string(s->vae) : json_null());
    cn_json_set(&o, "sd_vae_hash", json_null());
    cn_json_set(&o, "seed_resize_from_w", json_integer(s->seed_width > 0 ? s->seed_width : -1));
    cn_json_set(&o, "seed_resize_from_h", json_integer(s->seed_height > 0 ? s->seed_height : -1));
    cn_json_set(&o, "denoising_strength",
                s->init_image.len > 0 ? json_real(s->denoise)
                : s->hires.on         ? json_real(s->hires.strength)
                                      : json_null());
    cn_json_set(&o, "extra_generation_params", extra_parameters(s));
    cn_json_set(&o, "index_of_first_image", json_integer(0));
    cn_json_set(&o, "infotexts", infotexts(s));
    cn_json_set(&o, "styles", json_array());
    cn_json_set(&o, "job_timestamp", timestamp());
    cn_json_set(&o, "clip_skip", json_integer(clip_skip));
    cn_json_set(&o, "is_using_inpainting_conditioning", json_false());
    cn_json_set(&o, "version", json_string(PACKAGE_STRING));
    return o;
}

static int put_info(const struct cn_spec *s, struct cn_buf *out, struct cn_err *err)
{
    struct cn_buf text;
    int rc;

    cn_buf_init(&text, INFO_MAX);
    rc = cn_json_put_take(&text, info_json(s), err);
    if (rc == CN_OK)
        rc = cn_escape_json(out, (const char *)text.data, text.len, err);
    cn_buf_release(&text);
    return rc;
}

static int put_warnings(const struct cn_result *r, struct cn_buf *out, struct cn_err *err)
{
    struct cn_warnings all = {0};
    int rc;

    if (r->beside != NULL)
        cn_warnings_add_all(&all, &r->beside->warnings);
    if (r->warnings != NULL)
        cn_warnings_add_all(&all, r->warnings);
    rc = cn_json_put_take(out, cn_json_warnings(&all), err);
    cn_warnings_release(&all);
    return rc;
}

static int put_end(const struct cn_result *r, struct cn_buf *out, struct cn_err *err)
{
    const char *echo = r->beside == NULL ? NULL : r->beside->echo;
    int rc = cn_buf_adds(out, "],\"parameters\":", err);

    if (rc == CN_OK)
        rc = cn_buf_adds(out, echo == NULL ? "{}" : echo, err);
    if (rc == CN_OK)
        rc = cn_buf_adds(out, ",\"info\":", err);
    if (rc == CN_OK)
        rc = put_info(r->spec, out, err);
    if (rc == CN_OK)
        rc = cn_buf_adds(out, ",\"warnings\":", err);
    if (rc == CN_OK)
        rc = put_warnings(r, out, err);
    return rc == CN_OK ? cn_buf_adds(out, "}\n", err) : rc;
}

const struct cn_result_form cn_result_a1111 = {
    .begin = put_begin, .image = put_image, .image_end = put_image_end, .end = put_end};

static int put_detect_begin(const struct cn_result *r, struct cn_buf *out, struct cn_err *err)
{
    (void)r;
    return cn_buf_adds(out, "{\"info\":\"Success\",\"images\":[", err);
}

static int put_detect_end(const struct cn_result *r, struct cn_buf *out, struct cn_err *err)
{
    (void)r;
    return cn_buf_adds(out, "]}\n", err);
}

const struct cn_result_form cn_result_a1111_detect = {.begin = put_detect_begin,
                                                      .image = put_image,
                                                      .image_end = put_image_end,
                                                      .end = put_detect_end};

/* ---- progress ---- */

static json_t *progress_json(const struct cn_a1111_progress *p)
{
    return json_pack("{sb sb sb ss si ss si si si}", "skipped", 0, "interrupted", p->interrupted,
                     "stopping_generation", 0, "job", p->active ? "task" : "", "job_count",
                     p->active ? p->n : 0, "job_timestamp", "0", "job_no", p->nth, "sampling_step",
                     p->step, "sampling_steps", p->steps);
}

int cn_a1111_put_progress(const struct cn_a1111_progress *p, const char *preview_base64,
                          struct cn_buf *out, struct cn_err *err)
{
    json_t *o = json_pack("{sf sf so}", "progress", p->active ? CN_MIN(p->fraction, 1.0) : 0.0,
                          "eta_relative", p->active && p->eta_s > 0 ? p->eta_s : 0.0, "state",
                          progress_json(p));

    cn_json_set(&o, "current_image",
                preview_base64 == NULL ? json_null() : json_string(preview_base64));
    cn_json_set(&o, "textinfo", p->text[0] == '\0' ? json_null() : json_string(p->text));
    return cn_json_put_take(out, o, err);
}

int cn_a1111_read_task(const void *body, size_t len, char *task, size_t size, bool *ret_preview,
                       struct cn_err *err)
{
    json_t *root = len > CN_JSON_MAX_TEXT ? NULL : cn_json_load(body, len, 0, NULL);
    const char *id = json_string_value(json_object_get(root, "id_task"));

    if (!json_is_object(root)) {
        json_decref(root);
        return cn_fail(err, CN_EFORMAT, "expected a JSON object with id_task");
    }
    *ret_preview = !json_is_false(json_object_get(root, "live_preview"));
    snprintf(task, size, "%s", id == NULL ? "" : id);
    json_decref(root);
    return CN_OK;
}

int cn_a1111_put_task(const struct cn_a1111_progress *p, bool queued, bool completed,
                      const char *preview, int id_preview, struct cn_buf *out, struct cn_err *err)
{
    json_t *o = json_pack("{sb sb sb}", "active", p->active && !queued, "queued", queued,
                          "completed", completed);

    cn_json_set(&o, "progress", p->active && !queued ? json_real(p->fraction) : json_null());
    cn_json_set(&o, "eta", p->active && p->eta_s > 0 ? json_real(p->eta_s) : json_null());
    cn_json_set(&o, "live_preview", preview == NULL ? json_null() : json_string(preview));
    cn_json_set(&o, "id_live_preview", json_integer(id_preview));
    cn_json_set(&o, "textinfo", p->text[0] == '\0' ? json_null() : json_string(p->text));
    return cn_json_put_take(out, o, err);
}
