/* SPDX-License-Identifier: Apache-2.0
 *
 * Tells systemd how the daemon is: one datagram to $NOTIFY_SOCKET (sd_notify(3)); nothing where it is not set. */
#ifndef RECSYS_DAEMON_NOTIFY_H
#define RECSYS_DAEMON_NOTIFY_H

/* "READY=1", "STOPPING=1", "STATUS=...". */
void notify_state(const char *state);

/* WATCHDOG=1, at most once in a third of $WATCHDOG_USEC. Called from the router's loop: a loop that hangs is restarted. */
void notify_watchdog(void);

#endif
