/* AUTOMATIC1111's web UI as its clients know it: errors, credentials, options, and the lists of
 * what there is. txt2img and img2img are cn_submit's, with what is theirs here. */
#include "base/base.h"
#include "base/base64.h"
#include "base/mem.h"
#include "http/routes/a1111_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/sysinfo.h>

enum { LIST_MAX = 4 << 20, CREDENTIALS = 512 };

/* ---- the dialect ---- */

/* Basic as the web UI takes it: one of our keys is the password, or else the name. A proxy's own
 * Authorization does not hide a key in X-Api-Key. The text is good until the next call. */
static const char *basic(const char *authorization)
{
    static char text[CREDENTIALS];
    unsigned char *pair = NULL;
    size_t len = 0;
    char *colon;

    if (cn_base64_decode(authorization + 6, strlen(authorization + 6), sizeof(text) - 1, &pair,
                         &len, NULL) < 0)
        return authorization;
    memcpy(text, pair, len);
    text[len] = '\0';
    free(pair);
    colon = strchr(text, ':');
    if (colon == NULL)
        return text;
    *colon = '\0';
    return strncmp(text, "cnk_", 4) == 0 ? text : colon + 1;
}

static const char *credentials(const struct cn_request *q)
{
    const char *authorization = cn_request_header(q, "Authorization");
    const char *key = cn_request_header(q, "X-Api-Key");

    if (authorization != NULL && authorization[0] == '\0')
        authorization = NULL;
    if (authorization != NULL && strncasecmp(authorization, "Bearer ", 7) == 0)
        return authorization;
    if (key != NULL)
        return key;
    if (authorization != NULL && strncasecmp(authorization, "Basic ", 6) == 0)
        return basic(authorization);
    return authorization;
}

const struct cn_dialect cn_dialect_a1111 = {.problem_type = "application/json",
                                            .put_problem = cn_a1111_put_problem,
                                            .credentials = credentials,
                                            .challenge = "Basic realm=\"controlnetd\""};

/* ---- settings ---- */

struct cn_a1111 *cn_a1111_of(const struct cn_request *q)
{
    struct cn_app *app = cn_app_of(q);

    if (app->a1111 == NULL)
        app->a1111 = cn_xcalloc(1, sizeof(*app->a1111));
    return app->a1111;
}

const struct cn_a1111_settings *cn_a1111_settings_of(const struct cn_request *q)
{
    static const struct cn_a1111_settings preset = CN_A1111_SETTINGS_DEFAULTS;
    struct cn_a1111 *a = cn_a1111_of(q);

    for (int i = 0; i < CN_A1111_TENANTS; i++)
        if (a->tenant[i].used > 0 && strcmp(a->tenant[i].tenant, q->who.tenant) == 0) {
            a->tenant[i].used = ++a->uses;
            return &a->tenant[i].settings;
        }
    return &preset;
}

void cn_a1111_settings_set(const struct cn_request *q, const struct cn_a1111_settings *s)
{
    struct cn_a1111 *a = cn_a1111_of(q);
    int best = 0;

    for (int i = 0; i < CN_A1111_TENANTS; i++) {
        if (strcmp(a->tenant[i].tenant, q->who.tenant) == 0) {
            best = i;
            break;
        }
        if (a->tenant[i].used < a->tenant[best].used)
            best = i;
    }
    memcpy(a->tenant[best].tenant, q->who.tenant, sizeof(a->tenant[best].tenant));
    a->tenant[best].settings = *s;
    a->tenant[best].used = ++a->uses;
}

/* Gives a setting the model's own name. False: answered. */
static bool check_model(struct cn_request *q, enum cn_model_kind kind, const char *field,
                        char name[CN_MODEL_NAME])
{
    const struct cn_catalog *c = cn_dispatch_catalog(cn_app_of(q)->o.dispatch);
    const struct cn_model_info *m = cn_a1111_find_model(c, kind, name);
    char text[CN_MODEL_NAME + 40];

    if (name[0] == '\0')
        return true;
    if (m == NULL) {
        snprintf(text, sizeof(text), "%s '%.200s' not found",
                 kind == CN_MODEL_VAE ? "vae" : "model", name);
        cn_answer_problem(q, CN_PROBLEM_VALIDATION, text, field);
        return false;
    }
    if (!cn_guard_allows_model(q->who.models, m->name)) {
        cn_answer_problem(q, CN_PROBLEM_FORBIDDEN, "the key does not allow this model", field);
        return false;
    }
    memcpy(name, m->name, CN_MODEL_NAME);
    return true;
}

