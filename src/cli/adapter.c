/* --adapter NAME|PATH[:STRENGTH[:TEXT]] */
#include "base/base.h"
#include "cli/cli.h"
#include "base/file.h"
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>

/* Takes ":number" off the end of a text. */
static bool take_number(char *text, double *ret)
{
    char *colon = strrchr(text, ':');

    if (colon == NULL || !cn_parse_real(colon + 1, ret))
        return false;
    *colon = '\0';
    return true;
}

int cn_cli_add_adapter(const char *text, struct cn_spec *s, struct cn_err *err)
{
    struct cn_spec_adapter *a = cn_spec_add_adapter(s);
    double last, first;

    if (a == NULL)
        return cn_fail(err, CN_EINVAL, "--adapter: more than %d of them", CN_MAX_ADAPTERS);
    free(a->name);
    a->name = cn_xstrdup(text);
    if (take_number(a->name, &last)) {
        a->has_text = take_number(a->name, &first);
        a->strength = a->has_text ? first : last;
        a->text_strength = a->has_text ? last : 0;
    }
    if (a->name[0] == '\0')
        return cn_fail(err, CN_EINVAL, "--adapter: \"%.60s\" has no name", text);
    return CN_OK;
}

static const struct cn_adapter_entry *find(const struct cn_engine *e, const char *name)
{
    for (int i = 0; i < cn_engine_adapters(e); i++)
        if (strcmp(cn_engine_adapter_at(e, i)->name, name) == 0)
            return cn_engine_adapter_at(e, i);
    return NULL;
}

/* A word with a slash, or one that is only there as a file or directory, is a path. */
int cn_cli_resolve_adapters(struct cn_engine *e, struct cn_spec *s, struct cn_err *err)
{
    for (int i = 0; i < s->n_adapters; i++) {
        char **name = &s->adapter[i].name;
        bool there = cn_file_exists(*name) || cn_dir_exists(*name);
        const char *found;
        int rc;

        if (strchr(*name, '/') == NULL && (!there || find(e, *name) != NULL))
            continue;
        if (!there)
            return cn_fail(err, CN_ENOTFOUND, "--adapter: there is no file \"%s\"", *name);
        rc = cn_engine_add_adapter(e, *name, &found, err);
        if (rc < 0)
            return cn_err_prefix(err, "--adapter");
        free(*name);
        *name = cn_xstrdup(found);
    }
    return CN_OK;
}
