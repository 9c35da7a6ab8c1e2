/* Listening sockets: opened here, or handed over by a service manager. Loop thread only.
 *
 *     cn_listen_open("127.0.0.1:8080", &fd, &err);     -- also "[::1]:8080", ":8080", "unix:/run/x"
 *     port = cn_listen_port(fd);                        -- the real one after "host:0"; 0 for unix
 */
#ifndef CN_HTTP_SERVER_LISTEN_H
#define CN_HTTP_SERVER_LISTEN_H

#include "base/base.h"

/* Checks the form only: for configuration checks. */
int cn_listen_check(const char *address, struct cn_err *err);
int cn_listen_open(const char *address, int *ret_fd, struct cn_err *err);
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
