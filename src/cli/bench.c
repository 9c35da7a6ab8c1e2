/* controlnet bench: the same job again and again, with a clock.
 *
 * A run draws one picture with one step more than asked for: the first one is not counted, because
 * plans are compiled in it and caches are cold. A step is what lies between two calls of
 * progress(): ControlNets, UNet, guidance, sampler.
 */
#include "base/base.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "base/clock.h"
#include "base/mem.h"
#include "image/codec.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct options {
    struct cn_cli_engine_opts engine;
    struct cn_spec spec;
    const char *model;
    struct cn_option_list controls, adapters;
    double guidance; /* negative: not given */
    int repeat, jobs;
    bool csv, profile, quiet, help;
};

#define AT(member) .offset = offsetof(struct options, member)

static const struct cn_option table[] = {
    CN_OPTION_HEADING("what to draw"),
    {.kind = CN_OPT_TEXT, .name = "model", .letter = 'm', .arg = "NAME|PATH", AT(model),
     .help = "base model (default: the first one)"},
    CN_CLI_ENGINE_OPTIONS(struct options, engine),
    {.kind = CN_OPT_LIST, .name = "control", .letter = 'C', .arg = "MODEL[=FILE][,KEY=VALUE...]",
     AT(controls),
     .help = "with a ControlNet; repeatable. Without FILE it follows a drawing made for this"},
    {.kind = CN_OPT_LIST, .name = "adapter", .arg = "NAME|PATH[:X[:X]]", AT(adapters),
     .help = "runs with these adapters (LoRA and its kin) too, each after one without, and "
             "compares; repeatable"},
    {.kind = CN_OPT_INT, .name = "width", .letter = 'W', .arg = "PIXELS", AT(spec.width), .min = 8,
     .max = 16384, .help = "a multiple of 8 (default: the model's own size)"},
    {.kind = CN_OPT_INT, .name = "height", .letter = 'H', .arg = "PIXELS", AT(spec.height),
     .min = 8, .max = 16384, .help = "likewise"},
    {.kind = CN_OPT_REAL, .name = "guidance", .letter = 'g', .arg = "X",
     AT(guidance), .min = 0, .max = 100,
     .help = "above 1 every step is computed twice (default: the model's own, else 7.5)"},
    {.kind = CN_OPT_WORD, .name = "sampler", .arg = "NAME", AT(spec.sampler),
     .words = &cn_enum_sampler, .help = "default: dpmpp_2m; one of"},
    CN_OPTION_HEADING("how to measure"),
    {.kind = CN_OPT_INT, .name = "steps", .letter = 's', .arg = "N", AT(spec.steps), .min = 1,
     .max = CN_MAX_STEPS - 1, .help = "timed steps of a run, after one to warm up (default: 10)"},
    {.kind = CN_OPT_INT, .name = "repeat", .letter = 'r', .arg = "N", AT(repeat), .min = 1,
     .max = 10000, .help = "runs; only the first one loads (default: 1)"},
    {.kind = CN_OPT_INT, .name = "jobs", .letter = 'j', .arg = "N", AT(jobs), .min = 2, .max = 64,
     .help = "measure throughput instead: N jobs at once, with 1 to 8 images in a step, against "
             "the same jobs one after another"},
    {.kind = CN_OPT_FLAG, .name = "csv", AT(csv), .help = "every sample, as lines of stage,ms"},
    {.kind = CN_OPT_FLAG, .name = "profile", AT(profile),
     .help = "also the time of each kind of operation, which slows the rest down a little"},
    {.kind = CN_OPT_FLAG, .name = "quiet", .letter = 'q', AT(quiet), .help = "no progress"},
    CN_CLI_HELP(struct options),
    CN_OPTION_END};

static const struct cn_cli_help help = {
    .name = "bench",
    .usage = "[options] [--model NAME|PATH] [--control MODEL]",
    .about = "Measures how long the parts of a job take: median and least time of each, the\n"
             "memory used, and the time of a picture. \"load\" is reading weights and making\n"
             "plans, once; \"step\" is one step with everything in it, \"controlnet\" and\n"
             "\"unet\" its parts.\n",
    .options = table,
    .examples = "  controlnet bench -m emoji --jobs 8 --steps 20 --repeat 5\n"
                "  controlnet bench -m sd15 --control canny -W 512 -H 512 --steps 5\n"
                "  controlnet bench -m sd15 --adapter lora/detail.safetensors:0.8 --repeat 3\n"
                "  controlnet bench -m sd15 --repeat 3 --csv > sd15.csv\n"};

/* ---- samples ---- */

/* ADAPTED: a step with adapters; the other rows are of runs without. */
enum row { LOAD, TEXT, HINT, STEP, ADAPTED, CONTROL, UNET, VAE, ENCODE, TOTAL, ROWS };

