/* checkpoint: parts of models that are in other files. */
#include "base/base.h"
#include "base/file.h"
#include "checkpoint/checkpoint.h"
#include "model/expect.h"
#include "make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

static void unet(struct make *m)
{
    m->prefix = cn_ldm_prefix[CN_COMP_UNET];
    m->comp = CN_COMP_UNET;
    m->ldm = &tiny_layout;
    cn_expect_unet(&tiny_unet, make_expected, m);
}

static void bare_unet(struct make *m)
{
    m->comp = CN_COMP_UNET;
    m->ldm = &tiny_layout;
    cn_expect_unet(&tiny_unet, make_expected, m);
}

static void diffusers_unet(struct make *m)
{
    m->comp = CN_COMP_UNET;
    cn_expect_unet(&tiny_unet, make_expected, m);
}

static void text(struct make *m)
{
    m->prefix = cn_ldm_prefix[CN_COMP_TEXT];
    m->comp = CN_COMP_TEXT;
    cn_expect_text(&tiny_text, make_expected, m);
}

static void bare_text(struct make *m)
{
    m->comp = CN_COMP_TEXT;
    cn_expect_text(&tiny_text, make_expected, m);
}

static void vae_of(struct make *m, const char *prefix, const struct cn_layout *ldm,
                   const struct cn_vae_config *c)
{
    m->prefix = prefix;
    m->comp = CN_COMP_VAE;
    m->ldm = ldm;
    cn_expect_vae(c, make_expected, m);
}

static void ldm_vae(struct make *m)
{
    vae_of(m, "", &tiny_vae_layout, &tiny_vae);
}

static void prefixed_vae(struct make *m)
{
    vae_of(m, cn_ldm_prefix[CN_COMP_VAE], &tiny_vae_layout, &tiny_vae);
}

static void diffusers_vae(struct make *m)
{
    vae_of(m, "", NULL, &tiny_vae);
}

static void decoder(struct make *m)
{
    struct cn_vae_config c = tiny_vae;

    c.decoder_only = true;
    vae_of(m, "", &tiny_vae_layout, &c);
}

typedef void (*part_fn)(struct make *m);

/* A file of several parts; NULL ends them. Its numbers depend on its name. */
static void write_file(const char *folder, const char *name, part_fn a, part_fn b, part_fn c)
{
    const part_fn parts[] = {a, b, c};
    char *path = cn_xprintf("%s/%s", folder, name);
    struct make m;

    make_init(&m);
    for (const char *p = name; *p != '\0'; p++)
        m.seed = m.seed * 31 + (unsigned char)*p;
    for (size_t i = 0; i < CN_LEN(parts) && parts[i] != NULL; i++) {
        m.prefix = "";
        m.ldm = NULL;
        parts[i](&m);
    }
    make_write(&m, path);
    make_release(&m);
    free(path);
}

static struct cn_checkpoint *open_ok(const char *folder, const char *name)
{
    char *path = cn_xprintf("%s/%s", folder, name);
    struct cn_err err = CN_ERR_INIT;
    struct cn_checkpoint *c = NULL;

    if (cn_checkpoint_open(path, &c, &err) < 0)
        fail_msg("%s", err.msg);
    free(path);
    return c;
}

static void open_fails(const char *folder, const char *name, const char *says)
{
    char *path = cn_xprintf("%s/%s", folder, name);
    struct cn_err err = CN_ERR_INIT;
    struct cn_checkpoint *c;

    if (cn_checkpoint_open(path, &c, &err) >= 0)
        fail_msg("\"%s\" was opened, but \"%s\" was expected", path, says);
    if (strstr(err.msg, says) == NULL)
        fail_msg("says \"%s\", not \"%s\"", err.msg, says);
    free(path);
}

/* The component is whole, and its tensors are those of this file. */
static void comes_from(const struct cn_checkpoint *c, enum cn_component comp, const char *file)
{
    struct cn_tensor_view v;

    assert_true(cn_checkpoint_has(c, comp));
    for (size_t i = 0; i < cn_checkpoint_count(c, comp); i++) {
        cn_checkpoint_at(c, comp, i, &v);
        if (strstr(v.file, file) == NULL)
            fail_msg("\"%s\" is of \"%s\", not of \"%s\"", v.name, v.file, file);
    }
    if (comp == CN_COMP_VAE)
        assert_int_equal(cn_checkpoint_find(c, comp, "decoder.conv_in.weight", &v, NULL), CN_OK);
    if (comp == CN_COMP_VAE)
        assert_int_equal(cn_checkpoint_vae(c)->channels[0], tiny_vae.channels[0]);
}

static void vae_is(const char *folder, const char *name, const char *file)
{
    struct cn_checkpoint *c = open_ok(folder, name);

    comes_from(c, CN_COMP_UNET, name);
    comes_from(c, CN_COMP_TEXT, name);
    comes_from(c, CN_COMP_VAE, file);
    cn_checkpoint_close(c);
}

