/* What every command of the program does: read its options, print its help, and tell an error with
 * the option that is at fault. */
#include "base/base.h"
#include "cli/cli.h"

#include <string.h>

static void print_help(const struct cn_cli_help *h)
{
    printf("usage: controlnet %s %s\n\n%s", h->name, h->usage, h->about);
    cn_options_print(h->options, stdout);
    if (h->more != NULL)
        h->more(stdout);
    if (h->examples != NULL)
        printf("\nexamples:\n%s", h->examples);
}

bool cn_cli_parse(const struct cn_cli_help *h, int argc, char **argv, void *target,
                  const bool *help, int *ret_rest, int *ret_status)
{
    struct cn_err err = CN_ERR_INIT;
    int rc = cn_options_parse(h->options, argc, argv, target, &err);

    if (rc < 0) {
        *ret_status = cn_cli_complain(h->name, CN_EXIT_USAGE, &err);
        return true;
    }
    if (*help) {
        print_help(h);
        *ret_status = cn_cli_flush();
        return true;
    }
    *ret_rest = rc;
    return false;
}

int cn_cli_complain(const char *name, int status, const struct cn_err *err)
{
    fprintf(stderr, "controlnet %s: %s\n", name, err->msg);
    if (status == CN_EXIT_USAGE)
        fprintf(stderr, "\"controlnet %s --help\" lists the options\n", name);
    return status;
}

/* Which option sets which field of a job. */
static const struct {
    const char *field, *option;
} fields[] = {
    {"/model", "--model"},
    {"/prompt", "--prompt"},
    {"/negative_prompt", "--negative"},
    {"/prompt_syntax", "--prompt-syntax"},
    {"/width", "--width"},
    {"/height", "--height"},
    {"/original_size", "--original-size"},
    {"/original_size/width", "--original-size"},
    {"/original_size/height", "--original-size"},
    {"/crop/left", "--crop"},
    {"/crop/top", "--crop"},
    {"/target_size/width", "--target-size"},
    {"/target_size/height", "--target-size"},
    {"/steps", "--steps"},
    {"/guidance_scale", "--guidance"},
    {"/guidance_rescale", "--guidance-rescale"},
    {"/pag_scale", "--pag"},
    {"/pag_adaptive_scale", "--pag-adaptive"},
    {"/sampler", "--sampler"},
    {"/schedule", "--schedule"},
    {"/spacing", "--spacing"},
    {"/eta", "--eta"},
    {"/seed", "--seed"},
    {"/n", "--count"},
    {"/clip_skip", "--clip-skip"},
    {"/init_image", "--init"},
    {"/mask", "--mask"},
    {"/depth", "--depth"},
    {"/denoise", "--denoise"},
    {"/hires", "--hires-scale"},
    {"/hires/scale", "--hires-scale"},
    {"/hires/steps", "--hires-steps"},
    {"/hires/strength", "--hires-strength"},
    {"/hires/upscaler", "--hires-upscaler"},
    {"/hires/sampler", "--hires-sampler"},
    {"/hires/schedule", "--hires-schedule"},
    {"/hires/guidance_scale", "--hires-guidance"},
    {"/hires/prompt", "--hires-prompt"},
    {"/hires/negative_prompt", "--hires-negative"},
    {"/decoder", "--decoder"},
    {"/vae", "--vae"},
    {"/quality", "--quality"},
};

/* What messages call fields, and what they are called here. */
static const struct {
    const char *field, *option;
} words[] = {
    {"an \"init_image\"", "--init"},
    {"no init_image", "no --init"},
    {"guidance_scale is", "--guidance is"},
};

static bool find_option(const char *field, char *ret, size_t size)
{
    char rest[32] = "";
    int n = 0;

    for (size_t i = 0; i < CN_LEN(fields); i++)
        if (strcmp(field, fields[i].field) == 0) {
            snprintf(ret, size, "%s", fields[i].option);
            return true;
        }
    if (sscanf(field, "/adapters/%d/%31s", &n, rest) == 2) {
        snprintf(ret, size, "--adapter %d: %s", n + 1, rest);
        return true;
    }
    if (sscanf(field, "/controls/%d/%31s", &n, rest) != 2)
        return false;
    snprintf(ret, size, "--control %d: %s", n + 1, rest);
    return true;
}

static void translate(const char *text, char *ret, size_t size)
{
    const char *at;

    snprintf(ret, size, "%s", text);
    for (size_t i = 0; i < CN_LEN(words); i++)
        if ((at = strstr(text, words[i].field)) != NULL) {
            snprintf(ret, size, "%.*s%s%s", (int)(at - text), text, words[i].option,
                     at + strlen(words[i].field));
            return;
        }
}

int cn_cli_blame(struct cn_err *err)
{
    char option[64], text[sizeof(err->msg)];

    if (err->code == CN_ECANCELED && cn_cli_signal() != 0)
        return 128 + cn_cli_signal();
    if (find_option(err->where, option, sizeof(option))) {
        translate(err->msg, text, sizeof(text));
        memcpy(err->msg, text, sizeof(text));
        cn_err_prefix(err, "%s", option);
    }
    return err->where[0] != '\0' && (err->code == CN_EINVAL || err->code == CN_ETOOBIG)
               ? CN_EXIT_USAGE
               : CN_EXIT_FAILED;
}

void cn_cli_warn(const char *field, const char *text)
{
    char option[64], own[256];

    if (!find_option(field, option, sizeof(option)))
        snprintf(option, sizeof(option), "%s", field + (field[0] == '/'));
    translate(text, own, sizeof(own));
    fprintf(stderr, "controlnet: warning: %s: %s\n", option, own);
}