static const char *const row_names[ROWS] = {"load",       "text", "hint", "step",   "adapted",
                                            "controlnet", "unet", "vae",  "encode", "total"};

struct samples {
    double *ms;
    size_t n, cap;
};

struct run {
    const struct options *o;
    struct samples row[ROWS];
    struct cn_progress progress;
    double stage_ms[CN_ENGINE_STAGE_COUNT], encode_ms, step_end_s;
    double control_ms, unet_ms; /* of the step that ends with the next progress() */
    int width, height;
    int adapters;           /* of the job, in runs with them */
    bool adapted;           /* this run has them */
    struct samples work[2]; /* milliseconds of processors for a step: without adapters, with them */
    double step_end_cpu_s;
    double first_adapted_s; /* the first picture with them, whatever it had to load */
};

static void add_sample(struct samples *s, double ms)
{
    s->ms = cn_grow(s->ms, s->n, &s->cap, sizeof(*s->ms));
    s->ms[s->n++] = ms;
}

static void add_time(struct run *r, enum row row, double ms)
{
    add_sample(&r->row[row], ms);
}

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static double median(const struct samples *s)
{
    double *sorted = cn_xmalloc((s->n + 1) * sizeof(*sorted)), m = 0;

    if (s->n > 0) {
        memcpy(sorted, s->ms, s->n * sizeof(*sorted));
        qsort(sorted, s->n, sizeof(*sorted), compare);
        m = (sorted[(s->n - 1) / 2] + sorted[s->n / 2]) / 2;
    }
    free(sorted);
    return m;
}

static double least(const struct samples *s)
{
    double m = s->n > 0 ? s->ms[0] : 0;

    for (size_t i = 1; i < s->n; i++)
        m = CN_MIN(m, s->ms[i]);
    return m;
}

/* What this process has used of processors: on a busy machine it tells more than the clock. */
static double processors_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- callbacks of the engine ---- */

static bool cancelled(void *ctx)
{
    (void)ctx;
    return cn_cli_signal() != 0;
}

static void note_step(void *ctx, double control_ms, double unet_ms)
{
    struct run *r = ctx;

    r->control_ms = control_ms;
    r->unet_ms = unet_ms;
}

static void progress(void *ctx, int image, int step, int steps)
{
    struct run *r = ctx;
    double now = cn_now_s();

    (void)image;
    if (step > 1)
        add_sample(&r->work[r->adapted], (processors_s() - r->step_end_cpu_s) * 1e3);
    if (step > 1 && r->adapted) {
        add_time(r, ADAPTED, (now - r->step_end_s) * 1e3);
    } else if (step > 1) {
        add_time(r, STEP, (now - r->step_end_s) * 1e3);
        add_time(r, UNET, r->unet_ms);
        if (r->o->spec.n_controls > 0)
            add_time(r, CONTROL, r->control_ms);
    }
    cn_progress_step(&r->progress, steps);
    r->step_end_s = cn_now_s();
    r->step_end_cpu_s = processors_s();
}

static void note_stage(void *ctx, enum cn_engine_stage stage, double ms)
{
    struct run *r = ctx;

    r->stage_ms[stage] = ms;
}

/* The file is made, as a job would, and dropped. */
static int note_image(void *ctx, const struct cn_engine_image *m, struct cn_err *err)
{
    struct run *r = ctx;
    double start = cn_now_s();
    struct cn_buf b;
    int rc;

    cn_buf_init(&b, 1u << 30);
    rc = cn_png_encode(m->image, NULL, 0, CN_PNG_LEVEL, &b, err);
    cn_buf_release(&b);
    r->encode_ms = (cn_now_s() - start) * 1e3;
    r->width = m->image->w;
    r->height = m->image->h;
    return rc;
}

/* ---- the control image ---- */

static void plot(struct cn_image *img, double x, double y)
{
    int px = (int)x, py = (int)y;

    if (px >= 0 && py >= 0 && px < img->w && py < img->h)
        memset(img->px + 3 * ((size_t)py * (size_t)img->w + (size_t)px), 255, 3);
}

/* White circles and diagonals on black: about as many edges as a drawing has. */
static void draw_edges(struct cn_image *img)
{
    double w = img->w, h = img->h, least_side = CN_MIN(w, h);
    int points = 8 * CN_MAX(img->w, img->h);

    memset(img->px, 0, cn_image_bytes(img));
    for (int i = 0; i < points; i++) {
        double t = (double)i / points, a = 2 * M_PI * t;

        for (int ring = 1; ring <= 4; ring++)
            plot(img, w / 2 + cos(a) * least_side * 0.11 * ring,
                 h / 2 + sin(a) * least_side * 0.11 * ring);
        plot(img, t * w, t * h);
        plot(img, t * w, (1 - t) * h);
        plot(img, t * w, h * 0.9);
    }
}

