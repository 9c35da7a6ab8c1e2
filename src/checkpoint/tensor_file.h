/* Files of named tensors, read strictly: safetensors. checkpoint/safetensors.h writes them.
 *
 * The reader follows the published rules (huggingface/safetensors, README and tensor.rs) to the
 * letter and adds caps of its own; a file that breaks one is refused as a whole with an error that
 * names the file and the tensor. Opening reads the header only. A view says where a tensor is, and
 * lives until cn_tensor_file_close(); cn_view_read() reads it, little-endian and row-major. A file
 * that was replaced or written to since it was opened is an error then, never a mixture of two.
 *
 * Reading: any thread; an open reader never changes.
 *
 *     struct cn_tensor_file *st;
 *     struct cn_tensor_view v;
 *     if (cn_tensor_file_open("model.safetensors", &st, err) < 0) ...
 *     if (cn_tensor_file_find(st, "conv_in.weight", &v, err) < 0) ...   -- CN_ENOTFOUND
 *     if (cn_view_read(&v, p, err) < 0) ...                             -- v.bytes bytes
 *     cn_tensor_file_close(st);
 */
#ifndef CN_CHECKPOINT_TENSOR_FILE_H
#define CN_CHECKPOINT_TENSOR_FILE_H

#include "base/base.h"
#include "base/dtype.h"

enum {
    CN_MAX_RANK = 8,
    /* The format allows 100 MB. A header of SDXL is 200 KB; 16 MiB hold some 300,000 tensors, and
     * reading such a one takes 50 MiB and half a second at most. */
    CN_MAX_HEADER = 16 * 1024 * 1024,
    CN_MAX_TENSORS = 1000000
};

/* One tensor of a file. Everything it points to belongs to the reader. */
struct cn_tensor_view {
    const char *name;         /* as the component's own (diffusers) names have it */
    enum cn_dtype dtype;      /* CN_DTYPE_COUNT: a type that we list but cannot compute with */
    int rank;                 /* 0: a scalar */
    int64_t dim[CN_MAX_RANK]; /* outermost first */
    const struct cn_tensor_file *in; /* who reads it; NULL: data has the bytes */
    uint64_t offset;                 /* from the beginning of in's data area */
    const void *data;                /* of the writer's, and of readers over memory; else NULL */
    size_t bytes;
    const char *file; /* path of the file, for messages */
    const char *type; /* the type as the file spells it: "F16", "F8_E4M3" */
};

struct cn_tensor_file;

int cn_tensor_file_open(const char *path, struct cn_tensor_file **ret, struct cn_err *err);
void cn_tensor_file_close(struct cn_tensor_file *st); /* NULL is fine */

/* The same over bytes in memory that outlive the reader; path is for messages only (fuzzing). */
int cn_tensor_file_parse(const char *path, const void *data, size_t len,
                         struct cn_tensor_file **ret, struct cn_err *err);

const char *cn_tensor_file_path(const struct cn_tensor_file *st);
size_t cn_tensor_file_count(const struct cn_tensor_file *st);

/* Tensor i < count, in the order of the names (bytewise). Also types that cannot be used. */
void cn_tensor_file_at(const struct cn_tensor_file *st, size_t i, struct cn_tensor_view *ret);

bool cn_tensor_file_has(const struct cn_tensor_file *st, const char *name);

/* CN_ENOTFOUND, or CN_EFORMAT for a type that we do not compute with. */
int cn_tensor_file_find(const struct cn_tensor_file *st, const char *name,
                        struct cn_tensor_view *ret, struct cn_err *err);

/* A value of __metadata__, or NULL; and all of them in the order of the file. */
const char *cn_tensor_file_metadata(const struct cn_tensor_file *st, const char *key);
size_t cn_tensor_file_metadata_count(const struct cn_tensor_file *st);
void cn_tensor_file_metadata_at(const struct cn_tensor_file *st, size_t i, const char **ret_key,
                                const char **ret_value);

/* Reads the bytes of a view, v->bytes of them, into ret. CN_EIO, naming file and tensor, when the
 * file is not what was opened any more. */
int cn_view_read(const struct cn_tensor_view *v, void *ret, struct cn_err *err);

/* Narrows v to bytes of itself from offset on; shape and type are the caller's to change. */
void cn_view_slice(struct cn_tensor_view *v, size_t offset, size_t bytes);

/* Product of the dimensions; of a view that a reader gave. */
size_t cn_view_elements(const struct cn_tensor_view *v);

/* "[320, 4, 3, 3]" for messages; cut to size. */
void cn_view_shape(const struct cn_tensor_view *v, char *text, size_t size);

#endif
