/* The daemon's configuration: a file, further ones in conf.d beside it, overridden from the command
 * line.
 *
 * Loop thread only. The keys, their limits and defaults, and whether a reload may change them are
 * one table in conf.c; etc/controlnetd.conf explains each.
 *
 *     cn_conf_init(&c);
 *     if (cn_conf_read(&c, path, &err) < 0 || cn_conf_read_parts(&c, path, &err) < 0 ||
 *         cn_conf_set(&c, "http.listen=:0", &err) < 0 ||
 *         cn_conf_check(&c, &err) < 0) ...
 *     cn_conf_release(&c);
 */
#ifndef CN_CONF_H
#define CN_CONF_H

#include "base/base.h"
#include "webhook/settings.h"

#include <stdio.h>

enum {
    CN_CONF_DEVICES = 16,
    CN_CONF_COUNT = 16,
    CN_CONF_WORKERS = 64,
    CN_CONF_DIRS = 64 /* of models, embeddings, adapters; each becomes an option of the workers */
};

struct cn_conf {
    /* [http] */
    char *listen, *admin_listen, *cors_origins, *hosts, *trusted_proxies;
    int max_connections, max_streams;
    int header_timeout_s, body_timeout_s, idle_timeout_s, stall_timeout_s;
    /* [auth] */
    char *keys_file;     /* "": the one in the state folder, if there is one */
    int allow_anonymous; /* 1: without keys, also beyond loopback */
    /* [limits] */
    int max_body_mb, max_image_mb, max_inflight_mb, max_outflight_mb;
    int max_steps, max_images, max_side, max_megapixels, max_controls, max_prompt_bytes;
    /* [queue] */
    int capacity, tenant_max_queued, tenant_max_running;
    int timeout_s, async_timeout_s, priority_step_s, max_attempts, drain_s;
    /* [store] */
    char *dir; /* "": nothing is kept */
    int result_ttl_s, tombstone_ttl_s, key_ttl_s, max_mb, min_free_percent;
    int inputs_mb, tenant_inputs_mb, tenant_inputs, inputs_ttl_s;
    /* [worker] */
    char *program, *backend, *devices; /* devices: separated by blanks; "": one, of backend */
    char *dtype;                       /* auto, f32, f16 or bf16 */
    int count, threads, start_timeout_s, hang_timeout_s;
    int lanes, max_batch, memory_mb, vae_memory_mb; /* 0: the worker chooses */
    /* [models] */
    char *dirs;          /* separated by colons */
    char *default_model; /* "": the first base model */
    int settle_s;        /* without changes, then changed directories are looked at; 0: never */
    char *embeddings;    /* directories, separated by colons */
    char *adapters;      /* the same */
    char *taesd;         /* file, or "" */
    /* [webhook] */
    char *allow, *networks, *secret_file;
    int attempt_timeout_s, give_up_s;
    /* [log] */
    char *level;
    int max_per_s, requests_per_s; /* lines of each event; 0: no limit */
    int prompts;                   /* 1: prompts are logged */

    char *default_dir; /* what store.dir is for who says nothing */
    char **place; /* of each key of the table: "FILE:LINE" or an option; NULL: it is the default */
};

/* true: nobody said where the store is (base/places.h). It is made when it is not there, and where
 * it cannot be used the daemon does without; one that somebody chose must work. */
bool cn_conf_default_dir(const struct cn_conf *c);

/* Borrowed from c. */
struct cn_webhook_settings cn_conf_webhook(const struct cn_conf *c);

/* Where the keys and the secret of tickets are: the store's folder, or, when nothing is kept, where
 * it would be by default. */
const char *cn_conf_state_dir(const struct cn_conf *c);

typedef void (*cn_conf_visit_fn)(const char *section, const char *name, void *arg);

void cn_conf_init(struct cn_conf *c);
void cn_conf_release(struct cn_conf *c);

/* One file, whose form conf_file.h describes. Messages begin with "file:line: ". A key that stands
 * twice in a file is an error; one that was set before by another file is replaced. */
int cn_conf_read(struct cn_conf *c, const char *path, struct cn_err *err);

/* All NAME.conf in the directory conf.d beside path, in the order of their names (bytes). None is
 * no error. */
int cn_conf_read_parts(struct cn_conf *c, const char *path, struct cn_err *err);

/* "section.key=value". */
int cn_conf_set(struct cn_conf *c, const char *assignment, struct cn_err *err);

/* One key, as if it had been read; place: where it was said, for messages. */
int cn_conf_put(struct cn_conf *c, const char *section, const char *name, const char *value,
                const char *place, struct cn_err *err);

/* The value of this key is at fault: puts its name, and where it was said, in front of the message.
 * Returns err->code. */
int cn_conf_blame(const struct cn_conf *c, const char *section, const char *name,
                  struct cn_err *err);

/* What a single key cannot tell: addresses, files, numbers that contradict each other. */
int cn_conf_check(const struct cn_conf *c, struct cn_err *err);

/* All keys as "section.key=value", sorted by section. */
void cn_conf_print(const struct cn_conf *c, FILE *f);

/* Calls visit for every key: for the test that etc/controlnetd.conf names them all. */
void cn_conf_each(cn_conf_visit_fn visit, void *arg);

/* For a reload: exchanges the values that may change while the daemon runs, and calls fixed for
 * every key that differs and needs a restart. Returns how many were exchanged. *next then owns the
 * old values: release it when nobody looks at them any more. */
int cn_conf_merge(struct cn_conf *c, struct cn_conf *next, cn_conf_visit_fn fixed, void *arg);

#endif
