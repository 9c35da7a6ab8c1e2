/* Many jobs in one engine: pictures that do not depend on their neighbours, shares, newcomers,
 * cancelling, failures, models that come and go. On the tiny random models of tests/data/models.
 *
 * Time is counted in turns of the engine, never in seconds.
 */
#include "base/base.h"
#include "engine/engine.h"
#include "base/buf.h"
#include "base/mem.h"
#include "image/codec.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static char models[512];

enum { MAX_IMAGES = 8, MAX_JOBS = 8, STEPS_SEEN = 4096 };

/* ---- jobs ---- */

struct crowd;

struct job {
    struct cn_spec spec;
    struct crowd *crowd;
    int number; /* in the crowd */
    struct cn_image image[MAX_IMAGES];
    atomic_int images; /* that came */
    int steps;         /* that were reported */
    int previews, preview_w, preview_h;
    atomic_bool cancel;
    int cancel_at; /* steps; 0: never */
    bool over;
    int rc;
    struct cn_err err;
};

/* Jobs in one engine, and who took which step. */
struct crowd {
    struct cn_engine *e;
    struct job job[MAX_JOBS];
    int n;
    int turns;
    int order[STEPS_SEEN]; /* number of the job whose image took a step */
    int at[STEPS_SEEN];    /* in which turn */
    int steps;
    int beats, largest; /* steps of the engine; most images in one */
};

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
                                              .preview = preview,
                                              .image = keep_image,
                                              .end = end};

static void request(struct cn_spec *s, uint64_t seed)
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

static struct cn_blob drawing(int side)
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

static struct cn_spec_control *control(struct cn_spec *s, const char *model, double from,
                                       double until)
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

static struct cn_engine_opts options(struct crowd *c)
{
    struct cn_engine_opts o = CN_ENGINE_DEFAULTS;

    o.threads = 1; /* other tests may run beside this one */
    o.max_batch = 8;
    o.hooks.ctx = c;
    o.hooks.beat = count_beat;
    return o;
}

static void crowd_open(struct crowd *c, const struct cn_engine_opts *o)
{
    struct cn_err err = CN_ERR_INIT;

    if (cn_engine_new(o, &c->e, &err) < 0 || cn_engine_scan(c->e, models, &err) < 0)
        fail_msg("%s", err.msg);
}

static struct crowd *crowd_new(void)
{
    struct crowd *c = cn_xcalloc(1, sizeof(*c));
    struct cn_engine_opts o = options(c);

    crowd_open(c, &o);
    return c;
}

static void crowd_free(struct crowd *c)
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
static struct job *add_job(struct crowd *c, uint64_t seed)
{
    struct job *j = &c->job[c->n];

    assert_true(c->n < MAX_JOBS);
    *j = (struct job){.crowd = c, .number = c->n++, .err = CN_ERR_INIT};
    request(&j->spec, seed);
    return j;
}

static void begin(struct job *j)
{
    struct cn_engine_cb cb = callbacks;
    struct cn_err err = CN_ERR_INIT;

    cb.ctx = j;
    if (cn_engine_begin(j->crowd->e, &j->spec, &cb, &err) < 0)
        fail_msg("%s: %s", err.where, err.msg);
}

static void turn(struct crowd *c)
{
    struct cn_err err = CN_ERR_INIT;

    cn_engine_wait(c->e);
    c->turns++;
    if (cn_engine_turn(c->e, &err) < 0)
        fail_msg("%s", err.msg);
}

static void run_until_over(struct crowd *c)
{
    for (int i = 0; i < c->n; i++)
        while (!c->job[i].over)
            turn(c);
}

static void expect_ok(const struct job *j)
{
    if (j->rc < 0)
        fail_msg("job %d: %s: %s", j->number, j->err.where, j->err.msg);
    assert_int_equal(j->images, j->spec.n);
}

/* ---- pictures ---- */

static double psnr(const struct cn_image *a, const struct cn_image *b)
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

/* What a job of a mixture asks for: every kind of difference that may meet in one batch. */
static void vary(struct cn_spec *s, int i)
{
    static const enum cn_sampler sampler[] = {CN_EULER_A, CN_DDIM, CN_DPMPP_2M, CN_HEUN,
                                              CN_UNIPC,   CN_LCM,  CN_PNDM,     CN_EULER};
    static const double guidance[] = {7.5, 1, 3, 7.5, 1, 2, 12, 4};

    s->sampler = sampler[i % 8];
    s->guidance_scale = guidance[i % 8];
    s->steps = 3 + i % 4;
    s->n = i == 2 ? 3 : 1;
    s->rng = i == 3 ? CN_RNG_CUDA : CN_RNG_CPU;
    s->clip_skip = i == 4;
    if (i == 5 || i == 6)
        s->init_image = drawing(40);
    if (i == 6)
        s->mask = drawing(48);
}

