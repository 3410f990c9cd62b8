# SPDX-License-Identifier: Apache-2.0
"""Moving from another recommender: its request as it is sent there, the same thing as a call of recsysd, and that the
answer is what the other one promises. In words: moving.md."""
import os
import shutil
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))

import shop  # noqa: E402
from daemon import INVALID_ARGUMENT, SharedDaemon, until  # noqa: E402
from shop import item_name, names  # noqa: E402

ITEMS = 300  # 256 are needed before a model reads vectors
HOME = "arn:aws:personalize:eu-west-1:123456789012:campaign/home"
RANKING = "arn:aws:personalize:eu-west-1:123456789012:campaign/ranking"
SCENARIOS = """
homepage:
  n: 5
  caps:
    - {by: brand, most: 2, window: 4}
"%s":
  n: 25
  seen: {behaviours: [purchase]}
"%s":
  weights: {popularity: 0}
""" % (HOME, RANKING)


# ---- the shop

def number(name):
    return int(name[1:])


def brand(i):
    return "abcdefgh"[i % 8]


def price(i):
    return 10 + i % 50


def categories(i):
    return ["odd" if i % 2 else "even"] + ["sale"] * (i % 3 == 0)


def on_sale_up_to_40(i):
    return i % 3 == 0 and price(i) <= 40


# ---- what is sent to the others

GORSE_FEEDBACK = [  # POST /api/feedback
    {"FeedbackType": "like", "UserId": "gorse", "ItemId": "i0000", "Value": 1, "Timestamp": "2024-07-01T10:00:00Z"},
    {"FeedbackType": "view", "UserId": "gorse", "ItemId": "i0006", "Value": 1, "Timestamp": "2024-07-01T10:01:00Z"},
    {"FeedbackType": "view", "UserId": "gorse", "ItemId": "i0012", "Value": 2, "Timestamp": "2024-07-01T10:02:00Z"},
]

METARANK_RANK = {  # POST /rank/xgboost?explain=true
    "id": "81f46c34-a4bb-469c-8708-f8127cd67d27",
    "timestamp": "1719999900000",
    "user": "metarank",
    "session": "session1",
    "fields": [{"name": "source", "value": "search"}],
    "items": [
        {"id": "i0113", "fields": [{"name": "relevancy", "value": 2.0}]},
        {"id": "i0110", "fields": [{"name": "relevancy", "value": 1.0}]},
        {"id": "elsewhere", "fields": [{"name": "relevancy", "value": 0.9}]},
        {"id": "i0115", "fields": [{"name": "relevancy", "value": 0.8}]},
        {"id": "i0112", "fields": [{"name": "relevancy", "value": 0.5}]},
        {"id": "i0119", "fields": [{"name": "relevancy", "value": 0.2}]},
        {"id": "i0116", "fields": [{"name": "relevancy", "value": 0.1}]},
    ],
}
METARANK_INTERACTION = {  # POST /feedback
    "event": "interaction",
    "id": "0f4c0036-04fb-4409-b2c6-7163a59f6b7d",
    "ranking": "81f46c34-a4bb-469c-8708-f8127cd67d27",
    "timestamp": "1719999960000",
    "user": "metarank",
    "session": "session1",
    "type": "click",
    "item": "i0112",
    "fields": [],
}

RECOMBEE_RECOMMEND = {  # POST /{databaseId}/recomms/users/recombee/items/
    "count": 8,
    "scenario": "homepage",
    "filter": "\"sale\" in 'categories' and 'price' <= 40",
    "booster": "if 'brand' == \"c\" then 100 else 1",
    "returnProperties": True,
    "includedProperties": ["title", "price"],
    "cascadeCreate": True,
}
RECOMBEE_NEXT = {"count": 8}  # POST /{databaseId}/recomms/next/items/{recommId}
RECOMBEE_VIEW = {  # POST /{databaseId}/detailviews/, with the first item and the recommId of the list
    "userId": "recombee",
    "timestamp": "2024-07-03T10:00:00Z",
    "cascadeCreate": True,
}