static void a_vae_may_lie_beside(void **state)
{
    char *folder = make_folder();
    struct cn_checkpoint *c;

    (void)state;
    write_file(folder, "none.safetensors", unet, text, NULL);
    write_file(folder, "own.safetensors", unet, text, prefixed_vae);
    c = open_ok(folder, "none.safetensors");
    assert_false(cn_checkpoint_has(c, CN_COMP_VAE));
    cn_checkpoint_close(c);

    make_text("{\"vae\":\"own.safetensors\"}", "%s/none.json", folder);
    vae_is(folder, "none.safetensors", "/own.safetensors");
    make_text("{\"vae\":\"gone.pt\"}", "%s/none.json", folder);
    open_fails(folder, "none.safetensors", "there is no \"gone.pt\"");
    make_text("{\"vae\":\"none.safetensors\"}", "%s/none.json", folder);
    open_fails(folder, "none.safetensors", "there is none in");
    make_text("{\"vae\":\"Automatic\"}", "%s/none.json", folder);

    write_file(folder, "vae.safetensors", diffusers_vae, NULL, NULL);
    vae_is(folder, "none.safetensors", "/vae.safetensors");
    vae_is(folder, "own.safetensors", "/own.safetensors");
    write_file(folder, "none.vae.safetensors", ldm_vae, NULL, NULL);
    vae_is(folder, "none.safetensors", "/none.vae.safetensors");
    write_file(folder, "own.vae.pt", ldm_vae, NULL, NULL);
    vae_is(folder, "own.safetensors", "/own.vae.pt");
    make_text("{\"vae\":\"vae.safetensors\"}", "%s/own.json", folder);
    vae_is(folder, "own.safetensors", "/vae.safetensors");
    /* what a note of another program names may be elsewhere: the model is whole without it */
    make_text("{\"vae\":\"elsewhere.pt\"}", "%s/own.json", folder);
    vae_is(folder, "own.safetensors", "/own.vae.pt");
    make_remove(folder);
}

static void vaes_are_directories_too(void **state)
{
    char *folder = make_folder();

    (void)state;
    write_file(folder, "none.safetensors", unet, text, NULL);
    make_dir("%s/vae", folder);
    make_text("{\"_class_name\":\"AutoencoderKL\",\"block_out_channels\":[32,64],"
              "\"down_block_types\":[\"DownEncoderBlock2D\",\"DownEncoderBlock2D\"],"
              "\"up_block_types\":[\"UpDecoderBlock2D\",\"UpDecoderBlock2D\"]}",
              "%s/vae/config.json", folder);
    write_file(folder, "vae/diffusion_pytorch_model.safetensors", diffusers_vae, NULL, NULL);
    vae_is(folder, "none.safetensors", "/vae/diffusion_pytorch_model.safetensors");
    make_text("{\"_class_name\":\"T2IAdapter\"}", "%s/vae/config.json", folder);
    open_fails(folder, "none.safetensors", "T2IAdapter");
    make_remove(folder);
}

static void a_decoder_is_enough(void **state)
{
    char *folder = make_folder();
    struct cn_checkpoint *c;
    const struct cn_vae_config *v;

    (void)state;
    write_file(folder, "x.safetensors", unet, text, NULL);
    write_file(folder, "vae.safetensors", decoder, NULL, NULL);
    c = open_ok(folder, "x.safetensors");
    v = cn_checkpoint_vae(c);
    assert_true(v->decoder_only);
    assert_int_equal(v->blocks, tiny_vae.blocks);
    assert_int_equal(v->layers_per_block, tiny_vae.layers_per_block);
    assert_memory_equal(v->channels, tiny_vae.channels, sizeof(v->channels));
    cn_checkpoint_close(c);
    make_remove(folder);
}

/* A UNet alone, in both spellings, with a text encoder and a VAE that lie beside it. */
static void a_unet_finds_its_parts(void **state)
{
    static const part_fn forms[] = {bare_unet, diffusers_unet};

    (void)state;
    for (size_t i = 0; i < CN_LEN(forms); i++) {
        char *folder = make_folder();
        struct cn_checkpoint *c;
        struct cn_tensor_view v;

        write_file(folder, "x.safetensors", forms[i], NULL, NULL);
        write_file(folder, "vae.safetensors", ldm_vae, NULL, NULL);
        write_file(folder, "clip.safetensors", bare_text, NULL, NULL);
        make_text("{\"text_encoder\":\"clip.safetensors\"}", "%s/x.json", folder);
        c = open_ok(folder, "x.safetensors");
        comes_from(c, CN_COMP_UNET, "/x.safetensors");
        comes_from(c, CN_COMP_TEXT, "/clip.safetensors");
        comes_from(c, CN_COMP_VAE, "/vae.safetensors");
        assert_int_equal(cn_checkpoint_text(c, 0)->hidden_size, tiny_text.hidden_size);
        assert_int_equal(
            cn_checkpoint_find(c, CN_COMP_UNET, "up_blocks.0.resnets.0.conv1.weight", &v, NULL),
            CN_OK);
        cn_checkpoint_close(c);
        make_remove(folder);
    }
}

static void marked_unet(struct make *m)
{
    bare_unet(m);
    make_add(m, "v_pred", CN_F32, 1, (const int64_t[]){0});
}

static void marks_of_a_bare_unet_are_read(void **state)
{
    char *folder = make_folder();
    struct cn_checkpoint *c;

    (void)state;
    write_file(folder, "x.safetensors", marked_unet, NULL, NULL);
    c = open_ok(folder, "x.safetensors");
    assert_int_equal(cn_checkpoint_schedule(c)->prediction, CN_PREDICT_V);
    cn_checkpoint_close(c);
    make_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_vae_may_lie_beside),
        cmocka_unit_test(vaes_are_directories_too),
        cmocka_unit_test(a_decoder_is_enough),
        cmocka_unit_test(a_unet_finds_its_parts),
        cmocka_unit_test(marks_of_a_bare_unet_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
