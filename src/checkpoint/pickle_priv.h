/* The pickles of PyTorch: what they build, without running them.
 *
 * A pickle is a program for a machine with a stack and a memo. This machine (pickle.c) knows the
 * operations that plain data needs; names of classes and functions mean something to it only where
 * pickle_names.c lists them, and pickle_call.c says what calling one of them would have made. No
 * code is found, loaded or run. Everything is counted: values, strings, tensors.
 *
 * One thread; lives as long as a file is being opened.
 */
#ifndef CN_CHECKPOINT_PICKLE_PRIV_H
#define CN_CHECKPOINT_PICKLE_PRIV_H

#include "base/base.h"
#include "base/mem.h"
#include "checkpoint/tensor_file_priv.h"

/* A checkpoint with its optimizer's state has 100,000 values. Each takes 56 bytes. */
enum { CN_PICKLE_VALUES = 2000000 };

/* What a name means. */
enum cn_pickle_role {
    CN_ROLE_STORAGE,         /* a class of storages; type says of what */
    CN_ROLE_UNTYPED_STORAGE, /* bytes */
    CN_ROLE_DTYPE,           /* torch.float16 */
    CN_ROLE_TENSOR,          /* _rebuild_tensor(storage, offset, size, stride), and _v2 */
    CN_ROLE_TENSOR_V3,       /* ... with the type behind */
    CN_ROLE_PARAMETER,       /* _rebuild_parameter(tensor, ...) */
    CN_ROLE_SUBCLASS,        /* _rebuild_from_type_v2(function, class, arguments, state) */
    CN_ROLE_DICT,            /* collections.OrderedDict */
    CN_ROLE_SIZE,            /* torch.Size(tuple) */
    CN_ROLE_NOTE /* of what lies beside the tensors: kept as an object, not looked into */
};

struct cn_pickle_name {
    const char *name; /* "torch.FloatStorage"; ending in ".": all that begin so */
    enum cn_pickle_role role;
    const char *type; /* of elements, as safetensors spells it; or NULL */
};

/* NULL: not one of ours. */
const struct cn_pickle_name *cn_pickle_name_find(const char *name);

enum cn_pickle_kind {
    CN_PICKLE_NONE,
    CN_PICKLE_BOOL,
    CN_PICKLE_INT,
    CN_PICKLE_REAL,
    CN_PICKLE_TEXT, /* also bytes, and numbers of more than 64 bits */
    CN_PICKLE_TUPLE,
    CN_PICKLE_LIST,
    CN_PICKLE_DICT,
    CN_PICKLE_NAME,
    CN_PICKLE_STORAGE,
    CN_PICKLE_TENSOR,
    CN_PICKLE_OBJECT
};

/* Values are known by their numbers: a dict may hold itself. */
struct cn_pickle_items {
    uint32_t *item;
    size_t n, cap;
};

struct cn_pickle_storage {
    const char *key;                   /* names the bytes */
    const struct cn_tensor_type *type; /* NULL: bytes */
    int64_t elements;                  /* of the bytes under key */
    int64_t first, length;             /* the part of them that this is */
};

struct cn_pickle_tensor {
    uint32_t storage; /* a value */
    const struct cn_tensor_type *type;
    int64_t offset; /* in elements */
    int rank;
    const int64_t *dim, *stride; /* rank of each */
};

struct cn_pickle_value {
    enum cn_pickle_kind kind;
    union {
        int64_t number; /* BOOL, INT */
        double real;
        struct {
            const char *text; /* a NUL behind it is not counted */
            size_t len;
        };
        struct cn_pickle_items items; /* TUPLE, LIST; DICT: keys and values in turn */
        const struct cn_pickle_name *name;
        struct cn_pickle_storage storage;
        struct cn_pickle_tensor tensor;
        struct {
            struct cn_pickle_items entries; /* what was set in it, as a dict's */
            uint32_t state;                 /* what it was given; itself: nothing */
        };
    };
};

struct cn_pickle {
    const char *path;
    const unsigned char *begin, *at, *end;
    struct cn_pickle_value *value;
    size_t n, cap;
    uint32_t *stack; /* values */
    size_t depth, stack_cap;
    size_t *mark; /* depths */
    size_t marks, marks_cap;
    uint32_t *memo; /* values, or NO_VALUE */
    size_t memos, memos_cap;
    size_t copied; /* pairs of dicts that were made of lists: a list may be used many times */
    struct cn_arena arena;
    struct cn_err *err;
};

/* The pickle of n bytes at bytes, which outlive p. */
void cn_pickle_init(struct cn_pickle *p, const char *path, const unsigned char *bytes, size_t n,
                    struct cn_err *err);
void cn_pickle_release(struct cn_pickle *p);

/* Reads one pickle, up to its end at p->at, and says what it built. */
int cn_pickle_run(struct cn_pickle *p, uint32_t *ret);

/* ---- for the files of the machine ---- */

/* CN_EFORMAT with the path and the position. */
int cn_pickle_bad(struct cn_pickle *p, const char *fmt, ...) CN_PRINTF(2, 3);

/* A value more, of this kind and otherwise zero; CN_ETOOBIG. */
int cn_pickle_add(struct cn_pickle *p, enum cn_pickle_kind kind, uint32_t *ret);

void cn_pickle_append(struct cn_pickle_items *l, uint32_t v);

/* What calling name with the tuple args makes; and what storage the tuple id stands for. */
int cn_pickle_call(struct cn_pickle *p, const struct cn_pickle_name *name, uint32_t args,
                   uint32_t *ret);
int cn_pickle_storage(struct cn_pickle *p, uint32_t id, uint32_t *ret);

/* ---- what files of torch.save() have in common ---- */

/* Where a storage's bytes are: its position in the file, and how many there are. */
typedef int (*cn_storage_fn)(void *ctx, const struct cn_pickle_storage *s, uint64_t *ret_at,
                             uint64_t *ret_bytes, struct cn_err *err);

/* Puts the tensors and texts below root into the table. */
int cn_torch_table(const struct cn_pickle *p, uint32_t root, uint64_t size, cn_storage_fn find,
                   void *ctx, struct cn_tensor_table *ret, struct cn_err *err);

#endif
