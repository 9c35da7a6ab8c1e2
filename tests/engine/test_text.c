/* Text encoders: the graph's outputs, the added embedding of the times, and the context of a model
 * with two encoders, against plain computations in double precision that share nothing with them.
 *
 * Weights are a function of their names.
 */
#include "base/base.h"
#include "base/mem.h"
#include "diffusion/control.h"
#include "engine/job_priv.h"
#include "model/expect.h"
#include "model/text.h"
#include "model/unet.h"
#include "tests/checkpoint/make.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* ---- weights by name ---- */

/* Small numbers; near 1 in norms. salt tells two networks of the same names apart. */
static double weight(const char *name, int salt, size_t i)
{
    uint32_t h = 2166136261u + (uint32_t)salt;
    double x;

    for (; *name != '\0'; name++)
        h = (h ^ (unsigned char)*name) * 16777619u;
    h = (h ^ (uint32_t)i) * 2654435761u;
    h = (h ^ h >> 15) * 2246822519u;
    x = (double)(h >> 8) / (double)(1 << 24) - 0.5;
    return (double)(float)(0.4 * x);
}

static double value_of(const char *name, int salt, size_t i)
{
    bool norm = strstr(name, "norm") != NULL && strstr(name, "weight") != NULL;

    return (norm ? 1 : 0) + weight(name, salt, i);
}

static int get(void *ctx, const char *name, struct cn_param_data *ret, struct cn_err *err)
{
    const struct cn_graph *g = ctx;

    (void)err;
    for (int v = 0; v < g->count; v++) {
        size_t n = (size_t)cn_shape_elements(&g->value[v].shape);
        float *x;

        if (g->node[v].op != CN_OP_PARAM || strcmp(g->value[v].name, name) != 0)
            continue;
        x = calloc(n, sizeof(*x));
        for (size_t i = 0; i < n; i++)
            x[i] = (float)value_of(name, 0, i);
        *ret = (struct cn_param_data){.dtype = CN_F32,
                                      .shape = g->value[v].shape,
                                      .data = x,
                                      .bytes = n * sizeof(*x),
                                      .owned = x};
        return CN_OK;
    }
    return CN_ENOTFOUND;
}

static void done(void *ctx, const char *name, struct cn_param_data *d)
{
    (void)ctx;
    (void)name;
    free(d->owned);
}

/* ---- plain computations ---- */

/* Columns [n, k] through a linear layer of these names: ret [n, out]. bias NULL: none. */
static void linear(const double *x, int n, int k, int out, const char *path, bool bias, int salt,
                   double *ret)
{
    char name[160];

    for (int r = 0; r < n; r++)
        for (int o = 0; o < out; o++) {
            double sum = 0;

            snprintf(name, sizeof(name), "%s.weight", path);
            for (int i = 0; i < k; i++)
                sum += x[r * k + i] * value_of(name, salt, (size_t)(o * k + i));
            snprintf(name, sizeof(name), "%s.bias", path);
            ret[r * out + o] = sum + (bias ? value_of(name, salt, (size_t)o) : 0);
        }
}

static void layer_norm(const double *x, int n, int d, const char *path, int salt, double *ret)
{
    char w[160], b[160];

    snprintf(w, sizeof(w), "%s.weight", path);
    snprintf(b, sizeof(b), "%s.bias", path);
    for (int r = 0; r < n; r++) {
        double mean = 0, var = 0;

        for (int i = 0; i < d; i++)
            mean += x[r * d + i] / d;
        for (int i = 0; i < d; i++)
            var += (x[r * d + i] - mean) * (x[r * d + i] - mean) / d;
        for (int i = 0; i < d; i++)
            ret[r * d + i] =
                (x[r * d + i] - mean) / sqrt(var + 1e-5) * value_of(w, salt, (size_t)i) +
                value_of(b, salt, (size_t)i);
    }
}

static double activation(enum cn_activation act, double x)
{
    if (act == CN_QUICK_GELU)
        return x / (1 + exp(-1.702 * x));
    return act == CN_SILU ? x / (1 + exp(-x)) : 0.5 * x * (1 + erf(x / sqrt(2)));
}

