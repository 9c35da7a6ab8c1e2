/* Infotext: AUTOMATIC1111 modules/processing.py create_infotext(), and the ControlNet extension's
 * internal_controlnet/external_code fields. */
#include "base/base.h"
#include "base/infotext.h"
#include "base/buf.h"
#include "base/escape.h"

#include <inttypes.h>
#include <stdio.h>
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
    if (strpbrk(value, ",:\n") != NULL)
        cn_escape_json(b, value, strlen(value), NULL);
    else
        cn_buf_adds(b, value, NULL);
}

static void put(struct cn_buf *b, const char *key, const char *value)
{
    cn_buf_printf(b, NULL, ", %s: ", key);
    put_value(b, value);
}

static void put_real(struct cn_buf *b, const char *key, double v)
{
    cn_buf_printf(b, NULL, ", %s: %g", key, v);
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
    char key[32];

    cn_buf_init(&text, MAX_TEXT);
    cn_buf_printf(&text, NULL,
                  "Module: %s, Model: %s, Weight: %g, Resize Mode: %s, Guidance Start: %g, "
                  "Guidance End: %g, Control Mode: %s",
                  plain(c->annotator), plain(c->model), c->strength, resize_titles[c->resize],
                  c->start, c->end, mode_of(c));
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

static void put_parameters(struct cn_buf *b, const struct cn_spec *s,
                           const struct cn_infotext_facts *f)
{
    cn_buf_printf(b, NULL, "Steps: %d, Sampler: %s", s->steps, sampler_titles[s->sampler]);
    if (schedule_titles[s->schedule] != NULL)
        put(b, "Schedule type", schedule_titles[s->schedule]);
    put_real(b, "CFG scale", s->guidance_scale);
    if (s->guidance_rescale > 0)
        put_real(b, "CFG Rescale", s->guidance_rescale);
    cn_buf_printf(b, NULL, ", Seed: %" PRIu64 ", Size: %dx%d", f->seed,
                  s->hires.on && s->width > 0 ? s->width : f->width,
                  s->hires.on && s->height > 0 ? s->height : f->height);
    put(b, "Model", f->model);
    if (s->init_image.len > 0)
        put_real(b, "Denoising strength", s->denoise);
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
