/* The engine as its users see it: refusals, what a picture depends on and what it does not, broken
 * models, bounded memory. On the tiny random models of tests/data/models.
 */
#include "base/base.h"
#include "engine/engine.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/mem.h"
#include "image/codec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char models[512];

/* ---- one engine, one request, one picture ---- */

struct picture {
    unsigned char *px;
    size_t bytes;
    int count; /* pictures seen */
    int keep;  /* index of the one that is kept */
};

static int keep_picture(void *ctx, const struct cn_engine_image *m, struct cn_err *err)
{
    struct picture *p = ctx;

    (void)err;
    p->count++;
    if (m->index != p->keep)
        return CN_OK;
    p->bytes = cn_image_bytes(m->image);
    p->px = cn_xmalloc(p->bytes);
    memcpy(p->px, m->image->px, p->bytes);
    return CN_OK;
}

static struct cn_engine *open_engine(const char *backend)
{
    struct cn_engine_opts opts = CN_ENGINE_DEFAULTS;
    struct cn_err err = CN_ERR_INIT;
    struct cn_engine *e;

    opts.backend = backend;
    opts.threads = 1; /* other tests may run beside this one */
    if (cn_engine_new(&opts, &e, &err) < 0 || cn_engine_scan(e, models, &err) < 0)
        fail_msg("%s", err.msg);
    return e;
}

static void request(struct cn_spec *s, const char *model, int side)
{
    cn_spec_init(s);
    free(s->model);
    s->model = cn_xstrdup(model);
    free(s->prompt);
    s->prompt = cn_xstrdup("a red apple");
    s->width = s->height = side;
    s->steps = 2;
    s->sampler = CN_EULER_A;
    s->seed = 7;
    s->has_seed = true;
}

/* A black picture with a white frame, as a file. */
static struct cn_blob drawing(int side)
{
    struct cn_image img = CN_IMAGE_NONE;
    struct cn_blob blob;
    struct cn_buf b;

    assert_int_equal(cn_image_init(&img, side, side, 3, NULL), CN_OK);
    for (int y = 0; y < side; y++)
        for (int x = 0; x < 3 * side; x++)
            img.px[y * 3 * side + x] = y < 4 || x < 12 ? 255 : 0;
    cn_buf_init(&b, 1 << 20);
    assert_int_equal(cn_png_encode(&img, NULL, 0, CN_PNG_LEVEL, &b, NULL), CN_OK);
    blob.data = cn_buf_steal(&b, &blob.len);
    cn_image_release(&img);
    return blob;
}

static struct cn_spec_control *control(struct cn_spec *s, const char *model)
{
    struct cn_spec_control *c = cn_spec_add_control(s);

    free(c->model);
    c->model = cn_xstrdup(model);
    c->image = drawing(48);
    return c;
}

/* Draws and releases s; returns picture `keep`. */
static struct picture draw(struct cn_engine *e, struct cn_spec *s, int keep)
{
    struct picture p = {.keep = keep};
    struct cn_engine_cb cb = {.ctx = &p, .image = keep_picture};
    struct cn_err err = CN_ERR_INIT;

    if (cn_engine_run(e, s, &cb, &err) < 0)
        fail_msg("%s: %s", err.where, err.msg);
    assert_int_equal(p.count, s->n);
    cn_spec_release(s);
    return p;
}

static struct picture draw_plain(struct cn_engine *e, const char *model, int side)
{
    struct cn_spec s;

    request(&s, model, side);
    return draw(e, &s, 0);
}

/* Releases both. */
static void assert_same(struct picture a, struct picture b)
{
    assert_int_equal(a.bytes, b.bytes);
    assert_memory_equal(a.px, b.px, a.bytes);
    free(a.px);
    free(b.px);
}

static void each_backend(void (*check)(struct cn_engine *e))
{
    for (const char *const *name = (const char *const[]){"onednn", "reference", NULL};
         *name != NULL; name++) {
        struct cn_engine_opts opts = CN_ENGINE_DEFAULTS;
        struct cn_engine *e;

        opts.backend = *name;
        if (cn_engine_new(&opts, &e, NULL) == CN_ENOTFOUND)
            continue; /* built without oneDNN */
        cn_engine_free(e);
        e = open_engine(*name);
        check(e);
        cn_engine_free(e);
    }
}

/* ---- refusals ---- */

