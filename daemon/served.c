/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/served.h"

#include <stdlib.h>
#include <string.h>

#define HASH_NONFATAL_OOM 1
#include <uthash.h>
#include <utlist.h>

#define ID_BYTES       33
#define ENTRY_OVERHEAD 64 /* bytes of an entry in the table, about */
#define SHARE_MOST     8  /* one list takes at most this part of the room */

struct served_entry {
    char id[ID_BYTES];
    const ProtobufCMessageDescriptor *type;
    size_t request_bytes, items_bytes, item_count, total_bytes;
    struct served_entry *prev, *next; /* oldest first */
    UT_hash_handle hh;
    char data[]; /* the packed request, then the names, each with its end */
};

void served_init(struct served *served, size_t bytes_max)
{
    *served = (struct served){.bytes_max = bytes_max};
    pthread_mutex_init(&served->lock, NULL);
}

static void drop(struct served *served, struct served_entry *entry)
{
    HASH_DEL(served->by_id, entry);
    DL_DELETE(served->oldest, entry);
    served->bytes -= entry->total_bytes;
    free(entry);
}

void served_clear(struct served *served)
{
    pthread_mutex_lock(&served->lock);
    while (served->oldest != NULL)
        drop(served, served->oldest);
    served->epoch++;
    pthread_mutex_unlock(&served->lock);
}

unsigned served_epoch(struct served *served)
{
    pthread_mutex_lock(&served->lock);
    unsigned epoch = served->epoch;
    pthread_mutex_unlock(&served->lock);
    return epoch;
}

void served_close_all(struct served *served)
{
    served_clear(served);
    pthread_mutex_destroy(&served->lock);
}

static char *append(char *at, const char *name)
{
    size_t size = strlen(name) + 1;
    memcpy(at, name, size);
    return at + size;
}

void served_add(struct served *served, unsigned epoch, const ProtobufCMessage *request, const Recsys__RankedList *list,
                const char *const *before, size_t before_count)
{
    size_t request_bytes = protobuf_c_message_get_packed_size(request), items_bytes = 0;
    for (size_t i = 0; i < before_count; i++)
        items_bytes += strlen(before[i]) + 1;
    for (size_t i = 0; i < list->n_items; i++)
        items_bytes += strlen(list->items[i]->item) + 1;
    size_t total = sizeof(struct served_entry) + ENTRY_OVERHEAD + request_bytes + items_bytes;
    struct served_entry *entry = total > served->bytes_max / SHARE_MOST ? NULL : malloc(total);
    if (entry == NULL)
        return;
    *entry = (struct served_entry){.type = request->descriptor,
                                   .request_bytes = request_bytes,
                                   .items_bytes = items_bytes,
                                   .item_count = before_count + list->n_items,
                                   .total_bytes = total};
    memcpy(entry->id, list->recomm_id, strnlen(list->recomm_id, ID_BYTES - 1));
    protobuf_c_message_pack(request, (uint8_t *)entry->data);
    char *at = entry->data + request_bytes;
    for (size_t i = 0; i < before_count; i++)
        at = append(at, before[i]);
    for (size_t i = 0; i < list->n_items; i++)
        at = append(at, list->items[i]->item);
    pthread_mutex_lock(&served->lock);
    if (epoch == served->epoch)
        HASH_ADD_STR(served->by_id, id, entry);
    if (entry->hh.tbl == NULL) { /* forgotten already, or no memory for the table */
        pthread_mutex_unlock(&served->lock);
        free(entry);
        return;
    }
    DL_APPEND(served->oldest, entry);
    served->bytes += total;
    while (served->bytes > served->bytes_max)
        drop(served, served->oldest);
    pthread_mutex_unlock(&served->lock);
}

/* names of the copied block; false out of memory */
static bool split(struct served_list *out, const char *names)
{
    out->items = malloc((out->count + 1) * sizeof *out->items);
    for (size_t i = 0; out->items != NULL && i < out->count; i++) {
        out->items[i] = (char *)names;
        names += strlen(names) + 1;
    }
    return out->items != NULL;
}

bool served_find(struct served *served, const char *recomm_id, struct served_list *out, struct status *st)
{
    struct served_entry *entry;
    const ProtobufCMessageDescriptor *type = NULL;
    size_t request_bytes = 0;
    *out = (struct served_list){.request = NULL};
    pthread_mutex_lock(&served->lock);
    HASH_FIND_STR(served->by_id, recomm_id, entry);
    if (entry != NULL) {
        type = entry->type;
        request_bytes = entry->request_bytes;
        out->count = entry->item_count;
        out->block = malloc(request_bytes + entry->items_bytes + 1);
        if (out->block != NULL)
            memcpy(out->block, entry->data, request_bytes + entry->items_bytes);
    }
    pthread_mutex_unlock(&served->lock);
    if (type == NULL)
        return status_fail_field(st, STATUS_FAILED_PRECONDITION, "RECOMM_GONE", "recomm_id",
                                 "list '%.64s' is not kept any more: ask for a new one", recomm_id);
    if (out->block != NULL)
        out->request = protobuf_c_message_unpack(type, NULL, request_bytes, (const uint8_t *)out->block);
    if (out->request != NULL && split(out, out->block + request_bytes))
        return true;
    served_close(out);
    return status_fail(st, STATUS_RESOURCE_EXHAUSTED, "NO_MEMORY", "no memory for the next page");
}

void served_close(struct served_list *list)
{
    if (list->request != NULL)
        protobuf_c_message_free_unpacked(list->request, NULL);
    free(list->items);
    free(list->block);
    *list = (struct served_list){.request = NULL};
}
