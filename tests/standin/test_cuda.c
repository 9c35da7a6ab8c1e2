/* What is the CUDA backend's own, on the stand-in: captured graphs, the pool, kept choices of
 * algorithms, the ways around what cuDNN does not take, and every call failing once. */
#include "base/base.h"
#include "backend/backend.h"
#include "base/mem.h"
#include "tests/backend/op_cases.h"
#include "tests/backend/op_run.h"
#include "tests/standin/standin.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

enum { MAX_BUFFERS = 8 };

/* A backend, and one plan with its buffers. */
struct session {
    struct cn_graph *g;
    struct cn_param_source source;
    struct cn_backend *b;
    struct cn_weights *w;
    struct cn_plan *p;
    struct cn_buffer *in[MAX_BUFFERS], *out[MAX_BUFFERS];
};

/* Everything that the backend does in a different way: both kinds of buffers, products, attention
 * of three kinds, norms with scratch memory, an activation behind a convolution. */
static struct cn_graph *network(int size)
{
    struct cn_graph *g = cn_graph_new("network");
    cn_val x = cn_graph_input(g, "x", cn_shape4(2, 4, size, size), CN_F32, 0), h, k, r;
    cn_val t = cn_graph_input(g, "t", cn_shape2(2, 40), CN_F32, 0);
    cn_val text = cn_graph_input(g, "text", cn_shape3(2, 5, 16), CN_F32, CN_IO_NATIVE);
    struct cn_conv same = {.out = 16, .k = 3, .stride = 1, .pad = {1, 1, 1, 1}};
    struct cn_conv down = {.out = 16, .k = 3, .stride = 2, .pad = {0, 0, 1, 1}};
    struct cn_conv last = {.out = 3, .k = 1, .stride = 1};

    x = cn_act(g, cn_conv2d(g, x, "conv_in", "conv_in bias", &same), CN_SILU);
    h = cn_group_norm(g, cn_add_channel(g, x, t, 3), "gamma", "beta", 4, 1e-5f);
    h = cn_add(g, cn_conv2d(g, cn_act(g, h, CN_SILU), "conv", "conv bias", &same), x);
    cn_graph_output(g, "middle", h, CN_IO_NATIVE);
    x = cn_conv2d(g, h, "down", "down bias", &down);
    size = (int)cn_shape_of(g, x)->dim[2];
    h = cn_layer_norm(g, cn_to_tokens(g, x), "gamma1", "beta1", 1e-5f);
    h = cn_add(g, cn_attention(g, h, h, h, 2, 0.3f, false), h);
    k = cn_linear(g, text, "k", NULL, 16);
    r = cn_attention(g, cn_linear(g, h, "q", "q bias", 16), k, k, 1, 0.25f, false);
    h = cn_add(g, cn_linear(g, r, "o", "o bias", 16), h);
    h = cn_attention(g, h, h, h, 4, 0.5f, true);
    x = cn_add_rows(g, x, cn_from_tokens(g, h, size, size), t, 7);
    cn_graph_output(g, "y", cn_conv2d(g, cn_concat(g, x, x), "last", NULL, &last), 0);
    return g;
}

static int session_open(struct session *s, struct cn_graph *g, const struct cn_backend_opts *opts,
                        struct cn_err *err)
{
    int rc;

    *s = (struct session){.g = g};
    s->source = op_source(g);
    if ((rc = cn_backend_open("cuda", opts, &s->b, err)) < 0 ||
        (rc = cn_weights_new(s->b, &s->source, &s->w, err)) < 0)
        return rc;
    return cn_plan_compile(s->b, g, s->w, CN_DTYPE_COUNT, 0, &s->p, err);
}

static int new_buffers(struct session *s, const struct cn_io *io, int n, struct cn_buffer **ret,
                       struct cn_err *err)
{
    for (int i = 0; i < n; i++) {
        int rc =
            cn_buffer_new(s->b, &s->g->value[io[i].val], CN_DTYPE_COUNT, io[i].flags, &ret[i], err);

        if (rc < 0)
            return rc;
    }
    return CN_OK;
}

