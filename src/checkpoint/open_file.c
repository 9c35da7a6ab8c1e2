/* Checkpoints that are one file: which components are in it, and under which names. */
#include "base/base.h"
#include "checkpoint/checkpoint_priv.h"
#include "checkpoint/classify.h"
#include "checkpoint/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NAME = 256 };

enum naming { NAMED_LDM, NAMED_DIFFUSERS, NAMED_OPENCLIP };

/* A component of the file: what its names begin with and how they go on. */
struct part {
    enum cn_component comp;
    const char *prefix;
    enum naming naming;
    struct cn_layout layout;
};

/* A component is there when a tensor of this name is. */
static const struct {
    enum cn_component comp;
    const char *prefix, *sign;
    enum naming naming;
} signs[] = {
    {CN_COMP_UNET, "model.diffusion_model.", "input_blocks.0.0.weight", NAMED_LDM},
    {CN_COMP_VAE, "first_stage_model.", "decoder.conv_in.weight", NAMED_LDM},
    {CN_COMP_TEXT, "cond_stage_model.transformer.", "text_model.embeddings.token_embedding.weight",
     NAMED_DIFFUSERS},
    {CN_COMP_TEXT, "cond_stage_model.transformer.", "embeddings.token_embedding.weight",
     NAMED_DIFFUSERS},
    {CN_COMP_TEXT, "cond_stage_model.model.", "token_embedding.weight", NAMED_OPENCLIP},
    /* SDXL's two, and SD Turbo's */
    {CN_COMP_TEXT, "conditioner.embedders.0.transformer.",
     "text_model.embeddings.token_embedding.weight", NAMED_DIFFUSERS},
    {CN_COMP_TEXT, "conditioner.embedders.0.model.", "token_embedding.weight", NAMED_OPENCLIP},
    {CN_COMP_TEXT_2, "conditioner.embedders.1.model.", "token_embedding.weight", NAMED_OPENCLIP},
    {CN_COMP_TEXT_2, "conditioner.embedders.1.transformer.",
     "text_model.embeddings.token_embedding.weight", NAMED_DIFFUSERS},
    {CN_COMP_CONTROL, "control_model.", "input_hint_block.0.weight", NAMED_LDM},
    {CN_COMP_CONTROL, "control_model.", "controlnet_cond_embedding.conv_in.weight",
     NAMED_DIFFUSERS},
    {CN_COMP_CONTROL, "", "input_hint_block.0.weight", NAMED_LDM},
    {CN_COMP_CONTROL, "", "controlnet_cond_embedding.conv_in.weight", NAMED_DIFFUSERS},
    {CN_COMP_VAE, "vae.", "decoder.up_blocks.0.resnets.0.norm1.weight", NAMED_DIFFUSERS},
    {CN_COMP_VAE, "vae.", "decoder.up.0.block.0.norm1.weight", NAMED_LDM},
    {CN_COMP_VAE, "", "decoder.up_blocks.0.resnets.0.norm1.weight", NAMED_DIFFUSERS},
    {CN_COMP_VAE, "", "decoder.up.0.block.0.norm1.weight", NAMED_LDM},
    {CN_COMP_UNET, "", "output_blocks.0.0.in_layers.0.weight", NAMED_LDM},
    {CN_COMP_UNET, "", "up_blocks.0.resnets.0.conv1.weight", NAMED_DIFFUSERS},
    {CN_COMP_TEXT, "", "text_model.embeddings.token_embedding.weight", NAMED_DIFFUSERS},
    {CN_COMP_TEXT, "", "embeddings.token_embedding.weight", NAMED_DIFFUSERS},
    {CN_COMP_TEXT, "", "token_embedding.weight", NAMED_OPENCLIP},
};

static bool has(const struct cn_tensor_file *st, const char *prefix, const char *name)
{
    char text[MAX_NAME];

    snprintf(text, sizeof(text), "%s%s", prefix, name);
    return cn_tensor_file_has(st, text);
}

/* How many i from 0 on have the name before-i-after. */
static int count_tensors(const struct cn_tensor_file *st, const char *prefix, const char *before,
                         const char *after)
{
    char name[MAX_NAME];
    int i = 0;

    do
        snprintf(name, sizeof(name), "%s%d%s", before, i, after);
    while (has(st, prefix, name) && ++i < 1000);
    return i;
}

/* The numbers that LDM names depend on. Downsamplers stand at input_blocks.(layers+1)k.0.op. */
static void find_layout(const struct cn_tensor_file *st, struct part *p)
{
    struct cn_layout *l = &p->layout;
    int i, first = 0;
    char name[64];

    if (p->comp == CN_COMP_VAE) {
        l->levels = count_tensors(st, p->prefix, "decoder.up.", ".block.0.norm1.weight");
        return;
    }
    l->levels = 1;
    for (i = 1; i < 1000; i++) {
        snprintf(name, sizeof(name), "input_blocks.%d.0.op.weight", i);
        if (has(st, p->prefix, name)) {
            first = first ? first : i;
            l->levels++;
            continue;
        }
        snprintf(name, sizeof(name), "input_blocks.%d.0.in_layers.0.weight", i);
        if (!has(st, p->prefix, name))
            break;
    }
    l->layers = first ? first - 1 : i - 1;
    for (i = 0; i < 64; i++) {
        snprintf(name, sizeof(name), "input_hint_block.%d.weight", 2 * i);
        if (!has(st, p->prefix, name))
            break;
    }
    l->hint_convs = i;
}

