/* One model: opened, loaded, given up. */
#include "base/base.h"
#include "runtime/model.h"
#include "base/mem.h"
#include "runtime/inspect.h"

#include <stdlib.h>
#include <string.h>

const char *cn_role_title(enum cn_model_role role)
{
    static const char *const title[] = {"a base model", "a ControlNet", "an autoencoder"};

    return title[role];
}

/* A file with one part only can be opened, but it is no model that draws. */
static int check_complete(const struct cn_model *m, struct cn_err *err)
{
    static const enum cn_component needed[] = {CN_COMP_TEXT, CN_COMP_TEXT_2, CN_COMP_VAE};
    static const char *const keys[] = {"text_encoder", "text_encoder_2", "vae"};
    int stem = (int)(strlen(m->path) - cn_checkpoint_ending(m->path));
    bool two; /* SDXL's UNet is told what the second text encoder makes of the whole text */

    if (!cn_checkpoint_has(m->checkpoint, CN_COMP_UNET))
        return cn_fail(err, CN_EFORMAT, "\"%s\" is a part of a model: it has no unet", m->path);
    two = cn_checkpoint_unet(m->checkpoint)->add_dim > 0;
    for (size_t i = 0; i < CN_LEN(needed); i++)
        if (!cn_checkpoint_has(m->checkpoint, needed[i]) && (two || needed[i] != CN_COMP_TEXT_2))
            return cn_fail(
                err, CN_EFORMAT,
                "\"%s\" has no %s: put one beside it as %s.safetensors, or name its file "
                "in \"%.*s.json\": {\"%s\": \"FILE\"}",
                m->path, cn_component_name(needed[i]), keys[i], stem, m->path, keys[i]);
    return CN_OK;
}

/* The first ControlNets were published in one file with the model that they were trained with:
 * whoever has such a file wants the ControlNet. A pipeline may bring one, which is not used. */
static bool is_control(const struct cn_checkpoint *c)
{
    return cn_checkpoint_has(c, CN_COMP_CONTROL) &&
           (!cn_checkpoint_has(c, CN_COMP_UNET) || cn_checkpoint_kind(c) == CN_CKPT_FILE);
}

static enum cn_model_role role_of(const struct cn_checkpoint *c)
{
    if (is_control(c))
        return CN_ROLE_CONTROL;
    return cn_checkpoint_has(c, CN_COMP_VAE) && !cn_checkpoint_has(c, CN_COMP_UNET) &&
                   !cn_checkpoint_has(c, CN_COMP_TEXT)
               ? CN_ROLE_VAE
               : CN_ROLE_BASE;
}

int cn_model_new(char *name, const char *path, enum cn_ema_choice ema, struct cn_model **ret,
                 struct cn_err *err)
{
    struct cn_model *m = cn_xcalloc(1, sizeof(*m));
    struct cn_err why = CN_ERR_INIT;
    int rc;

    m->name = name;
    m->path = cn_xstrdup(path);
    m->vae_dtype = CN_DTYPE_COUNT;
    rc = cn_checkpoint_open_with(path, ema, &m->checkpoint, &why);
    if (rc == CN_OK) {
        m->role = role_of(m->checkpoint);
        if (m->role == CN_ROLE_BASE)
            rc = check_complete(m, &why);
        while (cn_checkpoint_text(m->checkpoint, m->n_texts) != NULL)
            m->n_texts++;
    }
    if (rc < 0) {
        m->broken = cn_xstrdup(why.msg);
        if (err != NULL)
            *err = why;
    }
    *ret = m;
    return rc;
}

/* Of text encoder i. On failure *ret may be set: it is closed by the caller. */
static int open_tokenizer(const struct cn_model *m, int i, struct cn_tokenizer **ret,
                          struct cn_err *err)
{
    const char *dir = cn_checkpoint_tokenizer(m->checkpoint, i);
    const struct cn_text_config *c = cn_checkpoint_text(m->checkpoint, i);
    int rc, most;

