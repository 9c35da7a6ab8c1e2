/* Sockets. */
#include "base/base.h"
#include "http/server/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 511, FIRST_PASSED_FD = 3, MAX_PASSED = 16 };

static const char unix_prefix[] = "unix:";

static bool is_unix(const char *address)
{
    return strncmp(address, unix_prefix, strlen(unix_prefix)) == 0;
}

/* "host:port" to its halves; brackets around a host are taken off. */
static int split(const char *address, char *host, size_t host_size, char *port, size_t port_size,
                 struct cn_err *err)
{
    const char *colon = strrchr(address, ':');
    size_t n;
    char *end;
    long number;

    if (colon == NULL)
        return cn_fail(err, CN_EINVAL, "\"%s\" is not host:port or unix:/path", address);
    number = strtol(colon + 1, &end, 10);
    if (end == colon + 1 || *end != '\0' || number < 0 || number > 65535)
        return cn_fail(err, CN_EINVAL, "\"%s\" has no port between 0 and 65535", address);
    snprintf(port, port_size, "%ld", number);
    n = (size_t)(colon - address);
    if (n >= 2 && address[0] == '[' && address[n - 1] == ']') {
        address++;
        n -= 2;
    }
    if (n >= host_size)
        return cn_fail(err, CN_EINVAL, "the host in \"%.100s\" is too long", address);
    memcpy(host, address, n);
    host[n] = '\0';
    return CN_OK;
}

int cn_listen_check(const char *address, struct cn_err *err)
{
    char host[256], port[8];

    if (!is_unix(address))
        return split(address, host, sizeof(host), port, sizeof(port), err);
    if (address[strlen(unix_prefix)] != '/' ||
        strlen(address) - strlen(unix_prefix) >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return cn_fail(err, CN_EINVAL, "\"%s\" is no absolute path that fits a socket", address);
    return CN_OK;
}

static int open_unix(const char *path, int *ret_fd, struct cn_err *err)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct stat st;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return cn_fail(err, CN_EIO, "cannot make a socket: %s", strerror(errno));
    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
    if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(path); /* left by a daemon that was killed */
    if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || chmod(path, 0660) < 0 ||
        listen(fd, BACKLOG) < 0) {
        close(fd);
        return cn_fail(err, CN_EIO, "cannot listen on \"%s\": %s", path, strerror(errno));
    }
    *ret_fd = fd;
    return CN_OK;
}

static int open_one(const struct addrinfo *ai)
{
    int on = 1, off = 0;
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (ai->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    off = errno;
    close(fd);
    errno = off;
    return -1;
}

int cn_listen_open(const char *address, int *ret_fd, struct cn_err *err)
{
    struct addrinfo hint = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *list;
    char host[256], port[8];
    int rc, fd = -1;

    if ((rc = cn_listen_check(address, err)) < 0)
        return rc;
    if (is_unix(address))
        return open_unix(address + strlen(unix_prefix), ret_fd, err);
    split(address, host, sizeof(host), port, sizeof(port), NULL);
    rc = getaddrinfo(host[0] == '\0' || strcmp(host, "*") == 0 ? NULL : host, port, &hint, &list);
    if (rc != 0)
        return cn_fail(err, CN_EIO, "cannot find the address \"%s\": %s", address,
                       gai_strerror(rc));
    for (const struct addrinfo *ai = list; ai != NULL && fd < 0; ai = ai->ai_next)
        fd = open_one(ai);
    freeaddrinfo(list);
    if (fd < 0)
        return cn_fail(err, CN_EIO, "cannot listen on \"%s\": %s", address, strerror(errno));
    *ret_fd = fd;
    return CN_OK;
}

int cn_listen_port(int fd)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);

    if (getsockname(fd, (struct sockaddr *)&sa, &len) < 0)
        return 0;
    if (sa.ss_family == AF_INET)
        return ntohs(((struct sockaddr_in *)&sa)->sin_port);
    if (sa.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&sa)->sin6_port);
    return 0;
}

static bool is_loopback(const struct sockaddr *sa)
{
    const struct in6_addr *v6 = &((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr;

    if (sa->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)sa)->sin_addr.s_addr) >> 24 == 127;
    if (sa->sa_family != AF_INET6)
        return sa->sa_family == AF_UNIX;
    return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
}

bool cn_listen_is_local(int fd)
{
    struct sockaddr_storage sa = {0};
    socklen_t len = sizeof(sa);

    return getsockname(fd, (struct sockaddr *)&sa, &len) == 0 &&
           is_loopback((struct sockaddr *)&sa);
}

int cn_listen_locality(const char *address)
{
    struct addrinfo hint = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM}, *list;
    char host[256], port[8];
    int local;

    if (is_unix(address))
        return 1;
    if (split(address, host, sizeof(host), port, sizeof(port), NULL) < 0)
        return -1;
    if (host[0] == '\0' || strcmp(host, "*") == 0)
        return 0;
    if (strcasecmp(host, "localhost") == 0)
        return 1;
    if (getaddrinfo(host, port, &hint, &list) != 0)
        return -1;
    local = is_loopback(list->ai_addr);
    freeaddrinfo(list);
    return local;
}

/* The name of descriptor k in LISTEN_FDNAMES; false when there is none. */
static bool name_of(int k, const char **ret, size_t *ret_len)
{
    const char *p = getenv("LISTEN_FDNAMES");

    for (; p != NULL; p = strchr(p, ':') == NULL ? NULL : strchr(p, ':') + 1, k--) {
        if (k > 0)
            continue;
        *ret = p;
        *ret_len = strcspn(p, ":");
        return true;
    }
    return false;
}

static bool is_named(int k, const char *name)
{
    const char *p;
    size_t n;

    return name_of(k, &p, &n) && n == strlen(name) && strncmp(p, name, n) == 0;
}

int cn_listen_inherited(bool admin, int nth)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    int n = fds == NULL ? 0 : atoi(fds);

    if (pid == NULL || atol(pid) != (long)getpid())
        return -1;
    for (int i = 0; i < n && i < MAX_PASSED; i++) {
        int fd = FIRST_PASSED_FD + i, flags = fcntl(fd, F_GETFL);

        if (flags < 0 || is_named(i, "admin") != admin || nth-- > 0)
            continue;
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
        return fd;
    }
    return -1;
}
