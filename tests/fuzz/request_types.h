/* SPDX-License-Identifier: Apache-2.0
 *
 * What the fuzz targets of the protocol share: every request there is, and an allocator with a limit like a
 * worker's. */
#ifndef RECSYS_FUZZ_REQUEST_TYPES_H
#define RECSYS_FUZZ_REQUEST_TYPES_H

#include "proto/recsys.pb-c.h"

#include <stdbool.h>
#include <stdlib.h>

#define CAPPED_BYTES (256u << 10)

static const ProtobufCMessageDescriptor *const request_types[] = {
    &recsys__ping_request__descriptor,
    &recsys__server_info_request__descriptor,
    &recsys__status_request__descriptor,
    &recsys__event_add_request__descriptor,
    &recsys__user_history_request__descriptor,
    &recsys__item_put_request__descriptor,
    &recsys__item_get_request__descriptor,
    &recsys__item_delete_request__descriptor,
    &recsys__item_list_request__descriptor,
    &recsys__feature_put_request__descriptor,
    &recsys__recommend_request__descriptor,
    &recsys__rank_request__descriptor,
    &recsys__similar_request__descriptor,
    &recsys__list_put_request__descriptor,
    &recsys__model_put_request__descriptor,
    &recsys__model_get_request__descriptor,
    &recsys__model_list_request__descriptor,
    &recsys__model_activate_request__descriptor,
    &recsys__model_rollback_request__descriptor,
    &recsys__model_delete_request__descriptor,
    &recsys__top_request__descriptor,
    &recsys__complement_request__descriptor,
    &recsys__next_request__descriptor,
    &recsys__batch_request__descriptor,
    &recsys__audience_request__descriptor,
    &recsys__user_merge_request__descriptor,
    &recsys__impression_add_request__descriptor,
    &recsys__feedback_report_request__descriptor,
    &recsys__scenario_list_request__descriptor,
    &recsys__scenario_reload_request__descriptor,
    &recsys__explain_request__descriptor,
    &recsys__user_erase_request__descriptor,
    &recsys__model_load_request__descriptor,
    &recsys__model_unload_request__descriptor,
    &recsys__experiment_list_request__descriptor,
    &recsys__experiment_reload_request__descriptor,
    &recsys__experiment_report_request__descriptor,
    &recsys__replay_request__descriptor,
};

#define REQUEST_TYPES_COUNT (sizeof request_types / sizeof *request_types)

struct capped {
    size_t left_bytes;
    bool refused;
};

static void *capped_alloc(void *data, size_t size)
{
    struct capped *capped = data;
    if (size > capped->left_bytes) {
        capped->refused = true;
        return NULL;
    }
    capped->left_bytes -= size;
    return malloc(size);
}

static void capped_free(void *data, void *block)
{
    (void)data;
    free(block);
}

static inline ProtobufCAllocator capped_allocator(struct capped *capped)
{
    return (ProtobufCAllocator){.alloc = capped_alloc, .free = capped_free, .allocator_data = capped};
}

#endif
