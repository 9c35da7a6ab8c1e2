/* The table of samplers, and what all of them have in common: where a trajectory starts, what the
 * network is shown and told, when noise is drawn. The methods' own steps are in sampler_vp.c,
 * sampler_ve.c, sampler_kd.c and sampler_dpm.c. */
#include "base/base.h"

#include "diffusion/sampler.h"

#include "base/mem.h"
#include "diffusion/sampler_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double tcd_gamma = 0.3; /* TCDScheduler.step */

static const struct cn_sampler_method methods[CN_SAMPLER_COUNT] = {
    [CN_DDIM] = {cn_sampler_advance_ddim, cn_sampler_mix_vp, 0},
    [CN_EULER] = {cn_sampler_advance_euler, cn_sampler_mix_ve, 0},
    [CN_EULER_A] = {cn_sampler_advance_euler_a, cn_sampler_mix_ve, 0},
    [CN_HEUN] = {cn_sampler_advance_heun, cn_sampler_mix_ve, 2},
    [CN_DPMPP_2M] = {cn_sampler_advance_dpmpp, cn_sampler_mix_dpm, 3},
    [CN_DPMPP_2M_SDE] = {cn_sampler_advance_dpmpp_2m_sde, cn_sampler_mix_dpm, 3},
    [CN_UNIPC] = {cn_sampler_advance_unipc, cn_sampler_mix_dpm, 4},
    [CN_LCM] = {cn_sampler_advance_lcm, cn_sampler_mix_vp, 0},
    [CN_PNDM] = {cn_sampler_advance_pndm, cn_sampler_mix_vp, 6},
    [CN_DPMPP_SDE] = {cn_sampler_advance_dpmpp_sde, cn_sampler_mix_ve, 2},
    [CN_DPMPP_2M_SDE_HEUN] = {cn_sampler_advance_dpmpp_2m_sde, cn_sampler_mix_dpm, 3},
    [CN_DPMPP_3M_SDE] = {cn_sampler_advance_dpmpp_3m_sde, cn_sampler_mix_ve, 3},
    [CN_DPMPP_2S_A] = {cn_sampler_advance_dpmpp_2s_a, cn_sampler_mix_ve, 2},
    [CN_DPM2] = {cn_sampler_advance_dpm2, cn_sampler_mix_ve, 1},
    [CN_DPM2_A] = {cn_sampler_advance_dpm2_a, cn_sampler_mix_ve, 1},
    [CN_LMS] = {cn_sampler_advance_lms, cn_sampler_mix_ve, CN_LMS_ORDER},
    [CN_HEUNPP2] = {cn_sampler_advance_heunpp2, cn_sampler_mix_ve, 3},
    [CN_DEIS] = {cn_sampler_advance_deis, cn_sampler_mix_dpm, 3},
    [CN_TCD] = {cn_sampler_advance_tcd, cn_sampler_mix_vp, 0},
    [CN_RESTART] = {cn_sampler_advance_restart, cn_sampler_mix_ve, 2},
    [CN_EULER_CFGPP] = {cn_sampler_advance_euler_cfgpp, cn_sampler_mix_ve, 0},
};

static bool is_ve(const struct cn_sampler_state *s)
{
    return s->method->mix == cn_sampler_mix_ve;
}

/* Does call number "at" draw noise? EulerAncestral and the 2M SDE draw at every call, even where it
 * is then multiplied by 0; LCM and TCD not at their last; ancestral steps of two calls at the
 * second; the other SDE where a call does not end at 0; Restart where its levels rise. */
