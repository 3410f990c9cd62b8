# SPDX-License-Identifier: Apache-2.0
"""as_of: a list of that day comes again, whatever has happened since; what is said where it cannot; and what retention forgets."""
import concurrent.futures
import unittest

import shop
import terms
from daemon import FAILED_PRECONDITION, INVALID_ARGUMENT, RpcError, SharedDaemon, TestCase, until
from shop import item_name, names
from test_models import get, put, variant

ITEMS = 300
SETTLED_MS = 500  # so long after a list the next thing happens: what went on beside it is over
ANSWERS = 6  # of each of two clients at once
LISTS = {
    "recommend": ("recommend", {"user": "u", "n": 20, "fields": ["title", "price", "available", "categories", "attributes"]}),
    "rules": ("recommend", {"user": "u", "n": 10, "price_ceiling": 1.2, "diversity": .4, "fields": ["price"],
                            "filter": {"must": [{"field": "brand", "any": ["a", "b"]}, {"field": "price", "max": 15}]},
                            "boost": [{"when": [{"field": "category", "any": ["odd"]}], "add": .5}]}),
    "seen": ("recommend", {"user": "u", "n": ITEMS}),
    "rank": ("rank", {"user": "u", "items": [item_name(i) for i in range(40)]}),
    "similar": ("similar", {"items": [item_name(1)], "n": 20}),
    "by image": ("similar", {"like": [{"item": item_name(1), "modalities": ["image"]}], "n": 20}),
    "complement": ("complement", {"items": [item_name(10), item_name(11)], "n": 10}),
    "popular": ("top", {"by": "popular", "n": 10}),
    "trending": ("top", {"by": "trending", "n": 10}),
    "newest": ("top", {"by": "newest", "n": 10}),
    "nobody": ("recommend", {"n": 30}),
    "explained": ("recommend", {"user": "u", "n": 5, "explain": "full", "funnel": True}),
}
INPUTS = ("model", "counts", "catalogue", "seq", "now_ms")


def describe(i):
    return {"item": item_name(i), "title": "Item %d" % i, "price": 10 + i % 7, "categories": ["odd" if i % 2 else "even"],
            "attributes": {"brand": "abc"[i % 3]}}


