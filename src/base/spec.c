/* The description of a job: defaults, the names of its choices, and whether its numbers are within
 * the limits. */
#include "base/base.h"
#include "base/spec.h"
#include "base/mem.h"
#include "base/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const job_kind_names[CN_JOB_KIND_COUNT] = {"draw", "annotate"};
static const char *const sampler_names[CN_SAMPLER_COUNT] = {
    "ddim",       "euler",   "euler_a",    "heun",      "dpmpp_2m",          "dpmpp_2m_sde",
    "unipc",      "lcm",     "pndm",       "dpmpp_sde", "dpmpp_2m_sde_heun", "dpmpp_3m_sde",
    "dpmpp_2s_a", "dpm2",    "dpm2_a",     "lms",       "heunpp2",           "deis",
    "tcd",        "restart", "euler_cfgpp"};
static const char *const schedule_names[CN_SCHEDULE_COUNT] = {
    "default", "karras", "exponential",    "polyexponential", "sgm_uniform", "normal",
    "simple",  "beta",   "beta_timesteps", "kl_optimal",      "ays"};
static const char *const spacing_names[CN_SPACING_COUNT] = {"model", "leading", "trailing",
                                                            "linspace"};
static const char *const rng_names[CN_RNG_COUNT] = {"cpu", "cuda"};
static const char *const prompt_syntax_names[CN_PROMPT_SYNTAX_COUNT] = {"plain", "a1111"};
static const char *const branch_names[CN_BRANCH_COUNT] = {"both", "cond"};
static const char *const weights_names[CN_WEIGHTS_COUNT] = {"uniform", "soft", "resolution",
                                                            "custom"};
static const char *const resize_names[CN_RESIZE_COUNT] = {"stretch", "crop", "pad"};
static const char *const mask_alpha_names[CN_MASK_ALPHA_COUNT] = {"auto", "opaque", "transparent"};
static const char *const mask_fill_names[CN_MASK_FILL_COUNT] = {"original", "around", "noise",
                                                                "nothing"};
static const char *const passes_names[CN_PASSES_COUNT] = {"both", "first", "second"};
static const char *const map_rules_names[CN_MAP_RULES_COUNT] = {"diffusers", "a1111"};
static const char *const format_names[CN_FORMAT_COUNT] = {"png", "jpeg", "webp"};

static const char *const upscaler_names[CN_UPSCALER_COUNT] = {
    "latent",
    "latent_nearest",
    "latent_nearest_exact",
    "latent_antialiased",
    "latent_bicubic",
    "latent_bicubic_antialiased",
    "nearest",
    "bicubic",
    "lanczos"};

static const char *const decoder_names[CN_DECODER_COUNT] = {"vae", "taesd"};

const struct cn_enum cn_enum_job_kind = {"kind", job_kind_names, CN_JOB_KIND_COUNT};
const struct cn_enum cn_enum_sampler = {"sampler", sampler_names, CN_SAMPLER_COUNT};
const struct cn_enum cn_enum_schedule = {"schedule", schedule_names, CN_SCHEDULE_COUNT};
const struct cn_enum cn_enum_spacing = {"spacing", spacing_names, CN_SPACING_COUNT};
const struct cn_enum cn_enum_rng = {"rng", rng_names, CN_RNG_COUNT};
const struct cn_enum cn_enum_prompt_syntax = {"prompt_syntax", prompt_syntax_names,
                                              CN_PROMPT_SYNTAX_COUNT};
const struct cn_enum cn_enum_upscaler = {"upscaler", upscaler_names, CN_UPSCALER_COUNT};
const struct cn_enum cn_enum_decoder = {"decoder", decoder_names, CN_DECODER_COUNT};
const struct cn_enum cn_enum_branch = {"branch", branch_names, CN_BRANCH_COUNT};
const struct cn_enum cn_enum_weights = {"weights", weights_names, CN_WEIGHTS_COUNT};
const struct cn_enum cn_enum_resize = {"resize", resize_names, CN_RESIZE_COUNT};
const struct cn_enum cn_enum_mask_alpha = {"mask_alpha", mask_alpha_names, CN_MASK_ALPHA_COUNT};
const struct cn_enum cn_enum_mask_fill = {"mask_fill", mask_fill_names, CN_MASK_FILL_COUNT};
const struct cn_enum cn_enum_passes = {"passes", passes_names, CN_PASSES_COUNT};
const struct cn_enum cn_enum_map_rules = {"rules", map_rules_names, CN_MAP_RULES_COUNT};
const struct cn_enum cn_enum_format = {"format", format_names, CN_FORMAT_COUNT};

