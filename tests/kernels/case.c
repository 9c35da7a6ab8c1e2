/* See case.h. */
#include "base/base.h"

#include "tests/kernels/case.h"

#include "base/dtype.h"

enum { MAX_NAMES = 40 };

const enum cn_dtype case_types[3] = {CN_F32, CN_F16, CN_BF16};
const char *const case_type_name[3] = {"f32", "f16", "bf16"};

static struct {
    const char *what;
    double worst[3];
} seen[MAX_NAMES];

static uint64_t random_state = 0x9e3779b97f4a7c15u;

double case_uniform(void)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (double)(random_state >> 11) * 0x1p-53;
}

static float normal(void)
{
    double r = sqrt(-2.0 * log(1.0 - case_uniform()));

    return (float)(r * cos(6.283185307179586 * case_uniform()));
}

size_t case_size(enum cn_dtype dt)
{
    return dt == CN_F32 ? 4 : 2;
}

/* Bits of the value in the type, and back: the conversions of src/base, not the emulator's. */
static uint32_t encode(enum cn_dtype dt, float x)
{
    uint32_t bits;

    if (dt == CN_F16)
        return cn_f32_to_f16(x);
    if (dt == CN_BF16)
        return cn_f32_to_bf16(x);
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

static float decode(enum cn_dtype dt, uint32_t bits)
{
    float x;

    if (dt == CN_F16)
        return cn_f16_to_f32((uint16_t)bits);
    if (dt == CN_BF16)
        return cn_bf16_to_f32((uint16_t)bits);
    memcpy(&x, &bits, sizeof(x));
    return x;
}

static uint32_t load(enum cn_dtype dt, const void *p, size_t i)
{
    uint16_t half;
    uint32_t word;

    if (dt == CN_F32) {
        memcpy(&word, (const char *)p + 4 * i, sizeof(word));
        return word;
    }
    memcpy(&half, (const char *)p + 2 * i, sizeof(half));
    return half;
}

static void store(enum cn_dtype dt, void *p, size_t i, uint32_t bits)
{
    uint16_t half = (uint16_t)bits;

    if (dt == CN_F32)
        memcpy((char *)p + 4 * i, &bits, sizeof(bits));
    else
        memcpy((char *)p + 2 * i, &half, sizeof(half));
}

void case_begin(struct test_case *t, enum cn_dtype dt, unsigned off)
{
    memset(t, 0, sizeof(*t));
    t->dt = dt;
    t->off = off;
    emu_clear();
}

void case_end(struct test_case *t)
{
    for (int i = 0; i < t->n_memories; i++)
        emu_free(t->memory[i].device);
    for (int i = 0; i < t->n_floats; i++)
        free(t->floats[i]);
    assert_null(emu_error());
}

float *case_floats(struct test_case *t, size_t count)
{
    float *p = calloc(count + 1, sizeof(*p));

    assert_non_null(p);
    assert_true(t->n_floats < CASE_FLOATS);
    t->floats[t->n_floats++] = p;
    return p;
}

static void *device_memory(struct test_case *t, size_t bytes, size_t off)
{
    void *p = emu_alloc(bytes, off);

    assert_true(t->n_memories < CASE_MEMORIES);
    t->memory[t->n_memories++] = (struct memory){p, bytes};
    return p;
}

void case_put(struct test_case *t, void *device, enum cn_dtype dt, float *values, size_t count)
{
    (void)t;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = encode(dt, values[i]);

        store(dt, device, i, bits);
        values[i] = decode(dt, bits);
    }
}

float *case_get(struct test_case *t, const void *device, enum cn_dtype dt, size_t count)
{
    float *p = case_floats(t, count);

    for (size_t i = 0; i < count; i++)
        p[i] = decode(dt, load(dt, device, i));
    return p;
}

/* By how much the next piece of memory is off. */
static size_t shift(const struct test_case *t, enum cn_dtype dt)
{
    return (t->off >> t->n_memories & 1) * case_size(dt);
}

static void *input(struct test_case *t, enum cn_dtype dt, size_t count, size_t off, float **ret)
{
    void *p = device_memory(t, count * case_size(dt), off);

    *ret = case_floats(t, count);
    for (size_t i = 0; i < count; i++)
        (*ret)[i] = normal();
    case_put(t, p, dt, *ret, count);
    return p;
}

void *case_input_as(struct test_case *t, enum cn_dtype dt, size_t count, float **ret)
{
    return input(t, dt, count, shift(t, dt), ret);
}

void *case_input(struct test_case *t, size_t count, float **ret)
{
    return input(t, t->dt, count, shift(t, t->dt), ret);
}

float *case_f32(struct test_case *t, size_t count, float **ret)
{
    return input(t, CN_F32, count, t->off & CASE_PARAMS_OFF ? sizeof(float) : 0, ret);
}

void *case_output_as(struct test_case *t, enum cn_dtype dt, size_t count)
{
    return device_memory(t, count * case_size(dt), shift(t, dt));
}

void *case_output(struct test_case *t, size_t count)
{
    return case_output_as(t, t->dt, count);
}

void *case_bytes(struct test_case *t, const void *data, size_t bytes)
{
    void *p = device_memory(t, bytes, 0);

    if (data != NULL)
        memcpy(p, data, bytes);
    return p;
}

