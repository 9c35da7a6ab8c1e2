/* Files: whole reads with a cap, and parts of large files that must not change between two reads.
 * Nothing is mapped: whoever truncates a mapped file kills its reader with SIGBUS. Any thread. */
#ifndef CN_BASE_FILE_H
#define CN_BASE_FILE_H

#include "base/base.h"
#include "base/buf.h"

#include <sys/types.h>

/* Appends the whole file to out (whose maximum is the limit). Refuses what is no regular file. */
int cn_file_read(const char *path, struct cn_buf *out, struct cn_err *err);

/* Writes path.tmp, then renames: readers see the old file or the new one. */
int cn_file_write(const char *path, const void *data, size_t len, struct cn_err *err);

/* All of it, over interruptions and short writes. how: write(2), or what stands for it in a test.
 * 0, or -1 with errno. */
typedef ssize_t (*cn_write_fn)(int fd, const void *data, size_t len);
int cn_write_all(cn_write_fn how, int fd, const void *data, size_t len);

/* Makes the folder and those above it that are missing (0755); mode is the last one's. Nothing
 * happens to what is there. 0, or -1 with errno. */
int cn_make_dirs(const char *path, unsigned mode);

bool cn_file_exists(const char *path);
bool cn_dir_exists(const char *path);

/* Which file it was, and whether somebody wrote to it since: a rename over it changes device or
 * inode, a write in place the size or the time. */
struct cn_file_id {
    uint64_t dev, ino;
    int64_t size; /* bytes */
    int64_t mtime_ns;
    int kept; /* a descriptor of it + 1; 0: none, and it is opened by its path */
};

int cn_file_identify(const char *path, struct cn_file_id *ret, struct cn_err *err);
bool cn_file_is_same(const struct cn_file_id *a, const struct cn_file_id *b);

/* From now on a descriptor is kept, so that the file can be read also when it was removed, or
 * another one has its place. At most CN_FILES_KEPT in the process: what is over, or is another file
 * already, goes on by its path. Given back by cn_file_let_go(). */
enum { CN_FILES_KEPT = 384 };
void cn_file_keep(const char *path, struct cn_file_id *id);
void cn_file_let_go(struct cn_file_id *id);

/* Reads bytes [offset, offset + len) of the file that was identified: opens it, unless it is kept,
 * and holds its identity against *id before and after. CN_EIO when it is another one by now, has
 * changed or cannot be read, and then the contents of ret are undefined; CN_ENOTFOUND. */
int cn_file_read_part(const char *path, const struct cn_file_id *id, uint64_t offset, void *ret,
                      size_t len, struct cn_err *err);

#endif
