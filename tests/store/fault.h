/* Disks that fail on demand: a table of file operations and a VFS for SQLite that count what they
 * do together, and fail the Nth, or all from the Nth on. Any thread; one plan at a time.
 *
 *     cn_fault_register();                          -- the VFS "fault", once
 *     options.io = &cn_fault_io; options.vfs = "fault";
 *     cn_fault_plan(7, ENOSPC, false);              -- the 7th from now fails
 */
#ifndef CN_TESTS_STORE_FAULT_H
#define CN_TESTS_STORE_FAULT_H

#include "store/store.h"

extern const struct cn_store_io cn_fault_io;

void cn_fault_register(void);

/* Called after each flush that succeeded (path: a file or a folder), and after SQLite has removed a
 * file for good; from the thread that did it. Set before anything is opened. */
struct cn_fault_watch {
    void (*flushed)(const char *path);
    void (*removed)(const char *path);
};

void cn_fault_watch(const struct cn_fault_watch *watch);

/* In the place of an error: a write of a file takes a part and says so; the operation takes its
 * time (3 ms) and succeeds. */
enum { CN_FAULT_SHORT = -1, CN_FAULT_SLOW = -2 };

/* at: 1 is the next operation; 0: none fails. lasting: all after it, too. error: of errno, or one
 * of the above. */
void cn_fault_plan(int at, int error, bool lasting);

/* Stalls: while it is on, whoever comes to the disk (to write, flush, rename, make a file) stands
 * still. Returns when it is off and nobody stands. */
void cn_fault_stall(bool on);
int cn_fault_stalled(void); /* how many stand now */

/* How many operations were counted since the plan, and how many of them failed. */
int cn_fault_count(void);
int cn_fault_failed(void);

#endif