static int make_control_image(int w, int h, struct cn_blob *ret, struct cn_err *err)
{
    struct cn_image img = CN_IMAGE_NONE;
    struct cn_buf b;
    int rc = cn_image_init(&img, w, h, 3, err);

    if (rc < 0)
        return rc;
    draw_edges(&img);
    cn_buf_init(&b, 1u << 30);
    rc = cn_png_encode(&img, NULL, 0, CN_PNG_LEVEL, &b, err);
    cn_image_release(&img);
    if (rc == CN_OK)
        ret->data = cn_buf_steal(&b, &ret->len);
    cn_buf_release(&b);
    return rc;
}

/* ---- the job ---- */

static int parse_spec(struct options *o, struct cn_err *err)
{
    int rc = CN_OK;

    if (o->model != NULL) {
        free(o->spec.model);
        o->spec.model = cn_xstrdup(o->model);
    }
    free(o->spec.prompt);
    o->spec.prompt = cn_xstrdup("a red apple on a wooden table");
    if (o->jobs == 0)
        o->spec.steps += 1; /* the one that warms up */
    o->spec.has_seed = true;
    o->spec.has_guidance = o->guidance >= 0;
    if (o->spec.has_guidance)
        o->spec.guidance_scale = o->guidance;
    for (int i = 0; i < o->controls.n && rc == CN_OK; i++)
        rc = cn_cli_add_control(o->controls.item[i], false, &o->spec, err);
    for (int i = 0; i < o->adapters.n && rc == CN_OK; i++)
        rc = cn_cli_add_adapter(o->adapters.item[i], &o->spec, err);
    return rc;
}

static int complete_spec(struct options *o, struct cn_cli_models *m, struct cn_err *err)
{
    static const struct cn_limits limits = {.max_controls = CN_MAX_CONTROLS};
    struct cn_model_facts base = {0};
    struct cn_spec *s = &o->spec;
    int rc = cn_cli_resolve_spec(m, s, err), w, h;

    if (rc < 0)
        return rc;
    cn_cli_fill_guidance(m, s);
    cn_cli_find(m, s->model, &base);
    w = s->width ? s->width : base.width;
    h = s->height ? s->height : base.height;
    for (int i = 0; i < s->n_controls; i++)
        if (s->control[i].image.len == 0 &&
            (rc = make_control_image(CN_MAX(w, 8), CN_MAX(h, 8), &s->control[i].image, err)) < 0)
            return rc;
    return cn_spec_check(s, &limits, err);
}

static int run_once(struct run *r, struct cn_engine *e, bool first, struct cn_err *err)
{
    struct cn_engine_cb cb = {.ctx = r,
                              .cancelled = cancelled,
                              .progress = progress,
                              .image = note_image,
                              .stage = note_stage,
                              .step = note_step};
    double start = cn_now_s(), load;
    int rc = cn_engine_run(e, &r->o->spec, &cb, err);

    if (rc < 0)
        return rc;
    load = r->stage_ms[CN_ENGINE_LOAD];
    if (r->adapted) {
        if (first)
            r->first_adapted_s = cn_now_s() - start;
        return CN_OK;
    }
    if (first)
        add_time(r, LOAD, load);
    add_time(r, TEXT, r->stage_ms[CN_ENGINE_TEXT]);
    if (r->o->spec.n_controls > 0)
        add_time(r, HINT, r->stage_ms[CN_ENGINE_HINT]);
    add_time(r, VAE, r->stage_ms[CN_ENGINE_VAE]);
    add_time(r, ENCODE, r->encode_ms);
    add_time(r, TOTAL, (cn_now_s() - start) * 1e3 - load);
    return CN_OK;
}

/* A run, and one with the adapters behind it. */
static int run_both(struct run *r, struct cn_engine *e, struct cn_spec *s, bool first,
                    struct cn_err *err)
{
    int rc;

    s->n_adapters = 0;
    rc = run_once(r, e, first, err);
    if (rc == CN_OK && r->adapters > 0) {
        s->n_adapters = r->adapters;
        r->adapted = true;
        rc = run_once(r, e, first, err);
        r->adapted = false;
    }
    s->n_adapters = r->adapters;
    return rc;
}

/* ---- results ---- */

/* Seconds that a picture of so many steps takes when everything is loaded. */
static double picture_s(const struct run *r, int steps)
{
    return (median(&r->row[TEXT]) + median(&r->row[HINT]) + steps * median(&r->row[STEP]) +
            median(&r->row[VAE]) + median(&r->row[ENCODE])) /
           1e3;
}

