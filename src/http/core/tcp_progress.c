/* Progress of a connection. A file of its own: <linux/tcp.h>, whose tcp_info has the counter, and
 * <netinet/tcp.h>, which libuv includes, cannot be had together. */
#include "base/base.h"
#include "http/core/tcp_progress.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

bool cn_acked_bytes(int fd, uint64_t *ret)
{
    struct tcp_info info = {0};
    socklen_t len = sizeof(info);

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0 ||
        len < offsetof(struct tcp_info, tcpi_bytes_acked) + sizeof(info.tcpi_bytes_acked))
        return false;
    *ret = info.tcpi_bytes_acked;
    return true;
}

int cn_unsent_bytes(int fd)
{
    int n = 0;

    return ioctl(fd, TIOCOUTQ, &n) < 0 ? 0 : n;
}
