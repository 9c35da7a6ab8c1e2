/* controlnet bench --jobs: what drawing together gains.
 *
 * Another program on the machine slows all ways down, but not all equally: the ways take turns, and
 * each is compared with the one-after-another run of its own round.
 */
#include "base/base.h"
#include "cli/cli.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"
#include "image/codec.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 0: one job after another */
static const int ways[] = {0, 1, 2, 4, 8};

enum { WAYS = CN_LEN(ways) };

struct round {
    atomic_bool stop;
    int left, rc;
    struct cn_err err;
};

static bool cancelled(void *ctx)
{
    const struct round *r = ctx;

    return atomic_load(&r->stop) || cn_cli_signal() != 0;
}

/* The file is made, as a job would, and dropped. */
static int make_file(void *ctx, const struct cn_engine_image *m, struct cn_err *err)
{
    (void)ctx;
    return cn_png_encode(m->image, NULL, 0, CN_PNG_LEVEL, m->file, err);
}

static void job_ended(void *ctx, int rc, const struct cn_err *err)
{
    struct round *r = ctx;

    r->left--;
    if (rc < 0 && r->rc == CN_OK) {
        r->rc = rc;
        r->err = *err;
    }
}

/* Jobs of one round differ in their seeds only. When the device fails nobody calls back. */
static int draw(struct cn_engine *e, const struct cn_spec *s, int jobs, bool together,
                struct cn_err *err)
{
    struct round r = {.rc = CN_OK};
    struct cn_engine_cb cb = {
        .ctx = &r, .cancelled = cancelled, .encode = make_file, .end = job_ended};
    struct cn_spec *spec = cn_xcalloc((size_t)jobs, sizeof(*spec));
    int rc = CN_OK;

    for (int i = 0; i < jobs && rc == CN_OK; i++) {
        spec[i] = *s; /* strings and files stay the caller's */
        spec[i].seed += (uint64_t)i;
        r.left++;
        rc = cn_engine_begin(e, &spec[i], &cb, err);
        if (rc < 0)
            r.left--;
        while (r.left > 0 && rc == CN_OK && (!together || i + 1 == jobs)) {
            cn_engine_wait(e);
            rc = cn_engine_step(e, err);
        }
    }
    atomic_store(&r.stop, true); /* when one cannot begin, the others must end */
    while (r.left > 0 && rc != CN_EDEVICE) {
        cn_engine_wait(e);
        cn_engine_step(e, NULL);
    }
    if (rc == CN_OK && r.rc < 0) {
        *err = r.err;
        rc = r.rc;
    }
    free(spec);
    return rc;
}

static int compare(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static double median_take(double *x, int n)
{
    double m;

    qsort(x, (size_t)n, sizeof(*x), compare);
    m = (x[(n - 1) / 2] + x[n / 2]) / 2;
    free(x);
    return m;
}

/* s: seconds of each round and way; the ratio's median is over rounds. */
static void print_way(int way, const double *s, int rounds, int images)
{
    double *seconds = cn_xcalloc((size_t)rounds, sizeof(*seconds));
    double *ratio = cn_xcalloc((size_t)rounds, sizeof(*ratio)), t;
    char name[32] = "one after another";

    for (int i = 0; i < rounds; i++) {
        seconds[i] = s[i * WAYS + way];
        ratio[i] = s[i * WAYS] / seconds[i];
    }
    if (ways[way] > 0)
        snprintf(name, sizeof(name), "at once, batch %d", ways[way]);
    t = median_take(seconds, rounds);
    printf("%-20s %10.3f %12.3f %8.3f\n", name, t, images / t, median_take(ratio, rounds));
}

static int run_rounds(struct cn_engine *e, const struct cn_spec *s, int jobs, int rounds,
                      double *seconds, struct cn_err *err)
{
    /* The first round loads and compiles, and is not counted. */
    for (int i = -1; i < rounds; i++)
        for (int way = 0; way < WAYS; way++) {
            double start = cn_now_s();
            int rc;

            cn_engine_set_max_batch(e, CN_MAX(ways[way], 1));
            rc = draw(e, s, jobs, ways[way] > 0, err);
            if (rc < 0)
                return rc;
            if (i >= 0)
                seconds[i * WAYS + way] = cn_now_s() - start;
        }
    return CN_OK;
}

int cn_cli_throughput(struct cn_engine *e, const struct cn_spec *s, int jobs, int repeat,
                      struct cn_err *err)
{
    double *seconds = cn_xcalloc((size_t)(repeat * WAYS), sizeof(*seconds));
    int rc = run_rounds(e, s, jobs, repeat, seconds, err);

    if (rc == CN_OK) {
        printf("%d jobs of %d steps, %s; medians of %d rounds\n\n", jobs, s->steps, s->model,
               repeat);
        printf("%-20s %10s %12s %8s\n", "", "seconds", "images a s", "ratio");
        for (int way = 0; way < WAYS; way++)
            print_way(way, seconds, repeat, jobs * s->n);
    }
    free(seconds);
    return rc;
}
