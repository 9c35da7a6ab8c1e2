/* Files: whole reads with a cap, and read-only maps. Any thread. */
#ifndef CN_BASE_FILE_H
#define CN_BASE_FILE_H

#include "base/base.h"
#include "base/buf.h"

/* Appends the whole file to out (whose maximum is the limit). Refuses what is no regular file. */
int cn_file_read(const char *path, struct cn_buf *out, struct cn_err *err);

/* Writes path.tmp, then renames: readers see the old file or the new one. */
int cn_file_write(const char *path, const void *data, size_t len, struct cn_err *err);

bool cn_file_exists(const char *path);
bool cn_dir_exists(const char *path);

/* A regular file mapped read-only and private; data is NULL when the file is empty. */
struct cn_map {
    const unsigned char *data;
    size_t len;
};

int cn_map_open(struct cn_map *m, const char *path, struct cn_err *err);
void cn_map_close(struct cn_map *m);

#endif
