/* controlnet generate: one job, drawn here and now. */
#include "base/base.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "base/clock.h"
#include "base/infotext.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "base/warnings.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Members that options fill; the job itself is in spec. */
struct options {
    struct cn_cli_engine_opts engine;
    struct cn_spec spec;
    const char *model, *vae, *prompt, *negative, *output, *init, *mask, *depth;
    struct cn_option_list controls, adapters_used;
    struct cn_cli_sizes sizes;
    struct cn_option_seed seed;
    double guidance;    /* negative: not given */
    double hires_scale; /* 0: no second pass */
    double hires_strength;
    double hires_guidance;
    int hires_steps, hires_upscaler; /* negative, as hires_strength and so on: not given */
    int hires_sampler, hires_schedule;
    const char *hires_prompt, *hires_negative;
    int format;                      /* -1: by the name of the output */
    bool json, quiet, metadata, help;
};

#define AT(member) .offset = offsetof(struct options, member)

static const struct cn_option table[] = {
    CN_OPTION_HEADING("what to draw"),
    {.kind = CN_OPT_TEXT,
     .name = "prompt",
     .letter = 'p',
     .arg = "TEXT",
     AT(prompt),
     .help = "what the picture shows (required)"},
    {.kind = CN_OPT_TEXT,
     .name = "negative",
     .letter = 'n',
     .arg = "TEXT",
     AT(negative),
     .help = "what it should not show"},
    {.kind = CN_OPT_WORD,
     .name = "prompt-syntax",
     .arg = "NAME",
     AT(spec.prompt_syntax),
     .words = &cn_enum_prompt_syntax,
     .help = "how prompts are read: as they stand, or with (word:1.2), BREAK, AND, [from:to:when] "
             "and [one|other], at any length"},
    {.kind = CN_OPT_TEXT,
     .name = "output",
     .letter = 'o',
     .arg = "FILE",
     AT(output),
     .help = "where it goes (required); - is standard output. With several pictures cat.png "
             "becomes cat-1.png, cat-2.png, ...; a %d in the name is the number instead"},
    {.kind = CN_OPT_INT,
     .name = "count",
     .letter = 'c',
     .arg = "N",
     AT(spec.n),
     .min = 1,
     .max = 1000,
     .help = "how many pictures; picture i has seed + i (default: 1)"},
    {.kind = CN_OPT_INT,
     .name = "width",
     .letter = 'W',
     .arg = "PIXELS",
     AT(spec.width),
     .min = 8,
     .max = 16384,
     .help = "a multiple of 8 (default: the model's own size)"},
    {.kind = CN_OPT_INT,
     .name = "height",
     .letter = 'H',
     .arg = "PIXELS",
     AT(spec.height),
     .min = 8,
     .max = 16384,
     .help = "likewise"},
    CN_OPTION_HEADING("model"),
    {.kind = CN_OPT_TEXT,
     .name = "model",
     .letter = 'm',
     .arg = "NAME|PATH",
     AT(model),
     .help = "base model: a name in the directories of models, or the path of a diffusers "
             "directory or a file of weights (default: the first one)"},
    {.kind = CN_OPT_TEXT,
     .name = "vae",
     .arg = "NAME|PATH",
     AT(vae),
     .help = "autoencoder in place of the model's own: a name, a file, or a directory of "
             "diffusers"},
    CN_CLI_ENGINE_OPTIONS(struct options, engine),
    {.kind = CN_OPT_TEXT,
     .name = "taesd",
     .arg = "FILE",
     AT(engine.taesd),
     .help = "tiny autoencoder of the model's family, for --decoder taesd"},
    {.kind = CN_OPT_WORD,
     .name = "decoder",
     .arg = "NAME",
     AT(spec.decoder),
     .words = &cn_enum_decoder,
     .help = "what makes the picture: the model's autoencoder, or --taesd, quick and rough"},
    CN_OPTION_HEADING("control"),
    {.kind = CN_OPT_LIST,
     .name = "control",
     .letter = 'C',
     .arg = "MODEL=FILE[,KEY=VALUE...]",
     AT(controls),
     .help = "follow a control image with a ControlNet; repeatable. See below"},
    {.kind = CN_OPT_LIST,
     .name = "adapter",
     .arg = "NAME|PATH[:STRENGTH[:TEXT]]",
     AT(adapters_used),
     .help = "draw with a LoRA or one of its kin: of --adapters, or a file; repeatable. Strength "
             "of the UNet (1), and of the text encoders (the same)"},
    CN_OPTION_HEADING("sampling"),
    {.kind = CN_OPT_INT,
     .name = "steps",
     .letter = 's',
     .arg = "N",
     AT(spec.steps),
     .min = 1,
     .max = CN_MAX_STEPS,
     .help = "denoising steps (default: 20)"},
    {.kind = CN_OPT_REAL,
     .name = "guidance",
     .letter = 'g',
     .arg = "X",
     AT(guidance),
     .min = 0,
     .max = 100,
     .help = "how strictly the prompt is followed; up to 1 is off and twice as fast (default: "
             "the model's own, else 7.5)"},
    {.kind = CN_OPT_REAL,
     .name = "guidance-rescale",
     .arg = "X",
     AT(spec.guidance_rescale),
     .min = 0,
     .max = 1,
     .help = "how far guidance is kept from overexposing, 0.7 for models of zero terminal SNR "
             "(default: 0)"},
    {.kind = CN_OPT_REAL,
     .name = "pag",
     .arg = "X",
     AT(spec.pag_scale),
     .min = 0,
     .max = 100,
     .help = "perturbed-attention guidance, 3 is usual: better structure, half as long again "
             "(default: 0, none)"},
    {.kind = CN_OPT_REAL,
     .name = "pag-adaptive",
     .arg = "X",
     AT(spec.pag_adaptive_scale),
     .min = 0,
     .max = 1,
     .help = "what --pag loses for each timestep away from the beginning (default: 0)"},
    {.kind = CN_OPT_SEED,
     .name = "seed",
     .letter = 'S',
     .arg = "N",
     AT(seed),
     .help = "the same seed gives the same picture (default: random, and reported)"},
    {.kind = CN_OPT_WORD,
     .name = "sampler",
     .arg = "NAME",
     AT(spec.sampler),
     .words = &cn_enum_sampler,
     .help = "default: dpmpp_2m; one of"},
    {.kind = CN_OPT_WORD,
     .name = "schedule",
     .arg = "NAME",
     AT(spec.schedule),
     .words = &cn_enum_schedule,
     .help = "noise levels"},
    {.kind = CN_OPT_WORD,
     .name = "spacing",
     .arg = "NAME",
     AT(spec.spacing),
     .words = &cn_enum_spacing,
     .help = "which timesteps are visited"},
    {.kind = CN_OPT_REAL,
     .name = "eta",
     .arg = "X",
     AT(spec.eta),
     .min = 0,
     .max = 1,
     .help = "noise that DDIM and TCD add (default: 0; TCD: 0.3)"},
    {.kind = CN_OPT_WORD,
     .name = "rng",
     .arg = "NAME",
     AT(spec.rng),
     .words = &cn_enum_rng,
     .help = "whose random numbers, PyTorch's"},
    {.kind = CN_OPT_INT,
     .name = "clip-skip",
     .arg = "N",
     AT(spec.clip_skip),
     .min = 0,
     .max = CN_MAX_CLIP_SKIP,
     .help =
         "layers of the text encoder to leave out at its end (default: 0); with the syntax a1111 "
         "the layer to read, 1 is the last"},
    {.kind = CN_OPT_TEXT,
     .name = "original-size",
     .arg = "WxH",
     AT(sizes.original),
     .help = "SDXL: the size that the picture is said to have had (default: its own)"},
    {.kind = CN_OPT_TEXT,
     .name = "crop",
     .arg = "LEFT,TOP",
     AT(sizes.crop),
     .help = "SDXL: where it is said to have been cut out (default: 0,0)"},
    {.kind = CN_OPT_TEXT,
     .name = "target-size",
     .arg = "WxH",
     AT(sizes.target),
     .help = "SDXL: the size that it is said to be for (default: its own)"},
    CN_OPTION_HEADING("from a picture"),
    {.kind = CN_OPT_TEXT,
     .name = "init",
     .letter = 'i',
     .arg = "FILE",
     AT(init),
     .help = "start from this picture instead of noise"},
    {.kind = CN_OPT_TEXT,
     .name = "mask",
     .arg = "FILE",
     AT(mask),
     .help = "paint only where this picture is white"},
    {.kind = CN_OPT_TEXT,
     .name = "depth",
     .arg = "FILE",
     AT(depth),
     .help = "a depth map of the picture, near is white: for depth-to-image models"},
    {.kind = CN_OPT_REAL,
     .name = "denoise",
     .letter = 'd',
     .arg = "X",
     AT(spec.denoise),
     .min = 0,
     .max = 1,
     .help = "how much of the picture may change (default: 0.75)"},
    CN_OPTION_HEADING("a second pass over a larger picture"),
    {.kind = CN_OPT_REAL,
     .name = "hires-scale",
     .arg = "X",
     AT(hires_scale),
     .min = 1,
     .max = 8,
     .help = "draw, enlarge the latent by X, and draw on from there (default: no second pass)"},
    {.kind = CN_OPT_INT,
     .name = "hires-steps",
     .arg = "N",
     AT(hires_steps),
     .min = 0,
     .max = CN_MAX_STEPS,
     .help = "of the second pass (default: 0, as many as of the first)"},
    {.kind = CN_OPT_REAL,
     .name = "hires-strength",
     .arg = "X",
     AT(hires_strength),
     .min = 0,
     .max = 1,
     .help = "how much of the first picture may change (default: 0.7)"},
    {.kind = CN_OPT_WORD,
     .name = "hires-upscaler",
     .arg = "NAME",
     AT(hires_upscaler),
     .words = &cn_enum_upscaler,
     .help = "how the latent is enlarged, or, with the last three, the picture"},
    {.kind = CN_OPT_WORD,
     .name = "hires-sampler",
     .arg = "NAME",
     AT(hires_sampler),
     .words = &cn_enum_sampler,
     .help = "of the second pass (default: the first one's, as with all that follow); one of"},
    {.kind = CN_OPT_WORD,
     .name = "hires-schedule",
     .arg = "NAME",
     AT(hires_schedule),
     .words = &cn_enum_schedule,
     .help = "of the second pass"},
    {.kind = CN_OPT_REAL,
     .name = "hires-guidance",
     .arg = "X",
     AT(hires_guidance),
     .min = 0,
     .max = 100,
     .help = "of the second pass"},
    {.kind = CN_OPT_TEXT,
     .name = "hires-prompt",
     .arg = "TEXT",
     AT(hires_prompt),
     .help = "of the second pass"},
    {.kind = CN_OPT_TEXT,
     .name = "hires-negative",
     .arg = "TEXT",
     AT(hires_negative),
     .help = "of the second pass"},
    CN_OPTION_HEADING("output"),
    {.kind = CN_OPT_WORD,
     .name = "format",
     .arg = "NAME",
     AT(format),
     .words = &cn_enum_format,
     .help = "default: by the name of the output; else"},
    {.kind = CN_OPT_INT,
     .name = "quality",
     .arg = "N",
     AT(spec.quality),
     .min = 1,
     .max = 100,
     .help = "of JPEG and WebP (default: 90)"},
    {.kind = CN_OPT_FLAG,
     .name = "metadata",
     AT(metadata),
     .help = "write the parameters into the PNG file"},
    {.kind = CN_OPT_FLAG,
     .name = "json",
     AT(json),
     .help = "describe the result on standard output as JSON"},
    {.kind = CN_OPT_FLAG,
     .name = "quiet",
     .letter = 'q',
     AT(quiet),
     .help = "print errors and warnings only"},
    CN_CLI_HELP(struct options),
    CN_OPTION_END};

