# SPDX-License-Identifier: Apache-2.0
"""The request log asked once more: replay over the wire and by recsysctl, plan, and what the log does not keep."""
import os
import shutil
import sqlite3
import tempfile
import unittest

import shop
from daemon import FAILED_PRECONDITION, INVALID_ARGUMENT, SharedDaemon, TestCase, until
from shop import item_name, names
from test_models import get, put, variant

ITEMS, USERS, HOME = 300, 40, 6
SCENARIOS = """
home:
  n: %d
  filter: {must: [{field: category, any: [even]}]}
cart:
  n: 4
""" % HOME
BEHAVIOURS = {"view": 1, "click": 1, "cart": 3, "purchase": 5, "like": 2, "dislike": -2, "skip": -0.5}


def user_name(u):
    return "customer-%03d" % u


def query(server, sql, *arguments):
    database = sqlite3.connect("file:%s?mode=ro" % os.path.join(server.data_dir, "shop.db"), uri=True)
    try:
        return database.execute(sql, arguments).fetchall()
    finally:
        database.close()


def wait_for_log(server, count):
    """Lists are logged after they were answered."""
    until(lambda: query(server, "SELECT count(*) FROM request")[0][0] >= count, "%d logged requests" % count)
    assert query(server, "SELECT count(*) FROM request") == [(count,)]


