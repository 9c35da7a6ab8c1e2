/* A job: what its request means for the models that are there, and what it holds.
 *
 * DESIGN. cn_job_new() finds the models and checks that everything fits together: no network runs,
 * no weights are read, no file is decoded. Everything that a job allocates is in its arena or its
 * lists and goes with it, also after an error; weights and plans stay with the models.
 */
#include "base/base.h"
#include "engine/job_priv.h"
#include "base/clock.h"
#include "base/mem.h"
#include "model/vae.h"
#include "runtime/adapted.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int cn_job_buffer(struct cn_job *j, const struct cn_value *v, int flags, struct cn_buffer **ret,
                  struct cn_err *err)
{
    int rc = cn_buffer_new(j->e->rt.backend, v, CN_DTYPE_COUNT, flags, ret, err);

    if (rc < 0)
        return rc;
    j->buffers = cn_grow(j->buffers, j->n_buffers, &j->buffers_cap, sizeof(*j->buffers));
    j->buffers[j->n_buffers++] = *ret;
    return CN_OK;
}

/* Bytes of one array of a job, so that a size beyond any use is refused before memory is touched.
 */
#define MAX_ARRAY ((size_t)4 << 30)

static int refuse_size(const struct cn_job *j, struct cn_err *err)
{
    return cn_fail_at(err, CN_ETOOBIG, "/width", "%d x %d pixels are too many", j->width,
                      j->height);
}

int cn_job_floats(struct cn_job *j, size_t n, float **ret, struct cn_err *err)
{
    size_t bytes;

    if (!cn_mul_size(n, sizeof(float), &bytes) || bytes > MAX_ARRAY)
        return refuse_size(j, err);
    *ret = cn_try_alloc(bytes);
    if (*ret == NULL)
        return cn_fail(err, CN_ENOMEM, "no memory for %zu bytes of a picture", bytes);
    memset(*ret, 0, bytes);
    j->floats = cn_grow(j->floats, j->n_floats, &j->floats_cap, sizeof(*j->floats));
    j->floats[j->n_floats++] = *ret;
    return CN_OK;
}

void cn_job_stage(struct cn_job *j, enum cn_engine_stage stage, double *start)
{
    double now = cn_now_s();

    j->ms[stage] += (now - *start) * 1e3;
    *start = now;
}

bool cn_job_has_tiny(const struct cn_job *j)
{
    return cn_tiny_decoder_fits(j->e->tiny, j->vae);
}

bool cn_job_cancelled(const struct cn_job *j)
{
    return j->cb.cancelled != NULL && j->cb.cancelled(j->cb.ctx);
}

bool cn_job_draws_nothing(const struct cn_job *j)
{
    return j->base == NULL || (j->spec->init_image.len > 0 && j->spec->denoise <= 0 &&
                               j->drawn == NULL && j->second == NULL);
}

bool cn_job_paints_from_noise(const struct cn_job *j)
{
    return j->mask != NULL && j->spec->denoise >= 1 && j->spec->picture_rules == CN_MAP_DIFFUSERS;
}

int cn_job_go_on(const struct cn_job *j, const char *what, struct cn_err *err)
{
    return cn_job_cancelled(j) ? cn_fail(err, CN_ECANCELED, "cancelled before %s", what) : CN_OK;
}

int cn_job_blame_model(const struct cn_job *j, const struct cn_network *net, struct cn_err *err)
{
    if (err == NULL)
        return CN_EFORMAT;
    err->code = CN_EFORMAT;
    snprintf(err->where, sizeof(err->where), "%s",
             j->vae_model != j->base && net == &j->vae_model->vae ? "/vae" : "/model");
    for (int i = j->n_controls - 1; i >= 0; i--) {
        const struct cn_job_control *c = &j->control[i];

        if (c->net.of.net == net)
            snprintf(err->where, sizeof(err->where), "/controls/%d/model", i);
        else if (c->annotator != NULL && &c->annotator->net == net)
            snprintf(err->where, sizeof(err->where), "/controls/%d/annotator", i);
    }
    return CN_EFORMAT;
}

int cn_job_planned(struct cn_job *j, int rc, const struct cn_network *net, double start,
                   struct cn_err *err)
{
    cn_job_stage(j, CN_ENGINE_LOAD, &start);
    return rc == CN_ENOTFOUND || rc == CN_EFORMAT ? cn_job_blame_model(j, net, err) : rc;
}

/* ---- models ---- */

/* Latents are as large as the model's UNet was trained with, whatever autoencoder takes them: files
 * of one alone do not say. */
