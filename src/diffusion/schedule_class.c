/* What each class of sampler makes of a model's configuration: the defaults and the keys of
 * diffusers 0.35's classes, in one table. */
#include "base/base.h"

#include "diffusion/schedule.h"

#include "diffusion/schedule_priv.h"

#define UNDONE(name) (1u << CN_UNDONE_##name)

enum {
    /* what only DPMSolverMultistep and UniPC know */
    UNDONE_DPM = UNDONE(ALGORITHM) | UNDONE(FLOW) | UNDONE(VARIANCE),
    UNDONE_UNIPC = UNDONE(FLOW) | UNDONE(CORRECTOR) | UNDONE(PREDICT_X0) | UNDONE(SOLVER_P) |
                   UNDONE(THIRD_ORDER) | UNDONE(FULL_ORDER),
    /* Bounds of the levels are keys of Euler's class alone, but whatever a file says stays in the
     * configuration of the class that reads it, where all that have curves look. */
    READS_CURVES = CN_READS_SIGMAS | CN_READS_BOUNDS,
    READS_DPM = READS_CURVES | CN_READS_LU | CN_READS_FINAL | CN_READS_LAMBDA
};

/* Settings of enum cn_undone, as the file spells them. */
static const char *const undone_keys[CN_UNDONE_COUNT] = {
    "\"algorithm_type\": \"dpmsolver\"",
    "\"use_flow_sigmas\": true",
    "\"interpolation_type\": \"log_linear\"",
    "\"timestep_type\": \"continuous\"",
    "\"disable_corrector\"",
    "\"predict_x0\": false",
    "\"solver_p\"",
    "\"variance_type\"",
    "\"solver_order\": 3",
    "\"lower_order_final\": false",
};

/* What k-diffusion's samplers have in common. */
#define KD                                                                                         \
    .spacing = CN_LINSPACE, .grid = CN_GRID_REAL, .sigmas = true, .choosable = true,               \
    .scaled = true, .reads = READS_CURVES

static const struct cn_class_rule rules[CN_SAMPLER_COUNT] = {
    [CN_DDIM] = {.spacing = CN_LEADING,
                 .reads = CN_READS_CLIP,
                 .alpha_to_one = true,
                 .clip_sample = true},
    [CN_EULER] = {.spacing = CN_LINSPACE,
                  .grid = CN_GRID_REAL,
                  .zero = CN_ZERO_CLAMPED,
                  .sigmas = true,
                  .choosable = true,
                  .scaled = true,
                  .reads = READS_CURVES | CN_READS_FINAL,
                  .undone = UNDONE(INTERPOLATION) | UNDONE(CONTINUOUS)},
    /* diffusers has no curves here; k-diffusion, and so every web user, has them: on request */
    [CN_EULER_A] = {.spacing = CN_LINSPACE,
                    .grid = CN_GRID_REAL,
                    .zero = CN_ZERO_CLAMPED,
                    .sigmas = true,
                    .choosable = true,
                    .scaled = true},
    [CN_HEUN] = {.spacing = CN_LINSPACE,
                 .grid = CN_GRID_REAL,
                 .zero = CN_ZERO_UNKNOWN,
                 .calls = CN_CALLS_HEUN,
                 .sigmas = true,
                 .choosable = true,
                 .scaled = true,
                 .reads = READS_CURVES | CN_READS_CLIP,
                 .betas = CN_BETAS_LATENT},
    [CN_DPMPP_2M] = {.spacing = CN_LINSPACE,
                     .grid = CN_GRID_OPEN,
                     .zero = CN_ZERO_CLAMPED,
                     .sigmas = true,
                     .choosable = true,
                     .reads = READS_DPM,
                     .undone = UNDONE_DPM},
    [CN_DPMPP_2M_SDE] = {.spacing = CN_LINSPACE,
                         .grid = CN_GRID_OPEN,
                         .zero = CN_ZERO_CLAMPED,
                         .sigmas = true,
                         .choosable = true,
                         .reads = READS_DPM,
                         .undone = UNDONE_DPM},
    [CN_UNIPC] = {.spacing = CN_LINSPACE,
                  .grid = CN_GRID_OPEN,
                  .zero = CN_ZERO_CLAMPED,
                  .sigmas = true,
                  .choosable = true,
                  .reads = READS_CURVES | CN_READS_FINAL,
                  .undone = UNDONE_UNIPC},
    [CN_LCM] = {.spacing = CN_LEADING,
                .grid = CN_GRID_DISTILLED,
                .reads = CN_READS_CLIP,
                .betas = CN_BETAS_SCALED,
                .alpha_to_one = true},
    [CN_PNDM] = {.spacing = CN_LEADING,
                 .zero = CN_ZERO_UNKNOWN,
                 .calls = CN_CALLS_PNDM,
                 .prk_steps = true},
    /* DPMSolverSDEScheduler, DPMSolverMultistepScheduler, KDPM2DiscreteScheduler and -Ancestral,
     * LMSDiscreteScheduler, DEISMultistepScheduler, TCDScheduler; the others have no class there,
     * and read what Euler's class reads of sigmas */
    [CN_DPMPP_SDE] = {KD, .zero = CN_ZERO_UNKNOWN, .calls = CN_CALLS_MIDDLE,
                      .betas = CN_BETAS_LATENT, .karras_unbound = true},
    [CN_DPMPP_2M_SDE_HEUN] = {.spacing = CN_LINSPACE,
                              .grid = CN_GRID_OPEN,
                              .zero = CN_ZERO_CLAMPED,
                              .sigmas = true,
                              .choosable = true,
                              .reads = READS_DPM,
                              .undone = UNDONE_DPM},
    [CN_DPMPP_3M_SDE] = {KD, .zero = CN_ZERO_CLAMPED},
    [CN_DPMPP_2S_A] = {KD, .zero = CN_ZERO_CLAMPED, .calls = CN_CALLS_ANCESTRAL},
    [CN_DPM2] = {KD, .zero = CN_ZERO_UNKNOWN, .calls = CN_CALLS_MIDDLE, .betas = CN_BETAS_LATENT,
                 .rounds = true},
    [CN_DPM2_A] = {KD, .zero = CN_ZERO_UNKNOWN, .calls = CN_CALLS_KDPM2_A,
                   .betas = CN_BETAS_LATENT, .rounds = true},
    [CN_LMS] = {KD, .zero = CN_ZERO_UNKNOWN, .karras_unbound = true},
    [CN_HEUNPP2] = {KD, .zero = CN_ZERO_CLAMPED, .calls = CN_CALLS_HEUNPP},
    [CN_DEIS] = {.spacing = CN_LINSPACE,
                 .grid = CN_GRID_OPEN,
                 .zero = CN_ZERO_UNKNOWN,
                 .sigmas = true,
                 .choosable = true,
                 .reads = READS_CURVES,
                 .undone = UNDONE(FLOW),
                 .ends_low = true},
    [CN_TCD] = {.spacing = CN_LEADING,
                .grid = CN_GRID_DISTILLED,
                .betas = CN_BETAS_SCALED,
                .alpha_to_one = true},
    [CN_RESTART] = {KD, .zero = CN_ZERO_CLAMPED, .calls = CN_CALLS_RESTART},
    [CN_EULER_CFGPP] = {KD, .zero = CN_ZERO_CLAMPED},
};

