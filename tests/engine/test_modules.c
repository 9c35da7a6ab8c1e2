/* Networks against the reference implementation: text encoder, UNet, ControlNet, autoencoder.
 *
 *     test_modules [--backend NAME] [--dtype f32|f16|bf16] [--bar X]
 *                  MODEL_DIR GOLDEN_DIR [CONTROL_DIR ...]
 *
 * GOLDEN_DIR holds text, unet, vae and controlnet-NAME .safetensors as tools/goldens writes them.
 * Every output is compared by relative L2 error; 1e-4 is the bar, in F32. One line per comparison.
 */
#include "base/base.h"
#include "base/clock.h"
#include "base/mem.h"
#include "runtime/param_reader.h"
#include "model/text.h"
#include "runtime/token_rows.h"
#include "model/unet.h"
#include "model/vae.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double bar = 1e-4;
static int failures, comparisons;
static struct cn_backend *backend;

static void must(int rc, const struct cn_err *err)
{
    if (rc < 0) {
        fprintf(stderr, "error: %s\n", err->msg);
        exit(1);
    }
}

/* One network on one set of sizes, with its buffers; inputs are filled by name. */
struct run {
    struct cn_graph *g;
    struct cn_plan *plan;
    struct cn_buffer **in, **out;
};

static void run_open(struct run *r, struct cn_graph *g, struct cn_weights *w)
{
    struct cn_err err = CN_ERR_INIT;

    r->g = g;
    must(cn_plan_compile(backend, g, w, CN_DTYPE_COUNT, 0, &r->plan, &err), &err);
    r->in = cn_xcalloc((size_t)g->n_inputs, sizeof(*r->in));
    r->out = cn_xcalloc((size_t)g->n_outputs, sizeof(*r->out));
    for (int i = 0; i < g->n_inputs; i++)
        must(cn_buffer_new(backend, &g->value[g->input[i].val], CN_DTYPE_COUNT, g->input[i].flags,
                           &r->in[i], &err),
             &err);
    for (int i = 0; i < g->n_outputs; i++)
        must(cn_buffer_new(backend, &g->value[g->output[i].val], CN_DTYPE_COUNT, g->output[i].flags,
                           &r->out[i], &err),
             &err);
}

static void run_close(struct run *r)
{
    for (int i = 0; i < r->g->n_inputs; i++)
        cn_buffer_free(r->in[i]);
    for (int i = 0; i < r->g->n_outputs; i++)
        cn_buffer_free(r->out[i]);
    free(r->in);
    free(r->out);
    cn_plan_free(r->plan);
    cn_graph_free(r->g);
}

static struct cn_buffer *input(struct run *r, const char *name)
{
    for (int i = 0; i < r->g->n_inputs; i++)
        if (strcmp(r->g->input[i].name, name) == 0)
            return r->in[i];
    fprintf(stderr, "no input %s\n", name);
    exit(1);
}

static void execute(struct run *r)
{
    struct cn_err err = CN_ERR_INIT;

    must(cn_plan_run(r->plan, r->in, r->out, &err), &err);
}

/* The bytes go from one plan's output to another's input as floats. */
static void pass(const struct run *from, int output, struct cn_buffer *to)
{
    const struct cn_shape *s = cn_shape_of(from->g, from->g->output[output].val);
    float *host = cn_xmalloc((size_t)cn_shape_elements(s) * sizeof(*host));

    cn_buffer_read(from->out[output], host);
    cn_buffer_write(to, host);
    free(host);
}

struct golden {
    struct cn_tensor_file *st;
    struct cn_arena arena; /* what was read of it */
    char path[512];
};

static bool golden_open(struct golden *f, const char *dir, const char *name)
{
    struct cn_err err = CN_ERR_INIT;

    cn_arena_init(&f->arena);
    snprintf(f->path, sizeof(f->path), "%s/%s.safetensors", dir, name);
    return cn_tensor_file_open(f->path, &f->st, &err) == CN_OK;
}

