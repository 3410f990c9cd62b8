/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/json_internal.h"

#include <string.h>

#define ALIASES_MAX     9  /* per name, the NULL that ends them included */
#define NAME_LENGTH_MAX 48 /* bytes of a name that are compared for likeness */

/* What users of other recommenders write. An alias counts only where it is not itself a field and its canonical name
 * is one, so `item` means `items` in `similar` and `id` means `key` only in events (every other message with a `key`
 * is an object's entry). */
static const struct {
    const char *name;
    const char *aliases[ALIASES_MAX];
} names[] = {
    {"user", {"user_id", "userId", "user-id", "UserId", "targetUserId"}},
    {"item", {"item_id", "itemId", "ItemId"}},
    {"items", {"item", "itemSet", "inputList", "positive", "candidates"}},
    {"n", {"count", "num", "numResults", "limit", "top_k", "pageSize", "maxRecommendations", "k"}},
    {"exclude", {"blacklistItems", "must_not", "blacklist"}},
    {"exclude_seen", {"excludeSeen"}},
    {"weights", {"manualWeights"}},
    {"fields", {"return", "returnProperties", "includedProperties", "metadataColumns"}},
    {"include_context", {"returnSelf"}},
    {"now", {"now_ms", "nowMs"}},
    {"ts", {"timestamp", "Timestamp", "sentAt", "time"}},
    {"behaviour", {"behavior", "type", "event_type", "eventType", "FeedbackType"}},
    {"value", {"eventValue", "Value"}},
    {"key", {"event_id", "eventId", "idempotency_key", "id"}},
    {"recomm_id", {"recommId", "recommendationId", "attributionToken"}},
    {"events", {"feedback", "eventList"}},
    {"cascade_create", {"cascadeCreate"}},
    {"title", {"name"}},
    {"min_seq", {"minSeq"}},
    {"at_seq", {"atSeq"}},
};

#define NAMES_COUNT (sizeof names / sizeof *names)

static bool has_alias(size_t row, const char *text)
{
    for (const char *const *alias = names[row].aliases; *alias != NULL; alias++) {
        if (strcmp(*alias, text) == 0)
            return true;
    }
    return false;
}

const ProtobufCFieldDescriptor *json_find_field(const ProtobufCMessageDescriptor *type, const char *name)
{
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(type, name);
    for (size_t row = 0; field == NULL && row < NAMES_COUNT; row++) {
        if (has_alias(row, name))
            field = protobuf_c_message_descriptor_get_field_by_name(type, names[row].name);
    }
    return field;
}

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Levenshtein's distance, by bytes, with one row of the table (Wagner and Fischer 1974). */
static size_t distance(const char *a, const char *b)
{
    size_t rows = strnlen(a, NAME_LENGTH_MAX), columns = strnlen(b, NAME_LENGTH_MAX);
    size_t row[NAME_LENGTH_MAX + 1];
    for (size_t j = 0; j <= columns; j++)
        row[j] = j;
    for (size_t i = 1; i <= rows; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= columns; j++) {
            size_t replace = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = min(replace, 1 + min(row[j], row[j - 1]));
        }
    }
    return row[columns];
}

static size_t distance_with_aliases(const char *name, const char *text)
{
    size_t best = distance(name, text);
    for (size_t row = 0; row < NAMES_COUNT; row++) {
        if (strcmp(names[row].name, name) != 0)
            continue;
        for (const char *const *alias = names[row].aliases; *alias != NULL; alias++)
            best = min(best, distance(*alias, text));
    }
    return best;
}

const ProtobufCFieldDescriptor *json_nearest_field(const ProtobufCMessageDescriptor *type, const char *name)
{
    const ProtobufCFieldDescriptor *nearest = NULL;
    size_t nearest_distance = SIZE_MAX;
    for (unsigned i = 0; i < type->n_fields; i++) {
        size_t d = distance_with_aliases(type->fields[i].name, name);
        if (d < nearest_distance) {
            nearest_distance = d;
            nearest = &type->fields[i];
        }
    }
    return nearest;
}

bool json_field_is_map(const ProtobufCFieldDescriptor *field)
{
    if (field->label != PROTOBUF_C_LABEL_REPEATED || field->type != PROTOBUF_C_TYPE_MESSAGE)
        return false;
    const ProtobufCMessageDescriptor *element = field->descriptor;
    return element->n_fields > 0 && strcmp(element->fields[0].name, "key") == 0;
}
