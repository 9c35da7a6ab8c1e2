/* The plans of a model's networks: their keys, and the graphs behind them. */
#include "base/base.h"
#include "runtime/plans.h"
#include "model/vae.h"

#include <stdio.h>

/* ---- graphs by their sizes ---- */

struct text_arg {
    const struct cn_text_config *c;
    int n, s;
    struct cn_text_use use;
};

static struct cn_graph *build_text(const void *arg)
{
    const struct text_arg *a = arg;

    return cn_text_graph(a->c, a->n, a->s, &a->use);
}

struct unet_arg {
    const struct cn_unet_config *c;
    enum cn_net net;
    struct cn_step_size z;
};

static struct cn_graph *build_context(const void *arg)
{
    const struct unet_arg *a = arg;

    return cn_context_graph(a->c, a->net, a->z.n, a->z.s);
}

static struct cn_graph *build_time(const void *arg)
{
    const struct unet_arg *a = arg;

    return cn_time_graph(a->c, a->net, CN_TIME_ROWS);
}

static struct cn_graph *build_unet(const void *arg)
{
    const struct unet_arg *a = arg;

    return cn_unet_graph(a->c, &a->z);
}

struct control_arg {
    const struct cn_control_config *c;
    struct cn_step_size z;
    int height, width;
};

static struct cn_graph *build_hint(const void *arg)
{
    const struct control_arg *a = arg;

    return cn_hint_graph(a->c, a->z.n, a->height, a->width);
}

static struct cn_graph *build_control(const void *arg)
{
    const struct control_arg *a = arg;

    return cn_control_graph(a->c, &a->z);
}

struct vae_arg {
    const struct cn_vae_config *c;
    int h, w;
};

static struct cn_graph *build_decoder(const void *arg)
{
    const struct vae_arg *a = arg;

    return cn_vae_decoder_graph(a->c, 1, a->h, a->w);
}

static struct cn_graph *build_encoder(const void *arg)
{
    const struct vae_arg *a = arg;

    return cn_vae_encoder_graph(a->c, 1, a->h, a->w);
}

/* ---- plans ---- */

/* A plan that stays while there is no work: every picture needs it, whatever its size. */
static int common_plan(struct cn_network *net, const char *key, cn_build_fn build, const void *arg,
                       struct cn_plan_entry **ret, struct cn_err *err)
{
    int rc = cn_network_plan(net, key, 0, build, arg, ret, err);

    if (rc == CN_OK)
        (*ret)->stays = true;
    return rc;
}

/* A plan for maps of h x w that stays when that is the model's own size, or when none is known. */
static int sized_plan(struct cn_network *net, const char *key, int flags, cn_build_fn build,
                      const void *arg, int h, int w, int own, struct cn_plan_entry **ret,
                      struct cn_err *err)
{
    int rc = cn_network_plan(net, key, flags, build, arg, ret, err);

    if (rc == CN_OK)
        (*ret)->stays = own == 0 || (h == own && w == own);
    return rc;
}

int cn_plan_for_text(struct cn_network *net, const struct cn_text_config *c, int n, int tokens,
                     const struct cn_text_use *use, struct cn_plan_entry **ret, struct cn_err *err)
{
    struct text_arg a = {c, n, tokens, *use};
    char key[64];

    snprintf(key, sizeof(key), "text n%d s%d skip%d%s%s", n, tokens, use->skip,
             use->final_norm ? "" : " raw", use->pooled ? " pooled" : "");
    return common_plan(net, key, build_text, &a, ret, err);
}

int cn_plan_for_context(const struct cn_denoiser *d, int n, int tokens, struct cn_plan_entry **ret,
                        struct cn_err *err)
{
    struct unet_arg a = {d->config, d->kind, {.n = n, .s = tokens}};
    char key[64];

    snprintf(key, sizeof(key), "context n%d s%d", n, tokens);
    return common_plan(d->net, key, build_context, &a, ret, err);
}

int cn_plan_for_time(const struct cn_denoiser *d, struct cn_plan_entry **ret, struct cn_err *err)
{
    struct unet_arg a = {d->config, d->kind, {0}};

    return common_plan(d->net, "time", build_time, &a, ret, err);
}

int cn_plan_for_hint(struct cn_network *net, const struct cn_control_config *c, int height,
                     int width, struct cn_plan_entry **ret, struct cn_err *err)
{
    struct control_arg a = {c, {.n = 1}, height, width};
    char key[64];

    snprintf(key, sizeof(key), "hint %dx%d", width, height);
    return sized_plan(net, key, 0, build_hint, &a, height, width, net->own_pixels, ret, err);
}

