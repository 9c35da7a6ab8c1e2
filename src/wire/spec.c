/* Job description on the wire. The order below is the format. */
#include "base/base.h"
#include "wire/spec.h"
#include "base/mem.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static void put_control(struct cn_pack *p, const struct cn_spec_control *c)
{
    cn_put_str(p, c->model);
    cn_put_bytes(p, c->image.data, c->image.len);
    cn_put_str(p, c->annotator);
    cn_put_f64(p, c->strength);
    cn_put_f64(p, c->start);
    cn_put_f64(p, c->end);
    cn_put_u8(p, c->branch);
    cn_put_u8(p, c->weights);
    for (int i = 0; i < CN_CONTROL_LEVELS; i++)
        cn_put_f64(p, c->weight[i]);
    cn_put_u8(p, (unsigned)c->n_weights);
    cn_put_u8(p, c->resize);
}

/* A text that may be left out. */
static void put_optional(struct cn_pack *p, const char *s)
{
    cn_put_u8(p, s != NULL);
    cn_put_str(p, s != NULL ? s : "");
}

/* CN_HIRES_SAME is 0. */
static void put_hires_own(struct cn_pack *p, const struct cn_spec_hires *h)
{
    cn_put_u8(p, (unsigned)(h->sampler + 1));
    cn_put_u8(p, (unsigned)(h->schedule + 1));
    put_optional(p, h->prompt);
    put_optional(p, h->negative_prompt);
    cn_put_u8(p, h->has_guidance);
    cn_put_f64(p, h->guidance_scale);
}

/* How the map is made of the image. */
static void put_map(struct cn_pack *p, const struct cn_spec_control *c)
{
    cn_put_u8(p, c->rules);
    cn_put_u8(p, (unsigned)c->n_params);
    for (int i = 0; i < c->n_params; i++) {
        cn_put_str(p, c->param[i].name);
        cn_put_f64(p, c->param[i].value);
    }
    cn_put_bytes(p, c->mask.data, c->mask.len);
    cn_put_i32(p, c->resolution);
    cn_put_u8(p, c->return_map);
}

static void put_adapter(struct cn_pack *p, const struct cn_spec_adapter *a)
{
    cn_put_str(p, a->name);
    cn_put_f64(p, a->strength);
    cn_put_u8(p, a->has_text);
    cn_put_f64(p, a->text_strength);
    cn_put_u8(p, (unsigned)a->n_blocks);
    for (int i = 0; i < a->n_blocks; i++)
        cn_put_f64(p, a->block[i]);
}

static void put_sizes(struct cn_pack *p, const struct cn_spec_sizes *z)
{
    cn_put_i32(p, z->original_width);
    cn_put_i32(p, z->original_height);
    cn_put_i32(p, z->crop_left);
    cn_put_i32(p, z->crop_top);
    cn_put_i32(p, z->target_width);
    cn_put_i32(p, z->target_height);
}

/* What version 16 brought: variations, how a mask is used, and when a control acts. */
static void put_painting(struct cn_pack *p, const struct cn_spec *s)
{
    cn_put_f64(p, s->subseed_strength);
    cn_put_u8(p, s->has_subseed);
    cn_put_u64(p, s->subseed);
    cn_put_i32(p, s->seed_width);
    cn_put_i32(p, s->seed_height);
    cn_put_u8(p, s->mask_fill);
    cn_put_u8(p, s->mask_only);
    cn_put_i32(p, s->mask_padding);
    cn_put_u8(p, s->picture_rules);
    for (int i = 0; i < s->n_controls; i++) {
        cn_put_u8(p, s->control[i].passes);
        cn_put_i32(p, s->control[i].only_image);
    }
}