static const char about[] =
    "Draws pictures that follow a prompt and, with --control, control images.\n";

static void print_control_help(FILE *out)
{
    fputs("\nkeys of --control MODEL=FILE,KEY=VALUE,...:\n"
          "  strength=X                  0 to 2 (default: 1)\n"
          "  start=X, end=X              window of the steps, 0 to 1 (default: all)\n"
          "  branch=both|cond            cond: leave the negative prompt's half alone\n"
          "  weights=uniform|soft|resolution|W:W:...\n"
          "                              how strength is spread over the levels; the last\n"
          "                              number is the middle block's\n"
          "  annotator=NAME              make the control map of FILE first\n"
          "                              (\"controlnet annotate --help\" lists them)\n"
          "  resize=stretch|crop|pad     when FILE has another size than the picture\n"
          "A comma in FILE is written \"\\,\".\n",
          out);
}

static const char examples[] =
    "  controlnet generate -p \"a red apple\" -o apple.png\n"
    "  controlnet generate -m sd15 -p \"a house\" -C canny=edges.png -o house.png\n"
    "  controlnet generate -p \"a house\" --seed 42 --count 4 --json -o house.webp \\\n"
    "      --control canny=photo.jpg,annotator=canny,strength=0.8\n";

static const struct cn_cli_help help = {.name = "generate",
                                        .usage = "[options] -p PROMPT -o FILE",
                                        .about = about,
                                        .options = table,
                                        .examples = examples,
                                        .more = print_control_help};

