/* Infotext: AUTOMATIC1111 modules/processing.py create_infotext(), and the ControlNet extension's
 * internal_controlnet/external_code fields. */
#include "base/base.h"
#include "base/infotext.h"
#include "base/buf.h"
#include "base/escape.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 1 << 20 }; /* what readers of PNG text accept */

/* As the field's programs call them. */
static const char *const sampler_titles[CN_SAMPLER_COUNT] = {
    "DDIM",       "Euler",   "Euler a",    "Heun",      "DPM++ 2M",          "DPM++ 2M SDE",
    "UniPC",      "LCM",     "PLMS",       "DPM++ SDE", "DPM++ 2M SDE Heun", "DPM++ 3M SDE",
    "DPM++ 2S a", "DPM2",    "DPM2 a",     "LMS",       "HeunPP2",           "DEIS",
    "TCD",        "Restart", "Euler CFG++"};

/* beta_timesteps is the form that later programs call Beta. */
static const char *const schedule_titles[CN_SCHEDULE_COUNT] = {
    NULL,     "Karras", "Exponential", "Polyexponential", "SGM Uniform",     "Normal",
    "Simple", "Beta",   "Beta",        "KL Optimal",      "Align Your Steps"};

static const char *const resize_titles[CN_RESIZE_COUNT] = {"Just Resize", "Crop and Resize",
                                                           "Resize and Fill"};

/* A value with a comma, a colon or a line break becomes a JSON string. */
static void put_value(struct cn_buf *b, const char *value)
{
    if (strpbrk(value, ",:\n") != NULL || strchr("\" \t", value[0]) != NULL)
        cn_escape_json(b, value, strlen(value), NULL);
    else
        cn_buf_adds(b, value, NULL);
}

static void put(struct cn_buf *b, const char *key, const char *value)
{
    if (value[0] == '\0')
        return;
    cn_buf_printf(b, NULL, ", %s: ", key);
    put_value(b, value);
}

/* As few digits as read back to the same number. */
static const char *real(double v, char text[32])
{
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, 32, "%.*g", digits, v);
        if (strtod(text, NULL) == v)
            break;
    }
    return text;
}

static void put_real(struct cn_buf *b, const char *key, double v)
{
    char text[32];

    cn_buf_printf(b, NULL, ", %s: %s", key, real(v, text));
}

/* Soft weights on both branches favour the prompt, on one of them the control. */
static const char *mode_of(const struct cn_spec_control *c)
{
    if (c->weights != CN_W_SOFT)
        return "Balanced";
    return c->branch == CN_BRANCH_COND ? "ControlNet is more important"
                                       : "My prompt is more important";
}

/* Inside the value there is no quoting: names with a comma or a colon are left out. */
static const char *plain(const char *name)
{
    return strpbrk(name, ",:\n") == NULL ? name : "";
}

static void put_control(struct cn_buf *b, int i, const struct cn_spec_control *c)
{
    struct cn_buf text;
    char key[32], weight[32], start[32], end[32];

    cn_buf_init(&text, MAX_TEXT);
    cn_buf_printf(&text, NULL,
                  "Module: %s, Model: %s, Weight: %s, Resize Mode: %s, Guidance Start: %s, "
                  "Guidance End: %s, Control Mode: %s",
                  plain(c->annotator), plain(c->model), real(c->strength, weight),
                  resize_titles[c->resize], real(c->start, start), real(c->end, end), mode_of(c));
    snprintf(key, sizeof(key), "ControlNet %d", i);
    put(b, key, (const char *)text.data);
    cn_buf_release(&text);
}

