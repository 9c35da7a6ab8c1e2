/* Noise schedules: spacings and sigmas in the arithmetic of diffusers 0.35.
 *
 * Where diffusers computes with torch the steps are float32, where it computes with numpy they are
 * double; that, and the order of operations, is what makes the values agree. The file is compiled
 * with -ffp-contract=off for the same reason.
 */
#include "base/base.h"

#include "diffusion/schedule.h"

#include "base/mem.h"
#include "diffusion/schedule_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LCM_STEPS = 50 /* LCMScheduler: original_inference_steps */ };

/* What the classes do with a rescale to zero terminal SNR: honour it (abar ends in 0), honour it
 * but end in 2^-24 so that sigma stays finite, or not know the option. */
enum zero_snr { ZERO_EXACT, ZERO_CLAMPED, ZERO_UNKNOWN };

/* How timesteps are chosen. GRID_OPEN divides the range into one part more than there are steps
 * (linspace and leading), so that the last timestep is not 0. */
enum grid { GRID_INTEGER, GRID_REAL, GRID_OPEN, GRID_LCM };

struct rule {
    enum cn_spacing spacing; /* the class's default */
    enum grid grid;
    enum zero_snr zero;
    bool sigmas;    /* noise levels are a list of sigmas */
    bool choosable; /* ... which may be Karras or exponential */
    bool scaled;    /* starts at sigma, in VE coordinates */
};

static const struct rule rules[CN_SAMPLER_COUNT] = {
    [CN_DDIM] = {CN_LEADING, GRID_INTEGER, ZERO_EXACT, false, false, false},
    [CN_EULER] = {CN_LINSPACE, GRID_REAL, ZERO_CLAMPED, true, true, true},
    /* diffusers has no Karras option here; k-diffusion, and so every web user, has it */
    [CN_EULER_A] = {CN_LINSPACE, GRID_REAL, ZERO_CLAMPED, true, true, true},
    [CN_HEUN] = {CN_LINSPACE, GRID_REAL, ZERO_UNKNOWN, true, true, true},
    [CN_DPMPP_2M] = {CN_LINSPACE, GRID_OPEN, ZERO_CLAMPED, true, true, false},
    [CN_DPMPP_2M_SDE] = {CN_LINSPACE, GRID_OPEN, ZERO_CLAMPED, true, true, false},
    [CN_UNIPC] = {CN_LINSPACE, GRID_OPEN, ZERO_CLAMPED, true, true, false},
    [CN_LCM] = {CN_LEADING, GRID_LCM, ZERO_EXACT, false, false, false},
    [CN_PNDM] = {CN_LEADING, GRID_INTEGER, ZERO_UNKNOWN, false, false, false},
};

/* numpy.linspace, double. */
static double linspace_numpy(double start, double end, int n, int i)
{
    if (n == 1)
        return start;
    if (i == n - 1)
        return end;
    return (double)i * ((end - start) / (double)(n - 1)) + start;
}

/* numpy.arange(total, 0, -total/n)[i] (it adds i times the difference of its first two values),
 * rounded half to even. */
static double trailing(int total, int n, int i)
{
    double start = (double)total, second = start - (double)total / (double)n;

    return rint(start + (double)i * (second - start)) - 1.0;
}

enum cn_spacing cn_schedule_spacing(const struct cn_schedule_config *c, enum cn_sampler kind,
                                    enum cn_spacing requested)
{
    if (requested != CN_SPACING_MODEL)
        return requested;
    if (c->spacing != CN_SPACING_MODEL)
        return (enum cn_spacing)c->spacing;
    return rules[kind].spacing;
}

bool cn_schedule_fits(enum cn_sampler kind, enum cn_schedule schedule)
{
    return schedule == CN_SCHEDULE_DEFAULT || rules[kind].choosable;
}

/* numpy's float32 logarithm, here rounded correctly (numpy's may be one bit off). */
static float log_float(float x)
{
    return (float)log((double)x);
}

double cn_schedule_sigma_to_t(double sigma, const float *table, int n)
{
    double target = log(fmax(sigma, 1e-10));
    int low = 0, above = n; /* the last entry that is not above the target lies in [low, above) */

    while (above - low > 1) {
        int mid = low + (above - low) / 2;

        if (target >= (double)log_float(table[mid]))
            low = mid;
        else
            above = mid;
    }
    low = CN_MIN(low, n - 2);
    float a = log_float(table[low]), b = log_float(table[low + 1]);
    if (a == b)
        return low + 1;
    double w = ((double)a - target) / (double)(a - b); /* a - b rounds to float in numpy too */
    w = fmin(fmax(w, 0), 1);
    return (1 - w) * low + w * (low + 1);
}

