/* Listening sockets: opened here, or handed over by a service manager. Loop thread only.
 *
 *     cn_listen_open("127.0.0.1:8080", &fd, &err);     -- also "[::1]:8080", ":8080", "unix:/run/x"
 *     port = cn_listen_port(fd);                        -- the real one after "host:0"; 0 for unix
 */
#ifndef CN_HTTP_LISTEN_H
#define CN_HTTP_LISTEN_H

#include "base/base.h"

/* Checks the form only: for configuration checks. */
int cn_listen_check(const char *address, struct cn_err *err);
int cn_listen_open(const char *address, int *ret_fd, struct cn_err *err);
int cn_listen_port(int fd);

/* The socket passed by systemd with this name (FileDescriptorName=), or, when name is NULL, the
 * first one. -1: none. */
int cn_listen_inherited(const char *name);

#endif
