# SPDX-License-Identifier: Apache-2.0
"""Explained lists: terms add up, the funnel counts, explain names the stage that took an item out; and lists without some events are those
of a user who never had them."""
import os
import random
import unittest

import lawful
import shop
import terms
from daemon import BUILD, FAILED_PRECONDITION, INVALID_ARGUMENT, SharedDaemon, run, until
from shop import item_name, names

ITEMS = 300
HIDDEN, EXPIRED, COMING, DELETED = 290, 291, 292, 293
BASE_MS, STEP_MS = 1760000000000, 1000  # of logs
HISTORY = [(4, "view"), (2, "purchase"), (152, "view"), (10, "view"), (7, "dislike"), (152, "like"), (20, "cart")]
SHOWN = [i for i in range(ITEMS) if i not in (HIDDEN, EXPIRED, COMING, DELETED)]
BOOSTS = [{"when": [{"field": "brand", "any": ["a", "b"]}], "add": 1.5},
          {"when": [{"field": "category", "any": ["c1"]}], "add": -0.75},
          {"when": [{"field": "price", "max": 13}], "add": 0.25}]
TRAIN = os.path.join(BUILD, "recsys-train")
QUICK = {"width": 16, "heads": 2, "blocks": 1, "components": 6, "epochs": 2, "patience": 0, "head_epochs": 2, "head_balance": 0,
         "batch_users": 16}


def describe(i):
    return {"item": item_name(i), "title": "Item %d" % i, "price": 10 + i % 7, "categories": ["c%d" % (i % 5)],
            "attributes": {"brand": "abcd"[i % 4]}}


def put_log(client, user, log, chosen=None):
    """Events (item, behaviour) of a user, oldest first; of them those that are `chosen` by number. The position of the last."""
    rows = [{"user": user, "item": item_name(log[k][0]), "behaviour": log[k][1], "ts": BASE_MS + STEP_MS * k}
            for k in (range(len(log)) if chosen is None else chosen)]
    for first in range(0, len(rows), 2000):
        reply = client.call("event.add", events=rows[first:first + 2000], cascade_create=True)
    return reply["seq"]


def counted(client, seq):
    """The version of the counts that has these events."""
    until(lambda: int(client.call("status")["counts"]) >= int(seq), "counts of these events")
    return client.call("status")["counts"]


