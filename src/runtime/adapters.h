/* The adapters that were found: LoRA and its kin (checkpoint/adapter.h), in directories of their
 * own, by name.
 *
 * An adapter's name is that of its file without the ending, or of the directory that PEFT saved it
 * in; the name that its trainer gave it ("ss_output_name") finds it as well, where no other has it.
 * Found adapters are opened once, to say what they are, and closed again: there may be thousands.
 * Owning worker.
 *
 *     struct cn_adapters a = {0};
 *     cn_adapters_scan(&a, "lora", &err);
 *     const struct cn_adapter_entry *x = cn_adapters_find(&a, "detail");
 *     cn_adapters_refresh(&a, NULL, NULL);
 *     cn_adapters_release(&a);
 */
#ifndef CN_RUNTIME_ADAPTERS_H
#define CN_RUNTIME_ADAPTERS_H

#include "base/base.h"
#include "checkpoint/classify.h"

enum {
    CN_MAX_ADAPTERS_FOUND = 16384,
    CN_ADAPTER_TRIGGERS = 12, /* words that are told of one */
    CN_ADAPTER_TEXT = 256     /* bytes of them */
};

struct cn_adapter_entry {
    char *name, *alias; /* alias: what its trainer called it, or NULL */
    char *path;         /* of its file */
    char *broken;       /* why it cannot be used, or NULL */
    uint64_t version;   /* of its file: another number when it was written to */
    enum cn_family family;
    char kinds[64];              /* "LoRA, DoRA" */
    int64_t rank_min, rank_max;  /* 0: forms without a rank */
    size_t layers;               /* that it changes */
    bool text, unet;             /* of which networks */
    uint64_t bytes;              /* on disk */
    char base[64];               /* what the file says it was made with; "" */
    char triggers[CN_ADAPTER_TEXT];
};

struct cn_adapters {
    struct cn_adapter_entry *item; /* in the order of the directories and names */
    int n;
    size_t cap;
    char **source; /* directories, and single files */
    size_t n_sources, sources_cap;
};

/* Adds every adapter in a directory and those below it; what cannot be used is listed as broken.
 * CN_ENOTFOUND when there is no such directory. */
int cn_adapters_scan(struct cn_adapters *a, const char *dir, struct cn_err *err);
/* Adds one by its path; *ret is its name, which lives as long as the entry. */
int cn_adapters_add(struct cn_adapters *a, const char *path, const char **ret, struct cn_err *err);
/* Looks again; says whether anything is new, changed or gone. Entries move. A directory that is
 * gone has none any more; of one that cannot be read, or that has too many, what was found before
 * stays, and unread (may be NULL) is told why. */
bool cn_adapters_refresh(struct cn_adapters *a,
                         void (*unread)(void *ctx, const char *dir, const char *why), void *ctx);
void cn_adapters_release(struct cn_adapters *a);

/* By name, else by alias, if it is one adapter's only; NULL: there is none. */
const struct cn_adapter_entry *cn_adapters_find(const struct cn_adapters *a, const char *name);

#endif
