/* checkpoint: the models in tests/data/models, which diffusers wrote, and the same as single files.
 *
 * That the LDM names written here are the original ones was checked once against diffusers'
 * convert_ldm_unet_checkpoint() and its siblings, which turned such files back into the same
 * tensors. */
#include "base/base.h"
#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "runtime/inspect.h"
#include "make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const struct {
    const char *name;
    const char *sidecar; /* what the shapes of so small models do not say */
} models[] = {
    {"tiny", "{\"unet\":{\"attention_head_dim\":[2,4,4],\"norm_num_groups\":4,\"sample_size\":12},"
             "\"vae\":{\"norm_num_groups\":4},\"text_encoder\":{\"num_attention_heads\":3}}"},
    {"tiny2", "{\"unet\":{\"attention_head_dim\":[1,2,3],\"norm_num_groups\":8,\"sample_size\":8},"
              "\"vae\":{\"norm_num_groups\":4,\"scaling_factor\":0.13},\"scheduler\":{\"prediction_"
              "type\":\"v_prediction\","
              "\"timestep_spacing\":\"trailing\"},"
              "\"text_encoder\":{\"num_attention_heads\":2,\"hidden_act\":\"gelu\"}}"},
    {"tiny9", "{\"unet\":{\"attention_head_dim\":2,\"norm_num_groups\":4,\"sample_size\":24},"
              "\"vae\":{\"norm_num_groups\":4},\"text_encoder\":{\"num_attention_heads\":2}}"},
    {"tiny-control-a", "{\"controlnet\":{\"attention_head_dim\":[2,4,4],\"norm_num_groups\":4}}"},
    {"tiny2-control", "{\"controlnet\":{\"attention_head_dim\":[1,2,3],\"norm_num_groups\":8}}"},
};

static struct cn_checkpoint *open_ok(const char *path)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_checkpoint *c = NULL;

    if (cn_checkpoint_open(path, &c, &err) < 0)
        fail_msg("%s", err.msg);
    return c;
}

static char *model_path(const char *name)
{
    const char *src = getenv("srcdir");

    return cn_xprintf("%s/tests/data/models/%s", src != NULL ? src : ".", name);
}

static const struct cn_unet_config *net_of(const struct cn_checkpoint *c)
{
    const struct cn_unet_config *u = cn_checkpoint_unet(c);

    return u != NULL ? u : &cn_checkpoint_control(c)->unet;
}

static void is_complete(const struct cn_checkpoint *c)
{
    struct cn_inspect r;

    cn_inspect_checkpoint(c, NULL, NULL, &r);
    for (int i = 0; i < CN_COMP_COUNT; i++)
        for (int k = 0; k < CN_FINDING_COUNT; k++)
            assert_int_equal(r.part[i].findings[k], 0);
}

/* All tensors of a component under their LDM names. */
static void add_component(struct make *m, const struct cn_checkpoint *c, enum cn_component comp)
{
    const struct cn_unet_config *u = net_of(c);
    struct cn_layout l = {.levels = u->blocks, .layers = u->layers_per_block};
    char name[256];

    memcpy(l.up_attention, u->up_attention, sizeof(l.up_attention));
    if (comp == CN_COMP_VAE)
        l.levels = cn_checkpoint_vae(c)->blocks;
    if (comp == CN_COMP_CONTROL)
        l.hint_convs = 2 * cn_checkpoint_control(c)->hint_blocks;
    for (size_t i = 0; i < cn_checkpoint_count(c, comp); i++) {
        struct cn_tensor_view v;

        cn_checkpoint_at(c, comp, i, &v);
        assert_true(cn_name_to_ldm(comp, &l, v.name, name, sizeof(name)));
        v.name = cn_arena_printf(&m->arena, "%s%s", cn_ldm_prefix[comp], name);
        m->view = cn_grow(m->view, m->n, &m->cap, sizeof(*m->view));
        m->view[m->n++] = v;
    }
}

