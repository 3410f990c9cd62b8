# SPDX-License-Identifier: Apache-2.0
"""The catalogue: what a change of an item does to the very next answer."""
import time
import unittest

import shop
from daemon import INVALID_ARGUMENT, SharedDaemon

ITEMS = 12


def iso(at_s):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s))


class Visibility(SharedDaemon):
    """No waiting in between: an acknowledged change is in the next list, whatever socket asks."""
    @classmethod
    def fill(cls, client):
        shop.put_items(client, ITEMS)
        shop.put_features(client, ITEMS)
        shop.put_events(client, "u", [0, 2])

    def setUp(self):
        self.other = self.server.json()
        self.item = "v-" + self.id().rsplit(".", 1)[1]
        self.put()
        self.addCleanup(self.client.call, "item.delete", items=[self.item])

    def put(self, **fields):
        return self.client.call("item.put", items=[{"item": self.item, **fields}])

    def check_listed(self, listed):
        """In recommend of a known and an unknown user, rank, and similar; or in none of them."""
        self.client.call("feature.put", modality="text", rows=[{"item": self.item, "values": [1.0] * shop.TEXT}])
        for client in (self.client, self.other):
            for method, params in (("recommend", {"user": "u"}), ("recommend", {"user": "nobody"}),
                                   ("rank", {"user": "u", "items": [self.item, "i0001"]}),
                                   ("similar", {"items": ["i0000"]})):
                found = shop.names(client.call(method, n=ITEMS + 1, **params))
                self.assertEqual(self.item in found, listed, (method, params, found))
                self.assertTrue(found)

    def test_put_delete_put(self):
        self.check_listed(True)
        reply = self.client.call("item.delete", items=[self.item])
        self.assertEqual((reply["deleted"], reply["missing"]), (1, []))
        self.check_listed(False)
        self.assertEqual(self.put()["changed"], 1)
        self.check_listed(True)

    def test_delete_twice(self):
        self.client.call("item.delete", items=[self.item])
        reply = self.client.call("item.delete", items=[self.item, "i0001-none"])
        self.assertEqual((reply["deleted"], reply["missing"]), (0, [self.item, "i0001-none"]))

    def test_deleted_item_keeps_its_vectors(self):
        self.check_listed(True)
        self.client.call("item.delete", items=[self.item])
        self.put(title="back")
        (item,) = self.client.call("item.get", items=[self.item])["items"]
        self.assertEqual((item["title"], item["features"][0]["modality"]), ("back", "text"))

    def test_available(self):
        self.check_listed(True)
        self.put(available=False)
        self.check_listed(False)
        self.put(available=True)
        self.check_listed(True)

    def test_expires(self):
        self.put(expires=iso(time.time() - 60))
        self.check_listed(False)
        self.put(expires=iso(time.time() + 3600))
        self.check_listed(True)
        self.put(expires=iso(time.time() - 60))
        self.put(expires="never")
        self.check_listed(True)

    def test_created(self):
        self.put(created=iso(time.time() + 3600))
        self.check_listed(False)
        self.put(created=iso(time.time() - 3600))
        self.check_listed(True)

    def test_expired_as_of_an_earlier_time(self):
        """The time of the answer decides, not the clock."""
        self.put(expires=iso(time.time() - 60))
        before = self.client.call("recommend", user="u", n=ITEMS + 1, now=int((time.time() - 120) * 1000))
        self.assertIn(self.item, shop.names(before))

    def test_in_one_request_the_last_put_counts(self):
        rows = [{"item": self.item, "available": False}, {"item": self.item, "title": "last", "available": True}]
        self.client.call("item.put", items=rows)
        self.check_listed(True)

    def test_vector_of_a_new_item_counts_at_once(self):
        new = self.item + "-new"
        self.addCleanup(self.client.call, "item.delete", items=[new])
        self.client.call("feature.put", modality="text", cascade_create=True,
                         rows=[{"item": new, "values": [1.0] * shop.TEXT}])
        self.assertIn(new, shop.names(self.client.call("recommend", user="u", n=ITEMS + 2)))

    def test_after_a_restart(self):
        directory = self.directory()
        server = self.daemon(directory).start()
        shop.put_items(server.json(), 6)
        server.json().call("item.delete", items=["i0002"])
        server.json().call("item.put", items=[{"item": "i0003", "available": False}])
        server.stop()
        server = self.daemon(directory).start()
        listed = shop.names(server.json().call("recommend", user="u"))
        self.assertEqual(sorted(listed), ["i0000", "i0001", "i0004", "i0005"])
        self.assertEqual(server.json().call("status")["items"], "5")
        server.stop()