static void put_hires(struct cn_buf *b, const struct cn_spec_hires *h)
{
    static const char *const titles[CN_UPSCALER_COUNT] = {"Latent",
                                                          "Latent (nearest)",
                                                          "Latent (nearest-exact)",
                                                          "Latent (antialiased)",
                                                          "Latent (bicubic)",
                                                          "Latent (bicubic antialiased)",
                                                          "Nearest",
                                                          "Bicubic",
                                                          "Lanczos"};

    put_real(b, "Denoising strength", h->strength);
    if (h->width > 0)
        cn_buf_printf(b, NULL, ", Hires resize: %dx%d", h->width, h->height);
    else
        put_real(b, "Hires upscale", h->scale);
    if (h->steps > 0)
        cn_buf_printf(b, NULL, ", Hires steps: %d", h->steps);
    put(b, "Hires upscaler", titles[h->upscaler]);
    if (h->sampler != CN_HIRES_SAME)
        put(b, "Hires sampler", sampler_titles[h->sampler]);
    if (h->schedule != CN_HIRES_SAME && schedule_titles[h->schedule] != NULL)
        put(b, "Hires schedule type", schedule_titles[h->schedule]);
    if (h->has_guidance)
        put_real(b, "Hires CFG Scale", h->guidance_scale);
    if (h->prompt != NULL)
        put(b, "Hires prompt", h->prompt);
    if (h->negative_prompt != NULL)
        put(b, "Hires negative prompt", h->negative_prompt);
}

/* No field of theirs says these, so that they have names of our own. */
static void put_sizes(struct cn_buf *b, const struct cn_spec_sizes *z)
{
    if (z->original_width > 0)
        cn_buf_printf(b, NULL, ", Original size: %dx%d", z->original_width, z->original_height);
    if (z->crop_left > 0 || z->crop_top > 0)
        cn_buf_printf(b, NULL, ", Crop: %dx%d", z->crop_left, z->crop_top);
    if (z->target_width > 0)
        cn_buf_printf(b, NULL, ", Target size: %dx%d", z->target_width, z->target_height);
}

static void put_variation(struct cn_buf *b, const struct cn_spec *s,
                          const struct cn_infotext_facts *f)
{
    if (s->subseed_strength > 0) {
        cn_buf_printf(b, NULL, ", Variation seed: %" PRIu64, cn_spec_subseed_of(s, f->image));
        put_real(b, "Variation seed strength", s->subseed_strength);
    }
    if (s->seed_width > 0)
        cn_buf_printf(b, NULL, ", Seed resize from: %dx%d", s->seed_width, s->seed_height);
}

/* What is not as usual. */
static void put_mask(struct cn_buf *b, const struct cn_spec *s)
{
    static const char *const fills[CN_MASK_FILL_COUNT] = {NULL, "fill", "latent noise",
                                                          "latent nothing"};

    if (s->mask_blur > 0)
        put_real(b, "Mask blur", s->mask_blur);
    if (s->mask_invert)
        put(b, "Mask mode", "Inpaint not masked");
    if (fills[s->mask_fill] != NULL)
        put(b, "Masked content", fills[s->mask_fill]);
    if (s->mask_only) {
        put(b, "Inpaint area", "Only masked");
        cn_buf_printf(b, NULL, ", Masked area padding: %d", s->mask_padding);
    }
}

static void put_parameters(struct cn_buf *b, const struct cn_spec *s,
                           const struct cn_infotext_facts *f)
{
    cn_buf_printf(b, NULL, "Steps: %d, Sampler: %s", s->steps, sampler_titles[s->sampler]);
    if (schedule_titles[s->schedule] != NULL)
        put(b, "Schedule type", schedule_titles[s->schedule]);
    put_real(b, "CFG scale", s->guidance_scale);
    if (s->guidance_rescale > 0)
        put_real(b, "CFG Rescale", s->guidance_rescale);
    if (s->pag_scale > 0)
        put_real(b, "PAG Scale", s->pag_scale);
    if (s->pag_scale > 0 && s->pag_adaptive_scale > 0)
        put_real(b, "PAG Adaptive Scale", s->pag_adaptive_scale);
    cn_buf_printf(b, NULL, ", Seed: %" PRIu64 ", Size: %dx%d", f->seed,
                  s->hires.on && s->width > 0 ? s->width : f->width,
                  s->hires.on && s->height > 0 ? s->height : f->height);
    put_sizes(b, &s->sizes);
    put(b, "Model", f->model);
    if (s->vae[0] != '\0')
        put(b, "VAE", s->vae);
    put_variation(b, s, f);
    if (s->init_image.len > 0)
        put_real(b, "Denoising strength", s->denoise);
    if (s->mask.len > 0)
        put_mask(b, s);
    if (s->decoder == CN_DECODER_TAESD)
        put(b, "VAE Decoder", "TAESD");
    if (s->hires.on)
        put_hires(b, &s->hires);
    if (s->clip_skip > 0) /* theirs counts from 1 */
        cn_buf_printf(b, NULL, ", Clip skip: %d",
                      s->clip_skip + (s->prompt_syntax == CN_PROMPT_PLAIN ? 1 : 0));
    if (s->rng == CN_RNG_CPU)
        put(b, "RNG", "CPU");
    if (s->sampler == CN_DDIM && s->eta > 0)
        put_real(b, "Eta DDIM", s->eta);
    for (int i = 0; i < s->n_controls; i++)
        put_control(b, i, &s->control[i]);
    put(b, "Version", PACKAGE_STRING);
}