static int find_vae(struct cn_job *j, struct cn_err *err)
{
    int rc = cn_runtime_find_vae(&j->e->rt, j->spec->vae, j->base, &j->vae_model, err);

    if (rc < 0)
        return rc;
    j->own_vae = *cn_checkpoint_vae(j->vae_model->checkpoint);
    j->own_vae.scaling_factor = cn_checkpoint_vae(j->base->checkpoint)->scaling_factor;
    j->own_vae.shift_factor = cn_checkpoint_vae(j->base->checkpoint)->shift_factor;
    j->vae = &j->own_vae;
    return CN_OK;
}

static int find_base(struct cn_job *j, struct cn_err *err)
{
    const char *name = j->spec->model;

    if (name[0] == '\0')
        name = cn_runtime_default(&j->e->rt);
    if (name == NULL)
        return cn_fail_at(err, CN_ENOTFOUND, "/model", "there is no base model here");
    j->base = cn_runtime_find(&j->e->rt, name);
    if (j->base == NULL)
        return cn_fail_at(err, CN_ENOTFOUND, "/model", "there is no model \"%s\"", name);
    if (j->base->broken != NULL)
        return cn_fail_at(err, CN_EFORMAT, "/model", "model \"%s\" cannot be used: %s", name,
                          j->base->broken);
    if (j->base->role != CN_ROLE_BASE)
        return cn_fail_at(err, CN_EINVAL, "/model", "\"%s\" is %s, not a base model", name,
                          cn_role_title(j->base->role));
    j->unet = cn_checkpoint_unet(j->base->checkpoint);
    return find_vae(j, err);
}

/* Whether the ControlNet and the base model can work together. */
static int check_fit(const struct cn_job *j, const struct cn_control_config *c, struct cn_err *err)
{
    int rc = cn_control_matches(c, j->unet, err);

    if (rc == CN_OK && 1 << (c->hint_blocks - 1) != cn_vae_factor(j->vae))
        rc = cn_fail(err, CN_EINVAL,
                     "its hint encoder divides sides by %d, the model's latent by %d",
                     1 << (c->hint_blocks - 1), cn_vae_factor(j->vae));
    if (rc == CN_OK && c->hint_channels != 3)
        rc = cn_fail(err, CN_EINVAL, "it wants hints of %d channels", c->hint_channels);
    if (rc == CN_OK && c->unet.in_channels != j->channels)
        rc = cn_fail(err, CN_EINVAL, "it wants %d channels, the model's latent has %d",
                     c->unet.in_channels, j->channels);
    return rc;
}

static int find_annotator(struct cn_job *j, int i, struct cn_err *err)
{
    struct cn_job_control *c = &j->control[i];
    char where[48];

    c->annotator = cn_annotator_named(j->e, c->spec->annotator);
    cn_spec_control_where(j->spec, i, "annotator", where, sizeof(where));
    if (c->annotator == NULL)
        return cn_fail_at(err, CN_ENOTFOUND, where, "there is no annotator \"%s\"",
                          c->spec->annotator);
    return CN_OK;
}

/* One that was trained on pictures with parts missing draws wrong pictures when none are: the mask
 * that is there is taken also where no annotator is named. */
static void choose_inpaint(struct cn_job *j, int i)
{
    static char inpaint[] = "inpaint";
    struct cn_spec_control *c = &j->control[i].own;
    bool has_mask = c->mask.len > 0 || j->spec->mask.len > 0;

    if (strcmp(cn_annotator_of_model(c->model), inpaint) != 0 || strcmp(c->annotator, "none") != 0)
        return;
    if (has_mask)
        c->annotator = inpaint;
    else if (j->cb.warning != NULL)
        j->cb.warning(j->cb.ctx, CN_WARN_NO_EFFECT, "/controls",
                      "a ControlNet for inpainting without a mask or annotator \"inpaint\" has "
                      "nothing to fill in");
}

