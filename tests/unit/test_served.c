/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon/served.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct served served;

static void open_one(void)
{
    served_init(&served, 64 << 10);
}

static void close_one(void)
{
    served_close_all(&served);
}

TestSuite(served, .init = open_one, .fini = close_one);

/* a list of `count` items for the user, remembered under a number */
static void add(int number, const char *user, size_t count, const char *const *before, size_t before_count)
{
    char id[33], names[8][16];
    Recsys__RecommendRequest request = RECSYS__RECOMMEND_REQUEST__INIT;
    Recsys__RankedList list = RECSYS__RANKED_LIST__INIT;
    Recsys__RankedItem items[8], *pointers[8];
    cr_assert_leq(count, 8);
    snprintf(id, sizeof id, "%032d", number);
    for (size_t i = 0; i < count; i++) {
        snprintf(names[i], sizeof names[i], "item-%d-%zu", number, i);
        recsys__ranked_item__init(&items[i]);
        items[i].item = names[i];
        pointers[i] = &items[i];
    }
    request.user = (char *)user;
    list.recomm_id = id;
    list.items = pointers;
    list.n_items = count;
    served_add(&served, served_epoch(&served), &request.base, &list, before, before_count);
}

static bool find(int number, struct served_list *out, struct status *st)
{
    char id[33];
    snprintf(id, sizeof id, "%032d", number);
    return served_find(&served, id, out, st);
}

Test(served, a_list_comes_back_with_its_request_and_items)
{
    static const char *const before[] = {"earlier", ""};
    struct status st = STATUS_INIT;
    struct served_list list;
    add(7, "u1", 3, before, 2);
    cr_assert(find(7, &list, &st), "%s", st.message);
    cr_assert_eq(list.count, 5);
    cr_assert_str_eq(list.items[0], "earlier");
    cr_assert_str_eq(list.items[1], "");
    cr_assert_str_eq(list.items[4], "item-7-2");
    cr_assert_eq(list.request->descriptor, &recsys__recommend_request__descriptor);
    cr_assert_str_eq(((Recsys__RecommendRequest *)list.request)->user, "u1");
    served_close(&list);
    cr_assert_not(find(8, &list, &st));
    cr_assert_str_eq(st.reason, "RECOMM_GONE");
}

Test(served, the_oldest_go_first)
{
    struct status st = STATUS_INIT;
    struct served_list list;
    for (int i = 0; i < 2000; i++)
        add(i, "u", 8, NULL, 0);
    cr_assert_leq(served.bytes, served.bytes_max);
    cr_assert(find(1999, &list, &st));
    served_close(&list);
    cr_assert_not(find(0, &list, &st));
    int first = 0;
    while (!find(first, &list, &st))
        first++;
    served_close(&list);
    for (int i = first; i < 2000; i++) {
        cr_assert(find(i, &list, &st), "%d is gone, %d is not", i, first);
        served_close(&list);
    }
}

Test(served, one_list_never_takes_it_all)
{
    static char user[32 << 10];
    struct status st = STATUS_INIT;
    struct served_list list;
    memset(user, 'x', sizeof user - 1);
    add(1, "small", 2, NULL, 0);
    add(2, user, 2, NULL, 0);
    cr_assert_not(find(2, &list, &st));
    cr_assert(find(1, &list, &st));
    served_close(&list);
}

Test(served, without_room_nothing_is_kept)
{
    struct status st = STATUS_INIT;
    struct served_list list;
    served_close_all(&served);
    served_init(&served, 0);
    add(1, "u", 1, NULL, 0);
    cr_assert_not(find(1, &list, &st));
}