int cn_enum_find(const struct cn_enum *e, const char *name)
{
    for (int i = 0; i < e->count; i++)
        if (strcmp(e->name[i], name) == 0)
            return i;
    return -1;
}

void cn_enum_list(const struct cn_enum *e, char *text, size_t size)
{
    size_t at = 0;

    text[0] = '\0';
    for (int i = 0; i < e->count && at < size; i++) {
        const char *sep = i == 0 ? "" : i == e->count - 1 ? " or " : ", ";
        int n = snprintf(text + at, size - at, "%s%s", sep, e->name[i]);

        at += n > 0 ? (size_t)n : 0;
    }
}

void cn_spec_init(struct cn_spec *s)
{
    *s = (struct cn_spec){
        .model = cn_xstrdup(""),
        .vae = cn_xstrdup(""),
        .prompt = cn_xstrdup(""),
        .negative_prompt = cn_xstrdup(""),
        .zero_negative = true,
        .steps = 20,
        .guidance_scale = 7.5,
        .sampler = CN_DPMPP_2M,
        .n = 1,
        .denoise = 0.75,
        .paste_back = true,
        .metadata = true,
        .hires = {.scale = 2,
                  .strength = 0.7,
                  .sampler = CN_HIRES_SAME,
                  .schedule = CN_HIRES_SAME},
        .quality = 90,
    };
}

void cn_spec_release(struct cn_spec *s)
{
    const struct cn_blob *b;

    for (int k = 0; (b = cn_spec_file(s, k)) != NULL; k++)
        free(b->data);
    for (int i = 0; i < s->n_controls; i++) {
        free(s->control[i].model);
        free(s->control[i].annotator);
    }
    for (int i = 0; i < s->n_adapters; i++)
        free(s->adapter[i].name);
    free(s->model);
    free(s->vae);
    free(s->prompt);
    free(s->negative_prompt);
    free(s->hires.prompt);
    free(s->hires.negative_prompt);
    memset(s, 0, sizeof(*s));
}

bool cn_spec_is_guided(const struct cn_spec *s)
{
    return s->guidance_scale > 1 || s->sampler == CN_EULER_CFGPP;
}

static bool is_letter(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
           (unsigned char)c >= 0x80;
}

static int count_parts(const char *text)
{
    int n = 1;

    for (const char *p = text; (p = strstr(p, "AND")) != NULL; p += 3)
        n += (p == text || !is_letter(p[-1])) && !is_letter(p[3]);
    return CN_MIN(n, CN_MAX_PROMPT_PARTS);
}

int cn_spec_rows(const struct cn_spec *s)
{
    int perturbed = s->pag_scale > 0;

    if (!cn_spec_is_guided(s))
        return 1 + perturbed;
    return 1 + (s->prompt_syntax == CN_PROMPT_A1111 ? count_parts(s->prompt) : 1) + perturbed;
}

int cn_spec_calls_per_step(enum cn_sampler sampler)
{
    switch (sampler) {
    case CN_HEUN:
    case CN_DPMPP_SDE:
    case CN_DPMPP_2S_A:
    case CN_DPM2:
    case CN_DPM2_A:
    case CN_RESTART:
        return 2;
    case CN_HEUNPP2:
        return 3;
    default:
        return 1;
    }
}

struct cn_blob *cn_spec_file(struct cn_spec *s, int k)
{
    int n = s->n_controls;

    if (k < 2)
        return k == 0 ? &s->init_image : &s->mask;
    if (k < 2 + n)
        return &s->control[k - 2].image;
    if (k < 2 + 2 * n)
        return &s->control[k - 2 - n].mask;
    return k == 2 + 2 * n ? &s->depth : NULL;
}

size_t cn_spec_image_bytes(const struct cn_spec *s)
{
    struct cn_spec copy = *s; /* borrows all of it */
    const struct cn_blob *b;
    size_t n = 0;

    for (int k = 0; (b = cn_spec_file(&copy, k)) != NULL; k++)
        n += b->len;
    return n;
}

int cn_spec_pictures(const struct cn_spec *s)
{
    int n = s->n;

    for (int i = 0; i < s->n_controls && s->kind == CN_KIND_DRAW; i++)
        n += s->control[i].return_map;
    return n;
}