/* Running s fails with code at where, words in the message; the engine goes on. Releases s. */
static void refuse(struct cn_engine *e, struct cn_spec *s, int code, const char *where,
                   const char *word)
{
    struct picture p = {.keep = -1};
    struct cn_engine_cb cb = {.ctx = &p, .image = keep_picture};
    struct cn_err err = CN_ERR_INIT;
    int rc = cn_engine_run(e, s, &cb, &err);

    if (rc != code || strcmp(err.where, where) != 0 || strstr(err.msg, word) == NULL)
        fail_msg("%s at \"%s\" instead of %s at \"%s\": \"%s\" (wanted: %s)", cn_code_name(rc),
                 err.where, cn_code_name(code), where, err.msg, word);
    assert_int_equal(p.count, 0);
    cn_spec_release(s);
}

static void check_model_refusals(struct cn_engine *e)
{
    struct cn_spec s;

    request(&s, "nobody", 48);
    refuse(e, &s, CN_ENOTFOUND, "/model", "nobody");
    request(&s, "tiny-control-a", 48);
    refuse(e, &s, CN_EINVAL, "/model", "ControlNet");
    request(&s, "tiny", 48);
    control(&s, "tiny");
    refuse(e, &s, CN_EINVAL, "/controls/0/model", "base model");
    request(&s, "tiny", 48);
    control(&s, "tiny-control-zero");
    control(&s, "absent");
    refuse(e, &s, CN_ENOTFOUND, "/controls/1/model", "absent");
    request(&s, "tiny", 48);
    control(&s, "tiny2-control");
    refuse(e, &s, CN_EINVAL, "/controls/0/model", "does not fit");
    request(&s, "tiny9", 48);
    refuse(e, &s, CN_EINVAL, "/mask", "inpainting");
    request(&s, "tiny9", 48);
    s.init_image = drawing(48);
    s.mask = drawing(48);
    control(&s, "tiny-control-a");
    refuse(e, &s, CN_EINVAL, "/controls/0/model", "does not fit");
}

/* Of the grammar; read as they stand, all of these are drawn. */
static void check_prompt_refusals(struct cn_engine *e)
{
    static const struct {
        const char *negative, *prompt, *where, *says;
    } bad[] = {
        {"", "a AND b AND c AND d AND e AND f AND g AND h AND i", "/prompt", "more than 8 parts"},
        {"", "a AND b :999999999999999999999999999999999999999", "/prompt", "too large"},
        {"", "BREAK BREAK BREAK BREAK BREAK BREAK BREAK BREAK AND [a|b|c|d|e|f|g]", "/prompt",
         "9 texts of 8 chunks"},
        {"", "(a:1.2.3)", "/prompt", "\"1.2.3\" is not a number"},
        {"(a:.)", "", "/negative_prompt", "not a number"},
        {"", "(a:9999999999999999999999999999999999999999)", "/prompt", "too large"},
        {"",
         "BREAK BREAK BREAK BREAK BREAK BREAK BREAK BREAK BREAK BREAK BREAK BREAK BREAK BREAK "
         "BREAK BREAK BREAK BREAK BREAK BREAK BREAK BREAK BREAK BREAK BREAK BREAK BREAK BREAK "
         "BREAK BREAK BREAK BREAK BREAK",
         "/prompt", "more than 32 chunks"},
    };
    struct cn_spec s;

    for (size_t i = 0; i < CN_LEN(bad); i++) {
        request(&s, "tiny", 48);
        free(s.prompt);
        free(s.negative_prompt);
        s.prompt = cn_xstrdup(bad[i].prompt);
        s.negative_prompt = cn_xstrdup(bad[i].negative);
        s.prompt_syntax = CN_PROMPT_A1111;
        s.guidance_scale = 3;
        s.steps = 20;
        refuse(e, &s, i == 6 ? CN_ETOOBIG : CN_EINVAL, bad[i].where, bad[i].says);
    }
    request(&s, "tiny", 48);
    free(s.prompt);
    s.prompt = cn_xstrdup("a cat :1.2");
    s.prompt_syntax = CN_PROMPT_A1111;
    s.guidance_scale = 1;
    refuse(e, &s, CN_EINVAL, "/prompt", "guidance above 1");
    request(&s, "tiny", 48);
    free(s.prompt);
    s.prompt = cn_xstrdup("a cat AND a dog");
    s.prompt_syntax = CN_PROMPT_A1111;
    s.guidance_scale = 1;
    refuse(e, &s, CN_EINVAL, "/prompt", "guidance above 1");
    request(&s, "tiny", 48);
    s.prompt_syntax = CN_PROMPT_A1111;
    s.clip_skip = 5;
    refuse(e, &s, CN_EINVAL, "/clip_skip", "that 4 is the most (1 is the last layer)");
}

