/* Holds the tensors of a checkpoint against those that its configuration needs, without reading
 * one: what is missing, has another shape or type, or is there for nothing. */
#include "base/base.h"
#include "runtime/inspect.h"
#include "base/strmap.h"
#include "model/expect.h"

#include <stdio.h>
#include <string.h>

struct run {
    const struct cn_checkpoint *c;
    enum cn_component comp;
    struct cn_inspect *ret;
    cn_finding_fn fn;
    void *ctx;
    struct cn_strmap expected; /* name -> anything */
};

static void report(struct run *r, const struct cn_finding *f)
{
    r->ret->part[r->comp].findings[f->kind]++;
    if (r->fn != NULL)
        r->fn(r->ctx, f);
}

static void check_expected(void *ctx, const char *name, int rank, const int64_t *dim)
{
    struct run *r = ctx;
    struct cn_finding f = {.comp = r->comp, .name = name};
    struct cn_tensor_view need = {.rank = rank}, have;
    int rc;

    cn_strmap_add(&r->expected, name, r);
    memcpy(need.dim, dim, (size_t)rank * sizeof(*dim));
    cn_view_shape(&need, f.need, sizeof(f.need));
    rc = cn_checkpoint_find(r->c, r->comp, name, &have, NULL);
    if (rc == CN_OK && cn_view_elements(&have) != cn_view_elements(&need)) {
        f.kind = CN_FINDING_SHAPE;
        cn_view_shape(&have, f.have, sizeof(f.have));
        report(r, &f);
    } else if (rc == CN_ENOTFOUND &&
               !(r->comp == CN_COMP_CONTROL && cn_checkpoint_is_difference(r->c))) {
        f.kind = CN_FINDING_MISSING;
        report(r, &f);
    }
}

static void check_actual(struct run *r)
{
    struct cn_inspect_part *p = &r->ret->part[r->comp];

    for (size_t i = 0; i < cn_checkpoint_count(r->c, r->comp); i++) {
        struct cn_finding f = {.comp = r->comp};
        struct cn_tensor_view v;

        cn_checkpoint_at(r->c, r->comp, i, &v);
        f.name = v.name;
        cn_view_shape(&v, f.have, sizeof(f.have));
        p->tensors++;
        p->elements += cn_view_elements(&v);
        p->bytes += cn_view_stored(&v);
        if (i == 0)
            p->file = v.file;
        if (i == 0)
            snprintf(p->type, sizeof(p->type), "%s", v.type);
        else if (strcmp(p->type, v.type) != 0)
            snprintf(p->type, sizeof(p->type), "mixed");
        if (cn_strmap_get(&r->expected, v.name) == NULL) {
            f.kind = CN_FINDING_UNEXPECTED;
            report(r, &f);
        } else if (v.dtype == CN_DTYPE_COUNT) {
            f.kind = CN_FINDING_TYPE;
            snprintf(f.have, sizeof(f.have), "%s", v.type);
            report(r, &f);
        }
    }
}

static void inspect_part(struct run *r)
{
    struct cn_text_config *text;

    r->ret->part[r->comp].present = true;
    cn_strmap_init(&r->expected);
    switch (r->comp) {
    case CN_COMP_TEXT:
    case CN_COMP_TEXT_2:
        text = &r->ret->text[r->comp - CN_COMP_TEXT];
        *text = *cn_checkpoint_text(r->c, (int)(r->comp - CN_COMP_TEXT));
        cn_expect_text(text, check_expected, r);
        break;
    case CN_COMP_UNET:
        r->ret->unet = *cn_checkpoint_unet(r->c);
        r->ret->schedule = *cn_checkpoint_schedule(r->c);
        cn_expect_unet(&r->ret->unet, check_expected, r);
        break;
    case CN_COMP_VAE:
        r->ret->vae = *cn_checkpoint_vae(r->c);
        cn_expect_vae(&r->ret->vae, check_expected, r);
        break;
    default:
        r->ret->control = *cn_checkpoint_control(r->c);
        cn_expect_control(&r->ret->control, check_expected, r);
    }
    check_actual(r);
    cn_strmap_release(&r->expected);
}

void cn_inspect_checkpoint(const struct cn_checkpoint *c, cn_finding_fn fn, void *ctx,
                           struct cn_inspect *ret)
{
    *ret = (struct cn_inspect){.kind = cn_checkpoint_kind(c),
                               .difference = cn_checkpoint_is_difference(c)};
    for (int i = 0; i < CN_COMP_COUNT; i++) {
        struct run r = {.c = c, .comp = (enum cn_component)i, .ret = ret, .fn = fn, .ctx = ctx};

        if (cn_checkpoint_has(c, r.comp))
            inspect_part(&r);
    }
}

int cn_checkpoint_inspect(const char *path, cn_finding_fn fn, void *ctx, struct cn_inspect *ret,
                          struct cn_err *err)
{
    struct cn_checkpoint *c;
    int rc = cn_checkpoint_open(path, &c, err);

    if (rc < 0)
        return rc;
    cn_inspect_checkpoint(c, fn, ctx, ret);
    cn_checkpoint_close(c);
    return CN_OK;
}

void cn_unet_family(const struct cn_unet_config *c, char *text, size_t size)
{
    static const int sd[4] = {320, 640, 1280, 1280};
    size_t at;

    /* A small ControlNet reads no text: its width is not said in a single file. */
    if (c->blocks == 3 && memcmp(c->channels, sd, 3 * sizeof(*sd)) == 0 && c->add_dim == 2816 &&
        (c->cross_attention_dim == 2048 || c->cross_attention_dim == 0)) {
        snprintf(text, size, "sdxl");
        return;
    }

    if (c->blocks == 4 && memcmp(c->channels, sd, sizeof(sd)) == 0 &&
        (c->cross_attention_dim == 768 || c->cross_attention_dim == 1024)) {
        snprintf(text, size, "%s", c->cross_attention_dim == 768 ? "sd15" : "sd2");
        return;
    }
    at = (size_t)snprintf(text, size, "unet");
    for (int i = 0; i < c->blocks && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, "-%d", c->channels[i]);
    if (at < size)
        snprintf(text + at, size - at, "-x%d", c->cross_attention_dim);
}

const char *cn_finding_name(enum cn_finding_kind kind)
{
    static const char *const names[CN_FINDING_COUNT] = {"missing", "unexpected", "wrong shape",
                                                        "unsupported type"};

    return (unsigned)kind < CN_FINDING_COUNT ? names[kind] : "?";
}

const char *cn_checkpoint_kind_name(enum cn_checkpoint_kind kind)
{
    switch (kind) {
    case CN_CKPT_PIPELINE:
        return "diffusers pipeline";
    case CN_CKPT_NETWORK_DIR:
        return "diffusers network";
    case CN_CKPT_FILE:
        return "single file";
    }
    return "?";
}
