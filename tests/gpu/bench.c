/* Times the backend at SD 1.5's sizes: 512 x 512, one ControlNet, guidance, random weights.
 *
 *     bench [--quick] [--dtype f16|bf16|f32] [--images N[,N...]] [--steps K]
 *
 * Prints a part of the report as Markdown: what the device gives at most (a large product, a large
 * sum), each step's time as the server would run it, and where it goes: convolutions, products,
 * attention, norms, the rest, and gaps, beside what their work would take at the measured limits.
 * --quick uses a small network, for machines on which numbers mean nothing. */
#include "base/base.h"
#include "backend/backend.h"
#include "base/clock.h"
#include "base/mem.h"
#include "model/unet.h"
#include "model/vae.h"
#include "tensor/passes.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { CONV, GEMM, ATTENTION, NORM, OTHER, KINDS };

static const char *const kind_names[KINDS] = {"convolutions", "linear layers", "attention",
                                              "norms", "the rest"};

static bool quick;
static int steps = 20, repeats = 3;
static struct cn_backend_opts opts = CN_BACKEND_DEFAULTS;
static double peak_flops, peak_bytes; /* per second, measured */

static void must(int rc, const struct cn_err *err)
{
    if (rc < 0) {
        fprintf(stderr, "bench: %s\n", err->msg);
        exit(1);
    }
}

/* ---- networks ---- */

static struct cn_unet_config unet_config(void)
{
    struct cn_unet_config c = {.in_channels = 4, .out_channels = 4, .blocks = 4,
                               .channels = {320, 640, 1280, 1280},
                               .down_attention = {true, true, true, false},
                               .up_attention = {false, true, true, true}, .mid_attention = true,
                               .layers_per_block = 2, .heads = {8, 8, 8, 8},
                               .transformer_layers = {1, 1, 1, 1}, .cross_attention_dim = 768,
                               .norm_groups = 32, .norm_eps = 1e-5, .flip_sin_to_cos = true};

    for (int i = 0; i < 4 && quick; i++)
        c.channels[i] = 32;
    return c;
}

static struct cn_vae_config vae_config(void)
{
    struct cn_vae_config c = {.in_channels = 3, .out_channels = 3, .latent_channels = 4,
                              .blocks = 4, .channels = {128, 256, 512, 512},
                              .layers_per_block = 2, .norm_groups = 32, .mid_attention = true,
                              .use_quant_conv = true, .use_post_quant_conv = true,
                              .scaling_factor = 0.18215};

    for (int i = 0; i < 4 && quick; i++)
        c.channels[i] = 32;
    return c;
}

/* Random F16: +-[1/64, 1/32], factors of norms 1. */
static int get(void *ctx, const char *name, struct cn_param_data *ret, struct cn_err *err)
{
    const struct cn_graph *g = ctx;

    for (int i = 0; i < g->count; i++) {
        const struct cn_value *v = &g->value[i];
        size_t n = (size_t)cn_shape_elements(&v->shape);
        uint32_t state = 12345;
        uint16_t *half;

        if (g->node[i].op != CN_OP_PARAM || strcmp(v->name, name) != 0)
            continue;
        half = cn_xmalloc(n * sizeof(*half));
        for (size_t k = 0; k < n; k++) {
            state = state * 1664525u + 1013904223u;
            half[k] = (uint16_t)((state >> 16 & 0x8000) | (0x2400 + (state >> 8 & 0x3ff)));
            if (v->shape.rank == 1 && strstr(name, "norm") != NULL && strstr(name, "weight"))
                half[k] = 0x3c00;
        }
        *ret = (struct cn_param_data){.dtype = CN_F16, .shape = v->shape, .data = half,
                                      .bytes = n * sizeof(*half), .owned = half};
        return CN_OK;
    }
    return cn_fail(err, CN_ENOTFOUND, "no tensor \"%s\"", name);
}

static void done(void *ctx, const char *name, struct cn_param_data *data)
{
    (void)ctx;
    (void)name;
    free(data->owned);
}

/* One compiled network with its buffers. */
struct run {
    struct cn_graph *g;
    struct cn_param_source source;
    struct cn_weights *w;
    struct cn_plan *p;
    struct cn_buffer **in, **out;
    double compile_s;
};

static void fill(struct cn_buffer *buf, const struct cn_value *v)
{
    size_t n = (size_t)cn_shape_elements(&v->shape);
    float *x = cn_xmalloc(n * sizeof(*x));
    uint32_t state = 1;

    for (size_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(int32_t)state * 0x1p-31f;
    }
    cn_buffer_write(buf, x);
    free(x);
}

