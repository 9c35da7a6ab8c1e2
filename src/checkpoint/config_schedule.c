/* scheduler_config.json: the noise schedule that a model was trained with, and the settings of the
 * sampler that its author had in mind, in diffusers' names. */
#include "base/base.h"
#include "base/spec.h"
#include "checkpoint/config.h"
#include "checkpoint/checkpoint_priv.h"

#include <jansson.h>
#include <string.h>

/* ---- the noise schedule ---- */

static void read_prediction(struct cn_conf *f, struct cn_schedule_config *s)
{
    const char *p = cn_conf_string(f, "prediction_type", NULL);

    if (p == NULL)
        return;
    s->prediction = strcmp(p, "v_prediction") == 0 ? CN_PREDICT_V : CN_PREDICT_EPSILON;
    if (s->prediction == CN_PREDICT_EPSILON && strcmp(p, "epsilon") != 0)
        cn_conf_bad(f, "prediction_type", "\"%.40s\" is neither epsilon nor v_prediction", p);
}

static void read_beta(struct cn_conf *f, struct cn_schedule_config *s)
{
    const char *b = cn_conf_string(f, "beta_schedule", NULL);

    s->beta_start = cn_conf_real(f, "beta_start", s->beta_start, 0, 1);
    s->beta_end = cn_conf_real(f, "beta_end", s->beta_end, 0, 1);
    if (b == NULL)
        return;
    if (strcmp(b, "linear") == 0)
        s->beta_schedule = CN_BETA_LINEAR;
    else if (strcmp(b, "scaled_linear") == 0)
        s->beta_schedule = CN_BETA_SCALED_LINEAR;
    else if (strcmp(b, "squaredcos_cap_v2") == 0)
        s->beta_schedule = CN_BETA_COSINE;
    else
        cn_conf_bad(f, "beta_schedule", "\"%.40s\" is not supported", b);
}

/* Keys whose absence means something else in each class. */
static void read_presence(const struct cn_conf *f, struct cn_schedule_config *s)
{
    static const struct {
        const char *name;
        enum cn_schedule_key key;
    } keys[] = {
        {"beta_start", CN_KEY_BETA_START},       {"beta_end", CN_KEY_BETA_END},
        {"beta_schedule", CN_KEY_BETA_SCHEDULE}, {"set_alpha_to_one", CN_KEY_ALPHA_TO_ONE},
        {"clip_sample", CN_KEY_CLIP_SAMPLE},     {"skip_prk_steps", CN_KEY_SKIP_PRK},
    };

    for (size_t i = 0; i < CN_LEN(keys); i++)
        if (json_object_get(f->root, keys[i].name) != NULL) /* null is false */
            s->absent &= ~(unsigned)keys[i].key;
}

/* ---- the sampler's own settings ---- */

/* The index of the key's text in a list that ends with NULL; 0, its first, when it is absent. */
static int read_word(struct cn_conf *f, const char *key, const char *const *words, int otherwise)
{
    const char *text = cn_conf_string(f, key, NULL);

    if (text == NULL)
        return otherwise;
    for (int i = 0; words[i] != NULL; i++)
        if (strcmp(text, words[i]) == 0)
            return i;
    cn_conf_bad(f, key, "\"%.40s\" is not supported", text);
    return otherwise;
}

static void undone(struct cn_solver_config *s, enum cn_undone what, bool asked)
{
    if (asked)
        s->undone |= 1u << what;
    else
        s->undone &= ~(1u << what);
}

static void read_sigmas(struct cn_conf *f, struct cn_solver_config *s)
{
    static const char *const keys[] = {NULL, "use_karras_sigmas", "use_exponential_sigmas",
                                       "use_beta_sigmas"};
    int asked = 0;

    for (int i = 1; i < (int)CN_LEN(keys); i++) {
        bool was = s->sigmas == (enum cn_file_sigmas)i;

        if (!cn_conf_bool(f, keys[i], was && asked == 0))
            continue;
        if (asked != 0)
            cn_conf_bad(f, keys[i], "true, and \"%s\" is too: a model has one of them",
                        keys[asked]);
        asked = i;
    }
    s->sigmas = (enum cn_file_sigmas)asked;
    s->lu_lambdas = cn_conf_bool(f, "use_lu_lambdas", s->lu_lambdas);
    if (cn_conf_has(f, "use_flow_sigmas"))
        undone(s, CN_UNDONE_FLOW, cn_conf_bool(f, "use_flow_sigmas", false));
    s->sigma_min = cn_conf_real(f, "sigma_min", s->sigma_min, 1e-6, 1e6);
    s->sigma_max = cn_conf_real(f, "sigma_max", s->sigma_max, 1e-6, 1e6);
}

