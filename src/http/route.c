/* The route table. */
#include "base/base.h"
#include "http/http_priv.h"

#include <stdio.h>
#include <string.h>

static const struct cn_route table[] = {
    {.path = "/v1/images",
     .methods = CN_POST,
     .takes_body = true,
     .admit = cn_images_admit,
     .handle = cn_images_handle,
     .resume = cn_images_resume},
    {.path = "/v1/models", .methods = CN_GET | CN_HEAD, .handle = cn_info_models},
    {.path = "/v1/samplers", .methods = CN_GET | CN_HEAD, .handle = cn_info_samplers},
    {.path = "/v1/annotators", .methods = CN_GET | CN_HEAD, .handle = cn_info_annotators},
    {.path = "/healthz",
     .methods = CN_GET | CN_HEAD,
     .open = true,
     .on_both = true,
     .handle = cn_info_healthz},
    {.path = "/readyz",
     .methods = CN_GET | CN_HEAD,
     .open = true,
     .on_both = true,
     .handle = cn_info_readyz},
    {.path = "/metrics", .methods = CN_GET | CN_HEAD, .admin = true, .handle = cn_info_metrics},
    {.path = "/openapi.yaml", .methods = CN_GET | CN_HEAD, .open = true, .handle = cn_info_openapi},
    {.path = "/", .methods = CN_GET | CN_HEAD, .open = true, .handle = cn_info_page},
};

const struct cn_route *cn_route_all(size_t *ret_n)
{
    *ret_n = CN_LEN(table);
    return table;
}

const struct cn_route *cn_route_find(const char *path)
{
    for (size_t i = 0; i < CN_LEN(table); i++)
        if (strcmp(table[i].path, path) == 0)
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