/* Causal attention of one row [s, d]. */
static void attend(const double *q, const double *k, const double *v, int s, int d, int heads,
                   double *ret)
{
    int w = d / heads;

    memset(ret, 0, (size_t)(s * d) * sizeof(*ret));
    for (int h = 0; h < heads; h++)
        for (int i = 0; i < s; i++) {
            double p[CN_CLIP_LENGTH], sum = 0;

            for (int j = 0; j <= i; j++) {
                p[j] = 0;
                for (int c = h * w; c < (h + 1) * w; c++)
                    p[j] += q[i * d + c] * k[j * d + c];
                p[j] = exp(p[j] / sqrt(w));
                sum += p[j];
            }
            for (int j = 0; j <= i; j++)
                for (int c = h * w; c < (h + 1) * w; c++)
                    ret[i * d + c] += p[j] / sum * v[j * d + c];
        }
}

enum { MAX = CN_CLIP_LENGTH * 128 };

/* x [s, d] through transformer layer i, in place. */
static void plain_layer(double *x, int s, const struct cn_text_config *c, int i, int salt)
{
    static double h[MAX], q[MAX], k[MAX], v[MAX];
    int d = c->hidden_size;
    char path[4][128], mlp[2][128], norm[128];
    static const char *const part[] = {"q_proj", "k_proj", "v_proj", "out_proj"};

    for (int j = 0; j < 4; j++)
        snprintf(path[j], sizeof(path[j]), "text_model.encoder.layers.%d.self_attn.%s", i, part[j]);
    for (int j = 0; j < 2; j++)
        snprintf(mlp[j], sizeof(mlp[j]), "text_model.encoder.layers.%d.mlp.fc%d", i, j + 1);
    snprintf(norm, sizeof(norm), "text_model.encoder.layers.%d.layer_norm1", i);
    layer_norm(x, s, d, norm, salt, h);
    linear(h, s, d, d, path[0], true, salt, q);
    linear(h, s, d, d, path[1], true, salt, k);
    linear(h, s, d, d, path[2], true, salt, v);
    attend(q, k, v, s, d, c->heads, h);
    linear(h, s, d, d, path[3], true, salt, q);
    for (int j = 0; j < s * d; j++)
        x[j] += q[j];
    norm[strlen(norm) - 1] = '2';
    layer_norm(x, s, d, norm, salt, h);
    linear(h, s, d, c->intermediate_size, mlp[0], true, salt, q);
    for (int j = 0; j < s * c->intermediate_size; j++)
        q[j] = activation(c->act, q[j]);
    linear(q, s, c->intermediate_size, d, mlp[1], true, salt, k);
    for (int j = 0; j < s * d; j++)
        x[j] += k[j];
}

/* One row of ids: context [s, d], and pooled [projection] unless it is NULL. */
static void plain_text(const struct cn_text_config *c, const int32_t *ids, int s,
                       const struct cn_text_use *use, int end, int salt, double *context,
                       double *pooled)
{
    static double x[MAX];
    int d = c->hidden_size, used = c->layers - use->skip;

    for (int t = 0; t < s; t++)
        for (int i = 0; i < d; i++)
            x[t * d + i] = value_of("text_model.embeddings.token_embedding.weight", salt,
                                    (size_t)(ids[t] * d + i)) +
                           value_of("text_model.embeddings.position_embedding.weight", salt,
                                    (size_t)(t * d + i));
    for (int i = 0; i < used; i++)
        plain_layer(x, s, c, i, salt);
    if (use->final_norm)
        layer_norm(x, s, d, "text_model.final_layer_norm", salt, context);
    else
        memcpy(context, x, (size_t)(s * d) * sizeof(*x));
    if (pooled == NULL)
        return;
    for (int i = used; i < c->layers; i++)
        plain_layer(x, s, c, i, salt);
    layer_norm(x + end * d, 1, d, "text_model.final_layer_norm", salt, x);
    linear(x, 1, d, c->projection, "text_projection", false, salt, pooled);
}

static void assert_near(const float *have, const double *want, size_t n)
{
    double error = 0, norm = 0;

    for (size_t i = 0; i < n; i++) {
        error += (have[i] - want[i]) * (have[i] - want[i]);
        norm += want[i] * want[i];
    }
    assert_true(norm > 0);
    if (error > 1e-10 * norm) /* a relative error of 1e-5 */
        fail_msg("relative error %g", sqrt(error / norm));
}

/* ---- graphs ---- */

