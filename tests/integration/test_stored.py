# SPDX-License-Identifier: Apache-2.0
"""Lists that were computed before: put, answered where there is no time to score anything, and gone with their user."""
import json
import math
import os
import subprocess
import unittest

import shop
from daemon import BUILD, INVALID_ARGUMENT, PATIENCE_S, RECSYSCTL, SharedDaemon, environment, run, until
from shop import item_name, names

RESCORE = os.path.join(BUILD, "recsys-rescore")
ITEMS = 300  # enough for the model to read vectors
NO_TIME = {"deadline_ms": 0.001}
FILLING = {"trending", "popular", "newest"}


def sources(reply):
    return [item["source"] for item in reply["items"]]


class Stored(SharedDaemon):
    """Each test has a user of its own, who has seen the items 0 and 1."""
    settings = {"limits.list": 60, "limits.batch": 400}

    @classmethod
    def fill(cls, client):
        shop.put_items(client, ITEMS)
        shop.put_features(client, ITEMS)
        shop.wait_for_model(client)
        for n in range(10):  # popular, in this order
            seq = shop.put_events(client, "crowd%d" % n, [100 + k for k in range(10 - n)])["seq"]
        until(lambda: int(client.call("status")["counts"]) >= int(seq), "counts of these events")

    def setUp(self):
        self.user = self.id().rsplit(".", 1)[1]
        self.seq = shop.put_events(self.client, self.user, [0, 1])["seq"]

    def put(self, *lists):
        return self.client.call("list.put", lists=list(lists))

    def store(self, *items, user=None, **more):
        """Put one list; the names on it."""
        listed = [item_name(i) for i in items]
        reply = self.put({"user": self.user if user is None else user, "items": listed, **more})
        self.assertEqual(reply, {"stored": 1, "unknown_users": [], "unknown_items": 0, "durable": True})
        return listed

    def hurried(self, **params):
        return self.client.call("recommend", **{"user": self.user, "n": 10, **NO_TIME, **params})

    def settle(self):
        """Until counts are published that no request of this test changes."""
        until(lambda: int(self.client.call("status")["counts"]) >= int(self.seq), "counts of the test's events")

    def check_unstored(self, reply):
        self.assertIn("unscored", reply["degraded"])
        self.assertNotIn("stored", reply["degraded"])
        self.assertLessEqual(set(sources(reply)), FILLING)

    # ---- what is answered

    def test_the_users_list_answers(self):
        listed = self.store(40, 7, 233, 12, 90, 8, scores=[3.5, 3.25, 3.25, 1, -0.5, -2])
        for client in (self.client, self.pb):
            reply = client.call("recommend", user=self.user, n=5, **NO_TIME)
            self.assertEqual(names(reply), listed[:5])
            self.assertEqual([item["score"] for item in reply["items"]], [3.5, 3.25, 3.25, 1, -0.5])
            self.assertEqual(sources(reply), ["stored"] * 5)
            self.assertEqual(reply["degraded"], ["unscored", "stored"])
            self.assertEqual((reply["filled"], reply["shortened"]), ("", ""))
        self.assertEqual(self.hurried(n=1)["items"][0]["parts"], {"stored": 3.5})

    def test_only_where_there_is_no_time(self):
        self.store(40, 41, 42)
        for params in ({}, {"deadline_ms": 10000}):
            reply = self.client.call("recommend", user=self.user, n=10, **params)
            self.assertEqual(reply["degraded"], [])
            self.assertNotIn("stored", sources(reply))

    def test_filled_up(self):
        """Behind the list comes what would have come without it, and nothing twice."""
        self.settle()
        first = self.hurried(n=20)
        self.check_unstored(first)
        made_of = {name: first[name] for name in ("model", "counts", "catalogue")}
        listed = self.store(20, 100, 21, **made_of)  # 100 is the most popular
        self.assertIn(item_name(100), names(first))
        reply = self.hurried(n=20, now=first["now_ms"], **made_of)
        self.assertEqual(names(reply), (listed + [name for name in names(first) if name not in listed])[:20])
        self.assertEqual(sources(reply)[:3], ["stored"] * 3)
        self.assertLessEqual(set(sources(reply)[3:]), FILLING)
        self.assertTrue(reply["filled"].startswith("17 of 20 "), reply["filled"])
        self.assertEqual(reply["degraded"], ["unscored", "stored"])

    def test_what_may_not_be_listed_any_more(self):
        self.store(0, 30, 31, 32, 33, 34, 35, 36)
        params = {"exclude": [item_name(30)], "current": [item_name(33)],
                  "filter": {"must_not": [{"field": "item", "any": [item_name(34)]}]}}
        self.client.call("item.put", items=[{"item": item_name(31), "available": False}])
        self.client.call("item.delete", items=[item_name(32)])
        reply = self.hurried(n=50, **params)
        self.assertEqual(names(reply)[:2], [item_name(35), item_name(36)])
        self.assertEqual(sources(reply).count("stored"), 2)
        self.assertFalse({item_name(i) for i in (0, 1, 30, 31, 32, 33, 34)} & set(names(reply)))
        self.client.call("item.put", items=[{"item": item_name(31), "available": True}, {"item": item_name(32)}])
        self.assertEqual(names(self.hurried(**params))[:4], [item_name(i) for i in (31, 32, 35, 36)])
        shop.put_events(self.client, self.user, [35])
        self.assertEqual(names(self.hurried(**params))[:3], [item_name(i) for i in (31, 32, 36)])

    def test_nothing_of_it_may_be_listed(self):
        self.store(0, 1)
        self.check_unstored(self.hurried())

    def test_an_item_that_is_twice_on_it(self):
        self.store(20, 21, 20, 22, 21)
        reply = self.hurried()
        self.assertEqual(names(reply)[:3], [item_name(i) for i in (20, 21, 22)])
        self.assertEqual(len(set(names(reply))), 10)
        self.assertEqual(sources(reply).count("stored"), 3)

    def test_a_list_takes_the_place_of_the_one_before(self):
        self.check_unstored(self.hurried())
        self.store(20, 21)
        self.assertEqual(names(self.hurried(n=2)), [item_name(20), item_name(21)])
        self.store(22)
        self.assertEqual(sources(self.hurried()).count("stored"), 1)
        self.assertEqual(names(self.hurried())[0], item_name(22))
        self.store()
        self.check_unstored(self.hurried())

    def test_everybodys_list(self):
        self.addCleanup(self.store, user="")
        listed = self.store(60, 61, 62, user="")
        session = [{"item": item_name(5)}]
        for user, noted in (("a stranger", ["unknown_user"]), ("", [])):
            reply = self.hurried(user=user, events=session)
            self.assertEqual(names(reply)[:3], listed)
            self.assertEqual(sources(reply).count("stored"), 3)
            self.assertEqual(reply["degraded"], noted + ["unscored", "stored"])
        self.assertEqual(names(self.hurried())[:3], listed)
        own = self.store(70)
        self.assertEqual(names(self.hurried())[0], own[0])
        self.assertEqual(sources(self.hurried()).count("stored"), 1)
        self.store()
        self.assertEqual(names(self.hurried())[:3], listed)

    def test_without_history_nothing_is_left_out(self):
        self.addCleanup(self.store, user="")
        self.store(60, 61, 62, user="")
        for user, noted in (("a stranger", "unknown_user"), ("", "no_history")):
            reply = self.hurried(user=user)
            self.assertEqual(reply["degraded"], [noted])
            self.assertNotIn("stored", sources(reply))

    def test_other_requests_take_none(self):
        self.store(20, 21, 22)
        for params in ({"diversity": 0.5}, {"exploration": 0.2}, {"without": [self.seq]}):
            self.assertNotIn("stored", self.hurried(**params)["degraded"], params)
        ranked = self.client.call("rank", user=self.user, items=[item_name(20), item_name(23)], **NO_TIME)
        self.check_unstored(ranked)

    def test_made_of_what_the_request_fixes(self):
        self.settle()
        now = self.hurried()
        self.store(20, 21, model="other-12345678")
        self.check_unstored(self.hurried(model=now["model"]))
        self.assertIn("stored", self.hurried()["degraded"])
        self.store(20, 21, model=now["model"], counts="1")
        self.assertIn("stored", self.hurried(model=now["model"])["degraded"])
        self.check_unstored(self.hurried(counts=now["counts"]))
        self.check_unstored(self.hurried(catalogue=now["catalogue"]))

    def test_no_list_from_after_the_moment(self):
        later = shop.put_events(self.client, self.user, [2])["seq"]
        self.store(20, 21, seq=later)
        self.check_unstored(self.hurried(at_seq=self.seq))
        reply = self.hurried(at_seq=later)
        self.assertIn("stored", reply["degraded"])
        self.store(20, 21, seq=later, now_ms=int(reply["now_ms"]) + shop.DAY_MS)
        self.check_unstored(self.hurried(at_seq=later))
        self.assertIn("stored", self.hurried()["degraded"])

    # ---- why

    def check_sums(self, item):
        for values in (list(item["parts"].values()), [term["value"] for term in item.get("terms", [])]):
            size = sum(abs(value) for value in values)
            self.assertAlmostEqual(sum(values), item["score"], delta=1e-5 * size + 1e-6, msg=item)

    def test_explained(self):
        listed = self.store(20, 21, 22, scores=[2.5, 0, -1.25])
        every = {"when": [], "add": 0.75}
        for boost in ([], [every]):
            reply = self.hurried(explain="full", boost=boost)
            self.assertEqual(names(reply)[:3], listed)
            self.assertEqual([item["score"] for item in reply["items"][:3]], [2.5, 0, -1.25])
            for item in reply["items"]:
                self.check_sums(item)
                self.assertTrue(item["reason"])
            kinds = [[term["kind"] for term in item.get("terms", [])] for item in reply["items"]]
            self.assertEqual(kinds[:3], [["stored"], [], ["stored"]])
            self.assertFalse(any("stored" in of_item for of_item in kinds[3:]))
            self.assertEqual(["boost" in of_item for of_item in kinds[3:]], [bool(boost)] * 7)

    def test_one_item_explained(self):
        listed = self.store(20, 21, scores=[2.5, 1.5])
        reply = self.client.call("explain", item=listed[1], request={"user": self.user, "n": 5, **NO_TIME})
        self.assertEqual((reply["stage"], reply["place"]), ("listed", 2))
        self.assertEqual((reply["explained"]["source"], reply["explained"]["score"]), ("stored", 1.5))
        self.check_sums(reply["explained"])

    # ---- gone with their user

    def test_a_merge_takes_it_away(self):
        session = self.user + " before the login"
        shop.put_events(self.client, session, [2])
        self.store(40, 41, user=session)
        self.assertIn("stored", self.hurried(user=session)["degraded"])
        self.assertTrue(self.client.call("user.merge", **{"from": session, "into": self.user})["known"])
        self.check_unstored(self.hurried())
        self.check_unstored(self.hurried(user=session, events=[{"item": item_name(3)}]))

    def test_who_is_merged_into_keeps_it(self):
        session = self.user + " before the login"
        shop.put_events(self.client, session, [40])
        self.store(50, user=session)
        self.store(40, 41, 42)
        self.client.call("user.merge", **{"from": session, "into": self.user})
        reply = self.hurried()
        self.assertEqual(names(reply)[:2], [item_name(41), item_name(42)])  # 40 is seen now
        self.assertEqual(sources(reply).count("stored"), 2)

    def test_an_erasure_takes_it_away(self):
        self.store(40, 41)
        self.assertIn("stored", self.hurried()["degraded"])
        self.assertTrue(self.client.call("user.erase", user=self.user)["known"])
        shop.put_events(self.client, self.user, [2, 3])
        self.check_unstored(self.hurried())

    def test_a_restart_keeps_it(self):
        listed = self.store(40, 41)
        self.server.kill()
        self.server.start()
        self.assertEqual(names(self.hurried())[:2], listed)

    # ---- what is put

    def test_what_is_unknown_is_left_out(self):
        lists = [{"user": "ghost", "items": [item_name(20), "none"]},
                 {"user": self.user, "items": ["nothing", item_name(20), "none", item_name(21)],
                  "scores": [4, 3, 2, 1]}]
        for client in (self.client, self.pb):
            self.assertEqual(client.call("list.put", lists=lists),
                             {"stored": 1, "unknown_users": ["ghost"], "unknown_items": 2, "durable": True})
        reply = self.hurried(n=2)
        self.assertEqual([(item["item"], item["score"]) for item in reply["items"]],
                         [(item_name(20), 3), (item_name(21), 1)])
        ghosts = self.put(*[{"user": "ghost%d" % i, "items": [item_name(20)]} for i in range(150)])
        self.assertEqual((ghosts["stored"], ghosts["unknown_users"]), (0, ["ghost%d" % i for i in range(100)]))

    def test_refused(self):
        good = {"user": self.user, "items": [item_name(20), item_name(21)]}
        for lists, field, reason in (
                ([], "", "MISSING"), ([good] * 401, "", "TOO_MANY"),
                ([{**good, "items": [item_name(20)] * 61}], "lists[0].items", "TOO_MANY"),
                ([good, {**good, "items": ["a\nb"]}], "lists[1].items", "CONTROL_CHARACTER"),
                ([good, {**good, "items": [""]}], "lists[1].items", "MISSING"),
                ([good, {**good, "user": "u" * 257}], "lists[1].user", "TOO_LONG"),
                ([{**good, "scores": [1]}], "lists[0].scores", "BAD_VALUE"),
                ([{**good, "scores": [1e39, 1]}], "lists[0].scores", "NON_FINITE_VALUE"),
                ([{**good, "model": "m" * 97}], "lists[0].model", "TOO_LONG"),
                ([{**good, "counts": "x"}], "lists[0].counts", "BAD_POSITION"),
                ([{**good, "catalogue": "-1"}], "lists[0].catalogue", "BAD_POSITION"),
                ([{**good, "seq": "1 "}], "lists[0].seq", "BAD_POSITION"),
                ([{**good, "now_ms": -1}], "lists[0].now_ms", "OUT_OF_RANGE")):
            error = self.refused(INVALID_ARGUMENT, self.client.call, "list.put", lists=lists)
            self.assertEqual((error.field, error.reason), (field, reason))
        for score in (math.nan, math.inf):
            error = self.refused(INVALID_ARGUMENT, self.pb.call, "list.put", lists=[{**good, "scores": [1, score]}])
            self.assertEqual((error.field, error.reason), ("lists[0].scores", "NON_FINITE_VALUE"))
        self.check_unstored(self.hurried())


