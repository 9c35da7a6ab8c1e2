/* controlnet: pictures, models and measurements at a shell, with the engine and without
 * a daemon. */
#include "base/base.h"
#include "cli/cli.h"
#include "base/again.h"
#include "backend/backend.h"

#include <string.h>

static const struct command {
    const char *name, *help;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"generate", "draw pictures", cn_cli_generate},
    {"inspect", "say what a model holds, and what it lacks", cn_cli_inspect},
    {"models", "list the models that are there", cn_cli_models},
    {"annotate", "make a control map of a photograph", cn_cli_annotate},
    {"bench", "measure speed and memory", cn_cli_bench},
};

static void print_usage(FILE *out)
{
    fputs("usage: controlnet COMMAND [options]\n"
          "\n"
          "Diffusion with ControlNet on this machine. Commands:\n"
          "\n",
          out);
    for (size_t i = 0; i < CN_LEN(commands); i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].help);
    fputs("\n"
          "\"controlnet help COMMAND\" tells more; \"controlnet --version\" tells the version.\n",
          out);
}

static int print_version(void)
{
    const char *const *list = cn_backend_list();

    printf("controlnet (" PACKAGE_NAME ") " PACKAGE_VERSION "\nbackends:");
    for (int i = 0; list[i] != NULL; i++)
        printf(" %s", list[i]);
    printf("\n");
    return cn_cli_flush();
}

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
    {"/width", "--width"},
    {"/height", "--height"},
    {"/steps", "--steps"},
    {"/guidance_scale", "--guidance"},
    {"/eta", "--eta"},
    {"/n", "--count"},
    {"/clip_skip", "--clip-skip"},
    {"/init_image", "--init"},
    {"/mask", "--mask"},
    {"/denoise", "--denoise"},
    {"/quality", "--quality"},
};

int cn_cli_blame(struct cn_err *err)
{
    char rest[32] = "";
    int n = 0;

    if (err->code == CN_ECANCELED && cn_cli_signal() != 0)
        return 128 + cn_cli_signal();
    for (size_t i = 0; i < CN_LEN(fields); i++)
        if (strcmp(err->where, fields[i].field) == 0)
            cn_err_prefix(err, "%s", fields[i].option);
    if (sscanf(err->where, "/controls/%d/%31s", &n, rest) == 2)
        cn_err_prefix(err, "--control %d: %s", n + 1, rest);
    return err->where[0] != '\0' && (err->code == CN_EINVAL || err->code == CN_ETOOBIG)
               ? CN_EXIT_USAGE
               : CN_EXIT_FAILED;
}

static int fail_unknown(const char *word)
{
    const char *names[CN_LEN(commands)], *near;

    for (size_t i = 0; i < CN_LEN(commands); i++)
        names[i] = commands[i].name;
    near = cn_closest(word, names, CN_LEN(commands));
    fprintf(stderr, "controlnet: there is no command \"%.60s\"", word);
    if (near != NULL)
        fprintf(stderr, ": did you mean \"%s\"?\n", near);
    else
        fputs("\n\"controlnet --help\" lists the commands\n", stderr);
    return CN_EXIT_USAGE;
}

static int run(int argc, char **argv)
{
    for (size_t i = 0; i < CN_LEN(commands); i++)
        if (strcmp(argv[0], commands[i].name) == 0)
            return commands[i].run(argc, argv);
    return fail_unknown(argv[0]);
}

static int help(int argc, char **argv)
{
    char option[] = "--help", *words[] = {argv[argc - 1], option, NULL};

    if (argc == 2)
        return run(2, words);
    print_usage(stdout);
    return cn_cli_flush();
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return CN_EXIT_USAGE;
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
        strcmp(argv[1], "-h") == 0)
        return help(argc - 1, argv + 1);
    if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
        return print_version();
    /* OpenMP reads it when the library is loaded: see worker.c. */
    cn_again_with("OMP_WAIT_POLICY", "passive", argv);
    return run(argc - 1, argv + 1);
}