const struct cn_class_rule *cn_class_rule(enum cn_sampler kind)
{
    return &rules[kind];
}

/* The class's own values for keys that the file does not hold. */
static void fill_defaults(struct cn_schedule_config *c, const struct cn_class_rule *r)
{
    if (c->absent & CN_KEY_BETA_START)
        c->beta_start = r->betas == CN_BETAS_DDPM ? 0.0001 : 0.00085;
    if (c->absent & CN_KEY_BETA_END)
        c->beta_end = r->betas == CN_BETAS_DDPM ? 0.02 : 0.012;
    if (c->absent & CN_KEY_BETA_SCHEDULE)
        c->beta_schedule = r->betas == CN_BETAS_SCALED ? CN_BETA_SCALED_LINEAR : CN_BETA_LINEAR;
    if (c->absent & CN_KEY_ALPHA_TO_ONE)
        c->set_alpha_to_one = r->alpha_to_one;
    if (c->absent & CN_KEY_CLIP_SAMPLE)
        c->clip_sample = r->clip_sample;
    if (c->absent & CN_KEY_SKIP_PRK)
        c->prk_steps = r->prk_steps;
    c->absent = 0;
}

static void drop_unknown(struct cn_schedule_config *c, const struct cn_class_rule *r)
{
    struct cn_solver_config *s = &c->solver;

    if (!(r->reads & CN_READS_SIGMAS))
        s->sigmas = CN_SIGMAS_OF_TIMESTEPS;
    s->lu_lambdas = s->lu_lambdas && (r->reads & CN_READS_LU) != 0;
    s->ends_at_sigma_min = s->ends_at_sigma_min && (r->reads & CN_READS_FINAL) != 0;
    s->clips_lambda = s->clips_lambda && (r->reads & CN_READS_LAMBDA) != 0;
    c->clip_sample = c->clip_sample && (r->reads & CN_READS_CLIP) != 0;
    c->prk_steps = c->prk_steps && r->calls == CN_CALLS_PNDM;
    if (!(r->reads & CN_READS_BOUNDS))
        s->sigma_min = s->sigma_max = 0;
}

int cn_class_config(enum cn_sampler kind, const struct cn_schedule_config *file,
                    struct cn_schedule_config *ret, struct cn_err *err)
{
    const struct cn_class_rule *r = &rules[kind];
    unsigned asked = file->solver.undone & r->undone;

    for (int i = 0; i < CN_UNDONE_COUNT; i++)
        if (asked >> i & 1)
            return cn_fail_at(
                err, CN_EINVAL, "/sampler",
                "the model's scheduler_config.json says %s, which \"%s\" does not do: "
                "another sampler does not ask for it",
                undone_keys[i], cn_enum_sampler.name[kind]);
    *ret = *file;
    fill_defaults(ret, r);
    drop_unknown(ret, r);
    if (ret->solver.order == 0)
        ret->solver.order = 2;
    if (ret->solver.original_steps == 0)
        ret->solver.original_steps = 50;
    if (ret->solver.timestep_scaling == 0)
        ret->solver.timestep_scaling = 10;
    if (ret->solver.clip_range == 0)
        ret->solver.clip_range = 1;
    return CN_OK;
}