class Rescored(SharedDaemon):
    """What recsys-rescore writes, put by recsysctl."""
    USERS = 40

    @classmethod
    def fill(cls, client):
        shop.put_items(client, ITEMS)
        for user in range(cls.USERS):
            shop.put_events(client, "u%d" % user, [(user * 7 + k * 2) % ITEMS for k in range(6)])
        shop.put_features(client, ITEMS)
        shop.wait_for_model(client)

    def hurried(self, user, n, **params):
        return self.client.call("recommend", user=user, n=n, **NO_TIME, **params)

    def write(self, *lines):
        """A file of these lines, each a text or an object."""
        path = os.path.join(self.directory(), "lists.ndjson")
        with open(path, "w", encoding="utf-8") as out:
            out.writelines((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
        return path

    @staticmethod
    def line(user, *items):
        return {"user": user, "items": [{"item": item, "score": 1.5, "source": "attention"} for item in items],
                "degraded": []}

    def test_last_nights_lists_answer(self):
        path = os.path.join(self.directory(), "lists.ndjson")
        done = run(RESCORE, "-q", "--data-dir", self.server.data_dir, "--out", path, "-n", "7")
        self.assertEqual(done.returncode, 0, done.stderr)
        done = self.server.ctl("list", "put", path)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stdout.startswith("stored %d lists, 0 " % self.USERS), done.stdout)
        with open(path, encoding="utf-8") as file:
            head, *lists = [json.loads(line) for line in file]
        self.assertEqual(len(lists), self.USERS)
        for line in lists:
            reply = self.hurried(line["user"], 7)
            self.assertEqual(names(reply), [item["item"] for item in line["items"]])
            self.assertEqual(sources(reply), ["stored"] * 7)
            for answered, written in zip(reply["items"], line["items"]):
                self.assertAlmostEqual(answered["score"], written["score"], delta=1e-6 * (1 + abs(written["score"])))
        made_of = {name: head[name] for name in ("model", "counts", "catalogue")}
        reply = self.hurried("u3", 20, **made_of)
        self.assertEqual(sources(reply).count("stored"), 7)
        self.assertEqual((len(names(reply)), len(set(names(reply)))), (20, 20))

    def test_bad_lines_are_told_and_left_out(self):
        head = {"seq": "1", "catalogue": "1", "model": "m-1", "counts": "1", "now_ms": 1700000000000, "n": 2}
        good = self.line("u0", item_name(200), "none")
        path = self.write(head, good, "not JSON", {"user": "u1"}, {"user": "u1", "items": [item_name(1)]},
                          self.line("ghost", item_name(1)), "", {"seq": 1},
                          {"user": "u2", "items": [{"item": item_name(1)}, {"item": item_name(2), "score": 1}]},
                          {"user": "u3", "items": [{"item": item_name(3), "score": "1"}]}, "[]",
                          {"user": "u4", "items": [{"item": item_name(250)}]}, json.dumps(good)[:30])
        done = self.server.ctl("list", "put", path)
        self.assertEqual(done.returncode, 65, done.stderr)
        told = [int(line.split(path + ":")[1].split(":")[0]) for line in done.stderr.splitlines() if path + ":" in line]
        self.assertEqual(told, [3, 4, 5, 8, 9, 10, 11, 13])
        self.assertIn("no user 'ghost'", done.stderr)
        self.assertEqual(done.stdout, "stored 2 lists, 1 of unknown users left out, 1 unknown items left out\n")
        self.assertEqual(names(self.hurried("u0", 2))[0], item_name(200))
        reply = self.hurried("u4", 1)
        self.assertEqual((names(reply), reply["items"][0]["score"]), ([item_name(250)], 0))
        summary = json.loads(self.server.ctl("-o", "json", "list", "put", path).stdout)
        self.assertEqual(summary, {"stored": 2, "bad_lines": 8, "left_out": 1, "unknown_users": ["ghost"],
                                   "unknown_items": 1, "durable": True})

    def test_more_than_a_batch_and_standard_input(self):
        lines = [self.line("u%d" % (i % self.USERS), item_name(i % 100 + 100)) for i in range(1234)]
        self.assertEqual(self.server.ctl_json("list", "put", self.write(*lines))["stored"], 1234)
        done = subprocess.run([RECSYSCTL, "--endpoint", self.server.endpoint, "-o", "json", "list", "put", "-"],
                              input="\n".join(map(json.dumps, lines)), env=environment(), timeout=PATIENCE_S, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(json.loads(done.stdout)["stored"], 1234)
        last = lines[-1]
        self.assertEqual(names(self.hurried(last["user"], 1)), [last["items"][0]["item"]])

    def test_a_list_that_the_daemon_refuses(self):
        path = self.write(self.line("u0", item_name(1)), self.line("u1", "a\x01b"))
        done = self.server.ctl("list", "put", path)
        self.assertEqual((done.returncode, done.stdout), (65, ""), done.stderr)
        self.assertIn("before line 1", done.stderr)
        self.assertIn(path + ":2", done.stderr)

    def test_no_such_file(self):
        done = self.server.ctl("list", "put", "/no/such/file")
        self.assertEqual(done.returncode, 66, done.stderr)
        self.assertIn("/no/such/file", done.stderr)


if __name__ == "__main__":
    unittest.main()