static struct cn_backend *backend;

/* Runs g on host arrays. */
static void run_graph(struct cn_graph *g, const void *const *in, float **out)
{
    struct cn_param_source source = {.ctx = g, .get = get, .done = done};
    struct cn_buffer *from[4], *to[4];
    struct cn_weights *w;
    struct cn_plan *plan;

    assert_int_equal(cn_weights_new(backend, &source, &w, NULL), CN_OK);
    assert_int_equal(cn_plan_compile(backend, g, w, CN_DTYPE_COUNT, 0, &plan, NULL), CN_OK);
    for (int i = 0; i < g->n_inputs; i++) {
        assert_int_equal(cn_buffer_new(backend, &g->value[g->input[i].val], CN_DTYPE_COUNT,
                                       g->input[i].flags, &from[i], NULL),
                         CN_OK);
        cn_buffer_write(from[i], in[i]);
    }
    for (int i = 0; i < g->n_outputs; i++)
        assert_int_equal(cn_buffer_new(backend, &g->value[g->output[i].val], CN_DTYPE_COUNT,
                                       g->output[i].flags, &to[i], NULL),
                         CN_OK);
    assert_int_equal(cn_plan_run(plan, from, to, NULL), CN_OK);
    for (int i = 0; i < g->n_outputs; i++)
        cn_buffer_read(to[i], out[i]);
    for (int i = 0; i < g->n_inputs; i++)
        cn_buffer_free(from[i]);
    for (int i = 0; i < g->n_outputs; i++)
        cn_buffer_free(to[i]);
    cn_plan_free(plan);
    cn_weights_free(w);
    cn_graph_free(g);
}

static const struct cn_text_config second = {.vocab_size = 768,
                                             .hidden_size = 12,
                                             .layers = 3,
                                             .heads = 3,
                                             .intermediate_size = 20,
                                             .max_position = 77,
                                             .act = CN_GELU,
                                             .layer_norm_eps = 1e-5,
                                             .projection = 8};

enum { N = 2, S = 9 };

static void encoders_give_what_they_are_asked_for(void **state)
{
    static const struct cn_text_use use[] = {{.final_norm = true},
                                             {.skip = 1},
                                             {.final_norm = true, .pooled = true},
                                             {.skip = 1, .pooled = true},
                                             {.skip = 2, .final_norm = true, .pooled = true}};
    const int32_t end[N] = {S - 1, 3};
    float rows[N * S * 12];
    int32_t ids[N * S];

    (void)state;
    for (int i = 0; i < N * S; i++)
        ids[i] = i * 131 % second.vocab_size;
    for (int i = 0; i < N * S * 12; i++)
        rows[i] = (float)value_of("text_model.embeddings.token_embedding.weight", 0,
                                  (size_t)(ids[i / 12] * 12 + i % 12)) +
                  (float)value_of("text_model.embeddings.position_embedding.weight", 0,
                                  (size_t)(i % (S * 12)));
    for (size_t k = 0; k < CN_LEN(use); k++) {
        float context[N * S * 12], pooled[N * 8], *out[] = {context, pooled};
        const void *in[] = {rows, end};

        run_graph(cn_text_graph(&second, N, S, &use[k]), in, out);
        for (int r = 0; r < N; r++) {
            double want[S * 12], sum[8];

            plain_text(&second, ids + r * S, S, &use[k], end[r], 0, want,
                       use[k].pooled ? sum : NULL);
            assert_near(context + r * S * 12, want, S * 12);
            if (use[k].pooled)
                assert_near(pooled + r * 8, sum, 8);
        }
    }
}

