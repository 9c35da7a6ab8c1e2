/* Names of AUTOMATIC1111's web UI (modules/sd_samplers_*.py, sd_schedulers.py, version 1.10) and of
 * its ControlNet extension (scripts/preprocessor). */
#include "base/base.h"
#include "api/a1111_names.h"

#include <string.h>
#include <strings.h>

#define NORMAL CN_SCHEDULE_NORMAL, CN_SPACING_MODEL
#define KARRAS CN_KARRAS, CN_SPACING_MODEL
/* DDIM, PLMS and UniPC walk over timesteps there, every 1000/steps-th, and take no schedule. */
#define STEPS CN_SCHEDULE_DEFAULT, CN_LEADING

const struct cn_a1111_sampler cn_a1111_samplers[] = {
    {"DPM++ 2M", {"k_dpmpp_2m"}, CN_DPMPP_2M, KARRAS, "{\"scheduler\":\"karras\"}"},
    {"DPM++ SDE",
     {"k_dpmpp_sde"},
     CN_DPMPP_SDE,
     KARRAS,
     "{\"scheduler\":\"karras\",\"second_order\":true,\"brownian_noise\":true}"},
    {"DPM++ 2M SDE",
     {"k_dpmpp_2m_sde"},
     CN_DPMPP_2M_SDE,
     CN_EXPONENTIAL,
     CN_SPACING_MODEL,
     "{\"scheduler\":\"exponential\",\"brownian_noise\":true}"},
    {"DPM++ 2M SDE Heun",
     {"k_dpmpp_2m_sde_heun"},
     CN_DPMPP_2M_SDE_HEUN,
     CN_EXPONENTIAL,
     CN_SPACING_MODEL,
     "{\"scheduler\":\"exponential\",\"brownian_noise\":true,\"solver_type\":\"heun\"}"},
    {"DPM++ 2S a",
     {"k_dpmpp_2s_a"},
     CN_DPMPP_2S_A,
     KARRAS,
     "{\"scheduler\":\"karras\",\"uses_ensd\":true,\"second_order\":true}"},
    {"DPM++ 3M SDE",
     {"k_dpmpp_3m_sde"},
     CN_DPMPP_3M_SDE,
     CN_EXPONENTIAL,
     CN_SPACING_MODEL,
     "{\"scheduler\":\"exponential\",\"discard_next_to_last_sigma\":true,"
     "\"brownian_noise\":true}"},
    {"Euler a", {"k_euler_a", "k_euler_ancestral"}, CN_EULER_A, NORMAL, "{\"uses_ensd\":true}"},
    {"Euler", {"k_euler"}, CN_EULER, NORMAL, "{}"},
    {"LMS", {"k_lms"}, CN_LMS, NORMAL, "{}"},
    {"Heun", {"k_heun"}, CN_HEUN, NORMAL, "{\"second_order\":true}"},
    {"DPM2",
     {"k_dpm_2"},
     CN_DPM2,
     KARRAS,
     "{\"scheduler\":\"karras\",\"discard_next_to_last_sigma\":true,\"second_order\":true}"},
    {"DPM2 a",
     {"k_dpm_2_a", "k_dpm_2_ancestral"},
     CN_DPM2_A,
     KARRAS,
     "{\"scheduler\":\"karras\",\"discard_next_to_last_sigma\":true,\"uses_ensd\":true,"
     "\"second_order\":true}"},
    {"Restart",
     {"restart"},
     CN_RESTART,
     KARRAS,
     "{\"scheduler\":\"karras\",\"second_order\":true}"},
    {"DDIM", {"ddim", "k_ddim"}, CN_DDIM, STEPS, "{}"},
    {"PLMS", {"plms", "k_plms"}, CN_PNDM, STEPS, "{}"},
    {"UniPC", {"unipc", "uni_pc"}, CN_UNIPC, STEPS, "{}"},
    {"LCM", {"k_lcm"}, CN_LCM, CN_SCHEDULE_DEFAULT, CN_SPACING_MODEL, "{}"},
    {"HeunPP2", {"k_heunpp2"}, CN_HEUNPP2, NORMAL, "{}"},
    {"DEIS", {"k_deis"}, CN_DEIS, CN_SCHEDULE_DEFAULT, CN_SPACING_MODEL, "{}"},
    {"TCD", {"k_tcd"}, CN_TCD, CN_SCHEDULE_DEFAULT, CN_SPACING_MODEL, "{}"},
    {"Euler CFG++", {"k_euler_cfg_pp"}, CN_EULER_CFGPP, NORMAL, "{}"},
};
const int cn_a1111_n_samplers = CN_LEN(cn_a1111_samplers);

