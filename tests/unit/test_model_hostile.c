/* SPDX-License-Identifier: Apache-2.0
 *
 * A model file from a stranger that claims anything untrue is refused. */
#include "models/safetensors.h"
#include "tests/support/random_model.h"
#include "tests/unit/model_file_rig.h"

#include <math.h>
#include <stdio.h>

static void assert_refused(const unsigned char *bytes, size_t size, const char *reason, const char *what)
{
    struct status st = STATUS_INIT;
    struct model *model = read_copy(bytes, size, &st);
    cr_assert_null(model, "%s: accepted", what);
    cr_assert_eq(st.code, STATUS_INVALID_ARGUMENT, "%s: code %d", what, st.code);
    cr_assert(reason == NULL || strcmp(st.reason, reason) == 0, "%s: %s, '%s'", what, st.reason, st.message);
    cr_assert_gt(strlen(st.message), 0, "%s: no message", what);
}

/* A model file in parts, to be written again with one of them changed. */
struct parts {
    struct model *model;
    unsigned char *bytes;
    struct safetensors file;
};

static void parts_open(struct parts *parts, enum random_model_kind kind)
{
    struct status st = STATUS_INIT;
    size_t size;
    *parts = (struct parts){.model = random_model(kind, 50)};
    parts->bytes = write_model(parts->model, &size);
    cr_assert(safetensors_parse(&parts->file, parts->bytes, size, &st));
}

static void parts_close(struct parts *parts)
{
    safetensors_close(&parts->file);
    free(parts->bytes);
    model_release(parts->model);
}

/* What to change: a tensor (left out where `tensor.data` is NULL) or a metadata string (left out where `text` is
 * NULL). */
struct change {
    const char *name;
    struct safetensors_tensor tensor;
    const char *text;
};

static unsigned char *write_changed(const struct parts *parts, const struct change *change, size_t *size)
{
    static const char *const keys[] = {"architecture", "format", "name", "training"};
    struct safetensors_writer writer = {0};
    struct status st = STATUS_INIT;
    for (size_t i = 0; i < parts->file.tensor_count; i++) {
        const struct safetensors_tensor *t = &parts->file.tensors[i];
        if (strcmp(t->name, change->name) == 0)
            t = &change->tensor;
        if (t->data != NULL)
            cr_assert(safetensors_add(&writer, parts->file.tensors[i].name, t->dtype, t->rank, t->shape, t->data, &st),
                      "%s", st.message);
    }
    for (size_t i = 0; i < 4; i++) {
        const char *text = safetensors_metadata(&parts->file, keys[i]);
        if (strcmp(keys[i], change->name) == 0)
            text = change->text;
        if (text != NULL)
            cr_assert(safetensors_add_metadata(&writer, keys[i], text, &st));
    }
    unsigned char *bytes = safetensors_write(&writer, size, &st);
    cr_assert_not_null(bytes, "%s", st.message);
    safetensors_writer_close(&writer);
    return bytes;
}

static void assert_change_refused(const struct parts *parts, const struct change *change, const char *reason,
                                  const char *what)
{
    size_t size;
    unsigned char *bytes = write_changed(parts, change, &size);
    assert_refused(bytes, size, reason, what);
    free(bytes);
}

Test(model_hostile, cut_short_anywhere)
{
    struct parts parts;
    parts_open(&parts, RANDOM_MODEL_DEFAULT);
    size_t size, step = 1;
    unsigned char *bytes = write_model(parts.model, &size);
    for (size_t cut = 0; cut < size; cut += step) {
        assert_refused(bytes, cut, "BAD_SAFETENSORS", "cut");
        step = cut < 64 ? 1 : 97;
    }
    assert_refused(bytes, size - 1, "BAD_SAFETENSORS", "the last byte missing");
    free(bytes);
    parts_close(&parts);
}

