/* Many jobs in one engine: pictures that do not depend on their neighbours, shares, newcomers,
 * cancelling, failures. */
#include "base/base.h"
#include "tests/engine/crowd.h"
#include "base/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* ---- pictures ---- */

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

/* The samplers that vary() leaves out, from number "from" of them on. */
static void vary_sampler(struct cn_spec *s, int i, int from)
{
    vary(s, i);
    s->sampler = (enum cn_sampler)(CN_DPMPP_SDE + (from + i) % (CN_SAMPLER_COUNT - CN_DPMPP_SDE));
    if (s->sampler == CN_EULER_CFGPP)
        s->guidance_scale = 0.7;
}

/* Windows that open and close at different times, weights of different kinds. */
static void vary_controlled(struct cn_spec *s, int i)
{
    struct cn_spec_control *c;

    vary_sampler(s, i, 0);
    c = control(s, "tiny-control-a", i % 3 == 1 ? 0.5 : 0, i % 3 == 2 ? 0.5 : 1);
    c->strength = 0.5 + 0.2 * i;
    c->branch = i % 2 ? CN_BRANCH_COND : CN_BRANCH_BOTH;
    c->weights = i % 4 == 3 ? CN_W_SOFT : CN_W_UNIFORM;
}

/* Two ControlNets, listed in either order. */
static void vary_twice(struct cn_spec *s, int i)
{
    vary_sampler(s, i, 8);
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

/* Rows of several parts, and texts that change with the steps. */
static void vary_prompts(struct cn_spec *s, int i)
{
    static const char *const prompt[] = {"a cat AND a (dog:1.3) :0.6",
                                         "a [cat|dog] on a [red:blue:0.5] table",
                                         "a cat",
                                         "a AND b AND [c::2] AND d :-0.5",
                                         "[[a:b:1]|c|d]",
                                         "a (cat:0.5) AND [dog|cow]",
                                         "a [cat:dog:0.3]",
                                         "a AND b"};

    vary(s, i);
    free(s->prompt);
    free(s->negative_prompt);
    s->prompt = cn_xstrdup(prompt[i % 8]);
    s->negative_prompt = cn_xstrdup(i % 2 ? "blurry" : "[blurry|dark]");
    s->prompt_syntax = CN_PROMPT_A1111;
    if (s->guidance_scale <= 1)
        s->guidance_scale = 2;
    control(s, "tiny-control-a", 0, 1)->branch = i % 2 ? CN_BRANCH_COND : CN_BRANCH_BOTH;
}

/* Perturbed-attention guidance in some, also where there is no other guidance. */
static void vary_perturbed(struct cn_spec *s, int i)
{
    vary(s, i);
    s->guidance_scale = i % 2 ? 4 : 1;
    s->pag_scale = i % 3 ? 3 : 0;
    s->pag_adaptive_scale = i % 4 ? 0 : 0.004;
    control(s, "tiny-control-a", i % 2 ? 0.3 : 0, 1)->branch = CN_BRANCH_COND;
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
    check_mixture(vary_prompts, 8);
    check_mixture(vary_perturbed, 8);
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

/* Without mixing, the same two do not meet in a step. */
static void processors_do_not_run_a_controlnet_for_nothing(void **state)
{
    struct crowd *c = cn_xcalloc(1, sizeof(*c));
    struct cn_engine_opts o = options(c);
    int step[2] = {0}, last = -1;
    struct job *half;

    (void)state;
    o.mix_controls = false;
    crowd_open(c, &o);
    for (uint64_t i = 0; i < 2; i++) {
        half = add_job(c, i);
        half->spec.steps = 10;
        control(&half->spec, "tiny-control-a", i == 0 ? 0 : 0.5, i == 0 ? 0.5 : 1);
        begin(half);
    }
    run_until_over(c);
    expect_ok(&c->job[0]);
    expect_ok(&c->job[1]);
    for (int k = 0; k < c->steps; k++) {
        int j = c->order[k];
        bool acts = j == 0 ? step[0] < 5 : step[1] >= 5;

        if (k > 0 && c->at[k] == c->at[k - 1])
            assert_int_equal(acts, last);
        last = acts;
        step[j]++;
    }
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
/* Four rows a step against two: half as many steps. A batch has no more rows than it has places for
 * pictures of one prompt. */
static void parts_of_a_prompt_count(void **state)
{
    struct crowd *c = crowd_new();
    struct job *parts = add_job(c, 1), *plain = add_job(c, 2);

    (void)state;
    cn_engine_set_max_batch(c->e, 1);
    free(parts->spec.prompt);
    parts->spec.prompt = cn_xstrdup("a AND b AND c");
    parts->spec.prompt_syntax = CN_PROMPT_A1111;
    parts->spec.n = plain->spec.n = 4;
    parts->spec.steps = plain->spec.steps = 12;
    begin(parts);
    begin(plain);
    run_until_over(c);
    expect_ok(parts);
    expect_ok(plain);
    assert_in_range(share(c, 0, 10, 30), 9, 11);
    cn_engine_set_max_batch(c->e, 4);
    for (int i = 0; i < 3; i++) { /* of 9 rows, where there is room for 8 */
        struct job *j = add_job(c, (uint64_t)(10 + i));

        free(j->spec.prompt);
        j->spec.prompt = cn_xstrdup("a AND b AND c AND d AND e AND f AND g AND h");
        j->spec.prompt_syntax = CN_PROMPT_A1111;
        begin(j);
    }
    c->largest = 0;
    run_until_over(c);
    for (int i = 2; i < c->n; i++)
        expect_ok(&c->job[i]);
    assert_int_equal(c->largest, 1);
    crowd_free(c);
}

/* A text that no step reaches is told of, once. */
static void perturbed_attention_is_for_one_prompt(void **state)
{
    struct crowd *c = crowd_new();
    struct job *j = add_job(c, 1);
    struct cn_engine_cb cb = {NULL};
    struct cn_err err = CN_ERR_INIT;

    (void)state;
    vary_prompts(&j->spec, 0);
    j->spec.pag_scale = 3;
    assert_int_equal(cn_engine_begin(c->e, &j->spec, &cb, &err), CN_EINVAL);
    assert_string_equal(err.where, "/pag_scale");
    assert_non_null(strstr(err.msg, "AND"));
    crowd_free(c);
}

static void texts_that_are_never_reached_are_told(void **state)
{
    struct crowd *c = crowd_new();
    struct job *j = add_job(c, 1), *same = add_job(c, 1), *last, *none;

    (void)state;
    free(j->spec.prompt);
    free(same->spec.prompt);
    j->spec.prompt = cn_xstrdup("a [cat:dog:0.5]"); /* after step 5 of 10; 3 are drawn */
    same->spec.prompt = cn_xstrdup("a cat");
    j->spec.prompt_syntax = CN_PROMPT_A1111;
    for (int i = 0; i < 2; i++) {
        c->job[i].spec.init_image = drawing(48);
        c->job[i].spec.denoise = 0.3;
        c->job[i].spec.steps = 10;
        begin(&c->job[i]);
    }
    run_until_over(c);
    expect_ok(j);
    expect_ok(same);
    assert_true(psnr(&j->image[0], &same->image[0]) >= 60);
    assert_int_equal(j->warnings, 1);
    assert_int_equal(same->warnings, 0);
    last = add_job(c, 2); /* of which the last step's is the only one of its kind */
    free(last->spec.prompt);
    last->spec.prompt = cn_xstrdup("[a|b|c] [d|e]");
    last->spec.prompt_syntax = CN_PROMPT_A1111;
    begin(last);
    run_until_over(c);
    assert_int_equal(last->warnings, 0);
    none = add_job(c, 3); /* whose texts are for no step at all */
    free(none->spec.prompt);
    none->spec.prompt = cn_xstrdup("[a:b:0] [with a leaf:30]");
    none->spec.prompt_syntax = CN_PROMPT_A1111;
    begin(none);
    run_until_over(c);
    assert_int_equal(none->warnings, 0);
    crowd_free(c);
}

/* Steps are counted on in a second pass: what comes after the last one of the first is shown
 * there. */
static void texts_go_on_in_a_second_pass(void **state)
{
    static const char *const prompt[] = {"a [cat:dog:1.0]", "a [cat:dog:4]", "a cat",
                                         "a [cat:dog:2.0]", "a [dog:cat:0]"};
    struct crowd *c = crowd_new();
    double same[CN_LEN(prompt)];

    (void)state;
    for (size_t i = 0; i < CN_LEN(prompt); i++) {
        struct job *j = add_job(c, 1);

        free(j->spec.prompt);
        j->spec.prompt = cn_xstrdup(prompt[i]);
        j->spec.prompt_syntax = CN_PROMPT_A1111;
        j->spec.guidance_scale = 7.5;
        j->spec.hires.on = true;
        j->spec.hires.scale = 1;
        begin(j);
        run_until_over(c);
        expect_ok(j);
        same[i] = psnr(&j->image[0], &c->job[i / 2 * 2].image[0]);
    }
    assert_true(same[1] >= 60); /* the same as the first */
    assert_true(psnr(&c->job[0].image[0], &c->job[2].image[0]) < 60);
    assert_true(same[3] >= 60); /* as the one before */
    assert_true(psnr(&c->job[2].image[0], &c->job[4].image[0]) >= 60);
    crowd_free(c);
}

/* An embedding of another model stays text, of which the client is told. */
static void an_embedding_that_does_not_fit_is_told(void **state)
{
    static const char *const prompt[] = {"a wide cat", "a badhand cat", "a wide cat"};
    struct crowd *c = crowd_new(), *without = crowd_new();
    const char *srcdir = getenv("srcdir");
    char *dir = cn_xprintf("%s/tests/data/embeddings", srcdir ? srcdir : ".");

    (void)state;
    assert_int_equal(cn_engine_scan_embeddings(c->e, dir, NULL), CN_OK);
    free(dir);
    for (int i = 0; i < 6; i++) {
        struct job *j = add_job(i < 3 ? c : without, 1);

        free(j->spec.prompt);
        j->spec.prompt = cn_xstrdup(prompt[i % 3]);
        j->spec.prompt_syntax = i % 3 == 2 ? CN_PROMPT_PLAIN : CN_PROMPT_A1111;
        begin(j);
    }
    run_until_over(c);
    run_until_over(without);
    for (int i = 0; i < 3; i++) {
        double d;

        expect_ok(&c->job[i]);
        expect_ok(&without->job[i]);
        d = psnr(&c->job[i].image[0], &without->job[i].image[0]);
        assert_int_equal(c->job[i].warnings, i != 1);
        assert_int_equal(without->job[i].warnings, 0);
        assert_true((d >= 60) == (i != 1));
    }
    crowd_free(c);
    crowd_free(without);
}

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

/* Unless told otherwise, small images share a step, and large ones do not. */
static void the_best_batch_goes_by_size(void **state)
{
    (void)state;
    for (int large = 0; large < 2; large++) {
        struct crowd *c = cn_xcalloc(1, sizeof(*c));
        struct cn_engine_opts o = options(c);

        o.max_batch = 0;
        crowd_open(c, &o);
        for (uint64_t k = 1; k <= 2; k++) {
            struct job *j = add_job(c, k);

            j->spec.steps = 2;
            j->spec.n = large ? 1 : 2;
            if (large)
                j->spec.width = j->spec.height = 272; /* the least of them */
            begin(j);
        }
        run_until_over(c);
        assert_int_equal(c->largest, large ? 1 : 4);
        crowd_free(c);
    }
}

/* ---- stopping and failing ---- */

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
        cmocka_unit_test(processors_do_not_run_a_controlnet_for_nothing),
        cmocka_unit_test(a_newcomer_joins_within_two_steps),
        cmocka_unit_test(groups_take_turns_by_their_work),
        cmocka_unit_test(parts_of_a_prompt_count),
        cmocka_unit_test(perturbed_attention_is_for_one_prompt),
        cmocka_unit_test(texts_that_are_never_reached_are_told),
        cmocka_unit_test(an_embedding_that_does_not_fit_is_told),
        cmocka_unit_test(texts_go_on_in_a_second_pass),
        cmocka_unit_test(a_large_job_does_not_crowd_out_a_small_one),
        cmocka_unit_test(a_cancelled_job_ends_before_its_next_step),
        cmocka_unit_test(a_job_cancelled_at_once_takes_no_step),
        cmocka_unit_test(the_best_batch_goes_by_size),
        cmocka_unit_test(a_failing_job_does_not_touch_its_neighbours),
        cmocka_unit_test(an_engine_may_be_closed_at_any_time),
        cmocka_unit_test(previews_come_when_asked_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
