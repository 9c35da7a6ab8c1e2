/* The wall around a process that reads strangers' bytes.
 *
 * It is raised once, from inside, by an unprivileged process of one thread, after everything that
 * needs the system has been done, and cannot be taken down again. Each layer stands for itself: one
 * that this system does not offer is left out, and the caller says so.
 *
 *     unsigned have = cn_wall_raise(CN_WALL_ALL);
 *     if (have != CN_WALL_ALL) ...                    -- cn_wall_describe(CN_WALL_ALL & ~have, ...)
 *
 * What is left: memory within a limit, the descriptors that are open and those that come by a
 * socket, the clock, its own end.
 */
#ifndef CN_DECODING_WALL_H
#define CN_DECODING_WALL_H

#include "base/base.h"

enum cn_wall_layer {
    CN_WALL_LIMITS = 1, /* rlimits: memory, processor time, files, processes; no core file */
    CN_WALL_FILES = 2,  /* Landlock: no file is opened, no TCP port (Linux 5.13, 6.7) */
    CN_WALL_CALLS = 4,  /* seccomp: an allow list; any other system call ends the process */
    CN_WALL_ALL = 7
};

/* 4096 x 4096 pixels as they come out of a JPEG, its coefficients, a turned copy, and the file: 300
 * MiB; the rest is for what libraries take. */
#define CN_WALL_MEMORY (512UL << 20)

/* Bytes of a file that is written to: the largest picture. */
#define CN_WALL_FILE_BYTES (64UL << 20)

/* Seconds of a processor, in its life. What one picture may take is the client's to watch. */
enum { CN_WALL_CPU_S = 120 };

/* Raises those of the layers that it can; returns which stand. */
unsigned cn_wall_raise(unsigned layers);

/* "limits, landlock, seccomp" */
void cn_wall_describe(unsigned layers, char *text, size_t size);

#endif