/* numpy.interp of the table at a fractional timestep; clamped at both ends. */
static double sigma_at(const float *table, int n, double t)
{
    if (t <= 0)
        return (double)table[0];
    if (t >= n - 1)
        return (double)table[n - 1];
    int j = (int)t;
    double a = (double)table[j], b = (double)table[j + 1];
    return (b - a) * (t - j) + a;
}

/* Timestep i of n, descending. */
static double grid_at(enum grid grid, enum cn_spacing spacing, int total, int n, int offset, int i)
{
    bool open = grid == GRID_OPEN;
    int parts = open ? n + 1 : n;
    int up = parts - 1 - i; /* index in ascending order */
    double t;

    switch (spacing) {
    case CN_TRAILING:
        return trailing(total, n, i);
    case CN_LINSPACE:
        t = linspace_numpy(0, total - 1, parts, up);
        return grid == GRID_REAL ? (double)(float)t : rint(t);
    default:
        return (double)((long)(total / parts) * up + offset);
    }
}

/* LCMScheduler: n of the 50 timesteps that the model was distilled on, evenly by index. */
static double lcm_at(int total, int n, int i)
{
    int skipped = (int)((double)i * ((double)LCM_STEPS / (double)n));

    return (double)((LCM_STEPS - skipped) * (total / LCM_STEPS) - 1);
}

/* Karras et al. (arXiv:2206.00364) eq. 5 with rho = 7, or evenly in log sigma. */
static double chosen_sigma(enum cn_schedule schedule, double max, double min, int n, int i)
{
    if (schedule == CN_EXPONENTIAL)
        return exp(linspace_numpy(log(max), log(min), n, i));
    double ramp = linspace_numpy(0, 1, n, i);
    double a = pow(max, 1.0 / 7), b = pow(min, 1.0 / 7);
    return pow(a + ramp * (b - a), 7);
}

/* The DPM family tells the network whole timesteps: Karras rounds, the rest is cut off
 * (DPMSolverMultistep does not round with cosine betas; UniPC always does). Where an exponential
 * schedule meets a timestep exactly, at its ends, the cut hangs on the last bit of a logarithm:
 * with SD 1.5's betas it falls as in diffusers for every number of steps, with others it may be one
 * off. */
static double whole_timestep(double t, const struct cn_sampler_opts *o,
                             const struct cn_schedule_config *c)
{
    bool rounds =
        o->schedule == CN_KARRAS && (c->beta_schedule != CN_BETA_COSINE || o->kind == CN_UNIPC);

    return rounds ? rint(t) : trunc(t);
}

static int check(const struct cn_schedule_config *c, const struct cn_sampler_opts *o,
                 enum cn_spacing spacing, struct cn_err *err)
{
    const char *name = cn_enum_sampler.name[o->kind];
    const struct rule *r = &rules[o->kind];
    int rc = cn_schedule_check_total(c->train_steps, err);

    if (rc < 0)
        return rc;
    if (!cn_schedule_fits(o->kind, o->schedule))
        return cn_fail_at(err, CN_EINVAL, "/schedule",
                          "\"%s\" follows timesteps and cannot use \"%s\" sigmas", name,
                          cn_enum_schedule.name[o->schedule]);
    if (o->steps < 1 || o->steps > c->train_steps)
        return cn_fail_at(err, CN_EINVAL, "/steps", "%d is out of range: 1 to %d are accepted",
                          o->steps, c->train_steps);
    if (r->grid == GRID_LCM && c->train_steps < LCM_STEPS)
        return cn_fail_at(err, CN_EINVAL, "/sampler",
                          "\"%s\" needs a model with at least %d timesteps, not %d", name,
                          LCM_STEPS, c->train_steps);
    if (r->grid == GRID_LCM && o->steps > LCM_STEPS)
        return cn_fail_at(err, CN_EINVAL, "/steps", "%d is too much: \"%s\" takes 1 to %d",
                          o->steps, name, LCM_STEPS);
    /* total / (n + 1) would be 0, and every timestep the same */
    if (r->grid == GRID_OPEN && spacing == CN_LEADING && o->schedule == CN_SCHEDULE_DEFAULT &&
        o->steps >= c->train_steps)
        return cn_fail_at(err, CN_EINVAL, "/steps",
                          "%d is too much: \"%s\" takes 1 to %d with leading spacing", o->steps,
                          name, c->train_steps - 1);
    return CN_OK;
}

static int fill_abar(struct cn_timetable *t, const struct cn_schedule_config *c, enum zero_snr zero,
                     struct cn_err *err)
{
    int rc = cn_schedule_abar(c, zero != ZERO_UNKNOWN, t->abar, err);

