/* SPDX-License-Identifier: Apache-2.0
 *
 * What came out of a contest, as JSON for programs and as tables for people. Every mean has the interval of a bootstrap over users; every contestant but
 * the model has that of the difference, query by query: positive is in the model's favour. */
#ifndef RECSYS_DAEMON_TRAIN_REPORT_H
#define RECSYS_DAEMON_TRAIN_REPORT_H

#include "daemon/train_contest.h"

#include <jansson.h>

/* The numbers of one result: hr@K, ndcg@K, mrr@K at 1, 5, 10, 20; coverage, gini, novelty, ild at 10; ndcg@10_interval and hr@10_interval [low, high];
 * with `model` (NULL: it is the model) difference (of ndcg@10) and hr@10_difference [mean, low, high]. `chosen` (query_count): only these queries; NULL:
 * all. NULL out of memory. */
json_t *train_report_metrics(const struct contest *contest, const struct evaluation_result *result,
                             const struct evaluation_result *model, const bool *chosen);

/* Everything that the contest knows: model, baselines, slices, cold where there is such a share, what was asked of how many. NULL out of memory. */
json_t *train_report(const struct contest *contest);

/* The report, to which ablations, served and warnings may have been added, as tables on stdout. */
void train_report_print(const json_t *report);

#endif
