# SPDX-License-Identifier: Apache-2.0
"""recsys-rescore: what it writes depends neither on threads nor on shards, and is what the daemon answers."""
import os
import re

import shop
from daemon import BUILD, SharedDaemon, run

RESCORE = os.path.join(BUILD, "recsys-rescore")
ITEMS, USERS = 300, 60  # 256 items make the daemon fit a model, in the background, after the last write


class Rescore(SharedDaemon):
    @classmethod
    def fill(cls, client):
        shop.put_items(client, ITEMS)
        for user in range(USERS):
            shop.put_events(client, "u%d" % user, [(user * 7 + k * 2) % ITEMS for k in range(6)])
        shop.put_features(client, ITEMS)
        shop.wait_for_model(client)

    def rescore(self, *arguments):
        return run(RESCORE, "-q", "--data-dir", self.server.data_dir, *arguments)

    def write(self, name, *arguments):
        path = os.path.join(self.server.directory, name)
        done = self.rescore("--out", path, *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(path, "rb") as file:
            return file.readlines()

    def test_verified_against_the_daemon_right_after_a_model_was_fitted(self):
        done = self.rescore("--verify", "40", "--endpoint", self.server.endpoint)
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)
        self.assertTrue(re.search(r"\b0 diff", done.stdout + done.stderr), done.stdout + done.stderr)

    def test_same_bytes_for_any_threads_and_shards(self):
        now = "--now", "1700000000000"
        whole = self.write("whole", "--threads", "1", *now)
        self.assertEqual(len(whole), 1 + USERS)
        self.assertEqual(self.write("three", "--threads", "3", *now), whole)
        shards = [line for i in range(4) for line in self.write("shard%d" % i, "--shard", "%d/4" % i, *now)[1:]]
        self.assertEqual(shards, whole[1:])

    def test_an_output_is_not_overwritten(self):
        self.write("once")
        done = self.rescore("--out", os.path.join(self.server.directory, "once"))
        self.assertEqual(done.returncode, 73)
        self.assertIn("--resume", done.stderr)