static int find_control(struct cn_job *j, int i, struct cn_err *err)
{
    const struct cn_spec_control *spec = &j->spec->control[i];
    struct cn_model *m = cn_runtime_find(&j->e->rt, spec->model);
    struct cn_job_control *c = &j->control[i];
    struct cn_step_size z = {.n = j->rows, .h = j->h, .w = j->w, .s = j->tokens};
    char where[48];
    int rc;

    snprintf(where, sizeof(where), "/controls/%d/model", i);
    if (m == NULL)
        return cn_fail_at(err, CN_ENOTFOUND, where, "there is no ControlNet \"%s\"", spec->model);
    if (m->broken != NULL)
        return cn_fail_at(err, CN_EFORMAT, where, "ControlNet \"%s\" cannot be used: %s",
                          spec->model, m->broken);
    if (m->role != CN_ROLE_CONTROL)
        return cn_fail_at(err, CN_EINVAL, where, "\"%s\" is %s, not a ControlNet", spec->model,
                          cn_role_title(m->role));
    c->model = m;
    c->own = *spec;
    c->spec = &c->own;
    c->config = cn_checkpoint_control(m->checkpoint);
    c->levels = cn_control_levels(&c->config->unet);
    if (c->config->global_pool) /* trained to act on the conditional branch alone */
        c->own.branch = CN_BRANCH_COND;
    if ((rc = check_fit(j, c->config, err)) < 0) {
        cn_err_prefix(err, "ControlNet \"%s\" does not fit model \"%s\"", spec->model,
                      j->base->name);
        if (err != NULL)
            snprintf(err->where, sizeof(err->where), "%s", where);
        return rc;
    }
    for (int k = 0; k < c->levels; k++)
        c->side[k] = (int)cn_control_shape(&c->config->unet, &z, k).dim[2];
    c->net.of.config = &c->config->unet;
    c->net.of.kind = CN_NET_CONTROL;
    choose_inpaint(j, i);
    if (find_annotator(j, i, err) < 0)
        return CN_ENOTFOUND;
    return cn_control_check(spec, i, c->levels, err);
}

/* The engine's own order, so that jobs which list the same ControlNets differently share steps. */
static void order_controls(struct cn_job *j)
{
    for (int i = 0; i < j->n_controls; i++) {
        int k = i;

        for (; k > 0 &&
               strcmp(j->control[j->order[k - 1]].model->name, j->control[i].model->name) > 0;
             k--)
            j->order[k] = j->order[k - 1];
        j->order[k] = i;
    }
}

/* ---- sizes ---- */

/* Each part agrees with its own file, which is checked when plans are compiled; here, that they
 * agree with each other. */
static int check_parts(const struct cn_job *j, struct cn_err *err)
{
    int told = j->pooled > 0 ? j->pooled + CN_ADD_NUMBERS * j->unet->add_time_dim : 0;
    const char *name = j->base->name;

    if (j->context != j->unet->cross_attention_dim)
        return cn_fail_at(err, CN_EFORMAT, "/model",
                          "model \"%s\": the text encoder's hidden_size is %d, the UNet's "
                          "cross_attention_dim %d",
                          name, j->context, j->unet->cross_attention_dim);
    if (j->unet->add_dim != told)
        return cn_fail_at(err, CN_EFORMAT, "/model",
                          "model \"%s\": the UNet is told %d numbers beside the time, which are "
                          "not the %d of the pooled text and %d sizes of %d",
                          name, j->unet->add_dim, j->pooled, CN_ADD_NUMBERS,
                          j->unet->add_time_dim);
    if (j->positions < 3)
        return cn_fail_at(err, CN_EFORMAT, "/model",
                          "model \"%s\": the text encoder has no room for a prompt", name);
    if (j->vae->in_channels != 3 || j->vae->out_channels != 3)
        return cn_fail_at(err, CN_EFORMAT, "/model",
                          "model \"%s\": the autoencoder has %d to %d channels of colour, not 3",
                          name, j->vae->in_channels, j->vae->out_channels);
    if (cn_control_levels(j->unet) > CN_MAX_LEVELS)
        return cn_fail_at(err, CN_EFORMAT, "/model", "model \"%s\": the UNet has too many layers",
                          name);
    return CN_OK;
}

static int check_kind(const struct cn_job *j, struct cn_err *err)
{
    enum cn_unet_extra extra = cn_unet_extra(j->unet, j->channels);
    bool inpaint = extra == CN_UNET_SEES_MASK;

    if (j->spec->sampler == CN_EULER_CFGPP && cn_unet_takes_guidance(j->unet))
        return cn_fail_at(err, CN_EINVAL, "/sampler",
                          "\"euler_cfgpp\" needs the answers with and without the prompt: model "
                          "\"%s\" does guidance by itself",
                          j->base->name);
    if (j->unet->out_channels != j->channels || extra == CN_UNET_SEES_UNKNOWN)
        return cn_fail_at(err, CN_EINVAL, "/model",
                          "model \"%s\": a UNet of %d to %d channels on latents of %d is not "
                          "supported",
                          j->base->name, j->unet->in_channels, j->unet->out_channels, j->channels);
    if (j->vae->decoder_only && j->spec->init_image.len > 0)
        return cn_fail_at(err, CN_EINVAL, "/init_image",
                          "the autoencoder of model \"%s\" has no encoder, only a decoder",
                          j->vae_model->name);
    if (j->spec->decoder == CN_DECODER_TAESD && !cn_job_has_tiny(j))
        return cn_fail_at(err, CN_EINVAL, "/decoder",
                          "there is no tiny autoencoder (TAESD) here for model \"%s\"",
                          j->base->name);
    if (extra == CN_UNET_SEES_DEPTH && (j->spec->init_image.len == 0 || j->spec->depth.len == 0))
        return cn_fail_at(err, CN_EINVAL, "/depth",
                          "model \"%s\" draws by depth: it needs an \"init_image\" and a "
                          "\"depth\" map",
                          j->base->name);
    if (j->spec->mask.len > 0 && j->spec->init_image.len == 0)
        return cn_fail_at(err, CN_EINVAL, "/mask", "a mask needs an \"init_image\"");
    if (inpaint && j->spec->mask.len == 0)
        return cn_fail_at(err, CN_EINVAL, "/mask",
                          "model \"%s\" is made for inpainting: it needs an \"init_image\" and a "
                          "\"mask\"",
                          j->base->name);
    return CN_OK;
}