Test(model_hostile, a_rewritten_file_is_read)
{
    struct parts parts;
    struct status st = STATUS_INIT;
    size_t size;
    parts_open(&parts, RANDOM_MODEL_SEQUENCE);
    unsigned char *bytes = write_changed(&parts, &(struct change){.name = "nothing"}, &size);
    struct model *model = read_copy(bytes, size, &st);
    cr_assert_not_null(model, "%s", st.message);
    assert_same_numbers(model, parts.model, "unchanged");
    model_release(model);
    free(bytes);
    parts_close(&parts);
}

Test(model_hostile, every_tensor_is_needed)
{
    struct parts parts;
    parts_open(&parts, RANDOM_MODEL_ID);
    for (size_t i = 0; i < parts.file.tensor_count; i++)
        assert_change_refused(&parts, &(struct change){.name = parts.file.tensors[i].name}, NULL,
                              parts.file.tensors[i].name);
    for (size_t i = 0; i < parts.model->params.count; i++)
        cr_assert_not_null(safetensors_find(&parts.file, parts.model->params.list[i].name), "'%s' is not in the file",
                           parts.model->params.list[i].name);
    parts_close(&parts);
}

Test(model_hostile, no_number_is_nan_or_infinite)
{
    static const float wrong[] = {NAN, INFINITY, -INFINITY};
    struct parts parts;
    parts_open(&parts, RANDOM_MODEL_SEQUENCE);
    for (size_t i = 0; i < parts.file.tensor_count; i++) {
        struct change change = {.name = parts.file.tensors[i].name, .tensor = parts.file.tensors[i]};
        if (change.tensor.dtype != SAFETENSORS_F32 || change.tensor.count == 0)
            continue;
        float *values = random_model_alloc(change.tensor.count, sizeof *values);
        memcpy(values, change.tensor.data, change.tensor.size_bytes);
        values[change.tensor.count - 1 - i % change.tensor.count] = wrong[i % 3];
        change.tensor.data = (const unsigned char *)values;
        assert_change_refused(&parts, &change, "BAD_SAFETENSORS", change.name);
        free(values);
    }
    parts_close(&parts);
}

Test(model_hostile, shapes_and_types_must_fit)
{
    struct parts parts;
    parts_open(&parts, RANDOM_MODEL_DEFAULT);
    static const char *const names[] = {"view.text.mean", "view.text.rotation", "head.stream", "similarity.0.time"};
    for (size_t i = 0; i < 4; i++) {
        const struct safetensors_tensor *t = safetensors_find(&parts.file, names[i]);
        struct change change = {.name = names[i], .tensor = *t};
        change.tensor.shape[0]--;
        assert_change_refused(&parts, &change, "BAD_SAFETENSORS", "a row less");
        change.tensor = *t;
        change.tensor.shape[change.tensor.rank++] = 1;
        assert_change_refused(&parts, &change, "BAD_SAFETENSORS", "a dimension more");
        change.tensor = *t;
        change.tensor.dtype = SAFETENSORS_I32;
        assert_change_refused(&parts, &change, "BAD_SAFETENSORS", "integers");
    }
    parts_close(&parts);
}

static void check_head_number(const struct parts *parts, const char *name, float value, bool allowed)
{
    struct change change = {.name = name, .tensor = *safetensors_find(&parts->file, name)};
    struct status st = STATUS_INIT;
    size_t size;
    change.tensor.data = (const unsigned char *)&value;
    unsigned char *bytes = write_changed(parts, &change, &size);
    struct model *model = read_copy(bytes, size, &st);
    cr_assert_eq(model != NULL, allowed, "%s = %g: %s", name, (double)value, st.message);
    model_release(model);
    free(bytes);
}

Test(model_hostile, numbers_that_would_make_no_sense)
{
    struct parts parts;
    parts_open(&parts, RANDOM_MODEL_DEFAULT);
    check_head_number(&parts, "head.epsilon", 0, false);
    check_head_number(&parts, "head.epsilon", -.1f, false);
    check_head_number(&parts, "head.epsilon", .2f, true);
    check_head_number(&parts, "head.decay", 1.01f, false);
    check_head_number(&parts, "head.decay", -.01f, false);
    check_head_number(&parts, "head.decay", 1, true);
    parts_close(&parts);
}

/* ---- the items of a file */

