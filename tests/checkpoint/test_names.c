/* checkpoint: names and sizes of the SD 1.5 networks, and the way to LDM names and back. */
#include "base/base.h"
#include "base/strmap.h"
#include "model/expect.h"
#include "checkpoint/names.h"
#include "make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

struct sum {
    enum cn_component comp;
    const struct cn_layout *layout;
    struct cn_strmap ldm; /* every LDM name once */
    size_t tensors, elements;
};

static void add(void *ctx, const char *name, int rank, const int64_t *dim)
{
    struct sum *s = ctx;
    size_t n = 1;
    char ldm[256], back[256];

    for (int i = 0; i < rank; i++)
        n *= (size_t)dim[i];
    s->tensors++;
    s->elements += n;
    if (!cn_name_to_ldm(s->comp, s->layout, name, ldm, sizeof(ldm)))
        fail_msg("no LDM name for %s", name);
    if (!cn_name_from_ldm(s->comp, s->layout, ldm, back, sizeof(back)))
        fail_msg("no diffusers name for %s, which is %s", ldm, name);
    assert_string_equal(back, name);
    if (!cn_strmap_add(&s->ldm, ldm, s))
        fail_msg("two tensors become %s", ldm);
}

/* Totals: reference/model-spec 0.3, recomputed there from the published key tables. */
static void sd15_has_its_published_sizes(void **state)
{
    struct sum u = {.comp = CN_COMP_UNET, .layout = &sd15_layout};
    struct sum c = {.comp = CN_COMP_CONTROL, .layout = &sd15_layout};
    struct sum v = {.comp = CN_COMP_VAE, .layout = &sd15_vae_layout};
    struct sum t = {.comp = CN_COMP_TEXT, .layout = &sd15_layout};

    (void)state;
    cn_expect_unet(&sd15_unet, add, &u);
    assert_int_equal(u.tensors, 686);
    assert_int_equal(u.elements, 859520964);
    cn_expect_control(&sd15_control, add, &c);
    assert_int_equal(c.tensors, 340);
    assert_int_equal(c.elements, 361279120);
    cn_expect_vae(&sd15_vae, add, &v);
    assert_int_equal(v.tensors, 248);
    assert_int_equal(v.elements, 83653863);
    cn_expect_text(&sd15_text, add, &t);
    assert_int_equal(t.tensors, 196);
    assert_int_equal(t.elements, 123060480);
    cn_strmap_release(&u.ldm);
    cn_strmap_release(&c.ldm);
    cn_strmap_release(&v.ldm);
    cn_strmap_release(&t.ldm);
}

static void other_families_have_their_published_sizes(void **state)
{
    struct cn_unet_config u = sd15_unet;
    struct cn_control_config c = sd15_control;
    struct sum inpaint = {.comp = CN_COMP_UNET, .layout = &sd15_layout};
    struct sum sd2 = inpaint, sd2_control = {.comp = CN_COMP_CONTROL, .layout = &sd15_layout};

    (void)state;
    u.in_channels = 9;
    cn_expect_unet(&u, add, &inpaint);
    assert_int_equal(inpaint.elements, 859535364);
    u = sd15_unet;
    u.cross_attention_dim = c.unet.cross_attention_dim = 1024;
    u.linear_projection = c.unet.linear_projection = true;
    cn_expect_unet(&u, add, &sd2);
    assert_int_equal(sd2.elements, 865910724);
    cn_expect_control(&c, add, &sd2_control);
    assert_int_equal(sd2_control.elements, 364228240);
    cn_strmap_release(&inpaint.ldm);
    cn_strmap_release(&sd2.ldm);
    cn_strmap_release(&sd2_control.ldm);
}

static void other_shapes_round_trip(void **state)
{
    struct sum u = {.comp = CN_COMP_UNET, .layout = &tiny_layout};
    struct sum c = {.comp = CN_COMP_CONTROL, .layout = &tiny_layout};
    struct sum v = {.comp = CN_COMP_VAE, .layout = &tiny_vae_layout};

    (void)state;
    cn_expect_unet(&tiny_unet, add, &u);
    cn_expect_control(&tiny_control, add, &c);
    cn_expect_vae(&tiny_vae, add, &v);
    cn_strmap_release(&u.ldm);
    cn_strmap_release(&c.ldm);
    cn_strmap_release(&v.ldm);
}

