/* LoRA files of random numbers. */
#include "base/base.h"
#include "tests/engine/lora.h"
#include "base/mem.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors.h"
#include "model/expect.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

struct writer {
    const struct lora *l;
    const char *prefix; /* "lora_unet_" */
    struct cn_arena arena;
    struct cn_tensor_view *view;
    size_t n, cap;
    uint32_t seed;
};

/* In [-1, 1]. */
static float random_number(struct writer *w)
{
    w->seed = w->seed * 1664525u + 1013904223u;
    return (float)(w->seed >> 8) / (float)(1 << 23) - 1;
}

static void add_tensor(struct writer *w, const char *site, const char *suffix, int rank,
                       const int64_t *dim, double scale)
{
    struct cn_tensor_view v = {.dtype = CN_F32, .rank = rank, .type = "F32"};
    char *name = cn_arena_printf(&w->arena, "%s%s.%s", w->prefix, site, suffix);
    size_t n = 1;
    float *x;

    for (char *c = name + strlen(w->prefix); c < name + strlen(w->prefix) + strlen(site); c++)
        if (*c == '.')
            *c = '_';
    for (int i = 0; i < rank; i++) {
        v.dim[i] = dim[i];
        n *= (size_t)dim[i];
    }
    x = cn_arena_alloc(&w->arena, n * sizeof(*x));
    for (size_t i = 0; i < n; i++)
        x[i] = rank == 0 ? (float)scale : (float)scale * random_number(w);
    v.name = name;
    v.data = x;
    v.bytes = n * sizeof(*x);
    w->view = cn_grow(w->view, w->n, &w->cap, sizeof(*w->view));
    w->view[w->n++] = v;
}

static void add_site(void *ctx, const struct cn_site *s)
{
    struct writer *w = ctx;
    int r = w->l->rank, taps = s->k * s->k;
    const int64_t down[] = {r, s->in, s->k, s->k}, up[] = {s->out, r, 1, 1};

    if (s->k > 1 && !w->l->convs)
        return;
    add_tensor(w, s->name, "lora_down.weight", s->conv ? 4 : 2, down, sqrt(3.0 / (s->in * taps)));
    add_tensor(w, s->name, "lora_up.weight", s->conv ? 4 : 2, up, w->l->size * sqrt(3.0 / r));
    add_tensor(w, s->name, "alpha", 0, NULL, r);
}

void make_lora(const char *path, const char *model, const struct lora *l)
{
    struct writer w = {.l = l, .prefix = "lora_unet_", .seed = l->seed};
    struct cn_err err = CN_ERR_INIT;
    struct cn_checkpoint *c;

    cn_arena_init(&w.arena);
    if (cn_checkpoint_open(model, &c, &err) < 0)
        fail_msg("%s", err.msg);
    cn_sites_unet(cn_checkpoint_unet(c), add_site, &w);
    w.prefix = "lora_te_";
    if (l->text)
        cn_sites_text(cn_checkpoint_text(c, 0), add_site, &w);
    if (cn_safetensors_write(path, w.view, w.n, NULL, &err) < 0)
        fail_msg("%s", err.msg);
    cn_checkpoint_close(c);
    cn_arena_release(&w.arena);
    free(w.view);
}
