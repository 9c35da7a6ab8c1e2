/* Jobs in one engine, and who took which step. */
#include "base/base.h"
#include "tests/engine/crowd.h"
#include "base/buf.h"
#include "base/mem.h"
#include "image/codec.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static bool cancelled(void *ctx)
{
    struct job *j = ctx;

    return atomic_load(&j->cancel);
}

static void progress(void *ctx, int image, int step, int steps)
{
    struct job *j = ctx;
    struct crowd *c = j->crowd;

    assert_in_range(image, 0, j->spec.n - 1);
    assert_in_range(step, 1, steps);
    j->steps++;
    if (c->steps < STEPS_SEEN) {
        c->order[c->steps] = j->number;
        c->at[c->steps++] = c->turns;
    }
    if (j->steps == j->cancel_at)
        atomic_store(&j->cancel, true);
}

static void warning(void *ctx, enum cn_warning_code code, const char *field, const char *text)
{
    struct job *j = ctx;

    (void)code;
    assert_int_equal(field[0], '/');
    assert_true(text[0] != '\0');
    j->warnings++;
}

static void preview(void *ctx, const struct cn_engine_image *m, int step)
{
    struct job *j = ctx;

    assert_true(step > 0);
    j->previews++;
    j->preview_w = m->image->w;
    j->preview_h = m->image->h;
}

/* On another thread: no cmocka here. */
static int keep_image(void *ctx, const struct cn_engine_image *m, struct cn_err *err)
{
    struct job *j = ctx;

    atomic_fetch_add(&j->images, 1);
    if (j->spec.format == CN_WEBP) /* a job that cannot keep its images */
        return cn_fail(err, CN_EIO, "no room for image %d", m->index);
    return cn_image_copy(m->image, &j->image[m->index], err);
}

static void end(void *ctx, int rc, const struct cn_err *err)
{
    struct job *j = ctx;

    assert_false(j->over);
    j->over = true;
    j->rc = rc;
    j->err = *err;
    assert_int_equal(rc, err->code);
}

static const struct cn_engine_cb callbacks = {.cancelled = cancelled,
                                              .progress = progress,
                                              .warning = warning,
                                              .preview = preview,
                                              .image = keep_image,
                                              .end = end};

void request(struct cn_spec *s, uint64_t seed)
{
    cn_spec_init(s);
    free(s->model);
    s->model = cn_xstrdup("tiny");
    free(s->prompt);
    s->prompt = cn_xprintf("apple number %d", (int)seed);
    s->width = s->height = 48;
    s->steps = 4;
    s->sampler = CN_EULER_A;
    s->seed = seed;
    s->has_seed = true;
}

struct cn_blob drawing(int side)
{
    struct cn_image img = CN_IMAGE_NONE;
    struct cn_blob blob;
    struct cn_buf b;

    assert_int_equal(cn_image_init(&img, side, side, 3, NULL), CN_OK);
    for (int i = 0; i < 3 * side * side; i++)
        img.px[i] = (uint8_t)(i / 7 * 31 % 256);
    cn_buf_init(&b, 1 << 20);
    assert_int_equal(cn_png_encode(&img, NULL, 0, CN_PNG_LEVEL, &b, NULL), CN_OK);
    blob.data = cn_buf_steal(&b, &blob.len);
    cn_image_release(&img);
    return blob;
}

struct cn_spec_control *control(struct cn_spec *s, const char *model, double from, double until)
{
    struct cn_spec_control *c = cn_spec_add_control(s);

    free(c->model);
    c->model = cn_xstrdup(model);
    c->image = drawing(48);
    c->start = from;
    c->end = until;
    return c;
}

/* ---- engines ---- */

static void count_beat(void *ctx, int lanes, int images, double ms)
{
    struct crowd *c = ctx;

    assert_true(ms >= 0 && lanes >= 0);
    c->beats++;
    c->largest = CN_MAX(c->largest, images);
}

struct cn_engine_opts options(struct crowd *c)
{
    struct cn_engine_opts o = CN_ENGINE_DEFAULTS;

    o.threads = 1; /* other tests may run beside this one */
    o.max_batch = 8;
    o.mix_controls = true;
    o.hooks.ctx = c;
    o.hooks.step_stats = count_beat;
    return o;
}

void crowd_open(struct crowd *c, const struct cn_engine_opts *o)
{
    struct cn_err err = CN_ERR_INIT;
    const char *srcdir = getenv("srcdir");
    char *models = cn_xprintf("%s/tests/data/models", srcdir ? srcdir : ".");

    if (cn_engine_new(o, &c->e, &err) < 0 || cn_engine_scan(c->e, models, &err) < 0)
        fail_msg("%s", err.msg);
    free(models);
}

struct crowd *crowd_new(void)
{
    struct crowd *c = cn_xcalloc(1, sizeof(*c));
    struct cn_engine_opts o = options(c);

    crowd_open(c, &o);
    return c;
}

void crowd_free(struct crowd *c)
{
    cn_engine_free(c->e);
    for (int i = 0; i < c->n; i++) {
        for (int k = 0; k < MAX_IMAGES; k++)
            cn_image_release(&c->job[i].image[k]);
        cn_spec_release(&c->job[i].spec);
    }
    free(c);
}

/* A job that was not begun; its spec is the caller's to fill. */
struct job *add_job(struct crowd *c, uint64_t seed)
{
    struct job *j = &c->job[c->n];

    assert_true(c->n < MAX_JOBS);
    *j = (struct job){.crowd = c, .number = c->n++, .err = CN_ERR_INIT};
    request(&j->spec, seed);
    return j;
}

void begin(struct job *j)
{
    struct cn_engine_cb cb = callbacks;
    struct cn_err err = CN_ERR_INIT;

    cb.ctx = j;
    if (cn_engine_begin(j->crowd->e, &j->spec, &cb, &err) < 0)
        fail_msg("%s: %s", err.where, err.msg);
}

void turn(struct crowd *c)
{
    struct cn_err err = CN_ERR_INIT;

    cn_engine_wait(c->e);
    c->turns++;
    if (cn_engine_step(c->e, &err) < 0)
        fail_msg("%s", err.msg);
}

void run_until_over(struct crowd *c)
{
    for (int i = 0; i < c->n; i++)
        while (!c->job[i].over)
            turn(c);
}

void expect_ok(const struct job *j)
{
    if (j->rc < 0)
        fail_msg("job %d: %s: %s", j->number, j->err.where, j->err.msg);
    assert_int_equal(j->images, j->spec.n);
}

void fill_neighbours(struct crowd *c, int n)
{
    for (int i = 0; i < n; i++) {
        struct job *j = add_job(c, (uint64_t)(10 + i));

        j->spec.steps = 12;
        begin(j);
    }
}

int share(const struct crowd *c, int i, int from, int n)
{
    int count = 0;

    for (int k = from; k < from + n && k < c->steps; k++)
        count += c->order[k] == i;
    return count;
}

int first_step_of(const struct crowd *c, int i)
{
    int k = 0;

    while (k < c->steps && c->order[k] != i)
        k++;
    return k;
}

double psnr(const struct cn_image *a, const struct cn_image *b)
{
    double sum = 0;
    size_t n = cn_image_bytes(a);

    assert_non_null(a->px);
    assert_non_null(b->px);
    assert_int_equal(n, cn_image_bytes(b));
    for (size_t i = 0; i < n; i++)
        sum += ((double)a->px[i] - b->px[i]) * ((double)a->px[i] - b->px[i]);
    return sum > 0 ? 10 * log10(255.0 * 255.0 * (double)n / sum) : INFINITY;
}
