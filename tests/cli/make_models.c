/* One model of random weights in all the forms that files have.
 *
 *     make_models KEYS.tsv DIR
 *
 * KEYS.tsv is tests/data/golden/ldm-keys.tsv: every tensor of SD 1.5 with its diffusers name, its
 * name in single files, and its shape in "tiny15", a model of the same structure. Into DIR go the
 * weights of tiny15/ and tiny15-control/ (diffusers layout; the configuration files are the test's
 * to write), single.safetensors (base), single-control.safetensors and
 * single-difference.safetensors (ControlNet minus UNet).
 *
 * All weights are multiples of 2^-10 below 2: exact in F16, and differences and sums of them are
 * exact in F32, so that every form is the same model to the bit.
 */
#include "base/base.h"
#include "base/dtype.h"
#include "base/mem.h"
#include "checkpoint/safetensors.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT, UNET, VAE, CONTROL, COMPONENTS };

static const char *const component_names[COMPONENTS] = {"text_encoder", "unet", "vae",
                                                        "controlnet"};

struct tensor {
    int component;
    char *name, *single;
    int rank;
    int64_t dim[4];
    size_t n;
    uint16_t *f16;
};

static struct cn_arena arena;
static struct tensor *tensors;
static size_t n_tensors, tensors_cap;

/* ---- values: the formula of tools/goldens/formula.py, rounded ---- */

static uint32_t hash(const char *text, uint32_t h)
{
    for (; *text != '\0'; text++)
        h = (h ^ (unsigned char)*text) * 0x01000193u;
    return h;
}

/* [-1, 1) */
static double uniform(uint32_t seed, size_t i)
{
    uint32_t x = seed + (uint32_t)i * 0x9E3779B9u;

    x ^= x >> 16;
    x *= 0x7FEB352Du;
    x ^= x >> 15;
    x *= 0x846CA68Bu;
    x ^= x >> 16;
    return (x >> 8) * 0x1p-23 - 1;
}

static bool ends_with(const char *text, const char *end)
{
    size_t n = strlen(text), m = strlen(end);

    return n >= m && strcmp(text + n - m, end) == 0;
}

static double value(const struct tensor *t, double u)
{
    double gain = strstr(t->name, ".to_q.") || strstr(t->name, ".q_proj.") ? 2 : 1;

    if (strncmp(t->name, "controlnet_", 11) == 0 && strstr(t->name, "embedding") == NULL)
        gain = 0.25;
    if (ends_with(t->name, ".bias"))
        return 0.125 * u;
    if (t->rank == 1)
        return 1 + 0.25 * u;
    if (strstr(t->name, "embeddings.") != NULL)
        return 0.5 * u;
    return gain * sqrt(3.0 / ((double)t->n / (double)t->dim[0])) * u;
}

static void fill(struct tensor *t)
{
    uint32_t seed = hash(t->name, hash(component_names[t->component], 0x811C9DC5u));

    t->f16 = cn_xmalloc(t->n * sizeof(*t->f16));
    for (size_t i = 0; i < t->n; i++)
        t->f16[i] = cn_f32_to_f16((float)(rint(value(t, uniform(seed, i)) * 1024) / 1024));
}

/* ---- the table ---- */

static int component_of(const char *name)
{
    int i = 0;

    while (i < COMPONENTS - 1 && strcmp(component_names[i], name) != 0)
        i++;
    return i;
}

static void read_shape(struct tensor *t, char *text)
{
    t->n = 1;
    for (char *part; (part = strsep(&text, "x\n")) != NULL && part[0] != '\0'; t->rank++) {
        t->dim[t->rank] = atol(part);
        t->n *= (size_t)t->dim[t->rank];
    }
}

static void read_table(const char *path)
{
    FILE *f = fopen(path, "re");
    char line[1024];

    CN_ASSERT(f != NULL && fgets(line, sizeof(line), f) != NULL);
    while (fgets(line, sizeof(line), f) != NULL) {
        char *rest = line, *cell[5];
        struct tensor t = {0};

        for (int i = 0; i < 5; i++)
            cell[i] = strsep(&rest, "\t");
        CN_ASSERT(cell[4] != NULL);
        if (cell[4][0] == '-')
            continue; /* tiny15 has fewer layers in its text encoder */
        t.component = component_of(cell[0]);
        t.name = cn_xstrdup(cell[1]);
        t.single = cn_xstrdup(cell[2]);
        read_shape(&t, cell[4]);
        fill(&t);
        tensors = cn_grow(tensors, n_tensors, &tensors_cap, sizeof(*tensors));
        tensors[n_tensors++] = t;
    }
    fclose(f);
}

/* ---- files ---- */