static int session_buffers(struct session *s, struct cn_err *err)
{
    int rc = new_buffers(s, s->g->input, s->g->n_inputs, s->in, err);

    return rc < 0 ? rc : new_buffers(s, s->g->output, s->g->n_outputs, s->out, err);
}

static void free_buffers(struct session *s)
{
    for (int i = 0; i < MAX_BUFFERS; i++) {
        cn_buffer_free(s->in[i]);
        cn_buffer_free(s->out[i]);
        s->in[i] = s->out[i] = NULL;
    }
}

static void session_close(struct session *s)
{
    free_buffers(s);
    cn_plan_free(s->p);
    cn_weights_free(s->w);
    cn_backend_close(s->b);
    cn_graph_free(s->g);
}

static void write_inputs(struct session *s)
{
    for (int i = 0; i < s->g->n_inputs; i++) {
        void *x = op_data(s->g, s->g->input[i].val);

        cn_buffer_write(s->in[i], x);
        free(x);
    }
}

/* The last output. */
static struct op_result read_result(const struct session *s)
{
    const struct cn_io *io = &s->g->output[s->g->n_outputs - 1];
    struct op_result r = {.count = (size_t)cn_shape_elements(cn_shape_of(s->g, io->val))};

    r.data = cn_xcalloc(r.count, sizeof(float));
    cn_buffer_read(s->out[s->g->n_outputs - 1], r.data);
    return r;
}

static struct op_result expected(int size)
{
    struct cn_graph *g = network(size);
    const struct cn_io *io = &g->output[0];
    struct op_result r;
    size_t first = (size_t)cn_shape_elements(cn_shape_of(g, io->val));

    op_run("reference", g, &r);
    memmove(r.data, r.data + first, (r.count - first) * sizeof(float));
    r.count -= first;
    cn_graph_free(g);
    return r;
}

static void check_result(const struct session *s, double tolerance)
{
    struct op_result r = read_result(s), expect = expected(8);
    double d = op_distance(&r, &expect);

    if (!(d <= tolerance))
        fail_msg("relative L2 %g", d);
    op_result_release(&r);
    op_result_release(&expect);
}

static void must(int rc, const struct cn_err *err)
{
    if (rc < 0)
        fail_msg("%s (%s)", err->msg, cn_code_name(rc));
}

/* Nothing is left on the device, and nothing was done that CUDA forbids. */
static void check_clean(const char *what)
{
    struct standin_counts c = standin_counts();

    if (standin_complaint() != NULL)
        fail_msg("%s: %s", what, standin_complaint());
    if (c.live_bytes != 0 || c.live_objects != 0)
        fail_msg("%s: %zu bytes and %ld objects are left", what, c.live_bytes, c.live_objects);
}

static struct cn_backend_opts plain_opts(enum cn_dtype t)
{
    struct cn_backend_opts o = op_opts;

    o.dtype = t;
    return o;
}

static void started(struct session *s, const struct cn_backend_opts *opts)
{
    struct cn_err err = CN_ERR_INIT;

    must(session_open(s, network(8), opts, &err), &err);
    must(session_buffers(s, &err), &err);
    write_inputs(s);
}

static void run(struct session *s)
{
    struct cn_err err = CN_ERR_INIT;

    must(cn_plan_run(s->p, s->in, s->out, &err), &err);
}

/* ---- graphs ---- */

/* The first run enqueues, the second is captured, the others are launches of what was captured; in
 * none of them is anything allocated, and the host waits for nothing. */
static void plan_is_captured_once(void **state)
{
    struct cn_backend_opts opts = plain_opts(CN_F32);
    struct standin_counts before, after;
    struct session s;

    (void)state;
    standin_reset();
    started(&s, &opts);
    for (int i = 0; i < 6; i++) {
        before = standin_counts();
        run(&s);
        after = standin_counts();
        assert_int_equal(after.allocs, before.allocs);
        assert_int_equal(after.frees, before.frees);
        assert_int_equal(after.waits, before.waits);
        assert_int_equal(after.executed, before.executed); /* the device is not waited for */
        assert_int_equal(after.captures, i < 1 ? 0 : 1);
        assert_int_equal(after.graph_launches, i);
        assert_true(i < 2 || after.launches - before.launches == 1);
        check_result(&s, 1e-5);
    }
    session_close(&s);
    check_clean("captured once");
}

