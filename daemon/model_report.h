/* SPDX-License-Identifier: Apache-2.0
 *
 * The report of an evaluation, as recsys-train evaluate -o json writes it, kept beside a model: it decides whether a new model is better than the
 * active one. It comes from outside and is checked before anything is believed. */
#ifndef RECSYS_DAEMON_MODEL_REPORT_H
#define RECSYS_DAEMON_MODEL_REPORT_H

#include "proto/status.h"

#include <jansson.h>

#define MODEL_REPORT_BYTES_MAX (64u << 10)
#define MODEL_REPORT_METRIC    "ndcg@10"

/* Read and check: an object of at most MODEL_REPORT_BYTES_MAX whose "model" has a MODEL_REPORT_METRIC from 0 to 1, with "holdout", and "queries" or
 * "log_position"; its "sha256", if it has one, must be `sha256` (hex). A new reference; NULL with INVALID_ARGUMENT / TOO_LONG or BAD_REPORT, field
 * "report". */
json_t *model_report_parse(const char *text, const char *sha256, struct status *st);

/* MODEL_REPORT_METRIC of the model. */
double model_report_metric(const json_t *report);

/* Whether two reports are about the same events: a model may only be compared with another on those. False with FAILED_PRECONDITION /
 * NOT_COMPARABLE naming the first difference. */
bool model_report_comparable(const json_t *candidate, const json_t *active, struct status *st);

#endif