/* ---- from options to a job ---- */

static const struct cn_limits limits = {.max_controls = CN_MAX_CONTROLS};

static void set_text(char **field, const char *text)
{
    if (text == NULL)
        return;
    free(*field);
    *field = cn_xstrdup(text);
}

static int check_text(const char *option, const char *text, struct cn_err *err)
{
    size_t len = strlen(text), at = cn_utf8_check(text, len);

    if (at < len)
        return cn_fail(err, CN_EINVAL, "%s: byte %zu is not UTF-8", option, at + 1);
    return CN_OK;
}

static int read_files(struct options *o, struct cn_err *err)
{
    int rc = CN_OK;

    if (o->init != NULL && (rc = cn_cli_read_image(o->init, &o->spec.init_image, err)) < 0)
        return cn_err_prefix(err, "--init");
    if (o->mask != NULL && (rc = cn_cli_read_image(o->mask, &o->spec.mask, err)) < 0)
        return cn_err_prefix(err, "--mask");
    if (o->depth != NULL && (rc = cn_cli_read_image(o->depth, &o->spec.depth, err)) < 0)
        return cn_err_prefix(err, "--depth");
    for (int i = 0; i < o->controls.n && rc == CN_OK; i++)
        rc = cn_cli_add_control(o->controls.item[i], true, &o->spec, err);
    for (int i = 0; i < o->adapters_used.n && rc == CN_OK; i++)
        rc = cn_cli_add_adapter(o->adapters_used.item[i], &o->spec, err);
    return rc;
}