/* Appends text without blanks at both ends. */
static void put_stripped(struct cn_buf *b, const char *text)
{
    static const char blank[] = " \t\r\n";
    size_t len;

    text += strspn(text, blank);
    len = strlen(text);
    while (len > 0 && strchr(blank, text[len - 1]) != NULL)
        len--;
    cn_buf_add(b, text, len, NULL);
}

char *cn_infotext(const struct cn_spec *s, const struct cn_infotext_facts *f)
{
    struct cn_buf b;
    size_t len;

    cn_buf_init(&b, MAX_TEXT);
    put_stripped(&b, s->prompt);
    if (s->negative_prompt[0] != '\0') {
        cn_buf_adds(&b, b.len > 0 ? "\nNegative prompt: " : "Negative prompt: ", NULL);
        put_stripped(&b, s->negative_prompt);
    }
    if (b.len > 0)
        cn_buf_adds(&b, "\n", NULL);
    put_parameters(&b, s, f);
    if (cn_buf_whole(&b, NULL) < 0)
        cn_buf_release(&b);
    return b.data == NULL ? NULL : (char *)cn_buf_steal(&b, &len);
}

/* ---- the request ---- */

static void put_text(struct cn_buf *b, const char *key, const char *text)
{
    cn_buf_printf(b, NULL, ",\"%s\":", key);
    cn_escape_json(b, text, strlen(text), NULL);
}

static void put_number(struct cn_buf *b, const char *key, double v)
{
    char text[32];

    cn_buf_printf(b, NULL, ",\"%s\":%s", key, real(v, text));
}

static void put_control_json(struct cn_buf *b, int i, const struct cn_spec_control *c)
{
    cn_buf_printf(b, NULL, "%s{\"resize\":\"%s\"", i > 0 ? "," : "",
                  cn_enum_resize.name[c->resize]);
    put_text(b, "model", c->model);
    put_text(b, "annotator", c->annotator);
    put_number(b, "strength", c->strength);
    put_number(b, "start", c->start);
    put_number(b, "end", c->end);
    put_text(b, "branch", cn_enum_branch.name[c->branch]);
    if (c->weights != CN_W_CUSTOM)
        put_text(b, "weights", cn_enum_weights.name[c->weights]);
    cn_buf_adds(b, ",\"params\":{", NULL);
    for (int k = 0; k < c->n_params; k++) {
        char text[32];

        cn_buf_adds(b, k > 0 ? "," : "", NULL);
        cn_escape_json(b, c->param[k].name, strlen(c->param[k].name), NULL);
        cn_buf_printf(b, NULL, ":%s", real(c->param[k].value, text));
    }
    cn_buf_adds(b, "}}", NULL);
}

