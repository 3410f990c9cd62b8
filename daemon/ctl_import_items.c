/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/ctl_import.h"
#include "daemon/ctl_import_text.h"

#include <inttypes.h>
#include <stdio.h>

bool import_is_attribute(const struct item_columns *columns, size_t column)
{
    int number = (int)column;
    return number != columns->item && number != columns->title && number != columns->categories &&
           number != columns->price && number != columns->available;
}

static const char *cell(const struct atomic_file *file, int column)
{
    return column >= 0 ? file->cells[column] : "";
}

static bool set_title(Recsys__Item *item, struct batch *batch, const char *text)
{
    if (*text == '\0')
        return true;
    item->_title_case = RECSYS__ITEM___TITLE_TITLE;
    item->title = batch_text(batch, text);
    return item->title != NULL;
}

static bool set_categories(Recsys__Item *item, struct batch *batch, const char *text)
{
    if (*text == '\0')
        return true;
    char **parts = batch_alloc(batch, import_categories_max(text) * sizeof *parts);
    char *copy = batch_text(batch, text);
    if (parts == NULL || copy == NULL)
        return false;
    item->categories = parts;
    item->n_categories = import_categories_split(copy, parts);
    return true;
}

static bool set_attributes(Recsys__Item *item, struct batch *batch, const struct atomic_file *file,
                           const struct item_columns *columns)
{
    Recsys__Attribute **attributes = batch_alloc(batch, file->column_count * sizeof *attributes);
    if (attributes == NULL)
        return false;
    item->attributes = attributes;
    for (size_t i = 0; i < file->column_count; i++) {
        if (!import_is_attribute(columns, i) || *file->cells[i] == '\0')
            continue;
        Recsys__Attribute *attribute = batch_alloc(batch, sizeof *attribute);
        if (attribute == NULL)
            return false;
        recsys__attribute__init(attribute);
        attribute->key = (char *)file->names[i]; /* lives as long as the file */
        attribute->value_case = RECSYS__ATTRIBUTE__VALUE_TEXT;
        attribute->text = batch_text(batch, file->cells[i]);
        if (attribute->text == NULL)
            return false;
        attributes[item->n_attributes++] = attribute;
    }
    return true;
}

/* An empty cell says nothing; anything else must be a price, and a yes or no. */
static bool set_facts(Recsys__Item *item, const char *price, const char *available, struct status *st)
{
    if (*price != '\0') {
        item->_price_case = RECSYS__ITEM___PRICE_PRICE;
        if (!ctl_parse_real(price, &item->price))
            return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_NUMBER", "price '%.64s' is no number", price);
    }
    if (*available != '\0') {
        bool value = false;
        if (!import_yes_no(available, &value))
            return status_fail(st, STATUS_INVALID_ARGUMENT, "BAD_FLAG", "available '%.64s' is neither yes nor no",
                               available);
        item->_available_case = RECSYS__ITEM___AVAILABLE_AVAILABLE;
        item->available = value;
    }
    return true;
}

static enum import_append append_item(struct import *import, struct batch *batch, struct status *st)
{
    const struct atomic_file *file = &import->items;
    const struct item_columns *columns = &import->item_columns;
    Recsys__Item *item = batch_alloc(batch, sizeof *item);
    if (item == NULL)
        return IMPORT_BATCH_FULL;
    recsys__item__init(item);
    if (!set_facts(item, cell(file, columns->price), cell(file, columns->available), st))
        return IMPORT_ROW_BAD;
    item->item = batch_text(batch, file->cells[columns->item]);
    if (item->item == NULL || !set_title(item, batch, cell(file, columns->title)) ||
        !set_categories(item, batch, cell(file, columns->categories)) || !set_attributes(item, batch, file, columns))
        return IMPORT_BATCH_FULL;
    batch_add(batch, item, file->line_number, protobuf_c_message_get_packed_size(&item->base));
    return IMPORT_APPENDED;
}

static void seal_items(struct import *import, struct batch *batch)
{
    Recsys__ItemPutRequest *request = &batch->request.items;
    (void)import;
    recsys__item_put_request__init(request);
    request->n_items = batch->row_count;
    request->items = (Recsys__Item **)(void *)batch->rows;
    request->_atomic_case = RECSYS__ITEM_PUT_REQUEST___ATOMIC_ATOMIC;
    request->atomic = false;
}

static void count_items(struct import *import, const ProtobufCMessage *message, Recsys__RowError *const **errors,
                        size_t *error_count)
{
    const Recsys__ItemPutReply *reply = (const Recsys__ItemPutReply *)message;
    import->tally->created += (uint64_t)reply->created;
    import->tally->changed += (uint64_t)reply->changed;
    *errors = reply->errors;
    *error_count = reply->n_errors;
}

static void place_item(const struct import *import, const struct batch *batch, size_t row, char *out, size_t out_size)
{
    snprintf(out, out_size, "%s:%" PRIu64, import->items.path, batch->lines[row]);
}

bool import_items(struct import *import, struct status *st)
{
    static const struct import_kind kind = {.method = "item.put",
                                            .reply_type = &recsys__item_put_reply__descriptor,
                                            .append = append_item,
                                            .seal = seal_items,
                                            .count = count_items,
                                            .place = place_item};
    import_begin(import, &kind, &import->items_tally, "items", import->items.size_bytes);
    return import_rows(import, &import->items, st);
}
