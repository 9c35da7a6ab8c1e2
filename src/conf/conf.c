/* The keys of the configuration in one table: where each lives, its default, its limits, and
 * whether a reload may change it. Reading, checking, printing and merging all walk that table. The
 * form of the files is conf_file.c's. */
#include "base/base.h"
#include "conf/conf.h"
#include "conf/conf_file.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/places.h"
#include "conf/keyring.h"
#include "http/auth/peer.h"
#include "http/auth/site.h"
#include "http/server/listen.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* When a changed value counts: after SIGHUP, or only for a new process. */
enum when { RELOAD, RESTART };

struct key {
    const char *section, *name;
    size_t offset;
    const char *text; /* default of a text; NULL: a number */
    int number, lo, hi;
    enum when when;
    bool is_switch; /* an int that is 0 or 1, written as a word */
};

#define TEXT(section, field, preset, when)                                                         \
    {                                                                                              \
        section, #field, offsetof(struct cn_conf, field), preset, 0, 0, 0, when, false             \
    }
#define NUMBER(section, field, preset, lo, hi, when)                                               \
    {                                                                                              \
        section, #field, offsetof(struct cn_conf, field), NULL, preset, lo, hi, when, false        \
    }

#define SWITCH(section, field, preset, when)                                                       \
    {                                                                                              \
        section, #field, offsetof(struct cn_conf, field), NULL, preset, 0, 1, when, true           \
    }