static void set_options(struct cn_request *q)
{
    struct cn_a1111_settings s = *cn_a1111_settings_of(q);
    struct cn_api_beside beside = {.no_images = false};
    struct cn_api_input in = {.json = q->body.len == 0 ? "{}" : (const char *)q->body.data,
                              .json_len = q->body.len == 0 ? 2 : q->body.len,
                              .limits = &cn_app_of(q)->o.limits,
                              .beside = &beside};
    struct cn_err err = CN_ERR_INIT;

    if (cn_a1111_settings_read(&in, &s, &err) < 0) {
        cn_answer_err(q, &err);
    } else if (check_model(q, CN_MODEL_BASE, "/sd_model_checkpoint", s.model) &&
               check_model(q, CN_MODEL_VAE, "/sd_vae", s.vae)) {
        cn_a1111_settings_set(q, &s);
        cn_answer_text(q, 200, "application/json", "null\n");
    }
    cn_api_beside_release(&beside);
}

/* ---- lists ---- */

int cn_a1111_flag(struct cn_request *q, const char *name)
{
    static const char *const word[] = {"false", "False", "0", "true", "True", "1"};
    const char *text = cn_request_argument(q, name);

    if (text == NULL)
        return 0;
    for (int i = 0; i < (int)CN_LEN(word); i++)
        if (strcmp(text, word[i]) == 0)
            return i >= 3;
    cn_answer_parameter(q, name, "expected true or false");
    return -1;
}

static void list(struct cn_request *q)
{
    const struct cn_a1111_list *what = q->route->what;
    const int alias_names = cn_a1111_flag(q, "alias_names");
    struct cn_dispatch *d = cn_app_of(q)->o.dispatch;
    struct cn_a1111_facts f = {.catalog = cn_dispatch_catalog(d),
                               .settings = cn_a1111_settings_of(q),
                               .limits = &cn_app_of(q)->o.limits,
                               .alias_names = alias_names > 0};
    struct cn_err err = CN_ERR_INIT;
    struct sysinfo si;
    struct cn_buf b;

    if (alias_names < 0)
        return;
    if (!cn_dispatch_known(d)) {
        cn_answer_problem(q, CN_PROBLEM_NOT_READY, "no worker has told its models yet", NULL);
        return;
    }
    if (sysinfo(&si) == 0) {
        f.ram_total = (uint64_t)si.totalram * si.mem_unit;
        f.ram_free = (uint64_t)si.freeram * si.mem_unit;
    }
    cn_buf_init(&b, LIST_MAX);
    if (what->put(&f, &b, &err) < 0)
        cn_answer_err(q, &err);
    else
        cn_answer_buf(q, 200, "application/json", &b);
    cn_buf_release(&b);
}

/* What there is nothing for. */
static void refuse(struct cn_request *q)
{
    cn_answer_problem(q, CN_PROBLEM_VALIDATION, q->route->what, NULL);
}

const struct cn_handler cn_a1111_list = {.start = list};
const struct cn_handler cn_a1111_set_options = {.start = set_options};
const struct cn_handler cn_a1111_refuse = {.start = refuse};

static void png_info(struct cn_request *q)
{
    const struct cn_app *app = cn_app_of(q);
    struct cn_api_beside beside = {.no_images = false};
    struct cn_api_input in = {.json = q->body.len == 0 ? "{}" : (const char *)q->body.data,
                              .json_len = q->body.len == 0 ? 2 : q->body.len,
                              .limits = &app->o.limits,
                              .max_image = app->o.max_image,
                              .max_total = app->o.max_image,
                              .beside = &beside};
    struct cn_err err = CN_ERR_INIT;
    struct cn_buf b;

    cn_buf_init(&b, LIST_MAX);
    if (cn_a1111_png_info(&in, &b, &err) < 0)
        cn_answer_err(q, &err);
    else
        cn_answer_buf(q, 200, "application/json", &b);
    cn_buf_release(&b);
    cn_api_beside_release(&beside);
}

const struct cn_handler cn_a1111_png_info_handler = {.start = png_info};

/* ---- pictures ---- */

static void complete(struct cn_request *q, struct cn_spec *spec)
{
    struct cn_submit_ctx *c = q->ctx;

    cn_a1111_complete(cn_dispatch_catalog(cn_app_of(q)->o.dispatch), cn_a1111_settings_of(q),
                      &c->beside, spec);
}

static bool as_json(struct cn_request *q, const struct cn_spec *spec)
{
    struct cn_submit_ctx *c = q->ctx;

    (void)spec;
    c->form = CN_AS_JSON;
    return true;
}

const struct cn_ask cn_ask_txt2img = {.read = cn_api_read_txt2img,
                                      .is_loose = true,
                                      .is_listed = true,
                                      .complete = complete,
                                      .negotiate = as_json,
                                      .json = &cn_result_a1111};
const struct cn_ask cn_ask_detect = {.read = cn_api_read_detect,
                                     .is_loose = true,
                                     .negotiate = as_json,
                                     .json = &cn_result_a1111_detect};
const struct cn_ask cn_ask_img2img = {.read = cn_api_read_img2img,
                                      .is_loose = true,
                                      .is_listed = true,
                                      .complete = complete,
                                      .negotiate = as_json,
                                      .json = &cn_result_a1111};