struct file {
    struct cn_tensor_view *view;
    size_t n, cap;
};

static struct cn_tensor_view *add(struct file *f, const struct tensor *t, const char *name)
{
    struct cn_tensor_view *v;

    f->view = cn_grow(f->view, f->n, &f->cap, sizeof(*f->view));
    v = &f->view[f->n++];
    *v = (struct cn_tensor_view){.name = name,
                                 .dtype = CN_F16,
                                 .rank = t->rank,
                                 .data = t->f16,
                                 .bytes = t->n * sizeof(*t->f16)};
    memcpy(v->dim, t->dim, sizeof(t->dim));
    return v;
}

static void write_file(struct file *f, const char *dir, const char *name)
{
    char *path = cn_xprintf("%s/%s", dir, name);
    struct cn_err err = CN_ERR_INIT;

    if (cn_safetensors_write(path, f->view, f->n, NULL, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        exit(1);
    }
    free(path);
    free(f->view);
    *f = (struct file){0};
}

static void write_component(int component, const char *dir, const char *name)
{
    struct file f = {0};

    for (size_t i = 0; i < n_tensors; i++)
        if (tensors[i].component == component)
            add(&f, &tensors[i], tensors[i].name);
    write_file(&f, dir, name);
}

/* The autoencoder's attention is made of 1x1 convolutions in single files. */
static void add_single(struct file *f, const struct tensor *t)
{
    struct cn_tensor_view *v = add(f, t, t->single);

    if (strstr(t->single, ".attn_1.") == NULL || t->rank != 2)
        return;
    v->rank = 4;
    v->dim[2] = v->dim[3] = 1;
}

static void write_single(const char *dir)
{
    static int64_t ids[77];
    struct file f = {0};

    for (size_t i = 0; i < n_tensors; i++)
        if (tensors[i].component != CONTROL)
            add_single(&f, &tensors[i]);
    /* A buffer that files of the wild carry along. */
    f.view = cn_grow(f.view, f.n, &f.cap, sizeof(*f.view));
    f.view[f.n++] = (struct cn_tensor_view){
        .name = "cond_stage_model.transformer.text_model.embeddings.position_ids",
        .dtype = CN_I64, .rank = 2, .dim = {1, 77}, .data = ids, .bytes = sizeof(ids)};
    write_file(&f, dir, "single.safetensors");
}

static void write_single_control(const char *dir)
{
    struct file f = {0};

    for (size_t i = 0; i < n_tensors; i++)
        if (tensors[i].component == CONTROL)
            add_single(&f, &tensors[i]);
    write_file(&f, dir, "single-control.safetensors");
}

static const struct tensor *of_unet(const char *name)
{
    for (size_t i = 0; i < n_tensors; i++)
        if (tensors[i].component == UNET && strcmp(tensors[i].name, name) == 0)
            return &tensors[i];
    return NULL;
}

static void subtract(struct cn_tensor_view *v, const struct tensor *a, const struct tensor *b)
{
    float *x = cn_arena_alloc(&arena, a->n * sizeof(*x)), *y = cn_xmalloc(a->n * sizeof(*y));

    cn_to_f32(x, a->f16, CN_F16, a->n);
    cn_to_f32(y, b->f16, CN_F16, a->n);
    for (size_t i = 0; i < a->n; i++)
        x[i] -= y[i];
    free(y);
    v->dtype = CN_F32;
    v->data = x;
    v->bytes = a->n * sizeof(*x);
}

static void write_difference(const char *dir)
{
    static uint16_t zero[1];
    static const struct tensor mark = {.n = 1, .f16 = zero};
    struct file f = {0};

    for (size_t i = 0; i < n_tensors; i++) {
        const struct tensor *t = &tensors[i], *base = of_unet(t->name);

        if (t->component != CONTROL)
            continue;
        add_single(&f, t);
        if (base != NULL)
            subtract(&f.view[f.n - 1], t, base);
    }
    add(&f, &mark, "difference");
    write_file(&f, dir, "single-difference.safetensors");
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: make_models KEYS.tsv DIR\n");
        return 2;
    }
    cn_arena_init(&arena);
    read_table(argv[1]);
    write_component(TEXT, argv[2], "tiny15/text_encoder/model.safetensors");
    write_component(UNET, argv[2], "tiny15/unet/diffusion_pytorch_model.safetensors");
    write_component(VAE, argv[2], "tiny15/vae/diffusion_pytorch_model.safetensors");
    write_component(CONTROL, argv[2], "tiny15-control/diffusion_pytorch_model.safetensors");
    write_single(argv[2]);
    write_single_control(argv[2]);
    write_difference(argv[2]);
    cn_arena_release(&arena);
    return 0;
}