static void names_are_those_of_the_published_files(void **state)
{
    static const struct {
        enum cn_component comp;
        const char *ldm, *diffusers;
    } pairs[] = {
        {CN_COMP_UNET, "time_embed.0.weight", "time_embedding.linear_1.weight"},
        {CN_COMP_UNET, "input_blocks.0.0.bias", "conv_in.bias"},
        {CN_COMP_UNET, "input_blocks.3.0.op.weight", "down_blocks.0.downsamplers.0.conv.weight"},
        {CN_COMP_UNET, "input_blocks.4.0.skip_connection.weight",
         "down_blocks.1.resnets.0.conv_shortcut.weight"},
        {CN_COMP_UNET, "input_blocks.8.1.transformer_blocks.0.attn2.to_k.weight",
         "down_blocks.2.attentions.1.transformer_blocks.0.attn2.to_k.weight"},
        {CN_COMP_UNET, "input_blocks.11.0.out_layers.3.weight",
         "down_blocks.3.resnets.1.conv2.weight"},
        {CN_COMP_UNET, "middle_block.2.emb_layers.1.weight",
         "mid_block.resnets.1.time_emb_proj.weight"},
        {CN_COMP_UNET, "output_blocks.2.1.conv.weight", "up_blocks.0.upsamplers.0.conv.weight"},
        {CN_COMP_UNET, "output_blocks.5.2.conv.bias", "up_blocks.1.upsamplers.0.conv.bias"},
        {CN_COMP_UNET, "output_blocks.8.2.conv.bias", "up_blocks.2.upsamplers.0.conv.bias"},
        {CN_COMP_UNET, "output_blocks.11.1.proj_out.weight",
         "up_blocks.3.attentions.2.proj_out.weight"},
        {CN_COMP_UNET, "out.0.weight", "conv_norm_out.weight"},
        {CN_COMP_CONTROL, "input_hint_block.0.weight", "controlnet_cond_embedding.conv_in.weight"},
        {CN_COMP_CONTROL, "input_hint_block.12.weight",
         "controlnet_cond_embedding.blocks.5.weight"},
        {CN_COMP_CONTROL, "input_hint_block.14.bias", "controlnet_cond_embedding.conv_out.bias"},
        {CN_COMP_CONTROL, "zero_convs.11.0.weight", "controlnet_down_blocks.11.weight"},
        {CN_COMP_CONTROL, "middle_block_out.0.bias", "controlnet_mid_block.bias"},
        {CN_COMP_VAE, "encoder.down.1.block.0.nin_shortcut.weight",
         "encoder.down_blocks.1.resnets.0.conv_shortcut.weight"},
        {CN_COMP_VAE, "decoder.up.3.upsample.conv.weight",
         "decoder.up_blocks.0.upsamplers.0.conv.weight"},
        {CN_COMP_VAE, "decoder.up.0.block.2.norm2.bias",
         "decoder.up_blocks.3.resnets.2.norm2.bias"},
        {CN_COMP_VAE, "encoder.mid.attn_1.q.weight", "encoder.mid_block.attentions.0.to_q.weight"},
        {CN_COMP_VAE, "decoder.mid.attn_1.proj_out.bias",
         "decoder.mid_block.attentions.0.to_out.0.bias"},
        {CN_COMP_VAE, "decoder.mid.block_2.conv1.weight",
         "decoder.mid_block.resnets.1.conv1.weight"},
        {CN_COMP_VAE, "decoder.norm_out.weight", "decoder.conv_norm_out.weight"},
        {CN_COMP_VAE, "post_quant_conv.weight", "post_quant_conv.weight"},
    };
    char name[256];

    (void)state;
    for (size_t i = 0; i < CN_LEN(pairs); i++) {
        assert_true(
            cn_name_from_ldm(pairs[i].comp, &sd15_layout, pairs[i].ldm, name, sizeof(name)));
        assert_string_equal(name, pairs[i].diffusers);
        assert_true(
            cn_name_to_ldm(pairs[i].comp, &sd15_layout, pairs[i].diffusers, name, sizeof(name)));
        assert_string_equal(name, pairs[i].ldm);
    }
}

static void strange_names_are_refused(void **state)
{
    static const char *const bad[] = {"",
                                      "x",
                                      "input_blocks.",
                                      "input_blocks.x.0.op.weight",
                                      "input_blocks.12.0.in_layers.0.weight",
                                      "input_blocks.1.2.norm.weight",
                                      "input_blocks.01.0.in_layers.0.weight",
                                      "input_blocks.99999999999.0.op.weight",
                                      "middle_block.3.norm.weight",
                                      "label_emb.0.1.weight",
                                      "output_blocks.12.0.in_layers.0.weight",
                                      "input_hint_block.1.weight",
                                      "input_hint_block.16.weight",
                                      "zero_convs.0.1.weight",
                                      "input_blocks.1.0.in_layers.1.weight"};
    char name[256], small[8];

    (void)state;
    for (size_t i = 0; i < CN_LEN(bad); i++)
        if (cn_name_from_ldm(CN_COMP_CONTROL, &sd15_layout, bad[i], name, sizeof(name)))
            fail_msg("%s became %s", bad[i], name);
    assert_false(
        cn_name_from_ldm(CN_COMP_UNET, &sd15_layout, "out.0.weight", small, sizeof(small)));
}

static void openclip_names_are_mapped(void **state)
{
    bool split;
    char name[256];

    (void)state;
    assert_true(cn_name_from_openclip("transformer.resblocks.7.attn.in_proj_weight", name,
                                      sizeof(name), &split));
    assert_string_equal(name, "text_model.encoder.layers.7.self_attn.q_proj.weight");
    assert_true(split);
    assert_true(cn_name_from_openclip("transformer.resblocks.0.mlp.c_proj.bias", name, sizeof(name),
                                      &split));
    assert_string_equal(name, "text_model.encoder.layers.0.mlp.fc2.bias");
    assert_false(split);
    assert_true(cn_name_from_openclip("positional_embedding", name, sizeof(name), &split));
    assert_string_equal(name, "text_model.embeddings.position_embedding.weight");
    assert_false(cn_name_from_openclip("visual.proj", name, sizeof(name), &split));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sd15_has_its_published_sizes),
        cmocka_unit_test(other_families_have_their_published_sizes),
        cmocka_unit_test(other_shapes_round_trip),
        cmocka_unit_test(names_are_those_of_the_published_files),
        cmocka_unit_test(strange_names_are_refused),
        cmocka_unit_test(openclip_names_are_mapped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
