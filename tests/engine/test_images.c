/* Whole pictures against the reference implementation's pipelines.
 *
 *     test_images [--backend NAME] [--min-psnr DB] [--save DIR] MODELS_DIR[:MODELS_DIR...]
 *                 CASE.json ...
 *
 * A case is a request in our own format whose images are files beside it, and the picture that the
 * reference made of it: CASE.png (CASE.1.png for the second image). 50 dB is the bar; 60 tells
 * samplers apart (tools/goldens/README.md). One line per picture. With --save our pictures are kept
 * as DIR/MODEL-CASE.png, for tools/goldens/exact.
 */
#include "base/base.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "engine/engine.h"
#include "image/codec.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures, comparisons;
static double min_psnr = 60;
static const char *save_dir;

static void must(int rc, const struct cn_err *err)
{
    if (rc < 0) {
        fprintf(stderr, "error: %s: %s\n", err->where, err->msg);
        exit(1);
    }
}

static struct cn_blob load(const char *folder, const char *name)
{
    char *path = cn_xprintf("%s/%s", folder, name);
    struct cn_err err = CN_ERR_INIT;
    struct cn_blob blob;
    struct cn_buf b;

    cn_buf_init(&b, 16u << 20);
    must(cn_file_read(path, &b, &err), &err);
    blob.data = cn_buf_steal(&b, &blob.len);
    free(path);
    return blob;
}

static bool set_text(char **field, json_t *v)
{
    free(*field);
    *field = cn_xstrdup(json_string_value(v));
    return true;
}

static int word(const struct cn_enum *e, json_t *v)
{
    int i = cn_enum_find(e, json_string_value(v));

    CN_ASSERT(i >= 0);
    return i;
}

static void read_control(struct cn_spec *s, json_t *o, const char *folder)
{
    struct cn_spec_control *c = cn_spec_add_control(s);
    const char *key;
    json_t *v;

    json_object_foreach(o, key, v)
    {
        if (strcmp(key, "model") == 0)
            set_text(&c->model, v);
        else if (strcmp(key, "image") == 0)
            c->image = load(folder, json_string_value(v));
        else if (strcmp(key, "strength") == 0)
            c->strength = json_number_value(v);
        else if (strcmp(key, "start") == 0)
            c->start = json_number_value(v);
        else if (strcmp(key, "end") == 0)
            c->end = json_number_value(v);
        else if (strcmp(key, "branch") == 0)
            c->branch = (enum cn_branch)word(&cn_enum_branch, v);
        else if (strcmp(key, "weights") == 0)
            c->weights = (enum cn_weighting)word(&cn_enum_weights, v);
        else
            CN_ASSERT(!"known control field");
    }
}

static bool read_text_or_word(struct cn_spec *s, const char *key, json_t *v, const char *folder)
{
    if (strcmp(key, "model") == 0)
        set_text(&s->model, v);
    else if (strcmp(key, "prompt") == 0)
        set_text(&s->prompt, v);
    else if (strcmp(key, "negative_prompt") == 0)
        s->zero_negative = !set_text(&s->negative_prompt, v);
    else if (strcmp(key, "sampler") == 0)
        s->sampler = (enum cn_sampler)word(&cn_enum_sampler, v);
    else if (strcmp(key, "schedule") == 0)
        s->schedule = (enum cn_schedule)word(&cn_enum_schedule, v);
    else if (strcmp(key, "spacing") == 0)
        s->spacing = (enum cn_spacing)word(&cn_enum_spacing, v);
    else if (strcmp(key, "prompt_syntax") == 0)
        s->prompt_syntax = (enum cn_prompt_syntax)word(&cn_enum_prompt_syntax, v);
    else if (strcmp(key, "init_image") == 0)
        s->init_image = load(folder, json_string_value(v));
    else if (strcmp(key, "depth") == 0)
        s->depth = load(folder, json_string_value(v));
    else if (strcmp(key, "mask") == 0)
        s->mask = load(folder, json_string_value(v));
    else
        return false;
    return true;
}

/* What the second pass has of its own. */
static void read_own(struct cn_spec_hires *h, json_t *o)
{
    json_t *v;

    if ((v = json_object_get(o, "sampler")) != NULL)
        h->sampler = word(&cn_enum_sampler, v);
    if ((v = json_object_get(o, "schedule")) != NULL)
        h->schedule = word(&cn_enum_schedule, v);
    if ((v = json_object_get(o, "prompt")) != NULL)
        h->prompt = cn_xstrdup(json_string_value(v));
    if ((v = json_object_get(o, "negative_prompt")) != NULL)
        h->negative_prompt = cn_xstrdup(json_string_value(v));
    h->has_guidance = (v = json_object_get(o, "guidance_scale")) != NULL;
    h->guidance_scale = json_number_value(v);
}

