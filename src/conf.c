/* Configuration. */
#include "base/base.h"
#include "conf.h"
#include "base/log.h"
#include "base/mem.h"
#include "http/auth.h"
#include "http/listen.h"

#include <errno.h>
#include <ini.h>
#include <stdlib.h>
#include <string.h>

struct key {
    const char *section, *name;
    size_t offset;
    const char *text; /* default of a text; NULL: a number */
    int number, lo, hi;
};

#define TEXT(section, field, preset)                                                               \
    {                                                                                              \
        section, #field, offsetof(struct cn_conf, field), preset, 0, 0, 0                          \
    }
#define NUMBER(section, field, preset, lo, hi)                                                     \
    {                                                                                              \
        section, #field, offsetof(struct cn_conf, field), NULL, preset, lo, hi                     \
    }

static const struct key table[] = {
    TEXT("http", listen, "127.0.0.1:8080"),
    TEXT("http", admin_listen, ""),
    TEXT("http", cors_origins, ""),
    NUMBER("http", max_connections, 1024, 1, 100000),
    NUMBER("http", header_timeout_s, 10, 1, 600),
    NUMBER("http", body_timeout_s, 120, 1, 3600),
    NUMBER("http", idle_timeout_s, 15, 1, 600),
    TEXT("auth", keys_file, ""),
    NUMBER("limits", max_body_mb, 64, 1, 255),
    NUMBER("limits", max_image_mb, 32, 1, 64),
    NUMBER("limits", max_inflight_mb, 512, 1, 1 << 20),
    NUMBER("limits", max_steps, 150, 1, 1000),
    NUMBER("limits", max_images, 16, 1, 1000),
    NUMBER("limits", max_side, 2048, 64, 16384),
    NUMBER("limits", max_megapixels, 4, 1, 256),
    NUMBER("limits", max_controls, 8, 0, 8),
    NUMBER("limits", max_prompt_bytes, 4096, 1, 10000),
    NUMBER("queue", capacity, 64, 1, 100000),
    NUMBER("queue", timeout_s, 300, 1, 86400),
    NUMBER("queue", max_attempts, 2, 1, 10),
    NUMBER("queue", drain_s, 300, 0, 86400),
    TEXT("worker", program, ""),
    TEXT("worker", backend, "auto"),
    NUMBER("worker", count, 1, 1, 16),
    NUMBER("worker", threads, 0, 0, 1024),
    NUMBER("worker", start_timeout_s, 600, 1, 86400),
    NUMBER("worker", hang_timeout_s, 600, 1, 86400),
    TEXT("models", dirs, CN_DATADIR "/models:" CN_LOCALSTATEDIR "/lib/controlnetd/models"),
    TEXT("models", default_model, ""),
    TEXT("log", level, "info"),
};

static char **text_of(const struct cn_conf *c, const struct key *k)
{
    return (char **)((char *)c + k->offset);
}

static int *number_of(const struct cn_conf *c, const struct key *k)
{
    return (int *)((char *)c + k->offset);
}

void cn_conf_init(struct cn_conf *c)
{
    memset(c, 0, sizeof(*c));
    for (size_t i = 0; i < CN_LEN(table); i++) {
        if (table[i].text != NULL)
            *text_of(c, &table[i]) = cn_xstrdup(table[i].text);
        else
            *number_of(c, &table[i]) = table[i].number;
    }
}

void cn_conf_release(struct cn_conf *c)
{
    for (size_t i = 0; i < CN_LEN(table); i++)
        if (table[i].text != NULL)
            free(*text_of(c, &table[i]));
    memset(c, 0, sizeof(*c));
}

