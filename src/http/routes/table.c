/* The route table. */
#include "base/base.h"
#include "http/http_priv.h"

#include <stdio.h>
#include <string.h>

enum { MAX_INDEX = 3 }; /* digits */

#define READS (CN_GET | CN_HEAD)

static const struct cn_route table[] = {
    {.path = "/v1/images",
     .methods = CN_POST,
     .takes_body = true,
     .admit = cn_images_admit,
     .handle = cn_images_handle},
    {.path = "/v1/jobs",
     .methods = READS | CN_POST,
     .takes_body = true,
     .admit = cn_jobs_admit_route,
     .handle = cn_jobs_route},
    {.path = "/v1/jobs/{id}", .methods = READS | CN_DELETE, .handle = cn_jobs_route_one},
    {.path = "/v1/jobs/{id}/events",
     .methods = CN_GET,
     .takes_ticket = true,
     .handle = cn_jobs_route_events},
    {.path = "/v1/jobs/{id}/ticket", .methods = CN_POST, .handle = cn_jobs_route_ticket},
    {.path = "/v1/jobs/{id}/images/{index}", .methods = READS, .handle = cn_jobs_route_image},
    {.path = "/v1/models", .methods = READS, .handle = cn_info_models},
    {.path = "/v1/models/{name}/load",
     .methods = CN_POST,
     .admins_only = true,
     .handle = cn_models_route_load},
    {.path = "/v1/models/{name}/unload",
     .methods = CN_POST,
     .admins_only = true,
     .handle = cn_models_route_unload},
    {.path = "/v1/samplers", .methods = READS, .handle = cn_info_samplers},
    {.path = "/v1/annotators", .methods = READS, .handle = cn_info_annotators},
    {.path = "/healthz",
     .methods = READS,
     .open = true,
     .on_both = true,
     .handle = cn_info_healthz},
    {.path = "/readyz", .methods = READS, .open = true, .on_both = true, .handle = cn_info_readyz},
    {.path = "/metrics", .methods = READS, .admin = true, .handle = cn_info_metrics},
    {.path = "/openapi.yaml", .methods = READS, .open = true, .handle = cn_info_openapi},
    {.path = "/", .methods = READS, .open = true, .handle = cn_info_page},
};

const struct cn_route *cn_route_all(size_t *ret_n)
{
    *ret_n = CN_LEN(table);
    return table;
}

/* What an argument may look like: anything else names nothing that there could be. */
static bool is_argument(const char *name, const char *text, size_t len)
{
    static const char digits[] = "0123456789", lower[] = "0123456789abcdefghijklmnopqrstuvwxyz";

    if (len == 0 || len >= CN_PATH_ARG)
        return false;
    if (strncmp(name, "{index}", 7) == 0)
        return len <= MAX_INDEX && strspn(text, digits) >= len;
    if (strncmp(name, "{id}", 4) == 0)
        return strspn(text, lower) >= len;
    return true;
}

/* Segment by segment; what stands for {name} goes to arg. */
static bool matches(const char *pattern, const char *path, char arg[CN_PATH_ARGS][CN_PATH_ARG])
{
    int n = 0;

    while (*pattern != '\0') {
        if (*pattern == '{') {
            size_t len = strcspn(path, "/");

            if (!is_argument(pattern, path, len))
                return false;
            memcpy(arg[n], path, len);
            arg[n++][len] = '\0';
            path += len;
            pattern += strcspn(pattern, "}") + 1;
        } else if (*pattern++ != *path++) {
            return false;
        }
    }
    return *path == '\0';
}

const struct cn_route *cn_route_find(const char *path, char arg[CN_PATH_ARGS][CN_PATH_ARG])
{
    for (size_t i = 0; i < CN_LEN(table); i++)
        if (matches(table[i].path, path, arg))
            return &table[i];
    return NULL;
}

void cn_route_allow(const struct cn_route *r, char *text, size_t size)
{
    static const struct {
        enum cn_method method;
        const char *name;
    } names[] = {{CN_GET, "GET"}, {CN_HEAD, "HEAD"},     {CN_POST, "POST"},
                 {CN_PUT, "PUT"}, {CN_DELETE, "DELETE"}, {CN_PATCH, "PATCH"}};
    size_t at = 0;

    for (size_t i = 0; i < CN_LEN(names); i++)
        if (r->methods & names[i].method)
            at += (size_t)snprintf(text + at, size - at, "%s, ", names[i].name);
    snprintf(text + at, size - at, "OPTIONS");
}
