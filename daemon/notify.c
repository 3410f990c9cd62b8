/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/notify.h"

#include "daemon/timestamp.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

void notify_state(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path == NULL || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof address.sun_path)
        return;
    memcpy(address.sun_path, path, strlen(path));
    if (path[0] == '@') /* an abstract socket: the name starts with NUL */
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    ssize_t sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, length);
    (void)sent; /* nobody to tell */
    close(fd);
}

void notify_watchdog(void)
{
    static int64_t next_us;
    const char *interval = getenv("WATCHDOG_USEC");
    int64_t now_us = timestamp_monotonic_us();
    if (interval == NULL || now_us < next_us)
        return;
    next_us = now_us + strtoll(interval, NULL, 10) / 3;
    notify_state("WATCHDOG=1");
}
