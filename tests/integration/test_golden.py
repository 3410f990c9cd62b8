# SPDX-License-Identifier: Apache-2.0
"""PyTorch and the daemon, both ways: a model that recsys-train wrote scores the same in the reference
(tests/golden/network.py), and one that the reference wrote is served, with the reference's scores. Left out where
python3-torch is not installed."""
import os
import random
import shutil
import sys
import unittest

import shop
from daemon import BUILD, ROOT, SharedDaemon, run, until
from shop import item_name

sys.path.append(os.path.join(ROOT, "tests", "golden"))
try:
    import torch
except ImportError:
    torch = None
else:
    import compare
    import counts
    from network import History, Items, Network, random_network

TRAIN = os.path.join(BUILD, "recsys-train")
ITEMS, USERS = 300, 60
WEIGHTS = {"view": 1.0, "purchase": 5.0, "dislike": -2.0}  # as configured by default
START_MS, NOW_MS = 1700000000000, 1701000000000
TOLERANCE = 1e-4
# `make golden` compares the trained model more closely (dump_scores.c), and says where it wants it
KEEP = os.environ.get("RECSYSD_GOLDEN_MODEL")


def draw_log(rng):
    """(item, ts_ms, behaviour) of one user, oldest first."""
    ts_ms, log, taste = START_MS, [], rng.randrange(2)
    for _ in range(rng.randrange(4, 14)):
        item = 2 * rng.randrange(ITEMS // 2) + taste
        log.append((item, ts_ms, rng.choice(("view", "view", "purchase", "dislike"))))
        ts_ms += int(1000 * 2 ** rng.uniform(0, 16))
    return log


@unittest.skipIf(torch is None, "python3-torch is not installed")
class Golden(SharedDaemon):
    @classmethod
    def fill(cls, client):
        torch.set_num_threads(1)
        rng = random.Random(5)
        cls.names = [item_name(i) for i in range(ITEMS)]
        cls.logs = {"u%d" % user: draw_log(rng) for user in range(USERS)}
        shop.put_items(client, ITEMS)
        shop.put_features(client, ITEMS)
        shop.put_features(client, ITEMS - 40, "image", shop.IMAGE)  # some lack the image
        shop.wait_for_model(client)
        events = [{"user": user, "item": item_name(item), "ts": ts_ms, "behaviour": behaviour}
                  for user, log in cls.logs.items() for item, ts_ms, behaviour in log]
        reply = client.call("event.add", events=events, cascade_create=True)
        until(lambda: int(client.call("status")["counts"]) >= int(reply["seq"]), "counts of these events")
        cls.counts = counts.Counts([[(item, ts_ms) for item, ts_ms, behaviour in log if WEIGHTS[behaviour] > 0]
                                    for log in cls.logs.values()])
        cls.encoders = {row["modality"]: row["encoder"] for row in client.call("status")["features"]}
        cls.trained = cls.fit()

    @classmethod
    def fit(cls):
        """A model by recsys-train, small and quick."""
        path = os.path.join(cls.server.directory, "trained.safetensors")
        options = {"width": 16, "heads": 2, "blocks": 2, "epochs": 3, "head_epochs": 2, "components": 6, "dropout": 0.1}
        done = run(TRAIN, "fit", "-q", "--data-dir", cls.server.data_dir, "--out", path, "--holdout", "leave-one-out",
                   "--threads", "1", *("--set=%s=%s" % option for option in options.items()), timeout=120)
        assert done.returncode == 0, done.stderr
        if KEEP:
            shutil.copyfile(path, KEEP)
        return path

    def items(self, network):
        """The shop's vectors as the model's views see them, rounded as the shop keeps them."""
        vectors, present = {}, {}
        for name, view in network.views.items():
            if view["modality"] == "id":
                continue
            size, known = (shop.TEXT, ITEMS) if view["modality"] == "text" else (shop.IMAGE, ITEMS - 40)
            self.assertEqual(view["dimension"], size)
            rows = [shop.vector("%s %d" % (view["modality"], i), i % 2, size) if i < known else [0.0] * size
                    for i in range(ITEMS)]
            vectors[name] = torch.tensor(rows, dtype=torch.float32).to(torch.float64)
            present[name] = torch.arange(ITEMS) < known
        return Items(self.names, vectors, present)

    def parts(self, network, user):
        """(N, 3 + streams) of every item by the reference."""
        log, known = self.logs[user], network.architecture["behaviours"]
        behaviour = [known.index(b) if b in known else -1 for _, _, b in log]
        history = History(torch.tensor([item for item, _, _ in log]), torch.tensor([ts_ms for _, ts_ms, _ in log]),
                          torch.tensor(behaviour), torch.tensor([WEIGHTS[b] for _, _, b in log], dtype=torch.float64))
        table = self.counts
        probability = [[[of(item, c) for c in range(ITEMS)] for item, _, _ in log]
                       for of in (table.probability, table.probability_before)]
        popularity = [float(table.popularity[c]) for c in range(ITEMS)]
        recent = [table.recent(c, NOW_MS) for c in range(ITEMS)]
        with torch.no_grad():
            return network.parts(network.encode(self.items(network)), torch.arange(ITEMS), history, NOW_MS,
                                 *(torch.tensor(x, dtype=torch.float64) for x in (probability, popularity, recent)))

    def put_and_activate(self, path):
        """The version that answers from now on."""
        version = self.server.ctl_json("model", "put", path)["version"]
        done = self.server.ctl("model", "activate", version)
        self.assertEqual(done.returncode, 0, done.stderr)
        return version

    def check_served(self, path, network):
        version = self.put_and_activate(path)
        for user in ("u0", "u1", "u2"):
            reply = self.client.call("rank", user=user, items=self.names, now=NOW_MS)
            self.assertEqual(reply["model"], version)
            self.assertEqual(len(reply["items"]), ITEMS)
            wanted = self.parts(network, user)
            for item in reply["items"]:
                parts = wanted[self.names.index(item["item"])]
                self.assertAlmostEqual(item["score"], parts.sum().item(), delta=TOLERANCE * max(1, parts.abs().sum().item()),
                                       msg="%s for %s by %s" % (item["item"], user, version))

    def test_a_trained_model_scores_the_same_in_pytorch(self):
        network = Network.load(self.trained)
        self.assertGreater(len(network.names), 0)
        self.check_served(self.trained, network)

    def test_a_model_that_pytorch_changed_is_served(self):
        network = Network.load(self.trained)
        before = self.parts(network, "u0")
        compare.perturb(network)
        self.assertGreater((self.parts(network, "u0") - before).abs().max().item(), 100 * TOLERANCE)
        path = os.path.join(self.server.directory, "perturbed.safetensors")
        network.save(path)
        self.check_served(path, Network.load(path))

    def test_a_model_that_pytorch_made_is_served(self):
        views = [{"name": m, "modality": m, "encoder": self.encoders[m], "dimension": size, "components": 4, "correction": 2}
                 for m, size in (("text", shop.TEXT), ("image", shop.IMAGE))]
        similarities = [{"candidate": view, "history": view, "kind": kind, "heads": 2, "hard": 0, "mask_missing": False}
                        for view, kind in (("text", "dot"), ("image", "cosine"))]
        architecture = {"width": 8, "blocks": 1, "heads": 2, "feedforward": 12, "history": 50, "views": views,
                        "similarities": similarities, "behaviours": ["view", "purchase"],
                        "streams": [{"pick": pick, "judge": judge} for pick in range(2) for judge in range(2)]}
        path = os.path.join(self.server.directory, "made.safetensors")
        random_network(architecture, self.names[::2], seed=3).save(path)
        self.check_served(path, Network.load(path))