int cn_spec_map_of(const struct cn_spec *s, int k)
{
    if (s->kind == CN_KIND_ANNOTATE)
        return 0;
    for (int i = 0, n = s->n; i < s->n_controls && k >= s->n; i++)
        if (s->control[i].return_map && n++ == k)
            return i;
    return -1;
}

uint64_t cn_spec_seed_of(const struct cn_spec *s, int k)
{
    bool same = s->same_seed || s->subseed_strength > 0;

    return same || k >= s->n ? s->seed : s->seed + (uint64_t)k;
}

uint64_t cn_spec_subseed_of(const struct cn_spec *s, int k)
{
    return s->same_seed || k >= s->n ? s->subseed : s->subseed + (uint64_t)k;
}

void cn_spec_control_where(const struct cn_spec *s, int i, const char *field, char *text,
                           size_t size)
{
    if (s->kind == CN_KIND_ANNOTATE)
        snprintf(text, size, "/%s", field);
    else
        snprintf(text, size, "/controls/%d/%s", i, field);
}

/* In double, as Python divides: 3/10 is the 0.3 that JSON was read into. */
bool cn_spec_in_window(const struct cn_spec_control *c, int call, int calls)
{
    double at = (double)call / (double)calls, next = (double)(call + 1) / (double)calls;

    return c->start <= at && (c->window == CN_WINDOW_A1111 ? at <= c->end : next <= c->end);
}

struct cn_spec_control *cn_spec_add_control(struct cn_spec *s)
{
    struct cn_spec_control *c;

    if (s->n_controls == CN_MAX_CONTROLS)
        return NULL;
    c = &s->control[s->n_controls++];
    *c = (struct cn_spec_control){
        .model = cn_xstrdup(""),
        .annotator = cn_xstrdup("none"),
        .strength = 1,
        .end = 1,
    };
    for (int i = 0; i < CN_CONTROL_LEVELS; i++)
        c->weight[i] = 1;
    return c;
}

static int check_int(const char *where, long v, long lo, long hi, struct cn_err *err)
{
    if (v < lo || v > hi)
        return cn_fail_at(err, CN_EINVAL, where, "%ld is out of range: %ld to %ld are accepted", v,
                          lo, hi);
    return CN_OK;
}

static int check_real(const char *where, double v, double lo, double hi, struct cn_err *err)
{
    if (!(v >= lo && v <= hi)) /* so that NaN fails too */
        return cn_fail_at(err, CN_EINVAL, where, "%g is out of range: %g to %g are accepted", v, lo,
                          hi);
    return CN_OK;
}

static int check_side(const char *where, int v, const struct cn_limits *l, struct cn_err *err)
{
    if (v == 0)
        return CN_OK;
    if (check_int(where, v, 8, l->max_side ? l->max_side : 16384, err) < 0)
        return err ? err->code : CN_EINVAL;
    if (v % 8 != 0)
        return cn_fail_at(err, CN_EINVAL, where, "%d is not a multiple of 8", v);
    return CN_OK;
}

static int check_text(const char *where, const char *s, const struct cn_limits *l,
                      struct cn_err *err)
{
    if (l->max_prompt != 0 && strlen(s) > l->max_prompt)
        return cn_fail_at(err, CN_ETOOBIG, where, "%zu bytes of text: at most %zu are accepted",
                          strlen(s), l->max_prompt);
    return CN_OK;
}

static int check_name(const char *where, const char *name, struct cn_err *err)
{
    if (strlen(name) > CN_MAX_NAME)
        return cn_fail_at(err, CN_EINVAL, where, "%zu bytes: a name has at most %d", strlen(name),
                          CN_MAX_NAME);
    return CN_OK;
}

/* What is not among the models is refused for that elsewhere, but later; and what goes
 * over the wire has to be bounded. */
static int check_names(const struct cn_spec *s, struct cn_err *err)
{
    char where[64];
    int rc;

    if ((rc = check_name("/model", s->model, err)) < 0 ||
        (rc = check_name("/vae", s->vae, err)) < 0)
        return rc;
    for (int i = 0; i < s->n_controls; i++) {
        cn_spec_control_where(s, i, "model", where, sizeof(where));
        if ((rc = check_name(where, s->control[i].model, err)) < 0)
            return rc;
        cn_spec_control_where(s, i, "annotator", where, sizeof(where));
        if ((rc = check_name(where, s->control[i].annotator, err)) < 0)
            return rc;
    }
    for (int i = 0; i < s->n_adapters; i++) {
        snprintf(where, sizeof(where), "/adapters/%d/name", i);
        if ((rc = check_name(where, s->adapter[i].name, err)) < 0)
            return rc;
    }
    return CN_OK;
}