static void check_items(const struct parts *parts, const char *names, size_t names_bytes, const int64_t *ends,
                        bool allowed, const char *what)
{
    struct change name_change = {.name = "items.names"}, end_change = {.name = "items.ends"};
    struct parts changed = {.model = parts->model};
    struct status st = STATUS_INIT;
    size_t size, items = parts->model->item_count;
    name_change.tensor = (struct safetensors_tensor){
        .dtype = SAFETENSORS_U8, .rank = 1, .shape = {names_bytes}, .data = (const unsigned char *)names};
    end_change.tensor = (struct safetensors_tensor){
        .dtype = SAFETENSORS_I64, .rank = 1, .shape = {items}, .data = (const unsigned char *)ends};
    changed.bytes = write_changed(parts, &name_change, &size);
    cr_assert(safetensors_parse(&changed.file, changed.bytes, size, &st), "%s", st.message);
    unsigned char *bytes = write_changed(&changed, &end_change, &size);
    struct model *model = read_copy(bytes, size, &st);
    cr_assert_eq(model != NULL, allowed, "%s: %s", what, st.message);
    cr_assert(allowed || (st.code == STATUS_INVALID_ARGUMENT && strcmp(st.reason, "BAD_MODEL") == 0), "%s: %s", what,
              st.reason);
    model_release(model);
    free(bytes);
    safetensors_close(&changed.file);
    free(changed.bytes);
}