static void read_order(struct cn_conf *f, struct cn_solver_config *s)
{
    static const char *const types[] = {"midpoint", "heun", "bh1", "bh2", "logrho", NULL};
    static const enum cn_solver_type meaning[] = {CN_SOLVER_USUAL, CN_SOLVER_HEUN, CN_SOLVER_BH1,
                                                  CN_SOLVER_USUAL, CN_SOLVER_USUAL};
    static const char *const finals[] = {"zero", "sigma_min", NULL};
    int type = read_word(f, "solver_type", types, -1);

    s->order = (int)cn_conf_int(f, "solver_order", s->order, 1, 3);
    undone(s, CN_UNDONE_THIRD_ORDER, s->order == 3);
    if (type >= 0)
        s->type = meaning[type];
    s->ends_at_sigma_min = read_word(f, "final_sigmas_type", finals, s->ends_at_sigma_min);
    s->full_order_final = !cn_conf_bool(f, "lower_order_final", !s->full_order_final);
    undone(s, CN_UNDONE_FULL_ORDER, s->full_order_final);
    s->euler_at_final = cn_conf_bool(f, "euler_at_final", s->euler_at_final);
    if (cn_conf_has(f, "lambda_min_clipped")) {
        s->clips_lambda = true;
        s->lambda_min = cn_conf_real(f, "lambda_min_clipped", 0, -1e308, 1e308);
    }
}

static void read_undone(struct cn_conf *f, struct cn_schedule_config *s)
{
    static const char *const algorithms[] = {"dpmsolver++", "sde-dpmsolver++", "deis",
                                             "dpmsolver",   "sde-dpmsolver",   NULL};
    static const char *const interpolations[] = {"linear", "log_linear", NULL};
    static const char *const types[] = {"discrete", "continuous", NULL};
    struct cn_solver_config *v = &s->solver;
    json_t *list = json_object_get(f->root, "disable_corrector");
    bool off = json_is_array(list) ? json_array_size(list) > 0 : json_is_true(list);

    if (cn_conf_has(f, "algorithm_type"))
        undone(v, CN_UNDONE_ALGORITHM, read_word(f, "algorithm_type", algorithms, 0) > 2);
    if (cn_conf_has(f, "interpolation_type"))
        undone(v, CN_UNDONE_INTERPOLATION,
               read_word(f, "interpolation_type", interpolations, 0) == 1);
    /* diffusers passes over it where the model predicts noise */
    if (cn_conf_has(f, "timestep_type"))
        undone(v, CN_UNDONE_CONTINUOUS,
               read_word(f, "timestep_type", types, 0) == 1 && s->prediction == CN_PREDICT_V);
    if (cn_conf_has(f, "disable_corrector"))
        undone(v, CN_UNDONE_CORRECTOR, off);
    if (cn_conf_has(f, "predict_x0"))
        undone(v, CN_UNDONE_PREDICT_X0, !cn_conf_bool(f, "predict_x0", true));
    if (cn_conf_has(f, "solver_p"))
        undone(v, CN_UNDONE_SOLVER_P, true);
    if (cn_conf_has(f, "variance_type"))
        undone(v, CN_UNDONE_VARIANCE, true);
}

static void read_solver(struct cn_conf *f, struct cn_schedule_config *s)
{
    struct cn_solver_config *v = &s->solver;

    read_sigmas(f, v);
    read_order(f, v);
    v->original_steps =
        (int)cn_conf_int(f, "original_inference_steps", v->original_steps, 1, 100000);
    v->timestep_scaling = cn_conf_real(f, "timestep_scaling", v->timestep_scaling, 1e-3, 1e6);
    v->clip_range = cn_conf_real(f, "clip_sample_range", v->clip_range, 1e-6, 1e6);
    read_undone(f, s);
}

/* ---- the whole ---- */

/* The keys of the classes below. Of those that are read each class knows some. */
static const struct cn_rule rules[] = {
    {.key = "num_train_timesteps"},
    {.key = "beta_start"},
    {.key = "beta_end"},
    {.key = "beta_schedule"},
    {.key = "prediction_type"},
    {.key = "timestep_spacing"},
    {.key = "steps_offset"},
    {.key = "set_alpha_to_one", .kind = CN_RULE_OPTIONAL},
    {.key = "rescale_betas_zero_snr", .kind = CN_RULE_OPTIONAL},
    {.key = "clip_sample", .kind = CN_RULE_OPTIONAL},
    {.key = "clip_sample_range"},
    {.key = "skip_prk_steps", .kind = CN_RULE_OPTIONAL},
    {.key = "use_karras_sigmas", .kind = CN_RULE_OPTIONAL},
    {.key = "use_exponential_sigmas", .kind = CN_RULE_OPTIONAL},
    {.key = "use_beta_sigmas", .kind = CN_RULE_OPTIONAL},
    {.key = "use_lu_lambdas", .kind = CN_RULE_OPTIONAL},
    {.key = "use_flow_sigmas", .kind = CN_RULE_OPTIONAL},
    {.key = "sigma_min", .kind = CN_RULE_OPTIONAL},
    {.key = "sigma_max", .kind = CN_RULE_OPTIONAL},
    {.key = "solver_order"},
    {.key = "solver_type"},
    {.key = "final_sigmas_type"},
    {.key = "lower_order_final", .kind = CN_RULE_OPTIONAL},
    {.key = "euler_at_final", .kind = CN_RULE_OPTIONAL},
    {.key = "lambda_min_clipped"},
    {.key = "original_inference_steps"},
    {.key = "timestep_scaling"},
    {.key = "algorithm_type"},
    {.key = "interpolation_type"},
    {.key = "timestep_type"},
    {.key = "disable_corrector", .kind = CN_RULE_OPTIONAL},
    {.key = "predict_x0", .kind = CN_RULE_OPTIONAL},
    {.key = "solver_p", .kind = CN_RULE_OPTIONAL},
    {.key = "variance_type", .kind = CN_RULE_OPTIONAL},
    {.key = "trained_betas", .kind = CN_RULE_NONE},
    {.key = "thresholding", .kind = CN_RULE_NONE},
    {.key = "use_dynamic_shifting", .kind = CN_RULE_NONE},
    /* parts of settings that are refused */
    {.key = "dynamic_thresholding_ratio", .kind = CN_RULE_FREE},
    {.key = "sample_max_value", .kind = CN_RULE_FREE},
    {.key = "flow_shift", .kind = CN_RULE_FREE},
    {.key = "time_shift_type", .kind = CN_RULE_FREE},
    /* of samplers that are not here, and of a random generator that is another one here */
    {.key = "predictor_order", .kind = CN_RULE_FREE},
    {.key = "corrector_order", .kind = CN_RULE_FREE},
    {.key = "tau_func", .kind = CN_RULE_FREE},
    {.key = "noise_sampler_seed", .kind = CN_RULE_FREE},
    {.key = "tensor_format", .kind = CN_RULE_FREE}, /* before diffusers 0.4 */
};