static void vary_plain(struct cn_spec *s, int i)
{
    vary(s, i);
}

/* Windows that open and close at different times, weights of different kinds. */
static void vary_controlled(struct cn_spec *s, int i)
{
    struct cn_spec_control *c;

    vary(s, i);
    c = control(s, "tiny-control-a", i % 3 == 1 ? 0.5 : 0, i % 3 == 2 ? 0.5 : 1);
    c->strength = 0.5 + 0.2 * i;
    c->branch = i % 2 ? CN_BRANCH_COND : CN_BRANCH_BOTH;
    c->weights = i % 4 == 3 ? CN_W_SOFT : CN_W_UNIFORM;
}

/* Two ControlNets, listed in either order. */
static void vary_twice(struct cn_spec *s, int i)
{
    vary(s, i);
    control(s, i % 2 ? "tiny-control-a" : "tiny-control-zero", 0, 1);
    control(s, i % 2 ? "tiny-control-zero" : "tiny-control-a", i % 3 ? 0.3 : 0, 1);
}

/* An inpainting UNet of 9 channels. */
static void vary_nine(struct cn_spec *s, int i)
{
    vary(s, i);
    cn_spec_release(s);
    request(s, (uint64_t)(100 + i));
    free(s->model);
    s->model = cn_xstrdup("tiny9");
    s->steps = 3 + i % 2;
    s->denoise = i % 2 ? 0.6 : 1;
    s->init_image = drawing(48);
    s->mask = drawing(48);
}

typedef void (*vary_fn)(struct cn_spec *s, int i);

static void check_mixture(vary_fn make, int jobs)
{
    struct crowd *alone = crowd_new(), *together = crowd_new();

    for (int i = 0; i < jobs; i++) {
        struct job *j = add_job(alone, (uint64_t)(100 + i));

        make(&j->spec, i);
        begin(j);
        run_until_over(alone);
        expect_ok(j);
    }
    for (int i = 0; i < jobs; i++)
        make(&add_job(together, (uint64_t)(100 + i))->spec, i);
    for (int i = 0; i < jobs; i++) { /* one after the other joins while others are under way */
        begin(&together->job[i]);
        if (i % 3 == 2)
            turn(together);
    }
    run_until_over(together);
    assert_true(together->largest >= 4); /* else nothing is compared here */
    for (int i = 0; i < jobs; i++) {
        expect_ok(&together->job[i]);
        for (int k = 0; k < together->job[i].spec.n; k++) {
            double d = psnr(&together->job[i].image[k], &alone->job[i].image[k]);

            if (!(d >= 60))
                fail_msg("job %d, image %d: %.1f dB", i, k, d);
        }
    }
    crowd_free(alone);
    crowd_free(together);
}

static void a_picture_does_not_depend_on_its_neighbours(void **state)
{
    (void)state;
    check_mixture(vary_plain, 8);
    check_mixture(vary_controlled, 8);
    check_mixture(vary_twice, 6);
    check_mixture(vary_nine, 6);
}

/* A lane whose window is closed gets nothing from a ControlNet that runs for its neighbour. */
static void a_closed_window_changes_no_bit(void **state)
{
    struct crowd *c = crowd_new();
    struct job *closed, *open, *same;

    (void)state;
    closed = add_job(c, 1);
    control(&closed->spec, "tiny-control-a", 0.99, 0.995);
    open = add_job(c, 2);
    control(&open->spec, "tiny-control-a", 0, 1);
    begin(closed);
    begin(open);
    run_until_over(c);
    assert_int_equal(c->largest, 2);
    same = add_job(c, 1);
    control(&same->spec, "tiny-control-zero", 0, 1);
    begin(same);
    run_until_over(c);
    for (int i = 0; i < 3; i++)
        expect_ok(&c->job[i]);
    assert_true(psnr(&closed->image[0], &same->image[0]) >= 60);
    assert_true(psnr(&closed->image[0], &open->image[0]) < 50);
    crowd_free(c);
}

/* ---- newcomers and shares ---- */

