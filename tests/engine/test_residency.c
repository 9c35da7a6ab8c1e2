/* Memory: buffers that are used again, models that come and go, and what happens without it. */
#include "base/base.h"
#include "tests/engine/crowd.h"
#include "base/mem.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1 /* slow, and no limit to what they map */
#else
#define SANITIZED 0
#endif

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

static struct cn_image drawn(struct crowd *c, int width, int height, bool controlled)
{
    struct cn_image image;
    struct job *j;

    c->n = 0;
    j = add_job(c, 1);
    j->spec.width = width;
    j->spec.height = height;
    j->spec.steps = 1;
    if (controlled)
        control(&j->spec, "tiny-control-a", 0, 1);
    begin(j);
    run_until_over(c);
    expect_ok(j);
    image = j->image[0];
    cn_spec_release(&j->spec);
    c->n = 0;
    return image;
}

static void draw_side(struct crowd *c, int side)
{
    struct cn_image image = drawn(c, side, side, false);

    cn_image_release(&image);
}

/* What a large picture took is not kept: not when only small ones follow, nor when nothing does.
 * While there is work the weights may have another packed copy by it. */
static void working_memory_goes_back(void **state)
{
    struct crowd *c;
    size_t before, large, little;

    (void)state;
    if (SANITIZED)
        skip(); /* the large picture takes minutes */
    c = crowd_new();
    draw_side(c, 48);
    before = cn_engine_bytes(c->e);
    draw_side(c, 192);
    large = cn_engine_bytes(c->e);
    assert_true(large > 2 * before); /* else nothing is shown here */
    /* The parameters stay, in whatever layout this processor's kernels want: most of what came on
       top of them must go. */
    little = before + (large - before) / 4;
    draw_side(c, 48);
    assert_true(cn_engine_bytes(c->e) < little);
    draw_side(c, 192);
    cn_engine_rest(c->e);
    assert_true(cn_engine_bytes(c->e) < little);
    assert_int_equal(cn_engine_unload(c->e, "tiny", NULL), CN_OK);
    assert_int_equal(cn_engine_bytes(c->e), 0);
    draw_side(c, 48); /* and all is there again */
    crowd_free(c);
}

/* At rest only what the model's own size wants is kept. What was given back is made again when it
 * is wanted, and the pictures are the same to the last bit. */
static void other_sizes_go_at_rest(void **state)
{
    static const struct {
        int width, height;
    } sizes[] = {{48, 48}, {24, 32}, {64, 48}, {48, 48}, {64, 48}, {24, 32}};
    struct cn_image seen[CN_LEN(sizes)];
    struct crowd *c = crowd_new();
    size_t bytes = 0;
    int plans = 0;

    (void)state;
    for (size_t i = 0; i < CN_LEN(sizes); i++) {
        seen[i] = drawn(c, sizes[i].width, sizes[i].height, true);
        if (i > 0 && sizes[i].width != 48)
            assert_true(cn_engine_plans(c->e) > plans);
        cn_engine_rest(c->e);
        if (i == 0) {
            bytes = cn_engine_bytes(c->e);
            plans = cn_engine_plans(c->e);
        }
        assert_int_equal(cn_engine_bytes(c->e), bytes);
        assert_int_equal(cn_engine_plans(c->e), plans);
        for (size_t k = 0; k < i; k++)
            if (sizes[k].width == sizes[i].width && sizes[k].height == sizes[i].height)
                assert_memory_equal(seen[k].px, seen[i].px, cn_image_bytes(&seen[i]));
    }
    for (size_t i = 0; i < CN_LEN(sizes); i++)
        cn_image_release(&seen[i]);
    crowd_free(c);
}

static bool is_loaded(const struct cn_engine *e, const char *name, size_t *ret_bytes)
{
    for (int i = 0; i < cn_engine_count(e); i++) {
        struct cn_model_facts m;

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

/* From now on so many bytes more can be mapped. */
static struct rlimit limit_memory(size_t more)
{
    struct rlimit old, new;
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    assert_non_null(f);
    assert_int_equal(fscanf(f, "%lu", &pages), 1);
    fclose(f);
    assert_int_equal(getrlimit(RLIMIT_AS, &old), 0);
    new = old;
    new.rlim_cur = pages *(rlim_t)sysconf(_SC_PAGESIZE) + more;
    assert_int_equal(setrlimit(RLIMIT_AS, &new), 0);
    return old;
}

/* A picture that does not fit drops all caches, and fails alone: the others go on with new ones. */
static void a_lack_of_memory_is_one_jobs_own(void **state)
{
    struct crowd *alone, *c;
    struct rlimit old;
    struct job *j;

    (void)state;
    if (SANITIZED)
        skip();
    alone = crowd_new();
    c = crowd_new();
    fill_neighbours(alone, 2);
    run_until_over(alone);
    fill_neighbours(c, 2);
    while (c->job[0].steps < 3)
        turn(c);
    j = add_job(c, 1);
    j->spec.width = j->spec.height = 4096;
    old = limit_memory((size_t)100 << 20);
    begin(j);
    run_until_over(c);
    assert_int_equal(setrlimit(RLIMIT_AS, &old), 0);
    assert_true(j->rc == CN_ENOMEM || j->rc == CN_EDEVMEM);
    assert_int_equal(j->steps, 0);
    for (int i = 0; i < 2; i++) {
        expect_ok(&c->job[i]);
        assert_true(psnr(&c->job[i].image[0], &alone->job[i].image[0]) >= 60);
    }
    crowd_free(alone);
    crowd_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffers_are_used_again),
        cmocka_unit_test(working_memory_goes_back),
        cmocka_unit_test(other_sizes_go_at_rest),
        cmocka_unit_test(models_are_loaded_and_unloaded),
        cmocka_unit_test(the_least_recently_used_model_goes),
        cmocka_unit_test(a_lack_of_memory_is_one_jobs_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
