# SPDX-License-Identifier: Apache-2.0
"""recommend, rank, similar: what they show, what they leave out, and that the next answer knows the last event."""
import time
import unittest

import shop
from daemon import FAILED_PRECONDITION, INVALID_ARGUMENT, SharedDaemon, until
from shop import item_name, names

ITEMS = 300  # enough for the model to read vectors


def scores(reply):
    return {item["item"]: item["score"] for item in reply["items"]}


class Lists(SharedDaemon):
    """Text follows one taste of the items, even or odd; the image another, their halves."""
    @classmethod
    def fill(cls, client):
        shop.put_items(client, ITEMS)
        shop.put_features(client, ITEMS)
        shop.put_features(client, ITEMS, "image", shop.IMAGE, tastes=lambda i: int(i >= ITEMS // 2))
        shop.wait_for_model(client)
        for n in range(20):  # what others do: i0010 is followed by i0011
            shop.put_events(client, "crowd%d" % n, [10, 11, 100 + n])
        seq = client.call("status")["seq"]
        until(lambda: int(client.call("status")["counts"]) >= int(seq) - 3, "counts of these events")

    def setUp(self):
        self.user = self.id().rsplit(".", 1)[1]

    def view(self, *items, **more):
        return shop.put_events(self.client, self.user, items, **more)["seq"]

    def recommend(self, client=None, **params):
        return (client or self.client).call("recommend", user=self.user, **params)

    def pinned(self):
        """What makes two lists comparable while counts are published in the background and time goes by."""
        reply = self.recommend()
        return {"now": reply["now_ms"], "counts": reply["counts"]}

    # ---- the last event

    def test_next_list_knows_the_last_event(self):
        other = self.server.json()
        self.view(0)
        for item in (2, 7, 44, 45):
            before = self.recommend(n=ITEMS)
            self.assertIn(item_name(item), names(before))
            seq = self.view(item)
            after = self.recommend(other, n=ITEMS, min_seq=seq)
            self.assertNotIn("stale", after["degraded"])
            self.assertGreaterEqual(int(after["seq"]), int(seq))
            self.assertNotIn(item_name(item), names(after))
            self.assertNotEqual([i for i in names(before) if i != item_name(item)], names(after))

    def test_without_asking_for_it_too(self):
        self.view(0)
        self.assertIn(item_name(6), names(self.recommend(n=ITEMS)))  # the history is in memory now
        self.view(6)
        self.assertNotIn(item_name(6), names(self.recommend(n=ITEMS)))

    def test_taste_of_the_history(self):
        self.view(0, 2, 4)
        even = [int(name[1:]) % 2 == 0 for name in names(self.recommend(n=20))]
        self.assertGreater(sum(even), 15)

    def test_dislike_counts_against(self):
        self.view(20)
        by_vectors = {"popularity": 0, "behaviour": 0}
        liked = scores(self.recommend(n=ITEMS, weights=by_vectors))
        self.view(22, behaviour="dislike")
        after = scores(self.recommend(n=ITEMS, weights=by_vectors))
        even = [item_name(i) for i in range(30, ITEMS // 2, 2)]
        self.assertLess(sum(after[i] for i in even), sum(liked[i] for i in even))

    def test_position_from_the_future_is_stale(self):
        seq = self.view(0)
        reply = self.recommend(min_seq=str(int(seq) + 1000000))
        self.assertIn("stale", reply["degraded"])
        self.assertEqual(len(reply["items"]), 10)

    def test_as_of_an_earlier_position(self):
        first = self.view(0, 3)
        fixed = self.recommend(n=ITEMS, min_seq=first)
        inputs = {"now": fixed["now_ms"], "counts": fixed["counts"], "model": fixed["model"],
                  "catalogue": fixed["catalogue"]}
        self.view(5, 8, 10)
        self.assertNotEqual(names(self.recommend(n=ITEMS)), names(fixed))
        again = self.recommend(n=ITEMS, at_seq=fixed["seq"], **inputs)
        self.assertEqual(again["items"], fixed["items"])
        for name in ("seq", "now_ms", "counts", "model", "catalogue"):
            self.assertEqual(again[name], fixed[name])
        self.assertEqual(self.pb_scores(fixed, inputs), list(scores(fixed).items()))

    def pb_scores(self, fixed, inputs):
        reply = self.server.protobuf().call("recommend", user=self.user, n=ITEMS, at_seq=fixed["seq"], **inputs)
        return [(item["item"], item["score"]) for item in reply["items"]]

    def test_as_of_before_the_user(self):
        before = self.client.call("status")["seq"]
        self.view(0)
        self.assertIn(item_name(0), names(self.recommend(n=ITEMS, at_seq=before)))
        self.assertNotEqual(self.recommend(at_seq=before)["degraded"], [])

    def test_position_that_is_not_there_yet(self):
        error = self.refused(FAILED_PRECONDITION, self.recommend, at_seq="999999999")
        self.assertEqual((error.reason, error.field), ("OUT_OF_LOG", "at_seq"))

    def test_versions_that_are_gone(self):
        for field in ("model", "catalogue"):
            error = self.refused(FAILED_PRECONDITION, self.recommend, **{field: "123456"})
            self.assertEqual((error.reason, error.field), ("VERSION_GONE", field))

    def test_history(self):
        self.view(1, 2, 3)
        reply = self.client.call("user.history", user=self.user, n=2)
        self.assertEqual((reply["known"], reply["total"]), (True, "3"))
        self.assertEqual(names({"items": reply["events"]}), [item_name(3), item_name(2)])
        earlier = self.client.call("user.history", user=self.user, at_seq=reply["events"][1]["seq"])
        self.assertEqual(names({"items": earlier["events"]}), [item_name(2), item_name(1)])

    def test_event_of_the_past_is_put_where_it_belongs(self):
        now_ms = int(time.time() * 1000)
        self.view(1, 2, ts=now_ms - 5000)
        self.view(3, ts=now_ms - 100000)
        events = self.client.call("user.history", user=self.user)["events"]
        self.assertEqual(names({"items": events}), [item_name(i) for i in (2, 1, 3)])

    # ---- what a list says

    def test_parts_add_up(self):
        self.view(0, 10)
        for item in self.recommend(n=50)["items"]:
            sizes = sum(abs(v) for v in item["parts"].values())
            self.assertAlmostEqual(sum(item["parts"].values()), item["score"], delta=2e-5 * sizes + 1e-6)

    def test_best_first(self):
        self.view(0, 10)
        for reply in (self.recommend(n=100), self.rank(range(60)), self.similar([4], n=50)):
            found = [item["score"] for item in reply["items"]]
            self.assertEqual(found, sorted(found, reverse=True))
            self.assertEqual(len(set(names(reply))), len(found))

    def test_every_list_has_its_own_id(self):
        ids = {self.recommend()["recomm_id"] for _ in range(5)}
        self.assertEqual(len(ids), 5)
        event = {"user": self.user, "item": item_name(1), "recomm_id": ids.pop()}
        self.assertEqual(self.client.call("event.add", events=[event], cascade_create=True)["added"], 1)

    def test_what_follows_in_other_histories(self):
        self.view(10)
        (first,) = self.recommend(n=1, weights={"text": 0, "image": 0, "popularity": 0})["items"]
        self.assertEqual((first["item"], first["source"]), (item_name(11), "neighbour"))

    def test_all_items_seen(self):
        self.view(*range(ITEMS))
        reply = self.recommend(n=20)
        self.assertEqual(reply["items"], [])
        self.assertNotEqual(reply["shortened"], "")

    # ---- what it leaves out

    def test_exclude(self):
        self.view(0)
        best = names(self.recommend(n=10))
        reply = self.recommend(n=10, exclude=best[:5] + ["no such item"])
        self.assertEqual(names(reply)[:5], best[5:])
        self.assertEqual(reply["unknown"], ["no such item"])

    def test_seen_items_may_be_kept(self):
        self.view(0, 2)
        shown = names(self.recommend(n=ITEMS, exclude_seen=False))
        self.assertLessEqual({item_name(0), item_name(2)}, set(shown))

    def test_seen_by_behaviour(self):
        self.view(4)
        self.view(6, behaviour="purchase")
        shown = names(self.recommend(n=ITEMS, seen={"behaviours": ["purchase"]}))
        self.assertIn(item_name(4), shown)
        self.assertNotIn(item_name(6), shown)

    def test_seen_by_age(self):
        now_ms = int(time.time() * 1000)
        self.view(4, ts=now_ms - 10 * shop.DAY_MS)
        self.view(6, ts=now_ms - shop.DAY_MS)
        shown = names(self.recommend(n=ITEMS, seen={"within_ms": 2 * shop.DAY_MS}))
        self.assertIn(item_name(4), shown)
        self.assertNotIn(item_name(6), shown)

    def test_unknown_behaviour_in_seen(self):
        self.view(0)
        error = self.refused(INVALID_ARGUMENT, self.recommend, seen={"behaviours": ["stare"]})
        self.assertEqual((error.reason, error.field), ("UNKNOWN_BEHAVIOUR", "seen.behaviours"))

    def test_unknown_behaviour_in_seen_of_an_unknown_user(self):
        """A misspelt option must not wait for the user's first event to be noticed."""
        error = self.refused(INVALID_ARGUMENT, self.recommend, seen={"behaviours": ["stare"]})
        self.assertEqual(error.field, "seen.behaviours")

    def test_negative_age_in_seen(self):
        self.assertEqual(self.refused(INVALID_ARGUMENT, self.recommend, seen={"within_ms": -1}).field,
                         "seen.within_ms")

    # ---- weights

    def test_weight_of_zero_removes_a_part(self):
        self.view(0, 10)
        pinned = self.pinned()
        full = {i["item"]: i for i in self.recommend(n=ITEMS, **pinned)["items"]}
        for part in ("text", "image", "behaviour", "popularity"):
            for item in self.recommend(n=ITEMS, weights={part: 0}, **pinned)["items"]:
                self.assertEqual(item["parts"].get(part, 0), 0, (part, item))
                expected = full[item["item"]]["score"] - full[item["item"]]["parts"][part]
                self.assertAlmostEqual(item["score"], expected, places=4)

    def test_weight_is_a_factor(self):
        self.view(0)
        pinned = self.pinned()
        once, twice = (self.recommend(n=ITEMS, weights={"text": w}, **pinned)["items"] for w in (1, 2))
        double = {item["item"]: item["parts"]["text"] for item in twice}
        for item in once:
            self.assertAlmostEqual(double[item["item"]], 2 * item["parts"]["text"], places=4)

    # ---- rank

    def rank(self, items, **params):
        return self.client.call("rank", user=self.user, items=[item_name(i) for i in items], **params)

    def test_rank_returns_the_candidates(self):
        self.view(0)
        candidates = [9, 8, 1, 7, 0, 250]
        reply = self.rank(candidates)
        self.assertEqual(sorted(names(reply)), sorted(item_name(i) for i in candidates))  # the seen one too
        everything = scores(self.recommend(n=ITEMS, exclude_seen=False, now=reply["now_ms"], counts=reply["counts"]))
        for name, score in scores(reply).items():
            self.assertAlmostEqual(score, everything[name], places=4)

    def test_rank_orders_as_recommend_does(self):
        self.view(0, 10)
        shown = self.recommend(n=30)
        again = self.client.call("rank", user=self.user, items=sorted(names(shown)), now=shown["now_ms"],
                                 counts=shown["counts"], at_seq=shown["seq"])
        self.assertEqual(names(again), names(shown))

    def test_rank_n_exclude_and_seen(self):
        self.view(0)
        self.assertEqual(len(self.rank(range(20), n=3)["items"]), 3)
        self.assertNotIn(item_name(5), names(self.rank(range(20), exclude=[item_name(5)])))
        self.assertNotIn(item_name(0), names(self.rank(range(20), exclude_seen=True)))

    def test_rank_unknown_and_repeated_candidates(self):
        reply = self.client.call("rank", user=self.user, items=["x", "i0001", "i0001", "y"])
        self.assertEqual((names(reply), reply["unknown"]), (["i0001"], ["x", "y"]))

    def test_rank_without_candidates(self):
        error = self.refused(INVALID_ARGUMENT, self.client.call, "rank", user=self.user, items=[])
        self.assertEqual(error.field, "items")

    # ---- similar

    def similar(self, items, **params):
        return self.client.call("similar", items=[item_name(i) for i in items], **params)

    def test_similar_by_text(self):
        found = [int(name[1:]) for name in names(self.similar([4], n=30, modalities=["text"]))]
        self.assertNotIn(4, found)
        self.assertGreater(sum(i % 2 == 0 for i in found), 27)

    def test_similar_by_image(self):
        found = [int(name[1:]) for name in names(self.similar([4], n=30, modalities=["image"]))]
        self.assertGreater(sum(i < ITEMS // 2 for i in found), 27)

    def test_similar_by_both_is_neither(self):
        both = self.similar([4], n=30, modalities=["text", "image"])
        for modality in ("text", "image"):
            self.assertNotEqual(names(both), names(self.similar([4], n=30, modalities=[modality])))
        first = both["items"][0]
        self.assertLessEqual({"text", "image"}, set(first["parts"]))

    def test_similar_to_itself_when_asked(self):
        reply = self.similar([4], n=5, modalities=["text"], include_context=True)
        self.assertEqual(names(reply)[0], item_name(4))

    def test_similar_by_what_users_did(self):
        self.assertIn(item_name(11), names(self.similar([10], n=5)))

    def test_similar_leaves_out_what_the_user_has_seen(self):
        first = names(self.similar([4], n=1))[0]
        self.view(first)
        self.assertNotIn(first, names(self.similar([4], n=50, user=self.user, exclude_seen=True)))
        self.assertIn(first, names(self.similar([4], n=50, user=self.user)))

    def test_similar_to_what_is_not_there(self):
        reply = self.client.call("similar", items=["x", "i0001"], exclude=["z"])
        self.assertEqual(reply["unknown"], ["x", "z"])
        self.assertEqual(self.client.call("similar", items=["x"])["unknown"], ["x"])

    def test_unknown_modality(self):
        error = self.refused(INVALID_ARGUMENT, self.similar, [1], modalities=["smell"])
        self.assertEqual((error.reason, error.field), ("UNKNOWN_MODALITY", "modalities"))


class LongHistories(SharedDaemon):
    """Seen is seen, however long ago and however many."""
    ITEMS, SEEN = 5200, 5000

    @classmethod
    def fill(cls, client):
        for first in range(0, cls.ITEMS, 1300):
            shop.put_items(client, 1300, first)
        cls.now_ms = int(time.time() * 1000)
        cls.view(client, "reader", range(cls.SEEN))
        cls.view(client, "addict", range(cls.SEEN))
        for _ in range(2):
            cls.view(client, "addict", [7] * 5000)  # what was seen first is no longer in memory

    @classmethod
    def view(cls, client, user, items):
        shop.put_events(client, user, items, ts=cls.now_ms - 10 * shop.DAY_MS)

    def unseen(self, user, **params):
        reply = self.client.call("recommend", user=user, n=1000, now=self.now_ms, **params)
        return sorted(names(reply))

    def check(self, user):
        expected = [item_name(i) for i in range(self.SEEN, self.ITEMS)]
        for _ in range(2):  # from the store, from memory
            self.assertEqual(self.unseen(user), expected)
        self.assertEqual(len(self.unseen(user, seen={"within_ms": 9 * shop.DAY_MS})), 1000)
        self.assertEqual(len(self.unseen(user, seen={"behaviours": ["purchase"]})), 1000)

    def test_5000_seen_items(self):
        self.check("reader")

    def test_5000_seen_items_in_15000_events(self):
        self.assertEqual(self.client.call("user.history", user="addict", n=1)["total"], "15000")
        self.check("addict")

    def test_after_a_restart(self):
        self.server.stop()
        self.server.start()
        for user in ("reader", "addict"):
            self.check(user)

    def test_newest_of_the_old_events(self):
        """Within its last ms, to the edge: 5,000 events a ms apart."""
        begin = self.now_ms - 10 * shop.DAY_MS
        within = self.now_ms - (begin + self.SEEN - 100)  # the last 99 are strictly younger
        kept = set(self.unseen("reader", seen={"within_ms": within}, exclude=[item_name(i) for i in range(4500)]))
        hidden = [i for i in range(4500, self.SEEN) if item_name(i) not in kept]
        self.assertEqual(hidden, list(range(self.SEEN - 99, self.SEEN)))


if __name__ == "__main__":
    unittest.main()
