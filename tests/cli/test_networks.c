/* Inspection knows what networks need from one list, the engine asks for what its graphs hold: the
 * two must be the same. Over the models of tests/data and the configurations of SD 1.5. */
#include "base/base.h"
#include "base/mem.h"
#include "base/strmap.h"
#include "checkpoint/expect.h"
#include "model/text.h"
#include "model/unet.h"
#include "model/vae.h"
#include "tests/checkpoint/make.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

/* Parameters of a network's graphs: name -> shape. */
struct wanted {
    const char *network;
    struct cn_strmap map;
    struct cn_arena arena;
    size_t listed;
};

static void wanted_init(struct wanted *w, const char *network)
{
    *w = (struct wanted){.network = network};
    cn_strmap_init(&w->map);
    cn_arena_init(&w->arena);
}

static void take_graph(struct wanted *w, struct cn_graph *g)
{
    for (int i = 0; i < g->count; i++)
        if (g->node[i].op == CN_OP_PARAM) {
            struct cn_shape *s = cn_arena_alloc(&w->arena, sizeof(*s));

            *s = g->value[i].shape;
            cn_strmap_add(&w->map, cn_arena_strdup(&w->arena, g->value[i].name), s);
        }
    cn_graph_free(g);
}

static void check(void *ctx, const char *name, int rank, const int64_t *dim)
{
    struct wanted *w = ctx;
    const struct cn_shape *have = cn_strmap_get(&w->map, name);
    struct cn_shape listed = {.rank = rank};

    memcpy(listed.dim, dim, (size_t)rank * sizeof(*dim));
    w->listed++;
    if (have != NULL && cn_shape_equivalent(have, &listed))
        return;
    printf("not ok %s: %s is listed, and %s the graphs\n", w->network, name,
           have ? "has another shape in" : "not in");
    failures++;
}

static void wanted_release(struct wanted *w)
{
    if (w->listed != w->map.count) {
        printf("not ok %s: %zu parameters are listed, the graphs have %zu\n", w->network,
               w->listed, w->map.count);
        failures++;
    } else {
        printf("ok     %s: %zu parameters\n", w->network, w->listed);
    }
    cn_strmap_release(&w->map);
    cn_arena_release(&w->arena);
}

static void check_text(const char *name, const struct cn_text_config *c)
{
    struct wanted w;

    wanted_init(&w, name);
    take_graph(&w, cn_text_graph(c, 1, 77, 0));
    cn_expect_text(c, check, &w);
    wanted_release(&w);
}

static void check_unet(const char *name, const struct cn_unet_config *c)
{
    struct cn_step_size z = {1, 16, 16, 77, 1};
    struct wanted w;

    wanted_init(&w, name);
    take_graph(&w, cn_time_graph(c, CN_NET_UNET, 1));
    take_graph(&w, cn_context_graph(c, CN_NET_UNET, 1, 77));
    take_graph(&w, cn_unet_graph(c, &z));
    cn_expect_unet(c, check, &w);
    wanted_release(&w);
}

static void check_control(const char *name, const struct cn_control_config *c)
{
    struct cn_step_size z = {1, 16, 16, 77, 0};
    int side = 16 << (c->hint_blocks - 1);
    struct wanted w;

    wanted_init(&w, name);
    take_graph(&w, cn_time_graph(&c->unet, CN_NET_CONTROL, 1));
    take_graph(&w, cn_context_graph(&c->unet, CN_NET_CONTROL, 1, 77));
    take_graph(&w, cn_hint_graph(c, 1, side, side));
    take_graph(&w, cn_control_graph(c, &z));
    cn_expect_control(c, check, &w);
    wanted_release(&w);
}

static void check_vae(const char *name, const struct cn_vae_config *c)
{
    struct wanted w;

    wanted_init(&w, name);
    take_graph(&w, cn_vae_encoder_graph(c, 1, 128, 128));
    take_graph(&w, cn_vae_decoder_graph(c, 1, 8, 8));
    cn_expect_vae(c, check, &w);
    wanted_release(&w);
}

static void check_model(const char *folder, const char *name)
{
    char *path = cn_xprintf("%s/%s", folder, name);
    struct cn_err err = CN_ERR_INIT;
    struct cn_checkpoint *c;

    if (cn_checkpoint_open(path, &c, &err) < 0) {
        printf("not ok %s\n", err.msg);
        failures++;
        free(path);
        return;
    }
    if (cn_checkpoint_text(c) != NULL)
        check_text(name, cn_checkpoint_text(c));
    if (cn_checkpoint_unet(c) != NULL)
        check_unet(name, cn_checkpoint_unet(c));
    if (cn_checkpoint_vae(c) != NULL)
        check_vae(name, cn_checkpoint_vae(c));
    if (cn_checkpoint_control(c) != NULL)
        check_control(name, cn_checkpoint_control(c));
    cn_checkpoint_close(c);
    free(path);
}

int main(void)
{
    static const char *const models[] = {"tiny", "tiny2", "tiny9", "tiny-control-a",
                                         "tiny-control-b", "tiny2-control"};

    for (size_t i = 0; i < CN_LEN(models); i++)
        check_model(CN_TEST_MODELS, models[i]);
    check_text("SD 1.5 text encoder", &sd15_text);
    check_unet("SD 1.5 UNet", &sd15_unet);
    check_vae("SD 1.5 VAE", &sd15_vae);
    check_control("SD 1.5 ControlNet", &sd15_control);
    return failures > 0;
}