static bool is_text(enum cn_component comp)
{
    return comp == CN_COMP_TEXT || comp == CN_COMP_TEXT_2;
}

/* Tensors that belong to a component's file and not to its network. */
static bool ignored(enum cn_component comp, const char *name)
{
    static const char *const text[] = {"logit_scale", "attn_mask", "visual_projection.weight"};

    if (comp == CN_COMP_VAE)
        return strncmp(name, "loss.", 5) == 0 || strncmp(name, "model_ema.", 10) == 0;
    if (comp == CN_COMP_CONTROL)
        return strcmp(name, "difference") == 0;
    if (comp == CN_COMP_UNET) /* marks beside a UNet without a prefix, see infer.c */
        return strcmp(name, "v_pred") == 0 || strcmp(name, "ztsnr") == 0;
    for (size_t i = 0; is_text(comp) && i < CN_LEN(text); i++)
        if (strcmp(name, text[i]) == 0)
            return true;
    return is_text(comp) &&
           (cn_ends_with(name, "position_ids") || strncmp(name, "vision_model.", 13) == 0);
}

/* What a text encoder's pooled vector is made with. Under its own name it is multiplied from the
 * right, as OpenCLIP does it: the weight of the linear layer is its transpose. */
static int keep_projection(struct cn_checkpoint *c, enum cn_component comp, const char *name,
                           const struct cn_tensor_view *v, struct cn_err *err)
{
    struct cn_tensor_view *to = &c->projection[comp - CN_COMP_TEXT];

    if (v->rank != 2)
        return cn_fail(err, CN_EFORMAT, "\"%s\": tensor \"%s\" is no matrix", v->file, v->name);
    *to = *v;
    to->name = "text_projection.weight";
    if (strcmp(name, "text_projection") == 0)
        cn_view_transpose(to, cn_arena_alloc(&c->arena, 2 * sizeof(int64_t)));
    return CN_OK;
}