static void run_open(struct run *r, struct cn_backend *b, struct cn_graph *g)
{
    struct cn_err err = CN_ERR_INIT;
    double start = cn_now_s();

    *r = (struct run){.g = g, .source = {g, get, done}};
    must(cn_weights_new(b, &r->source, &r->w, &err), &err);
    must(cn_plan_compile(b, g, r->w, CN_DTYPE_COUNT, 0, &r->p, &err), &err);
    r->compile_s = cn_now_s() - start;
    r->in = cn_xcalloc((size_t)g->n_inputs, sizeof(*r->in));
    r->out = cn_xcalloc((size_t)g->n_outputs, sizeof(*r->out));
    for (int i = 0; i < g->n_inputs; i++) {
        const struct cn_value *v = &g->value[g->input[i].val];

        must(cn_buffer_new(b, v, CN_DTYPE_COUNT, g->input[i].flags, &r->in[i], &err), &err);
        fill(r->in[i], v);
    }
    for (int i = 0; i < g->n_outputs; i++)
        must(cn_buffer_new(b, &g->value[g->output[i].val], CN_DTYPE_COUNT, g->output[i].flags,
                           &r->out[i], &err),
             &err);
    must(cn_backend_check(b, &err), &err);
}

static void run_close(struct run *r)
{
    for (int i = 0; i < r->g->n_inputs; i++)
        cn_buffer_free(r->in[i]);
    for (int i = 0; i < r->g->n_outputs; i++)
        cn_buffer_free(r->out[i]);
    cn_plan_free(r->p);
    cn_weights_free(r->w);
    cn_graph_free(r->g);
    free(r->in);
    free(r->out);
}

static void execute(struct run *r)
{
    struct cn_err err = CN_ERR_INIT;

    must(cn_plan_run(r->p, r->in, r->out, &err), &err);
}

static struct cn_buffer *tick; /* reading it waits for what was enqueued before */

static void wait_tick(void)
{
    float x;

    cn_buffer_read(tick, &x);
}

/* Waits, and brings the first output to the host. */
static void wait_for(struct run *r)
{
    const struct cn_shape *s = cn_shape_of(r->g, r->g->output[0].val);
    float *x = cn_xmalloc((size_t)cn_shape_elements(s) * sizeof(*x));

    cn_buffer_read(r->out[0], x);
    free(x);
}

/* ---- work and limits ---- */

struct work {
    double flops[KINDS], bytes[KINDS], ms[KINDS];
};

static enum kind kind_of(enum cn_op op)
{
    switch (op) {
    case CN_OP_CONV2D:
        return CONV;
    case CN_OP_LINEAR:
        return GEMM;
    case CN_OP_ATTENTION:
        return ATTENTION;
    case CN_OP_GROUP_NORM:
    case CN_OP_LAYER_NORM:
        return NORM;
    default:
        return OTHER;
    }
}

static double elements(const struct cn_graph *g, cn_val v)
{
    return v < 0 ? 0 : (double)cn_shape_elements(&g->value[v].shape);
}

/* Multiplications and additions, and bytes of operands and results once each. */
static void add_work(const struct cn_graph *graph, double element, struct work *w)
{
    struct cn_graph *g = cn_graph_fuse(graph);

    for (int i = 0; i < g->count; i++) {
        const struct cn_node *n = &g->node[i];
        const struct cn_shape *x = n->in[1] >= 0 ? &g->value[n->in[1]].shape : NULL;
        double out = elements(g, i), bytes = out;
        enum kind k = kind_of(n->op);

        if (n->op == CN_OP_INPUT || n->op == CN_OP_PARAM || n->op == CN_OP_TO_TOKENS ||
            n->op == CN_OP_FROM_TOKENS)
            continue;
        if (n->op == CN_OP_CONV2D && n->attr.conv.k == 1)
            k = GEMM; /* that is how it runs */
        if (n->op == CN_OP_CONV2D)
            w->flops[k] += 2 * out * (double)(x->dim[1] * x->dim[2] * x->dim[3]);
        else if (n->op == CN_OP_LINEAR)
            w->flops[k] += 2 * out * (double)x->dim[1];
        else if (n->op == CN_OP_ATTENTION)
            w->flops[k] += 4 * out * (double)x->dim[1];
        for (int j = 0; j < CN_MAX_IN; j++)
            bytes += elements(g, n->in[j]);
        w->bytes[k] += bytes * element;
    }
    cn_graph_free(g);
}

/* The profile's lines begin with the operation's name. */
static void add_profile(const struct cn_plan *p, struct work *w)
{
    char *text = cn_plan_profile(p), *rest = text, *line;

    while ((line = strsep(&rest, "\n")) != NULL) {
        char *at = strstr(line, " steps");
        enum kind k = OTHER;
        double ms;

        if (at == NULL || sscanf(at, " steps %lf ms", &ms) != 1)
            continue;
        if (strncmp(line, "gemm", 4) == 0 || strncmp(line, "conv 1x1 ", 9) == 0)
            k = GEMM;
        else if (strncmp(line, "conv ", 5) == 0)
            k = CONV;
        else if (strncmp(line, "attention", 9) == 0)
            k = ATTENTION;
        else if (strstr(line, "_norm") != NULL)
            k = NORM;
        w->ms[k] += ms;
    }
    free(text);
}

