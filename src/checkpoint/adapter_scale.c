/* How strong the parts of an adapter are at strength 1: alpha / rank, and who says alpha.
 *
 * A tensor "alpha" beside the factors, as kohya's and LyCORIS' files have it; 0 stands for "as
 * large as the rank" there. Files of PEFT and of diffusers say it in JSON: adapter_config.json
 * beside them, or the note "lora_adapter_metadata" with the component's name before each key.
 * Without any of them the scale is 1. */
#include "base/base.h"
#include "checkpoint/adapter_priv.h"
#include "base/json.h"
#include "checkpoint/checkpoint_priv.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool has(const struct cn_adapter_part *p, enum cn_adapter_role role)
{
    return p->roles >> role & 1;
}

static int64_t dim(const struct cn_adapter_part *p, enum cn_adapter_role role, int axis)
{
    const struct cn_tensor_view *v = &p->tensor[role];

    return has(p, role) && v->rank > axis ? v->dim[axis] : 0;
}

static int64_t rank_of(const struct cn_adapter_part *p)
{
    switch (p->form) {
    case CN_ADAPTER_LORA:
        return dim(p, CN_ROLE_DOWN, 0);
    case CN_ADAPTER_LOHA:
        return dim(p, CN_ROLE_W1_B, 0);
    case CN_ADAPTER_LOKR:
        return has(p, CN_ROLE_W2_B) ? dim(p, CN_ROLE_W2_B, 0) : dim(p, CN_ROLE_W1_B, 0);
    case CN_ADAPTER_GLORA:
        return CN_MIN(dim(p, CN_ROLE_A1, 0), dim(p, CN_ROLE_A1, 1));
    default:
        return 0;
    }
}

/* A tensor of one element. */
static int scalar(const struct cn_adapter_part *p, enum cn_adapter_role role, double *ret,
                  struct cn_err *err)
{
    const struct cn_tensor_view *v = &p->tensor[role];
    char shape[96];
    float *x;
    int rc;

    if (cn_view_elements(v) != 1) {
        cn_view_shape(v, shape, sizeof(shape));
        return cn_fail(err, CN_EFORMAT, "tensor \"%s\" in \"%s\" is %s and not a number", v->name,
                       v->file, shape);
    }
    rc = cn_adapter_read(v, &x, err);
    if (rc == CN_OK) {
        *ret = (double)x[0];
        free(x);
    }
    return rc;
}

/* ---- PEFT's notes ---- */

struct notes {
    json_t *root;    /* NULL: there are none */
    bool components; /* their keys begin with a component */
};

static json_t *note(const struct notes *n, const struct cn_adapter_part *p, const char *key)
{
    static const char *const names[CN_COMP_COUNT] = {[CN_COMP_UNET] = "unet",
                                                     [CN_COMP_TEXT] = "text_encoder",
                                                     [CN_COMP_TEXT_2] = "text_encoder_2"};
    char *full;
    json_t *v;

    if (!n->components)
        return json_object_get(n->root, key);
    full = cn_xprintf("%s.%s", names[p->comp], key);
    v = json_object_get(n->root, full);
    free(full);
    return v;
}

/* Is the layer meant by a key of a pattern: its path, or the end of it? */
static bool is_meant(const char *site, const char *key)
{
    char flat[CN_ADAPTER_SITE];
    size_t n = strlen(site), len;

    if (!cn_adapter_flatten(key, flat, sizeof(flat)))
        return false;
    len = strlen(flat);
    return len <= n && strcmp(site + n - len, flat) == 0 && (len == n || site[n - len - 1] == '_');
}

/* Of lora_alpha and alpha_pattern. False: nothing is said. */
static bool noted_alpha(const struct notes *n, const struct cn_adapter_part *p, double *ret)
{
    json_t *pattern = note(n, p, "alpha_pattern"), *all = note(n, p, "lora_alpha");
    const char *key;
    json_t *v;

    json_object_foreach(pattern, key, v)
        if (json_is_number(v) && is_meant(p->site, key)) {
            *ret = json_number_value(v);
            return true;
        }
    *ret = json_number_value(all);
    return json_is_number(all);
}

static int read_notes(const struct cn_adapter *a, const char *config, struct notes *ret,
                      struct cn_err *err)
{
    const char *text = cn_adapter_note(a, "lora_adapter_metadata");
    struct cn_conf f;
    int rc;

    *ret = (struct notes){.components = text != NULL};
    if (text != NULL) {
        if (strlen(text) <= CN_MAX_CONF)
            ret->root = cn_json_load(text, strlen(text), JSON_REJECT_DUPLICATES, NULL);
        return ret->root != NULL ? CN_OK
                                 : cn_fail(err, CN_EFORMAT,
                                           "\"%s\": the note lora_adapter_metadata is not JSON of "
                                           "at most %d bytes",
                                           cn_tensor_file_path(a->file), CN_MAX_CONF);
    }
    if (config == NULL)
        return CN_OK;
    rc = cn_conf_open(&f, config, err);
    if (rc == CN_OK) {
        ret->root = json_incref(f.root);
        cn_conf_close(&f);
    }
    return rc;
}

/* ---- all parts ---- */

static int find_scale(struct cn_adapter_part *p, const struct notes *n, struct cn_err *err)
{
    double alpha = 0, on_input = 0;
    bool sqrt_rank = false;
    int rc = CN_OK;

    p->rank = rank_of(p);
    p->scale = 1;
    if (has(p, CN_ROLE_ON_INPUT) && (rc = scalar(p, CN_ROLE_ON_INPUT, &on_input, err)) < 0)
        return rc;
    p->on_input = on_input != 0;
    if (has(p, CN_ROLE_ALPHA)) {
        rc = scalar(p, CN_ROLE_ALPHA, &alpha, err);
    } else if (p->form == CN_ADAPTER_LORA && noted_alpha(n, p, &alpha)) {
        sqrt_rank = json_is_true(note(n, p, "use_rslora"));
    }
    if (rc < 0)
        return rc;
    if (p->form == CN_ADAPTER_OFT || p->form == CN_ADAPTER_BOFT)
        p->constraint = alpha;
    else if (p->rank > 0 && alpha != 0)
        p->scale = alpha / (sqrt_rank ? sqrt((double)p->rank) : (double)p->rank);
    if (has(p, CN_ROLE_SCALE))
        rc = scalar(p, CN_ROLE_SCALE, &p->scale, err);
    return rc;
}

int cn_adapter_find_scales(struct cn_adapter *a, const char *config, struct cn_err *err)
{
    struct notes n;
    int rc = read_notes(a, config, &n, err);

    for (size_t i = 0; i < a->n_parts && rc == CN_OK; i++)
        rc = find_scale(&a->part[i], &n, err);
    json_decref(n.root);
    return rc;
}