static int choose_format(struct options *o, struct cn_err *err)
{
    int format = o->format >= 0 ? o->format : cn_output_format(o->output);

    if (format < 0 && strcmp(o->output, "-") != 0 && strncmp(o->output, "/dev/", 5) != 0)
        return cn_fail(err, CN_EINVAL,
                       "--output: \"%.200s\" ends in no known suffix: use .png, .jpg or .webp, or "
                       "--format",
                       o->output);
    o->spec.format = format < 0 ? CN_PNG : (enum cn_format)format;
    return CN_OK;
}

/* One of the options that say what a second pass is like; NULL: none is given. */
static const char *hires_option(const struct options *o)
{
    const struct {
        bool given;
        const char *name;
    } option[] = {{o->hires_steps >= 0, "steps"},         {o->hires_strength >= 0, "strength"},
                  {o->hires_upscaler >= 0, "upscaler"},   {o->hires_sampler >= 0, "sampler"},
                  {o->hires_schedule >= 0, "schedule"},   {o->hires_guidance >= 0, "guidance"},
                  {o->hires_prompt != NULL, "prompt"},    {o->hires_negative != NULL, "negative"}};

    for (size_t i = 0; i < CN_LEN(option); i++)
        if (option[i].given)
            return option[i].name;
    return NULL;
}

