/* Errors as the web UI has them: {error, detail, body, errors}. A field is called as its clients
 * call it. */
#include "base/base.h"
#include "api/a1111.h"
#include "base/escape.h"
#include "base/mem.h"
#include "base/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* From a pointer into the description to the field that it was read from. */
static const char *const fields[][2] = {
    {"/sampler", "sampler_name"},
    {"/schedule", "scheduler"},
    {"/guidance_scale", "cfg_scale"},
    {"/init_image", "init_images"},
    {"/denoise", "denoising_strength"},
    {"/n", "batch_size"},
    {"/model", "override_settings.sd_model_checkpoint"},
    {"/clip_skip", "override_settings.CLIP_stop_at_last_layers"},
    {"/format", "override_settings.samples_format"},
    {"/hires/scale", "hr_scale"},
    {"/hires/width", "hr_resize_x"},
    {"/hires/height", "hr_resize_y"},
    {"/hires/steps", "hr_second_pass_steps"},
    {"/hires/upscaler", "hr_upscaler"},
    {"/hires/strength", "denoising_strength"},
    {"/mask_blur", "mask_blur"},
};

static const char *const unit_fields[][2] = {
    {"annotator", "module"},   {"strength", "weight"},          {"start", "guidance_start"},
    {"end", "guidance_end"},   {"weights", "control_mode"},     {"branch", "control_mode"},
    {"resize", "resize_mode"}, {"resolution", "processor_res"},
};

/* "/controls/0/strength" to "alwayson_scripts.controlnet.args.0.weight". */
static void name_unit(const char *pointer, char *text, size_t size)
{
    const char *name = strrchr(pointer, '/') + 1;

    for (size_t i = 0; i < CN_LEN(unit_fields); i++)
        if (strcmp(unit_fields[i][0], name) == 0)
            name = unit_fields[i][1];
    snprintf(text, size, "alwayson_scripts.controlnet.args.%d.%s",
             atoi(pointer + strlen("/controls/")), name);
}

static void name_field(const char *pointer, char *text, size_t size)
{
    size_t i;

    for (i = 0; i < CN_LEN(fields) && strcmp(fields[i][0], pointer) != 0; i++)
        ;
    if (i < CN_LEN(fields)) {
        snprintf(text, size, "%s", fields[i][1]);
    } else if (strncmp(pointer, "/controls/", 10) == 0) {
        name_unit(pointer, text, size);
    } else {
        snprintf(text, size, "%s", pointer + 1);
        for (char *p = text; (p = strchr(p, '/')) != NULL; p++)
            *p = '.';
    }
}

static const char *exception_of(int status)
{
    return status >= 500 ? "RuntimeError" : "HTTPException";
}

void cn_a1111_put_problem(const struct cn_problem *p, struct cn_buf *out)
{
    const char *detail = p->detail == NULL || p->detail[0] == '\0' ? p->title : p->detail;
    char field[128] = "", *copy = cn_xstrdup(detail);
    struct cn_buf text;

    cn_hide_paths(copy);
    if (p->pointer != NULL && p->pointer[0] == '/')
        name_field(p->pointer, field, sizeof(field));
    cn_buf_init(&text, 1 << 14);
    cn_buf_printf(&text, NULL, "%s%s%s", field, field[0] != '\0' ? ": " : "", copy);
    free(copy);
    cn_buf_printf(out, NULL, "{\"error\":\"%s\",\"detail\":", exception_of(p->status));
    cn_escape_json(out, (const char *)text.data, text.len, NULL);
    cn_buf_adds(out, ",\"body\":\"\",\"errors\":", NULL);
    cn_escape_json(out, (const char *)text.data, text.len, NULL);
    if (p->request_id != NULL)
        cn_buf_printf(out, NULL, ",\"request_id\":\"%s\"", p->request_id);
    cn_buf_adds(out, "}\n", NULL);
    cn_buf_release(&text);
}