static void put_hires_json(struct cn_buf *b, const struct cn_spec_hires *h)
{
    char text[32];

    if (h->width > 0)
        cn_buf_printf(b, NULL, ",\"hires\":{\"width\":%d,\"height\":%d", h->width, h->height);
    else
        cn_buf_printf(b, NULL, ",\"hires\":{\"scale\":%s", real(h->scale, text));
    cn_buf_printf(b, NULL, ",\"steps\":%d", h->steps);
    put_number(b, "strength", h->strength);
    put_text(b, "upscaler", cn_enum_upscaler.name[h->upscaler]);
    cn_buf_adds(b, "}", NULL);
}

static void put_sizes_json(struct cn_buf *b, const struct cn_spec_sizes *z)
{
    if (z->original_width > 0)
        cn_buf_printf(b, NULL, ",\"original_size\":{\"width\":%d,\"height\":%d}", z->original_width,
                      z->original_height);
    if (z->crop_left > 0 || z->crop_top > 0)
        cn_buf_printf(b, NULL, ",\"crop\":{\"left\":%d,\"top\":%d}", z->crop_left, z->crop_top);
    if (z->target_width > 0)
        cn_buf_printf(b, NULL, ",\"target_size\":{\"width\":%d,\"height\":%d}", z->target_width,
                      z->target_height);
}

static void put_variation_json(struct cn_buf *b, const struct cn_spec *s,
                               const struct cn_infotext_facts *f)
{
    if (s->subseed_strength > 0) {
        cn_buf_printf(b, NULL, ",\"subseed\":%" PRIu64, cn_spec_subseed_of(s, f->image));
        put_number(b, "subseed_strength", s->subseed_strength);
    }
    if (s->seed_width > 0)
        cn_buf_printf(b, NULL, ",\"seed_width\":%d,\"seed_height\":%d", s->seed_width,
                      s->seed_height);
}

char *cn_infotext_json(const struct cn_spec *s, const struct cn_infotext_facts *f)
{
    struct cn_buf b;
    size_t len;

    cn_buf_init(&b, MAX_TEXT);
    cn_buf_printf(&b, NULL, "{\"width\":%d,\"height\":%d,\"steps\":%d,\"seed\":%" PRIu64,
                  s->hires.on && s->width > 0 ? s->width : f->width,
                  s->hires.on && s->height > 0 ? s->height : f->height, s->steps, f->seed);
    put_text(&b, "model", f->model);
    if (s->vae[0] != '\0')
        put_text(&b, "vae", s->vae);
    put_text(&b, "prompt", s->prompt);
    put_text(&b, "negative_prompt", s->negative_prompt);
    if (s->negative_prompt[0] == '\0')
        cn_buf_printf(&b, NULL, ",\"zero_negative\":%s", s->zero_negative ? "true" : "false");
    put_sizes_json(&b, &s->sizes);
    put_text(&b, "prompt_syntax", cn_enum_prompt_syntax.name[s->prompt_syntax]);
    put_number(&b, "guidance_scale", s->guidance_scale);
    put_number(&b, "guidance_rescale", s->guidance_rescale);
    put_text(&b, "sampler", cn_enum_sampler.name[s->sampler]);
    put_text(&b, "schedule", cn_enum_schedule.name[s->schedule]);
    put_text(&b, "spacing", cn_enum_spacing.name[s->spacing]);
    put_text(&b, "rng", cn_enum_rng.name[s->rng]);
    put_number(&b, "eta", s->eta);
    put_variation_json(&b, s, f);
    cn_buf_printf(&b, NULL, ",\"clip_skip\":%d", s->clip_skip);
    put_text(&b, "decoder", cn_enum_decoder.name[s->decoder]);
    if (s->init_image.len > 0)
        put_number(&b, "denoise", s->denoise);
    if (s->hires.on)
        put_hires_json(&b, &s->hires);
    cn_buf_adds(&b, ",\"controls\":[", NULL);
    for (int i = 0; i < s->n_controls; i++)
        put_control_json(&b, i, &s->control[i]);
    cn_buf_adds(&b, "]}", NULL);
    if (cn_buf_whole(&b, NULL) < 0)
        cn_buf_release(&b);
    return b.data == NULL ? NULL : (char *)cn_buf_steal(&b, &len);
}
