/* controlnet annotate: from a photograph to a control map. */
#include "base/base.h"
#include "cli/cli.h"
#include "cli/output.h"
#include "image/annotate.h"
#include "image/codec.h"
#include "image/convert.h"

#include <stdlib.h>
#include <string.h>

struct options {
    const char *mask;
    int format, quality;
    bool help;
};

#define AT(member) .offset = offsetof(struct options, member)

static const struct cn_option table[] = {
    CN_OPTION_HEADING("options"),
    {.kind = CN_OPT_WORD, .name = "format", .arg = "NAME", AT(format), .words = &cn_enum_format,
     .help = "default: by the name of OUT, else png; one of"},
    {.kind = CN_OPT_TEXT, .name = "mask", .arg = "FILE", AT(mask),
     .help = "what is white in it is missing in the map (inpaint)"},
    {.kind = CN_OPT_INT, .name = "quality", .arg = "N", AT(quality), .min = 1, .max = 100,
     .help = "of JPEG and WebP (default: 90)"},
    CN_CLI_HELP(struct options),
    CN_OPTION_END};

static void print_annotators(FILE *out)
{
    fprintf(out, "\nannotators and their parameters:\n");
    for (int i = 0; i < cn_n_annotators; i++) {
        const struct cn_annotator *a = &cn_annotators[i];

        fprintf(out, "  %-18s %s\n", a->name, a->help);
        for (int k = 0; k < a->n_params; k++)
            fprintf(out, "    %-16s %s\n%21s%.10g to %.10g (default: %g)\n", a->param[k].name,
                    a->param[k].help, "", a->param[k].min, a->param[k].max, a->param[k].def);
    }
}

static const struct cn_cli_help help = {
    .name = "annotate",
    .usage = "[options] NAME IN OUT [PARAMETER=VALUE...]",
    .about = "Makes the control map that a ControlNet wants of the picture IN, and writes it\n"
             "to OUT. IN and OUT may be -.\n",
    .options = table,
    .examples = "  controlnet annotate canny photo.jpg edges.png low=50 high=120\n",
    .more = print_annotators};

static int set_parameter(const struct cn_annotator *a, struct cn_annotator_params *p,
                         const char *word, struct cn_err *err)
{
    const char *value = strchr(word, '=');
    char name[64];
    double v;

    if (value == NULL)
        return cn_fail(err, CN_EINVAL, "\"%.60s\" is no PARAMETER=VALUE", word);
    snprintf(name, sizeof(name), "%.*s", (int)(value - word), word);
    if (!cn_parse_real(value + 1, &v))
        return cn_fail(err, CN_EINVAL, "%s: \"%.60s\" is not a number", name, value + 1);
    return cn_annotator_set(a, p, name, v, err);
}

/* Alpha 0 where the mask, of the same size, is white. Takes *photo. */
static int hide(const char *path, struct cn_image *photo, struct cn_err *err)
{
    struct cn_image mask = CN_IMAGE_NONE, grey = CN_IMAGE_NONE, rgba;
    struct cn_blob file = {0};
    int rc = cn_cli_read_image(path, &file, err);

    if (rc == CN_OK && (rc = cn_image_decode(file.data, file.len, NULL, &mask, err)) == CN_OK)
        rc = cn_image_to_grey(&mask, &grey, err);
    if (rc == CN_OK && (mask.w != photo->w || mask.h != photo->h))
        rc = cn_fail(err, CN_EINVAL, "the mask has %d by %d pixels, the picture %d by %d", mask.w,
                     mask.h, photo->w, photo->h);
    if (rc == CN_OK && (rc = cn_image_to_rgba(photo, &rgba, err)) == CN_OK) {
        for (size_t i = 0; i < (size_t)grey.w * (size_t)grey.h; i++)
            if (grey.px[i] > 127)
                rgba.px[4 * i + 3] = 0;
        cn_image_release(photo);
        *photo = rgba;
    }
    cn_image_release(&mask);
    cn_image_release(&grey);
    free(file.data);
    return rc;
}

static int annotate(const struct cn_annotator *a, const struct cn_annotator_params *p, char **files,
                    const struct options *o, struct cn_err *err)
{
    struct cn_image photo = CN_IMAGE_NONE, map = CN_IMAGE_NONE;
    int suffix = cn_output_format(files[1]);
    struct cn_output out = {files[1], 1, CN_PNG, o->quality};
    struct cn_output_picture picture = {&map, 0, NULL};
    struct cn_blob file = {0};
    char *path = NULL;
    size_t bytes;
    int rc;

    if (o->format >= 0 || suffix >= 0)
        out.format = (enum cn_format)(o->format >= 0 ? o->format : suffix);
    if ((rc = cn_output_check(&out, err)) == CN_OK &&
        (rc = cn_cli_read_image(files[0], &file, err)) == CN_OK &&
        (rc = cn_image_decode(file.data, file.len, NULL, &photo, err)) == CN_OK &&
        (o->mask == NULL || (rc = hide(o->mask, &photo, err)) == CN_OK) &&
        (rc = cn_annotate(a->name, p, &photo, &map, err)) == CN_OK)
        rc = cn_output_write(&out, &picture, &path, &bytes, err);
    cn_image_release(&photo);
    cn_image_release(&map);
    free(file.data);
    free(path);
    return rc;
}

int cn_cli_annotate(int argc, char **argv)
{
    struct options o = {.format = -1, .quality = 90};
    const struct cn_annotator *a = NULL;
    struct cn_annotator_params p;
    struct cn_err err = CN_ERR_INIT;
    int rest, status, rc = CN_OK;

    if (cn_cli_parse(&help, argc, argv, &o, &o.help, &rest, &status))
        return status;
    if (argc - rest < 3)
        rc = cn_fail(&err, CN_EINVAL, "the name of an annotator and two files are expected");
    if (rc == CN_OK)
        rc = cn_cli_find_annotator("annotator", argv[rest], &a, &err);
    if (rc == CN_OK)
        cn_annotator_defaults(a, &p);
    for (int i = rest + 3; i < argc && rc == CN_OK; i++)
        rc = set_parameter(a, &p, argv[i], &err);
    if (rc < 0)
        return cn_cli_complain("annotate", CN_EXIT_USAGE, &err);
    if (annotate(a, &p, argv + rest + 1, &o, &err) < 0)
        return cn_cli_complain("annotate", CN_EXIT_FAILED, &err);
    return CN_EXIT_OK;
}
