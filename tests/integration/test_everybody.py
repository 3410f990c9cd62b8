# SPDX-License-Identifier: Apache-2.0
"""Everybody gets a list: sessions, current items, examples, tops, complements, pages, batches, scenarios, deadlines."""
import os
import shutil
import signal
import tempfile
import time
import unittest

import shop
from daemon import FAILED_PRECONDITION, INVALID_ARGUMENT, NOT_FOUND, Daemon, RpcError, SharedDaemon, until
from shop import item_name, names

ITEMS = 300
SCENARIOS = """
home:            # what the start page shows
  n: 5
  diversity: 0.2
  exclude_seen: false
  filter: {must: [{field: category, any: [even]}]}
  caps:
    - {by: category, most: 3}
cheap:
  price_ceiling: 1.5
  fields: [title]
"""


def sources(reply):
    return {item["source"] for item in reply["items"]}


class Everybody(SharedDaemon):
    @classmethod
    def fill(cls, client):
        client.call("item.put", items=[{"item": item_name(i), "title": "Item %d" % i, "price": 10 + i % 7,
                                        "categories": ["odd" if i % 2 else "even"]} for i in range(ITEMS)])
        shop.put_features(client, ITEMS)
        shop.put_features(client, ITEMS, "image", shop.IMAGE, tastes=lambda i: int(i >= ITEMS // 2))
        shop.wait_for_model(client)
        for n in range(20):  # 10 and then 11, or 11 and 12 together; 30 once each
            shop.put_events(client, "crowd%d" % n, [10, 11, 12, 100 + n])
        seq = client.call("status")["seq"]
        until(lambda: int(client.call("status")["counts"]) >= int(seq) - 3, "counts of these events")

    def refused(self, code, method, **params):
        with self.assertRaises(RpcError) as caught:
            self.client.call(method, **params)
        self.assertEqual(caught.exception.code, code, caught.exception)
        return caught.exception

    # ---- sessions

    def session(self, *items, **more):
        return [{"item": item_name(i), **more} for i in items]

    def test_a_session_counts_like_the_log(self):
        shop.put_events(self.client, "logged", [0, 2, 4], ts=1760000000000)
        logged = self.client.call("recommend", user="logged", n=20)
        events = [{"item": item_name(i), "ts": 1760000000000 + k} for k, i in enumerate((0, 2, 4))]
        same = self.client.call("recommend", events=events, n=20, now=logged["now_ms"], counts=logged["counts"])
        self.assertEqual(names(logged), names(same))
        self.assertEqual(same["degraded"], [])

    def test_nothing_is_stored(self):
        before = self.client.call("status")
        self.client.call("recommend", user="passer-by", events=self.session(1, 2, 3))
        after = self.client.call("status")
        self.assertEqual((before["events"], before["users"]), (after["events"], after["users"]))

    def test_session_on_top_of_the_log(self):
        shop.put_events(self.client, "both", [0])
        reply = self.client.call("recommend", user="both", events=self.session(2), n=ITEMS)
        self.assertFalse({item_name(0), item_name(2)} & set(names(reply)))

    def test_behaviours_of_a_session(self):
        error = self.refused(INVALID_ARGUMENT, "recommend", events=self.session(1, behaviour="glance"))
        self.assertEqual(error.reason, "UNKNOWN_BEHAVIOUR")
        error = self.refused(INVALID_ARGUMENT, "recommend", events=[{"item": "x", "user": "u"}])
        self.assertEqual(error.field, "events[0].user")
        self.assertEqual(self.client.call("recommend", events=[{"item": "nowhere"}])["unknown"], ["nowhere"])

    def test_dislikes_of_a_session(self):
        likes = self.client.call("recommend", events=self.session(0, 2), n=20)
        dislikes = self.client.call("recommend", events=self.session(0, 2, behaviour="dislike"), n=20)
        even = lambda reply: sum(int(i[1:]) % 2 == 0 for i in names(reply))
        self.assertGreater(even(likes), 15)
        self.assertLess(even(dislikes), 8)

    def test_current_item(self):
        reply = self.client.call("recommend", current=[item_name(10)], n=5)
        self.assertIn(names(reply)[0], (item_name(11), item_name(12)))
        self.assertNotIn(item_name(10), names(reply))
        by_alias = self.client.call("recommend", item=item_name(10), n=5, now=reply["now_ms"], counts=reply["counts"])
        self.assertEqual(names(reply), names(by_alias))

    def test_nobody(self):
        reply = self.client.call("recommend", n=5)
        self.assertEqual(len(names(reply)), 5)
        self.assertEqual(reply["degraded"], ["no_history"])
        self.assertTrue(sources(reply) <= {"trending", "popular", "newest"})

    # ---- by example

    def test_like_in_one_way(self):
        text = self.client.call("similar", like=[{"item": item_name(0), "modalities": ["text"]}], n=20)
        image = self.client.call("similar", like=[{"item": item_name(0), "modalities": ["image"]}], n=20)
        self.assertTrue(all(int(i[1:]) % 2 == 0 for i in names(text)))
        self.assertTrue(all(int(i[1:]) < ITEMS // 2 for i in names(image)))
        self.assertNotIn(item_name(0), names(text))

    def test_looks_like_a_is_about_b(self):
        mixed = self.client.call("similar", n=20, like=[{"item": item_name(0), "modalities": ["image"]},
                                                        {"item": item_name(ITEMS - 1), "modalities": ["text"]}])
        for name in names(mixed):
            self.assertTrue(int(name[1:]) < ITEMS // 2 and int(name[1:]) % 2 == 1, name)

    def test_unlike(self):
        reply = self.client.call("similar", n=20, like=[{"item": item_name(0), "modalities": ["image"]}],
                                 unlike=[{"item": item_name(2), "modalities": ["text"]}])
        self.assertLess(sum(int(i[1:]) % 2 == 0 for i in names(reply)), 3)
        self.assertTrue(all(int(i[1:]) < ITEMS // 2 for i in names(reply)))

    def test_a_vector(self):
        vector = shop.vector("somewhere", 1, shop.TEXT)
        reply = self.client.call("similar", like=[{"values": vector, "modalities": ["text"]}], n=20)
        self.assertTrue(all(int(i[1:]) % 2 == 1 for i in names(reply)))

    def test_bad_examples(self):
        zeros = {"values": [0.0] * shop.TEXT, "modalities": ["text"]}
        for like in ({}, {"item": "a", "values": [1.0]}, {"values": [1.0]}, {"item": "a", "weight": 0},
                     {"item": item_name(1), "modalities": ["smell"]}, {"values": [1.0], "modalities": ["text"]}, zeros):
            self.assertEqual(self.refused(INVALID_ARGUMENT, "similar", like=[like]).field, "like[0]", like)
        good = {"item": item_name(1)}
        self.assertEqual(self.refused(INVALID_ARGUMENT, "similar", like=[good, zeros]).field, "like[1]")
        self.assertEqual(self.refused(INVALID_ARGUMENT, "similar", like=[good], unlike=[good, zeros]).field, "unlike[1]")
        self.assertEqual(self.refused(INVALID_ARGUMENT, "similar").field, "items")

    # ---- for everybody, for a cart

    def test_top(self):
        popular = self.client.call("top", by="popular", n=4)
        self.assertEqual(sorted(names(popular)[:3]), [item_name(i) for i in (10, 11, 12)])
        self.assertEqual(sources(popular), {"popular"})
        self.assertEqual(popular["items"][0]["score"], popular["items"][0]["parts"]["popularity"])
        self.assertEqual(sorted(names(self.client.call("top", by="trending", n=3))), [item_name(i) for i in (10, 11, 12)])
        newest = self.client.call("top", by="newest", n=3, filter={"must": [{"field": "category", "any": ["odd"]}]})
        self.assertEqual(names(newest), [item_name(ITEMS - 1 - 2 * k) for k in range(3)])
        self.assertEqual(self.refused(INVALID_ARGUMENT, "top", by="best").field, "by")

    def test_newest_goes_by_its_date(self):
        self.client.call("item.put", items=[{"item": item_name(50), "created": "2026-03-01"},
                                            {"item": item_name(51), "created": "2026-02-01"}])
        self.assertEqual(names(self.client.call("top", by="newest", n=2)), [item_name(50), item_name(51)])
        self.client.call("item.put", items=[{"item": item_name(i), "created": "never"} for i in (50, 51)])

    def test_complement(self):
        reply = self.client.call("complement", items=[item_name(10), item_name(11)], n=5)
        self.assertEqual(names(reply)[0], item_name(12))
        self.assertFalse({item_name(10), item_name(11)} & set(names(reply)))
        self.assertEqual(len(names(reply)), 5)

    def test_audience(self):
        for n in range(6):
            shop.put_events(self.client, "even%d" % n, [2 * n, 2 * n + 2, 2 * n + 4])
            shop.put_events(self.client, "odd%d" % n, [2 * n + 1, 2 * n + 3, 2 * n + 5])
        reply = self.client.call("audience", item=item_name(40), n=4)
        self.assertTrue(reply["complete"])
        self.assertEqual(len(reply["users"]), 4)
        self.assertTrue(not any(u["user"].startswith("odd") for u in reply["users"]), reply)
        scores = [u["score"] for u in reply["users"]]
        self.assertEqual(scores, sorted(scores, reverse=True))
        best = reply["users"][0]
        ranked = self.client.call("rank", user=best["user"], items=[item_name(40)])["items"][0]
        self.assertAlmostEqual(ranked["score"], best["score"], delta=1e-3)
        shop.put_events(self.client, best["user"], [40])
        self.assertNotIn(best["user"], [u["user"] for u in self.client.call("audience", item=item_name(40), n=4)["users"]])
        self.assertIn(best["user"], [u["user"] for u in self.client.call("audience", item=item_name(40), n=100, include_seen=True)["users"]])
        self.assertEqual(self.refused(NOT_FOUND, "audience", item="nothing").field, "item")
        self.assertEqual(self.refused(INVALID_ARGUMENT, "audience", item=item_name(1), users=10001).code, INVALID_ARGUMENT)

    # ---- pages and batches

    def test_next_pages_repeat_nothing(self):
        seq = shop.put_events(self.client, "reader", [0, 2])["seq"]
        until(lambda: int(self.client.call("status")["counts"]) >= int(seq), "counts that stay")
        whole = names(self.client.call("recommend", user="reader", n=60))
        reply = self.client.call("recommend", user="reader", n=20)
        pages = names(reply)
        for _ in range(2):
            reply = self.client.call("next", recomm_id=reply["recomm_id"])
            pages += names(reply)
        self.assertEqual(len(set(pages)), 60)
        self.assertEqual(pages, whole)
        self.assertEqual(len(names(self.client.call("next", recomm_id=reply["recomm_id"], n=3))), 3)

    def test_next_keeps_the_rules(self):
        rule = {"must": [{"field": "category", "any": ["odd"]}]}
        reply = self.client.call("top", by="newest", n=100, filter=rule)
        reply = self.client.call("next", recomm_id=reply["recomm_id"])
        self.assertEqual(len(names(reply)), 50)
        self.assertTrue(all(int(i[1:]) % 2 for i in names(reply)))

    def test_a_list_that_is_gone(self):
        error = self.refused(FAILED_PRECONDITION, "next", recomm_id="0" * 32)
        self.assertEqual((error.reason, error.field), ("RECOMM_GONE", "recomm_id"))

    def test_batch(self):
        requests = [{"user": "reader1", "n": 10, "events": self.session(0)}, {"n": 10}, {"n": 10}]
        lists = self.client.call("batch", requests=requests)["lists"]
        self.assertEqual([len(names(reply)) for reply in lists], [10, 10, 10])
        self.assertEqual(names(lists[1]), names(lists[2]))
        distinct = self.client.call("batch", requests=requests, distinct=True)["lists"]
        everything = [i for reply in distinct for i in names(reply)]
        self.assertEqual(len(set(everything)), 30)
        pb = self.pb.call("batch", requests=requests, distinct=True)["lists"]
        self.assertEqual([i for reply in pb for i in names(reply)], everything)

    def test_batch_names_the_request(self):
        error = self.refused(INVALID_ARGUMENT, "batch", requests=[{"n": 1}, {"n": 0}])
        self.assertEqual(error.field, "requests[1].n")
        self.assertEqual(self.refused(INVALID_ARGUMENT, "batch", requests=[]).field, "requests")
        self.assertEqual(self.refused(INVALID_ARGUMENT, "batch", requests=[{}] * 65).field, "requests")

    # ---- where items come from

    def test_every_source_is_reached_and_labelled(self):
        """Attention, then neighbours, then what is trending or popular, then what is new; and what was asked for on top."""
        shop.put_events(self.client, "chain", [0, 2, 10])
        every = {i["item"]: i["source"] for i in self.client.call("recommend", user="chain", n=ITEMS)["items"]}
        self.assertEqual(every[item_name(11)], "neighbour")
        self.assertIn("attention", every.values())
        without = self.client.call("recommend", user="chain", n=ITEMS, weights={"text": 0, "image": 0, "behaviour": 0})
        self.assertTrue({"trending", "popular"} & sources(without))
        nobody = self.client.call("recommend", n=ITEMS)
        self.assertEqual({"newest"} | sources(nobody), sources(nobody))
        self.assertEqual(sources(self.client.call("similar", items=[item_name(0)], n=5, modalities=["text"])), {"content"})
        asked = self.client.call("recommend", user="chain", n=10, exploration=.3, seed="s",
                                 promotions=[{"when": [{"field": "item", "any": [item_name(299)]}], "share": .1}])
        self.assertTrue({"promotion", "exploration"} <= sources(asked), sources(asked))
        for by, source in (("popular", "popular"), ("trending", "trending"), ("newest", "newest")):
            self.assertEqual(sources(self.client.call("top", by=by, n=3)), {source})

    # ---- deadlines

    def test_a_deadline_that_cannot_be_met(self):
        shop.put_events(self.client, "hurried", range(60))
        for _ in range(3):
            self.assertEqual(self.client.call("recommend", user="hurried", n=10)["degraded"], [])
        reply = self.client.call("recommend", user="hurried", n=10, deadline_ms=0.001)
        self.assertEqual(len(names(reply)), 10)
        self.assertEqual(reply["degraded"], ["unscored"])
        self.assertTrue(sources(reply) <= {"trending", "popular", "newest"})
        self.assertEqual(self.client.call("recommend", user="hurried", n=10, deadline_ms=10000)["degraded"], [])

    def test_deadlines_between(self):
        """From none to plenty, every list is whole, and what is flagged is what a shorter one flags or less."""
        shop.put_events(self.client, "patient", range(100, 200))
        rank = {"unscored": 3, "candidates": 2, "history": 1}
        flags = set()
        for deadline_ms in [.01 * 1.3 ** k for k in range(40)]:
            reply = self.client.call("recommend", user="patient", n=10, deadline_ms=deadline_ms)
            self.assertEqual(len(names(reply)), 10)
            flags |= {flag.split(":")[0] for flag in reply["degraded"]}
        self.assertTrue(flags <= set(rank), flags)
        self.assertIn("history", flags)

    def test_bad_deadlines(self):
        for bad in (0, -1, 1e9):
            self.assertEqual(self.refused(INVALID_ARGUMENT, "recommend", user="u", deadline_ms=bad).field, "deadline_ms")


class Feedback(SharedDaemon):
    """What was shown, what came of it, and that it is not shown for ever."""

    @classmethod
    def fill(cls, client):
        shop.put_items(client, 300)
        shop.put_features(client, 300)
        shop.wait_for_model(client)

    def setUp(self):
        self.now_ms = int(time.time() * 1000)

    def test_old_ones_are_forgotten(self):
        shop.put_events(self.client, "elder", [1])
        reply = self.client.call("recommend", user="elder", n=3)
        t0 = self.now_ms - 40 * shop.DAY_MS
        self.shown("elder", reply, ts=t0)
        self.shown("elder", self.client.call("recommend", user="elder", n=1))
        self.assertEqual(self.client.call("feedback.report", **{"from": t0, "until": t0 + 1})["places"][0]["impressions"], "0")

    def shown(self, user, reply, count=None, **params):
        return self.client.call("impression.add", user=user, recomm_id=reply["recomm_id"], items=names(reply)[:count], **params)

    def test_attribution(self):
        t0 = self.now_ms - 10 * shop.DAY_MS
        for n, bought in enumerate((0, 0, 2)):
            user = "buyer%d" % n
            shop.put_events(self.client, user, [n], ts=t0 - 1000)
            reply = self.client.call("recommend", user=user, n=3)
            self.assertEqual(self.shown(user, reply, ts=t0)["added"], 3)
            self.assertEqual(self.shown(user, reply, ts=t0), {"added": 0, "duplicates": 3, "unknown": [], "durable": True})
            for behaviour in ("click", "click", "purchase"):
                self.client.call("event.add", events=[{"user": user, "item": names(reply)[bought], "behaviour": behaviour,
                                                       "recomm_id": reply["recomm_id"], "ts": t0 + 5}])
            self.client.call("event.add", events=[{"user": user, "item": names(reply)[1], "behaviour": "click", "ts": t0 + 6}])
        report = self.client.call("feedback.report", **{"from": t0 - 1, "until": t0 + 1})["places"]
        self.assertEqual([(p["place"], p["impressions"], p.get("responses", {})) for p in report],
                         [(0, "9", {"click": 3, "purchase": 3}), (1, "3", {"click": 2, "purchase": 2}), (2, "3", {}),
                          (3, "3", {"click": 1, "purchase": 1})])

    def test_report_as_a_table(self):
        shop.put_events(self.client, "looker", [1])
        reply = self.client.call("recommend", user="looker", n=2)
        t0 = self.now_ms - 20 * shop.DAY_MS
        self.shown("looker", reply, ts=t0)
        self.client.call("event.add", events=[{"user": "looker", "item": names(reply)[1], "behaviour": "click",
                                               "recomm_id": reply["recomm_id"]}])
        done = self.server.ctl("feedback", "report", "--from", str(t0), "--until", str(t0 + 1))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"(?i)place\s+impressions\s+click\n\s*0\s+2\s+1\n\s*1\s+1\s*\S?\n\s*2\s+1\s+1")

    def test_second_page_counts_on(self):
        shop.put_events(self.client, "pager", [1])
        reply = self.client.call("recommend", user="pager", n=2)
        t0 = self.now_ms - 15 * shop.DAY_MS
        self.shown("pager", reply, first=11, ts=t0)
        places = self.client.call("feedback.report", **{"from": t0, "until": t0 + 1})["places"]
        self.assertEqual([p["place"] for p in places], [0, 11, 12])

    def test_refused(self):
        good = {"user": "pager", "recomm_id": "r", "items": [item_name(1)]}
        for params, field in (({"user": ""}, "user"), ({"recomm_id": ""}, "recomm_id"), ({"items": []}, "items"),
                              ({"first": 0}, "first"), ({"items": ["a\nb"]}, "items[0]")):
            with self.assertRaises(RpcError) as caught:
                self.client.call("impression.add", **{**good, **params})
            self.assertEqual((caught.exception.code, caught.exception.field), (INVALID_ARGUMENT, field))
        with self.assertRaises(RpcError) as caught:
            self.client.call("impression.add", **{**good, "user": "nobody at all"})
        self.assertEqual((caught.exception.code, caught.exception.reason), (NOT_FOUND, "UNKNOWN_USER"))
        self.assertEqual(self.client.call("impression.add", **{**good, "user": "somebody"}, cascade_create=True)["added"], 1)

    def test_rotation(self):
        shop.put_events(self.client, "bored", [0, 2, 4])
        reply = self.client.call("recommend", user="bored", n=10)
        pinned = {"counts": reply["counts"]}
        self.shown("bored", reply, ts=reply["now_ms"])
        same = self.client.call("recommend", user="bored", n=10, now=reply["now_ms"], **pinned)
        self.assertEqual(names(reply), names(same))
        turned = self.client.call("recommend", user="bored", n=10, now=int(reply["now_ms"]) + 60000, rotation=1, **pinned)
        self.assertFalse(set(names(reply)) & set(names(turned)))
        half = self.client.call("recommend", user="bored", n=10, now=int(reply["now_ms"]) + 3000000, rotation=1, rotation_ms=3000001, **pinned)
        self.assertEqual(names(reply), names(half))

    def test_a_merge_takes_impressions_along(self):
        shop.put_events(self.client, "phone", [0])
        shop.put_events(self.client, "desk", [2])
        reply = self.client.call("recommend", user="phone", n=5)
        self.shown("phone", reply)
        self.client.call("user.merge", **{"from": "phone", "into": "desk"})
        turned = self.client.call("recommend", user="desk", n=5, rotation=1)
        self.assertFalse(set(names(reply)) & set(names(turned)))


class Merges(SharedDaemon):
    """A session becomes a user."""
    ITEMS = 40

    @classmethod
    def fill(cls, client):
        shop.put_items(client, cls.ITEMS)
        for n in range(10):
            shop.put_events(client, "crowd%d" % n, [n, n + 10, n + 20])

    def setUp(self):
        self.session, self.user = self.id() + ".session", self.id() + ".user"

    def merge(self, **params):
        return self.client.call("user.merge", **{"from": self.session, "into": self.user, **params})

    def history(self, user):
        reply = self.client.call("user.history", user=user)
        return reply["known"], [e["item"] for e in reversed(reply["events"])]

    def settled(self, seq):
        until(lambda: int(self.client.call("status")["counts"]) >= int(seq), "counts after the merge")

    def test_a_session_gets_its_name(self):
        shop.put_events(self.client, self.session, [1, 2])
        users = int(self.client.call("status")["users"])
        reply = self.merge()
        self.assertEqual((reply["known"], reply["moved"], reply["duplicates"]), (True, "0", "0"))
        self.assertEqual(self.history(self.user), (True, [item_name(1), item_name(2)]))
        self.assertEqual(self.history(self.session), (False, []))
        self.assertFalse({item_name(1), item_name(2)} & set(names(self.client.call("recommend", user=self.user, n=40))))
        self.assertIn("unknown_user", self.client.call("recommend", user=self.session)["degraded"])
        until(lambda: int(self.client.call("status")["users"]) == users, "as many users as before")

    def test_two_become_one(self):
        shop.put_events(self.client, self.user, [1, 2, 3], ts=1760000000000)
        shop.put_events(self.client, self.session, [4, 5], ts=1760000000001)
        events, seq = self.client.call("status")["events"], self.client.call("status")["seq"]
        reply = self.merge()
        self.assertEqual((reply["known"], reply["moved"]), (True, "2"))
        self.assertGreater(int(reply["seq"]), int(seq))
        self.assertEqual(self.history(self.user)[1], [item_name(i) for i in (1, 2, 4, 3, 5)])
        self.assertEqual(self.history(self.session), (False, []))
        self.assertEqual(self.client.call("status")["events"], events)
        self.assertEqual(len(names(self.client.call("recommend", user=self.user, n=40))), self.ITEMS - 5)

    def test_the_larger_one_into_the_smaller(self):
        """The other way round inside, the same from outside."""
        shop.put_events(self.client, self.session, range(12), ts=1760000000000)
        shop.put_events(self.client, self.user, [20], ts=1760000001000)
        reply = self.merge()
        self.assertEqual((reply["known"], reply["moved"]), (True, "12"))
        self.assertEqual(self.history(self.user)[1], [item_name(i) for i in [*range(12), 20]])
        self.assertEqual(self.history(self.session), (False, []))
        shop.put_events(self.client, self.user, [21], ts=1760000002000)
        self.assertEqual(self.history(self.user)[1][-1], item_name(21))
        self.settled(reply["seq"])
        with self.assertRaises(RpcError) as caught:  # sums from before are gone
            self.client.call("recommend", user=self.user, counts="1")
        self.assertEqual(caught.exception.reason, "VERSION_GONE")

    def test_an_event_of_both_counts_once(self):
        event = {"item": item_name(7), "behaviour": "purchase", "key": "order-1"}
        for user in (self.session, self.user):
            self.client.call("event.add", events=[{"user": user, **event}], cascade_create=True)
        reply = self.merge()
        self.assertEqual((reply["moved"], reply["duplicates"]), ("0", "1"))
        self.assertEqual(self.history(self.user)[1], [item_name(7)])

    def test_nobody_to_merge(self):
        self.assertFalse(self.merge()["known"])

    def test_refused(self):
        for params, field in (({"from": ""}, "from"), ({"into": ""}, "into"), ({"into": self.session}, "into")):
            with self.assertRaises(RpcError) as caught:
                self.merge(**params)
            self.assertEqual((caught.exception.code, caught.exception.field), (INVALID_ARGUMENT, field))

    def test_counts_are_those_of_the_merged_log(self):
        """As if it had always been one user: the same list after a kill, when counts are made from the log alone."""
        shop.put_events(self.client, self.user, [30, 31], ts=1760000000000)
        shop.put_events(self.client, self.session, [32, 33], ts=1760000005000)
        self.settled(self.merge()["seq"])
        before = self.client.call("complement", items=[item_name(31)], n=5)
        self.assertEqual({item_name(30), item_name(32)} & set(names(before)[:3]), {item_name(30), item_name(32)})
        self.server.kill()
        self.server.start()
        after = self.client.call("complement", items=[item_name(31)], n=5, now=before["now_ms"])
        self.assertEqual([(i["item"], i["score"]) for i in before["items"]], [(i["item"], i["score"]) for i in after["items"]])


class Scenarios(SharedDaemon):
    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.mkdtemp(prefix="recsysd-")
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.path = os.path.join(cls.directory, "scenarios.yaml")
        cls.write(SCENARIOS)
        cls.settings = {"server.scenarios": cls.path}
        super().setUpClass()

    @classmethod
    def write(cls, text):
        with open(cls.path, "w", encoding="utf-8") as out:
            out.write(text)

    @classmethod
    def fill(cls, client):
        client.call("item.put", items=[{"item": item_name(i), "title": "Item %d" % i, "price": 10 + i % 7,
                                        "categories": ["odd" if i % 2 else "even"]} for i in range(40)])

    def setUp(self):
        self.write(SCENARIOS)
        self.client.call("scenario.reload")

    def test_a_request_names_a_scenario(self):
        reply = self.client.call("recommend", user="u", scenario="home")
        self.assertEqual(len(names(reply)), 3)  # the cap, n is 5
        self.assertTrue(all(int(i[1:]) % 2 == 0 for i in names(reply)))
        self.assertEqual(len(names(self.client.call("recommend", user="u", scenario="home", n=2))), 2)
        mine = self.client.call("recommend", user="u", scenario="home", filter={"must": [{"field": "category", "any": ["odd"]}]})
        self.assertTrue(all(int(i[1:]) % 2 == 1 for i in names(mine)))
        self.assertIn("values", self.client.call("top", by="newest", scenario="cheap")["items"][0])

    def test_context(self):
        """What a request says of itself decides whether a preset's rule holds."""
        self.write("shop:\n  n: 40\n  boost:\n    - {add: 5, when: [{field: context.device, any: [phone]},"
                   " {field: category, any: [odd]}]}\n"
                   "  filter:\n    must_not:\n      - {field: context.campaign, any: [sale]}\n")
        self.client.call("scenario.reload")

        def ask(**context):
            return self.client.call("recommend", user="u", scenario="shop", context=context)
        phone, desk = ask(device="phone"), ask(device="desk")
        self.assertTrue(all(int(i[1:]) % 2 for i in names(phone)[:20]))
        self.assertEqual([i["parts"].get("boost") for i in phone["items"][:20]], [5] * 20)
        self.assertTrue(all(not i["parts"].get("boost") for i in desk["items"]))
        self.assertEqual(names(ask()), names(desk))
        self.assertEqual(names(ask(campaign="sale")), [])
        self.assertEqual(len(names(ask(campaign="none", device="tv"))), 40)
        for condition, device, count in (({"min": 2}, "3", 40), ({"min": 2}, "1", 0), ({"max": 2}, "x", 0),
                                         ({"exists": True}, None, 0), ({"exists": False}, None, 40), ({"none": ["tv"]}, "tv", 0),
                                         ({"none": ["tv"]}, None, 40), ({"any": ["tv"]}, None, 0)):
            must = [dict(condition, field="context.device")]
            reply = self.client.call("recommend", user="u", n=40, filter={"must": must},
                                     context={} if device is None else {"device": device})
            self.assertEqual(len(names(reply)), count, (condition, device))
        with self.assertRaises(RpcError) as caught:
            self.client.call("recommend", user="u", context={"k%d" % i: "v" for i in range(17)})
        self.assertEqual(caught.exception.field, "context")

    def test_list(self):
        listed = self.client.call("scenario.list")["scenarios"]
        self.assertEqual([s["name"] for s in listed], ["home", "cheap"])
        table = self.server.ctl("scenario", "list")
        self.assertEqual(table.returncode, 0, table.stderr)
        self.assertIn("price_ceiling", table.stdout)

    def test_unknown(self):
        with self.assertRaises(RpcError) as caught:
            self.client.call("recommend", user="u", scenario="hom")
        self.assertEqual(caught.exception.reason, "UNKNOWN_SCENARIO")
        self.assertIn("did you mean 'home'", str(caught.exception))

    def test_reload(self):
        self.write("home:\n  n: 7\n")
        self.assertEqual(self.client.call("scenario.reload")["scenarios"], 1)
        self.assertEqual(len(names(self.client.call("recommend", user="u", scenario="home"))), 7)

    def test_reload_by_signal(self):
        self.write("home:\n  n: 9\n")
        self.server.process.send_signal(signal.SIGHUP)
        until(lambda: len(names(self.client.call("recommend", user="u", scenario="home"))) == 9, "the new scenario")

    def test_a_faulty_file_changes_nothing(self):
        for text, told in (("home: {n: [", "did not find expected"), ("home: {diversty: 1}", "diversty"),
                           ("home: {diversity: 2}", "diversity"), ("home: {user: u}", "user"), ("home: {n: }", "no value"),
                           ("home: 3", "fields are missing"), ("- home", "expected"), ("home: {n: 1}\nhome: {n: 2}", "before"),
                           ("home: {filter: {must: [{field: price}]}}", "price"), ("home: {n: 1, n: 2}", "before")):
            self.write(text)
            with self.assertRaises(RpcError) as caught:
                self.client.call("scenario.reload")
            self.assertEqual(caught.exception.code, INVALID_ARGUMENT, text)
            self.assertIn(told, str(caught.exception))
            self.assertEqual(len(self.client.call("scenario.list")["scenarios"]), 2)
        os.unlink(self.path)
        with self.assertRaises(RpcError) as caught:
            self.client.call("scenario.reload")
        self.assertEqual(caught.exception.code, NOT_FOUND)


if __name__ == "__main__":
    unittest.main()