/* New content of the same buffers needs no new capture: that is how a batch changes its members. */
static void captured_plan_reads_its_buffers(void **state)
{
    struct cn_backend_opts opts = plain_opts(CN_F32);
    struct session s;
    struct op_result zeroed[2];
    float *zero;

    (void)state;
    standin_reset();
    started(&s, &opts);
    for (int i = 0; i < 3; i++)
        run(&s);
    check_result(&s, 1e-5);
    zero =
        cn_xcalloc((size_t)cn_shape_elements(cn_shape_of(s.g, s.g->input[0].val)), sizeof(*zero));
    for (int i = 0; i < 2; i++) {
        cn_buffer_write(s.in[0], zero);
        run(&s);
        zeroed[i] = read_result(&s);
        write_inputs(&s);
        run(&s);
        check_result(&s, 1e-5);
    }
    assert_memory_equal(zeroed[0].data, zeroed[1].data, zeroed[0].count * sizeof(float));
    assert_int_equal(standin_counts().captures, 1);
    op_result_release(&zeroed[0]);
    op_result_release(&zeroed[1]);
    free(zero);
    session_close(&s);
    check_clean("reads its buffers");
}

/* Other buffers are other addresses; the pool gives the next job those of the one that ended. */
static void graphs_are_kept_for_a_few_sets_of_buffers(void **state)
{
    struct cn_backend_opts opts = plain_opts(CN_F32);
    struct cn_err err = CN_ERR_INIT;
    struct session s;
    struct cn_buffer *other;

    (void)state;
    standin_reset();
    started(&s, &opts);
    for (int i = 0; i < 2; i++)
        run(&s);
    other = s.in[0];
    must(cn_buffer_new(s.b, &s.g->value[s.g->input[0].val], CN_DTYPE_COUNT, 0, &s.in[0], &err),
         &err);
    write_inputs(&s);
    for (int i = 0; i < 2; i++)
        run(&s);
    check_result(&s, 1e-5);
    assert_int_equal(standin_counts().captures, 2);
    cn_buffer_free(s.in[0]);
    s.in[0] = other;
    run(&s);
    assert_int_equal(standin_counts().captures, 2);
    for (int i = 0; i < 3; i++) { /* jobs, one after the other */
        free_buffers(&s);
        must(session_buffers(&s, &err), &err);
        write_inputs(&s);
        for (int k = 0; k < 3; k++)
            run(&s);
        check_result(&s, 1e-5);
    }
    assert_true(standin_counts().captures <= 4);
    session_close(&s);
    check_clean("sets of buffers");
}

/* A larger plan moves the arena: graphs that know its old address are not launched again. */
static void graphs_follow_the_arena(void **state)
{
    struct cn_backend_opts opts = plain_opts(CN_F32);
    struct cn_graph *large = network(20);
    struct cn_err err = CN_ERR_INIT;
    struct cn_plan *p;
    struct session s;

    (void)state;
    standin_reset();
    started(&s, &opts);
    for (int i = 0; i < 3; i++)
        run(&s);
    must(cn_plan_compile(s.b, large, s.w, CN_DTYPE_COUNT, 0, &p, &err), &err);
    for (int i = 0; i < 3; i++) {
        run(&s);
        check_result(&s, 1e-5);
    }
    assert_int_equal(standin_counts().captures, 2);
    cn_plan_free(p);
    session_close(&s);
    cn_graph_free(large);
    check_clean("arena");
}

/* A graph that does not fit into memory is done without. */
static void capture_without_memory_runs_step_by_step(void **state)
{
    struct cn_backend_opts opts = plain_opts(CN_F32);
    struct session s;

    (void)state;
    standin_reset();
    started(&s, &opts);
    run(&s);
    standin_fail("cudaGraphInstantiate", 1, 2);
    run(&s);
    check_result(&s, 1e-5);
    assert_int_equal(standin_counts().graph_launches, 0);
    run(&s);
    check_result(&s, 1e-5);
    assert_int_equal(standin_counts().graph_launches, 1);
    session_close(&s);
    check_clean("no memory for a graph");
}