static bool draws(const struct cn_sampler_state *s, int at)
{
    switch (s->kind) {
    case CN_DDIM:
        return s->eta > 0;
    case CN_EULER_A:
    case CN_DPMPP_2M_SDE:
    case CN_DPMPP_2M_SDE_HEUN:
        return true;
    case CN_LCM:
        return at + 1 < s->t.calls;
    case CN_TCD:
        return at + 1 < s->t.calls && s->eta > 0;
    case CN_DPM2_A:
    case CN_DPMPP_2S_A:
        return at % 2 != 0;
    case CN_DPMPP_SDE:
    case CN_DPMPP_3M_SDE:
        return s->t.sigma[at + 1] > 0;
    case CN_RESTART:
        return s->t.sigma[at + 1] > s->t.sigma[at];
    default:
        return false;
    }
}

/* Where img2img enters (StableDiffusionControlNetImg2ImgPipeline.get_timesteps): the last int(steps
 * x denoise) steps are run. PNDM's list has more entries than steps, and diffusers cuts it as if it
 * had not. */
static int find_start(struct cn_sampler_state *s, const struct cn_sampler_opts *o,
                      struct cn_err *err)
{
    if (!(o->denoise > 0 && o->denoise <= 1))
        return cn_fail_at(err, CN_EINVAL, "/denoise",
                          "%g is out of range: above 0 and up to 1 is accepted", o->denoise);
    int steps = s->t.steps, run = (int)((double)steps * o->denoise);
    if (run < 1)
        return cn_fail_at(err, CN_EINVAL, "/denoise",
                          "%g of %d steps is less than one step: use at least %d steps", o->denoise,
                          steps, (int)ceil(fmin(1 / o->denoise, 1e9)));
    if (s->t.cut == 0) /* else the calls begin there */
        s->first = cn_timetable_call_of_step(&s->t, o->kind, steps - run);
    s->at = s->first;
    return CN_OK;
}

/* An epsilon model cannot start where the signal is exactly 0: x0 = (x - e) / 0. */
static int check_signal(const struct cn_sampler_state *s, struct cn_err *err)
{
    if (s->prediction == CN_PREDICT_EPSILON && s->method->mix(s, s->first).signal == 0)
        return cn_fail_at(err, CN_EINVAL, "/sampler",
                          "\"%s\" cannot start from zero signal with a model that predicts noise: "
                          "use \"%s\", or \"leading\" spacing",
                          cn_enum_sampler.name[s->kind], cn_enum_sampler.name[CN_EULER]);
    return CN_OK;
}

