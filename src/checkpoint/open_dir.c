/* Checkpoints that are directories as diffusers writes them: a pipeline with one folder for each
 * network, or one ControlNet. Which weight files count, and in which order they are preferred. */
#include "base/base.h"
#include "base/buf.h"
#include "base/json.h"
#include "checkpoint/checkpoint_priv.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_INDEX = 4 * 1024 * 1024, MAX_SHARDS = 256 };

static int add_one(struct cn_checkpoint *c, enum cn_component comp, struct cn_tensor_view *v,
                   struct cn_err *err)
{
    int rc;

    /* A buffer of consecutive numbers that old transformers saved with the weights. */
    if ((comp <= CN_COMP_TEXT_2 && cn_ends_with(v->name, "embeddings.position_ids")) ||
        cn_scaled_is_mark(v))
        return CN_OK;
    rc = cn_scaled_apply(v, err);
    if (rc == CN_OK)
        cn_checkpoint_add(c, comp, cn_checkpoint_canonical(c, comp, v->name), v);
    return rc;
}

static int add_file(struct cn_checkpoint *c, enum cn_component comp, const char *path,
                    struct cn_err *err)
{
    struct cn_tensor_file *st;
    int rc = cn_checkpoint_add_file(c, path, &st, err);

    for (size_t i = 0; rc == CN_OK && i < cn_tensor_file_count(st); i++) {
        struct cn_tensor_view v;

        cn_tensor_file_at(st, i, &v);
        rc = add_one(c, comp, &v, err);
    }
    return rc;
}

/* The open file of an index, opened at first use. */
static int shard(struct cn_checkpoint *c, const char *index, const char *name, size_t first,
                 struct cn_tensor_file **ret, struct cn_err *err)
{
    const char *slash = strrchr(index, '/');
    char *path;
    int rc = CN_OK;

    if (strchr(name, '/') != NULL || name[0] == '.' || cn_checkpoint_ending(name) == 0)
        return cn_fail(err, CN_EFORMAT,
                       "\"%s\": \"%.80s\" is not the name of a file of weights next to it", index,
                       name);
    path = cn_xprintf("%.*s/%s", (int)(slash - index), index, name);
    *ret = NULL;
    for (size_t i = first; i < c->files; i++)
        if (strcmp(cn_tensor_file_path(c->file[i]), path) == 0)
            *ret = c->file[i];
    if (*ret == NULL && c->files - first >= MAX_SHARDS)
        rc = cn_fail(err, CN_ETOOBIG, "\"%s\": more than %d files", index, MAX_SHARDS);
    else if (*ret == NULL)
        rc = cn_checkpoint_add_file(c, path, ret, err);
    free(path);
    return rc;
}

static int add_map(struct cn_checkpoint *c, enum cn_component comp, const char *index, json_t *map,
                   struct cn_err *err)
{
    size_t first = c->files;
    const char *key;
    json_t *value;

    json_object_foreach(map, key, value)
    {
        struct cn_tensor_file *st;
        struct cn_tensor_view v;
        int rc;

        if (!json_is_string(value))
            return cn_fail(err, CN_EFORMAT, "\"%s\": \"%.80s\": not a file name", index, key);
        rc = shard(c, index, json_string_value(value), first, &st, err);
        if (rc < 0)
            return rc;
        if (!cn_tensor_file_view(st, key, &v))
            return cn_fail(err, CN_ENOTFOUND, "no tensor \"%s\" in \"%s\", where \"%s\" says it is",
                           key, cn_tensor_file_path(st), index);
        if ((rc = add_one(c, comp, &v, err)) < 0)
            return rc;
    }
    return CN_OK;
}

static int add_index(struct cn_checkpoint *c, enum cn_component comp, const char *path,
                     struct cn_err *err)
{
    struct cn_buf b;
    json_error_t je;
    json_t *root = NULL;
    int rc;

