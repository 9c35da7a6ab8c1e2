/* The tensors of the published networks: how many, and how many parameters they have together. */
#include "base/base.h"
#include "model/expect.h"
#include "model/unet.h"
#include "tests/checkpoint/make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

struct sum {
    int tensors;
    int64_t parameters;
};

static void count(void *ctx, const char *name, int rank, const int64_t *dim)
{
    struct sum *s = ctx;
    int64_t n = 1;

    assert_true(name[0] != '\0');
    for (int i = 0; i < rank; i++)
        n *= dim[i];
    s->tensors++;
    s->parameters += n;
}

static void check(const struct sum *s, int tensors, int64_t parameters)
{
    assert_int_equal(s->tensors, tensors);
    assert_int_equal(s->parameters, parameters);
}

/* Of the files of stable-diffusion-v1-5 and of control_v11p_sd15. */
static void sd15_has_its_published_size(void **state)
{
    struct sum text = {0}, unet = {0}, vae = {0}, control = {0};

    (void)state;
    cn_expect_text(&sd15_text, count, &text);
    cn_expect_unet(&sd15_unet, count, &unet);
    cn_expect_vae(&sd15_vae, count, &vae);
    cn_expect_control(&sd15_control, count, &control);
    check(&text, 196, 123060480);
    check(&unet, 686, 859520964);
    check(&vae, 248, 83653863);
    check(&control, 340, 361279120);
}

static const struct cn_unet_config sdxl = {
    .in_channels = 4,
    .out_channels = 4,
    .blocks = 3,
    .channels = {320, 640, 1280},
    .down_attention = {false, true, true},
    .up_attention = {true, true, false},
    .mid_attention = true,
    .layers_per_block = 2,
    .heads = {5, 10, 20},
    .transformer_layers = {1, 2, 10},
    .cross_attention_dim = 2048,
    .norm_groups = 32,
    .norm_eps = 1e-5,
    .linear_projection = true,
    .flip_sin_to_cos = true,
    .add_dim = 2816,
    .add_time_dim = 256,
};

static struct sum control_of(const struct cn_unet_config *u)
{
    struct cn_control_config c = sd15_control;
    struct sum s = {0};

    c.unet = *u;
    cn_expect_control(&c, count, &s);
    return s;
}

/* Of the files of stable-diffusion-xl-base-1.0, and of its ControlNets in three sizes. */
static void sdxl_has_its_published_size(void **state)
{
    struct cn_text_config big = {.vocab_size = 49408,
                                 .hidden_size = 1280,
                                 .layers = 32,
                                 .heads = 20,
                                 .intermediate_size = 5120,
                                 .max_position = 77,
                                 .act = CN_GELU,
                                 .layer_norm_eps = 1e-5,
                                 .projection = 1280,
                                 .penultimate = true};
    struct cn_unet_config mid = sdxl, small = sdxl;
    struct sum text = {0}, unet = {0}, control;

    (void)state;
    cn_expect_text(&big, count, &text);
    cn_expect_unet(&sdxl, count, &unet);
    check(&text, 517, 694659840);
    check(&unet, 1680, 2567463684);
    control = control_of(&sdxl);
    check(&control, 844, 1251014160);
    mid.down_attention[1] = false;
    mid.transformer_layers[2] = 1;
    control = control_of(&mid);
    check(&control, 212, 270942480);
    small.down_attention[1] = small.down_attention[2] = false;
    small.transformer_layers[2] = 0;
    control = control_of(&small);
    check(&control, 140, 160111120);
}

struct sites {
    int all, attention, resnet, sampling;
    int64_t weights, rank_1; /* of those in attentions and of all texts: parameters, and of an
                                adapter of rank 1 */
    int64_t rest_rank_1;     /* of all others */
};