PERSONALIZE_PUT_EVENTS = {
    "trackingId": "tracking",
    "userId": "personalize",
    "sessionId": "session1",
    "eventList": [
        {"eventId": "e1", "eventType": "view", "itemId": "i0120", "sentAt": 1720000000},
        {"eventId": "e2", "eventType": "view", "itemId": "i0122", "sentAt": 1720000001},
        {"eventId": "e3", "eventType": "view", "itemId": "i0124", "sentAt": 1720000002},
        {"eventId": "e4", "eventType": "purchase", "eventValue": 36.0, "itemId": "i0126", "sentAt": 1720000003},
    ],
}
PERSONALIZE_RANKING = {  # GetPersonalizedRanking
    "campaignArn": RANKING,
    "userId": "personalize",
    "inputList": ["i0203", "i0200", "i0205", "i0202", "i0209", "i0206"],
    "metadataColumns": {"ITEMS": ["TITLE", "PRICE"]},
}
PERSONALIZE_RECOMMENDATIONS = {  # GetRecommendations
    "campaignArn": HOME,
    "userId": "personalize",
    "numResults": 12,
    # EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ("purchase") | INCLUDE ItemID WHERE Items.PRICE <= $PRICE
    "filterArn": "arn:aws:personalize:eu-west-1:123456789012:filter/new-and-affordable",
    "filterValues": {"PRICE": "40"},
    "promotions": [{
        "name": "house-brand",
        # INCLUDE ItemID WHERE Items.BRAND IN ($BRAND)
        "filterArn": "arn:aws:personalize:eu-west-1:123456789012:filter/brand",
        "filterValues": {"BRAND": "\"h\""},
        "percentPromotedItems": 25,
    }],
    "metadataColumns": {"ITEMS": ["TITLE", "PRICE"]},
}