void cn_wire_put_spec(struct cn_pack *p, const struct cn_spec *s)
{
    cn_put_u8(p, CN_WIRE_SPEC_VERSION);
    cn_put_u8(p, s->kind);
    cn_put_str(p, s->model);
    cn_put_str(p, s->prompt);
    cn_put_str(p, s->negative_prompt);
    cn_put_i32(p, s->width);
    cn_put_i32(p, s->height);
    cn_put_i32(p, s->steps);
    cn_put_f64(p, s->guidance_scale);
    cn_put_u8(p, s->sampler);
    cn_put_u8(p, s->schedule);
    cn_put_u8(p, s->spacing);
    cn_put_u8(p, s->rng);
    cn_put_f64(p, s->eta);
    cn_put_u8(p, s->has_guidance);
    cn_put_u8(p, s->has_seed);
    cn_put_u64(p, s->seed);
    cn_put_i32(p, s->n);
    cn_put_i32(p, s->clip_skip);
    cn_put_bytes(p, s->init_image.data, s->init_image.len);
    cn_put_bytes(p, s->mask.data, s->mask.len);
    cn_put_f64(p, s->denoise);
    cn_put_u8(p, s->format);
    cn_put_i32(p, s->quality);
    cn_put_i32(p, s->preview_every);
    cn_put_i32(p, s->priority);
    cn_put_i32(p, s->timeout_s);
    cn_put_u8(p, (unsigned)s->n_controls);
    for (int i = 0; i < s->n_controls; i++)
        put_control(p, &s->control[i]);
    for (int i = 0; i < s->n_controls; i++)
        cn_put_u8(p, s->control[i].window);
    cn_put_u8(p, s->prompt_syntax);
    cn_put_f64(p, s->guidance_rescale);
    cn_put_u8(p, s->hires.on);
    cn_put_f64(p, s->hires.scale);
    cn_put_i32(p, s->hires.width);
    cn_put_i32(p, s->hires.height);
    cn_put_i32(p, s->hires.steps);
    cn_put_f64(p, s->hires.strength);
    cn_put_u8(p, s->hires.upscaler);
    cn_put_u8(p, s->decoder);
    put_hires_own(p, &s->hires);
    cn_put_u8(p, s->resize);
    cn_put_u8(p, s->mask_invert);
    cn_put_f64(p, s->mask_blur);
    cn_put_u8(p, s->paste_back);
    cn_put_u8(p, s->metadata);
    cn_put_u8(p, s->same_seed);
    for (int i = 0; i < s->n_controls; i++)
        put_map(p, &s->control[i]);
    cn_put_bytes(p, s->depth.data, s->depth.len);
    cn_put_f64(p, s->pag_scale);
    cn_put_f64(p, s->pag_adaptive_scale);
    cn_put_u8(p, (unsigned)s->n_adapters);
    for (int i = 0; i < s->n_adapters; i++)
        put_adapter(p, &s->adapter[i]);
    cn_put_str(p, s->vae);
    cn_put_u8(p, s->mask_alpha);
    put_sizes(p, &s->sizes);
    cn_put_u8(p, s->zero_negative);
    put_painting(p, s);
}

static void get_adapter(struct cn_unpack *u, struct cn_spec_adapter *a)
{
    a->name = cn_get_str(u, CN_WIRE_MAX_NAME);
    a->strength = cn_get_f64(u);
    a->has_text = cn_get_enum(u, 2) != 0;
    a->text_strength = cn_get_f64(u);
    a->n_blocks = cn_get_enum(u, CN_BLOCK_WEIGHTS + 1);
    for (int i = 0; i < a->n_blocks; i++)
        a->block[i] = cn_get_f64(u);
}

static void get_control(struct cn_unpack *u, struct cn_spec_control *c)
{
    c->model = cn_get_str(u, CN_WIRE_MAX_NAME);
    c->image = cn_get_blob(u, CN_WIRE_MAX_IMAGE);
    c->annotator = cn_get_str(u, CN_WIRE_MAX_NAME);
    c->strength = cn_get_f64(u);
    c->start = cn_get_f64(u);
    c->end = cn_get_f64(u);
    c->branch = (enum cn_branch)cn_get_enum(u, CN_BRANCH_COUNT);
    c->weights = (enum cn_weighting)cn_get_enum(u, CN_WEIGHTS_COUNT);
    for (int i = 0; i < CN_CONTROL_LEVELS; i++)
        c->weight[i] = cn_get_f64(u);
    c->n_weights = cn_get_enum(u, CN_CONTROL_LEVELS + 1);
    c->resize = (enum cn_resize)cn_get_enum(u, CN_RESIZE_COUNT);
}

static void get_map(struct cn_unpack *u, struct cn_spec_control *c)
{
    c->rules = (enum cn_map_rules)cn_get_enum(u, CN_MAP_RULES_COUNT);
    c->n_params = cn_get_enum(u, CN_MAX_ANNOTATOR_PARAMS + 1);
    for (int i = 0; i < c->n_params; i++) {
        cn_get_text(u, c->param[i].name, sizeof(c->param[i].name));
        c->param[i].value = cn_get_f64(u);
    }
    c->mask = cn_get_blob(u, CN_WIRE_MAX_IMAGE);
    c->resolution = cn_get_range(u, CN_RESOLUTION_PIXEL_PERFECT, CN_MAX_RESOLUTION);
    c->return_map = cn_get_enum(u, 2) != 0;
}

