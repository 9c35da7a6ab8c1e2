/* Shared by the files of checkpoint/ and by nobody else. */
#ifndef CN_CHECKPOINT_PRIV_H
#define CN_CHECKPOINT_PRIV_H

#include "base/base.h"
#include "base/file.h"
#include "base/mem.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/tensor_file.h"

/* ---- the opened checkpoint ---- */

struct cn_component_tensors {
    bool present;
    struct cn_tensor_view *view; /* sorted by (diffusers) name once cn_checkpoint_sort() ran */
    size_t count, cap;
};

struct cn_checkpoint {
    char *path;
    enum cn_checkpoint_kind kind;
    struct cn_tensor_file **file; /* files of them, open as long as the checkpoint */
    size_t files, file_cap;
    struct cn_arena arena; /* names that no file has as they are */
    struct cn_component_tensors comp[CN_COMP_COUNT];
    struct cn_text_config text[CN_MAX_TEXTS];
    struct cn_unet_config unet;
    struct cn_vae_config vae;
    struct cn_control_config control;
    struct cn_schedule_config schedule;
    double guidance; /* 0: not said */
    char *tokenizer[CN_MAX_TEXTS]; /* directories or NULL */
    bool zeroes_empty;
    bool difference;
    bool openclip[CN_MAX_TEXTS]; /* the text encoder came in OpenCLIP's layout */
    /* Of single files: what makes the pooled vector, which is the encoder's own where that is asked
     * for; name NULL: none. */
    struct cn_tensor_view projection[CN_MAX_TEXTS];
    struct cn_component_tensors average; /* of the training's weights of the UNet: EMA */
    bool uses_average; /* it is in the place of the UNet's tensors, and they are in its */
    enum cn_ema_choice asked, weights; /* by whoever opens it; and which count */
    char *wish[CN_COMP_COUNT];                  /* files that components shall come from, or NULL */
    struct cn_checkpoint *donor[CN_COMP_COUNT]; /* that they come from, or NULL */
};

/* Opens path and keeps it for the checkpoint's life. */
int cn_checkpoint_add_file(struct cn_checkpoint *c, const char *path, struct cn_tensor_file **ret,
                           struct cn_err *err);

/* name lives as long as the checkpoint: of a file's own or in the arena. */
void cn_checkpoint_add(struct cn_checkpoint *c, enum cn_component comp, const char *name,
                       const struct cn_tensor_view *v);

void cn_tensors_add(struct cn_component_tensors *k, const char *name,
                    const struct cn_tensor_view *v);

/* Sorts a component's tensors; CN_EFORMAT when two have one name. */
int cn_checkpoint_sort(struct cn_checkpoint *c, enum cn_component comp, struct cn_err *err);

bool cn_ends_with(const char *s, const char *end);

/* A diffusers name in the spelling of today: old ones of the autoencoder's attention, new ones of
 * transformers. The result lives as long as the checkpoint if name does. */
const char *cn_checkpoint_canonical(struct cn_checkpoint *c, enum cn_component comp,
                                    const char *name);

/* NULL when absent; of a finished component. */
const struct cn_tensor_view *cn_checkpoint_get(const struct cn_checkpoint *c,
                                               enum cn_component comp, const char *name);

/* scaled.c: is this tensor a scale of another one, or a mark that there are some? Gives a weight of
 * 8 bits the scale that its file has for it. */
bool cn_scaled_is_mark(const struct cn_tensor_view *v);
int cn_scaled_apply(struct cn_tensor_view *v, struct cn_err *err);

/* The two forms of checkpoint; c->path is set. */
int cn_checkpoint_open_dir(struct cn_checkpoint *c, struct cn_err *err);
int cn_checkpoint_open_file(struct cn_checkpoint *c, struct cn_err *err);

/* Fills the configurations of a single file whose components are finished; then a file beside it
 * may correct them. */
int cn_checkpoint_infer(struct cn_checkpoint *c, const struct cn_tensor_file *st,
                        struct cn_err *err);
/* Decides what only the whole model tells, once all its parts are there: which layers of its text
 * encoders are read, the scale of its latents. */
int cn_checkpoint_settle(struct cn_checkpoint *c, struct cn_err *err);
int cn_checkpoint_sidecar(struct cn_checkpoint *c, struct cn_err *err);
int cn_checkpoint_yaml(struct cn_checkpoint *c, struct cn_err *err);

/* "NAME.json" for "NAME.safetensors" or "NAME.ckpt"; the caller frees it. */
char *cn_sidecar_path(const char *path);

/* ---- configuration files ---- */

struct json_t;

/* An open configuration file. The first error sticks: read all keys, then look at rc once. */
struct cn_conf {
    struct json_t *root; /* an object */
    char *path;
    struct cn_err *err;
    int rc;
};