static int read_hires(struct options *o, struct cn_err *err)
{
    struct cn_spec_hires *h = &o->spec.hires;
    const char *given = hires_option(o);
    int rc = CN_OK;

    h->on = o->hires_scale > 0;
    if (!h->on && given != NULL)
        return cn_fail(err, CN_EINVAL, "--hires-%s: it needs --hires-scale", given);
    if (h->on)
        h->scale = o->hires_scale;
    if (o->hires_steps >= 0)
        h->steps = o->hires_steps;
    if (o->hires_strength >= 0)
        h->strength = o->hires_strength;
    if (o->hires_upscaler >= 0)
        h->upscaler = (enum cn_upscaler)o->hires_upscaler;
    h->sampler = o->hires_sampler; /* negative is CN_HIRES_SAME */
    h->schedule = o->hires_schedule;
    h->has_guidance = o->hires_guidance >= 0;
    h->guidance_scale = h->has_guidance ? o->hires_guidance : 0;
    set_text(&h->prompt, o->hires_prompt);
    set_text(&h->negative_prompt, o->hires_negative);
    if (h->prompt != NULL)
        rc = check_text("--hires-prompt", h->prompt, err);
    if (rc == CN_OK && h->negative_prompt != NULL)
        rc = check_text("--hires-negative", h->negative_prompt, err);
    return rc;
}

static int make_spec(struct options *o, struct cn_err *err)
{
    int rc;

    if (o->spec.decoder == CN_DECODER_TAESD && o->engine.taesd == NULL)
        return cn_fail(err, CN_EINVAL, "--decoder taesd: it needs --taesd");

    if (o->prompt == NULL)
        return cn_fail(err, CN_EINVAL, "--prompt is missing");
    if (o->output == NULL)
        return cn_fail(err, CN_EINVAL, "--output is missing");
    if (o->json && strcmp(o->output, "-") == 0)
        return cn_fail(err, CN_EINVAL, "--json: standard output is taken by the picture");
    o->spec.has_guidance = o->guidance >= 0;
    if (o->spec.has_guidance)
        o->spec.guidance_scale = o->guidance;
    set_text(&o->spec.model, o->model);
    set_text(&o->spec.vae, o->vae);
    set_text(&o->spec.prompt, o->prompt);
    set_text(&o->spec.negative_prompt, o->negative);
    o->spec.zero_negative = o->negative == NULL;
    if ((rc = check_text("--prompt", o->spec.prompt, err)) < 0 ||
        (rc = check_text("--negative", o->spec.negative_prompt, err)) < 0 ||
        (rc = read_hires(o, err)) < 0 ||
        (rc = cn_cli_read_sizes(&o->sizes, &o->spec.sizes, err)) < 0 ||
        (rc = choose_format(o, err)) < 0 ||
        (rc = read_files(o, err)) < 0 || (rc = cn_spec_check(&o->spec, &limits, err)) < 0)
        return rc;
    o->spec.seed = o->seed.given ? o->seed.value : cn_random_seed();
    o->spec.has_seed = true;
    return CN_OK;
}

/* ---- drawing ---- */

struct run {
    const struct options *o;
    struct cn_output output;
    struct cn_progress progress;
    json_t *images; /* what was written */
    int width, height;
    double stage_ms[CN_ENGINE_STAGE_COUNT], encode_ms, total_ms;
};

static bool cancelled(void *ctx)
{
    (void)ctx;
    return cn_cli_signal() != 0;
}

static void progress(void *ctx, int image, int step, int steps)
{
    struct run *r = ctx;

    (void)image;
    (void)step;
    cn_progress_step(&r->progress, steps);
}

static void stage(void *ctx, enum cn_engine_stage which, double ms)
{
    struct run *r = ctx;

    r->stage_ms[which] = ms;
}

static void warn(void *ctx, enum cn_warning_code code, const char *field, const char *text)
{
    struct run *r = ctx;

    (void)code;
    cn_progress_pause(&r->progress);
    cn_cli_warn(field, text);
    cn_progress_go_on(&r->progress);
}