static void check_value_refusals(struct cn_engine *e)
{
    struct cn_spec s;

    request(&s, "tiny", 48);
    s.width = 50;
    refuse(e, &s, CN_EINVAL, "/width", "50");
    request(&s, "tiny", 48);
    s.height = -48;
    refuse(e, &s, CN_EINVAL, "/height", "-48");
    request(&s, "tiny", 48);
    s.clip_skip = 4;
    refuse(e, &s, CN_EINVAL, "/clip_skip", "has 3 layers, so that 3 is the most");
    request(&s, "tiny", 48);
    s.mask = drawing(48);
    refuse(e, &s, CN_EINVAL, "/mask", "init_image");
    request(&s, "tiny", 48);
    s.init_image = (struct cn_blob){(unsigned char *)cn_xstrdup("no picture"), 10};
    refuse(e, &s, CN_EFORMAT, "/init_image", "");
    request(&s, "tiny", 48);
    s.init_image = drawing(48);
    s.mask = (struct cn_blob){(unsigned char *)cn_xstrdup("no picture"), 10};
    refuse(e, &s, CN_EFORMAT, "/mask", "");
    request(&s, "tiny", 48);
    s.steps = 1;
    s.denoise = 0.01;
    s.init_image = drawing(48);
    refuse(e, &s, CN_EINVAL, "/denoise", "");
    request(&s, "tiny", 48);
    free(s.prompt);
    s.prompt = cn_xstrdup("\xff");
    refuse(e, &s, CN_EINVAL, "/prompt", "");
}

static void check_control_refusals(struct cn_engine *e)
{
    struct cn_spec_control *c;
    struct cn_spec s;

    request(&s, "tiny", 48);
    control(&s, "tiny-control-a");
    s.control[0].image.data[0] ^= 0xff;
    refuse(e, &s, CN_EFORMAT, "/controls/0/image", "");
    request(&s, "tiny", 48);
    c = control(&s, "tiny-control-a");
    free(c->annotator);
    c->annotator = cn_xstrdup("tarot");
    refuse(e, &s, CN_ENOTFOUND, "/controls/0/annotator", "tarot");
    request(&s, "tiny", 48);
    c = control(&s, "tiny-control-a");
    c->weights = CN_W_CUSTOM;
    c->n_weights = 13;
    refuse(e, &s, CN_EINVAL, "/controls/0/weights", "13");
}

static void check_refusals(struct cn_engine *e)
{
    struct picture before = draw_plain(e, "tiny", 48);

    check_model_refusals(e);
    check_prompt_refusals(e);
    check_value_refusals(e);
    check_control_refusals(e);
    assert_same(before, draw_plain(e, "tiny", 48));
}

static void wrong_requests_name_their_field(void **state)
{
    (void)state;
    each_backend(check_refusals);
}

/* Sizes beyond any memory, and sizes whose products overflow, are an answer and not an abort. */
static void check_huge(struct cn_engine *e)
{
    static const int side[] = {1 << 17, 1 << 20, 1 << 30};

    for (size_t i = 0; i < CN_LEN(side); i++)
        for (int init = 0; init < 2; init++) {
            struct cn_err err = CN_ERR_INIT;
            struct cn_engine_cb cb = {.image = keep_picture};
            struct cn_spec s;
            int rc;

            request(&s, "tiny", side[i]);
            if (init)
                s.init_image = drawing(48);
            rc = cn_engine_run(e, &s, &cb, &err);
            if (rc != CN_ETOOBIG && rc != CN_ENOMEM && rc != CN_EDEVMEM &&
                !(init && rc == CN_EINVAL)) /* no picture can be resized to it */
                fail_msg("side %d: %s: %s", side[i], cn_code_name(rc), err.msg);
            cn_spec_release(&s);
        }
}

static void pictures_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    each_backend(check_huge);
}

/* ---- what a picture depends on ---- */

