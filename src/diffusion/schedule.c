/* Noise schedules: spacings and sigmas in the arithmetic of diffusers 0.35.
 *
 * Where diffusers computes with torch the steps are float32, where it computes with numpy they are
 * double; that, and the order of operations, is what makes the values agree. The file is compiled
 * with -ffp-contract=off for the same reason.
 */
#include "base/base.h"

#include "diffusion/schedule.h"

#include "base/mem.h"
#include "diffusion/curve.h"
#include "diffusion/schedule_priv.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* numpy.linspace, double. */
static double linspace_numpy(double start, double end, int n, int i)
{
    if (n == 1)
        return start;
    if (i == n - 1)
        return end;
    return (double)i * ((end - start) / (double)(n - 1)) + start;
}

/* numpy.arange(last, 0, -total/n)[i] (it adds i times the difference of its first two values),
 * rounded half to even. */
static double trailing(int total, int last, int n, int i)
{
    double start = (double)last, second = start - (double)total / (double)n;

    return rint(start + (double)i * (second - start)) - 1.0;
}

enum cn_spacing cn_schedule_spacing(const struct cn_schedule_config *c, enum cn_sampler kind,
                                    enum cn_spacing requested)
{
    if (requested != CN_SPACING_MODEL)
        return requested;
    if (c->spacing != CN_SPACING_MODEL)
        return (enum cn_spacing)c->spacing;
    return cn_class_rule(kind)->spacing;
}

