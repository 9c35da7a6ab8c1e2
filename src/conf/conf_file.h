/* The form of a configuration file: sections, keys, values, and where each stands.
 *
 *     # a comment has a line of its own, and begins with # or ;
 *     [section]
 *     key = value
 *
 * What another reader would guess at is an error here, told with file and line: a file that is half
 * read would be a configuration that nobody wrote. Refused are lines longer than CN_CONF_LINE
 * bytes, lines that begin with a blank or end in a backslash (values are not continued), a comment
 * behind a value, control characters (a file of NUL bytes is what a power cut leaves), a section or
 * a key without a name, and anything but a regular file (or /dev/null, which is empty). An optional
 * byte order mark and "\r\n" are taken.
 *
 * Any thread.
 */
#ifndef CN_CONF_FILE_H
#define CN_CONF_FILE_H

#include "base/base.h"

enum {
    CN_CONF_LINE = 4096,    /* bytes of a line, without its end: lists of directories are long */
    CN_CONF_FILE = 1 << 20, /* bytes of a file */
    CN_CONF_SECTION_NAME = 64
};

struct cn_conf_entry {
    const char *file;
    int line; /* from 1 */
    const char *section, *key, *value;
};

/* Called for each key, in order; what it returns below 0 ends the reading. Its message gets
 * "file:line: " in front. */
typedef int (*cn_conf_entry_fn)(void *arg, const struct cn_conf_entry *e, struct cn_err *err);

int cn_conf_file_read(const char *path, cn_conf_entry_fn fn, void *arg, struct cn_err *err);

/* The same of bytes in memory; file is the name for messages. */
int cn_conf_file_parse(const char *file, const char *text, size_t len, cn_conf_entry_fn fn,
                       void *arg, struct cn_err *err);

#endif