static const struct key table[] = {
    TEXT("http", listen, "127.0.0.1:8080", RESTART),
    TEXT("http", admin_listen, "", RESTART),
    TEXT("http", cors_origins, "", RELOAD),
    TEXT("http", hosts, "", RELOAD),
    TEXT("http", trusted_proxies, "", RELOAD),
    NUMBER("http", max_connections, 1024, 1, 100000, RESTART),
    NUMBER("http", header_timeout_s, 10, 1, 600, RELOAD),
    NUMBER("http", body_timeout_s, 120, 1, 3600, RELOAD),
    NUMBER("http", idle_timeout_s, 15, 1, 600, RESTART),
    NUMBER("http", max_streams, 1024, 1, 100000, RESTART),
    NUMBER("http", stall_timeout_s, 60, 1, 3600, RELOAD),
    TEXT("auth", keys_file, "", RELOAD),
    SWITCH("auth", allow_anonymous, 0, RELOAD),
    NUMBER("limits", max_body_mb, 64, 1, 255, RELOAD),
    NUMBER("limits", max_image_mb, 32, 1, 64, RELOAD),
    NUMBER("limits", max_inflight_mb, 512, 1, 1 << 20, RELOAD),
    NUMBER("limits", max_outflight_mb, 512, 1, 1 << 20, RELOAD),
    NUMBER("limits", max_steps, 150, 1, 1000, RELOAD),
    NUMBER("limits", max_images, 16, 1, 1000, RELOAD),
    NUMBER("limits", max_side, 2048, 64, 16384, RELOAD),
    NUMBER("limits", max_megapixels, 4, 1, 256, RELOAD),
    NUMBER("limits", max_controls, 8, 0, 8, RELOAD),
    NUMBER("limits", max_prompt_bytes, 4096, 1, 10000, RELOAD),
    NUMBER("queue", capacity, 10000, 1, 100000, RELOAD),
    NUMBER("queue", tenant_max_queued, 5000, 0, 100000, RELOAD),
    NUMBER("queue", tenant_max_running, 0, 0, 10000, RELOAD),
    NUMBER("queue", timeout_s, 300, 1, 86400, RELOAD),
    NUMBER("queue", async_timeout_s, 86400, 1, 30 * 86400, RELOAD),
    NUMBER("queue", priority_step_s, 60, 0, 86400, RELOAD),
    NUMBER("queue", max_attempts, 2, 1, 10, RELOAD),
    NUMBER("queue", drain_s, 300, 0, 86400, RELOAD),
    TEXT("store", dir, "", RESTART),
    NUMBER("store", result_ttl_s, 86400, 1, 365 * 86400, RELOAD),
    NUMBER("store", tombstone_ttl_s, 7 * 86400, 0, 365 * 86400, RELOAD),
    NUMBER("store", key_ttl_s, 86400, 1, 365 * 86400, RESTART),
    NUMBER("store", max_mb, 0, 0, 1 << 30, RESTART),
    NUMBER("store", min_free_percent, 5, 0, 90, RESTART),
    NUMBER("store", inputs_mb, 1024, 0, 1 << 30, RELOAD),
    NUMBER("store", tenant_inputs_mb, 256, 0, 1 << 30, RELOAD),
    NUMBER("store", tenant_inputs, 1000, 0, 100000, RELOAD),
    NUMBER("store", inputs_ttl_s, 86400, 1, 365 * 86400, RELOAD),
    TEXT("worker", program, "", RESTART),
    TEXT("worker", backend, "auto", RESTART),
    TEXT("worker", devices, "", RESTART),
    TEXT("worker", dtype, "auto", RESTART),
    NUMBER("worker", count, 1, 1, CN_CONF_COUNT, RESTART),
    NUMBER("worker", threads, 0, 0, 1024, RESTART),
    NUMBER("worker", lanes, 0, 0, 64, RESTART),
    NUMBER("worker", max_batch, 0, 0, 64, RESTART),
    NUMBER("worker", memory_mb, 0, 0, 1 << 24, RESTART),
    NUMBER("worker", vae_memory_mb, 0, 0, 1 << 24, RESTART),
    NUMBER("worker", start_timeout_s, 600, 1, 86400, RESTART),
    NUMBER("worker", hang_timeout_s, 600, 1, 86400, RELOAD),
    TEXT("models", dirs, "", RESTART),
    TEXT("models", default_model, "", RESTART),
    NUMBER("models", settle_s, 2, 0, 600, RESTART),
    TEXT("models", embeddings, "", RESTART),
    TEXT("models", adapters, "", RESTART),
    TEXT("models", taesd, "", RESTART),
    TEXT("webhook", allow, "", RELOAD),
    TEXT("webhook", networks, "", RELOAD),
    TEXT("webhook", secret_file, "", RELOAD),
    NUMBER("webhook", attempt_timeout_s, 10, 1, 60, RELOAD),
    NUMBER("webhook", give_up_s, 86400, 1, 7 * 86400, RELOAD),
    TEXT("log", level, "info", RELOAD),
    NUMBER("log", max_per_s, 10, 0, 1000000, RELOAD),
    NUMBER("log", requests_per_s, 300, 0, 1000000, RELOAD),
    SWITCH("log", prompts, 0, RELOAD),
};

static char **text_of(const struct cn_conf *c, const struct key *k)
{
    return (char **)((char *)c + k->offset);
}

static int *number_of(const struct cn_conf *c, const struct key *k)
{
    return (int *)((char *)c + k->offset);
}

static const struct key *find(const char *section, const char *name)
{
    for (size_t i = 0; i < CN_LEN(table); i++)
        if (strcmp(table[i].section, section) == 0 && strcmp(table[i].name, name) == 0)
            return &table[i];
    return NULL;
}

/* The store's folder, and those of models, for who was told nothing else. */
static void choose_places(struct cn_conf *c)
{
    free(c->dir);
    free(c->dirs);
    c->default_dir = cn_state_dir_take();
    c->dir = cn_xstrdup(c->default_dir);
    c->dirs = cn_models_dirs_take();
}

bool cn_conf_default_dir(const struct cn_conf *c)
{
    return c->place[find("store", "dir") - table] == NULL && !cn_state_dir_is_systemds();
}

const char *cn_conf_state_dir(const struct cn_conf *c)
{
    return c->dir[0] != '\0' ? c->dir : c->default_dir;
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
    c->place = cn_xcalloc(CN_LEN(table), sizeof(*c->place));
    choose_places(c);
}