/* Every block's projection of silu(time embedding + added embedding). */
static void times_take_an_added_embedding(void **state)
{
    struct cn_unet_config c = tiny_unet;
    static const char *const blocks[] = {"down_blocks.0.resnets.0", "down_blocks.1.resnets.0",
                                         "down_blocks.2.resnets.0", "mid_block.resnets.0",
                                         "mid_block.resnets.1"};
    static const int width[] = {32, 64, 64, 64, 64};
    const float t[N] = {999, 20.5f};
    float add[N * 24], out[N * 288], *to[] = {out};
    const void *in[] = {t, add};

    (void)state;
    c.add_dim = 24;
    c.time_cond_proj_dim = 6; /* of the UNet only: a ControlNet does not look at it */
    for (int i = 0; i < N * 24; i++)
        add[i] = (float)weight("add", 0, (size_t)i) * 5;
    run_graph(cn_time_graph(&c, CN_NET_CONTROL, N), in, to);
    for (int r = 0, at = 0; r < N; r++, at = 0) {
        double sines[32], x[24], h[128], a[128], e[128], want[64];

        for (int i = 0; i < 16; i++) {
            double f = t[r] * exp(-log(10000) * i / 16);

            sines[i] = cos(f);
            sines[16 + i] = sin(f);
        }
        for (int i = 0; i < 24; i++)
            x[i] = add[r * 24 + i];
        linear(sines, 1, 32, 128, "time_embedding.linear_1", true, 0, h);
        for (int i = 0; i < 128; i++)
            h[i] = activation(CN_SILU, h[i]);
        linear(h, 1, 128, 128, "time_embedding.linear_2", true, 0, e);
        linear(x, 1, 24, 128, "add_embedding.linear_1", true, 0, h);
        for (int i = 0; i < 128; i++)
            h[i] = activation(CN_SILU, h[i]);
        linear(h, 1, 128, 128, "add_embedding.linear_2", true, 0, a);
        for (int i = 0; i < 128; i++)
            e[i] = activation(CN_SILU, e[i] + a[i]);
        for (size_t b = 0; b < CN_LEN(blocks); at += width[b++]) {
            char name[64];

            snprintf(name, sizeof(name), "%s.time_emb_proj", blocks[b]);
            linear(e, 1, 128, width[b], name, true, 0, want);
            assert_near(out + r * 288 + at, want, (size_t)width[b]);
        }
    }
}

/* Latent consistency models: the scale of guidance is added to the time's sines, before the layers
 * of its embedding. The values of the embedding are diffusers' get_guidance_scale_embedding(). */
static void times_take_the_scale_of_guidance(void **state)
{
    enum { DIM = 9, ALL = 608 };
    static const float known[DIM] = {-0.0447847f, 0.1101554f, 0.9911232f, 0.6051864f, -0.9989967f,
                                     0.9939144f,  0.1329467f, 0.7960838f, 0};
    struct cn_unet_config c = tiny_unet;
    const float t[N] = {999, 20.5f};
    float w[N * DIM], out[N * ALL], *to[] = {out};
    const void *in[] = {t, w};

    (void)state;
    for (int r = 0; r < N; r++)
        cn_guidance_embedding(7.5, DIM, w + r * DIM);
    for (int i = 0; i < DIM; i++)
        assert_true(fabsf(w[i] - known[i]) < 2e-4f);
    c.time_cond_proj_dim = DIM;
    run_graph(cn_time_graph(&c, CN_NET_UNET, N), in, to);
    for (int r = 0; r < N; r++) {
        double x[32], e[DIM], p[32], h[128], g[128], want[32];

        for (int i = 0; i < 16; i++) {
            double f = t[r] * exp(-log(10000) * i / 16);

            x[i] = cos(f);
            x[16 + i] = sin(f);
        }
        for (int i = 0; i < DIM; i++)
            e[i] = w[r * DIM + i];
        linear(e, 1, DIM, 32, "time_embedding.cond_proj", false, 0, p);
        for (int i = 0; i < 32; i++)
            x[i] += p[i];
        linear(x, 1, 32, 128, "time_embedding.linear_1", true, 0, h);
        for (int i = 0; i < 128; i++)
            h[i] = activation(CN_SILU, h[i]);
        linear(h, 1, 128, 128, "time_embedding.linear_2", true, 0, g);
        for (int i = 0; i < 128; i++)
            g[i] = activation(CN_SILU, g[i]);
        linear(g, 1, 128, 32, "down_blocks.0.resnets.0.time_emb_proj", true, 0, want);
        assert_near(out + r * ALL, want, 32);
    }
}

/* ---- a model with two encoders ---- */

enum { FIRST = 36, BOTH = 48 }; /* hidden sizes */

static const struct cn_text_config first = {.vocab_size = 768,
                                            .hidden_size = FIRST,
                                            .layers = 2,
                                            .heads = 3,
                                            .intermediate_size = 40,
                                            .max_position = 77,
                                            .act = CN_QUICK_GELU,
                                            .layer_norm_eps = 1e-5};

