/* Shared by the files of src/http/routes. Loop thread only. */
#ifndef CN_HTTP_ROUTES_ROUTES_PRIV_H
#define CN_HTTP_ROUTES_ROUTES_PRIV_H

#include "api/a1111.h"
#include "api/problem.h"
#include "http/core/answer.h"
#include "http/core/handler.h"
#include "http/routes/app.h"

enum { CN_TEXT_CACHE = 16 /* events that streams share */ };

/* Text that several streams send, counted. */
struct cn_shared_text {
    int refs;
    size_t len;
    char data[];
};

struct cn_cached_text {
    char job[27];
    uint64_t event;
    struct cn_shared_text *text;
};

struct cn_app {
    struct cn_app_options o;
    struct cn_core *core;
    struct cn_access *access;
    bool is_handoff;
    int64_t full_ns; /* since when the queue was always seen full; 0: it was not */
    struct cn_metric *ready, *draining;
    struct cn_cached_text cache[CN_TEXT_CACHE]; /* of events.c */
    int cache_next;
    uv_work_t sweep; /* of inputs */
    bool sweeping;
    struct cn_a1111 *a1111; /* what that dialect keeps; NULL: nothing yet */
    int ticks;              /* since the last sweep */
};

/* app.c */
struct cn_app *cn_app_of(const struct cn_request *q);
struct cn_jobs *cn_jobs_of(const struct cn_request *q);
void cn_shared_text_unref(struct cn_shared_text *t);

/* dialect.c: problem documents, and a key in Authorization or X-Api-Key. */
extern const struct cn_dialect cn_dialect_native, cn_dialect_a1111, cn_dialect_openai;

/* problems.c */

/* A submission that is not accepted, or a question to the service that failed. */
void cn_answer_refusal(struct cn_request *q, enum cn_refusal why, const struct cn_err *err,
                       int retry_after_s);

/* A picture that cannot be had: one that cannot be opened now (no descriptor is left) is 503. */
void cn_answer_no_picture(struct cn_request *q, const struct cn_err *err);

/* Seconds until it makes sense to look at the job again. */
int cn_look_again_s(const struct cn_job_view *v);

/* How cn_submit reads and answers (submit_priv.h): cn_route.what of its rows. */
struct cn_ask;
extern const struct cn_ask cn_ask_images, cn_ask_annotate, cn_ask_jobs, cn_ask_txt2img,
    cn_ask_img2img, cn_ask_generations, cn_ask_edits, cn_ask_detect;

/* cn_route.what of cn_a1111_list; of cn_a1111_refresh, cn_a1111_interrupt and cn_a1111_refuse it is
 * the text of the answer. */
struct cn_a1111_list {
    cn_a1111_list_fn put;
};

/* The handlers, for table.c. */
extern const struct cn_handler cn_submit, cn_list_jobs, cn_show_job, cn_cancel_job, cn_delete_job,
    cn_get_image, cn_follow_events, cn_make_ticket, cn_make_links, cn_refresh_models,
    cn_load_model, cn_unload_model, cn_get_queue, cn_list_tenants, cn_post_input, cn_show_input,
    cn_delete_input, cn_list_models, cn_show_model,
    cn_list_samplers, cn_list_annotators, cn_list_adapters,
    cn_get_healthz, cn_get_readyz, cn_get_metrics, cn_get_openapi, cn_get_page;
extern const struct cn_handler cn_a1111_png_info_handler, cn_a1111_list, cn_a1111_set_options,
    cn_a1111_refresh, cn_a1111_refuse, cn_a1111_progress, cn_a1111_task, cn_a1111_pending,
    cn_a1111_interrupt;

#endif