void cn_conf_release(struct cn_conf *c)
{
    for (size_t i = 0; i < CN_LEN(table); i++)
        if (table[i].text != NULL)
            free(*text_of(c, &table[i]));
    for (size_t i = 0; c->place != NULL && i < CN_LEN(table); i++)
        free(c->place[i]);
    free(c->place);
    free(c->default_dir);
    memset(c, 0, sizeof(*c));
}

/* Where a key got its value; NULL: nobody said anything. */
static void remember(struct cn_conf *c, const struct key *k, char *place_take)
{
    free(c->place[k - table]);
    c->place[k - table] = place_take;
}

/* Of a switch: 0 or 1; -1: the word means neither. */
static int switch_of(const char *value)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};

    for (size_t i = 0; i < CN_LEN(words); i++)
        if (strcmp(value, words[i]) == 0)
            return (int)(i % 2);
    return -1;
}

static int set_switch(struct cn_conf *c, const struct key *k, const char *value, struct cn_err *err)
{
    int v = switch_of(value);

    if (v < 0)
        return cn_fail(err, CN_EINVAL, "%s.%s: \"%.80s\" is neither true nor false", k->section,
                       k->name, value);
    *number_of(c, k) = v;
    return CN_OK;
}

static int set_number(struct cn_conf *c, const struct key *k, const char *value, struct cn_err *err)
{
    char *end;
    long v;

    errno = 0;
    v = strtol(value, &end, 10);
    if (end == value || *end != '\0' || errno != 0 || v < k->lo || v > k->hi)
        return cn_fail(err, CN_EINVAL, "%s.%s: \"%.80s\" is no integer between %d and %d",
                       k->section, k->name, value, k->lo, k->hi);
    *number_of(c, k) = (int)v;
    return CN_OK;
}

static int set(struct cn_conf *c, const struct key *k, const char *value, struct cn_err *err)
{
    if (k->text == NULL)
        return k->is_switch ? set_switch(c, k, value, err) : set_number(c, k, value, err);
    free(*text_of(c, k));
    *text_of(c, k) = cn_xstrdup(value);
    return CN_OK;
}

static int unknown_key(const char *section, const char *name, struct cn_err *err)
{
    return cn_fail(err, CN_ENOTFOUND, "there is no key \"%.60s\" in section \"%.60s\"", name,
                   section);
}

/* One file: which line has set each key. */
struct reading {
    struct cn_conf *c;
    int line[CN_LEN(table)];
};

static int on_entry(void *arg, const struct cn_conf_entry *e, struct cn_err *err)
{
    struct reading *r = arg;
    const struct key *k = find(e->section, e->key);
    int *line;

    if (k == NULL)
        return unknown_key(e->section, e->key, err);
    line = &r->line[k - table];
    if (*line != 0)
        return cn_fail(err, CN_EINVAL, "%s.%s was set in line %d already", k->section, k->name,
                       *line);
    *line = e->line;
    remember(r->c, k, cn_xprintf("%s:%d", e->file, e->line));
    return set(r->c, k, e->value, err);
}

int cn_conf_read(struct cn_conf *c, const char *path, struct cn_err *err)
{
    struct reading r = {.c = c};

    return cn_conf_file_read(path, on_entry, &r, err);
}

static int is_part(const struct dirent *d)
{
    size_t n = strlen(d->d_name);

    return d->d_name[0] != '.' && n > 5 && strcmp(d->d_name + n - 5, ".conf") == 0;
}

/* By bytes: the locale must not decide which file wins. */
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

