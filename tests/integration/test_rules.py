# SPDX-License-Identifier: Apache-2.0
"""Filters, boosts, promotions, caps and knobs: by hand, and against an oracle."""
import os
import random
import unittest

import lawful
import shop
from daemon import INVALID_ARGUMENT, RpcError, SharedDaemon, until
from shop import item_name, names

ITEMS = 400
REQUESTS = int(os.environ.get("RECSYSD_RULES_REQUESTS", "250"))


def attributes(i):
    """Brand a..h, few of h; a price that some lack; colours, several at times; a size; a flag."""
    item = {"item": item_name(i), "title": "Item %d" % i, "categories": ["c%d" % (i % 5)],
            "attributes": {"brand": "h" if i % 50 == 0 else "abcdefg"[i % 7], "size": i % 12, "new": i % 3 == 0}}
    if i % 4:
        item["price"] = 5 + i % 90
    if i % 6:
        item["attributes"]["colour"] = ["red", "blue"] if i % 6 == 1 else ["red", "green", "blue", "white"][i % 4]
    if i % 10 == 0:
        item["categories"].append("sale")
    return item


class Rules(SharedDaemon):
    @classmethod
    def fill(cls, client):
        items = [attributes(i) for i in range(ITEMS)]
        cls.shop = lawful.Shop({item["item"]: item for item in items})
        client.call("item.put", items=items)
        shop.put_features(client, ITEMS)
        shop.put_features(client, ITEMS, "image", shop.IMAGE, tastes=lambda i: int(i >= ITEMS // 2))
        shop.wait_for_model(client)
        for n in range(20):
            shop.put_events(client, "crowd%d" % n, [n, n + 7, n + 30, n * 3])
        seq = shop.put_events(client, "u1", [2, 9, 16, 40])["seq"]
        shop.put_events(client, "u2", [1])
        until(lambda: int(client.call("status")["counts"]) >= int(seq), "counts of these events")

    def recommend(self, **params):
        params.setdefault("user", "u1")
        return self.client.call("recommend", **params)

    def only(self, what, reply, count=None):
        listed = names(reply)
        for name in listed:
            self.assertTrue(what(name), name)
        if count is not None:
            self.assertEqual(len(listed), count)
        return listed

    # ---- filters

    def test_must(self):
        reply = self.recommend(n=20, filter={"must": [{"field": "brand", "any": ["a", "b"]}, {"field": "price", "max": 40}]})
        self.only(lambda i: self.shop.values(i, "brand")[0] in "ab" and self.shop.number(i, "price") <= 40, reply, 20)

    def test_must_not_and_should(self):
        reply = self.recommend(n=50, filter={"must_not": [{"field": "category", "any": ["c1", "sale"]}],
                                             "should": [{"field": "colour", "any": ["white"]}, {"field": "new", "any": ["true"]}]})
        self.only(lambda i: not {"c1", "sale"} & set(self.shop.values(i, "category")) and
                  ("white" in self.shop.values(i, "colour") or self.shop.values(i, "new") == ["true"]), reply, 50)

    def test_as_long_as_the_filter_lets(self):
        reply = self.recommend(n=100, filter={"must": [{"field": "brand", "any": ["h"]}]})
        self.only(lambda i: self.shop.values(i, "brand") == ["h"], reply, 8)
        self.assertIn("filter", reply["shortened"])

    def test_numbers_are_values_too(self):
        reply = self.recommend(n=10, filter={"must": [{"field": "size", "any": ["7"]}]})
        self.only(lambda i: self.shop.number(i, "size") == 7, reply, 10)

    def test_missing_values(self):
        none = self.recommend(n=500, filter={"must": [{"field": "colour", "exists": False}]}, exclude_seen=False)
        self.only(lambda i: not self.shop.values(i, "colour"), none, 67)
        dear = self.recommend(n=500, filter={"must": [{"field": "price", "min": 0}]}, exclude_seen=False)
        self.only(lambda i: self.shop.number(i, "price") is not None, dear, 300)

    def test_items_by_name(self):
        some = [item_name(i) for i in (3, 5, 8)]
        reply = self.recommend(n=10, filter={"must": [{"field": "item", "any": some + ["nowhere"]}]})
        self.assertEqual(sorted(names(reply)), some)

    def test_a_change_counts_at_once(self):
        rule = {"must": [{"field": "season", "any": ["winter"]}]}
        self.client.call("item.put", items=[{"item": item_name(77), "attributes": {"season": "winter"}}])
        self.assertEqual(names(self.recommend(n=10, filter=rule)), [item_name(77)])
        self.client.call("item.put", items=[{"item": item_name(77), "attributes": attributes(77)["attributes"]}], replace=False)
        self.client.call("item.put", items=[attributes(77)])

    def test_rank_and_similar_too(self):
        rule = {"must": [{"field": "brand", "any": ["c"]}]}
        listed = names(self.client.call("rank", user="u1", items=[item_name(i) for i in range(30)], filter=rule))
        self.assertEqual(sorted(listed), [item_name(i) for i in range(30) if attributes(i)["attributes"]["brand"] == "c"])
        self.only(lambda i: self.shop.values(i, "brand") == ["c"],
                  self.client.call("similar", items=[item_name(1)], n=9, filter=rule), 9)

    def test_created(self):
        self.client.call("item.put", items=[{"item": item_name(5), "created": "2026-01-05"}])
        rule = {"must": [{"field": "created", "after": "2026-01-01", "before": "2026-02-01"}]}
        self.assertEqual(names(self.recommend(n=10, filter=rule)), [item_name(5)])
        self.client.call("item.put", items=[{"item": item_name(5), "created": "never"}])

    # ---- what is refused

    def refused(self, field, **params):
        with self.assertRaises(RpcError) as caught:
            self.recommend(**params)
        self.assertEqual(caught.exception.code, INVALID_ARGUMENT)
        self.assertEqual(caught.exception.field, field, caught.exception)
        return str(caught.exception)

    def test_refusals(self):
        must = lambda c: {"filter": {"must": [c]}}
        self.assertIn("did you mean 'brand'", self.refused("filter.must", **must({"field": "brnd", "any": ["a"]})))
        self.refused("filter.must[0]", **must({"field": "brand"}))
        self.refused("filter.must[0]", **must({"any": ["a"]}))
        self.refused("filter.must[0]", **must({"field": "price", "min": 3, "max": 2}))
        self.refused("filter.must[0]", **must({"field": "price", "after": "2026-01-01"}))
        self.refused("filter.must[0]", **must({"field": "item", "exists": True}))
        self.refused("filter.must", filter={"must": [{"field": "brand", "any": ["a"]}] * 65})
        self.refused("filter.must[0]", **must({"field": "brand", "any": ["a"] * 1001}))
        self.refused("filter", filter={"must": [{"field": "brand", "any": ["a"]}] * 60},
                     boost=[{"when": [{"field": "brand", "any": ["a"]}] * 40, "add": 1}] * 5)
        self.refused("fields", fields=["title"] * 17)
        self.refused("boost[0].add", boost=[{"when": [], "add": 1e9}])
        self.refused("promotions[0].share", promotions=[{"when": [], "share": 1.5}])
        self.refused("promotions[1].share", promotions=[{"when": [], "share": .6}, {"when": [], "share": .6}])
        self.refused("caps[0].most", caps=[{"by": "brand", "most": 0}])
        self.refused("caps[0].most", caps=[{"by": "brand", "most": 3, "window": 3}])
        self.refused("caps[0].by", caps=[{"most": 3}])
        self.assertIn("did you mean", self.refused("caps", caps=[{"by": "brandd", "most": 3}]))
        for knob in ("diversity", "novelty", "serendipity", "calibration", "exploration"):
            self.refused(knob, **{knob: 1.1})
            self.refused(knob, **{knob: -.1})
        self.refused("rerank", rerank="magic")
        self.refused("price_ceiling", price_ceiling=0)
        self.refused("pool", pool=0)
        self.refused("pool", pool=10001)
        self.refused("scenario", scenario="nowhere")
        self.refused("exploration", exploration=.6, promotions=[{"when": [], "share": .5}])
        self.refused("rotation", rotation=2)
        self.refused("rotation_ms", rotation=1, rotation_ms=-1)

    # ---- boosts and promotions

    def test_boost_is_a_part_of_the_score(self):
        plain = {i["item"]: i for i in self.recommend(n=ITEMS)["items"]}
        boosted = self.recommend(n=ITEMS, boost=[{"when": [{"field": "brand", "any": ["d"]}], "add": 2.5}])
        for item in boosted["items"]:
            extra = 2.5 if self.shop.values(item["item"], "brand") == ["d"] else 0
            self.assertAlmostEqual(item["parts"]["boost"], extra)
            self.assertAlmostEqual(sum(item["parts"].values()), item["score"], delta=1e-4)
            if item["source"] != "newest":
                self.assertAlmostEqual(item["score"] - extra, plain[item["item"]]["score"], delta=1e-3)
        scores = [i["score"] for i in boosted["items"]]
        self.assertEqual(scores, sorted(scores, reverse=True))

    def test_buried_for_nobody(self):
        """Who has no history has no scores, and still what is buried comes last."""
        reply = self.client.call("recommend", n=ITEMS, boost=[{"when": [{"field": "brand", "any": ["a"]}], "add": -5}])
        buried = [self.shop.values(i["item"], "brand") == ["a"] for i in reply["items"]]
        self.assertEqual(len(buried), ITEMS)
        unknown = [b for b, i in zip(buried, reply["items"]) if i["source"] == "newest"]
        self.assertEqual(unknown, sorted(unknown))
        self.assertTrue(all(buried[-sum(unknown):]))
        for item in reply["items"]:
            self.assertAlmostEqual(sum(item["parts"].values()), item["score"], delta=1e-4)

    def test_shares_are_exact(self):
        reply = self.recommend(n=50, promotions=[{"when": [{"field": "brand", "any": ["a", "b", "c"]}], "share": .9}])
        promoted = [self.shop.values(i["item"], "brand")[0] in "abc" for i in reply["items"]]
        for k in range(1, 51):
            self.assertGreaterEqual(sum(promoted[:k]), int(.9 * k + 1e-9), k)

    def test_bury(self):
        buried = self.recommend(n=20, boost=[{"when": [{"field": "brand", "any": ["a"]}], "add": -1000}])
        self.only(lambda i: self.shop.values(i, "brand") != ["a"], buried, 20)

    def test_promotion(self):
        reply = self.recommend(n=20, promotions=[{"when": [{"field": "brand", "any": ["h"]}], "share": .25, "label": "week of h"}])
        promoted = [k for k, i in enumerate(reply["items"], 1) if self.shop.values(i["item"], "brand") == ["h"]]
        self.assertGreaterEqual(len(promoted), 5)
        for k in range(1, 21):
            self.assertGreaterEqual(sum(p <= k for p in promoted), int(.25 * k))
        labelled = [i for i in reply["items"] if i.get("label")]
        self.assertTrue(labelled)
        for item in labelled:
            self.assertEqual((item["label"], item["source"]), ("week of h", "promotion"))
            self.assertGreater(item["moved"], 0)

    # ---- caps

    def test_cap_in_a_window(self):
        cap = {"by": "brand", "most": 1, "window": 4}
        reply = self.recommend(n=100, caps=[cap])
        self.assertEqual(len(names(reply)), 100)
        self.assertIsNone(self.shop.cap_fault(names(reply), cap))

    def test_cap_that_ends_the_list_is_named(self):
        reply = self.recommend(n=100, caps=[{"by": "brand", "most": 2}])
        self.assertEqual(len(names(reply)), 16)
        self.assertIn("cap of 2 of one brand", reply["shortened"])

    def test_price_ceiling(self):
        prices = sorted(self.shop.number(item_name(i), "price") for i in (2, 9, 16, 40) if i % 4)
        median = (prices[(len(prices) - 1) // 2] + prices[len(prices) // 2]) / 2
        reply = self.recommend(n=ITEMS, price_ceiling=1.5)
        listed = self.only(lambda i: (self.shop.number(i, "price") or 0) <= 1.5 * median, reply)
        self.assertTrue(any(self.shop.number(i, "price") is None for i in listed))
        self.assertTrue(any((self.shop.number(i, "price") or 0) > median for i in listed))

    # ---- knobs

    def test_each_knob_changes_the_list_and_is_repeatable(self):
        plain = self.recommend(n=10)
        pinned = {"now": plain["now_ms"], "counts": plain["counts"]}
        for params in ({"diversity": .7}, {"diversity": .7, "rerank": "mmr"}, {"novelty": .8}, {"serendipity": .9},
                       {"calibration": .9}):
            first = self.recommend(n=10, **params, **pinned)
            self.assertNotEqual(names(first), names(plain), params)
            self.assertEqual(names(first), names(self.recommend(n=10, **params, **pinned)), params)
            self.assertEqual(len(names(first)), 10)

    def test_knobs_of_zero_change_nothing(self):
        plain = self.recommend(n=30)
        zero = self.recommend(n=30, diversity=0, novelty=0, serendipity=0, calibration=0, now=plain["now_ms"],
                              counts=plain["counts"])
        self.assertEqual(names(plain), names(zero))

    def test_calibration_brings_the_mix(self):
        shop.put_events(self.client, "mixed", [0, 5, 10, 15, 1, 6])  # categories c0 four times, c1 twice
        mix = lambda reply: sum("c0" in self.shop.values(i, "category") for i in names(reply)) / 30
        self.assertAlmostEqual(mix(self.recommend(user="mixed", n=30, calibration=.95, pool=400)), .6, delta=.12)

    # ---- exploration

    def test_exploration(self):
        plain = self.recommend(n=10)
        pinned = {"now": plain["now_ms"], "counts": plain["counts"]}
        drawn, places = set(), 0
        for seed in range(40):
            reply = self.recommend(n=10, exploration=.25, seed=str(seed), **pinned)
            self.assertEqual(names(reply), names(self.recommend(n=10, exploration=.25, seed=str(seed), **pinned)))
            self.assertEqual(len(set(names(reply))), 10)
            for item in reply["items"]:
                self.assertEqual(item["source"] == "exploration", "propensity" in item)
                if item["source"] == "exploration":
                    self.assertAlmostEqual(item["propensity"], 2.5 / 50)
                    drawn.add(item["item"])
                    places += 1
        self.assertGreater(len(drawn), 25)
        self.assertAlmostEqual(places / 40, 2.5, delta=.3)
        self.assertFalse(any(i["source"] == "exploration" for i in plain["items"]))

    def test_exploration_keeps_the_rules(self):
        rule = {"must": [{"field": "brand", "any": ["d"]}]}
        reply = self.recommend(n=20, exploration=1, filter=rule)
        self.only(lambda i: self.shop.values(i, "brand") == ["d"], reply, 20)
        self.assertGreater(sum(i["source"] == "exploration" for i in reply["items"]), 15)

    def test_exploration_for_nobody_draws_any(self):
        """Nothing has a score then: neither the oldest nor the newest come first."""
        drawn = set()
        for seed in range(30):
            reply = self.client.call("recommend", n=10, exploration=.5, seed=str(seed), exclude=[item_name(i) for i in range(100)])
            drawn |= {int(i["item"][1:]) for i in reply["items"] if i["source"] == "exploration"}
        self.assertGreater(len(drawn), 80)
        self.assertLess(min(drawn), 150)
        self.assertGreater(max(drawn), 350)

    # ---- all of it at random

    def test_random_requests(self):
        seed = int(os.environ.get("RECSYSD_SEED", random.SystemRandom().randrange(1 << 30)))
        print("test_rules: RECSYSD_SEED=%d" % seed)
        rng = random.Random(seed)
        fields = {"brand": list("abcdefgh"), "category": ["c%d" % i for i in range(5)] + ["sale"],
                  "colour": ["red", "green", "blue", "white"], "size": (0, 12), "price": (5, 95), "new": ["true", "false"]}
        everything = sorted(self.shop.items)
        seen = {"u1": {2, 9, 16, 40}, "u2": {1}, "nobody": set()}
        for _ in range(REQUESTS):
            user, n = rng.choice(sorted(seen)), rng.choice([1, 5, 10, 30, 120])
            request = lawful.random_request(rng, fields, everything, ["brand", "category", "colour"])
            reply = self.recommend(user=user, n=n, **request)
            hidden = {item_name(i) for i in seen[user]} if request.get("exclude_seen", True) else set()
            qualifying = {i for i in everything if i not in hidden and i not in request.get("exclude", []) and
                          self.shop.passes(i, request.get("filter", {}))}
            self.assertEqual(lawful.faults(self.shop, request, names(reply), qualifying, n), [], (seed, user, n, request))
            if len(names(reply)) < n:
                self.assertTrue(reply["shortened"])
            again = self.recommend(user=user, n=n, now=reply["now_ms"], counts=reply["counts"], **request)
            self.assertEqual(names(reply), names(again), (seed, user, n, request))


if __name__ == "__main__":
    unittest.main()