/* Of one run; with the result brought to the host, or without. */
static double seconds_of(struct run *r, int runs, bool bring)
{
    double start, best = 1e9;

    for (int i = 0; i < 3; i++)
        execute(r);
    wait_tick();
    for (int k = 0; k < repeats; k++) {
        start = cn_now_s();
        for (int i = 0; i < runs; i++) {
            execute(r);
            if (bring)
                wait_for(r);
        }
        wait_tick();
        best = fmin(best, (cn_now_s() - start) / runs);
    }
    return best;
}

/* The limits that count are those of this device today: a large product, a large sum. */
static void measure_limits(struct cn_backend *b)
{
    int n = quick ? 64 : 8192;
    struct cn_graph *g = cn_graph_new("product");
    cn_val x = cn_graph_input(g, "x", cn_shape2(n, n), CN_F32, CN_IO_NATIVE), y;
    double element = opts.dtype == CN_F32 ? 4 : 2, s;
    struct run r;

    x = cn_linear(g, x, "w", NULL, n);
    cn_graph_output(g, "y", x, CN_IO_NATIVE);
    run_open(&r, b, g);
    s = seconds_of(&r, quick ? 1 : 20, false);
    peak_flops = 2.0 * n * n * n / s;
    run_close(&r);
    g = cn_graph_new("sum");
    n = quick ? 64 : 8192;
    x = cn_graph_input(g, "x", cn_shape2(n, n), CN_F32, CN_IO_NATIVE);
    y = cn_graph_input(g, "y", cn_shape2(n, n), CN_F32, CN_IO_NATIVE);
    cn_graph_output(g, "z", cn_add(g, x, y), CN_IO_NATIVE);
    run_open(&r, b, g);
    s = seconds_of(&r, quick ? 1 : 50, false);
    peak_bytes = 3.0 * n * n * element / s;
    run_close(&r);
    printf("Limits measured here: %.0f TFLOP/s in a product, %.2f TB/s in a sum.\n\n",
           peak_flops * 1e-12, peak_bytes * 1e-12);
}

static void print_work(const char *what, const struct work *w, double step_ms)
{
    double sum = 0, roof = 0;

    printf("\n%s, where it goes (each operation by itself; ms):\n\n"
           "| | time | at the limit | of the limit | TFLOP/s |\n|---|---|---|---|---|\n", what);
    for (int k = 0; k < KINDS; k++) {
        double limit = 1e3 * fmax(w->flops[k] / peak_flops, w->bytes[k] / peak_bytes);

        printf("| %s | %.3f | %.3f | %.0f %% | %.0f |\n", kind_names[k], w->ms[k], limit,
               w->ms[k] > 0 ? 100 * limit / w->ms[k] : 0,
               w->ms[k] > 0 ? w->flops[k] / w->ms[k] * 1e-9 : 0);
        sum += w->ms[k];
        roof += limit;
    }
    printf("| gaps (the whole less its parts) | %.3f | | | |\n", step_ms - sum);
    printf("| **whole, as one graph** | **%.3f** | **%.3f** | **%.0f %%** | |\n", step_ms, roof,
           100 * roof / step_ms);
}

/* ---- what is measured ---- */

static struct cn_step_size step_size(int images)
{
    int side = quick ? 4 : 64;

    return (struct cn_step_size){.n = 2 * images, .h = side, .w = side, .s = 77, .controls = 1};
}

static void open_step(struct cn_backend *b, int images, struct run *control, struct run *unet)
{
    struct cn_control_config cc = {.unet = unet_config(), .hint_channels = 3, .hint_blocks = 4,
                                   .hint_out = {16, 32, 96, 256}};
    struct cn_step_size z = step_size(images);
    struct cn_unet_config c = unet_config();

    run_open(control, b, cn_control_graph(&cc, &z));
    run_open(unet, b, cn_unet_graph(&c, &z));
    /* The residuals go from one plan to the other, as in the server. */
    for (int i = 0; i < control->g->n_outputs; i++) {
        int at = unet->g->n_inputs - control->g->n_outputs + i;

        cn_buffer_free(unet->in[at]);
        unet->in[at] = control->out[i];
    }
}

static void close_step(struct run *control, struct run *unet)
{
    for (int i = 0; i < control->g->n_outputs; i++)
        unet->in[unet->g->n_inputs - control->g->n_outputs + i] = NULL;
    run_close(unet);
    run_close(control);
}

/* ControlNet, UNet, and the answer on the host: what a step is for the server, but for the
 * sampler's arithmetic on 4 x 64 x 64 numbers. */