int cn_plan_for_control(struct cn_network *net, const struct cn_control_config *c,
                        const struct cn_step_size *z, struct cn_plan_entry **ret,
                        struct cn_err *err)
{
    struct control_arg a = {c, *z, 0, 0};
    char key[64];

    snprintf(key, sizeof(key), "step n%d %dx%d s%d", z->n, z->w, z->h, z->s);
    return sized_plan(net, key, 0, build_control, &a, z->h, z->w, net->own_latent, ret, err);
}

int cn_plan_for_unet(const struct cn_denoiser *d, const struct cn_step_size *z,
                     struct cn_plan_entry **ret, struct cn_err *err)
{
    struct unet_arg a = {d->config, CN_NET_UNET, *z};
    char key[64];

    snprintf(key, sizeof(key), "step n%d %dx%d s%d c%d%s", z->n, z->w, z->h, z->s, z->controls,
             z->perturbed ? " perturbed" : "");
    return sized_plan(d->net, key, 0, build_unet, &a, z->h, z->w, d->net->own_latent, ret, err);
}

int cn_plan_for_decoder(struct cn_model *base, int h, int w, int flags, struct cn_plan_entry **ret,
                        struct cn_err *err)
{
    struct vae_arg a = {cn_checkpoint_vae(base->checkpoint), h, w};
    char key[64];

    snprintf(key, sizeof(key), "decode %dx%d%s", w, h, flags & CN_PLAN_CONCURRENT ? " beside" : "");
    return sized_plan(&base->vae, key, flags, build_decoder, &a, h, w, base->vae.own_latent, ret,
                      err);
}

int cn_plan_for_encoder(struct cn_model *base, int height, int width, struct cn_plan_entry **ret,
                        struct cn_err *err)
{
    struct vae_arg a = {cn_checkpoint_vae(base->checkpoint), height, width};
    char key[64];

    snprintf(key, sizeof(key), "encode %dx%d", width, height);
    return sized_plan(&base->vae, key, 0, build_encoder, &a, height, width, base->vae.own_pixels,
                      ret, err);
}

int cn_bands_for_decoder(struct cn_model *base, int h, int w, const struct cn_bands_opts *opts,
                         struct cn_bands **ret, struct cn_err *err)
{
    struct vae_arg a = {cn_checkpoint_vae(base->checkpoint), h, w};

    return cn_bands_new(&base->vae, build_decoder, &a, opts, ret, err);
}

int cn_bands_for_encoder(struct cn_model *base, int height, int width,
                         const struct cn_bands_opts *opts, struct cn_bands **ret,
                         struct cn_err *err)
{
    struct vae_arg a = {cn_checkpoint_vae(base->checkpoint), height, width};

    return cn_bands_new(&base->vae, build_encoder, &a, opts, ret, err);
}

static size_t whole_bytes(const struct cn_model *base, cn_build_fn build, int h, int w)
{
    struct vae_arg a = {cn_checkpoint_vae(base->checkpoint), h, w};
    enum cn_dtype t = base->vae.dtype;
    struct cn_graph *g = build(&a);
    size_t n;

    if (t == CN_DTYPE_COUNT)
        t = cn_backend_caps(base->vae.backend)->dtype;
    n = cn_bands_whole_bytes(g, t);
    cn_graph_free(g);
    return n;
}

size_t cn_decoder_bytes(const struct cn_model *base, int h, int w)
{
    return whole_bytes(base, build_decoder, h, w);
}

size_t cn_encoder_bytes(const struct cn_model *base, int height, int width)
{
    return whole_bytes(base, build_encoder, height, width);
}

/* ---- the model at its own size ---- */

enum { USUAL_SIDE = 64 }; /* of a latent, for a model that does not say */

static struct cn_step_size own_size(const struct cn_model *base, int tokens)
{
    const struct cn_unet_config *c = cn_checkpoint_unet(base->checkpoint);
    bool said = c->sample_height > 0 && c->sample_width > 0;

    return (struct cn_step_size){.n = 2,
                                 .h = said ? c->sample_height : USUAL_SIDE,
                                 .w = said ? c->sample_width : USUAL_SIDE,
                                 .s = tokens};
}

static void fix_vae(struct cn_model *m, const struct cn_step_size *z)
{
    struct vae_arg decoder = {cn_checkpoint_vae(m->checkpoint), z->h, z->w};
    int factor = cn_vae_factor(decoder.c);
    struct vae_arg encoder = {decoder.c, z->h * factor, z->w * factor};

    cn_network_fix_layouts(&m->vae, build_decoder, &decoder);
    if (!decoder.c->decoder_only)
        cn_network_fix_layouts(&m->vae, build_encoder, &encoder);
    m->vae.own_latent = z->h;
    m->vae.own_pixels = encoder.h;
    m->vae.layouts_fixed = true;
}