static void a_newcomer_joins_within_two_steps(void **state)
{
    struct crowd *c = crowd_new();
    struct job *old = add_job(c, 1), *newcomer = add_job(c, 2);
    int first = -1, beats;

    (void)state;
    old->spec.steps = 50;
    old->spec.n = 8; /* has all lanes */
    control(&newcomer->spec, "tiny-control-a", 0, 1);
    begin(old);
    while (old->steps < 40)
        turn(c);
    /* What the first of its kind has to compile is not at stake here. */
    begin(newcomer);
    beats = c->beats;
    while (newcomer->steps == 0 && c->beats < beats + 100) {
        turn(c);
        if (cn_engine_lanes(c->e) > 8 && first < 0)
            first = c->beats - beats;
    }
    /* Its picture is read on another thread, which has its own pace: from then on, two steps. */
    assert_true(first >= 0);
    assert_true(c->beats - beats <= first + 1);
    run_until_over(c);
    expect_ok(old);
    expect_ok(newcomer);
    crowd_free(c);
}

/* Steps of job number i among the next n steps from step `from` on. */
static int share(const struct crowd *c, int i, int from, int n)
{
    int count = 0;

    for (int k = from; k < from + n && k < c->steps; k++)
        count += c->order[k] == i;
    return count;
}

static int first_step_of(const struct crowd *c, int i)
{
    int k = 0;

    while (k < c->steps && c->order[k] != i)
        k++;
    return k;
}

/* Different sizes cannot share a batch: they take turns by the work that they are. */
static void groups_take_turns_by_their_work(void **state)
{
    struct crowd *c = crowd_new();
    struct job *small = add_job(c, 1), *large = add_job(c, 2);
    int from, n;

    (void)state;
    small->spec.steps = large->spec.steps = 40;
    large->spec.width = 96; /* twice the work */
    begin(small);
    begin(large);
    run_until_over(c);
    from = CN_MAX(first_step_of(c, 0), first_step_of(c, 1));
    n = share(c, 0, from, 30);
    assert_in_range(n, 19, 21); /* 2 : 1 */
    assert_int_equal(c->largest, 1);
    crowd_free(c);
}

/* A job of many images does not take more than a job of one. */
static void a_large_job_does_not_crowd_out_a_small_one(void **state)
{
    struct cn_engine_opts o;
    struct crowd *c = cn_xcalloc(1, sizeof(*c));
    struct job *large, *one;
    int from;

    (void)state;
    o = options(c);
    o.max_batch = 2;
    crowd_open(c, &o);
    large = add_job(c, 1);
    one = add_job(c, 2);
    large->spec.n = 6;
    large->spec.steps = one->spec.steps = 20;
    begin(large);
    begin(one);
    run_until_over(c);
    from = first_step_of(c, 1);
    assert_in_range(share(c, 1, from, 20), 9, 11);
    expect_ok(large);
    expect_ok(one);
    crowd_free(c);
}

/* ---- stopping and failing ---- */

static void fill_neighbours(struct crowd *c, int n)
{
    for (int i = 0; i < n; i++) {
        struct job *j = add_job(c, (uint64_t)(10 + i));

        j->spec.steps = 12;
        begin(j);
    }
}

static void a_cancelled_job_ends_before_its_next_step(void **state)
{
    (void)state;
    for (int at = 1; at <= 12; at++) {
        struct crowd *c = crowd_new();
        struct job *j = add_job(c, 1);
        int turns;

        j->spec.steps = 12;
        j->cancel_at = at;
        begin(j);
        fill_neighbours(c, 2);
        while (!atomic_load(&j->cancel))
            turn(c);
        turns = c->turns;
        while (!j->over)
            turn(c);
        assert_true(at == 12 || c->turns <= turns + 1); /* at 12 its image may be shown already */
        assert_int_equal(j->steps, at);
        assert_int_equal(j->rc, CN_ECANCELED);
        run_until_over(c);
        expect_ok(&c->job[1]);
        expect_ok(&c->job[2]);
        crowd_free(c);
    }
}

static void a_job_cancelled_at_once_takes_no_step(void **state)
{
    struct crowd *c = crowd_new();
    struct job *j = add_job(c, 1);

    (void)state;
    control(&j->spec, "tiny-control-a", 0, 1);
    j->spec.init_image = drawing(48);
    begin(j);
    atomic_store(&j->cancel, true);
    run_until_over(c);
    assert_int_equal(j->rc, CN_ECANCELED);
    assert_int_equal(j->steps, 0);
    assert_int_equal(j->images, 0);
    crowd_free(c);
}

