/* Times the shapes of SD 1.5 at 512x512 on each backend.
 *
 *     bench_ops [-b backend] [-t threads] [-s seconds per row] [-p] [part of a row's name]
 *
 * Prints the best time of the runs that fit into the seconds, at least one after a warm-up; -p adds
 * the steps of each plan. The reference is timed only when -b names it: it takes minutes. */
#include "base/base.h"
#include "backend/backend.h"
#include "tests/backend/op_cases.h"
#include "tests/backend/op_run.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_IO = 8 };

struct settings {
    const char *backend, *filter;
    struct cn_backend_opts opts;
    double seconds;
};

/* A plan with native buffers: what runs inside a network. */
struct bench {
    struct cn_graph *g;
    struct cn_param_source source;
    struct cn_backend *b;
    struct cn_weights *w;
    struct cn_plan *p;
    struct cn_buffer *in[MAX_IO], *out[MAX_IO];
};

static int new_buffers(struct bench *x, const struct cn_io *io, int n, struct cn_buffer **ret,
                       struct cn_err *err)
{
    for (int i = 0; i < n; i++) {
        int rc =
            cn_buffer_new(x->b, &x->g->value[io[i].val], CN_DTYPE_COUNT, io[i].flags, &ret[i], err);

        if (rc < 0)
            return rc;
    }
    return CN_OK;
}

static int bench_open(struct bench *x, const struct op_case *c, const char *backend,
                      const struct settings *s, struct cn_err *err)
{
    int rc;

    *x = (struct bench){.g = op_case_graph(c)};
    op_make_native(x->g);
    x->source = op_source(x->g);
    rc = cn_backend_open(backend, &s->opts, &x->b, err);
    if (rc == CN_OK)
        rc = cn_weights_new(x->b, &x->source, &x->w, err);
    if (rc == CN_OK)
        rc = cn_plan_compile(x->b, x->g, x->w, CN_DTYPE_COUNT, 0, &x->p, err);
    if (rc == CN_OK)
        rc = new_buffers(x, x->g->input, x->g->n_inputs, x->in, err);
    if (rc == CN_OK)
        rc = new_buffers(x, x->g->output, x->g->n_outputs, x->out, err);
    for (int i = 0; rc == CN_OK && i < x->g->n_inputs; i++) {
        void *data = op_data(x->g, x->g->input[i].val);

        cn_buffer_write(x->in[i], data);
        free(data);
    }
    return rc;
}

static void bench_close(struct bench *x)
{
    for (int i = 0; i < MAX_IO; i++) {
        cn_buffer_free(x->in[i]);
        cn_buffer_free(x->out[i]);
    }
    cn_plan_free(x->p);
    cn_weights_free(x->w);
    cn_backend_close(x->b);
    cn_graph_free(x->g);
}

static int best_of(struct bench *x, double seconds, double *ret_s, struct cn_err *err)
{
    double end = cn_now_s() + seconds, best = 1e30;
    int rc = seconds > 0.0 ? cn_plan_run(x->p, x->in, x->out, err) : CN_OK;

    while (rc == CN_OK) {
        double start = cn_now_s();

        rc = cn_plan_run(x->p, x->in, x->out, err);
        best = CN_MIN(best, cn_now_s() - start);
        if (cn_now_s() >= end)
            break;
    }
    *ret_s = best;
    return rc;
}

static void bench_row(const struct op_case *c, const char *backend, const struct settings *s)
{
    struct cn_err err = CN_ERR_INIT;
    struct bench x;
    double t = 0.0;
    int rc = bench_open(&x, c, backend, s, &err);

    if (rc == CN_OK)
        rc = best_of(&x, s->seconds, &t, &err);
    if (rc < 0)
        printf("%-10s %-30s %s\n", backend, c->name, err.msg);
    else
        printf("%-10s %-30s %10.3f %9.1f %9.1f\n", backend, c->name, t * 1e3,
               op_flops(x.g) / t * 1e-9, (double)cn_plan_arena_bytes(x.p) / 1048576.0);
    if (rc == CN_OK && s->opts.profile) {
        char *text = cn_plan_profile(x.p);

        fputs(text, stdout);
        free(text);
    }
    fflush(stdout);
    bench_close(&x);
}

static bool chosen(const struct settings *s, const char *backend)
{
    if (s->backend != NULL)
        return strcmp(s->backend, backend) == 0;
    return strcmp(backend, "reference") != 0;
}

static int parse(struct settings *s, int argc, char **argv)
{
    int c;

    while ((c = getopt(argc, argv, "b:t:s:p")) != -1)
        switch (c) {
        case 'b':
            s->backend = optarg;
            break;
        case 't':
            s->opts.threads = atoi(optarg);
            break;
        case 's':
            s->seconds = atof(optarg);
            break;
        case 'p':
            s->opts.profile = true;
            break;
        default:
            fprintf(stderr, "usage: %s [-b backend] [-t threads] [-s seconds] [-p] [name]\n",
                    argv[0]);
            return 2;
        }
    s->filter = optind < argc ? argv[optind] : "";
    return 0;
}

int main(int argc, char **argv)
{
    struct settings s = {.opts = CN_BACKEND_DEFAULTS, .seconds = 1.0};

    if (parse(&s, argc, argv) != 0)
        return 2;
    printf("%-10s %-30s %10s %9s %9s\n", "backend", "shape", "ms", "GFLOP/s", "arena MiB");
    for (const struct op_case *c = op_shapes; c->name != NULL; c++)
        for (const char *const *name = cn_backend_list(); *name != NULL; name++)
            if (chosen(&s, *name) && strstr(c->name, s.filter) != NULL)
                bench_row(c, *name, &s);
    return 0;
}