static void golden_close(struct golden *f)
{
    cn_tensor_file_close(f->st);
    cn_arena_release(&f->arena);
}

static struct cn_tensor_view tensor(struct golden *f, const char *name)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_tensor_view v;
    void *bytes;

    must(cn_tensor_file_find(f->st, name, &v, &err), &err);
    bytes = cn_arena_alloc(&f->arena, v.bytes);
    must(cn_view_read(&v, bytes, &err), &err);
    v.data = bytes;
    return v;
}

static void compare(const char *what, const struct cn_buffer *got,
                    const struct cn_tensor_view *want)
{
    size_t n = want->bytes / sizeof(float);
    float *x = cn_xmalloc(want->bytes), *y = cn_xmalloc(want->bytes);
    double diff = 0, norm = 0;

    if (cn_buffer_bytes(got) != want->bytes && cn_buffer_bytes(got) * 2 != want->bytes) {
        printf("not ok %s: %zu bytes, golden has %zu\n", what, cn_buffer_bytes(got), want->bytes);
        failures++;
        return;
    }
    cn_buffer_read(got, x);
    memcpy(y, want->data, want->bytes);
    for (size_t i = 0; i < n; i++) {
        diff += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
        norm += (double)y[i] * y[i];
    }
    diff = sqrt(diff / (norm > 0 ? norm : 1));
    comparisons++;
    if (!(diff <= bar))
        failures++;
    printf("%s %-40s %.2e\n", diff <= bar ? "ok    " : "not ok", what, diff);
    free(x);
    free(y);
}

static struct cn_weights *weights(struct cn_param_reader *s)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_weights *w;

    must(cn_weights_new(backend, &s->param, &w, &err), &err);
    return w;
}

static void check_text(const struct cn_checkpoint *c, const char *dir)
{
    struct cn_model model = {.checkpoint = (struct cn_checkpoint *)c, .n_texts = 1};
    size_t width = (size_t)cn_checkpoint_text(c, 0)->hidden_size;
    struct cn_err err = CN_ERR_INIT;
    struct golden f;
    struct cn_param_reader s;
    struct cn_weights *w;

    if (!golden_open(&f, dir, "text"))
        return;
    cn_param_reader_init(&s, c, CN_COMP_TEXT, NULL);
    w = weights(&s);
    for (int skip = 0; skip <= 1 && skip < cn_checkpoint_text(c, 0)->layers; skip++) {
        struct cn_tensor_view ids = tensor(&f, "ids");
        struct cn_tensor_view out = tensor(&f, skip ? "out_skip1" : "out");
        struct cn_text_use use = cn_text_usual(cn_checkpoint_text(c, 0), skip);
        int n = (int)ids.dim[0], positions = (int)ids.dim[1];
        float *rows = cn_xcalloc(cn_view_elements(&ids) * width, sizeof(*rows));
        struct run r;

        must(cn_token_rows(&model, 0, NULL, ids.data, n, positions, rows, &err), &err);
        run_open(&r, cn_text_graph(cn_checkpoint_text(c, 0), n, positions, &use), w);
        cn_buffer_write(r.in[0], rows);
        free(rows);
        execute(&r);
        compare(skip ? "text, clip skip 1" : "text", r.out[0], &out);
        run_close(&r);
    }
    free(model.text[0].position);
    cn_weights_free(w);
    golden_close(&f);
}

/* The projections of time and context into the step network's inputs. */
static void feed(struct run *step, const struct cn_unet_config *c, enum cn_net net,
                 struct cn_weights *w, struct golden *f)
{
    struct cn_tensor_view t = tensor(f, "timestep"), ctx = tensor(f, "context");
    struct run r;
    char name[16];