/* Nor is one tried again that CUDA would not capture. */
static void plan_that_cannot_be_captured_runs_step_by_step(void **state)
{
    struct cn_backend_opts opts = plain_opts(CN_F32);
    struct session s;

    (void)state;
    standin_reset();
    started(&s, &opts);
    run(&s);
    standin_fail("cudaStreamEndCapture", 1, 901);
    for (int i = 0; i < 4; i++) {
        run(&s);
        check_result(&s, 1e-5);
    }
    assert_int_equal(standin_counts().captures, 1);
    assert_int_equal(standin_counts().graph_launches, 0);
    session_close(&s);
    check_clean("not captured");
}

/* ---- ways around ---- */

static void run_types(double f32)
{
    static const struct {
        enum cn_dtype t;
        double tolerance;
    } types[] = {{CN_F32, 0}, {CN_F16, 4e-3}, {CN_BF16, 3e-2}};

    for (size_t i = 0; i < CN_LEN(types); i++) {
        struct cn_backend_opts opts = plain_opts(types[i].t);
        struct session s;

        started(&s, &opts);
        for (int k = 0; k < 3; k++) {
            run(&s);
            check_result(&s, CN_MAX(types[i].tolerance, f32));
        }
        session_close(&s);
    }
}

static void every_type_gives_the_same(void **state)
{
    (void)state;
    standin_reset();
    run_types(1e-5);
    check_clean("types");
}

static void convolutions_that_cannot_be_fused_are_taken_apart(void **state)
{
    (void)state;
    standin_reset();
    standin_refuse_fusion(true);
    run_types(1e-5);
    check_clean("not fused");
}

static void attention_that_is_refused_goes_another_way(void **state)
{
    (void)state;
    standin_reset();
    standin_refuse_attention(true);
    run_types(1e-5);
    check_clean("no attention");
}

/* ---- choices ---- */

static long trials_of(const char *folder)
{
    struct cn_backend_opts opts = plain_opts(CN_F16);
    struct session s;
    long trials;

    standin_reset();
    opts.first_choice = false;
    opts.cache_dir = folder;
    started(&s, &opts);
    trials = standin_counts().trials;
    run(&s);
    check_result(&s, 4e-3);
    session_close(&s);
    check_clean("choices");
    return trials;
}

static void spoil(const char *path, const char *text, const char *mode)
{
    FILE *f = fopen(path, mode);

    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void choices_are_timed_once_and_kept(void **state)
{
    char folder[] = "/tmp/cn-choices-XXXXXX", below[64], path[96];
    long first;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(below, sizeof(below), "%s/a/b", folder);
    snprintf(path, sizeof(path), "%s/cuda-0.tune", below);
    first = trials_of(below);
    assert_true(first > 0);
    assert_int_equal(trials_of(below), 0);
    spoil(path, "conv cut off", "a");
    assert_int_equal(trials_of(below), 0);
    spoil(path, "another device\nconv\t41 0\n", "w");
    assert_int_equal(trials_of(below), first);
    assert_int_equal(trials_of(below), 0);
    spoil(path, "", "w");
    assert_int_equal(trials_of(below), first);
    assert_int_equal(trials_of(""), first); /* nowhere to keep them */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(below), 0);
    snprintf(below, sizeof(below), "%s/a", folder);
    assert_int_equal(rmdir(below), 0);
    assert_int_equal(rmdir(folder), 0);
}

/* ---- failures ---- */

