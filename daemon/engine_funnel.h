/* SPDX-License-Identifier: Apache-2.0
 *
 * Inside the engine: how many items each stage leaves, and which stage takes one of them out. */
#ifndef RECSYS_DAEMON_ENGINE_FUNNEL_H
#define RECSYS_DAEMON_ENGINE_FUNNEL_H

#include "daemon/engine_list.h"

/* Begin: what is traced, and how much there is. */
void engine_funnel_begin(const struct engine_request *request, struct engine_answer *answer);

/* After a stage: what is left in answer->view. */
void engine_funnel_note(struct engine_answer *answer, enum engine_stage stage);

/* After ranking: the stages that are no bits, and where the traced item is. */
void engine_funnel_ranked(const struct ranking *ranking, struct engine_answer *answer);

#endif