Test(model_hostile, names_and_ends_must_agree)
{
    struct architecture a;
    struct parts parts = {0};
    struct status st = STATUS_INIT;
    size_t size;
    random_model_architecture(&a, RANDOM_MODEL_SEQUENCE);
    parts.model = random_model_of(&a, 3, 1);
    parts.bytes = write_model(parts.model, &size);
    cr_assert(safetensors_parse(&parts.file, parts.bytes, size, &st));
    static const struct {
        const char *what, *names;
        size_t names_bytes;
        int64_t ends[3];
        bool allowed;
    } cases[] = {
        {"as it should be", "a\0bc\0d", 7, {2, 5, 7}, true},
        {"an empty name", "a\0\0d", 5, {2, 3, 5}, true},
        {"one id twice", "a\0bc\0a", 7, {2, 5, 7}, false},
        {"two empty ids", "a\0\0", 4, {2, 3, 4}, false},
        {"not ascending", "a\0bc\0d", 7, {5, 2, 7}, false},
        {"an end twice", "a\0bc\0d", 7, {2, 2, 7}, false},
        {"no end", "a\0bc\0d", 7, {0, 5, 7}, false},
        {"a negative end", "a\0bc\0d", 7, {-2, 5, 7}, false},
        {"the least end", "a\0bc\0d", 7, {INT64_MIN, 5, 7}, false},
        {"past the names", "a\0bc\0d", 7, {2, 5, 8}, false},
        {"far past the names", "a\0bc\0d", 7, {2, 5, INT64_MAX}, false},
        {"inside a name", "a\0bc\0d", 7, {2, 4, 7}, false},
        {"a NUL inside a name", "a\0b\0\0d", 7, {2, 5, 7}, false},
        {"names that go on", "a\0bc\0d\0e", 9, {2, 5, 7}, false},
        {"the last NUL missing", "a\0bc\0de", 7, {2, 5, 7}, false},
        {"no names at all", "", 0, {1, 2, 3}, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        check_items(&parts, cases[i].names, cases[i].names_bytes, cases[i].ends, cases[i].allowed, cases[i].what);
    parts_close(&parts);
}

Test(model_hostile, items_of_another_type)
{
    struct parts parts;
    parts_open(&parts, RANDOM_MODEL_SEQUENCE);
    struct change change = {.name = "items.names", .tensor = *safetensors_find(&parts.file, "items.names")};
    change.tensor.dtype = SAFETENSORS_I32;
    change.tensor.shape[0] /= 4;
    assert_change_refused(&parts, &change, "BAD_MODEL", "names of I32");
    change = (struct change){.name = "items.ends", .tensor = *safetensors_find(&parts.file, "items.ends")};
    change.tensor.dtype = SAFETENSORS_F64;
    assert_change_refused(&parts, &change, "BAD_MODEL", "ends of F64");
    change = (struct change){.name = "items.count", .tensor = *safetensors_find(&parts.file, "items.count")};
    change.tensor.shape[0]--;
    assert_change_refused(&parts, &change, "BAD_SAFETENSORS", "a count too few");
    parts_close(&parts);
}

/* ---- the architecture of a file */

Test(model_hostile, metadata_is_needed)
{
    struct parts parts;
    char longer[66];
    memset(longer, 'n', 65);
    longer[65] = '\0';
    parts_open(&parts, RANDOM_MODEL_DEFAULT);
    const struct change changes[] = {
        {.name = "format"},
        {.name = "format", .text = "recsysd-2"},
        {.name = "name"},
        {.name = "name", .text = longer},
        {.name = "architecture"},
        {.name = "architecture", .text = ""},
        {.name = "architecture", .text = "{"},
        {.name = "architecture", .text = "[]"},
        {.name = "architecture", .text = "{}"},
        {.name = "architecture", .text = "\"default\""},
    };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++)
        assert_change_refused(&parts, &changes[i], "BAD_MODEL", changes[i].text == NULL ? "none" : changes[i].text);
    parts_close(&parts);
}

/* Set one member of an architecture, named by a path like "views/0/components", and see whether it is read. */
static bool read_with(enum random_model_kind kind, const char *path, json_t *value, struct status *st)
{
    struct architecture a, out;
    random_model_architecture(&a, kind);
    json_t *root = architecture_write(&a), *at = root;
    char copy[96], *rest = copy, *step = copy;
    snprintf(copy, sizeof copy, "%s", path);
    memset(&out, 0xa5, sizeof out);
    while ((step = strsep(&rest, "/")) != NULL && rest != NULL)
        at = json_is_array(at) ? json_array_get(at, strtoul(step, NULL, 10)) : json_object_get(at, step);
    if (json_is_array(at))
        json_array_set_new(at, strtoul(step, NULL, 10), value);
    else
        json_object_set_new(at, step, value);
    bool ok = architecture_read(&out, root, st);
    cr_assert(ok || (st->code == STATUS_INVALID_ARGUMENT && strcmp(st->reason, "BAD_MODEL") == 0));
    json_decref(root);
    return ok;
}

Test(model_hostile, numbers_of_an_architecture)
{
    static const struct {
        const char *path;
        json_int_t value;
        bool allowed;
    } cases[] = {
        {"width", 0, false},
        {"width", 1025, false},
        {"width", 17, false}, /* two heads */
        {"width", 18, true},
        {"blocks", -1, false},
        {"blocks", ARCHITECTURE_BLOCKS_MAX, true},
        {"blocks", ARCHITECTURE_BLOCKS_MAX + 1, false},
        {"heads", 0, false},
        {"heads", 3, false},
        {"feedforward", 0, false},
        {"feedforward", 4097, false},
        {"history", 0, false},
        {"history", ARCHITECTURE_HISTORY_MAX + 1, false},
        {"views/0/dimension", 0, false},
        {"views/0/dimension", 65537, false},
        {"views/0/components", 0, false},
        {"views/0/components", 25, false}, /* of 24 dimensions */
        {"views/0/components", 11, false}, /* two heads */
        {"views/0/correction", -1, false},
        {"views/0/correction", 257, false},
        {"similarities/0/heads", 0, false},
        {"similarities/0/heads", 5, false},
        {"similarities/0/heads", 1, false}, /* streams join it with similarities of two heads */
        {"similarities/0/hard", -1, false},
        {"similarities/0/hard", 1001, false},
        {"similarities/0/hard", 7, true},
        {"streams/0/pick", -1, false},
        {"streams/0/pick", 2, false},
        {"streams/0/judge", 2, false},
        {"streams/0/judge", 4294967296, false},
        {"width", INT64_MIN, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct status st = STATUS_INIT;
        bool ok = read_with(RANDOM_MODEL_HEADS, cases[i].path, json_integer(cases[i].value), &st);
        cr_assert_eq(ok, cases[i].allowed, "%s = %lld: %s", cases[i].path, (long long)cases[i].value, st.message);
    }
    struct status st = STATUS_INIT;
    cr_assert_not(read_with(RANDOM_MODEL_ID, "views/2/components", json_integer(15), &st),
                  "an id view is as wide as the model");
    cr_assert_not(read_with(RANDOM_MODEL_HEADS, "width", json_real(16), &st), "a width of 16.0");
    cr_assert_not(read_with(RANDOM_MODEL_JOINT, "views/1/components", json_integer(11), &st),
                  "a similarity of 12 components against 11");
}

Test(model_hostile, texts_of_an_architecture)
{
    char longer[140];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    const struct {
        const char *path, *text;
        bool allowed;
    } cases[] = {
        {"views/1/name", "text", false},           {"views/1/name", longer + 139 - 64, false},
        {"views/1/modality", longer + 75, false},  {"views/1/encoder", longer + 10, false},
        {"views/1/encoder", longer + 11, true},    {"similarities/0/candidate", "sound", false},
        {"similarities/0/history", "", false},     {"similarities/0/kind", "euclidean", false},
        {"similarities/0/kind", "cosine", true},   {"behaviours/0", longer + 139 - 32, false},
        {"behaviours/0", longer + 139 - 31, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct status st = STATUS_INIT;
        bool ok = read_with(RANDOM_MODEL_DEFAULT, cases[i].path, json_string(cases[i].text), &st);
        cr_assert_eq(ok, cases[i].allowed, "%s = '%s': %s", cases[i].path, cases[i].text, st.message);
    }
    struct status st = STATUS_INIT;
    static const char *const lists[] = {"views", "similarities", "streams", "behaviours"};
    static const size_t most[] = {ARCHITECTURE_VIEWS_MAX, ARCHITECTURE_SIMILARITIES_MAX, ARCHITECTURE_STREAMS_MAX,
                                  ARCHITECTURE_BEHAVIOURS_MAX};
    for (size_t i = 0; i < 4; i++) {
        json_t *list = json_array();
        for (size_t j = 0; j <= most[i]; j++)
            json_array_append_new(list, json_null());
        cr_assert_not(read_with(RANDOM_MODEL_DEFAULT, lists[i], list, &st), "%s: one too many", lists[i]);
        cr_assert_not(read_with(RANDOM_MODEL_DEFAULT, lists[i], json_null(), &st), "%s: none", lists[i]);
        cr_assert_not(read_with(RANDOM_MODEL_DEFAULT, lists[i], json_pack("[n]"), &st), "%s: null", lists[i]);
    }
}

/* An architecture may ask for more memory than any machine has; the file must hold the numbers that it asks for. */
Test(model_hostile, an_architecture_that_needs_more_numbers_than_the_file_has)
{
    struct parts parts;
    parts_open(&parts, RANDOM_MODEL_DEFAULT);
    json_t *json = json_loads(safetensors_metadata(&parts.file, "architecture"), 0, NULL), *view;
    size_t i;
    json_object_set_new(json, "width", json_integer(1024));
    json_object_set_new(json, "blocks", json_integer(8));
    json_object_set_new(json, "feedforward", json_integer(4096));
    json_array_foreach(json_object_get(json, "views"), i, view)
    {
        json_object_set_new(view, "dimension", json_integer(65536));
        json_object_set_new(view, "components", json_integer(1024));
    }
    char *text = json_dumps(json, 0);
    size_t size;
    unsigned char *bytes = write_changed(&parts, &(struct change){.name = "architecture", .text = text}, &size);
    struct status st = STATUS_INIT;
    cr_assert_null(read_copy(bytes, size, &st));
    cr_assert_str_eq(st.reason, "BAD_MODEL");
    cr_assert_not_null(strstr(st.message, "more numbers than the file has"), "%s", st.message);
    free(bytes);
    free(text);
    json_decref(json);
    parts_close(&parts);
}