bool cn_schedule_fits(enum cn_sampler kind, enum cn_schedule schedule)
{
    return schedule == CN_SCHEDULE_DEFAULT || cn_class_rule(kind)->choosable;
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

/* What the steps of a trajectory are chosen from. */
struct grid {
    enum cn_grid kind;
    enum cn_spacing spacing;
    int total; /* training timesteps */
    int last;  /* so many of them may be visited: lambda_min_clipped leaves some out */
    int n, offset, original;
};

/* LCMScheduler: n of the timesteps that the model was distilled on, evenly by index. */
static double distilled_at(const struct grid *g, int i)
{
    int skipped = (int)((double)i * ((double)g->original / (double)g->n));

    return (double)((g->original - skipped) * (g->total / g->original) - 1);
}

/* Timestep i of n, descending. */
static double grid_at(const struct grid *g, int i)
{
    int parts = g->kind == CN_GRID_OPEN ? g->n + 1 : g->n;
    int up = parts - 1 - i; /* index in ascending order */
    double t;

    if (g->kind == CN_GRID_DISTILLED)
        return distilled_at(g, i);
    switch (g->spacing) {
    case CN_TRAILING:
        return trailing(g->total, g->last, g->n, i);
    case CN_LINSPACE:
        t = linspace_numpy(0, g->last - 1, parts, up);
        return g->kind == CN_GRID_REAL ? (double)(float)t : rint(t);
    default:
        return (double)((long)(g->last / parts) * up + g->offset);
    }
}

/* DPMSolverMultistep: how many timesteps have a lambda = ln(alpha / s) that is not below the least
 * one; lambda falls with the timestep. */
static int visitable(const struct cn_timetable *t)
{
    int n = 0;

    if (!t->config.solver.clips_lambda)
        return t->train_steps;
    while (n < t->train_steps) {
        float abar = t->abar[n];
        float lambda = logf(sqrtf(abar)) - logf(sqrtf(1.0f - abar));

        if (!(lambda >= (float)t->config.solver.lambda_min))
            break;
        n++;
    }
    return n;
}

/* The DPM family tells the network whole timesteps where diffusers knows the curve: Karras and Lu
 * round, the rest is cut off (DPMSolverMultistep does not round with cosine betas; UniPC and DEIS
 * always do). Where an exponential schedule meets a timestep exactly, at its ends, the cut hangs on
 * the last bit of a logarithm: with SD 1.5's betas it falls as in diffusers for every number of
 * steps, with others it may be one off. */
static double whole_timestep(const struct cn_timetable *t, enum cn_sampler kind, double at)
{
    bool cosine = t->config.beta_schedule == CN_BETA_COSINE && kind != CN_UNIPC && kind != CN_DEIS;

    if (t->schedule > CN_EXPONENTIAL && t->schedule != CN_SCHEDULE_BETA)
        return at;
    if ((t->schedule == CN_KARRAS || t->config.solver.lu_lambdas) && !cosine)
        return rint(at);
    return trunc(at);
}

/* The curve in force. The request's, whatever the file says; else the file's, if the class knows
 * such keys. Lu's lambdas are even, as an exponential curve is. */
static enum cn_schedule curve_of(const struct cn_solver_config *s, enum cn_schedule requested)
{
    if (requested != CN_SCHEDULE_DEFAULT)
        return requested;
    switch (s->sigmas) {
    case CN_SIGMAS_KARRAS:
        return CN_KARRAS;
    case CN_SIGMAS_EXPONENTIAL:
        return CN_EXPONENTIAL;
    case CN_SIGMAS_BETA:
        return s->lu_lambdas ? CN_EXPONENTIAL : CN_SCHEDULE_BETA;
    case CN_SIGMAS_OF_TIMESTEPS:
        break;
    }
    return s->lu_lambdas ? CN_EXPONENTIAL : CN_SCHEDULE_DEFAULT;
}

/* Only where the file chooses: a request's exponential curve is diffusers' exponential. */
static bool follows_lu(const struct cn_solver_config *s, enum cn_schedule requested)
{
    return requested == CN_SCHEDULE_DEFAULT && s->lu_lambdas && s->sigmas != CN_SIGMAS_KARRAS;
}

static int check_distilled(const struct cn_timetable *t, const struct cn_sampler_opts *o,
                           struct cn_err *err)
{
    const char *name = cn_enum_sampler.name[o->kind];
    int most = t->config.solver.original_steps;

    if (t->train_steps < most)
        return cn_fail_at(err, CN_EINVAL, "/sampler",
                          "\"%s\" needs a model with at least %d timesteps, not %d", name, most,
                          t->train_steps);
    if (o->steps > most)
        return cn_fail_at(err, CN_EINVAL, "/steps", "%d is too much: \"%s\" takes 1 to %d",
                          o->steps, name, most);
    return CN_OK;
}

static int check(const struct cn_timetable *t, const struct cn_sampler_opts *o, struct cn_err *err)
{
    const char *name = cn_enum_sampler.name[o->kind];
    const struct cn_class_rule *r = cn_class_rule(o->kind);
    int rc = cn_schedule_check_total(t->train_steps, err);

    if (rc < 0)
        return rc;
    if (!cn_schedule_fits(o->kind, o->schedule))
        return cn_fail_at(err, CN_EINVAL, "/schedule",
                          "\"%s\" follows timesteps and cannot use \"%s\" sigmas", name,
                          cn_enum_schedule.name[o->schedule]);
    if (o->steps < 1 || o->steps > t->train_steps)
        return cn_fail_at(err, CN_EINVAL, "/steps", "%d is out of range: 1 to %d are accepted",
                          o->steps, t->train_steps);
    if (r->grid == CN_GRID_DISTILLED)
        return check_distilled(t, o, err);
    if (t->config.prk_steps && o->steps < CN_PRK_STEPS)
        return cn_fail_at(err, CN_EINVAL, "/steps",
                          "%d is too few: \"%s\" needs %d where the model's scheduler_config.json "
                          "does not say \"skip_prk_steps\": true",
                          o->steps, name, CN_PRK_STEPS);
    /* total / (n + 1) would be 0, and every timestep the same */
    if (r->grid == CN_GRID_OPEN && t->spacing == CN_LEADING && t->schedule == CN_SCHEDULE_DEFAULT &&
        o->steps >= t->train_steps)
        return cn_fail_at(err, CN_EINVAL, "/steps",
                          "%d is too much: \"%s\" takes 1 to %d with leading spacing", o->steps,
                          name, t->train_steps - 1);
    return CN_OK;
}

static int fill_abar(struct cn_timetable *t, enum cn_zero_snr zero, struct cn_err *err)
{
    int rc = cn_schedule_abar(&t->config, zero != CN_ZERO_UNKNOWN, t->abar, err);

    if (rc < 0)
        return rc;
    if (zero == CN_ZERO_CLAMPED && t->config.rescale_zero_snr)
        t->abar[t->train_steps - 1] = 0x1p-24f;
    t->final_abar = t->config.set_alpha_to_one ? 1.0f : t->abar[0];
    return CN_OK;
}

/* sigma of every training timestep. */
static void fill_table(const struct cn_timetable *t, float *table)
{
    for (int i = 0; i < t->train_steps; i++)
        table[i] = sqrtf((1.0f - t->abar[i]) / t->abar[i]);
}

/* ---- steps ---- */

/* The visits of a curve; Euler's and Heun's ends are those of the chosen timesteps. */
static int follow_curve(const struct cn_timetable *t, const struct cn_sampler_opts *o,
                        const struct grid *g, const float *table, struct cn_visit *ret)
{
    const struct cn_solver_config *s = &t->config.solver;
    struct cn_curve c = {.kind = t->schedule,
                         .table = table,
                         .total = t->train_steps,
                         .max = (double)table[t->train_steps - 1],
                         .min = (double)table[0],
                         .float_logs = follows_lu(s, o->schedule)};

    if (g->kind == CN_GRID_REAL) {
        c.max = sigma_at(table, g->total, grid_at(g, 0));
        c.min = sigma_at(table, g->total, grid_at(g, g->n - 1));
    }
    if (t->schedule != CN_KARRAS || !cn_class_rule(o->kind)->karras_unbound) {
        c.max = s->sigma_max > 0 ? s->sigma_max : c.max;
        c.min = s->sigma_min > 0 ? s->sigma_min : c.min;
    }
    return cn_curve_fill(&c, g->n, ret);
}

/* Curves of diffusers' classes: they start where the spacing says. */
static bool has_spacing(const struct cn_timetable *t)
{
    return t->schedule <= CN_EXPONENTIAL || t->schedule == CN_SCHEDULE_BETA;
}

/* Where the last step ends: UniPC and DEIS repeat the least level of a curve. */
static double final_sigma(const struct cn_timetable *t, enum cn_sampler kind, const float *table,
                          const struct cn_visit *v, int n)
{
    bool low = t->config.solver.ends_at_sigma_min || cn_class_rule(kind)->ends_low;

    if (!low || t->schedule == CN_SCHEDULE_KL_OPTIMAL)
        return v[n].sigma;
    if ((kind == CN_UNIPC || kind == CN_DEIS) && t->schedule != CN_SCHEDULE_DEFAULT &&
        has_spacing(t))
        return v[n - 1].sigma;
    return fmin((double)table[0], v[n - 1].sigma);
}

/* The steps of the trajectory, v[0 .. n-1], and where it ends, v[n]; returns n. */
static int choose_steps(const struct cn_timetable *t, const struct cn_sampler_opts *o,
                        const float *table, struct cn_visit *v)
{
    struct grid g = {.kind = cn_class_rule(o->kind)->grid,
                     .spacing = t->spacing,
                     .total = t->train_steps,
                     .last = visitable(t),
                     .n = o->steps,
                     .offset = t->config.steps_offset,
                     .original = t->config.solver.original_steps};
    int n = g.n;

    if (t->schedule != CN_SCHEDULE_DEFAULT) {
        n = follow_curve(t, o, &g, table, v);
        for (int i = 0; i < n && g.kind == CN_GRID_OPEN; i++)
            v[i].t = whole_timestep(t, o->kind, v[i].t);
        for (int i = 0; i < n && t->schedule == CN_KARRAS && cn_class_rule(o->kind)->rounds; i++)
            v[i].t = rint(v[i].t);
    } else {
        for (int i = 0; i < g.n; i++) {
            v[i].t = grid_at(&g, i);
            v[i].sigma = sigma_at(table, g.total, v[i].t);
            if (v[i].t < 0) { /* trailing from a lower start: fewer steps */
                n = i;
                break;
            }
        }
        v[n] = (struct cn_visit){0, 0};
    }
    v[n].sigma = final_sigma(t, o->kind, table, v, n);
    v[n].t = v[n].sigma > 0 ? cn_curve_sigma_to_t(v[n].sigma, table, g.total) : 0;
    return n;
}

/* ---- calls ---- */

/* down = to^2 / from without the cancellation. Where levels do not fall there is no noise. */
struct cn_ancestral cn_sampler_ancestral(double from, double to)
{
    double down = from > to ? to * to / from : to;

    return (struct cn_ancestral){down, sqrt(fmax(to * to - down * down, 0))};
}

struct cn_ancestral cn_sampler_ancestral_single(float from, float to)
{
    float from2 = from * from, to2 = to * to, up, down;

    if (from <= to)
        return (struct cn_ancestral){(double)to, 0};
    up = sqrtf(to2 * (from2 - to2) / from2);
    down = sqrtf(fmaxf(to2 - up * up, 0));
    if (to > 0 && down <= 0)
        return cn_sampler_ancestral((double)from, (double)to);
    return (struct cn_ancestral){(double)down, (double)up};
}

static void call(struct cn_timetable *t, struct cn_visit v)
{
    t->timestep[t->calls] = (float)v.t;
    if (t->sigma != NULL)
        t->sigma[t->calls] = (float)v.sigma;
    t->calls++;
}

/* PNDMScheduler without skip_prk_steps: three steps of Runge-Kutta, four calls each, from the first
 * timestep to the fourth; from there on one call for each. */
static void call_prk(struct cn_timetable *t, const struct cn_visit *v, int n)
{
    int half = t->train_steps / n / 2;

    for (int k = 0; k < CN_PRK_STEPS - 1; k++) {
        double from = v[k].t, to = v[k + 1].t;
        const double at[] = {from, to + half, to + half, to};

        for (size_t i = 0; i < CN_LEN(at); i++)
            call(t, (struct cn_visit){0, at[i]});
    }
    for (int i = CN_PRK_STEPS - 1; i < n; i++)
        call(t, v[i]);
}

static struct cn_visit level(double sigma, const float *table, int total)
{
    return (struct cn_visit){sigma, cn_curve_sigma_to_t(sigma, table, total)};
}

/* A second call in the middle of step i, in log sigma; for ancestral steps of the way down. */
static void call_middle(struct cn_timetable *t, const struct cn_visit *v, int i,
                        enum cn_calls pattern, const float *table)
{
    double from = v[i].sigma, to = v[i + 1].sigma;

    if (to <= 0)
        return;
    if (pattern == CN_CALLS_ANCESTRAL)
        to = cn_sampler_ancestral(from, to).down;
    if (pattern == CN_CALLS_KDPM2_A)
        to = cn_sampler_ancestral_single((float)from, (float)to).down;
    call(t, level(sqrt(from * to), table, t->train_steps));
}

/* Network calls of step i of n. */
static void call_step(struct cn_timetable *t, enum cn_calls pattern, const struct cn_visit *v,
                      int n, int i, const float *table)
{
    call(t, v[i]);
    switch (pattern) {
    case CN_CALLS_PNDM:
        if (i == 1)
            call(t, v[i]);
        break;
    case CN_CALLS_HEUN:
    case CN_CALLS_RESTART:
        if (v[i + 1].sigma > 0)
            call(t, v[i + 1]);
        break;
    case CN_CALLS_MIDDLE:
    case CN_CALLS_ANCESTRAL:
    case CN_CALLS_KDPM2_A:
        call_middle(t, v, i, pattern, table);
        break;
    case CN_CALLS_HEUNPP:
        for (int k = i + 1; k <= CN_MIN(i + 2, n - 1); k++)
            call(t, v[k]);
        break;
    case CN_CALLS_ONE:
        break;
    }
}

static void fill_calls(struct cn_timetable *t, enum cn_calls pattern, const struct cn_visit *v,
                       int n, const float *table)
{
    if (t->config.prk_steps)
        call_prk(t, v, n);
    else
        for (int i = 0; i < n; i++)
            call_step(t, pattern, v, n, i, table);
    if (t->sigma != NULL)
        t->sigma[t->calls] = (float)v[n].sigma;
}

int cn_timetable_call_of_step(const struct cn_timetable *t, enum cn_sampler kind, int step)
{
    CN_ASSERT(step >= 0 && step < t->steps);
    switch (cn_class_rule(kind)->calls) {
    case CN_CALLS_HEUN:
    case CN_CALLS_MIDDLE:
    case CN_CALLS_ANCESTRAL:
    case CN_CALLS_KDPM2_A:
    case CN_CALLS_RESTART:
        return 2 * step;
    case CN_CALLS_HEUNPP:
        return step == t->steps - 1 ? t->calls - 1 : 3 * step;
    default:
        return step;
    }
}

/* ---- Restart ---- */

/* Of the levels above 0. */
static int nearest(const struct cn_visit *v, int n, double sigma)
{
    int best = 0;

    for (int i = 1; i < n; i++)
        if (fabs(v[i].sigma - sigma) < fabs(v[best].sigma - sigma))
            best = i;
    return best;
}

static int karras(const struct cn_visit *from, const struct cn_visit *to, int n, const float *table,
                  int total, struct cn_visit *ret)
{
    struct cn_curve c = {
        .kind = CN_KARRAS, .table = table, .total = total, .max = from->sigma, .min = to->sigma};

    return cn_curve_fill(&c, n, ret);
}

/* Restart (arXiv:2306.14878), in the numbers of k-diffusion's users: from 20 steps on a Karras
 * curve of fewer steps, and the stretch from sigma 2 to 0.1 again, once with 9 steps, from 36 steps
 * on twice with a quarter of the steps. v: the n steps of the schedule. */
static void call_restarts(struct cn_timetable *t, const struct cn_visit *v, int n,
                          const float *table, struct cn_visit *work)
{
    int extra = n >= 36 ? n / 4 : 9, times = n >= 36 ? 2 : 1, count = n - extra * times;
    struct cn_visit *again = work + n + 1;

    if (n < 20) {
        fill_calls(t, CN_CALLS_RESTART, v, n, table);
        return;
    }
    karras(&v[0], &v[n - 1], count, table, t->train_steps, work);
    int low = nearest(work, count, 0.1), high = nearest(work, count, 2);
    for (int i = 0; i < count; i++) {
        call_step(t, CN_CALLS_RESTART, work, count, i, table);
        if (i + 1 != low || high >= low)
            continue;
        karras(&work[high], &work[low], extra + 1, table, t->train_steps, again);
        for (int k = 0; k < times * extra; k++)
            call_step(t, CN_CALLS_RESTART, again, extra + 1, k % extra, table);
    }
    t->sigma[t->calls] = (float)work[count].sigma;
}

void cn_timetable_follow(struct cn_timetable *t, enum cn_sampler kind, const struct cn_visit *v,
                         int n, const float *table, struct cn_visit *work)
{
    enum cn_calls pattern = cn_class_rule(kind)->calls;

    if (pattern == CN_CALLS_RESTART)
        call_restarts(t, v, n, table, work);
    else
        fill_calls(t, pattern, v, n, table);
}

/* EulerDiscreteScheduler.init_noise_sigma; its sigmas are not in order where zero SNR bends them.
 * Curves that leave no room for a spacing start at their first level, as in k-diffusion. */
static float first_sigma(const struct cn_timetable *t)
{
    float max = 0;

    for (int i = 0; i <= t->calls; i++)
        max = fmaxf(max, t->sigma[i]);
    return t->spacing == CN_LEADING && has_spacing(t) ? sqrtf(max * max + 1.0f) : max;
}

static void *floats(int n)
{
    return cn_try_alloc((size_t)n * sizeof(float));
}

static int allocate(struct cn_timetable *t, bool sigmas, struct cn_err *err)
{
    /* up to three calls for a step, and the warm-up of PNDM */
    int calls = 3 * t->steps + 3 * CN_PRK_STEPS;

    t->abar = floats(t->train_steps);
    t->timestep = floats(calls);
    t->sigma = sigmas ? floats(calls + 1) : NULL;
    if (t->abar == NULL || t->timestep == NULL || (sigmas && t->sigma == NULL))
        return cn_fail(err, CN_ENOMEM, "no memory for a schedule of %d steps", t->steps);
    return CN_OK;
}

/* Steps that an initial image leaves out: Restart makes its list of the rest. All of them when
 * denoise is less than one step, or no number. */
static int restart_cut(const struct cn_timetable *t, const struct cn_sampler_opts *o)
{
    if (!(o->denoise > 0 && o->denoise <= 1))
        return t->steps;
    return t->steps - (int)((double)t->steps * o->denoise);
}

static int fill(struct cn_timetable *t, const struct cn_sampler_opts *o, struct cn_err *err)
{
    const struct cn_class_rule *r = cn_class_rule(o->kind);
    size_t room = (size_t)o->steps + 2;
    struct cn_visit *steps = cn_try_alloc(3 * room * sizeof(*steps)); /* Restart needs more */
    float *table = floats(t->train_steps);
    int rc = allocate(t, r->sigmas, err);

    if (rc == CN_OK && (steps == NULL || table == NULL))
        rc = cn_fail(err, CN_ENOMEM, "no memory for a schedule of %d steps", o->steps);
    if (rc == CN_OK)
        rc = fill_abar(t, r->zero, err);
    if (rc == CN_OK) {
        fill_table(t, table);
        t->steps = choose_steps(t, o, table, steps);
        if (r->calls == CN_CALLS_RESTART)
            t->cut = restart_cut(t, o);
        cn_timetable_follow(t, o->kind, steps + t->cut, t->steps - t->cut, table, steps + room);
        if (r->scaled)
            t->init_sigma = first_sigma(t);
    }
    free(steps);
    free(table);
    return rc;
}

int cn_timetable_init(struct cn_timetable *t, const struct cn_schedule_config *c,
                      const struct cn_sampler_opts *o, struct cn_err *err)
{
    int rc;

    memset(t, 0, sizeof(*t));
    if ((rc = cn_class_config(o->kind, c, &t->config, err)) < 0)
        return rc;
    t->train_steps = c->train_steps;
    t->spacing = cn_schedule_spacing(c, o->kind, o->spacing);
    t->schedule = curve_of(&t->config.solver, o->schedule);
    t->steps = o->steps;
    t->init_sigma = 1;
    if ((rc = check(t, o, err)) < 0)
        return rc;
    rc = fill(t, o, err);
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