/* What version 9 brought. Before it, pictures outside of masks were whatever the model made. */
static void get_pictures(struct cn_unpack *u, struct cn_spec *s)
{
    s->resize = (enum cn_resize)cn_get_enum(u, CN_RESIZE_COUNT);
    s->mask_invert = cn_get_enum(u, 2) != 0;
    s->mask_blur = cn_get_f64(u);
    s->paste_back = cn_get_enum(u, 2) != 0;
    s->metadata = cn_get_enum(u, 2) != 0;
    s->same_seed = cn_get_enum(u, 2) != 0;
    for (int i = 0; i < s->n_controls; i++)
        get_map(u, &s->control[i]);
}

static void get_painting(struct cn_unpack *u, struct cn_spec *s)
{
    s->subseed_strength = cn_get_f64(u);
    s->has_subseed = cn_get_enum(u, 2) != 0;
    s->subseed = cn_get_u64(u);
    s->seed_width = cn_get_range(u, 0, INT_MAX);
    s->seed_height = cn_get_range(u, 0, INT_MAX);
    s->mask_fill = (enum cn_mask_fill)cn_get_enum(u, CN_MASK_FILL_COUNT);
    s->mask_only = cn_get_enum(u, 2) != 0;
    s->mask_padding = cn_get_range(u, 0, INT_MAX);
    s->picture_rules = (enum cn_map_rules)cn_get_enum(u, CN_MAP_RULES_COUNT);
    for (int i = 0; i < s->n_controls; i++) {
        s->control[i].passes = (enum cn_passes)cn_get_enum(u, CN_PASSES_COUNT);
        s->control[i].only_image = cn_get_range(u, 0, CN_MAX_IMAGES);
    }
}

static void get_hires(struct cn_unpack *u, struct cn_spec_hires *h)
{
    h->on = cn_get_enum(u, 2) != 0;
    h->scale = cn_get_f64(u);
    h->width = cn_get_range(u, 0, INT_MAX);
    h->height = cn_get_range(u, 0, INT_MAX);
    h->steps = cn_get_range(u, 0, CN_MAX_STEPS);
    h->strength = cn_get_f64(u);
    h->upscaler = (enum cn_upscaler)cn_get_enum(u, CN_UPSCALER_COUNT);
}

static char *get_optional(struct cn_unpack *u)
{
    bool there = cn_get_enum(u, 2) != 0;
    char *text = cn_get_str(u, CN_WIRE_MAX_TEXT);

    if (there)
        return text;
    free(text);
    return NULL;
}

static void get_hires_own(struct cn_unpack *u, struct cn_spec_hires *h)
{
    h->sampler = cn_get_enum(u, CN_SAMPLER_COUNT + 1) - 1;
    h->schedule = cn_get_enum(u, CN_SCHEDULE_COUNT + 1) - 1;
    h->prompt = get_optional(u);
    h->negative_prompt = get_optional(u);
    h->has_guidance = cn_get_enum(u, 2) != 0;
    h->guidance_scale = cn_get_f64(u);
}

static void get_sizes(struct cn_unpack *u, struct cn_spec_sizes *z)
{
    z->original_width = cn_get_range(u, 0, INT_MAX);
    z->original_height = cn_get_range(u, 0, INT_MAX);
    z->crop_left = cn_get_range(u, 0, INT_MAX);
    z->crop_top = cn_get_range(u, 0, INT_MAX);
    z->target_width = cn_get_range(u, 0, INT_MAX);
    z->target_height = cn_get_range(u, 0, INT_MAX);
}

static unsigned get_version(struct cn_unpack *u)
{
    unsigned version = cn_get_u8(u);

    if (version < 1 || version > CN_WIRE_SPEC_VERSION)
        cn_unpack_fault(u, CN_EFORMAT, "unknown version of a job description");
    return version;
}

static enum cn_job_kind get_kind(struct cn_unpack *u, unsigned version)
{
    unsigned kind = version >= 2 ? cn_get_u8(u) : CN_KIND_DRAW;