/* Each fails in another way, at another time; the neighbours' pictures are what they would be. */
static void a_failing_job_does_not_touch_its_neighbours(void **state)
{
    struct crowd *alone = crowd_new(), *c = crowd_new();
    struct job *bad;

    (void)state;
    fill_neighbours(alone, 2);
    run_until_over(alone);
    fill_neighbours(c, 2);
    bad = add_job(c, 1); /* its file is no picture */
    bad->spec.init_image = drawing(48);
    bad->spec.init_image.data[1] ^= 0xff;
    begin(bad);
    bad = add_job(c, 2); /* its text is no text */
    free(bad->spec.prompt);
    bad->spec.prompt = cn_xstrdup("\xff");
    begin(bad);
    bad = add_job(c, 3); /* nobody takes its images */
    bad->spec.format = CN_WEBP;
    bad->spec.n = 3;
    begin(bad);
    bad = add_job(c, 4); /* numbers that run away */
    control(&bad->spec, "tiny-control-a", 0, 1)->strength = 1e38;
    bad->spec.guidance_scale = 1e30;
    begin(bad);
    run_until_over(c);
    assert_int_equal(c->job[2].rc, CN_EFORMAT);
    assert_string_equal(c->job[2].err.where, "/init_image");
    assert_int_equal(c->job[3].rc, CN_EINVAL);
    assert_int_equal(c->job[4].rc, CN_EIO);
    assert_int_equal(c->job[5].rc, CN_EINTERNAL);
    assert_non_null(strstr(c->job[5].err.msg, "not numbers"));
    assert_int_equal(c->job[5].images, 0);
    for (int i = 0; i < 2; i++) {
        expect_ok(&c->job[i]);
        assert_true(psnr(&c->job[i].image[0], &alone->job[i].image[0]) >= 60);
    }
    crowd_free(alone);
    crowd_free(c);
}

static void an_engine_may_be_closed_at_any_time(void **state)
{
    (void)state;
    for (int turns = 0; turns < 8; turns++) {
        struct crowd *c = crowd_new();

        fill_neighbours(c, 3);
        for (int i = 0; i < turns; i++)
            turn(c);
        crowd_free(c);
    }
}

/* ---- memory ---- */

static void buffers_are_used_again(void **state)
{
    struct crowd *c = crowd_new();
    size_t bytes = 0;

    (void)state;
    for (int round = 0; round < 6; round++) {
        c->n = 0;
        fill_neighbours(c, 4);
        run_until_over(c);
        for (int i = 0; i < c->n; i++) {
            expect_ok(&c->job[i]);
            cn_image_release(&c->job[i].image[0]);
            cn_spec_release(&c->job[i].spec);
        }
        if (round == 1)
            bytes = cn_engine_bytes(c->e);
        if (round > 1)
            assert_int_equal(cn_engine_bytes(c->e), bytes);
    }
    c->n = 0;
    crowd_free(c);
}

static bool is_loaded(const struct cn_engine *e, const char *name, size_t *ret_bytes)
{
    for (int i = 0; i < cn_engine_count(e); i++) {
        struct cn_engine_model m;

        cn_engine_at(e, i, &m);
        if (strcmp(m.name, name) != 0)
            continue;
        if (ret_bytes != NULL)
            *ret_bytes = m.resident;
        return m.loaded;
    }
    fail_msg("no model %s", name);
    return false;
}

static void draw_with(struct crowd *c, const char *model, int code)
{
    struct job *j;

    c->n = 0;
    j = add_job(c, 1);
    free(j->spec.model);
    j->spec.model = cn_xstrdup(model);
    begin(j);
    run_until_over(c);
    assert_int_equal(j->rc, code);
    cn_image_release(&j->image[0]);
    cn_spec_release(&j->spec);
    c->n = 0;
}

