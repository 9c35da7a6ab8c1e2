/* The protocol of sd_notify(3): one datagram with lines of text. A library would be a dependency
 * for sixty lines. */
#include "base/base.h"
#include "front/notify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static char socket_path[sizeof(((struct sockaddr_un *)0)->sun_path)];
static int64_t watchdog_us;

void cn_notify_take_environment(void)
{
    const char *path = getenv("NOTIFY_SOCKET"), *us = getenv("WATCHDOG_USEC");
    const char *pid = getenv("WATCHDOG_PID");

    if (path != NULL && strlen(path) < sizeof(socket_path))
        memcpy(socket_path, path, strlen(path) + 1);
    if (us != NULL && (pid == NULL || atol(pid) == (long)getpid()))
        watchdog_us = CN_MAX(atoll(us), 0);
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void cn_notify(const char *text)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    const char *path = socket_path;
    size_t n = strlen(path);
    int fd;

    if (n < 2 || n >= sizeof(sa.sun_path) || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(sa.sun_path, path, n);
    if (path[0] == '@')
        sa.sun_path[0] = '\0'; /* an abstract socket */
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    sendto(fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&sa,
           (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
    close(fd);
}

int64_t cn_notify_watchdog_us(void)
{
    return watchdog_us;
}
