/* Where pictures go: the names of files by pattern and number, the format by suffix. */
#include "base/base.h"
#include "cli/output.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/infotext.h"
#include "base/mem.h"
#include "image/codec.h"
#include "image/metadata.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_ENCODED = 1 << 30 };

int cn_output_format(const char *name)
{
    static const struct {
        const char *suffix;
        enum cn_format format;
    } known[] = {{".png", CN_PNG}, {".jpg", CN_JPEG}, {".jpeg", CN_JPEG}, {".webp", CN_WEBP}};
    size_t len = strlen(name);

    for (size_t i = 0; i < CN_LEN(known); i++) {
        size_t n = strlen(known[i].suffix);

        if (len > n && strcasecmp(name + len - n, known[i].suffix) == 0)
            return (int)known[i].format;
    }
    return -1;
}

char *cn_output_name(const struct cn_output *o, int index)
{
    const char *place = strstr(o->pattern, "%d"), *slash = strrchr(o->pattern, '/'), *dot;

    if (place != NULL)
        return cn_xprintf("%.*s%d%s", (int)(place - o->pattern), o->pattern, index + 1, place + 2);
    if (o->count == 1)
        return cn_xstrdup(o->pattern);
    dot = strrchr(slash ? slash + 1 : o->pattern, '.');
    if (dot == NULL)
        dot = o->pattern + strlen(o->pattern);
    return cn_xprintf("%.*s-%d%s", (int)(dot - o->pattern), o->pattern, index + 1, dot);
}

static int check_folder(const char *path, struct cn_err *err)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash == NULL ? cn_xstrdup(".")
                                 : cn_xprintf("%.*s", (int)CN_MAX(slash - path, 1), path);
    int rc = CN_OK;

    if (!cn_dir_exists(folder))
        rc = cn_fail(err, CN_EIO, "cannot write \"%s\": there is no directory \"%s\"", path,
                     folder);
    else if (access(folder, W_OK) < 0)
        rc = cn_fail(err, CN_EIO, "cannot write \"%s\": %s", path, strerror(errno));
    free(folder);
    return rc;
}

/* Something that a file cannot take the place of: a terminal, a pipe, /dev/null. */
static bool is_special(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

int cn_output_check(const struct cn_output *o, struct cn_err *err)
{
    char *path;
    int rc = CN_OK;

    if (strcmp(o->pattern, "-") == 0)
        return o->count == 1 ? CN_OK
                             : cn_fail_at(err, CN_EINVAL, "--output",
                                          "--output: standard output takes one picture, not %d",
                                          o->count);
    path = cn_output_name(o, 0);
    if (path[0] == '\0' || cn_dir_exists(path))
        rc = cn_fail_at(err, CN_EINVAL, "--output", "--output: \"%s\" is not the name of a file",
                        path);
    else if (!is_special(path))
        rc = check_folder(path, err);
    free(path);
    return rc;
}

static int write_special(const char *path, const void *data, size_t len, struct cn_err *err)
{
    FILE *f = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
    bool good = f != NULL && fwrite(data, 1, len, f) == len && fflush(f) == 0;
    int saved = errno;

    if (f != NULL && f != stdout && fclose(f) != 0 && good) {
        saved = errno;
        good = false;
    }
    if (!good)
        return cn_fail(err, CN_EIO, "cannot write \"%s\": %s", path, strerror(saved));
    return CN_OK;
}

int cn_output_file(const char *path, const void *data, size_t len, struct cn_err *err)
{
    if (strcmp(path, "-") == 0 || is_special(path))
        return write_special(path, data, len, err);
    return cn_file_write(path, data, len, err);
}

static int encode(const struct cn_output *o, const struct cn_output_picture *p, struct cn_buf *b,
                  struct cn_err *err)
{
    struct cn_png_text text = {CN_INFOTEXT_KEY, p->text};

    int rc;

    if (o->format == CN_PNG)
        return cn_png_encode(p->image, &text, p->text != NULL, CN_PNG_AUTO, b, err);
    rc = o->format == CN_JPEG ? cn_jpeg_encode(p->image, o->quality, b, err)
                              : cn_webp_encode(p->image, o->quality, b, err);
    return rc == CN_OK && p->text != NULL ? cn_metadata_add(b, o->format, p->text, err) : rc;
}

int cn_output_write(const struct cn_output *o, const struct cn_output_picture *p, char **ret_path,
                    size_t *ret_bytes, struct cn_err *err)
{
    char *path = cn_output_name(o, p->index);
    struct cn_buf b;
    int rc;

    cn_buf_init(&b, MAX_ENCODED);
    rc = encode(o, p, &b, err);
    if (rc == CN_OK)
        rc = cn_output_file(path, b.data, b.len, err);
    if (rc == CN_OK) {
        *ret_path = path;
        *ret_bytes = b.len;
    } else {
        free(path);
    }
    cn_buf_release(&b);
    return rc;
}