static void same_tensors(const struct cn_checkpoint *a, const struct cn_checkpoint *b)
{
    for (int k = 0; k < CN_COMP_COUNT; k++) {
        enum cn_component comp = (enum cn_component)k;

        assert_int_equal(cn_checkpoint_count(a, comp), cn_checkpoint_count(b, comp));
        for (size_t i = 0; i < cn_checkpoint_count(a, comp); i++) {
            struct cn_tensor_view v, w;

            cn_checkpoint_at(a, comp, i, &v);
            cn_checkpoint_at(b, comp, i, &w);
            assert_string_equal(v.name, w.name);
            assert_int_equal(v.bytes, w.bytes);
            assert_same_bytes(&v, &w);
        }
    }
}

/* Configurations are zeroed before they are filled: padding does not differ. */
static void same_configs(const struct cn_checkpoint *a, const struct cn_checkpoint *b)
{
    struct cn_unet_config u = *net_of(b);

    if (cn_checkpoint_unet(a) == NULL) { /* a ControlNet's file has no such numbers */
        u.sample_height = net_of(a)->sample_height;
        u.sample_width = net_of(a)->sample_width;
    }
    u.out_channels = net_of(a)->out_channels;
    memcpy(u.up_attention, net_of(a)->up_attention, sizeof(u.up_attention));
    assert_memory_equal(net_of(a), &u, sizeof(u));
    if (cn_checkpoint_vae(a) != NULL)
        assert_memory_equal(cn_checkpoint_vae(a), cn_checkpoint_vae(b),
                            sizeof(struct cn_vae_config));
    if (cn_checkpoint_text(a, 0) != NULL) {
        struct cn_text_config t = *cn_checkpoint_text(b, 0);
        struct cn_schedule_config s = *cn_checkpoint_schedule(b);

        s.spacing = cn_checkpoint_schedule(a)->spacing; /* files leave it to the sampler */
        t.pad_token = cn_checkpoint_text(a, 0)->pad_token; /* the tokenizer's files say it */
        assert_memory_equal(cn_checkpoint_text(a, 0), &t, sizeof(t));
        assert_memory_equal(cn_checkpoint_schedule(a), &s, sizeof(s));
    }
}

static void models_are_the_same_as_single_files(void **state)
{
    char *folder = make_folder();

    (void)state;
    for (size_t i = 0; i < CN_LEN(models); i++) {
        char *dir = model_path(models[i].name);
        char *path = cn_xprintf("%s/%s.safetensors", folder, models[i].name);
        struct cn_checkpoint *a, *b;
        struct make m;

        if (!cn_dir_exists(dir))
            skip();
        a = open_ok(dir);
        is_complete(a);
        make_init(&m);
        for (int k = 0; k < CN_COMP_COUNT; k++)
            if (cn_checkpoint_has(a, (enum cn_component)k))
                add_component(&m, a, (enum cn_component)k);
        make_write(&m, path);
        /* NAME.json, and what an earlier version read: NAME.safetensors.json */
        make_text(models[i].sidecar, i % 2 ? "%s/%s.safetensors.json" : "%s/%s.json", folder,
                  models[i].name);
        b = open_ok(path);
        is_complete(b);
        same_tensors(a, b);
        same_configs(a, b);
        cn_checkpoint_close(a);
        cn_checkpoint_close(b);
        make_release(&m);
        free(path);
        free(dir);
    }
    make_remove(folder);
}

