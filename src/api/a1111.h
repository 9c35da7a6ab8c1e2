/* What clients of AUTOMATIC1111's web UI and its ControlNet extension are answered. Any thread.
 *
 * Settings are those of the web UI that mean something here. They stand for what a request does not
 * say; who keeps them for whom is the caller's.
 */
#ifndef CN_API_A1111_H
#define CN_API_A1111_H

#include "base/base.h"
#include "api/result.h"

enum { CN_A1111_QUALITY = 80 /* jpeg_quality */ };

struct cn_a1111_settings {
    char model[CN_MODEL_NAME]; /* "": the server's default */
    char vae[CN_MODEL_NAME];   /* "": the model's own, which the web UI calls "Automatic" */
    int clip_skip;             /* 1: the last layer */
    enum cn_format format;
    enum cn_rng rng;
};

#define CN_A1111_SETTINGS_DEFAULTS                                                                 \
    {                                                                                              \
        .clip_skip = 1, .format = CN_PNG, .rng = CN_RNG_CUDA                                       \
    }

/* From the body of POST /sdapi/v1/options, which may be all of them or a part. Members without a
 * meaning here are passed over. */
int cn_a1111_settings_read(struct cn_api_input *in, struct cn_a1111_settings *o,
                           struct cn_err *err);

/* What the request left out comes from the settings; models are called by their names here: also
 * without regard to case, and ControlNets by a beginning of their name. */
void cn_a1111_complete(const struct cn_catalog *c, const struct cn_a1111_settings *o,
                       const struct cn_api_beside *beside, struct cn_spec *spec);

/* The model that a client means; NULL: there is none of that kind like it. */
const struct cn_model_info *cn_a1111_find_model(const struct cn_catalog *c, enum cn_model_kind kind,
                                                const char *name);

/* {images, parameters, info, warnings} */
extern const struct cn_result_form cn_result_a1111;

/* {info, images} of POST /controlnet/detect. */
extern const struct cn_result_form cn_result_a1111_detect;

/* {info, items, parameters} from the body of POST /sdapi/v1/png-info. */
int cn_a1111_png_info(struct cn_api_input *in, struct cn_buf *out, struct cn_err *err);

/* What the lists are made of. */
struct cn_a1111_facts {
    const struct cn_catalog *catalog;
    const struct cn_a1111_settings *settings;
    const struct cn_limits *limits;
    bool alias_names; /* labels of preprocessors, not names */
    uint64_t ram_total, ram_free;
};

typedef int (*cn_a1111_list_fn)(const struct cn_a1111_facts *f, struct cn_buf *out,
                                struct cn_err *err);

/* a1111_lists.c */
int cn_a1111_put_options(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err);
int cn_a1111_put_models(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err);
int cn_a1111_put_vaes(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err);
int cn_a1111_put_samplers(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err);
int cn_a1111_put_schedules(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err);
int cn_a1111_put_embeddings(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err);
int cn_a1111_put_upscalers(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err);
int cn_a1111_put_latent_modes(const struct cn_a1111_facts *f, struct cn_buf *out,
                              struct cn_err *err);
int cn_a1111_put_loras(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err);
int cn_a1111_put_memory(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err);
int cn_a1111_put_flags(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err);
int cn_a1111_put_scripts(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err);
int cn_a1111_put_script_info(const struct cn_a1111_facts *f, struct cn_buf *out,
                             struct cn_err *err);
int cn_a1111_put_empty_list(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err);
int cn_a1111_put_empty_object(const struct cn_a1111_facts *f, struct cn_buf *out,
                              struct cn_err *err);

/* a1111_controlnet.c */
int cn_a1111_put_version(const struct cn_a1111_facts *f, struct cn_buf *out, struct cn_err *err);
int cn_a1111_put_control_models(const struct cn_a1111_facts *f, struct cn_buf *out,
                                struct cn_err *err);
int cn_a1111_put_control_modules(const struct cn_a1111_facts *f, struct cn_buf *out,
                                 struct cn_err *err);
int cn_a1111_put_control_types(const struct cn_a1111_facts *f, struct cn_buf *out,
                               struct cn_err *err);
int cn_a1111_put_control_settings(const struct cn_a1111_facts *f, struct cn_buf *out,
                                  struct cn_err *err);

/* GET progress: of the oldest job of the caller. NULL data: no picture of it yet. */
struct cn_a1111_progress {
    bool active, interrupted;
    double fraction, eta_s;
    int n, nth, step, steps; /* pictures, the one that is at work, its steps */
    int64_t started_us;
    const char *text; /* "": nothing to tell */
};

/* Up to the current_image, whose value (a string of base64, or null) the caller writes, and what
 * stands behind it. */
int cn_a1111_put_progress(const struct cn_a1111_progress *p, const char *preview_base64,
                          struct cn_buf *out, struct cn_err *err);
/* The same for POST /internal/progress; preview: a data URL or NULL. */
int cn_a1111_put_task(const struct cn_a1111_progress *p, bool queued, bool completed,
                      const char *preview, int id_preview, struct cn_buf *out, struct cn_err *err);

/* Whose progress POST /internal/progress wants: "" when it names none. CN_EFORMAT: no JSON. */
int cn_a1111_read_task(const void *body, size_t len, char *task, size_t size, bool *ret_preview,
                       struct cn_err *err);

/* {error, detail, body, errors}, with the fields called as they are there. */
void cn_a1111_put_problem(const struct cn_problem *p, struct cn_buf *out);

#endif
