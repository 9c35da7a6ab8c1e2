/* checkpoint: SDXL's models, which have two text encoders, as single files: the pipeline in
 * tests/data/models/tinyxl, which diffusers wrote, under the names that such files have. */
#include "base/base.h"
#include "base/file.h"
#include "base/spec.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/safetensors.h"
#include "runtime/inspect.h"
#include "make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* What shapes of so small a model do not say. */
static const char sidecar[] =
    "{\"unet\":{\"attention_head_dim\":[1,2,4],\"norm_num_groups\":4,\"sample_size\":12},"
    "\"vae\":{\"norm_num_groups\":4},\"text_encoder\":{\"num_attention_heads\":2},"
    "\"text_encoder_2\":{\"num_attention_heads\":2}}";

static struct cn_checkpoint *open_ok(const char *path)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_checkpoint *c = NULL;

    if (cn_checkpoint_open(path, &c, &err) < 0)
        fail_msg("%s", err.msg);
    return c;
}

static void open_fails(const char *path, const char *why)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_checkpoint *c;

    assert_int_equal(cn_checkpoint_open(path, &c, &err), CN_EINVAL);
    if (strstr(err.msg, why) == NULL)
        fail_msg("%s", err.msg);
}

static struct cn_checkpoint *tinyxl(void)
{
    const char *src = getenv("srcdir");
    char *dir = cn_xprintf("%s/tests/data/models/tinyxl", src != NULL ? src : ".");
    struct cn_checkpoint *c = open_ok(dir);

    free(dir);
    return c;
}

/* ---- writing ---- */

static void *read_bytes(struct make *m, const struct cn_tensor_view *v)
{
    void *p = cn_arena_alloc(&m->arena, v->bytes);
    struct cn_err err = CN_ERR_INIT;

    assert_int_equal(cn_view_read(v, p, &err), CN_OK);
    return p;
}

static void add_view(struct make *m, const struct cn_tensor_view *v, const char *prefix,
                     const char *name)
{
    struct cn_tensor_view own = *v;

    own.data = read_bytes(m, v);
    own.stride = NULL;
    own.name = cn_arena_printf(&m->arena, "%s%s", prefix, name);
    m->view = cn_grow(m->view, m->n, &m->cap, sizeof(*m->view));
    m->view[m->n++] = own;
}

/* UNet and autoencoder. */
static void add_ldm(struct make *m, const struct cn_checkpoint *c, enum cn_component comp,
                    const char *prefix)
{
    const struct cn_unet_config *u = cn_checkpoint_unet(c);
    struct cn_layout l = {.levels = u->blocks, .layers = u->layers_per_block};
    char name[256];

    memcpy(l.up_attention, u->up_attention, sizeof(l.up_attention));
    if (comp == CN_COMP_VAE)
        l.levels = cn_checkpoint_vae(c)->blocks;
    for (size_t i = 0; i < cn_checkpoint_count(c, comp); i++) {
        struct cn_tensor_view v;

        cn_checkpoint_at(c, comp, i, &v);
        assert_true(cn_name_to_ldm(comp, &l, v.name, name, sizeof(name)));
        add_view(m, &v, prefix, name);
    }
}

static void add_text(struct make *m, const struct cn_checkpoint *c, enum cn_component comp,
                     const char *prefix)
{
    for (size_t i = 0; i < cn_checkpoint_count(c, comp); i++) {
        struct cn_tensor_view v;

        cn_checkpoint_at(c, comp, i, &v);
        add_view(m, &v, prefix, v.name);
    }
}

/* Rows of q, k and v, one after the other. */
static void add_joined(struct make *m, const struct cn_checkpoint *c, const char *prefix, int layer,
                       const char *kind)
{
    struct cn_tensor_view v[3], all;
    char name[128];
    unsigned char *p;

    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof(name), "text_model.encoder.layers.%d.self_attn.%c_proj.%s", layer,
                 "qkv"[i], kind);
        assert_int_equal(cn_checkpoint_find(c, CN_COMP_TEXT_2, name, &v[i], NULL), CN_OK);
    }
    all = v[0];
    all.dim[0] *= 3;
    all.bytes *= 3;
    p = cn_arena_alloc(&m->arena, all.bytes);
    for (int i = 0; i < 3; i++)
        memcpy(p + (size_t)i * v[0].bytes, read_bytes(m, &v[i]), v[0].bytes);
    all.data = p;
    all.name = cn_arena_printf(&m->arena, "%stransformer.resblocks.%d.attn.in_proj_%s", prefix,
                               layer, kind);
    m->view = cn_grow(m->view, m->n, &m->cap, sizeof(*m->view));
    m->view[m->n++] = all;
}