    run_open(&r, cn_time_graph(c, net, (int)t.dim[0]), w);
    cn_buffer_write(r.in[0], t.data);
    execute(&r);
    pass(&r, 0, input(step, "time"));
    run_close(&r);
    run_open(&r, cn_context_graph(c, net, (int)ctx.dim[0], (int)ctx.dim[1]), w);
    cn_buffer_write(r.in[0], ctx.data);
    execute(&r);
    for (int i = 0; i < r.g->n_outputs; i++) {
        snprintf(name, sizeof(name), "%s", r.g->output[i].name);
        pass(&r, i, input(step, name));
    }
    run_close(&r);
    cn_buffer_write(input(step, "sample"), tensor(f, "sample").data);
}

static struct cn_step_size step_size(struct golden *f, int controls)
{
    struct cn_tensor_view x = tensor(f, "sample"), ctx = tensor(f, "context");

    return (struct cn_step_size){(int)x.dim[0], (int)x.dim[2], (int)x.dim[3], (int)ctx.dim[1],
                                 controls, false};
}

static void feed_residuals(struct run *r, const struct cn_unet_config *c, struct golden *f)
{
    int levels = cn_control_levels(c);
    int n = (int)tensor(f, "sample").dim[0];
    float *ones = cn_xmalloc((size_t)(n * levels) * sizeof(*ones));
    char name[32], key[32];

    for (int i = 0; i < n * levels; i++)
        ones[i] = 1;
    cn_buffer_write(input(r, "weights.0"), ones);
    free(ones);
    for (int i = 0; i < levels; i++) {
        snprintf(name, sizeof(name), "control.0.%d", i);
        snprintf(key, sizeof(key), "control_%d", i);
        cn_buffer_write(input(r, name), tensor(f, key).data);
    }
}

static void check_unet(const struct cn_checkpoint *c, const char *dir)
{
    const struct cn_unet_config *u = cn_checkpoint_unet(c);
    struct cn_param_reader s;
    struct cn_weights *w;
    struct golden f;

    if (!golden_open(&f, dir, "unet"))
        return;
    cn_param_reader_init(&s, c, CN_COMP_UNET, NULL);
    w = weights(&s);
    for (int controls = 0; controls <= 1; controls++) {
        struct cn_step_size z = step_size(&f, controls);
        struct cn_tensor_view out;
        struct run r;

        if (controls && !cn_tensor_file_has(f.st, "out_control"))
            break;
        out = tensor(&f, controls ? "out_control" : "out");
        run_open(&r, cn_unet_graph(u, &z), w);
        feed(&r, u, CN_NET_UNET, w, &f);
        if (controls)
            feed_residuals(&r, u, &f);
        execute(&r);
        compare(controls ? "unet with control" : "unet", r.out[0], &out);
        run_close(&r);
    }
    cn_weights_free(w);
    golden_close(&f);
}

static void check_vae(const struct cn_checkpoint *c, const char *dir)
{
    const struct cn_vae_config *v = cn_checkpoint_vae(c);
    struct cn_tensor_view in, out;
    struct cn_param_reader s;
    struct cn_weights *w;
    struct golden f;
    struct run r;

    if (!golden_open(&f, dir, "vae"))
        return;
    cn_param_reader_init(&s, c, CN_COMP_VAE, NULL);
    w = weights(&s);
    in = tensor(&f, "image");
    out = tensor(&f, "moments");
    run_open(&r, cn_vae_encoder_graph(v, (int)in.dim[0], (int)in.dim[2], (int)in.dim[3]), w);
    cn_buffer_write(r.in[0], in.data);
    execute(&r);
    compare("vae encoder", r.out[0], &out);
    run_close(&r);
    in = tensor(&f, "latent");
    out = tensor(&f, "decoded");
    run_open(&r, cn_vae_decoder_graph(v, (int)in.dim[0], (int)in.dim[2], (int)in.dim[3]), w);
    cn_buffer_write(r.in[0], in.data);
    execute(&r);
    compare("vae decoder", r.out[0], &out);
    run_close(&r);
    cn_weights_free(w);
    golden_close(&f);
}

