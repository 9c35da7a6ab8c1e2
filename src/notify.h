/* Word to the service manager: a datagram to $NOTIFY_SOCKET, nothing without it. Any thread.
 *
 *     cn_notify("READY=1\nSTATUS=listening");
 */
#ifndef CN_NOTIFY_H
#define CN_NOTIFY_H

#include "base/base.h"

void cn_notify(const char *text);

/* Microseconds between the pings that the service manager expects of this process; 0: none. */
int64_t cn_notify_watchdog_us(void);

#endif