struct writer {
    struct make m;
    int salt;
};

static void add_tensor(void *ctx, const char *name, int rank, const int64_t *dim)
{
    struct writer *w = ctx;
    struct cn_tensor_view *v;
    float *x;

    make_add(&w->m, name, CN_F32, rank, dim);
    v = &w->m.view[w->m.n - 1];
    x = cn_arena_alloc(&w->m.arena, v->bytes);
    for (size_t i = 0; i < v->bytes / sizeof(*x); i++)
        x[i] = (float)value_of(name, w->salt, i);
    v->data = x;
}

static void write_text_encoder(const char *dir, const struct cn_text_config *c, int salt)
{
    struct writer w = {.salt = salt};
    char *path = cn_xprintf("%s/model.safetensors", dir);

    make_init(&w.m);
    cn_expect_text(c, add_tensor, &w);
    make_write(&w.m, path);
    make_release(&w.m);
    free(path);
    path = cn_xprintf("{\"vocab_size\":%d,\"hidden_size\":%d,\"num_hidden_layers\":%d,"
                      "\"num_attention_heads\":%d,\"intermediate_size\":%d,\"hidden_act\":\"%s\","
                      "\"projection_dim\":%d}",
                      c->vocab_size, c->hidden_size, c->layers, c->heads, c->intermediate_size,
                      c->act == CN_GELU ? "gelu" : "quick_gelu", c->projection);
    make_text(path, "%s/config.json", dir);
    free(path);
}

static const char index_json[] =
    "{\"unet\":[\"diffusers\",\"UNet2DConditionModel\"],\"vae\":[\"diffusers\",\"AutoencoderKL\"],"
    "\"text_encoder\":[\"transformers\",\"CLIPTextModel\"],"
    "\"text_encoder_2\":[\"transformers\",\"CLIPTextModelWithProjection\"]}";

static const char unet_json[] =
    "{\"in_channels\":4,\"out_channels\":4,\"block_out_channels\":[32,64,64],"
    "\"layers_per_block\":1,\"cross_attention_dim\":48,\"attention_head_dim\":8,"
    "\"down_block_types\":[\"CrossAttnDownBlock2D\",\"CrossAttnDownBlock2D\",\"DownBlock2D\"],"
    "\"up_block_types\":[\"UpBlock2D\",\"CrossAttnUpBlock2D\",\"CrossAttnUpBlock2D\"],"
    "\"sample_size\":8}";

static void shell(const char *fmt, const char *folder)
{
    char *command = cn_xprintf("d=%s; %s", folder, fmt);

    assert_int_equal(system(command), 0);
    free(command);
}

/* FOLDER/two: the tiny model's vocabulary and autoencoder; the second tokenizer pads with "!". */
static void write_model(const char *folder)
{
    struct writer w = {.salt = 3};
    char *dir = cn_xprintf("%s/two", folder);
    char *one = cn_xprintf("%s/text_encoder", dir), *other = cn_xprintf("%s/text_encoder_2", dir);
    char *unet = cn_xprintf("%s/unet/diffusion_pytorch_model.safetensors", dir);

    shell("t=tests/data/models/tiny; t=${srcdir:-.}/$t; mkdir -p $d/two/unet $d/two/text_encoder "
          "$d/two/text_encoder_2 && cp -rL $t/tokenizer $t/vae $t/scheduler $d/two && "
          "cp -rL $t/tokenizer $d/two/tokenizer_2 && chmod -R u+w $d && "
          "sed -i 's/\\(\"pad_token\": *\\)\"[^\"]*\"/\\1\"!\"/' $d/two/tokenizer_2/*.json",
          folder);
    make_text(index_json, "%s/model_index.json", dir);
    make_text(unet_json, "%s/unet/config.json", dir);
    write_text_encoder(one, &first, 1);
    write_text_encoder(other, &second, 2);
    make_init(&w.m);
    cn_expect_unet(&tiny_unet, add_tensor, &w);
    make_write(&w.m, unet);
    make_release(&w.m);
    free(dir);
    free(one);
    free(other);
    free(unet);
}