int cn_conf_read_parts(struct cn_conf *c, const char *path, struct cn_err *err)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash == NULL ? cn_xstrdup("conf.d")
                              : cn_xprintf("%.*sconf.d", (int)(slash + 1 - path), path);
    struct dirent **list = NULL;
    int rc = CN_OK, n = scandir(dir, &list, is_part, by_name);

    if (n < 0 && errno != ENOENT && errno != ENOTDIR)
        rc = cn_fail(err, CN_EIO, "cannot read the directory \"%s\": %s", dir, strerror(errno));
    for (int i = 0; i < n; i++) {
        char *part = cn_xprintf("%s/%s", dir, list[i]->d_name);

        if (rc == CN_OK)
            rc = cn_conf_read(c, part, err);
        free(part);
        free(list[i]);
    }
    free(list);
    free(dir);
    return rc;
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
    return cn_conf_put(c, section, name, eq + 1, "--set", err);
}

int cn_conf_put(struct cn_conf *c, const char *section, const char *name, const char *value,
                const char *place, struct cn_err *err)
{
    const struct key *k = find(section, name);

    if (k == NULL)
        return unknown_key(section, name, err);
    remember(c, k, cn_xstrdup(place));
    return set(c, k, value, err);
}

int cn_conf_blame(const struct cn_conf *c, const char *section, const char *name,
                  struct cn_err *err)
{
    const struct key *k = find(section, name);
    size_t n = strlen(section);

    CN_ASSERT(k != NULL);
    if (err == NULL)
        return CN_EINVAL;
    if (strncmp(err->msg, section, n) != 0 || err->msg[n] != '.' ||
        strncmp(err->msg + n + 1, name, strlen(name)) != 0)
        cn_err_prefix(err, "%s.%s", section, name);
    if (c->place[k - table] != NULL)
        cn_err_prefix(err, "%s", c->place[k - table]);
    return err->code;
}

static int check_image_mb(const struct cn_conf *c, struct cn_err *err)
{
    if (c->max_image_mb <= c->max_body_mb)
        return CN_OK;
    return cn_fail(err, CN_EINVAL, "limits.max_image_mb (%d) is over limits.max_body_mb (%d)",
                   c->max_image_mb, c->max_body_mb);
}

static int check_body_mb(const struct cn_conf *c, struct cn_err *err)
{
    if (c->max_body_mb <= c->max_inflight_mb)
        return CN_OK;
    return cn_fail(err, CN_EINVAL, "limits.max_body_mb (%d) is over limits.max_inflight_mb (%d)",
                   c->max_body_mb, c->max_inflight_mb);
}

/* "cpu", "cuda" or "cuda:N". */
static bool is_device(const char *name)
{
    if (strcmp(name, "cpu") == 0 || strcmp(name, "cuda") == 0)
        return true;
    return strncmp(name, "cuda:", 5) == 0 && name[5] != '\0' &&
           name[5 + strspn(name + 5, "0123456789")] == '\0';
}

static int check_dtype(const struct cn_conf *c, struct cn_err *err)
{
    static const char *const known[] = {"auto", "f32", "f16", "bf16"};

    for (size_t i = 0; i < CN_LEN(known); i++)
        if (strcmp(c->dtype, known[i]) == 0)
            return CN_OK;
    return cn_fail(err, CN_EINVAL, "worker.dtype: \"%.60s\" is none of auto, f32, f16, bf16",
                   c->dtype);
}

static int check_devices(const struct cn_conf *c, struct cn_err *err)
{
    char *list = cn_xstrdup(c->devices), *rest = list, *device;
    int rc = CN_OK, n = 0;

    while (rc == CN_OK && (device = strsep(&rest, " ,")) != NULL) {
        if (device[0] == '\0')
            continue;
        if (!is_device(device))
            rc = cn_fail(err, CN_EINVAL, "worker.devices: \"%.60s\" is none of cpu, cuda, cuda:N",
                         device);
        else if (++n > CN_CONF_DEVICES)
            rc = cn_fail(err, CN_EINVAL, "worker.devices: more than %d devices", CN_CONF_DEVICES);
    }
    free(list);
    if (rc == CN_OK && n * c->count > CN_CONF_WORKERS)
        rc = cn_fail(err, CN_EINVAL, "worker.devices: %d devices and %d workers for each: over %d",
                     n, c->count, CN_CONF_WORKERS);
    return rc;
}