static void note(struct run *r, const struct cn_engine_image *m, const char *path, size_t bytes)
{
    json_t *o = json_object();

    json_object_set_new(o, "file", cn_cli_json_text(path));
    json_object_set_new(o, "seed", json_integer((json_int_t)m->seed));
    json_object_set_new(o, "bytes", json_integer((json_int_t)bytes));
    json_array_set_new(r->images, (size_t)m->index, o); /* images end in any order */
    if (r->o->quiet)
        return;
    cn_progress_pause(&r->progress);
    fprintf(stderr, "%s: %d x %d, seed %" PRIu64 "\n", path, m->image->w, m->image->h, m->seed);
    cn_progress_go_on(&r->progress);
}

/* On the engine's finishing thread; what it writes to in r nobody else reads before the end. */
static int write_image(void *ctx, const struct cn_engine_image *m, struct cn_err *err)
{
    struct run *r = ctx;
    const struct options *o = r->o;
    struct cn_infotext_facts f = {o->spec.model, m->image->w, m->image->h, m->seed, m->index};
    char *text = o->metadata ? cn_infotext(&o->spec, &f) : NULL, *path = NULL;
    struct cn_output_picture p = {m->image, m->index, text};
    double start = cn_now_s();
    size_t bytes = 0;
    int rc;

    /* The decoder is not interrupted, but what it gave is not written either. */
    if (o->metadata && text == NULL)
        rc = cn_fail(err, CN_ENOMEM, "no memory for the text of picture %d", m->index + 1);
    else if (cn_cli_signal() != 0)
        rc = cn_fail(err, CN_ECANCELED, "cancelled before picture %d was written", m->index + 1);
    else
        rc = cn_output_write(&r->output, &p, &path, &bytes, err);
    r->encode_ms += (cn_now_s() - start) * 1e3;
    r->width = m->image->w;
    r->height = m->image->h;
    if (rc == CN_OK)
        note(r, m, path, bytes);
    free(path);
    free(text);
    return rc;
}

static json_t *timings(const struct run *r)
{
    json_t *o = json_object();

    for (int i = 0; i < CN_ENGINE_STAGE_COUNT; i++)
        json_object_set_new(o, cn_engine_stage_name((enum cn_engine_stage)i),
                            json_real(r->stage_ms[i]));
    json_object_set_new(o, "encode", json_real(r->encode_ms));
    json_object_set_new(o, "total", json_real(r->total_ms));
    return o;
}

static int print_result(const struct run *r, const struct cn_engine *e)
{
    const struct cn_spec *s = &r->o->spec;
    json_t *o = json_object();

    json_object_set_new(o, "model", cn_cli_json_text(s->model));
    if (s->vae[0] != '\0')
        json_object_set_new(o, "vae", cn_cli_json_text(s->vae));
    json_object_set_new(o, "backend", json_string(cn_engine_backend(e)));
    json_object_set_new(o, "prompt", cn_cli_json_text(s->prompt));
    json_object_set_new(o, "negative_prompt", cn_cli_json_text(s->negative_prompt));
    json_object_set_new(o, "width", json_integer(r->width));
    json_object_set_new(o, "height", json_integer(r->height));
    json_object_set_new(o, "steps", json_integer(s->steps));
    json_object_set_new(o, "guidance_scale", json_real(s->guidance_scale));
    json_object_set_new(o, "guidance_rescale", json_real(s->guidance_rescale));
    json_object_set_new(o, "pag_scale", json_real(s->pag_scale));
    json_object_set_new(o, "sampler", json_string(cn_enum_sampler.name[s->sampler]));
    json_object_set_new(o, "schedule", json_string(cn_enum_schedule.name[s->schedule]));
    json_object_set_new(o, "seed", json_integer((json_int_t)s->seed));
    json_object_set_new(o, "format", json_string(cn_enum_format.name[s->format]));
    json_object_set(o, "images", r->images);
    json_object_set_new(o, "timings_ms", timings(r));
    json_object_set_new(o, "engine_bytes", json_integer((json_int_t)cn_engine_bytes(e)));
    json_object_set_new(o, "peak_rss_bytes", json_integer((json_int_t)cn_cli_peak_rss()));
    return cn_cli_print_json_take(o);
}