/* Everything once. The first failure, if any. */
static int whole_life(struct session *s, struct cn_err *err)
{
    struct cn_backend_opts opts = plain_opts(CN_F16);
    int rc;

    opts.first_choice = false;
    if ((rc = session_open(s, network(8), &opts, err)) < 0 || (rc = session_buffers(s, err)) < 0)
        return rc;
    write_inputs(s);
    for (int i = 0; i < 3; i++) {
        struct op_result r;

        if ((rc = cn_plan_run(s->p, s->in, s->out, err)) < 0)
            return rc;
        r = read_result(s);
        rc = cn_backend_check(s->b, err);
        for (size_t k = 0; k < r.count && rc == CN_OK; k++)
            assert_true(isfinite(r.data[k]));
        op_result_release(&r);
        if (rc < 0)
            return rc;
    }
    return CN_OK;
}

static bool is_of(const char *function, const char *library)
{
    return strncmp(function, library, strlen(library)) == 0;
}

/* "No memory" and "something else" of the function's library. */
static int status_of(const char *function, bool memory)
{
    if (is_of(function, "cublas"))
        return memory ? 3 /* ALLOC_FAILED */ : 7 /* INVALID_VALUE */;
    if (is_of(function, "cudnn"))
        return memory ? 4004 /* DEVICE_ALLOCATION_FAILED */ : 2000 /* BAD_PARAM */;
    return memory ? 2 : 1;
}

/* One failure must not cost more than the job: afterwards the same backend does it. */
static void check_next_job(struct session *s, const char *what)
{
    struct cn_err err = CN_ERR_INIT;

    (void)cn_backend_check(s->b, NULL);
    free_buffers(s);
    if (s->w == NULL)
        must(cn_weights_new(s->b, &s->source, &s->w, &err), &err);
    if (s->p == NULL)
        must(cn_plan_compile(s->b, s->g, s->w, CN_DTYPE_COUNT, 0, &s->p, &err), &err);
    must(session_buffers(s, &err), &err);
    write_inputs(s);
    run(s);
    if (cn_backend_check(s->b, &err) < 0)
        fail_msg("%s: the next job: %s", what, err.msg);
    check_result(s, 4e-3);
}

/* What must work for nothing to be lost, or only ends things. */
static bool is_end(const char *function)
{
    return strstr(function, "Destroy") != NULL || is_of(function, "cudaFree");
}

static long sweep(const char *function, long nth, bool memory)
{
    struct cn_err err = CN_ERR_INIT;
    struct session s;
    char what[96];
    int rc;

    snprintf(what, sizeof(what), "%s, call %ld, %s", function, nth, memory ? "memory" : "status");
    standin_reset();
    standin_fail(function, nth, status_of(function, memory));
    rc = whole_life(&s, &err);
    if (rc == CN_EDEVICE)
        fail_msg("%s: the device is called lost: %s", what, err.msg);
    if (rc < 0 && err.msg[0] == '\0')
        fail_msg("%s: no message", what);
    if (memory && rc < 0 && rc != CN_EDEVMEM && s.b != NULL && !is_of(function, "cudnnBackend"))
        fail_msg("%s: %s (%s)", what, err.msg, cn_code_name(rc));
    if (s.b != NULL)
        check_next_job(&s, what);
    session_close(&s);
    check_clean(what);
    return rc;
}

/* All of it takes minutes: CN_QUICK=0 asks for it. */
static bool quick(void)
{
    const char *q = getenv("CN_QUICK");

    return q == NULL || strcmp(q, "0") != 0;
}

static long next_call(long nth, long total)
{
    if (nth < (quick() ? 1 : 3) || nth >= total - 1)
        return nth + 1;
    return CN_MIN(total, nth + CN_MAX(1, quick() ? total : (total - nth) / 2));
}

/* Each function failing at its first calls, at one in the middle, and at its last. */
static void sweep_all(bool memory)
{
    long total[128], n = 0;
    struct cn_err err = CN_ERR_INIT;
    struct session s;

    standin_reset();
    must(whole_life(&s, &err), &err);
    for (const char *const *f = standin_functions(); *f != NULL; f++)
        total[n++] = standin_calls(*f);
    session_close(&s);
    n = 0;
    for (const char *const *f = standin_functions(); *f != NULL; f++, n++) {
        if (strcmp(*f, "execute") == 0 || is_end(*f))
            continue;
        for (long nth = 1; nth <= total[n]; nth = next_call(nth, total[n]))
            sweep(*f, nth, memory);
    }
}