/* The ids that tokenizer `name` of the model gives a text. */
static void tokens_of(const char *folder, const char *name, const char *text, int32_t *ids)
{
    char *dir = cn_xprintf("%s/two/%s", folder, name);
    struct cn_tokenizer *t;

    assert_int_equal(cn_tokenizer_open(dir, &t, NULL), CN_OK);
    assert_int_equal(cn_tokenizer_encode(t, NULL, text, ids, CN_CLIP_LENGTH, NULL, NULL), CN_OK);
    cn_tokenizer_close(t);
    free(dir);
}

/* The keys that the first attention makes of a text: [77, 32]. */
static void plain_keys(const char *folder, const char *text, int skip, double *ret)
{
    static double a[CN_CLIP_LENGTH * FIRST], b[CN_CLIP_LENGTH * 12], both[CN_CLIP_LENGTH * BOTH];
    const struct cn_text_use use = {.skip = 1 + skip};
    int32_t ids[2][CN_CLIP_LENGTH];

    tokens_of(folder, "tokenizer", text, ids[0]);
    tokens_of(folder, "tokenizer_2", text, ids[1]);
    assert_int_not_equal(ids[0][CN_CLIP_LENGTH - 1], ids[1][CN_CLIP_LENGTH - 1]);
    plain_text(&first, ids[0], CN_CLIP_LENGTH, &use, 0, 1, a, NULL);
    plain_text(&second, ids[1], CN_CLIP_LENGTH, &use, 0, 2, b, NULL);
    for (int t = 0; t < CN_CLIP_LENGTH; t++) {
        memcpy(both + t * BOTH, a + t * FIRST, FIRST * sizeof(*a));
        memcpy(both + t * BOTH + FIRST, b + t * 12, 12 * sizeof(*b));
    }
    linear(both, CN_CLIP_LENGTH, BOTH, 32,
           "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k", false, 3, ret);
}

/* The keys of both rows of a job with these prompts: [2, 77, 32]. */
static void keys_of(struct cn_engine *e, const char *negative, const char *prompt, float *ret)
{
    struct cn_engine_cb cb = {.ctx = NULL};
    const struct cn_row_input *k;
    struct cn_err err = CN_ERR_INIT;
    struct cn_spec s;
    struct cn_job *j;

    cn_spec_init(&s);
    free(s.prompt);
    free(s.negative_prompt);
    s.prompt = cn_xstrdup(prompt);
    s.negative_prompt = cn_xstrdup(negative);
    s.has_seed = true;
    s.steps = 1;
    if (cn_job_new(e, &s, &cb, 0, &j, &err) < 0 || cn_job_prepare(j, &err) < 0)
        fail_msg("%s", err.msg);
    k = &j->main.rows.input[0];
    assert_string_equal(k->name, "k0");
    assert_int_equal(k->entries, 2);
    cn_buffer_read(k->buffer, ret);
    cn_job_free(j);
    cn_spec_release(&s);
}

static void contexts_stand_side_by_side(void **state)
{
    static float have[2 * CN_CLIP_LENGTH * 32];
    static double want[CN_CLIP_LENGTH * 32];
    struct cn_engine_opts o = CN_ENGINE_DEFAULTS;
    size_t row = CN_CLIP_LENGTH * 32;
    char *folder = make_folder();
    struct cn_engine *e;

    (void)state;
    o.backend = "reference";
    write_model(folder);
    assert_int_equal(cn_engine_new(&o, &e, NULL), CN_OK);
    assert_int_equal(cn_engine_scan(e, folder, NULL), CN_OK);
    keys_of(e, "a", "b of c", have);
    plain_keys(folder, "a", 0, want);
    assert_near(have, want, row);
    plain_keys(folder, "b of c", 0, want);
    assert_near(have + row, want, row);
    /* What is not said is nothing, not the text "". */
    keys_of(e, "", "b of c", have);
    assert_near(have + row, want, row);
    for (size_t i = 0; i < row; i++)
        assert_true(have[i] == 0);
    cn_engine_free(e);
    make_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encoders_give_what_they_are_asked_for),
        cmocka_unit_test(times_take_an_added_embedding),
        cmocka_unit_test(times_take_the_scale_of_guidance),
        cmocka_unit_test(contexts_stand_side_by_side),
    };
    struct cn_backend_opts o = CN_BACKEND_DEFAULTS;
    int failed;

    if (cn_backend_open("reference", &o, &backend, NULL) < 0)
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    cn_backend_close(backend);
    return failed;
}
