/* Word to the service manager: a datagram to $NOTIFY_SOCKET, nothing without it. Any thread, after
 * cn_notify_take_environment().
 *
 *     cn_notify("READY=1\nSTATUS=listening");
 */
#ifndef CN_NOTIFY_H
#define CN_NOTIFY_H

#include "base/base.h"

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID and takes them out of the environment: a
 * program that this one starts must not speak for it. At the start, before there are threads. */
void cn_notify_take_environment(void);

void cn_notify(const char *text);

/* Microseconds between the pings that the service manager expects of this process; 0: none. */
int64_t cn_notify_watchdog_us(void);

#endif
