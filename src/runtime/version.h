/* Whether the files of a model have changed: a number that is another one when any of them was
 * replaced, written to, added or removed. Device, inode, size and time of each are in it, and their
 * names; no contents are read.
 *
 * Any thread.
 *
 *     uint64_t before = cn_files_version("models/sd15");
 *     if (cn_files_version("models/sd15") != before) ...
 */
#ifndef CN_RUNTIME_VERSION_H
#define CN_RUNTIME_VERSION_H

#include "base/base.h"

/* path: a file, with what lies beside it and may be a part of it, or a directory. */
uint64_t cn_files_version(const char *path);

#endif
