/* SPDX-License-Identifier: Apache-2.0
 *
 * Internal to daemon/config*.c, and the entry for fuzzing: the file's YAML without the file. */
#ifndef RECSYS_DAEMON_CONFIG_YAML_H
#define RECSYS_DAEMON_CONFIG_YAML_H

#include "daemon/config.h"

/* config_load from memory; `name` stands for the file in messages. `text` may hold any bytes. RESOURCE_EXHAUSTED / NO_MEMORY
 * besides what config_load says. */
bool config_load_text(struct config *config, const char *name, const void *text, size_t size_bytes, struct status *st);

#endif
