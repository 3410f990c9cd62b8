/* SPDX-License-Identifier: Apache-2.0
 *
 * From the options of a command to the params of a call: one line per field. An option that was not given adds nothing,
 * so that the daemon's default holds. All return false with a usage error, or out of memory. */
#ifndef RECSYS_DAEMON_CTL_PARAMS_H
#define RECSYS_DAEMON_CTL_PARAMS_H

#include "daemon/ctl_options.h"
#include "proto/status.h"

#include <jansson.h>

/* Consumes `value`; NULL counts as out of memory. */
bool ctl_params_set(json_t *object, const char *key, json_t *value, struct status *st);

/* A string; `text` NULL adds nothing; text that is not UTF-8 is a usage error. */
bool ctl_params_text(json_t *object, const char *key, const char *text, struct status *st);

/* A number; `text` NULL adds nothing. */
bool ctl_params_real(json_t *object, const char *key, const char *text, struct status *st);

/* "yes" or "no" to a boolean; `text` NULL adds nothing. */
bool ctl_params_yes_no(json_t *object, const char *key, const char *text, struct status *st);

/* The whole-number option of the same name (or `option`). */
bool ctl_params_integer(json_t *object, const char *key, const struct ctl_arguments *arguments, const char *option,
                        int64_t least, int64_t most, struct status *st);

/* An array of all values of a repeated option. */
bool ctl_params_texts(json_t *object, const char *key, const struct ctl_arguments *arguments, const char *option,
                      struct status *st);

/* An array of the words from number `first` on. */
bool ctl_params_words(json_t *object, const char *key, const struct ctl_arguments *arguments, size_t first,
                      struct status *st);

/* An array of what stands between the commas of `text`; "" adds nothing. */
bool ctl_params_commas(json_t *object, const char *key, const char *text, struct status *st);

/* An object of a repeated option's NAME=NUMBER. */
bool ctl_params_weights(json_t *object, const char *key, const struct ctl_arguments *arguments, const char *option,
                        struct status *st);

/* An object of a repeated option's NAME=TEXT; a name given more than once becomes a list. */
bool ctl_params_pairs(json_t *object, const char *key, const struct ctl_arguments *arguments, const char *option,
                      struct status *st);

#endif