static const struct key *find(const char *section, const char *name)
{
    for (size_t i = 0; i < CN_LEN(table); i++)
        if (strcmp(table[i].section, section) == 0 && strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

static int set_number(struct cn_conf *c, const struct key *k, const char *value, struct cn_err *err)
{
    char *end;
    long v;

    errno = 0;
    v = strtol(value, &end, 10);
    if (end == value || *end != '\0' || errno != 0 || v < k->lo || v > k->hi)
        return cn_fail(err, CN_EINVAL, "%s.%s: \"%.80s\" is no number from %d to %d", k->section,
                       k->name, value, k->lo, k->hi);
    *number_of(c, k) = (int)v;
    return CN_OK;
}

static int set(struct cn_conf *c, const char *section, const char *name, const char *value,
               struct cn_err *err)
{
    const struct key *k = find(section, name);

    if (k == NULL)
        return cn_fail(err, CN_ENOTFOUND, "there is no key \"%.60s\" in section \"%.60s\"", name,
                       section);
    if (k->text == NULL)
        return set_number(c, k, value, err);
    free(*text_of(c, k));
    *text_of(c, k) = cn_xstrdup(value);
    return CN_OK;
}

struct reading {
    struct cn_conf *c;
    struct cn_err err;
};

static int on_key(void *arg, const char *section, const char *name, const char *value)
{
    struct reading *r = arg;

    return set(r->c, section, name, value == NULL ? "" : value, &r->err) == CN_OK;
}

int cn_conf_read(struct cn_conf *c, const char *path, struct cn_err *err)
{
    struct reading r = {.c = c, .err = CN_ERR_INIT};
    int line = ini_parse(path, on_key, &r);

    if (line == 0)
        return CN_OK;
    if (line < 0)
        return cn_fail(err, CN_EIO, "cannot read \"%s\": %s", path, strerror(errno));
    return cn_fail(err, CN_EFORMAT, "%s:%d: %s", path, line,
                   r.err.code != 0 ? r.err.msg : "expected \"key = value\"");
}

int cn_conf_set(struct cn_conf *c, const char *assignment, struct cn_err *err)
{
    const char *eq = strchr(assignment, '='), *dot = strchr(assignment, '.');
    char section[64], name[64];

    if (eq == NULL || dot == NULL || dot > eq || (size_t)(dot - assignment) >= sizeof(section) ||
        (size_t)(eq - dot) >= sizeof(name))
        return cn_fail(err, CN_EINVAL, "\"%.80s\" is not section.key=value", assignment);
    snprintf(section, sizeof(section), "%.*s", (int)(dot - assignment), assignment);
    snprintf(name, sizeof(name), "%.*s", (int)(eq - dot - 1), dot + 1);
    return set(c, section, name, eq + 1, err);
}

static int check_numbers(const struct cn_conf *c, struct cn_err *err)
{
    if (c->max_image_mb > c->max_body_mb)
        return cn_fail(err, CN_EINVAL, "limits.max_image_mb (%d) is over limits.max_body_mb (%d)",
                       c->max_image_mb, c->max_body_mb);
    if (c->max_body_mb > c->max_inflight_mb)
        return cn_fail(err, CN_EINVAL,
                       "limits.max_body_mb (%d) is over limits.max_inflight_mb (%d)",
                       c->max_body_mb, c->max_inflight_mb);
    return CN_OK;
}

int cn_conf_check(const struct cn_conf *c, struct cn_err *err)
{
    struct cn_keys keys;
    int rc;

    if ((rc = cn_listen_check(c->listen, err)) < 0 ||
        (c->admin_listen[0] != '\0' && (rc = cn_listen_check(c->admin_listen, err)) < 0) ||
        (rc = check_numbers(c, err)) < 0)
        return rc;
    if (cn_log_level_find(c->level) < 0)
        return cn_fail(err, CN_EINVAL,
                       "log.level: \"%.60s\" is none of error, warning, info and debug", c->level);
    if (c->keys_file[0] == '\0')
        return CN_OK;
    rc = cn_keys_load(&keys, c->keys_file, err);
    if (rc == CN_OK)
        cn_keys_release(&keys);
    return rc;
}

void cn_conf_print(const struct cn_conf *c, FILE *f)
{
    for (size_t i = 0; i < CN_LEN(table); i++) {
        const struct key *k = &table[i];

        if (k->text != NULL)
            fprintf(f, "%s.%s=%s\n", k->section, k->name, *text_of(c, k));
        else
            fprintf(f, "%s.%s=%d\n", k->section, k->name, *number_of(c, k));
    }
}

void cn_conf_each(void (*visit)(const char *section, const char *name, void *arg), void *arg)
{
    for (size_t i = 0; i < CN_LEN(table); i++)
        visit(table[i].section, table[i].name, arg);
}