/* The projection as OpenCLIP has it, multiplied from the right. */
static void add_projection(struct make *m, const struct cn_tensor_view *v, const char *prefix)
{
    size_t rows = (size_t)v->dim[0], columns = (size_t)v->dim[1], size = v->bytes / rows / columns;
    const unsigned char *from = read_bytes(m, v);
    unsigned char *to = cn_arena_alloc(&m->arena, v->bytes);
    struct cn_tensor_view own = *v;

    for (size_t r = 0; r < rows; r++)
        for (size_t k = 0; k < columns; k++)
            memcpy(to + (k * rows + r) * size, from + (r * columns + k) * size, size);
    own.dim[0] = (int64_t)columns;
    own.dim[1] = (int64_t)rows;
    own.data = to;
    own.name = cn_arena_printf(&m->arena, "%stext_projection", prefix);
    m->view = cn_grow(m->view, m->n, &m->cap, sizeof(*m->view));
    m->view[m->n++] = own;
}

static void add_layer_tensor(struct make *m, const struct cn_checkpoint *c, const char *prefix,
                             int layer, const char *rest, const struct cn_tensor_view *v)
{
    static const char *const rows[][2] = {{"layer_norm1.", "ln_1."},
                                          {"layer_norm2.", "ln_2."},
                                          {"mlp.fc1.", "mlp.c_fc."},
                                          {"mlp.fc2.", "mlp.c_proj."},
                                          {"self_attn.out_proj.", "attn.out_proj."}};
    char name[128];

    if (strncmp(rest, "self_attn.q_proj.", 17) == 0)
        add_joined(m, c, prefix, layer, rest + 17);
    for (size_t i = 0; i < CN_LEN(rows); i++)
        if (strncmp(rest, rows[i][0], strlen(rows[i][0])) == 0) {
            snprintf(name, sizeof(name), "transformer.resblocks.%d.%s%s", layer, rows[i][1],
                     rest + strlen(rows[i][0]));
            add_view(m, v, prefix, name);
        }
}

/* The second text encoder in OpenCLIP's names. */
static void add_openclip(struct make *m, const struct cn_checkpoint *c, const char *prefix)
{
    for (size_t i = 0; i < cn_checkpoint_count(c, CN_COMP_TEXT_2); i++) {
        struct cn_tensor_view v;
        int layer, at = 0;

        cn_checkpoint_at(c, CN_COMP_TEXT_2, i, &v);
        if (sscanf(v.name, "text_model.encoder.layers.%d.%n", &layer, &at) == 1)
            add_layer_tensor(m, c, prefix, layer, v.name + at, &v);
        else if (strcmp(v.name, "text_projection.weight") == 0)
            add_projection(m, &v, prefix);
        else if (strstr(v.name, "token_embedding") != NULL)
            add_view(m, &v, prefix, "token_embedding.weight");
        else if (strstr(v.name, "position_embedding") != NULL)
            add_view(m, &v, prefix, "positional_embedding");
        else
            add_view(m, &v, prefix,
                     strstr(v.name, "bias") != NULL ? "ln_final.bias" : "ln_final.weight");
    }
    make_add(m, cn_arena_printf(&m->arena, "%slogit_scale", prefix), CN_F32, 0, NULL);
}

static void add_whole(struct make *m, const struct cn_checkpoint *c, bool openclip)
{
    add_ldm(m, c, CN_COMP_UNET, "model.diffusion_model.");
    add_ldm(m, c, CN_COMP_VAE, "first_stage_model.");
    add_text(m, c, CN_COMP_TEXT, "conditioner.embedders.0.transformer.");
    if (openclip)
        add_openclip(m, c, "conditioner.embedders.1.model.");
    else
        add_text(m, c, CN_COMP_TEXT_2, "conditioner.embedders.1.transformer.");
}

/* ---- comparing ---- */

static void same_tensors(const struct cn_checkpoint *a, const struct cn_checkpoint *b)
{
    struct cn_inspect r;

    for (int k = 0; k < CN_COMP_COUNT; k++) {
        enum cn_component comp = (enum cn_component)k;

        assert_int_equal(cn_checkpoint_count(a, comp), cn_checkpoint_count(b, comp));
        for (size_t i = 0; i < cn_checkpoint_count(a, comp); i++) {
            struct cn_tensor_view v, w;

            cn_checkpoint_at(a, comp, i, &v);
            cn_checkpoint_at(b, comp, i, &w);
            assert_string_equal(v.name, w.name);
            assert_same_bytes(&v, &w);
        }
    }
    cn_inspect_checkpoint(b, NULL, NULL, &r);
    for (int i = 0; i < CN_COMP_COUNT; i++)
        for (int k = 0; k < CN_FINDING_COUNT; k++)
            assert_int_equal(r.part[i].findings[k], 0);
}

