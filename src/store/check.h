/* Looks whether a store is whole, and changes nothing: for operators, around a repair or a restore.
 *
 *     rc = cn_store_check("/var/lib/controlnetd", say, arg, &err);
 *
 * Any thread; blocks. A daemon may have the store open: what changes meanwhile may be told wrongly.
 */
#ifndef CN_STORE_CHECK_H
#define CN_STORE_CHECK_H

#include "base/base.h"

/* One thing that is not as it should be, or, with trouble false, what was found. */
typedef void (*cn_store_say_fn)(void *arg, bool trouble, const char *text);

/* Holds SQLite's own check of the database, each row of a picture against its file, and each file
 * against its row. The number of troubles, or negative: the store cannot be read (CN_ENOTFOUND:
 * there is none; CN_EFORMAT: no database, or one of a newer release; CN_ESTORAGE). */
int cn_store_check(const char *dir, cn_store_say_fn say, void *arg, struct cn_err *err);

#endif