static double step_ms(struct run *control, struct run *unet)
{
    double best = 1e9, start;

    for (int i = 0; i < 3; i++) {
        execute(control);
        execute(unet);
    }
    wait_for(unet);
    for (int k = 0; k < repeats; k++) {
        start = cn_now_s();
        for (int i = 0; i < steps; i++) {
            execute(control);
            execute(unet);
            wait_for(unet);
        }
        best = fmin(best, (cn_now_s() - start) / steps);
    }
    return best * 1e3;
}

static double measure_step(struct cn_backend *b, int images, struct work *w)
{
    struct run control, unet;
    double element = opts.dtype == CN_F32 ? 4 : 2, ms;

    open_step(b, images, &control, &unet);
    ms = step_ms(&control, &unet);
    printf("| %d | %.3f | %.3f | %.2f | %.1f |\n", images, ms, ms / images,
           images / (20e-3 * ms), control.compile_s + unet.compile_s);
    fflush(stdout);
    add_work(control.g, element, w);
    add_work(unet.g, element, w);
    close_step(&control, &unet);
    return ms;
}

static void profile_step(int images, struct work *w)
{
    struct cn_backend_opts o = opts;
    struct cn_err err = CN_ERR_INIT;
    struct run control, unet;
    struct cn_backend *b;

    o.profile = true;
    must(cn_backend_open("cuda", &o, &b, &err), &err);
    open_step(b, images, &control, &unet);
    for (int i = 0; i < (quick ? 1 : 5); i++) {
        execute(&control);
        execute(&unet);
    }
    add_profile(control.p, w);
    add_profile(unet.p, w);
    if (images == 1) {
        char *text = cn_plan_profile(unet.p);

        printf("\nThe UNet of one image, by operation:\n\n```\n%s```\n", text);
        free(text);
    }
    close_step(&control, &unet);
    cn_backend_close(b);
}

static void measure_decoder(struct cn_backend *b)
{
    struct cn_vae_config c = vae_config();
    struct run r;
    int side = quick ? 2 : 64;
    double ms;

    run_open(&r, b, cn_vae_decoder_graph(&c, 1, side, side));
    ms = 1e3 * seconds_of(&r, quick ? 1 : 5, true);
    printf("\nVAE decoder, one image: %.3f ms with the picture on the host.\n", ms);
    run_close(&r);
}

static void parse(int argc, char **argv, int *images, int *n)
{
    for (int i = 1; i < argc; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : "";

        if (strcmp(argv[i], "--quick") == 0) {
            quick = true;
            steps = repeats = 1;
            opts.first_choice = true;
        } else if (strcmp(argv[i], "--dtype") == 0) {
            opts.dtype = strcmp(next, "f32") == 0 ? CN_F32 : strcmp(next, "bf16") == 0 ? CN_BF16
                                                                                       : CN_F16;
            i++;
        } else if (strcmp(argv[i], "--steps") == 0) {
            steps = CN_MAX(1, atoi(next));
            i++;
        } else if (strcmp(argv[i], "--images") == 0) {
            char *list = cn_xstrdup(next), *rest = list, *one;

            for (*n = 0; (one = strsep(&rest, ",")) != NULL && *n < 8;)
                images[(*n)++] = CN_MAX(1, atoi(one));
            free(list);
            i++;
        } else {
            fprintf(stderr, "usage: bench [--quick] [--dtype T] [--images N,N] [--steps K]\n");
            exit(2);
        }
    }
}

int main(int argc, char **argv)
{
    int images[8] = {1, 4, 8}, n = 3;
    struct cn_value one = {.shape = cn_shape1(1), .dtype = CN_F32};
    struct cn_err err = CN_ERR_INIT;
    struct work w[8] = {0};
    struct cn_backend *b;
    double ms[8];

    opts.dtype = CN_F16;
    parse(argc, argv, images, &n);
    must(cn_backend_open("cuda", &opts, &b, &err), &err);
    must(cn_buffer_new(b, &one, CN_DTYPE_COUNT, 0, &tick, &err), &err);
    printf("%s, %s, values %s\n\n", cn_backend_name(b), cn_backend_about(b),
           cn_dtype_name(opts.dtype));
    measure_limits(b);
    printf("| images | ms per step | per image | images/s at 20 steps | compile s |\n"
           "|---|---|---|---|---|\n");
    for (int i = 0; i < n; i++)
        ms[i] = measure_step(b, images[i], &w[i]);
    measure_decoder(b);
    cn_buffer_free(tick);
    cn_backend_close(b);
    for (int i = 0; i < n; i++) {
        char what[48];

        profile_step(images[i], &w[i]);
        snprintf(what, sizeof(what), "%d image%s", images[i], images[i] > 1 ? "s" : "");
        print_work(what, &w[i], ms[i]);
    }
    return 0;
}
