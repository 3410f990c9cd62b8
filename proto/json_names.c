/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/json_internal.h"
#include "proto/suggest.h"

#include <string.h>

#define ALIASES_MAX    9   /* per name, the NULL that ends them included */
#define CANDIDATES_MAX 256 /* fields and aliases of a message that are compared with a misspelt one */

/* What users of other recommenders write. An alias counts only where it is not itself a field and its canonical name
 * is one, so `item` means `items` in `similar` and `id` means `key` only in events (every other message with a `key`
 * is an object's entry). */
static const struct {
    const char *name;
    const char *aliases[ALIASES_MAX];
} names[] = {
    {"user", {"user_id", "userId", "user-id", "UserId", "targetUserId"}},
    {"item", {"item_id", "itemId", "ItemId"}},
    {"items", {"item", "itemSet", "inputList", "positive", "candidates", "item_id", "itemId", "ItemId"}},
    {"n", {"count", "num", "numResults", "limit", "top_k", "pageSize", "maxRecommendations", "k"}},
    {"exclude", {"blacklistItems", "must_not", "blacklist"}},
    {"exclude_seen", {"excludeSeen"}},
    {"weights", {"manualWeights"}},
    {"current", {"item", "cart", "item_id", "itemId", "ItemId"}},
    {"boost", {"booster", "boosts"}},
    {"caps", {"windows", "cap"}},
    {"most", {"max"}},
    {"window", {"in"}},
    {"unlike", {"negative"}},
    {"scenario", {"campaignArn", "recommenderArn", "servingConfig", "logic", "campaign"}},
    {"deadline_ms", {"deadline", "deadlineMs"}},
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

const ProtobufCFieldDescriptor *json_nearest_field(const ProtobufCMessageDescriptor *type, const char *name)
{
    const char *candidates[CANDIDATES_MAX];
    size_t count = 0;
    for (unsigned i = 0; i < type->n_fields && count < CANDIDATES_MAX; i++)
        candidates[count++] = type->fields[i].name;
    for (size_t row = 0; row < NAMES_COUNT; row++)
        for (const char *const *alias = names[row].aliases; *alias != NULL && count < CANDIDATES_MAX; alias++)
            if (protobuf_c_message_descriptor_get_field_by_name(type, names[row].name) != NULL)
                candidates[count++] = *alias;
    const char *nearest = suggest(name, candidates, count);
    return nearest == NULL ? NULL : json_find_field(type, nearest);
}

bool json_field_is_map(const ProtobufCFieldDescriptor *field)
{
    if (field->label != PROTOBUF_C_LABEL_REPEATED || field->type != PROTOBUF_C_TYPE_MESSAGE)
        return false;
    const ProtobufCMessageDescriptor *element = field->descriptor;
    return element->n_fields > 0 && strcmp(element->fields[0].name, "key") == 0;
}