static void models_are_loaded_and_unloaded(void **state)
{
    struct crowd *c = crowd_new();
    struct job *j;
    size_t bytes;

    (void)state;
    assert_false(is_loaded(c->e, "tiny", NULL));
    assert_int_equal(cn_engine_unload(c->e, "tiny", NULL), CN_OK); /* it is so already */
    assert_int_equal(cn_engine_unload(c->e, "nobody", NULL), CN_ENOTFOUND);
    assert_int_equal(cn_engine_load(c->e, "tiny-control-a", NULL), CN_OK);
    assert_true(is_loaded(c->e, "tiny-control-a", &bytes));
    assert_true(bytes > 0);
    assert_int_equal(cn_engine_load(c->e, "tiny", NULL), CN_OK);
    assert_true(is_loaded(c->e, "tiny", NULL));
    j = add_job(c, 1);
    begin(j);
    while (j->steps == 0)
        turn(c);
    assert_int_equal(cn_engine_unload(c->e, "tiny", NULL), CN_EBUSY);
    assert_int_equal(cn_engine_unload(c->e, "tiny-control-a", NULL), CN_OK);
    assert_false(is_loaded(c->e, "tiny-control-a", NULL));
    assert_int_equal(cn_engine_load(c->e, "tiny2", NULL), CN_OK); /* beside a job */
    run_until_over(c);
    expect_ok(j);
    assert_int_equal(cn_engine_unload(c->e, "tiny", NULL), CN_OK);
    assert_false(is_loaded(c->e, "tiny", &bytes));
    assert_int_equal(bytes, 0);
    begin(add_job(c, 1));
    run_until_over(c);
    expect_ok(&c->job[1]);
    assert_true(isinf(psnr(&c->job[0].image[0], &c->job[1].image[0])));
    crowd_free(c);
}

/* The budget holds one model of the two, or none. */
static void the_least_recently_used_model_goes(void **state)
{
    struct crowd *c = crowd_new(), *small = cn_xcalloc(1, sizeof(*small));
    struct cn_engine_opts o;
    size_t tiny, tiny2;
    struct job *j;

    (void)state;
    assert_int_equal(cn_engine_load(c->e, "tiny", NULL), CN_OK);
    assert_int_equal(cn_engine_load(c->e, "tiny2", NULL), CN_OK);
    is_loaded(c->e, "tiny", &tiny);
    is_loaded(c->e, "tiny2", &tiny2);
    crowd_free(c);
    o = options(small);
    o.memory = CN_MAX(tiny, tiny2) + CN_MIN(tiny, tiny2) / 2;
    crowd_open(small, &o);
    draw_with(small, "tiny", CN_OK);
    assert_true(is_loaded(small->e, "tiny", NULL));
    draw_with(small, "tiny2", CN_OK);
    assert_true(is_loaded(small->e, "tiny2", NULL));
    assert_false(is_loaded(small->e, "tiny", NULL));
    /* A job in progress keeps its model; who wants another one waits and is not refused. */
    j = add_job(small, 1);
    begin(j);
    j = add_job(small, 2);
    free(j->spec.model);
    j->spec.model = cn_xstrdup("tiny2");
    begin(j);
    run_until_over(small);
    expect_ok(&small->job[0]);
    expect_ok(&small->job[1]);
    assert_true(first_step_of(small, 1) >= 4);
    crowd_free(small);
    small = cn_xcalloc(1, sizeof(*small));
    o = options(small);
    o.memory = 1000;
    crowd_open(small, &o);
    draw_with(small, "tiny", CN_EDEVMEM);
    crowd_free(small);
}

/* ---- previews ---- */

static void previews_come_when_asked_for(void **state)
{
    struct crowd *c = crowd_new();
    struct job *none = add_job(c, 1), *some = add_job(c, 2);

    (void)state;
    some->spec.preview_every = 2;
    begin(none);
    begin(some);
    run_until_over(c);
    assert_int_equal(none->previews, 0);
    assert_int_equal(some->previews, 1); /* at most two a second, and none of the last step */
    assert_int_equal(some->preview_w, 48);
    assert_int_equal(some->preview_h, 48);
    crowd_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_picture_does_not_depend_on_its_neighbours),
        cmocka_unit_test(a_closed_window_changes_no_bit),
        cmocka_unit_test(a_newcomer_joins_within_two_steps),
        cmocka_unit_test(groups_take_turns_by_their_work),
        cmocka_unit_test(a_large_job_does_not_crowd_out_a_small_one),
        cmocka_unit_test(a_cancelled_job_ends_before_its_next_step),
        cmocka_unit_test(a_job_cancelled_at_once_takes_no_step),
        cmocka_unit_test(a_failing_job_does_not_touch_its_neighbours),
        cmocka_unit_test(an_engine_may_be_closed_at_any_time),
        cmocka_unit_test(buffers_are_used_again),
        cmocka_unit_test(models_are_loaded_and_unloaded),
        cmocka_unit_test(the_least_recently_used_model_goes),
        cmocka_unit_test(previews_come_when_asked_for),
    };
    const char *srcdir = getenv("srcdir");

    snprintf(models, sizeof(models), "%s/tests/data/models", srcdir ? srcdir : ".");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
