/* Rows as data: what a network is told about each row of a batch, beside the latent.
 *
 * Whoever prepares a job (conditioning.c) makes a list of named inputs for each of its networks;
 * whoever makes batches (batcher.c) copies them into the rows of a batch without knowing what they
 * are. Two jobs may share a batch when their lists are of the same names, kinds and shapes. So a
 * new input of a network is one more entry of the list, and nothing else.
 *
 * Three kinds:
 *   FIXED    constant for a while: a device buffer, of which an entry is copied into the row when
 *            the row comes into the batch, and when it shows another entry (keys and values of the
 *            prompt's texts; hints, of which there is one);
 *   BY_CALL  another value in every call of the network: host values, written before each call
 *            (projected times);
 *   SHARED   one buffer for all rows of all jobs, bound as it is; the row only says which entry is
 *            its own, in a second input called NAME.index (adapters that are held once).
 *
 * Owner's thread. It knows no jobs: an owner is a number.
 */
#ifndef CN_ENGINE_ROW_INPUTS_H
#define CN_ENGINE_ROW_INPUTS_H

#include "backend/backend.h"
#include "base/spec.h"

enum cn_row_kind { CN_ROW_FIXED, CN_ROW_BY_CALL, CN_ROW_SHARED };

/* Rows of one image: the negative prompt, and each part of the prompt. */
enum { CN_MAX_IMAGE_ROWS = 1 + CN_MAX_PROMPT_PARTS, CN_ROW_NAME = 32 };

struct cn_row_input {
    char name[CN_ROW_NAME]; /* of the graph's input */
    enum cn_row_kind kind;
    struct cn_shape shape;            /* of one row, dim[0] is 1; SHARED: of the whole buffer */
    int flags;                        /* of its buffers: CN_IO_NATIVE or 0 */
    int entries;                      /* 1: all have the same; else FIXED: how many there are to
                                         choose from, BY_CALL: one for each row */
    struct cn_buffer *buffer;         /* FIXED: [entries, ...]; SHARED: the one that is shared */
    const float *values;              /* BY_CALL: [entries, calls, elements of a row] */
    int32_t index[CN_MAX_IMAGE_ROWS]; /* SHARED: entry of each row */
};

/* Of one network. */
struct cn_row_inputs {
    struct cn_row_input *input;
    size_t n, cap;
    int calls; /* of the network, in all */
};

/* A new input with 1 entry, to be filled in; valid until the next one is added. */
struct cn_row_input *cn_row_inputs_add(struct cn_row_inputs *r, enum cn_row_kind kind,
                                       const char *name, struct cn_shape shape, int flags);
/* Buffers and values stay their owners'. */
void cn_row_inputs_clear(struct cn_row_inputs *r);
/* May rows with these inputs stand in one batch? */
bool cn_row_inputs_match(const struct cn_row_inputs *a, const struct cn_row_inputs *b);
/* What cn_row_inputs_match() compares, and nothing that belongs to an owner. */
void cn_row_inputs_copy_kind(struct cn_row_inputs *to, const struct cn_row_inputs *from);

/* One row that takes part in a step. */
struct cn_batch_row {
    uint64_t owner; /* not 0; the same owner's row and entry are the same inputs for ever */
    int row;        /* which of the owner's */
    int entry;      /* of its FIXED inputs that have several */
    int call;
    const struct cn_row_inputs *inputs;
    int at; /* its row of the batch: cn_row_batch_assign() */
};

enum { CN_MAX_ROWS = 16 }; /* of a batch */

/* Device buffers for the inputs of so many rows. */
struct cn_row_batch {
    struct cn_backend *backend;
    int rows;
    struct cn_row_slot {
        char name[CN_ROW_NAME];
        enum cn_row_kind kind;
        size_t width;             /* BY_CALL: elements of a row */
        struct cn_buffer *buffer; /* [rows, ...]; SHARED: not the batch's own */
        struct cn_buffer *index;  /* SHARED: [rows] I32 */
        int32_t entry[CN_MAX_ROWS];
    } * slot;
    size_t n;
    struct cn_row_source { /* what a row's constant part was copied from */
        uint64_t owner;    /* 0: nothing yet */
        int row, entry;
    } source[CN_MAX_ROWS];
};

/* On failure there is nothing to release. */
int cn_row_batch_init(struct cn_row_batch *b, struct cn_backend *backend,
                      const struct cn_row_inputs *kind, int rows, struct cn_err *err);
void cn_row_batch_release(struct cn_row_batch *b);
/* Gives each of the n rows its place: those of the last step keep theirs, so that nothing is copied
 * for them. n is at most the batch's rows. */
void cn_row_batch_assign(const struct cn_row_batch *b, struct cn_batch_row *row, int n);
/* Brings the inputs of the n rows into their places. work: cn_row_batch_work() floats. */
int cn_row_batch_fill(struct cn_row_batch *b, const struct cn_batch_row *row, int n, float *work,
                      struct cn_err *err);
size_t cn_row_batch_work(const struct cn_row_batch *b);
size_t cn_row_batch_bytes(const struct cn_row_batch *b);
/* The buffer of the graph's input of this name; NULL: there is none. *hint makes the search short
 * when names are asked for in their order; it starts at 0. */
struct cn_buffer *cn_row_batch_find(const struct cn_row_batch *b, const char *name, size_t *hint);

#endif
