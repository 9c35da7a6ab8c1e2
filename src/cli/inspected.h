/* One inspected model: gathered by inspected.c, printed by inspect_print.c. One thread. */
#ifndef CN_CLI_INSPECTED_H
#define CN_CLI_INSPECTED_H

#include "base/base.h"
#include "checkpoint/classify.h"
#include "runtime/adapters.h"
#include "runtime/inspect.h"

#include <jansson.h>
#include <stdio.h>

enum { CN_MAX_TYPES = 24 };

/* A file that could be read, whatever is in it. */
struct cn_inspected_file {
    bool present;
    struct cn_file_class class;
    size_t tensors;
    uint64_t elements, bytes;
    struct cn_inspected_type {
        const char *name; /* "F16" */
        size_t tensors;
    } type[CN_MAX_TYPES]; /* in the order of the file; ends with a name that is NULL, or all used */
};

struct cn_inspected {
    const char *path;
    struct cn_checkpoint *c; /* NULL: it could not be opened, and problem says why */
    struct cn_inspected_file file;
    struct cn_inspect r;
    struct cn_finding *finding; /* name is the struct's own */
    size_t n_findings, findings_cap;
    char **problem; /* what is wrong beyond single tensors */
    size_t n_problems, problems_cap;
    char family[64];     /* "": neither a UNet nor a ControlNet */
    char tokenizer[512]; /* "": needs none */
    int tokens;
    struct cn_adapters adapters; /* one, when it is an adapter */
    struct cn_inspected_try {    /* an adapter, held against a base model of the list */
        const char *base;        /* its path */
        bool fits;
        size_t keys, matched; /* tensors */
        char why[400];        /* the first that does not fit, or why the whole does not; "" */
    } * tried;
    size_t n_tried, tried_cap;
    const char **fits; /* paths of base models that a ControlNet fits */
    size_t n_fits, fits_cap;
};

/* Opens m->path, which the caller has set in a zeroed struct, and fills the rest: what cannot be
 * opened is a problem too. */
void cn_inspected_gather(struct cn_inspected *m, enum cn_ema_choice ema);
void cn_inspected_release(struct cn_inspected *m);

/* Fills in which base models of the list each of its ControlNets and adapters fits. */
void cn_inspected_find_fits(struct cn_inspected *list, int n);

/* Missing, misshapen or unusable tensors, or any problem. */
bool cn_inspected_bad(const struct cn_inspected *m);

/* The published model that a component's size belongs to ("SD 1.5 UNet"), or "". */
const char *cn_inspected_known(const struct cn_inspected *m, enum cn_component comp);

/* Layers to which an adapter may attach; 0 for components that have none. */
int cn_inspected_sites(const struct cn_inspected *m, enum cn_component comp);

/* all: every finding, not only the first of each component. */
void cn_inspected_print(const struct cn_inspected *m, bool all, FILE *out);
json_t *cn_inspected_json(const struct cn_inspected *m) CN_MUST_USE;

/* ---- inspect_adapter.c ---- */

/* Is it a file, or a directory of PEFT's, with an adapter (LoRA and its kin)? m->file is known. */
bool cn_inspected_is_adapter(const struct cn_inspected *m);
/* CN_EFORMAT and others: it cannot be used. */
int cn_inspected_open_adapter(struct cn_inspected *m, struct cn_err *err);
const struct cn_adapter_entry *cn_inspected_adapter(const struct cn_inspected *m); /* NULL: none */
/* Notes how many of the adapter's tensors fit this base model. */
void cn_inspected_try_base(struct cn_inspected *m, const struct cn_inspected *base);
void cn_inspected_print_adapter(const struct cn_inspected *m, FILE *out);
json_t *cn_inspected_adapter_json(const struct cn_inspected *m) CN_MUST_USE;

#endif