static void read_adapter(struct cn_spec *s, json_t *o)
{
    struct cn_spec_adapter *a = cn_spec_add_adapter(s);

    set_text(&a->name, json_object_get(o, "name"));
    a->strength = json_number_value(json_object_get(o, "strength"));
    a->has_text = json_object_get(o, "text_strength") != NULL;
    a->text_strength = json_number_value(json_object_get(o, "text_strength"));
}

static void read_hires(struct cn_spec_hires *h, json_t *o)
{
    double scale = json_number_value(json_object_get(o, "scale"));

    h->on = true;
    h->scale = scale > 0 ? scale : h->scale;
    h->width = (int)json_integer_value(json_object_get(o, "width"));
    h->height = (int)json_integer_value(json_object_get(o, "height"));
    h->steps = (int)json_integer_value(json_object_get(o, "steps"));
    h->strength = json_number_value(json_object_get(o, "strength"));
    h->upscaler = (enum cn_upscaler)word(&cn_enum_upscaler, json_object_get(o, "upscaler"));
    read_own(h, o);
}

/* What a model is told of its picture's size. */
static bool read_sizes(struct cn_spec_sizes *s, const char *key, json_t *o)
{
    static const char *const sides[2][2] = {{"width", "height"}, {"left", "top"}};
    struct {
        const char *key;
        int *to[2];
    } fields[] = {{"original_size", {&s->original_width, &s->original_height}},
                  {"crop", {&s->crop_left, &s->crop_top}},
                  {"target_size", {&s->target_width, &s->target_height}}};

    for (size_t i = 0; i < CN_LEN(fields); i++)
        if (strcmp(key, fields[i].key) == 0) {
            for (int k = 0; k < 2; k++)
                *fields[i].to[k] = (int)json_integer_value(json_object_get(o, sides[i == 1][k]));
            return true;
        }
    return false;
}

static void read_request(struct cn_spec *s, json_t *o, const char *folder)
{
    struct {
        const char *key;
        int *to;
    } number[] = {{"width", &s->width}, {"height", &s->height}, {"steps", &s->steps},
                  {"n", &s->n},         {"clip_skip", &s->clip_skip}};
    const char *key;
    json_t *v, *c;
    size_t i;

    json_object_foreach(o, key, v)
    {
        bool known = read_text_or_word(s, key, v, folder) || read_sizes(&s->sizes, key, v);

        for (i = 0; i < CN_LEN(number); i++)
            if (strcmp(key, number[i].key) == 0) {
                *number[i].to = (int)json_integer_value(v);
                known = true;
            }
        if (strcmp(key, "seed") == 0)
            s->seed = (uint64_t)json_integer_value(v);
        else if (strcmp(key, "guidance_scale") == 0)
            s->guidance_scale = json_number_value(v);
        else if (strcmp(key, "guidance_rescale") == 0)
            s->guidance_rescale = json_number_value(v);
        else if (strcmp(key, "pag_scale") == 0)
            s->pag_scale = json_number_value(v);
        else if (strcmp(key, "pag_adaptive_scale") == 0)
            s->pag_adaptive_scale = json_number_value(v);
        else if (strcmp(key, "hires") == 0)
            read_hires(&s->hires, v);
        else if (strcmp(key, "denoise") == 0)
            s->denoise = json_number_value(v);
        else if (strcmp(key, "eta") == 0)
            s->eta = json_number_value(v);
        else if (strcmp(key, "controls") == 0)
            json_array_foreach(v, i, c) read_control(s, c, folder);
        else if (strcmp(key, "adapters") == 0)
            json_array_foreach(v, i, c) read_adapter(s, c);
        else
            CN_ASSERT(known);
    }
    s->has_seed = true;
}

struct expected {
    const char *stem;
    const char *name;
};

static void save(const struct expected *x, const struct cn_engine_image *m)
{
    const char *folder = x->name - 1;
    char number[16] = "", *path;
    struct cn_err err = CN_ERR_INIT;
    struct cn_buf b;

    while (folder > x->stem && folder[-1] != '/')
        folder--;
    if (m->index > 0)
        snprintf(number, sizeof(number), ".%d", m->index);
    path = cn_xprintf("%s/%.*s-%s%s.png", save_dir, (int)(x->name - 1 - folder), folder, x->name,
                      number);
    cn_buf_init(&b, 16u << 20);
    must(cn_png_encode(m->image, NULL, 0, CN_PNG_LEVEL, &b, &err), &err);
    must(cn_file_write(path, b.data, b.len, &err), &err);
    cn_buf_release(&b);
    free(path);
}