const struct cn_a1111_schedule cn_a1111_schedules[] = {
    {"automatic", "Automatic", NULL, CN_SCHEDULE_DEFAULT, -1, false},
    {"uniform", "Uniform", NULL, CN_SCHEDULE_NORMAL, -1, true},
    {"karras", "Karras", NULL, CN_KARRAS, 7, false},
    {"exponential", "Exponential", NULL, CN_EXPONENTIAL, -1, false},
    {"polyexponential", "Polyexponential", NULL, CN_SCHEDULE_POLYEXPONENTIAL, 1, false},
    {"sgm_uniform", "SGM Uniform", "SGMUniform", CN_SCHEDULE_SGM_UNIFORM, -1, true},
    {"kl_optimal", "KL Optimal", NULL, CN_SCHEDULE_KL_OPTIMAL, -1, false},
    {"align_your_steps", "Align Your Steps", "AYS", CN_SCHEDULE_AYS, -1, false},
    {"simple", "Simple", NULL, CN_SCHEDULE_SIMPLE, -1, true},
    {"normal", "Normal", NULL, CN_SCHEDULE_NORMAL, -1, true},
    {"beta", "Beta", NULL, CN_SCHEDULE_BETA_TIMESTEPS, -1, true},
};
const int cn_a1111_n_schedules = CN_LEN(cn_a1111_schedules);

static const struct cn_a1111_sampler *find_sampler(const char *name, size_t len)
{
    for (int i = 0; i < cn_a1111_n_samplers; i++) {
        const struct cn_a1111_sampler *s = &cn_a1111_samplers[i];
        const char *const names[] = {s->name, cn_enum_sampler.name[s->sampler], s->alias[0],
                                     s->alias[1], s->alias[2]};

        for (size_t k = 0; k < CN_LEN(names); k++)
            if (names[k] != NULL && strlen(names[k]) == len &&
                strncasecmp(names[k], name, len) == 0)
                return s;
    }
    return NULL;
}

const struct cn_a1111_schedule *cn_a1111_schedule_find(const char *name)
{
    for (int i = 0; i < cn_a1111_n_schedules; i++) {
        const struct cn_a1111_schedule *s = &cn_a1111_schedules[i];

        if (strcasecmp(s->name, name) == 0 || strcasecmp(s->label, name) == 0 ||
            (s->alias != NULL && strcasecmp(s->alias, name) == 0) ||
            (s->schedule != CN_SCHEDULE_DEFAULT &&
             strcasecmp(cn_enum_schedule.name[s->schedule], name) == 0))
            return s;
    }
    return NULL;
}

const struct cn_a1111_sampler *cn_a1111_sampler_find(const char *name,
                                                     const struct cn_a1111_schedule **ret_schedule)
{
    const struct cn_a1111_sampler *s = find_sampler(name, strlen(name));

    *ret_schedule = NULL;
    for (const char *p = name; s == NULL && (p = strchr(p, ' ')) != NULL; p++) {
        const struct cn_a1111_schedule *schedule = cn_a1111_schedule_find(p + 1);

        if (schedule == NULL || (s = find_sampler(name, (size_t)(p - name))) == NULL)
            continue;
        *ret_schedule = schedule;
    }
    return s;
}

const struct cn_a1111_sampler *cn_a1111_sampler_of(enum cn_sampler sampler)
{
    for (int i = 0; i < cn_a1111_n_samplers; i++)
        if (cn_a1111_samplers[i].sampler == sampler)
            return &cn_a1111_samplers[i];
    return &cn_a1111_samplers[0];
}

const struct cn_a1111_schedule *cn_a1111_schedule_of(enum cn_schedule schedule,
                                                     const struct cn_a1111_sampler *s)
{
    if (schedule == s->preset)
        return NULL;
    for (int i = 0; i < cn_a1111_n_schedules; i++)
        if (cn_a1111_schedules[i].schedule == schedule)
            return &cn_a1111_schedules[i];
    return NULL;
}

/* ---- upscalers ---- */

const struct cn_a1111_upscaler cn_a1111_upscalers[] = {
    {"Latent", CN_UP_LATENT},
    {"Latent (antialiased)", CN_UP_LATENT_ANTIALIASED},
    {"Latent (bicubic)", CN_UP_LATENT_BICUBIC},
    {"Latent (bicubic antialiased)", CN_UP_LATENT_BICUBIC_ANTIALIASED},
    {"Latent (nearest)", CN_UP_LATENT_NEAREST},
    {"Latent (nearest-exact)", CN_UP_LATENT_NEAREST_EXACT},
    {"Lanczos", CN_UP_LANCZOS},
    {"Nearest", CN_UP_NEAREST},
    {"Bicubic", CN_UP_BICUBIC},
};
const int cn_a1111_n_upscalers = CN_LEN(cn_a1111_upscalers);

