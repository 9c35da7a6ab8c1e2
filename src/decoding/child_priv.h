/* A running decoder as its client has it: a process and a socket. One thread at a time. */
#ifndef CN_DECODING_CHILD_PRIV_H
#define CN_DECODING_CHILD_PRIV_H

#include "base/base.h"

#include <sys/types.h>
#include <time.h>

/* The program, held open from the beginning: after an upgrade in place the path may lead to a
 * decoder of another release, which its worker would not understand. */
struct cn_child_program {
    const char *path;
    int fd; /* -1: it could not be opened, and the path says why at the start */
};

void cn_child_program_init(struct cn_child_program *p, const char *path);
void cn_child_program_release(struct cn_child_program *p);

struct cn_child {
    pid_t pid; /* 0: none */
    int fd;
    clockid_t clock; /* of its processor time */
};

/* How it ended. */
struct cn_child_end {
    bool killed;   /* by somebody else, or for want of memory */
    char text[80]; /* "signal 11, Segmentation fault", "status 1" */
};

/* Executes it with no descriptors but its socket, no environment but what loaders and sanitizers
 * read, and nothing on standard error unless it is a sanitizer's. */
int cn_child_start(const struct cn_child_program *p, struct cn_child *ret, struct cn_err *err);

/* Kills it unless it has ended, and takes its status. */
void cn_child_end(struct cn_child *c, struct cn_child_end *ret);

/* Sends data and two descriptors. CN_EIO: the other end is closed. */
int cn_child_send(const struct cn_child *c, const void *data, size_t size, const int fd[2]);

/* One datagram of exactly this size. CN_EIO: the other end is closed; CN_EFORMAT: another size;
 * CN_ETOOBIG: it took longer than that of a processor, or of time. */
int cn_child_receive(const struct cn_child *c, void *data, size_t size, int cpu_ms, int wall_ms,
                     struct cn_err *err);

#endif
