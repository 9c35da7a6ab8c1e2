/* Which fields of a description have no effect: told, because whoever set one expects something of
 * it. What is the default cannot be told from what was asked for, and needs no warning. */
#include "base/base.h"
#include "base/warnings.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define NONE CN_WARN_NO_EFFECT

/* Users of CFG++ give 0.5 to 2. */
static const double cfgpp_most = 2;

static bool has_a_step(const struct cn_spec_control *c, int steps)
{
    for (int i = 0; i < steps; i++)
        if (cn_spec_in_window(c, i, steps))
            return true;
    return false;
}

static void check_control(const struct cn_spec *s, int i, struct cn_warnings *w)
{
    const struct cn_spec_control *c = &s->control[i];
    char where[CN_WARNING_WHERE];

    if (c->strength == 0) {
        snprintf(where, sizeof(where), "/controls/%d/strength", i);
        cn_warnings_add(w, NONE, where, "0: this control does nothing");
    } else if (!has_a_step(c, s->steps)) {
        snprintf(where, sizeof(where), "/controls/%d/start", i);
        cn_warnings_add(w, NONE, where, "none of the %d steps lies between start and end",
                        s->steps);
    }
}

/* Of what the second pass has of its own. */
static void check_hires(const struct cn_spec *s, struct cn_warnings *w)
{
    const struct cn_spec_hires *h = &s->hires;
    struct cn_spec second;

    if (!h->on)
        return;
    cn_spec_second(s, &second);
    if (h->negative_prompt != NULL && h->negative_prompt[0] != '\0' && !cn_spec_is_guided(&second))
        cn_warnings_add(w, NONE, "/hires/negative_prompt",
                        "guidance is off (guidance_scale is %g, not above 1)",
                        second.guidance_scale);
}

static void check_vae(const struct cn_spec *s, struct cn_warnings *w)
{
    bool encodes =
        s->init_image.len > 0 || (s->hires.on && cn_upscaler_is_pixel(s->hires.upscaler));

    if (s->vae[0] != '\0' && s->decoder == CN_DECODER_TAESD && !encodes)
        cn_warnings_add(w, NONE, "/vae", "the tiny autoencoder makes the picture (decoder: taesd)");
}

void cn_spec_warn(const struct cn_spec *s, struct cn_warnings *w)
{
    struct cn_spec preset;

    if (s->kind != CN_KIND_DRAW)
        return;
    cn_spec_init(&preset);
    check_vae(s, w);
    if (s->negative_prompt[0] != '\0' && !cn_spec_is_guided(s))
        cn_warnings_add(w, NONE, "/negative_prompt",
                        "guidance is off (guidance_scale is %g, not above 1)", s->guidance_scale);
    if (s->guidance_rescale > 0 && !cn_spec_is_guided(s))
        cn_warnings_add(w, NONE, "/guidance_rescale",
                        "guidance is off (guidance_scale is %g, not above 1)", s->guidance_scale);
    if (s->pag_adaptive_scale > 0 && !(s->pag_scale > 0))
        cn_warnings_add(w, NONE, "/pag_adaptive_scale", "pag_scale is 0");
    if (s->eta > 0 && s->sampler != CN_DDIM && s->sampler != CN_TCD)
        cn_warnings_add(w, NONE, "/eta", "only the samplers ddim and tcd have it, not %s",
                        cn_enum_sampler.name[s->sampler]);
    if (s->sampler == CN_EULER_CFGPP && s->guidance_scale > cfgpp_most)
        cn_warnings_add(w, NONE, "/guidance_scale", "%g is far above what %s is made for, 0 to 1",
                        s->guidance_scale, cn_enum_sampler.name[s->sampler]);
    if (s->denoise != preset.denoise && s->init_image.len == 0)
        cn_warnings_add(w, NONE, "/denoise", "there is no init_image");
    if (s->quality != preset.quality && s->format == CN_PNG)
        cn_warnings_add(w, NONE, "/quality", "png keeps every pixel: it is for jpeg and webp");
    if (s->resize != CN_STRETCH && s->init_image.len == 0)
        cn_warnings_add(w, NONE, "/resize", "there is no init_image");
    if ((s->mask_invert || s->mask_blur > 0) && s->mask.len == 0)
        cn_warnings_add(w, NONE, s->mask_invert ? "/mask_invert" : "/mask_blur",
                        "there is no mask");
    if (s->mask_alpha != CN_MASK_AUTO && s->mask.len == 0)
        cn_warnings_add(w, NONE, "/mask_alpha", "there is no mask");
    for (int i = 0; i < s->n_controls; i++)
        check_control(s, i, w);
    check_hires(s, w);
    cn_spec_release(&preset);
}
