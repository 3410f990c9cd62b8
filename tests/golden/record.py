# SPDX-License-Identifier: Apache-2.0
"""Make recorded.json, what tests/unit/test_golden.c checks the C side against without PyTorch.

    record.py [FILE]

A small model with one of everything (every kind of attention, a correction, the embedding as a view, two heads), a few
users, the parts of each score, and the losses and gradients of both stages. Only to be made again when the network itself
changes: then compare.py must agree first."""
import base64
import json
import os
import random
import sys

import torch

import counts
import gradients
import safetensors
from compare import read_history, read_items
from network import Network, random_network

DOUBLE = torch.float64
ITEMS, KNOWN = 24, 20  # the last items are strangers to the model: no event, no row of the embedding
START_MS, SEED = 1700000000000, 7
AHEAD = 2  # events that a row predicts
WEIGHTS = {0: 1.0, 1: 3.0, 2: -2.0, -1: 0.5}  # of behaviours, by the architecture's index; -1: the model does not know it


def architecture():
    def view(name, dimension, components, correction):
        return {"name": name, "modality": name, "encoder": "" if name == "id" else name + "@1", "dimension": dimension,
                "components": components, "correction": correction}

    def similarity(candidate, history, kind, hard=0, mask_missing=False):
        return {"candidate": candidate, "history": history, "kind": kind, "heads": 2, "hard": hard,
                "mask_missing": mask_missing}
    similarities = [similarity("text", "text", "dot"), similarity("image", "image", "cosine", mask_missing=True),
                    similarity("text", "image", "additive"), similarity("id", "id", "dot", hard=3)]
    streams = [{"pick": pick, "judge": judge} for pick in range(4) for judge in range(4)]
    return {"width": 8, "blocks": 2, "heads": 2, "feedforward": 12, "history": 10,
            "views": [view("text", 6, 4, 2), view("image", 5, 4, 0), view("id", 8, 8, 0)],
            "similarities": similarities, "streams": streams, "behaviours": ["view", "purchase", "dislike"]}


def draw_items(rng):
    items = []
    for i in range(ITEMS):
        vectors = {name: [round(rng.gauss(0.2, 1), 3) for _ in range(dimension)]
                   for name, dimension in (("text", 6), ("image", 5))
                   if rng.random() > 0.2 and (i, name) != (0, "image")}
        items.append({"name": "item-%d" % i, "vectors": vectors})
    return items


def draw_users(rng):
    """Logs of 2 to 10 events, so that the whole of each is a window; then one who meets every item that the model knows."""
    users = []
    for user in range(7):
        ts_ms, log = START_MS, []
        length = 2 + (user * 3) % 9
        for i in range(length):
            behaviour = 0 if i == length - 1 else rng.choice((0, 0, 1, 2, -1))
            item = 0 if i == 0 and length == 2 else rng.randrange(KNOWN)  # a history that has no image at all
            log.append({"item": item, "ts_ms": ts_ms, "behaviour": behaviour, "weight": WEIGHTS[behaviour]})
            ts_ms += int(1000 * 2 ** rng.uniform(0, 20))
        users.append(log)
    users.append([{"item": i, "ts_ms": START_MS + i, "behaviour": 0, "weight": 1.0} for i in range(KNOWN)])
    return users


def short(values):
    """Seven digits of each number of a tensor."""
    numbers = [float("%.7g" % x) for x in values.detach().flatten().tolist()]
    return [int(x) if x == 0 else x for x in numbers]


def record_stage_one(network, known, users):
    histories = [read_history(log) for log in users[:-1]]
    histories = [(h.item, h.ts_ms, h.behaviour, h.weight) for h in histories]
    loss, found = gradients.gradient(network, gradients.names_of_stage(network, "one"), lambda: gradients.sequence_loss(
        network, network.encode(known), histories, True, AHEAD))
    return {"mask_seen": True, "ahead": AHEAD, "loss": loss, "gradient": {name: short(g) for name, g in found.items()}}


def record_query(network, items, users, table, user, hide):
    log = users[user]
    history, target, now_ms = read_history(log[:-1]), log[-1]["item"], log[-1]["ts_ms"]
    probability = torch.tensor([[[of(e["item"], c) for c in range(ITEMS)] for e in log[:-1]]
                                for of in (table.probability, table.probability_before)], dtype=DOUBLE)
    popularity = torch.tensor([float(table.popularity[c]) for c in range(ITEMS)], dtype=DOUBLE)
    recent = torch.tensor([table.recent(c, now_ms) for c in range(ITEMS)], dtype=DOUBLE)
    query = (history, now_ms, probability, popularity, recent)
    hidden = sorted({e["item"] for e in log[:-1]} - {target}) if hide else []
    loss, found = gradients.gradient(network, gradients.names_of_stage(network, "two"), lambda: gradients.total_loss(
        network, network.encode(items), query, target, torch.tensor(hidden, dtype=torch.long)))
    with torch.no_grad():
        parts = network.parts(network.encode(items), torch.arange(ITEMS), *query)
    return {"user": user, "hidden": hidden, "parts": [short(row) for row in parts], "loss": loss,
            "gradient": {name: short(g) for name, g in found.items()}}


def main():
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), "recorded.json")
    torch.set_num_threads(1)
    rng = random.Random(SEED)
    items, users = draw_items(rng), draw_users(rng)
    network = random_network(architecture(), [item["name"] for item in items[:KNOWN]], SEED)
    content = safetensors.serialise(*network.file())
    network = Network.of_file(*safetensors.parse(content))  # as it will be read
    shop = read_items(network, items)
    table = counts.Counts([[(e["item"], e["ts_ms"]) for e in log if e["weight"] > 0] for log in users])
    recorded = {"made_by": "tests/golden/record.py", "model": base64.b64encode(content).decode(), "items": items,
                "users": users, "stage_one": record_stage_one(network, read_items(network, items[:KNOWN]), users),
                "queries": [record_query(network, shop, users, table, user, hide)
                            for user, hide in ((2, False), (5, True), (6, False))]}
    with open(out, "w", encoding="utf-8") as file:
        file.write("{\n" + ",\n".join("%s: %s" % (json.dumps(key), json.dumps(value, separators=(",", ":")))
                                      for key, value in recorded.items()) + "\n}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