static void count_site(void *ctx, const struct cn_site *s)
{
    bool attention = strstr(s->name, ".attentions.") != NULL;
    bool resnet = strstr(s->name, ".resnets.") != NULL;
    bool sampling = strstr(s->name, "samplers.0.conv") != NULL;
    struct sites *n = ctx;

    assert_null(strstr(s->name, ".weight"));
    assert_true(s->k == 1 || (s->k == 3 && s->conv));
    n->all++;
    n->attention += attention;
    n->resnet += resnet;
    n->sampling += sampling;
    if (attention || strncmp(s->name, "text_model", 10) == 0) {
        n->weights += (int64_t)s->in * s->out;
        n->rank_1 += s->in + s->out;
    } else {
        n->rest_rank_1 += s->in * s->k * s->k + s->out;
    }
}

/* What kohya's scripts count: 192 modules in the UNet's transformers (267.0 M weights; 13.6 M
 * parameters at rank 32) and 72 in the text encoder; and what else LoCon adds: conv1, conv2 and
 * time_emb_proj of 22 residual blocks, 14 shortcuts, 3 downsamplers and 3 upsamplers, and the ends
 * (20.3 M at rank 32). */
static void adapters_attach_where_published_ones_do(void **state)
{
    struct sites unet = {0}, text = {0};

    (void)state;
    cn_sites_unet(&sd15_unet, count_site, &unet);
    assert_int_equal(unet.attention, 192);
    assert_int_equal(unet.resnet, 3 * 22 + 14);
    assert_int_equal(unet.sampling, 3 + 3);
    assert_int_equal(unet.all, 192 + 80 + 6 + 2 + 2); /* time_embedding, conv_in, conv_out */
    assert_int_equal(unet.weights, 266977280);
    assert_int_equal(32 * unet.rank_1, 13565952);
    assert_int_equal(32 * unet.rest_rank_1, 20296960);
    cn_sites_text(&sd15_text, count_site, &text);
    assert_int_equal(text.all, 72);
}

struct found {
    const char *name;
    int rank;
};

static void find(void *ctx, const char *name, int rank, const int64_t *dim)
{
    struct found *f = ctx;

    (void)dim;
    if (strcmp(name, f->name) == 0)
        f->rank = rank;
}

/* SD 1 has 1x1 convolutions around its transformers, SD 2 linear layers. */
static void projections_have_the_ranks_of_the_files(void **state)
{
    struct found f = {"mid_block.attentions.0.proj_in.weight", 0};
    struct cn_unet_config linear = sd15_unet;

    (void)state;
    cn_expect_unet(&sd15_unet, find, &f);
    assert_int_equal(f.rank, 4);
    linear.linear_projection = true;
    cn_expect_unet(&linear, find, &f);
    assert_int_equal(f.rank, 2);
}

/* The order that the engine relies on. */
static void inputs_stand_in_the_promised_order(void **state)
{
    struct cn_step_size z = {.n = 2, .h = 8, .w = 8, .s = 77, .controls = 1};
    struct cn_graph *g = cn_unet_graph(&sd15_unet, &z), *t;

    (void)state;
    t = cn_time_graph(&sd15_unet, CN_NET_UNET, 1);
    assert_string_equal(g->input[0].name, "sample");
    assert_string_equal(g->input[1].name, "time");
    assert_int_equal(cn_shape_of(g, g->input[1].val)->dim[1],
                     cn_shape_of(t, t->output[0].val)->dim[1]);
    for (int i = 0; i < 16; i++) {
        char name[16];

        snprintf(name, sizeof(name), "k%d", i);
        assert_string_equal(g->input[2 + 2 * i].name, name);
        snprintf(name, sizeof(name), "v%d", i);
        assert_string_equal(g->input[3 + 2 * i].name, name);
    }
    assert_string_equal(g->input[34].name, "weights.0");
    assert_string_equal(g->input[35].name, "control.0.0");
    assert_int_equal(g->n_inputs, 35 + cn_control_levels(&sd15_unet));
    cn_graph_free(g);
    cn_graph_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adapters_attach_where_published_ones_do),
        cmocka_unit_test(sd15_has_its_published_size),
        cmocka_unit_test(sdxl_has_its_published_size),
        cmocka_unit_test(projections_have_the_ranks_of_the_files),
        cmocka_unit_test(inputs_stand_in_the_promised_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
