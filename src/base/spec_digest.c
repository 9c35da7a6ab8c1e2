/* Digest of a job description. Each text and image goes in with its length before it, so that no
 * two descriptions give the same bytes. */
#include "base/base.h"
#include "base/spec_digest.h"

#include <string.h>

static void add_number(struct cn_sha256 *h, int64_t v)
{
    cn_sha256_add(h, &v, sizeof(v));
}

static void add_real(struct cn_sha256 *h, double v)
{
    cn_sha256_add(h, &v, sizeof(v));
}

static void add_bytes(struct cn_sha256 *h, const void *data, size_t len)
{
    add_number(h, (int64_t)len);
    cn_sha256_add(h, data, len);
}

static void add_text(struct cn_sha256 *h, const char *s)
{
    add_bytes(h, s, s == NULL ? 0 : strlen(s));
}

/* Only what is not as usual: digests that are stored were made without it. */
static void add_map(struct cn_sha256 *h, const struct cn_spec_control *c)
{
    if (c->rules != CN_MAP_DIFFUSERS)
        add_text(h, cn_enum_map_rules.name[c->rules]);
    for (int i = 0; i < c->n_params; i++) {
        add_text(h, c->param[i].name);
        add_real(h, c->param[i].value);
    }
    if (c->mask.len > 0)
        add_bytes(h, c->mask.data, c->mask.len);
    if (c->resolution != 0) {
        add_text(h, "resolution");
        add_number(h, c->resolution);
    }
    if (c->return_map)
        add_text(h, "return_map");
}

static void add_control(struct cn_sha256 *h, const struct cn_spec_control *c)
{
    add_text(h, c->model);
    add_bytes(h, c->image.data, c->image.len);
    add_text(h, c->annotator);
    add_real(h, c->strength);
    add_real(h, c->start);
    add_real(h, c->end);
    add_number(h, c->branch);
    add_number(h, c->weights);
    add_number(h, c->n_weights);
    for (int i = 0; i < c->n_weights; i++)
        add_real(h, c->weight[i]);
    add_number(h, c->resize);
    if (c->window != CN_WINDOW_DIFFUSERS) /* digests that are stored were made without it */
        add_number(h, c->window);
    if (c->passes != CN_PASSES_BOTH)
        add_text(h, cn_enum_passes.name[c->passes]);
    if (c->only_image != 0) {
        add_text(h, "only_image");
        add_number(h, c->only_image);
    }
    add_map(h, c);
}

static void add_variation(struct cn_sha256 *h, const struct cn_spec *s)
{
    if (s->subseed_strength > 0) {
        add_text(h, "subseed");
        add_real(h, s->subseed_strength);
        add_number(h, s->has_subseed ? (int64_t)s->subseed : -1);
    }
    if (s->seed_width > 0) {
        add_text(h, "seed_size");
        add_number(h, s->seed_width);
        add_number(h, s->seed_height);
    }
}

static void add_pictures(struct cn_sha256 *h, const struct cn_spec *s)
{
    if (s->resize != CN_STRETCH)
        add_text(h, cn_enum_resize.name[s->resize]);
    if (s->mask_alpha != CN_MASK_AUTO) {
        add_text(h, "mask_alpha");
        add_text(h, cn_enum_mask_alpha.name[s->mask_alpha]);
    }
    if (s->mask_invert)
        add_text(h, "mask_invert");
    if (s->depth.len > 0) {
        add_text(h, "depth");
        add_bytes(h, s->depth.data, s->depth.len);
    }
    if (s->mask_blur > 0) {
        add_text(h, "mask_blur");
        add_real(h, s->mask_blur);
    }
    if (s->mask_fill != CN_FILL_ORIGINAL) {
        add_text(h, "mask_fill");
        add_text(h, cn_enum_mask_fill.name[s->mask_fill]);
    }
    if (s->mask_only) {
        add_text(h, "mask_only");
        add_number(h, s->mask_padding);
    }
    if (s->picture_rules != CN_MAP_DIFFUSERS)
        add_text(h, "picture_rules");
    if (!s->paste_back)
        add_text(h, "paste_back");
    if (!s->metadata)
        add_text(h, "metadata");
    if (s->same_seed)
        add_text(h, "same_seed");
    add_variation(h, s);
}

