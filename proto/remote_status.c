/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/remote_status.h"

void remote_status_fill(struct status *remote, int64_t code, const char *reason, const char *field, const char *message)
{
    enum status_code known = STATUS_INTERNAL;
#define KEEP_IF_KNOWN(name, number, label, exit_code)                                                                  \
    if (code == (number) && (number) != STATUS_OK)                                                                     \
        known = STATUS_##name;
    STATUS_CODES(KEEP_IF_KNOWN)
#undef KEEP_IF_KNOWN
    status_fail_field(remote, known, reason, field, "%s", message);
}