static int check_image(void *ctx, const struct cn_engine_image *m, struct cn_err *err)
{
    const struct expected *x = ctx;
    char *path = m->index == 0 ? cn_xprintf("%s.png", x->stem)
                               : cn_xprintf("%s.%d.png", x->stem, m->index);
    struct cn_image want = CN_IMAGE_NONE;
    struct cn_blob file = load("", path + (path[0] == '/'));
    double sum = 0, psnr;
    size_t n;

    (void)err;
    must(cn_image_decode(file.data, file.len, NULL, &want, err), err);
    CN_ASSERT(want.w == m->image->w && want.h == m->image->h && want.c == 3);
    n = cn_image_bytes(&want);
    for (size_t i = 0; i < n; i++) {
        double d = (double)want.px[i] - m->image->px[i];

        sum += d * d;
    }
    psnr = sum > 0 ? 10 * log10(255.0 * 255.0 * (double)n / sum) : INFINITY;
    comparisons++;
    if (save_dir != NULL)
        save(x, m);
    failures += psnr >= min_psnr ? 0 : 1;
    printf("%s %-40s %.1f dB\n", psnr >= min_psnr ? "ok    " : "not ok", x->name, psnr);
    cn_image_release(&want);
    free(file.data);
    free(path);
    return CN_OK;
}

static void check_case(struct cn_engine *e, const char *path)
{
    json_error_t je;
    json_t *o = json_load_file(path, 0, &je);
    char *stem = cn_xstrdup(path), *folder = cn_xstrdup(path), *full = realpath(path, NULL);
    struct cn_err err = CN_ERR_INIT;
    struct expected x;
    struct cn_engine_cb cb = {.ctx = &x, .image = check_image};
    struct cn_spec s;

    CN_ASSERT(o != NULL && full != NULL);
    free(stem);
    stem = full;
    stem[strlen(stem) - 5] = '\0';
    *strrchr(folder, '/') = '\0';
    x = (struct expected){stem, strrchr(stem, '/') + 1};
    cn_spec_init(&s);
    s.paste_back = false; /* as the reference */
    read_request(&s, json_object_get(o, "request"), folder);
    must(cn_engine_run(e, &s, &cb, &err), &err);
    cn_spec_release(&s);
    json_decref(o);
    free(stem);
    free(folder);
}

int main(int argc, char **argv)
{
    struct cn_engine_opts opts = CN_ENGINE_DEFAULTS;
    struct cn_err err = CN_ERR_INIT;
    const char *embeddings = NULL, *adapters = NULL;
    struct cn_engine *e;
    int i = 1;

    opts.dtype = CN_F32;
    opts.first_choice = true;
    for (; i + 1 < argc && strncmp(argv[i], "--", 2) == 0; i += 2)
        if (strcmp(argv[i], "--backend") == 0)
            opts.backend = argv[i + 1];
        else if (strcmp(argv[i], "--dtype") == 0)
            opts.dtype = strcmp(argv[i + 1], "f16") == 0    ? CN_F16
                         : strcmp(argv[i + 1], "bf16") == 0 ? CN_BF16
                                                            : CN_F32;
        else if (strcmp(argv[i], "--embeddings") == 0)
            embeddings = argv[i + 1];
        else if (strcmp(argv[i], "--save") == 0)
            save_dir = argv[i + 1];
        else if (strcmp(argv[i], "--adapters") == 0)
            adapters = argv[i + 1];
        else
            min_psnr = atof(argv[i + 1]);
    if (argc < i + 2) {
        fprintf(stderr,
                "usage: test_images [--backend NAME] [--dtype f32|f16|bf16] [--min-psnr DB]\n"
                "                   [--embeddings DIR] [--save DIR]\n"
                "                   [--adapters DIR] MODELS CASE.json...\n");
        return 2;
    }
    must(cn_engine_new(&opts, &e, &err), &err);
    for (char *dir = strtok(argv[i], ":"); dir != NULL; dir = strtok(NULL, ":"))
        must(cn_engine_scan(e, dir, &err), &err);
    if (embeddings != NULL)
        must(cn_engine_scan_embeddings(e, embeddings, &err), &err);
    if (adapters != NULL)
        must(cn_engine_scan_adapters(e, adapters, &err), &err);
    for (i++; i < argc; i++)
        check_case(e, argv[i]);
    cn_engine_free(e);
    printf("%d comparisons, %d failed\n", comparisons, failures);
    return failures > 0 || comparisons == 0;
}