    if (dir == NULL && cn_checkpoint_kind(m->checkpoint) == CN_CKPT_PIPELINE)
        return cn_fail(err, CN_ENOTFOUND, "the tokenizer is missing: no \"%s/tokenizer%s\"",
                       m->path, i == 0 ? "" : "_2");
    rc = dir ? cn_tokenizer_open(dir, ret, err) : cn_tokenizer_builtin(ret, err);
    if (rc < 0)
        return rc;
    if (dir == NULL)
        cn_tokenizer_set_pad(*ret, c->pad_token);
    most = cn_tokenizer_max_length(*ret);
    if (most > 0 && most < CN_MIN(c->max_position, (int)CN_CLIP_LENGTH))
        return cn_fail(err, CN_EINVAL,
                       "\"%s/tokenizer_config.json\": \"model_max_length\": %d is not supported: "
                       "texts take all %d positions of the text encoder",
                       dir, most, c->max_position);
    if (cn_tokenizer_size(*ret) > c->vocab_size)
        return cn_fail(err, CN_EFORMAT, "the tokenizer has %d tokens, the %s of \"%s\" knows %d",
                       cn_tokenizer_size(*ret),
                       cn_component_name((enum cn_component)(CN_COMP_TEXT + i)), m->path,
                       c->vocab_size);
    return CN_OK;
}

static int open_text(struct cn_model *m, struct cn_backend *backend, int i, struct cn_err *err)
{
    struct cn_text_encoder *t = &m->text[i];
    enum cn_component part = (enum cn_component)(CN_COMP_TEXT + i);
    int rc;

    if (t->tokenizer == NULL && (rc = open_tokenizer(m, i, &t->tokenizer, err)) < 0) {
        cn_tokenizer_close(t->tokenizer);
        t->tokenizer = NULL;
        return rc;
    }
    return cn_network_open(&t->net, backend, m->checkpoint, part, NULL, err);
}

int cn_model_open_vae(struct cn_model *m, struct cn_backend *backend, struct cn_err *err)
{
    int rc = cn_network_open(&m->vae, backend, m->checkpoint, CN_COMP_VAE, NULL, err);

    m->vae.dtype = m->vae_dtype;
    return rc;
}

int cn_model_open(struct cn_model *m, struct cn_backend *backend, struct cn_err *err)
{
    int rc;

    for (int i = 0; i < m->n_texts; i++)
        if ((rc = open_text(m, backend, i, err)) < 0)
            return rc;
    rc = cn_network_open(&m->unet, backend, m->checkpoint, CN_COMP_UNET, NULL, err);
    return rc < 0 ? rc : cn_model_open_vae(m, backend, err);
}

/* That of the base, else one that is not loaded, else a new one. */
static struct cn_control_net *find_net(struct cn_model *m, const struct cn_model *base)
{
    struct cn_control_net *idle = NULL;

    for (size_t i = 0; i < m->n_nets; i++) {
        if (m->nets[i]->base == base)
            return m->nets[i];
        if (m->nets[i]->net.weights == NULL)
            idle = m->nets[i];
    }
    if (idle == NULL) {
        m->nets = cn_grow(m->nets, m->n_nets, &m->nets_cap, sizeof(*m->nets));
        idle = m->nets[m->n_nets++] = cn_xcalloc(1, sizeof(*idle));
    }
    idle->base = base;
    return idle;
}

int cn_model_control(struct cn_model *m, struct cn_backend *backend, const struct cn_model *base,
                     struct cn_network **ret, struct cn_err *err)
{
    const struct cn_model *key = cn_checkpoint_is_difference(m->checkpoint) ? base : NULL;
    struct cn_control_net *n = find_net(m, key);
    int rc = cn_network_open(&n->net, backend, m->checkpoint, CN_COMP_CONTROL,
                             key ? key->checkpoint : NULL, err);

