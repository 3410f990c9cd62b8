/* SPDX-License-Identifier: Apache-2.0
 *
 * Models as files: what is written comes back to the bit; and what is true of every model that is made or read. */
#include "tests/support/random_model.h"
#include "tests/unit/model_file_rig.h"

#include <sodium.h>
#include <stdio.h>

Test(model_file, every_kind_comes_back_to_the_bit)
{
    for (enum random_model_kind kind = 0; kind < RANDOM_MODEL_COUNT; kind++) {
        struct status st = STATUS_INIT;
        struct model *model = random_model(kind, 40 + kind);
        model->training = json_pack("{s:f, s:[i,i]}", "ndcg", .125, "epochs", 3, 4);
        size_t size, size_again;
        unsigned char *bytes = write_model(model, &size);
        struct model *again = read_copy(bytes, size, &st);
        cr_assert_not_null(again, "%s: %s", random_model_label(kind), st.message);
        assert_same_numbers(model, again, random_model_label(kind));
        cr_assert_str_eq(again->name, "random");
        cr_assert_str_eq(again->version, model->version);
        cr_assert_str_eq(again->sha256, model->sha256);
        cr_assert(json_equal(again->training, model->training));
        for (int64_t row = 0; row < (int64_t)model->item_count; row++) {
            char name[32];
            snprintf(name, sizeof name, "item-%d", (int)row);
            cr_assert_eq(model_item_row(again, name), row);
        }
        cr_assert_eq(model_item_row(again, "item-"), -1);
        unsigned char *bytes_again = write_model(again, &size_again);
        cr_assert(size == size_again && memcmp(bytes, bytes_again, size) == 0, "%s: other bytes",
                  random_model_label(kind));
        free(bytes);
        free(bytes_again);
        model_release(model);
        model_release(again);
    }
}

static void assert_digest(const struct model *model, const unsigned char *bytes, size_t size)
{
    unsigned char digest[crypto_hash_sha256_BYTES];
    char hex[2 * sizeof digest + 1], version[128];
    crypto_hash_sha256(digest, bytes, size);
    sodium_bin2hex(hex, sizeof hex, digest, sizeof digest);
    cr_assert_str_eq(model->sha256, hex);
    snprintf(version, sizeof version, "%s-%.8s", model->name, hex);
    cr_assert_str_eq(model->version, version);
}

Test(model_file, the_version_is_a_function_of_the_bytes)
{
    struct model *model = random_model(RANDOM_MODEL_DEFAULT, 1), *twin = random_model(RANDOM_MODEL_DEFAULT, 1);
    size_t size, twin_size;
    unsigned char *bytes = write_model(model, &size), *twin_bytes = write_model(twin, &twin_size);
    assert_digest(model, bytes, size);
    cr_assert(size == twin_size && memcmp(bytes, twin_bytes, size) == 0, "the same model gives the same bytes");
    cr_assert_str_eq(model->version, twin->version);
    free(twin_bytes);
    *twin->weights.recent += 1;
    twin_bytes = write_model(twin, &twin_size);
    assert_digest(twin, twin_bytes, twin_size);
    cr_assert_str_neq(model->sha256, twin->sha256);
    free(bytes);
    free(twin_bytes);
    model_release(model);
    model_release(twin);
}

Test(model_file, a_new_model_is_zero)
{
    struct architecture a;
    struct status st = STATUS_INIT;
    static const char *const names[] = {"b", "a", ""};
    random_model_architecture(&a, RANDOM_MODEL_SEQUENCE);
    struct model *model = model_new(&a, "new", names, 3, &st);
    cr_assert_not_null(model);
    for (size_t i = 0; i < model->params.total; i++)
        cr_assert_eq(model->block[i], 0);
    cr_assert_eq((uintptr_t)model->weights.gate % 64, 0, "tensors start on a cache line");
    cr_assert(model_item_row(model, "b") == 0 && model_item_row(model, "a") == 1 && model_item_row(model, "") == 2);
    cr_assert_eq(model_acquire(model), model);
    model_release(model);
    cr_assert_str_eq(model->name, "new", "one reference is left");
    model_release(model);
    model_release(NULL);
    static const char *const twice[] = {"a", "b", "a"};
    cr_assert_null(model_new(&a, "twice", twice, 3, &st));
    cr_assert_str_eq(st.reason, "BAD_MODEL");
}

