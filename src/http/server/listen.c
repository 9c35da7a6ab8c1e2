/* Opens listening sockets: of all addresses that a name has, of Unix paths without taking one from
 * a living process, or from a service manager. */
#include "base/base.h"
#include "http/server/listen.h"
#include "base/mem.h"

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

enum { BACKLOG = 511, FIRST_PASSED_FD = 3, MAX_PASSED = 16, TRIES = 16 };

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

/* ---- Unix sockets ---- */

/* Does somebody listen there? A full backlog is an answer, too. */
static bool is_alive(const struct sockaddr_un *sa)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool alive = fd >= 0 && (connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) == 0 ||
                             errno == EAGAIN || errno == EINPROGRESS || errno == EACCES);

    if (fd >= 0)
        close(fd);
    return alive;
}

/* Takes away a socket that its process has left. It is moved first and looked at: when another
 * daemon has put its own there in the meantime, it gets it back. */
static int remove_stale(const struct sockaddr_un *sa, struct cn_err *err)
{
    struct stat before, after;
    char *aside;
    int rc = CN_OK;

    if (lstat(sa->sun_path, &before) < 0 || !S_ISSOCK(before.st_mode))
        return CN_OK; /* bind() will tell */
    if (is_alive(sa))
        return cn_fail(err, CN_EBUSY, "cannot listen on \"%s\": another process does",
                       sa->sun_path);
    aside = cn_xprintf("%s.%ld.old", sa->sun_path, (long)getpid());
    if (rename(sa->sun_path, aside) == 0) {
        if (lstat(aside, &after) < 0 || after.st_ino != before.st_ino ||
            after.st_dev != before.st_dev) {
            rc = cn_fail(err, CN_EBUSY, "cannot listen on \"%s\": another process has begun to",
                         sa->sun_path);
            rename(aside, sa->sun_path);
        } else {
            unlink(aside);
        }
    }
    free(aside);
    return rc;
}

/* With its mode from the first moment on. */
static int bind_path(int fd, const struct sockaddr_un *sa)
{
    mode_t old = umask(0117);
    int rc = bind(fd, (const struct sockaddr *)sa, sizeof(*sa)), code = errno;

    umask(old);
    errno = code;
    return rc;
}

static int open_unix(const char *path, struct cn_listen_set *ret, struct cn_err *err)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    struct stat st;
    int fd, rc;

    snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
    if ((rc = remove_stale(&sa, err)) < 0)
        return rc;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return cn_fail(err, CN_EIO, "cannot make a socket: %s", strerror(errno));
    if (bind_path(fd, &sa) < 0 || lstat(path, &st) < 0 || listen(fd, BACKLOG) < 0) {
        close(fd);
        return cn_fail(err, CN_EIO, "cannot listen on \"%s\": %s", path, strerror(errno));
    }
    snprintf(ret->path.path, sizeof(ret->path.path), "%s", path);
    ret->path.dev = st.st_dev;
    ret->path.ino = st.st_ino;
    ret->fd[ret->n++] = fd;
    return CN_OK;
}

void cn_listen_remove(const struct cn_listen_path *p)
{
    struct stat st;

    if (p->path[0] != '\0' && lstat(p->path, &st) == 0 && st.st_dev == p->dev &&
        st.st_ino == p->ino)
        unlink(p->path);
}

/* ---- TCP ---- */

/* -1 with errno. only_v6: leave IPv4 to another socket. */
static int open_one(const struct sockaddr *sa, socklen_t len, int only_v6)
{
    int on = 1, code, fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (sa->sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only_v6, sizeof(only_v6));
    if (bind(fd, sa, len) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    code = errno;
    close(fd);
    errno = code;
    return -1;
}

static void close_set(struct cn_listen_set *s)
{
    while (s->n > 0)
        close(s->fd[--s->n]);
}

/* A system without IPv6, or a host without one of its name's addresses, listens on the others. */
static bool is_missing(int code)
{
    return code == EAFNOSUPPORT || code == EADDRNOTAVAIL || code == EPROTONOSUPPORT;
}

/* :: with IPv4 mapped into it, else IPv4 alone. */
static int open_all(const char *port, struct cn_listen_set *ret)
{
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)atoi(port))};
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = v6.sin6_port};
    int fd = open_one((struct sockaddr *)&v6, sizeof(v6), 0);

    if (fd < 0 && is_missing(errno))
        fd = open_one((struct sockaddr *)&v4, sizeof(v4), 0);
    if (fd < 0)
        return errno;
    ret->fd[ret->n++] = fd;
    return 0;
}