static void every_call_may_lack_memory_once(void **state)
{
    (void)state;
    sweep_all(true);
}

static void every_call_may_fail_once(void **state)
{
    (void)state;
    sweep_all(false);
}

/* Codes after which cuda_runtime_api.h asks for a new process: ECC, launch timeout, address,
 * stack, instruction, alignment, address space, program counter, launch failure, assert, unknown.
 */
static const int sticky[] = {214, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 999};

static void check_lost(int code, const char *function, long nth)
{
    struct cn_err err = CN_ERR_INIT;
    struct session s;
    struct cn_buffer *buf;
    float x[2 * 3 * 8 * 8];

    standin_reset();
    standin_fail(function, nth, code);
    if (whole_life(&s, &err) != CN_EDEVICE)
        fail_msg("%d from %s, call %ld: %s (%s)", code, function, nth, err.msg,
                 cn_code_name(err.code));
    assert_non_null(strstr(err.msg, "device failed"));
    if (s.p != NULL && s.out[1] != NULL) { /* nothing works, and nobody gets a picture */
        assert_int_equal(cn_plan_run(s.p, s.in, s.out, NULL), CN_EDEVICE);
        cn_buffer_read(s.out[1], x);
        assert_true(isnan(x[0]));
        assert_int_equal(cn_backend_check(s.b, NULL), CN_EDEVICE);
    }
    if (s.b != NULL && s.w != NULL) {
        assert_int_equal(cn_backend_check(s.b, NULL), CN_EDEVICE);
        assert_int_equal(
            cn_buffer_new(s.b, &s.g->value[s.g->input[0].val], CN_DTYPE_COUNT, 0, &buf, NULL),
            CN_EDEVICE);
    }
    session_close(&s);
    if (standin_complaint() != NULL)
        fail_msg("%d from %s: %s", code, function, standin_complaint());
}

static void lost_device_is_told_and_stays_lost(void **state)
{
    struct cn_err err = CN_ERR_INIT;
    struct session s;
    long work;

    (void)state;
    standin_reset();
    must(whole_life(&s, &err), &err);
    work = standin_calls("execute");
    session_close(&s);
    for (size_t i = 0; i < CN_LEN(sticky); i++) {
        check_lost(sticky[i], "execute", 1); /* an upload */
        if (quick() && i > 1)
            continue;
        check_lost(sticky[i], "execute", work - 3); /* in a captured graph */
        check_lost(sticky[i], "cudaStreamSynchronize", 2);
        check_lost(sticky[i], "launch", 3);
    }
    check_lost(719, "execute", work / 2);
}

/* Libraries tell of a failed launch in their own words. */
static void library_that_could_not_run_means_a_lost_device(void **state)
{
    (void)state;
    check_lost(13 /* EXECUTION_FAILED */, "cublasLtMatmul", 20);
    check_lost(14 /* INTERNAL_ERROR */, "cublasLtMatmul", 20);
    check_lost(5000 /* EXECUTION_FAILED */, "cudnnBackendExecute", 30);
}

/* Memory that is only kept for later goes when it is needed. */
static void caches_go_when_memory_is_short(void **state)
{
    struct cn_backend_opts opts = plain_opts(CN_F32);
    struct cn_value big = {.shape = cn_shape2(1 << 10, 1 << 10), .dtype = CN_F32};
    struct cn_value bigger = {.shape = cn_shape2(1 << 10, (1 << 10) + (1 << 9)), .dtype = CN_F32};
    struct cn_err err = CN_ERR_INIT;
    struct cn_buffer *a, *b;
    struct session s;
    size_t used;

    (void)state;
    standin_reset();
    started(&s, &opts);
    for (int i = 0; i < 2; i++)
        run(&s);
    used = standin_counts().live_bytes;
    standin_set_memory(used + ((size_t)7 << 20));
    must(cn_buffer_new(s.b, &big, CN_DTYPE_COUNT, 0, &a, &err), &err);
    assert_int_equal(cn_buffer_new(s.b, &bigger, CN_DTYPE_COUNT, 0, &b, &err), CN_EDEVMEM);
    assert_non_null(strstr(err.msg, "6291456 bytes"));
    cn_buffer_free(a);
    err = (struct cn_err)CN_ERR_INIT;
    must(cn_buffer_new(s.b, &bigger, CN_DTYPE_COUNT, 0, &b, &err),
         &err); /* a's block was freed for it */
    run(&s);    /* its graph went, too: it is captured again when it is worth it */
    check_result(&s, 1e-5);
    cn_buffer_free(b);
    session_close(&s);
    check_clean("caches");
}