static void check_zero(struct cn_engine *e)
{
    static const double guidance[] = {7.5, 1, 0};

    for (size_t i = 0; i < CN_LEN(guidance); i++) {
        struct cn_spec plain, zero;

        request(&plain, "tiny", 48);
        request(&zero, "tiny", 48);
        plain.guidance_scale = zero.guidance_scale = guidance[i];
        control(&zero, "tiny-control-zero");
        assert_same(draw(e, &plain, 0), draw(e, &zero, 0));
    }
}

static void zero_controlnet_changes_no_bit(void **state)
{
    (void)state;
    each_backend(check_zero);
}

static void check_several(struct cn_engine *e)
{
    for (int i = 0; i < 3; i++) {
        struct cn_spec all, one;

        request(&all, "tiny", 48);
        request(&one, "tiny", 48);
        control(&all, "tiny-control-a");
        control(&one, "tiny-control-a");
        all.n = 3;
        one.seed += (uint64_t)i;
        assert_same(draw(e, &all, i), draw(e, &one, 0));
    }
}

static void several_images_equal_single_ones(void **state)
{
    (void)state;
    each_backend(check_several);
}

/* Pictures of two sizes from one engine, in either order, from fresh engines each time. */
static void check_order(struct cn_engine *e)
{
    static const char *const base[] = {"tiny", "tiny2"};
    struct cn_engine *other = open_engine(cn_engine_backend(e));

    for (size_t i = 0; i < CN_LEN(base); i++) {
        struct picture small = draw_plain(e, base[i], 40), large = draw_plain(e, base[i], 72);

        assert_same(large, draw_plain(other, base[i], 72));
        assert_same(small, draw_plain(other, base[i], 40));
    }
    cn_engine_free(other);
}

static void order_of_requests_changes_no_bit(void **state)
{
    (void)state;
    each_backend(check_order);
}

/* More sizes than the cache of plans holds, then the first again. */
static void check_many_sizes(struct cn_engine *e)
{
    struct picture first = draw_plain(e, "tiny", 8);
    size_t bytes;

    for (int w = 1; w <= 40; w++) {
        struct cn_spec s;
        struct picture p;

        request(&s, "tiny", 8);
        s.width = 4 * w;
        s.steps = 1;
        p = draw(e, &s, 0);
        free(p.px);
    }
    bytes = cn_engine_bytes(e);
    assert_same(first, draw_plain(e, "tiny", 8));
    assert_true(cn_engine_bytes(e) <= bytes);
}

static void more_sizes_than_plans_are_held(void **state)
{
    (void)state;
    each_backend(check_many_sizes);
}

/* ---- broken models ---- */

/* A folder of models that are copies of tests/data/models with one file changed. */
struct damage {
    char folder[64];
    char *model; /* folder/MODEL */
};

static void link_all(const char *from, const char *to, const char *but)
{
    static const char *const parts[] = {"model_index.json", "tokenizer", "scheduler",
                                        "text_encoder",     "unet",      "vae",
                                        "config.json",      "model.safetensors",
                                        "diffusion_pytorch_model.safetensors"};

    assert_int_equal(mkdir(to, 0700), 0);
    for (size_t i = 0; i < CN_LEN(parts); i++) {
        char *old = cn_xprintf("%s/%s", from, parts[i]), *new = cn_xprintf("%s/%s", to, parts[i]);

        if (strcmp(parts[i], but) != 0 && access(old, F_OK) == 0)
            assert_int_equal(symlink(old, new), 0);
        free(old);
        free(new);
    }
}

static void read_whole(const char *folder, const char *file, struct cn_buf *b)
{
    char *path = cn_xprintf("%s/%s", folder, file);

    cn_buf_init(b, 16u << 20);
    assert_int_equal(cn_file_read(path, b, NULL), CN_OK);
    free(path);
}