class Moving(SharedDaemon):
    """Even items are of one taste and odd ones of the other, by their text; a third is on sale."""

    @classmethod
    def setUpClass(cls):
        directory = tempfile.mkdtemp(prefix="recsysd-")
        cls.addClassCleanup(shutil.rmtree, directory, ignore_errors=True)
        path = os.path.join(directory, "scenarios.yaml")
        with open(path, "w", encoding="utf-8") as out:
            out.write(SCENARIOS)
        cls.settings = {"server.scenarios": path}
        super().setUpClass()

    @classmethod
    def fill(cls, client):
        client.call("item.put", items=[{"item": item_name(i), "title": "Item %d" % i, "price": price(i),
                                        "categories": categories(i), "attributes": {"brand": brand(i)}}
                                       for i in range(ITEMS)])
        shop.put_features(client, ITEMS)
        shop.put_features(client, ITEMS, "image", shop.IMAGE, tastes=lambda i: int(i >= ITEMS // 2))
        shop.wait_for_model(client)
        for n in range(20):
            seq = shop.put_events(client, "crowd%d" % n, [n, n + 7, n + 30, n * 3])["seq"]
        until(lambda: int(client.call("status")["counts"]) >= int(seq), "counts of these events")

    def check_list(self, reply, count, qualifies):
        """So many items, none twice, and only those that qualify; their names."""
        listed = names(reply)
        self.assertEqual(len(listed), count)
        self.assertEqual(len(set(listed)), count)
        for name in listed:
            self.assertTrue(qualifies(number(name)), name)
        return listed

    def check_ranked(self, reply, candidates):
        """Every candidate once, best first; the best is of the user's taste, which is even, the last is not."""
        self.assertEqual(sorted(names(reply)), sorted(candidates))
        scores = [item["score"] for item in reply["items"]]
        self.assertEqual(scores, sorted(scores, reverse=True))
        self.assertEqual([number(names(reply)[at]) % 2 for at in (0, -1)], [0, 1])

    def check_values(self, reply):
        for item in reply["items"]:
            i = number(item["item"])
            self.assertEqual(item["values"], {"title": "Item %d" % i, "price": price(i)})

    # ---- Gorse

    def test_gorse(self):
        """POST /api/feedback with GORSE_FEEDBACK, then
        GET /api/recommend/gorse?n=10&category=sale&category=even
        GET /api/recommend/gorse?n=10&offset=10&category=sale&category=even

        Promised: items in all of the categories, without those that have feedback."""
        both = {"must": [{"field": "category", "any": ["sale"]}, {"field": "category", "any": ["even"]}]}
        reply = self.client.call("event.add", feedback=GORSE_FEEDBACK, cascade_create=True)
        self.assertEqual((reply["added"], reply["created_users"]), (3, 1))
        read = {0, 6, 12}

        first = self.client.call("recommend", UserId="gorse", n=10, filter=both)
        listed = self.check_list(first, 10, lambda i: i % 6 == 0 and i not in read)
        second = self.client.call("next", recomm_id=first["recomm_id"])
        more = self.check_list(second, 10, lambda i: i % 6 == 0 and i not in read)
        self.assertEqual(len(set(listed + more)), 20)

        row = {"FeedbackType": "like", "UserId": "gorse", "ItemId": listed[0], "Timestamp": "2024-07-01T10:03:00Z"}
        self.client.call("event.add", feedback=[row])
        self.assertNotIn(listed[0], names(self.client.call("recommend", UserId="gorse", n=10, filter=both)))

    # ---- Metarank

    def test_metarank(self):
        """POST /rank/xgboost?explain=true with METARANK_RANK, then POST /feedback with METARANK_INTERACTION

        Promised: the caller's candidates in order for this user, with what the order comes from; a click counts."""
        shop.put_events(self.client, "metarank", [100, 102, 104, 106], ts=1719990000000)
        candidates = [item["id"] for item in METARANK_RANK["items"]]
        reply = self.client.call("rank", user=METARANK_RANK["user"], items=candidates)
        self.assertEqual(reply["unknown"], ["elsewhere"])
        self.check_ranked(reply, set(candidates) - {"elsewhere"})
        for item in reply["items"]:
            self.assertAlmostEqual(sum(item["parts"].values()), item["score"], delta=1e-4)

        event = {key: METARANK_INTERACTION[key] for key in ("id", "timestamp", "user", "type", "item")}
        event["recomm_id"] = reply["recomm_id"]
        added = self.client.call("event.add", events=[event])
        self.assertEqual((added["added"], added["duplicates"]), (1, 0))
        again = self.client.call("event.add", events=[event])
        self.assertEqual((again["added"], again["duplicates"]), (0, 1))
        after = self.client.call("rank", user=METARANK_RANK["user"], items=candidates, min_seq=added["seq"],
                                 now=reply["now_ms"], counts=reply["counts"])
        self.assertNotIn("stale", after["degraded"])
        self.check_ranked(after, set(candidates) - {"elsewhere"})
        self.assertNotEqual({item["item"]: item["score"] for item in after["items"]},
                            {item["item"]: item["score"] for item in reply["items"]})

    # ---- Recombee

    def check_cap(self, listed):
        brands = [brand(number(name)) for name in listed]
        for at in range(len(brands)):
            window = brands[at:at + 4]
            self.assertLessEqual(max(map(window.count, window)), 2, brands)

    def test_recombee(self):
        """RecommendItemsToUser with RECOMBEE_RECOMMEND, AddDetailView with RECOMBEE_VIEW, RecommendNextItems with
        RECOMBEE_NEXT

        Promised: items that pass the filter, boosted ones first, under the scenario's constraints, with their
        properties, also to a user who is not known; and next pages of the same list without repeats."""
        request = {"count": RECOMBEE_RECOMMEND["count"], "scenario": "homepage",
                   "filter": {"must": [{"field": "category", "any": ["sale"]}, {"field": "price", "max": 40}]},
                   "booster": [{"when": [{"field": "brand", "any": ["c"]}], "add": 100}],
                   "includedProperties": RECOMBEE_RECOMMEND["includedProperties"]}
        first = self.client.call("recommend", userId="recombee", **request)
        self.assertEqual(first["degraded"], ["unknown_user"])
        listed = self.check_list(first, 8, on_sale_up_to_40)
        self.assertEqual([brand(number(name)) for name in listed[:2]], ["c", "c"])
        self.check_cap(listed)
        self.check_values(first)
        for item in first["items"]:
            boosted = brand(number(item["item"])) == "c"
            self.assertAlmostEqual(item["parts"]["boost"], 100 if boosted else 0)

        view = {"userId": RECOMBEE_VIEW["userId"], "timestamp": RECOMBEE_VIEW["timestamp"], "itemId": listed[0],
                "recommId": first["recomm_id"]}
        added = self.client.call("event.add", events=[view], cascadeCreate=True)
        self.assertEqual((added["added"], added["created_users"]), (1, 1))

        second = self.client.call("next", recommId=first["recomm_id"], count=RECOMBEE_NEXT["count"])
        third = self.client.call("next", recommId=second["recomm_id"], count=RECOMBEE_NEXT["count"])
        pages = listed
        for page in (second, third):
            more = self.check_list(page, 8, on_sale_up_to_40)
            self.check_cap(more)
            self.check_values(page)
            pages = pages + more
        self.assertEqual(len(set(pages)), 24)
        self.assertNotIn(listed[0], names(self.client.call("recommend", userId="recombee", **request)))

    # ---- Amazon Personalize

    def put_events(self, request):
        rows = [dict(event, userId=request["userId"]) for event in request["eventList"]]
        return self.client.call("event.add", eventList=rows, cascadeCreate=True)

    def test_personalize(self):
        """PutEvents with PERSONALIZE_PUT_EVENTS, GetPersonalizedRanking with PERSONALIZE_RANKING,
        GetRecommendations with PERSONALIZE_RECOMMENDATIONS, and PutEvents with a purchase out of that list

        Promised: the input list in order for this user; items that pass the filter, a quarter of them promoted and
        named so, with their metadata; events count from then on."""
        self.assertEqual(self.put_events(PERSONALIZE_PUT_EVENTS)["added"], 4)

        theirs = PERSONALIZE_RANKING
        ranked = self.client.call("rank", campaignArn=theirs["campaignArn"], userId=theirs["userId"],
                                  inputList=theirs["inputList"], metadataColumns=["title", "price"])
        self.check_ranked(ranked, theirs["inputList"])
        self.check_values(ranked)

        theirs = PERSONALIZE_RECOMMENDATIONS
        request = {"campaignArn": theirs["campaignArn"], "userId": theirs["userId"],
                   "filter": {"must": [{"field": "price", "max": 40}]}}
        promotions = [{"when": [{"field": "brand", "any": ["h"]}], "share": 0.25, "label": "house-brand"}]
        reply = self.client.call("recommend", numResults=theirs["numResults"], promotions=promotions,
                                 metadataColumns=["title", "price"], **request)
        listed = self.check_list(reply, 12, lambda i: price(i) <= 40 and i != 126)
        self.check_values(reply)
        for k in range(1, 13):
            self.assertGreaterEqual(sum(brand(number(name)) == "h" for name in listed[:k]), k // 4)
        labelled = [item for item in reply["items"] if item.get("label")]
        self.assertTrue(labelled)
        for item in labelled:
            self.assertEqual((item["label"], item["source"]), ("house-brand", "promotion"))
            self.assertEqual(brand(number(item["item"])), "h")

        everything = names(self.client.call("recommend", numResults=ITEMS, **request))
        self.assertIn("i0120", everything)  # only what was bought is left out
        self.assertNotIn("i0126", everything)
        bought = {"eventId": "e5", "eventType": "purchase", "itemId": listed[0], "sentAt": 1720000100,
                  "recommendationId": reply["recomm_id"]}
        self.put_events(dict(PERSONALIZE_PUT_EVENTS, eventList=[bought]))
        self.assertNotIn(listed[0], names(self.client.call("recommend", numResults=ITEMS, **request)))

    # ---- all of them

    def test_what_has_no_counterpart_is_refused_by_name(self):
        for method, field in (("recommend", "filterArn"), ("event.add", "trackingId")):
            error = self.refused(INVALID_ARGUMENT, self.client.call, method, **{field: "x"})
            self.assertEqual((error.reason, error.field), ("UNKNOWN_FIELD", field))


if __name__ == "__main__":
    unittest.main()