void cn_plans_fix_layouts(struct cn_model *base, int tokens)
{
    struct unet_arg u = {cn_checkpoint_unet(base->checkpoint), CN_NET_UNET, own_size(base, tokens)};

    if (base->unet.layouts_fixed)
        return;
    for (int i = 0; i < base->n_texts; i++) {
        const struct cn_text_config *c = cn_checkpoint_text(base->checkpoint, i);
        struct text_arg text = {c, 2, tokens, cn_text_usual(c, 0)};

        cn_network_fix_layouts(&base->text[i].net, build_text, &text);
    }
    cn_network_fix_layouts(&base->unet, build_unet, &u);
    cn_network_fix_layouts(&base->unet, build_context, &u);
    base->unet.own_latent = u.z.h;
    base->unet.layouts_fixed = true;
    fix_vae(base, &u.z);
}

void cn_plans_fix_vae_layouts(struct cn_model *m)
{
    const struct cn_step_size z = {.h = USUAL_SIDE, .w = USUAL_SIDE};

    if (!m->vae.layouts_fixed)
        fix_vae(m, &z);
}

void cn_plans_fix_control_layouts(struct cn_network *net, const struct cn_control_config *c,
                                  const struct cn_model *base, int tokens)
{
    struct unet_arg u = {&c->unet, CN_NET_CONTROL, own_size(base, tokens)};
    int factor = cn_vae_factor(cn_checkpoint_vae(base->checkpoint));
    struct control_arg a = {c, u.z, u.z.h * factor, u.z.w * factor};

    if (net->layouts_fixed)
        return;
    cn_network_fix_layouts(net, build_control, &a);
    if (cn_unet_reads_text(&c->unet))
        cn_network_fix_layouts(net, build_context, &u);
    cn_network_fix_layouts(net, build_hint, &a);
    net->own_latent = u.z.h;
    net->own_pixels = a.height;
    net->layouts_fixed = true;
}

/* ---- running them ---- */

int cn_plan_input(const struct cn_plan_entry *p, int i, struct cn_buffer **ret, struct cn_err *err)
{
    const struct cn_io *io = &p->g->input[i];

    return cn_buffer_new(p->backend, &p->g->value[io->val], p->dtype, io->flags, ret, err);
}

int cn_plan_output(const struct cn_plan_entry *p, int i, struct cn_buffer **ret, struct cn_err *err)
{
    const struct cn_io *io = &p->g->output[i];

    return cn_buffer_new(p->backend, &p->g->value[io->val], p->dtype, io->flags, ret, err);
}

enum { MAX_HOST_ARRAYS = 4 };

/* Device buffers of a plan's inputs and outputs. */
struct host_run {
    struct cn_buffer *in[MAX_HOST_ARRAYS], *out[MAX_HOST_ARRAYS];
};

static int new_buffers(const struct cn_plan_entry *p, struct host_run *r, struct cn_err *err)
{
    int rc = CN_OK;

    for (int i = 0; i < p->g->n_inputs && rc == CN_OK; i++)
        rc = cn_plan_input(p, i, &r->in[i], err);
    for (int i = 0; i < p->g->n_outputs && rc == CN_OK; i++)
        rc = cn_plan_output(p, i, &r->out[i], err);
    return rc;
}

int cn_plan_run_hosts(const struct cn_plan_entry *p, const void *const *in, float *const *out,
                      const struct cn_row_adapter *adapter, int n_adapters, struct cn_err *err)
{
    struct host_run r = {{NULL}, {NULL}};
    int rc;

    CN_ASSERT(p->g->n_inputs <= MAX_HOST_ARRAYS && p->g->n_outputs <= MAX_HOST_ARRAYS);
    rc = new_buffers(p, &r, err);
    if (rc == CN_OK) {
        for (int i = 0; i < p->g->n_inputs; i++)
            cn_buffer_write(r.in[i], in[i]);
        rc = cn_plan_run_adapted(p->plan, r.in, r.out, adapter, n_adapters, err);
    }
    if (rc == CN_OK) {
        for (int i = 0; i < p->g->n_outputs; i++)
            cn_buffer_read(r.out[i], out[i]);
        rc = cn_backend_check(p->backend, err);
    }
    for (int i = 0; i < MAX_HOST_ARRAYS; i++) {
        cn_buffer_free(r.in[i]);
        cn_buffer_free(r.out[i]);
    }
    return rc;
}

int cn_plan_run_host(const struct cn_plan_entry *p, const void *in, float *out, struct cn_err *err)
{
    CN_ASSERT(p->g->n_inputs == 1 && p->g->n_outputs == 1);
    return cn_plan_run_hosts(p, &in, &out, NULL, 0, err);
}