/* The classes that take noise levels as a model of Stable Diffusion has them. Others have another
 * course of levels, with the same names of keys or none at all (EDM, flow matching). */
static void check_class(struct cn_conf *f)
{
    static const char *const known[] = {
        "DDIMScheduler", "DDIMInverseScheduler", "DDIMParallelScheduler", "DDPMScheduler",
        "DDPMParallelScheduler", "PNDMScheduler", "LCMScheduler", "TCDScheduler",
        "LMSDiscreteScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler",
        "HeunDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler",
        "DPMSolverMultistepScheduler", "DPMSolverMultistepInverseScheduler",
        "DPMSolverSinglestepScheduler", "DPMSolverSDEScheduler", "DEISMultistepScheduler",
        "UniPCMultistepScheduler", "SASolverScheduler"};
    const char *class = cn_conf_string(f, "_class_name", NULL);

    for (size_t i = 0; class != NULL && i < CN_LEN(known); i++)
        if (strcmp(class, known[i]) == 0)
            return;
    if (class != NULL)
        cn_conf_bad(f, "_class_name", "\"%.60s\" is not supported", class);
}

static void read_schedule(struct cn_conf *f, struct cn_schedule_config *s)
{
    const char *spacing = cn_conf_string(f, "timestep_spacing", NULL);

    s->train_steps = (int)cn_conf_int(f, "num_train_timesteps", s->train_steps, 2, 100000);
    read_beta(f, s);
    read_prediction(f, s);
    s->spacing = spacing ? cn_enum_find(&cn_enum_spacing, spacing) : s->spacing;
    if (spacing != NULL && s->spacing <= CN_SPACING_MODEL)
        cn_conf_bad(f, "timestep_spacing", "\"%.40s\" is not leading, trailing or linspace",
                    spacing);
    s->steps_offset = (int)cn_conf_int(f, "steps_offset", s->steps_offset, 0, 1000);
    s->set_alpha_to_one = cn_conf_bool(f, "set_alpha_to_one", s->set_alpha_to_one);
    s->rescale_zero_snr = cn_conf_bool(f, "rescale_betas_zero_snr", s->rescale_zero_snr);
    s->clip_sample = cn_conf_bool(f, "clip_sample", s->clip_sample);
    s->prk_steps = !cn_conf_bool(f, "skip_prk_steps", !s->prk_steps);
    read_presence(f, s);
    read_solver(f, s);
    cn_conf_rules(f, rules, CN_LEN(rules));
}

int cn_conf_schedule(const char *path, struct cn_schedule_config *ret, struct cn_err *err)
{
    struct cn_schedule_config s;
    struct cn_conf f;
    int rc = cn_conf_open(&f, path, err);

    if (rc < 0)
        return rc;
    memset(&s, 0, sizeof(s)); /* padding too: configurations are compared byte by byte */
    s.train_steps = 1000;
    s.beta_start = 0.0001;
    s.beta_end = 0.02;
    s.absent = CN_KEY_BETA_START | CN_KEY_BETA_END | CN_KEY_BETA_SCHEDULE | CN_KEY_ALPHA_TO_ONE |
               CN_KEY_CLIP_SAMPLE | CN_KEY_SKIP_PRK;
    check_class(&f);
    read_schedule(&f, &s);
    rc = f.rc;
    cn_conf_close(&f);
    if (rc == CN_OK)
        *ret = s;
    return rc;
}

void cn_conf_amend_schedule(struct cn_conf *f, struct cn_schedule_config *s)
{
    read_schedule(f, s);
}