static bool is_projection(enum cn_component comp, const char *name)
{
    static const char *const names[] = {"text_projection", "text_projection.weight",
                                        "text_projection.weight.weight"};

    for (size_t i = 0; is_text(comp) && i < CN_LEN(names); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return false;
}

/* OpenCLIP keeps q, k and v in one tensor, rows one after the other: three views of it. */
static int add_split(struct cn_checkpoint *c, enum cn_component comp, const char *q_name,
                     const struct cn_tensor_view *v, struct cn_err *err)
{
    const char *at = strstr(q_name, ".q_proj.");

    CN_ASSERT(at != NULL);
    if (v->rank < 1 || v->dim[0] % 3 != 0 || v->dim[0] == 0)
        return cn_fail(err, CN_EFORMAT, "\"%s\": tensor \"%s\": its rows do not divide by 3",
                       v->file, v->name);
    for (int i = 0; i < 3; i++) {
        struct cn_tensor_view one = *v;

        cn_view_rows(&one, i * (v->dim[0] / 3), v->dim[0] / 3);
        cn_checkpoint_add(c, comp,
                          cn_arena_printf(&c->arena, "%.*s.%c_proj.%s", (int)(at - q_name), q_name,
                                          "qkv"[i], at + 8),
                          &one);
    }
    return CN_OK;
}

static int add_openclip(struct cn_checkpoint *c, enum cn_component comp, const char *name,
                        const struct cn_tensor_view *v, struct cn_err *err)
{
    char text[MAX_NAME];
    bool split;

    if (!cn_name_from_openclip(name, text, sizeof(text), &split))
        return cn_fail(err, CN_EFORMAT,
                       "\"%s\": tensor \"%.100s\" is none of an OpenCLIP text "
                       "encoder",
                       v->file, v->name);
    if (split)
        return add_split(c, comp, text, v, err);
    cn_checkpoint_add(c, comp, cn_arena_strdup(&c->arena, text), v);
    return CN_OK;
}

static int add_tensor(struct cn_checkpoint *c, const struct part *p, const struct cn_tensor_view *v,
                      struct cn_err *err)
{
    const char *name = v->name + strlen(p->prefix);
    char text[MAX_NAME];

    if (ignored(p->comp, name))
        return CN_OK;
    if (is_projection(p->comp, name))
        return keep_projection(c, p->comp, name, v, err);
    if (p->naming == NAMED_OPENCLIP)
        return add_openclip(c, p->comp, name, v, err);
    if (p->naming == NAMED_DIFFUSERS) {
        cn_checkpoint_add(c, p->comp, cn_checkpoint_canonical(c, p->comp, name), v);
        return CN_OK;
    }
    if (!cn_name_from_ldm(p->comp, &p->layout, name, text, sizeof(text)))
        return cn_fail(err, CN_EFORMAT,
                       "\"%s\": tensor \"%.100s\" belongs to a network that is "
                       "not supported",
                       v->file, v->name);
    cn_checkpoint_add(c, p->comp,
                      cn_checkpoint_canonical(c, p->comp, cn_arena_strdup(&c->arena, text)), v);
    return CN_OK;
}

/* The average of the training's weights that the file may have beside a UNet's tensor: its name is
 * that of the tensor without points. */
static void add_average(struct cn_checkpoint *c, const struct cn_tensor_file *st,
                        const struct part *p, const struct cn_tensor_view *v)
{
    const char *from = v->name + strlen(p->prefix);
    char name[MAX_NAME] = "model_ema.diffusion_model", text[MAX_NAME], *to = name + strlen(name);
    struct cn_tensor_view average;

    for (; *from != '\0' && to < name + sizeof(name) - 1; from++)
        if (*from != '.')
            *to++ = *from;
    *to = '\0';
    /* One of another size is counted as missing when they are asked for. */
    if (!cn_tensor_file_view(st, name, &average) ||
        cn_view_elements(&average) != cn_view_elements(v) ||
        !cn_name_from_ldm(p->comp, &p->layout, v->name + strlen(p->prefix), text, sizeof(text)))
        return;
    cn_tensors_add(&c->average, cn_checkpoint_canonical(c, p->comp,
                                                        cn_arena_strdup(&c->arena, text)),
                   &average);
}

static int add_part(struct cn_checkpoint *c, const struct cn_tensor_file *st, struct part *p,
                    struct cn_err *err)
{
    size_t len = strlen(p->prefix);
    int rc = CN_OK;

    if (p->naming == NAMED_LDM)
        find_layout(st, p);
    for (size_t i = 0; rc == CN_OK && i < cn_tensor_file_count(st); i++) {
        struct cn_tensor_view v;

        cn_tensor_file_at(st, i, &v);
        if (strncmp(v.name, p->prefix, len) != 0 || cn_scaled_is_mark(&v))
            continue;
        rc = cn_scaled_apply(&v, err);
        if (rc == CN_OK)
            rc = add_tensor(c, p, &v, err);
        if (rc == CN_OK && p->naming == NAMED_LDM && p->comp == CN_COMP_UNET)
            add_average(c, st, p, &v);
    }
    return rc == CN_OK ? cn_checkpoint_sort(c, p->comp, err) : rc;
}

/* What lies in the same folders and has no part of a model that we know. */
static int not_a_model(const struct cn_checkpoint *c, const struct cn_file_class *k,
                       struct cn_err *err)
{
    if (k->kind == CN_FILE_BASE || k->kind == CN_FILE_UNET || k->kind == CN_FILE_CONTROLNET)
        return cn_fail(err, CN_EINVAL, "\"%s\" is %s, which is not supported", c->path, k->what);
    if (k->what[0] != '\0')
        return cn_fail(err, CN_EINVAL, "\"%s\" is %s, neither a base model nor a ControlNet",
                       c->path, k->what);
    return cn_fail(err, CN_EFORMAT,
                   "\"%s\" holds neither a Stable Diffusion checkpoint nor a "
                   "ControlNet",
                   c->path);
}

/* Kinds in which parts may be looked for. A LoRA that brings one is a LoRA all the same. */
static bool may_be_model(const struct cn_file_class *k)
{
    switch (k->kind) {
    case CN_FILE_UNKNOWN:
    case CN_FILE_BASE:
    case CN_FILE_UNET:
    case CN_FILE_VAE:
    case CN_FILE_TEXT:
    case CN_FILE_CONTROLNET:
        return k->family <= CN_FAMILY_SDXL;
    default:
        return false;
    }
}

static int add_parts(struct cn_checkpoint *c, const struct cn_tensor_file *st, struct cn_err *err)
{
    struct cn_file_class k;

    cn_tensor_file_classify(st, &k);
    for (size_t i = 0; may_be_model(&k) && i < CN_LEN(signs); i++) {
        struct part p = {
            .comp = signs[i].comp, .prefix = signs[i].prefix, .naming = signs[i].naming};
        int rc;

        if (c->comp[p.comp].present || !has(st, p.prefix, signs[i].sign))
            continue;
        rc = add_part(c, st, &p, err);
        if (rc < 0)
            return rc;
        if (p.naming == NAMED_OPENCLIP)
            c->openclip[p.comp - CN_COMP_TEXT] = true;
    }
    for (int i = 0; i < CN_COMP_COUNT; i++)
        if (c->comp[i].present)
            return CN_OK;
    return not_a_model(c, &k, err);
}

int cn_checkpoint_open_file(struct cn_checkpoint *c, struct cn_err *err)
{
    struct cn_tensor_file *st;
    int rc;

    c->kind = CN_CKPT_FILE;
    rc = cn_checkpoint_add_file(c, c->path, &st, err);
    if (rc == CN_OK)
        rc = add_parts(c, st, err);
    if (rc < 0)
        return rc;
    c->difference =
        c->comp[CN_COMP_CONTROL].present && (cn_tensor_file_has(st, "difference") ||
                                             cn_tensor_file_has(st, "control_model.difference"));
    return cn_checkpoint_infer(c, st, err);
}
