/* SPDX-License-Identifier: Apache-2.0
 *
 * What the handlers of models share. */
#ifndef RECSYS_DAEMON_HANDLE_MODEL_H
#define RECSYS_DAEMON_HANDLE_MODEL_H

#include "daemon/handler.h"

#define MODEL_NAME_MAX 64

/* A name for a new model; it becomes part of its version. INVALID_ARGUMENT / BAD_NAME. */
bool model_check_name(const char *name, struct status *st);

#endif
