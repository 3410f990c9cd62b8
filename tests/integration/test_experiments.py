# SPDX-License-Identifier: Apache-2.0
"""Experiments on live requests: who gets what, what is logged of it, and reports that say what the test has counted."""
import collections
import os
import shutil
import sqlite3
import tempfile
import unittest

import shop
from daemon import INVALID_ARGUMENT, NOT_FOUND, SharedDaemon, until
from shop import item_name, names
from test_models import get, put, variant

ITEMS, SHORT = 300, 3
NOT_SHOWN = "no difference shown yet"
SCENARIOS = "short: {n: %d}\n" % SHORT
LEAVING = """
leaving:
  variants:
    before: {}
    control: {scenario: short}
"""
EXPERIMENTS = """
sizes:
  variants:
    control: {}
    short: {scenario: short}
few:
  variants:
    control: {}
    short: {scenario: short}
erased:
  variants:
    control: {}
    short: {scenario: short}
half:
  share: 0.5
  variants:
    control: {}
    other: {model: mine}
absent:
  variants:
    control: {}
    ghost: {model: nowhere}
models:
  interleave: [active, mine]
beside:
  shadow: mine
"""


class Experiments(SharedDaemon):
    """Each test has users and an experiment of its own."""

    @classmethod
    def setUpClass(cls):
        directory = tempfile.mkdtemp(prefix="recsysd-")
        cls.addClassCleanup(shutil.rmtree, directory, ignore_errors=True)
        cls.scenarios, cls.path = (os.path.join(directory, name + ".yaml") for name in ("scenarios", "experiments"))
        cls.write(cls.scenarios, SCENARIOS)
        cls.write(cls.path, EXPERIMENTS + LEAVING)
        cls.settings = {"server.scenarios": cls.scenarios, "server.experiments": cls.path}
        super().setUpClass()

    @staticmethod
    def write(path, text):
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)

    @classmethod
    def fill(cls, client):
        shop.put_items(client, ITEMS)
        shop.put_features(client, ITEMS)
        shop.put_features(client, ITEMS, "image", shop.IMAGE, tastes=lambda i: int(i >= ITEMS // 2))
        shop.wait_for_model(client)
        for n in range(20):
            seq = shop.put_events(client, "crowd%d" % n, [n, n + 7, n + 30, n * 3])["seq"]
        until(lambda: int(client.call("status")["counts"]) >= int(seq), "counts of these events")
        cls.active = client.call("status")["model"]
        cls.mine = put(client, variant(get(client), 5), "mine")["version"]
        client.call("model.load", name="mine")

    def query(self, sql, *arguments):
        database = sqlite3.connect("file:%s?mode=ro" % os.path.join(self.server.data_dir, "shop.db"), uri=True)
        try:
            return database.execute(sql, arguments).fetchall()
        finally:
            database.close()

    def wait_for_log(self, experiment, count):
        def logged():
            return self.query("SELECT count(*) FROM request WHERE experiment = ?", experiment)[0][0]
        until(lambda: logged() >= count, "%d logged lists of '%s'" % (count, experiment))
        self.assertEqual(logged(), count)

    def ask(self, user, experiment, **params):
        return self.client.call("recommend", user=user, experiment=experiment, **{"n": 10, **params})

    def act(self, user, reply, *items, behaviour="purchase"):
        """Events of the user that the list led to; they may come before the list is in the log, and the user known."""
        self.client.call("event.add", cascade_create=True, events=[{"user": user, "item": item, "behaviour": behaviour,
                                               "recomm_id": reply["recomm_id"]} for item in items])

    def settle(self, seq):
        until(lambda: int(self.client.call("status")["counts"]) >= int(seq), "counts that stay")

    def report(self, experiment, **params):
        reply = self.client.call("experiment.report", experiment=experiment, **params)
        return reply, {variant["name"]: variant for variant in reply["variants"]}

    def numbers(self, variant):
        return tuple(int(variant[key]) for key in ("users", "lists", "converted", "outcomes"))

    # ---- variants

    def test_variants_are_stable_and_logged(self):
        users, first = ["stable%d" % k for k in range(60)], {}
        for round_number in range(2):
            for user in users:
                reply = self.client.call("recommend", user=user, experiment="few")
                self.assertEqual(reply["experiment"], "few")
                self.assertEqual(first.setdefault(user, reply["variant"]), reply["variant"])
                self.assertEqual(len(names(reply)), SHORT if reply["variant"] == "short" else 10)
        self.assertEqual(set(first.values()), {"control", "short"})
        self.wait_for_log("few", 2 * len(users))
        rows = self.query("SELECT u.name, r.variant, r.scenario, r.model FROM request AS r JOIN user AS u"
                          " USING (user_id) WHERE r.experiment = 'few'")
        self.assertEqual(dict(collections.Counter(rows)),
                         {(user, v, "short" if v == "short" else "", self.active): 2 for user, v in first.items()})
        self.check_few(first)

    def check_few(self, first):
        """Too few to say anything, but counted."""
        counts = collections.Counter(first.values())
        reply, variants = self.report("few", outcome="purchase")
        self.assertEqual((reply["experiment"], reply["kind"], reply["outcome"], reply["alpha"]),
                         ("few", "variants", "purchase", .05))
        self.assertEqual([v["name"] for v in reply["variants"]], ["control", "short"])
        for name, v in variants.items():
            self.assertEqual(self.numbers(v), (counts[name], 2 * counts[name], 0, 0))
        self.assertEqual((variants["short"]["p"], variants["short"]["low"], variants["short"]["high"],
                          variants["short"]["verdict"]), (1, -1, 1, NOT_SHOWN))
        self.assertFalse({"p", "low", "high", "lift", "verdict"} & set(variants["control"]))

    def test_a_report_counts_what_happened(self):
        """Most users of one variant buy, few of the other: found, and with the numbers that the test has."""
        users = ["buyer%d" % k for k in range(240)]
        variant_of, users_of, bought, events = {}, collections.Counter(), collections.Counter(), collections.Counter()
        for k, user in enumerate(users):
            reply = self.ask(user, "sizes")
            again = self.ask(user, "sizes")
            name = variant_of[user] = reply["variant"]
            users_of[name] += 1
            if k % 10 < (8 if name == "short" else 2):
                self.act(user, reply, names(reply)[0])
                self.act(user, again, names(again)[0], item_name(299))  # also of what was not on the list
                bought[name] += 1
                events[name] += 3
            self.act(user, reply, names(reply)[1], behaviour="view")
            shop.put_events(self.client, user, [k], behaviour="purchase")  # of no list
        self.wait_for_log("sizes", 2 * len(users))
        reply, variants = self.report("sizes", outcome="purchase")
        for name in ("control", "short"):
            v = variants[name]
            self.assertEqual(self.numbers(v), (users_of[name], 2 * users_of[name], bought[name], events[name]), name)
            self.assertAlmostEqual(v["rate"], bought[name] / users_of[name], places=9)
        rates = {name: bought[name] / users_of[name] for name in variants}
        short, difference = variants["short"], rates["short"] - rates["control"]
        self.assertAlmostEqual(short["lift"], rates["short"] / rates["control"] - 1, places=9)
        self.assertTrue(0 < short["low"] < difference < short["high"] < 1, short)
        self.assertLess(short["p"], .001)
        self.assertEqual(short["verdict"], "better")
        self.check_other_questions(users_of, events)

    def check_other_questions(self, users_of, events):
        _, variants = self.report("sizes")  # any outcome: everybody viewed one more
        for name, v in variants.items():
            self.assertEqual(self.numbers(v), (users_of[name], 2 * users_of[name], users_of[name],
                                               events[name] + users_of[name]))
        self.assertEqual(variants["short"]["verdict"], NOT_SHOWN)
        _, variants = self.report("sizes", outcome="dislike")
        self.assertEqual(self.numbers(variants["short"]), (users_of["short"], 2 * users_of["short"], 0, 0))
        _, variants = self.report("sizes", **{"from": "2020-01-01", "until": "2020-01-02"})
        self.assertEqual(self.numbers(variants["short"]), (0, 0, 0, 0))
        by_protobuf = self.pb.call("experiment.report", experiment="sizes", outcome="purchase")["variants"]
        _, by_json = self.report("sizes", outcome="purchase")
        for v in by_protobuf:
            self.assertEqual(self.numbers(v), self.numbers(by_json[v["name"]]))
        done = self.server.ctl("experiment", "report", "sizes", "--outcome", "purchase")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"short\s+%d\s+%d\s" % (users_of["short"], 2 * users_of["short"]))
        self.assertIn("better", done.stdout)
        self.assertIn("at any time", done.stderr)

    def test_half_of_the_users(self):
        replies = {"half%d" % k: self.ask("half%d" % k, "half") for k in range(80)}
        inside = {user: reply for user, reply in replies.items() if reply["variant"]}
        self.assertTrue(20 < len(inside) < 60, len(inside))
        for user, reply in replies.items():
            self.assertEqual(reply["model"], self.mine if reply["variant"] == "other" else self.active)
        self.assertEqual({reply["variant"] for reply in inside.values()}, {"control", "other"})
        self.wait_for_log("half", len(inside))
        self.assertEqual(self.ask("", "half")["variant"], "")  # nobody is in no experiment

    def test_a_model_that_is_not_loaded(self):
        replies = {"absent%d" % k: self.ask("absent%d" % k, "absent") for k in range(40)}
        control = [user for user, reply in replies.items() if reply["variant"] == "control"]
        self.assertTrue(0 < len(control) < len(replies))
        for user, reply in replies.items():
            self.assertIn(reply["variant"], ("control", ""))
            self.assertEqual((reply["model"], len(names(reply))), (self.active, 10))
        self.wait_for_log("absent", len(control))
        _, variants = self.report("absent")
        self.assertEqual((self.numbers(variants["control"])[:2], self.numbers(variants["ghost"])[:2]),
                         ((len(control), len(control)), (0, 0)))

    def test_its_models_are_there_after_a_restart(self):
        def is_loaded():
            return any(model["version"] == self.mine and model["state"] == "loaded" for model in self.client.call("model.list")["models"])
        self.server.kill()
        self.server.start()
        until(is_loaded, "the model of an experiment")
        self.client.call("model.unload", name=self.mine)
        self.assertFalse(is_loaded())
        self.client.call("experiment.reload")
        until(is_loaded, "the model of an experiment")

    # ---- two lists in one

    def test_interleaving(self):
        users = ["both%d" % k for k in range(12)]
        lists, sources = {}, {"active": 0, "mine": 0}
        for k, user in enumerate(users):
            seq = shop.put_events(self.client, user, [2 * k, 2 * k + 40, 3 * k + 100])["seq"]
        self.settle(seq)
        for user in users:
            reply = lists[user] = self.ask(user, "models")
            self.assertEqual((reply["experiment"], reply["variant"]), ("models", "interleaved"))
            self.assertEqual((len(names(reply)), len(set(names(reply)))), (10, 10))
            same = {"user": user, "n": 10, "now": reply["now_ms"], "at_seq": reply["seq"], "counts": reply["counts"]}
            active = names(self.client.call("recommend", **same))
            mine = names(self.client.call("recommend", model=self.mine, **same))
            self.assertLessEqual(set(names(reply)), set(active) | set(mine))
            sources["active"] += len(set(names(reply)) & (set(active) - set(mine)))
            sources["mine"] += len(set(names(reply)) & (set(mine) - set(active)))
        self.assertTrue(all(sources.values()), sources)
        self.wait_for_log("models", len(users))
        self.check_preferences(users, lists)

    def check_preferences(self, users, lists):
        outcomes, favoured = [0, 0], [0, 0]
        for k, user in enumerate(users):
            reply = lists[user]
            teams = self.query("SELECT teams FROM request WHERE recomm_id = ?", reply["recomm_id"])[0][0]
            self.assertEqual((len(teams), sorted(set(teams))), (10, [0, 1]))
            of_team = [[item for item, t in zip(names(reply), teams) if t == team] for team in (0, 1)]
            taken = [(0, 2), (1, 1), (1, 0)][k % 3]  # of either: the second is favoured, none, the first
            self.act(user, reply, *of_team[0][:taken[0]], *of_team[1][:taken[1]])
            self.act(user, reply, next(item_name(i) for i in range(ITEMS) if item_name(i) not in names(reply)))
            outcomes = [outcomes[team] + taken[team] for team in (0, 1)]
            favoured[taken[1] > taken[0]] += taken[0] != taken[1]
        reply, variants = self.report("models", outcome="purchase")
        self.assertEqual((reply["kind"], [v["name"] for v in reply["variants"]]), ("interleave", ["active", "mine"]))
        for team, name in enumerate(("active", "mine")):
            self.assertEqual(self.numbers(variants[name]), (len(users), len(users), favoured[team], outcomes[team]))
        self.assertEqual((variants["mine"]["p"], variants["mine"]["verdict"]), (1, NOT_SHOWN))
        self.assertNotIn("p", variants["active"])
        done = self.server.ctl("experiment", "report", "models", "--outcome", "purchase")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("favoured", done.stderr)

    # ---- a list that nobody sees

    def test_a_shadow(self):
        users, overlaps = ["shaded%d" % k for k in range(10)], {}
        for k, user in enumerate(users):
            seq = shop.put_events(self.client, user, [3 * k, 3 * k + 50, 2 * k + 120])["seq"]
        self.settle(seq)
        for user in users:
            reply = self.ask(user, "beside")
            same = {"user": user, "n": 10, "now": reply["now_ms"], "at_seq": reply["seq"], "counts": reply["counts"]}
            plain = self.client.call("recommend", **same)
            self.assertEqual(names(reply), names(plain))
            self.assertEqual((reply["variant"], reply["model"]), ("", self.active))
            other = names(self.client.call("recommend", model=self.mine, **same))
            overlaps[reply["recomm_id"]] = len(set(names(reply)) & set(other)) / 10
        self.wait_for_log("beside", len(overlaps))
        for recomm_id, variant_name, overlap in self.query(
                "SELECT recomm_id, variant, overlap FROM request WHERE experiment = 'beside'"):
            self.assertEqual(variant_name, "mine")
            self.assertAlmostEqual(overlap, overlaps[recomm_id], places=9)
        self.assertLess(min(overlaps.values()), 1, "the models are too alike")
        reply, variants = self.report("beside")
        self.assertEqual((reply["kind"], list(variants)), ("shadow", ["mine"]))
        self.assertEqual(self.numbers(variants["mine"])[:2], (len(overlaps), len(overlaps)))
        self.assertAlmostEqual(variants["mine"]["overlap"], sum(overlaps.values()) / len(overlaps), places=9)
        self.assertIn("overlap %", self.server.ctl("experiment", "report", "beside").stdout)

    # ---- who and what is gone

    def test_erasing_takes_exposures_along(self):
        users = ["leaver%d" % k for k in range(8)]
        replies = {user: self.ask(user, "erased") for user in users}
        for user, reply in replies.items():
            self.act(user, reply, names(reply)[0])
        self.wait_for_log("erased", len(users))
        counts = collections.Counter(reply["variant"] for reply in replies.values())
        _, variants = self.report("erased", outcome="purchase")
        for name, v in variants.items():
            self.assertEqual(self.numbers(v), 4 * (counts[name],))
        receipt = self.client.call("user.erase", user=users[0])
        self.assertEqual((receipt["requests"], receipt["events"]), ("1", "1"))
        counts[replies[users[0]]["variant"]] -= 1
        _, variants = self.report("erased", outcome="purchase")
        for name, v in variants.items():
            self.assertEqual(self.numbers(v), 4 * (counts[name],))

    def test_an_experiment_that_is_over(self):
        users = ["late%d" % k for k in range(12)]
        counts = collections.Counter(self.ask(user, "leaving")["variant"] for user in users)
        self.wait_for_log("leaving", len(users))
        reply, variants = self.report("leaving")
        self.assertEqual([v["name"] for v in reply["variants"]], ["before", "control"])  # as in the file
        self.write(self.path, EXPERIMENTS)
        self.addCleanup(self.client.call, "experiment.reload")
        self.addCleanup(self.write, self.path, EXPERIMENTS + LEAVING)  # before the reload: last in, first out
        self.assertEqual(self.client.call("experiment.reload")["experiments"], EXPERIMENTS.count("\n  variants") + 2)
        self.refused(INVALID_ARGUMENT, self.ask, "late0", "leaving")
        reply, variants = self.report("leaving")
        self.assertEqual(reply["kind"], "variants")
        self.assertEqual([v["name"] for v in reply["variants"]], ["control", "before"])
        self.assertEqual({name: int(v["users"]) for name, v in variants.items()}, dict(counts))

    def test_list_and_reload(self):
        listed = {e["name"]: e for e in self.client.call("experiment.list")["experiments"]}
        self.assertEqual(listed["half"]["share"], .5)
        self.assertEqual([v["name"] for v in listed["models"]["variants"]], ["active", "mine"])
        self.assertEqual(listed["beside"]["kind"], "shadow")
        table = self.server.ctl("experiment", "list")
        self.assertEqual(table.returncode, 0, table.stderr)
        for text in ("sizes", "interleave", "ghost", "nowhere"):
            self.assertIn(text, table.stdout)
        self.assertEqual(self.server.ctl_json("experiment", "reload")["experiments"], len(listed))
        self.assertEqual(len(self.server.ctl("-o", "ndjson", "experiment", "list").stdout.splitlines()), len(listed))

    def test_refused(self):
        error = self.refused(NOT_FOUND, self.client.call, "experiment.report", experiment="size")
        self.assertEqual((error.reason, error.field), ("UNKNOWN_EXPERIMENT", "experiment"))
        self.assertIn("'sizes'", error.message)
        for field, params in (("experiment", {}), ("outcome", {"experiment": "few", "outcome": "glance"}),
                              ("alpha", {"experiment": "few", "alpha": 0}),
                              ("alpha", {"experiment": "few", "alpha": .6}),
                              ("from", {"experiment": "few", "from": "soon"})):
            error = self.refused(INVALID_ARGUMENT, self.client.call, "experiment.report", **params)
            self.assertEqual(error.field, field)
        self.assertEqual(self.refused(INVALID_ARGUMENT, self.ask, "u", "nothing").reason, "UNKNOWN_EXPERIMENT")
        for code, *arguments in ((66, "nothing"), (65, "few", "--outcome", "glance"), (65, "few", "--alpha", "2"),
                                 (64, "few", "--alpha", "much"), (64,)):
            done = self.server.ctl("experiment", "report", *arguments)
            self.assertEqual(done.returncode, code, (arguments, done.stderr))


if __name__ == "__main__":
    unittest.main()