/* ---- the device ---- */

static void without_a_device_the_processor_is_taken(void **state)
{
    struct cn_backend_opts opts = plain_opts(CN_F32);
    struct cn_err err = CN_ERR_INIT;
    struct cn_backend *b;

    (void)state;
    standin_reset();
    must(cn_backend_open("auto", &opts, &b, &err), &err);
    assert_string_equal(cn_backend_name(b), "cuda");
    assert_non_null(strstr(cn_backend_about(b), "stand-in"));
    cn_backend_close(b);
    standin_set_devices(0);
    assert_int_equal(cn_backend_open("cuda", &opts, &b, &err), CN_ENOTFOUND);
    assert_non_null(strstr(err.msg, "no CUDA device"));
    must(cn_backend_open("auto", &opts, &b, &err), &err);
    assert_string_not_equal(cn_backend_name(b), "cuda");
    cn_backend_close(b);
    standin_reset();
    standin_fail("cudaGetDeviceCount", 1, 35); /* the driver is older than the runtime */
    must(cn_backend_open("auto", &opts, &b, &err), &err);
    assert_string_not_equal(cn_backend_name(b), "cuda");
    cn_backend_close(b);
    check_clean("no device");
}

static void ids_are_held_against_the_rows(void **state)
{
    static const int32_t good[3] = {0, 7, 3}, bad[][3] = {{0, 7, 8}, {-1, 0, 0}};
    struct cn_backend_opts opts = plain_opts(CN_F16);
    struct cn_graph *g = cn_graph_new("ids");
    cn_val x = cn_graph_input(g, "ids", cn_shape2(1, 3), CN_I32, 0);
    struct cn_err err = CN_ERR_INIT;
    struct session s;

    (void)state;
    standin_reset();
    cn_graph_output(g, "y", cn_gather(g, cn_param(g, "table", cn_shape3(1, 8, 4)), x), 0);
    must(session_open(&s, g, &opts, &err), &err);
    must(session_buffers(&s, &err), &err);
    for (size_t i = 0; i < CN_LEN(bad); i++) {
        cn_buffer_write(s.in[0], bad[i]);
        assert_int_equal(cn_plan_run(s.p, s.in, s.out, &err), CN_EINVAL);
        cn_buffer_write(s.in[0], good);
        run(&s);
    }
    session_close(&s);
    check_clean("ids");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plan_is_captured_once),
        cmocka_unit_test(captured_plan_reads_its_buffers),
        cmocka_unit_test(graphs_are_kept_for_a_few_sets_of_buffers),
        cmocka_unit_test(graphs_follow_the_arena),
        cmocka_unit_test(capture_without_memory_runs_step_by_step),
        cmocka_unit_test(plan_that_cannot_be_captured_runs_step_by_step),
        cmocka_unit_test(every_type_gives_the_same),
        cmocka_unit_test(convolutions_that_cannot_be_fused_are_taken_apart),
        cmocka_unit_test(attention_that_is_refused_goes_another_way),
        cmocka_unit_test(choices_are_timed_once_and_kept),
        cmocka_unit_test(every_call_may_lack_memory_once),
        cmocka_unit_test(every_call_may_fail_once),
        cmocka_unit_test(lost_device_is_told_and_stays_lost),
        cmocka_unit_test(library_that_could_not_run_means_a_lost_device),
        cmocka_unit_test(caches_go_when_memory_is_short),
        cmocka_unit_test(without_a_device_the_processor_is_taken),
        cmocka_unit_test(ids_are_held_against_the_rows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
