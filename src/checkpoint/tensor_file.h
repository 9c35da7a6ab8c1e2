/* Files of named tensors: safetensors, and what torch.save() writes (.ckpt, .pt, .pth, .bin).
 *
 * A safetensors file is held against the published rules (huggingface/safetensors, README and
 * tensor.rs) to the letter, and against caps of our own. A pickle is a program that builds objects;
 * here nothing in it is run. The reader knows the few operations and names that tensors, dicts and
 * the notes beside them need, and refuses a file with any other by its name ("os.system"). Both
 * archives and the form before PyTorch 1.6 are read; a tensor's name is its keys, joined by dots,
 * without "state_dict" at the beginning; numbers and texts among them are metadata.
 *
 * A file that breaks a rule is refused as a whole, with an error that names the file and the
 * tensor. The form is told by the first bytes and not by the ending. Opening reads no weights. A
 * view says where a tensor is, and lives until cn_tensor_file_close(); cn_view_read() reads it,
 * little-endian and row-major. A file that was written to since it was opened is an
 * error then, never a mixture of two.
 *
 * Any thread; an open file never changes.
 *
 *     struct cn_tensor_file *f;
 *     struct cn_tensor_view v;
 *     if (cn_tensor_file_open("model.safetensors", &f, err) < 0) ...
 *     if (cn_tensor_file_find(f, "conv_in.weight", &v, err) < 0) ...   -- CN_ENOTFOUND
 *     if (cn_view_read(&v, p, err) < 0) ...                            -- v.bytes bytes
 *     cn_tensor_file_close(f);
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

struct cn_tensor_type;

/* One tensor of a file. Everything it points to belongs to the reader. */
struct cn_tensor_view {
    const char *name;         /* as the component's own (diffusers) names have it */
    enum cn_dtype dtype;      /* CN_DTYPE_COUNT: a type that we list but cannot compute with */
    int rank;                 /* 0: a scalar */
    int64_t dim[CN_MAX_RANK]; /* outermost first */
    const int64_t *stride; /* of the elements in the file; NULL: row-major, one after the other */
    const struct cn_tensor_file *in;   /* who reads it; NULL: data has the bytes */
    uint64_t offset;                   /* of the first element, in the file of in */
    const void *data;                  /* of the writer's, and of readers over memory; else NULL */
    size_t bytes;                      /* as it is read: elements of dtype */
    const struct cn_tensor_type *form; /* how it is stored, or NULL: as it is read */
    float scale; /* of all elements, whose form is one of 8 bits and dtype F32; 0: none */
    const char *file;                  /* path of the file, for messages */
    const char *type;                  /* the type as the file spells it: "F16", "F8_E4M3" */
};

struct cn_tensor_file;

int cn_tensor_file_open(const char *path, struct cn_tensor_file **ret, struct cn_err *err);
void cn_tensor_file_close(struct cn_tensor_file *f);

/* Is what lies at its path still what was opened? */
bool cn_tensor_file_is_current(const struct cn_tensor_file *f); /* NULL is fine */

/* The same over bytes in memory that outlive the reader; path is for messages only (fuzzing). */
int cn_tensor_file_parse(const char *path, const void *data, size_t len,
                         struct cn_tensor_file **ret, struct cn_err *err);

const char *cn_tensor_file_path(const struct cn_tensor_file *f);
size_t cn_tensor_file_count(const struct cn_tensor_file *f);

/* Tensor i < count, in the order of the names (bytewise). Also types that cannot be used. */
void cn_tensor_file_at(const struct cn_tensor_file *f, size_t i, struct cn_tensor_view *ret);

bool cn_tensor_file_has(const struct cn_tensor_file *f, const char *name);

/* Also types that we do not compute with; false when there is no such tensor. */
bool cn_tensor_file_view(const struct cn_tensor_file *f, const char *name,
                         struct cn_tensor_view *ret);

/* CN_ENOTFOUND, or CN_EFORMAT for a type that we do not compute with. */
int cn_tensor_file_find(const struct cn_tensor_file *f, const char *name,
                        struct cn_tensor_view *ret, struct cn_err *err);

/* A text that the file has beside its tensors (safetensors: __metadata__), or NULL; and all of them
 * in the order of the file. */
const char *cn_tensor_file_metadata(const struct cn_tensor_file *f, const char *key);
size_t cn_tensor_file_metadata_count(const struct cn_tensor_file *f);
void cn_tensor_file_metadata_at(const struct cn_tensor_file *f, size_t i, const char **ret_key,
                                const char **ret_value);

/* Reads the bytes of a view, v->bytes of them, into ret. Floats of 8 bits become F16, exactly.
 * CN_EIO, naming file and tensor, when the file is not what was opened any more. */
int cn_view_read(const struct cn_tensor_view *v, void *ret, struct cn_err *err);

/* Makes v one whose elements are multiplied when they are read. CN_EFORMAT, naming the tensor, when
 * it has no form that scales are used with (floats of 8 bits). */
int cn_view_scale(struct cn_tensor_view *v, float scale, struct cn_err *err);

/* Narrows v to n of its rows (of the first dimension) from the first one on. */
void cn_view_rows(struct cn_tensor_view *v, int64_t first, int64_t n);

/* Exchanges rows and columns of a view of rank 2; stride lives as long as v. */
void cn_view_transpose(struct cn_tensor_view *v, int64_t stride[2]);

/* Bytes of it in the file: fewer than are read where a narrow type was stored. */
size_t cn_view_stored(const struct cn_tensor_view *v);

/* Product of the dimensions; of a view that a reader gave. */
size_t cn_view_elements(const struct cn_tensor_view *v);

/* "[320, 4, 3, 3]" for messages; cut to size. */
void cn_view_shape(const struct cn_tensor_view *v, char *text, size_t size);

#endif