static void same_configs(const struct cn_checkpoint *a, const struct cn_checkpoint *b)
{
    assert_memory_equal(cn_checkpoint_unet(a), cn_checkpoint_unet(b),
                        sizeof(struct cn_unet_config));
    assert_memory_equal(cn_checkpoint_vae(a), cn_checkpoint_vae(b), sizeof(struct cn_vae_config));
    assert_memory_equal(cn_checkpoint_schedule(a), cn_checkpoint_schedule(b),
                        sizeof(struct cn_schedule_config));
    for (int i = 0; i < CN_MAX_TEXTS; i++) {
        struct cn_text_config t = *cn_checkpoint_text(b, i);

        /* the tokenizer's files say them */
        t.pad_token = cn_checkpoint_text(a, i)->pad_token;
        t.bos_token = cn_checkpoint_text(a, i)->bos_token;
        assert_memory_equal(cn_checkpoint_text(a, i), &t, sizeof(t));
    }
    assert_true(cn_checkpoint_zeroes_empty(a) && cn_checkpoint_zeroes_empty(b));
}

static void a_single_file_is_the_same_model(void **state)
{
    char *folder = make_folder(), *path = cn_xprintf("%s/xl.safetensors", folder);
    struct cn_checkpoint *a = tinyxl();

    (void)state;
    make_text(sidecar, "%s/xl.json", folder);
    for (int openclip = 0; openclip < 2; openclip++) {
        struct cn_checkpoint *b;
        struct make m;

        make_init(&m);
        add_whole(&m, a, openclip);
        make_write(&m, path);
        b = open_ok(path);
        same_tensors(a, b);
        same_configs(a, b);
        cn_checkpoint_close(b);
        make_release(&m);
    }
    cn_checkpoint_close(a);
    make_remove(folder);
    free(path);
}

/* A UNet alone, as Lightning's are, with the others beside it. */
static void parts_come_from_files_beside(void **state)
{
    static const char *const files[] = {"text_encoder", "text_encoder_2", "vae"};
    char *folder = make_folder(), *path = cn_xprintf("%s/xl.safetensors", folder);
    struct cn_checkpoint *a = tinyxl(), *b;
    struct make m;

    (void)state;
    make_text(sidecar, "%s/xl.json", folder);
    make_text("{\"text_encoder\":{\"num_attention_heads\":2}}", "%s/text_encoder.json", folder);
    make_text("{\"text_encoder\":{\"num_attention_heads\":2}}", "%s/text_encoder_2.json", folder);
    make_text("{\"vae\":{\"norm_num_groups\":4}}", "%s/vae.json", folder);
    make_text("{\"unet\":{\"attention_head_dim\":[1,2,4],\"norm_num_groups\":4,"
              "\"sample_size\":12}}",
              "%s/xl.json", folder);
    for (size_t i = 0; i < CN_LEN(files); i++) {
        char *beside = cn_xprintf("%s/%s.safetensors", folder, files[i]);

        make_init(&m);
        if (i == 0)
            add_text(&m, a, CN_COMP_TEXT, "");
        else if (i == 1)
            add_openclip(&m, a, "");
        else
            add_ldm(&m, a, CN_COMP_VAE, "");
        make_write(&m, beside);
        make_release(&m);
        free(beside);
    }
    make_init(&m);
    add_text(&m, a, CN_COMP_UNET, ""); /* diffusers' names */
    make_write(&m, path);
    make_release(&m);
    b = open_ok(path);
    same_tensors(a, b);
    assert_memory_equal(cn_checkpoint_unet(a), cn_checkpoint_unet(b),
                        sizeof(struct cn_unet_config));
    assert_true(cn_checkpoint_vae(b)->scaling_factor == 0.13025);
    assert_int_equal(cn_checkpoint_text(b, 1)->projection, 20);
    assert_true(cn_checkpoint_text(b, 1)->penultimate);
    cn_checkpoint_close(b);
    cn_checkpoint_close(a);
    make_remove(folder);
    free(path);
}

/* ---- marks of v-prediction and zero SNR ---- */