/* All memory of the case in one piece. */
static unsigned char *snapshot(const struct test_case *t, size_t *ret_bytes)
{
    unsigned char *all, *p;

    *ret_bytes = 0;
    for (int i = 0; i < t->n_memories; i++)
        *ret_bytes += t->memory[i].bytes;
    p = all = malloc(*ret_bytes + 1);
    assert_non_null(all);
    for (int i = 0; i < t->n_memories; p += t->memory[i++].bytes)
        memcpy(p, t->memory[i].device, t->memory[i].bytes);
    return all;
}

static void restore(const struct test_case *t, const unsigned char *all)
{
    for (int i = 0; i < t->n_memories; all += t->memory[i++].bytes)
        memcpy(t->memory[i].device, all, t->memory[i].bytes);
}

void case_run(struct test_case *t, launch_fn launch, void *arg)
{
    static const enum emu_order orders[] = {EMU_FORWARD, EMU_REVERSE, EMU_SHUFFLED};
    size_t bytes;
    unsigned char *before = snapshot(t, &bytes), *first = NULL, *after;

    for (int i = 0; i < 3; i++) {
        restore(t, before);
        emu_set_order(orders[i], (uint32_t)i + 1);
        int rc = launch(t, arg);

        if (rc != 0 || emu_error() != NULL)
            print_error("launch: %d, %s\n", rc, emu_error() != NULL ? emu_error() : "no error");
        assert_int_equal(rc, 0);
        assert_null(emu_error());
        after = snapshot(t, &bytes);
        if (first != NULL) {
            assert_memory_equal(first, after, bytes);
            free(after);
        } else {
            first = after;
        }
    }
    free(first);
    free(before);
}

void case_refused(struct test_case *t, launch_fn launch, void *arg, int rc)
{
    size_t bytes;
    unsigned char *before = snapshot(t, &bytes), *after;
    long launches = emu_launches();

    assert_int_equal(launch(t, arg), rc);
    assert_int_equal(emu_launches(), launches);
    after = snapshot(t, &bytes);
    assert_memory_equal(before, after, bytes);
    free(before);
    free(after);
}

static void remember(const char *what, enum cn_dtype dt, double error)
{
    int i = 0;

    while (i < MAX_NAMES && seen[i].what != NULL && strcmp(seen[i].what, what) != 0)
        i++;
    assert_true(i < MAX_NAMES);
    seen[i].what = what;
    seen[i].worst[dt] = fmax(seen[i].worst[dt], error);
}

int case_report(void **state)
{
    (void)state;
    for (int i = 0; i < MAX_NAMES && seen[i].what != NULL; i++)
        print_message("%-24s f32 %.1e  f16 %.1e  bf16 %.1e\n", seen[i].what, seen[i].worst[0],
                      seen[i].worst[1], seen[i].worst[2]);
    return 0;
}

static bool same_kind(float a, float b)
{
    return isnan(a) ? isnan(b) : isinf(a) ? a == b : isfinite(b);
}

void case_close_as(struct test_case *t, const char *what, const void *device, enum cn_dtype dt,
                   const float *want, size_t count)
{
    const float *got = case_get(t, device, dt, count);
    double largest = 1e-4, worst = 0.0; /* not 0: gelu(-7) is -9e-12, or 0 in binary32 */
    size_t at = 0;

    for (size_t i = 0; i < count; i++)
        if (isfinite(want[i]))
            largest = fmax(largest, fabs((double)want[i]));
    for (size_t i = 0; i < count; i++) {
        double d = fabs((double)got[i] - want[i]);

        if (!same_kind(want[i], got[i]))
            fail_msg("%s %s: element %zu of %zu is %g instead of %g", what, case_type_name[dt], i,
                     count, (double)got[i], (double)want[i]);
        if (isfinite(want[i]) && d > worst) {
            worst = d;
            at = i;
        }
    }
    worst /= largest;
    remember(what, dt, worst);
    if (worst > (dt == CN_F32 ? 1e-5 : 1e-2))
        fail_msg("%s %s: element %zu of %zu is %g instead of %g: %.2e", what, case_type_name[dt],
                 at, count, (double)got[at], (double)want[at], worst);
}

void case_close(struct test_case *t, const char *what, const void *device, const float *want,
                size_t count)
{
    case_close_as(t, what, device, t->dt, want, count);
}

void case_exact_as(struct test_case *t, const char *what, const void *device, enum cn_dtype dt,
                   const float *want, size_t count)
{
    (void)t;
    for (size_t i = 0; i < count; i++) {
        uint32_t got = load(dt, device, i), expected = encode(dt, want[i]);

        if (got != expected && !(isnan(want[i]) && isnan(decode(dt, got))))
            fail_msg("%s %s: element %zu of %zu is %#x (%g) instead of %#x (%g)", what,
                     case_type_name[dt], i, count, got, (double)decode(dt, got), expected,
                     (double)want[i]);
    }
    remember(what, dt, 0.0);
}

void case_exact(struct test_case *t, const char *what, const void *device, const float *want,
                size_t count)
{
    case_exact_as(t, what, device, t->dt, want, count);
}