static int check_map(const struct cn_spec *s, int i, struct cn_err *err)
{
    const struct cn_spec_control *c = &s->control[i];
    char where[64];

    cn_spec_control_where(s, i, "image", where, sizeof(where));
    if (c->image.len == 0)
        return cn_fail_at(err, CN_EINVAL, where, "a control image is required");
    cn_spec_control_where(s, i, "resolution", where, sizeof(where));
    if (c->resolution == CN_RESOLUTION_PIXEL_PERFECT || c->resolution == 0)
        return CN_OK;
    return check_int(where, c->resolution, 8, CN_MAX_RESOLUTION, err);
}

static int check_control(const struct cn_spec *s, int index, struct cn_err *err)
{
    const struct cn_spec_control *c = &s->control[index];
    char where[64];
    int rc;

#define AT(field) (snprintf(where, sizeof(where), "/controls/%d/" field, index), where)
    if (c->model[0] == '\0')
        return cn_fail_at(err, CN_EINVAL, AT("model"), "the name of a ControlNet is required");
    if ((rc = check_map(s, index, err)) < 0 ||
        (rc = check_real(AT("strength"), c->strength, 0, 2, err)) < 0 ||
        (rc = check_real(AT("start"), c->start, 0, 1, err)) < 0 ||
        (rc = check_real(AT("end"), c->end, 0, 1, err)) < 0)
        return rc;
    if (c->start > c->end || (c->start == c->end && c->window == CN_WINDOW_DIFFUSERS))
        return cn_fail_at(err, CN_EINVAL, AT("start"), "%g is not below \"end\" (%g)", c->start,
                          c->end);
    for (int i = 0; i < CN_CONTROL_LEVELS; i++)
        if ((rc = check_real(AT("weights"), c->weight[i], -10, 100, err)) < 0)
            return rc;
#undef AT
    return CN_OK;
}

static int check_controls(const struct cn_spec *s, const struct cn_limits *l, struct cn_err *err)
{
    int rc = CN_OK;

    if (s->n_controls > l->max_controls)
        return cn_fail_at(err, CN_EINVAL, "/controls", "%d controls: at most %d are accepted",
                          s->n_controls, l->max_controls);
    for (int i = 0; i < s->n_controls && rc == CN_OK; i++)
        rc = check_control(s, i, err);
    if (rc == CN_OK && cn_spec_pictures(s) > CN_MAX_IMAGES)
        return cn_fail_at(err, CN_EINVAL, "/n", "%d pictures with the control maps: at most %d",
                          cn_spec_pictures(s), CN_MAX_IMAGES);
    return rc;
}

static int check_variation(const struct cn_spec *s, struct cn_err *err)
{
    int rc;

    if ((rc = check_real("/subseed_strength", s->subseed_strength, 0, 1, err)) < 0 ||
        (rc = check_int("/seed_width", s->seed_width, 0, 16384, err)) < 0 ||
        (rc = check_int("/seed_height", s->seed_height, 0, 16384, err)) < 0)
        return rc;
    if ((s->seed_width < 8) != (s->seed_height < 8))
        return cn_fail_at(err, CN_EINVAL, s->seed_width < 8 ? "/seed_width" : "/seed_height",
                          "\"seed_width\" and \"seed_height\" come together, of 8 pixels or more");
    if (s->subseed > INT64_MAX || (uint64_t)CN_MAX(s->n - 1, 0) > INT64_MAX - s->subseed)
        return cn_fail_at(err, CN_EINVAL, "/subseed",
                          "%lu with %d images: seeds must be integers between 0 and 2^63-1",
                          (unsigned long)s->subseed, s->n);
    return CN_OK;
}

/* Nothing of nothing is no picture. */
static int check_denoise(const struct cn_spec *s, struct cn_err *err)
{
    if (s->denoise <= 0 && s->init_image.len == 0)
        return cn_fail_at(err, CN_EINVAL, "/denoise",
                          "%g is out of range: without an init_image above 0 and up to 1",
                          s->denoise);
    return CN_OK;
}

