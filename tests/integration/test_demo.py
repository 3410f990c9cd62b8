# SPDX-License-Identifier: Apache-2.0
"""The demo's promise: lists are of the planted taste, and three events of another taste change the very next one."""

import os
import time
import unittest

from daemon import BUILD, RECSYSCTL, SharedDaemon, run


class Demo(SharedDaemon):
    @classmethod
    def fill(cls, client):
        shop = cls.server.directory
        made = run(os.path.join(BUILD, "make_shop"), "--out", shop, "--until-ms", str(int(time.time() * 1000)))
        assert made.returncode == 0, made.stderr
        cls.taste = {}
        with open(shop + "/shop.item", encoding="utf-8") as file:
            next(file)
            for line in file:
                item, _, category = line.rstrip("\n").split("\t")[:3]
                cls.taste[item] = category
        done = run(RECSYSCTL, "--endpoint", cls.server.endpoint, "-q", "import", "--items", shop + "/shop.item",
                   "--inter", shop + "/shop.inter", "--feature", "text=" + shop + "/text.npy",
                   "--feature", "image=" + shop + "/image.npy")
        assert done.returncode == 0, done.stderr
        deadline = time.monotonic() + 30
        while not any(row["in_model"] for row in client.call("status")["features"]):
            assert time.monotonic() < deadline, "no default model was fitted"
            time.sleep(0.05)
        newest = max(int(client.call("user.history", user=user, n=1)["events"][0]["seq"]) for user in ("u498", "u499"))
        while int(client.call("status")["counts"]) < newest:
            assert time.monotonic() < deadline, "the counts do not catch up"
            time.sleep(0.05)

    def call(self, method, **params):
        return self.client.call(method, **params)

    def main_taste(self, user):
        history = self.call("user.history", user=user, n=100)["events"]
        tastes = [self.taste[event["item"]] for event in history]
        return max(set(tastes), key=tastes.count), set(tastes)

    def listed(self, user):
        return [self.taste[item["item"]] for item in self.call("recommend", user=user, n=10)["items"]]

    def test_at_least_eight_of_ten_are_of_the_planted_taste(self):
        for user in ("u001", "u042", "u123", "u250", "u499"):
            taste, _ = self.main_taste(user)
            listed = self.listed(user)
            self.assertEqual(10, len(listed))
            self.assertGreaterEqual(listed.count(taste), 8, (user, taste, listed))

    def test_three_events_of_another_taste_bring_at_least_three_items_of_it(self):
        for user in ("u007", "u077", "u377"):
            taste, seen = self.main_taste(user)
            other = sorted(set(self.taste.values()) - {taste})[0]
            items = sorted(item for item in self.taste if self.taste[item] == other)[5:8]
            self.call("event.add", events=[{"user": user, "item": item, "behaviour": "cart"} for item in items])
            listed = self.listed(user)
            self.assertGreaterEqual(listed.count(other), 3, (user, other, listed))


if __name__ == "__main__":
    unittest.main()