def fill_shop(client):
    client.call("item.put", items=[{"item": item_name(i), "title": "Item %d" % i, "price": 10 + i % 7,
                                    "categories": ["odd" if i % 2 else "even"]} for i in range(ITEMS)])
    shop.put_features(client, ITEMS)
    shop.put_features(client, ITEMS, "image", shop.IMAGE, tastes=lambda i: int(i >= ITEMS // 2))
    shop.wait_for_model(client)


def totals(replies):
    """{scenario: (requests, equal, sum of overlap, sum of moved)} of all pages."""
    groups = {}
    for reply in replies:
        for group in reply["groups"]:
            before = groups.get(group.get("scenario", ""), (0, 0, 0, 0))
            this = (int(group["requests"]), int(group["equal"]), group["overlap"], group["moved"])
            groups[group.get("scenario", "")] = tuple(a + b for a, b in zip(before, this))
    return groups


class Replay(SharedDaemon):
    """The tests ask for no list themselves, which would be logged."""

    @classmethod
    def setUpClass(cls):
        cls.scratch = tempfile.mkdtemp(prefix="recsysd-")
        cls.addClassCleanup(shutil.rmtree, cls.scratch, ignore_errors=True)
        cls.path = cls.write("scenarios.yaml", SCENARIOS)
        cls.settings = {"server.scenarios": cls.path, "requests.log": "all"}
        super().setUpClass()

    @classmethod
    def write(cls, name, text):
        path = os.path.join(cls.scratch, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return path

    @classmethod
    def fill(cls, client):
        fill_shop(client)
        for u in range(USERS):
            own = [u % 2 + 2 * ((7 * u + 3 * k) % 100) for k in range(6)]
            shop.put_events(client, user_name(u), own[:5])
            seq = shop.put_events(client, user_name(u), own[5:], behaviour="purchase")["seq"]
        until(lambda: int(client.call("status")["counts"]) >= int(seq), "counts of these events")
        cls.active = client.call("status")["model"]
        data = get(client)
        cls.mine = put(client, variant(data, 4), "mine")["version"]
        cls.lazy = put(client, variant(data, 6), "lazy")["version"]
        assert client.call("model.load", name="mine")["model"] == cls.mine
        cls.lists, cls.scenario_of = {}, {}
        for u in range(USERS):
            cls.ask_as(client, u)
        for u in range(5):
            last = client.call("recommend", user=user_name(u), n=5)
            cls.keep(last, "")
            client.call("next", recomm_id=last["recomm_id"])  # cannot be asked by itself
        cls.skipped = 5
        wait_for_log(cls.server, len(cls.lists) + cls.skipped)

    @classmethod
    def keep(cls, reply, scenario):
        cls.lists[reply["recomm_id"]] = names(reply)
        cls.scenario_of[reply["recomm_id"]] = scenario

    @classmethod
    def ask_as(cls, client, u):
        user = user_name(u)
        for n in (10, 20):
            cls.keep(client.call("recommend", user=user, n=n), "")
        cls.keep(client.call("recommend", user=user, scenario="home"), "home")
        cls.keep(client.call("rank", user=user, items=[item_name((11 * u + 5 * k) % ITEMS) for k in range(15)]), "")
        cls.keep(client.call("similar", items=[item_name(u)], n=8), "")
        cls.keep(client.call("complement", items=[item_name(u), item_name(u + 2)], scenario="cart"), "cart")
        if u % 4 == 0:
            cls.keep(client.call("top", by="popular", user=user, n=5), "")
            cls.keep(client.call("recommend", events=[{"item": item_name(u)}], n=6), "")

    def requests(self, scenario):
        return sum(name == scenario for name in self.scenario_of.values())

    def replay(self, n=1000, **params):
        """All pages."""
        replies, cursor = [], ""
        while not replies or cursor:
            replies.append(self.client.call("replay", n=n, cursor=cursor, timeout_ms=20000, **params))
            cursor = replies[-1]["cursor"]
        self.assertEqual(sum(int(r["compared"]) for r in replies) + sum(int(r["skipped"]) for r in replies),
                         len(self.lists) + self.skipped)
        return replies

    def check_equal(self, groups, *scenarios):
        for scenario in scenarios:
            requests, equal, overlap, moved = groups[scenario]
            self.assertEqual((requests, equal, moved), (self.requests(scenario), requests, 0), scenario)
            self.assertAlmostEqual(overlap, requests, places=9)

    # ---- over the wire

    def test_against_itself(self):
        (reply,) = self.replay()
        self.assertEqual((int(reply["compared"]), int(reply["skipped"])), (len(self.lists), self.skipped))
        self.assertEqual((reply["model"], reply["other"]), (self.active, self.active))
        groups = totals([reply])
        self.assertEqual(set(groups), {"", "home", "cart"})
        self.check_equal(groups, "", "home", "cart")
        self.assertEqual((reply["changes"], reply["items"]), ([], []))

    def test_against_another_model(self):
        (reply,) = self.replay(model="mine")
        self.assertEqual((reply["model"], reply["other"]), (self.active, self.mine))
        self.assertEqual(int(reply["compared"]), len(self.lists))
        groups = totals([reply])
        self.assertEqual({s: groups[s][0] for s in groups}, {s: self.requests(s) for s in ("", "home", "cart")})
        self.assertLess(groups[""][1], groups[""][0])
        self.assertLess(groups[""][2], groups[""][0])
        self.check_equal(totals(self.replay(model=self.active)), "", "home", "cart")

    def test_changes_are_those_of_the_lists(self):
        """The first list of each pair is the one that was answered: nothing has changed since."""
        (reply,) = self.replay(model=self.mine)
        self.assertTrue(0 < len(reply["changes"]) <= 20)
        for change in reply["changes"]:
            listed, gone, came = self.lists[change["recomm_id"]], change.get("gone", []), change.get("came", [])
            self.assertLessEqual(set(gone), set(listed))
            self.assertFalse(set(came) & set(listed))
            self.assertAlmostEqual(change["overlap"], 1 - len(gone) / len(listed), places=9)
            self.assertEqual(change.get("scenario", ""), self.scenario_of[change["recomm_id"]])
        overlaps = [change["overlap"] for change in reply["changes"]]
        self.assertEqual(overlaps, sorted(overlaps))
        self.assertLess(overlaps[0], 1)
        self.assertTrue(any(change.get("user", "").startswith("customer-") for change in reply["changes"]))

    def test_items_are_counted(self):
        (reply,) = self.replay(model=self.mine)
        self.assertTrue(reply["items"])
        for item in reply["items"]:
            listed = sum(item["item"] in listed for listed in self.lists.values())
            self.assertEqual(int(item["before"]), listed, item)
            self.assertNotEqual(item["before"], item["after"])
        differences = [abs(int(item["after"]) - int(item["before"])) for item in reply["items"]]
        self.assertEqual(differences, sorted(differences, reverse=True))

    def test_pages_add_up(self):
        whole, pages = self.replay(model="mine"), self.replay(model="mine", n=7)
        self.assertGreaterEqual(len(pages), (len(self.lists) + self.skipped) // 7)
        first, second = totals(whole), totals(pages)
        self.assertEqual(set(first), set(second))
        for scenario in first:
            for a, b in zip(first[scenario], second[scenario]):
                self.assertAlmostEqual(a, b, places=6)

    def test_a_scenario_that_changes(self):
        """Half as many: the same items as far as they go, and nobody else's list changes."""
        (reply,) = self.replay(scenarios=SCENARIOS.replace("n: %d" % HOME, "n: %d" % (HOME // 2)))
        groups = totals([reply])
        requests, equal, overlap, moved = groups["home"]
        self.assertEqual((requests, equal, moved), (USERS, 0, 0))
        self.assertAlmostEqual(overlap, requests / 2, places=6)
        self.check_equal(groups, "", "cart")
        for change in reply["changes"]:
            listed = self.lists[change["recomm_id"]]
            self.assertEqual((change["scenario"], change["gone"]), ("home", listed[HOME // 2:]))
            self.assertNotIn("came", change)

    def test_a_scenario_that_is_gone(self):
        (reply,) = self.replay(scenarios="cart: {n: 4}")
        groups = totals([reply])
        self.assertEqual(set(groups), {"", "home (gone)", "cart"})
        self.assertEqual(groups["home (gone)"], (USERS, 0, 0, 0))
        self.assertEqual(int(reply["skipped"]), self.skipped + USERS)
        self.check_equal(groups, "", "cart")

    def test_other_weights(self):
        """What was liked is disliked. A model that has learnt what a view says is not told otherwise."""
        groups = totals(self.replay(behaviours={"view": -2, "purchase": -5}))
        self.assertLess(groups[""][1], groups[""][0])
        self.assertLess(groups["home"][2], groups["home"][0])
        self.check_equal(groups, "cart")  # by example: nobody's history is in it
        self.check_equal(totals(self.replay(behaviours={"view": 1, "purchase": 5})), "", "home", "cart")
        self.assertEqual(totals(self.replay(model="mine", behaviours={"view": -2})), totals(self.replay(model="mine")))

    def test_within_a_time(self):
        for params in ({"until": "2020-01-01"}, {"from": "2020-01-01", "until": "2020-01-02"}):
            reply = self.client.call("replay", **params)
            self.assertEqual((reply["compared"], reply["skipped"], reply["cursor"]), ("0", "0", ""))
        middle = query(self.server, "SELECT at_ms FROM request ORDER BY request_id LIMIT 1 OFFSET 100")[0][0]
        before = query(self.server, "SELECT count(*) FROM request WHERE at_ms < ?", middle)[0][0]
        for params, count in (({"until": middle}, before), ({"from": middle}, len(self.lists) + 5 - before)):
            reply = self.client.call("replay", n=1000, timeout_ms=20000, **params)
            self.assertEqual(int(reply["compared"]) + int(reply["skipped"]), count)

    def test_refused(self):
        for reason, field, params in (("UNKNOWN_BEHAVIOUR", "behaviours", {"behaviours": {"glance": 1}}),
                                      ("OUT_OF_RANGE", "behaviours", {"behaviours": {"view": 1000}}),
                                      ("OUT_OF_RANGE", "n", {"n": 1001}), ("BAD_POSITION", "cursor", {"cursor": "x"}),
                                      ("BAD_TIME", "from", {"from": "yesterday"}),
                                      ("BAD_SCENARIO", "", {"scenarios": "home: {n: ["}),
                                      ("BAD_SCENARIO", "", {"scenarios": "- home"})):
            error = self.refused(INVALID_ARGUMENT, self.client.call, "replay", **params)
            self.assertEqual((error.reason, error.field), (reason, field), params)
        for model in ("lazy", "nowhere"):
            error = self.refused(FAILED_PRECONDITION, self.client.call, "replay", model=model)
            self.assertEqual((error.reason, error.field), ("NOT_LOADED", "model"))
            self.assertIn("recsysctl model load", error.message)

    def test_by_protobuf(self):
        reply = self.pb.call("replay", timeout_ms=20000, n=1000)
        self.assertEqual((reply["compared"], reply["skipped"], reply["cursor"]),
                         (len(self.lists), self.skipped, ""))

    # ---- recsysctl

    def test_command(self):
        report = self.server.ctl_json("replay")
        self.assertEqual((report["compared"], report["skipped"]), (len(self.lists), self.skipped))
        self.assertEqual({g["scenario"]: g["mean_overlap"] for g in report["groups"]}, {"": 1, "home": 1, "cart": 1})
        self.assertEqual((report["changes"], report["items"]), ([], []))
        report = self.server.ctl_json("replay", "-n", "150")
        self.assertEqual(report["compared"] + report["skipped"], 150)
        done = self.server.ctl("replay", "--model", "mine")
        self.assertEqual(done.returncode, 0, done.stderr)
        for text in ("%d requests compared" % len(self.lists), "overlap@n", "home", "largest changes",
                     "items that gain or lose most"):
            self.assertIn(text, done.stdout)

    def test_command_adds_pages_up(self):
        report = self.server.ctl_json("replay", "--model", self.mine)
        groups = totals(self.replay(model=self.mine))
        for group in report["groups"]:
            requests, equal, overlap, moved = groups[group["scenario"]]
            self.assertEqual((group["requests"], group["equal"]), (requests, equal))
            self.assertAlmostEqual(group["mean_overlap"], overlap / requests, places=6)
            self.assertAlmostEqual(group["mean_moved"], moved / requests, places=6)
        (reply,) = self.replay(model=self.mine)
        changes = {item["item"]: int(item["after"]) - int(item["before"]) for item in reply["items"]}
        self.assertEqual({item["item"]: item["change"] for item in report["items"]}, changes)
        self.assertEqual(len(report["changes"]), 20)

    def test_command_with_a_file_and_weights(self):
        path = self.write("fewer.yaml", SCENARIOS.replace("n: %d" % HOME, "n: %d" % (HOME // 2)))
        report = self.server.ctl_json("replay", "--scenarios", path)
        self.assertEqual({g["scenario"]: round(g["mean_overlap"], 6) for g in report["groups"]},
                         {"": 1, "home": .5, "cart": 1})
        report = self.server.ctl_json("replay", "--scenarios", self.write("none.yaml", "\n"))
        self.assertEqual({g["scenario"] for g in report["groups"]}, {"", "home (gone)", "cart (gone)"})
        self.assertFalse(any("mean_overlap" in g for g in report["groups"] if g["scenario"]))
        report = self.server.ctl_json("replay", "--behaviour", "view=-2", "--behaviour", "purchase=-5")
        self.assertLess({g["scenario"]: g["mean_overlap"] for g in report["groups"]}[""], 1)

    def test_command_loads_what_is_not_loaded(self):
        report = self.server.ctl_json("replay", "--model", "lazy", "-n", "20")
        self.assertEqual((report["model"], report["other"]), (self.active, self.lazy))
        error = self.refused(FAILED_PRECONDITION, self.client.call, "replay", model="lazy")
        self.assertEqual(error.reason, "NOT_LOADED")
        self.server.ctl_json("replay", "--model", "mine", "-n", "1")  # stays loaded: somebody else did that
        self.assertEqual(self.client.call("replay", model="mine", n=1)["other"], self.mine)

    def test_load_and_unload(self):
        done = self.server.ctl("model", "load", "lazy")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(self.lazy, done.stdout)
        self.assertEqual(self.client.call("replay", model="lazy", n=1)["other"], self.lazy)
        self.assertEqual(self.server.ctl_json("model", "unload", "lazy"), {"model": self.lazy})
        self.assertEqual(self.server.ctl("model", "unload", "lazy").returncode, 65)

    def test_mistakes(self):
        for code, *arguments in ((66, "replay", "--model", "none"), (66, "replay", "--scenarios", "/no/such/file"),
                                 (64, "replay", "-n", "0"), (64, "replay", "--behaviour", "view"),
                                 (65, "replay", "--behaviour", "glance=1"), (66, "plan", "/no/such/file"),
                                 (65, "plan", self.write("bad.yaml", "server: {wrkers: 3}\n"))):
            done = self.server.ctl(*arguments)
            self.assertEqual(done.returncode, code, (arguments, done.stderr))
            self.assertTrue(done.stderr, arguments)

    # ---- plan

    def config(self, name, scenarios, workers, behaviours):
        lines = ["server:", "  scenarios: %s" % scenarios, "  workers: %d" % workers, "behaviours:"]
        return self.write(name, "\n".join(lines + ["  %s: %g" % pair for pair in behaviours.items()]) + "\n")

    def test_plan(self):
        fewer = self.write("planned.yaml", SCENARIOS.replace("n: %d" % HOME, "n: %d" % (HOME // 2)))
        behaviours = {**BEHAVIOURS, "purchase": 7, "share": 2}
        del behaviours["skip"]
        now = self.config("now.yaml", self.path, 0, BEHAVIOURS)
        new = self.config("new.yaml", fewer, 3, behaviours)
        plan = self.server.ctl_json("plan", new, "--against", now)
        self.assertEqual({row["setting"]: (row["now"], row["new"]) for row in plan["settings"]},
                         {"server.scenarios": (self.path, fewer), "server.workers": ("0", "3"),
                          "behaviours.purchase": ("5", "7"), "behaviours.skip": ("-0.5", "(none)"),
                          "behaviours.share": ("(none)", "2")})
        self.assertTrue(all(row["effect"].startswith("restart") for row in plan["settings"]))
        replay = plan["replay"]
        self.assertEqual(replay["compared"], len(self.lists))
        overlaps = {g["scenario"]: g["mean_overlap"] for g in replay["groups"]}
        self.assertLessEqual(overlaps["home"], .5)
        self.assertAlmostEqual(overlaps["cart"], 1, places=9)
        table = self.server.ctl("plan", new, "--against", now)
        self.assertEqual(table.returncode, 0, table.stderr)
        for text in ("behaviours.purchase", "takes effect with", "overlap@n", "home"):
            self.assertIn(text, table.stdout)

    def test_plan_of_nothing(self):
        now = self.config("same.yaml", self.path, 0, BEHAVIOURS)
        plan = self.server.ctl_json("plan", now, "--against", now)
        self.assertEqual(plan["settings"], [])
        self.assertEqual([g["mean_overlap"] for g in plan["replay"]["groups"]], [1, 1, 1])
        self.assertIn("no setting changes", self.server.ctl("plan", now, "--against", now).stdout)


class Names(TestCase):
    """Who asked is in one place of the database, and can be erased there."""
    PEOPLE = ("anna.karenina", "emma.bovary", "effi.briest")

    def start(self, **settings):
        server = self.daemon(settings={"requests.log": "all", **settings}).start()
        client = server.json()
        fill_shop(client)
        for k, person in enumerate(self.PEOPLE):
            shop.put_events(client, person, [k, k + 2, k + 4])
        return server, client

    def ask_all(self, client, times=4):
        for k in range(times):
            for person in self.PEOPLE:
                client.call("recommend", user=person, n=5 + k)

    def check_no_names(self, server):
        columns = [row[1] for row in query(server, "PRAGMA table_info(request)")]
        self.assertIn("body", columns)
        for row in query(server, "SELECT * FROM request"):
            for column, value in zip(columns, row):
                data = value if isinstance(value, bytes) else str(value).encode()
                for person in self.PEOPLE:
                    self.assertNotIn(person.encode(), data, column)

    def test_the_log_names_nobody(self):
        server, client = self.start()
        self.ask_all(client)
        client.call("recommend", user="a stranger", n=5)  # of whom the shop knows nothing: not kept
        client.call("recommend", n=5)
        wait_for_log(server, 13)
        self.check_no_names(server)
        self.assertEqual(query(server, "SELECT count(*) FROM request WHERE user_id IS NULL"), [(1,)])
        reply = client.call("replay", timeout_ms=20000)
        self.assertEqual((reply["compared"], reply["skipped"], reply["changes"]), ("13", "0", []))
        server.stop()

    def test_who_is_erased_is_asked_no_more(self):
        server, client = self.start()
        self.ask_all(client)
        wait_for_log(server, 12)
        gone = self.PEOPLE[1]
        self.assertEqual(client.call("replay", timeout_ms=20000)["compared"], "12")
        receipt = server.ctl_json("user", "erase", gone, "--yes")
        self.assertEqual((receipt["known"], receipt["requests"], receipt["events"]), (True, "4", "3"))
        reply = client.call("replay", timeout_ms=20000, behaviours={"view": -2})
        self.assertEqual(int(reply["compared"]), 8)
        users = {change["user"] for change in reply["changes"]}
        self.assertTrue(users <= {self.PEOPLE[0], self.PEOPLE[2]} and users, users)
        done = server.ctl("user", "erase", gone, "--yes")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("does not know", done.stderr)
        server.stop()

    def test_who_was_merged_is_asked_as_who_it_is_now(self):
        server, client = self.start()
        self.ask_all(client, times=1)
        wait_for_log(server, 3)
        client.call("user.merge", **{"from": self.PEOPLE[0], "into": self.PEOPLE[1]})
        reply = client.call("replay", timeout_ms=20000, behaviours={"view": -2})
        self.assertEqual(int(reply["compared"]) + int(reply["skipped"]), 3)
        self.assertNotIn(self.PEOPLE[0], {change["user"] for change in reply["changes"]})
        server.stop()

    def test_names_may_be_kept(self):
        server, client = self.start(**{"requests.user_names": "true"})
        client.call("recommend", user="a stranger", n=5)  # whom nobody could ask to be erased
        client.call("recommend", user=self.PEOPLE[0], n=5)
        wait_for_log(server, 1)
        bodies = b" ".join(row[0] for row in query(server, "SELECT body FROM request"))
        self.assertIn(self.PEOPLE[0].encode(), bodies)
        self.assertNotIn(b"a stranger", bodies)
        reply = client.call("replay", timeout_ms=20000)
        self.assertEqual((reply["compared"], reply["skipped"]), ("1", "0"))
        server.stop()

    def test_nothing_is_kept_unless_it_is_asked_for(self):
        for log in ("experiments", "off"):
            server, client = self.start(**{"requests.log": log})
            client.call("recommend", user=self.PEOPLE[0], n=5)
            shop.put_events(client, self.PEOPLE[0], [7])  # behind it in the writer's queue
            self.assertEqual(query(server, "SELECT count(*) FROM request"), [(0,)])
            self.assertEqual(client.call("replay")["compared"], "0")
            done = server.ctl("replay")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("requests.log", done.stderr)
            server.stop()

    def test_a_restart_changes_nothing(self):
        server, client = self.start()
        self.ask_all(client)
        wait_for_log(server, 12)
        server.stop()
        server.start()
        client = server.json()
        reply = client.call("replay", timeout_ms=20000)
        self.assertEqual((reply["compared"], reply["skipped"], reply["changes"]), ("12", "0", []))
        server.stop()


if __name__ == "__main__":
    unittest.main()