enum { CN_MAX_CONF = 256 * 1024 }; /* bytes; jansson needs up to 77 times as much memory */

int cn_conf_open(struct cn_conf *f, const char *path, struct cn_err *err);
void cn_conf_close(struct cn_conf *f);

/* The object under key, which borrows everything from f; false when absent or none. */
bool cn_conf_part(struct cn_conf *f, const char *key, struct cn_conf *ret);

/* Makes f->rc CN_EINVAL with "path: key: ..." unless it is an error already. */
void cn_conf_bad(struct cn_conf *f, const char *key, const char *fmt, ...) CN_PRINTF(3, 4);

bool cn_conf_has(const struct cn_conf *f, const char *key); /* there, and not null */
/* null is false, as Python has it */
long cn_conf_int(struct cn_conf *f, const char *key, long otherwise, long min, long max);
double cn_conf_real(struct cn_conf *f, const char *key, double otherwise, double min, double max);
bool cn_conf_bool(struct cn_conf *f, const char *key, bool otherwise);
const char *cn_conf_string(struct cn_conf *f, const char *key, const char *otherwise);

bool cn_conf_is_list(const struct cn_conf *f, const char *key);

/* A list of at most max whole numbers from least to limit; returns how many, or -1 when the key is
 * absent. */
int cn_conf_ints(struct cn_conf *f, const char *key, int *ret, int max, long least, long limit);

/* A number for all n, or a list of n. False when the key is absent. */
bool cn_conf_each(struct cn_conf *f, const char *key, int *ret, int n, long least, long limit);

/* A list of n strings, each one of yes (true) or no (false); absent: ret is unchanged. */
void cn_conf_kinds(struct cn_conf *f, const char *key, bool *ret, int n, const char *yes,
                   const char *no);

/* What a key may say. A list is as good as its members: diffusers takes many settings once for all
 * blocks or once for each. */
enum cn_rule_kind {
    CN_RULE_READ,     /* whoever reads it checks it; null is none of its values */
    CN_RULE_OPTIONAL, /* so, and null is as good as absent */
    CN_RULE_FREE,     /* of no influence on the result, whatever it says */
    /* not implemented but for one value: */
    CN_RULE_NONE, /* null, false or nothing ([], {}, "") */
    CN_RULE_NUMBER,
    CN_RULE_STRING
};

struct cn_rule {
    const char *key;
    enum cn_rule_kind kind;
    double number;
    const char *string, *other; /* other: a second name of the same, or NULL */
};

/* Refuses values that break their rule, and keys without one, unless they begin with "_" or are
 * null or false: a setting that we do not know may change the result. */
void cn_conf_rules(struct cn_conf *f, const struct cn_rule *rules, size_t n);

/* What model_index.json says. */
struct cn_pipeline_config {
    bool two_texts, control; /* which parts there are, beside those that all have */
    bool zeroes_empty;       /* force_zeros_for_empty_prompt */
    double guidance;         /* _guidance_scale; 0: not said */
    bool chooses_ema, ema;   /* _ema: whether the UNet's .non_ema files are passed over */
};

/* Refuses what is no pipeline of ours, by the name of the part. */
void cn_conf_pipeline(struct cn_conf *f, struct cn_pipeline_config *ret);

int cn_conf_unet(const char *path, struct cn_unet_config *ret, struct cn_err *err);
int cn_conf_control(const char *path, struct cn_control_config *ret, struct cn_err *err);
int cn_conf_vae(const char *path, struct cn_vae_config *ret, struct cn_err *err);
/* projects: it is a CLIPTextModelWithProjection */
int cn_conf_text(const char *path, bool projects, struct cn_text_config *ret, struct cn_err *err);
int cn_conf_schedule(const char *path, struct cn_schedule_config *ret, struct cn_err *err);

/* The keys of a sidecar file: what is not there stays as it was inferred. */
void cn_conf_amend_unet(struct cn_conf *f, struct cn_unet_config *u);
void cn_conf_amend_control(struct cn_conf *f, struct cn_control_config *c);
void cn_conf_amend_vae(struct cn_conf *f, struct cn_vae_config *v);
void cn_conf_amend_text(struct cn_conf *f, struct cn_text_config *t);
void cn_conf_amend_schedule(struct cn_conf *f, struct cn_schedule_config *s);

/* What must hold between the numbers of a configuration, wherever it came from. */
int cn_check_unet(const char *path, const struct cn_unet_config *u, struct cn_err *err);
int cn_check_vae(const char *path, const struct cn_vae_config *v, struct cn_err *err);
int cn_check_text(const char *path, const struct cn_text_config *t, struct cn_err *err);

#endif
