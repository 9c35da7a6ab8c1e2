/* "<model>.json" next to a single file: corrections of what its shapes do not say, with the keys of
 * diffusers' files in one object per component:
 *
 *     {"unet": {"attention_head_dim": 10}, "scheduler": {"prediction_type": "v_prediction"}}
 */
#include "base/base.h"
#include "checkpoint/checkpoint_priv.h"

#include <stdlib.h>

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
    {"scheduler", CN_COMP_UNET, amend_schedule},
};

static int amend(struct cn_conf *f, struct cn_checkpoint *c)
{
    struct cn_rule rules[CN_LEN(parts)];

    for (size_t i = 0; i < CN_LEN(parts); i++)
        rules[i] = (struct cn_rule){.key = parts[i].key};
    cn_conf_rules(f, rules, CN_LEN(rules), true);
    for (size_t i = 0; f->rc == CN_OK && i < CN_LEN(parts); i++) {
        struct cn_conf part;

        if (!cn_conf_part(f, parts[i].key, &part))
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

int cn_checkpoint_sidecar(struct cn_checkpoint *c, struct cn_err *err)
{
    char *path = cn_xprintf("%s.json", c->path);
    struct cn_conf f;
    int rc = CN_OK;

    if (cn_file_exists(path)) {
        rc = cn_conf_open(&f, path, err);
        if (rc == CN_OK) {
            rc = amend(&f, c);
            cn_conf_close(&f);
        }
    }
    free(path);
    return rc;
}