/* No two tensors of a model may go by one name, whatever the modalities are called. */
Test(model_file, modalities_of_any_name)
{
    static const char *const names[] = {"gate", "output", "id", "text.query", "ünï"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct architecture a, read;
        struct status st = STATUS_INIT;
        random_model_architecture(&a, RANDOM_MODEL_SEQUENCE);
        snprintf(a.views[1].name, sizeof a.views[1].name, "%s", names[i]);
        json_t *json = architecture_write(&a);
        bool allowed = architecture_read(&read, json, &st);
        json_decref(json);
        if (!allowed)
            continue; /* refusing the name is as good */
        struct model *model = random_model_of(&a, 3, 1);
        size_t size;
        unsigned char *bytes = model_write(model, &size, &st);
        cr_assert_not_null(bytes, "a view named '%s': %s", names[i], st.message);
        free(bytes);
        model_release(model);
    }
}

Test(model_file, ages_in_buckets)
{
    cr_assert_eq(model_time_bucket(INT64_MIN), 0);
    cr_assert_eq(model_time_bucket(-5), 0);
    cr_assert_eq(model_time_bucket(0), 0);
    cr_assert_eq(model_time_bucket(1000), 0);
    cr_assert_eq(model_time_bucket(2000), 2, "ln 2 / .301 = 2.30");
    cr_assert_eq(model_time_bucket(86400000), 37, "ln 86400 / .301 = 37.76");
    cr_assert_eq(model_time_bucket(INT64_MAX), ARCHITECTURE_TIME_BUCKETS - 1);
    int last = 0;
    for (int64_t age_ms = 1; age_ms < (int64_t)1 << 50; age_ms += 1 + age_ms / 17) {
        int bucket = model_time_bucket(age_ms);
        cr_assert(bucket >= last && bucket == random_model_time_bucket(age_ms), "%lld ms: bucket %d after %d",
                  (long long)age_ms, bucket, last);
        last = bucket;
    }
}

Test(model_file, architectures_come_back)
{
    for (enum random_model_kind kind = 0; kind < RANDOM_MODEL_COUNT; kind++) {
        struct architecture a, again;
        struct status st = STATUS_INIT;
        random_model_architecture(&a, kind);
        json_t *json = architecture_write(&a);
        cr_assert(architecture_read(&again, json, &st), "%s: %s", random_model_label(kind), st.message);
        json_t *rewritten = architecture_write(&again);
        cr_assert(json_equal(json, rewritten), "%s", random_model_label(kind));
        cr_assert(again.width == a.width && again.blocks == a.blocks && again.history == a.history &&
                  again.stream_count == a.stream_count && again.similarities[0].kind == a.similarities[0].kind &&
                  again.similarities[1].hard == a.similarities[1].hard &&
                  again.similarities[0].mask_missing == a.similarities[0].mask_missing);
        cr_assert_eq(architecture_view(&again, "image"), 1);
        cr_assert_eq(architecture_view(&again, "sound"), -1);
        cr_assert_eq(architecture_behaviour(&again, "dislike"), 2);
        cr_assert_eq(architecture_behaviour(&again, ""), -1);
        json_decref(json);
        json_decref(rewritten);
    }
}

Test(model_file, tensors_have_names_of_their_own)
{
    for (enum random_model_kind kind = 0; kind < RANDOM_MODEL_COUNT; kind++) {
        struct model *model = random_model(kind, 1);
        size_t end = 0;
        for (size_t i = 0; i < model->params.count; i++) {
            const struct param *p = &model->params.list[i];
            size_t count = 1;
            for (int j = 0; j < p->rank; j++)
                count *= p->shape[j];
            cr_assert_eq(count, p->count, "'%s'", p->name);
            cr_assert(p->offset >= end && p->offset + p->count <= model->params.total, "'%s' overlaps", p->name);
            cr_assert_eq(*p->slot, model->block + p->offset, "'%s' is elsewhere", p->name);
            end = p->offset + p->count;
            for (size_t j = 0; j < i; j++)
                cr_assert_str_neq(model->params.list[j].name, p->name);
        }
        model_release(model);
    }
}