    cn_buf_init(&b, MAX_INDEX);
    rc = cn_file_read(path, &b, err);
    if (rc == CN_OK) {
        root = cn_json_load((const char *)b.data, b.len, JSON_REJECT_DUPLICATES, &je);
        if (root == NULL)
            rc = cn_json_fail(&je, path, err);
        else if (!json_is_object(json_object_get(root, "weight_map")))
            rc = cn_fail(err, CN_EFORMAT, "\"%s\" has no \"weight_map\"", path);
        else
            rc = add_map(c, comp, path, json_object_get(root, "weight_map"), err);
    }
    json_decref(root);
    cn_buf_release(&b);
    return rc;
}

/* Full precision wins over the fp16 variant, which wins over weights that are no average of the
 * training's, unless these are asked for; safetensors over pickles, one file over shards. */
static int add_weights(struct cn_checkpoint *c, enum cn_component comp, const char *dir,
                       struct cn_err *err)
{
    static const struct {
        const char *end;
        bool index, pickle;
    } forms[] = {
        {".safetensors", false, false},
        {".safetensors.index.json", true, false},
        {".bin", false, true},
        {".bin.index.json", true, true},
        {".fp16.safetensors", false, false},
        {".safetensors.index.fp16.json", true, false},
        {".fp16.safetensors.index.json", true, false},
        {".fp16.bin", false, true},
        {".bin.index.fp16.json", true, true},
        {".non_ema.safetensors", false, false},
        {".non_ema.bin", false, true},
    };

    enum { N = CN_LEN(forms), PLAIN = N - 2 }; /* the last two are no averages */
    enum cn_ema_choice wish = comp == CN_COMP_UNET ? c->weights : CN_EMA_MODEL;
    size_t first = wish == CN_EMA_NO ? PLAIN : 0, end = wish == CN_EMA_YES ? PLAIN : N;

    for (size_t i = 2 * first; i < 2 * end; i++) {
        size_t form = i / 2;
        const char *other = forms[form].pickle ? "pytorch_model" : "model";
        char *path = cn_xprintf("%s/%s%s", dir, i % 2 == 0 ? "diffusion_pytorch_model" : other,
                                forms[form].end);
        int rc;

        if (!cn_file_exists(path)) {
            free(path);
            continue;
        }
        c->comp[comp].present = true;
        rc = forms[form].index ? add_index(c, comp, path, err) : add_file(c, comp, path, err);
        free(path);
        return rc;
    }
    return cn_fail(err, CN_ENOTFOUND,
                   "\"%s\" has no weights: neither diffusion_pytorch_model%s.safetensors nor "
                   "model%s.safetensors, the same in .bin, or an index of shards",
                   dir, wish == CN_EMA_NO ? ".non_ema" : "",
                   wish == CN_EMA_NO ? ".non_ema" : "");
}

/* Which parts there are. */
static void read_index(struct cn_checkpoint *c, struct cn_conf *index)
{
    static const enum cn_component always[] = {CN_COMP_TEXT, CN_COMP_UNET, CN_COMP_VAE};
    struct cn_pipeline_config p;

    cn_conf_pipeline(index, &p);
    for (size_t i = 0; i < CN_LEN(always); i++)
        c->comp[always[i]].present = true;
    c->comp[CN_COMP_TEXT_2].present = p.two_texts;
    c->comp[CN_COMP_CONTROL].present = p.control;
    c->zeroes_empty = p.zeroes_empty;
    c->guidance = p.guidance;
    if (p.chooses_ema)
        c->weights = p.ema ? CN_EMA_YES : CN_EMA_NO;
    if (c->asked != CN_EMA_MODEL)
        c->weights = c->asked;
}

static int read_config(struct cn_checkpoint *c, enum cn_component comp, const char *path,
                       struct cn_err *err)
{
    switch (comp) {
    case CN_COMP_TEXT:
        return cn_conf_text(path, false, &c->text[0], err);
    case CN_COMP_TEXT_2:
        return cn_conf_text(path, true, &c->text[1], err);
    case CN_COMP_UNET:
        return cn_conf_unet(path, &c->unet, err);
    case CN_COMP_VAE:
        return cn_conf_vae(path, &c->vae, err);
    default:
        return cn_conf_control(path, &c->control, err);
    }
}

static int add_component(struct cn_checkpoint *c, enum cn_component comp, const char *dir,
                         struct cn_err *err)
{
    char *conf = cn_xprintf("%s/config.json", dir);
    int rc = read_config(c, comp, conf, err);