/* tiny with tiny/PART/FILE changed: the text `from` becomes `to` (once); from NULL: cut in half. */
static void damage_tiny(struct damage *d, const char *part, const char *file, const char *from,
                        const char *to)
{
    char *old = cn_xprintf("%s/tiny/%s", models, part), *new, *tiny = cn_xprintf("%s/tiny", models);
    struct cn_buf b, out;
    size_t at = 0;

    strcpy(d->folder, "/tmp/test_engine.XXXXXX");
    assert_non_null(mkdtemp(d->folder));
    d->model = cn_xprintf("%s/damaged", d->folder);
    new = cn_xprintf("%s/%s", d->model, part);
    link_all(tiny, d->model, part);
    link_all(old, new, file);
    read_whole(old, file, &b);
    cn_buf_init(&out, 16u << 20);
    if (from == NULL) {
        assert_int_equal(cn_buf_add(&out, b.data, b.len / 2, NULL), CN_OK);
    } else {
        while (at + strlen(from) <= b.len && memcmp(b.data + at, from, strlen(from)) != 0)
            at++;
        assert_true(at + strlen(from) <= b.len);
        assert_int_equal(cn_buf_add(&out, b.data, at, NULL), CN_OK);
        assert_int_equal(cn_buf_adds(&out, to, NULL), CN_OK);
        at += strlen(from);
        assert_int_equal(cn_buf_add(&out, b.data + at, b.len - at, NULL), CN_OK);
    }
    free(old);
    old = cn_xprintf("%s/%s", new, file);
    assert_int_equal(cn_file_write(old, out.data, out.len, NULL), CN_OK);
    cn_buf_release(&b);
    cn_buf_release(&out);
    free(old);
    free(new);
    free(tiny);
}

static void damage_release(struct damage *d)
{
    char *command = cn_xprintf("rm -r %s", d->folder);

    assert_int_equal(system(command), 0);
    free(command);
    free(d->model);
}

/* Every kind of damage that opening lets through: the job fails and says where, every time. */
static void check_damage(struct cn_engine *e)
{
    static const struct {
        const char *part, *file, *from, *to, *word;
    } cases[] = {
        {"unet", "diffusion_pytorch_model.safetensors", "mid_block.resnets.1.conv2.weight",
         "mid_block.resnets.1.conv9.weight", "mid_block.resnets.1.conv2.weight"},
        {"unet", "diffusion_pytorch_model.safetensors", "conv_out.bias", "conv_out.bios",
         "damaged/unet/diffusion_pytorch_model.safetensors"},
        {"vae", "diffusion_pytorch_model.safetensors", "decoder.conv_in.weight",
         "decoder.conv_on.weight", "decoder.conv_in.weight"},
        {"text_encoder", "model.safetensors", "token_embedding", "taken_embedding",
         "token_embedding"},
        {"text_encoder", "config.json", "\"intermediate_size\": 100", "\"intermediate_size\": 104",
         "[100, 36]"},
        {"unet", "config.json", "\"cross_attention_dim\": 36", "\"cross_attention_dim\": 40",
         "hidden_size is 36"},
        {"unet", "config.json", "\"layers_per_block\": 1", "\"layers_per_block\": 30",
         "too many layers"},
        {"vae", "config.json", "\"out_channels\": 3", "\"out_channels\": 4", "3 to 4 channels"},
        {"vae", "config.json", "\"in_channels\": 3", "\"in_channels\": 1", "1 to 3 channels"},
        {"text_encoder", "config.json", "\"max_position_embeddings\": 77",
         "\"max_position_embeddings\": 1", "no room for a prompt"},
    };
    for (size_t i = 0; i < CN_LEN(cases); i++) {
        struct cn_engine *own = open_engine(cn_engine_backend(e));
        struct damage d;
        struct cn_spec s;

        damage_tiny(&d, cases[i].part, cases[i].file, cases[i].from, cases[i].to);
        assert_int_equal(cn_engine_add(own, d.model, NULL), CN_OK);
        for (int again = 0; again < 2; again++) {
            request(&s, "damaged", 24);
            refuse(own, &s, CN_EFORMAT, "/model", cases[i].word);
        }
        cn_engine_free(own);
        damage_release(&d);
    }
}

static void damaged_models_are_named(void **state)
{
    (void)state;
    each_backend(check_damage);
}

static void cut_off_file_is_refused_when_opened(void **state)
{
    struct cn_engine *e = open_engine("auto");
    struct cn_model_facts m = {0};
    struct cn_err err = CN_ERR_INIT;
    struct damage d;
    struct cn_spec s;

    (void)state;
    damage_tiny(&d, "vae", "diffusion_pytorch_model.safetensors", NULL, NULL);
    assert_int_equal(cn_engine_add(e, d.model, &err), CN_EFORMAT);
    cn_engine_at(e, cn_engine_count(e) - 1, &m);
    assert_string_equal(m.name, "damaged");
    assert_non_null(m.broken);
    request(&s, "damaged", 48);
    refuse(e, &s, CN_EFORMAT, "/model", "cannot be used");
    cn_engine_free(e);
    damage_release(&d);
}