static void print_times(const struct run *r)
{
    double steps_ms = r->stage_ms[CN_ENGINE_CONTROL] + r->stage_ms[CN_ENGINE_UNET];

    fprintf(stderr, "%.2f s: load %.2f, steps %.2f, decode %.2f\n", r->total_ms / 1e3,
            r->stage_ms[CN_ENGINE_LOAD] / 1e3, steps_ms / 1e3, r->stage_ms[CN_ENGINE_VAE] / 1e3);
}

static int draw(struct run *r, struct cn_cli_models *m, struct cn_err *err)
{
    struct cn_engine_cb cb = {.ctx = r,
                              .cancelled = cancelled,
                              .progress = progress,
                              .warning = warn,
                              .image = write_image,
                              .stage = stage};
    double start = cn_now_s();
    int rc;

    rc = cn_engine_run(m->e, &r->o->spec, &cb, err);
    r->total_ms = (cn_now_s() - start) * 1e3;
    cn_progress_release(&r->progress);
    return rc;
}

/* What the model itself says where the options say nothing. */
static int complete_spec(const struct cn_cli_models *m, struct cn_spec *s, struct cn_err *err)
{
    struct cn_model_facts base;

    cn_cli_fill_guidance(m, s);
    if (!s->hires.on || !cn_cli_find(m, s->model, &base))
        return CN_OK;
    s->width = s->width > 0 ? s->width : base.width; /* for the second pass, and the metadata */
    s->height = s->height > 0 ? s->height : base.height;
    return cn_spec_check(s, &limits, err);
}

static void warn_of_options(const struct cn_spec *s)
{
    struct cn_warnings w = {0};

    cn_spec_warn(s, &w);
    for (int i = 0; i < w.n; i++)
        cn_cli_warn(w.item[i].where, w.item[i].text);
    cn_warnings_release(&w);
}

static int generate(struct options *o, struct cn_err *err)
{
    struct run r = {.o = o, .output = {o->output, o->spec.n, o->spec.format, o->spec.quality}};
    struct cn_cli_models m = {0};
    int status = CN_EXIT_OK;

    cn_cli_catch_signals();
    if (cn_output_check(&r.output, err) < 0 || cn_cli_engine_open(&o->engine, false, &m, err) < 0 ||
        cn_cli_resolve_spec(&m, &o->spec, err) < 0 || complete_spec(&m, &o->spec, err) < 0) {
        cn_cli_engine_close(&m);
        return cn_cli_complain("generate", cn_cli_blame(err), err);
    }
    warn_of_options(&o->spec);
    cn_progress_init(&r.progress, o->quiet, o->spec.n);
    r.images = json_array();
    for (int i = 0; i < o->spec.n; i++)
        json_array_append_new(r.images, json_null());
    if (draw(&r, &m, err) < 0)
        status = cn_cli_complain("generate", cn_cli_blame(err), err);
    else if (o->json)
        status = print_result(&r, m.e);
    if (status == CN_EXIT_OK && !o->quiet)
        print_times(&r);
    json_decref(r.images);
    cn_cli_engine_close(&m);
    return status;
}

int cn_cli_generate(int argc, char **argv)
{
    struct options o = {.format = -1,
                        .guidance = -1,
                        .hires_strength = -1,
                        .hires_guidance = -1,
                        .hires_steps = -1,
                        .hires_upscaler = -1,
                        .hires_sampler = CN_HIRES_SAME,
                        .hires_schedule = CN_HIRES_SAME};
    struct cn_err err = CN_ERR_INIT;
    int rest, status;

    cn_spec_init(&o.spec);
    if (!cn_cli_parse(&help, argc, argv, &o, &o.help, &rest, &status)) {
        if (rest < argc)
            cn_fail(&err, CN_EINVAL, "\"%.60s\" is no option: is a prompt of several words quoted?",
                    argv[rest]);
        if (rest < argc || make_spec(&o, &err) < 0) {
            cn_cli_blame(&err);
            status = cn_cli_complain("generate",
                                     err.code == CN_EINVAL ? CN_EXIT_USAGE : CN_EXIT_FAILED, &err);
        } else {
            status = generate(&o, &err);
        }
    }
    cn_spec_release(&o.spec);
    return status;
}