    if (rc == CN_OK)
        rc = add_weights(c, comp, dir, err);
    free(conf);
    return rc;
}

/* Those that model_index.json marked as present, in the folders of their names. */
static int add_parts(struct cn_checkpoint *c, struct cn_err *err)
{
    static const char *const dirs[CN_COMP_COUNT] = {"text_encoder", "text_encoder_2", "unet",
                                                    "vae", "controlnet"};
    int rc = CN_OK;

    for (int i = 0; rc == CN_OK && i < CN_COMP_COUNT; i++) {
        char *dir = cn_xprintf("%s/%s", c->path, dirs[i]);

        if (c->comp[i].present)
            rc = add_component(c, (enum cn_component)i, dir, err);
        free(dir);
    }
    return rc;
}

static int open_pipeline(struct cn_checkpoint *c, const char *index_path, struct cn_err *err)
{
    char *schedule = cn_xprintf("%s/scheduler/scheduler_config.json", c->path);
    static const char *const tokenizers[CN_MAX_TEXTS] = {"tokenizer", "tokenizer_2"};
    struct cn_conf index;
    int rc = cn_conf_open(&index, index_path, err);

    if (rc == CN_OK) {
        read_index(c, &index);
        rc = index.rc;
        cn_conf_close(&index);
    }
    if (rc == CN_OK)
        rc = add_parts(c, err);
    if (rc == CN_OK)
        rc = cn_conf_schedule(schedule, &c->schedule, err);
    for (int i = 0; i < CN_MAX_TEXTS; i++) {
        c->tokenizer[i] = cn_xprintf("%s/%s", c->path, tokenizers[i]);
        if (!cn_dir_exists(c->tokenizer[i])) {
            free(c->tokenizer[i]);
            c->tokenizer[i] = NULL;
        }
    }
    free(schedule);
    return rc;
}

/* Which network a directory with a config.json of its own holds; what is not known is taken for a
 * ControlNet, whose reader says what is wrong. */
static int network_of(const char *conf, enum cn_component *ret, struct cn_err *err)
{
    static const struct {
        const char *class;
        enum cn_component comp;
    } classes[] = {{"AutoencoderKL", CN_COMP_VAE},
                   {"CLIPTextModel", CN_COMP_TEXT},
                   {"CLIPTextModelWithProjection", CN_COMP_TEXT}};
    struct cn_conf f;
    const char *class;
    int rc = cn_conf_open(&f, conf, err);

    if (rc < 0)
        return rc;
    class = cn_conf_string(&f, "_class_name", NULL);
    if (class == NULL) /* transformers' way */
        class = json_string_value(json_array_get(json_object_get(f.root, "architectures"), 0));
    *ret = CN_COMP_CONTROL;
    for (size_t i = 0; class != NULL && i < CN_LEN(classes); i++)
        if (strcmp(class, classes[i].class) == 0)
            *ret = classes[i].comp;
    rc = f.rc;
    cn_conf_close(&f);
    return rc;
}

static int open_network(struct cn_checkpoint *c, const char *conf, struct cn_err *err)
{
    enum cn_component comp = CN_COMP_CONTROL;
    int rc = network_of(conf, &comp, err);

    return rc < 0 ? rc : add_component(c, comp, c->path, err);
}

int cn_checkpoint_open_dir(struct cn_checkpoint *c, struct cn_err *err)
{
    char *index = cn_xprintf("%s/model_index.json", c->path);
    char *conf = cn_xprintf("%s/config.json", c->path);
    int rc;

    if (cn_file_exists(index)) {
        c->kind = CN_CKPT_PIPELINE;
        rc = open_pipeline(c, index, err);
    } else if (cn_file_exists(conf)) {
        c->kind = CN_CKPT_NETWORK_DIR;
        rc = open_network(c, conf, err);
    } else {
        rc = cn_fail(err, CN_ENOTFOUND,
                     "\"%s\" is no model directory: neither model_index.json "
                     "(a pipeline) nor config.json (a ControlNet) is there",
                     c->path);
    }
    free(index);
    free(conf);
    return rc;
}
