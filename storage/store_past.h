/* SPDX-License-Identifier: Apache-2.0
 *
 * What the store keeps of the time before: the shop as it was at a position, the requests that were answered, and lists
 * for when nothing can be computed. Part of storage/store.h, which says what holds for all of it and includes this. */
#ifndef RECSYS_STORAGE_STORE_PAST_H
#define RECSYS_STORAGE_STORE_PAST_H

#include "storage/store.h"

/* ---- the past: what items, vectors, model and counts were at a position; events are read up to one in store.h
 *
 * Users are an exception: their events are those that store_user_merge gave them since, and gone where store_user_erase
 * was; store_merged_position tells up to where. */

/* The last position that was given out at or before `at_ms` by the writer's times: received_ms of events, at_ms of
 * item changes and of activations, and at_ms of counts, which tell that their position was there already. 0: before
 * everything. Takes O(log n), by binary search in each table: it relies on times that ascend with positions. They
 * do, since one thread writes what has just come, but for steps of the clock and calls that overtook each other;
 * then it is the last position up to which no row that the search looked at is later. A merge or an erasure leaves
 * no row and no time: until something follows it, the position before it is the answer. */
bool store_past_position(struct store *store, int64_t at_ms, int64_t *position, struct status *st);

/* The version of the catalogue at a position: that of the last change of an item or a vector up to there. 0: there was none. */
bool store_past_catalogue(struct store *store, int64_t position, int64_t *catalogue, struct status *st);

/* From which time on the past is complete; 0: from the beginning. Before it, some of what was overwritten is
 * missing. */
bool store_past_begin(struct store *store, int64_t *from_ms, struct status *st);

/* Every item that there was at `position` as it was then, deleted ones included, in the order of item_id;
 * item->position is that of the last change of it or of a feature of it up to there. The JSON fields come without
 * the white space they may have been put with. `each` returns false to stop (which is success). */
bool store_past_items(struct store *store, int64_t position, bool (*each)(void *context, const struct store_item *item),
                      void *context, struct status *st);

/* Every vector that there was at `position`, in the order (item_id, space_id); otherwise as store_feature_scan. */
bool store_past_features(struct store *store, int64_t position,
                         bool (*each)(void *context, uint32_t item_id, uint32_t space_id, const float *values,
                                      int32_t dimension),
                         void *context, struct status *st);

/* The version that was active at `position`; "" where none was. It may have been deleted since. */
bool store_past_model(struct store *store, int64_t position, char version[97], struct status *st);

/* The version of the counts that was published last at or before `at_ms`; 0: none. */
bool store_past_counts(struct store *store, int64_t at_ms, int64_t *position, struct status *st);

/* Forget what is only needed for times before `before_ms` (writer, in a transaction): vectors that were overwritten
 * up to it, item changes that another one of the same item and kind (of the same space) followed up to it, versions
 * of the counts that another one followed up to it, but for the two that have bytes. At most `most` (from 1) of each
 * kind, so it is called again and again. store_past_begin moves along with what is gone, and is `before_ms` once all
 * of it is. */
bool store_past_forget(struct store *store, int64_t before_ms, int most, struct status *st);

/* ---- the request log
 *
 * Nothing in it may name the user, neither texts nor body: names are in one place, where they can be erased. */

struct store_request {
    int64_t request_id; /* set by store_request_add: from 1, ascending, never reused */
    int64_t at_ms;
    int64_t user_id;                                                          /* 0: of a session */
    const char *recomm_id, *method, *scenario, *experiment, *variant, *model; /* NULL is stored as "" */
    int64_t counts, catalogue, position, now_ms;                              /* what the answer is a function of */
    double overlap;                                                           /* of two interleaved lists; -1: none */
    const void *body;                                                         /* opaque here */
    size_t body_bytes;
    const uint32_t *items; /* as listed */
    const uint8_t *teams;  /* of each item: which list brought it; NULL: none were interleaved */
    size_t item_count;
};

/* Append (writer, in a transaction). Takes no log position. request_id 0: the user has gone since, nothing was
 * stored. */
bool store_request_add(struct store *store, struct store_request *request, struct status *st);

/* Requests with from_ms <= at_ms < until_ms and request_id > after (0: from the first on), in the order of
 * request_id, at most `most`. What `each` is shown lives until it returns; it returns false to stop. */
bool store_request_scan(struct store *store, int64_t after, int64_t from_ms, int64_t until_ms, size_t most,
                        bool (*each)(void *context, const struct store_request *request), void *context,
                        struct status *st);

/* Forget the oldest from before `before_ms`, at most `most` (writer, in a transaction). */
bool store_request_forget(struct store *store, int64_t before_ms, int most, struct status *st);

/* A request of an experiment, or an event that it led to. */
struct store_exposure {
    int64_t request_id, user_id;
    const char *variant;
    double overlap; /* from here on as in store_request */
    const uint32_t *items;
    const uint8_t *teams;
    size_t item_count;
    uint8_t behaviour; /* of the event; 0: this is the request */
    uint32_t item_id;  /* of the event */
};

/* Requests in an experiment, those of sessions first (user_id 0), with from_ms <= at_ms < until_ms, and after each its user's
 * events with its recomm_id: in the order (user_id, request_id, position of the event). `each` as for
 * store_request_scan. */
bool store_exposure_scan(struct store *store, const char *experiment, int64_t from_ms, int64_t until_ms,
                         bool (*each)(void *context, const struct store_exposure *exposure), void *context,
                         struct status *st);

/* ---- stored lists: of a user, or of user 0, which is everybody */

struct store_list {
    char model[97];
    int64_t counts, catalogue, position, now_ms; /* what the list is a function of */
    uint32_t *item_ids;
    float *scores;
    size_t count;
};

/* Insert or replace (writer, in a transaction). For a user who has gone nothing is stored. */
bool store_list_put(struct store *store, int64_t user_id, const char *name, const struct store_list *list,
                    struct status *st);

/* Both arrays are in one malloc'ed block: free(list->item_ids), which is NULL where there is no such list. */
bool store_list_get(struct store *store, int64_t user_id, const char *name, struct store_list *list, struct status *st);

#endif