static int check_numbers(const struct cn_spec *s, const struct cn_limits *l, struct cn_err *err)
{
    int rc;

    if ((rc = check_int("/steps", s->steps, 1, l->max_steps ? l->max_steps : CN_MAX_STEPS, err)) <
            0 ||
        (rc = check_int("/n", s->n, 1, l->max_n ? l->max_n : CN_MAX_IMAGES, err)) < 0 ||
        (rc = check_int("/clip_skip", s->clip_skip, 0, CN_MAX_CLIP_SKIP, err)) < 0 ||
        (rc = check_int("/quality", s->quality, 1, 100, err)) < 0 ||
        (rc = check_int("/preview_every", s->preview_every, 0, CN_MAX_STEPS, err)) < 0 ||
        (rc = check_int("/priority", s->priority, -10, 10, err)) < 0 ||
        (rc = check_int("/timeout_s", s->timeout_s, 0, 86400, err)) < 0)
        return rc;
    if ((rc = check_real("/guidance_scale", s->guidance_scale, 0, 100, err)) < 0 ||
        (rc = check_real("/guidance_rescale", s->guidance_rescale, 0, 1, err)) < 0 ||
        (rc = check_real("/pag_scale", s->pag_scale, 0, 100, err)) < 0 ||
        (rc = check_real("/pag_adaptive_scale", s->pag_adaptive_scale, 0, 1, err)) < 0 ||
        (rc = check_real("/eta", s->eta, 0, 1, err)) < 0 ||
        (rc = check_real("/denoise", s->denoise, 0, 1, err)) < 0 ||
        (rc = check_denoise(s, err)) < 0 ||
        (rc = check_real("/mask_blur", s->mask_blur, 0, 256, err)) < 0 ||
        (rc = check_int("/mask_padding", s->mask_padding, 0, 4096, err)) < 0 ||
        (rc = check_variation(s, err)) < 0)
        return rc;
    /* seeds are told as JSON integers, and the last image's must be one that can be asked for */
    if (s->seed > INT64_MAX || (uint64_t)CN_MAX(s->n - 1, 0) > INT64_MAX - s->seed)
        return cn_fail_at(err, CN_EINVAL, "/seed",
                          "%lu with %d images: seeds must be integers between 0 and 2^63-1",
                          (unsigned long)s->seed, s->n);
    return CN_OK;
}

int cn_spec_check(const struct cn_spec *s, const struct cn_limits *l, struct cn_err *err)
{
    int rc;

    if ((unsigned)s->kind >= CN_JOB_KIND_COUNT)
        return cn_fail_at(err, CN_EINVAL, "/kind", "there is no kind of job with the number %d",
                          (int)s->kind);
    if ((rc = check_names(s, err)) < 0 || (rc = check_text("/prompt", s->prompt, l, err)) < 0 ||
        (rc = check_text("/negative_prompt", s->negative_prompt, l, err)) < 0 ||
        (rc = check_side("/width", s->width, l, err)) < 0 ||
        (rc = check_side("/height", s->height, l, err)) < 0 || (rc = check_numbers(s, l, err)) < 0)
        return rc;
    if (l->max_pixels != 0 && (long)s->width * s->height > l->max_pixels)
        return cn_fail_at(err, CN_EINVAL, "/width", "%d x %d is over the limit of %ld pixels",
                          s->width, s->height, l->max_pixels);
    if ((rc = cn_spec_hires_check(s, l, err)) < 0 || (rc = cn_spec_adapters_check(s, err)) < 0 ||
        (rc = cn_spec_sizes_check(s, err)) < 0)
        return rc;
    if (s->mask.len > 0 && s->init_image.len == 0)
        return cn_fail_at(err, CN_EINVAL, "/mask", "a mask needs an \"init_image\"");
    if (s->depth.len > 0 && s->init_image.len == 0)
        return cn_fail_at(err, CN_EINVAL, "/depth", "a depth map needs an \"init_image\"");
    return s->kind == CN_KIND_ANNOTATE ? check_map(s, 0, err) : check_controls(s, l, err);
}

uint64_t cn_random_seed(void)
{
    uint64_t v;

    cn_random_bytes(&v, sizeof(v));
    return v & ((UINT64_C(1) << 53) - 1);
}