/* The contexts of the text encoders stand side by side. */
static void choose_context(struct cn_job *j)
{
    const struct cn_text_config *c;

    j->positions = CN_CLIP_LENGTH;
    for (int i = 0; (c = cn_checkpoint_text(j->base->checkpoint, i)) != NULL; i++) {
        j->positions = CN_MIN(j->positions, c->max_position);
        j->context += c->hidden_size;
    }
    j->tokens = j->positions;
    c = cn_checkpoint_text(j->base->checkpoint, CN_POOLING_TEXT);
    j->pooled = c != NULL && j->unet->add_dim > 0 ? c->projection : 0;
}

static int choose_sizes(struct cn_job *j, struct cn_err *err)
{
    int factor = cn_vae_factor(j->vae), rc;

    j->width = j->spec->width ? j->spec->width : j->unet->sample_width * factor;
    j->height = j->spec->height ? j->spec->height : j->unet->sample_height * factor;
    if (j->width == 0 || j->height == 0)
        return cn_fail_at(err, CN_EINVAL, j->width == 0 ? "/width" : "/height",
                          "model \"%s\" has no size of its own: say one", j->base->name);
    if (j->width % factor != 0 || j->width <= 0)
        return cn_fail_at(err, CN_EINVAL, "/width", "%d is not a multiple of %d", j->width, factor);
    if (j->height % factor != 0 || j->height <= 0)
        return cn_fail_at(err, CN_EINVAL, "/height", "%d is not a multiple of %d", j->height,
                          factor);
    if ((uint64_t)j->width * (uint64_t)j->height > MAX_ARRAY / (3 * sizeof(float)))
        return refuse_size(j, err);
    j->channels = j->vae->latent_channels;
    j->w = j->width / factor;
    j->h = j->height / factor;
    j->latent = (size_t)j->channels * (size_t)j->h * (size_t)j->w;
    j->guided = cn_spec_is_guided(j->spec) && !cn_unet_takes_guidance(j->unet);
    j->rows = j->guided ? 2 : 1;
    j->perturbed = -1;
    choose_context(j);
    rc = check_parts(j, err);
    return rc < 0 ? rc : check_kind(j, err);
}

/* ---- the job ---- */

/* From now on, whatever becomes of their files. */
static void hold_models(struct cn_job *j)
{
    if (j->base == NULL)
        return;
    cn_runtime_hold(j->base);
    cn_runtime_hold(j->vae_model);
    for (int i = 0; i < j->n_controls; i++)
        cn_runtime_hold(j->control[i].model);
    j->holds_models = true;
}

static void let_go_of_models(struct cn_job *j)
{
    if (!j->holds_models || j->base == NULL)
        return;
    cn_runtime_let_go(j->base);
    cn_runtime_let_go(j->vae_model);
    for (int i = 0; i < j->n_controls; i++)
        cn_runtime_let_go(j->control[i].model);
}

/* Of what the request has and this model's network does not look at. One that does guidance by
 * itself sees one row, and no negative prompt. */