/* A ControlNet trained on the 9 channels of an inpainting UNet gets the latent's 4 here. */
static void control_of_nine_channels_is_refused(void **state)
{
    static const char config[] =
        "{\"_class_name\": \"ControlNetModel\", \"in_channels\": 9, \"layers_per_block\": 1,"
        "\"block_out_channels\": [8, 12], \"cross_attention_dim\": 12, \"norm_num_groups\": 4,"
        "\"down_block_types\": [\"CrossAttnDownBlock2D\", \"DownBlock2D\"],"
        "\"attention_head_dim\": 2, \"conditioning_embedding_out_channels\": [4, 4]}";
    struct cn_engine *e = open_engine("auto");
    char *from = cn_xprintf("%s/tiny-control-a", models), *conf;
    struct damage d = {"/tmp/test_engine.XXXXXX", NULL};
    struct cn_spec s;

    (void)state;
    assert_non_null(mkdtemp(d.folder));
    d.model = cn_xprintf("%s/nine", d.folder);
    link_all(from, d.model, "config.json");
    conf = cn_xprintf("%s/config.json", d.model);
    assert_int_equal(cn_file_write(conf, config, strlen(config), NULL), CN_OK);
    assert_int_equal(cn_engine_add(e, d.model, NULL), CN_OK);
    request(&s, "tiny9", 48);
    s.init_image = drawing(48);
    s.mask = drawing(48);
    control(&s, "nine");
    refuse(e, &s, CN_EINVAL, "/controls/0/model", "it wants 9 channels");
    cn_engine_free(e);
    free(from);
    free(conf);
    damage_release(&d);
}

/* ---- stopping ---- */

static bool stop_at(void *ctx)
{
    int *left = ctx;

    return (*left)-- <= 0;
}

static int ignore_picture(void *ctx, const struct cn_engine_image *m, struct cn_err *err)
{
    (void)ctx;
    (void)m;
    (void)err;
    return CN_OK;
}

/* Wherever a job is stopped, nothing is left over and the next one is whole. */
static void check_cancel(struct cn_engine *e)
{
    struct picture before = draw_plain(e, "tiny", 48);

    for (int after = 0, rc = CN_ECANCELED; rc != CN_OK; after++) {
        int left = after;
        struct cn_engine_cb cb = {.ctx = &left, .cancelled = stop_at, .image = ignore_picture};
        struct cn_err err = CN_ERR_INIT;
        struct cn_spec s;

        request(&s, "tiny", 48);
        control(&s, "tiny-control-a");
        s.init_image = drawing(48);
        s.denoise = 0.5;
        s.steps = 4;
        rc = cn_engine_run(e, &s, &cb, &err);
        cn_spec_release(&s);
        if (rc != CN_OK)
            assert_int_equal(rc, CN_ECANCELED);
        else /* text, contexts, times, hint, encoder; two networks in each step; decoder */
            assert_true(after >= 6 + 2 * 2 + 1);
    }
    assert_same(before, draw_plain(e, "tiny", 48));
}

static void stopped_jobs_leave_nothing(void **state)
{
    (void)state;
    each_backend(check_cancel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_requests_name_their_field),
        cmocka_unit_test(pictures_that_do_not_fit_are_refused),
        cmocka_unit_test(zero_controlnet_changes_no_bit),
        cmocka_unit_test(several_images_equal_single_ones),
        cmocka_unit_test(order_of_requests_changes_no_bit),
        cmocka_unit_test(more_sizes_than_plans_are_held),
        cmocka_unit_test(damaged_models_are_named),
        cmocka_unit_test(cut_off_file_is_refused_when_opened),
        cmocka_unit_test(control_of_nine_channels_is_refused),
        cmocka_unit_test(stopped_jobs_leave_nothing),
    };
    const char *srcdir = getenv("srcdir");
    char *path = cn_xprintf("%s/tests/data/models", srcdir ? srcdir : "."), *full;

    full = realpath(path, NULL); /* links to it are made elsewhere */
    free(path);
    if (full == NULL)
        return 77;
    snprintf(models, sizeof(models), "%s", full);
    free(full);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
