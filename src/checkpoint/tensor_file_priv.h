/* What the readers of the forms of tensor files share with tensor_file.c: bytes in, a table of
 * tensors out. A reader gets a source and a zeroed table; the table is released by whoever made it,
 * also after a failure. */
#ifndef CN_CHECKPOINT_TENSOR_FILE_PRIV_H
#define CN_CHECKPOINT_TENSOR_FILE_PRIV_H

#include "base/base.h"
#include "base/file.h"
#include "base/mem.h"
#include "checkpoint/tensor_file.h"

/* Element types by the names of safetensors. */
struct cn_tensor_type {
    const char *name;
    unsigned bits;       /* of one element; 4 and 6 exist */
    enum cn_dtype dtype; /* as it is read; CN_DTYPE_COUNT: listed only */
    /* From n elements as they are stored to dtype; NULL: the same. The stored ones may be the last
     * n bytes of ret. */
    void (*widen)(void *ret, const unsigned char *stored, size_t n);
};

const struct cn_tensor_type *cn_tensor_type_find(const char *name);

/* One tensor. */
struct cn_tensor_entry {
    const char *name;
    const struct cn_tensor_type *type;
    uint64_t begin, end; /* its bytes, from the beginning of the file */
    int rank;
    int64_t dim[CN_MAX_RANK];
    const int64_t *stride; /* rank of them, in elements; NULL: row-major and dense */
};

struct cn_tensor_pair {
    const char *key, *value;
};

/* What a file says of itself. Strings live in text (one allocation) or in the arena. */
struct cn_tensor_table {
    char *text;
    struct cn_arena arena;
    struct cn_tensor_entry *entry; /* count of them */
    size_t count, cap;
    struct cn_tensor_pair *pair; /* metadata */
    size_t pairs, pair_cap;
};

/* CN_ETOOBIG when there are CN_MAX_TENSORS of them already. */
int cn_tensor_table_add(struct cn_tensor_table *t, const char *path,
                        const struct cn_tensor_entry *e, struct cn_err *err);
void cn_tensor_table_add_pair(struct cn_tensor_table *t, const char *key, const char *value);
void cn_tensor_table_release(struct cn_tensor_table *t);

/* Sorts by name; CN_EFORMAT when two tensors have one. */
int cn_tensor_table_sort(struct cn_tensor_table *t, const char *path, struct cn_err *err);

/* "path: tensor NAME: what", CN_EFORMAT. */
int cn_tensor_bad(const char *path, const struct cn_tensor_entry *e, struct cn_err *err,
                  const char *what);

/* The bytes of a file, or bytes in memory that stand for one. */
struct cn_tensor_source {
    const char *path;
    const unsigned char *data; /* size bytes of the caller's, or NULL: the file */
    uint64_t size;
    struct cn_file_id id;
};

/* The len bytes at offset, which the caller has held against the size. */
int cn_source_read(const struct cn_tensor_source *s, uint64_t offset, void *ret, size_t len,
                   struct cn_err *err);

/* The same in memory of its own, which the caller frees. */
int cn_source_load(const struct cn_tensor_source *s, uint64_t offset, size_t len,
                   unsigned char **ret, struct cn_err *err);

uint64_t cn_little(const unsigned char *p, int bytes); /* an unsigned number of 1 to 8 bytes */

/* ---- the forms ---- */

int cn_safetensors_read(const struct cn_tensor_source *s, struct cn_tensor_table *ret,
                        struct cn_err *err);

/* The JSON of a safetensors header; offsets are relative to the data area, the order is that of the
 * file. */
int cn_safetensors_header(struct cn_tensor_table *ret, const char *path, const unsigned char *json,
                          size_t len, struct cn_err *err);

/* Files of torch.save(): an archive of a pickle and storages, or (before PyTorch 1.6) pickles and
 * storages one after the other. */
int cn_torch_zip_read(const struct cn_tensor_source *s, struct cn_tensor_table *ret,
                      struct cn_err *err);
int cn_torch_legacy_read(const struct cn_tensor_source *s, struct cn_tensor_table *ret,
                         struct cn_err *err);

#endif