static int make_buffers(struct cn_sampler_state *s, struct cn_err *err)
{
    int count = s->method->buffers + cn_sampler_is_random(s);
    size_t size;

    if (!cn_mul_size(s->n, (size_t)count * sizeof(float), &size) ||
        (s->block = cn_try_alloc(size)) == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for a sampler of %zu values", s->n);
    for (int i = 0; i < s->method->buffers; i++)
        s->buf[i] = s->block + (size_t)i * s->n;
    if (cn_sampler_is_random(s))
        s->z = s->block + (size_t)s->method->buffers * s->n;
    memset(s->block, 0, size);
    return CN_OK;
}

int cn_sampler_new(const struct cn_schedule_config *config, const struct cn_sampler_opts *o,
                   size_t n, struct cn_sampler_state **ret, struct cn_err *err)
{
    struct cn_sampler_state *s;
    int rc;

    if ((unsigned)o->kind >= CN_SAMPLER_COUNT)
        return cn_fail_at(err, CN_EINVAL, "/sampler", "there is no sampler %d", (int)o->kind);
    s = cn_xcalloc(1, sizeof(*s));
    s->kind = o->kind;
    s->method = &methods[o->kind];
    s->prediction = config->prediction;
    s->eta = (float)(o->kind == CN_TCD && o->eta <= 0 ? tcd_gamma : o->eta);
    s->n = n;
    if ((rc = cn_timetable_init(&s->t, config, o, err)) < 0 || (rc = find_start(s, o, err)) < 0 ||
        (rc = check_signal(s, err)) < 0 || (rc = make_buffers(s, err)) < 0) {
        cn_sampler_free(s);
        return rc;
    }
    if (s->t.config.clip_sample)
        s->clip = (float)s->t.config.solver.clip_range;
    *ret = s;
    return CN_OK;
}

void cn_sampler_free(struct cn_sampler_state *s)
{
    if (s == NULL)
        return;
    cn_timetable_release(&s->t);
    free(s->block);
    free(s);
}

int cn_sampler_calls(const struct cn_sampler_state *s)
{
    return s->t.calls - s->first;
}

int cn_sampler_call(const struct cn_sampler_state *s)
{
    return s->at - s->first;
}

bool cn_sampler_done(const struct cn_sampler_state *s)
{
    return s->at == s->t.calls;
}

float cn_sampler_timestep(const struct cn_sampler_state *s)
{
    CN_ASSERT(!cn_sampler_done(s));
    return s->t.timestep[s->at];
}

float cn_sampler_timestep_at(const struct cn_sampler_state *s, int call)
{
    CN_ASSERT(call >= 0 && call < cn_sampler_calls(s));
    return s->t.timestep[s->first + call];
}

/* scale_model_input: VE samples become VP ones, x = X / sqrt(sigma^2 + 1). */
void cn_sampler_scale_input(const struct cn_sampler_state *s, const float *x, float *ret)
{
    float sigma = is_ve(s) ? s->t.sigma[s->at] : 0;
    float divisor = sqrtf(sigma * sigma + 1.0f);

    for (size_t i = 0; i < s->n; i++)
        ret[i] = x[i] / divisor;
}

float cn_sampler_init_sigma(const struct cn_sampler_state *s)
{
    return s->t.init_sigma;
}

void cn_sampler_noise_at(const struct cn_sampler_state *s, int call, const float *x0,
                         const float *noise, float *ret)
{
    int at = s->first + call;
    struct cn_mix m = {1, 0};

    CN_ASSERT(call >= 0 && at <= s->t.calls);
    if (s->kind == CN_DPM2 || s->kind == CN_DPM2_A) /* diffusers finds the step's end */
        at += at % 2;
    if (at < s->t.calls)
        m = s->method->mix(s, at);
    for (size_t i = 0; i < s->n; i++)
        ret[i] = m.signal * x0[i] + m.noise * noise[i];
}

void cn_sampler_add_noise(const struct cn_sampler_state *s, const float *x0, const float *noise,
                          float *ret)
{
    cn_sampler_noise_at(s, cn_sampler_call(s), x0, noise, ret);
}

void cn_sampler_x0(const struct cn_sampler_state *s, const float *x, const float *out, float *ret)
{
    struct cn_mix m = s->method->mix(s, s->at);

    CN_ASSERT(!cn_sampler_done(s));
    for (size_t i = 0; i < s->n; i++)
        ret[i] = is_ve(s) ? cn_sampler_x0_ve(s->prediction, m.noise, x[i], out[i])
                          : cn_sampler_x0_vp(s->prediction, m, x[i], out[i]);
}

int cn_sampler_advance(struct cn_sampler_state *s, float *x, const float *out,
                       struct cn_noise *noise)
{
    return cn_sampler_advance_both(s, x, out, NULL, noise);
}

int cn_sampler_advance_both(struct cn_sampler_state *s, float *x, const float *out,
                            const float *uncond, struct cn_noise *noise)
{
    const float *z = NULL;

    if (cn_sampler_done(s))
        return CN_EINTERNAL;
    if (draws(s, s->at)) {
        if (noise == NULL)
            return CN_EINTERNAL;
        cn_noise_normal(noise, s->n, s->z);
        z = s->z;
    }
    s->uncond = uncond;
    s->method->advance(s, x, out, z);
    s->at++;
    return CN_OK;
}

bool cn_sampler_is_random(const struct cn_sampler_state *s)
{
    for (int at = s->first; at < s->t.calls; at++)
        if (draws(s, at))
            return true;
    return false;
}
