/* Models of random weights for tests. */
#include "base/base.h"
#include "base/file.h"
#include "make.h"
#include "checkpoint/safetensors.h"

#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TINY_ENCODER                                                                               \
    .in_channels = 4, .out_channels = 4, .blocks = 3, .channels = {32, 64, 64},                    \
    .down_attention = {true, true, false}, .up_attention = {false, true, true},                    \
    .mid_attention = true, .layers_per_block = 1, .heads = {8, 8, 8},                              \
    .transformer_layers = {1, 1, 1}, .cross_attention_dim = 48, .norm_groups = 32,                 \
    .norm_eps = 1e-5, .flip_sin_to_cos = true

#define SD15_ENCODER                                                                               \
    .in_channels = 4, .out_channels = 4, .sample_height = 64, .sample_width = 64, .blocks = 4,     \
    .channels = {320, 640, 1280, 1280}, .down_attention = {true, true, true, false},               \
    .up_attention = {false, true, true, true}, .mid_attention = true, .layers_per_block = 2,       \
    .heads = {8, 8, 8, 8}, .transformer_layers = {1, 1, 1, 1}, .cross_attention_dim = 768,         \
    .norm_groups = 32, .norm_eps = 1e-5, .flip_sin_to_cos = true

const struct cn_unet_config tiny_unet = {TINY_ENCODER, .sample_height = 64, .sample_width = 64};
const struct cn_unet_config sd15_unet = {SD15_ENCODER};

const struct cn_control_config tiny_control = {
    .unet = {TINY_ENCODER}, .hint_channels = 3, .hint_blocks = 3, .hint_out = {8, 12, 16}};
const struct cn_control_config sd15_control = {
    .unet = {SD15_ENCODER}, .hint_channels = 3, .hint_blocks = 4, .hint_out = {16, 32, 96, 256}};

const struct cn_vae_config tiny_vae = {.in_channels = 3,
                                       .out_channels = 3,
                                       .latent_channels = 4,
                                       .blocks = 2,
                                       .channels = {32, 64},
                                       .layers_per_block = 1,
                                       .norm_groups = 32,
                                       .mid_attention = true,
                                       .use_quant_conv = true,
                                       .use_post_quant_conv = true,
                                       .scaling_factor = 0.18215};
const struct cn_vae_config sd15_vae = {.in_channels = 3,
                                       .out_channels = 3,
                                       .latent_channels = 4,
                                       .blocks = 4,
                                       .channels = {128, 256, 512, 512},
                                       .layers_per_block = 2,
                                       .norm_groups = 32,
                                       .mid_attention = true,
                                       .use_quant_conv = true,
                                       .use_post_quant_conv = true,
                                       .scaling_factor = 0.18215};

const struct cn_text_config tiny_text = {.vocab_size = 100,
                                         .hidden_size = 48,
                                         .layers = 2,
                                         .heads = 1,
                                         .intermediate_size = 80,
                                         .max_position = 77,
                                         .act = CN_QUICK_GELU,
                                         .layer_norm_eps = 1e-5,
                                         .bos_token = 98,
                                         .eos_token = 99,
                                         .pad_token = 99};
const struct cn_text_config sd15_text = {.vocab_size = 49408,
                                         .hidden_size = 768,
                                         .layers = 12,
                                         .heads = 12,
                                         .intermediate_size = 3072,
                                         .max_position = 77,
                                         .act = CN_QUICK_GELU,
                                         .layer_norm_eps = 1e-5,
                                         .bos_token = 49406,
                                         .eos_token = 49407,
                                         .pad_token = 49407};

const struct cn_layout tiny_layout = {
    .levels = 3, .layers = 1, .hint_convs = 6, .up_attention = {false, true, true}};
const struct cn_layout sd15_layout = {
    .levels = 4, .layers = 2, .hint_convs = 8, .up_attention = {false, true, true, true}};
const struct cn_layout tiny_vae_layout = {.levels = 2};
const struct cn_layout sd15_vae_layout = {.levels = 4};

void make_init(struct make *m)
{
    *m = (struct make){.seed = 1, .prefix = "", .dtype = CN_F16};
    cn_arena_init(&m->arena);
}

void make_release(struct make *m)
{
    free(m->view);
    cn_arena_release(&m->arena);
}

void make_add(struct make *m, const char *name, enum cn_dtype t, int rank, const int64_t *dim)
{
    struct cn_tensor_view v = {.dtype = t, .rank = rank, .bytes = cn_dtype_size(t)};
    unsigned char *p;

    for (int i = 0; i < rank; i++) {
        v.dim[i] = dim[i];
        v.bytes *= (size_t)dim[i];
    }
    p = cn_arena_alloc(&m->arena, v.bytes);
    for (size_t i = 0; i < v.bytes; i++) {
        m->seed = m->seed * 1664525u + 1013904223u;
        p[i] = (unsigned char)(m->seed >> 24);
    }
    v.name = cn_arena_strdup(&m->arena, name);
    v.data = p;
    m->view = cn_grow(m->view, m->n, &m->cap, sizeof(*m->view));
    m->view[m->n++] = v;
}

void make_expected(void *ctx, const char *name, int rank, const int64_t *dim)
{
    struct make *m = ctx;
    char other[256], full[512];

    if (m->ldm != NULL) {
        CN_ASSERT(cn_name_to_ldm(m->comp, m->ldm, name, other, sizeof(other)));
        name = other;
    }
    if (m->flat && rank == 4 && dim[2] == 1)
        rank = 2;
    snprintf(full, sizeof(full), "%s%s", m->prefix, name);
    make_add(m, full, m->dtype, rank, dim);
}

void assert_same_bytes(const struct cn_tensor_view *a, const struct cn_tensor_view *b)
{
    void *x = cn_xmalloc(a->bytes + 1), *y = cn_xmalloc(b->bytes + 1);

    CN_ASSERT(a->bytes == b->bytes);
    CN_ASSERT(cn_view_read(a, x, NULL) == CN_OK);
    CN_ASSERT(cn_view_read(b, y, NULL) == CN_OK);
    CN_ASSERT(memcmp(x, y, a->bytes) == 0);
    free(x);
    free(y);
}

void make_write(const struct make *m, const char *path)
{
    struct cn_err err = CN_ERR_INIT;

    if (cn_safetensors_write(path, m->view, m->n, NULL, &err) < 0) {
        fprintf(stderr, "%s\n", err.msg);
        abort();
    }
}

char *make_folder(void)
{
    char *folder = cn_xstrdup("checkpoint-XXXXXX");

    CN_ASSERT(mkdtemp(folder) != NULL);
    return folder;
}

static void remove_all(const char *path)
{
    DIR *d = opendir(path);
    struct dirent *e;

    while (d != NULL && (e = readdir(d)) != NULL) {
        char *p;

        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        p = cn_xprintf("%s/%s", path, e->d_name);
        if (unlink(p) < 0)
            remove_all(p);
        free(p);
    }
    if (d != NULL)
        closedir(d);
    rmdir(path);
}

void make_remove(char *folder)
{
    remove_all(folder);
    free(folder);
}

void make_text(const char *text, const char *fmt, ...)
{
    char path[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(path, sizeof(path), fmt, ap);
    va_end(ap);
    CN_ASSERT(cn_file_write(path, text, strlen(text), NULL) == CN_OK);
}

void make_dir(const char *fmt, ...)
{
    char path[512];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(path, sizeof(path), fmt, ap);
    va_end(ap);
    CN_ASSERT(mkdir(path, 0755) == 0);
}