/* A file with every component, and what stands beside it. */
static void a_file_beside_the_model_is_read_or_refused_by_key(void **state)
{
    static const struct {
        const char *more, *says; /* one more member of tiny's, and the refusal; NULL: none */
    } beside[] = {
        {"\"scheduler\":{\"prediction_type\":\"v_prediction\"}", NULL},
        {"\"scheduler\":{\"prediction_typ\":\"v_prediction\"}", "prediction_typ"},
        {"\"scheduler\":7", "scheduler"},
        {"\"schedule\":{\"prediction_type\":\"v_prediction\"}", "schedule"},
        {"\"controlnet\":{\"attention_head_dim\":4}", "controlnet"},
        /* notes of other programs: texts and numbers under their own keys */
        {"\"description\":\"red\",\"sd version\":\"SD1\",\"preferred weight\":0", NULL},
    };
    char *folder = make_folder(), *dir = model_path("tiny");
    char *path = cn_xprintf("%s/tiny.v1.safetensors", folder);
    struct cn_checkpoint *a;
    struct make m;

    (void)state;
    if (!cn_dir_exists(dir))
        skip();
    a = open_ok(dir);
    make_init(&m);
    for (int k = 0; k < CN_COMP_COUNT; k++)
        if (cn_checkpoint_has(a, (enum cn_component)k))
            add_component(&m, a, (enum cn_component)k);
    make_write(&m, path);
    for (size_t i = 0; i < CN_LEN(beside); i++) {
        char *text = cn_xprintf("%.*s,%s}", (int)strlen(models[0].sidecar) - 1, models[0].sidecar,
                                beside[i].more);
        struct cn_checkpoint *c = NULL;
        struct cn_err err = CN_ERR_INIT;
        int rc;

        make_text(text, "%s/tiny.v1.json", folder);
        rc = cn_checkpoint_open(path, &c, &err);
        assert_int_equal(rc, beside[i].says == NULL ? CN_OK : CN_EINVAL);
        if (beside[i].says != NULL) {
            char *named = cn_xprintf("tiny.v1.json\": \"%s\": ", beside[i].says);

            if (strstr(err.msg, named) == NULL)
                fail_msg("%s", err.msg);
            free(named);
        } else if (i == 0) {
            assert_int_equal(cn_checkpoint_schedule(c)->prediction, CN_PREDICT_V);
        }
        if (c != NULL)
            cn_checkpoint_close(c);
        free(text);
    }
    make_release(&m);
    cn_checkpoint_close(a);
    free(path);
    free(dir);
    make_remove(folder);
}

/* A1111's notes have a text "vae"; only without our own "vae" beside it. */
static void notes_may_name_a_vae(void **state)
{
    char *folder = make_folder();
    char *path = cn_xprintf("%s/control.safetensors", folder), *dir = model_path("tiny-control-a");
    struct cn_checkpoint *a, *c;
    struct make m;

    (void)state;
    if (!cn_dir_exists(dir))
        skip();
    a = open_ok(dir);
    make_init(&m);
    add_component(&m, a, CN_COMP_CONTROL);
    make_write(&m, path);
    make_text("{\"controlnet\":{\"attention_head_dim\":[2,4,4],\"norm_num_groups\":4},"
              "\"vae\":\"Automatic\"}",
              "%s/control.json", folder);
    c = open_ok(path);
    is_complete(c);
    cn_checkpoint_close(c);
    cn_checkpoint_close(a);
    make_release(&m);
    free(path);
    free(dir);
    make_remove(folder);
}

static void controlnets_know_their_models(void **state)
{
    static const struct {
        const char *control, *base;
        bool fits;
    } pairs[] = {{"tiny-control-a", "tiny", true},
                 {"tiny-control-b", "tiny", true},
                 {"tiny2-control", "tiny2", true},
                 {"tiny2-control", "tiny", false},
                 {"tiny-control-a", "tiny2", false}};

    (void)state;
    for (size_t i = 0; i < CN_LEN(pairs); i++) {
        char *control = model_path(pairs[i].control), *base = model_path(pairs[i].base);
        struct cn_checkpoint *c = open_ok(control), *b = open_ok(base);

        assert_int_equal(cn_control_matches(cn_checkpoint_control(c), cn_checkpoint_unet(b), NULL),
                         pairs[i].fits ? CN_OK : CN_EINVAL);
        cn_checkpoint_close(c);
        cn_checkpoint_close(b);
        free(control);
        free(base);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_are_the_same_as_single_files),
        cmocka_unit_test(a_file_beside_the_model_is_read_or_refused_by_key),
        cmocka_unit_test(notes_may_name_a_vae),
        cmocka_unit_test(controlnets_know_their_models),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
