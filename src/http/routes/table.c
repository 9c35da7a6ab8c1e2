/* The route table: what the server hands down to core. */
#include "base/base.h"
#include "http/routes/routes_priv.h"

#define READS  (CN_GET | CN_HEAD)
#define NATIVE .dialect = &cn_dialect_native

static const struct cn_route table[] = {
    {"/v1/images", CN_POST, &cn_submit, NATIVE, .what = &cn_ask_images, .takes_body = true},
    {"/v1/annotate", CN_POST, &cn_submit, NATIVE, .what = &cn_ask_annotate, .takes_body = true},
    {"/v1/jobs", READS, &cn_list_jobs, NATIVE},
    {"/v1/jobs", CN_POST, &cn_submit, NATIVE, .what = &cn_ask_jobs, .takes_body = true},
    {"/v1/jobs/{id}", READS, &cn_show_job, NATIVE},
    {"/v1/jobs/{id}", CN_DELETE, &cn_delete_job, NATIVE},
    {"/v1/jobs/{id}/cancel", CN_POST, &cn_cancel_job, NATIVE},
    {"/v1/jobs/{id}/events", CN_GET, &cn_follow_events, NATIVE, .takes_ticket = CN_TICKET_EVENTS},
    {"/v1/jobs/{id}/ticket", CN_POST, &cn_make_ticket, NATIVE, .scope = CN_SCOPE_READ},
    {"/v1/jobs/{id}/links", CN_POST, &cn_make_links, NATIVE, .scope = CN_SCOPE_READ},
    {"/v1/jobs/{id}/images/{index}", READS, &cn_get_image, NATIVE,
     .takes_ticket = CN_TICKET_RESULTS},
    {"/v1/queue", READS, &cn_get_queue, NATIVE},
    {"/v1/inputs", CN_POST, &cn_post_input, NATIVE, .takes_body = true},
    {"/v1/inputs/{id}", READS, &cn_show_input, NATIVE},
    {"/v1/inputs/{id}", CN_DELETE, &cn_delete_input, NATIVE},
    {"/v1/models", READS, &cn_list_models, NATIVE},
    {"/v1/models/refresh", CN_POST, &cn_refresh_models, NATIVE, .admins_only = true},
    {"/v1/models/{name}/load", CN_POST, &cn_load_model, NATIVE, .admins_only = true},
    {"/v1/models/{name}/unload", CN_POST, &cn_unload_model, NATIVE, .admins_only = true},
    {"/v1/samplers", READS, &cn_list_samplers, NATIVE},
    {"/v1/annotators", READS, &cn_list_annotators, NATIVE},
    {"/healthz", READS, &cn_get_healthz, NATIVE, .open = true, .on_both = true},
    {"/readyz", READS, &cn_get_readyz, NATIVE, .open = true, .on_both = true},
    {"/metrics", READS, &cn_get_metrics, NATIVE, .admin = true},
    {"/openapi.yaml", READS, &cn_get_openapi, NATIVE, .open = true},
    {"/", READS, &cn_get_page, NATIVE, .open = true},
};

struct cn_routes cn_app_routes(void)
{
    return (struct cn_routes){table, CN_LEN(table), &cn_dialect_native};
}