static void check_control(const char *path, const struct cn_checkpoint *base, const char *dir)
{
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    struct cn_err err = CN_ERR_INIT;
    struct cn_tensor_view hint;
    struct cn_checkpoint *c;
    struct cn_step_size z;
    char file[128], what[128], key[16];
    struct cn_param_reader s;
    struct cn_weights *w;
    struct golden f;
    struct run r, h;

    snprintf(file, sizeof(file), "controlnet-%s", name);
    if (!golden_open(&f, dir, file))
        return;
    must(cn_checkpoint_open(path, &c, &err), &err);
    cn_param_reader_init(&s, c, CN_COMP_CONTROL, cn_checkpoint_is_difference(c) ? base : NULL);
    w = weights(&s);
    z = step_size(&f, 0);
    hint = tensor(&f, "hint");
    run_open(&h, cn_hint_graph(cn_checkpoint_control(c), z.n, (int)hint.dim[2], (int)hint.dim[3]),
             w);
    cn_buffer_write(h.in[0], hint.data);
    execute(&h);
    run_open(&r, cn_control_graph(cn_checkpoint_control(c), &z), w);
    feed(&r, &cn_checkpoint_control(c)->unet, CN_NET_CONTROL, w, &f);
    pass(&h, 0, input(&r, "hint"));
    execute(&r);
    for (int i = 0; i < r.g->n_outputs; i++) {
        struct cn_tensor_view out;

        snprintf(key, sizeof(key), "out_%d", i);
        out = tensor(&f, key);
        snprintf(what, sizeof(what), "%s residual %d", name, i);
        compare(what, r.out[i], &out);
    }
    run_close(&r);
    run_close(&h);
    cn_weights_free(w);
    cn_checkpoint_close(c);
    golden_close(&f);
}

static struct cn_backend_opts opts = {.winograd_ratio = 0.35, .dtype = CN_F32, .cache_dir = "",
                                     .first_choice = true};

static void check_all(const char *name, char **arg, int n)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_checkpoint *c;
    double start = cn_now_s();

    must(cn_backend_open(name, &opts, &backend, &err), &err);
    printf("# %s on %s\n", arg[0], cn_backend_name(backend));
    must(cn_checkpoint_open(arg[0], &c, &err), &err);
    check_text(c, arg[1]);
    check_unet(c, arg[1]);
    check_vae(c, arg[1]);
    for (int i = 2; i < n; i++)
        check_control(arg[i], c, arg[1]);
    printf("# %.2f s\n", cn_now_s() - start);
    cn_checkpoint_close(c);
    cn_backend_close(backend);
}

int main(int argc, char **argv)
{
    const char *only = NULL;

    for (; argc > 2 && strncmp(argv[1], "--", 2) == 0; argc -= 2, argv += 2) {
        if (strcmp(argv[1], "--backend") == 0)
            only = argv[2];
        else if (strcmp(argv[1], "--dtype") == 0)
            opts.dtype = strcmp(argv[2], "f16") == 0    ? CN_F16
                         : strcmp(argv[2], "bf16") == 0 ? CN_BF16
                                                        : CN_F32;
        else if (strcmp(argv[1], "--bar") == 0)
            bar = atof(argv[2]);
        else
            argc = 0;
    }
    if (argc < 3) {
        fprintf(stderr, "usage: test_modules [--backend NAME] [--dtype f32|f16|bf16] [--bar X]\n"
                        "                    MODEL GOLDEN_DIR [CONTROL ...]\n");
        return 2;
    }
    for (const char *const *b = cn_backend_list(); *b != NULL; b++)
        if (only == NULL || strcmp(only, *b) == 0)
            check_all(*b, argv + 1, argc - 1);
    printf("%d comparisons, %d failed\n", comparisons, failures);
    return failures > 0 || comparisons == 0;
}
