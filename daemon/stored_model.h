/* SPDX-License-Identifier: Apache-2.0
 *
 * A model out of the store, or out of bytes that somebody sent: nothing of a file is used before its SHA-256 is the one that was announced. Name and
 * version are those under which it is stored, whatever the file calls itself. */
#ifndef RECSYS_DAEMON_STORED_MODEL_H
#define RECSYS_DAEMON_STORED_MODEL_H

#include "models/model.h"
#include "storage/store.h"

/* Check and read a file. DATA_LOSS / MODEL_DAMAGED when it is not of description->sha256; else as model_read. One reference; NULL with st. */
struct model *stored_model_read(const struct store_model *description, const void *bytes, size_t size_bytes,
                                struct status *st);

/* Load a stored model; NOT_FOUND / UNKNOWN_MODEL. */
struct model *stored_model_load(struct store *store, const char *version, struct status *st);

/* What the store needs to know of a model. */
void stored_model_describe(struct store_model *out, const struct model *model, int64_t now_ms);

/* NAME-xxxxxxxx: a name and the start of a SHA-256. */
void stored_model_version(char version[97], const char *name, const char *sha256);

/* What the file says of its training as JSON text, malloc'ed, kept short enough to be listed; NULL out of memory. */
char *stored_model_training(const struct model *model);

#endif