static int check_list(const char *dirs, struct cn_err *err)
{
    int n = dirs[0] != '\0';

    for (const char *p = dirs; *p != '\0'; p++)
        n += *p == ':';
    if (n > CN_CONF_DIRS)
        return cn_fail(err, CN_EINVAL, "%d directories, at most %d are accepted", n, CN_CONF_DIRS);
    return CN_OK;
}

static int check_dirs(const struct cn_conf *c, struct cn_err *err)
{
    return check_list(c->dirs, err);
}

static int check_embeddings(const struct cn_conf *c, struct cn_err *err)
{
    return check_list(c->embeddings, err);
}

static int check_adapters(const struct cn_conf *c, struct cn_err *err)
{
    return check_list(c->adapters, err);
}

static int check_keys(const struct cn_conf *c, struct cn_err *err)
{
    struct cn_keyring ring;
    int rc = cn_keyring_open(&ring, c->keys_file, cn_conf_state_dir(c), err);

    if (rc == CN_OK)
        cn_keyring_close(&ring);
    return rc;
}

/* Without keys nobody else must be listened to. A name of the address counts when it was resolved,
 * at the start. */
static int check_locality(const struct cn_conf *c, struct cn_err *err)
{
    struct cn_keyring ring;
    bool has_keys;
    int rc = cn_keyring_open(&ring, c->keys_file, cn_conf_state_dir(c), err);

    if (rc < 0)
        return rc;
    has_keys = ring.on;
    cn_keyring_close(&ring);
    if (has_keys || c->allow_anonymous || cn_listen_locality(c->listen) != 0)
        return CN_OK;
    return cn_fail(err, CN_EINVAL,
                   "\"%s\" listens beyond this machine and there are no keys: add some "
                   "(auth.keys_file), or set auth.allow_anonymous = true",
                   c->listen);
}

static int check_webhook_rules(const char *allow, const char *networks, struct cn_err *err)
{
    struct cn_webhook_rules *rules;
    int rc = cn_webhook_rules_new(allow, networks, &rules, err);

    if (rc == CN_OK)
        cn_webhook_rules_free(rules);
    return rc;
}

static int check_webhook_allow(const struct cn_conf *c, struct cn_err *err)
{
    return check_webhook_rules(c->allow, c->networks, err);
}

static int check_webhook_networks(const struct cn_conf *c, struct cn_err *err)
{
    return check_webhook_rules("", c->networks, err);
}

static int check_webhook(const struct cn_conf *c, struct cn_err *err)
{
    struct cn_webhook_settings settings = cn_conf_webhook(c);
    struct cn_webhook_secret secret;
    struct cn_webhook_rules *rules;
    int rc = cn_webhook_settings_load(&settings, &rules, &secret, err);

    if (rc < 0)
        return rc;
    cn_webhook_secret_clear(&secret);
    cn_webhook_rules_free(rules);
    return CN_OK;
}

static int check_listen(const struct cn_conf *c, struct cn_err *err)
{
    return cn_listen_check(c->listen, err);
}

static int check_admin_listen(const struct cn_conf *c, struct cn_err *err)
{
    return c->admin_listen[0] != '\0' ? cn_listen_check(c->admin_listen, err) : CN_OK;
}

static int check_hosts(const struct cn_conf *c, struct cn_err *err)
{
    return cn_site_check_hosts(c->hosts, err);
}

static int check_proxies(const struct cn_conf *c, struct cn_err *err)
{
    return cn_peer_check_list(c->trusted_proxies, err);
}

static int check_level(const struct cn_conf *c, struct cn_err *err)
{
    if (cn_log_level_find(c->level) >= 0)
        return CN_OK;
    return cn_fail(err, CN_EINVAL, "\"%.60s\" is none of error, warning, info and debug", c->level);
}

