/* SPDX-License-Identifier: Apache-2.0
 *
 * The same life of a store again and again, each time with another call of SQLite's to the system failing: memory,
 * writes, syncs. However it ends, what was acknowledged is there afterwards, and of what was not either nothing or all
 * of one transaction. */
#include "storage/store.h"
#include "tests/unit/store_faults.h"

#include <criterion/criterion.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STEPS           5
#define EVENTS_PER_STEP 4
#define DIMENSION       600 /* a vector has a page of its own */
#define POINTS_MAX      200 /* of each loop; more calls than that are sampled */

static char top[64];
static char dir[128];

static int remove_entry(const char *path, const struct stat *is, int kind, struct FTW *walk)
{
    (void)is, (void)kind, (void)walk;
    return remove(path);
}

static void remove_all(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static void set_up(void)
{
    strcpy(top, "/tmp/test_store_faults_XXXXXX");
    cr_assert_not_null(mkdtemp(top));
    snprintf(dir, sizeof dir, "%s/shop", top);
}

static void tear_down(void)
{
    remove_all(top);
}

TestSuite(store_faults, .init = set_up, .fini = tear_down);

/* ---- a life of a store */

static bool write_events(struct store *store, int64_t user_id, int step, struct status *st)
{
    for (int i = 0; i < EVENTS_PER_STEP; i++) {
        char key[32];
        bool duplicate;
        snprintf(key, sizeof key, "%d-%d", step, i);
        struct store_event event = {
            .ts_ms = 1000 - i, .user_id = user_id, .item_id = 1, .behaviour = 1, .has_value = true, .value = step};
        const struct store_event_extra extra = {.received_ms = step + 1, .recomm_id = "r", .key = key};
        if (!store_event_append(store, &event, &extra, &duplicate, st))
            return false;
    }
    return true;
}

static bool write_lists(struct store *store, int64_t user_id, int step, struct status *st)
{
    uint32_t item_ids[2] = {1, 2};
    float scores[2] = {2, 1};
    const struct store_list list = {.model = "v", .item_ids = item_ids, .scores = scores, .count = 2};
    struct store_request request = {.at_ms = step + 1,
                                    .user_id = user_id,
                                    .recomm_id = "r",
                                    .experiment = "x",
                                    .overlap = -1,
                                    .items = item_ids,
                                    .item_count = 2};
    return store_list_put(store, user_id, "home", &list, st) && store_request_add(store, &request, st);
}

/* One transaction with a bit of everything. */
static bool write_step(struct store *store, int step, struct status *st)
{
    float values[DIMENSION] = {0}, older[DIMENSION] = {0};
    static const char blob[20000];
    char name[32];
    int64_t user_id, position;
    uint8_t behaviour;
    const int64_t at_ms = step + 1;
    values[step] = older[step + 1] = 1;
    snprintf(name, sizeof name, "name-%d", step);
    struct store_item item = {.name = name, .title = "title", .expires_ms = INT64_MAX};
    struct store_space space = {.dimension = DIMENSION, .modality = "text", .encoder = "e@1"};
    struct store_model model = {.name = "m", .sha256 = "s"};
    snprintf(model.version, sizeof model.version, "v%d", step);
    return store_begin(store, st) && store_user_find(store, name, true, &user_id, NULL, st) &&
           store_behaviour_find(store, name, true, &behaviour, st) && write_events(store, user_id, step, st) &&
           write_lists(store, user_id, step, st) && store_item_put(store, &item, at_ms, st) &&
           store_space_put(store, &space, st) &&
           store_feature_put(store, item.item_id, &space, older, at_ms, &position, st) &&
           store_feature_put(store, item.item_id, &space, values, at_ms, &position, st) &&
           store_counts_put(store, step + 1, at_ms, blob, sizeof blob, st) &&
           store_model_put(store, &model, blob, 5000, st) &&
           store_activation_put(store, model.version, step + 1, at_ms, st) &&
           store_past_forget(store, step - 1, 100, st) && store_commit(store, st);
}

static bool ignore_event(void *context, const struct store_event *event)
{
    (void)event;
    ++*(int *)context;
    return true;
}

static bool ignore_item(void *context, const struct store_item *item)
{
    cr_assert_eq(strncmp(item->name, "name-", 5), 0);
    ++*(int *)context;
    return true;
}

static bool ignore_feature(void *context, uint32_t item_id, uint32_t space_id, const float *values, int32_t dimension)
{
    (void)item_id, (void)space_id;
    float sum = 0;
    cr_assert_eq(dimension, DIMENSION);
    for (int32_t i = 0; i < dimension; i++)
        sum += values[i];
    cr_assert_eq(sum, 1.0f);
    ++*(int *)context;
    return true;
}

static bool see_request(void *context, const struct store_request *request)
{
    cr_assert(request->item_count == 2 && request->items[1] == 2 && request->teams == NULL);
    ++*(int *)context;
    return true;
}

static bool see_exposure(void *context, const struct store_exposure *exposure)
{
    cr_assert(exposure->item_count == 2 && exposure->behaviour <= 1);
    ++*(int *)context;
    return true;
}

static bool read_past(struct store *store, struct status *st)
{
    struct store_list list = {0};
    char version[97];
    int64_t position, begin_ms;
    int seen = 0;
    const bool ok = store_past_begin(store, &begin_ms, st) && store_past_position(store, STEPS - 1, &position, st) &&
                    store_past_items(store, position, ignore_item, &seen, st) &&
                    store_past_features(store, position, ignore_feature, &seen, st) &&
                    store_past_features(store, position - 2, ignore_feature, &seen, st) &&
                    store_past_model(store, position, version, st) &&
                    store_past_counts(store, STEPS - 1, &position, st) &&
                    store_request_scan(store, 0, 0, INT64_MAX, 99, see_request, &seen, st) &&
                    store_exposure_scan(store, "x", 0, INT64_MAX, see_exposure, &seen, st) &&
                    store_list_get(store, 1, "home", &list, st);
    free(list.item_ids);
    return ok;
}

/* Every way to read. False with a status; what was read is right in any case. */
static bool read_all(struct store *store, struct status *st)
{
    struct store_event events[8];
    struct store_user users[STEPS];
    struct store_sizes sizes;
    struct store_model model;
    char version[97];
    void *counts = NULL, *bytes = NULL;
    size_t size, count;
    int64_t position;
    bool more;
    int seen = 0;
    const bool ok =
        store_read_begin(store, st) && store_event_scan(store, 0, INT64_MAX, ignore_event, &seen, st) &&
        store_event_history(store, 1, INT64_MAX, events, 8, &count, &more, st) &&
        store_event_tail(store, 0, INT64_MAX, events, 8, &count, st) &&
        store_user_list(store, -1, 0, 1024, users, STEPS, &count, st) &&
        store_item_scan(store, ignore_item, &seen, st) && store_feature_scan(store, ignore_feature, &seen, st) &&
        store_sizes(store, &sizes, st) && store_counts_load(store, INT64_MAX, &position, &counts, &size, st) &&
        store_activation_latest(store, version, st) &&
        (version[0] == '\0' || store_model_load(store, version, &model, &bytes, &size, st)) && read_past(store, st);
    free(counts);
    free(bytes);
    store_read_end(store);
    return ok;
}

/* What a life came to. */
struct outcome {
    int acknowledged; /* transactions */
    bool failed;      /* a call said so */
    struct status why;
};

static void note(struct outcome *outcome, const struct status *st)
{
    if (!outcome->failed)
        outcome->why = *st;
    outcome->failed = true;
}

/* Live until the end, or, where the fault stays, until the first failure. A step that failed is rolled back and tried
 * once more. */
static struct outcome live(void)
{
    struct outcome outcome = {0};
    struct status st = STATUS_INIT;
    const struct store_options options = {.data_dir = dir, .full_sync = true};
    struct store *store = store_open_writer(&options, &st), *reader = NULL;
    if (store == NULL) {
        note(&outcome, &st);
        return outcome;
    }
    for (int step = 0; step < STEPS; step++) {
        bool ok = write_step(store, step, &st);
        for (int again = 0; !ok && again < 2; again++) {
            note(&outcome, &st);
            store_rollback(store);
            if (fault.stays)
                goto out;
            ok = write_step(store, step, &st);
        }
        cr_assert(ok, "fault %ld, step %d, once more: %s: %s", fault.fail_at, step, st.reason, st.message);
        outcome.acknowledged++;
        if (step % 2 == 1 && !store_checkpoint(store, step == 3, &st))
            note(&outcome, &st);
    }
    reader = store_open_reader(&options, &st);
    if (reader == NULL || !read_all(reader, &st))
        note(&outcome, &st);
    if (!read_all(store, &st))
        note(&outcome, &st);
out:
    store_close(reader);
    store_close(store);
    return outcome;
}

static int64_t events_of(struct store *store, int step)
{
    char name[32];
    int64_t user_id, count = 0;
    struct status st = STATUS_INIT;
    snprintf(name, sizeof name, "name-%d", step);
    cr_assert(store_user_find(store, name, false, &user_id, NULL, &st));
    if (user_id != 0)
        cr_assert(store_event_count(store, user_id, INT64_MAX, &count, &st));
    return count;
}

/* Without faults: whole, and a prefix of the steps that has at least those acknowledged. */
static void expect_prefix(const struct outcome *outcome)
{
    struct status st = STATUS_INIT;
    struct store *store = store_open_writer(&(struct store_options){.data_dir = dir}, &st);
    cr_assert_not_null(store, "fault %ld: %s: %s", fault.fail_at, st.reason, st.message);
    cr_assert(store_check(store, &st), "fault %ld: %s", fault.fail_at, st.message);
    int stored = 0, items = 0;
    while (stored < STEPS && events_of(store, stored) == EVENTS_PER_STEP)
        stored++;
    cr_assert(stored == outcome->acknowledged || stored == outcome->acknowledged + 1, "fault %ld: %d of %d",
              fault.fail_at, stored, outcome->acknowledged);
    for (int step = stored; step < STEPS; step++)
        cr_assert_eq(events_of(store, step), 0, "fault %ld: step %d is there in part", fault.fail_at, step);
    cr_assert(store_item_scan(store, ignore_item, &items, &st));
    cr_assert_eq(items, stored);
    int requests = 0, exposures = 0;
    cr_assert(store_request_scan(store, 0, 0, INT64_MAX, 99, see_request, &requests, &st));
    cr_assert(store_exposure_scan(store, "x", 0, INT64_MAX, see_exposure, &exposures, &st));
    cr_assert(requests == stored && exposures == stored * (1 + EVENTS_PER_STEP), "%d, %d", requests, exposures);
    struct store_sizes sizes;
    cr_assert(store_sizes(store, &sizes, &st));
    cr_assert(sizes.users == stored && sizes.events == stored * EVENTS_PER_STEP);
    int64_t position;
    cr_assert(store_position(store, &position, &st));
    cr_assert_geq(position, stored * (EVENTS_PER_STEP + 4));
    store_close(store);
}

static struct outcome live_with_fault(long fail_at, bool stays)
{
    remove_all(dir);
    arm(fail_at, stays);
    const struct outcome outcome = live();
    const long failed = fault.failed;
    fault.fail_at = 0;
    expect_prefix(&outcome);
    fault.fail_at = fail_at;
    cr_assert(!outcome.failed || failed > 0, "%s", outcome.why.message);
    return outcome;
}

/* Every point in turn, or a sample of them. `reason` is what a failure has to say. */
static void try_all_points(bool stays, const char *reason)
{
    const struct outcome clean = live_with_fault(0, false);
    cr_assert(!clean.failed && clean.acknowledged == STEPS, "%s", clean.why.message);
    remove_all(dir);
    arm(0, false);
    live();
    const long points = fault.calls, stride = points / POINTS_MAX + 1;
    long errors = 0;
    for (long at = 1; at <= points; at += stride) {
        const struct outcome outcome = live_with_fault(at, stays);
        errors += outcome.failed;
        if (outcome.failed)
            cr_assert_str_eq(outcome.why.reason, reason, "fault %ld: %s", at, outcome.why.message);
    }
    cr_assert_gt(errors, points / stride / 4, "%ld errors of %ld points", errors, points);
}

Test(store_faults, one_allocation_fails)
{
    use_faulty_memory();
    try_all_points(false, "NO_MEMORY");
}

Test(store_faults, memory_is_gone)
{
    use_faulty_memory();
    try_all_points(true, "NO_MEMORY");
}

Test(store_faults, one_write_fails)
{
    use_faulty_disk(false);
    try_all_points(false, "STORE_IO");
}

Test(store_faults, the_disk_breaks)
{
    use_faulty_disk(false);
    try_all_points(true, "STORE_IO");
}

Test(store_faults, the_disk_is_full_for_a_moment)
{
    use_faulty_disk(true);
    try_all_points(false, "DISK_FULL");
}

Test(store_faults, the_disk_is_full)
{
    use_faulty_disk(true);
    try_all_points(true, "DISK_FULL");
}