class Catalogue(SharedDaemon):
    def get(self, item):
        (found,) = self.client.call("item.get", items=[item])["items"]
        return found

    def test_every_field_comes_back(self):
        given = {"item": "full", "title": "Titel ☕", "categories": ["a", "b c"], "price": 12.5, "available": True,
                 "created": "2024-01-02T03:04:05.000Z", "expires": "2099-01-01T00:00:00.000Z",
                 "attributes": {"brand": "x", "watt": 7, "new": True, "sizes": ["S", "M"]}}
        self.assertEqual(self.client.call("item.put", items=[given])["created"], 1)
        found = self.get("full")
        self.assertEqual({k: found[k] for k in given}, given)

    def test_what_is_not_given_stays(self):
        self.client.call("item.put", items=[{"item": "part", "title": "t", "price": 3, "categories": ["c"]}])
        self.client.call("item.put", items=[{"item": "part", "price": 4}])
        found = self.get("part")
        self.assertEqual((found["title"], found["price"], found["categories"]), ("t", 4, ["c"]))

    def test_replace_starts_anew(self):
        self.client.call("item.put", items=[{"item": "anew", "title": "t", "price": 3}])
        self.client.call("item.put", replace=True, items=[{"item": "anew", "categories": ["c"]}])
        found = self.get("anew")
        self.assertEqual((found.get("title", ""), found.get("price"), found["categories"]), ("", None, ["c"]))

    def test_fields_of_a_list(self):
        self.client.call("item.put", items=[{"item": "f", "title": "F", "price": 2, "attributes": {"k": "v"}}])
        (item,) = self.client.call("rank", user="u", items=["f"], fields=["title", "price", "attributes"])["items"]
        self.assertEqual(item["values"], {"title": "F", "price": 2, "attributes": {"k": "v"}})
        error = self.refused(INVALID_ARGUMENT, self.client.call, "recommend", user="u", fields=["colour"])
        self.assertEqual(error.field, "fields")

    def test_one_bad_row(self):
        rows = [{"item": "r0"}, {"item": "r1", "price": -1}, {"item": "r2"}]
        self.refused(INVALID_ARGUMENT, self.client.call, "item.put", items=rows)
        self.assertEqual(self.client.call("item.get", items=["r0", "r2"])["missing"], ["r0", "r2"])
        reply = self.client.call("item.put", items=rows, atomic=False)
        self.assertEqual((reply["created"], [e["row"] for e in reply["errors"]]), (2, [1]))
        self.assertEqual(self.client.call("item.get", items=["r0", "r1", "r2"])["missing"], ["r1"])


class Pages(SharedDaemon):
    @classmethod
    def fill(cls, client):
        shop.put_items(client, 25)
        client.call("item.delete", items=["i0007"])

    def pages(self, **params):
        """All items, a page at a time, and how many pages."""
        found, cursor, count = [], "", 0
        while count == 0 or cursor:
            reply = self.client.call("item.list", cursor=cursor, **params)
            found, cursor, count = found + shop.names(reply), reply["cursor"], count + 1
        return found, count

    def test_every_item_once(self):
        expected = [shop.item_name(i) for i in range(25) if i != 7]
        for n in (1, 5, 7, 24, 25, 100):
            self.assertEqual(self.pages(n=n)[0], expected, n)

    def test_deleted_ones_when_asked(self):
        found = self.client.call("item.list", include_deleted=True)["items"]
        self.assertEqual([i["item"] for i in found if i["deleted"]], ["i0007"])
        self.assertEqual(len(found), 25)

    def test_position_that_is_none(self):
        self.assertEqual(self.refused(INVALID_ARGUMENT, self.client.call, "item.list", cursor="x").field, "cursor")


if __name__ == "__main__":
    unittest.main()