int cn_a1111_upscaler_find(const char *name)
{
    if (name[0] == '\0')
        return CN_UP_LATENT;
    if (strcasecmp(name, "None") == 0)
        return CN_UP_LANCZOS; /* there, too: only the size changes */
    for (int i = 0; i < cn_a1111_n_upscalers; i++)
        if (strcasecmp(cn_a1111_upscalers[i].name, name) == 0)
            return cn_a1111_upscalers[i].upscaler;
    return -1;
}

/* ---- preprocessors ---- */

#define NO_SLIDER                                                                                  \
    {                                                                                              \
        NULL, NULL, 0, 0, 0, 0, 1                                                                  \
    }
#define THRESHOLD(name, def)                                                                       \
    {                                                                                              \
        name, "threshold", 1, 64, def, 1, 1                                                        \
    }

const struct cn_a1111_module cn_a1111_modules[] = {
    {"none",
     {NULL},
     "none",
     "All,Canny,Lineart,MLSD,Scribble/Sketch,Segmentation,Tile,Shuffle",
     false,
     {NO_SLIDER, NO_SLIDER}},
    {"canny",
     {NULL},
     "canny",
     "All,Canny",
     true,
     {{"Low Threshold", "low", 1, 255, 100, 1, 1}, {"High Threshold", "high", 1, 255, 200, 1, 1}}},
    {"invert",
     {"invert (from white bg & black line)", "scribble_invert"},
     "invert",
     "All,Canny,Lineart,MLSD,Scribble/Sketch",
     false,
     {NO_SLIDER, NO_SLIDER}},
    {"scribble_xdog",
     {"fake_scribble_xdog"},
     "scribble",
     "All,Scribble/Sketch",
     true,
     {THRESHOLD("XDoG Threshold", 32), NO_SLIDER}},
    {"lineart_standard",
     {"lineart_standard (from white bg & black line)"},
     "lineart_standard",
     "All,Lineart",
     true,
     {NO_SLIDER, NO_SLIDER}},
    {"threshold",
     {NULL},
     "threshold",
     "All",
     true,
     {{"Binarization Threshold", "threshold", 0, 255, 127, 1, 1}, NO_SLIDER}},
    {"blur_gaussian",
     {"tile_gaussian", "blur"},
     "blur",
     "All,Tile",
     true,
     {{"Sigma", "sigma", 0.01, 64, 9, 0.01, 1}, NO_SLIDER}},
    {"tile_resample",
     {NULL},
     "tile",
     "All,Tile",
     false,
     {{"Down Sampling Rate", "factor", 1, 8, 1, 0.01, 1}, NO_SLIDER}},
    {"shuffle", {NULL}, "shuffle", "All,Shuffle", true, {NO_SLIDER, NO_SLIDER}},
    {"t2ia_color_grid", {"color"}, "color", "All", true, {NO_SLIDER, NO_SLIDER}},
    {"inpaint_only",
     {"inpaint", "inpaint_global_harmonious"},
     "inpaint",
     "All,Inpaint",
     false,
     {NO_SLIDER, NO_SLIDER}},
    {"hough",
     {NULL},
     "hough",
     "All,MLSD",
     true,
     {{"Threshold", "threshold", 1, 1000, 50, 1, 1}, NO_SLIDER}},
    {"segment", {NULL}, "segment", "All,Segmentation", true, {NO_SLIDER, NO_SLIDER}},
    {"grey", {NULL}, "grey", "All", true, {NO_SLIDER, NO_SLIDER}},
    {"binary",
     {NULL},
     "binary",
     "All",
     true,
     {{"Threshold", "threshold", 0, 255, 0, 1, 1}, NO_SLIDER}},
    {"drawing", {NULL}, "drawing", "All,Scribble/Sketch", false, {NO_SLIDER, NO_SLIDER}},
};
const int cn_a1111_n_modules = CN_LEN(cn_a1111_modules);

const struct cn_a1111_module *cn_a1111_module_find(const char *name)
{
    if (name[0] == '\0')
        return &cn_a1111_modules[0];
    for (int i = 0; i < cn_a1111_n_modules; i++) {
        const struct cn_a1111_module *m = &cn_a1111_modules[i];

        if (strcasecmp(m->name, name) == 0 || strcasecmp(m->annotator, name) == 0)
            return m;
        for (size_t k = 0; k < CN_LEN(m->alias) && m->alias[k] != NULL; k++)
            if (strcasecmp(m->alias[k], name) == 0)
                return m;
    }
    return NULL;
}

double cn_a1111_slider_value(const struct cn_a1111_slider *s, double asked)
{
    return asked >= s->min && asked <= s->max ? asked : s->preset;
}

int cn_a1111_resolution(double asked)
{
    return asked >= 64 && asked <= 2048 ? (int)asked : 512;
}
