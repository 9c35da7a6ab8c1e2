/* Jobs in one engine: what the tests of lanes and of residency share.
 *
 * A crowd is an engine on the tiny models of tests/data/models and up to MAX_JOBS jobs in it; it
 * notes who took which step in which turn. Time is counted in turns, never in seconds. One thread;
 * a failure ends the cmocka test.
 *
 *     struct crowd *c = crowd_new();
 *     struct job *j = add_job(c, 7);
 *     begin(j);
 *     run_until_over(c);
 *     expect_ok(j);
 *     crowd_free(c);
 */
#ifndef CN_TESTS_CROWD_H
#define CN_TESTS_CROWD_H

#include "engine/engine.h"

#include <stdatomic.h>

enum { MAX_IMAGES = 8, MAX_JOBS = 8, STEPS_SEEN = 4096 };

struct crowd;

struct job {
    struct cn_spec spec;
    struct crowd *crowd;
    int number; /* in the crowd */
    struct cn_image image[MAX_IMAGES];
    atomic_int images; /* that came */
    int steps;         /* that were reported */
    int previews, preview_w, preview_h;
    int warnings;
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

/* The options of the tests: one processor, batches of up to 8, whatever ControlNets act. */
struct cn_engine_opts options(struct crowd *c);
void crowd_open(struct crowd *c, const struct cn_engine_opts *o);
struct crowd *crowd_new(void);
void crowd_free(struct crowd *c);

/* A job that was not begun; its spec is the caller's to change. */
struct job *add_job(struct crowd *c, uint64_t seed);
void request(struct cn_spec *s, uint64_t seed);
/* A picture of side x side pixels, as a file. */
struct cn_blob drawing(int side);
struct cn_spec_control *control(struct cn_spec *s, const char *model, double from, double until);
void begin(struct job *j);
void turn(struct crowd *c);
void run_until_over(struct crowd *c);
void expect_ok(const struct job *j);
/* n jobs of 12 steps. */
void fill_neighbours(struct crowd *c, int n);

/* Steps of job number i among the n steps from step `from` on. */
int share(const struct crowd *c, int i, int from, int n);
int first_step_of(const struct crowd *c, int i);

/* dB; infinite when the pictures are the same. */
double psnr(const struct cn_image *a, const struct cn_image *b);

#endif