static void set_port(struct sockaddr *sa, int port)
{
    if (sa->sa_family == AF_INET)
        ((struct sockaddr_in *)(void *)sa)->sin_port = htons((uint16_t)port);
    else if (sa->sa_family == AF_INET6)
        ((struct sockaddr_in6 *)(void *)sa)->sin6_port = htons((uint16_t)port);
}

/* Some resolvers say the same twice. */
static bool is_repeated(const struct addrinfo *list, const struct addrinfo *ai)
{
    for (; list != ai; list = list->ai_next)
        if (list->ai_addrlen == ai->ai_addrlen &&
            memcmp(list->ai_addr, ai->ai_addr, ai->ai_addrlen) == 0)
            return true;
    return false;
}

/* Every address, with the port that the first one got. 0, or errno of what failed. */
static int open_each(const struct addrinfo *list, bool is_name, struct cn_listen_set *ret)
{
    int missing = EADDRNOTAVAIL, port = 0;

    for (const struct addrinfo *ai = list; ai != NULL && ret->n < CN_LISTEN_MAX; ai = ai->ai_next) {
        struct sockaddr_storage sa;
        int fd;

        if (is_repeated(list, ai))
            continue;
        memcpy(&sa, ai->ai_addr, ai->ai_addrlen);
        if (port != 0)
            set_port((struct sockaddr *)&sa, port);
        fd = open_one((struct sockaddr *)&sa, ai->ai_addrlen, is_name);
        if (fd >= 0) {
            ret->fd[ret->n++] = fd;
            port = cn_listen_port(fd);
        } else if (is_missing(errno)) {
            missing = errno;
        } else {
            return errno;
        }
    }
    return ret->n > 0 ? 0 : missing;
}

static int open_tcp(const char *address, struct cn_listen_set *ret, struct cn_err *err)
{
    struct addrinfo hint = {.ai_flags = AI_PASSIVE, .ai_socktype = SOCK_STREAM}, *list, *plain;
    char host[256], port[8];
    bool is_name;
    int rc, code = 0;

    split(address, host, sizeof(host), port, sizeof(port), NULL);
    if (host[0] == '\0' || strcmp(host, "*") == 0) {
        code = open_all(port, ret);
    } else {
        if ((rc = getaddrinfo(host, port, &hint, &list)) != 0)
            return cn_fail(err, CN_EIO, "cannot find the address \"%s\": %s", address,
                           gai_strerror(rc));
        hint.ai_flags |= AI_NUMERICHOST;
        is_name = getaddrinfo(host, port, &hint, &plain) != 0;
        if (!is_name)
            freeaddrinfo(plain);
        /* port 0: what is free for one address may be taken for the next */
        for (int k = 0; k < TRIES; k++) {
            code = open_each(list, is_name, ret);
            if (code == 0)
                break;
            close_set(ret);
            if (code != EADDRINUSE || strcmp(port, "0") != 0)
                break;
        }
        freeaddrinfo(list);
    }
    if (code != 0)
        return cn_fail(err, CN_EIO, "cannot listen on \"%s\": %s", address, strerror(code));
    return CN_OK;
}

int cn_listen_open(const char *address, struct cn_listen_set *ret, struct cn_err *err)
{
    int rc = cn_listen_check(address, err);

    *ret = (struct cn_listen_set){.n = 0};
    if (rc < 0)
        return rc;
    return is_unix(address) ? open_unix(address + strlen(unix_prefix), ret, err)
                            : open_tcp(address, ret, err);
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

/* ---- sockets that were passed ---- */

static int n_passed;
static char passed_names[512]; /* LISTEN_FDNAMES: separated by colons */

void cn_listen_take_environment(void)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    const char *names = getenv("LISTEN_FDNAMES");

    n_passed = 0;
    if (pid != NULL && fds != NULL && atol(pid) == (long)getpid())
        n_passed = CN_MAX(CN_MIN(atoi(fds), (int)MAX_PASSED), 0);
    snprintf(passed_names, sizeof(passed_names), "%s", names == NULL ? "" : names);
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
}

static bool is_named(int k, const char *name)
{
    const char *p = passed_names;
    size_t n;

    for (; k > 0 && p != NULL; k--)
        p = strchr(p, ':') == NULL ? NULL : strchr(p, ':') + 1;
    n = p == NULL ? 0 : strcspn(p, ":");
    return p != NULL && n == strlen(name) && strncmp(p, name, n) == 0;
}

int cn_listen_inherited(bool admin, int nth)
{
    for (int i = 0; i < n_passed; i++) {
        int fd = FIRST_PASSED_FD + i, flags = fcntl(fd, F_GETFL);

        if (flags < 0 || is_named(i, "admin") != admin || nth-- > 0)
            continue;
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        fcntl(fd, F_SETFL, flags | O_NONBLOCK);
        return fd;
    }
    return -1;
}