/* What the second pass has of its own; nothing, in digests that are stored. */
static void add_own(struct cn_sha256 *h, const struct cn_spec_hires *own)
{
    if (own->sampler != CN_HIRES_SAME) {
        add_text(h, "hires.sampler");
        add_number(h, own->sampler);
    }
    if (own->schedule != CN_HIRES_SAME) {
        add_text(h, "hires.schedule");
        add_number(h, own->schedule);
    }
    if (own->prompt != NULL) {
        add_text(h, "hires.prompt");
        add_text(h, own->prompt);
    }
    if (own->negative_prompt != NULL) {
        add_text(h, "hires.negative_prompt");
        add_text(h, own->negative_prompt);
    }
    if (own->has_guidance) {
        add_text(h, "hires.guidance_scale");
        add_real(h, own->guidance_scale);
    }
}

static void add_adapter(struct cn_sha256 *h, const struct cn_spec_adapter *a)
{
    add_text(h, "adapter");
    add_text(h, a->name);
    add_real(h, a->strength);
    add_real(h, a->has_text ? a->text_strength : a->strength);
    add_number(h, a->n_blocks);
    for (int i = 0; i < a->n_blocks; i++)
        add_real(h, a->block[i]);
}

static void add_sizes(struct cn_sha256 *h, const struct cn_spec *s)
{
    const struct cn_spec_sizes *z = &s->sizes;

    if (!s->zero_negative && s->negative_prompt[0] == '\0')
        add_text(h, "encode_negative");
    if (!cn_spec_has_sizes(s))
        return;
    add_text(h, "sizes");
    add_number(h, z->original_width);
    add_number(h, z->original_height);
    add_number(h, z->crop_left);
    add_number(h, z->crop_top);
    add_number(h, z->target_width);
    add_number(h, z->target_height);
}

void cn_spec_digest(const struct cn_spec *s, unsigned char digest[CN_SHA256_BYTES])
{
    const int64_t number[] = {s->width,    s->height,    s->steps,         s->sampler,
                              s->schedule, s->spacing,   s->rng,           s->has_seed,
                              s->n,        s->clip_skip, s->format,        s->quality,
                              s->priority, s->timeout_s, s->preview_every, s->n_controls};
    struct cn_sha256 h;

    cn_sha256_init(&h);
    add_text(&h, s->model);
    add_text(&h, s->prompt);
    add_text(&h, s->negative_prompt);
    for (size_t i = 0; i < CN_LEN(number); i++)
        add_number(&h, number[i]);
    add_number(&h, s->has_seed ? (int64_t)s->seed : 0);
    add_real(&h, s->guidance_scale);
    add_real(&h, s->eta);
    add_real(&h, s->denoise);
    add_bytes(&h, s->init_image.data, s->init_image.len);
    add_bytes(&h, s->mask.data, s->mask.len);
    for (int i = 0; i < s->n_controls; i++)
        add_control(&h, &s->control[i]);
    if (s->kind != CN_KIND_DRAW) /* digests that are stored were made without it */
        add_number(&h, (int64_t)s->kind);
    if (s->prompt_syntax != CN_PROMPT_PLAIN) /* likewise; in words, as no kind is */
        add_text(&h, cn_enum_prompt_syntax.name[s->prompt_syntax]);
    if (s->guidance_rescale > 0) {
        add_text(&h, "guidance_rescale");
        add_real(&h, s->guidance_rescale);
    }
    if (s->pag_scale > 0) {
        add_text(&h, "pag_scale");
        add_real(&h, s->pag_scale);
        add_real(&h, s->pag_adaptive_scale);
    }
    if (s->decoder != CN_DECODER_VAE)
        add_text(&h, cn_enum_decoder.name[s->decoder]);
    if (s->vae[0] != '\0') {
        add_text(&h, "vae");
        add_text(&h, s->vae);
    }
    for (int i = 0; i < s->n_adapters; i++)
        add_adapter(&h, &s->adapter[i]);
    if (s->hires.on) {
        add_text(&h, "hires");
        add_real(&h, s->hires.scale);
        add_number(&h, s->hires.width);
        add_number(&h, s->hires.height);
        add_number(&h, s->hires.steps);
        add_real(&h, s->hires.strength);
        add_number(&h, (int64_t)s->hires.upscaler);
        add_own(&h, &s->hires);
    }
    add_pictures(&h, s);
    add_sizes(&h, s);
    cn_sha256_end(&h, digest);
}