static void write_marked(const struct cn_checkpoint *c, const char *path, const char *tensor,
                         const char *const *metadata)
{
    static const int64_t none[] = {0};
    struct cn_err err = CN_ERR_INIT;
    struct make m;

    make_init(&m);
    add_whole(&m, c, true);
    if (tensor != NULL)
        make_add(&m, tensor, CN_F32, 1, none); /* without any values, as they are published */
    assert_int_equal(cn_safetensors_write(path, m.view, m.n, metadata, &err), CN_OK);
    make_release(&m);
}

static void marks_say_what_is_predicted(void **state)
{
    static const struct {
        const char *tensor, *key, *value;
        bool v, zero_snr;
    } marks[] = {
        {NULL, NULL, NULL, false, false},
        {"v_pred", NULL, NULL, true, false},
        {"ztsnr", NULL, NULL, false, true},
        {NULL, "modelspec.prediction_type", "v", true, false},
        {NULL, "modelspec.predict_key", "v", true, false},
        {"v_pred", "modelspec.predict_key", "epsilon", false, false},
        {"v_pred", "ss_zero_terminal_snr", "True", true, true},
        {"v_pred", "ss_zero_terminal_snr", "False", true, false},
    };
    char *folder = make_folder(), *path = cn_xprintf("%s/xl.safetensors", folder);
    struct cn_checkpoint *a = tinyxl(), *b;

    (void)state;
    make_text(sidecar, "%s/xl.json", folder);
    for (size_t i = 0; i < CN_LEN(marks); i++) {
        const char *const metadata[] = {marks[i].key, marks[i].value, NULL};
        const struct cn_schedule_config *s;

        write_marked(a, path, marks[i].tensor, metadata);
        b = open_ok(path);
        s = cn_checkpoint_schedule(b);
        assert_int_equal(s->prediction, marks[i].v ? CN_PREDICT_V : CN_PREDICT_EPSILON);
        assert_int_equal(s->rescale_zero_snr, marks[i].zero_snr);
        assert_int_equal(s->spacing, marks[i].zero_snr ? CN_TRAILING : CN_LEADING);
        cn_checkpoint_close(b);
    }
    write_marked(a, path, "edm_mean", NULL);
    open_fails(path, "Playground");
    write_marked(a, path, "edm_vpred.sigma_max", NULL);
    open_fails(path, "CosXL");
    cn_checkpoint_close(a);
    make_remove(folder);
    free(path);
}

/* ---- ControlNets ---- */

static void small_control_nets_read_no_text(void **state)
{
    static const char *const dirs[] = {"tinyxl-control", "tinyxl-control-mid",
                                       "tinyxl-control-small"};
    const char *src = getenv("srcdir");
    char *folder = make_folder();
    struct cn_checkpoint *base = tinyxl();

    (void)state;
    for (size_t i = 0; i < CN_LEN(dirs); i++) {
        char *dir = cn_xprintf("%s/tests/data/models/%s", src != NULL ? src : ".", dirs[i]);
        char *path = cn_xprintf("%s/%s.safetensors", folder, dirs[i]);
        struct cn_checkpoint *a = open_ok(dir), *b;
        const struct cn_unet_config *u = &cn_checkpoint_control(a)->unet;
        struct cn_control_config other;
        struct cn_err err = CN_ERR_INIT;
        struct make m;

        make_init(&m);
        add_text(&m, a, CN_COMP_CONTROL, "");
        make_write(&m, path);
        make_text("{\"controlnet\":{\"attention_head_dim\":[1,2,4],\"norm_num_groups\":4}}",
                  "%s/%s.json", folder, dirs[i]);
        b = open_ok(path);
        same_tensors(a, b);
        assert_int_equal(cn_checkpoint_control(b)->unet.cross_attention_dim,
                         i == 2 ? 0 : u->cross_attention_dim);
        assert_int_equal(cn_checkpoint_control(b)->unet.transformer_layers[2], 2 - (int)i);
        other = *cn_checkpoint_control(b);
        assert_int_equal(cn_control_matches(&other, cn_checkpoint_unet(base), NULL), CN_OK);
        other.unet.add_dim = 0;
        assert_int_equal(cn_control_matches(&other, cn_checkpoint_unet(base), &err), CN_EINVAL);
        assert_non_null(strstr(err.msg, "pooled text and sizes"));
        cn_checkpoint_close(a);
        cn_checkpoint_close(b);
        make_release(&m);
        free(dir);
        free(path);
    }
    cn_checkpoint_close(base);
    make_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_single_file_is_the_same_model),
        cmocka_unit_test(parts_come_from_files_beside),
        cmocka_unit_test(marks_say_what_is_predicted),
        cmocka_unit_test(small_control_nets_read_no_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
