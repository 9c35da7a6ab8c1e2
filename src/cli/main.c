/* controlnet: pictures, models and measurements at a shell, with the engine and without
 * a daemon. */
#include "base/base.h"
#include "cli/cli.h"
#include "base/reexec.h"
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

static int run_command(int argc, char **argv)
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
        return run_command(2, words);
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
    cn_reexec_with("OMP_WAIT_POLICY", "passive", argv);
    return run_command(argc - 1, argv + 1);
}
