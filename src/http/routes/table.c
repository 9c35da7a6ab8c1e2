/* The route table: what the server hands down to core. */
#include "base/base.h"
#include "http/routes/routes_priv.h"

#define READS  (CN_GET | CN_HEAD)
#define NATIVE .dialect = &cn_dialect_native
#define OPENAI .dialect = &cn_dialect_openai
#define A1111  .dialect = &cn_dialect_a1111
#define LIST(put)                                                                                  \
    &cn_a1111_list, A1111, .what = &(const struct cn_a1111_list)                                   \
    {                                                                                              \
        put                                                                                        \
    }
#define REFRESH                                                                                    \
    &cn_a1111_refresh, A1111, .what = "null\n", .scope = CN_SCOPE_READ, .takes_body = true
#define REFUSED(why) &cn_a1111_refuse, A1111, .what = why, .takes_body = true

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
    {"/v1/tenants", READS, &cn_list_tenants, NATIVE, .admins_only = true},
    {"/v1/inputs", CN_POST, &cn_post_input, NATIVE, .takes_body = true},
    {"/v1/inputs/{id}", READS, &cn_show_input, NATIVE},
    {"/v1/inputs/{id}", CN_DELETE, &cn_delete_input, NATIVE},
    {"/v1/models", READS, &cn_list_models, NATIVE},
    {"/v1/models/refresh", CN_POST, &cn_refresh_models, NATIVE, .admins_only = true},
    {"/v1/models/{name}", READS, &cn_show_model, NATIVE},
    {"/v1/models/{name}/load", CN_POST, &cn_load_model, NATIVE, .admins_only = true},
    {"/v1/models/{name}/unload", CN_POST, &cn_unload_model, NATIVE, .admins_only = true},
    {"/v1/samplers", READS, &cn_list_samplers, NATIVE},
    {"/v1/annotators", READS, &cn_list_annotators, NATIVE},
    {"/v1/adapters", READS, &cn_list_adapters, NATIVE},
    {"/v1/images/generations", CN_POST, &cn_submit, OPENAI, .what = &cn_ask_generations,
     .takes_body = true},
    {"/v1/images/edits", CN_POST, &cn_submit, OPENAI, .what = &cn_ask_edits, .takes_body = true},
    {"/sdapi/v1/txt2img", CN_POST, &cn_submit, A1111, .what = &cn_ask_txt2img, .takes_body = true},
    {"/sdapi/v1/img2img", CN_POST, &cn_submit, A1111, .what = &cn_ask_img2img, .takes_body = true},
    {"/sdapi/v1/progress", READS, &cn_a1111_progress, A1111},
    {"/sdapi/v1/interrupt", CN_POST, &cn_a1111_interrupt, A1111, .what = "{}\n",
     .takes_body = true},
    {"/sdapi/v1/skip", CN_POST, &cn_a1111_interrupt, A1111, .what = "null\n", .takes_body = true},
    {"/sdapi/v1/options", READS, LIST(cn_a1111_put_options)},
    {"/sdapi/v1/options", CN_POST, &cn_a1111_set_options, A1111, .takes_body = true},
    {"/sdapi/v1/sd-models", READS, LIST(cn_a1111_put_models)},
    {"/sdapi/v1/samplers", READS, LIST(cn_a1111_put_samplers)},
    {"/sdapi/v1/schedulers", READS, LIST(cn_a1111_put_schedules)},
    {"/sdapi/v1/sd-vae", READS, LIST(cn_a1111_put_vaes)},
    {"/sdapi/v1/sd-modules", READS, LIST(cn_a1111_put_empty_list)},
    {"/sdapi/v1/loras", READS, LIST(cn_a1111_put_loras)},
    {"/sdapi/v1/embeddings", READS, LIST(cn_a1111_put_embeddings)},
    {"/sdapi/v1/upscalers", READS, LIST(cn_a1111_put_upscalers)},
    {"/sdapi/v1/latent-upscale-modes", READS, LIST(cn_a1111_put_latent_modes)},
    {"/sdapi/v1/prompt-styles", READS, LIST(cn_a1111_put_empty_list)},
    {"/sdapi/v1/face-restorers", READS, LIST(cn_a1111_put_empty_list)},
    {"/sdapi/v1/hypernetworks", READS, LIST(cn_a1111_put_empty_list)},
    {"/sdapi/v1/realesrgan-models", READS, LIST(cn_a1111_put_empty_list)},
    {"/sdapi/v1/extensions", READS, LIST(cn_a1111_put_empty_list)},
    {"/sdapi/v1/memory", READS, LIST(cn_a1111_put_memory)},
    {"/sdapi/v1/cmd-flags", READS, LIST(cn_a1111_put_flags)},
    {"/sdapi/v1/scripts", READS, LIST(cn_a1111_put_scripts)},
    {"/sdapi/v1/script-info", READS, LIST(cn_a1111_put_script_info)},
    {"/sdapi/v1/refresh-checkpoints", CN_POST, REFRESH},
    {"/sdapi/v1/refresh-vae", CN_POST, REFRESH},
    {"/sdapi/v1/refresh-loras", CN_POST, REFRESH},
    {"/sdapi/v1/refresh-embeddings", CN_POST, REFRESH},
    {"/sdapi/v1/extra-single-image", CN_POST, REFUSED("there is no upscaler here")},
    {"/sdapi/v1/extra-batch-images", CN_POST, REFUSED("there is no upscaler here")},
    {"/sdapi/v1/interrogate", CN_POST, REFUSED("there is no model that describes pictures here")},
    {"/internal/ping", READS, LIST(cn_a1111_put_empty_object)},
    {"/internal/progress", CN_POST, &cn_a1111_task, A1111, .scope = CN_SCOPE_READ,
     .takes_body = true},
    {"/internal/pending-tasks", READS, &cn_a1111_pending, A1111},
    {"/sdapi/v1/png-info", CN_POST, &cn_a1111_png_info_handler, A1111, .scope = CN_SCOPE_READ,
     .takes_body = true},
    {"/controlnet/detect", CN_POST, &cn_submit, A1111, .what = &cn_ask_detect, .takes_body = true},
    {"/controlnet/version", READS, LIST(cn_a1111_put_version)},
    {"/controlnet/settings", READS, LIST(cn_a1111_put_control_settings)},
    {"/controlnet/model_list", READS, LIST(cn_a1111_put_control_models)},
    {"/controlnet/module_list", READS, LIST(cn_a1111_put_control_modules)},
    {"/controlnet/control_types", READS, LIST(cn_a1111_put_control_types)},
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