static void print_csv(const struct run *r, const struct cn_engine *e)
{
    printf("stage,ms\n");
    for (int i = 0; i < ROWS; i++)
        for (size_t k = 0; k < r->row[i].n; k++)
            printf("%s,%.3f\n", row_names[i], r->row[i].ms[k]);
    printf("images_per_s,%.6g\n", 1 / picture_s(r, r->o->spec.steps - 1));
    if (r->adapters > 0)
        printf("first_adapted_s,%.3f\n", r->first_adapted_s);
    printf("rss_bytes,%" PRIu64 "\n", cn_cli_peak_rss());
    printf("engine_bytes,%zu\n", cn_engine_bytes(e));
}

static void print_table(const struct run *r, const struct cn_engine *e)
{
    const struct cn_spec *s = &r->o->spec;
    char peak[32], held[32];
    int steps = s->steps - 1;

    printf("%s", s->model);
    for (int i = 0; i < s->n_controls; i++)
        printf(" + %s", s->control[i].model);
    for (int i = 0; i < s->n_adapters; i++)
        printf(" + %s", s->adapter[i].name);
    printf(", %d x %d, guidance %g, %s, %s\n\n", r->width, r->height, s->guidance_scale,
           cn_enum_sampler.name[s->sampler], cn_engine_backend(e));
    printf("%-12s %12s %12s %8s\n", "stage", "median ms", "least ms", "samples");
    for (int i = 0; i < ROWS; i++)
        if (r->row[i].n > 0)
            printf("%-12s %12.2f %12.2f %8zu\n", row_names[i], median(&r->row[i]),
                   least(&r->row[i]), r->row[i].n);
    printf("\na picture of %d steps: %.3f s, %.3g a second\n", steps, picture_s(r, steps),
           1 / picture_s(r, steps));
    if (r->adapters > 0)
        printf("with adapters: a step takes %.3f times as long (least to least %.3f, processor "
               "time %.3f),\nthe first picture %.2f s longer\n",
               median(&r->row[ADAPTED]) / median(&r->row[STEP]),
               least(&r->row[ADAPTED]) / least(&r->row[STEP]),
               median(&r->work[1]) / median(&r->work[0]),
               r->first_adapted_s - median(&r->row[TOTAL]) / 1e3);
    printf("memory: %s at most, %s of it models and work\n",
           cn_cli_bytes(cn_cli_peak_rss(), peak, sizeof(peak)),
           cn_cli_bytes(cn_engine_bytes(e), held, sizeof(held)));
}

static int print_results(const struct run *r, const struct cn_engine *e)
{
    char *profile;

    if (r->o->csv)
        print_csv(r, e);
    else
        print_table(r, e);
    if (r->o->profile) {
        profile = cn_engine_profile(e);
        fprintf(r->o->csv ? stderr : stdout, "\n%s", profile);
        free(profile);
    }
    return cn_cli_flush();
}

static int bench(struct options *o, struct cn_err *err)
{
    struct cn_cli_models m = {0};
    struct run r = {.o = o};
    int status, rc;

    cn_progress_init(&r.progress, o->quiet, o->repeat * (o->adapters.n > 0 ? 2 : 1));
    cn_cli_catch_signals();
    rc = parse_spec(o, err);
    if (rc == CN_OK)
        rc = cn_cli_engine_open(&o->engine, o->profile, &m, err);
    if (rc == CN_OK)
        rc = complete_spec(o, &m, err);
    r.adapters = o->spec.n_adapters;
    if (o->jobs > 0 && rc == CN_OK)
        rc = cn_cli_throughput(m.e, &o->spec, o->jobs, o->repeat, err);
    for (int i = 0; i < o->repeat && o->jobs == 0 && rc == CN_OK; i++)
        rc = run_both(&r, m.e, &o->spec, i == 0, err);
    cn_progress_release(&r.progress);
    if (rc == CN_OK) {
        status = o->jobs > 0 ? cn_cli_flush() : print_results(&r, m.e);
    } else {
        status = cn_cli_blame(err);
        if (err->code == CN_EINVAL)
            status = CN_EXIT_USAGE;
        cn_cli_complain("bench", status, err);
    }
    for (int i = 0; i < ROWS; i++)
        free(r.row[i].ms);
    for (size_t i = 0; i < CN_LEN(r.work); i++)
        free(r.work[i].ms);
    cn_cli_engine_close(&m);
    return status;
}

int cn_cli_bench(int argc, char **argv)
{
    struct options o = {.repeat = 1, .guidance = -1};
    struct cn_err err = CN_ERR_INIT;
    int rest, status;

    cn_spec_init(&o.spec);
    o.spec.steps = 10;
    if (!cn_cli_parse(&help, argc, argv, &o, &o.help, &rest, &status)) {
        if (rest < argc) {
            cn_fail(&err, CN_EINVAL, "\"%.60s\" is no option", argv[rest]);
            status = cn_cli_complain("bench", CN_EXIT_USAGE, &err);
        } else {
            status = bench(&o, &err);
        }
    }
    cn_spec_release(&o.spec);
    return status;
}
