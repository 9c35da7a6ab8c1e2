/* What the tests of kernels/cuda share: device memory with known values, launches in several
 * orders, comparison with kernels/ref. See emu/emu.h for what the emulator finds by itself.
 *
 *     case_begin(&t, CN_F16, CASE_ALL_OFF);
 *     const float *x;                         -- what the device holds, as the twin wants it
 *     void *dx = case_input(&t, count, &x), *dy = case_output(&t, count);
 *     case_run(&t, launch, &arg);             -- forward, reverse, shuffled: the same bits
 *     case_close(&t, "geglu", dy, want, count);
 *     case_end(&t);
 */
#ifndef TESTS_KERNELS_CASE_H
#define TESTS_KERNELS_CASE_H

#include "base/base.h"
#include "kernels/cnk.h"
#include "kernels/ref/cnk_ref.h"
#include "tests/kernels/emu/emu.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum {
    CASE_MEMORIES = 16,
    CASE_FLOATS = 32,
    CASE_ALL_OFF = 0xffff,
    CASE_PARAMS_OFF = 0x10000 /* those of case_f32() */
};

struct memory {
    void *device;
    size_t bytes;
};

struct test_case {
    enum cn_dtype dt;
    unsigned off; /* bit i: piece i of memory is one element off its alignment */
    struct memory memory[CASE_MEMORIES];
    float *floats[CASE_FLOATS]; /* host arrays, freed at the end */
    int n_memories, n_floats;
};

typedef int (*launch_fn)(struct test_case *t, void *arg);

extern const enum cn_dtype case_types[3];
extern const char *const case_type_name[3];

void case_begin(struct test_case *t, enum cn_dtype dt, unsigned off);
void case_end(struct test_case *t);

float *case_floats(struct test_case *t, size_t count); /* zeros on the host */

/* Device memory. Values are normally distributed with mean 0 and deviation 1, from a fixed seed per
 * program, and rounded to the type; ret gets them. Outputs start as NaN. */
void *case_input(struct test_case *t, size_t count, float **ret);
void *case_input_as(struct test_case *t, enum cn_dtype dt, size_t count, float **ret);
float *case_f32(struct test_case *t, size_t count, float **ret); /* a parameter */
void *case_output(struct test_case *t, size_t count);
void *case_output_as(struct test_case *t, enum cn_dtype dt, size_t count);
void *case_bytes(struct test_case *t, const void *data, size_t bytes); /* a copy; NULL: 0xff */

/* After values on the host were changed: rounds them, and puts them into device memory. */
void case_put(struct test_case *t, void *device, enum cn_dtype dt, float *values, size_t count);
/* What device memory holds. */
float *case_get(struct test_case *t, const void *device, enum cn_dtype dt, size_t count);

/* Launches in every order from the same memory; fails when a launch fails or the orders differ. */
void case_run(struct test_case *t, launch_fn launch, void *arg);
/* The launch must return this error and leave everything as it is. */
void case_refused(struct test_case *t, launch_fn launch, void *arg, int rc);

/* Largest difference over the largest magnitude of want: 1e-5 for binary32, 1e-2 for the others.
 * Non-finite values must be the same. Remembered for case_report(). */
void case_close(struct test_case *t, const char *what, const void *device, const float *want,
                size_t count);
void case_close_as(struct test_case *t, const char *what, const void *device, enum cn_dtype dt,
                   const float *want, size_t count);
/* Bit for bit: want rounded to the type. */
void case_exact(struct test_case *t, const char *what, const void *device, const float *want,
                size_t count);
void case_exact_as(struct test_case *t, const char *what, const void *device, enum cn_dtype dt,
                   const float *want, size_t count);

double case_uniform(void);         /* [0,1) */
int case_report(void **state);     /* prints the largest differences: a group's teardown */
size_t case_size(enum cn_dtype dt);

#endif