    if (rc < 0)
        return rc;
    if (zero == ZERO_CLAMPED && c->rescale_zero_snr)
        t->abar[t->train_steps - 1] = 0x1p-24f;
    t->final_abar = c->set_alpha_to_one ? 1.0f : t->abar[0];
    return CN_OK;
}

/* sigma of every training timestep. */
static void fill_table(const struct cn_timetable *t, float *table)
{
    for (int i = 0; i < t->train_steps; i++)
        table[i] = sqrtf((1.0f - t->abar[i]) / t->abar[i]);
}

/* Step i of n is one call, two (Heun's corrector looks at the next level) or, for PNDM's second
 * timestep, two. */
static int repeats(enum cn_sampler kind, int i)
{
    return (kind == CN_HEUN && i > 0) || (kind == CN_PNDM && i == 1) ? 2 : 1;
}

static int count_calls(enum cn_sampler kind, int steps)
{
    if (kind == CN_HEUN)
        return 2 * steps - 1;
    return kind == CN_PNDM && steps > 1 ? steps + 1 : steps;
}

static void fill_steps(struct cn_timetable *t, const struct cn_schedule_config *c,
                       const struct cn_sampler_opts *o, const float *table)
{
    const struct rule *r = &rules[o->kind];
    int total = t->train_steps, n = o->steps, offset = c->steps_offset, at = 0;
    double max = (double)table[total - 1], min = (double)table[0];

    if (r->grid == GRID_REAL) { /* Euler's and Heun's ends are those of the chosen timesteps */
        max = sigma_at(table, total, grid_at(r->grid, t->spacing, total, n, offset, 0));
        min = sigma_at(table, total, grid_at(r->grid, t->spacing, total, n, offset, n - 1));
    }
    for (int i = 0; i < n; i++) {
        double step = r->grid == GRID_LCM ? lcm_at(total, n, i)
                                          : grid_at(r->grid, t->spacing, total, n, offset, i);
        double sigma = 0;

        if (o->schedule != CN_SCHEDULE_DEFAULT) {
            sigma = chosen_sigma(o->schedule, max, min, n, i);
            step = cn_schedule_sigma_to_t(sigma, table, total);
            if (r->grid == GRID_OPEN)
                step = whole_timestep(step, o, c);
        } else if (r->sigmas) {
            sigma = sigma_at(table, total, step);
        }
        for (int k = repeats(o->kind, i); k > 0; k--, at++) {
            t->timestep[at] = (float)step;
            if (r->sigmas)
                t->sigma[at] = (float)sigma;
        }
    }
    CN_ASSERT(at == t->calls);
    if (r->sigmas)
        t->sigma[at] = 0;
}

/* EulerDiscreteScheduler.init_noise_sigma */
static float first_sigma(const struct cn_timetable *t)
{
    float max = t->sigma[0];

    return t->spacing == CN_LEADING ? sqrtf(max * max + 1.0f) : max;
}

static void *floats(int n)
{
    return cn_try_alloc((size_t)n * sizeof(float));
}

int cn_timetable_init(struct cn_timetable *t, const struct cn_schedule_config *c,
                      const struct cn_sampler_opts *o, struct cn_err *err)
{
    const struct rule *r = &rules[o->kind];
    float *table = NULL;
    int rc;

    memset(t, 0, sizeof(*t));
    t->train_steps = c->train_steps;
    t->spacing = cn_schedule_spacing(c, o->kind, o->spacing);
    t->steps = o->steps;
    t->init_sigma = 1;
    if ((rc = check(c, o, t->spacing, err)) < 0)
        return rc;
    t->calls = count_calls(o->kind, o->steps);

    t->abar = floats(c->train_steps);
    t->timestep = floats(t->calls);
    t->sigma = r->sigmas ? floats(t->calls + 1) : NULL;
    table = floats(c->train_steps);
    rc = CN_ENOMEM;
    if (table == NULL || t->abar == NULL || t->timestep == NULL ||
        (r->sigmas && t->sigma == NULL)) {
        cn_fail(err, CN_ENOMEM, "no memory for a schedule of %d steps", o->steps);
        goto out;
    }
    if ((rc = fill_abar(t, c, r->zero, err)) < 0)
        goto out;
    fill_table(t, table);
    fill_steps(t, c, o, table);
    if (r->scaled)
        t->init_sigma = first_sigma(t);
out:
    free(table);
    if (rc < 0)
        cn_timetable_release(t);
    return rc;
}

void cn_timetable_release(struct cn_timetable *t)
{
    free(t->abar);
    free(t->timestep);
    free(t->sigma);
    memset(t, 0, sizeof(*t));
}
