/* controlnet inspect: what is in model files, and what does not fit; how a picture was made. */
#include "base/base.h"
#include "cli/cli.h"
#include "cli/inspected.h"
#include "cli/output.h"
#include "base/mem.h"
#include "image/metadata.h"

#include <stdio.h>
#include <stdlib.h>

struct options {
    bool json, all, help;
    enum cn_ema_choice ema;
};

#define AT(member) .offset = offsetof(struct options, member)

static const struct cn_option table[] = {
    CN_OPTION_HEADING("options"),
    {.kind = CN_OPT_FLAG,
     .name = "all",
     .letter = 'a',
     AT(all),
     .help = "name every tensor that does not fit, also superfluous ones"},
    {.kind = CN_OPT_FLAG,
     .name = "json",
     AT(json),
     .help = "as JSON, with every tensor that does not fit"},
    {.kind = CN_OPT_WORD,
     .name = "ema",
     .arg = "NAME",
     AT(ema),
     .words = &cn_enum_ema,
     .help = "whether averages of a base model's weights (EMA) count; model is what the files "
             "beside it say"},
    CN_CLI_HELP(struct options),
    CN_OPTION_END};

static const struct cn_cli_help help = {
    .name = "inspect",
    .usage = "[options] PATH...",
    .about = "Says what models hold: kind, sizes, types, parameters; which tensors are\n"
             "missing, have the wrong shape, or are not needed; and, when base models are\n"
             "named together with ControlNets or adapters, which of them fit. Of an adapter\n"
             "(LoRA and its kin): forms, ranks, trigger words. PATH is a diffusers directory,\n"
             "PEFT's, or a file (.safetensors, .ckpt, .pt, .pth, .bin). Weights are not\n"
             "read, and nothing in a pickle is run. The status is 1 when a model is not in\n"
             "order. Of one picture (.png, .jpg, .webp): the parameters with which it\n"
             "was made, as AUTOMATIC1111's web UI writes them.\n",
    .options = table,
    .examples = "  controlnet inspect models/sd15 models/canny\n"
                "  controlnet inspect picture.png\n"
                "  controlnet inspect --json v1-5-pruned.safetensors | jq .[0].components\n"};

static int print_all(const struct cn_inspected *list, int n, const struct options *o)
{
    json_t *a;

    if (!o->json) {
        for (int i = 0; i < n; i++) {
            if (i > 0)
                putchar('\n');
            cn_inspected_print(&list[i], o->all, stdout);
        }
        return cn_cli_flush();
    }
    a = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(a, cn_inspected_json(&list[i]));
    return cn_cli_print_json_take(a);
}

static int inspect(int n, char **paths, const struct options *o)
{
    struct cn_inspected *list = cn_xcalloc((size_t)n, sizeof(*list));
    int status;

    for (int i = 0; i < n; i++) {
        list[i].path = paths[i];
        cn_inspected_gather(&list[i], o->ema);
    }
    cn_inspected_find_fits(list, n);
    status = print_all(list, n, o);
    for (int i = 0; i < n; i++) {
        if (status == CN_EXIT_OK && cn_inspected_bad(&list[i]))
            status = CN_EXIT_FAILED;
        cn_inspected_release(&list[i]);
    }
    free(list);
    return status;
}

/* ---- pictures ---- */

/* What a picture says of how it was made. */
static int inspect_picture(const char *path, bool json)
{
    struct cn_err err = CN_ERR_INIT;
    struct cn_blob f = {0};
    char *text;

    if (cn_cli_read_image(path, &f, &err) < 0)
        return cn_cli_complain("inspect", CN_EXIT_FAILED, &err);
    text = cn_metadata_read(f.data, f.len);
    free(f.data);
    if (text == NULL) {
        cn_fail(&err, CN_ENOTFOUND, "%s: nothing says how the picture was made", path);
        return cn_cli_complain("inspect", CN_EXIT_FAILED, &err);
    }
    if (json) {
        json_t *o = json_object();

        json_object_set_new(o, "path", cn_cli_json_text(path));
        json_object_set_new(o, "parameters", cn_cli_json_text(text));
        free(text);
        return cn_cli_print_json_take(o);
    }
    puts(text);
    free(text);
    return cn_cli_flush();
}

int cn_cli_inspect(int argc, char **argv)
{
    struct cn_err err = CN_ERR_INIT;
    struct options o = {0};
    int rest, status;

    if (cn_cli_parse(&help, argc, argv, &o, &o.help, &rest, &status))
        return status;
    if (rest == argc) {
        cn_fail(&err, CN_EINVAL, "the path of a model is missing");
        return cn_cli_complain("inspect", CN_EXIT_USAGE, &err);
    }
    if (argc - rest == 1 && cn_output_format(argv[rest]) >= 0)
        return inspect_picture(argv[rest], o.json);
    return inspect(argc - rest, argv + rest, &o);
}
