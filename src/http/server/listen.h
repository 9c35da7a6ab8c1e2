/* Listening sockets: opened here, or handed over by a service manager. Loop thread only.
 *
 *     cn_listen_open("127.0.0.1:8080", &set, &err);  -- also "[::1]:8080", ":8080", "unix:/run/x"
 *     port = cn_listen_port(set.fd[0]);              -- the real one after "host:0"; 0 for unix
 *     cn_listen_remove(&set.path);                   -- at the end
 *
 * ":8080" and "*:8080" are all addresses of both families, and a name is all of its addresses: one
 * socket for each, with the same port. The path of a Unix socket is taken over from a process that
 * has ended, never from one that lives.
 */
#ifndef CN_HTTP_SERVER_LISTEN_H
#define CN_HTTP_SERVER_LISTEN_H

#include "base/base.h"

#include <sys/types.h>

enum { CN_LISTEN_MAX = 6 /* addresses of one name */ };

/* A socket in the file system, and which one it is: another process may have put its own there. */
struct cn_listen_path {
    char path[108]; /* "": none */
    dev_t dev;
    ino_t ino;
};

struct cn_listen_set {
    int fd[CN_LISTEN_MAX], n;
    struct cn_listen_path path;
};

/* Reads LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES and takes them out of the environment: they are
 * meant for no other program. At the start, before there are threads. */
void cn_listen_take_environment(void);

/* Checks the form only: for configuration checks. */
int cn_listen_check(const char *address, struct cn_err *err);
int cn_listen_open(const char *address, struct cn_listen_set *ret, struct cn_err *err);

/* Removes the path when it is still that of the same socket. */
void cn_listen_remove(const struct cn_listen_path *p);

int cn_listen_port(int fd);

/* Only programs on this machine reach the socket: a Unix socket, or a loopback address. */
bool cn_listen_is_local(int fd);

/* The same of an address, without asking anybody: 0 for one that reaches further, 1 for one that
 * does not, -1 for a name, of which nobody knows before it is resolved. */
int cn_listen_locality(const char *address);

/* A socket passed by the service manager (LISTEN_FDS): the nth (from 0) of those named "admin", or
 * of the others. It is shared with who passed it and with the process after this one: close it, but
 * never shut it down, and leave its path where it is. -1: there are no more. */
int cn_listen_inherited(bool admin, int nth);

#endif