    if (kind < CN_JOB_KIND_COUNT)
        return (enum cn_job_kind)kind;
    cn_unpack_fault(u, CN_EINVAL, "unknown kind of job");
    return CN_KIND_DRAW;
}

int cn_wire_get_spec(struct cn_unpack *u, struct cn_spec *s)
{
    unsigned version = get_version(u);
    int n;

    memset(s, 0, sizeof(*s));
    s->hires.sampler = s->hires.schedule = CN_HIRES_SAME;
    s->kind = get_kind(u, version);
    s->model = cn_get_str(u, CN_WIRE_MAX_NAME);
    s->prompt = cn_get_str(u, CN_WIRE_MAX_TEXT);
    s->negative_prompt = cn_get_str(u, CN_WIRE_MAX_TEXT);
    s->width = cn_get_range(u, 0, INT_MAX);
    s->height = cn_get_range(u, 0, INT_MAX);
    s->steps = cn_get_range(u, 1, CN_MAX_STEPS);
    s->guidance_scale = cn_get_f64(u);
    s->sampler = (enum cn_sampler)cn_get_enum(u, CN_SAMPLER_COUNT);
    s->schedule = (enum cn_schedule)cn_get_enum(u, CN_SCHEDULE_COUNT);
    s->spacing = (enum cn_spacing)cn_get_enum(u, CN_SPACING_COUNT);
    s->rng = (enum cn_rng)cn_get_enum(u, CN_RNG_COUNT);
    s->eta = cn_get_f64(u);
    s->has_guidance = cn_get_enum(u, 2) != 0;
    s->has_seed = cn_get_enum(u, 2) != 0;
    s->seed = cn_get_u64(u);
    s->n = cn_get_range(u, 1, CN_MAX_IMAGES);
    s->clip_skip = cn_get_range(u, 0, INT_MAX);
    s->init_image = cn_get_blob(u, CN_WIRE_MAX_IMAGE);
    s->mask = cn_get_blob(u, CN_WIRE_MAX_IMAGE);
    s->denoise = cn_get_f64(u);
    s->format = (enum cn_format)cn_get_enum(u, CN_FORMAT_COUNT);
    s->quality = cn_get_i32(u);
    s->preview_every = cn_get_range(u, 0, INT_MAX);
    s->priority = cn_get_i32(u);
    s->timeout_s = cn_get_range(u, 0, INT_MAX);
    n = cn_get_enum(u, CN_MAX_CONTROLS + 1);
    for (int i = 0; i < n && u->rc == CN_OK; i++)
        get_control(u, &s->control[s->n_controls++]);
    for (int i = 0; i < s->n_controls && version >= 3; i++)
        s->control[i].window = (enum cn_window)cn_get_enum(u, CN_WINDOW_COUNT);
    if (version >= 4)
        s->prompt_syntax = (enum cn_prompt_syntax)cn_get_enum(u, CN_PROMPT_SYNTAX_COUNT);
    if (version >= 5)
        s->guidance_rescale = cn_get_f64(u);
    if (version >= 6)
        get_hires(u, &s->hires);
    if (version >= 7)
        s->decoder = (enum cn_latent_decoder)cn_get_enum(u, CN_DECODER_COUNT);
    if (version >= 8)
        get_hires_own(u, &s->hires);
    if (version >= 9)
        get_pictures(u, s);
    if (version >= 10)
        s->depth = cn_get_blob(u, CN_WIRE_MAX_IMAGE);
    if (version >= 11) {
        s->pag_scale = cn_get_f64(u);
        s->pag_adaptive_scale = cn_get_f64(u);
    }
    n = version >= 12 ? cn_get_enum(u, CN_MAX_ADAPTERS + 1) : 0;
    for (int i = 0; i < n && u->rc == CN_OK; i++)
        get_adapter(u, &s->adapter[s->n_adapters++]);
    s->vae = version >= 13 ? cn_get_str(u, CN_WIRE_MAX_NAME) : cn_xstrdup("");
    if (version >= 14)
        s->mask_alpha = (enum cn_mask_alpha)cn_get_enum(u, CN_MASK_ALPHA_COUNT);
    if (version >= 15)
        get_sizes(u, &s->sizes);
    s->zero_negative = version < 15 || cn_get_enum(u, 2) != 0;
    if (version >= 16)
        get_painting(u, s);
    if (u->rc != CN_OK)
        cn_spec_release(s);
    return u->rc;
}