def fill(client):
    """A shop at rest: its model is fitted, and all events are counted. The events of "u" are the last."""
    client.call("item.put", items=[describe(i) for i in range(ITEMS)])
    shop.put_features(client, ITEMS)
    shop.put_features(client, ITEMS, "image", shop.IMAGE, tastes=lambda i: int(i >= ITEMS // 2))
    shop.wait_for_model(client)
    for n in range(20):
        shop.put_events(client, "crowd%d" % n, [10, 11, 100 + n])
    shop.put_events(client, "other", [12, 13, 30, 31, 10])
    counted(client, shop.put_events(client, "u", [4, 2, 152, 10, 21], ts=1760000000000))


def counted(client, reply):
    until(lambda: int(client.call("status")["counts"]) >= int(reply["seq"]), "counts of these events")


def let_pass(client, at_ms):
    until(lambda: int(client.call("ping")["now_ms"]) > int(at_ms) + SETTLED_MS, "time passes")


def take(client):
    """Every list as it is answered now, the clock a good deal further on; by name."""
    lists = {name: client.call(method, **params) for name, (method, params) in LISTS.items()}
    let_pass(client, max(int(reply["now_ms"]) for reply in lists.values()))
    return lists


def change_events(client):
    shop.put_events(client, "u", [20, 22, 24, 22], behaviour="purchase")
    shop.put_events(client, "u", [26], ts=1750000000000)  # happened before, heard of after
    for n in range(10):
        shop.put_events(client, "late%d" % n, [11, 50, 51, 1])
    counted(client, shop.put_events(client, "other", [40, 42]))


def change_items(client, lists):
    """Above all those on the lists."""
    first, second, third, fourth = names(lists["recommend"])[:4]
    client.call("item.put", items=[{"item": first, "price": 99, "title": "Another title", "categories": ["sale"]},
                                   {"item": second, "available": False}, {"item": third, "expires": "2020-01-01"},
                                   {"item": names(lists["newest"])[0], "created": "2025-01-01"}])
    client.call("item.put", replace=True, items=[{"item": names(lists["rules"])[0], "attributes": {"brand": "c", "size": 3}}])
    client.call("item.delete", items=sorted({fourth, names(lists["similar"])[0], names(lists["popular"])[1]}))
    client.call("item.put", items=[describe(i) for i in range(ITEMS, ITEMS + 5)])
    client.call("feature.put", modality="text", rows=[{"item": item_name(i), "values": shop.vector("new %d" % i, i % 2, shop.TEXT)}
                                                      for i in range(ITEMS, ITEMS + 5)])


def change_vectors(client):
    """Of every tenth item, and of two of the history: the other taste now."""
    for modality, size in (("text", shop.TEXT), ("image", shop.IMAGE)):
        client.call("feature.put", modality=modality, rows=[
            {"item": item_name(i), "values": shop.vector("again %d" % i, 1 - i % 2, size)} for i in (2, 4, *range(0, ITEMS, 10))])


class PastCase(TestCase):
    def start(self, **settings):
        server = self.daemon(settings=settings).start()
        client = server.json()
        fill(client)
        return server, client

    def ask(self, client, method, as_of, **params):
        """The list of then; while another moment is being built, once more."""
        def answer():
            try:
                return client.call(method, as_of=as_of, **params)
            except RpcError as error:
                if error.reason != "BUSY":
                    raise
                return None
        return until(answer, "an answer of the past")

    def same(self, then, now, inputs=INPUTS):
        self.assertEqual({key: now[key] for key in inputs}, {key: then[key] for key in inputs})
        self.assertIsNone(terms.difference(then, now))
        self.assertEqual({i["item"]: i.get("values") for i in now["items"]}, {i["item"]: i.get("values") for i in then["items"]})
        self.assertEqual([i["source"] for i in now["items"]], [i["source"] for i in then["items"]])
        for key in ("degraded", "shortened", "filled", "unknown", "funnel"):
            self.assertEqual(now[key], then[key], key)
        self.assertEqual([event["seq"] for event in now["history"]], [event["seq"] for event in then["history"]])

    def all_again(self, client, lists, when):
        """Every list as of its own time is as it was."""
        for name, then in lists.items():
            with self.subTest(name, when=when):
                method, params = LISTS[name]
                self.same(then, self.ask(client, method, then["now_ms"], **params))

    def other_model(self, client, factor=3):
        version = put(client, variant(get(client), factor), "another")["version"]
        client.call("model.activate", name=version)
        return version


class Again(PastCase):
    def test_whatever_has_happened_since(self):
        server, client = self.start()
        lists = take(client)
        self.all_again(client, lists, "at once")
        change_events(client)
        self.all_again(client, lists, "after events")
        change_items(client, lists)
        self.all_again(client, lists, "after changes of items")
        change_vectors(client)
        self.all_again(client, lists, "after other vectors")
        between = take(client)
        version = self.other_model(client)
        self.all_again(client, lists, "after another model")
        self.all_again(client, between, "in between")
        after = take(client)
        for name in ("recommend", "similar", "popular", "newest"):  # or all of this would say nothing
            self.assertIsNotNone(terms.difference(lists[name], between[name]), name)
        self.assertEqual([some["recommend"]["model"] == version for some in (lists, between, after)], [False, False, True])
        server.stop()
        server.start()
        client = server.json()
        self.assertEqual(client.call("status")["model"], version)
        for when, some in (("before", lists), ("between", between), ("after", after)):
            self.all_again(client, some, when + ", after a restart")
        server.kill()
        server.start()
        client = server.json()
        self.all_again(client, lists, "after a kill")
        server.stop()

    def test_what_is_explained_is_of_then(self):
        server, client = self.start()
        then = client.call("recommend", user="u", n=5, explain="full")
        let_pass(client, then["now_ms"])
        item = names(then)[1]
        client.call("item.delete", items=[item])
        shop.put_events(client, "u", [names(then)[2]])
        request = {"user": "u", "n": 5}
        self.assertEqual(client.call("explain", item=item, request=request)["stage"], "not_shown")
        reply = client.call("explain", item=item, request={**request, "as_of": then["now_ms"]})
        self.assertEqual((reply["stage"], reply["place"]), ("listed", 2))
        self.assertEqual(terms.explain_faults(reply), [])
        again = client.call("recommend", as_of=then["now_ms"], explain="full", **request)
        self.same(then, again)
        self.assertEqual(terms.list_faults(again), [])
        without = [event["seq"] for event in then["history"][:2]]
        fewer = client.call("recommend", as_of=then["now_ms"], explain="full", without=without, **request)
        self.assertEqual(list(terms.history_of(fewer)), list(terms.history_of(then))[2:])
        server.stop()

    def test_as_people_write_times(self):
        server, client = self.start()
        then = client.call("recommend", user="u")
        let_pass(client, int(then["now_ms"]) + 1000)
        seconds = int(then["now_ms"]) // 1000 + 1
        shop.put_events(client, "u", [40])
        for as_of in (str(seconds), "%d.0" % seconds, str(1000 * seconds)):
            again = client.call("recommend", user="u", as_of=as_of)
            self.assertEqual((int(again["now_ms"]), again["seq"]), (1000 * seconds, then["seq"]))
        protobuf = server.protobuf().call("recommend", user="u", as_of=then["now_ms"])
        self.assertEqual((names(protobuf), protobuf["seq"], protobuf["now_ms"]), (names(then), then["seq"], int(then["now_ms"])))
        server.stop()

    def test_two_at_once(self):
        """One moment is kept; who wants another one meanwhile is told to come again, and gets it."""
        server, client = self.start()
        first = client.call("recommend", user="u", n=20)
        let_pass(client, first["now_ms"])
        change_vectors(client)
        second = client.call("recommend", user="u", n=20)
        let_pass(client, second["now_ms"])
        self.other_model(client)
        self.assertIsNotNone(terms.difference(first, second))

        def asks(own, then):
            return [self.ask(own, "recommend", then["now_ms"], user="u", n=20) for _ in range(ANSWERS)]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            jobs = [(then, pool.submit(asks, server.json(), then)) for then in (first, second, first, second)]
            for then, job in jobs:
                for again in job.result():
                    self.same(then, again)
        server.stop()


class Erased(PastCase):
    def test_another_user(self):
        server, client = self.start()
        lists = {name: reply for name, reply in take(client).items() if name in ("recommend", "popular", "complement")}
        change_vectors(client)
        erased = client.call("user.erase", user="other")
        self.assertEqual((erased["known"], erased["events"]), (True, "5"))
        counted(client, erased)
        for name, then in lists.items():
            with self.subTest(name):
                method, params = LISTS[name]
                again = self.ask(client, method, then["now_ms"], **params)
                self.assertEqual({key: again[key] for key in INPUTS}, {key: then[key] for key in INPUTS})
                self.assertEqual((then["degraded"], again["degraded"]), ([], ["changed_since"]))
                self.assertEqual(len(again["items"]), len(then["items"]))
        before, after = ({item["item"]: item["score"] for item in reply["items"]}
                         for reply in (lists["popular"], self.ask(client, "top", lists["popular"]["now_ms"], by="popular", n=10)))
        self.assertEqual([before[item_name(10)], before[item_name(11)], after[item_name(10)], after[item_name(11)]], [22, 20, 21, 20])
        self.assertIn(item_name(12), before)
        self.assertNotIn(item_name(12), after)  # of which nobody else knew
        counted(client, shop.put_events(client, "u", [40]))
        since = client.call("recommend", user="u", n=20)
        let_pass(client, since["now_ms"])
        self.same(since, self.ask(client, "recommend", since["now_ms"], user="u", n=20))
        server.stop()

    def test_the_user(self):
        server, client = self.start()
        then = client.call("recommend", user="u", n=20)
        let_pass(client, then["now_ms"])
        counted(client, client.call("user.erase", user="u"))
        again = self.ask(client, "recommend", then["now_ms"], user="u", n=20, explain="full")
        self.assertEqual(sorted(again["degraded"]), ["changed_since", "unknown_user"])
        self.assertEqual(again["history"], [])
        nobody = self.ask(client, "recommend", then["now_ms"], n=20)
        self.assertIsNone(terms.difference(again, nobody))
        self.assertEqual(client.call("recommend", user="u")["degraded"], ["unknown_user"])
        server.stop()


class Retention(PastCase):
    def test_what_is_forgotten(self):
        server, client = self.start(**{"storage.past_ms": 1000})
        then = client.call("recommend", user="u")
        let_pass(client, then["now_ms"])

        def refused():
            """While new things happen."""
            shop.put_events(client, "u", [40])
            client.call("item.put", items=[{"item": item_name(1), "price": 20}, {"item": item_name(2), "price": 21}])
            try:
                client.call("recommend", user="u", as_of=then["now_ms"])
                return None
            except RpcError as error:
                return error
        error = until(refused, "what there was is forgotten")
        self.assertEqual((error.code, error.reason, error.field), (FAILED_PRECONDITION, "BEYOND_RETENTION", "as_of"))
        self.assertIn("storage.past_ms", error.message)
        now = client.call("recommend", user="u")
        until(lambda: int(client.call("ping")["now_ms"]) > int(now["now_ms"]), "the next millisecond")
        self.assertEqual(client.call("recommend", user="u", as_of=now["now_ms"])["seq"], now["seq"])
        server.stop()
        server.start()
        error = self.refused(FAILED_PRECONDITION, server.json().call, "recommend", user="u", as_of=then["now_ms"])
        self.assertEqual(error.reason, "BEYOND_RETENTION")
        server.stop()

    def test_a_model_that_is_deleted(self):
        server, client = self.start()
        version = self.other_model(client)
        then = client.call("recommend", user="u")
        let_pass(client, then["now_ms"])
        client.call("model.rollback")
        self.assertEqual(client.call("recommend", user="u", as_of=then["now_ms"])["model"], version)
        client.call("model.delete", name=version)
        server.stop()  # the moment that was kept is gone with it
        server.start()
        error = self.refused(FAILED_PRECONDITION, server.json().call, "recommend", user="u", as_of=then["now_ms"])
        self.assertEqual((error.reason, error.field), ("MODEL_GONE", "as_of"))
        self.assertIn(version, error.message)
        server.stop()


class Refused(SharedDaemon):
    @classmethod
    def fill(cls, client):
        shop.put_items(client, 20)
        shop.put_events(client, "u", [1, 2, 3])

    def test_before_the_shop_was_there(self):
        for as_of in ("2020-01-01", "1600000000", "2001-02-03T04:05:06Z"):
            for method, params in (("recommend", {"user": "u"}), ("top", {"by": "popular"}), ("similar", {"items": [item_name(1)]})):
                error = self.refused(FAILED_PRECONDITION, self.client.call, method, as_of=as_of, **params)
                self.assertIn(error.reason, ("NOTHING_YET", "BEYOND_RETENTION"))
                self.assertEqual(error.field, "as_of")

    def test_not_of_the_past(self):
        now_ms = int(self.client.call("ping")["now_ms"])
        for as_of, reason in ((str(now_ms + 3600000), "OUT_OF_RANGE"), ("2100-01-01", "OUT_OF_RANGE"), ("yesterday", "BAD_TIME"),
                              ("12", "BAD_TIME")):
            error = self.refused(INVALID_ARGUMENT, self.client.call, "recommend", user="u", as_of=as_of)
            self.assertEqual((error.reason, error.field), (reason, "as_of"))

    def test_a_batch_is_of_one_time(self):
        t = int(self.client.call("recommend", user="u")["now_ms"])
        until(lambda: int(self.client.call("ping")["now_ms"]) > t + 10, "some time")
        requests = [{"user": "u", "as_of": str(t)}, {"user": "u", "as_of": str(t + 1)}]
        error = self.refused(INVALID_ARGUMENT, self.client.call, "batch", requests=requests)
        self.assertEqual((error.reason, error.field), ("BAD_VALUE", "requests[1].as_of"))

    def test_a_deadline_is_for_lists_of_now(self):
        t = self.client.call("recommend", user="u", n=3)
        until(lambda: int(self.client.call("ping")["now_ms"]) > int(t["now_ms"]), "the next millisecond")
        then = self.client.call("recommend", user="u", n=3, as_of=t["now_ms"], deadline_ms=0.001)
        self.assertEqual((names(then), then["degraded"]), (names(t), t["degraded"]))

    def test_as_of_fixes_everything(self):
        reply = self.client.call("recommend", user="u")
        until(lambda: int(self.client.call("ping")["now_ms"]) > int(reply["now_ms"]), "the next millisecond")
        for field, value in (("now", reply["now_ms"]), ("at_seq", reply["seq"]), ("min_seq", reply["seq"]), ("model", reply["model"]),
                             ("counts", reply["counts"]), ("catalogue", reply["catalogue"])):
            with self.subTest(field):
                error = self.refused(INVALID_ARGUMENT, self.client.call, "recommend", user="u", as_of=reply["now_ms"], **{field: value})
                self.assertEqual((error.reason, error.field), ("BAD_VALUE", "as_of"))


if __name__ == "__main__":
    unittest.main()