    if (rc == CN_OK)
        *ret = &n->net;
    return rc;
}

void cn_model_close(struct cn_model *m)
{
    for (size_t i = 0; i < m->n_nets; i++)
        cn_network_close(&m->nets[i]->net);
    for (int i = 0; i < m->n_texts; i++) {
        cn_network_close(&m->text[i].net);
        cn_tokenizer_close(m->text[i].tokenizer);
        cn_triggers_free(m->text[i].triggers);
        free(m->text[i].position);
        m->text[i].tokenizer = NULL;
        m->text[i].triggers = NULL;
        m->text[i].position = NULL;
    }
    cn_network_close(&m->unet);
    cn_network_close(&m->vae);
    m->rgb = (struct cn_rgb_map){.made = false};
}

void cn_model_close_for_base(struct cn_model *m, const struct cn_model *base)
{
    for (size_t i = 0; i < m->n_nets; i++)
        if (base != NULL && m->nets[i]->base == base) {
            cn_network_close(&m->nets[i]->net);
            m->nets[i]->base = NULL;
        }
}

void cn_model_free(struct cn_model *m)
{
    cn_model_close(m);
    for (size_t i = 0; i < m->n_nets; i++)
        free(m->nets[i]);
    free(m->nets);
    cn_checkpoint_close(m->checkpoint);
    free(m->name);
    free(m->path);
    free(m->broken);
    free(m);
}

/* BF16 has the range of F32, at less precision. */
bool cn_model_widen_vae(struct cn_model *m, const struct cn_backend *backend)
{
    static const enum cn_dtype wide[] = {CN_F32, CN_BF16};
    const struct cn_backend_caps *caps = cn_backend_caps(backend);
    enum cn_dtype now = m->vae_dtype == CN_DTYPE_COUNT ? caps->dtype : m->vae_dtype;

    for (size_t i = 0; i < CN_LEN(wide) && now != wide[i]; i++)
        if (caps->stores >> wide[i] & 1) {
            m->vae.dtype = m->vae_dtype = wide[i];
            return true;
        }
    return false;
}

/* ---- all networks ---- */

const struct cn_network *cn_model_network(const struct cn_model *m, size_t i)
{
    const struct cn_network *own[] = {&m->unet, &m->vae};

    if (i < (size_t)m->n_texts)
        return &m->text[i].net;
    i -= (size_t)m->n_texts;
    if (i < CN_LEN(own))
        return own[i];
    i -= CN_LEN(own);
    return i < m->n_nets ? &m->nets[i]->net : NULL;
}

bool cn_model_loaded(const struct cn_model *m)
{
    for (size_t i = 0; i < m->n_nets; i++)
        if (m->nets[i]->net.weights != NULL)
            return true;
    return m->role == CN_ROLE_VAE ? m->vae.weights != NULL : m->unet.weights != NULL;
}

size_t cn_model_bytes(const struct cn_model *m)
{
    const struct cn_network *n;
    size_t sum = 0;

    for (size_t i = 0; (n = cn_model_network(m, i)) != NULL; i++)
        sum += cn_network_bytes(n);
    return sum;
}

static void for_networks(struct cn_model *m, void (*fn)(struct cn_network *n))
{
    for (int i = 0; i < m->n_texts; i++)
        fn(&m->text[i].net);
    fn(&m->unet);
    fn(&m->vae);
    for (size_t i = 0; i < m->n_nets; i++)
        fn(&m->nets[i]->net);
}

void cn_model_evict_plans(struct cn_model *m)
{
    for_networks(m, cn_network_evict_plans);
}

void cn_model_rest(struct cn_model *m)
{
    for_networks(m, cn_network_rest);
}

int cn_model_plan_count(const struct cn_model *m)
{
    const struct cn_network *n;
    int count = 0;

    for (size_t i = 0; (n = cn_model_network(m, i)) != NULL; i++)
        count += cn_network_plan_count(n);
    return count;
}
