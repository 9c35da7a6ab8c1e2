/* "NAME.json" next to NAME.safetensors: corrections of what its shapes do not say, with the keys of
 * diffusers' files in one object per component:
 *
 *     {"unet": {"attention_head_dim": 10}, "scheduler": {"prediction_type": "v_prediction"}}
 *
 * A text instead of an object names the file (from the model's folder) that the component is taken
 * from: {"vae": "vae-ft-mse.safetensors"}.
 *
 * "ema" chooses between the weights and the average of the training's, where a file has both:
 * {"ema": true}; without a word the plain ones count.
 *
 * Programs of the field keep notes about a model in a file of the same name, texts and numbers
 * under keys of their own; those are none of ours. An object under a key that is no component is
 * refused. "NAME.safetensors.json" is read as well, and after it; so for the other endings.
 */
#include "base/base.h"
#include "base/mem.h"
#include "checkpoint/checkpoint_priv.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static void amend_unet(struct cn_conf *f, struct cn_checkpoint *c)
{
    cn_conf_amend_unet(f, &c->unet);
}

static void amend_control(struct cn_conf *f, struct cn_checkpoint *c)
{
    cn_conf_amend_control(f, &c->control);
}

static void amend_vae(struct cn_conf *f, struct cn_checkpoint *c)
{
    cn_conf_amend_vae(f, &c->vae);
}

static void amend_text(struct cn_conf *f, struct cn_checkpoint *c)
{
    cn_conf_amend_text(f, &c->text[0]);
}

static void amend_text_2(struct cn_conf *f, struct cn_checkpoint *c)
{
    cn_conf_amend_text(f, &c->text[1]);
}

static void amend_schedule(struct cn_conf *f, struct cn_checkpoint *c)
{
    cn_conf_amend_schedule(f, &c->schedule);
}

static const struct {
    const char *key;
    enum cn_component comp;
    void (*amend)(struct cn_conf *f, struct cn_checkpoint *c);
} parts[] = {
    {"unet", CN_COMP_UNET, amend_unet},
    {"controlnet", CN_COMP_CONTROL, amend_control},
    {"vae", CN_COMP_VAE, amend_vae},
    {"text_encoder", CN_COMP_TEXT, amend_text},
    {"text_encoder_2", CN_COMP_TEXT_2, amend_text_2},
    {"scheduler", CN_COMP_UNET, amend_schedule},
};

static bool is_part(const char *key)
{
    for (size_t i = 0; i < CN_LEN(parts); i++)
        if (strcmp(parts[i].key, key) == 0)
            return true;
    return false;
}

static void refuse_unknown(struct cn_conf *f)
{
    const char *key;
    json_t *v;

    json_object_foreach(f->root, key, v)
    {
        if (json_is_object(v) && key[0] != '_' && !is_part(key))
            cn_conf_bad(f, key, "not the name of a component");
    }
}

/* A text instead of settings names the file that has the component; AUTOMATIC1111's notes do so
 * for the VAE, with words that mean no file. */
static bool is_wish(const struct cn_conf *f, struct cn_checkpoint *c, size_t part)
{
    const char *name = json_string_value(json_object_get(f->root, parts[part].key));

    if (name == NULL || parts[part].amend == amend_schedule)
        return false;
    if (name[0] != '\0' && strcmp(name, "Automatic") != 0 && strcmp(name, "None") != 0) {
        free(c->wish[parts[part].comp]);
        c->wish[parts[part].comp] = cn_xstrdup(name);
    }
    return true;
}

static void read_weights(struct cn_conf *f, struct cn_checkpoint *c)
{
    static const char key[] = "ema";

    if (!cn_conf_has(f, key))
        return;
    c->weights = cn_conf_bool(f, key, false) ? CN_EMA_YES : CN_EMA_NO;
    if (c->weights == CN_EMA_YES && c->average.count == 0 && c->asked == CN_EMA_MODEL)
        cn_conf_bad(f, key, "the file has no averages of the training's weights (model_ema)");
}

static int amend(struct cn_conf *f, struct cn_checkpoint *c)
{
    refuse_unknown(f);
    read_weights(f, c);
    for (size_t i = 0; f->rc == CN_OK && i < CN_LEN(parts); i++) {
        struct cn_conf part;

        if (is_wish(f, c, i) || !cn_conf_part(f, parts[i].key, &part))
            continue;
        if (!c->comp[parts[i].comp].present)
            cn_conf_bad(f, parts[i].key, "the model has no such component");
        else
            parts[i].amend(&part, c);
        if (f->rc == CN_OK)
            f->rc = part.rc;
    }
    return f->rc;
}

static int read_file(struct cn_checkpoint *c, const char *path, struct cn_err *err)
{
    struct cn_conf f;
    int rc = CN_OK;

    if (!cn_file_exists(path))
        return CN_OK;
    rc = cn_conf_open(&f, path, err);
    if (rc == CN_OK) {
        rc = amend(&f, c);
        cn_conf_close(&f);
    }
    return rc;
}

char *cn_sidecar_path(const char *path)
{
    return cn_xprintf("%.*s.json", (int)(strlen(path) - cn_checkpoint_ending(path)), path);
}

int cn_checkpoint_sidecar(struct cn_checkpoint *c, struct cn_err *err)
{
    char *beside = cn_sidecar_path(c->path), *older = cn_xprintf("%s.json", c->path);
    int rc = read_file(c, beside, err);

    if (rc == CN_OK && strcmp(beside, older) != 0)
        rc = read_file(c, older, err);
    free(beside);
    free(older);
    return rc;
}