/* What each looks at, for the message. */
static const struct {
    const char *section, *name;
    int (*fn)(const struct cn_conf *c, struct cn_err *err);
} checks[] = {
    {"http", "listen", check_listen},
    {"http", "admin_listen", check_admin_listen},
    {"limits", "max_image_mb", check_image_mb},
    {"limits", "max_body_mb", check_body_mb},
    {"worker", "devices", check_devices},
    {"worker", "dtype", check_dtype},
    {"models", "dirs", check_dirs},
    {"models", "embeddings", check_embeddings},
    {"models", "adapters", check_adapters},
    {"http", "hosts", check_hosts},
    {"http", "trusted_proxies", check_proxies},
    {"webhook", "networks", check_webhook_networks},
    {"webhook", "allow", check_webhook_allow},
    {"webhook", "secret_file", check_webhook},
    {"log", "level", check_level},
    {"auth", "keys_file", check_keys},
    {"http", "listen", check_locality},
};

int cn_conf_check(const struct cn_conf *c, struct cn_err *err)
{
    struct cn_err why = CN_ERR_INIT;

    for (size_t i = 0; i < CN_LEN(checks); i++) {
        if (checks[i].fn(c, &why) == CN_OK)
            continue;
        cn_conf_blame(c, checks[i].section, checks[i].name, &why);
        return cn_fail(err, why.code, "%s", why.msg);
    }
    return CN_OK;
}

struct cn_webhook_settings cn_conf_webhook(const struct cn_conf *c)
{
    return (struct cn_webhook_settings){.allow = c->allow,
                                        .networks = c->networks,
                                        .secret_file = c->secret_file,
                                        .timeout_s = c->attempt_timeout_s,
                                        .give_up_s = c->give_up_s};
}

static bool same(const struct cn_conf *a, const struct cn_conf *b, const struct key *k)
{
    return k->text != NULL ? strcmp(*text_of(a, k), *text_of(b, k)) == 0
                           : *number_of(a, k) == *number_of(b, k);
}

static void swap(struct cn_conf *a, struct cn_conf *b, const struct key *k)
{
    if (k->text != NULL) {
        char *t = *text_of(a, k);

        *text_of(a, k) = *text_of(b, k);
        *text_of(b, k) = t;
    } else {
        int n = *number_of(a, k);

        *number_of(a, k) = *number_of(b, k);
        *number_of(b, k) = n;
    }
}

static void swap_places(struct cn_conf *a, struct cn_conf *b, const struct key *k)
{
    char *place = a->place[k - table];

    a->place[k - table] = b->place[k - table];
    b->place[k - table] = place;
}

int cn_conf_merge(struct cn_conf *c, struct cn_conf *next, cn_conf_visit_fn fixed, void *arg)
{
    int changed = 0;

    for (size_t i = 0; i < CN_LEN(table); i++) {
        const struct key *k = &table[i];

        if (same(c, next, k))
            continue;
        if (k->when == RESTART) {
            fixed(k->section, k->name, arg);
            continue;
        }
        swap(c, next, k);
        swap_places(c, next, k);
        changed++;
    }
    return changed;
}

void cn_conf_print(const struct cn_conf *c, FILE *f)
{
    for (size_t i = 0; i < CN_LEN(table); i++) {
        const struct key *k = &table[i];

        if (k->text != NULL)
            fprintf(f, "%s.%s=%s\n", k->section, k->name, *text_of(c, k));
        else if (k->is_switch)
            fprintf(f, "%s.%s=%s\n", k->section, k->name, *number_of(c, k) ? "true" : "false");
        else
            fprintf(f, "%s.%s=%d\n", k->section, k->name, *number_of(c, k));
    }
}

void cn_conf_each(cn_conf_visit_fn visit, void *arg)
{
    for (size_t i = 0; i < CN_LEN(table); i++)
        visit(table[i].section, table[i].name, arg);
}