def fill(client):
    client.call("item.put", items=[describe(i) for i in range(ITEMS)])
    shop.put_features(client, ITEMS)
    shop.put_features(client, ITEMS, "image", shop.IMAGE, tastes=lambda i: int(i >= ITEMS // 2))
    client.call("item.put", items=[{"item": item_name(HIDDEN), "available": False},
                                   {"item": item_name(EXPIRED), "expires": "2020-01-01"},
                                   {"item": item_name(COMING), "created": "2100-01-01"}])
    client.call("item.delete", items=[item_name(DELETED)])
    shop.wait_for_model(client)
    for n in range(20):  # what others do: 10 is followed by 11
        shop.put_events(client, "crowd%d" % n, [10, 11, 100 + n, 40 + n])
    return counted(client, put_log(client, "u", HISTORY))


class Explained(SharedDaemon):
    whole = True  # no term of a stream is 0

    @classmethod
    def fill(cls, client):
        counts = fill(client)
        cls.items = lawful.Shop({item_name(i): describe(i) for i in range(ITEMS)})
        cls.pinned = {"now": client.call("recommend", user="u")["now_ms"], "counts": counts}

    def recommend(self, **params):
        return self.client.call("recommend", **{"user": "u", **self.pinned, **params})

    def lists(self):
        """(method, what is asked) of every kind."""
        vector = shop.vector("somewhere", 1, shop.TEXT)
        mixed = [{"item": item_name(0), "modalities": ["image"]}, {"item": item_name(299), "modalities": ["text"], "weight": 2}]
        rules = {"n": 15, "exclude_seen": False}
        yield "recommend", {"user": "u", "n": 40}
        yield "recommend", {"n": 20}
        yield "recommend", {"user": "u", "boost": BOOSTS, **rules}
        yield "recommend", {"user": "u", "weights": {"text": .5, "image": 2, "behaviour": 0, "popularity": 3}, **rules}
        yield "recommend", {"user": "u", "weights": {"text": 0, "behaviour": 4}, "boost": BOOSTS[:1] * 2, **rules}
        for knobs in ({"diversity": .6}, {"diversity": .6, "rerank": "mmr", "boost": BOOSTS}, {"novelty": .5}, {"serendipity": .5},
                      {"calibration": .7}, {"caps": [{"by": "brand", "most": 1, "window": 3}]}, {"exploration": .4, "seed": "s"},
                      {"promotions": [{"when": [{"field": "category", "any": ["c2"]}], "share": .5, "label": "p"}]}):
            yield "recommend", {"user": "u", "n": 15, **knobs}
        session = [{"item": item_name(8), "ts": BASE_MS - 1000}, {"item": item_name(12), "behaviour": "purchase"}]
        yield "recommend", {"user": "u", "events": session, "current": [item_name(14), item_name(200)], "n": 15}
        yield "recommend", {"events": session, "n": 15}
        yield "rank", {"user": "u", "items": [item_name(i) for i in range(0, 60)], "boost": BOOSTS}
        yield "similar", {"items": [item_name(3), item_name(50)], "n": 15}
        yield "similar", {"items": [item_name(3)], "modalities": ["image"], "n": 15, "boost": BOOSTS}
        yield "similar", {"like": [{"values": vector, "modalities": ["text"]}], "n": 15}
        yield "similar", {"like": mixed, "unlike": [{"item": item_name(2), "modalities": ["text"]}], "n": 15}
        yield "complement", {"items": [item_name(10), item_name(11)], "n": 15, "boost": BOOSTS[:2]}
        for by in ("popular", "trending", "newest"):
            yield "top", {"by": by, "n": 30, "boost": BOOSTS}

    def check_lists(self):
        """Every list holds; the kinds of terms that were met."""
        kinds = set()
        for method, params in self.lists():
            with self.subTest(method=method, **params):
                modal = any("modalities" in example for example in params.get("like", []))
                reply = self.client.call(method, explain="full", funnel=True, **self.pinned, **params)
                self.assertTrue(reply["items"])
                self.assertEqual(terms.list_faults(reply, self.whole and not modal), [])
                unscored = method == "top" or not ("user" in params or "events" in params or method in ("similar", "complement"))
                self.assertEqual(terms.funnel_faults(reply, unscored), [])
                kinds |= {term["kind"] for item in reply["items"] for term in item.get("terms", [])}
        return kinds


class Terms(Explained):
    def test_every_kind_of_list(self):
        kinds = self.check_lists()
        self.assertTrue({"stream", "cooccurrence", "popularity", "boost", "top"} <= kinds, kinds)

    def test_boosts_are_told_one_by_one(self):
        for item in self.recommend(n=ITEMS, boost=BOOSTS, explain="full")["items"]:
            wanted = {k: boost["add"] for k, boost in enumerate(BOOSTS) if self.items.holds(item["item"], boost["when"][0])}
            found = {term["rule"]: term["value"] for term in item.get("terms", []) if term["kind"] == "boost"}
            self.assertEqual(found, wanted, item["item"])

    def test_what_is_buried_and_promoted(self):
        """Of somebody without a history, where it has no score, it still has the boost that it was given."""
        some = [{"field": "item", "any": [item_name(i) for i in range(200, 212)]}]
        reply = self.client.call("recommend", n=20, explain="full", boost=[{"when": some, "add": -5}],
                                 promotions=[{"when": some, "share": .5}], **self.pinned)
        self.assertIn("promotion", {item["source"] for item in reply["items"]})
        self.assertEqual(terms.list_faults(reply), [])

    def test_history(self):
        reply = self.recommend(explain="full")
        logged = self.client.call("user.history", user="u")["events"]
        self.assertEqual(reply["history"], logged)
        self.assertEqual([(event["item"], event["behaviour"]) for event in reversed(logged)],
                         [(item_name(item), behaviour) for item, behaviour in HISTORY])

    def test_events_of_the_request_are_numbered(self):
        """From the oldest, wherever they come in between those of the log."""
        session = [{"item": item_name(12), "ts": BASE_MS + STEP_MS * 3 // 2}, {"item": item_name(8), "ts": BASE_MS - 1000}]
        history = self.recommend(events=session, current=[item_name(14)], explain="full")["history"]
        own = {event["seq"]: event["item"] for event in history if event["seq"].startswith("+")}
        self.assertEqual(own, {"+1": item_name(8), "+2": item_name(12), "+3": item_name(14)})
        self.assertEqual((history[0]["seq"], history[-1]["seq"]), ("+3", "+1"))
        self.assertEqual(len(history), len(HISTORY) + 3)

    def test_examples_are_the_history_of_similar(self):
        reply = self.client.call("similar", items=[item_name(3), item_name(50)], explain="full", **self.pinned)
        self.assertEqual([(event["seq"], event["item"]) for event in reply["history"]], [("+2", item_name(50)), ("+1", item_name(3))])
        self.assertTrue(all("behaviour" not in event for event in reply["history"]))

    def test_no_more_than_was_asked_for(self):
        """And what is told changes nothing."""
        for method, params in self.lists():
            with self.subTest(method=method, **params):
                replies = {explain: self.client.call(method, explain=explain, **self.pinned, **params)
                           for explain in ("", "none", "reason", "full")}
                for explain, reply in replies.items():
                    self.assertEqual(any("terms" in item for item in reply["items"]), explain == "full")
                    self.assertEqual(all(item.get("reason") for item in reply["items"]), explain in ("reason", "full"))
                    self.assertEqual(any("reason" in item for item in reply["items"]), explain in ("reason", "full"))
                    self.assertEqual(reply["history"] != [], explain == "full" and method != "top" and set(params) != {"n"})
                    self.assertEqual(reply["funnel"], [])
                    self.assertEqual([(i["item"], i["score"]) for i in reply["items"]],
                                     [(i["item"], i["score"]) for i in replies[""]["items"]])
                self.assertEqual(terms.told_faults(replies["none"], replies["full"]), [])
                self.assertEqual([i["reason"] for i in replies["reason"]["items"]], [i["reason"] for i in replies["full"]["items"]])

    def test_protobuf(self):
        reply = self.pb.call("recommend", user="u", n=10, explain="full", funnel=True)
        for item in reply["items"]:
            item["parts"] = {part["key"]: part["value"] for part in item["parts"]}
        self.assertEqual(terms.list_faults(reply), [])
        self.assertEqual(terms.funnel_faults(reply), [])
        self.assertTrue(all(item["terms"] for item in reply["items"]))


class Stages(Explained):
    """What became of an item on the way to a list."""

    def explain(self, item, **request):
        item = item if isinstance(item, str) else item_name(item)
        reply = self.client.call("explain", item=item, request={"user": "u", "n": 5, **self.pinned, **request})
        self.assertEqual(reply["item"], item)
        self.assertEqual(terms.explain_faults(reply), [], (item, request))
        return reply

    # ---- the funnel

    def test_counts(self):
        exclude, median = [30, 31, 32], 14  # 10, 12, 13, 14, 15, 15, 16 in the history
        rule = {"must": [{"field": "category", "any": ["c0", "c1"]}]}
        reply = self.recommend(n=8, exclude=[item_name(i) for i in exclude], filter=rule, price_ceiling=1, funnel=True)
        left = [i for i in SHOWN if i not in exclude]
        unseen = [i for i in left if i not in {item for item, _ in HISTORY}]
        passing = [i for i in unseen if self.items.passes(item_name(i), rule)]
        cheap = [i for i in passing if describe(i)["price"] <= median]
        self.assertEqual(terms.funnel_faults(reply), [])
        self.assertEqual(terms.stage_counts(reply), {
            "catalogue": ITEMS - 1, "shown": len(SHOWN), "not_excluded": len(left), "not_current": len(left),
            "not_seen": len(unseen), "filter": len(passing), "price_ceiling": len(cheap), "scored": len(cheap), "listed": 8})
        self.assertEqual(int(self.client.call("status")["items"]), ITEMS - 1)

    def test_counts_of_what_was_bought(self):
        counts = terms.stage_counts(self.recommend(funnel=True, seen={"behaviours": ["purchase"]}))
        self.assertEqual(counts["not_current"] - counts["not_seen"], 1)
        counts = terms.stage_counts(self.recommend(funnel=True, exclude_seen=False, current=[item_name(4), item_name(250)]))
        self.assertEqual((counts["not_excluded"] - counts["not_current"], counts["not_seen"]), (2, len(SHOWN) - 2))

    def test_counts_of_a_pool(self):
        counts = terms.stage_counts(self.recommend(n=3, diversity=.5, funnel=True))
        self.assertEqual((counts["pool"], counts["listed"]), (200, 3))
        counts = terms.stage_counts(self.recommend(n=3, diversity=.5, pool=50, funnel=True))
        self.assertEqual((counts["pool"], counts["listed"]), (50, 3))
        self.assertNotIn("pool", terms.stage_counts(self.recommend(funnel=True)))

    def test_counts_of_candidates(self):
        items = [item_name(i) for i in (*range(40, 50), HIDDEN, DELETED, 40)] + ["nothing-like-it"]
        reply = self.client.call("rank", user="u", items=items, n=4, funnel=True, **self.pinned)
        counts = terms.stage_counts(reply)
        self.assertEqual((counts["catalogue"], counts["candidates"], counts["scored"], counts["listed"]), (ITEMS - 1, 10, 10, 4))
        self.assertEqual(terms.funnel_faults(reply), [])

    # ---- what takes an item out

    def test_stages(self):
        other = {"must": [{"field": "category", "any": ["c1"]}]}
        for item, request, stage, words in (
                ("nothing-like-it", {}, "unknown", "does not have it"),
                (DELETED, {}, "not_shown", "deleted"), (HIDDEN, {}, "not_shown", "not available"),
                (EXPIRED, {}, "not_shown", "expired"), (COMING, {}, "not_shown", "creation date"),
                (40, {"exclude": [item_name(40)]}, "excluded", "excludes"),
                (4, {"exclude": [item_name(4)]}, "excluded", "excludes"),
                (41, {"current": [item_name(41)]}, "current", "looked at now"),
                (4, {}, "seen", "seen"), (7, {"filter": other}, "seen", "seen"),
                (40, {"filter": other}, "filter", "filter"),
                (6, {"price_ceiling": 1}, "price_ceiling", "price ceiling")):
            with self.subTest(item=item, **request):
                reply = self.explain(item, **request)
                self.assertEqual(reply["stage"], stage)
                self.assertIn(words, reply["says"])
                self.assertNotIn("by_score", reply)
                if item != DELETED:
                    self.assertEqual("explained" in reply, stage != "unknown")

    def test_what_is_out_has_its_boost_all_the_same(self):
        """Terms, parts and score of an item that does not qualify are of one sum."""
        boost = [{"when": [{"field": "item", "any": [item_name(4), item_name(HIDDEN)]}], "add": 2}]
        for item, stage in ((4, "seen"), (HIDDEN, "not_shown")):
            with self.subTest(stage):
                self.assertEqual(self.explain(item, boost=boost)["stage"], stage)

    def test_outranked(self):
        whole = self.recommend(n=1000)["items"]
        self.assertEqual(len(whole), len(SHOWN) - len({item for item, _ in HISTORY}))
        for place in (6, 50, len(whole)):
            item = whole[place - 1]
            reply = self.explain(item["item"])
            self.assertEqual((reply["stage"], reply["by_score"], reply["last"]["item"]), ("outranked", place, whole[4]["item"]))
            self.assertAlmostEqual(reply["explained"]["score"], item["score"], delta=terms.tolerance(item))
            self.assertGreaterEqual(reply["gap"], 0)
            self.assertIn("place %d " % place, reply["says"])

    def test_listed(self):
        listed = self.recommend(n=5, explain="full")["items"]
        for place, item in enumerate(listed, 1):
            reply = self.explain(item["item"])
            self.assertEqual((reply["stage"], reply["place"], reply["by_score"]), ("listed", place, place))
            self.assertEqual(reply["explained"], item)
            self.assertIn("place %d " % place, reply["says"])

    def check_rules(self, *requests):
        """Of the first of these lists that passes over a better item, what explain says of that item."""
        whole = self.recommend(n=1000)["items"]
        for request in requests:
            listed = self.recommend(**request)["items"]
            passed_over = [(place, item["item"]) for place, item in enumerate(whole, 1)
                           if item["item"] not in {i["item"] for i in listed} and item["score"] > listed[-1]["score"] + 1e-3]
            for place, item in passed_over[:1]:
                reply = self.explain(item, **request)
                self.assertEqual((reply["stage"], reply["by_score"]), ("rules", place))
                self.assertLess(reply["gap"], 0)
                return
        self.fail("no list passes over a better item")

    def test_rules_by_a_cap(self):
        self.check_rules(*({"n": n, "caps": [{"by": by, "most": 1}]}
                           for by, n in (("category", 5), ("brand", 4), ("category", 4), ("brand", 3))))

    def test_rules_by_diversity(self):
        self.check_rules(*({"n": n, "diversity": level, "rerank": rerank}
                           for level in (.5, .7, .9) for rerank in ("dpp", "mmr") for n in (5, 3, 10)))

    def test_unscored(self):
        reply = self.client.call("explain", item=item_name(200), request={"n": 3, **self.pinned})
        self.assertEqual(reply["stage"], "unscored", reply["says"])
        self.assertEqual(terms.explain_faults(reply), [])

    def test_of_a_list_that_was_served(self):
        for request in ({"user": "u", "n": 7, **self.pinned}, {"user": "u", "n": 7, "diversity": .5, "boost": BOOSTS, **self.pinned}):
            served = self.client.call("recommend", **request)
            for item in (names(served)[2], item_name(4), item_name(260), "nothing-like-it"):
                replies = [self.client.call("explain", item=item, request=request),
                           self.client.call("explain", item=item, recomm_id=served["recomm_id"])]
                for reply in replies:
                    self.assertEqual(names(reply["list"]), names(served))
                    for own in ("recomm_id", "took_us"):
                        del reply["list"][own]
                self.assertEqual(replies[0], replies[1])

    # ---- what is refused

    def test_refused(self):
        def bad(code, field, reason, method="recommend", **params):
            error = self.refused(code, self.client.call, method, **params)
            self.assertEqual((error.field, error.reason), (field, reason), error)
        request = {"user": "u"}
        bad(INVALID_ARGUMENT, "request", "BAD_VALUE", "explain", item=item_name(1))
        bad(INVALID_ARGUMENT, "request", "BAD_VALUE", "explain", item=item_name(1), request=request, recomm_id="0" * 32)
        bad(INVALID_ARGUMENT, "item", "MISSING", "explain", request=request)
        bad(FAILED_PRECONDITION, "recomm_id", "RECOMM_GONE", "explain", item=item_name(1), recomm_id="0" * 32)
        bad(INVALID_ARGUMENT, "explain", "BAD_VALUE", "explain", item=item_name(1), request={**request, "explain": "all"})
        for method, params in (("recommend", {}), ("rank", {"items": [item_name(1)]}), ("similar", {"items": [item_name(1)]}),
                               ("complement", {"items": [item_name(1)]}), ("top", {"by": "newest"})):
            bad(INVALID_ARGUMENT, "explain", "BAD_VALUE", method, explain="all", **params)
            bad(INVALID_ARGUMENT, "language", "UNKNOWN_LANGUAGE", method, explain="reason", language="xx", **params)
            bad(INVALID_ARGUMENT, "without", "TOO_MANY", method, without=["1"] * 1001, **params)
            bad(INVALID_ARGUMENT, "without[1]", "BAD_POSITION", method, without=["1", "x"], **params)


class Without(SharedDaemon):
    """A list without some events against that of a user who never had them, with the same counts: another user's copy."""

    @classmethod
    def fill(cls, client):
        fill(client)

    def users(self, log, dropped):
        """Two users, one with the log and one without the events `dropped` of it; those events' positions, and what fixes the rest."""
        whole, part = self.id() + ".whole", self.id() + ".part"
        put_log(self.client, whole, log)
        counts = counted(self.client, put_log(self.client, part, log, [k for k in range(len(log)) if k not in dropped]))
        events = self.client.call("user.history", user=whole, n=len(log))["events"][::-1]
        self.assertEqual([event["item"] for event in events], [item_name(item) for item, _ in log])
        now = self.client.call("recommend", user=whole, n=1)["now_ms"]
        return whole, part, [events[k]["seq"] for k in dropped], {"counts": counts, "now": now}

    def same(self, whole, part, without, method="recommend", **params):
        """The list, which must agree with the other user's item by item, and term by term but for the names of events."""
        def both(**more):
            return [self.client.call(method, user=user, without=some, **{**params, **more})
                    for user, some in ((whole, without), (part, []))]
        plain, explained = both(), both(n=10, explain="full")
        for left, right in (plain, explained):
            self.assertIsNone(terms.difference(left, right))
        told = [([(event["item"], event["ts"]) for event in reply["history"]],
                 [(term["kind"], term.get("item"), term.get("stream")) for item in reply["items"] for term in item.get("terms", [])])
                for reply in explained]
        self.assertEqual(told[0], told[1])
        self.assertEqual(terms.list_faults(explained[0]), [])
        self.assertFalse(set(without) & set(terms.history_of(explained[0])))
        return plain[0], explained[0]

    def random_log(self, seed, count):
        rng = random.Random(seed)
        return [(rng.randrange(200), rng.choice(["view", "view", "purchase", "like", "dislike", "cart", "skip"])) for _ in range(count)]

    def test_some_events(self):
        log = self.random_log(1, 30)
        whole, part, without, pinned = self.users(log, [0, 3, 4, 11, 17, 25, 28, 29])
        before = self.client.call("recommend", user=whole, n=ITEMS, **pinned)
        left, _ = self.same(whole, part, without, n=ITEMS, **pinned)
        self.assertIsNotNone(terms.difference(before, left))
        for params in ({"n": 20, "exclude_seen": False}, {"n": 20, "seen": {"behaviours": ["purchase", "cart"]}},
                       {"n": 20, "price_ceiling": 1, "diversity": .5}, {"n": 20, "calibration": .6, "serendipity": .4},
                       {"n": 20, "events": [{"item": item_name(9)}], "current": [item_name(11)]}):
            with self.subTest(**params):
                self.same(whole, part, without, **params, **pinned)
        self.same(whole, part, without, "rank", items=[item_name(i) for i in range(50)], exclude_seen=True, **pinned)
        self.same(whole, part, without, "top", by="popular", exclude_seen=True, n=50, **pinned)

    def test_what_was_seen_through_them_alone_comes_back(self):
        log = [(2, "view"), (250, "view"), (4, "view"), (2, "view"), (6, "view")]
        whole, part, without, pinned = self.users(log, [1, 3])  # 2 is also of an event that stays
        left, _ = self.same(whole, part, without, n=ITEMS, **pinned)
        self.assertIn(item_name(250), names(left))
        self.assertNotIn(item_name(250), names(self.client.call("recommend", user=whole, n=ITEMS, **pinned)))
        self.assertNotIn(item_name(2), names(left))
        reply = self.client.call("explain", item=item_name(250), request={"user": whole, "n": 5, "without": without, **pinned})
        self.assertNotEqual(reply["stage"], "seen")

    def test_more_events_than_are_attended_to(self):
        """What is left out makes room for older ones."""
        log = self.random_log(2, 180)
        whole, part, without, pinned = self.users(log, list(range(100, 180, 2)) + [3, 5])
        for params in ({"n": ITEMS}, {"n": 20, "exclude_seen": False}):
            _, explained = self.same(whole, part, without, **params, **pinned)
            self.assertEqual(len(explained["history"]), 100)

    def test_all_events(self):
        whole, _, _, pinned = self.users(self.random_log(3, 5), [0])
        without = [event["seq"] for event in self.client.call("user.history", user=whole)["events"]]
        left = self.client.call("recommend", user=whole, n=50, without=without, **pinned)
        self.assertIsNone(terms.difference(left, self.client.call("recommend", n=50, **pinned)))
        self.assertEqual(left["degraded"], ["no_history"])

    def test_events_of_others_change_nothing(self):
        whole, part, _, pinned = self.users(self.random_log(4, 6), [2])
        theirs = [event["seq"] for event in self.client.call("user.history", user=part)["events"]]
        plain = self.client.call("recommend", user=whole, n=50, **pinned)
        self.assertIsNone(terms.difference(plain, self.client.call("recommend", user=whole, n=50, without=theirs + ["1"], **pinned)))

    def test_more_events_than_memory_holds(self):
        """The oldest event is looked up: it hides its item, and without it the item comes back."""
        log = [(250, "purchase")] + [(k * 7 % 100, "view") for k in range(10050)] + [(251, "view"), (60, "like")]
        whole, part, last = self.id() + ".whole", self.id() + ".part", len(log) - 1
        put_log(self.client, whole, log, [0])
        without = [self.client.call("user.history", user=whole, n=1)["events"][0]["seq"]]
        put_log(self.client, whole, log, range(1, last + 1))
        without += [event["seq"] for event in self.client.call("user.history", user=whole, n=2)["events"]]
        counts = counted(self.client, put_log(self.client, part, log, range(1, last - 1)))
        pinned = {"counts": counts, "now": self.client.call("recommend", n=1)["now_ms"]}
        hidden = {item_name(i) for i in (250, 251)}
        self.assertFalse(hidden & set(names(self.client.call("recommend", user=whole, n=ITEMS, **pinned))))
        left, _ = self.same(whole, part, without, n=ITEMS, **pinned)
        self.assertTrue(hidden <= set(names(left)))
        self.assertNotIn(item_name(60), names(left))


class Trained(Explained):
    """The same of a model with a sequence part."""
    whole = False  # a trained number may be 0

    @classmethod
    def fill(cls, client):
        rng = random.Random(5)
        fill(client)
        for n in range(40):
            put_log(client, "walker%d" % n, [((n % 2) + 2 * ((3 * n + k) % 60), "view") for k in range(rng.randrange(4, 12))])
        path = os.path.join(cls.server.directory, "trained.safetensors")
        done = run(TRAIN, "fit", "--data-dir", cls.server.data_dir, "--out", path, "--threads", "2", "-q",
                   *("--set=%s=%s" % setting for setting in QUICK.items()), timeout=120)
        assert done.returncode == 0, done.stderr
        done = cls.server.ctl("model", "put", path)
        assert done.returncode == 0, done.stderr
        client.call("model.activate", name="trained")
        cls.log = HISTORY + [(30, "view"), (32, "purchase")]
        seq = [put_log(client, user, log) for user, log in (("longer", cls.log), ("shorter", HISTORY))][-1]
        cls.pinned = {"now": client.call("recommend", user="u")["now_ms"], "counts": counted(client, seq)}

    def test_every_kind_of_list(self):
        kinds = self.check_lists()
        self.assertTrue({"sequence", "stream", "cooccurrence", "boost", "top"} <= kinds, kinds)

    def test_the_sequence_is_told_by_modality(self):
        item = self.recommend(n=1, explain="full")["items"][0]
        modalities = {term["modality"] for term in item["terms"] if term["kind"] == "sequence"}
        self.assertTrue(modalities and modalities <= {"text", "image", "id"}, item["terms"])

    def test_without(self):
        events = self.client.call("user.history", user="longer")["events"]
        without = [event["seq"] for event in events[:len(self.log) - len(HISTORY)]]
        for n in (10, ITEMS):
            left = self.recommend(user="longer", n=n, without=without)
            self.assertIsNone(terms.difference(left, self.recommend(user="shorter", n=n)))

    def test_explain(self):
        whole = self.recommend(n=1000)["items"]
        for place in (1, 40):
            reply = self.client.call("explain", item=whole[place - 1]["item"], request={"user": "u", "n": 5, **self.pinned})
            self.assertEqual((reply["stage"], reply["by_score"]), ("listed" if place <= 5 else "outranked", place))
            self.assertEqual(terms.explain_faults(reply, self.whole), [])


if __name__ == "__main__":
    unittest.main()