static void warn_of_model(const struct cn_job *j)
{
    static const char text[] = "no effect: the model does guidance by itself, without it";

    if (j->unet->add_dim == 0 && cn_spec_has_sizes(j->spec) && j->cb.warning != NULL &&
        j->steps_before == 0)
        j->cb.warning(j->cb.ctx, CN_WARN_NO_EFFECT, "/original_size",
                      "the model is not told sizes (original_size, crop, target_size)");
    if (j->spec->depth.len > 0 && j->cb.warning != NULL && j->steps_before == 0 &&
        cn_unet_extra(j->unet, j->channels) != CN_UNET_SEES_DEPTH)
        j->cb.warning(j->cb.ctx, CN_WARN_NO_EFFECT, "/depth", "the model does not draw by depth");
    if (!cn_unet_takes_guidance(j->unet) || j->cb.warning == NULL || j->steps_before > 0 ||
        !cn_spec_is_guided(j->spec)) /* of guidance that is off whoever took the job has told */
        return;
    if (j->spec->negative_prompt[0] != '\0')
        j->cb.warning(j->cb.ctx, CN_WARN_NO_EFFECT, "/negative_prompt", text);
    if (j->spec->guidance_rescale > 0)
        j->cb.warning(j->cb.ctx, CN_WARN_NO_EFFECT, "/guidance_rescale", text);
}

/* A job without a model: its size is the request's, or the picture's own. */
static int resolve_annotation(struct cn_job *j, struct cn_err *err)
{
    j->n_controls = 1;
    j->width = j->spec->width;
    j->height = j->spec->height;
    j->control[0].own = j->spec->control[0];
    j->control[0].spec = &j->control[0].own;
    return find_annotator(j, 0, err);
}

/* The row of perturbed-attention guidance: as the prompt's, which must be one. */
static int add_perturbed(struct cn_job *j, struct cn_err *err)
{
    if (!(j->spec->pag_scale > 0))
        return CN_OK;
    if (!j->unet->mid_attention)
        return cn_fail_at(err, CN_EINVAL, "/pag_scale",
                          "the middle block of model \"%s\" has no attention to perturb",
                          j->base->name);
    if (j->rows > 1 + (int)j->guided)
        return cn_fail_at(err, CN_EINVAL, "/pag_scale",
                          "it does not go with prompts joined by AND");
    j->perturbed = j->rows++;
    return CN_OK;
}

static int resolve(struct cn_job *j, struct cn_err *err)
{
    int rc;

    if (j->spec->kind == CN_KIND_ANNOTATE)
        return resolve_annotation(j, err);
    if ((rc = find_base(j, err)) < 0 || (rc = choose_sizes(j, err)) < 0)
        return rc;
    if ((rc = cn_job_find_adapters(j, err)) < 0)
        return rc;
    j->main.of = (struct cn_denoiser){cn_job_network(j, CN_COMP_UNET), j->unet, CN_NET_UNET};
    for (; j->n_controls < j->spec->n_controls; j->n_controls++)
        if ((rc = find_control(j, j->n_controls, err)) < 0)
            return rc;
    order_controls(j);
    warn_of_model(j);
    rc = cn_prompts_read(j, err);
    return rc < 0 ? rc : add_perturbed(j, err);
}

int cn_job_new(struct cn_engine *e, const struct cn_spec *spec, const struct cn_engine_cb *cb,
               int steps_before, struct cn_job **ret, struct cn_err *err)
{
    struct cn_job *j = cn_xcalloc(1, sizeof(*j));
    int rc;

    CN_ASSERT(spec->has_seed);
    j->e = e;
    j->spec = spec;
    j->cb = *cb;
    j->serial = ++e->serial;
    j->steps_before = steps_before;
    j->pictures = cn_spec_pictures(spec);
    j->embeddings = cn_embeddings_hold(&e->rt.embeddings);
    cn_arena_init(&j->arena);
    rc = resolve(j, err);
    if (rc < 0) {
        cn_job_free(j);
        return rc;
    }
    hold_models(j);
    *ret = j;
    return CN_OK;
}

void cn_job_free(struct cn_job *j)
{
    if (j->second != NULL)
        cn_job_free(j->second);
    for (int i = 0; j->drawn_picture != NULL && i < j->spec->n; i++)
        cn_image_release(&j->drawn_picture[i]);
    free(j->drawn_picture);
    free(j->own_spec);
    let_go_of_models(j);
    cn_embeddings_let_go(j->embeddings);
    cn_adapted_free(j->adapted);
    for (size_t i = 0; i < j->n_buffers; i++)
        cn_buffer_free(j->buffers[i]);
    for (size_t i = 0; i < j->n_floats; i++)
        free(j->floats[i]);
    cn_row_inputs_clear(&j->main.rows);
    for (int i = 0; i < j->n_controls; i++) {
        cn_row_inputs_clear(&j->control[i].net.rows);
        cn_image_release(&j->control[i].map);
    }
    cn_image_release(&j->init_image);
    cn_image_release(&j->paste_level);
    cn_prompts_release(j);
    free(j->buffers);
    free(j->floats);
    cn_arena_release(&j->arena);
    free(j);
}
